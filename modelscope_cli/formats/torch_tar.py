"""PyTorch's oldest format, a tar archive (torch before 0.1.10, early 2017).

    sys_info   a pickle: protocol_version 1000, little_endian, type_sizes
    storages   a pickle: how many; for each a pickle (key, location, storage class), 8 bytes number of elements, the elements;
               then a pickle: views, a list of (key, key of the storage, offset, number of elements)
    tensors    a pickle: how many; for each a pickle (key, key of its storage, tensor class), 4 bytes number of dimensions and
               4 unused, sizes, strides, and the offset, 8 bytes each
    pickle     the object; a tensor or storage in it is a persistent id that is its key, a module (class, source file, source)

Keys are addresses at the time of saving. Everything is little-endian. A member may stand twice; the last one counts.
Facts: torch/serialization.py, `legacy_load`.
"""

from __future__ import annotations

import struct
from typing import Any

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping
from modelscope_cli.containers.tar_directory import TarDirectory, read_tar_directory
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, GlobalUse, Note, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.plain_values import pruned
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, storage_dtype
from modelscope_cli.formats.torch_walk import Walk

PARTS = ("storages", "tensors", "pickle")
REBUILD = Global("torch._utils", "_rebuild_tensor")  # the row of REBUILDERS that takes storage, offset, size, strides
FIRST_READ = 192  # bytes: the small pickle before a storage takes about sixty
MOST_HIDDEN = 64  # pickles hidden by later ones that are looked at
LONGEST_KEY = 24  # digits of an address


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in an old torch tar. Reads headers, the small pickles and the object, no tensor data."""
    directory = read_tar_directory(window, limits)
    tar = Tar(directory, limits)
    tar.read_system()
    tar.read_storages()
    tar.read_tensors()
    walk = Walk(tar.table, f"{window.name}:pickle", limits)
    walk.run(tar.read_object())
    builder = ByteMapBuilder()
    directory.claim(builder, tar.labels, "record", tar.inner)
    return Checkpoint(
        window.name,
        "torch-tar",
        [FileRecord(window.name, window.size, range(len(tar.table)))],
        tar.table,
        [builder.finish(window.size, window.name)],
        metadata=pruned(walk.metadata),
        modules=walk.modules,
        groups=walk.groups,
        pickles=tar.traces,
        notes=directory.notes + tar.notes + walk.notes,
    )


class Tar:
    """The four members by name, and what they hold."""

    def __init__(self, directory: TarDirectory, limits: Limits):
        self.directory = directory
        self.window = directory.window
        self.limits = limits
        self.table = TensorTable()
        self.table.filenames.append(self.window.name)
        self.labels: dict[int, str] = {}
        self.inner: dict[int, list[tuple[int, int, str]]] = {}
        self.traces: list[PickleTrace] = []
        self.notes: list[Note] = []
        self.objects: dict[int, StorageRef | Call] = {}
        self.numbers: dict[str, int] = {}
        for number, member in enumerate(directory.members):
            if member.name in (*PARTS, "sys_info"):
                self.labels[number] = "pickle"
                if member.name in self.numbers:
                    self._look_at_hidden(self.numbers[member.name])
                self.numbers[member.name] = number
        missing = [name for name in PARTS if name not in self.numbers]
        if missing:
            raise self._not_torch(missing)

    def _not_torch(self, missing: list[str]) -> ModelscopeError:
        names = [member.name for member in self.directory.members]
        path = self.window.name
        if len(missing) < len(PARTS) and "sys_info" in names:
            what = " and ".join(map(repr, missing))
            return CorruptFileError(
                f"a tar archive as torch wrote before 0.1.10, but without its member {what}: torch cannot load it either",
                path=path,
            )
        from modelscope_cli.formats.known_archive import archive_error

        return archive_error(names, path)

    def _look_at_hidden(self, number: int) -> None:
        """A member that a later one of the same name hides: torch does not load it, other programs may."""
        member = self.directory.members[number]
        message = f"two members are called {member.name!r}: torch takes the last, other programs may take the first"
        self.notes.append(Note("tar-duplicate", "warning", self.window.name, message))
        if member.name == "pickle" and len(self.traces) < MOST_HIDDEN:
            records = Records(self, number, lambda pid, offset: None)
            try:
                records.unpickle()
            except ModelscopeError as problem:
                records.problem = problem.message
            self.traces.append(records.trace())

    def records(self, name: str, load: Any = None) -> Records:
        """The content of a member, record by record. Raises CorruptFileError when it is a link."""
        number = self.numbers[name]
        member = self.directory.members[number]
        if not member.is_file:
            what = "a sparse file of GNU tar, which is not followed" if member.kind == b"S" else "a link, not a file"
            raise CorruptFileError(f"the tar member {name!r} is {what}", path=self.window.name, offset=member.header)
        return Records(self, number, load)

    def read_system(self) -> None:
        """Note big-endian data: the old loader takes the numbers as little-endian all the same."""
        if "sys_info" not in self.numbers:
            return
        with self.records("sys_info") as records:
            system = records.unpickle()
        if type(system) is Mapping and system.get("little_endian") is False:
            self.notes.append(Note("big-endian", "info", self.window.name, "the data is big-endian"))

    def read_storages(self) -> None:
        """Storages, then views of storages."""
        with self.records("storages") as records:
            for _ in range(records.count("storages")):
                key, _, cls = records.fields(3)
                dtype = storage_dtype(cls)
                numel = records.number()
                nbytes = dtype.nbytes(numel)
                if nbytes is None:
                    raise BadTensorError(f"a storage of unknown type {dtype.name}")
                start = records.skip(nbytes, f"storage {key!r:.40}")
                row = self.table.storage.add(str(key), 0, start, nbytes)
                self.objects[whole_number(key)] = StorageRef(row, dtype, nbytes)
            views = records.unpickle() if records.left else []
            for view in views if type(views) is list else []:
                if type(view) is not tuple or len(view) != 4:
                    raise BadTensorError("a view that is not (key, storage, offset, size)")
                self._add_view(*map(whole_number, view))

    def _add_view(self, key: int, root: int, offset: int, numel: int) -> None:
        whole = self.objects.get(root)
        if type(whole) is not StorageRef:
            raise BadTensorError("a view of a storage that is not in the file")
        start, nbytes = whole.dtype.nbytes(offset) or 0, whole.dtype.nbytes(numel) or 0
        if start + nbytes > whole.nbytes:
            raise BadTensorError("a view that leaves its storage")
        self.objects[key] = StorageRef(whole.index, whole.dtype, nbytes, whole.base + start)

    def read_tensors(self) -> None:
        """Sizes, strides and offsets, as calls that the walk knows how to read."""
        with self.records("tensors") as records:
            for _ in range(records.count("tensors")):
                key, storage, _ = records.fields(3)
                (dimensions,) = struct.unpack("<i4x", records.take(8))
                if not 0 <= dimensions <= self.limits.dimensions:
                    raise BadTensorError(f"a tensor of {dimensions:,} dimensions")
                numbers = struct.unpack(f"<{2 * dimensions + 1}q", records.take(16 * dimensions + 8))
                held = self.objects.get(whole_number(storage))
                if type(held) is not StorageRef:
                    raise BadTensorError("a tensor whose storage is not in the file")
                shape, strides, offset = numbers[:dimensions], numbers[dimensions:-1], numbers[-1]
                self.objects[whole_number(key)] = Call(REBUILD, (held, offset, shape, strides))

    def read_object(self) -> Any:
        """The object, with its tensors in place."""
        with self.records("pickle", self.load) as records:
            return records.unpickle()

    def load(self, pid: Any, offset: int) -> Any:
        """What a persistent id stands for: a tensor, a storage, or the class of a module saved with its source."""
        if type(pid) is tuple:
            if pid and type(pid[0]) is Global:
                pid[0].pushed += 1
                return pid[0]
            raise BadTensorError("a persistent id that is neither a key nor a module")
        found = self.objects.get(whole_number(pid))
        if found is None:
            raise BadTensorError("a persistent id that no tensor or storage has")
        return found


class Records:
    """A member that is a row of pickles with raw bytes between them. Used with `with`: the trace is kept, damage is put in words."""

    def __init__(self, tar: Tar, number: int, load: Any):
        self.tar = tar
        self.place = number
        self.member = tar.directory.members[number]
        self.load = load
        self.where = f"{tar.window.name}:{self.member.name}"
        self.position = self.member.start
        self.globals: dict[tuple[str, str], GlobalUse] = {}
        self.nbytes = self.opcodes = 0
        self.problem: str | None = None

    def __enter__(self) -> Records:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ModelscopeError):
            self.problem = error.message
        self.tar.traces.append(self.trace())
        if isinstance(error, BadTensorError):
            raise CorruptFileError(str(error), path=self.where, offset=self.position - self.member.start) from None

    @property
    def left(self) -> int:
        """Bytes of the member that have not been read."""
        return self.member.stop - self.position

    def unpickle(self) -> Any:
        """The object of the pickle that begins here."""
        if self.left > self.tar.limits.pickle_bytes and self.member.name == "pickle":
            raise LimitError("pickle_bytes", self.tar.limits.pickle_bytes, self.left, path=self.where)
        begin = self.position
        data = bytearray(self.tar.window.read(begin, min(FIRST_READ, self.left)))

        def more(wanted: int) -> bytes:
            start = begin + len(data)
            return self.tar.window.read(start, min(wanted, self.member.stop - start))

        machine = PickleMachine(data, self.where, self.tar.limits, self.load, more)
        try:
            return machine.run()
        finally:
            self.position = begin + machine.end
            self.nbytes += machine.end
            self.opcodes += machine.opcodes
            for use in machine.globals.values():
                key = (use.module, use.name)
                known = self.globals.get(key)
                offset = known.offset if known else begin - self.member.start + use.offset
                self.globals[key] = GlobalUse(use.module, use.name, offset, use.calls + (known.calls if known else 0))

    def fields(self, count: int) -> tuple[Any, ...]:
        """A pickled tuple of so many values."""
        found = self.unpickle()
        if type(found) is not tuple or len(found) != count:
            raise BadTensorError(f"a record that is not {count} values")
        return found

    def count(self, what: str) -> int:
        """A pickled number of records."""
        found = self.unpickle()
        if type(found) is not int or found < 0:
            raise BadTensorError(f"the number of {what} is not a number")
        if found > self.tar.limits.tensors:
            raise LimitError("tensors", self.tar.limits.tensors, found, path=self.where)
        return found

    def take(self, length: int) -> bytes:
        """Raw bytes."""
        if length > self.left:
            raise CorruptFileError(
                f"expected {length:,} bytes, found {self.left:,}", path=self.where, offset=self.position - self.member.start
            )
        data = self.tar.window.read(self.position, length)
        self.position += length
        return data

    def number(self) -> int:
        """A count of elements, 8 bytes; they are part of the framing, not of the pickles."""
        start = self.position
        (found,) = struct.unpack("<q", self.take(8))
        if found < 0:
            raise BadTensorError("a storage of negative size")
        self.tar.inner.setdefault(self.place, []).append((start, self.position, "header"))
        return int(found)

    def skip(self, length: int, what: str) -> int:
        """Pass over tensor data; where it begins."""
        start = self.position
        if length > self.left:
            offset = start - self.member.start
            raise CorruptFileError(f"{what}: expected {length:,} bytes, found {self.left:,}", path=self.where, offset=offset)
        self.position += length
        self.tar.inner[self.place].append((start, self.position, "data"))
        return start

    def trace(self) -> PickleTrace:
        """What all the pickles of the member together import and call."""
        return PickleTrace(self.where, self.nbytes, self.opcodes, tuple(self.globals.values()), self.problem)


def whole_number(key: Any) -> int:
    """A key, as a number or the digits of one."""
    if type(key) is bytes:
        key = key.decode("latin-1")
    if type(key) is str and key.isdecimal() and len(key) <= LONGEST_KEY:
        key = int(key)
    if type(key) is not int or key < 0:
        raise BadTensorError("a key that is not a number")
    return key
