"""Equal layers: the first stays as it is, the others become one step.

Layers are equal when they are of one class, do the same with tensors of the same shapes (with the same arguments, and with
constants that were made in the same way), and come one after the other: as
layers.0, layers.1 … of a list, or as runs of one module. They are folded only where nothing outside lies between them.
Where layers take turns (A B A B …, A A A B A A A B …) the first turn stays, and all further ones become one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.flow_ops import FOLDED, INPUT, PARAMETER, Step
from modelscope_cli.analysis.flow_origins import Fact
from modelscope_cli.core.calls import Place

SMALL = 24  # steps of a model that is drawn whole
WORTH = 4  # steps that folding must spare
LONGEST_TURN, FEWEST_TURNS = 8, 2  # layers that take turns, and how often they must


class Run(NamedTuple):
    """Equal layers: their places, the first is drawn."""

    places: list[Place]

    @property
    def first(self) -> Place:
        return self.places[0]


def fold(steps: list[Step], facts: Mapping[Place, Sequence[Fact]]) -> tuple[list[Step], dict[Place, Run]]:
    """The steps with equal layers folded, and the runs, by the place of the first of each.

    `facts`: what is called in each module, to the last argument.
    """
    runs: dict[Place, Run] = {}
    if len(steps) <= SMALL:
        return steps, runs
    depth = 1
    while any(len(step.within) > depth for step in steps):
        for places, unit in turns_at(steps, depth, facts):
            folded = without(steps, places, depth, unit)
            steps = steps if folded is None else folded
        for run in runs_at(steps, depth, facts):
            folded = without(steps, run.places[1:], depth)
            if folded is not None:
                steps = folded
                runs[run.first] = run
        depth += 1
    return steps, runs


def runs_at(steps: list[Step], depth: int, facts: Mapping[Place, Sequence[Fact]]) -> list[Run]:
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
        look = look_of(inside, place, depth, facts)
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


def turns_at(steps: list[Step], depth: int, facts: Mapping[Place, Sequence[Fact]]) -> list[tuple[list[Place], int]]:
    """Layers that take turns, in lists: (the places of all but the first turn, layers in a turn)."""
    members: dict[Place, list[Step]] = {}
    for step in steps:
        if len(step.within) > depth and step.within[depth].path.rpartition(".")[2].isdecimal():
            members.setdefault(step.within[depth], []).append(step)
    lists: list[list[Place]] = []
    for place, inside in members.items():
        if any(step.form == FOLDED for step in inside):
            continue
        before = lists[-1][-1] if lists else None
        beside = before and (before.path.rpartition(".")[0], before.again) == (place.path.rpartition(".")[0], place.again)
        if before and beside and next_number(before, place):
            lists[-1].append(place)
        else:
            lists.append([place])
    found: list[tuple[list[Place], int]] = []
    for places in lists:
        looks = [look_of(members[place], place, depth, facts) for place in places]
        at = 0
        while at < len(places):
            unit, end = turns(looks, at)
            if unit:
                found.append((places[at + unit : end], unit))
            at = end
    return found


def turns(looks: Sequence[tuple[Any, ...]], start: int) -> tuple[int, int]:
    """(Layers in a turn, where the last turn ends) of those that take turns from `start` on; (0, the next) where none do."""
    for unit in range(2, LONGEST_TURN + 1):
        end = start + unit
        while looks[end : end + unit] == looks[start : start + unit] and end < len(looks):
            end += unit
        if end - start >= FEWEST_TURNS * unit and any(look != looks[start] for look in looks[start : start + unit]):
            return unit, end
    return 0, start + 1


def look_of(inside: list[Step], place: Place, depth: int, facts: Mapping[Place, Sequence[Fact]]) -> tuple[Any, ...]:
    """What two equal layers have in common, to the last argument."""
    return (*signature(inside, place, depth), *(fact.seen_from(place.path) for fact in facts.get(place, ())))


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
        operator = step.operator.removeprefix(place.path) if step.form == PARAMETER else step.operator
        found.append(
            (step.form, operator, below, tuple(reads), step.shape, step.numbers, tensors, step.count, len(step.covers))
        )
    return tuple(found)


def without(steps: list[Step], places: list[Place], depth: int, unit: int = 1) -> list[Step] | None:
    """The steps with those of some layers in one step; None where something outside lies between them."""
    gone = set(places)
    covered = [step for step in steps if len(step.within) > depth and step.within[depth] in gone]
    if len(covered) < WORTH:
        return None
    inside = {id(step) for step in covered}
    folded = Step(FOLDED, "", (*covered[0].within[:depth], places[0]), None)
    folded.count, folded.unit = len(places), unit
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
