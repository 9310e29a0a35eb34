"""The terminal: tables that fit its width, colours that can be switched off, ASCII where it speaks nothing else.

Columns come and go with the width (report columns say from when on), figures keep their natural width, and what is left
goes to the text columns, which are cut with an ellipsis, or wrapped where the report asks for that. Bars give way first.
Facts and findings are sentences: they wrap.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import begun, speaks_ascii_only, to_ascii, visible
from modelscope_cli.render.wrapping import cell_len, cut, fitted, wrapped
from modelscope_cli.report.document import (
    MACHINES,
    Bytes,
    Column,
    Count,
    Facts,
    Findings,
    Listing,
    Ratio,
    Report,
    Row,
    Table,
    Verdict,
    Verdicts,
)

NARROWEST, WIDEST = 60, 200
EXACT_COUNTS_FROM = 112  # terminal width from which counts are written out
BAR_WIDTH, NARROWEST_BAR = 12, 4
NARROWEST_TEXT = 10
NARROWEST_NAME = 24  # of a rule: the longest of ours in whole
CATEGORY_STYLES = {
    "embedding": "magenta", "attention": "yellow", "mlp": "blue", "norm": "bright_black", "conv": "green", "head": "red", "linear": "cyan",
    "dangerous": "bold red", "suspicious": "bold yellow", "unknown": "cyan", "safe": "green",
    "recurrent": "green", "block": "bold blue", "total": "bold", "section": "bright_black", "more": "bright_black",
}  # fmt: skip
VERDICTS = ("dangerous", "suspicious", "unknown", "safe")  # rows of which the first cell alone is coloured
STATUS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "warning": ("!", "bold yellow")}
SEVERITY = {"error": ("✗", "bold red"), "warning": ("!", "bold yellow"), "info": ("·", "cyan")}
BAR_PARTS = " ▏▎▍▌▋▊▉█"
NUMBERS = (Bytes, Count, Ratio)


Segment = tuple[str, str]  # text and its style


class _Shown:
    """A column as it is printed. `number` counts the shown ones, `position` those of the table."""

    __slots__ = ("bar", "number", "numeric", "position", "title", "width")

    def __init__(self, number: int, position: int, title: str, width: int, numeric: bool, bar: bool):
        self.number = number
        self.position = position
        self.title = title
        self.width = width
        self.numeric = numeric
        self.bar = bar

    def pad(self, text: str) -> str:
        """The text in the width of the column: figures to the right, words to the left."""
        spaces = " " * max(0, self.width - cell_len(text))
        return spaces + text if self.numeric else text + spaces


class Page:
    """Prints reports to a console, in one unit."""

    def __init__(self, console: Console, unit: str):
        self.console = console
        self.unit = unit
        self.width = max(NARROWEST, min(console.width, WIDEST))
        self.ascii = speaks_ascii_only(console.encoding)

    def show(self, report: Report) -> None:
        """Print one report."""
        for section in report.sections:
            if section.audience == MACHINES:
                continue
            if isinstance(section, Facts):
                self.facts(section)
            elif isinstance(section, Findings):
                self.findings(section)
            elif isinstance(section, Verdicts):
                self.verdicts(section)
            elif isinstance(section, Table) and section.rows:
                self.table(section)

    def line(self, text: Text | str = "") -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def facts(self, facts: Facts) -> None:
        shown = [fact for fact in facts.items if fact.audience != MACHINES]
        if facts.title:
            self.line()
            self.line(Text(facts.title, style="bold"))
        label_width = max((len(fact.label) for fact in shown), default=0)
        for position, fact in enumerate(shown):
            text = self.text(fact.text if fact.text is not None else self.cell(fact.value, False))
            style = "bold" if not facts.title and (position == 0 or fact.key == "parameters") else ""
            style = CATEGORY_STYLES.get(str(fact.value), style) if fact.key == "verdict" else style
            for number, part in enumerate(fitted(text, self.width - label_width - 2)):
                label = fact.label if number == 0 else ""
                self.line(Text.assemble((label.ljust(label_width), "bright_black"), "  ", (part, style)))

    def findings(self, findings: Findings) -> None:
        if not findings.items:
            return
        self.line()
        self.line(Text(findings.title, style="bold"))
        for finding in findings.items:
            sign, style = SEVERITY[finding.severity]
            where = f"{finding.where}: " if finding.where else ""
            if isinstance(finding.message, Listing):
                self.item(sign, style, self.text(where))
                self.listing(finding.message)
            else:
                self.item(sign, style, self.text(where + self.cell(finding.message, True)))

    def listing(self, listing: Listing) -> None:
        """Its lines, cut where the terminal ends: blanks are a part of them."""
        room = self.width - 4
        for line in map(self.text, listing.split("\n")):
            for start in range(0, max(1, len(line)), room):
                self.line(Text(f"    {begun(line[start : start + room])}".rstrip(), style="bright_black"))

    def verdicts(self, verdicts: Verdicts) -> None:
        """A line a rule: sign, name, sentence; what to do on a line below."""
        if not verdicts.items:
            return
        self.line()
        self.line(Text(verdicts.title, style="bold"))
        names = [self.text(rule_name(verdict)) for verdict in verdicts.items]
        widest = min(max(map(cell_len, names), default=0), max(NARROWEST_NAME, self.width // 3))
        for verdict, name in zip(verdicts.items, names, strict=True):
            sign, style = STATUS[verdict.status]
            padded = cut(name, widest, self.ascii)
            padded += " " * (widest - cell_len(padded) + 2)
            self.item(sign, style, self.text(self.cell(verdict.message, True)), padded)
            if verdict.todo:
                self.item(" ", "", self.text(verdict.todo), " " * len(padded), "bright_black")
        if verdicts.caption:
            self.line(Text(cut(self.text(verdicts.caption), self.width, self.ascii), style="bright_black"))

    def item(self, sign: str, style: str, text: str, name: str = "", text_style: str = "") -> None:
        """A sign, perhaps a name, and a sentence that wraps beside them."""
        indent = 4 + cell_len(name)
        for number, part in enumerate(wrapped(text, self.width - indent)):
            first = (self.text(sign), style), " ", (name, "bold")
            head: tuple[str | tuple[str, str], ...] = first if number == 0 else (" " * (indent - 2),)
            self.line(Text.assemble("  ", *head, (part, text_style)))

    def table(self, table: Table) -> None:
        """Print a table: headings, rows, caption."""
        positions = [position for position, column in enumerate(table.columns) if self.shows(column)]
        exact = self.width >= EXACT_COUNTS_FROM
        guides = [self.text(guide) for guide in self.guides(table.rows)] if table.tree else [""] * len(table.rows)
        cells = [[self.text(self.cell(row.cells[position], exact)) for position in positions] for row in table.rows]
        for texts, guide in zip(cells, guides, strict=True):
            texts[0] = guide + begun(texts[0])
        columns, gap = self.layout(table, positions, cells)
        bars = [column.position for column in columns if column.bar]
        largest = max((row.cells[at] or 0.0 for at in bars for row in table.rows if row.mark != "total"), default=0.0)
        self.line()
        if any(column.title for column in columns):
            self.emit(
                [(gap.join(column.pad(cut(column.title, column.width, self.ascii)) for column in columns), "bright_black")]
            )
        for row, texts, guide in zip(table.rows, cells, guides, strict=True):
            for line in self.lines(table, columns, texts):
                segments: list[Segment] = []
                for column in columns:
                    segments += self.segments(column, row, line[column.number], len(guide), largest)
                    segments.append((gap, ""))
                self.emit(segments[:-1])
        if table.caption:
            for part in fitted(self.text(table.caption), self.width):
                self.line(Text(part, style="bright_black"))

    def lines(self, table: Table, columns: list[_Shown], texts: list[str]) -> list[list[str]]:
        """The lines of a row: one, or as many as its longest wrapped cell takes."""
        several = [column for column in columns if table.columns[column.position].wrapped]
        parts = {column.number: wrapped(texts[column.number], column.width, NARROWEST_TEXT) for column in several}
        most = max([len(lines) for lines in parts.values()], default=1)
        if most == 1:
            return [texts]
        return [
            [lines[place] if place < len(lines) else "" for lines in (parts.get(n, [text]) for n, text in enumerate(texts))]
            for place in range(most)
        ]

    def shows(self, column: Column) -> bool:
        return column.audience != MACHINES and column.show_from <= self.width <= column.show_until

    def segments(self, column: _Shown, row: Row, text: str, guide: int, largest: float) -> list[Segment]:
        """A cell, padded, in pieces of one style each."""
        style = CATEGORY_STYLES.get(row.mark, "")
        if column.bar:
            value = row.cells[column.position]
            drawn = self.text(_bar(value / largest, column.width)) if value and largest and row.mark != "total" else ""
            return [(column.pad(drawn), style or "bright_black")]
        padded = column.pad(cut(text, column.width, self.ascii, middle=column.number == 0))
        if row.mark in ("total", "section", "more"):
            return [(padded, style)]
        if column.number == 0:
            return [(padded[:guide], "bright_black"), (padded[guide:], "" if row.level else style)]
        if row.mark in VERDICTS:
            return [(padded, "")]
        return [(padded, "" if column.numeric else style)]

    def emit(self, segments: list[Segment]) -> None:
        """Print a line. Without a terminal it is written as it is, which for ninety thousand rows makes a difference."""
        if self.console.is_terminal:
            self.line(Text.assemble(*segments))
        else:
            self.console.file.write("".join([text for text, _ in segments]).rstrip() + "\n")

    def layout(self, table: Table, positions: list[int], cells: list[list[str]]) -> tuple[list[_Shown], str]:
        """The columns that have something in them, with their widths, and the gap between them.

        Figures keep their width; bars give way first, and go where that saves the texts; then the widest text does.
        """
        columns: list[_Shown] = []
        for number, position in enumerate(positions):
            title = self.text(table.title if table.title and number == 0 else table.columns[position].title)
            bar = table.columns[position].key == "bar"
            numeric = any(isinstance(row.cells[position], NUMBERS) for row in table.rows) and not bar
            width = BAR_WIDTH if bar else max([cell_len(title), *[cell_len(row[number]) for row in cells]])
            if bar or any(row[number] for row in cells):
                columns.append(_Shown(number, position, title, width, numeric, bar))
        gap = 2
        excess = sum(column.width for column in columns) + gap * (len(columns) - 1) - self.width
        bars = [column for column in columns if column.bar]
        for drawn in bars if excess > 0 else ():
            drawn.width = max(NARROWEST_BAR, drawn.width - excess)
            excess -= BAR_WIDTH - drawn.width
        if excess > 0 and not any(column.wrapped for column in table.columns):
            gap = 1
            excess -= len(columns) - 1
            saved = sum(drawn.width + gap for drawn in bars)
            if bars and 0 < excess <= saved:
                columns = [column for column in columns if not column.bar]
                excess -= saved
        natural = {column.number: column.width for column in columns}
        while excess > 0:
            soft = [column for column in columns if not column.numeric and not column.bar and column.width > NARROWEST_TEXT]
            if not soft:
                break
            widest = max(soft, key=lambda column: column.width * table.columns[column.position].yields)
            widest.width -= 1
            excess -= 1
        _settle([column for column in columns if table.columns[column.position].wrapped], natural, cells)
        return columns, " " * gap

    def guides(self, rows: Sequence[Row]) -> list[str]:
        """The lines that join rows of a tree: ├ and └ before each, │ for what goes on. Read from below, where siblings show."""
        guides: list[str] = []
        open_levels: set[int] = set()
        for row in reversed(rows):
            lines = ["│ " if level in open_levels else "  " for level in range(1, row.level)]
            end = "├ " if row.level in open_levels else "└ "
            guides.append("".join(lines) + end if row.level else "")
            open_levels = {level for level in open_levels if level < row.level} | {row.level}
        return guides[::-1]

    def cell(self, value: object, exact: bool) -> str:
        """A typed cell as text."""
        return words(value, self.unit, exact=exact)

    def text(self, text: str) -> str:
        text = visible(text)
        return to_ascii(text) if self.ascii else text


def rule_name(verdict: Verdict) -> str:
    """A rule with the modules it is about."""
    return f"{verdict.rule} {verdict.target}".rstrip()


def _settle(columns: list[_Shown], natural: dict[int, int], cells: list[list[str]]) -> None:
    """Room that wrapped columns do not use, as their lines break earlier, goes to those that could use more than they have."""
    narrowed = [column for column in columns if column.width < natural[column.number]]
    spare = 0
    for column in narrowed if len(narrowed) > 1 else ():
        lines = [line for texts in cells for line in wrapped(texts[column.number], column.width, NARROWEST_TEXT)]
        used = max(map(cell_len, lines), default=column.width)
        if used < column.width:
            spare += column.width - used
            column.width = used
    for column in sorted(narrowed, key=lambda column: column.width - natural[column.number]):
        given = min(spare, natural[column.number] - column.width)
        column.width += given
        spare -= given


def _bar(share: float, width: int) -> str:
    """A bar of eighths of a character, `width` characters long for the whole."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + BAR_PARTS[eighths % 8].strip()
