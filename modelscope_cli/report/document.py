"""A report: sections of facts, tables and findings, made of typed cells.

A cell is a Bytes, Count, Ratio, Inferred or plain text, a Phrase of these, or None. Only renderers write "1.2 GiB"; a machine format
keeps the integers.
Columns and sections say whom they are for, because a person wants forty rows and a program all ninety thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

PEOPLE, MACHINES, BOTH = "people", "machines", "both"


class Bytes(int):
    """A number of bytes."""

    __slots__ = ()


class Count(int):
    """A number of things: parameters, tensors, elements."""

    __slots__ = ()


class Ratio(float):
    """A share between 0 and 1."""

    __slots__ = ()


class Inferred(str):
    """Text that the file does not record but that names and shapes show; people see it marked with ~."""

    __slots__ = ()


class Phrase(tuple[Any, ...]):
    """Text with typed cells in it: Phrase((Count(4_204_032), " params each"))."""

    __slots__ = ()


class Column(NamedTuple):
    """`key` names it in machine formats, `title` for people. `show_from`/`show_until`: terminal widths at which it is shown.

    Where there is not room for all, columns of text give way in proportion to `yields`.
    """

    key: str
    title: str = ""
    show_from: int = 0
    show_until: int = 10_000
    audience: str = BOTH
    yields: float = 1.0


class Row(NamedTuple):
    """Cells in the order of the columns; `level` of the tree; `mark`: "", "section", "total", "more", or a module category."""

    cells: Sequence[Any]
    level: int = 0
    mark: str = ""


class Table(NamedTuple):
    """Rows under columns. With `tree` the first column is indented by the rows' levels."""

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    audience: str = BOTH
    tree: bool = False
    caption: str = ""


class Fact(NamedTuple):
    """`key` and `value` for machines; `text` for people where it says more than the value."""

    key: str
    label: str
    value: Any
    text: str | None = None
    audience: str = BOTH


class Facts(NamedTuple):
    """A list of named values. Untitled facts stand at the top level of a machine format."""

    key: str
    title: str
    items: Sequence[Fact]
    audience: str = BOTH


class Finding(NamedTuple):
    """Something to know. `severity`: info, warning or error."""

    severity: str
    code: str
    where: str
    message: str


class Findings(NamedTuple):
    key: str
    title: str
    items: Sequence[Finding]
    audience: str = BOTH


class TreeNode(NamedTuple):
    """A node of a nested text: `name`, what it is, and how many equal ones it stands for."""

    name: str
    kind: str
    detail: str
    parameters: int
    tensors: int
    fold: int
    children: Sequence[TreeNode]


class Tree(NamedTuple):
    """A nested text with a name at its root."""

    key: str
    title: str
    children: Sequence[TreeNode]
    audience: str = BOTH


class Report(NamedTuple):
    """A document about one checkpoint. `schema` is the version of the machine format, `title` the path."""

    schema: str
    title: str
    sections: Sequence[Table | Facts | Findings | Tree]
    failed: bool = False
