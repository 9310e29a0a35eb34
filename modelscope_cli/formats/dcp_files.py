"""The files of a distributed checkpoint: every blob that the index names is found in them, and every byte is labelled.

What is wrong with one file or one blob is noted, and the others are read: of a checkpoint of a thousand ranks, one lost file is
no reason to show nothing. Two blobs on the same bytes are one; blobs that overlap otherwise are damage.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from modelscope_cli.core.checkpoint import Note, PickleTrace
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import real_path
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import Shape, TensorTable, View
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import CorruptFileError, LimitError, MissingShardError, ModelscopeError
from modelscope_cli.formats.dcp_blobs import BlobMap, BlobReader, Content, Held, content_of, together
from modelscope_cli.formats.dcp_metadata import Blob, Index
from modelscope_cli.formats.sharded import leads_outside

MOST_NOTES = 200  # of one kind
MOST_NAMED = 5
SAFETENSORS_HEAD = 9  # bytes that tell: eight of length, and a brace

Step = Callable[[int, int], None]


class Wanted(NamedTuple):
    """A blob, and what the index says of it: for whom it is, and the dtype and shape of a tensor (None and () of an object)."""

    blob: Blob
    name: str
    dtype: DType | None
    shape: Shape


class Remarks:
    """Notes, at most so many of one kind."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._counts: Counter[str] = Counter()

    def add(self, code: str, where: str, message: str, severity: str = "error") -> None:
        self.take(Note(code, severity, where, message))

    def take(self, note: Note) -> None:
        self._counts[note.code] += 1
        if self._counts[note.code] <= MOST_NOTES:
            self.notes.append(note)


class Files:
    """The files, read. `table` has their names and the storages in them; `maps` and `sizes` go with the names."""

    def __init__(self, folder: str, index_path: str, limits: Limits):
        self.folder = folder
        self.index_path = index_path
        self.limits = limits
        self.table = TensorTable()
        self.sizes: list[int] = []
        self.maps: list[ByteMap] = []
        self.remarks = Remarks()
        self.pickles: list[PickleTrace] = []
        self._found: dict[Blob, tuple[Content, int]] = {}  # what a blob holds, and the number of its first storage
        self._joint: dict[str, tuple[dict[str, Held], int]] = {}  # file → tensors by name, where one blob holds all of them

    def find(self, blob: Blob, name: str) -> tuple[Content | None, Held | None, int]:
        """(content, the tensor in it, number of its first storage) of a blob; nothing where it could not be read."""
        if blob in self._found:
            content, first = self._found[blob]
            return content, content.tensor(), first
        tensors, first = self._joint.get(blob.file, ({}, 0))
        return None, tensors.get(name), first

    def read(self, index: Index, reader: BlobReader, step: Step | None) -> None:
        """Read all blobs of the index. Raises the first error if no file can be read, and CorruptFileError for a path outside."""
        listed = wanted(index)
        if len(listed) > self.limits.shards:
            raise LimitError("shards", self.limits.shards, len(listed), path=self.index_path)
        for file in listed:
            if leads_outside(file):
                raise CorruptFileError(f"the index names {file!r:.200}, a file outside its folder", path=self.index_path)
        problems: list[ModelscopeError] = []
        seen = {real_path(self.index_path): "the index itself"}
        for done, (file, blobs) in enumerate(sorted(listed.items(), key=lambda pair: by_rank(pair[0]))):
            if step is not None:
                step(done, len(listed))
            path = os.path.join(self.folder, file)
            same = seen.setdefault(real_path(path), file)
            if same != file:
                self.remarks.add("dcp-same-file", file, f"is {same}, under another name: not read twice")
                continue
            try:
                with open_window(path) as window:
                    self._read_file(window, blobs, reader)
            except LimitError:
                raise
            except ModelscopeError as error:
                missing = MissingShardError("this file of the checkpoint is missing", path=path, hint=f"it holds {lost(blobs)}")
                problems.append(error if os.path.exists(path) else missing)
                hint = problems[-1].hint
                self.remarks.add("shard-unreadable", file, f"{problems[-1].message} - {hint}" if hint else problems[-1].message)
        if problems and not self.maps:
            raise problems[0]

    def _read_file(self, window: Window, blobs: list[Wanted], reader: BlobReader) -> None:
        """Read the blobs of one file, in the order in which they lie."""
        joint = joint_tensors(window, blobs, reader)  # may fail: before anything of the file is in the books
        number = len(self.table.filenames)
        self.table.filenames.append(window.name)
        self.sizes.append(window.size)
        placed: list[tuple[int, tuple[Region, ...]]] = []
        traces: dict[tuple[Any, ...], PickleTrace] = {}  # each once, whatever the number of blobs
        where = os.path.basename(window.name)
        stop = 0
        for one in sorted(blobs, key=lambda one: one.blob.offset):
            blob = one.blob
            if blob in self._found or (joint is not None and one.dtype is not None):
                continue
            if blob.offset < stop:
                said = f"{one.name!r:.200} begins at byte {blob.offset:,}, inside what lies before it"
                self.remarks.add("dcp-overlap", where, said)
                continue
            try:
                content = self._content(window, one, reader)
            except LimitError:
                raise
            except ModelscopeError as problem:
                self.remarks.add("dcp-unreadable", where, f"{one.name!r:.200} at byte {blob.offset:,}: {problem.message}")
                continue
            stop = blob.offset + blob.length
            placed.append((blob.offset, content.regions))
            self._found[blob] = (content, self._add_storages(content, number, blob.offset, one.name))
            traces.update((trace.likeness, trace) for trace in content.pickles)
            for note in content.notes:
                self.remarks.take(note)
        if joint is not None:
            start, content = joint
            if start < stop:
                self.remarks.add("dcp-overlap", where, f"its tensors begin at byte {start:,}, inside what lies before them")
            else:
                placed.append((start, content.regions))
                first = self._add_storages(content, number, start, "")
                self._joint[blobs[0].blob.file] = ({held.name: held for held in content.tensors}, first)
                self.remarks.notes += content.notes
        self.maps.append(BlobMap(placed, window.size))
        if traces:
            self.pickles.append(together(window.name, list(traces.values())))

    def _content(self, window: Window, one: Wanted, reader: BlobReader) -> Content:
        """What a blob holds. One that an extension changed on its way (compressed it, say) is a run of bytes to us."""
        blob = one.blob
        if not blob.transforms:
            return reader.content(window, blob.offset, blob.length, f"{window.name}:{one.name}", one.dtype, one.shape)
        window.cut(blob.offset, blob.length, one.name)
        said = f"stored through {', '.join(blob.transforms)[:200]}: its size is known, the bytes are not looked into"
        self.remarks.add("dcp-transformed", one.name, said, "info")
        if one.dtype is None:
            return Content((Region(0, blob.length, "pickle"),), (), (), {"": f"<{blob.length:,} bytes>"}, (), ())
        nbytes = one.dtype.nbytes(math.prod(one.shape))
        held = Held("", one.shape, one.dtype, (View(0, 0, one.shape, one.dtype, None),))
        storage = ("0", 0, blob.length if nbytes is None else nbytes, blob.length)
        return Content((Region(0, blob.length, "data"),), (storage,), (held,), {}, (), ())

    def _add_storages(self, content: Content, file: int, base: int, name: str) -> int:
        """Add the storages of a blob that lies at `base`; returns the number of the first."""
        storage = self.table.storage
        first = len(storage)
        for key, start, nbytes, stored in content.storages:
            called = key if not name else name if len(content.storages) == 1 else f"{name}/{key}"
            storage.add(called, file, base + start if start >= 0 else start, nbytes, stored)
        return first


