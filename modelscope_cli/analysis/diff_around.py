"""What a diff says of everything around the tensors: metadata, what pickles would import, files, order, bytes of the container."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis.findings import harmless
from modelscope_cli.analysis.grouping import UNUSED, remainders, shard_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.condensed import DEEPEST, canonical, condensed, well_formed
from modelscope_cli.report.document import Bytes, Count

if TYPE_CHECKING:
    from modelscope_cli.analysis.diff import Diff

MOST_NAMED = 3
LONGEST_PART = 200  # characters of a key, in the name of what lies below it


class MetadataChange(NamedTuple):
    """A value under a dotted key. `status`: added, removed, changed. `container`: it is about the file, not the model."""

    key: str
    status: str
    old: Any
    new: Any
    container: bool


class ImportChange(NamedTuple):
    """A name that a pickle would import on one side only. `harmless`: it is known to do no more than rebuild data."""

    name: str
    status: str
    harmless: bool


class Moved(NamedTuple):
    """A tensor that lies in another shard: lines, and names of files."""

    old: int
    new: int
    before: str
    after: str


class Aspect(NamedTuple):
    """Something in which the containers differ."""

    key: str
    label: str
    old: Any
    new: Any


def compare_metadata(old: Checkpoint, new: Checkpoint) -> list[MetadataChange]:
    """The values that differ. Long ones are compared, and given, as their digests."""
    before, after = dict(leaves(old.metadata)), dict(leaves(new.metadata))
    for place, value, other in recorded(old, new):
        before[place], after[place] = value, other
    found = []
    for path in [*before, *[path for path in after if path not in before]]:
        key = ".".join([part if len(part) <= LONGEST_PART else f"{part[:LONGEST_PART]}…" for part in path])
        if path not in after:
            found.append(MetadataChange(key, "removed", before[path], None, of_container(path, old)))
        elif path not in before:
            found.append(MetadataChange(key, "added", None, after[path], of_container(path, new)))
        elif not same(before[path], after[path]):
            container = of_container(path, old) and of_container(path, new)
            found.append(MetadataChange(key, "changed", before[path], after[path], container))
    return found


def recorded(old: Checkpoint, new: Checkpoint) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Classes and attributes of the modules that both record (torch.save of a whole model). A baseline keeps classes only."""
    attributes = not (is_baseline(old) or is_baseline(new))
    for path, module in old.modules.items():
        other = new.modules.get(path)
        if other is None or module.class_name is None or other.class_name is None:
            continue
        place = (f"module {path}" if path else "module",)
        yield (*place, "class"), module.class_name, other.class_name
        if attributes:
            for name in module.attributes.keys() & other.attributes.keys():
                if not name.startswith("_"):
                    yield (*place, name), module.attributes[name], other.attributes[name]


def is_baseline(checkpoint: Checkpoint) -> bool:
    """Whether it is a description saved earlier, which lacks some of what a file has."""
    return any(note.code == "baseline" for note in checkpoint.notes)


