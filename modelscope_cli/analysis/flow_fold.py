"""Equal layers: the first stays as it is, the others become one step.

Layers are equal when they are of one class, do the same with tensors of the same shapes, and come one after the other: as
layers.0, layers.1 … of a list, or as runs of one module. They are folded only where nothing outside lies between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from modelscope_cli.analysis.flow_ops import FOLDED, INPUT, Step
from modelscope_cli.core.calls import Place

SMALL = 24  # steps of a model that is drawn whole
WORTH = 4  # steps that folding must spare


class Run(NamedTuple):
    """Equal layers: their places, the first is drawn."""

    places: list[Place]

    @property
    def first(self) -> Place:
        return self.places[0]


def fold(steps: list[Step]) -> tuple[list[Step], dict[Place, Run]]:
    """The steps with equal layers folded, and the runs, by the place of the first of each."""
    runs: dict[Place, Run] = {}
    if len(steps) <= SMALL:
        return steps, runs
    depth = 1
    while any(len(step.within) > depth for step in steps):
        for run in runs_at(steps, depth):
            folded = without(steps, run, depth)
            if folded is not None:
                steps = folded
                runs[run.first] = run
        depth += 1
    return steps, runs


def runs_at(steps: list[Step], depth: int) -> list[Run]:
    """Equal neighbours among the modules that run at a depth."""
    members: dict[Place, list[Step]] = {}
    for step in steps:
        if len(step.within) > depth and step.form != FOLDED:
            members.setdefault(step.within[depth], []).append(step)
    latest: dict[tuple[Any, ...], tuple[Run, Any]] = {}
    runs: list[Run] = []
    for place, inside in members.items():
        if not place.path or all(step.form == INPUT for step in inside):
            continue
        look = signature(inside, place, depth)
        for key, follows in ((numbered(place), next_number), (("", place.path), next_run)):
            before = latest.get(key) if key else None
            if before and before[1] == look and follows(before[0].places[-1], place):
                before[0].places.append(place)
                break
        else:
            run = Run([place])
            runs.append(run)
            for key in (numbered(place), ("", place.path)):
                if key:
                    latest[key] = (run, look)
    return [run for run in runs if len(run.places) > 1 and len(members[run.first]) * (len(run.places) - 1) >= WORTH]


def numbered(place: Place) -> tuple[Any, ...] | None:
    """What layers of one list have in common."""
    parent, _, last = place.path.rpartition(".")
    return (parent, place.kind, place.again) if last.isdecimal() else None


def next_number(before: Place, after: Place) -> bool:
    first, second = before.path.rpartition(".")[2], after.path.rpartition(".")[2]
    return first.isdecimal() and second.isdecimal() and int(second) == int(first) + 1


def next_run(before: Place, after: Place) -> bool:
    return before.path == after.path and after.again == before.again + 1


def signature(inside: list[Step], place: Place, depth: int) -> tuple[Any, ...]:
    """What two equal layers have in common: everything but their names."""
    own = {id(step): number for number, step in enumerate(inside)}
    outside: dict[int, int] = {}
    found: list[Any] = [place.kind]
    for step in inside:
        reads = [own[id(read)] if id(read) in own else -1 - outside.setdefault(id(read), len(outside)) for read in step.reads]
        below = tuple((each.path.removeprefix(place.path), each.kind) for each in step.within[depth + 1 :])
        tensors = tuple((leaf, tensor.shape) for leaf, tensor in step.kept)
        found.append(
            (step.form, step.operator, below, tuple(reads), step.shape, step.numbers, tensors, step.count, len(step.covers))
        )
    return tuple(found)


def without(steps: list[Step], run: Run, depth: int) -> list[Step] | None:
    """The steps with all but the first layer of a run in one step; None where something outside lies between them."""
    gone = set(run.places[1:])
    covered = [step for step in steps if len(step.within) > depth and step.within[depth] in gone]
    if len(covered) < WORTH:
        return None
    inside = {id(step) for step in covered}
    folded = Step(FOLDED, "", (*covered[0].within[:depth], run.places[1]), None)
    folded.count = len(run.places) - 1
    folded.covers = covered
    for step in covered:
        for read, shape in zip(step.reads, step.read_shapes, strict=True):
            if id(read) not in inside and read not in folded.reads:
                folded.reads.append(read)
                folded.read_shapes.append(shape)
    before = [step for step in steps if id(step) not in inside]
    used = [read for step in before for read in step.reads if id(read) in inside]
    folded.shape = used[-1].shape if used else covered[-1].shape
    rest: list[Step] = []
    placed = False
    for step in steps:
        if id(step) not in inside:
            rest.append(step)
        elif not placed:
            rest.append(folded)
            placed = True
    ordered = in_order(rest, lambda step: [folded if id(read) in inside else read for read in step.reads])
    if ordered is None:
        return None
    for step in before:
        step.reads = [folded if id(read) in inside else read for read in step.reads]
    return ordered


def in_order(steps: list[Step], reads: Callable[[Step], list[Step]]) -> list[Step] | None:
    """The steps, each after what it reads, else in the order they are in; None where they go round in a circle."""
    place = {id(step): number for number, step in enumerate(steps)}
    done: set[int] = set()
    ordered: list[Step] = []
    open_: set[int] = set()
    for start in steps:
        waiting = [start]
        while waiting:
            step = waiting[-1]
            if id(step) in done:
                waiting.pop()
                continue
            open_.add(id(step))
            missing = [read for read in reads(step) if id(read) not in done and id(read) in place]
            if not missing:
                waiting.pop()
                open_.discard(id(step))
                done.add(id(step))
                ordered.append(step)
            elif id(missing[0]) in open_:
                return None
            else:
                waiting.append(missing[0])
    return ordered
