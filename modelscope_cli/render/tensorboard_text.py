"""A report as the Markdown that TensorBoard's Text page reads: a text a section, each a heading and a table.

Its Markdown is Python-Markdown's with tables, cleaned afterwards. There a backslash does not keep a bar from ending a cell
inside of a code span, so words from files are written as HTML code with every sign that means something as an entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modelscope_cli.render.cells import words
from modelscope_cli.render.markdown_text import cut, is_odd
from modelscope_cli.render.plain import visible
from modelscope_cli.report.document import (
    MACHINES,
    Facts,
    Findings,
    Report,
    Row,
    Section,
    Table,
)

LONGEST_CELL = 200
MOST_ROWS = 200
MEANINGFUL = re.compile(r"[^\w\s.,%()–·→×~…−+±≤≥;-]|_")  # signs that are something in Markdown or HTML
INDENT = "&nbsp;&nbsp;&nbsp;"


def texts(report: Report) -> Iterator[tuple[str, str]]:
    """(title, Markdown) of each section that people read and that says something."""
    for section in report.sections:
        if section.audience != MACHINES:
            text = body(section)
            if text:
                yield title(section), text


def title(section: Section) -> str:
    if isinstance(section, Table) and not section.title:
        return next((column.title for column in section.columns if column.title and column.audience != MACHINES), section.key)
    return section.title or "File"


def body(section: Section) -> str:
    if isinstance(section, Facts):
        facts = [fact for fact in section.items if fact.audience != MACHINES]
        said = [fact.text if fact.text is not None else words(fact.value, "iec", exact=True, sign=" %") for fact in facts]
        rows = [[plain(fact.label), plain(text)] for fact, text in zip(facts, said, strict=True)]
        return lines(rows[0], rows[1:]) if rows else ""  # a table here has a head: the name of the file
    if isinstance(section, Table):
        return table(section)
    if isinstance(section, Findings):
        found = [[plain(each.severity), name(each.where), plain(str(each.message))] for each in section.items]
        return lines(["Severity", "Where", "What"], found) if found else ""
    return ""


def table(section: Table) -> str:
    """Columns that people read on a wide page."""
    kept = [
        number
        for number, column in enumerate(section.columns)
        if column.audience != MACHINES and column.show_until >= 10_000 and column.key != "bar"
    ]
    if not kept or not section.rows:
        return ""
    rows = [cells(row, kept, tree=section.tree) for row in section.rows[:MOST_ROWS]]
    if len(section.rows) > MOST_ROWS:
        rows.append([f"({len(section.rows) - MOST_ROWS:,} more)", *[""] * (len(kept) - 1)])
    titles = [plain(section.columns[number].title) for number in kept]
    return lines(titles, rows) + (f"\n{plain(section.caption)}\n" if section.caption else "")


def cells(row: Row, kept: Sequence[int], *, tree: bool) -> list[str]:
    said = [plain(words(row.cells[number], "iec", exact=True)) for number in kept]
    if tree:
        label = words(row.cells[kept[0]], "iec")
        said[0] = INDENT * min(row.level, 20) + (plain(label) if row.mark in ("total", "more") else name(label))
    return [f"**{text}**" if text and row.mark == "total" else text for text in said]


def lines(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns without anything in them are left out, but for the first. How they are aligned would be cleaned away."""
    used = [n for n in range(len(titles)) if n == 0 or not rows or any(row[n] for row in rows)]
    table = [[row[n] or "&nbsp;" for n in used] for row in (titles, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (table[0], ["---"] * len(used), *table[1:]))


def name(text: str) -> str:
    """A name from a file, as code."""
    return f"<code>{escaped(cut(visible(text), LONGEST_CELL, middle=True))}</code>" if text else ""


def plain(text: str, most: int = LONGEST_CELL) -> str:
    """A sentence or figure: words that are no words stand as code."""
    shown = cut(visible(text), most).split(" ")
    return " ".join(
        f"<code>{escaped(word)}</code>" if is_odd(word) and MEANINGFUL.search(word) else escaped(word) for word in shown
    )


def escaped(text: str) -> str:
    """The text with entities for whatever Markdown or HTML would take for theirs."""
    return MEANINGFUL.sub(lambda match: f"&#{ord(match[0])};", text)
