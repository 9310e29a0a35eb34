"""The blobs of a `.distcp` file: each a whole file of its own, mostly one tensor as torch.save writes it.

    [PK… data.pkl … data/0: the tensor … version … directory][PK… …][PK… …]

A blob is read like any file, through a window cut out of the `.distcp`. There can be a hundred thousand of them, and those of
equal layers and ranks differ in nothing but their data, so a blob that has been read becomes a mould: another of the same
length for a tensor of the same shape is held against it, all bytes around the data but for checksums and the digest that
torch adds, and only one that does not fit is read again. Small blobs are compared whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, NamedTuple

from modelscope_cli.core.checkpoint import Checkpoint, GlobalUse, Note, PickleTrace
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import Shape, View
from modelscope_cli.core.window import Window
from modelscope_cli.errors import LimitError

SMALL = 4_096  # bytes of a blob that is compared whole
MOST_KEPT = 16 << 20  # bytes of small blobs kept for comparison
MOST_AROUND = 1 << 16  # bytes before or behind the data that a mould may have
DIGEST = b"/.data/serialization_id"
LONGEST_DIGEST = 64
DESCRIPTOR = b"PK\x07\x08"
CENTRAL_SIZE, LOCAL_SIZE = 46, 30
_central = Struct("<4s6H3I5H2I").unpack_from
_local_lengths = Struct("<2H").unpack_from

ReadWindow = Callable[[Window], Checkpoint]
Span = tuple[int, int]


class Held(NamedTuple):
    """A tensor in a blob; its views count storages within the blob."""

    name: str
    shape: Shape
    dtype: DType
    views: tuple[View, ...]


class Content(NamedTuple):
    """What a blob holds. All positions count from its first byte."""

    regions: tuple[Region, ...]
    storages: tuple[tuple[str, int, int, int], ...]  # key, start, bytes, bytes as stored
    tensors: tuple[Held, ...]
    metadata: dict[str, Any]
    pickles: tuple[PickleTrace, ...]
    notes: tuple[Note, ...]

    def tensor(self) -> Held | None:
        """The tensor, if the blob is one."""
        return self.tensors[0] if len(self.tensors) == 1 and not self.tensors[0].name else None

    def value(self) -> Any:
        """The plain value, or the dictionary of plain values, that the blob is."""
        return self.metadata[""] if self.metadata.keys() == {""} else self.metadata


def content_of(checkpoint: Checkpoint) -> Content:
    """A blob that has been read, as plain rows."""
    table = checkpoint.tensors
    where = table.storage
    return Content(
        tuple(checkpoint.byte_maps[0].regions),
        tuple(zip(where.keys, where.starts, where.nbytes, where.stored, strict=True)),
        tuple(
            Held(name, table.shapes[index], table.dtypes[index], table.views(index)) for index, name in enumerate(table.names)
        ),
        checkpoint.metadata,
        tuple(checkpoint.pickles),
        tuple(checkpoint.notes),
    )


class Mould(NamedTuple):
    """The bytes around the data of a tensor. `kept` are spans of the tail that must be equal; between them is what may differ."""

    head: bytes
    tail: bytes
    kept: tuple[Span, ...]
    content: Content

    def fits(self, blob: Window) -> bool:
        """Whether a blob of the same length is the same but for its data."""
        if blob.read(0, len(self.head)) != self.head:
            return False
        tail, own = blob.read(blob.size - len(self.tail), len(self.tail)), self.tail
        return all([tail[first:last] == own[first:last] for first, last in self.kept])


def mould(window: Window, content: Content) -> Mould | None:
    """The mould of a blob behind a window of its own, or None if it is not one plain tensor in a zip."""
    directory = next((region.start for region in content.regions if region.label == "directory"), None)
    if directory is None or len(content.storages) != 1 or content.tensor() is None or content.notes:
        return None
    _, start, _, stored = content.storages[0]
    stop = start + stored
    if start > MOST_AROUND or window.size - stop > MOST_AROUND or directory < stop:
        return None
    tail = window.read(stop, window.size - stop)
    loose = sorted(volatile(window, tail[directory - stop :], directory, (start, stop)))
    kept: list[Span] = []
    position = 0
    for first, last in [*loose, (window.size, window.size)]:
        if first >= stop:
            kept.append((position, first - stop))
            position = last - stop
    return Mould(window.read(0, start), tail, tuple(kept), content)


def volatile(window: Window, directory: bytes, base: int, data: Span) -> Iterator[Span]:
    """Bytes that differ between equal tensors of other values: checksums, and torch's digest of them. Nothing hangs on them."""
    at = 0
    while directory[at : at + 4] == b"PK\x01\x02" and at + CENTRAL_SIZE <= len(directory):
        row = _central(directory, at)
        size, header = row[9], row[16]
        name = directory[at + CENTRAL_SIZE : at + CENTRAL_SIZE + row[10]]
        start = header + LOCAL_SIZE + sum(_local_lengths(window.read(header + 26, 4)))
        digest = name.endswith(DIGEST) and size <= LONGEST_DIGEST
        if digest or start == data[0]:
            yield base + at + 16, base + at + 20
            stop = start + size if digest else data[1]
            if digest:
                yield start, stop
            if stop + 8 <= window.size and window.read(stop, 4) == DESCRIPTOR:
                yield stop + 4, stop + 8
        at += CENTRAL_SIZE + row[10] + row[11] + row[12]


