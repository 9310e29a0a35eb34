"""Tables and cells in HTML: real tables that say everything without a script, with raw values beside what is shown.

<tr data-level="2" class="section">   level and mark of the row
<td data-v="673170702546">            the number to sort by, where the words are shorter
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from modelscope_cli.render.cells import words
from modelscope_cli.render.palette import BESIDE_COLOURS, CATEGORY_COLOURS
from modelscope_cli.render.plain import visible
from modelscope_cli.report.document import (
    MACHINES,
    Bytes,
    BytesChange,
    Column,
    Count,
    CountChange,
    Inferred,
    Phrase,
    Ratio,
    RatioChange,
    Row,
    Table,
)

SHORTENED = 100_000  # counts from which narrow screens show three digits
MOST_ROWS = 5_000  # of one table
MOST_ROWS_AT_THE_END = 100  # of sections and totals after those
LONGEST_UNBROKEN = 24  # characters of a cell that stay on one line where a page is wide
LONGEST_HEADING, LONGEST_CELL, LONGEST_TEXT, LONGEST_TIP = 60, 160, 1_200, 500  # characters
SHORT = 12  # characters of a name that is never broken at its words
DEEPEST = 16  # levels that are indented further
LATE = 74  # terminal width from which a column is shown that a narrow page can do without
EVER = 10_000
NUMBERS = (Bytes, Count, Ratio)
CHANGES = (BytesChange, CountChange, RatioChange)
COLOURS = CATEGORY_COLOURS | BESIDE_COLOURS
VERDICTS = {"dangerous": "failed", "suspicious": "warning", "unknown": "info", "safe": "passed"}  # marks of rows, as badges
LAST = ("section", "total")
LEFT_OUT = "left out"  # the mark of the row that stands for all that a page does not have
COPIES = re.compile(r" ×\d+$")


def escaped(text: str) -> str:
    """Text for an element or an attribute in double quotes."""
    return html.escape(visible(text))


def cut(text: str, most: int) -> str:
    """The text, made visible, in at most so many characters: both ends stay."""
    text = visible(text)
    return text if len(text) <= most else f"{text[: most - most // 2 - 1]}…{text[-(most // 2) :]}"


def clipped(text: str, most: int) -> str:
    """The text as HTML; where it is long its middle is cut and the tip has more of it."""
    text = visible(text)
    if len(text) <= most:
        return html.escape(text)
    return f'<span title="{html.escape(cut(text, LONGEST_TIP))}">{html.escape(cut(text, most))}</span>'


def cell(value: Any, unit: str, *, sign: str = "", most: int = LONGEST_CELL) -> str:
    """A typed cell as HTML: counts in full, changes marked."""
    if isinstance(value, Phrase):
        return "".join([cell(part, unit, sign=" %", most=most) for part in value])
    text = clipped(words(value, unit, exact=True, sign=sign), most)
    if isinstance(value, CHANGES):
        return f'<span class="change {"up" if value > 0 else "down" if value < 0 else "same"}">{text}</span>'
    if isinstance(value, Inferred):
        return f'<span title="inferred from names and shapes">{text}</span>'
    return text


def breakable(name: str) -> str:
    """An escaped name that may be broken where its words end."""
    return name if "<" in name or len(name) < SHORT else re.sub(r"(?<=[._/])(?=\w)", "<wbr>", name)


def shown_columns(table: Table) -> list[int]:
    """Positions of what people see on the widest screen: columns with something in them."""
    return [
        position
        for position, column in enumerate(table.columns)
        if column.audience != MACHINES
        and column.show_until >= EVER
        and any(row.cells[position] not in (None, "", ()) for row in table.rows)
    ]


def heading(table: Table) -> str:
    """What the table is called: an untitled one goes by its first column."""
    if table.title:
        return table.title
    first = next((table.columns[position].title for position in shown_columns(table)), "")
    return f"By {first.lower()}" if table.tree and first else first or table.key.replace("_", " ").capitalize()


def to_html(table: Table, unit: str, named_by: str) -> str:
    """The table, of which `on_page` left what a page holds, in a box of its own, and its caption. `named_by`: the id of its heading."""
    positions = shown_columns(table)
    columns = [table.columns[position] for position in positions]
    numeric = [any(isinstance(row.cells[position], NUMBERS) for row in table.rows) for position in positions]
    largest = _largest(table.rows, [at for at in positions if table.columns[at].key == "bar"])
    coloured = len({row.mark for row in table.rows} & COLOURS.keys()) > 1
    columns = _ranked(columns, [any(isinstance(row.cells[at], Ratio) for row in table.rows) for at in positions])
    head = "".join([_heading(column, number) for column, number in zip(columns, numeric, strict=True)])
    body: list[str] = []
    way: list[str] = []
    for row in table.rows:
        if row.mark == LEFT_OUT:
            body.append(f'<tr class="more"><td colspan="{len(columns)}">{row.cells[0]}</td></tr>')
            continue
        del way[row.level :]
        label = words(row.cells[positions[0]], unit) if positions else ""
        way.append(COPIES.sub("", label))
        tip = cut(".".join(way), LONGEST_TIP) if table.tree and row.level and row.mark not in LAST else ""
        cells = [
            _cell(row, position, column, unit, number=number, largest=largest, tip=tip if at == 0 else "", first=at == 0)
            for at, (position, column, number) in enumerate(zip(positions, columns, numeric, strict=True))
        ]
        body.append(f"<tr{_row_attributes(row, table.tree, coloured)}>{''.join(cells)}</tr>")
    return table_in_box(head, body, named_by, "tree" if table.tree else "", words(table.caption, unit))


def table_in_box(head: str, rows: Sequence[str], named_by: str, kind: str = "", caption: str = "") -> str:
    """Headings and rows as a table that scrolls by itself where it is too wide, and its caption."""
    told = f'<p class="caption">{clipped(caption, LONGEST_TEXT)}</p>' if caption else ""
    body = "\n".join(rows)
    return (
        f'<div class="box" tabindex="0" role="group" aria-labelledby="{named_by}">'
        f'<table class="{kind}" aria-labelledby="{named_by}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{told}'
    )


def on_page(table: Table) -> Table:
    """The table with the rows of a page: of very many the first, the totals, and a row that counts the others."""
    if len(table.rows) <= MOST_ROWS:
        return table._replace(rows=list(table.rows))
    rows = iter(table.rows)
    first = list(islice(rows, MOST_ROWS))
    end = list(deque((row for row in rows if row.mark in LAST), MOST_ROWS_AT_THE_END))
    more = len(table.rows) - MOST_ROWS - len(end)
    told = f"… {more:,} more rows are left out of this page; -f json and -f csv have them all"
    return table._replace(rows=[*first, Row((told, *[None] * (len(table.columns) - 1)), mark=LEFT_OUT), *end])


def _largest(rows: Sequence[Row], bars: Sequence[int]) -> float:
    """What fills a bar: the largest share that is not a total."""
    return max((float(row.cells[at] or 0.0) for at in bars for row in rows if row.mark != "total"), default=0.0)


def _ranked(columns: list[Column], shares: list[bool]) -> list[Column]:
    """The columns, of several shares all but the last among those that a narrow page does without."""
    last = max((at for at, column in enumerate(columns) if shares[at] and column.key != "bar"), default=-1)
    return [column._replace(show_from=LATE) if shares[at] and at < last else column for at, column in enumerate(columns)]


def _heading(column: Column, number: bool) -> str:
    names = [name for name, given in (("n", number and column.key != "bar"), ("late", column.show_from >= LATE)) if given]
    kind = f' class="{" ".join(names)}"' if names else ""
    if column.key == "bar":
        return f'<th scope="col" class="share late"><span class="unseen">{escaped(cut(column.title, LONGEST_HEADING) or "Share")}</span></th>'
    return f'<th scope="col"{kind} data-key="{escaped(column.key)}">{clipped(column.title, LONGEST_HEADING)}</th>'


def _row_attributes(row: Row, tree: bool, coloured: bool) -> str:
    level = f' data-level="{row.level}"' if tree and row.level else ""
    mark = row.mark if row.mark in ("section", "total", "more") else f"c-{row.mark}" if coloured and row.mark in COLOURS else ""
    return level + (f' class="{mark}"' if mark else "")


def _cell(row: Row, position: int, column: Column, unit: str, *, number: bool, largest: float, tip: str, first: bool) -> str:
    value = row.cells[position]
    late = " late" if column.show_from >= LATE else ""
    if column.key == "bar":
        share = float(value or 0.0) / largest if largest and row.mark != "total" else 0.0
        drawn = (
            f'<svg aria-hidden="true"><rect width="{max(share * 100, 0.6):.1f}%" height="100%" rx="3"/></svg>' if share else ""
        )
        return f'<td class="share{late}">{drawn}</td>'
    text = cell(value, unit)
    if first:
        if row.mark in VERDICTS and words(value, unit) == row.mark:
            text = f'<span class="mark {VERDICTS[row.mark]}">{text}</span>'
        title = f' title="{html.escape(tip)}"' if tip else ""
        return f'<th scope="row"{title}><span class="label">{breakable(text)}</span></th>'
    if number:
        return f'<td class="n{late}"{raw(value)}{in_short(value)}>{text}</td>'
    names = f"{'short' if len(words(value, unit)) <= LONGEST_UNBROKEN else ''}{late}".strip()
    return f'<td class="{names}">{text}</td>' if names else f"<td>{text}</td>"


def raw(value: Any) -> str:
    """The number to sort by."""
    if not isinstance(value, NUMBERS):
        return ""
    return f' data-v="{float(value):.9g}"' if isinstance(value, Ratio) else f' data-v="{int(value)}"'


def in_short(value: Any) -> str:
    """A large count for screens that have no room to write it out."""
    return f' data-s="{words(value, "")}"' if isinstance(value, Count) and abs(value) >= SHORTENED else ""
