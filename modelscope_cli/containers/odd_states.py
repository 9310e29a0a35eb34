"""States that lead numpy or torch to memory of the file's choice: forged element types, attributes that name an address.

    numpy.dtype                 a state that hides objects among the fields, or lays fields outside of the element: bytes of the file
                                are then taken for pointers
    any object                  attributes such as __array_interface__, by which numpy asks an object where in memory its data lies
    numpy.ma                    a fill value that is no plain number or text: numpy asks it for its data
    torch.ScriptObject          a state that names a class of torch's native core, which then reads the rest

Sources: numpy/_core/src/multiarray/descriptor.c (arraydescr_setstate, which checks little of this), ctors.c
(PyArray_FromInterface), numpy/ma/core.py, torch/csrc/jit/python/script_init.cpp.
"""

from __future__ import annotations

import re
from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping

FORGED, ADDRESS, NATIVE = "forged-dtype", "array-address", "native-state"
KINDS = frozenset({FORGED, ADDRESS, NATIVE})
PROTOCOLS = frozenset({
    "__array_interface__", "__array_struct__", "__array__", "__array_wrap__", "__array_prepare__", "__array_finalize__",
    "__array_ufunc__", "__array_function__", "__buffer__", "__dlpack__", "__torch_function__", "__torch_dispatch__",
    "__cuda_array_interface__",
})  # fmt: skip
DTYPE, SCRIPT = ("numpy", "dtype"), ("torch", "ScriptObject")
MASKED = frozenset((module, name) for module in ("numpy.ma.core", "numpy.ma") for name in ("_mareconstruct", "MaskedArray"))
VALUES = frozenset(
    (f"numpy.{core}.{leaf}", name)
    for core in ("core", "_core")
    for leaf, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
)
PACKED = re.compile(r"__torch__\.torch\.classes\.(?:quantized|rnn|sparse|xnnpack)\.[A-Za-z0-9_]+")  # weights of layers
DETOURS = frozenset(  # modules of functions that make objects of classes that they are given
    {"copyreg", "copy_reg", "torch._tensor", "torch.tensor", "torch._utils", "numpy.random._pickle", "numpy.ma.core"}
    | {f"numpy.{core}.{leaf}" for core in ("core", "_core") for leaf in ("multiarray", "numeric")}
)
OBJECTS = 1  # the flag NPY_ITEM_HASOBJECT
STATE = (8, 9)  # items: version, byte order, base, names, fields, size, alignment, flags, and metadata
MOST_PARTS = 300_000  # fields of element types that are looked at
DEEPEST = 64
CODE = re.compile(r"([a-zA-Z?])([0-9]{0,9})")
BEYOND = "has more fields than any element type of an array"
DETOUR = "is made and given a state in a way that numpy does not"
HIDES = "hides that its elements hold objects, so that bytes of the file are taken for pointers"
OUTSIDE = "lays a field outside of its elements, so that memory next to them is taken for data"
AGAIN = "is changed after it was made, or after it was made part of another one"


def odd_state(target: Any, state: Any, dtypes: Dtypes, *, anew: bool = True) -> tuple[str, str] | None:
    """(kind, what it does) of a state that no honest file gives to `target`, or None.

    `anew` says that this is about to happen: `target.state` is what it had before, and an element type that has one is changed.
    """
    owner = target.function if type(target) is Call else None
    if type(owner) is not Global:
        return None
    name = (owner.module, owner.name)
    if owner.module in DETOURS and type(target.args) is tuple:
        for arg in target.args[:8]:
            if is_dtype(arg):
                return FORGED, DETOUR
            if type(arg) is Global and (arg.module, arg.name) == SCRIPT:
                return NATIVE, "it makes an object of torch's native core in a way that torch does not"
    if owner.module == "numpy.dtypes":
        return FORGED, DETOUR
    if name == DTYPE:
        said = AGAIN if anew and target.state is not None else dtypes.wrong(target.args, state)
        return (FORGED, said) if said else None
    if name in MASKED and type(state) is tuple and len(state) == 7 and not _is_value(state[6]):
        return ADDRESS, "it has a fill value that is an object, which numpy asks where in memory its data lies"
    if name == SCRIPT:
        named = state[1] if type(state) is tuple and len(state) == 2 else None
        if type(named) is not str or not PACKED.fullmatch(named):
            return NATIVE, "it makes an object of torch's native core, of a class that does not hold the weights of layers"
    return None