def leaves(metadata: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(keys, value) of everything that is no dictionary with something in it."""
    for key, value in metadata.items():
        place = (*path, well_formed(str(key)))
        if isinstance(value, dict) and value and len(path) < DEEPEST:
            yield from leaves(value, place)
        else:
            yield place, value


def same(old: Any, new: Any) -> bool:
    """Whether two values are equal, as a baseline that keeps a digest of long ones can tell; 1, 1.0 and True are not."""
    if type(old) is type(new) and isinstance(old, str | int | float | None) and old == new:
        return True
    return canonical(condensed(old)) == canonical(condensed(new))


def of_container(path: tuple[str, ...], checkpoint: Checkpoint) -> bool:
    """safetensors' own "format", the total of an index, and what the index of a distributed checkpoint says of itself."""
    if path[0] == ".metadata":
        return checkpoint.format == "dcp"
    if path == ("format",):
        return checkpoint.format == "safetensors"
    return path == ("total_size",) and any(file.path.endswith(".json") for file in checkpoint.files)


def compare_imports(old: Checkpoint, new: Checkpoint) -> list[ImportChange]:
    """Names that only one of them would import."""
    sides = [
        {(use.module, use.name): None for trace in checkpoint.pickles for use in trace.globals} for checkpoint in (old, new)
    ]
    gone = [(*use, "removed") for use in sides[0] if use not in sides[1]]
    come = [(*use, "added") for use in sides[1] if use not in sides[0]]
    found = [ImportChange(f"{module}.{name}", status, harmless(module, name)) for module, name, status in gone + come]
    return sorted(found)


def outside(old: Ledger, new: Ledger) -> dict[str, list[int]]:
    """Bytes of both that no tensor owns, by label."""
    sums: dict[str, list[int]] = {}
    for which, ledger in enumerate((old, new)):
        for remainder in remainders(ledger):
            sums.setdefault(remainder.label, [0, 0])[which] += remainder.nbytes
    return sums


def tensor_files(checkpoint: Checkpoint) -> list[str]:
    """Names of the files that hold tensors."""
    return [os.path.basename(file.path) for file in checkpoint.files if len(file.tensors)]


def compare_places(old: Ledger, new: Ledger, partner: list[int]) -> list[Moved]:
    """Tensors in other shards, where both sets have shards of the same names."""
    files = tensor_files(old.checkpoint), tensor_files(new.checkpoint)
    if len(files[0]) < 2 or sorted(files[0]) != sorted(files[1]):
        return []
    before, after = _places(old), _places(new)
    return [
        Moved(line, other, before[line], after[other])
        for line, other in enumerate(partner[: len(before)])
        if 0 <= other < len(after) and before[line] != after[other]
    ]


def _places(ledger: Ledger) -> list[str]:
    """The name of the file, or files, of every tensor; dropped names, which come last, have none."""
    if ledger.ownership.spread:
        return [shard_of(ledger, line) for line in range(len(ledger.checkpoint.tensors))]
    places: list[str] = []
    for file in ledger.checkpoint.files:
        places += [os.path.basename(file.path)] * len(file.tensors)
    return places


def compare_container(diff: Diff) -> list[Aspect]:
    """All in which the containers differ, a line each."""
    old, new = diff.old.checkpoint, diff.new.checkpoint
    found: list[Aspect] = []
    if old.format != new.format:
        found.append(Aspect("format", "format", old.format, new.format))
    files = tensor_files(old), tensor_files(new)
    resharded = max(len(files[0]), len(files[1])) > 1 and sorted(files[0]) != sorted(files[1])
    if resharded:
        same_count = len(files[0]) == len(files[1])
        written = [f"{_files(len(names))}{f': {_some(names)}' if same_count else ''}" for names in files]
        found.append(Aspect("files", "file names" if same_count else "resharded", *written))
    if diff.moved:
        found.append(Aspect("moved", "tensors in another shard", None, Count(len(diff.moved))))
    if _reordered(diff) and not resharded:
        words = ["the model's own" if side.ordered else "by name" for side in (old, new)]
        words = words if words[0] != words[1] else [words[0], "another"]
        found.append(Aspect("order", "order of tensors", *words))
    around = {label: size for label, size in diff.outside.items() if label != UNUSED}
    if any(size.change for size in around.values()):
        sums = [sum([size[which] for size in around.values()]) for which in (0, 1)]
        found.append(Aspect("outside", "bytes outside the tensors", *map(Bytes, sums)))
    unused = diff.outside.get(UNUSED)
    if unused is not None and unused.change:
        found.append(Aspect("unused", "bytes of storages that no tensor uses", *map(Bytes, unused)))
    if diff.stored:
        kept = sum(diff.new.nbytes) - diff.stored
        found.append(Aspect("stored", "bytes in which equal tensors are stored", Bytes(kept), Bytes(kept + diff.stored)))
    for change in diff.metadata:
        if change.container:
            found.append(Aspect(f"metadata.{change.key}", f"metadata {change.key}", change.old, change.new))
    known = [change for change in diff.imports if change.harmless]
    if known:
        sides = [[change.name for change in known if change.status == status] for status in ("removed", "added")]
        found.append(Aspect("imports", "imports that only rebuild data", *[_some(names) or None for names in sides]))
    return found


def _reordered(diff: Diff) -> bool:
    """Whether the pairs stand in another order. A baseline does not keep the order."""
    if is_baseline(diff.old.checkpoint) or is_baseline(diff.new.checkpoint):
        return False
    order = [other for other in diff.partner if other >= 0]
    return any([second < first for first, second in itertools.pairwise(order)])


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f", … ({len(names):,})" if len(names) > MOST_NAMED else "")
