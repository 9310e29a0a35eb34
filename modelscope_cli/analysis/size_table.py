"""Rows of sizes as a table: figures, shares of the parameters and of the files, and as many rows as can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.grouping import trim
from modelscope_cli.analysis.kinds import Kind
from modelscope_cli.analysis.size_row import SizeRow, count, depth, total
from modelscope_cli.report.document import (
    MACHINES,
    PEOPLE,
    READABLE,
    Bytes,
    Column,
    Count,
    Inferred,
    Made,
    Phrase,
    Ratio,
    Row,
    Table,
)

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Options, Overview

READABLE_ROWS = 48  # rows of the module table up to which it is shown in full
DEFAULT_TOP = 20  # rows beside each other under the other keys
MOST_LINES = 95_000  # rows that people are shown, whatever they ask for
WIDE = 112  # terminal width from which kinds and shapes have columns of their own
KEY_TITLES = {
    "module": "Module",
    "kind": "Kind",
    "dtype": "Dtype",
    "role": "Role",
    "layer": "Layer",
    "shard": "Shard",
    "storage": "Storage",
    "tensor": "Tensor",
    "section": "Section",
}
SUMMARY_COLUMNS = (
    Column("parameters", "Params"),
    Column("parameter_share", "%"),
    Column("bytes", "Bytes"),
    Column("file_share", "% file"),
)


def main_table(overview: Overview, detail: str) -> Table:
    """The table that was asked for: rows under `--by`, shares, the sections outside the tensors, TOTAL."""
    options = overview.options
    key = options.by[0]
    rows, caption = readable(overview.rows, options) if detail == READABLE else (overview.rows, "")
    if key in ("module", "kind") and any(row.kind.inferred and (row.kind.name or key == "kind") for row in walk(rows)):
        said = "~ kind inferred from names and shapes" if key == "module" else "kinds are inferred from names and shapes"
        caption = "; ".join(filter(None, [said, caption]))
    if overview.grouping.lines is not None:
        caption = "; ".join(filter(None, [caption, "the filter holds for this table only"]))
    if overview.tree.cut is not None:
        below = f"below level {overview.tree.cut} " if overview.tree.cut else ""
        caption = "; ".join(filter(None, [caption, f"there are too many modules to tell them apart {below}".strip()]))
    summed = total(overview.rows)
    if summed.nbytes != overview.nbytes:
        raise AssertionError(f"the rows account for {summed.nbytes:,} of {overview.nbytes:,} bytes")

    def lines() -> Iterator[Row]:
        yield from size_rows(rows, overview, opaque=detail != READABLE)
        yield size_line(summed, overview, 0, "total")

    lines_in_all = 1 + sum(1 for _ in walk(rows))
    shown: Sequence[Row] = Made(lines, lines_in_all) if detail != READABLE or lines_in_all > MOST_LINES else list(lines())
    if detail == READABLE and lines_in_all > MOST_LINES:
        shown = [
            *islice(shown, MOST_LINES),
            *(row for row in islice(shown, MOST_LINES, None) if row.mark in ("section", "total")),
        ]
        caption = "; ".join(
            filter(None, [caption, f"{lines_in_all - len(shown):,} rows are left out: -f csv and -f json have them all"])
        )
    titles = " › ".join(KEY_TITLES[part] for part in options.by)
    return Table(
        "modules" if options.by == ("module",) else "groups", "", size_columns(titles), shown, tree=True, caption=caption
    )


def readable(rows: list[SizeRow], options: Options) -> tuple[list[SizeRow], str]:
    """Rows cut to what was asked for, or else to what a person reads; and a caption that says what was left out."""
    deepest, visible = depth(rows, opaque=True), depth(rows)
    top = (
        options.top
        if options.top is not None
        else (0 if options.by == ("module",) and len(rows) <= READABLE_ROWS else DEFAULT_TOP)
    )
    if options.levels is not None:
        levels = options.levels or deepest
        if levels > visible:
            rows = [opened(row) for row in rows]
    else:
        levels = max((n for n in range(1, visible + 1) if count(trimmed_counts(rows, top), n) <= READABLE_ROWS), default=1)
    hidden = visible - levels
    caption = f"{levels} of {visible} levels shown; -d 0 shows all" if hidden > 0 and options.levels is None else ""
    return trim(rows, levels, top), caption


def opened(row: SizeRow) -> SizeRow:
    """A row that shows what it would rather keep to itself, and so for all inside it."""
    shown = row.holding([opened(child) for child in row.children])
    shown.opaque = False
    return shown


def trimmed_counts(rows: list[SizeRow], top: int) -> list[SizeRow]:
    """Rows as they will stand beside each other; used to decide how deep a table may go."""
    return rows[: top + 1] if top else rows


def walk(rows: list[SizeRow]) -> Iterator[SizeRow]:
    """All rows of a tree, each before its children."""
    for row in rows:
        yield row
        yield from walk(row.children)


def size_columns(first: str) -> list[Column]:
    """The columns of every table of sizes."""
    return [
        Column("label", first, yields=0.85),
        Column("kind", "Kind", show_from=WIDE),
        Column("detail", "Shape", show_from=WIDE),
        Column("what", "Kind", show_from=74, show_until=WIDE - 1, audience=PEOPLE),
        Column("parameters", "Params"),
        Column("parameter_share", "%"),
        Column("bytes", "Bytes"),
        Column("file_share", "% file"),
        Column("bar", "", show_from=90, audience=PEOPLE),
        Column("tensors", audience=MACHINES),
        Column("elements", audience=MACHINES),
        Column("fold", audience=MACHINES),
        Column("copies", audience=MACHINES),
        Column("parameters_each", audience=MACHINES),
        Column("inferred", audience=MACHINES),
        Column("tied_to", audience=MACHINES),
    ]


def size_rows(rows: list[SizeRow], overview: Overview, level: int = 0, *, opaque: bool = False) -> Iterator[Row]:
    """Rows of a tree as rows of a table."""
    for row in rows:
        mark = "section" if row.section else "more" if row.label.startswith("(") and not row.kind.name else row.kind.category
        yield size_line(row, overview, level, mark)
        if opaque or not row.opaque:
            yield from size_rows(row.children, overview, level + 1, opaque=opaque)


def size_line(row: SizeRow, overview: Overview, level: int, mark: str) -> Row:
    """One row: figures for all copies; the figure of one copy is named as such."""
    whole, files = overview.parameters, overview.nbytes
    kind = kind_cell(row.kind)
    each = row.parameters // row.copies if row.copies > 1 else None
    detail: tuple[Any, ...] = (row.kind.detail,) if row.kind.detail else ()
    what: tuple[Any, ...] = (kind, " " if kind and detail else "", *detail)  # both together, for narrow terminals
    if row.tied:
        detail = what = (f"tied to {row.tied}",)
    elif row.fold > 1:
        per_copy = Count(row.parameters // row.copies) if row.parameters else Bytes(row.nbytes // row.copies)
        what = (per_copy, " each", *((", ", *what) if any(what) else ()))
        detail = (*detail, *((", ",) if detail else ()), per_copy, " params each" if row.parameters else " each")
    label = f"{row.label} ×{row.fold}" if row.fold > 1 else row.label
    counts = row.parameters > 0 or row.tied is not None
    return Row(
        (
            label,
            kind or None,
            Phrase(detail) if detail else None,
            Phrase(what) if any(what) else None,
            Count(row.parameters) if counts or mark == "total" else None,
            Ratio(row.parameters / whole) if whole and row.parameters else None,
            Bytes(row.nbytes),
            Ratio(row.nbytes / files) if files else None,
            Ratio(row.nbytes / files) if files and mark != "total" else None,
            Count(row.tensors),
            Count(row.elements),
            Count(row.fold),
            Count(row.copies),
            Count(each) if each is not None else None,
            bool(row.kind.inferred and row.kind.name),
            row.tied,
        ),
        level,
        mark,
    )


def kind_cell(kind: Kind) -> str:
    """The name of a kind, typed by whether it is inferred."""
    return Inferred(kind.name) if kind.inferred and kind.name else kind.name


def summary_row(overview: Overview, row: SizeRow, *before: Any) -> Row:
    """A row of one of the small tables."""
    whole, files = overview.parameters, overview.nbytes
    return Row(
        (
            *before,
            Count(row.parameters) if row.parameters else None,
            Ratio(row.parameters / whole) if whole and row.parameters else None,
            Bytes(row.nbytes),
            Ratio(row.nbytes / files) if files else None,
        ),
        mark=row.kind.category,
    )
