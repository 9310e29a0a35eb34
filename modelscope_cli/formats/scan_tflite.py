"""TensorFlow Lite and Circle: operators that are no part of the format, by name. Flex… are operators of TensorFlow itself.

    0   offset of the Model   4 TFL3 or CIR0
    table     its vtable lies as many bytes before it as its first four say; vtable: its length, the table's, an offset a field (two
              bytes each, 0 for none)
    Model     field 1: OperatorCodes
    OperatorCode    fields 0 and 3: the number of an operator, 32 for those that have a name   1: custom_code, the name
                            tensorflow/lite/schema/schema.fbs; flatbuffers.dev/internals

Every offset is a claim; the window refuses what it does not hold.
"""

from __future__ import annotations

import re

from modelscope_cli.core.scanned import UNTOLD
from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_graphs import Collected
from modelscope_cli.formats.scan_tensorflow import LIBRARY, TELLING

CUSTOM, BUILT_IN = "tflite.custom", "tflite.builtin"
CUSTOM_NUMBER = 32
FLEX = "Flex"
LONGEST_NAME = 1_024
PIECE, OVERLAP = 1 << 20, 4_096
SEARCHED = 32  # times searched_bytes: where one is searched for
MOST_MATCHES = 10_000


def scan_tflite(found: Collected, window: Window) -> None:
    """Note the operators. Raises CorruptFileError for offsets that lead out of the file."""
    model = _number(window, 0, 4)
    codes = _reference(window, model, 1)
    count = _number(window, codes, 4) if codes is not None else 0
    if not count:
        found.unseen("a model without operators, or one that is damaged")
    if codes is not None:
        most = found.limits.imports
        if count > most:
            found.too_many()
        offsets = window.read(codes + 4, 4 * min(count, most), "operator codes")
        attributes: dict[str, tuple[str, ...]] = {}
        for at in range(0, len(offsets), 4):
            code = codes + 4 + at + int.from_bytes(offsets[at : at + 4], "little")
            name = _text(window, _reference(window, code, 1))
            number = max(_scalar(window, code, 0, 1), _scalar(window, code, 3, 4))
            if not name and number != CUSTOM_NUMBER:
                found.add(BUILT_IN, str(number), code)
            elif name.startswith(FLEX):
                operator = name.removeprefix(FLEX)
                if operator not in attributes:
                    attributes[operator] = _attribute(found, window, operator)
                found.add(LIBRARY, operator, code, node=name, detail=attributes[operator])
            else:
                found.add(CUSTOM, name, code)
    found.hand_on()


def _number(window: Window, at: int, length: int) -> int:
    return int.from_bytes(window.read(at, length, "an offset"), "little")


def _place(window: Window, table: int, field: int) -> int:
    """Where a field of a table stands; 0 where the table does not have it."""
    vtable = table - int.from_bytes(window.read(table, 4, "a table"), "little", signed=True)
    entry = 4 + 2 * field
    if _number(window, vtable, 2) < entry + 2:
        return 0
    at = _number(window, vtable + entry, 2)
    return table + at if at else 0


def _reference(window: Window, table: int, field: int) -> int | None:
    """Where a field leads; None where the table does not have it."""
    at = _place(window, table, field)
    return at + _number(window, at, 4) if at else None


def _scalar(window: Window, table: int, field: int, length: int) -> int:
    at = _place(window, table, field)
    return int.from_bytes(window.read(at, length, "a number"), "little", signed=True) if at else 0


def _text(window: Window, at: int | None) -> str:
    if at is None:
        return ""
    length = _number(window, at, 4)
    window.read(at + 4 + length, 0, "a name")
    return window.read(at + 4, min(length, LONGEST_NAME)).decode("utf-8", "replace")


def _attribute(found: Collected, window: Window, operator: str) -> tuple[str, ...]:
    """The attribute that decides what an operator of TensorFlow reaches for, searched for as a NodeDef writes it."""
    name = TELLING.get(operator)
    if name is None:
        return ()
    written = re.compile(re.escape(name.encode()) + rb"\x12[\x00-\x7f](?:\x0a[\x00-\x7f])?\x12([\x00-\x7f])", re.DOTALL)
    said: dict[str, None] = {}
    matches = 0
    length = min(window.size, SEARCHED * found.limits.searched_bytes)
    for start in range(0, length, PIECE):
        data = window.read(start, min(PIECE + OVERLAP, window.size - start))
        for match in written.finditer(data):
            said[data[match.end() : match.end() + match[1][0]].decode("utf-8", "replace")] = None
            matches += 1
            if matches > MOST_MATCHES:
                return (UNTOLD,)
    return found.detail(said, all_told=bool(said) and window.size <= length)
