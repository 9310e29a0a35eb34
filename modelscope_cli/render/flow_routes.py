"""The ways between boxes: down, across, down, with rounded corners, past what is in the way.

Boxes stand in ranks; between two ranks there is a channel, and whatever has to go across does so there, on tracks of its
own, so that no two ways lie on each other. What comes from one box shares a track. Into a sign ways lead from the side.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

TRACK = 11.0  # between tracks
CLEAR = 9.0  # between a way and what it passes
NEAR = 0.5  # no way across
MOST_TRIED = 6  # tracks that are put in every order


class Move(NamedTuple):
    """Across in a channel, from one x to another. `group`: who shares its track; `inner`: below the heads of frames."""

    link: int
    start: float
    end: float
    group: str
    inner: bool


def tracks(moves: list[Move]) -> dict[int, int]:
    """Link → the number of its track, counted from above, so that few ways cross."""
    groups: dict[str, list[Move]] = {}
    for move in moves:
        groups.setdefault(move.group, []).append(move)
    names = list(groups)
    if len(names) <= MOST_TRIED:
        best = min(permutations(names), key=lambda order: (crossings([groups[name] for name in order]), order))
    else:
        best = tuple(sorted(names, key=lambda name: -max(abs(move.end - move.start) for move in groups[name])))
    levels: list[list[Move]] = []
    found: dict[int, int] = {}
    least: dict[str, int] = {}
    for name in best:
        # as high as what it must stay below allows, on a track that is free there
        level = 0
        for other, at in least.items():
            if overlapping(groups[name], groups[other]):
                level = max(level, at + 1)
        while len(levels) <= level:
            levels.append([])
        levels[level] += groups[name]
        least[name] = level
        found.update((move.link, level) for move in groups[name])
    return found


def overlapping(first: list[Move], second: list[Move]) -> bool:
    low, high = reach(first)
    other_low, other_high = reach(second)
    return low - CLEAR < other_high and other_low - CLEAR < high


def reach(moves: list[Move]) -> tuple[float, float]:
    return min(min(move.start, move.end) for move in moves), max(max(move.start, move.end) for move in moves)


def crossings(order: list[list[Move]]) -> int:
    """How often ways cross when groups go across in this order, from above."""
    total = 0
    for position, upper in enumerate(order):
        for lower in order[position + 1 :]:
            low, high = reach(lower)
            total += sum(low - 1 < move.end < high + 1 for move in upper)
            low, high = reach(upper)
            total += sum(low - 1 < start < high + 1 for start in {move.start for move in lower})
    return total
