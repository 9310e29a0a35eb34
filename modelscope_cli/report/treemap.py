"""A treemap as content: where the parameters and bytes of a checkpoint are, down to single tensors, for any renderer.

Models repeat themselves, so what a module holds is stored once however often it occurs: a node says what is there, not
where. Names stand with the parent. DeepSeek-V3's 90,427 tensors are some twenty nodes, and nothing is lost:

    root ── "model" ── "layers" ── "0" ─┐
                                   "1" ─┴─ one node for both ── "mlp" ── …

A place is a walk from the root. Bytes outside all tensors are nodes of the root, so its `nbytes` is the size of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape

BUFFER, OPTIMIZER, COPY, OUTSIDE = "buffer", "optimizer", "copy", "outside"  # categories beside those of modules


class Node(NamedTuple):
    """What one place holds, or many equal ones.

    A module has `names` and `children` (positions in Treemap.nodes, each smaller than its own). A tensor has a `shape`, in torch
    order, with `dtype` and `role`. Bytes outside the tensors have neither, only `nbytes`. `kind` and `detail` say what a module
    is (Linear, 4,096 → 4,096), `inferred` that names and shapes show it; `category` is what colours go by, inherited from the
    module around where the node by itself has none: a Linear in an MLP is mlp. Figures are of all below; ties count once.
    """

    category: str
    kind: str = ""
    detail: str = ""
    inferred: bool = False
    parameters: int = 0
    nbytes: int = 0
    tensors: int = 0
    names: tuple[str, ...] = ()
    children: tuple[int, ...] = ()
    shape: Shape | None = None
    dtype: str = ""
    bits: int | float | None = None  # of one element; None where the dtype is not known
    role: str = ""


class Treemap(NamedTuple):
    """`nodes` come after their children, the root last. `facts` are words for a subtitle. `ties`: tensor → the one it is tied to."""

    title: str
    facts: Sequence[str]
    nodes: Sequence[Node]
    ties: dict[str, str]

    @property
    def root(self) -> Node:
        """All of it: the parameters of the model, the size of the files."""
        return self.nodes[-1]

    def children(self, node: Node) -> Iterator[tuple[str, Node]]:
        """(name, node) of what is directly inside: numbered modules by number, else in the order of the model."""
        return zip(node.names, map(self.nodes.__getitem__, node.children), strict=True)

    def tensors(self) -> Iterator[tuple[str, Node]]:
        """(full name, node) of every tensor: the tree unfolded."""
        waiting = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node.shape is not None:
                yield path[1:], node
            waiting += [(f"{path}.{name}", inside) for name, inside in reversed(list(self.children(node)))]
