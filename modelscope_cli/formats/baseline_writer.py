"""A checkpoint without its weights, as text for a repository: what `baseline.read` reads back.

Made for `git diff`: numbered names fold into one line, lines are sorted by name with numbers by value, a tensor that is
nothing special takes a word, and nothing depends on the time, the folder, or the order in which independent tensors were
saved. Only the order of tensors that share a storage is kept, because the first of them owns it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, quantisation_of
from modelscope_cli.core.condensed import condensed, well_formed
from modelscope_cli.core.dtype import KNOWN_DTYPES, DType
from modelscope_cli.core.name_patterns import fold, holders, sort_key
from modelscope_cli.core.span import SECTIONS
from modelscope_cli.core.tensor import View
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.baseline import ALL_OTHERS, SCHEMA
from modelscope_cli.formats.baseline_tensors import TIE, UNKNOWN
from modelscope_cli.formats.baseline_text import Line, encoded

DEEPEST_METADATA = 64  # levels written one below another


def describe(checkpoint: Checkpoint) -> bytes:
    """The baseline of a checkpoint. Raises ModelscopeError for one that is not whole, or whose tensors have no names of their own."""
    names = [well_formed(name) for name in checkpoint.tensors.names]
    refuse_damage(checkpoint, names)
    try:
        around: dict[str, Any] = {
            "metadata": kept_metadata(checkpoint.metadata),
            "aliases": {well_formed(name): well_formed(kept) for name, kept in by_name(checkpoint.aliases)},
            **kept_groups(checkpoint, names),
            "modules": dict(fold((well_formed(path), record.class_name) for path, record in checkpoint.modules.items())),
            "recorded": recorded_roles(checkpoint, names),
            "imports": imports(checkpoint),
            "quantisation": kept_whole(kept_quantisation(checkpoint)),
        }
        filled = {key: value for key, value in around.items() if value}
        document = {"schema": SCHEMA, "format": checkpoint.format, **filled, "files": Tensors(checkpoint, names).files()}
        return encoded(document)
    except RecursionError:
        raise ModelscopeError("its metadata is nested too deeply for a baseline", path=checkpoint.path) from None


def refuse_damage(checkpoint: Checkpoint, names: list[str]) -> None:
    """A baseline is what is right; what cannot be told apart by name cannot be found again."""
    problem = next((note for note in checkpoint.notes if note.severity == "error"), None)
    if problem is not None:
        raise ModelscopeError(
            f"not whole, so no baseline can be made of it: {problem.message}",
            path=checkpoint.path,
            hint="mend or complete the checkpoint first",
        )
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ModelscopeError(
            f"two tensors are called {twice!r}: a baseline tells tensors apart by name",
            path=checkpoint.path,
            hint="save it with a name for each",
        )


def kept_metadata(metadata: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The metadata, nested and sorted; of a leaf or list that is long, its digest."""
    kept: dict[str, Any] = {}
    for key, value in by_name(metadata):
        if isinstance(value, dict) and depth < DEEPEST_METADATA:
            kept[well_formed(key)] = kept_metadata(value, depth + 1)
            continue
        kept[well_formed(key)] = Line(condensed(value))
    return kept


