"""What stands above and below every drawing: title, facts and legend; the strip of bytes and the captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.render.letters import fitted, width
from modelscope_cli.render.palette import CATEGORY_COLOURS, Palette, category_colour, category_name
from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import percent, size
from modelscope_cli.report.diagram import Diagram, Segment
from modelscope_cli.report.document import Bytes, Phrase
from modelscope_cli.report.scene import LEFT, MIDDLE, Box, Item, Words

TITLE, FACT, NOTE = 21.0, 12.0, 10.0  # sizes of letters
SQUARE = 11.0  # of a legend
LINE = 1.55  # height of a line of text, in its size
LONGEST_TITLE = 640.0
STRIP_HEIGHT = 24.0
BETWEEN = 16.0


class Part(NamedTuple):
    """Items and the height they take."""

    items: list[Item]
    height: float


def phrase(cells: Phrase) -> str:
    """A phrase with its sizes written out."""
    return "".join(size(cell, "iec") if isinstance(cell, Bytes) else visible(str(cell)) for cell in cells)


class PageParts:
    """The frame of a page for one diagram."""

    def __init__(self, diagram: Diagram, palette: Palette):
        self.diagram = diagram
        self.palette = palette
        self.title = fitted(visible(diagram.title[:400]), LONGEST_TITLE, TITLE, bold=True)
        self.facts = [phrase(cells) for cells in diagram.facts]
        self.categories = [category for category in CATEGORY_COLOURS if category in diagram.categories]

    @property
    def least_width(self) -> float:
        """The width that title, facts and legend need."""
        legend = sum(SQUARE + 6 + width(category_name(category), FACT) + BETWEEN for category in self.categories)
        return max(legend, width(self.title, TITLE, bold=True), *[width(text, FACT) for text in self.facts], 420.0)

    def header(self, x: float, y: float) -> Part:
        """Title, facts and legend."""
        palette, top = self.palette, y
        items: list[Item] = [Words(x, y + TITLE / 2, self.title, TITLE, palette.ink, bold=True)]
        y += TITLE * LINE
        for text in self.facts:
            items.append(Words(x, y + FACT / 2, text, FACT, palette.soft))
            y += FACT * LINE
        y += 6
        at = x
        for category in self.categories:
            items.append(Box(at, y, SQUARE, SQUARE, category_colour(category)))
            text = category_name(category)
            items.append(Words(at + SQUARE + 6, y + SQUARE / 2, text, FACT, palette.soft))
            at += SQUARE + 6 + width(text, FACT) + BETWEEN
        y += SQUARE + 34
        return Part(items, y - top)

    def footer(self, x: float, inside: float) -> Part:
        """The strip of bytes, if there is one, and the captions, from height 0 downwards."""
        items: list[Item] = []
        y = 20.0
        if self.diagram.strip:
            y = strip(self.diagram.strip, self.palette, items, x, y, inside) + 8
        for caption in self.diagram.captions:
            for text in wrapped(caption, inside, NOTE):
                items.append(Words(x, y + NOTE / 2, text, NOTE, self.palette.soft))
                y += NOTE * LINE
        return Part(items, y)


def strip(segments: Sequence[Segment], palette: Palette, items: list[Item], x: float, y: float, inside: float) -> float:
    """Where the bytes of the file are: a bar in proportion, and what each part is. Returns the height below it."""
    whole = sum(segment.nbytes for segment in segments)
    items.append(Words(x, y + FACT / 2, f"Bytes of the file: {size(whole, 'iec')}", FACT, palette.ink, bold=True))
    y += FACT * LINE + 4
    at = x
    for segment in segments:
        wide = inside * segment.share
        if wide >= 0.5:
            items.append(
                Box(at, y, wide, STRIP_HEIGHT, category_colour(segment.category), palette.paper, 0.8, tooltip=segment.label)
            )
        text = f"{percent(segment.share)} %"
        if width(text, NOTE, bold=True) + 6 <= wide:
            items.append(Words(at + wide / 2, y + STRIP_HEIGHT / 2, text, NOTE, "#0f172a", bold=True, anchor=MIDDLE))
        at += wide
    y += STRIP_HEIGHT + 8
    at = x
    for segment in segments:
        text = f"{segment.label}  {size(segment.nbytes, 'iec')}  {percent(segment.share)} %"
        wide = SQUARE + 6 + width(text, NOTE) + BETWEEN
        if at + wide > x + inside + BETWEEN and at > x:
            at = x
            y += NOTE * LINE + 3
        items.append(Box(at, y, SQUARE - 1, SQUARE - 1, category_colour(segment.category)))
        items.append(Words(at + SQUARE + 5, y + SQUARE / 2, text, NOTE, palette.soft, anchor=LEFT))
        at += wide
    return y + NOTE * LINE + 8


def wrapped(text: str, room: float, letters: float) -> list[str]:
    """A sentence in lines that fit the room."""
    lines: list[str] = []
    for word in visible(text).split(" "):
        if lines and width(f"{lines[-1]} {word}", letters) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(fitted(word, room, letters))
    return lines
