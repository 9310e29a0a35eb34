"""torchviz: the graph that autograd keeps of one call, its parameters blue, what it saves orange."""

from __future__ import annotations

from modelscope_cli.analysis.diagram_page import title
from modelscope_cli.bridges.foreign_graph import paint_dot
from modelscope_cli.bridges.models.autograd import Asked, draw_autograd
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.render.plain import visible
from modelscope_cli.report.painting import Painting


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """Raises DrawingError when there is no model to call, the call fails, or the graph is too large; MissingExtraError."""
    asked = Asked(wish.attributes, wish.saved, wish.first, wish.force)
    graph = draw_autograd(checkpoint, wish.recipe, asked, wish.step)
    words = visible(f"{title(checkpoint)}  ·  {graph.said}  ·  the graph of autograd, {graph.nodes:,} nodes")
    painting = paint_dot(graph.dot(words), words, wish.format, wish.step)
    return painting._replace(warnings=(*graph.warnings, *painting.warnings))
