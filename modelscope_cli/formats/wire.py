"""Walks a protocol buffer of any size by a table of shapes, without a schema compiler and without reading what nobody asked for.

    Shape   what to look at in one kind of message: submessages to walk, texts and numbers to keep
    walk    follows a message by its shape and tells of each message in which something was kept, as it ends

Facts: protobuf.dev/programming-guides/encoding. A field may be given again and again: of repeated ones all count, of others a parser
takes the last or merges them, so all values are kept. Groups (wire types 3 and 4) are passed over as parsers pass over what they do
not know. What a field holds is a claim: it ends inside the message around it, or the walk ends. Bytes are read in pieces; what is
skipped is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from modelscope_cli.core.window import Window
from modelscope_cli.formats.known_protobuf import varint

PIECE = 1 << 16
HEAD = 20  # bytes of a key and a length, ten each at most
LONGEST_TEXT = 4_096  # bytes of a kept text; the rest is left
MOST_VALUES, MOST_JOINED = 16, 256  # of one field of a message that are kept; of texts the last as well, which a parser takes
TOO_MANY = 0  # the number, which no field has, under which a message says that not all of its values were kept
DEEPEST_GROUP = 100
MESSAGE = 3  # fields that a message counts for besides itself, which is what it takes longer
VARINT, EIGHT, BYTES, START, END, FOUR = range(6)

# By number of the field: bytes of texts, values of numbers, (start, stop) of ranges, Kept of joined messages.
Kept = dict[int, list[Any]]


class Shape:
    """A kind of message. `inside`: submessages by number; `texts`, `numbers`, `ranges`: fields to keep, a range by its place alone.

    `joined` messages are kept in the one around them and not told of. A `loose` one may be no message at all: nobody minds.
    """

    __slots__ = ("_keys", "joined", "keeps", "loose", "name", "table")

    def __init__(
        self,
        name: str,
        *,
        inside: dict[int, Shape] | None = None,
        texts: tuple[int, ...] = (),
        numbers: tuple[int, ...] = (),
        ranges: tuple[int, ...] = (),
        joined: bool = False,
        loose: bool = False,
    ):
        self.name = name
        self.joined = joined
        self.loose = loose
        self.keeps = bool(texts or numbers or ranges or joined)
        self._keys: re.Pattern[bytes] | None = None
        self.table: dict[int, Shape | int] = {number << 3 | BYTES: BYTES for number in texts}
        self.table |= {number << 3: VARINT for number in numbers}
        self.table |= {number << 3 | BYTES: FOUR for number in ranges}
        self.table |= {number << 3 | BYTES: shape for number, shape in (inside or {}).items()}

    def also(self, number: int, shape: Shape) -> None:
        """Add a submessage: for messages that can hold themselves."""
        self.table[number << 3 | BYTES] = shape

    def keys(self) -> re.Pattern[bytes]:
        """The bytes with which a key of its table can begin: a message that has none of them holds nothing that is looked at."""
        if self._keys is None:
            first = {byte for key in self.table for byte in (key & 0x7F, key & 0x7F | 0x80)}
            self._keys = re.compile(b"[" + b"".join(re.escape(bytes([byte])) for byte in sorted(first)) + b"]")
        return self._keys


class Trouble(NamedTuple):
    """Why a walk ended early; `limit` is the one of ours that it met."""

    offset: int
    message: str
    limit: str = ""


Told = Callable[[str, Kept, int, int], None]  # name of the shape, what was kept, where the message starts and stops


def walk(
    window: Window, shape: Shape, tell: Told, most: int, start: int = 0, stop: int | None = None, *, deepest: int = 100
) -> tuple[int, Trouble | None]:
    """Follow the message in start..stop. Returns how many fields were passed (`most` at most), and why it ended early if it did.

    `deepest` are the messages in one another that are followed; the parsers of protobuf follow 100.
    """
    end = window.size if stop is None else stop
    position, table, number = start, shape.table, 0
    kept: Kept = {}
    stack: list[tuple[int, Shape, Kept, int, int]] = []  # of the messages around: end, shape, kept, number in it, start
    now, first = shape, start
    data, low, high = b"", 0, 0
    seen = 0
    size = window.size
    while True:
        if position >= end:
            if not now.joined and kept:
                tell(now.name, kept, first, end)
            if not stack:
                return seen, None
            inner, at = kept, number
            joined = now.joined
            end, now, kept, number, first = stack.pop()
            table = now.table
            if joined:
                _keep(kept, at, inner)
            continue
        if (position + HEAD > high and high < size) or position < low:
            length = min(PIECE, size - position)
            data, low, high = window.read(position, length), position, position + length
        at, last, have = position - low, end - low, high - low
        while at + 2 <= have:  # short fields, as most are: nothing that the rest of the loop would not do as well
            key, value = data[at], data[at + 1]
            if key & 0x87 == BYTES and key > 0x07 and value < 0x80:
                after = at + 2 + value
            elif key & 0x87 == VARINT and key > 0x07 and value < 0x80:
                after = at + 2
            else:
                break
            if after > last or after > have:
                break
            action = table.get(key)
            if action is None:
                at = after
            elif action == BYTES:
                _keep(kept, key >> 3, data[at + 2 : after])
                at = after
            elif type(action) is Shape and not action.keeps and action.keys().search(data, at + 2, after) is None:
                at = after
            else:
                break
            seen += 1
        position = low + at
        if position >= end:
            continue
        seen += 1
        if seen > most:
            return seen, Trouble(position, f"more than {most:,} fields, each message counted as {1 + MESSAGE:,}", "opcodes")
        if position + HEAD > high and high < size:
            length = min(PIECE, size - position)
            data, low, high = window.read(position, length), position, position + length
        trouble = ""
        at = position - low
        try:
            key = data[at]
            at += 1
            if key > 0x7F:
                key, at = varint(data, at - 1)
            wire = key & 7
            value = 0
            if wire in (BYTES, VARINT):
                value = data[at]
                at += 1
                if value > 0x7F:
                    value, at = varint(data, at - 1)
        except IndexError:
            at = wire = key = value = 0
        after = low + at
        if not at or not 8 <= key < 1 << 32:
            trouble = "no field of a protocol buffer begins there"
        elif wire == BYTES:
            begin, after = after, after + value
        elif wire == EIGHT:
            after += 8
        elif wire == FOUR:
            after += 4
        elif wire == START:
            after, trouble = _group(window, after, end, key)
        elif wire != VARINT:
            trouble = "no field of a protocol buffer begins there"
        if after > end and not trouble:
            trouble = f"{after - end:,} bytes and more are missing" if end == size else "a field is longer than what it is in"
        if trouble:
            while stack and not now.loose:
                end, now, kept, number, first = stack.pop()
            if not now.loose or not stack:
                return seen, Trouble(position, trouble)
            position = end
            end, now, kept, number, first = stack.pop()
            table = now.table
            continue
        action = table.get(key)
        if action is None:
            position = after
        elif action == VARINT:
            _keep(kept, key >> 3, value)
            position = after
        elif action == BYTES:
            cut = min(after, begin + LONGEST_TEXT)
            text = data[begin - low : cut - low] if cut <= high else window.read(begin, cut - begin)
            _keep(kept, key >> 3, text)
            position = after
        elif action == FOUR:
            _keep(kept, key >> 3, (begin, after))
            position = after
        elif len(stack) >= deepest:
            return seen, Trouble(position, f"more than {deepest:,} messages in one another", "nesting")
        else:
            assert isinstance(action, Shape)
            seen += MESSAGE
            stack.append((end, now, kept, number, first))
            position, end, now, kept, number, first = begin, after, action, {}, key >> 3, begin
            table = now.table


def _keep(kept: Kept, number: int, value: Any) -> None:
    values = kept.get(number)
    if values is None:
        kept[number] = [value]
    elif len(values) < (MOST_JOINED if type(value) is dict else MOST_VALUES):
        values.append(value)
    else:
        values[-1] = value
        kept[TOO_MANY] = [len(values)]


def _group(window: Window, position: int, end: int, key: int) -> tuple[int, str]:
    """(where a group stops, what is wrong with it)."""
    opened = [key >> 3]
    while opened:
        head = window.read(position, max(0, min(HEAD, end - position)))
        key, at = varint(head, 0)
        wire = key & 7
        if at == 0 or key < 8:
            return position, "a group that does not end"
        if wire == START:
            opened.append(key >> 3)
            if len(opened) > DEEPEST_GROUP:
                return position, f"more than {DEEPEST_GROUP:,} groups in one another"
            position += at
        elif wire == END:
            if opened.pop() != key >> 3:
                return position, "a group that ends as another"
            position += at
        elif wire in (VARINT, BYTES):
            value, after = varint(head, at)
            if after == 0:
                return position, "a group that does not end"
            position += after + (value if wire == BYTES else 0)
        elif wire in (EIGHT, FOUR):
            position += at + (8 if wire == EIGHT else 4)
        else:
            return position, "no field of a protocol buffer begins there"
        if position > end:
            return position, "a group that does not end"
    return position, ""
