"""Distributed checkpoints: what the index `.metadata` says lies somewhere is looked at there, because torch unpickles what it finds.

    .metadata      storage_data {MetadataIndex("x"): _StorageInfo("__0_0.distcp", offset, length, transforms)}
    __0_0.distcp   [blob][blob: a tensor whose numbers are a torch file …]     and the place of "x" may be in those numbers

torch writes blob behind blob, so the places of a file follow one another from its first byte on. One that does not is odd, whatever
stands there; and each object, of which there are few, is looked at as a file of its own. A `.distcp` without its index is searched:
for headers of zip archives and for pickles that import what everybody has. Facts: torch/distributed/checkpoint/filesystem.py
(FileSystemReader.read_data, _slice_file), default_planner.py (load_bytes).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.containers.zip_directory import (
    CENTRAL,
    END,
    END64_SIZE,
    END_SIZE,
    FILLED_32,
    LOCAL,
    LOCATOR,
    LOCATOR_SIZE,
    read_zip_directory,
)
from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import MemoryWindow, Window, open_window
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.dcp_metadata import Blob, Index, index_of, read_index
from modelscope_cli.formats.scan_zip_members import RUN, STORAGE

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import PickleTrace
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.formats.scanning import Walk

INDEX, PART = ".metadata", ".distcp"
END_64 = END64_SIZE + LOCATOR_SIZE
SMALL = 1 << 16  # bytes of a blob that is looked at once, however often it stands there
PIECE, OVERLAP = 1 << 20, 1 << 12
BEGINS = re.compile(rb"\x80[\x02-\x05](?=[\0-\xff]{0,240}?(?:c[A-Za-z_][\w.]{0,80}\n[A-Za-z_]|\x93))")
HEADER = re.compile(rb"PK\x03\x04[\0-\x3f]\0[\0-\xff][\0\x08][\0\x08]\0[\0-\xff]{16}[\x01-\xff]\0[\0-\xff]{2}[ -~]")
MOST_TRIED = 200  # of each piece
MOST_SEARCHED = 2_000  # blobs
LEAST = 64  # bytes of numbers that could hold a program


class Place(NamedTuple):
    """What an index says lies somewhere. `thing` says that it is an object, which torch unpickles, or is said to be no tensor."""

    name: str
    blob: Blob
    thing: bool


def follow_index(walk: Walk, path: str, root: Any, trace: PickleTrace) -> None:
    """Look at everything that an index points to: the object of its pickle."""
    try:
        index = index_of(root, path, walk.limits, trace)
    except ModelscopeError as problem:
        if walk.found.problem is None:
            walk.unseen("", problem)
        return
    for file, places in by_file(walk, index, ""):
        try:
            with open_window(os.path.join(os.path.dirname(path), file)) as part:
                follow(walk, part, places, f"{file} at ")
        except ModelscopeError as problem:
            walk.unseen(file, problem, quiet=True)


def by_file(walk: Walk, index: Index, prefix: str) -> Iterator[tuple[str, list[Place]]]:
    """The places of each file, but for those outside of the folder, which are told."""
    found: dict[str, list[Place]] = {}
    for place in places_of(index):
        found.setdefault(place.blob.file, []).append(place)
    for file, places in found.items():
        if os.path.isabs(file) or ".." in re.split(r"[/\\]", file):
            said = f"{places[0].name[:80]!r} is said to lie in {file[:120]!r}, outside of the folder"
            walk.sign("dcp-place", f"{prefix}{file}", said)
        else:
            yield file, places


def follow_members(walk: Walk, prefix: str, depth: int, members: Mapping[str, Callable[[], Window]]) -> None:
    """The same of the indexes among the members of an archive, whose places lie in the members beside them. `members` open these.

    Parts that no index points to are searched.
    """
    pointed: set[str] = set()
    for where in [where for where in walk.indexes if where.startswith(prefix) and where[len(prefix) :] in members]:
        try:
            root, trace = walk.indexes.pop(where)
            index = index_of(root, where, walk.limits, trace)
        except ModelscopeError as problem:
            walk.unseen(where, problem)
            continue
        folder = where[len(prefix) : len(where) - len(where.rpartition("/")[2])]
        for file, places in by_file(walk, index, prefix + folder):
            name = folder + posixpath.normpath(file)
            pointed.add(name)
            if name not in members:
                walk.unseen(f"{prefix}{name}", "an index names it, and it is not in the archive", quiet=True)
                continue
            try:
                follow(walk, members[name](), places, f"{prefix}{name}/", f"{prefix}{name}", depth + 2)
            except ModelscopeError as problem:
                walk.unseen(f"{prefix}{name}", problem)
    for name in members:
        if name.endswith(PART) and name not in pointed:
            try:
                search(walk, members[name](), f"{prefix}{name}", depth + 2)
            except ModelscopeError as problem:
                walk.unseen(f"{prefix}{name}", problem)


def follow_beside(walk: Walk, window: Window) -> None:
    """Look at what the index beside a `.distcp` says lies in it; without an index, search its numbers."""
    path = os.path.join(os.path.dirname(window.name), INDEX)
    try:
        found = os.stat(path)
        index = _kept(path, found.st_size, found.st_mtime_ns, walk.limits)
    except (OSError, ValueError, ModelscopeError):
        index = None
    places = [place for place in places_of(index) if place.blob.file == os.path.basename(window.name)] if index else []
    if places:
        follow(walk, window, places, "")
    else:
        search(walk, window)


@lru_cache(1)
def _kept(path: str, size: int, changed: int, limits: Limits) -> Index:
    with open_window(path) as window:
        return read_index(window, limits)


def places_of(index: Index) -> list[Place]:
    """Every place, in the order of the index."""
    tensors = {entry.name for entry in index.saved if entry.dtype is not None}
    return [Place(name, blob, name not in tensors) for (name, _), blob in index.blobs.items()]


def follow(walk: Walk, part: Window, places: list[Place], prefix: str, of: str = "", depth: int = 1) -> None:
    """Look at the places in one file: objects, and what does not begin where another ends. Its blobs were looked at as those `of` a place."""
    blobs = walk.blobs.get(of, set())
    places = sorted(places, key=lambda place: (place.blob.offset, place.blob.length))
    seen: set[bytes] = set()
    end = looked = 0
    last = -1
    for name, blob, thing in places:
        where = f"{prefix}byte {blob.offset:,}"
        odd = _oddness(part, blob, end, last, thing=thing)
        last, end = blob.offset, max(end, blob.offset + blob.length)
        if odd:
            walk.sign(
                "dcp-place", where, f"{name[:80]!r} is said to lie at {blob.length:,} bytes from byte {blob.offset:,} on: {odd}"
            )
        if not (odd or thing) or (blob.offset, blob.length) in blobs or blob.offset >= part.size:
            continue
        inner = part.cut(blob.offset, min(blob.length, part.size - blob.offset), f"{part.name}:{blob.offset}")
        if inner.size <= SMALL:
            digest = sha256(inner.read(0, inner.size)).digest()
            if digest in seen:
                continue
            seen.add(digest)
        looked += 1
        if looked > walk.limits.nested_files:
            limit = walk.limits.nested_files
            walk.unseen(where, LimitError("nested_files", limit, f"more than {limit:,}", path=part.name))
            return
        kinds = walk.kinds + len(walk.found.streams)
        walk.content(inner, where, depth)
        if blob.transforms and walk.kinds + len(walk.found.streams) == kinds:
            walk.unseen(where, f"written through {', '.join(blob.transforms)[:80]}, which is not undone here")


def _oddness(part: Window, blob: Blob, end: int, last: int, *, thing: bool) -> str:
    """What is odd about a place, or nothing: the places of a file follow one another, and each begins and ends as an archive does."""
    if blob.offset + blob.length > part.size:
        return f"the file ends at byte {part.size:,}"
    if blob.offset == last and not thing:
        return ""  # tensors of a safetensors file have one place
    if blob.offset < end:
        return "that is inside of what lies before it"
    if blob.offset > end:
        return f"what stands before, from byte {end:,} on, belongs to nothing"
    if blob.transforms or blob.length < END_SIZE or part.read(blob.offset, 4) != LOCAL:
        return ""
    stop = blob.offset + blob.length
    record = part.read(stop - END_SIZE, END_SIZE)
    size = int.from_bytes(record[12:16], "little")
    directory = stop - END_SIZE - (END_64 if part.read(max(0, stop - END_SIZE - 20), 4) == LOCATOR else 0) - size
    if record[:4] != END or (size != FILLED_32 and (directory < blob.offset or part.read(directory, 4) != CENTRAL)):
        return "no whole file ends there"
    return ""


def search(walk: Walk, window: Window, of: str = "", depth: int = 1) -> None:
    """Search the numbers of a `.distcp` for what an index could point to; of large ones no more than the beginning, which is said."""
    blobs = sorted(walk.blobs.get(of, ()))
    prefix = f"{of}/" if of else ""
    passed = sum(length for _, length in blobs[MOST_SEARCHED:])  # bytes that are not searched
    for start, length in blobs[:MOST_SEARCHED]:
        try:
            directory = read_zip_directory(window.cut(start, length, window.name), walk.limits)
        except ModelscopeError:
            continue  # which was told where it was looked at
        for member in directory.members:
            if member.stored < LEAST or not STORAGE.fullmatch(member.name) or member.name.endswith(RUN):
                continue
            stop = start + member.start + min(member.stored, walk.numbers)
            passed += max(0, member.stored - walk.numbers)
            for at in range(start + member.start, stop, PIECE):
                walk.numbers -= min(PIECE, stop - at)
                if _found(walk, window, prefix, depth, at, min(PIECE + OVERLAP, stop - at), start + member.stop):
                    return
    if passed:
        most = f"no more than {4 * walk.limits.searched_bytes:,} bytes of numbers are searched (--limit searched_bytes=N)"
        walk.unseen(f"{prefix}the numbers of tensors", f"without its index, {passed:,} bytes of them: {most}", quiet=True)


def _found(walk: Walk, window: Window, prefix: str, depth: int, at: int, length: int, stop: int) -> bool:
    """Whether something to be run begins in so many bytes, which is judged then; the numbers go on up to `stop`."""
    from modelscope_cli.formats.scan_zip_gaps import carve

    data = window.read(at, length)
    match = HEADER.search(data)
    if match is not None:
        begin = at + match.start()
        walk.sign("dcp-hidden", f"{prefix}byte {begin:,}", "a member of a zip archive stands inside the numbers of a tensor")
        carve(walk, window, f"{prefix}byte {begin:,}", depth, [(begin, stop)], listed=0)
        return True
    starts = [begins.start() for begins in BEGINS.finditer(data, 0, PIECE)]
    if len(starts) > MOST_TRIED:
        where = f"{prefix}byte {at + starts[MOST_TRIED]:,}"
        walk.unseen(
            where,
            f"{len(starts) - MOST_TRIED:,} places where a pickle could begin: {MOST_TRIED} are tried in each MiB",
            quiet=True,
        )
    return any(_imports(walk, data[start:], f"{prefix}byte {at + start:,}", depth) for start in starts[:MOST_TRIED])


def _imports(walk: Walk, data: bytes, where: str, depth: int) -> bool:
    """Whether a pickle begins there that imports what everybody has; then it is kept."""
    from modelscope_cli.formats.scan_hidden import ROOTS
    from modelscope_cli.formats.scan_pickles import Series

    series = Series(walk, MemoryWindow(data, where), where, depth, PYTHON, one_of_many=True)
    try:
        machine, problem = series.one()
    except ModelscopeError:
        return False
    if not any(
        use.module.partition(".")[0] in ROOTS and use.name.replace(".", "_").isidentifier() for use in machine.globals.values()
    ):
        return False
    walk.sign("dcp-hidden", where, "a pickle stands inside the numbers of a tensor")
    series.keep(machine, problem)
    return True
