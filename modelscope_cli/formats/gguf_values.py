"""The key/value pairs of a GGUF file: hyperparameters, the tokenizer with its vocabulary, the chat template.

    key     length, bytes                    key/value pair:  [ key ][ type: uint32 ][ value ]
    string  length, bytes                    array:  [ type of the items: uint32 ][ count ][ items ]

Lengths and counts are 64 bits wide, in version 1 32 bits. A vocabulary is an array of 100,000 and more strings: it is walked
without making one of them, and kept as "128,256 strings, CRC-32 0f3c…", which is enough to see whether two files have the same.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct, error, pack
from typing import Any, NamedTuple

from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.gguf_types import ARRAY, FLOAT32, NUMBERS, STRING
from modelscope_cli.formats.problems import Problems

CHUNK = 1 << 20  # bytes read at a time
LONGEST_TEXT = 1 << 16  # bytes kept of a string
MOST_SHORT = 64  # items of an array that is kept as a list
MOST_TEXT = 16 << 20  # bytes kept of all strings together
ARRAY_COST = 64  # bytes that an array within an array counts for, because of the time it takes


class Cursor:
    """A place in a window from which one reads on, a chunk at a time. `order` is the struct module's sign for the byte order."""

    __slots__ = ("_buffer", "_start", "_summed", "kept", "limits", "number", "order", "position", "walked", "wide", "window")

    def __init__(self, window: Window, limits: Limits, order: str, position: int, *, wide: bool):
        self.window = window
        self.limits = limits
        self.order = order
        self.position = position
        self.wide = Struct(order + ("Q" if wide else "I"))  # a length or count
        self.number = Struct(order + "I")
        self.walked = 0  # bytes of arrays that were gone through item by item
        self.kept = 0  # bytes of strings that are held
        self._summed = 0
        self._buffer = b""
        self._start = position

    def _room(self, length: int, what: str) -> int:
        """The place in the buffer where the next `length` bytes lie; they are read when they are not there yet."""
        index = self.position - self._start
        if index < 0 or index + length > len(self._buffer):
            left = self.window.size - self.position
            self._buffer = self.window.read(self.position, length if length > left else min(left, max(length, CHUNK)), what)
            self._start = self.position
            index = 0
        return index

    def unpack(self, layout: Struct, what: str) -> tuple[Any, ...]:
        """The next numbers."""
        index = self._room(layout.size, what)
        self.position += layout.size
        return layout.unpack_from(self._buffer, index)

    def take(self, length: int, what: str) -> bytes:
        """The next bytes."""
        index = self._room(length, what)
        self.position += length
        return self._buffer[index : index + length]

    def skip(self, length: int, what: str) -> None:
        """Go on without looking. Raises CorruptFileError at the end of the file."""
        if length > self.window.size - self.position:
            self._room(length, what)
        self.position += length

    def text(self, what: str) -> str:
        """A short string. What is not UTF-8 is written as escapes, so that different bytes stay different."""
        (length,) = self.unpack(self.wide, f"length of {what}")
        return self.take(length, what).decode("utf-8", "backslashreplace")

    def walk_strings(self, count: int, what: str) -> None:
        """Go past so many strings, looking at nothing but their lengths."""
        width, length_at = self.wide.size, self.wide.unpack_from
        while count:
            index = begin = self._room(width, what)
            buffer = self._buffer
            done = 0
            try:
                for done in range(count):  # noqa: B007
                    index += width + length_at(buffer, index)[0]
                done += 1
            except (error, OverflowError, IndexError):  # the next length lies behind the buffer
                pass
            self.skip(index - begin, what)
            self.charge(index - begin)
            count -= done

    def charge(self, nbytes: int) -> None:
        """Count bytes that take time. Raises LimitError when they are too many."""
        self.walked += nbytes
        if self.walked > self.limits.array_bytes:
            raise LimitError("array_bytes", self.limits.array_bytes, self.walked, path=self.window.name, offset=self.position)

    def digest(self, start: int, stop: int) -> str:
        """A check sum of bytes already passed, in words; none where all together would be more than arrays may take."""
        self._summed += stop - start
        if self._summed > self.limits.array_bytes:
            return ""
        from zlib import crc32

        found = 0
        while start < stop:
            piece = self.window.read(start, min(CHUNK, stop - start))
            found = crc32(piece, found)
            start += len(piece)
        return f", CRC-32 {found:08x}"


class Pairs(NamedTuple):
    """`values` by key; `spans` are (start, stop, label) of the bytes they take; `left_out` counts values that are not kept."""

    values: dict[str, Any]
    spans: list[tuple[int, int, str]]
    left_out: int


def read_pairs(cursor: Cursor, count: int, problems: Problems) -> Pairs:
    """All key/value pairs. Raises CorruptFileError or LimitError; a key that stands twice is damage."""
    limits, path = cursor.limits, cursor.window.name
    if count > limits.keys:
        raise LimitError("keys", limits.keys, count, path=path)
    layouts = {number: (Struct(cursor.order + letter), name) for number, (letter, name) in NUMBERS.items()}
    values: dict[str, Any] = {}
    seen: set[str] = set()
    spans: list[tuple[int, int, str]] = []
    characters = 0
    for number in range(count):
        start = cursor.position
        what = f"key {number + 1:,} of {count:,}"
        key = cursor.text(what)
        characters += len(key)
        if characters > limits.name_characters:
            raise LimitError("name_characters", limits.name_characters, characters, path=path)
        (kind,) = cursor.unpack(cursor.number, "type of a value")
        listed = len(values) < limits.metadata_items
        value = read_value(cursor, kind, key, layouts, keep=listed)
        if key in seen:
            problems.report(f"the key {key[:200]!r} stands twice", start)
        elif listed:
            values[key] = value
        seen.add(key)
        label = "tokenizer" if key.startswith("tokenizer.") else "metadata"
        if spans and spans[-1][2] == label:
            spans[-1] = (spans[-1][0], cursor.position, label)
        else:
            spans.append((start, cursor.position, label))
    return Pairs(values, spans, len(seen) - len(values))


