"""How many bytes of an array joblib reads behind the BUILD of its wrapper, from the wrapper's attributes alone.

    joblib.numpy_pickle.NumpyArrayWrapper   subclass, shape, order, dtype, allow_mmap, numpy_array_alignment_bytes
    behind it    [one byte: how much padding][padding][elements]     the first two where the alignment is set (joblib 1.2)
             or  [another pickle]                                    where the dtype holds objects

Sources: joblib/numpy_pickle.py (read_array), numpy/_core/src/multiarray/descriptor.c (arraydescr_setstate). What joblib itself
writes is understood exactly; everything else that it would also take is doubtful: what it reads then has to be guessed.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping

MODULES = ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
WRAPPER = "NumpyArrayWrapper"
ALIGNMENT = "numpy_array_alignment_bytes"
ARGUMENTS = ("subclass", "shape", "order", "dtype", "allow_mmap", ALIGNMENT)
MAKERS = {("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("copyreg", "__newobj__"), ("copy_reg", "__newobj__")}
MOST_DIMENSIONS = 64  # of numpy
LARGEST = 1 << 62
DEEPEST_DTYPE = 8
MOST_FIELDS = 10_000  # of a dtype and of those in it, each of them counted once
MOST_FIELDS_IN_ALL = 400_000  # of the dtypes of all the arrays of a pickle
SIMPLE = re.compile(r"b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[mM]8")
SIZED = re.compile(r"[SUV][0-9]{1,9}")
OBJECTS = 1  # the flag NPY_ITEM_HASOBJECT
STATE = (8, 9)  # items of a dtype's state: version, byte order, base, names, fields, size, alignment, flags, and metadata


class Behind(NamedTuple):
    """What follows a wrapper: a pickle (`objects`), or `nbytes` of elements, after a padding where `padded`.

    `doubt` says why joblib may read something else; `nbytes` is None where its guess is anybody's.
    """

    nbytes: int | None
    padded: bool
    objects: bool
    doubt: str = ""


class Fields:
    """What may still be looked at of the fields of dtypes: a few bytes can name the same field any number of times."""

    def __init__(self) -> None:
        self.left_in_all = MOST_FIELDS_IN_ALL
        self.begin()

    def begin(self) -> None:
        """Another dtype; of the one before nothing is remembered, as its parts may have been given another state."""
        self.left = min(MOST_FIELDS, self.left_in_all)
        self.seen: dict[tuple[int, int], tuple[int | None, bool, str]] = {}

    def take(self, number: int) -> bool:
        """Whether so many may be looked at."""
        self.left -= number
        self.left_in_all -= number
        return self.left >= 0


def wraps(node: Any) -> bool | None:
    """Whether a node is a wrapper, however it was made; None where it may be one."""
    if type(node) is not Call:
        return False
    made_by = node.function
    if type(made_by) is not Global:
        return None if type(made_by) is Call else False
    if made_by.name.rpartition(".")[2] == WRAPPER:
        return True if made_by.module in MODULES and made_by.name == WRAPPER else None
    args = node.args if type(node.args) is tuple else ()
    if not any([type(arg) is Global and arg.name.rpartition(".")[2] == WRAPPER for arg in args[:8]]):
        return False
    first = args[0]
    known = (made_by.module, made_by.name) in MAKERS and type(first) is Global and first.module in MODULES
    return True if known and first.name == WRAPPER else None


def attributes(node: Call, earlier: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a wrapper after a BUILD: those it had, those that the state sets."""
    found = dict(earlier)
    state = node.state
    for part in state if type(state) is tuple and len(state) == 2 else (state,):
        if type(part) is Mapping:
            found.update([(key, value) for key, value in part.pairs[:1_000] if type(key) is str])
    return found


