"""From the object graph of a torch pickle to tensors, modules and metadata.

Depth first and in file order, without recursion, so that nesting costs no stack:

    dict, OrderedDict, list, tuple    searched at any depth; the keys joined with dots name the tensors
    a rebuilt tensor                  becomes a row of the table
    a pickled module                  `_parameters`, `_buffers`, `_modules`, walked as state_dict would; its class is recorded
    any other object                  its state and arguments are searched, its class is shown
    a state_dict's `_metadata`        gives module paths, parameterless ones too
    plain values                      become metadata, up to a limit

A container met again is not walked again: its tensors are repeated under the new path, tied to the first (a state_dict
lists a shared module twice as well). That keeps the work proportional to the file however the objects share each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, SetOf, mapping
from modelscope_cli.core.checkpoint import ModuleRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import NOWHERE, TensorTable
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.plain_values import MOST_SHORT, SCALARS, Plain, is_plain_sequence, items_of, simple_value
from modelscope_cli.formats.torch_objects import BadTensorError, Found, StorageRef, rebuilt

LONGEST_PATH = 8_192  # characters of a name
AS_AN_ITEM = 1_024  # characters that count as one more value
DEEPEST_METADATA = 60  # levels of nesting kept of the metadata
MOST_COPIES = 100_000  # rows repeated for containers that are met again
MODULE_MEMBERS = ("_parameters", "_buffers", "_modules")
PARAMETER, BUFFER = "parameter", "buffer"


class Walk:
    """The result of a walk: rows in `table`, `metadata` (plain data), `modules` (path → record), `notes`."""

    def __init__(self, table: TensorTable, where: str, limits: Limits):
        self.table = table
        self.where = where
        self.limits = limits
        self.metadata: dict[str, Any] = {}
        self.modules: dict[str, ModuleRecord] = {}
        self.notes: list[Note] = []
        self.groups: list[tuple[int, str]] = []  # (first row, path of the container that holds it)
        self.plain = Plain()
        self._kept = 0  # metadata values kept so far
        self._left_out = 0
        self._copied = 0
        self._not_repeated = 0
        self._finished: dict[int, tuple[str, int, int]] = {}  # id of a container → its path and its slice of the table
        self._open: set[int] = set()
        self._plain: dict[int, bool] = {}
        self._name_characters = 0
        self._listed: set[int] = set()  # ids of tensor objects that have a row
        self._alive: list[Any] = []  # keeps what was made on the way from being freed, so that ids stay unique

    def run(self, root: Any) -> None:
        """Walk everything below `root`. Raises CorruptFileError for a tensor that cannot be, LimitError for too much."""
        if isinstance(root, Mapping) or self._module_state(root) is not None:
            self._descend(root)
        else:
            self._descend(mapping([("", root)]))
        if self._left_out:
            self.notes.append(
                Note(
                    "metadata-cut",
                    "info",
                    self.where,
                    f"{self._left_out:,} more metadata values are not listed (--limit metadata_items=N)",
                )
            )
        if self._not_repeated:
            self.notes.append(
                Note(
                    "not-repeated",
                    "info",
                    self.where,
                    f"{self._not_repeated:,} objects are referred to more than once; listed once",
                )
            )

    def _descend(self, root: Any) -> None:
        self._alive.append(root)
        frames: list[_Frame] = []
        self._enter(frames, root, "", self.metadata)
        while frames:
            frame = frames[-1]
            entry = next(frame.entries, None)
            if entry is None:
                frames.pop()
                self._leave(frame)
                continue
            key, node, mark = entry
            kind = type(node)
            path = _joined(frame.path, key)
            if kind is Call:
                self._call(frames, node, path, key, mark, frame)
            elif kind is Mapping or kind is list or kind is tuple or kind is SetOf:
                self._container(frames, node, path, key, frame.sink)
            elif kind is StorageRef:
                self._keep(frame.sink, path, key, f"<storage of {node.nbytes:,} bytes>")
            else:
                self._keep(frame.sink, path, key, self.plain.value(node))

    # Containers -------------------------------------------------------------------------------------------------------

    def _container(self, frames: list[_Frame], node: Any, path: str, key: str, sink: Any) -> None:
        if type(node) is not Mapping and self._is_plain(node):
            if sink is not None:
                self._keep(sink, path, key, [self.plain.value(value) for value in items_of(node)] if self._room() else [])
        elif not self._met_before(node, path):
            self._enter(frames, node, path, self._child_sink(sink, path, key))

    def _is_plain(self, node: Any) -> bool:
        """Whether a sequence holds plain values only; a long one is looked through once, however often it is met."""
        if len(node.items if type(node) is SetOf else node) <= MOST_SHORT:
            return is_plain_sequence(node)
        known = self._plain.get(id(node))
        if known is None:
            known = self._plain[id(node)] = all([type(item) in SCALARS for item in items_of(node)])
        return known

    def _room(self) -> bool:
        return self._kept <= self.limits.metadata_items

    def _name(self, path: str) -> str:
        """Count the characters of a name that is kept."""
        self._name_characters += len(path)
        if self._name_characters > self.limits.name_characters:
            raise LimitError("name_characters", self.limits.name_characters, self._name_characters, path=self.where)
        return path

    def _met_before(self, node: Any, path: str) -> bool:
        """Whether a container was walked already; then its tensors are repeated under `path`."""
        if id(node) in self._open:
            self._not_repeated += 1
            return True
        found = self._finished.get(id(node))
        if found is None:
            return False
        old_path, first, last = found
        if self._copied + last - first > MOST_COPIES or len(self.table) + last - first > self.limits.tensors:
            self._not_repeated += 1
            return True
        self._copied += last - first
        self.groups.append((len(self.table), self._name(path)))
        table = self.table
        for index in range(first, last):
            name = self._name(path + table.names[index][len(old_path) :])
            row = table.add(
                name,
                table.shapes[index],
                table.dtypes[index],
                table.storages[index],
                table.offsets[index],
                table.strides[index],
            )
            if index in table.parts:
                table.parts[row] = table.parts[index]
            if index in table.recorded:
                table.recorded[row] = table.recorded[index]
        return True

    def _enter(self, frames: list[_Frame], node: Any, path: str, sink: Any) -> None:
        if len(frames) >= self.limits.nesting:
            raise LimitError("nesting", self.limits.nesting, f"more than {self.limits.nesting:,}", path=self.where)
        self._open.add(id(node))
        frames.append(_Frame(self._entries(node, path), path, sink, id(node), len(self.table)))

    def _leave(self, frame: _Frame) -> None:
        self._open.discard(frame.node)
        last = len(self.table)
        self._finished[frame.node] = (frame.path if last > frame.first else "", frame.first, last)  # a path is for its tensors

    def _entries(self, node: Any, path: str) -> Iterator[tuple[str, Any, str | None]]:
        """(key, value, recorded role) of everything directly inside a container."""
        if type(node) is Mapping:
            self._state_dict_metadata(node, path)
            return ((self.plain.key(key), value, None) for key, value in _last_wins(node.pairs))
        if type(node) is Call:
            state = self._module_state(node)
            return (
                iter(self._module_entries(node, state, path)) if state is not None else iter(_object_entries(node, self.plain))
            )
        return ((str(index), value, None) for index, value in enumerate(items_of(node)))

    def _state_dict_metadata(self, node: Mapping, path: str) -> None:
        """Module paths from the `_metadata` attribute of a state_dict."""
        state = node.state[0] if type(node.state) is tuple and node.state else node.state
        listed = state.get("_metadata") if type(state) is Mapping else None
        if type(listed) is not Mapping:
            return
        for name, _ in listed.pairs:
            if type(name) is str and len(self.modules) < self.limits.tensors:
                self.modules.setdefault(self._name(_joined(path, name)), ModuleRecord(None, {}))

    # Objects ----------------------------------------------------------------------------------------------------------

    def _call(self, frames: list[_Frame], node: Call, path: str, key: str, mark: str | None, frame: _Frame) -> None:
        sink = frame.sink
        try:
            found = rebuilt(node, self.limits)
        except BadTensorError as problem:
            raise CorruptFileError(f"tensor {path!r}: {problem}", path=self.where) from None
        except LimitError as problem:
            raise problem.of(self.where, f"tensor {path!r}") from None
        if found is not None:
            if not self.groups or self.groups[-1][1] != frame.path:
                self.groups.append((len(self.table), self._name(frame.path)))
            self._add(found, path, mark, node)
            return
        name = node.function.path if type(node.function) is Global else "?"
        value = simple_value(node, name)
        if value is not None:
            self._keep(sink, path, key, value)
        elif not self._met_before(node, path):
            child = (
                None
                if self._module_state(node) is not None or name.startswith("__torch__")
                else self._child_sink(sink, path, key)
            )
            if child is not None and not node.state and not node.entries and not node.items:
                self._keep(child, path, "class", name)
            self._enter(frames, node, path, child)

    def _add(self, found: Found, path: str, mark: str | None, node: Any) -> None:
        table = self.table
        if len(table.names) >= self.limits.tensors:
            raise LimitError("tensors", self.limits.tensors, f"more than {self.limits.tensors:,}", path=self.where)
        main = found.main
        self._name(path)
        if main is None:
            index = table.add(path, found.shape, found.dtype, NOWHERE)
        else:
            index = table.add(path, found.shape, found.dtype, main.storage, main.offset, main.strides)
        if found.others or (main is not None and main.shape != found.shape):
            table.parts[index] = (main, *found.others) if main is not None else found.others
        if mark or found.parameter:
            table.recorded[index] = mark or PARAMETER
        self._listed.add(id(node))

    def _module_state(self, node: Any) -> Mapping | None:
        """The attributes of a pickled torch.nn.Module, known by its three dictionaries."""
        if type(node) is Call and type(node.state) is Mapping:
            names = {key for key, _ in node.state.pairs if type(key) is str}
            if "_modules" in names and ("_parameters" in names or "_buffers" in names):
                return node.state
        return None

    def _module_entries(self, node: Call, state: Mapping, path: str) -> Iterable[tuple[str, Any, str | None]]:
        """Parameters, buffers, submodules, in the order of state_dict; then attributes that hold tensors not seen before."""
        attributes = self.plain.attributes([pair for pair in state.pairs if type(pair[0]) is str and type(pair[1]) in SCALARS])
        cls = node.function.path if type(node.function) is Global else None
        if type(node.function) is Global and node.args and type(node.args[0]) is Global:
            cls = node.args[0].path  # copyreg._reconstructor(cls, object, None)
        self.modules[self._name(path)] = ModuleRecord(cls, attributes)
        for member, mark in (("_parameters", PARAMETER), ("_buffers", BUFFER), ("_modules", None)):
            listed = state.get(member)
            for key, value in listed.pairs if type(listed) is Mapping else ():
                if value is not None:
                    yield self.plain.key(key), value, mark
        for key, value in state.pairs:
            if (
                type(key) is str
                and key not in MODULE_MEMBERS
                and type(value) in (Mapping, list, tuple, Call)
                and id(value) not in self._listed
            ):
                fresh = self._unlisted(value)
                if fresh is not None:
                    self._alive.append(fresh)
                    yield key, fresh, None

    def _unlisted(self, value: Any) -> Any:
        """A module's further attribute without tensors that have a row (an LSTM's _flat_weights have), or None."""
        if type(value) is list or type(value) is tuple:
            left = [item for item in value if type(item) is Call and id(item) not in self._listed]
            return left or None
        if type(value) is Mapping:
            left_pairs = [(key, item) for key, item in value.pairs if type(item) is Call and id(item) not in self._listed]
            return mapping(left_pairs) if left_pairs else None
        return value if type(value) is Call and id(value) not in self._listed and value.state is not None else None

    # Metadata ---------------------------------------------------------------------------------------------------------

    def _child_sink(self, sink: Any, path: str, key: str) -> Any:
        deep = len(self._open) > DEEPEST_METADATA or len(path) > LONGEST_PATH
        if sink is None or deep or self._kept >= self.limits.metadata_items:
            return None
        child: dict[str, Any] = {}
        self._kept += (len(path) + len(key)) // AS_AN_ITEM
        sink[key] = child
        return child

    def _keep(self, sink: Any, path: str, key: str, value: Any) -> None:
        """Keep a value of the metadata. Long texts and paths count as many: a file may refer to one a million times."""
        if sink is None:
            return
        values = value if type(value) is list else [value]
        characters = len(path) + sum([len(each) for each in values if type(each) is str])
        self._kept += len(values) + characters // AS_AN_ITEM
        if self._kept > self.limits.metadata_items:
            self._left_out += 1
        else:
            sink[key] = value


class _Frame:
    """A container being walked: what is left of it, its path, where its plain values go, and where its tensors began."""

    __slots__ = ("entries", "first", "node", "path", "sink")

    def __init__(self, entries: Iterator[tuple[str, Any, str | None]], path: str, sink: Any, node: int, first: int):
        self.entries = entries
        self.path = path
        self.sink = sink
        self.node = node
        self.first = first


def _joined(path: str, key: str) -> str:
    """The path of something inside; past a length no one reads, it grows no more."""
    if len(path) > LONGEST_PATH:
        return path
    return f"{path}.{key}" if path and key else path or key


def _last_wins(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The pairs that a dictionary would hold in the end: of equal keys the first place and the last value."""
    keys = [key if type(key) is str else None for key, _ in pairs]
    if len(set(keys)) == len(keys) or None in keys:
        return pairs
    merged = dict(pairs)
    return list(merged.items())


def _object_entries(node: Call, plain: Plain) -> Iterator[tuple[str, Any, str | None]]:
    """What an object of unknown class holds: attributes, dictionary entries, list items, and arguments that are not plain."""
    state = node.state
    if type(state) is tuple and len(state) == 2 and all(type(half) is Mapping or half is None for half in state):
        halves = [half for half in state if half is not None]  # (__dict__, __slots__)
    else:
        halves = [state] if type(state) is Mapping else []
        if state is not None and not halves:
            yield "state", state, None
    for half in halves:
        for key, value in _last_wins(half.pairs):
            yield plain.key(key), value, None
    for key, value in node.entries or ():
        yield plain.key(key), value, None
    for index, value in enumerate(node.items or ()):
        yield str(index), value, None
    for index, value in enumerate(node.args):
        if type(value) not in (*SCALARS, Global, tuple) or (type(value) is tuple and value and not is_plain_sequence(value)):
            yield f"argument {index}", value, None
