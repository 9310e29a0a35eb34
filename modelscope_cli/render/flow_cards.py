"""The boxes of a data flow: how large they are and what stands on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.render.letters import fitted, width
from modelscope_cli.render.palette import Palette, category_colour, mixed
from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import count, percent
from modelscope_cli.report.flow import CARD, END, MORE, POINT, SIGN, Box, Step
from modelscope_cli.report.scene import LEFT, MIDDLE, RIGHT, Item, Words
from modelscope_cli.report.scene import Box as Rectangle

TEXT, SMALL = 11.5, 10.0  # sizes of letters
EDGE, STRIPE, PAD = 5.0, 4.0, 9.0
ONE_LINE, TWO_LINES, HEADING = 25.0, 38.0, 27.0  # heights
BETWEEN = 14.0  # between words at the left and at the right
LEAST, MOST = 116.0, 250.0  # widths of a card
CIRCLE = 26.0
END_HEIGHT, MORE_HEIGHT = 28.0, 48.0


class Size(NamedTuple):
    width: float
    height: float


def shown(text: str) -> str:
    """A name from the model, harmless and not endless."""
    return visible(text if len(text) <= 300 else text[:150] + "…" + text[-149:])


def figure(step: Step) -> str:
    return step.note or (count(step.parameters) if step.parameters is not None else "")


def two_lines(step: Step) -> bool:
    return bool(step.detail or figure(step)) and bool(step.label)


def size(box: Box) -> Size:
    """What a box takes."""
    if box.form == POINT:
        return Size(1.0, 1.0)
    if box.form == SIGN:
        return Size(CIRCLE, CIRCLE)
    if box.form == END:
        return Size(min(MOST, max(70.0, width(shown(box.title), TEXT, bold=True) + 36)), END_HEIGHT)
    if box.form == MORE:
        needed = max(width(box.title, TEXT, bold=True), width(more_words(box), SMALL))
        return Size(min(MOST + 60, needed + 40), MORE_HEIGHT)
    return Size(card_width(box), card_height(box))


def more_words(box: Box) -> str:
    figures = f"  ·  {count(box.parameters)}" if box.parameters else ""
    return shown(box.kind) + figures


def card_width(box: Box) -> float:
    inner = [heading_width(box)] if box.title else []
    for step in box.steps:
        kind, label = width(shown(step.kind), TEXT, bold=True), width(shown(step.label), SMALL)
        right = figure(step)
        figures = width(right, TEXT if not step.note else SMALL)
        if two_lines(step):
            detail = width(shown(step.detail), SMALL)
            inner += [kind + (BETWEEN + figures if right else 0), label + (BETWEEN + detail if detail else 0)]
        else:
            beside = label or width(shown(step.detail), SMALL)
            inner.append(kind + sum(BETWEEN + 4 + each for each in (beside, figures) if each))
    return min(MOST, max(LEAST, max(inner) + 2 * EDGE + STRIPE + 2 * PAD))


def heading_width(box: Box) -> float:
    return width(shown(box.title), TEXT, bold=True) + (BETWEEN + width(shown(box.kind), SMALL) if box.kind else 0)


def card_height(box: Box) -> float:
    lines = sum(TWO_LINES if two_lines(step) else ONE_LINE for step in box.steps)
    return lines + 2 * EDGE + (HEADING - EDGE if box.title else 0)


class Painter:
    """Puts boxes down as shapes."""

    def __init__(self, palette: Palette, copies: dict[str, int]):
        self.palette = palette
        self.copies = copies  # of what is in a frame, by its name

    def box(self, box: Box, x: float, y: float) -> list[Item]:
        """The items of a box whose upper left corner is (x, y)."""
        wide, high = size(box)
        palette = self.palette
        if box.form == POINT:  # something for ways to be tied to
            return [Rectangle(x, y, wide, high, name=box.name)]
        if box.form == CARD:
            return self.card(box, x, y, wide, high)
        middle, centre = y + high / 2, x + wide / 2
        tooltip = shown(f"{box.path}: {box.kind}" if box.path else box.kind)
        if box.form == SIGN:
            plus = box.title == "+"
            fill, ink = (palette.badge, palette.badge_ink) if plus else (palette.card, palette.ink)
            half = wide / 2
            return [
                *disc(x, y, wide, fill, palette.badge, box.name, tooltip),
                Words(x + half, middle - 0.5, box.title, 13.0 if box.title == "@" else 17.0, ink, bold=True, anchor=MIDDLE),
            ]
        if box.form == END:
            title = fitted(shown(box.title), wide - 20, TEXT, bold=True)
            return [
                Rectangle(x, y, wide, high, palette.track, palette.border, rounded=True, tooltip=tooltip, name=box.name),
                Words(centre, middle, title, TEXT, palette.ink, bold=True, anchor=MIDDLE),
            ]
        assert box.form == MORE
        return [
            Rectangle(
                x,
                y,
                wide,
                high,
                palette.fold,
                palette.fold_border,
                1.3,
                rounded=True,
                dashed=True,
                tooltip=tooltip,
                name=box.name,
            ),
            Words(centre, y + 17, box.title, TEXT, palette.ink, bold=True, anchor=MIDDLE),
            Words(centre, y + 33, fitted(more_words(box), wide - 16, SMALL), SMALL, palette.soft, anchor=MIDDLE),
        ]

    def card(self, box: Box, x: float, y: float, wide: float, high: float) -> list[Item]:
        palette = self.palette
        tooltip = shown(f"{box.path}: {box.kind or box.steps[0].kind}")
        items: list[Item] = [
            Rectangle(x, y, wide, high, palette.card, palette.border, rounded=True, tooltip=tooltip, name=box.name)
        ]
        y += EDGE
        left, right = x + EDGE + STRIPE + PAD, x + wide - EDGE - PAD
        if box.title:
            middle = y + HEADING / 2 - 2
            title = fitted(shown(box.title), right - left, TEXT, bold=True)
            items.append(Words(left - STRIPE, middle, title, TEXT, palette.ink, bold=True))
            kind = fitted(shown(box.kind), right - left - width(title, TEXT, bold=True) - 8, SMALL)
            if kind:
                items.append(Words(right, middle, kind, SMALL, palette.soft, anchor=RIGHT))
            y += HEADING - EDGE
        for step in box.steps:
            tall = TWO_LINES if two_lines(step) else ONE_LINE
            items += self.step(step, x + EDGE, y, wide - 2 * EDGE, tall)
            y += tall
        return items

    def step(self, step: Step, x: float, y: float, wide: float, high: float) -> list[Item]:
        """One line of a card: stripe, kind, count; below them the key and the shape."""
        palette = self.palette
        counted = step.parameters is not None
        tint = mixed(palette.tint_low, palette.tint_high, step.share**0.5) if counted else palette.group
        figures = figure(step)
        share = f", {step.parameters:,} parameters, {percent(step.share)} %" if step.parameters is not None else ""
        tooltip = shown(f"{step.path}: {step.kind} {step.detail}".strip() + share)
        items: list[Item] = [
            Rectangle(x, y + 1, wide, high - 2, tint, tooltip=tooltip),
            Rectangle(x, y + 1, STRIPE, high - 2, category_colour(step.category)),
        ]
        left, right = x + STRIPE + PAD, x + wide - PAD
        room = right - left
        two = two_lines(step)
        upper, lower = (y + 13.0, y + 27.5) if two else (y + high / 2, y + high / 2)
        ink = palette.ink if counted else palette.soft
        taken = width(figures, TEXT if counted else SMALL) + 8 if figures else 0.0
        kind = fitted(shown(step.kind), room - taken, TEXT, bold=True)
        items.append(Words(left, upper, kind, TEXT, palette.ink, bold=True))
        if figures:
            items.append(Words(right, upper, figures, TEXT if counted else SMALL, ink, anchor=RIGHT))
        if two:
            items += pair(step.label, step.detail, left, right, lower, palette)
        else:
            beside = shown(step.label or step.detail)
            text = fitted(beside, room - taken - width(kind, TEXT, bold=True) - 8, SMALL)
            if text:
                items.append(Words(right - taken - (4 if taken else 0), upper, text, SMALL, palette.soft, anchor=RIGHT))
        return items


def pair(label: str, detail: str, left: float, right: float, y: float, palette: Palette) -> list[Item]:
    """A key at the left and a shape at the right, as much of both as there is room for."""
    room = right - left
    detail = fitted(shown(detail), max(room * 0.7, room - width(shown(label), SMALL) - 8), SMALL)
    taken = width(detail, SMALL) + 8 if detail else 0.0
    label = fitted(shown(label), room - taken, SMALL)
    items: list[Item] = [Words(left, y, label, SMALL, palette.soft, anchor=LEFT)] if label else []
    if detail:
        items.append(Words(right, y, detail, SMALL, palette.soft, anchor=RIGHT))
    return items


def disc(x: float, y: float, wide: float, fill: str, stroke: str, name: str, tooltip: str) -> Sequence[Item]:
    """A box as round as boxes get."""
    return [Rectangle(x, y, wide, wide, fill, stroke, 1.2, rounded=True, tooltip=tooltip, name=name)]
