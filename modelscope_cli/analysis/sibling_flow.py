"""Which of some sibling modules takes what which other gives, by their names.

A row of siblings is a little graph: steps follow one another, some run side by side and what comes next takes all of them.

    q_proj ┐                     q_a_proj → q_a_layernorm → q_b_proj ┐            gate → experts
    k_proj ┼→ o_proj      kv_a_proj → kv_a_layernorm → kv_b_proj ┴→ o_proj        shared_experts
    v_proj ┘

All of it is inferred, from analysis/execution_order.py; where the order is not known nobody takes anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.analysis.execution_order import (
    FEWEST_STEPS,
    NUMBERED_STEPS,
    SIDE_BY_SIDE,
    either_order,
    order_known,
    ranks,
)

AROUND = -1  # stands for what the module around the siblings takes
ALTERNATIVES = re.compile(r"(.*_)?(experts|heads|branches|towers)")  # lists whose members all take the same
ROUTER = re.compile(r"gate|router")
UNROUTED = re.compile(r"shared_experts?(_gate)?")
SHORTCUT = re.compile(r"downsample|(conv_)?shortcut|skip\w*")  # from the start of a block to its end, beside its steps


class Flow(NamedTuple):
    """`takes[i]`: what sibling i takes, as positions of others or AROUND. `gives`: whose output is that of the module around."""

    takes: list[list[int]]
    gives: list[int]


def flow(around: str, names: Sequence[str], sizes: Sequence[int | None], *, registered: bool) -> Flow:
    """The flow through siblings that stand in the order they run, in a module called `around`.

    `registered`: the file keeps the order of the model. `sizes` are the parameters of those that hold modules: two of equal
    size whose names say nothing are rather two towers than two steps.
    """
    if ALTERNATIVES.fullmatch(around) and len(names) > 1 and all(name.isdecimal() for name in names):
        return Flow([[AROUND] for _ in names], list(range(len(names))))
    known = order_known(names) or (registered and not either_order(names))
    if not known and not all(name.isdecimal() for name in names):
        return Flow([[] for _ in names], [])
    stepped = sum(bool(NUMBERED_STEPS.fullmatch(name)) for name in names) >= FEWEST_STEPS
    takes: list[list[int]] = []
    ends, aside = [AROUND], []  # outputs that nobody has taken yet
    region: list[int] = []  # siblings since all branches came together
    for position, name in enumerate(names):
        beside = next((other for other in region if side_by_side(name, names[other])), None)
        own = [end for end in ends if end != AROUND and stem(names[end]) == stem(name)]
        if stepped and SHORTCUT.fullmatch(name):
            takes.append([AROUND])
            aside.append(position)
        elif beside is not None:
            takes.append(branch_point(name, names, takes, beside))
            ends.append(position)
            region.append(position)
        elif own:
            takes.append(own)
            ends = [end for end in ends if end not in own] + [position]
            region.append(position)
        else:
            towers = position > 0 and twins(names, sizes, position)
            takes.append([] if towers else ends)
            ends, region = [position], [position]
    return Flow(takes, [end for end in ends + aside if end != AROUND])


def branch_point(name: str, names: Sequence[str], takes: Sequence[list[int]], beside: int) -> list[int]:
    """What a sibling takes that runs beside another: the same; but not from a router whose choice does not concern it."""
    point = takes[beside]
    if UNROUTED.fullmatch(name) and len(point) == 1 and point[0] != AROUND and ROUTER.fullmatch(names[point[0]]):
        return takes[point[0]]
    return point


def side_by_side(name: str, other: str) -> bool:
    return any(pattern.fullmatch(name) and pattern.fullmatch(other) for pattern in SIDE_BY_SIDE)


def stem(name: str) -> str:
    """q of q_proj, q_norm and q_a_layernorm: they belong to one branch. A name without parts is all stem."""
    return name.partition("_")[0]


def twins(names: Sequence[str], sizes: Sequence[int | None], position: int) -> bool:
    """Whether a module is as large as the one before it, and neither name says what it does."""
    if sizes[position] is None or sizes[position] != sizes[position - 1]:
        return False
    return ranks(names[position - 1 : position + 1]) == [None, None]
