"""Figures of modules now and in the baseline, whatever they were called there.

A diff knows which tensor became which, so a module is held against itself also when a wrapper has put `module.` in front of
all names since, or a checkpoint has put them under `model.`. Ties are settled as the diff settles them: what both files tie
belongs to the same name on both sides.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.checks.patterns import Pattern
from modelscope_cli.checks.rule import Subject


class Pair(NamedTuple):
    """A module with its figure now and in the baseline; None where it is not there."""

    path: str
    new: int | None
    old: int | None

    @property
    def change(self) -> int:
        return (self.new or 0) - (self.old or 0)


def pairs(subject: Subject, pattern: Pattern, *, by_parameters: bool) -> list[Pair]:
    """The modules that match, by the names of today; or, when none of today's does, by those of the baseline. Empty where
    no module of today matches either way."""
    diff = subject.diff
    old_names, new_names = diff.old.names, diff.new.names
    today = [new_names[other] if other >= 0 else name for name, other in zip(old_names, diff.partner, strict=True)]
    found = _figures(subject, pattern, today, new_names, by_parameters=by_parameters)
    if any(pair.new is not None for pair in found):
        return found
    before = [old_names[other] if other >= 0 else name for name, other in zip(new_names, diff.origin, strict=True)]
    found = _figures(subject, pattern, old_names, before, by_parameters=by_parameters)
    return found if any(pair.new is not None for pair in found) else []


def _figures(
    subject: Subject, pattern: Pattern, old_names: list[str], new_names: list[str], *, by_parameters: bool
) -> list[Pair]:
    sides: list[dict[str, int]] = []
    for names, books in zip((old_names, new_names), subject.diff.books, strict=True):
        column = books.parameters if by_parameters else books.nbytes
        sides.append({path: sum([column[line] for line in lines]) for path, lines in pattern.lines(names).items()})
    old, new = sides
    return [Pair(path, new.get(path), old.get(path)) for path in {**new, **old}]
