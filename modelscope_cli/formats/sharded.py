"""A checkpoint in several files (Hugging Face): an index that maps names to files, and the files.

    model.safetensors.index.json      {"metadata": {"total_size": BYTES}, "weight_map": {NAME: FILE, …}}
    model-00001-of-00008.safetensors  each a complete file of its own format

Why shards: a file system or a host limits the size of a file, and each shard can be loaded (and freed) by itself. Nothing
has to be merged to use or to inspect them. The index is a claim like any other: it is held against what the shards hold,
in both directions, and every disagreement is named. A path in it that leaves the folder is refused.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import SEPARATOR, real_path
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.errors import CorruptFileError, LimitError, MissingShardError, ModelscopeError
from modelscope_cli.formats.archive_paths import is_file, names_in, open_path
from modelscope_cli.formats.gguf_split import NUMBER, Split
from modelscope_cli.formats.shard_sets import SHARD_NAME
from modelscope_cli.formats.target import Target

LONGEST_LATER = 1_024  # characters kept of a text in the metadata of a shard that is not the first
MOST_NAMED = 5  # names listed of each kind of disagreement

OpenPart = Callable[[str], Checkpoint]


class Index(msgspec.Struct):
    """The JSON of an index."""

    weight_map: dict[str, str]
    metadata: Any = None


def read_set(target: Target, limits: Limits, open_part: OpenPart, step: Callable[[int, int], None] | None = None) -> Checkpoint:
    """One checkpoint out of all shards. A shard that cannot be read becomes a note of severity error; the others are kept."""
    index, index_size, repeated = read_index(target.index_path, limits) if target.index_path else (None, 0, [])
    paths = shard_paths(target, index, limits)
    table = TensorTable()
    files: list[FileRecord] = []
    maps: list[ByteMap] = []
    notes: list[Note] = []
    merged = Checkpoint(target.path, "", files, table, maps, notes=notes, groups=[])
    problems: list[ModelscopeError] = []
    split = Split()
    for done, path in enumerate(paths):
        if step is not None:
            step(done, len(paths))
        try:
            part = open_part(path)
            add_part(merged, part, limits)
            split.add(path, part.metadata)
        except ModelscopeError as error:
            todo = "the archive does not hold it" if SEPARATOR in path else "download it into the same folder"
            missing = MissingShardError("this shard of the set is missing", path=path, hint=todo)
            problem = error if is_file(path) or os.path.exists(path) else missing
            problems.append(problem)
            told = f"{problem.message} - {problem.hint}" if problem.hint else problem.message
            notes.append(Note("shard-unreadable", "error", os.path.basename(path), told))
    if not files:
        raise problems[0] if problems else CorruptFileError("the index names no shard", path=target.index_path)
    if index is not None and target.index_path is not None:
        files.append(FileRecord(target.index_path, index_size, range(len(table), len(table))))
        maps.append(ByteMap([Region(0, index_size, "index")] if index_size else [], index_size))
        table.filenames.append(target.index_path)
        unreadable = {os.path.basename(problem.path or "") for problem in problems}
        notes += compare(index, merged, target, unreadable)
        notes += [
            Note("index-repeats", "error", target.index_path, f"{name!r} stands twice in the index")
            for name in repeated[:MOST_NAMED]
        ]
        if isinstance(index.metadata, dict):
            merged.metadata.update(index.metadata)
    elif merged.format == "gguf":  # has no index: the parts say themselves what they belong to
        notes += split.check(paths, len(table)) + in_two_shards(merged)
        merged.metadata.pop(NUMBER, None)
    else:
        notes.append(
            Note("no-index", "info", target.path, "no index beside the shards: the set was found by the names of its files")
        )
        notes += in_two_shards(merged)
    return merged


def read_index(path: str, limits: Limits) -> tuple[Index, int, list[str]]:
    """The index, its size in bytes, and names that stand twice in it. Raises CorruptFileError, LimitError, SourceError."""
    with open_path(path, limits) as window:
        if window.size > limits.index_bytes:
            raise LimitError("index_bytes", limits.index_bytes, window.size, path=path)
        raw = window.read(0, window.size)
    holders, values = raw.count(b"{") + raw.count(b"["), max(raw.count(b'"'), raw.count(b","))
    if (count := max(holders, values // 4)) > limits.objects:  # before they are made: empty lists take thirty times their text
        raise LimitError("objects", limits.objects, count, path=path)
    try:
        index = msgspec.json.decode(raw, type=Index)
    except msgspec.ValidationError as error:
        raise CorruptFileError(f"not an index of shards: {error}", path=path) from None
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"not JSON: {error}", path=path) from None
    if len(index.weight_map) > 4 * limits.tensors:  # the shards decide; this only keeps the memory bounded
        raise LimitError("tensors", limits.tensors, len(index.weight_map), path=path)
    try:
        repeated = repeated_names(raw, index)
    except (
        ValueError,
        RecursionError,
    ) as error:  # in a part that is not looked at otherwise: bytes that are no text, numbers without end
        raise CorruptFileError(f"not JSON: {error}", path=path) from None
    return index, len(raw), repeated


def repeated_names(raw: bytes, index: Index) -> list[str]:
    """Names that the weight map holds more than once. A count of the keys mostly shows that there are none."""
    metadata = index.metadata
    flat = metadata is None or (
        isinstance(metadata, dict) and not any(isinstance(value, dict | list | str) for value in metadata.values())
    )
    keys = len(index.weight_map) + (1 if metadata is None else 2 + len(metadata) if flat else 0)
    if flat and b"\\" not in raw and raw.count(b'":') == keys:
        return []
    import json

    repeated: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=check)
    return repeated


def shard_paths(target: Target, index: Index | None, limits: Limits) -> list[str]:
    """The files of the set, in the order of their names. Refuses names that lead out of the folder."""
    if index is None:
        if len(target.shards or ()) > limits.shards:
            raise LimitError("shards", limits.shards, len(target.shards or ()), path=target.path)
        return list(target.shards or ())
    names = sorted(set(index.weight_map.values()))
    if len(names) > limits.shards:
        raise LimitError("shards", limits.shards, len(names), path=target.index_path)
    for name in names:
        if leads_outside(name):
            raise CorruptFileError(f"the index names {name!r}, a file outside its folder", path=target.index_path)
        path = os.path.join(target.folder, name)
        if target.index_path and real_path(path) == real_path(target.index_path):
            raise CorruptFileError("the index names itself as a shard", path=target.index_path)
    return [os.path.join(target.folder, name) for name in names]


def leads_outside(name: str) -> bool:
    """Whether the name of a file, as an index has it, leads out of the folder of the index."""
    parts = re.split(r"[\\/]", name)
    return os.path.isabs(name) or not name or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name) is not None


def add_part(merged: Checkpoint, part: Checkpoint, limits: Limits) -> None:
    """Append a shard to the set."""
    first = len(merged.tensors)
    if first + len(part.tensors) > limits.tensors:
        raise LimitError("tensors", limits.tensors, first + len(part.tensors), path=part.path)
    merged.tensors.extend(part.tensors)
    merged.files.extend(FileRecord(file.path, file.nbytes, range(first, first + len(file.tensors))) for file in part.files)
    merged.byte_maps.extend(part.byte_maps)
    merged.groups.extend(
        (first + start, path) for start, path in part.groups if not merged.groups or path != merged.groups[-1][1]
    )
    merged.format = merged.format or part.format
    if not merged.config:
        merged.config, merged.config_from = part.config, part.config_from
    merged.ordered = merged.ordered and part.ordered
    merged.modules.update(part.modules)
    merged.aliases.update(part.aliases)
    merged.pickles.extend(part.pickles)
    merged.notes.extend(part.notes)
    for key, value in part.metadata.items():
        if len(merged.metadata) >= limits.metadata_items:
            break
        longer = first and isinstance(value, str) and len(value) > LONGEST_LATER
        merged.metadata.setdefault(key, f"{value[:LONGEST_LATER]}…" if longer else value)


def compare(index: Index, merged: Checkpoint, target: Target, unreadable: set[str]) -> list[Note]:
    """Every way in which index and shards disagree. `unreadable` shards are not held against the index a second time."""
    notes: list[Note] = []
    where = target.index_path or target.path
    weight_map = index.weight_map
    names = merged.tensors.names
    held = set(names)
    elsewhere: list[str] = []
    unlisted: list[str] = []
    for file in merged.files:
        inside = [names[index] for index in file.tensors]
        shard = os.path.relpath(file.path, target.folder or ".").replace(os.sep, "/") if inside else ""
        expected = [weight_map.get(name) for name in inside]
        if expected.count(shard) != len(inside):
            unlisted += [name for name, place in zip(inside, expected, strict=True) if place is None]
            elsewhere += [name for name, place in zip(inside, expected, strict=True) if place is not None and place != shard]
    absent = []
    if len(held) - len(unlisted) != len(weight_map):
        absent = [name for name, shard in weight_map.items() if name not in held and os.path.basename(shard) not in unreadable]
    if absent:
        notes.append(Note("index-absent", "error", where, f"{_some(absent)} in the index, in no shard"))
    twice = in_two_shards(merged) if len(held) != len(names) else []
    notes += twice
    if twice:
        counts = Counter(names)
        elsewhere = [name for name in elsewhere if counts[name] == 1]
    if elsewhere:
        notes.append(Note("index-elsewhere", "warning", where, f"{_some(elsewhere)} not in the shard that the index names"))
    if unlisted:
        notes.append(Note("index-unlisted", "warning", where, f"{_some(unlisted)} in a shard, not in the index"))
    notes += unlisted_shards(target, set(weight_map.values()))
    if not unreadable:
        notes += check_total(index, merged, where)
    return notes


def check_total(index: Index, merged: Checkpoint, where: str) -> list[Note]:
    """`metadata.total_size` is meant to be the bytes of all tensors."""
    claimed = index.metadata.get("total_size") if isinstance(index.metadata, dict) else None
    if claimed is None:
        return []
    if isinstance(claimed, float) and claimed.is_integer():
        claimed = int(claimed)
    stored = sum(merged.tensors.storage.nbytes)
    if claimed == stored and type(claimed) is int:
        return []
    actual = 0
    for shape, dtype, storage in zip(merged.tensors.shapes, merged.tensors.dtypes, merged.tensors.storages, strict=True):
        actual += dtype.nbytes(math.prod(shape)) or (merged.tensors.storage.nbytes[storage] if storage >= 0 else 0)
    if not isinstance(claimed, int) or isinstance(claimed, bool):
        return [
            Note(
                "index-total",
                "warning",
                where,
                f"its total_size is {claimed!r:.60}, not a number; the tensors take {actual:,} bytes",
            )
        ]
    if claimed != actual:
        return [Note("index-total", "warning", where, f"its total_size is {claimed:,}, the tensors take {actual:,} bytes")]
    return []


def unlisted_shards(target: Target, listed: set[str]) -> list[Note]:
    """Files beside the set that could be shards of it, by number or suffix, but that the index does not name."""
    suffixes = {os.path.splitext(name)[1] for name in listed}
    stems = {match["stem"] for name in listed if (match := SHARD_NAME.fullmatch(os.path.basename(name)))}
    extra = []
    for name in names_in(target.folder):
        if name in listed or os.path.splitext(name)[1] not in suffixes:
            continue
        match = SHARD_NAME.fullmatch(name)
        if match["stem"] in stems if match and stems else not stems and not match:
            extra.append(name)
    return (
        [Note("shard-unlisted", "warning", target.folder or ".", f"{_some(sorted(extra))} not named by the index")]
        if extra
        else []
    )


def in_two_shards(merged: Checkpoint) -> list[Note]:
    """Names that more than one shard holds."""
    names = merged.tensors.names
    if len(set(names)) == len(names):
        return []
    seen: set[str] = set()
    twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    return [Note("in-two-shards", "error", merged.path, f"{_some(twice)} in more than one shard")]


def _some(names: list[str]) -> str:
    """'3 tensors (a, b, c)' with at most a few named."""
    shown = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
    return f"{len(names):,} ({shown})"
