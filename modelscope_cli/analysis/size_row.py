"""A row of a size table: what it is, how much of everything it holds, and the rows inside it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from modelscope_cli.analysis.kinds import Kind

NO_KIND = Kind("", "", "other")


class SizeRow:
    """Figures are for all `copies` together; `copies` counts every repetition, those of the enclosing blocks included.

    `fold` is how many equal siblings this row stands for. `section` rows are bytes outside the tensors ([header] …).
    `opaque` rows have children that are shown only when asked for. `tied` names what the row shares its elements with.
    """

    __slots__ = (
        "children",
        "copies",
        "elements",
        "fold",
        "kind",
        "label",
        "nbytes",
        "opaque",
        "parameters",
        "section",
        "tensors",
        "tied",
    )

    def __init__(
        self,
        label: str,
        kind: Kind = NO_KIND,
        *,
        tensors: int = 0,
        parameters: int = 0,
        elements: int = 0,
        nbytes: int = 0,
        children: list[SizeRow] | None = None,
        copies: int = 1,
        fold: int = 1,
        section: bool = False,
        opaque: bool = False,
        tied: str | None = None,
    ):
        self.label = label
        self.kind = kind
        self.tensors = tensors
        self.parameters = parameters
        self.elements = elements  # distinct elements, whatever their role
        self.nbytes = nbytes
        self.children = children if children is not None else []
        self.copies = copies
        self.fold = fold
        self.section = section
        self.opaque = opaque
        self.tied = tied

    def add(self, other: SizeRow) -> None:
        """Count another row's figures in this one."""
        self.tensors += other.tensors
        self.parameters += other.parameters
        self.elements += other.elements
        self.nbytes += other.nbytes

    def holding(self, children: list[SizeRow]) -> SizeRow:
        """This row with other children."""
        row = copy(self)
        row.children = children
        return row

    def __repr__(self) -> str:
        return f"<SizeRow {self.label} {self.kind.name} {self.parameters:,} parameters {self.nbytes:,} bytes ×{self.copies}>"


def total(rows: Iterable[SizeRow], label: str = "TOTAL") -> SizeRow:
    """The sum of rows, which is the size of the files when section rows are among them."""
    summed = SizeRow(label)
    for row in rows:
        summed.add(row)
    return summed


def depth(rows: list[SizeRow], *, opaque: bool = False) -> int:
    """Levels of rows; what opaque rows hide counts only when asked."""
    return max((1 + (depth(row.children, opaque=opaque) if opaque or not row.opaque else 0) for row in rows), default=0)


def count(rows: list[SizeRow], levels: int, *, opaque: bool = False) -> int:
    """Rows down to a level."""
    if levels <= 0:
        return 0
    return sum(1 + (count(row.children, levels - 1, opaque=opaque) if opaque or not row.opaque else 0) for row in rows)
