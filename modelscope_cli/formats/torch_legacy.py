"""PyTorch's stacked pickles (torch.save before 1.6, and `_use_new_zipfile_serialization=False`), and bare pickles.

    pickle: 0x1950a86a20f9469cfc6c    the magic number
    pickle: 1001                      protocol version
    pickle: {little_endian, type_sizes, protocol_version}
    pickle: the object                storages as ('storage', class, key, location, numel[, (view key, offset, size)])
                                      modules of their time as ('module', class, source file, source)
    pickle: [key, key, …]             the order of the storages
    then for each key: 8 bytes numel, and the elements

How long the pickles are is not written down anywhere, so they are read in pieces until each one stops. A file that starts
as a pickle but without the magic number is read as one bare pickle; torch tensors in such files carry a whole torch.save
each, inside the pickle (`torch.storage._load_from_bytes`). Facts: torch/serialization.py, `_legacy_save`, `_legacy_load`.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.literal_bytes import literal_bytes, source_of_bytes
from modelscope_cli.containers.pickle_calls import Readers
from modelscope_cli.containers.pickle_machine import CHUNK, PickleMachine
from modelscope_cli.containers.pickle_nodes import Global, Mapping
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, UnsupportedFeatureError
from modelscope_cli.formats.plain_values import pruned
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, storage_dtype
from modelscope_cli.formats.torch_walk import Walk

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
COUNT_SIZE = 8
DEEPEST_NESTED = 50  # files inside one another


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in a stacked-pickle file or bare pickle. Reads the pickles and the counts, no tensor data."""
    table = TensorTable()
    table.filenames.append(window.name)
    builder = ByteMapBuilder()
    nested = NestedFiles(table, limits)
    stream = Stream(window, limits, table, nested, located=True)
    root = stream.read(builder)
    walk = Walk(table, window.name, limits)
    walk.run(root)
    stream.claim_pickles(builder)
    return Checkpoint(
        window.name,
        "torch-legacy" if stream.stacked else "pickle",
        [FileRecord(window.name, window.size, range(len(table)))],
        table,
        [builder.finish(window.size, window.name)],
        metadata=pruned(walk.metadata),
        modules=walk.modules,
        groups=walk.groups,
        pickles=stream.traces + nested.traces,
        notes=stream.notes + walk.notes,
    )


class Stream:
    """The pickles of one file, one after another, and then its storages."""

    def __init__(self, window: Window, limits: Limits, table: TensorTable, nested: NestedFiles, *, located: bool):
        self.window = window
        self.limits = limits
        self.table = table
        self.nested = nested
        self.data = bytearray(window.read(0, min(CHUNK, window.size)))
        self.position = 0
        self.traces: list[PickleTrace] = []
        self.notes: list[Note] = []
        self.refs: dict[str, StorageRef] = {}
        self.little_endian = True
        self.stacked = False
        self.base = window.base if located else None  # position of the stream in the file, where that is known

    def read(self, builder: ByteMapBuilder) -> Any:
        """The root object. Fills the storage table and claims what lies behind the pickles."""
        first = self.next_pickle()
        self.stacked = type(first) is int and first == MAGIC_NUMBER
        if not self.stacked:
            if self.position < self.window.size:
                left = self.window.size - self.position
                self.notes.append(
                    Note("after-stop", "warning", self.window.name, f"{left:,} bytes follow the end of the pickle")
                )
            return first
        version = self.next_pickle()
        if version != PROTOCOL_VERSION or type(version) is not int:
            raise UnsupportedFeatureError(
                f"legacy protocol {version!r:.40}, known is {PROTOCOL_VERSION}", path=self.window.name
            )
        system = self.next_pickle()
        if type(system) is Mapping and system.get("little_endian") is False:
            self.little_endian = False
            self.notes.append(Note("big-endian", "info", self.window.name, "the data is big-endian"))
        root = self.next_pickle()
        keys = self.next_pickle()
        if type(keys) is not list:
            raise CorruptFileError("the list of storages is not a list", path=self.window.name, offset=self.position)
        self._read_storages(keys, builder)
        return root

    def next_pickle(self) -> Any:
        machine = PickleMachine(
            self.data,
            self.window.name,
            self.limits,
            self.load,
            self.more,
            self.position,
            self.nested.readers(self.data, self.base),
        )
        try:
            result = machine.run()
        except ModelscopeError as problem:
            self.traces.append(machine.trace(problem.message))
            raise
        self.traces.append(machine.trace())
        self.position = machine.end
        return result

    def more(self, wanted: int) -> bytes:
        start = len(self.data)
        return self.window.read(start, min(wanted, self.window.size - start))

    def load(self, pid: Any, offset: int) -> Any:
        """What a persistent id stands for: a storage, or the class of a module saved with its source."""
        if type(pid) is not tuple or len(pid) < 2:
            raise BadTensorError("a persistent id that is no storage")
        if pid[0] == "module" and type(pid[1]) is Global:
            pid[1].pushed += 1
            return pid[1]
        if pid[0] != "storage" or len(pid) < 5:
            raise BadTensorError("a persistent id that is no storage")
        _, cls, key, _, numel = pid[:5]
        dtype = storage_dtype(cls)
        if type(key) is bytes:
            key = key.decode("utf-8", "replace")
        if type(key) is int:
            key = str(key)
        if type(key) is not str or type(numel) is not int or numel < 0:
            raise BadTensorError("a storage without key or size")
        if dtype.bits is None:
            raise BadTensorError(f"a storage of unknown type {dtype.name}")
        root = self.refs.get(key)
        if root is None:
            nbytes = numel * dtype.bits // 8
            if nbytes > self.window.size:
                raise BadTensorError(
                    f"the storage {key[:40]!r} should have {nbytes:,} bytes, the whole file has {self.window.size:,}"
                )
            root = self.refs[key] = StorageRef(self.table.storage.add(key, 0, -1, nbytes), dtype, nbytes)
        part = pid[5] if len(pid) > 5 else None
        if part is None:
            return root if root.dtype is dtype else StorageRef(root.index, dtype, root.nbytes)
        if (
            type(part) is not tuple
            or len(part) != 3
            or type(part[1]) is not int
            or type(part[2]) is not int
            or min(part[1:]) < 0
        ):
            raise BadTensorError("a storage view without offset and size")
        start, nbytes = part[1] * dtype.bits // 8, part[2] * dtype.bits // 8
        if start + nbytes > root.nbytes:
            raise BadTensorError(f"a storage view that leaves the storage {key[:40]!r}")
        return StorageRef(root.index, dtype, nbytes, start)

    def _read_storages(self, keys: list[Any], builder: ByteMapBuilder) -> None:
        position = self.position
        missing = dict(self.refs)
        storage = self.table.storage
        order = "little" if self.little_endian else "big"
        for key in keys:
            key = key.decode("utf-8", "replace") if type(key) is bytes else str(key) if type(key) is int else key
            if type(key) is not str or key not in missing:
                raise CorruptFileError(
                    "the list of storages names one that the object does not use", path=self.window.name, offset=position
                )
            ref = missing.pop(key)
            count = int.from_bytes(self.window.read(position, COUNT_SIZE, "storage size"), order, signed=True)  # type: ignore[arg-type]
            numel = ref.nbytes * 8 // (ref.dtype.bits or 8)
            if count != numel:
                raise CorruptFileError(
                    f"storage {key!r}: expected {numel:,} elements, found {count:,}", path=self.window.name, offset=position
                )
            start = position + COUNT_SIZE
            if start + ref.nbytes > self.window.size:
                raise CorruptFileError(
                    f"storage {key!r}: expected {ref.nbytes:,} bytes, found {max(0, self.window.size - start):,}",
                    path=self.window.name,
                    offset=start,
                    hint="the file is probably cut short: compare its size with the source and download it again",
                )
            builder.claim("header", position, start)
            builder.claim("data", start, start + ref.nbytes)
            storage.starts[ref.index] = self.window.base + start
            position = start + ref.nbytes
        if missing:
            raise CorruptFileError(
                f"the storage {next(iter(missing))[:40]!r} is used but not stored", path=self.window.name, offset=position
            )

    def claim_pickles(self, builder: ByteMapBuilder) -> None:
        builder.claim_around("pickle", 0, self.position, self.nested.spans)


