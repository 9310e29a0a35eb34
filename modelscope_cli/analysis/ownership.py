"""Who owns which bytes: ties, overlaps and waste.

Every storage element belongs to the first tensor, in file order, that reaches it. A later name that reaches the same
elements is tied to it; one that shares only some of them overlaps it. What no tensor reaches is waste: a saved slice drags
its whole storage along. Almost every tensor is alone on a storage it fills exactly, which takes one comparison; only the
rest is worked out by intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.tensor import NOWHERE, TensorTable, View

MOST_RUNS = 4_096  # separate runs of one strided view that are told apart where tensors share a storage
RUN_BUDGET = 400_000  # and of all of them together

Interval = tuple[int, int]


class Ownership(NamedTuple):
    """Per tensor: `elements` by shape, `owned` distinct elements, `nbytes` in the files. `waste` is (storage, unused bytes)."""

    elements: list[int]
    owned: list[int]
    nbytes: list[int]
    tied: dict[int, int]  # tensor → the tensor it is tied to
    overlaps: list[tuple[int, int]]  # (tensor, earlier tensor it partly shares elements with)
    waste: list[tuple[int, int]]
    approximate: list[int]  # tensors counted by the span they stretch over, because their runs are too many
    spread: dict[int, dict[int, tuple[int, int]]]  # tensor in several files → file → (distinct elements, bytes) there


def own(checkpoint: Checkpoint) -> Ownership:
    """Divide the bytes of a checkpoint among its tensors."""
    tensors = checkpoint.tensors
    elements = list(map(math.prod, tensors.shapes))
    if _all_alone(tensors, elements):
        return Ownership(elements, elements, tensors.storage.stored[:], {}, [], [], [], {})
    result = Ownership(elements, elements[:], [0] * len(elements), {}, [], [], [], {})
    shared = _settle_plain(tensors, result)
    if len(tensors.storage) > len(set(tensors.storages) - {NOWHERE}):  # storages that no tensor refers to, in whole
        reached = {view.storage for index in range(len(elements)) for view in tensors.views(index)}
        lost = [(storage, nbytes) for storage, nbytes in enumerate(tensors.storage.nbytes) if storage not in reached and nbytes]
        result.waste.extend(lost)
    if shared:
        budget = RUN_BUDGET
        for storage, users in shared.items():
            budget -= _settle_shared(tensors, storage, users, result, budget)
    for index in tensors.parts:  # pieces that cover the same elements twice
        result.owned[index] = min(result.owned[index], elements[index])
    return result


def _all_alone(tensors: TensorTable, elements: list[int]) -> bool:
    """Whether every tensor is contiguous and fills the storage of its own number, as in safetensors and most state_dicts."""
    if tensors.parts or tensors.storages != list(range(len(tensors.storage))) or any(tensors.strides) or any(tensors.offsets):
        return False
    dtypes = {id(dtype): dtype for dtype in tensors.dtypes}.values()
    if any(dtype.bits is None for dtype in dtypes):
        return False
    if all(dtype.block == 1 for dtype in dtypes):
        sizes = [(count * (dtype.bits or 0) + 7) >> 3 for count, dtype in zip(elements, tensors.dtypes, strict=True)]
    else:
        sizes = [dtype.nbytes(count) or 0 for count, dtype in zip(elements, tensors.dtypes, strict=True)]
    return sizes == tensors.storage.nbytes


def _settle_plain(tensors: TensorTable, result: Ownership) -> dict[int, list[int]]:
    """Settle tensors that fill a storage of their own. Returns the others: storage → tensors, in file order."""
    storage_bytes, stored = tensors.storage.nbytes, tensors.storage.stored
    nbytes, elements, parts = result.nbytes, result.elements, tensors.parts
    seen: set[int] = set()
    contested: set[int] = set()
    for index, (storage, dtype, strides) in enumerate(zip(tensors.storages, tensors.dtypes, tensors.strides, strict=True)):
        if storage < 0 or (parts and index in parts):
            result.owned[index] = 0
            continue
        full = dtype.bits is None or dtype.nbytes(elements[index]) == storage_bytes[storage]
        if storage in seen or not full or (strides is not None and not _fills(tensors.shapes[index], strides)):
            contested.add(storage)
        else:
            nbytes[index] = stored[storage]
        seen.add(storage)
    if parts:
        contested |= _settle_parts(tensors, result, seen)
    users: dict[int, list[int]] = {storage: [] for storage in contested}
    if contested:
        for index, storage in enumerate(tensors.storages):
            for reached in {view.storage for view in parts[index]} if index in parts else (storage,):
                if reached in users:
                    users[reached].append(index)
                    if index not in parts:
                        nbytes[index] = 0
    return users


def _settle_parts(tensors: TensorTable, result: Ownership, taken: set[int]) -> set[int]:
    """Settle views that fill a storage nobody else reaches, as pieces of distributed tensors do. Returns the other storages."""
    users = Counter(view.storage for views in tensors.parts.values() for view in views)
    storage_bytes, stored, files = tensors.storage.nbytes, tensors.storage.stored, tensors.storage.files
    others: set[int] = set()
    for index, views in tensors.parts.items():
        held = {files[view.storage] for view in views if view.storage >= 0}
        if len(held) > 1:
            result.spread[index] = dict.fromkeys(sorted(held), (0, 0))
        for number, view in enumerate(views):
            storage, count = view.storage, math.prod(view.shape)
            if storage < 0:
                continue
            full = view.dtype.bits is None or view.dtype.nbytes(count) == storage_bytes[storage]
            if not full or view.strides is not None or users[storage] > 1 or storage in taken:
                others.add(storage)
                continue
            _add(tensors, result, index, number, count, stored[storage])
    return others


def _add(tensors: TensorTable, result: Ownership, index: int, number: int, elements: int, nbytes: int) -> None:
    """Add to the books what view `number` of a tensor owns: elements only if they are its main view's or a piece's."""
    view = tensors.parts[index][number]
    if number and view.origin is None:
        elements = 0
    result.owned[index] += elements
    result.nbytes[index] += nbytes
    if index in result.spread:
        file = tensors.storage.files[view.storage]
        before = result.spread[index].get(file, (0, 0))
        result.spread[index][file] = (before[0] + elements, before[1] + nbytes)


def _fills(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Whether a strided view is some permutation of a contiguous one."""
    expected = 1
    for stride, extent in sorted((stride, extent) for extent, stride in zip(shape, strides or (), strict=True) if extent != 1):
        if stride != expected:
            return False
        expected *= extent
    return True