def behind(values: dict[str, Any], allowed: Fields | None = None) -> Behind:
    """What joblib reads behind a wrapper with these attributes."""
    doubts = []
    allowed = allowed or Fields()
    allowed.begin()
    itemsize, objects, doubt = _dtype(values.get("dtype"), 0, allowed)
    doubts.append(doubt)
    alignment = values.get(ALIGNMENT)
    if type(alignment) not in (int, type(None)):
        doubts.append("its alignment is no number")
    count, doubt = _count(values.get("shape"))
    doubts.append(doubt)
    nbytes = None if count is None or itemsize is None else count * itemsize
    return Behind(nbytes, alignment is not None, objects, next(filter(None, doubts), ""))


def _count(shape: Any) -> tuple[int | None, str]:
    """The product of the extents as numpy reckons it, in 64 bits."""
    if type(shape) not in (tuple, list):
        return None, "its shape is no tuple"
    if len(shape) > MOST_DIMENSIONS:
        return None, "no array has so many dimensions"
    count, wrapped = 1, False
    for extent in shape:
        if type(extent) is not int or not -LARGEST < extent < LARGEST:
            return None, "its shape is not made of numbers"
        wrapped |= count * extent >= 1 << 48
        count = count * extent & 0xFFFFFFFFFFFFFFFF
    odd = "its shape is no tuple" if type(shape) is list else "no array has such a shape"
    fits = all([extent >= 0 for extent in shape]) and not wrapped
    return count if count < 1 << 63 else None, "" if fits and type(shape) is tuple else odd


def _dtype(node: Any, depth: int, allowed: Fields) -> tuple[int | None, bool, str]:
    """The same as `_read_dtype`, each dtype looked at once at each depth."""
    key = (id(node), depth)
    if key not in allowed.seen:
        allowed.seen[key] = _read_dtype(node, depth, allowed)
    return allowed.seen[key]


def _read_dtype(node: Any, depth: int, allowed: Fields) -> tuple[int | None, bool, str]:
    """Bytes of an element, whether it holds objects, and what is odd about the dtype."""
    unknown = "its dtype is none that numpy writes"
    if type(node) is not Call or type(node.function) is not Global or depth > DEEPEST_DTYPE:
        return None, False, unknown
    args, state = node.args, node.state
    if (node.function.module, node.function.name) != ("numpy", "dtype") or type(args) is not tuple or not args:
        return None, False, unknown
    code = args[0]
    if type(code) is not str or node.entries or node.items or len(args) > 3:
        return None, False, unknown
    if state is not None and (type(state) is not tuple or len(state) not in STATE or type(state[7]) is not int):
        return None, False, unknown
    base, fields = (state[2], state[4]) if state is not None else (None, None)
    size = int(code[1:]) if code[1:].isascii() and code[1:].isdecimal() and len(code) < 12 else 0
    flagged = bool(state[7] & OBJECTS) if state is not None else code[:1] == "O"
    if code in ("O8", "O4", "O"):
        return (
            size or 8,
            flagged,
            "" if flagged and base is None and fields is None else "its dtype hides that it holds objects",
        )
    if SIZED.fullmatch(code):
        if state is not None and type(state[5]) is int and state[5] >= 0:
            size = state[5]
        held, doubt = _held(base, fields, depth, allowed)
        if held != flagged:
            doubt = "its dtype hides whether it holds objects"
        if (base is not None and not depth) or not size:
            doubt = doubt or unknown
        return size * (4 if code[0] == "U" and state is None else 1), flagged, doubt
    if SIMPLE.fullmatch(code):
        odd = flagged or base is not None or fields is not None
        return 1 if code == "b1" else size, flagged, unknown if odd else ""
    return None, flagged, unknown


def _held(base: Any, fields: Any, depth: int, allowed: Fields) -> tuple[bool, str]:
    """Whether what an element is made of holds objects, and what is odd about it."""
    parts = []
    if base is not None:
        parts.append(base[0] if type(base) is tuple and base else None)
    if type(fields) is Mapping and allowed.take(len(fields.pairs)):
        parts += [value[0] if type(value) is tuple and value else None for _, value in fields.pairs]
    elif fields is not None:
        parts.append(None)
    held, doubts = False, [""]
    for part in parts:
        _, objects, doubt = _dtype(part, depth + 1, allowed)
        held |= objects
        doubts.append(doubt)
    return held, next(filter(None, doubts), "")