def kept_quantisation(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the configuration says of the quantisation: how many parameters there are may depend on it. GGUF says it in its metadata."""
    found = quantisation_of(checkpoint.config)
    return {} if found.get("quant_method") == "gguf" else found


def kept_whole(settings: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Settings as they are nested, sorted; nothing is condensed."""
    return {
        well_formed(key): kept_whole(value, depth + 1)
        if isinstance(value, dict) and value and depth < DEEPEST_METADATA
        else Line(value)
        for key, value in by_name(settings)
    }


def kept_groups(checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    """The dictionaries that hold the tensors, and the tensors whose names would say another one."""
    paths = {well_formed(path) for _, path in checkpoint.groups if path}
    if not paths:
        return {}
    actual = [""] * len(names)
    ends = [start for start, _ in checkpoint.groups[1:]] + [len(names)]
    for (start, path), stop in zip(checkpoint.groups, ends, strict=True):
        actual[start:stop] = [well_formed(path)] * (stop - start)
    elsewhere: dict[str, list[str]] = {}
    for name, path, said in zip(names, actual, holders(names, paths), strict=True):
        if path != said:
            elsewhere.setdefault(path, []).append(name)
    return {"groups": patterns(paths), "grouped": {path: patterns(inside) for path, inside in by_name(elsewhere)}}


def recorded_roles(checkpoint: Checkpoint, names: list[str]) -> dict[str, Any]:
    """Which tensors the file itself calls parameters or buffers; mostly that is all of them."""
    recorded = checkpoint.tensors.recorded
    roles: dict[str, list[str]] = {}
    for index, role in recorded.items():
        roles.setdefault(role, []).append(names[index])
    found: dict[str, Any] = {role: patterns(inside) for role, inside in sorted(roles.items())}
    if "parameter" in found and len(recorded) == len(names):
        found["parameter"] = ALL_OTHERS
    return found


def imports(checkpoint: Checkpoint) -> list[Any]:
    """What the pickles would import, each once: module.name, with () where it would be called."""
    uses: dict[tuple[str, str], bool] = {}
    for trace in checkpoint.pickles:
        for use in trace.globals:
            key = (well_formed(use.module), well_formed(use.name))
            uses[key] = uses.get(key, False) or use.calls > 0
    listed: list[Any] = []
    for (module, name), called in sorted(uses.items()):
        if re.fullmatch(r"\w+", name):
            listed.append(f"{module}.{name}()" if called else f"{module}.{name}")
        else:  # a name with dots reaches into something else: where it begins must not be lost
            listed.append(Line([module, name, called]))
    return listed


def patterns(names: Any) -> list[str]:
    return [pattern for pattern, _ in fold((name, None) for name in names)]


def by_name(mapping: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items(), key=lambda item: sort_key(item[0]))


class Tensors:
    """The tensors of a checkpoint, divided into those of a word and those that need more."""

    def __init__(self, checkpoint: Checkpoint, names: list[str]):
        self.checkpoint = checkpoint
        self.table = checkpoint.tensors
        self.names = names
        self.words: list[str | None] = [None] * len(self.table)  # of each tensor, None for those that need more
        self.first = [(-1, 0)] * len(self.table.storage)  # (tensor, which of its parts) that reaches a storage first
        self.unused: dict[int, list[tuple[int, int]]] = {}  # file → sizes of its storages that no tensor reaches
        self._alike: dict[Any, int] = {}
        self._divide()

    def _divide(self) -> None:
        """A tensor takes a word if it is contiguous, fills a storage that nobody had before it, and has no other parts."""
        table, first = self.table, self.first
        nbytes, stored, parts = table.storage.nbytes, table.storage.stored, table.parts
        known: dict[tuple[DType, tuple[int, ...]], tuple[str, int | None]] = {}
        order: Sequence[int] = range(len(table))
        if any(view.origin is not None for views in parts.values() for view in views):  # as they will be written, file by file
            order = sorted(order, key=self._home)
        for index in order:
            storage, dtype, shape = table.storages[index], table.dtypes[index], table.shapes[index]
            offset, strides = table.offsets[index], table.strides[index]
            if storage >= 0 and first[storage][0] < 0 and not offset and strides is None and index not in parts:
                found = known.get((dtype, shape))
                if found is None:
                    found = known[dtype, shape] = (f"{dtype.name} {list(shape)}", dtype.nbytes(math.prod(shape)))
                if found[1] == nbytes[storage] == stored[storage]:
                    first[storage] = (index, 0)
                    self.words[index] = found[0]
                    continue
            for number, view in enumerate(table.views(index)):
                if view.storage >= 0 and first[view.storage][0] < 0:
                    first[view.storage] = (index, number)
        for storage, (tensor, _) in enumerate(first):
            if tensor < 0 and nbytes[storage]:
                self.unused.setdefault(table.storage.files[storage], []).append((nbytes[storage], stored[storage]))

    def files(self) -> list[dict[str, Any]]:
        """Every file with what it holds."""
        return [self._file(number) for number in range(len(self.checkpoint.files))]

    def _file(self, number: int) -> dict[str, Any]:
        file = self.checkpoint.files[number]
        totals = self.checkpoint.byte_maps[number].totals()
        elsewhere = self.table.parts if number else {}  # a tensor in pieces is described with the first file that has one
        inside = [index for index in file.tensors if index not in elsewhere or self._home(index) == number]
        found: dict[str, Any] = {
            "name": os.path.basename(file.path),
            "bytes": file.nbytes,
            "sections": Line({label: totals[label] for label in SECTIONS if label in totals}),
            "tensors": dict(fold((self.names[index], word) for index in inside if (word := self.words[index]) is not None)),
            "views": {self.names[index]: self._view(index, number) for index in self._in_order(inside)},
            "unused_storages": Line(sorted_sizes(self.unused[number])) if number in self.unused else None,
        }
        return {key: value for key, value in found.items() if value or key in ("name", "bytes")}

    def _home(self, index: int) -> int:
        """The first file that holds some of a tensor."""
        return min([self.table.storage.files[view.storage] for view in self.table.views(index) if view.storage >= 0], default=0)

    def _in_order(self, inside: list[int]) -> list[int]:
        """The tensors that need more, by name, except that those on one storage stay in their order, and ties follow the first."""
        latest: dict[int, int] = {}  # storage → the tensor that reached it last
        following: dict[int, list[int]] = {}
        waiting: dict[int, int] = {}  # tensor → how many stand before it on its storages
        for index in inside:
            if self.words[index] is None:
                first = self._same_as(index)
                storages = {view.storage for view in self.table.views(index) if view.storage >= 0} if first is None else set()
                earlier = [latest[storage] for storage in storages if storage in latest]
                earlier += [first] if first in waiting else []
                waiting[index] = len(earlier)
                for other in earlier:
                    following.setdefault(other, []).append(index)
                latest.update(dict.fromkeys(storages, index))
        ready = [(sort_key(self.names[index]), index) for index, others in waiting.items() if not others]
        heapify(ready)
        order: list[int] = []
        while ready:
            _, index = heappop(ready)
            order.append(index)
            for other in following.get(index, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    heappush(ready, (sort_key(self.names[other]), other))
        return order

    def _same_as(self, index: int) -> int | None:
        """The first tensor with the very same elements, if that is another one."""
        storage = self.table.storages[index]
        if storage < 0:
            return None
        owner = self.first[storage][0]
        self._alike.setdefault(self._identity(owner), owner)
        same = self._alike.setdefault(self._identity(index), index)
        return same if same != index else None

    def _view(self, index: int, file: int) -> str | Line:
        """A tie, or where the tensor lies, which is in `file` unless it says otherwise."""
        table = self.table
        same = self._same_as(index)
        if same is not None:
            return f"{TIE}{self.names[same]}"
        if index not in table.parts:
            return Line(self._place(table.views(index)[0], index, 0, file))
        found: dict[str, Any] = {"dtype": dtype_word(table.dtypes[index]), "shape": list(table.shapes[index])}
        if table.storages[index] < 0:
            found["storage"] = None
        found["parts"] = [self._place(view, index, number, file) for number, view in enumerate(table.parts[index])]
        return Line(found)

    def _identity(self, index: int) -> Any:
        return (self.table.shapes[index], self.table.dtypes[index], self.table.storages[index], self.table.views(index))

    def _place(self, view: View, index: int, number: int, file: int) -> dict[str, Any]:
        """A view: with the size of its storage where it is the first on it, else with whose storage that is."""
        where = self.table.storage
        found: dict[str, Any] = {"dtype": dtype_word(view.dtype), "shape": list(view.shape)}
        first = self.first[view.storage] if view.storage >= 0 else None
        if first is None:
            found["storage"] = None
        elif first == (index, number):
            found["storage_bytes"] = where.nbytes[view.storage]
            if where.stored[view.storage] != where.nbytes[view.storage]:
                found["stored"] = where.stored[view.storage]
            if where.files[view.storage] != file:
                found["file"] = where.files[view.storage]
        else:
            found["storage"] = [self.names[first[0]], first[1]] if first[1] else self.names[first[0]]
        if view.offset:
            found["offset"] = view.offset
        if view.strides is not None:
            found["strides"] = list(view.strides)
        if view.origin is not None:
            found["origin"] = list(view.origin)
        return found


def sorted_sizes(sizes: list[tuple[int, int]]) -> list[Any]:
    """Sizes in bytes; [bytes, bytes as stored] in a compressed archive."""
    return [nbytes if nbytes == stored else [nbytes, stored] for nbytes, stored in sorted(sizes)]


def dtype_word(dtype: DType) -> str:
    """The name, marked where it says nothing about the size."""
    return dtype.name if KNOWN_DTYPES.get(dtype.name) == dtype else UNKNOWN + dtype.name