def _settle_shared(tensors: TensorTable, storage: int, users: list[int], result: Ownership, budget: int) -> int:
    """Divide one storage among its users by intervals. Returns how many runs were looked at."""
    pieces: list[tuple[int, int, View]] = []  # (tensor, number of the view, view), in file order
    for index in users:
        pieces += [(index, number, view) for number, view in enumerate(tensors.views(index)) if view.storage == storage]
    all_runs: list[list[Interval]] = []
    looked_at = 0
    for index, _, view in pieces:
        intervals = runs(view, min(MOST_RUNS, budget - looked_at), alone=len(pieces) == 1)
        if intervals is None:
            intervals = [span(view)]
            result.approximate.append(index)
        looked_at += len(intervals)
        all_runs.append(intervals)
    cover = Cover(all_runs)
    new_bytes: list[tuple[int, int, int]] = []  # tensor, number of the view, bytes
    first_with: dict[tuple[Interval, ...], int] = {}  # the same runs: the same elements, whatever their order
    for (index, number, _), intervals in zip(pieces, all_runs, strict=True):
        gained, earlier = cover.claim(intervals, index)
        new_bytes.append((index, number, gained))
        if index in tensors.parts:
            continue
        dtype = tensors.dtypes[index]
        fits = result.elements[index] if dtype.bits is None else gained * 8 * dtype.block // dtype.bits
        result.owned[index] = min(result.elements[index], fits)
        reached = sum(stop - start for start, stop in intervals)
        same = first_with.setdefault(tuple(intervals), index)
        if reached and same != index:
            result.tied[index] = same
        elif gained < reached and earlier is not None and earlier != index:
            result.overlaps.append((index, earlier))
    _share_out(tensors, storage, new_bytes, result)
    unused = tensors.storage.nbytes[storage] - cover.total
    if unused > 0:
        result.waste.append((storage, unused))
    return looked_at


