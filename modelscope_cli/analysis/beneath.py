"""Names that lie beneath a module, found without a look at all the others.

A file can name tens of thousands of lists of layers, and as many lists of experts: to go through all weights for each of them would take
minutes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

DEEPEST = 16  # levels of a module that others are told to be beneath


class Beneath:
    """Dotted names, asked for those that begin with a path and a dot; they come in the order they were given in."""

    def __init__(self, names: Collection[str]):
        self._names = sorted(names)
        self._places = {name: place for place, name in enumerate(names)}

    def __call__(self, path: str) -> list[str]:
        """The names beneath a path."""
        first, last = bisect_left(self._names, f"{path}."), bisect_left(self._names, f"{path}/")  # "/" is what follows "."
        return sorted(self._names[first:last], key=self._places.__getitem__)


class Owners:
    """Paths, asked for the first of them that a name is beneath; "" is above all names. Those of more levels than there are count for none."""

    def __init__(self, paths: Iterable[str]):
        self._order: dict[str, int] = {}
        for path in paths:
            if path.count(".") < DEEPEST:
                self._order.setdefault(path, len(self._order))
        self._levels = max((path.count(".") + 1 for path in self._order), default=0)
        self._whole = self._order.get("")

    def of(self, name: str) -> str | None:
        """The first path that a name is beneath."""
        best, owner = self._whole, None if self._whole is None else ""
        for path in islice(above(name), self._levels):
            order = self._order.get(path)
            if order is not None and (best is None or order < best):
                best, owner = order, path
        return owner


def above(path: str) -> Iterator[str]:
    """What a dotted path is beneath, the top first: a, a.b for a.b.c."""
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)
