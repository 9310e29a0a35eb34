"""The architecture diagram: module tree → blocks → places → picture."""

from __future__ import annotations

from modelscope_cli.analysis import diagram as analysis
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.render.diagram import lay_out
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.painting import Painting


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """Raises DrawingError when there is nothing to draw, more than can be read, or nothing to paint with."""
    content = analysis.draw(checkpoint, analysis.DiagramOptions(wish.levels, wish.root, wish.fold))
    return paint(lay_out(content, THEMES[wish.theme or "light"]), wish.format)


def light_and_dark(checkpoint: Checkpoint, known: ModuleTree) -> tuple[str, str]:
    """The diagram as SVG in both colours, from a tree of the whole checkpoint. Raises DrawingError."""
    content = analysis.draw(checkpoint, analysis.DiagramOptions(), known)
    light, dark = (paint(lay_out(content, THEMES[theme]), "svg").data.decode() for theme in ("light", "dark"))
    return light, dark