def _share_out(tensors: TensorTable, storage: int, new_bytes: list[tuple[int, int, int]], result: Ownership) -> None:
    """Bytes in the file for bytes of the storage: the same, but for compressed storages, which are shared in proportion."""
    size, stored = tensors.storage.nbytes[storage], tensors.storage.stored[storage]
    done = 0
    for index, number, fresh in new_bytes:
        taken = fresh if size == stored else (done + fresh) * stored // size - done * stored // size if size else 0
        done += fresh
        if index in tensors.parts:
            dtype = tensors.parts[index][number].dtype
            _add(tensors, result, index, number, fresh * 8 * dtype.block // (dtype.bits or 8), taken)
        else:
            result.nbytes[index] += taken


def first_users(tensors: TensorTable, storages: set[int]) -> dict[int, str]:
    """The first tensor that uses each of some storages."""
    users: dict[int, str] = {}
    for line, index in enumerate(tensors.storages):
        for storage in [view.storage for view in tensors.parts[line]] if line in tensors.parts else (index,):
            if storage in storages:
                users.setdefault(storage, tensors.names[line])
    return users


def span(view: View) -> Interval:
    """First and last byte a view reaches in its storage, half-open."""
    if 0 in view.shape:
        return (view.offset, view.offset)
    if view.strides is None:
        reach = math.prod(view.shape)
    else:
        reach = 1 + sum((extent - 1) * stride for extent, stride in zip(view.shape, view.strides, strict=True))
    nbytes = view.dtype.nbytes(reach)
    return (view.offset, view.offset + (reach if nbytes is None else nbytes))


def runs(view: View, most: int, *, alone: bool) -> list[Interval] | None:
    """The byte runs of a view, merged, or None when they are more than `most`. `alone` allows a shorter way to the same sum."""
    bits = view.dtype.bits or 8
    if 0 in view.shape:
        return []
    if view.strides is None:
        return [span(view)]
    dims = sorted(
        (stride, extent) for extent, stride in zip(view.shape, view.strides, strict=True) if extent != 1 and stride != 0
    )
    length = 1
    while dims and dims[0][0] == length:
        length *= dims.pop(0)[1]
    if not dims:
        return [(view.offset, view.offset + (length * bits + 7) // 8)]
    if alone:
        reach, disjoint = length, True
        for stride, extent in dims:
            disjoint = disjoint and stride >= reach
            reach += stride * (extent - 1)
        if disjoint:  # as many bytes as if they stood together, which is all that matters when nobody else is there
            return [(view.offset, view.offset + length * math.prod(extent for _, extent in dims) * bits // 8)]
    if math.prod(extent for _, extent in dims) > most:
        return None
    starts = [0]
    for stride, extent in dims:
        starts = [start + step * stride for step in range(extent) for start in starts]
    return _merged(sorted((view.offset + start * bits // 8, view.offset + (start + length) * bits // 8) for start in starts))


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, stop in intervals:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


class Cover:
    """Which bytes of a storage are owned, and by whom.

    All runs are known beforehand, so the storage is cut at every end of a run; each piece has one owner, and a chain leads
    past pieces that are taken. The work is that of sorting the ends, whatever the order in which they are claimed.
    """

    def __init__(self, all_runs: list[list[Interval]]):
        ends = {end for intervals in all_runs for interval in intervals for end in interval}
        self.ends = sorted(ends)
        self.number = {end: number for number, end in enumerate(self.ends)}
        self.owners = [-1] * len(self.ends)
        self.following = list(range(len(self.ends) + 1))  # the next free piece at or after each
        self.total = 0

    def claim(self, intervals: list[Interval], owner: int) -> tuple[int, int | None]:
        """Give `owner` what is still free of the intervals. Returns (bytes gained, an owner met there before)."""
        gained = 0
        met: int | None = None
        for start, stop in intervals:
            piece, last = self.number[start], self.number[stop]
            while piece < last:
                free = self._free(piece)
                if free > piece and met is None:
                    met = self.owners[piece]
                if free >= last:
                    break
                self.owners[free] = owner
                self.following[free] = free + 1
                gained += self.ends[free + 1] - self.ends[free]
                piece = free + 1
        self.total += gained
        return gained, met

    def _free(self, piece: int) -> int:
        """The first free piece from `piece` on; the chain is shortened on the way."""
        following = self.following
        root = piece
        while following[root] != root:
            root = following[root]
        while following[piece] != root:
            following[piece], piece = root, following[piece]
        return root