def read_value(cursor: Cursor, kind: int, key: str, layouts: dict[int, tuple[Struct, str]], *, keep: bool) -> Any:
    """One value: a number, a truth, a text, the items of a short array, or what a long one is. None when not to be kept."""
    if kind in layouts:
        (number,) = cursor.unpack(layouts[kind][0], "a number")
        return plain_number(number, kind) if keep else None
    if kind == STRING:
        return read_text(cursor, f"the text of {key[:80]!r}", keep=keep)
    if kind == ARRAY:
        return read_array(cursor, key, layouts, keep=keep)
    raise CorruptFileError(
        f"the value of {key[:200]!r} has the type {kind}, which there is not",
        path=cursor.window.name,
        offset=cursor.position - 4,
    )


def plain_number(value: Any, kind: int) -> Any:
    """A float32 as the shortest number that is the same float32: 1e-05, not 9.999999747378752e-06."""
    if kind != FLOAT32 or not isfinite(value):
        return value
    return next(short for digits in (6, 7, 8, 9) if pack("f", short := float(f"{value:.{digits}g}")) == pack("f", value))


def read_text(cursor: Cursor, what: str, *, keep: bool) -> str | None:
    """A string; of a very long one the beginning, its length and a check sum, and no beginning where texts are too many."""
    (length,) = cursor.unpack(cursor.wide, f"length of {what}")
    if not keep:
        cursor.skip(length, what)
        return None
    cursor.kept += min(length, LONGEST_TEXT)
    if length <= LONGEST_TEXT and cursor.kept <= MOST_TEXT:
        return cursor.take(length, what).decode("utf-8", "backslashreplace")
    start = cursor.position
    cursor.skip(length, what)
    shown = LONGEST_TEXT if cursor.kept <= MOST_TEXT else 0
    begin = cursor.window.read(start, shown).decode("utf-8", "backslashreplace")
    return f"{begin}… ({length:,} bytes{cursor.digest(start, cursor.position)})"


def read_array(cursor: Cursor, key: str, layouts: dict[int, tuple[Struct, str]], *, keep: bool) -> Any:
    """The items of a short array; of a long one how many there are of what, with a check sum."""
    what = f"the array {key[:80]!r}"
    kind, count = array_header(cursor, key)
    start = cursor.position
    short = keep and count <= MOST_SHORT
    if kind in layouts:
        layout, name = layouts[kind]
        if short:
            return [plain_number(cursor.unpack(layout, what)[0], kind) for _ in range(count)]
        cursor.skip(count * layout.size, what)
        named = f"{name} values"
    elif kind == STRING:
        if short:
            return [read_text(cursor, what, keep=True) for _ in range(count)]
        cursor.walk_strings(count, what)
        named = "strings"
    else:
        walk_arrays(cursor, count, key, layouts)
        named = "array" if count == 1 else "arrays"
    return f"{count:,} {named}{cursor.digest(start, cursor.position)}" if keep else None


def array_header(cursor: Cursor, key: str) -> tuple[int, int]:
    """(type of the items, how many) of an array. Raises CorruptFileError when the file has no room for them."""
    (kind,) = cursor.unpack(cursor.number, "type of the items of an array")
    (count,) = cursor.unpack(cursor.wide, "length of an array")
    if kind in NUMBERS:
        least = Struct("=" + NUMBERS[kind][0]).size
    elif kind == STRING:
        least = cursor.wide.size
    elif kind == ARRAY:
        least = cursor.number.size + cursor.wide.size
    else:
        raise CorruptFileError(
            f"the array {key[:200]!r} has items of the type {kind}, which there is not",
            path=cursor.window.name,
            offset=cursor.position - cursor.wide.size - cursor.number.size,
        )
    if count * least > cursor.window.size - cursor.position:
        raise CorruptFileError(
            f"the array {key[:200]!r} claims {count:,} items, {cursor.window.size - cursor.position:,} bytes follow",
            path=cursor.window.name,
            offset=cursor.position - cursor.wide.size,
        )
    return kind, count


def walk_arrays(cursor: Cursor, count: int, key: str, layouts: dict[int, tuple[Struct, str]]) -> None:
    """Go past arrays of arrays, however deep. llama.cpp reads none; the specification has them."""
    waiting = [count]  # arrays still to come, one number a level
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            continue
        waiting[-1] -= 1
        cursor.charge(ARRAY_COST)
        kind, inside = array_header(cursor, key)
        if kind == ARRAY:
            waiting.append(inside)
            if len(waiting) > cursor.limits.nesting:
                raise LimitError("nesting", cursor.limits.nesting, len(waiting), path=cursor.window.name)
        elif kind == STRING:
            cursor.walk_strings(inside, f"the array {key[:80]!r}")
        else:
            cursor.skip(inside * layouts[kind][0].size, f"the array {key[:80]!r}")
