"""The data flow: a made model → its calls → boxes, frames and edges → places → picture."""

from __future__ import annotations

from modelscope_cli.analysis import dataflow as analysis
from modelscope_cli.analysis.diagram_page import title
from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.bridges.layout import arrange
from modelscope_cli.core.calls import Calls
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.render.flow import lay_out, plan, prepared
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.painting import Painting


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """Raises DrawingError when the model cannot be made, followed or drawn, and MissingExtraError without torch."""
    need("torch", "the data flow", "torch")
    from modelscope_cli.bridges.models.export import calls_of
    from modelscope_cli.bridges.models.failing import FailedOnTheseError
    from modelscope_cli.bridges.models.making import META, REAL, Made, make, may_be_real

    def traced(on: str) -> tuple[Calls, Made]:
        made = make(checkpoint, wish.recipe, on=on, first=wish.first, force=wish.force, step=wish.step)
        wish.step("tracing the model")
        with made.mode:
            return calls_of(made.module, made.args, made.kwargs), made

    try:
        calls, made = traced(META)
    except FailedOnTheseError:
        if not may_be_real(checkpoint, wish.recipe):
            raise
        calls, made = traced(REAL)
    wish.step("drawing")
    flow = prepared(analysis.draw(calls, title(checkpoint), made.said, folded=wish.fold, force=wish.force))
    painting = paint(lay_out(flow, arrange(plan(flow)), THEMES[wish.theme or "light"]), wish.format)
    return painting._replace(warnings=(*made.warnings, *painting.warnings))
