"""The terminal: tables that fit its width, colours that can be switched off, ASCII where it speaks nothing else.

Columns come and go with the width (report columns say from when on), figures keep their natural width, and what is left
goes to the text columns, which are cut with an ellipsis: nothing ever wraps.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from modelscope_cli.render import units
from modelscope_cli.render.plain import visible
from modelscope_cli.report.document import MACHINES, Bytes, Column, Count, Facts, Findings, Phrase, Ratio, Report, Row, Table

NARROWEST, WIDEST = 60, 200
EXACT_COUNTS_FROM = 112  # terminal width from which counts are written out
BAR_WIDTH = 12
NARROWEST_TEXT = 10
NAME_WEIGHT = 0.7  # names give way later than what is said about them
CATEGORY_STYLES = {
    "embedding": "magenta", "attention": "yellow", "mlp": "blue", "norm": "bright_black", "conv": "green", "head": "red", "linear": "cyan",
    "recurrent": "green", "block": "bold blue", "total": "bold", "section": "bright_black", "more": "bright_black",
}  # fmt: skip
SEVERITY = {"error": ("✗", "bold red"), "warning": ("!", "bold yellow"), "info": ("·", "cyan")}
ASCII = str.maketrans(
    {
        "×": "x",
        "→": "->",
        "–": "-",
        "…": "...",
        "·": "-",
        "│": "|",
        "├": "|",
        "└": "`",
        "─": "-",
        "✗": "x",
        "█": "#",
        "›": ">",
        "▏": " ",
        "▎": " ",
        "▍": " ",
        "▌": "#",
        "▋": "#",
        "▊": "#",
        "▉": "#",
    }
)
BAR_PARTS = " ▏▎▍▌▋▊▉█"
NUMBERS = (Bytes, Count, Ratio)


class Page:
    """Prints reports to a console, in one unit."""

    def __init__(self, console: Console, unit: str):
        self.console = console
        self.unit = unit
        self.width = max(NARROWEST, min(console.width, WIDEST))
        self.ascii = not (console.encoding or "").lower().startswith("utf")

    def show(self, report: Report) -> None:
        """Print one report."""
        for section in report.sections:
            if section.audience == MACHINES:
                continue
            if isinstance(section, Facts):
                self.facts(section)
            elif isinstance(section, Findings):
                self.findings(section)
            elif isinstance(section, Table) and section.rows:
                self.table(section)

    def line(self, text: Text | str = "") -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def facts(self, facts: Facts) -> None:
        shown = [fact for fact in facts.items if fact.audience != MACHINES]
        label_width = max((len(fact.label) for fact in shown), default=0)
        for position, fact in enumerate(shown):
            text = self.text(fact.text if fact.text is not None else self.cell(fact.value, False))
            style = "bold" if position == 0 or fact.key == "parameters" else ""
            room = self.width - label_width - 2
            self.line(
                Text.assemble((fact.label.ljust(label_width), "bright_black"), "  ", (_cut(text, room, self.ascii), style))
            )

    def findings(self, findings: Findings) -> None:
        if not findings.items:
            return
        self.line()
        self.line(Text(findings.title, style="bold"))
        for finding in findings.items:
            sign, style = SEVERITY[finding.severity]
            where = f"{finding.where}: " if finding.where else ""
            words = self.text(where + finding.message)
            for number, part in enumerate(_wrapped(words, self.width - 4)):
                head = Text.assemble("  ", (self.text(sign) if number == 0 else " ", style), " ")
                self.line(Text.assemble(head, part))

    def table(self, table: Table) -> None:
        columns = [position for position, column in enumerate(table.columns) if self.shows(column)]
        exact = self.width >= EXACT_COUNTS_FROM
        guides = self.guides(table.rows) if table.tree else [""] * len(table.rows)
        cells = [[self.text(self.cell(row.cells[position], exact)) for position in columns] for row in table.rows]
        numeric = [any(isinstance(row.cells[position], NUMBERS) for row in table.rows) for position in columns]
        bars = [table.columns[position].key == "bar" for position in columns]
        titles = [self.text(table.columns[position].title) for position in columns]
        titles[0] = self.text(table.title) if table.title else titles[0]
        used = [number for number, position in enumerate(columns) if bars[number] or any(row[number] for row in cells)]
        for texts, guide in zip(cells, guides, strict=True):
            texts[0] = self.text(guide) + texts[0]
        widths, gap = self.widths(cells, titles, numeric, bars, used)

        grid = Grid(
            box=None,
            padding=(0, gap, 0, 0),
            pad_edge=False,
            show_edge=False,
            title=None,
            header_style="bright_black",
            show_header=any(titles),
        )
        for number in used:
            right = numeric[number] and not bars[number]
            grid.add_column(
                Text(titles[number]), width=widths[number], no_wrap=True, overflow="crop", justify="right" if right else "left"
            )
        largest = max(
            (
                row.cells[columns[number]]
                for number in used
                if bars[number]
                for row in table.rows
                if row.mark not in ("total",) and row.cells[columns[number]]
            ),
            default=0,
        )
        for row, texts, guide in zip(table.rows, cells, guides, strict=True):
            grid.add_row(
                *[
                    self.styled(
                        row,
                        texts[number],
                        widths[number],
                        number,
                        guide,
                        bars[number],
                        numeric[number],
                        largest,
                        columns[number],
                    )
                    for number in used
                ]
            )
        self.line()
        self.console.print(grid)
        if table.caption:
            self.line(Text(_cut(self.text(table.caption), self.width, self.ascii), style="bright_black"))

    def shows(self, column: Column) -> bool:
        return column.audience != MACHINES and column.show_from <= self.width <= column.show_until

    def styled(
        self, row: Row, text: str, width: int, number: int, guide: str, bar: bool, numeric: bool, largest: float, position: int
    ) -> Text:
        style = CATEGORY_STYLES.get(row.mark, "")
        if bar:
            value = row.cells[position]
            return (
                Text(self.text(_bar(value / largest if largest else 0.0)), style=style or "bright_black")
                if value is not None and row.mark != "total"
                else Text("")
            )
        text = _cut(text, width, self.ascii, middle=number == 0)
        if row.mark in ("total", "section", "more"):
            return Text(text, style=style)
        if number == 0 and guide:
            edge = len(self.text(guide))
            return Text.assemble((text[:edge], "bright_black"), (text[edge:], style if row.level == 0 else ""))
        return Text(text, style="" if numeric else style if number else "")

    def widths(
        self, cells: list[list[str]], titles: list[str], numeric: list[bool], bars: list[bool], used: list[int]
    ) -> tuple[dict[int, int], int]:
        """Widths of the used columns and the gap between them. Figures keep their width; the widest text gives way first."""
        natural = {n: BAR_WIDTH if bars[n] else max([cell_len(titles[n])] + [cell_len(row[n]) for row in cells]) for n in used}
        gap = 2
        excess = sum(natural.values()) + gap * (len(used) - 1) - self.width
        if excess > 0:
            gap = 1
            excess -= len(used) - 1
        while excess > 0:
            soft = [n for n in used if not numeric[n] and not bars[n] and natural[n] > NARROWEST_TEXT]
            if not soft:
                break
            widest = max(soft, key=lambda n: natural[n] * (NAME_WEIGHT if n == 0 else 1))
            natural[widest] -= 1
            excess -= 1
        return natural, gap

    def guides(self, rows: Sequence[Row]) -> list[str]:
        """The lines that join rows of a tree: ├ and └ before each, │ for what goes on."""
        guides: list[str] = []
        last_at: list[bool] = []
        for position, row in enumerate(rows):
            following = next((later.level for later in rows[position + 1 :] if later.level <= row.level), -1)
            last = following < row.level
            last_at = [*last_at[: row.level], last]
            guides.append(
                "".join("  " if done else "│ " for done in last_at[1 : row.level]) + ("└ " if last else "├ ")
                if row.level
                else ""
            )
        return guides

    def cell(self, value: object, exact: bool) -> str:
        """A typed cell as text."""
        if value is None:
            return ""
        if isinstance(value, Bytes):
            return units.size(value, self.unit)
        if isinstance(value, Count):
            return f"{value:,}" if exact else units.count(value)
        if isinstance(value, Ratio):
            return units.percent(value)
        if isinstance(value, Phrase):
            return "".join(self.cell(part, exact) for part in value)
        return visible(str(value))

    def text(self, text: str) -> str:
        text = visible(text)
        return text.translate(ASCII).encode("ascii", "backslashreplace").decode() if self.ascii else text


def _bar(share: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + BAR_PARTS[eighths % 8].strip()


def _cut(text: str, width: int, ascii_only: bool, *, middle: bool = False) -> str:
    """The text in at most `width` cells: the end gives way, or the `middle`, so that both ends of a path can be read."""
    if cell_len(text) <= width:
        return text
    dots = "..." if ascii_only else "…"
    room = max(0, width - len(dots))
    head = room // 2 if middle else 0
    start, end = "", ""
    for character in text:
        if cell_len(start + character) > room - head:
            break
        start += character
    for character in reversed(text):
        if cell_len(character + end) > head:
            break
        end = character + end
    return start + dots + end


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a sentence."""
    import textwrap

    return textwrap.wrap(text, max(20, width), break_on_hyphens=False) or [""]
