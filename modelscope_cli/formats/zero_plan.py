"""Where the parameters lie in the flat groups of DeepSpeed's ZeRO optimizers.

    stages 1 and 2    a group is all its parameters one behind another, padded at its end, cut into equal parts for the ranks:
                      [ a a a a a b b | b b b c c c c | c c 0 0 …
    stage 3           every parameter is cut into equal parts for the ranks, the last one padded; a rank's groups hold its parts
                      one behind another, and a part may go on in the next group

Which parameters, of what shape and in what order, is said by `param_shapes`. Facts: deepspeed/utils/zero_to_fp32.py of
DeepSpeed 0.16 (_zero2_merge_trainable_params, _zero3_merge_trainable_params), where groups are put together likewise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.core.tensor import Shape

LARGEST = 1 << 62


class Run(NamedTuple):
    """`length` elements of a parameter, from element `origin` on: they lie at `start` of a group of a rank."""

    rank: int
    group: int
    start: int
    length: int
    origin: int


class Plan(NamedTuple):
    """The runs of each parameter; the elements of each (rank, group) that hold something; how many are wanted and not there."""

    shapes: dict[str, Shape]
    runs: dict[str, list[Run]]
    spans: dict[tuple[int, int], list[tuple[int, int]]]
    short: int

    def add(self, name: str, run: Run) -> None:
        """A further run of a parameter; those of a group come in order."""
        self.runs[name].append(run)
        spans = self.spans.setdefault((run.rank, run.group), [])
        first = spans.pop()[0] if spans and spans[-1][1] == run.start else run.start
        spans.append((first, run.start + run.length))


Sizes = Sequence[Sequence[int]]  # elements of each group of each rank


def stage_2(shapes: Sequence[Mapping[str, Shape]], sizes: Sizes) -> Plan:
    """The plan of stages 1 and 2: a dictionary of shapes for each group."""
    plan = Plan({}, {}, {}, 0)
    short = 0
    for group, inside in enumerate(shapes):
        starts = [0]
        for groups in sizes:
            starts.append(starts[-1] + (groups[group] if group < len(groups) else 0))
        position = rank = 0
        for name, shape in inside.items():
            numel = math.prod(shape)
            plan.shapes[name] = shape
            plan.runs.setdefault(name, [])
            first = position
            stop = position + numel
            while position < stop and rank < len(sizes):
                count = min(stop, starts[rank + 1]) - position
                if count > 0:
                    plan.add(name, Run(rank, group, position - starts[rank], count, position - first))
                    position += count
                if position == starts[rank + 1]:
                    rank += 1
            short += stop - position
            position = stop
    return plan._replace(short=short)


def stage_3(shapes: Mapping[str, Shape], sizes: Sizes) -> Plan:
    """The plan of stage 3: all parameters go through the groups of each rank in turn."""
    plan = Plan({}, {}, {}, 0)
    ranks = len(sizes)
    short = 0
    edges = [[0] for _ in sizes]
    for along, groups in zip(edges, sizes, strict=True):
        for size in groups:
            along.append(along[-1] + size)
    at = [0] * ranks  # the group that each rank is in
    offset = 0
    for name, shape in shapes.items():
        numel = math.prod(shape)
        part = -(-numel // ranks)
        plan.shapes[name] = shape
        plan.runs.setdefault(name, [])
        for rank in range(ranks):
            origin = min(rank * part, numel)
            left = min(part, numel - origin)
            position = offset
            while left > 0:
                while at[rank] < len(sizes[rank]) and edges[rank][at[rank] + 1] <= position:
                    at[rank] += 1
                group = at[rank]
                if group == len(sizes[rank]):
                    short += left
                    break
                count = min(left, edges[rank][group + 1] - position)
                start = position - edges[rank][group]
                plan.add(name, Run(rank, group, start, count, origin))
                position, origin, left = position + count, origin + count, left - count
        offset += part
    return plan._replace(short=short)


def zero_stage(state: Mapping[str, Any]) -> int:
    """The stage: a number, or an enum of DeepSpeed's that ends in one. 0 where it is not said."""
    digits = re.findall(r"\d+", str(state.get("zero_stage", "0"))[-20:])
    return int(digits[-1]) if digits else 0


def partitions(state: Mapping[str, Any]) -> int:
    """For how many ranks the groups were cut, the most of all groups."""
    found = state.get("partition_count")
    counts = found if isinstance(found, list) else [found]
    return max([count for count in counts if type(count) is int and 0 < count < LARGEST], default=0)


def group_shapes(listed: Any) -> list[dict[str, Shape]]:
    """param_shapes: a dictionary for each group; in old files one for all."""
    if not isinstance(listed, dict):
        return []
    if all(isinstance(value, dict) for value in listed.values()):
        return [one_group(group) for group in listed.values()]
    return [one_group(listed)]


def one_group(listed: Any) -> dict[str, Shape]:
    """name → shape, of those that are shapes."""
    found: dict[str, Shape] = {}
    for name, shape in listed.items() if isinstance(listed, dict) else ():
        if isinstance(shape, list) and all(type(extent) is int and 0 <= extent < LARGEST for extent in shape):
            found[name] = tuple(shape)
    return found
