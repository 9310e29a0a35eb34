"""The columns that all cards of a diagram share, and the words that stand in them.

Text is measured by render/letters.py, so nothing here depends on which fonts are installed. Lengths are points.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.render.letters import width
from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import count
from modelscope_cli.report.diagram import TIED, Card, Diagram, Group, Line

TEXT, SMALL = 11.5, 10.0  # sizes of letters
EDGE = 5.0  # between the border of a card and its lines
STRIPE = 4.0
SPACE = 14.0  # between columns of text
BAR = 56.0
MOST_KIND, MOST_LABEL, MOST_DETAIL, LEAST_DETAIL, MOST_HEAD = 190.0, 250.0, 200.0, 92.0, 420.0  # widths


class Columns(NamedTuple):
    """Where the columns of a card begin (texts) or end (numbers), from its left edge."""

    kind: float
    label: float
    detail: float
    texts_end: float
    number: float
    share: float
    bar: float
    width: float


def depth(group: Group) -> int:
    """Frames around the innermost card."""
    return 1 + max((depth(block) for block in group.blocks if isinstance(block, Group)), default=0)


def measure(diagram: Diagram) -> Columns:
    """The widths of the columns, by the longest text in each."""
    kinds, labels, details, heads = [80.0], [60.0], [LEAST_DETAIL], [0.0]

    def visit(block: Card | Group) -> None:
        if isinstance(block, Group):
            heads.append(sum(piece.width for piece in head_pieces(block)))
            for inner in block.blocks:
                visit(inner)
            return
        if block.title:
            heads.append(width(shown(block.title), TEXT, bold=True) + width(block.kind, SMALL) + SPACE)
        for line in block.lines:
            kinds.append(width(kind_text(line), TEXT, bold=True))
            labels.append(width(shown(line.label), TEXT))
            details.append(width(detail_text(line), TEXT))

    visit(diagram.body)
    kind = EDGE + STRIPE + 9
    label = kind + min(max(kinds), MOST_KIND) + SPACE
    detail = label + min(max(labels), MOST_LABEL) + SPACE
    texts_end = detail + min(max(details), MOST_DETAIL)
    texts_end = max(texts_end, EDGE + min(max(heads), MOST_HEAD))
    figures = max([width(count_text(line), TEXT) for line in every_line(diagram.body)] + [width("parameters", SMALL)])
    number = texts_end + SPACE + figures
    share = number + SPACE + width("100.0 %", TEXT, bold=True)
    return Columns(kind, label, detail, texts_end, number, share, share + 11, share + 11 + BAR + 10 + EDGE)


def every_line(block: Card | Group) -> list[Line]:
    if isinstance(block, Card):
        return list(block.lines)
    return [line for inner in block.blocks for line in every_line(inner)]


def shown(text: str) -> str:
    """A name from the file, harmless and not endless."""
    return visible(text if len(text) <= 300 else text[:150] + "…" + text[-149:])


def kind_text(line: Line) -> str:
    return f"{line.fold:,} × {shown(line.kind)}" if line.fold > 1 else shown(line.kind)


def detail_text(line: Line) -> str:
    if line.mark == TIED:
        return shown(line.note)
    return shown(f"{line.detail}, {line.note}" if line.note and not line.mark else line.detail)


def count_text(line: Line) -> str:
    if line.mark:
        return "tied" if line.mark == TIED else line.note
    return count(line.parameters) + (" each" if line.fold > 1 else "")


class Piece(NamedTuple):
    """A run of text in a heading."""

    text: str
    size: float
    bold: bool
    soft: bool

    @property
    def width(self) -> float:
        return width(self.text, self.size, bold=self.bold) + SPACE


def head_pieces(group: Group) -> list[Piece]:
    """What the heading of a group says: 32 × (as a badge), decoder layer, layers.0–31, 202.4 M each."""
    pieces = []
    if group.fold > 1:
        pieces.append(Piece(f"{group.fold:,} ×", 13.0, True, False))
    name = group.kind if group.fold > 1 and group.kind else group.title
    beside = group.title if name != group.title else group.kind
    pieces.append(Piece(shown(name), 13.0, True, False))
    if beside:
        pieces.append(Piece(shown(beside), SMALL, False, True))
    if group.fold > 1:
        pieces.append(Piece(f"{count(group.each)} each", SMALL, False, True))
    return pieces
