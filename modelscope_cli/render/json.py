"""JSON: raw integers, everything, and a schema version. One object for one or many checkpoints.

    {"schema": "mscope.inspect/1",
     "checkpoints": [{"path": …, "bytes": …, "modules": [{"label": …, "depth": 0, …}], …}],
     "errors": [{"path": …, "message": …}]}

Sections become keys: facts without a key stand at the top, tables are lists of objects keyed by column, rows of trees carry
their depth. Sections and columns meant for people only are left out.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import UNSAFE
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import PEOPLE, Bytes, Count, Document, Facts, Findings, Phrase, Report, Table, Verdicts


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8, indented."""
    return b"".join(pieces(document, look))


def pieces(document: Document, look: Look) -> Iterator[bytes]:
    """The same, piece by piece: all of a large document, as objects and as text, would take gigabytes."""
    yield b'{\n  "schema": ' + written(document.schema, 1) + b',\n  "checkpoints": ['
    for number, report in enumerate(document.reports):
        yield b",\n    {" if number else b"\n    {"
        for place, (key, value) in enumerate(as_object(report).items()):
            yield (b",\n      " if place else b"\n      ") + written(key, 3) + b": "
            if isinstance(value, Table):
                yield from table_pieces(value, 3)
            else:
                yield written(value, 3)
        yield b"\n    }"
    errors = [_cell(problem._asdict()) for problem in document.problems]
    yield (b"\n  ]" if document.reports else b"]") + b',\n  "errors": ' + written(errors, 1) + b"\n}\n"


def table_pieces(table: Table, level: int) -> Iterator[bytes]:
    """A table as a list of objects, some hundreds at a time."""
    rows = _rows(table)
    begun = False
    while some := list(islice(rows, AT_ONCE)):
        listed = written(some, level)
        yield (b"," if begun else b"[") + listed[1 : listed.rindex(b"\n")]
        begun = True
    yield b"\n" + INDENT * level + b"]" if begun else b"[]"


def written(value: Any, level: int) -> bytes:
    """Plain data as it stands at a level of the document. A newline in JSON is never part of a text."""
    text = msgspec.json.encode(value, enc_hook=_hook)
    if not text.isascii() or b"\x7f" in text:
        text = UNSAFE_IN_TEXT.sub(_escaped, text.decode()).encode()
    lines = NUMBERS.sub(_in_a_line, msgspec.json.format(text, indent=len(INDENT)))
    return lines.replace(b"\n", b"\n" + INDENT * level)


INDENT = b"  "
NUMBERS = re.compile(rb"\[\n *(-?\d[^\]\[{\"]*)\n *\]")  # lists of numbers, such as shapes: in one line each
WHOLE = frozenset({int, Count, Bytes})
LEAST, MOST = -(1 << 63), (1 << 64) - 1  # whole numbers that readers of JSON can be expected to hold
AT_ONCE = 500  # rows of a table
UNSAFE_IN_TEXT = re.compile(f"(?!\n){UNSAFE.pattern}")


def _in_a_line(match: re.Match[bytes]) -> bytes:
    return b"[" + b" ".join(match[1].split()) + b"]"


def _escaped(match: re.Match[str]) -> str:
    """A character as JSON escapes it, in two halves beyond the first plane."""
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def as_object(report: Report) -> dict[str, Any]:
    """One report as nested plain data, in which tables are still tables."""
    document: dict[str, Any] = {}
    for section in report.sections:
        if section.audience == PEOPLE:
            continue
        if isinstance(section, Facts):
            target = document if not section.key else document.setdefault(section.key, {})
            target.update((_cell(fact.key), _cell(fact.value)) for fact in section.items if fact.audience != PEOPLE)
        elif isinstance(section, Findings):
            document[section.key] = [_cell(finding._asdict()) for finding in section.items]
        elif isinstance(section, Verdicts):
            document[section.key] = [
                _cell({**verdict._asdict(), "message": words(verdict.message, "auto", exact=True)}) for verdict in section.items
            ]
        elif isinstance(section, Table):
            document[section.key] = section
    return document


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    wanted = [(position, column.key) for position, column in enumerate(table.columns) if column.audience != PEOPLE]
    for row in table.rows:
        if row.mark == "more":
            continue
        values = row.cells
        cells = {  # the ordinary ones without a call: a document has millions
            key: value
            if (value := values[position]) is None or (kind := type(value)) is bool or (kind is str and value.isascii())
            else int(value)
            if kind in WHOLE and LEAST <= value <= MOST
            else _cell(value)
            for position, key in wanted
        }
        if table.tree:
            cells["depth"] = row.level
            cells["section"] = row.mark in ("section", "total")
        yield cells


def _cell(value: Any) -> Any:
    """Typed cells as plain numbers; numbers JSON has no word for as text; lone surrogates as escapes."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if value.isascii():
            return value
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        return value
    if isinstance(value, int):
        return int(value) if LEAST <= value <= MOST else str(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else str(value)
    if isinstance(value, Phrase):
        return _cell(str(value))
    if isinstance(value, dict):
        return {_cell(str(key)): _cell(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cell(inner) for inner in value]
    if isinstance(value, array):
        return value.tolist()
    return value


def _hook(value: Any) -> Any:
    return str(value)
