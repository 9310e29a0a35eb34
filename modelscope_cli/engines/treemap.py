"""The treemap: as a page to explore, or as one sheet."""

from __future__ import annotations

from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.bridges.graphviz import Painting, paint
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.treemap import Node, Treemap


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """Raises DrawingError when there is nothing to draw, no such module, or nothing to paint with."""
    if not checkpoint.nbytes:
        raise DrawingError("holds no bytes, so there is nothing to draw", path=checkpoint.path)
    treemap = byte_tree(inspect(checkpoint))
    top = module(treemap, wish.root, checkpoint.path) if wish.root else treemap.root
    if wish.format == "html":
        from modelscope_cli.render.treemap_page import Start, page

        return Painting(page(treemap, Start(path=wish.root or "", theme=wish.theme)), "mscope")
    from modelscope_cli.render.treemap import lay_out

    return paint(lay_out(treemap, top, wish.root or "", wish.levels, THEMES[wish.theme or "light"]), wish.format)


def module(treemap: Treemap, root: str, path: str) -> Node:
    """The node at a dotted path. Names may have dots in them, so the longest name that fits is taken first."""
    node, rest = treemap.root, root
    while rest:
        held = dict(treemap.children(node))
        name = max((name for name in held if rest == name or rest.startswith(name + ".")), key=len, default=None)
        if name is None:
            inside = list(held)
            named = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "")
            raise DrawingError(f"no module is called {root!r}", path=path, hint=f"there are {named}" if inside else None)
        node, rest = held[name], rest[len(name) + 1 :]
    return node
