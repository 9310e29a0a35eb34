"""The head of a diff: both files, the figures that are compared, and the difference in a line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from modelscope_cli.analysis.diff import Diff, Total
from modelscope_cli.analysis.diff_around import tensor_files
from modelscope_cli.analysis.diff_row import ChangeRow, walk
from modelscope_cli.analysis.diff_words import ADDED, REMOVED, RENAMED, SAME, tally
from modelscope_cli.analysis.overview_header import format_title, sizes
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.place import short_name
from modelscope_cli.report.document import (
    BOTH,
    MACHINES,
    Bytes,
    BytesChange,
    Count,
    CountChange,
    Fact,
    Facts,
    Phrase,
    RatioChange,
)


def header(diff: Diff) -> Facts:
    """Both files, and the figures that are compared."""
    parameters, nbytes, tensors = diff.parameters, diff.nbytes, diff.tensors
    counts = {status: Count(number) for status, number in diff.counts.items()}
    facts = [
        *[
            Fact(key, label, side.path, _file(side))
            for key, label, side in (("old", "Old", diff.old.checkpoint), ("new", "New", diff.new.checkpoint))
        ],
        Fact("old_format", "", diff.old.checkpoint.format, audience=MACHINES),
        Fact("new_format", "", diff.new.checkpoint.format, audience=MACHINES),
        Fact("differs", "", diff.differs(), audience=MACHINES),
        Fact("differs_strictly", "", diff.differs(strict=True), audience=MACHINES),
        Fact("parameters", "Parameters", _total(parameters, Count, CountChange), _exact(parameters, "")),
        Fact("bytes", "Size", _total(nbytes, Bytes, BytesChange), _exact(nbytes, " bytes")),
        Fact("tensors_compared", "Tensors", {**_total(tensors, Count, CountChange), **counts}, _tensors(diff)),
        *_dtypes(diff),
    ]
    return Facts("", "", facts)


def _file(checkpoint: Checkpoint) -> str:
    """Name, format, shards and size of one side."""
    base = os.path.normpath(checkpoint.path)
    files = len(tensor_files(checkpoint))
    name = os.path.join(*base.split(os.sep)[-2:]) if files > 1 else short_name(base)
    title = format_title(checkpoint) + (f", {files:,} shards" if files > 1 else "")
    size = sizes(checkpoint.nbytes).partition("  ·  ")[2] or sizes(checkpoint.nbytes)
    return f"{name}  ·  {title}  ·  {size}"


def _total(total: Total, kind: Any, change: Any) -> dict[str, Any]:
    growth = {"growth": RatioChange(total.change / total.old)} if total.old and total.change else {}
    return {"old": kind(total.old), "new": kind(total.new), "change": change(total.change), **growth}


def _exact(total: Total, unit: str) -> str:
    """126,320,967 → 197,714,267  (+71,393,300, +56.5 %)"""
    if not total.change:
        return f"{total.old:,}{unit}  on both sides"
    growth = total.change / total.old * 100 if total.old else 0.0
    share = f", {_signed(growth, ',.1f')} %" if abs(growth) >= 0.05 else ""
    return f"{total.old:,} → {total.new:,}{unit}  ({_signed(total.change, ',')}{share})"


def _signed(number: float, form: str) -> str:
    return f"{'+' if number > 0 else '−'}{abs(number):{form}}"


def _tensors(diff: Diff) -> str:
    """108 the same, 3 reshaped."""
    same, renamed = diff.counts[SAME], diff.counts[RENAMED]
    said = [f"{same:,} the same"] if same else []
    if renamed:
        said.append(f"{renamed:,} renamed")
    if diff.aspects:
        said.append(tally(diff.aspects))
    whole = f"{diff.tensors.old:,}" if not diff.tensors.change else f"{diff.tensors.old:,} → {diff.tensors.new:,}"
    return f"{whole}:  {', '.join(said)}" if said != [f"{same:,} the same"] else f"{whole},  all the same"


def _dtypes(diff: Diff) -> Iterator[Fact]:
    """The bytes of each dtype on both sides; people see them where they are others."""
    sides = [ledger.by_dtype() for ledger in (diff.old, diff.new)]
    value = {
        which: {name: Bytes(size) for name, size in side.items()} for which, side in zip(("old", "new"), sides, strict=True)
    }
    named = [", ".join(sorted(side, key=lambda name: (-side[name], name))[:6]) or "none" for side in sides]
    yield Fact("dtypes", "Dtypes", value, f"{named[0]} → {named[1]}", MACHINES if sides[0].keys() == sides[1].keys() else BOTH)


def headline(diff: Diff, tree: list[ChangeRow]) -> Phrase:
    """The difference in a line."""
    if not diff.differs(strict=True):
        return Phrase(("no differences",))
    if not diff.differs():
        count = len(diff.container)
        return Phrase((f"the same tensors; {count:,} container-only {'difference' if count == 1 else 'differences'}",))
    parameters, nbytes = diff.parameters, diff.nbytes
    said: list[Any] = ["the same parameters"]
    if parameters.change:
        said = [CountChange(parameters.change), " parameters"]
        said += [" (", RatioChange(parameters.change / parameters.old), ")"] if parameters.old else []
    if nbytes.change:
        said += [", ", BytesChange(nbytes.change)]
    return Phrase((*said, "; ", ", ".join(_happened(diff, tree))))


def _happened(diff: Diff, tree: list[ChangeRow]) -> Iterator[str]:
    """2 modules added, 111 tensors renamed, 3 reshaped."""
    modules: Counter[str] = Counter()
    loose = Counter(diff.aspects)
    for row in walk(tree):
        if row.whole:
            loose[row.status] -= row.tensors
            if row.kind.name.endswith((" copy", " state")):
                yield f"{row.kind.name} {row.status}"
            else:
                modules[row.status] += row.copies
    for status in (ADDED, REMOVED):
        if modules[status]:
            yield f"{modules[status]:,} {'module' if modules[status] == 1 else 'modules'} {status}"
    tensors = [f"{diff.counts[RENAMED]:,} renamed"] if diff.counts[RENAMED] else []
    tensors += filter(None, [tally(+loose)])
    if tensors:
        first, _, rest = ", ".join(tensors).partition(" ")
        yield f"{first} {'tensor' if first == '1' else 'tensors'} {rest}"
    values = sum([not change.container for change in diff.metadata])
    if values:
        yield f"{values:,} {'value' if values == 1 else 'values'} of the metadata changed"
    imports = sum([not change.harmless for change in diff.imports])
    if imports:
        yield f"{imports:,} {'import' if imports == 1 else 'imports'} changed"