class NestedFiles:
    """torch.save inside torch.save: each is opened in memory and its storages join the outer table.

    `spans` are the bytes of tensor data found inside an outer pickle (start, stop, label), where they could be located.
    """

    def __init__(self, table: TensorTable, limits: Limits):
        self.table = table
        self.limits = limits
        self.spans: list[tuple[int, int, str]] = []
        self.traces: list[PickleTrace] = []
        self._opened: dict[int, tuple[Any, Any]] = {}  # by identity of what bytes are made of: the same are opened once
        self._depth = 0

    def readers(self, outer: bytes | bytearray, base: int | None) -> Readers:
        """What a machine over `outer` needs to open the files in it. `base` is where `outer` lies in the file, if that is known."""
        searched = 0

        def load_from_bytes(args: tuple[Any, ...]) -> Any:
            nonlocal searched
            source = source_of_bytes(args[0]) if len(args) == 1 and type(args[0]) is not str else None
            if id(source) in self._opened:
                return self._opened[id(source)][1]
            raw = literal_bytes(args[0]) if source is not None else None
            if raw is None:
                raise BadTensorError("a torch.save inside the pickle, without its bytes")
            at = outer.find(raw, searched) if base is not None else -1
            if at >= 0:
                searched = at + len(raw)
            root = self._open(raw, base + at if base is not None and at >= 0 else None)
            self._opened[id(source)] = (source, root)
            return root

        return {("torch.storage", "_load_from_bytes"): load_from_bytes}

    def _open(self, raw: bytes, base: int | None) -> Any:
        """The root object of a torch.save held in `raw`, which lies at `base` of the file."""
        if len(self._opened) >= self.limits.nested_files:
            raise LimitError("nested_files", self.limits.nested_files, len(self._opened) + 1)
        window = MemoryWindow(raw, "a torch.save inside the pickle", base or 0)
        if raw[:2] == b"PK":
            raise UnsupportedFeatureError("a zip inside a pickle: not read yet", path=window.name)
        if self._depth >= DEEPEST_NESTED:
            raise UnsupportedFeatureError(f"more than {DEEPEST_NESTED} torch.save in one another", path=window.name)
        self._depth += 1
        first = len(self.table.storage)
        stream = Stream(window, self.limits, self.table, self, located=base is not None)
        inner = len(self.spans)
        root = stream.read(ByteMapBuilder())
        self._depth -= 1
        self.traces += stream.traces
        storage = self.table.storage
        placed = {start for start, _, _ in self.spans[inner:]}  # by files inside this one
        for index in range(first, len(storage)):
            start, stop = storage.starts[index], storage.starts[index] + storage.nbytes[index]
            if base is None:  # re-encoded in the pickle: its bytes are the pickle's
                storage.starts[index], storage.stored[index] = 0, 0
            elif storage.stored[index] and start not in placed:
                self.spans.append((start, stop, "data"))
        return root
