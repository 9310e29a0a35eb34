"""Tensors and storages, kept as columns.

A storage is a flat run of bytes; a tensor is a name, a shape, a dtype and a strided view of a storage. Checkpoints of
90,000 tensors are ordinary, so nothing is allocated per tensor beyond one slot in each column; `TensorInfo` is what a
caller sees, made on demand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, overload

from modelscope_cli.core.dtype import DType

NOWHERE = -1  # storage index of a tensor without data in the file (meta tensors)

Shape = tuple[int, ...]


class Piece(NamedTuple):
    """One piece of a tensor that lies in several: where it begins in the tensor, its shape, and where its storage lies.

    A run of elements in row-major order, whatever their shape, has one number as its origin.
    """

    origin: Shape
    shape: Shape
    file: str
    start: int | None  # byte range of its storage in `file`, as in TensorInfo
    stop: int | None


class TensorInfo(NamedTuple):
    """One tensor of a checkpoint."""

    name: str  # path in the file: keys joined with dots
    shape: Shape  # torch order
    dtype: DType
    role: str | None  # what the file itself records: parameter, buffer; None when it does not say
    file: str | None  # file that holds the data; None when there is none
    start: int | None  # byte range of the whole storage in `file`: start..stop, half-open; the tensor begins at start + offset
    stop: int | None  # both None where the place is not known (a baseline says how much, not where)
    storage: str | None  # key of the storage within its file
    offset: int  # bytes from the start of the storage to the first element
    strides: Shape | None  # in elements; None means contiguous
    pieces: tuple[Piece, ...] = ()  # of a tensor in several pieces, of which the fields above describe the first

    @property
    def numel(self) -> int:
        """Number of elements, the product of the shape."""
        return math.prod(self.shape)


class View(NamedTuple):
    """One strided piece of a storage: `offset` in bytes, `strides` in elements, None for contiguous.

    `origin` is where a piece begins in its tensor (see Piece). It is None for what is no piece: the only view of a tensor,
    its scales or indices, a copy that is held besides.
    """

    storage: int
    offset: int
    shape: Shape
    dtype: DType
    strides: Shape | None
    origin: Shape | None = None


class StorageTable:
    """Storages as columns: key, index of the file, first byte in it (-1: not known), bytes when uncompressed, bytes as stored."""

    __slots__ = ("files", "keys", "nbytes", "starts", "stored")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.files: list[int] = []
        self.starts: list[int] = []
        self.nbytes: list[int] = []
        self.stored: list[int] = []  # differs from nbytes only in a compressed archive

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: str, file: int, start: int, nbytes: int, stored: int | None = None) -> int:
        """Append a storage; returns its index."""
        self.keys.append(key)
        self.files.append(file)
        self.starts.append(start)
        self.nbytes.append(nbytes)
        self.stored.append(nbytes if stored is None else stored)
        return len(self.keys) - 1


class TensorTable:
    """Tensors as columns, in file order.

    `parts` holds, for tensors made of several storages (sparse, quantised, wrapper subclasses; the pieces of a distributed
    one), all their views, the main one first. `recorded` holds roles that the file itself states: "parameter" or "buffer".
    """

    __slots__ = ("dtypes", "filenames", "names", "offsets", "parts", "recorded", "shapes", "storage", "storages", "strides")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.shapes: list[Shape] = []
        self.dtypes: list[DType] = []
        self.storages: list[int] = []
        self.offsets: list[int] = []
        self.strides: list[Shape | None] = []
        self.parts: dict[int, tuple[View, ...]] = {}
        self.recorded: dict[int, str] = {}
        self.storage = StorageTable()
        self.filenames: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, shape: Shape, dtype: DType, storage: int, offset: int = 0, strides: Shape | None = None) -> int:
        """Append a tensor; returns its index."""
        self.names.append(name)
        self.shapes.append(shape)
        self.dtypes.append(dtype)
        self.storages.append(storage)
        self.offsets.append(offset)
        self.strides.append(strides)
        return len(self.names) - 1

    def extend(self, other: TensorTable) -> None:
        """Append all of another table (a shard); file and storage numbers are moved up."""
        first_tensor, first_storage, first_file = len(self.names), len(self.storage), len(self.filenames)
        self.names += other.names
        self.shapes += other.shapes
        self.dtypes += other.dtypes
        self.storages += [index + first_storage if index >= 0 else NOWHERE for index in other.storages]
        self.offsets += other.offsets
        self.strides += other.strides
        for index, views in other.parts.items():
            self.parts[first_tensor + index] = tuple(
                view if view.storage < 0 else view._replace(storage=view.storage + first_storage) for view in views
            )
        for index, role in other.recorded.items():
            self.recorded[first_tensor + index] = role
        self.storage.keys += other.storage.keys
        self.storage.files += [index + first_file for index in other.storage.files]
        self.storage.starts += other.storage.starts
        self.storage.nbytes += other.storage.nbytes
        self.storage.stored += other.storage.stored
        self.filenames += other.filenames

    def views(self, index: int) -> tuple[View, ...]:
        """All the storage views of tensor `index`, the main one first."""
        if index in self.parts:
            return self.parts[index]
        return (View(self.storages[index], self.offsets[index], self.shapes[index], self.dtypes[index], self.strides[index]),)

    @overload
    def __getitem__(self, key: int) -> TensorInfo: ...

    @overload
    def __getitem__(self, key: str) -> TensorInfo: ...

    def __getitem__(self, key: int | str) -> TensorInfo:
        """The tensor at an index, or the one with a name. Raises IndexError or KeyError."""
        if isinstance(key, str):
            try:
                key = self.names.index(key)
            except ValueError:
                raise KeyError(key) from None
        storage = self.storages[key]
        where = self.storage
        known = storage >= 0
        placed = known and where.starts[storage] >= 0
        return TensorInfo(
            self.names[key],
            self.shapes[key],
            self.dtypes[key],
            self.recorded.get(key),
            self.filenames[where.files[storage]] if known else None,
            where.starts[storage] if placed else None,
            where.starts[storage] + where.stored[storage] if placed else None,
            where.keys[storage] if known else None,
            self.offsets[key],
            self.strides[key],
            self._pieces(key) if key in self.parts else (),
        )

    def _pieces(self, index: int) -> tuple[Piece, ...]:
        where, pieces = self.storage, []
        for view in self.parts[index]:
            if view.origin is not None and view.storage >= 0:
                start = where.starts[view.storage]
                span = (start, start + where.stored[view.storage]) if start >= 0 else (None, None)
                pieces.append(Piece(view.origin, view.shape, self.filenames[where.files[view.storage]], *span))
        return tuple(pieces)

    def __iter__(self) -> Iterator[TensorInfo]:
        return (self[index] for index in range(len(self.names)))
