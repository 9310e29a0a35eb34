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

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from modelscope_cli.containers.pickle_machine import Call, Global, Mapping, SetOf
from modelscope_cli.core.checkpoint import ModuleRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import NOWHERE, TensorTable
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.torch_objects import BadTensor, Found, StorageRef, rebuilt

LONGEST_TEXT = 1 << 16  # characters kept of a string in the metadata
LONGEST_KEY = 4_096  # characters kept of a key in a tensor's name
DEEPEST_METADATA = 60  # levels of nesting kept of the metadata
MOST_COPIES = 100_000  # rows repeated for containers that are met again
MODULE_MEMBERS = ("_parameters", "_buffers", "_modules")
PARAMETER, BUFFER = "parameter", "buffer"

OpenNested = Callable[[bytes], Any]  # the bytes of a torch.save inside the pickle → its root object


class Walk:
    """The result of a walk: rows in `table`, `metadata` (plain data), `modules` (path → record), `notes`."""

    def __init__(self, table: TensorTable, where: str, limits: Limits, open_nested: OpenNested | None = None):
        self.table = table
        self.where = where
        self.limits = limits
        self.open_nested = open_nested
        self.metadata: dict[str, Any] = {}
        self.modules: dict[str, ModuleRecord] = {}
        self.notes: list[Note] = []
        self.groups: list[tuple[int, str]] = []  # (first row, path of the container that holds it)
        self.bare_storages = 0
        self._kept = 0  # metadata values kept so far
        self._left_out = 0
        self._copied = 0
        self._not_repeated = 0
        self._finished: dict[int, tuple[str, int, int]] = {}  # id of a container → its path and its slice of the table
        self._open: set[int] = set()
        self._listed: set[int] = set()  # ids of tensor objects that have a row
        self._alive: list[Any] = []  # keeps what was made on the way from being freed, so that ids stay unique

    def run(self, root: Any) -> None:
        """Walk everything below `root`. Raises CorruptFileError for a tensor that cannot be, LimitError for too much."""
        if isinstance(root, Mapping) or self._module_state(root) is not None:
            self._descend(root)
        else:
            self._descend(mapping([("", root)]))
        if self._left_out:
            self.notes.append(Note("metadata-cut", "info", self.where, f"{self._left_out:,} more metadata values are not listed"))
        if self._not_repeated:
            self.notes.append(Note("not-repeated", "info", self.where, f"{self._not_repeated:,} objects are referred to more than once; listed once"))

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
                self.bare_storages += 1
                self._keep(frame.sink, key, f"<storage of {node.nbytes:,} bytes>")
            else:
                self._keep(frame.sink, key, _plain(node))

    # Containers -------------------------------------------------------------------------------------------------------

    def _container(self, frames: list[_Frame], node: Any, path: str, key: str, sink: Any) -> None:
        if type(node) is not Mapping and _is_plain_sequence(node):
            self._keep(sink, key, [_plain(value) for value in _items(node)[:LONGEST_KEY]])
        elif not self._met_before(node, path):
            self._enter(frames, node, path, self._child_sink(sink, key))

    def _met_before(self, node: Any, path: str) -> bool:
        """Whether a container was walked already; then its tensors are repeated under `path`."""
        if id(node) in self._open:
            self._not_repeated += 1
            return True
        found = self._finished.get(id(node))
        if found is None:
            return False
        old_path, first, last = found
        if self._copied + last - first > MOST_COPIES:
            self._not_repeated += 1
            return True
        self._copied += last - first
        self.groups.append((len(self.table), path))
        table = self.table
        for index in range(first, last):
            name = path + table.names[index][len(old_path) :]
            row = table.add(name, table.shapes[index], table.dtypes[index], table.storages[index], table.offsets[index], table.strides[index])
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
        self._finished[frame.node] = (frame.path, frame.first, len(self.table))

    def _entries(self, node: Any, path: str) -> Iterator[tuple[str, Any, str | None]]:
        """(key, value, recorded role) of everything directly inside a container."""
        if type(node) is Mapping:
            self._state_dict_metadata(node, path)
            return ((_key(key), value, None) for key, value in _last_wins(node.pairs))
        if type(node) is Call:
            state = self._module_state(node)
            return iter(self._module_entries(node, state, path)) if state is not None else iter(_object_entries(node))
        return ((str(index), value, None) for index, value in enumerate(_items(node)))

    def _state_dict_metadata(self, node: Mapping, path: str) -> None:
        """Module paths from the `_metadata` attribute of a state_dict."""
        state = node.state[0] if type(node.state) is tuple and node.state else node.state
        listed = state.get("_metadata") if type(state) is Mapping else None
        if type(listed) is not Mapping:
            return
        for name, _ in listed.pairs:
            if type(name) is str and len(self.modules) < self.limits.tensors:
                self.modules.setdefault(_joined(path, name), ModuleRecord(None, {}))

    # Objects ----------------------------------------------------------------------------------------------------------

    def _call(self, frames: list[_Frame], node: Call, path: str, key: str, mark: str | None, frame: _Frame) -> None:
        sink = frame.sink
        try:
            found = rebuilt(node)
        except BadTensor as problem:
            raise CorruptFileError(f"tensor {path!r}: {problem}", path=self.where) from None
        if found is not None:
            if not self.groups or self.groups[-1][1] != frame.path:
                self.groups.append((len(self.table), frame.path))
            self._add(found, path, mark, node)
            return
        name = node.function.path if type(node.function) is Global else "?"
        if name == "torch.storage._load_from_bytes" and self.open_nested and node.args and type(node.args[0]) is bytes:
            inner = self.open_nested(node.args[0])
            self._alive.append(inner)
            if type(inner) is StorageRef:
                self.bare_storages += 1
            else:
                self._container(frames, mapping([("", inner)]), path, key, sink)
            return
        value = _simple_value(node, name)
        if value is not None:
            self._keep(sink, key, value)
        elif not self._met_before(node, path):
            child = None if self._module_state(node) is not None or name.startswith("__torch__") else self._child_sink(sink, key)
            if child is not None and not node.state and not node.entries and not node.items:
                self._keep(child, "class", name)
            self._enter(frames, node, path, child)

    def _add(self, found: Found, path: str, mark: str | None, node: Any) -> None:
        table = self.table
        if len(table.names) >= self.limits.tensors:
            raise LimitError("tensors", self.limits.tensors, f"more than {self.limits.tensors:,}", path=self.where)
        main = found.main
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
        attributes = {_key(key): _plain(value) for key, value in state.pairs if type(value) in _SCALARS and type(key) is str}
        cls = node.function.path if type(node.function) is Global else None
        if type(node.function) is Global and node.args and type(node.args[0]) is Global:
            cls = node.args[0].path  # copyreg._reconstructor(cls, object, None)
        self.modules[path] = ModuleRecord(cls, attributes)
        for member, mark in (("_parameters", PARAMETER), ("_buffers", BUFFER), ("_modules", None)):
            listed = state.get(member)
            for key, value in listed.pairs if type(listed) is Mapping else ():
                if value is not None:
                    yield _key(key), value, mark
        for key, value in state.pairs:
            if type(key) is str and key not in MODULE_MEMBERS and type(value) in (Mapping, list, tuple, Call) and id(value) not in self._listed:
                fresh = self._unlisted(value)
                if fresh is not None:
                    yield key, fresh, None

    def _unlisted(self, value: Any) -> Any:
        """A module's further attribute without tensors that have a row already (an LSTM's _flat_weights), or None if nothing is left."""
        if type(value) is list or type(value) is tuple:
            left = [item for item in value if type(item) is Call and id(item) not in self._listed]
            return left or None
        if type(value) is Mapping:
            left_pairs = [(key, item) for key, item in value.pairs if type(item) is Call and id(item) not in self._listed]
            return mapping(left_pairs) if left_pairs else None
        return value if type(value) is Call and id(value) not in self._listed and value.state is not None else None

    # Metadata ---------------------------------------------------------------------------------------------------------

    def _child_sink(self, sink: Any, key: str) -> Any:
        if sink is None or self._kept >= self.limits.metadata_items or len(self._open) > DEEPEST_METADATA:
            return None
        child: dict[str, Any] = {}
        sink[key] = child
        return child

    def _keep(self, sink: Any, key: str, value: Any) -> None:
        if sink is None:
            return
        self._kept += len(value) if type(value) is list else 1
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


