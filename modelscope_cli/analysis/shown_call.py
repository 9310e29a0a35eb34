"""What a pickle would call, as one line of text that is like Python: os.system('touch x'). Values are shortened, nothing is run."""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, SetOf
from modelscope_cli.containers.tolerant_machine import PersistentId

LONGEST_TEXT = 60  # characters of a string
LONGEST_CALL = 200
MOST_ITEMS = 4
DEEPEST = 4
MOST_PARTS = 40  # values of one line altogether


def shown_call(function: Any, args: Any) -> str:
    """The call as text."""
    return _Line().call(function, args)[:LONGEST_CALL]


def lettered(name: str) -> str:
    """A name as code points where it is not ASCII: of _r\u0435build and _rebuild nobody sees which is which."""
    return name if name.isascii() else name.encode("ascii", "backslashreplace").decode()


class _Line:
    """One line; `left` is how many values may still be written."""

    def __init__(self) -> None:
        self.left = MOST_PARTS

    def call(self, function: Any, args: Any, depth: int = 0) -> str:
        return f"{self.value(function, depth)}({self.items(args, depth)})"

    def items(self, items: Any, depth: int) -> str:
        shown = [self.value(item, depth + 1) for item in list(items[:MOST_ITEMS])]
        return ", ".join(shown) + (", …" if len(items) > MOST_ITEMS else "")

    def value(self, value: Any, depth: int) -> str:
        """A value as Python would write it, but short."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            return "…"
        kind = type(value)
        if kind is str:
            return repr(value[:LONGEST_TEXT]) + ("…" if len(value) > LONGEST_TEXT else "")
        if kind is bytes or kind is bytearray:
            more = f"… ({len(value):,} bytes)" if len(value) > LONGEST_TEXT else ""
            return repr(bytes(value[:LONGEST_TEXT])) + more
        if value is None or kind in (bool, float):
            return repr(value)
        if kind is int:
            return str(value) if value.bit_length() < 200 else f"a number of {value.bit_length():,} bits"
        if kind is tuple:
            return f"({self.items(value, depth)}{',' if len(value) == 1 else ''})"
        if kind is list:
            return f"[{self.items(value, depth)}]"
        if isinstance(value, Global):
            return lettered(value.path[:LONGEST_CALL])
        if isinstance(value, Call):
            return self.call(value.function, value.args, depth + 1)
        if isinstance(value, Mapping):
            return f"{{{len(value.pairs):,} entries}}" if value.pairs else "{}"
        if isinstance(value, SetOf):
            return f"a set of {len(value.items):,}"
        return "a storage" if isinstance(value, PersistentId) else "…"
