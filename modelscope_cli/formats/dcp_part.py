"""A `.distcp` file by itself, its `.metadata` lost: the blobs are found one behind another, and their tensors have no names.

    [blob][blob] …    each a torch zip whose local headers give no sizes, so where one ends is learnt from its pickle

Only the index says where a blob begins. But torch writes the members of its zips in one order, and what each is tells its size:
data.pkl stops where its pickle stops, data/KEY has the elements that the pickle speaks of, the rest is a few bytes before the
descriptor that follows. Behind the last member come the directory and the end record. Facts: caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Any

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import Region
from modelscope_cli.core.tensor import NOWHERE, TensorTable, View
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.dcp_blobs import BlobMap, BlobReader, together
from modelscope_cli.formats.torch_objects import BadTensorError, storage_dtype

LOCAL, CENTRAL, DESCRIPTOR, END64, LOCATOR, END = (
    b"PK" + bytes(mark) for mark in ((3, 4), (1, 2), (7, 8), (6, 6), (6, 7), (5, 6))
)
LOCAL_SIZE, CENTRAL_SIZE, END64_SIZE, LOCATOR_SIZE, END_SIZE = 30, 46, 56, 20, 22
MOST_SMALL = 4_096  # bytes of a member that is neither pickle nor data
FIRST_LOOK = 2_048  # of a pickle: that of a tensor has a few hundred
_local = Struct("<4s5H3I2H").unpack_from
_central_lengths = Struct("<3H").unpack_from
_end64_size = Struct("<Q").unpack_from
DESCRIPTOR_SIZES = (24, 16)  # with sizes of eight or of four bytes


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The blobs of one file. Raises an error if not even the first can be read; behind one that cannot nothing more is found."""
    from modelscope_cli.formats.torch_zip import read as read_zip

    reader = BlobReader(lambda blob: read_zip(blob, limits, lenient=lenient), limits)
    table = TensorTable()
    table.filenames.append(window.name)
    where = os.path.basename(window.name)
    placed: list[tuple[int, tuple[Region, ...]]] = []
    traces: dict[tuple[Any, ...], PickleTrace] = {}  # each once, whatever the number of blobs
    metadata = {}
    said = (
        "one file of a distributed checkpoint: the .metadata that belongs to it has the names, and says which pieces these are"
    )
    notes = [Note("dcp-part", "warning", where, said)]
    position = 0
    while position < window.size:
        try:
            length = blob_length(window, position, limits)
            content = reader.content(window, position, length, f"{window.name}:{position}", None, ())
        except ModelscopeError as problem:
            if not placed or isinstance(problem, LimitError):
                raise
            said = f"behind byte {position:,} nothing more can be read: {problem.message}"
            notes.append(Note("dcp-unreadable", "error", where, said))
            break
        name = f"blob {len(placed)}"
        first = len(table.storage)
        for key, start, nbytes, stored in content.storages:
            table.storage.add(f"{name}/{key}", 0, position + start if start >= 0 else start, nbytes, stored)
        for held in content.tensors:
            views = [view._replace(storage=view.storage + first) if view.storage >= 0 else view for view in held.views]
            main = views[0] if views else View(NOWHERE, 0, held.shape, held.dtype, None)
            called = f"{name}.{held.name}" if held.name else name
            index = table.add(called, held.shape, held.dtype, main.storage, main.offset, main.strides)
            if len(views) > 1 or main.shape != held.shape:
                table.parts[index] = tuple(views)
        if content.metadata:
            metadata[name] = content.value()
        traces.update((trace.likeness, trace) for trace in content.pickles)
        notes += content.notes
        placed.append((position, content.regions))
        position += length
    return Checkpoint(
        window.name,
        "dcp-part",
        [FileRecord(window.name, window.size, range(len(table)))],
        table,
        [BlobMap(placed, window.size)],
        metadata=metadata,
        pickles=[together(window.name, list(traces.values()))],
        notes=notes,
        ordered=False,
    )


def blob_length(window: Window, start: int, limits: Limits) -> int:
    """The length of the torch zip that begins at `start`. Raises CorruptFileError where none does."""
    position = start
    sizes: dict[str, int] = {}
    members = 0
    while (head := window.read(position, 4, "a blob")) == LOCAL:
        members += 1
        if members > limits.members:
            raise LimitError("members", limits.members, members, path=window.name, offset=position)
        row = _local(window.read(position, LOCAL_SIZE, "a zip header"))
        name = window.read(position + LOCAL_SIZE, row[9], "a zip header").decode("utf-8", "replace")
        position += LOCAL_SIZE + row[9] + row[10]
        described = bool(row[2] & 8)
        size = row[7]
        if described and not size:
            size = member_size(window, position, name, sizes, limits)
        position += size
        if described:
            position = behind_descriptor(window, position)
    if head != CENTRAL:
        raise CorruptFileError("no torch file begins here", path=window.name, offset=position)
    while window.read(position, 4, "a zip directory") == CENTRAL:
        position += CENTRAL_SIZE + sum(_central_lengths(window.read(position + 28, 6, "a zip directory")))
    if window.read(position, 4, "the end of a zip") == END64:
        (size,) = _end64_size(window.read(position + 4, 8, "the end of a zip"))
        if size != END64_SIZE - 12:
            raise CorruptFileError("the end of a zip is not as torch writes it", path=window.name, offset=position)
        position += END64_SIZE
        position += LOCATOR_SIZE if window.read(position, 4, "the end of a zip") == LOCATOR else 0
    end = window.read(position, END_SIZE, "the end of a zip")
    if end[:4] != END:
        raise CorruptFileError("a zip without its end", path=window.name, offset=position)
    return position + END_SIZE + int.from_bytes(end[20:22], "little") - start


def behind_descriptor(window: Window, position: int) -> int:
    """The first byte behind a descriptor: what follows it is another header, or the directory."""
    for size in DESCRIPTOR_SIZES:
        if position + size + 4 <= window.size and window.read(position + size, 4) in (LOCAL, CENTRAL):
            return position + size
    raise CorruptFileError("a zip member without its descriptor", path=window.name, offset=position)


def member_size(window: Window, start: int, name: str, sizes: dict[str, int], limits: Limits) -> int:
    """Bytes of a member whose header gives none. A pickle adds those of the storages it speaks of to `sizes`."""
    leaf = name.rpartition("/")[2]
    if leaf == "data.pkl":
        return pickle_size(window, start, sizes, limits)
    if name.rpartition("/")[0].endswith("data") and leaf in sizes:
        return sizes[leaf]
    near = window.read(start, min(MOST_SMALL, window.size - start))
    at = near.find(DESCRIPTOR)
    if at < 0:
        raise CorruptFileError(f"where {name!r:.80} ends is not to be found", path=window.name, offset=start)
    return at


def pickle_size(window: Window, start: int, sizes: dict[str, int], limits: Limits) -> int:
    """Bytes of the pickle at `start`."""
    data = bytearray(window.read(start, min(FIRST_LOOK, window.size - start)))

    def load(pid: Any, offset: int) -> None:
        if type(pid) is not tuple or len(pid) < 5 or type(pid[2]) is not str or type(pid[4]) is not int or pid[4] < 0:
            raise BadTensorError("a persistent id that is no storage")
        sizes[pid[2]] = storage_dtype(pid[1]).nbytes(pid[4]) or 0

    def more(length: int) -> bytes:
        there = start + len(data)
        return window.read(there, min(length, window.size - there))

    machine = PickleMachine(data, window.name, limits, load, more)
    machine.run()
    return machine.end
