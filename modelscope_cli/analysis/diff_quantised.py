"""Quantised weights in a diff: the same tensor of the model under another name and in another layout, and the helpers beside it.

q_proj.weight  bfloat16 [4096, 4096]   ↔   q_proj.weight_packed  int32 [4096, 512]   4 bits (compressed-tensors)
                                           q_proj.weight_scale, q_proj.weight_shape  its helpers
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from modelscope_cli.analysis.diff_words import DEQUANTISED, QUANTISED, REQUANTISED, RETYPED
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantised import Packed
from modelscope_cli.analysis.roles import BIAS, HELPER, WEIGHT

if TYPE_CHECKING:
    from modelscope_cli.analysis.diff import Change, Diff

PACKINGS = frozenset({QUANTISED, DEQUANTISED, REQUANTISED})


def pair_packed(old: Ledger, new: Ledger, partner: list[int], origin: list[int]) -> None:
    """Pair what equal names have left over if it is the same tensor of the model, quantised on at least one side."""
    if not (old.packed or new.packed):
        return
    left = dict(_left(old, partner))
    for name, line in _left(new, origin):
        other = left.get(name)
        if other is not None and partner[other] < 0 and (other in old.packed or line in new.packed):
            partner[other], origin[line] = line, other


def _left(ledger: Ledger, paired: list[int]) -> Iterator[tuple[str, int]]:
    """(name in the model, line) of weights and biases without a partner."""
    for line, other in enumerate(paired):
        if other < 0 and ledger.roles[line] in (WEIGHT, BIAS):
            yield model_name(ledger, line), line


def model_name(ledger: Ledger, line: int) -> str:
    """The name of a tensor in the model: q_proj.weight for q_proj.qweight."""
    packed = ledger.packed.get(line)
    if packed is None:
        return ledger.names[line]
    parent = ledger.parents[line]
    return f"{parent}.{packed.into}" if parent else packed.into


def repacked(old: Ledger, first: int, new: Ledger, second: int) -> str | None:
    """What happened to the packing of a pair; None where it is the same on both sides."""
    before, after = old.packed.get(first), new.packed.get(second)
    if before is None or after is None:
        return None if before is after else QUANTISED if before is None else DEQUANTISED
    same = _told(before) == _told(after)
    return None if same and old.leaves[first] == new.leaves[second] else REQUANTISED


def _told(packed: Packed) -> tuple[str, int | None, int | None, int]:
    return packed.scheme, packed.bits, packed.group, packed.elements


def regrouped(before: Packed | None, after: Packed | None) -> bool:
    """Whether scales stand for another number of elements, which the packed tensors themselves do not show."""
    groups = {packed.group for packed in (before, after) if packed is not None and packed.group is not None}
    return len(groups) > 1


def other_shape(old: Ledger, first: int, new: Ledger, second: int) -> bool:
    """Whether the tensor of the model has another shape, or another size where a shape is not known."""
    shapes = []
    for ledger, line in ((old, first), (new, second)):
        packed = ledger.packed.get(line)
        shapes.append((ledger.shapes[line], ledger.elements[line]) if packed is None else (packed.shape, packed.elements))
    (before, elements), (after, others) = shapes
    if before is None or after is None:
        return elements != others
    transposed = math.prod(before) == math.prod(after) and before[:-2] == after[:-2] and before[-2:] == after[:-3:-1]
    return before != after and not (transposed and len(before) > 2)  # experts stand as [in, out] in some models


def homes(changes: Collection[Change], new: Ledger) -> set[str]:
    """The modules with a weight that is quantised, or in another dtype, on one side: helpers that come or go with it are its own."""
    return {
        new.parents[change.new]
        for change in changes
        if change.new is not None and _is_main(change) and new.roles[change.new] in (WEIGHT, BIAS)
    }


def _is_main(change: Change) -> bool:
    """Whether a pair is kept otherwise than before."""
    both = change.old is not None and change.new is not None
    return both and (RETYPED in change.aspects or not PACKINGS.isdisjoint(change.aspects))


def helps(diff: Diff, change: Change) -> bool:
    """Whether a change is one of a helper."""
    ledger, line = (diff.old, change.old) if change.new is None else (diff.new, change.new)
    return line is not None and ledger.roles[line] == HELPER


def by_row(diff: Diff, changes: list[Change]) -> dict[str, list[Change]]:
    """The changes of a module by the names of their rows: helpers stand with the weight that they help, behind it."""
    rows: dict[str, list[Change]] = {}
    helpers: list[tuple[str, Change]] = []
    mains: list[str] = []
    for change in changes:
        ledger, line = (diff.old, change.old or 0) if change.new is None else (diff.new, change.new)
        leaf = ledger.leaves[line]
        if ledger.roles[line] == HELPER:
            helpers.append((leaf, change))
            continue
        if not PACKINGS.isdisjoint(change.aspects):
            leaf = ledger.packed[line].into if line in ledger.packed else leaf
        if _is_main(change) and ledger.roles[line] == WEIGHT:
            mains.append(leaf)
        rows.setdefault(leaf, []).append(change)
    mains.sort(key=lambda leaf: (-len(leaf), leaf))
    for leaf, change in sorted(helpers, key=lambda helper: helper[0]):
        row = next((main for main in mains if leaf.startswith(main)), mains[-1] if mains else leaf)
        rows.setdefault(row, []).append(change)
    return rows
