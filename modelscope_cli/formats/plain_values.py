"""Plain values out of pickled objects: what becomes metadata, and how keys become names.

Numbers, text and lists stay as they are; a device, a path, a numpy number are written as a person would; everything else is
only said to be there.
"""

from __future__ import annotations

import struct
from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global, SetOf

LONGEST_TEXT = 1 << 16  # characters kept of a string in the metadata
MOST_SHORT = 64  # items of a list that is shown as one value
LONGEST_ATTRIBUTE = 200  # characters kept of an attribute of a module, and of its name
LONGEST_KEY = 4_096  # characters kept of a key in a tensor's name
SCALARS = (str, int, float, bool, type(None), bytes)
_NUMPY_FORMATS = {
    "f8": "d",
    "f4": "f",
    "f2": "e",
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u8": "Q",
    "u4": "I",
    "u2": "H",
    "u1": "B",
    "b1": "?",
}
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


class Plain:
    """Makes plain values and keys of one file. A long text is cut once: a file may refer to it a million times."""

    def __init__(self) -> None:
        self._cut: dict[tuple[int, int], str] = {}
        self._alive: list[str] = []  # texts that were cut, so that their ids stay unique

    def value(self, node: Any, longest: int = LONGEST_TEXT) -> Any:
        """A plain value for the metadata."""
        if type(node) is str:
            return node if len(node) <= longest else self._shortened(node, longest)
        if type(node) is bytes:
            return f"<{len(node):,} bytes>"
        if type(node) is Global:
            return node.path
        return node if type(node) in SCALARS else f"<{type(node).__name__}>"

    def key(self, key: Any, longest: int = LONGEST_KEY) -> str:
        """A dictionary key as part of a name. Keys that are objects or nested are only said to be there."""
        if type(key) is str:
            return key if len(key) <= longest else self._shortened(key, longest)
        if type(key) in (int, float, bool, type(None)):
            return str(key)
        if type(key) is bytes:
            return key[:LONGEST_KEY].decode("utf-8", "replace")
        if type(key) is tuple and len(key) > MOST_SHORT:
            return f"<tuple of {len(key):,}>"
        if type(key) is tuple and all(type(part) in SCALARS for part in key):
            return "(" + ", ".join([self.key(part) for part in key[:8]])[:LONGEST_KEY] + ")"
        return f"<{type(key).__name__} key>" if type(key) is not Global else key.path

    def attributes(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        """Plain values that a module has as attributes."""
        return {self.key(key, LONGEST_ATTRIBUTE): self.value(value, LONGEST_ATTRIBUTE) for key, value in pairs}

    def _shortened(self, text: str, longest: int) -> str:
        known = self._cut.get((id(text), longest))
        if known is None:
            known = self._cut[id(text), longest] = text[:longest] + "…"
            self._alive.append(text)
        return known


def items_of(node: Any) -> list[Any]:
    return node.items if type(node) is SetOf else list(node)


def is_plain_sequence(node: Any) -> bool:
    """A short list of numbers or words: one metadata value, not a container to walk."""
    items = node.items if type(node) is SetOf else node
    return len(items) <= MOST_SHORT and all([type(item) in SCALARS for item in items])


def simple_value(node: Call, name: str) -> Any:
    """The value of calls that stand for something plain: torch.device, torch.Size, a path, bytes, a numpy number."""
    args = node.args
    if type(args) is not tuple or len(args) > MOST_SHORT or sum([len(arg) for arg in args if type(arg) is str]) > LONGEST_KEY:
        return None  # whatever it is, nobody reads it, and a file may refer to it a million times
    if name in ("torch.device", "torch.Size") and is_plain_sequence(args):
        return name.removeprefix("torch.") + "(" + ", ".join(map(str, args)) + ")"
    if name == "torch.Size" and len(args) == 1 and type(args[0]) in (tuple, list) and is_plain_sequence(args[0]):
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
    if name in ("builtins.complex", "__builtin__.complex", "builtins.slice", "datetime.timedelta") and is_plain_sequence(args):
        return name.rpartition(".")[2] + "(" + ", ".join(map(str, args)) + ")"
    if (
        not node.state
        and not node.entries
        and not node.items
        and args
        and len(args) == 1
        and type(args[0]) in (str, int)
        and name != "?"
    ):
        return f"{name}({args[0]!r})"[:LONGEST_KEY]  # an enum member, a wrapped string
    return None


def _dtype_code(dtype: Any) -> str | None:
    return dtype.args[0] if type(dtype) is Call and dtype.args and type(dtype.args[0]) is str else None


def _numpy_number(dtype: Any, raw: Any) -> Any:
    layout = _NUMPY_FORMATS.get(_dtype_code(dtype) or "")
    data = _bytes_of(raw, struct.calcsize("<" + layout)) if layout is not None else None
    return "<numpy number>" if layout is None or data is None else struct.unpack("<" + layout, data)[0]


def _bytes_of(raw: Any, size: int) -> bytes | None:
    """So many bytes, also as protocol 2 writes them: _codecs.encode(text, 'latin1')."""
    text = raw.args[0] if type(raw) is Call and raw.args else None
    if type(text) is str and len(text) == size and max(text) <= "\xff":
        return text.encode("latin-1")
    return raw if type(raw) is bytes and len(raw) == size else None


def _numpy_array(state: Any) -> str:
    if type(state) is not tuple or len(state) < 3 or type(state[1]) is not tuple:
        return "<numpy array>"
    shape = "×".join(str(n) for n in state[1] if type(n) is int)
    return f"<numpy array {_dtype_code(state[2]) or ''} {shape}>".replace("  ", " ")


def pruned(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata without the empty shells that dictionaries of tensors leave behind."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        inner = pruned(value) if type(value) is dict else value
        if inner != {}:
            kept[key] = inner
    return kept
