"""The treemap: as a page to explore, or as one sheet."""

from __future__ import annotations

from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.analysis.root import find_root
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.painting import Painting
from modelscope_cli.report.treemap import Node, Treemap


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """Raises DrawingError when there is nothing to draw, no such module, or nothing to paint with."""
    if not checkpoint.nbytes:
        raise DrawingError("holds no bytes, so there is nothing to draw", path=checkpoint.path)
    overview = inspect(checkpoint)
    treemap = byte_tree(overview)
    root = find_root(overview.ledger, wish.root) if wish.root else ""
    if wish.format == "html":
        from modelscope_cli.render.treemap_page import Start, page

        return Painting(page(treemap, Start(path=root, theme=wish.theme)), "mscope")
    from modelscope_cli.render.treemap import lay_out

    return paint(lay_out(treemap, module(treemap, root), root, wish.levels, THEMES[wish.theme or "light"]), wish.format)


def module(treemap: Treemap, path: str) -> Node:
    """The node of a module that is there. Names may have dots in them, so the longest name that fits is taken first."""
    node, rest = treemap.root, path
    while rest:
        held = dict(treemap.children(node))
        name = max((name for name in held if rest == name or rest.startswith(name + ".")), key=len)
        node, rest = held[name], rest[len(name) + 1 :]
    return node
