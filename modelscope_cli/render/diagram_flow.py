"""Blocks put down one under the other, and on into the next column where there is no more room.

A frame that is cut goes on in the next column under the same name; the arrow leads over. Heights count from the top of the
first card, widths from the left edge of the first column's cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.render.diagram_columns import (
    BAR,
    EDGE,
    SMALL,
    SPACE,
    STRIPE,
    TEXT,
    Columns,
    Piece,
    count_text,
    depth,
    detail_text,
    head_pieces,
    kind_text,
    shown,
)  # fmt: skip
from modelscope_cli.render.letters import fitted, width
from modelscope_cli.render.palette import Palette, category_colour, mixed
from modelscope_cli.render.units import count, percent
from modelscope_cli.report.diagram import Card, Diagram, Group, Line
from modelscope_cli.report.scene import MIDDLE, RIGHT, Arrow, Box, Frame, Item, Words

ROW = 26.0  # height of a line
HEADING = 30.0  # of a card
FRAME_HEAD = 38.0  # of a group
CAPTION = 17.0  # the words over the figures of a folded group
AGAIN = 24.0  # the head of a frame that goes on in another column
BESIDE = 18.0  # between a frame and what is in it, left and right
BELOW = 16.0  # and beneath
STEP, GAP = 30.0, 14.0  # between blocks, with and without an arrow
BADGE = 26.0  # height of "32 ×"
LEAD = 26.0  # above and below the columns, for the arrow that leads from one to the next
TIE = 24.0  # beside the column, for the lines between tied tensors
BEGUN = 0.35  # of a column, that a group must have to be begun in it


class Open(NamedTuple):
    """A frame that is being filled."""

    group: Group
    x: float
    y: float
    width: float
    items: list[Item]


class Flow:
    """Places blocks down a column and on into the next. Coordinates count from the left edge of the first column's cards."""

    def __init__(self, palette: Palette, columns: Columns, diagram: Diagram, step: float, limit: float):
        self.palette = palette
        self.columns = columns
        self.step = step
        self.limit = limit
        self.items: list[Item] = []
        self.arrows: list[Item] = []
        self.open: list[Open] = []
        self.x = 0.0
        self.y = 0.0
        self.height = 0.0  # of the tallest column
        self.column_count = 1
        self.fresh = True  # nothing stands in this column yet
        self.bottoms: list[float] = []  # of finished columns
        ends = dict.fromkeys(path for tie in diagram.ties for path in tie)
        self.ends = {path: f"tied{number}" for number, path in enumerate(ends, 1)}  # path of a line → the name of its box
        self.places: dict[str, tuple[int, float]] = {}  # line that is tied → column and height
        self.ties = diagram.ties
        self.names = 0

    # Blocks -----------------------------------------------------------------------------------------------------------

    def blocks(self, blocks: Sequence[Card | Group], flows: Sequence[bool]) -> tuple[str, str]:
        """Place blocks under each other. Returns the names of the first and the last card."""
        first = last = ""
        before: tuple[str, int, float] | None = None  # card, column and height that an arrow starts at
        folded = 0  # column in which figures of copies stand right above
        for block, flows_on in zip(blocks, [*flows, False], strict=True):
            gap = (STEP if before else GAP) if first else 0.0
            if not self.make_room(gap + self.least_height(block)):
                self.y += gap
            column, top = self.column_count, self.y
            if folded and column == folded:
                self.captions(self.open[-1].group.copies if self.open else 1, top - 10)  # not to be taken for those inside
            begin, end = self.group(block) if isinstance(block, Group) else self.card(block)
            folded = self.column_count if has_fold(block) else 0
            if before:
                self.arrows.append(self.arrow(before, (begin, column, top)))
            before = (end, self.column_count, self.y) if flows_on else None
            first, last = first or begin, end
        return first, last

    @property
    def into(self) -> list[Item]:
        """Where what is placed now belongs: the innermost open frame, or the page."""
        return self.open[-1].items if self.open else self.items

    def make_room(self, height: float) -> bool:
        """Go on in the next column where this one has no room for what comes. Returns whether that was done."""
        if self.fresh or self.y + height + BELOW * len(self.open) <= self.limit:
            return False
        reopen = [(frame.group, frame.x, frame.width) for frame in self.open]
        self.close_column()
        self.column_count += 1
        self.x += self.step
        self.y = 0.0
        self.fresh = True
        for group, x, frame_width in reopen:
            self.open_frame(group, x + self.step, frame_width, again=True)
        return True

    def least_height(self, block: Card | Group) -> float:
        """What a block needs to be begun: a card all of it, a group a good part, so that none is cut behind its first card."""
        whole = full_height(block)
        if isinstance(block, Card):
            return whole
        first = self.least_height(block.blocks[0]) if block.blocks else 0.0
        return max(FRAME_HEAD + CAPTION + first + BELOW, min(whole, BEGUN * self.limit))

    def close_column(self) -> None:
        """Close all frames and note how tall the column became."""
        while self.open:
            self.close_frame()
        self.bottoms.append(self.y)
        self.height = max(self.height, self.y)

    def name(self) -> str:
        self.names += 1
        return f"block{self.names}"

    # Groups -----------------------------------------------------------------------------------------------------------

    def group(self, group: Group) -> tuple[str, str]:
        """A frame with its blocks inside."""
        outward = BESIDE * depth(group)
        self.open_frame(group, self.x - outward, self.columns.width + 2 * outward, again=False)
        ends = self.blocks(group.blocks, group.flows)
        self.close_frame()
        return ends

    def open_frame(self, group: Group, x: float, frame_width: float, *, again: bool) -> None:
        y = self.y
        self.open.append(Open(group, x, y, frame_width, []))
        self.heading(group, y, again=again)
        self.y += AGAIN if again else FRAME_HEAD
        if group.fold > 1:
            self.captions(group.copies, self.y - (2 if again else 4))
            self.y += CAPTION - 4
        elif not again:
            self.y -= 4

    def close_frame(self) -> None:
        frame = self.open.pop()
        self.y += BELOW
        group, palette = frame.group, self.palette
        folded = group.fold > 1
        box = Box(
            frame.x,
            frame.y,
            frame.width,
            self.y - frame.y,
            palette.fold if folded else palette.group,
            palette.fold_border if folded else palette.border,
            1.8 if folded else 1.0,
            rounded=True,
            tooltip=shown(f"{group.path} {group.kind}".strip()),
        )
        self.into.append(Frame(box, frame.items))

    def heading(self, group: Group, y: float, *, again: bool) -> None:
        """The words of a frame, left; its figures, in the columns of what encloses it."""
        frame = self.open[-1]
        middle = y + (AGAIN + 4 if again else FRAME_HEAD) / 2 + 1
        x = frame.x + 14
        end = self.x + self.columns.texts_end
        pieces = head_pieces(group)
        if again:  # short of the arrow that comes in at the centre
            end = min(end, self.x + self.columns.width / 2 - 8)
            pieces = [*pieces[: 1 + (group.fold > 1)], Piece("continued", SMALL, False, True)]
        for position, piece in enumerate(pieces):
            size = SMALL if again else piece.size
            ink = self.palette.soft if piece.soft or again else self.palette.ink
            if group.fold > 1 and position == 0:
                wide = width(piece.text, size, bold=True) + 14
                tall = BADGE - 8 if again else BADGE
                frame.items.append(Box(x - 4, middle - tall / 2, wide, tall, self.palette.badge, rounded=True))
                frame.items.append(
                    Words(x - 4 + wide / 2, middle, piece.text, size, self.palette.badge_ink, bold=True, anchor=MIDDLE)
                )
                x += wide + 6
                continue
            text = fitted(piece.text, end - x, size, bold=piece.bold)
            if text:
                frame.items.append(Words(x, middle, text, size, ink, bold=piece.bold))
            x += width(text, size, bold=piece.bold) + SPACE
        if not again:
            self.figures(count(group.parameters), group.share, middle, self.palette.ink, bold=True)

    def captions(self, copies: int, y: float) -> None:
        """Over figures: of how many copies they are."""
        columns, soft = self.columns, self.palette.soft
        one, every = (f"one of {copies:,}", f"all {copies:,}") if copies > 1 else ("parameters", "share")
        self.into.append(Words(self.x + columns.number, y + 4, one, SMALL - 1, soft, anchor=RIGHT))
        self.into.append(Words(self.x + columns.share, y + 4, every, SMALL - 1, soft, anchor=RIGHT))

    # Cards ------------------------------------------------------------------------------------------------------------

    def card(self, card: Card) -> tuple[str, str]:
        """A box with a heading and lines."""
        self.fresh = False
        palette, columns, into = self.palette, self.columns, self.into
        height = card_height(card)
        name = self.name()
        tooltip = shown(card.path or card.lines[0].path)
        into.append(
            Box(self.x, self.y, columns.width, height, palette.card, palette.border, rounded=True, tooltip=tooltip, name=name)
        )
        y = self.y + EDGE
        if card.title:
            middle = y + HEADING / 2 - 1
            x = self.x + columns.kind - STRIPE
            title = fitted(shown(card.title), columns.texts_end - columns.kind, TEXT, bold=True)
            into.append(Words(x, middle, title, TEXT, palette.ink, bold=True))
            x += width(title, TEXT, bold=True) + SPACE
            kind = fitted(shown(card.kind), self.x + columns.texts_end - x, SMALL)
            if kind:
                into.append(Words(x, middle, kind, SMALL, palette.soft))
            self.figures(count(card.parameters), card.share, middle, palette.soft)
            y += HEADING - EDGE
        for line in card.lines:
            self.line(line, y)
            y += ROW
        self.y += height
        return name, name

    def line(self, line: Line, y: float) -> None:
        """One line: stripe, kind, name, shape, count, share, bar."""
        palette, columns, into = self.palette, self.columns, self.into
        colour = category_colour(line.category)
        counted = not line.mark
        tint = mixed(palette.tint_low, palette.tint_high, line.share**0.5) if counted else palette.card
        middle = y + ROW / 2
        where = f"{line.path}: {line.kind} {line.detail}".strip()
        left, right = self.x + EDGE, self.x + columns.width - EDGE
        tooltip = shown(f"{where}, {line.parameters:,} parameters" if counted else f"{where}, {line.note}")
        name = self.ends.get(line.path, "")
        into.append(Box(left, y + 1, right - left, ROW - 2, tint, tooltip=tooltip, name=name))
        into.append(Box(left, y + 1, STRIPE, ROW - 2, colour))
        ink = palette.ink if counted else palette.soft
        texts = (
            (columns.kind, columns.label - SPACE, kind_text(line), True, ink),
            (columns.label, columns.detail - SPACE, shown(line.label), False, palette.soft),
            (columns.detail, columns.texts_end, detail_text(line), False, ink),
        )
        for start, end, text, bold, colour_of_text in texts:
            text = fitted(text, end - start, TEXT, bold=bold)
            if text:
                into.append(Words(self.x + start, middle, text, TEXT, colour_of_text, bold=bold))
        if counted:
            self.figures(count_text(line), line.share, middle, palette.ink)
            bar = self.x + columns.bar
            into.append(Box(bar, middle - 3.5, BAR, 7, palette.track))
            into.append(Box(bar, middle - 3.5, max(1.0, BAR * line.share), 7, colour))
        else:
            into.append(Words(self.x + columns.number, middle, count_text(line), SMALL, palette.soft, anchor=RIGHT))
        if line.path in self.ends:
            self.places[line.path] = (self.column_count, middle)

    def figures(self, number: str, share: float, middle: float, ink: str, *, bold: bool = False) -> None:
        """A count and a share in their columns."""
        columns = self.columns
        self.into.append(Words(self.x + columns.number, middle, number, TEXT, ink, bold=bold, anchor=RIGHT))
        self.into.append(
            Words(self.x + columns.share, middle, f"{percent(share)} %", TEXT, self.palette.soft, bold=bold, anchor=RIGHT)
        )

    # Arrows -----------------------------------------------------------------------------------------------------------

    def arrow(self, tail: tuple[str, int, float], head: tuple[str, int, float]) -> Arrow:
        """From the foot of a block to the head of the next, which may stand in another column."""
        (tail_name, tail_column, foot), (head_name, head_column, top) = tail, head
        centre = self.columns.width / 2
        x0, x1 = (tail_column - 1) * self.step + centre, (head_column - 1) * self.step + centre
        points = [(x0, foot), (x1, top)]
        if tail_column != head_column:
            lower = self.bottoms[tail_column - 1] + LEAD / 2
            between = (head_column - 1) * self.step - (self.step - self.columns.width) / 2
            points = [(x0, foot), (x0, lower), (between, lower), (between, -LEAD / 2), (x1, -LEAD / 2), (x1, top)]
        return Arrow(points, self.palette.arrow, tail_name, head_name)

    def drawn_ties(self, outward: float) -> list[Item]:
        """A dashed line on the right from where a tensor is counted to where it is used again, over the columns between them."""
        ties: list[Item] = []
        for number, tie in enumerate(self.ties):
            if tie.source not in self.places or tie.other not in self.places:
                continue
            (column, y0), (other_column, y1) = self.places[tie.source], self.places[tie.other]
            right, other_right = [(each - 1) * self.step + self.columns.width for each in (column, other_column)]
            beside = outward + TIE / 2 + 4 * (number % 3)
            points = [(right, y0), (right + beside, y0), (other_right + beside, y1), (other_right, y1)]
            if column != other_column:
                over = -LEAD / 2 - 5 - 3 * (number % 3)
                points[2:2] = [(right + beside, over), (other_right + beside, over)]
            ties.append(
                Arrow(points, self.palette.tie, self.ends[tie.source], self.ends[tie.other], head=True, dashed=True, line=1.4)
            )
        return ties


def has_fold(block: Card | Group) -> bool:
    """Whether the figures of several copies stand in a block."""
    return isinstance(block, Group) and (block.fold > 1 or any(has_fold(inner) for inner in block.blocks))


def card_height(card: Card) -> float:
    return 2 * EDGE + ROW * len(card.lines) + (HEADING - EDGE if card.title else 0)


def full_height(block: Card | Group) -> float:
    """What a block takes in one column."""
    if isinstance(block, Card):
        return card_height(block)
    gaps = sum(STEP if flows else GAP for flows in block.flows)
    inside = sum(full_height(inner) for inner in block.blocks) + gaps
    return FRAME_HEAD + (CAPTION if block.fold > 1 else 0) - 4 + inside + BELOW
