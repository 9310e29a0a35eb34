"""The way of an arrow as a curve: straight pieces whose corners are rounded, and the point at its end.

What paints it need know nothing but cubic Bézier curves. Lengths are points; heights may count either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelscope_cli.report.scene import Point

HEAD = 9.0  # length of the point of an arrow
CORNER = 10.0  # radius of its bends
ROUND = 0.4477  # a quarter circle as a Bézier curve: where its control points lie, from the corner


def bezier(points: Sequence[Point]) -> list[Point]:
    """The control points of a line through corners that are rounded: 1 + 3 n of them."""
    curve = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(CORNER, distance(before, corner) / 2, distance(corner, after) / 2)
        enter, leave = towards(corner, before, radius), towards(corner, after, radius)
        curve += straight(curve[-1], enter)
        curve += [towards(corner, before, radius * ROUND), towards(corner, after, radius * ROUND), leave]
    return curve + straight(curve[-1], points[-1])


def before_head(points: Sequence[Point]) -> list[Point]:
    """The same way, ending where the point of the arrow begins."""
    return [*points[:-1], towards(points[-1], points[-2], HEAD)]


def straight(start: Point, end: Point) -> list[Point]:
    third = ((end[0] - start[0]) / 3, (end[1] - start[1]) / 3)
    return [(start[0] + third[0], start[1] + third[1]), (end[0] - third[0], end[1] - third[1]), end]


def distance(a: Point, b: Point) -> float:
    """Of two places above or beside each other."""
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def towards(start: Point, goal: Point, length: float) -> Point:
    whole = distance(start, goal) or 1.0
    return (start[0] + (goal[0] - start[0]) / whole * length, start[1] + (goal[1] - start[1]) / whole * length)
