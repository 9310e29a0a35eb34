"""A small pickle assembler: a function per instruction, and `value` for whole objects.

>>> pickled({"a": [1, 2], "f": call("os.system", "true")})
"""

from __future__ import annotations

import struct
from typing import Any

MARK, STOP, NONE, TRUE, FALSE = b"(", b".", b"N", b"\x88", b"\x89"
EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET = b"}", b"]", b")", b"\x8f"
REDUCE, BUILD, NEWOBJ, NEWOBJ_EX, OBJ, STACK_GLOBAL, BINPERSID = b"R", b"b", b"\x81", b"\x92", b"o", b"\x93", b"Q"
TUPLE, TUPLE1, TUPLE2, TUPLE3, LIST, DICT, FROZENSET = b"t", b"\x85", b"\x86", b"\x87", b"l", b"d", b"\x91"
APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS = b"a", b"e", b"s", b"u", b"\x90"
POP, POP_MARK, DUP, MEMOIZE = b"0", b"1", b"2", b"\x94"


class Code(bytes):
    """Instructions that leave one object on the stack; `value` passes them on as they are."""


def proto(version: int = 2) -> bytes:
    return b"\x80" + bytes([version])


def frame(length: int) -> bytes:
    return b"\x95" + struct.pack("<Q", length)


def put(index: int) -> bytes:
    """Remember the top of the stack."""
    return b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index)


def get(index: int) -> Code:
    """What was remembered."""
    return Code(b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index))


def text(string: str) -> Code:
    raw = string.encode("utf-8", "surrogatepass")
    return Code(b"X" + struct.pack("<I", len(raw)) + raw)


def number(n: int) -> Code:
    if 0 <= n < 256:
        return Code(b"K" + bytes([n]))
    if 0 <= n < 65_536:
        return Code(b"M" + struct.pack("<H", n))
    if -(1 << 31) <= n < 1 << 31:
        return Code(b"J" + struct.pack("<i", n))
    size = n.bit_length() // 8 + 1
    return Code(b"\x8a" + bytes([size]) + n.to_bytes(size, "little", signed=True))


def data(raw: bytes) -> Code:
    return Code(b"B" + struct.pack("<I", len(raw)) + raw)


def name(path: str) -> Code:
    """GLOBAL of a dotted path: the last part is the name, the rest the module."""
    module, _, last = path.rpartition(".")
    return Code(f"c{module}\n{last}\n".encode())


def value(thing: Any) -> Code:
    """Plain data, or anything assembled inside it."""
    if isinstance(thing, Code):
        return thing
    if thing is None or thing is True or thing is False:
        return Code({None: NONE, True: TRUE, False: FALSE}[thing])
    if isinstance(thing, int):
        return number(thing)
    if isinstance(thing, float):
        return Code(b"G" + struct.pack(">d", thing))
    if isinstance(thing, str):
        return text(thing)
    if isinstance(thing, bytes):
        return data(thing)
    inner = b"".join(value(item) for item in thing)
    if isinstance(thing, tuple):
        return Code(MARK + inner + TUPLE)
    if isinstance(thing, list):
        return Code(EMPTY_LIST + MARK + inner + APPENDS)
    pairs = b"".join(value(key) + value(item) for key, item in thing.items())
    return Code(EMPTY_DICT + MARK + pairs + SETITEMS)


def call(function: str, *args: Any) -> Code:
    return Code(name(function) + value(args) + REDUCE)


def instance(cls: str, state: Any = None, *args: Any) -> Code:
    """An object as protocol 2 pickles it: cls.__new__(cls, *args), then its state."""
    made = Code(name(cls) + value(args) + NEWOBJ)
    return made if state is None else built(made, state)


def built(target: Code, state: Any) -> Code:
    return Code(target + value(state) + BUILD)


def persistent(pid: Any) -> Code:
    return Code(value(pid) + BINPERSID)


def remembered(index: int, thing: Any) -> Code:
    """The object, kept in the memo for `get(index)`."""
    return Code(value(thing) + put(index))


def laughs(levels: int, width: int, core: Any, *, opening: bytes = MARK, closing: bytes = TUPLE) -> Code:
    """`levels` containers, each holding `width` references to the one before: width ** levels objects in a few bytes."""
    code = value(core) + put(0)
    for level in range(levels):
        code += POP + opening + get(level) * width + closing + put(level + 1)
    return Code(code)


def pickled(thing: Any, version: int = 2) -> bytes:
    return proto(version) + value(thing) + STOP
