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
from collections.abc import Iterator
from itertools import islice
from typing import Any

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import UNSAFE, visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import PEOPLE, Document, Phrase, Report, Table, Verdict, Verdicts

MAIN = ("modules", "groups")
AT_ONCE = 500  # rows
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
        keys += [key for key in next(_rows(report), {}) if key not in keys]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(map(_cell, keys))
    for report in document.reports:
        rows = ({"path": report.title, **row} for row in _rows(report))
        while some := list(islice(rows, AT_ONCE)):
            writer.writerows([_cell(row.get(key)) for key in keys] for row in some)
            yield stream.getvalue().encode()
            stream.seek(0)
            stream.truncate()
    yield stream.getvalue().encode()


def _rows(report: Report) -> Iterator[dict[str, Any]]:
    """The table by modules (or what --by asked for), else the first one for machines, else the verdicts."""
    sections = [section for section in report.sections if section.audience != PEOPLE]
    tables = [section for section in sections if isinstance(section, Table)]
    table = next((table for table in tables if table.key in MAIN), tables[0] if tables else None)
    if table is None:
        for section in sections:
            if isinstance(section, Verdicts):
                yield from (_verdict(verdict) for verdict in section.items)
        return
    wanted = [(position, column.key) for position, column in enumerate(table.columns) if column.audience != PEOPLE]
    for row in table.rows:
        if row.mark == "more":
            continue
        cells = {key: row.cells[position] for position, key in wanted}
        yield {**cells, "depth": row.level, "section": row.mark in ("section", "total")} if table.tree else cells


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {**verdict._asdict(), "message": words(verdict.message, "auto", exact=True)}


def _cell(value: Any) -> str | int | float:
    """A number as it is; anything else as one line of harmless text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Phrase):
        value = "".join(f"{part:,}" if isinstance(part, int) else str(part) for part in value)
    elif isinstance(value, list | tuple | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return visible(FORMULA.sub(r"\1'\2", str(value)))