def is_dtype(node: Any) -> bool:
    """Whether a node is numpy.dtype, or the class of one kind of them."""
    return type(node) is Global and ((node.module, node.name) == DTYPE or node.module == "numpy.dtypes")


def may_become_odd(target: Any, state: Any) -> bool:
    """Whether a state can still be changed after it was given: the fields of an element type are a dictionary."""
    owner = target.function if type(target) is Call else None
    has_fields = type(owner) is Global and (owner.module, owner.name) == DTYPE and type(state) is tuple and len(state) > 4
    return has_fields and state[4] is not None


def _is_value(node: Any) -> bool:
    """Whether a fill value is plain, or an array or scalar of numpy."""
    if type(node) is Call:
        return type(node.function) is Global and (node.function.module, node.function.name) in VALUES
    return node is None or type(node) in (int, float, complex, bool, str, bytes)


Told = tuple[
    int | None, bool | None, str
]  # bytes of an element, whether it holds objects (None: cannot be told), what is wrong


class Dtypes:
    """Looks at the states of element types, at `left` fields in all."""

    def __init__(self) -> None:
        self.seen: dict[int, Told] = {}
        self.left = MOST_PARTS

    def wrong(self, args: Any, state: Any) -> str:
        """What is wrong with the state of a numpy.dtype; "" where it is one that numpy writes, or that numpy refuses."""
        self.seen.clear()  # they may have been changed since
        return self._told(args, state, 0)[2]

    def _of(self, node: Any, depth: int) -> Told:
        found = self.seen.get(id(node))
        if found is not None:
            return found
        if type(node) is not Call or type(node.function) is not Global or (node.function.module, node.function.name) != DTYPE:
            return None, None, ""
        if depth > DEEPEST:
            return None, None, BEYOND
        self.seen[id(node)] = None, None, AGAIN  # one that holds itself
        found = self.seen[id(node)] = self._told(node.args, node.state, depth)
        return found

    def _told(self, args: Any, state: Any, depth: int) -> Told:
        letter, size = _kind(args[0] if type(args) is tuple and args else None)
        if state is None:
            return size, letter == "O", AGAIN if depth else ""  # numpy gives each of them a state, which would come later
        if type(state) is not tuple or len(state) not in STATE or type(state[7]) is not int:
            return size, None, ""  # numpy refuses it
        flagged, base, fields = bool(state[7] & OBJECTS), state[2], state[4]
        if letter in "SUVa" and type(state[5]) is int and state[5] >= 0:
            size = state[5]
        held, said = self._parts(base, fields, size, depth) if base is not None or fields is not None else (False, "")
        held = True if letter == "O" else None if letter == "" and not held else held
        return size, flagged, said or ("" if held == flagged else HIDES)

    def _parts(self, base: Any, fields: Any, size: int | None, depth: int) -> tuple[bool | None, str]:
        """Whether one of the parts holds objects, and what is wrong with any of them."""
        parts: list[tuple[Any, Any, Any]] = []
        if base is not None:
            parts.append((base[0], 0, base[1]) if type(base) is tuple and len(base) == 2 else (base, 0, ()))
        pairs = fields.pairs if type(fields) is Mapping else []
        self.left -= len(pairs) + 1
        if self.left < 0:
            return None, BEYOND
        parts += [(value[0], value[1], ()) if type(value) is tuple and len(value) > 1 else (None, 0, ()) for _, value in pairs]
        held: bool | None = False
        said = ""
        for part, offset, shape in parts:
            width, objects, wrong = self._of(part, depth + 1)
            said = said or wrong
            held = True if held or objects else None if held is None or objects is None else False
            for extent in (shape if type(shape) is tuple else (shape,))[:DEEPEST]:
                width = width * extent if type(extent) is int and width is not None else None
            outside = size is not None and width is not None and type(offset) is int and not 0 <= offset <= size - width
            said = said or (OUTSIDE if outside else "")
        return held, said


def _kind(code: Any) -> tuple[str, int | None]:
    """The letter and size of what an element type is made from; "" where it cannot be told."""
    if type(code) is Global:
        if code.name in ("record", "void"):
            return "V", None
        return ("?" if code.module.partition(".")[0] in ("numpy", "ml_dtypes") and code.name != "object_" else "O"), None
    if type(code) is bytes:  # as Python 2 wrote it
        code = code.decode("latin-1")
    match = CODE.fullmatch(code) if type(code) is str else None
    if match is None:
        return "", None
    size = int(match[2] or 0)
    return match[1], 8 if match[1] == "O" and not size else size
