"""What is left of the names of one side, in units: tensors of one stem and shape, by their numbers.

A stem is a name with its numbers taken out: the 14,848 experts of a model are one unit, and two such units are compared by the
smaller one. A unit of one tensor, as most are where names have nothing in common, is a pair and no dictionary.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape

_NUMBERED = re.compile(r"(?<![^.])\d+(?![^.])")
NUMBER = "\0"  # stands for a number in a stem
Couple = tuple[int, int]
Numbers = tuple[str, ...]
Unit = tuple[Numbers, int] | dict[Numbers, int]  # tensors by their numbers; of a single one both


class Side(NamedTuple):
    """The names of one side that the other does not have, with their shapes and roles."""

    names: Sequence[str]
    shapes: Sequence[Shape]
    roles: Sequence[str]


class Left:
    """What is not coupled yet on one side.

    `literal`: numbers are part of the name, and every tensor is a unit of its own.
    """

    def __init__(self, side: Side, free: list[bool], literal: bool):
        self.side = side
        self.free = free
        self.place: dict[tuple[str, Shape], int] = {}
        units: list[Unit] = []
        last, stemmed = "", stem_of("")
        for position, name in enumerate(side.names):
            if not free[position] or NUMBER in name:
                continue
            numbers: Numbers = ()
            stem = name
            if not literal:
                head, dot, leaf = name.rpartition(".")
                if head != last:
                    last, stemmed = head, stem_of(head)
                numbers = stemmed[1]
                if leaf.isdecimal():
                    leaf, numbers = NUMBER, (*numbers, leaf)
                if numbers:
                    stem = stemmed[0] + dot + leaf
            number = self.place.setdefault((stem, side.shapes[position]), len(units))
            if number == len(units):
                units.append((numbers, position))
                continue
            unit = units[number]
            if isinstance(unit, tuple):
                unit = units[number] = dict([unit])
            unit[numbers] = position
        ordered = sorted(self.place)
        self.stems = [stem for stem, _ in ordered]
        self.shapes = [shape for _, shape in ordered]
        self.units = [units[self.place[key]] for key in ordered]
        self.unit_of = array("i", bytes(4 * len(side.names)))
        for number, key in enumerate(ordered):
            self.place[key] = number
            for position in positions(self.units[number]):
                self.unit_of[position] = number

    def under(self, prefix: str) -> range:
        """The units under a prefix."""
        if not prefix:
            return range(len(self.stems))
        return range(bisect_left(self.stems, prefix), bisect_left(self.stems, prefix[:-1] + "/"))  # "/" follows "."

    def count(self, prefix: str) -> int:
        """Tensors left under a prefix."""
        span = self.under(prefix)
        return sum(map(size, self.units[span.start : span.stop]))


def size(unit: Unit) -> int:
    """Tensors of a unit."""
    return 1 if isinstance(unit, tuple) else len(unit)


def positions(unit: Unit) -> Iterable[int]:
    return (unit[1],) if isinstance(unit, tuple) else unit.values()


def shared(unit: Unit, other: Unit) -> list[Couple]:
    """The tensors of two units that have the same numbers, in the order of the first one."""
    if isinstance(unit, tuple):
        second = (other[1] if other[0] == unit[0] else None) if isinstance(other, tuple) else other.get(unit[0])
        return [(unit[1], second)] if second is not None else []
    if isinstance(other, tuple):
        first = unit.get(other[0])
        return [(first, other[1])] if first is not None else []
    if len(unit) <= len(other):
        return [(first, other[numbers]) for numbers, first in unit.items() if numbers in other]
    return sorted([(unit[numbers], second) for numbers, second in other.items() if numbers in unit])


def stem_of(text: str) -> tuple[str, Numbers]:
    """A name with its numbers taken out, and the numbers."""
    numbers = tuple(_NUMBERED.findall(text))
    return (_NUMBERED.sub(NUMBER, text) if numbers else text), numbers
