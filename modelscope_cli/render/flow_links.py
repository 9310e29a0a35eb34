"""Which ways of a data flow are to be short and straight, and which boxes are to stand side by side."""

from __future__ import annotations

from collections import Counter

from modelscope_cli.render.flow_entries import chain
from modelscope_cli.render.flow_plan import Link
from modelscope_cli.report.flow import Flow

STRAIGHT = 60  # what a way is worth that alone leads from one box to another, against 1 of a shortcut


def links(flow: Flow) -> list[Link]:
    """What is to be short and straight: ways that alone lead on, and where ways meet the one that has come furthest."""
    leaving = Counter(edge.tail for edge in flow.edges if not edge.shortcut)
    arriving: dict[str, list[str]] = {}
    for edge in flow.edges:
        if not edge.shortcut:
            arriving.setdefault(edge.head, []).append(edge.tail)
    within = {frame.name: frame.within for frame in flow.frames}
    around = {box.name: chain(box.frame, within) for box in flow.boxes}
    far = depths(flow)
    found = []
    for edge in flow.edges:
        tails = arriving.get(edge.head, [])
        if edge.shortcut or not (around[edge.tail] <= around[edge.head] or around[edge.head] <= around[edge.tail]):
            weight = 1
        elif len(tails) > 1:
            further = len(tails) == 2 and far[edge.tail] > min(far[tail] for tail in tails)
            weight = 9 if further else 3
        else:
            weight = STRAIGHT if leaving[edge.tail] == 1 else 6
        found.append(Link(edge.tail, edge.head, weight))
    return found


def depths(flow: Flow) -> dict[str, int]:
    """How many boxes come before each, along the longest way."""
    far = dict.fromkeys((box.name for box in flow.boxes), 0)
    for _ in flow.boxes:
        changed = False
        for edge in flow.edges:
            if far[edge.head] <= far[edge.tail]:
                far[edge.head] = far[edge.tail] + 1
                changed = True
        if not changed:
            break
    return far


def rows(flow: Flow) -> list[list[str]]:
    """Boxes that begin with one tensor, in the order they run: Q, K and V side by side."""
    frames = {box.name: box.frame for box in flow.boxes}
    order = {box.name: number for number, box in enumerate(flow.boxes)}
    reads: dict[str, list[str]] = {}
    for edge in flow.edges:
        reads.setdefault(edge.head, []).append(edge.tail)
    found: dict[tuple[str, str], list[str]] = {}
    for edge in flow.edges:
        if len(reads[edge.head]) == 1 and not edge.shortcut:
            found.setdefault((edge.tail, frames[edge.head]), []).append(edge.head)
    return [sorted(heads, key=lambda name: order[name]) for heads in found.values() if len(heads) > 1]