class BlobReader:
    """Reads blobs, each kind once. Those read in full count as files inside a file."""

    def __init__(self, read: ReadWindow, limits: Limits):
        self.read = read
        self.limits = limits
        self.opened = 0
        self.moulds: dict[tuple[int, str, Shape], Mould] = {}
        self.small: dict[bytes, Content] = {}
        self.kept = 0

    def content(self, window: Window, start: int, length: int, name: str, dtype: DType | None, shape: Shape) -> Content:
        """What lies at `start`: a tensor of this dtype and shape, as far as the index knows. Raises ModelscopeError."""
        key = (length, dtype.name if dtype else "", shape)
        blob = window.cut(start, length, name)
        raw = blob.read(0, length) if length <= SMALL else b""
        known = self.small.get(raw) if raw else None
        if known is not None:
            return known
        found = self.moulds.get(key)
        if found is not None and found.fits(blob):
            return found.content
        self.opened += 1
        if self.opened > self.limits.nested_files:
            raise LimitError("nested_files", self.limits.nested_files, f"more than {self.limits.nested_files:,}", path=name)
        content = content_of(self.read(blob))
        if raw and self.kept + length <= MOST_KEPT:
            self.small[raw] = content
            self.kept += length
        if dtype is not None and (made := mould(blob, content)) is not None:
            self.moulds[key] = made
        return content


class BlobMap(ByteMap):
    """The byte map of a file of blobs: what each holds is known by its kind, and spelt out only when somebody looks."""

    __slots__ = ("_blobs",)

    def __init__(self, blobs: list[tuple[int, tuple[Region, ...]]], size: int):
        """`blobs` are (start, regions that count from there), in order and apart from each other."""
        super().__init__((), size)
        self._blobs = blobs

    @property
    def regions(self) -> list[Region]:
        found: list[Region] = []
        position = 0
        for start, regions in self._blobs:
            if start > position:
                found.append(Region(position, start, "unmapped"))
            found += [Region(start + first, start + last, label) for first, last, label in regions]
            position = start + (regions[-1].stop if regions else 0)
        if position < self.size:
            found.append(Region(position, self.size, "unmapped"))
        return found

    def totals(self) -> dict[str, int]:
        if self._totals is None:
            kinds: dict[int, dict[str, int]] = {}
            self._totals = {}
            for _, regions in self._blobs:
                sums = kinds.get(id(regions))
                if sums is None:
                    sums = kinds[id(regions)] = ByteMap(regions, 0).totals()
                for label, nbytes in sums.items():
                    self._totals[label] = self._totals.get(label, 0) + nbytes
            left = self.size - sum(self._totals.values())
            if left:
                self._totals["unmapped"] = self._totals.get("unmapped", 0) + left
        return self._totals


def together(where: str, traces: list[PickleTrace]) -> PickleTrace:
    """The pickles of many blobs as one: everything that any of them would import or call."""
    uses: dict[tuple[str, str], GlobalUse] = {}
    for trace in traces:
        for use in trace.globals:
            known = uses.get((use.module, use.name))
            uses[use.module, use.name] = (
                use._replace(sites=()) if known is None else known._replace(calls=known.calls + use.calls, loose=None)
            )
    problem = next((trace.problem for trace in traces if trace.problem), None)
    return PickleTrace(
        where,
        sum([trace.nbytes for trace in traces]),
        sum([trace.opcodes for trace in traces]),
        tuple(uses.values()),
        problem,
    )
