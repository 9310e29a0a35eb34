"""A drawing as shapes at fixed places: boxes, frames, words and arrows, in points, y downwards, in the order of painting.

Everything that decides how a picture looks is settled here, so that it looks the same from whatever program paints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LEFT, MIDDLE, RIGHT = "left", "middle", "right"

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle; (x, y) is its upper left corner. `name` makes it something that arrows can be tied to."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    line: float = 1.0
    rounded: bool = False
    dashed: bool = False
    tooltip: str = ""
    name: str = ""


class Words(NamedTuple):
    """One line of text around the height `y`, which starts, is centred or ends at `x`."""

    x: float
    y: float
    text: str
    size: float
    ink: str
    bold: bool = False
    anchor: str = LEFT


class Arrow(NamedTuple):
    """A way from one named box to another: straight pieces, their corners rounded; `head` draws the point."""

    points: Sequence[Point]
    ink: str
    tail_name: str
    head_name: str
    head: bool = True
    dashed: bool = False
    line: float = 1.2


class Frame(NamedTuple):
    """A box with a part of the drawing inside."""

    box: Box
    items: Sequence[Item]


Item = Box | Words | Arrow | Frame


class Scene(NamedTuple):
    """The whole: its size, the colour behind everything, and what is on it. `title` is for those who cannot see it."""

    title: str
    width: float
    height: float
    background: str
    items: Sequence[Item]
