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
from itertools import chain, islice
from typing import Any

import msgspec

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import UNSAFE
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import (
    PEOPLE,
    Bytes,
    Count,
    Document,
    Facts,
    Findings,
    Phrase,
    Ratio,
    Report,
    Table,
    Verdicts,
)


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
    """A table as a list of objects, some hundreds at a time. A document has millions of cells, so they are written by columns."""
    wanted = [(position, column.key) for position, column in enumerate(table.columns) if column.audience != PEOPLE]
    keys = [*(key for _, key in wanted), *(("depth", "section") if table.tree else ())]
    lines = b",".join(b"\n" + INDENT * (level + 2) + written(key, 0).replace(b"%", b"%%") + b": %s" for key in keys)
    shape = b"\n" + INDENT * (level + 1) + b"{" + lines + b"\n" + INDENT * (level + 1) + b"}"
    rows = (row for row in table.rows if row.mark != "more")
    begun = False
    while some := list(islice(rows, AT_ONCE)):
        columns = [_column([row.cells[position] for row in some], level + 2) for position, _ in wanted]
        if table.tree:
            columns.append(_column([row.level for row in some], level + 2))
            columns.append(_column([row.mark in ("section", "total") for row in some], level + 2))
        yield (b"," if begun else b"[") + b",".join([shape % cells for cells in zip(*columns, strict=True)])
        begun = True
    yield b"\n" + INDENT * level + b"]" if begun else b"[]"


def _column(values: list[Any], level: int) -> list[bytes]:
    """Each cell of a column as it stands at a level of the document."""
    kinds = {*map(type, values)}
    if kinds <= NUMBER:
        values = [_number(value) if value is not None else None for value in values]
    elif kinds <= NUMBER_LIST and _whole(values):
        return _lines(values).replace(b",", b", ").split(b"\n")
    elif not kinds <= WORD:
        values = [*map(_cell, values)]
        if any([type(value) in (list, dict) for value in values]):
            return [written(value, level) for value in values]
    try:
        return _lines(values).split(b"\n")
    except UnicodeEncodeError:  # half a character
        return _lines([*map(_cell, values)]).split(b"\n")


def _whole(lists: list[Any]) -> bool:
    """Whether lists hold nothing but whole numbers that JSON has a word for."""
    flat = [*chain.from_iterable(filter(None, lists))]
    return {*map(type, flat)} <= {int} and (not flat or (min(flat) >= LEAST and max(flat) <= MOST))


def _lines(values: list[Any]) -> bytes:
    """Plain data, a line each."""
    return _safe(ENCODER.encode_lines(values)[:-1])


def written(value: Any, level: int) -> bytes:
    """Plain data as it stands at a level of the document. A newline in JSON is never part of a text."""
    text = _safe(ENCODER.encode(value))
    lines = NUMBERS.sub(_in_a_line, msgspec.json.format(text, indent=len(INDENT)))
    return lines.replace(b"\n", b"\n" + INDENT * level)


def _safe(text: bytes) -> bytes:
    """JSON without characters that a terminal obeys."""
    if text.isascii() and b"\x7f" not in text:
        return text
    return UNSAFE_IN_TEXT.sub(_escaped, text.decode()).encode()


ENCODER = msgspec.json.Encoder(enc_hook=str)
INDENT = b"  "
NUMBERS = re.compile(rb"\[\n *(-?\d[^\]\[{\"]*)\n *\]")  # lists of numbers, such as shapes: in one line each
NUMBER = frozenset({type(None), int, float, Count, Bytes, Ratio})  # what the cells of a column are, as a rule
NUMBER_LIST = frozenset({type(None), list, tuple})
WORD = frozenset({type(None), bool, str})
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
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Phrase):
        return _cell(str(value))
    if isinstance(value, dict):
        return {_cell(str(key)): _cell(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cell(inner) for inner in value]
    if isinstance(value, array):
        return value.tolist()
    return value


def _number(value: float) -> int | float | str:
    if isinstance(value, int):
        return int(value) if LEAST <= value <= MOST else str(value)
    return float(value) if value - value == 0 else str(value)