def wanted(index: Index) -> dict[str, list[Wanted]]:
    """The blobs of each file. Of a name that the index does not describe only the place is known."""
    entries = {entry.name: entry for entry in index.saved}
    shapes = {(entry.name, chunk.origin): chunk.shape for entry in index.saved for chunk in entry.chunks}
    files: dict[str, list[Wanted]] = {}
    for (name, origin), blob in index.blobs.items():
        entry = entries.get(name)
        shape = () if origin is None else shapes.get((name, origin), ())
        files.setdefault(blob.file, []).append(Wanted(blob, name, entry.dtype if entry else None, shape))
    return files


def joint_tensors(window: Window, blobs: list[Wanted], reader: BlobReader) -> tuple[int, Content] | None:
    """(where it begins, content) of the safetensors file that holds all tensors of a `.distcp`, if it is written that way."""
    starts = {one.blob.offset for one in blobs if one.dtype is not None and not one.blob.transforms}
    if len(starts) != 1:
        return None
    start = starts.pop()
    if start + SAFETENSORS_HEAD > window.size:
        return None
    head = window.read(start, SAFETENSORS_HEAD)
    if head[-1:] != b"{" or head[:2] == b"PK":
        return None
    return start, content_of(reader.read(window.cut(start, window.size - start, f"{window.name}:tensors")))


def by_rank(file: str) -> tuple[list[int], str]:
    """Sorts __2_0.distcp before __10_0.distcp."""
    return [int(digits[:18]) for digits in re.findall(r"[0-9]+", file)], file


def lost(blobs: list[Wanted]) -> str:
    """What is in a file, by name, tensors first."""
    names = list(dict.fromkeys([one.name for one in sorted(blobs, key=lambda one: one.dtype is None)]))
    shown = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
    return f"pieces of {len(names):,} entries ({shown})"
