"""What tensors are made of: quantised per channel, sparse (COO, CSR), wrapper subclasses. Most are a single array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.tensor import Shape

Layout = tuple[tuple[str, Shape], ...]  # dtype and shape of each part; where they lie does not count


def layout_of(ledger: Ledger, line: int) -> Layout:
    """The parts of a tensor, the main one first; empty where it is a single array."""
    tensors = ledger.checkpoint.tensors
    index = line if line < len(tensors) else ledger.tied[line]  # a name that the writer dropped is that of another tensor
    views = tensors.parts.get(index, ())
    if len(views) == 1 and (views[0].dtype, views[0].shape) == (ledger.dtypes[line], ledger.shapes[line]):
        return ()
    if views and views[0].origin is not None:  # in how many pieces a tensor lies says where it lies
        return ()
    return tuple([(view.dtype.name, view.shape) for view in views])


def same_layouts(old: Ledger, new: Ledger) -> bool:
    """Whether line by line the layouts are equal."""
    lines = old.checkpoint.tensors.parts.keys() | new.checkpoint.tensors.parts.keys()
    return all(layout_of(old, line) == layout_of(new, line) for line in lines)


def other_layouts(old: Ledger, new: Ledger, olds: Sequence[int], news: Sequence[int]) -> Iterator[int]:
    """The positions in two lists of lines at which the layouts differ."""
    if old.checkpoint.tensors.parts or new.checkpoint.tensors.parts:
        for at, (first, second) in enumerate(zip(olds, news, strict=True)):
            if layout_of(old, first) != layout_of(new, second):
                yield at
