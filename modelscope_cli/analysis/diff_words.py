"""What happened, in words: to one tensor, to a module, to many tensors together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.diff_layout import layout_of
from modelscope_cli.analysis.kinds import Kind
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.report.document import Inferred, Phrase

if TYPE_CHECKING:
    from modelscope_cli.analysis.diff import Change, Diff

SAME, CHANGED, RENAMED, ADDED, REMOVED = "same", "changed", "renamed", "added", "removed"
QUANTISED, DEQUANTISED, REQUANTISED, HELPERS_ADDED, HELPERS_REMOVED = (
    "quantised",
    "dequantised",
    "quantised otherwise",
    "helpers added",
    "helpers removed",
)
RESHAPED, RETYPED, LAYOUT, ROLE, TIED, UNTIED, RETIED, SHARING = (
    "reshaped",
    "retyped",
    "layout changed",
    "role changed",
    "tied",
    "untied",
    "tied to another",
    "sharing changed",
)
ALL = (
    ADDED, REMOVED, QUANTISED, DEQUANTISED, REQUANTISED, RESHAPED, RETYPED, LAYOUT, ROLE, TIED, UNTIED, RETIED, SHARING, HELPERS_ADDED, HELPERS_REMOVED,
)  # the order in which they are told  # fmt: skip

MOST_PARTS = 3  # of a tensor that are told


def tally(counts: Counter[str]) -> str:
    """3 added, 12 reshaped."""
    return ", ".join([f"{counts[word]:,} {word}" for word in ALL if counts[word]])


def module(diff: Diff, status: str, kind: Kind, changes: Sequence[Change]) -> Phrase:
    """A module that is new or gone: added ~Linear 512 → 1,024."""
    tensors = count(len(changes))
    tie = ""
    if len(changes) == 1:
        tie = _tie(diff, 1, changes[0].new, ", tied to ") or _tie(diff, 0, changes[0].old, ", was tied to ")
    if not kind.name:
        return Phrase((f"{status} {tensors}{tie}",))
    name = Inferred(kind.name) if kind.inferred else kind.name
    return Phrase((f"{status} ", name, f" {kind.detail}" if kind.detail else f", {tensors}", tie))


def count(tensors: int) -> str:
    return "1 tensor" if tensors == 1 else f"{tensors:,} tensors"


def tensor(diff: Diff, change: Change) -> str:
    """What happened to a tensor."""
    if change.new is None:
        return f"removed {shape_and_dtype(diff.old, change.old)}{_tie(diff, 0, change.old, ', was tied to ')}"
    if change.old is None:
        return f"added {shape_and_dtype(diff.new, change.new)}{_tie(diff, 1, change.new, ', tied to ')}"
    before, after = sides(diff, change)
    said = [f"{before} → {after}"] if before or after else []
    for aspect in change.aspects:
        if aspect == TIED:
            said.append(_tie(diff, 1, change.new, "tied to "))
        elif aspect == UNTIED:
            said.append(_tie(diff, 0, change.old, "untied from "))
        elif aspect == RETIED:
            said.append(_tie(diff, 1, change.new, "tied to ") + _tie(diff, 0, change.old, " instead of "))
    return ", ".join(said)


def sides(diff: Diff, change: Change) -> tuple[str, str]:
    """Those properties of a tensor that differ, before and after; ties are told apart from these."""
    written: list[str] = []
    for which, (ledger, line) in enumerate(((diff.old, change.old), (diff.new, change.new))):
        parts: list[str] = []
        if line is None:
            written.append("")
            continue
        packed = ledger.packed.get(line)
        repacked = not {QUANTISED, DEQUANTISED, REQUANTISED}.isdisjoint(change.aspects)
        if RESHAPED in change.aspects:
            parts.append(times(packed.shape or ledger.shapes[line] if repacked and packed is not None else ledger.shapes[line]))
        if repacked:
            parts.append(_repacking(diff, change, which))
        if RETYPED in change.aspects:
            parts.append(ledger.dtypes[line].name)
        if LAYOUT in change.aspects:
            parts.append(layout(ledger, line))
        if ROLE in change.aspects:
            parts.append(ledger.roles[line])
        if SHARING in change.aspects:
            owned = diff.books[which].owned[line]
            parts.append(f"{owned:,} of {ledger.elements[line]:,} elements its own" if owned else "no elements of its own")
        written.append(" ".join(parts))
    return written[0], written[1]


def packing(ledger: Ledger, line: int, *, scheme: bool = True, group: bool = True) -> str:
    """How the elements of a tensor are kept: bfloat16, or 4 bits, groups of 128 (GPTQ)."""
    packed = ledger.packed.get(line)
    if packed is None:
        return ledger.dtypes[line].name
    said = ledger.dtypes[line].name
    if packed.bits is not None:
        mixed = packed.mixed and packed.elements
        said = f"{8 * ledger.nbytes[line] / packed.elements:.2f} bits" if mixed else f"{packed.bits} bits"
    if group:
        said += f", groups of {packed.group}" if packed.group and packed.group > 0 else ""
    return f"{said} ({packed.scheme})" if scheme else said


def _repacking(diff: Diff, change: Change, which: int) -> str:
    """One side of a tensor that is packed otherwise, without what the other side has in common with it."""
    lines = change.old or 0, change.new or 0
    first, second = [side.packed.get(line) for side, line in zip((diff.old, diff.new), lines, strict=True)]
    alike = first is not None and second is not None and first.scheme == second.scheme
    group = alike and first is not None and second is not None and first.bits == second.bits
    return packing((diff.old, diff.new)[which], lines[which], scheme=not alike or which == 1, group=group)


def state(diff: Diff, change: Change, which: int) -> str:
    """A tensor on one side: shape, dtype, its tie; and what else is different there."""
    ledger, line = ((diff.old, change.old), (diff.new, change.new))[which]
    if line is None:
        return ""
    parts = [shape_and_dtype(ledger, line)]
    if line in ledger.packed and not {QUANTISED, DEQUANTISED, REQUANTISED}.isdisjoint(change.aspects):
        parts.append(packing(ledger, line))
    if LAYOUT in change.aspects:
        parts.append(layout(ledger, line))
    if ROLE in change.aspects:
        parts.append(ledger.roles[line])
    if SHARING in change.aspects:
        parts.append(sides(diff, change)[which])
    tie = _tie(diff, which, line, "tied to ")
    return ", ".join(filter(None, [*parts, tie]))


def shape_and_dtype(ledger: Ledger, line: int | None) -> str:
    return "" if line is None else f"{times(ledger.shapes[line])} {ledger.dtypes[line].name}"


def layout(ledger: Ledger, line: int) -> str:
    """What a tensor is put together from: 2 parts: int8 4 × 4, float32 4."""
    views = layout_of(ledger, line) or ((ledger.dtypes[line].name, ledger.shapes[line]),)
    told = [f"{dtype} {times(shape)}" for dtype, shape in views[:MOST_PARTS]] + ["…"] * (len(views) > MOST_PARTS)
    return f"{len(views):,} {'part' if len(views) == 1 else 'parts'}: {', '.join(told)}"


@lru_cache(maxsize=1024)
def times(shape: tuple[int, ...]) -> str:
    return " × ".join([f"{extent:,}" for extent in shape]) or "scalar"


def _tie(diff: Diff, which: int, line: int | None, words: str) -> str:
    """The words and the name that a line is tied to; nothing where it is not."""
    owner = diff.books[which].tied.get(-1 if line is None else line)
    return "" if owner is None else words + (diff.old, diff.new)[which].names[owner]


def value(thing: Any) -> str:
    """A value of the metadata, cut for people."""
    text = ", ".join(map(str, thing[:12])) + (" …" if len(thing) > 12 else "") if isinstance(thing, list) else str(thing)
    if isinstance(thing, list):
        text = f"[{text}]" + (f" ({len(thing):,} items)" if len(thing) > 12 else "")
    return text if len(text) <= 120 else f"{text[:110]}… ({len(text):,} characters)"
