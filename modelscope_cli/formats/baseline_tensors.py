"""From the tensors that a baseline lists of a file to rows of the tensor table.

A tensor is a word, `float16 [4096, 4096]`: it fills a storage of its own. Or it is a view and says how it lies:

    "= embed.weight"                                                        the same elements as another tensor
    {"dtype", "shape", "storage_bytes", ["stored"], ["offset"], ["strides"]}   it opens a storage of this size
    {"dtype", "shape", "storage": "embed.weight", …}                        it lies on the storage of that tensor
    {"dtype", "shape", "storage": null}                                     it has no data
    {"dtype", "shape", "parts": [{"dtype", "shape", "storage_bytes", …}, …]}   it is made of several

`["name", 2]` in place of a storage means the third part of that tensor. A part of a tensor that lies in pieces says where in
the tensor it begins, "origin": [512, 0]; and "file": 3 if its storage is not in the file it is described with, but in the
fourth. Words come first, then views in the order in which they own what they share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any, NamedTuple

from modelscope_cli.core.dtype import KNOWN_DTYPES, DType, unknown
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import NOWHERE, Shape, TensorTable, View
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.baseline_fields import LARGEST, Fields, is_natural

TIE = "= "
UNKNOWN = "?"  # before the name of a dtype whose size is not known
NOT_KNOWN = -1  # where a storage starts in its file


class Word(NamedTuple):
    """What "float16 [4096, 4096]" says of a tensor that fills a storage of its own."""

    shape: Shape
    dtype: DType
    nbytes: int


class Part(NamedTuple):
    """One file of the described checkpoint: its tensors, those of a word first, and what is said of each."""

    entry: Fields
    name: str
    nbytes: int
    sections: dict[str, int]
    names: list[str]
    values: list[Any]  # a Word, or the value of a view as it stands
    unused: list[Any]


class Filler:
    """Adds the tensors of one file to the table."""

    def __init__(self, table: TensorTable, part: Part, limits: Limits, files: int, rows: dict[str, int]):
        self.files = files  # of the whole checkpoint
        self.table = table
        self.part = part
        self.limits = limits
        self.file = len(table.filenames)
        table.filenames.append(part.name)
        self._rows = rows  # of the tensors that views may refer to, in this file and those before it

    def fill(self, holding: list[str], groups: list[tuple[int, str]]) -> None:
        """Add everything. `holding` is the group of each tensor, or empty where there are none; `groups` grows by its runs."""
        part, table = self.part, self.table
        order = arranged(part, holding) if holding else list(range(len(part.names)))
        first = len(table)
        for is_word, run in groupby(order, key=lambda index: type(part.values[index]) is Word):
            if is_word:
                self._add_words(list(run))
            else:
                for index in run:
                    self._add_view(part.names[index], part.values[index])
        for position, index in enumerate(order if holding else ()):
            if not groups or groups[-1][1] != holding[index]:
                groups.append((first + position, holding[index]))
        for number, value in enumerate(part.unused):
            nbytes, stored = value if type(value) is list and len(value) == 2 else (value, value)
            if not is_natural(nbytes) or not is_natural(stored):
                raise part.entry.wrong("'unused_storages' holds something that is no size")
            table.storage.add(f"unused {number}", self.file, NOT_KNOWN, nbytes, stored)

    def _add_words(self, indices: list[int]) -> None:
        table, count, first = self.table, len(indices), len(self.table.storage)
        names = [self.part.names[index] for index in indices]
        words: list[Word] = [self.part.values[index] for index in indices]
        if len(self.part.values) and type(self.part.values[-1]) is not Word:
            self._rows.update(zip(names, range(len(table), len(table) + count), strict=True))
        table.names += names
        table.shapes += [word.shape for word in words]
        table.dtypes += [word.dtype for word in words]
        table.storages += range(first, first + count)
        table.offsets += [0] * count
        table.strides += [None] * count
        nbytes = [word.nbytes for word in words]
        table.storage.keys += names
        table.storage.files += [self.file] * count
        table.storage.starts += [NOT_KNOWN] * count
        table.storage.nbytes += nbytes
        table.storage.stored += nbytes

    def _add_view(self, name: str, value: Any) -> None:
        table = self.table
        if type(value) is str and value.startswith(TIE):
            row = self._rows.get(value[len(TIE) :])
            if row is None:
                raise self.part.entry.wrong(f"the tensor {name[:200]!r} is tied to one that does not stand before it")
            shape, dtype, views = table.shapes[row], table.dtypes[row], table.views(row)
            nowhere, several = table.storages[row] < 0, row in table.parts
        else:
            fields = self.part.entry.inside(value, f"tensor {name[:200]!r}")
            several = "parts" in fields
            if several:
                nowhere = "storage" in fields and fields.take("storage") is None
                dtype, shape, views = read_dtype(fields), self._shape(fields), self._parts(fields, name)
            else:
                view = self._view(fields, name, [])
                nowhere, dtype, shape, views = view.storage < 0, view.dtype, view.shape, (view,)
            fields.finish()
        held = {table.storage.files[view.storage] for view in views if view.storage >= 0}
        if held and self.file not in held:
            raise self.part.entry.wrong(f"no part of the tensor {name[:200]!r} lies in the file that it is described with")
        main = views[0]
        self._rows[name] = len(table)
        if several:
            table.parts[len(table)] = views
        if nowhere:
            table.add(name, shape, dtype, NOWHERE)
        else:
            table.add(name, shape, dtype, main.storage, main.offset, main.strides)

    def _parts(self, fields: Fields, name: str) -> tuple[View, ...]:
        listed = fields.list("parts")
        if not listed:
            raise fields.wrong("'parts' is empty")
        if len(listed) > self.limits.parts:
            raise LimitError("parts", self.limits.parts, len(listed), path=fields.path)
        views: list[View] = []
        for number, value in enumerate(listed):
            inner = fields.inside(value, f"part {number}")
            views.append(self._view(inner, name, views))
            inner.finish()
        return tuple(views)

    def _view(self, fields: Fields, name: str, siblings: list[View]) -> View:
        """A view: on a storage of its own, on that of a tensor before it or of a part before it, or on none."""
        dtype, shape = read_dtype(fields), self._shape(fields)
        own = "storage" not in fields
        if own:
            key = f"{name} {len(siblings)}" if siblings else name
            nbytes = fields.natural("storage_bytes")
            file = fields.natural("file", self.file)
            if file >= self.files:
                raise fields.wrong(f"'file' is {file:,}, there are {self.files:,} files")
            storage = self.table.storage.add(key, file, NOT_KNOWN, nbytes, fields.natural("stored", nbytes))
        else:
            value = fields.take("storage")
            if value is None:
                return View(NOWHERE, 0, shape, dtype, None, self._origin(fields, shape))
            storage = self._storage_of(value, name, siblings, fields)
        offset = fields.natural("offset", 0)
        strides = fields.naturals("strides", self.limits.dimensions) if "strides" in fields else None
        if strides is not None and len(strides) != len(shape):
            raise fields.wrong(f"{len(shape)} dimensions and {len(strides)} strides")
        if strides is not None and dtype.block != 1:
            raise fields.wrong("elements that are packed in blocks have no strides")
        reach = math.prod(shape) if strides is None else 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        extent = dtype.nbytes(reach)
        if extent is None:  # of unknown size: what fills its storage
            extent = 0 if own and strides is None and not offset else reach
        if 0 not in shape and offset + extent > self.table.storage.nbytes[storage]:
            raise fields.wrong("it reaches beyond its storage")
        return View(storage, offset, shape, dtype, strides, self._origin(fields, shape))

    def _origin(self, fields: Fields, shape: Shape) -> Shape | None:
        """Where a piece begins: a number a dimension, or one of a run of elements."""
        origin = fields.naturals("origin", self.limits.dimensions) if "origin" in fields else None
        if origin is not None and len(origin) not in (len(shape), 1):
            raise fields.wrong(f"{len(shape)} dimensions and an origin of {len(origin)}")
        return origin

    def _storage_of(self, value: Any, name: str, siblings: list[View], fields: Fields) -> int:
        target, number = value if type(value) is list and len(value) == 2 else (value, 0)
        if type(target) is str and is_natural(number):
            row = self._rows.get(target)
            views = siblings if target == name else () if row is None else self.table.views(row)
            if number < len(views) and views[number].storage >= 0:
                return views[number].storage
        raise fields.wrong("'storage' is not that of a tensor that stands before it")

    def _shape(self, fields: Fields) -> Shape:
        shape = fields.naturals("shape", self.limits.dimensions)
        if math.prod(shape) >= LARGEST:
            raise fields.wrong("it has more elements than any tensor")
        return shape


def files_of(table: TensorTable, rows: list[range]) -> list[Sequence[int]]:
    """The tensors of each file: those described with it, and those of which it has pieces."""
    files: list[Sequence[int]] = list(rows)
    guests: dict[int, set[int]] = {}
    for row, views in table.parts.items():
        for view in views:
            file = table.storage.files[view.storage] if view.storage >= 0 else -1
            if file >= 0 and row not in rows[file]:
                guests.setdefault(file, set()).add(row)
    for file, more in guests.items():
        files[file] = sorted({*rows[file], *more})
    return files


def check_data(table: TensorTable, parts: list[Part]) -> None:
    """Storages cannot take more of a file than it has data. Some of a storage may be padding, but nothing that a tensor reaches."""
    files, all_stored = table.storage.files, table.storage.stored
    taken = [0] * len(parts)
    for file, stored in zip(files, all_stored, strict=True):
        taken[file] += stored
    padded = set()  # files of which some of the storages must be padding
    for number, part in enumerate(parts):
        data = part.sections.get("data", 0)
        if taken[number] > data + part.sections.get("padding", 0):
            raise part.entry.wrong(f"its tensors take {taken[number]:,} bytes, its data has {data:,}")
        if taken[number] > data:
            padded.add(number)
            taken[number] = 0
    reached = _reached(table, {storage for storage, file in enumerate(files) if file in padded}) if padded else {}
    for storage, nbytes in reached.items():
        taken[files[storage]] += min(nbytes, all_stored[storage])
    for number in padded:
        data = parts[number].sections.get("data", 0)
        if taken[number] > data:
            raise parts[number].entry.wrong(f"its tensors take {taken[number]:,} bytes, its data has {data:,}")


def _reached(table: TensorTable, storages: set[int]) -> dict[int, int]:
    """How many bytes of each storage lie between the ends of a view."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for row in range(len(table)):
        for view in table.views(row):
            if view.storage in storages and 0 not in view.shape:
                spans.setdefault(view.storage, []).append((view.offset, view.offset + _reach(view)))
    reached: dict[int, int] = {}
    for storage, found in spans.items():
        end = total = 0
        for start, stop in sorted(found):
            total += max(0, stop - max(start, end))
            end = max(end, stop)
        reached[storage] = total
    return reached


