"""A document: reports about checkpoints, each of sections of facts, tables, verdicts and findings, made of typed cells.

A cell is a Bytes, Count, Ratio, a change of one of these, Inferred or plain text, a Phrase of these, or None. Only renderers write
"1.2 GiB"; a machine format keeps the integers.
Columns and sections say whom they are for, because a person wants forty rows and a program all ninety thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

if TYPE_CHECKING:
    from modelscope_cli.report.treemap import Treemap

PEOPLE, MACHINES, BOTH = "people", "machines", "both"
# How much a document is to hold: the rows a person reads; all rows; those and pictures; all rows and every tensor.
READABLE, COMPLETE, PICTURED, EVERYTHING = "readable", "complete", "pictured", "everything"


class Bytes(int):
    """A number of bytes."""

    __slots__ = ()


class Count(int):
    """A number of things: parameters, tensors, elements."""

    __slots__ = ()


class Ratio(float):
    """A share between 0 and 1."""

    __slots__ = ()


class ThousandBytes(Bytes):
    """A number of bytes that somebody spoke of in kB or MB: shown in units of 1000 whatever the others are shown in."""

    __slots__ = ()


class BytesChange(Bytes):
    """How many bytes more (or, negative, fewer)."""

    __slots__ = ()


class CountChange(Count):
    """How many more (or, negative, fewer)."""

    __slots__ = ()


class RatioChange(Ratio):
    """A growth: 0.05 is 5 % more than before."""

    __slots__ = ()


class Inferred(str):
    """Text that the file does not record but that names and shapes show; people see it marked with ~."""

    __slots__ = ()


class Code(str):
    """A piece of code, such as a call: set as one piece where text and code look different."""

    __slots__ = ()


class Listing(str):
    """A text of several lines, such as a template: shown as it stands, line by line, and never as a part of a sentence."""

    __slots__ = ()


class Phrase(tuple[Any, ...]):
    """Text with typed cells in it: Phrase((Count(4_204_032), " params each"))."""

    __slots__ = ()

    def __str__(self) -> str:
        return "".join(f"{part:,}" if isinstance(part, int) else str(part) for part in self)


class Column(NamedTuple):
    """`key` names it in machine formats, `title` for people. `show_from`/`show_until`: terminal widths at which it is shown.

    Where there is not room for all, columns of text give way in proportion to `yields`: they are cut, or go on in lines below
    if they are `wrapped`.
    """

    key: str
    title: str = ""
    show_from: int = 0
    show_until: int = 10_000
    audience: str = BOTH
    yields: float = 1.0
    wrapped: bool = False


class Row(NamedTuple):
    """Cells in the order of the columns; `level` of the tree; `mark`: "", "section", "total", "more", or a module category."""

    cells: Sequence[Any]
    level: int = 0
    mark: str = ""


Item = TypeVar("Item")


class Made(Sequence[Item]):
    """Rows or nodes that are made anew for whoever walks over them: of a third of a million, each format needs one at a time."""

    __slots__ = ("_count", "_made")

    def __init__(self, made: Callable[[], Iterable[Item]], count: int):
        self._made = made
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return iter(self._made())

    @overload
    def __getitem__(self, key: int) -> Item: ...

    @overload
    def __getitem__(self, key: slice) -> list[Item]: ...

    def __getitem__(self, key: int | slice) -> Item | list[Item]:
        return list(self)[key]


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
    """Something to know. `severity`: info, warning or error. `message` is a sentence, or a listing of what stands at `where`."""

    severity: str
    code: str
    where: str
    message: str | Phrase


class Findings(NamedTuple):
    key: str
    title: str
    items: Sequence[Finding]
    audience: str = BOTH


class Verdict(NamedTuple):
    """What a rule says of a checkpoint. `status`: passed, failed, or warning (the rule met nothing to judge).

    `target` is the module pattern, "" for the whole; `limit`, `actual` and `message` are cells, the message a sentence with the
    numbers and, where it failed, the modules; `todo` what to do about it.
    """

    status: str
    rule: str
    target: str
    limit: Any
    actual: Any
    message: Any
    todo: str = ""


def summary(verdicts: Sequence[Verdict]) -> str:
    """Verdicts in a few words: 1 of 6 rules failed, 2 met nothing to judge."""
    failed, warned = (sum(verdict.status == status for verdict in verdicts) for status in ("failed", "warning"))
    rules = f"{len(verdicts):,} {'rule' if len(verdicts) == 1 else 'rules'}"
    said = f"{rules} passed" if not warned else f"{len(verdicts) - warned:,} of {rules} passed"
    return (f"{failed:,} of {rules} failed" if failed else said) + (f", {warned:,} met nothing to judge" if warned else "")


class Verdicts(NamedTuple):
    key: str
    title: str
    items: Sequence[Verdict]
    audience: str = BOTH
    caption: str = ""


class Drawing(NamedTuple):
    """A picture as SVG, for a light and for a dark page. Renderers that cannot show one leave it out."""

    key: str
    title: str
    light: str
    dark: str
    audience: str = PEOPLE


class Areas(NamedTuple):
    """A treemap to explore. Renderers that cannot show one leave it out."""

    key: str
    title: str
    treemap: Treemap
    audience: str = PEOPLE


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


Section = Table | Facts | Findings | Verdicts | Tree | Drawing | Areas


class Report(NamedTuple):
    """What is to be said about one checkpoint, or about two compared. `title` is the path.

    `headline` says it in a line. The first table is what was asked for; whoever has little room shows it open and folds the rest.
    `failed`: something could not be read.
    """

    schema: str
    title: str
    sections: Sequence[Section]
    failed: bool = False
    headline: Phrase = Phrase()


class Problem(NamedTuple):
    """An input that could not be read. `offset` is a byte position in `path`, `hint` what to do next."""

    error: str
    path: str | None
    message: str
    offset: int | None = None
    hint: str | None = None


class Document(NamedTuple):
    """Everything one command has to say: a report a checkpoint, and the inputs that could not be read."""

    schema: str
    reports: Sequence[Report]
    problems: Sequence[Problem] = ()
