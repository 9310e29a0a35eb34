"""Steps as boxes: which stand together on one card, and what each says.

A module through which everything goes in one line is a card with its steps as lines, under its own name. Elsewhere an
activation or a normalisation stands on the card of the layer before it, and so do operators that follow each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from modelscope_cli.analysis.flow_ops import MODULE, OPERATOR, Step
from modelscope_cli.analysis.flow_words import SIGNS
from modelscope_cli.analysis.kinds import ATTENTION, CONV, NORM, WORDS
from modelscope_cli.core.calls import Place

MOST_LINES = 8  # of a card that is a whole module
MOST_TOGETHER = 4  # of one that is not
ACTIVATION = re.compile(
    r"(relu|gelu|silu|swish|mish|elu|celu|selu|sigmoid|tanh|softplus|hardswish|hardsigmoid|softmax|log_softmax|leaky_relu|prelu|glu)"
)
ACTIVATION_CLASS = re.compile(
    rf"{WORDS}\w*?(ReLU|GELU|SiLU)\w*|.*(Swish|Mish|ELU|Sigmoid|Tanh|Softplus|Hardswish|Softmax|GLU|Activation)"
)
NORM_CLASS = re.compile(rf"{WORDS}\w*?(BatchNorm|InstanceNorm|GroupNorm)\w*")


class Together(NamedTuple):
    """Steps on one card, in order; `module`: they are all that runs in it."""

    steps: list[Step]
    module: Place | None


def is_sign(step: Step) -> bool:
    """Whether a step is drawn as one letter in a circle: two things meet."""
    return step.form == OPERATOR and step.operator in SIGNS and len(step.reads) > 1


def put_together(steps: list[Step], runs: Iterable[Place], category: dict[int, str]) -> list[Together]:
    """The boxes, in the order of their first steps. `category`: of each step by its id."""
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for read in step.reads:
            readers.setdefault(id(read), []).append(step)
    framed = set(runs)
    members: dict[Place, list[Step]] = {}
    for step in steps:
        for place in step.around:
            members.setdefault(place, []).append(step)
    taken: dict[int, Together] = {}
    for place, inside in sorted(members.items(), key=lambda item: item[0].path.count(".")):
        if not place.path or place in framed or any(id(step) in taken for step in inside):
            continue
        if 2 <= len(inside) <= MOST_LINES and is_line(inside, readers):
            card = Together(inside, place)
            taken.update((id(step), card) for step in inside)
    for step in steps:
        if id(step) in taken:
            continue
        before = step.reads[0] if len(step.reads) == 1 else None
        card_before = taken.get(id(before)) if before is not None else None
        if (
            before is not None
            and card_before is not None
            and card_before.module is None
            and len(card_before.steps) < MOST_TOGETHER
            and len(readers[id(before)]) == 1
            and step.around == before.around
            and follows(step, before, category)
        ):
            card_before.steps.append(step)
            taken[id(step)] = card_before
        else:
            taken[id(step)] = Together([step], None)
    return list({id(card): card for card in (taken[id(step)] for step in steps)}.values())


def is_line(inside: list[Step], readers: dict[int, list[Step]]) -> bool:
    """Whether steps follow each other, each reading the one before it and nothing else."""
    if any(step.form not in (MODULE, OPERATOR) or is_sign(step) for step in inside):
        return False
    within = {id(step) for step in inside}
    if any(id(read) in within for read in inside[0].reads) or len(inside[0].reads) > 1:
        return False
    return all(step.reads == [before] and len(readers.get(id(before), ())) == 1 for before, step in pairwise(inside))


def follows(step: Step, before: Step, category: dict[int, str]) -> bool:
    """Whether a step is known together with the one before it: conv, norm, activation; scale, mask, softmax."""
    if before.form not in (MODULE, OPERATOR) or step.form not in (MODULE, OPERATOR) or is_sign(before) or is_sign(step):
        return False
    kind = step.within[-1].kind if step.form == MODULE else ""
    if (step.form == MODULE and ACTIVATION_CLASS.fullmatch(kind) and not step.kept) or (
        step.form == OPERATOR and ACTIVATION.fullmatch(step.operator) and before.form == MODULE
    ):
        return category[id(before)] != ATTENTION or before.form == MODULE
    if NORM_CLASS.fullmatch(kind):
        return category[id(before)] == CONV
    return (
        step.form == OPERATOR and before.form == OPERATOR and not step.kept and not before.kept and category[id(step)] != NORM
    )
