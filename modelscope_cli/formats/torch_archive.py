"""What the zip archives of torch have in common: members by name, storages in members, pickles that become objects.

    ROOT/…              every member stands in one folder, named after the file at the time it was written, or `archive`
    ROOT/byteorder      little or big (absent before torch 2.1: the machine's own)
    ROOT/version        and other small records: .format_version, .storage_alignment, .data/serialization_id

An `Archive` collects what a reader finds while it goes through the members (tensors, labels, traces, notes) and puts the
checkpoint together in the end. Facts: caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Any

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.zip_directory import STORED, Member, ZipDirectory
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, ModuleRecord, Note, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.plain_values import pruned
from modelscope_cli.formats.torch_legacy import NestedFiles
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, storage_dtype
from modelscope_cli.formats.torch_walk import Walk

SMALL_RECORD = 4_096  # bytes read of version, byteorder and their like


class Archive:
    """The members of a torch zip by name, and what has been found in them so far."""

    def __init__(self, window: Window, directory: ZipDirectory, limits: Limits):
        self.window = window
        self.path = window.name
        self.directory = directory
        self.limits = limits
        self.members: dict[str, Member] = {}
        for member in directory.members:
            if member.name in self.members:
                raise CorruptFileError(f"two zip members are called {member.name!r}", path=self.path, offset=member.header)
            self.members[member.name] = member
        self.table = TensorTable()
        self.table.filenames.append(window.name)
        self.nested = NestedFiles(self.table, limits)
        self.labels: dict[str, str] = {}  # of members; what has none is a record
        self.inner: list[tuple[int, int, str]] = []  # ranges inside members that carry a label of their own
        self.traces: list[PickleTrace] = []
        self.notes: list[Note] = []
        self.rows: dict[str, int] = {}  # member → its row in the storage table
        self.inner_files = 0  # members that were read as files of their own
        self.characters = 0  # of names that were made longer by the name of what they lie in
        self.inner_read = 0  # bytes of compressed members that were held in memory as files of their own

    def read(self, name: str, limit: int, resource: str) -> bytes:
        """The content of a member, decompressed. Raises LimitError."""
        return self.directory.read(self.members[name], limit, resource)

    def has(self, name: str) -> bool:
        """Whether there is such a member, or any below a folder (a name with a slash at its end)."""
        return name in self.members or (name.endswith("/") and bool(self.below(name, most=1)))

    def below(self, folder: str, most: int | None = None) -> list[str]:
        """The names of members that begin so, in order, or the first few of them. None is looked at but those."""
        first = bisect_left(self.sorted_names, folder)
        stop = first
        while stop < len(self.sorted_names) and stop - first != most and self.sorted_names[stop].startswith(folder):
            stop += 1
        return self.sorted_names[first:stop]

    @cached_property
    def sorted_names(self) -> list[str]:
        """Those of all members."""
        return sorted(self.members)

    def record(self, name: str) -> str | None:
        """The text of a small record such as `version`, or None when there is none or it is larger than such records are."""
        member = self.members.get(name)
        if member is None or member.size > SMALL_RECORD:
            return None
        return self.read(name, SMALL_RECORD, "header_bytes").decode("utf-8", "replace").strip()

    def unpickle(self, name: str, label: str, load: Callable[[Any, int], Any]) -> Any:
        """The object of the pickle in a member, whose bytes get `label`. Its trace is kept, also when reading it fails."""
        member = self.members[name]
        self.labels[name] = label
        data = self.read(name, self.limits.pickle_bytes, "pickle_bytes")
        readers = self.nested.readers(data, member.start if member.method == STORED else None)
        machine = PickleMachine(data, f"{self.path}:{name}", self.limits, load, readers=readers)
        result = run(machine, self.traces)
        if machine.end < len(data):
            left = len(data) - machine.end
            self.notes.append(Note("after-stop", "warning", name, f"{left:,} bytes follow the end of the pickle"))
        return result

    def storages(self, *folders: str, suffix: str = "") -> Storages:
        """Persistent ids to storages in the members FOLDER KEY SUFFIX; the first folder that has the key counts."""
        return Storages(self, folders, suffix)

    def storage(self, name: str, key: str) -> int:
        """The row of the storage table that a member is."""
        row = self.rows.get(name)
        if row is None:
            member = self.members[name]
            row = self.rows[name] = self.table.storage.add(key, 0, member.start, member.size, member.stored)
            self.labels[name] = "data"
        return row

    def label(self, folder: str, label: str) -> None:
        """Label the members below a folder (or of that very name) that have no label yet."""
        for name in self.members:
            if name.startswith(folder):
                self.labels.setdefault(name, label)

    def check_byteorder(self, root: str) -> None:
        """Note big-endian data; refuse an order that does not exist."""
        member = self.members.get(f"{root}byteorder")
        if member is None:
            return
        order = self.directory.read(member, SMALL_RECORD, "header_bytes").strip()
        if order == b"big":
            self.notes.append(Note("big-endian", "info", self.path, "the data is big-endian"))
        elif order != b"little":
            raise CorruptFileError(f"byte order {order[:20]!r}, expected little or big", path=self.path, offset=member.start)

    def count_names(self, count: int, characters: int) -> None:
        """Before so many names of tensors or modules are made that long: raise LimitError where that is too much together."""
        self.characters += count * characters
        if self.characters > self.limits.name_characters:
            raise LimitError("name_characters", self.limits.name_characters, self.characters, path=self.path)

    def check_tensors(self) -> None:
        """Raise LimitError when the parts of the archive hold more tensors together than one may."""
        if len(self.table) > self.limits.tensors:
            raise LimitError("tensors", self.limits.tensors, len(self.table), path=self.path)

    def checkpoint(
        self,
        format: str,
        *,
        walk: Walk | None = None,
        metadata: dict[str, Any] | None = None,
        modules: dict[str, ModuleRecord] | None = None,
        groups: list[tuple[int, str]] | None = None,
    ) -> Checkpoint:
        """The checkpoint of all that was found. A walk gives metadata, modules and groups where they are not given."""
        builder = ByteMapBuilder()
        self.directory.claim(builder, self.labels, "record", self.nested.spans + self.inner)
        found = walk.metadata if walk is not None else {}
        return Checkpoint(
            self.path,
            format,
            [FileRecord(self.path, self.window.size, range(len(self.table)))],
            self.table,
            [builder.finish(self.window.size, self.path)],
            metadata=pruned({**(metadata or {}), **found}),
            modules=modules if modules is not None else walk.modules if walk is not None else {},
            groups=groups if groups is not None else walk.groups if walk is not None else None,
            pickles=self.traces + self.nested.traces,
            notes=self.directory.notes + self.notes + (walk.notes if walk is not None else []),
        )


def run(machine: PickleMachine, traces: list[PickleTrace]) -> Any:
    """The object of a pickle; its trace is kept, also when it fails."""
    try:
        result = machine.run()
    except ModelscopeError as problem:
        traces.append(machine.trace(problem.message))
        raise
    traces.append(machine.trace())
    return result


class Storages:
    """Persistent ids to rows of the storage table, each backed by a member."""

    def __init__(self, archive: Archive, folders: tuple[str, ...], suffix: str):
        self.archive = archive
        self.folders = folders
        self.suffix = suffix

    def load(self, pid: Any, offset: int) -> StorageRef:
        """The storage a persistent id means. Raises BadTensorError when there is none or it is too small."""
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
            raise BadTensorError("a persistent id that is no storage")
        _, cls, key, _, numel = pid[:5]
        dtype = storage_dtype(cls)
        if type(key) is bytes:
            key = key.decode("utf-8", "replace")
        if type(key) is not str and type(key) is not int:
            raise BadTensorError("the key of a storage is not a string")
        key = str(key)
        members = self.archive.members
        name = next((name for folder in self.folders if (name := folder + key + self.suffix) in members), None)
        if name is None:
            raise BadTensorError(f"the storage {key[:80]!r} is not in the archive")
        member = members[name]
        if type(numel) is not int or numel < 0:
            raise BadTensorError(f"the storage {key!r} has no size")
        nbytes = dtype.nbytes(numel)
        if nbytes is None:
            nbytes = member.size
        if nbytes > member.size:
            raise BadTensorError(f"the storage {key!r} should have {nbytes:,} bytes, its record has {member.size:,}")
        return StorageRef(self.archive.storage(name, key), dtype, nbytes)
