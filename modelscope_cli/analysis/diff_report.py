"""A diff as a report: what both are, where the model changed, what was renamed, every tensor's change, and what is around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

from modelscope_cli.analysis.diff import Diff, Total
from modelscope_cli.analysis.diff_header import header, headline
from modelscope_cli.analysis.diff_row import ChangeRow, readable, walk
from modelscope_cli.analysis.diff_tables import every_tensor, kept, smaller_tables
from modelscope_cli.analysis.diff_words import ADDED, tally
from modelscope_cli.analysis.findings import from_notes
from modelscope_cli.analysis.size_table import kind_cell
from modelscope_cli.report.document import (
    EVERYTHING,
    MACHINES,
    READABLE,
    Bytes,
    BytesChange,
    Column,
    Count,
    CountChange,
    Finding,
    Findings,
    Phrase,
    RatioChange,
    Report,
    Row,
    Section,
    Table,
)

SCHEMA = "mscope.diff/1"
READABLE_ROWS = 40  # of the tree, beside those of the container and TOTAL
NOT_COMPARED = "values of tensors are not compared"
COLUMNS = (
    Column("label", "Module", yields=0.85),
    Column("change", "Change"),
    Column("parameters_change", "± Params"),
    Column("parameters_growth", "%"),
    Column("bytes_change", "± Bytes"),
    Column("bytes_growth", "%", show_from=90),
    Column("status", audience=MACHINES),
    Column("kind", audience=MACHINES),
    Column("inferred", audience=MACHINES),
    Column("fold", audience=MACHINES),
    Column("tensors", audience=MACHINES),
    Column("parameters_old", audience=MACHINES),
    Column("parameters_new", audience=MACHINES),
    Column("bytes_old", audience=MACHINES),
    Column("bytes_new", audience=MACHINES),
)


def to_report(diff: Diff, detail: str = READABLE) -> Report:
    """The document. `detail` READABLE cuts tables to what a person reads, EVERYTHING adds every tensor that is not the same."""
    old, new = diff.old.checkpoint, diff.new.checkpoint
    told = sections(diff, detail)
    failed = any(note.severity == "error" for side in (old, new) for note in side.notes)
    return Report(SCHEMA, f"{old.path} → {new.path}", [header(diff), *told], failed, headline(diff, diff.tree.rows))


def sections(diff: Diff, detail: str = READABLE) -> list[Section]:
    """All but the header; empty where nothing differs."""
    tree = diff.tree
    modules = partial(kept, diff, "modules", detail, partial(tree_table, diff, tree.rows, detail))
    tables: list[Table] = []
    if tree.rows:
        tables.append(modules())
    tables += smaller_tables(diff, detail, tree.within)
    if not tree.rows and (any(size.change for size in diff.outside.values()) or diff.stored):
        tables.append(modules())  # the container only: what happened to the tensors stands first
    if tables:
        caption = "; ".join(filter(None, [tables[0].caption, NOT_COMPARED]))
        tables[0] = tables[0]._replace(caption=caption)
    found = findings(diff)
    told: list[Section] = [*tables]
    if found:
        told.append(Findings("findings", "Findings", found))
    if detail == EVERYTHING:
        everything = every_tensor(diff)
        told += [everything] if everything.rows else []
    return told


# The tree -----------------------------------------------------------------------------------------------------------------


def tree_table(diff: Diff, rows: list[ChangeRow], detail: str) -> Table:
    """± parameters and ± bytes of every module that changed, of what is outside the tensors, and of the files."""
    shown, closed = readable(rows, READABLE_ROWS) if detail == READABLE else (rows, 0)
    lines = list(_lines(shown, 0))
    around = {f"[{label}]": size for label, size in diff.outside.items() if size.change}
    if diff.stored:
        around["[compression]"] = Total(0, diff.stored)  # of tensors that are the same
    nbytes = sum([row.nbytes_change for row in shown]) + sum([size.change for size in around.values()])
    if detail == READABLE and rows and len(around) > 1:
        lines.append(_container(around))
    else:
        lines += [_outside(label, size) for label, size in around.items()]
    parameters = sum([row.parameters_change for row in shown])
    if (parameters, nbytes) != (diff.parameters.change, diff.nbytes.change):
        raise AssertionError(f"the rows differ by {nbytes:+,} bytes, the files by {diff.nbytes.change:+,}")
    summed = ChangeRow("TOTAL")
    summed.parameters, summed.nbytes = list(diff.parameters), list(diff.nbytes)
    summed.parameters_change, summed.nbytes_change = parameters, nbytes
    summed.tensors, summed.text = sum([row.tensors for row in shown]), tally(diff.aspects)
    lines.append(_line(summed, 0, "total"))
    captions = [f"{closed:,} {'row has' if closed == 1 else 'rows have'} more inside; -f json has all"] if closed else []
    if any(row.kind.inferred and row.kind.name for row in walk(shown)):
        captions.insert(0, "~ kind inferred from names and shapes")
    return Table("modules", "", COLUMNS, lines, tree=True, caption="; ".join(captions))


def _lines(rows: list[ChangeRow], level: int) -> Iterator[Row]:
    for row in rows:
        yield _line(row, level, "more" if row.status == "more" else row.kind.category if row.kind.name else "")
        yield from _lines(row.children, level + 1)


def _line(row: ChangeRow, level: int, mark: str) -> Row:
    """One row; figures for all copies."""
    counts = any(row.parameters) or mark == "total"
    label = f"{row.label} ×{row.fold}" if row.fold > 1 else row.label
    what = row.status, kind_cell(row.kind) or None, bool(row.kind.inferred and row.kind.name)
    changes = _changes(row.parameters_change if counts else None, row.nbytes_change, row.parameters[0], row.nbytes[0])
    return Row((label, row.text, *changes, *what, *_totals(row.fold, row.tensors, *row.parameters, *row.nbytes)), level, mark)


@lru_cache(maxsize=4096)  # thousands of rows have figures in common, which then take memory once
def _changes(parameters: int | None, nbytes: int, old_parameters: int, old_bytes: int) -> tuple[Any, ...]:
    counted = None if parameters is None else CountChange(parameters)
    return counted, _growth(parameters or 0, old_parameters), BytesChange(nbytes), _growth(nbytes, old_bytes)


@lru_cache(maxsize=4096)
def _totals(fold: int, tensors: int, *sides: int) -> tuple[Any, ...]:
    return Count(fold), Count(tensors), Count(sides[0]), Count(sides[1]), Bytes(sides[2]), Bytes(sides[3])


def _growth(change: int, old: int) -> RatioChange | None:
    return RatioChange(change / old) if change and old else None


def _outside(label: str, size: Total) -> Row:
    """Bytes that no tensor owns, or of another way to store tensors that are the same."""
    stored = label == "[compression]"
    text = "equal tensors, stored otherwise" if stored else Phrase((Bytes(size.old), " → ", Bytes(size.new)))
    sides = (None, None) if stored else (Bytes(size.old), Bytes(size.new))
    return _section(label, text, size, *sides)


def _container(around: dict[str, Total]) -> Row:
    """All of these in a row, which is enough where they are not what matters."""
    told: list[Any] = []
    for label, size in around.items():
        told += [", " if told else "", f"{label.strip('[]')} ", BytesChange(size.change)]
    summed = Total(*[sum([size[which] for size in around.values()]) for which in (0, 1)])
    return _section("[container]", Phrase(told), summed, Bytes(summed.old), Bytes(summed.new))


def _section(label: str, text: Any, size: Total, old: Bytes | None, new: Bytes | None) -> Row:
    machines = ("", None, False, Count(1), Count(0), None, None, old, new)
    return Row((label, text, None, None, BytesChange(size.change), _growth(size.change, size.old), *machines), 0, "section")


# Findings -----------------------------------------------------------------------------------------------------------------


def findings(diff: Diff) -> list[Finding]:
    """New imports that are not known to be harmless, and what could not be read on either side."""
    new = diff.new.checkpoint
    strange = [change.name for change in diff.imports if change.status == ADDED and not change.harmless]
    found = []
    if strange:
        shown = ", ".join(strange[:5]) + (", …" if len(strange) > 5 else "")
        text = f"loading it with pickle would newly import {shown}; nothing was executed here"
        found.append(Finding("warning", "imports", os.path.basename(new.path), text))
    for name, side in (("old", diff.old.checkpoint), ("new", new)):
        for finding in from_notes(side):
            if finding.severity != "info":
                where = f"{name}, {finding.where}" if finding.where else name
                found.append(finding._replace(where=where))
    order = {"error": 0, "warning": 1}
    return sorted(found, key=lambda finding: order[finding.severity])
