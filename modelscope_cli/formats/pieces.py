"""Tensors that lie in pieces: whether the pieces make up the whole, and which file holds some of which tensor.

A piece is a box in its tensor: where it begins and how far it reaches, a number a dimension. Writers cut along a few axes, so
the cuts of all pieces together make a grid of few cells, and each cell should be in exactly one piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape, TensorTable

Box = tuple[Shape, Shape]  # origin and shape
CELLS = 2_000_000  # looked at, for all tensors of a checkpoint together
CELLS_OF_ONE = 200_000


class Fit(NamedTuple):
    """How pieces cover a tensor: elements in no piece, elements in more than one, pieces that reach outside."""

    missing: int
    twice: int
    outside: int


class Fitting:
    """Fits pieces into tensors, with a bound on the work: what goes beyond it is judged by the number of elements alone."""

    def __init__(self) -> None:
        self.left = CELLS

    def fit(self, shape: Shape, boxes: Sequence[Box]) -> Fit:
        """How some pieces cover a tensor of this shape."""
        if len(boxes) == 1 and boxes[0][1] == shape and not any(boxes[0][0]):
            return Fit(0, 0, 0)
        inside = [box for box in boxes if all(map(_within, *box, shape))]
        whole, taken = math.prod(shape), sum([math.prod(size) for _, size in inside])
        counts = self._cells([box for box in inside if 0 not in box[1]])
        covered = min(taken, whole) if counts is None else counts
        return Fit(whole - covered, taken - covered, len(boxes) - len(inside))

    def _cells(self, boxes: list[Box]) -> int | None:
        """Elements in at least one box, or None where it would take too long to tell."""
        if not boxes:
            return 0
        edges = [
            sorted({place for origin, size in boxes for place in (origin[axis], origin[axis] + size[axis])})
            for axis in range(len(boxes[0][0]))
        ]
        places = [{edge: number for number, edge in enumerate(along)} for along in edges]
        seen: set[tuple[int, ...]] = set()
        work = 0
        for origin, size in boxes:
            spans = [
                range(place[start], place[start + extent]) for place, start, extent in zip(places, origin, size, strict=True)
            ]
            work += math.prod(map(len, spans))
            if work > min(CELLS_OF_ONE, self.left):
                self.left -= min(work, self.left)
                return None
            seen.update(product(*spans))
        self.left -= work
        return sum([math.prod([along[at + 1] - along[at] for along, at in zip(edges, cell, strict=True)]) for cell in seen])


def _within(start: int, extent: int, whole: int) -> bool:
    return start + extent <= whole


def flat_fit(numel: int, runs: Iterable[tuple[int, int]]) -> Fit:
    """How runs of elements (first, how many) cover a tensor of `numel`."""
    position = covered = taken = outside = 0
    for first, count in sorted(runs):
        if first + count > numel:
            outside += 1
            continue
        taken += count
        covered += max(0, first + count - max(first, position))
        position = max(position, first + count)
    return Fit(numel - covered, taken - covered, outside)


def tensors_by_file(table: TensorTable) -> Iterator[list[int]]:
    """For each file of the table, in order, the tensors of which it holds some."""
    held: list[list[int]] = [[] for _ in table.filenames]
    files = table.storage.files
    for index, storage in enumerate(table.storages):
        if index not in table.parts:
            if storage >= 0:
                held[files[storage]].append(index)
        else:
            for file in {files[view.storage] for view in table.parts[index] if view.storage >= 0}:
                held[file].append(index)
    return iter(held)
