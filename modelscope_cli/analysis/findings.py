"""What a reader of the tables should know besides: ties, waste, oddities, and what loading the file would execute."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.adapters import adapter_findings
from modelscope_cli.analysis.convention_findings import convention_findings
from modelscope_cli.analysis.grouping import UNUSED, Grouping
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.ownership import first_users
from modelscope_cli.analysis.quantisation_report import quantisation_findings
from modelscope_cli.core.checkpoint import Checkpoint, GlobalUse, PickleTrace
from modelscope_cli.report.document import Finding

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Judgement

MOST_NAMED = 5  # examples in a sentence
MOST_ALIKE = 8  # findings of one sort
MOST_JUDGED = 10_000  # names of a pickle that are looked at


def find(ledger: Ledger, grouping: Grouping, names: Sequence[str] | None = None, *, scanned: bool = False) -> list[Finding]:
    """All findings, the gravest first; of many of one sort the first few and a count. `names`: of one of each equal modules.

    `scanned`: what loading executes is told by a scan, of which this would be a part only.
    """
    checkpoint = ledger.checkpoint
    found = from_notes(checkpoint)
    if not scanned:
        found += executable(checkpoint)
    found += ties(ledger)
    found += waste(ledger, grouping)
    found += partial(ledger)
    found += convention_findings(ledger, names)
    found += adapter_findings(ledger, names)
    if ledger.roles_result.promoted:
        found.append(
            Finding(
                "info",
                "only-copy",
                "",
                f"the only weights are those under {ledger.roles_result.promoted}: they are counted as the parameters",
            )
        )
    found += quantisation_findings(ledger)
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def from_notes(checkpoint: Checkpoint) -> list[Finding]:
    """The notes of the reader."""
    found: list[Finding] = []
    counts: dict[str, int] = {}
    for note in checkpoint.notes:
        counts[note.code] = counts.get(note.code, 0) + 1
        if counts[note.code] <= MOST_ALIKE:
            found.append(Finding(note.severity, note.code, os.path.basename(note.where) or note.where, note.message))
    for code, count in counts.items():
        if count > MOST_ALIKE:
            first = next(finding for finding in found if finding.code == code)
            found.append(Finding(first.severity, code, "", f"{count - MOST_ALIKE:,} more of the same kind: {first.message}"))
    return found


def executable(checkpoint: Checkpoint) -> list[Finding]:
    """Names of the pickles that are not known to do no more than rebuild data, by the policy that `mscope scan` judges by."""
    if not checkpoint.pickles:
        return []
    from modelscope_cli.analysis.policy import grave
    from modelscope_cli.analysis.shown_call import lettered
    from modelscope_cli.core.scan_codes import UNKNOWN

    found: list[Finding] = []
    for trace in checkpoint.pickles:
        found += _odd(trace)
        strange = strangers(trace)
        if strange:
            called = sum(use.calls > 0 for use, _ in strange)
            shown = ", ".join(lettered(f"{use.module}.{use.name}") for use, _ in strange[:MOST_NAMED]) + (
                ", …" if len(strange) > MOST_NAMED else ""
            )
            verb = "import and call" if called else "import"
            use, worst = max(strange, key=lambda pair: grave(pair[1].level))
            name = lettered(f"{use.module}.{use.name}")
            graded = f"; {worst.level}: {name} {worst.reason}" if grave(worst.level) > grave(UNKNOWN) else ""
            found.append(
                Finding(
                    "warning",
                    "imports",
                    os.path.basename(trace.where),
                    f"loading it with pickle would {verb} {shown}{graded}; nothing was executed here",
                )
            )
    return found


def _odd(trace: PickleTrace) -> list[Finding]:
    """What no program writes into a pickle, as far as a reader sees it."""
    from modelscope_cli.analysis.in_context import odd_in
    from modelscope_cli.containers.odd_states import Dtypes

    dtypes = Dtypes()
    told = dict(filter(None, [odd_in(call, dtypes) for call in trace.calls if call.through]))
    return [Finding("warning", code, os.path.basename(trace.where), text) for code, text in told.items()]


def strangers(trace: PickleTrace) -> list[tuple[GlobalUse, Judgement]]:
    """The names of a pickle that are not safe, each with its judgement."""
    from modelscope_cli.analysis.in_context import calls_by_name, judge
    from modelscope_cli.analysis.policy import standard_policy
    from modelscope_cli.core.scan_codes import SAFE

    policy, calls = standard_policy(), calls_by_name(trace)
    judged = [
        (use, judge(policy, use.module, use.name, calls.get((use.module, use.name), ()), use.calls))
        for use in trace.globals[:MOST_JUDGED]
    ]
    return [(use, judgement) for use, judgement in judged if judgement.level != SAFE]


def harmless(module: str, name: str) -> bool:
    """Whether a name is known to only rebuild data."""
    from modelscope_cli.analysis.policy import standard_policy
    from modelscope_cli.core.scan_codes import SAFE

    return standard_policy().judge(module, name).level == SAFE


def ties(ledger: Ledger) -> list[Finding]:
    """Tied names, overlaps, and views whose share had to be estimated."""
    found = []
    groups: dict[int, list[int]] = {}
    for line, first in ledger.tied.items():
        groups.setdefault(first, []).append(line)
    if groups:
        shown = [
            f"{', '.join(ledger.names[line] for line in lines[:3])}{' …' if len(lines) > 3 else ''} = {ledger.names[first]}"
            for first, lines in list(groups.items())[:MOST_NAMED]
        ]
        more = f"; {len(groups) - MOST_NAMED:,} more" if len(groups) > MOST_NAMED else ""
        count = len(ledger.tied)
        found.append(Finding("info", "tied", "", f"{count:,} tied {_tensors(count)}, counted once: {'; '.join(shown)}{more}"))
    overlaps = ledger.ownership.overlaps
    if overlaps:
        line, other = overlaps[0]
        found.append(
            Finding(
                "info",
                "overlap",
                "",
                f"{len(overlaps):,} {_tensors(len(overlaps))} {'overlaps' if len(overlaps) == 1 else 'overlap'} others in part, as {ledger.names[line]} and "
                f"{ledger.names[other]} do; shared elements are counted once",
            )
        )
    if ledger.ownership.approximate:
        count = len(ledger.ownership.approximate)
        found.append(
            Finding(
                "info",
                "approximate",
                "",
                f"{count:,} strided {_tensors(count)} on shared storages counted by the span they reach over",
            )
        )
    return found


def waste(ledger: Ledger, grouping: Grouping) -> list[Finding]:
    """Storage that no tensor reaches: a saved view drags its whole storage along."""
    storage = ledger.checkpoint.tensors.storage
    unused = sum(remainder.nbytes for remainder in grouping.remainders if remainder.label == UNUSED)
    if not unused:
        return []
    worst = sorted(ledger.ownership.waste, key=lambda pair: -pair[1])[:3]
    users = first_users(ledger.checkpoint.tensors, {index for index, _ in worst})
    examples = [
        f"{users.get(index, 'storage ' + storage.keys[index])} uses {storage.nbytes[index] - lost:,} of {storage.nbytes[index]:,} bytes"
        for index, lost in worst
    ]
    where = (
        f": {'; '.join(examples)}. Saving tensor.clone() instead of a view drops them"
        if examples
        else ": storages that no tensor refers to"
    )
    return [
        Finding(
            "warning" if unused * 20 > ledger.checkpoint.nbytes else "info",
            "waste",
            "",
            f"{unused:,} bytes of storage belong to no tensor{where}",
        )
    ]


def partial(ledger: Ledger) -> list[Finding]:
    """Tensors of which only a part is here, as FSDP saves what each rank has: a DTensor or ShardedTensor has the shape of the whole."""
    tensors = ledger.checkpoint.tensors
    lines = []
    for line, views in tensors.parts.items():
        local = [view for view in views if view.origin is not None] or [
            view for view in views[:1] if len(view.shape) == len(tensors.shapes[line]) and view.shape != tensors.shapes[line]
        ]
        packed = line in ledger.packed and views[0].origin is None  # fewer elements inside, because each holds several
        if local and not packed and ledger.owned[line] < ledger.elements[line] and line not in ledger.tied:
            lines.append(line)
    if not lines:
        return []
    here, whole = sum(ledger.owned[line] for line in lines), sum(ledger.elements[line] for line in lines)
    shown = ", ".join(ledger.names[line] for line in lines[:3]) + (", …" if len(lines) > 3 else "")
    text = (
        f"of {len(lines):,} {_tensors(len(lines))} only a part is here: {here:,} of {whole:,} elements ({shown}). Shapes are those of "
        "the whole tensors, counts and bytes those of what is here"
    )
    return [Finding("info", "partial", "", text)]


def shards(checkpoint: Checkpoint) -> list[Finding]:
    """What to know about a set of shards."""
    parts = checkpoint.shards
    if len(parts) < 2:
        return []
    tensors = checkpoint.tensors
    cut = sum(views[1:] != () and views[1].origin is not None for views in tensors.parts.values())
    if cut:
        text = (
            f"{len(parts)} files make one checkpoint, and {cut:,} of its {len(tensors):,} tensors lie in pieces. Shapes and "
            "counts here are those of the whole tensors"
        )
        return [Finding("info", "shards", "", text)]
    text = (
        f"{len(parts)} shards make one checkpoint. Loaders read them one by one, so no merge is "
        "needed. Shards exist because hosts and file systems limit file sizes, and one at a time needs less memory to load"
    )
    return [Finding("info", "shards", "", text)]


def _tensors(count: int) -> str:
    return "tensor" if count == 1 else "tensors"


def flat_metadata(metadata: dict[str, Any], most: int, prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """(dotted key, plain value) of nested metadata, in order; a dictionary of more than `most` entries is only counted."""
    found: list[tuple[str, Any]] = []
    for key, value in metadata.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict) and len(value) > most:
            found.append((path, f"{{{len(value):,} entries}}"))
        elif isinstance(value, dict) and value and depth < 12:
            found += flat_metadata(value, most, path, depth + 1)
        else:
            found.append((path, value))
    return found
