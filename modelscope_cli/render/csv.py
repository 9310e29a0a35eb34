"""CSV: the main table of every report in one table, for a spreadsheet or pandas.

    path,label,kind,parameters,parameter_share,bytes,…,depth,section
    decoder.pth,embedding,Embedding,50499072,0.39976,201996288,…,0,false

Columns are named by the keys that JSON uses; numbers are raw integers and shares fractions. RFC 4180 and UTF-8, with two
choices. Lines end in `\\n`, not `\\r\\n`: every spreadsheet reads both, and `cut`, `awk` and `git diff` would keep the `\\r` in the
last column. There is no byte order mark: it would become part of the first column's name.

A cell of text that a spreadsheet would take for a formula gets a `'` before it, which spreadsheets know as the sign of text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import UNSAFE, visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import PEOPLE, Bytes, Count, Document, Phrase, Ratio, Report, Table, Verdict, Verdicts

MAIN = ("modules", "groups")
AT_ONCE = 500  # rows
BOOLEANS = ("false", "true")
NUMBERS = frozenset({int, float, Bytes, Count, Ratio})
HARMLESS = re.compile(r"\w[\w ./×-]*", re.ASCII)  # most names and shapes: no formula, nothing to escape
TITLE, NOTHING = -2, -1  # places in every row of cells
# What starts a formula, after whitespace and what nobody sees; or, where columns end at a semicolon, after one of those.
_UNSEEN = rf"[\s\"'{UNSAFE.pattern[1:-1]}]"
FORMULA = re.compile(rf"(\A|;)({_UNSEEN}*[=+\-@＝＋－＠]|(?<!;)[\t\r])")


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    return b"".join(pieces(document, look))


def pieces(document: Document, look: Look, delimiter: str = ",") -> Iterator[bytes]:
    """A line of keys, then a line a row, with this between cells; some hundreds of lines at a time."""
    keys = ["path"]
    for report in document.reports:  # all rows of a report have the same
        keys += [key for key in _rows(report)[0] if key not in keys]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(map(_cell, keys))
    for report in document.reports:
        held, rows = _rows(report)
        places = [held.index(key) if key in held else TITLE if key == "path" else NOTHING for key in keys]
        while some := list(islice(rows, AT_ONCE)):
            writer.writerows(
                [  # the ordinary cells without a call: a document has millions
                    value
                    if (value := row[place]) is None
                    or (kind := type(value)) in NUMBERS
                    or (kind is str and HARMLESS.fullmatch(value))
                    else BOOLEANS[value]
                    if kind is bool
                    else _cell(value)
                    for place in places
                ]
                for row in some
            )
            yield stream.getvalue().encode()
            stream.seek(0)
            stream.truncate()
    yield stream.getvalue().encode()


def _rows(report: Report) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """The table by modules (or what --by asked for), else the first one for machines, else the verdicts: keys and rows of cells.

    A row ends with the title of the report and a None, for which no key stands.
    """
    sections = [section for section in report.sections if section.audience != PEOPLE]
    tables = [section for section in sections if isinstance(section, Table)]
    table = next((table for table in tables if table.key in MAIN), tables[0] if tables else None)
    if table is None:
        verdicts = [_verdict(verdict) for section in sections if isinstance(section, Verdicts) for verdict in section.items]
        return list(Verdict._fields) if verdicts else [], ((*verdict.values(), report.title, None) for verdict in verdicts)
    wanted = [(position, column.key) for position, column in enumerate(table.columns) if column.audience != PEOPLE]
    keys = [key for _, key in wanted]
    return [*keys, "depth", "section"] if table.tree else keys, _cells(
        table, [position for position, _ in wanted], report.title
    )


def _cells(table: Table, places: list[int], title: str) -> Iterator[Sequence[Any]]:
    tree = table.tree
    for row in table.rows:
        if row.mark != "more":
            cells = [row.cells[place] for place in places]
            yield [*cells, row.level, row.mark in ("section", "total"), title, None] if tree else [*cells, title, None]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {**verdict._asdict(), "message": words(verdict.message, "auto", exact=True)}


def _cell(value: Any) -> str | int | float:
    """A number as it is; anything else as one line of harmless text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return BOOLEANS[value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Phrase):
        value = "".join(f"{part:,}" if isinstance(part, int) else str(part) for part in value)
    elif isinstance(value, list | tuple | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    return text if HARMLESS.fullmatch(text) else visible(FORMULA.sub(r"\1'\2", text))
