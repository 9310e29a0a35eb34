"""A row of a diff: what changed in a module, by how much, the rows inside it; and as many rows as can be read."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from modelscope_cli.analysis.diff_words import tally
from modelscope_cli.analysis.kinds import Kind
from modelscope_cli.analysis.size_row import NO_KIND

FEWEST = 6  # rows inside another below which they are not shown in part


class ChangeRow:
    """A row: what changed, by how much, and the rows inside it. Figures are for all `fold` copies together.

    `parameters` and `nbytes` are (old, new) totals of the module, what did not change in it included. `status`: changed, added,
    removed. `text` says what happened, `statuses` how many tensors underwent what.
    """

    __slots__ = (
        "children",
        "copies",
        "fold",
        "kind",
        "label",
        "nbytes",
        "nbytes_change",
        "parameters",
        "parameters_change",
        "position",
        "status",
        "statuses",
        "tensors",
        "text",
        "whole",
    )

    def __init__(self, label: str, status: str = "changed"):
        self.label = label
        self.status = status
        self.text: Any = ""
        self.kind: Kind = NO_KIND
        self.fold = 1
        self.copies = 1  # in all places, where what holds it folds too
        self.whole = False  # a module that is new or gone as a whole
        self.parameters = [0, 0]
        self.nbytes = [0, 0]
        self.parameters_change = 0
        self.nbytes_change = 0
        self.tensors = 0  # that changed
        self.statuses: Counter[str] = Counter()
        self.position = 0  # of its first tensor
        self.children: list[ChangeRow] = []

    def add(self, other: ChangeRow) -> None:
        """Count another row in this one, with its totals."""
        for which in (0, 1):
            self.parameters[which] += other.parameters[which]
            self.nbytes[which] += other.nbytes[which]
        self.gather(other)

    def gather(self, other: ChangeRow) -> None:
        """Count the changes of a row inside this one, which knows its totals."""
        self.parameters_change += other.parameters_change
        self.nbytes_change += other.nbytes_change
        self.tensors += other.tensors
        for word, count in other.statuses.items():
            self.statuses[word] += count

    def holding(self, children: list[ChangeRow]) -> ChangeRow:
        """This row with other children."""
        row = ChangeRow(self.label, self.status)
        for name in self.__slots__:
            setattr(row, name, getattr(self, name))
        row.children = children
        return row

    def __repr__(self) -> str:
        return f"<ChangeRow {self.label} {self.status} {self.parameters_change:+,} parameters {self.nbytes_change:+,} bytes>"


def merged(row: ChangeRow, child: ChangeRow) -> ChangeRow:
    """A row with a single row inside, and that, as one: `layers` + `0–31` = `layers.0–31`."""
    child.label = f"{row.label}.{child.label}"
    child.fold *= row.fold
    return child


def more(rows: list[ChangeRow]) -> ChangeRow:
    """Rows that are not shown one by one, as one."""
    summed = ChangeRow(f"({len(rows):,} more)", "more")
    for row in rows:
        summed.add(row)
    summed.text = tally(summed.statuses)
    return summed


def readable(rows: list[ChangeRow], budget: int) -> tuple[list[ChangeRow], int]:
    """As many rows as can be read, the outer ones first, and how many were not opened. No sum is lost."""
    top = _first(rows, budget)
    shown = [row.holding([]) for row in top]
    left = budget - len(shown)
    closed = 0
    waiting = deque(zip(top, shown, strict=True))
    while waiting:
        row, kept = waiting.popleft()
        children = _first(row.children, max(left, FEWEST)) if row.children else []
        if len(children) > left:
            closed += 1
            continue
        left -= len(children)
        kept.children = [child.holding([]) for child in children]
        waiting.extend(zip(children, kept.children, strict=True))
    return shown, closed


def _first(rows: list[ChangeRow], most: int) -> list[ChangeRow]:
    return rows if len(rows) <= most else [*rows[: most - 1], more(rows[most - 1 :])]


def walk(rows: list[ChangeRow]) -> Iterator[ChangeRow]:
    """All rows of a tree, each before those inside it."""
    for row in rows:
        yield row
        yield from walk(row.children)