def _reach(view: View) -> int:
    """Bytes from the first element of a view to behind its last; all that there can be where the dtype has no size."""
    strides = view.strides
    count = math.prod(view.shape)
    if strides is not None:
        count = 1 + sum((extent - 1) * stride for extent, stride in zip(view.shape, strides, strict=True))
    nbytes = view.dtype.nbytes(count)
    return LARGEST if nbytes is None else nbytes


def read_dtype(fields: Fields) -> DType:
    """A dtype of the table, or one of which only the name is known."""
    name = fields.text("dtype")
    if name.startswith(UNKNOWN):
        return unknown(name[len(UNKNOWN) :])
    if name not in KNOWN_DTYPES:
        raise fields.wrong(f"no dtype is called {name[:80]!r}")
    return KNOWN_DTYPES[name]


def arranged(part: Part, holding: list[str]) -> list[int]:
    """The tensors of a file with those of a group side by side, and users of one storage still in their order.

    Both can be had unless the groups own each other's storages crosswise; then views come after all words.
    """
    path_of = dict(zip(part.names, holding, strict=True))
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(holding, ()))
    last: dict[tuple[str, int], str] = {}  # the group of the latest user of a storage
    uses: dict[str, list[tuple[str, int]]] = {}
    for name, value in zip(part.names, part.values, strict=True):
        if type(value) is Word:
            continue
        uses[name] = references(name, value, uses)
        for storage in uses[name]:
            before = last.get(storage, path_of.get(storage[0], path_of[name]))
            if before != path_of[name]:
                sorter.add(path_of[name], before)
            last[storage] = path_of[name]
    try:
        rank = {path: number for number, path in enumerate(sorter.static_order())}
    except CycleError:
        rank = {path: number for number, path in enumerate(dict.fromkeys(holding))}
        return sorted(range(len(holding)), key=lambda i: (0, rank[holding[i]]) if type(part.values[i]) is Word else (1, 0))
    return sorted(range(len(holding)), key=lambda i: rank[holding[i]])


def references(name: str, value: Any, uses: dict[str, list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """The storages that a view lies on, as (tensor, part). What is malformed is passed over; it is refused when it is read."""
    if type(value) is str:
        target = value.removeprefix(TIE)
        return uses.get(target, [(target, 0)])
    found = []
    places = value.get("parts", [value]) if type(value) is dict else ()
    for number, place in enumerate(places if type(places) is list else ()):
        storage = place.get("storage", [name, number]) if type(place) is dict else None
        if type(storage) is str:
            found.append((storage, 0))
        elif type(storage) is list and len(storage) == 2 and type(storage[0]) is str and type(storage[1]) is int:
            found.append((storage[0], storage[1]))
    return found
