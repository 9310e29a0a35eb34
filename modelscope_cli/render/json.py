"""JSON: raw integers, everything, and a schema version. One object for one or many checkpoints.

    {"schema": "mscope.inspect/1",
     "checkpoints": [{"path": …, "bytes": …, "modules": [{"label": …, "depth": 0, …}], …}],
     "errors": [{"path": …, "message": …}]}

Sections become keys: facts without a key stand at the top, tables are lists of objects keyed by column, rows of trees carry
their depth. Sections and columns meant for people only are left out.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import UNSAFE
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import PEOPLE, Document, Facts, Findings, Phrase, Report, Table, Verdicts


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8, indented."""
    whole = {
        "schema": document.schema,
        "checkpoints": [as_object(report) for report in document.reports],
        "errors": [_cell(problem._asdict()) for problem in document.problems],
    }
    text = msgspec.json.format(msgspec.json.encode(whole, enc_hook=_hook), indent=2).decode()
    return UNSAFE_IN_TEXT.sub(_escaped, text).encode() + b"\n"


UNSAFE_IN_TEXT = re.compile(f"(?!\n){UNSAFE.pattern}")


def _escaped(match: re.Match[str]) -> str:
    """A character as JSON escapes it, in two halves beyond the first plane."""
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def as_object(report: Report) -> dict[str, Any]:
    """One report as nested plain data."""
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
            document[section.key] = _rows(section)
    return document


def _rows(table: Table) -> list[dict[str, Any]]:
    wanted = [(position, column.key) for position, column in enumerate(table.columns) if column.audience != PEOPLE]
    rows = []
    for row in table.rows:
        if row.mark == "more":
            continue
        cells = {key: _cell(row.cells[position]) for position, key in wanted}
        if table.tree:
            cells["depth"] = row.level
            cells["section"] = row.mark in ("section", "total")
        rows.append(cells)
    return rows


def _cell(value: Any) -> Any:
    """Typed cells as plain numbers; numbers JSON has no word for as text; lone surrogates as escapes."""
    kind = type(value)
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        return value
    if value is None or kind is bool or (kind is list and not value):
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else str(value)
    if isinstance(value, Phrase):
        return _cell("".join(f"{part:,}" if isinstance(part, int) else str(part) for part in value))
    if isinstance(value, dict):
        return {_cell(str(key)): _cell(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cell(inner) for inner in value]
    return value


def _hook(value: Any) -> Any:
    return str(value)
