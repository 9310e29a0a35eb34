"""Shortcuts: what is added, or set beside, to what was made of it."""

from __future__ import annotations

from modelscope_cli.analysis.flow_ops import OPERATOR, Step
from modelscope_cli.analysis.flow_words import CONCATENATING

SHORT = 2  # steps that a way past others may have of its own: the projection of a ResNet


def shortcuts(steps: list[Step]) -> set[tuple[int, int]]:
    """The ids of (step, reader) between which a shortcut runs."""
    number = {id(step): position for position, step in enumerate(steps)}
    above: dict[int, set[int]] = {}
    for step in steps:
        found: set[int] = set()
        for read in step.reads:
            found |= above[id(read)]
            found.add(id(read))
        above[id(step)] = found
    ways: set[tuple[int, int]] = set()
    for step in steps:
        if step.form != OPERATOR or (step.operator != "add" and step.operator not in CONCATENATING):
            continue
        parts = list({id(read): read for read in step.reads}.values())
        if len(parts) != 2:
            continue
        for early, late in (parts, parts[::-1]):
            if id(early) in above[id(late)]:
                passed = (above[id(late)] | {id(late)}) - above[id(early)] - {id(early)}
                if step.operator != "add" and not any(steps[number[each]].kept for each in passed):
                    break  # halves of one tensor, put together again
                ways.add((id(early), id(step)))
                break
        else:
            if step.operator == "add":
                ways |= projected(parts, above, number, step)
    return ways


def projected(parts: list[Step], above: dict[int, set[int]], number: dict[int, int], step: Step) -> set[tuple[int, int]]:
    """The shortcut with a few steps of its own, where both parts come from one step."""
    common = above[id(parts[0])] & above[id(parts[1])]
    if not common:
        return set()
    root = max(common, key=lambda each: number[each])
    for short, long in (parts, parts[::-1]):
        way: set[tuple[int, int]] = {(id(short), id(step))}
        at = short
        for _ in range(SHORT):
            if len(at.reads) != 1:
                break
            way.add((id(at.reads[0]), id(at)))
            at = at.reads[0]
            if id(at) == root:
                longer = len(above[id(long)] - above[root]) - 1
                if longer > SHORT:
                    return way
                break
    return set()
