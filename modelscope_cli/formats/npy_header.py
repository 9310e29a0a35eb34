"""The header of NumPy's .npy, as far as it tells whether a pickle follows.

    "\\x93NUMPY" major minor | header length: 2 bytes (version 1) or 4 | {'descr': …, 'fortran_order': …, 'shape': …} | data

The header is a literal of Python. Only the literals that numpy writes are taken: texts without escapes, whole numbers, tuples and
lists. Whatever else Python would read there (texts side by side, prefixes, escapes) is not taken, and what is not taken may say
anything. Facts: numpy/lib/_format_impl.py (descr_to_dtype, _read_array_header).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 1 << 20
DEEPEST = 32  # structured types in one another
MOST_DIMENSIONS = 64
KEYS = {"descr", "fortran_order", "shape"}
_TOKEN = re.compile(r"[ \n]*(?:'([^'\\\n]*)'|\"([^\"\\\n]*)\"|(\d{1,20})L?(?!\w)|(True|False)(?!\w)|([][(){},:]))")
# A kind without objects: a letter with its width, the letter of a C type, or a date with its unit.
_PLAIN = re.compile(r"[<>|=]?(?:[?bBhHiIlLqQpPefdgFDG]|[biufcSUVa]\d{1,18}|[SUVa]|[mM]8?(?:\[\w{1,30}(?:/\d{1,9})?\])?)")
_WIDTH = re.compile(r"[<>|=]?[biufcSVa](\d{1,18})|[<>|=]?(U)(\d{1,18})")
_ENDS = {"(": ")", "[": "]", "{": "}"}


class Header(NamedTuple):
    """What a header says. `start` is where the data begins; `descr` and `shape` are None where the header is not taken."""

    start: int
    descr: Any
    shape: tuple[int, ...] | None

    @property
    def is_plain(self) -> bool:
        """Whether it is an array of numbers or texts; False also for a header that is not taken."""
        return self.shape is not None and is_plain(self.descr)

    @property
    def nbytes(self) -> int | None:
        """The length of the data in bytes, at least; None for a structured type."""
        match = _WIDTH.fullmatch(self.descr) if isinstance(self.descr, str) else None
        if match is None or self.shape is None:
            return None
        total = int(match[1]) if match[1] else 4 * int(match[3])
        for extent in self.shape:
            total *= extent
        return total


def read_header(read: Callable[[int, int], bytes], size: int) -> Header:
    """The header of an array of `size` bytes, of which `read(start, length)` gives as many as there are."""
    head = read(0, min(size, 12))
    wide = len(head) > 6 and head[6] >= 2
    begin = 12 if wide else 10
    length = int.from_bytes(head[8:begin], "little")
    start = begin + length
    if len(head) < begin or head[6] not in (1, 2, 3) or length > LONGEST_HEADER or start > size:
        return Header(min(start, size), None, None)
    raw = read(begin, length)
    try:
        document = literal(raw.decode("utf-8" if head[6] == 3 else "latin-1"))
    except ValueError:
        return Header(start, None, None)
    shape = document.get("shape") if isinstance(document, dict) and document.keys() == KEYS else None
    if not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS or not all(type(extent) is int for extent in shape):
        return Header(start, None, None)
    return Header(start, document["descr"], shape)


def literal(text: str) -> Any:
    """The value of a literal; raises ValueError for one that numpy does not write."""
    text = text.rstrip(" \n")
    stack: list[tuple[str, list[Any]]] = [("", [])]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"at character {position}")
        position = match.end()
        single, double, number, truth, sign = match.groups()
        opened, items = stack[-1]
        if sign is None:
            items.append(
                single if single is not None else double if double is not None else int(number) if number else truth == "True"
            )
        elif sign in _ENDS:
            if len(stack) > DEEPEST:
                raise ValueError("nested too deeply")
            stack.append((sign, []))
            continue
        elif sign in ")]}":
            if len(stack) == 1 or _ENDS[opened] != sign:
                raise ValueError("brackets that do not match")
            stack.pop()
            stack[-1][1].append(_closed(opened, items))
        else:
            items.append(_Sign(sign))
    if len(stack) != 1 or len(stack[0][1]) != 1:
        raise ValueError("not one value")
    return stack[0][1][0]


class _Sign(str):
    """A comma or a colon."""


def _closed(opened: str, items: list[Any]) -> Any:
    """The value of what stands between two brackets."""
    if opened == "{":
        if items and items[-1] == "," and isinstance(items[-1], _Sign):
            items = items[:-1]
        return _dictionary(items)
    values, commas = items[::2], items[1::2]
    if any(isinstance(value, _Sign) for value in values) or not all(
        isinstance(comma, _Sign) and comma == "," for comma in commas
    ):
        raise ValueError("values that no comma parts")
    if opened == "[":
        return values
    return values[0] if len(values) == 1 and not commas else tuple(values)


def _dictionary(items: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at in range(0, len(items), 4):
        key, *rest = items[at : at + 4]
        if len(rest) < 2 or type(key) is not str or rest[0] != ":" or isinstance(rest[1], _Sign) or key in found:
            raise ValueError("a dictionary that numpy does not write")
        if not isinstance(rest[0], _Sign) or (len(rest) > 2 and not (isinstance(rest[2], _Sign) and rest[2] == ",")):
            raise ValueError("a dictionary that numpy does not write")
        found[key] = rest[1]
    return found


def is_plain(descr: Any) -> bool:
    """Whether a type has no objects in it: a text, a (type, shape), or a list of fields (name, type[, shape]).

    numpy takes other things in the place of a shape, such as a second type or fields to look at the same bytes by; it writes none.
    """
    if isinstance(descr, str):
        return _PLAIN.fullmatch(descr) is not None
    if isinstance(descr, tuple):
        return len(descr) == 2 and is_plain(descr[0]) and _is_shape(descr[1])
    if isinstance(descr, list):
        return all(
            isinstance(field, tuple)
            and len(field) in (2, 3)
            and _is_title(field[0])
            and is_plain(field[1])
            and all(map(_is_shape, field[2:]))
            for field in descr
        )
    return False


def _is_shape(part: Any) -> bool:
    return type(part) is int or (isinstance(part, tuple) and all(type(extent) is int for extent in part))


def _is_title(part: Any) -> bool:
    """The name of a field, or a title and a name."""
    return isinstance(part, str) or (isinstance(part, tuple) and len(part) == 2 and all(isinstance(each, str) for each in part))


def may_hold_objects(descr: Any) -> bool:
    """Whether a type that is not plain speaks of objects."""
    if isinstance(descr, str):
        return "O" in descr or "object" in descr
    parts = tuple(descr.values()) if isinstance(descr, dict) else descr
    return isinstance(parts, tuple | list) and any(may_hold_objects(part) for part in parts)