def mapping(pairs: list[tuple[Any, Any]]) -> Mapping:
    """A Mapping that no pickle made."""
    made = Mapping()
    made.pairs = pairs
    return made


def pruned(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata without the empty shells that dictionaries of tensors leave behind."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        inner = pruned(value) if type(value) is dict else value
        if inner != {}:
            kept[key] = inner
    return kept


_SCALARS = (str, int, float, bool, type(None), bytes)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _key(key: Any) -> str:
    """A dictionary key as part of a name. Keys that are objects or nested are only said to be there."""
    if type(key) is str:
        return key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + "…"
    if type(key) in (int, float, bool, type(None)):
        return str(key)
    if type(key) is bytes:
        return key[:LONGEST_KEY].decode("utf-8", "replace")
    if type(key) is tuple and all(type(part) in _SCALARS for part in key):
        return "(" + ", ".join(_key(part) for part in key[:8]) + ")"
    return f"<{type(key).__name__} key>" if type(key) is not Global else key.path


def _last_wins(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The pairs that a dictionary would hold in the end: of equal keys the first place and the last value."""
    keys = [key if type(key) is str else None for key, _ in pairs]
    if len(set(keys)) == len(keys) or None in keys:
        return pairs
    merged = dict(pairs)
    return list(merged.items())


def _items(node: Any) -> list[Any]:
    return node.items if type(node) is SetOf else list(node)


def _is_plain_sequence(node: Any) -> bool:
    """A list of numbers or words: one metadata value, not a container to walk."""
    return all(type(item) in _SCALARS for item in _items(node))


def _object_entries(node: Call) -> list[tuple[str, Any, str | None]]:
    """What an object of unknown class holds: attributes, dictionary entries, list items, and arguments that are not plain."""
    entries: list[tuple[str, Any, str | None]] = []
    state = node.state
    if type(state) is tuple and len(state) == 2 and all(type(half) is Mapping or half is None for half in state):
        halves = [half for half in state if half is not None]  # (__dict__, __slots__)
    else:
        halves = [state] if type(state) is Mapping else []
        if state is not None and not halves:
            entries.append(("state", state, None))
    for half in halves:
        entries += [(_key(key), value, None) for key, value in _last_wins(half.pairs)]
    entries += [(_key(key), value, None) for key, value in node.entries or ()]
    entries += [(str(index), value, None) for index, value in enumerate(node.items or ())]
    entries += [(f"argument {index}", value, None) for index, value in enumerate(node.args) if type(value) not in (*_SCALARS, Global, tuple) or (type(value) is tuple and value and not _is_plain_sequence(value))]
    return entries


def _plain(node: Any) -> Any:
    """A plain value for the metadata."""
    if type(node) is str:
        return node if len(node) <= LONGEST_TEXT else node[:LONGEST_TEXT] + "…"
    if type(node) is bytes:
        return f"<{len(node):,} bytes>"
    if type(node) is Global:
        return node.path
    return node if type(node) in _SCALARS else f"<{type(node).__name__}>"


_NUMPY_FORMATS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?"}  # fmt: skip
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def _simple_value(node: Call, name: str) -> Any:
    """The value of calls that stand for something plain: torch.device, torch.Size, a path, bytes, a numpy number."""
    args = node.args
    if name in ("torch.device", "torch.Size") and _is_plain_sequence(args):
        return name.removeprefix("torch.") + "(" + ", ".join(map(str, args)) + ")"
    if name == "torch.Size" and len(args) == 1 and type(args[0]) in (tuple, list) and _is_plain_sequence(args[0]):
        return list(args[0])
    if name == "_codecs.encode" and args and type(args[0]) is str:
        return f"<{len(args[0]):,} bytes>"
    if name.startswith("pathlib.") and name.rpartition(".")[2] in _PATHS and all(type(part) is str for part in args):
        return "/".join(args).replace("//", "/")
    if name.endswith("multiarray.scalar") and len(args) == 2:
        return _numpy_number(args[0], args[1])
    if name.endswith("multiarray._reconstruct"):
        return _numpy_array(node.state)
    if name in ("builtins.bytearray", "__builtin__.bytearray"):
        return "<bytearray>"
    if name in ("builtins.complex", "__builtin__.complex", "builtins.slice", "datetime.timedelta") and _is_plain_sequence(args):
        return name.rpartition(".")[2] + "(" + ", ".join(map(str, args)) + ")"
    if not node.state and not node.entries and not node.items and args and len(args) == 1 and type(args[0]) in (str, int) and name != "?":
        return f"{name}({args[0]!r})"[:LONGEST_KEY]  # an enum member, a wrapped string
    return None


def _dtype_code(dtype: Any) -> str | None:
    return dtype.args[0] if type(dtype) is Call and dtype.args and type(dtype.args[0]) is str else None


def _raw(value: Any) -> bytes | None:
    """Bytes, also as protocol 2 writes them: _codecs.encode(text, 'latin1')."""
    if type(value) is Call and value.args and type(value.args[0]) is str:
        return value.args[0].encode("latin-1", "replace")
    return value if type(value) is bytes else None


def _numpy_number(dtype: Any, raw: Any) -> Any:
    code, data = _dtype_code(dtype), _raw(raw)
    layout = _NUMPY_FORMATS.get(code or "")
    if layout is None or data is None or len(data) != struct.calcsize("<" + layout):
        return "<numpy number>"
    return struct.unpack("<" + layout, data)[0]


def _numpy_array(state: Any) -> str:
    if type(state) is not tuple or len(state) < 3 or type(state[1]) is not tuple:
        return "<numpy array>"
    shape = "×".join(str(n) for n in state[1] if type(n) is int)
    return f"<numpy array {_dtype_code(state[2]) or ''} {shape}>".replace("  ", " ")

