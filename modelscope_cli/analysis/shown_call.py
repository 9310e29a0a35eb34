"""What a pickle would call, as one line of text that is like Python: os.system('touch x'). Nothing is run.

For people values are shortened from their middle, so that nothing hides at an end, and runs of blanks are drawn together. Programs
get a line of up to four thousand characters.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, PersistentId, SetOf
from modelscope_cli.containers.python2_names import imported_as


class Room(NamedTuple):
    """How much of a call is shown: characters of the line and of one string, items of one list, depth, values altogether."""

    line: int
    text: int
    items: int
    depth: int
    parts: int
    blanks: bool  # whether runs of blanks are drawn together


SHORT = Room(240, 120, 6, 4, 40, True)
FULL = Room(4_096, 3_000, 200, 12, 600, False)
BLANKS = re.compile(r"(\s)\1{3,}")


def shown_call(function: Any, args: Any, room: Room = SHORT) -> str:
    """The call as text."""
    return _cut(_Line(room).call(function, args), room.line)


def lettered(name: str) -> str:
    """A name as code points where it is not ASCII: of _r\u0435build and _rebuild nobody sees which is which."""
    return name if name.isascii() else name.encode("ascii", "backslashreplace").decode()


def _cut(text: str, most: int) -> str:
    """The text with its middle left out."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}"


class _Line:
    """One line; `left` is how many values may still be written."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.left = room.parts

    def call(self, function: Any, args: Any, depth: int = 0) -> str:
        return f"{self.value(function, depth)}({self.items(args, depth)})"

    def items(self, items: Any, depth: int) -> str:
        """The first ones and the last."""
        most = self.room.items
        few = list(items[:most]) if len(items) <= most else list(items[: most - 1])
        shown = [self.value(item, depth + 1) for item in few]
        if len(items) > most:
            shown += [f"… {len(items) - most:,} more …", self.value(items[-1], depth + 1)]
        return ", ".join(shown)

    def text(self, value: str | bytes) -> str:
        """A string or bytes in quotes, with its middle left out."""
        most = self.room.text
        if len(value) > 8 * most:
            ends = repr(value[: 4 * most]), repr(value[-4 * most :])
            written = f"{ends[0]}…{ends[1]}"
        else:
            written = repr(value)
        if self.room.blanks:
            written = BLANKS.sub(r"\1…\1", written).replace("\\n" * 4, "\\n…\\n")
        return _cut(written, most)

    def value(self, value: Any, depth: int) -> str:
        """A value as Python would write it, but short."""
        self.left -= 1
        if self.left < 0 or depth > self.room.depth:
            return "…"
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is bytes or kind is bytearray:
            more = f" ({len(value):,} bytes)" if len(value) > self.room.text else ""
            return self.text(value if kind is bytes else bytes(value)) + more
        if value is None or kind in (bool, float):
            return repr(value)
        if kind is int:
            return str(value) if value.bit_length() < 200 else f"a number of {value.bit_length():,} bits"
        if kind is tuple:
            return f"({self.items(value, depth)}{',' if len(value) == 1 else ''})"
        if kind is list:
            return f"[{self.items(value, depth)}]"
        if isinstance(value, Global):
            return _cut(lettered(".".join(imported_as(value.module, value.name))), self.room.line // 2)
        if isinstance(value, Call):
            return self.call(value.function, value.args, depth + 1)
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, SetOf):
            return f"{{{self.items(value.items, depth)}}}" if value.items else "set()"
        return "a storage" if isinstance(value, PersistentId) else "…"

    def mapping(self, value: Mapping, depth: int) -> str:
        """Its pairs as they are written; of a large one how many there are."""
        if len(value.pairs) > self.room.items:
            return f"{{{len(value.pairs):,} entries}}"
        return (
            "{" + ", ".join(f"{self.value(key, depth + 1)}: {self.value(held, depth + 1)}" for key, held in value.pairs) + "}"
        )
