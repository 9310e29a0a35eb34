"""What the instructions of a pickle do, but for the twenty that a state dict is made of: those are in the loop of pickle_machine.py.

Each is a method that is given the position behind the instruction, takes its operands from there, and returns the position behind
them. Facts: CPython Lib/pickletools.py, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from modelscope_cli.containers.escapes import unescaped
from modelscope_cli.containers.odd_shapes import may_be_odd, of_filling
from modelscope_cli.containers.pickle_callers import BY_ADD, BY_APPEND, BY_NEW, CALLERS, STATES, CountingMemo, is_counted
from modelscope_cli.containers.pickle_calls import PickleCalls, Readers
from modelscope_cli.containers.pickle_nodes import (
    DICT_CLASSES,
    LONGEST_NAME,
    MARK,
    SET_CLASSES,
    Call,
    Global,
    Mapping,
    SetOf,
    kind_of,
    shortened,
)
from modelscope_cli.core.limits import Limits
from modelscope_cli.errors import CorruptFileError, LimitError

LONGEST_LINE = 1 << 20  # bytes of a name or a number as text
LONGEST_NUMBER = 4_000  # decimal digits; longer ones take quadratic time to convert

PersistentLoad = Callable[[Any, int], Any]


class PickleOpcodes(PickleCalls):
    """The stack, the marks, the memo and the names of one pickle stream, and what instructions make of them."""

    rare: dict[int, Callable[[Any, int], int]]  # the methods below by their instructions

    def __init__(
        self,
        data: bytes | bytearray,
        where: str,
        limits: Limits,
        persistent_load: PersistentLoad | None,
        readers: Readers | None,
    ):
        super().__init__(data, where, limits, readers)
        self.persistent_load = persistent_load or self._no_persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.globals: dict[tuple[str, str], Global] = {}
        self.end = 0  # the position of the instruction
        self.frame_end = 0  # where the last frame ends: nothing may reach across it
        self.check_at = 0  # the position from which on something is to be checked
        self.line_from, self.without_line = -1, 0  # a line that began there has no end before here

    def _no_persistent_load(self, pid: Any, offset: int) -> Any:
        raise TypeError("a persistent id, which has no meaning here")

    # Operands ---------------------------------------------------------------------------------------------------------

    def _take(self, pos: int, length: int) -> bytes | bytearray:
        """`length` operand bytes at `pos`."""
        if pos + length > len(self.data):
            raise EndOfDataError
        return self.data[pos : pos + length]

    def _counted(self, pos: int, width: int) -> tuple[bytes | bytearray, int]:
        """Bytes behind a little-endian count of `width` bytes, and the position behind them."""
        length = int.from_bytes(self._take(pos, width), "little")
        if length > self.limits.pickle_bytes and length > len(self.data):
            raise CorruptFileError(f"a string of {length:,} bytes in the pickle", path=self.where, offset=pos)
        return self._take(pos + width, length), pos + width + length

    def _line(self, pos: int, most: int = LONGEST_LINE) -> tuple[bytes | bytearray, int]:
        """A text operand up to the newline, and the position behind it. Names and numbers are never longer than `most` bytes."""
        end = self.data.find(b"\n", max(pos, self.without_line) if self.line_from == pos else pos)
        if (len(self.data) if end < 0 else end) - pos > most:
            raise ValueError(f"a line of more than {most:,} bytes")
        if end < 0:
            self.line_from, self.without_line = pos, len(self.data)  # what comes to it is all that is left to search
            raise EndOfDataError
        return self.data[pos:end], end + 1

    def _import_lines(self, pos: int) -> tuple[str, str, int]:
        """The two lines that name an import, a module and a thing in it, and the position behind them."""
        module, after = self._line(pos)
        name, after = self._line(after)
        return module.decode("utf-8"), name.decode("utf-8"), after

    # Opcodes that torch.save seldom or never writes ------------------------------------------------------------------

    def _proto(self, pos: int) -> int:
        if self._take(pos, 1)[0] > 5:
            raise ValueError(f"pickle protocol {self.data[pos]}, the newest known is 5")
        return pos + 1

    def _frame(self, pos: int) -> int:
        length = int.from_bytes(self._take(pos, 8), "little")
        if pos - 1 < self.frame_end:
            raise ValueError("a frame begins before the last one has ended")
        self.frame_end = pos + 8 + length
        self.check_at = pos + 8
        return pos + 8

    def _global(self, pos: int) -> int:
        module, name, after = self._import_lines(pos)
        self._push(self._named(module, name, pos - 1))
        return after

    def _push(self, found: Global) -> None:
        found.pushed += 1
        self.stack.append(found)

    def _stack_global(self, pos: int) -> int:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError(f"an import named by {kind_of(module)} and {kind_of(name)}, not two strings")
        self._push(self._named(module, name, pos - 1))
        return pos

    def _named(self, module: str, name: str, offset: int) -> Global:
        if len(module) > LONGEST_NAME or len(name) > LONGEST_NAME:
            module, name = shortened(module), shortened(name)
        if (module, name) not in self.globals and len(self.globals) >= self.limits.imports:
            raise LimitError(
                "imports", self.limits.imports, f"more than {self.limits.imports:,}", path=self.where, offset=offset
            )
        return self._known_as(module, name, offset)

    def _known_as(self, module: str, name: str, offset: int) -> Global:
        """The one node of a name."""
        key = (module, name)
        found = self.globals.get(key)
        if found is None:
            found = self.globals[key] = Global(module, name, offset)
            found.plain = key not in DICT_CLASSES and key not in SET_CLASSES and key not in CALLERS and key not in STATES
            if key in self.readers or may_be_odd(key):
                found.plain = False
            if is_counted(key):
                found.watched = True
                if type(self.memo) is not CountingMemo:
                    self.memo = CountingMemo(self.memo)
        return found

    def _inst(self, pos: int) -> int:
        module, name, after = self._import_lines(pos)
        args = tuple(self._since_mark())
        found = self._named(module, name, pos - 1)
        found.pushed += 1
        self.stack.append(self._reduce(found, args, pos - 1))
        return after

    def _obj(self, pos: int) -> int:
        items = self._since_mark()
        self.stack.append(self._reduce(items[0], tuple(items[1:]), pos - 1))
        return pos

    def _newobj(self, pos: int) -> int:
        args = self.stack.pop()
        if self.stored:
            self._use_stored(self.stack[-1], BY_NEW, (self.stack[-1], args), pos - 1)
        self.stack[-1] = self._reduce(self.stack[-1], args, pos - 1)
        return pos

    def _newobj_ex(self, pos: int) -> int:
        kwargs, args = self.stack.pop(), self.stack.pop()
        if self.stored:
            self._use_stored(self.stack[-1], BY_NEW, (self.stack[-1], args), pos - 1)
        made = self._reduce(self.stack[-1], args, pos - 1)
        if isinstance(made, Call) and isinstance(kwargs, Mapping):
            self._count_copy(kwargs.pairs)
            made.entries = list(kwargs.pairs)
        self.stack[-1] = made
        return pos

    def _extension(self, width: int) -> Callable[[int], int]:
        def read(pos: int) -> int:
            code = int.from_bytes(self._take(pos, width), "little")
            self._push(self._named("copyreg", f"extension {code}", pos - 1))
            return pos + width

        return read

    def _build(self, pos: int) -> int:
        state = self.stack.pop()
        target = self.stack[-1]
        self._note_build(target, state, pos - 1)
        if isinstance(target, Call | Mapping):
            target.state = state
        elif isinstance(target, Global):  # setting attributes on a class: kept as a node of its own
            made = Call(target, ())
            made.state = state
            self.stack[-1] = made
        if type(state) is Mapping or type(state) is tuple:
            self._store_attributes(self.stack[-1], state, pos - 1)
        return pos

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark + 1 :]
        del self.stack[mark:]
        return items

    def _set_items(self, target: Any, items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=True))
        for key, _ in pairs:
            if type(key) in (list, Mapping, bytearray) or (type(key) is SetOf and not key.frozen):
                raise TypeError(f"{kind_of(key)} as a dictionary key")
        if isinstance(target, Mapping):
            target.pairs += pairs
        elif isinstance(target, Call):
            self._note(target, of_filling(target), self.end)
            if target.entries is None:
                target.entries = []
            target.entries += pairs
        else:
            raise TypeError(f"entries are set on {kind_of(target)}")

    def _setitem(self, pos: int) -> int:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items(self.stack[-1], [key, value])
        if type(self.stack[-1]) is Call:
            self._store_entries(self.stack[-1], [key, value], pos - 1)
        return pos

    def _setitems(self, pos: int) -> int:
        items = self._since_mark()
        self._set_items(self.stack[-1], items)
        if type(self.stack[-1]) is Call:
            self._store_entries(self.stack[-1], items, pos - 1)
        return pos

    def _dict(self, pos: int) -> int:
        made = Mapping()
        self._set_items(made, self._since_mark())
        self.stack.append(made)
        return pos

    def _add_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target += items
        elif isinstance(target, SetOf):
            target.items += items
        elif isinstance(target, Call):
            self._note(target, of_filling(target), self.end)
            if target.items is None:
                target.items = []
            target.items += items
        else:
            raise TypeError(f"items are appended to {kind_of(target)}")

    def _append(self, pos: int) -> int:
        item = self.stack.pop()
        if self.stored:
            self._use_stored(self.stack[-1], BY_APPEND, (item,), pos - 1)
        self._add_items(self.stack[-1], [item])
        return pos

    def _appends(self, pos: int) -> int:
        items = self._since_mark()
        if self.stored and items:
            self._use_stored(self.stack[-1], BY_APPEND[:1], (items,), pos - 1)
            self._use_stored(self.stack[-1], BY_APPEND[1:] + BY_ADD, (items[0],), pos - 1)
        self._add_items(self.stack[-1], items)
        return pos

    def _list(self, pos: int) -> int:
        self.stack.append(self._since_mark())
        return pos

    def _frozenset(self, pos: int) -> int:
        self.stack.append(SetOf(self._since_mark(), frozen=True))
        return pos

    def _pop(self, pos: int) -> int:
        last = self.stack.pop()
        if last is MARK:
            self.marks.pop()
        elif type(last) is Global:
            last.pushed -= 1
        return pos

    def _pop_mark(self, pos: int) -> int:
        self._since_mark()
        return pos

    def _dup(self, pos: int) -> int:
        last = self.stack[-1]
        if type(last) is Global:
            last.pushed += 1
        self.stack.append(last)
        return pos

    def _persid(self, pos: int) -> int:
        line, after = self._line(pos)
        self.stack.append(self.persistent_load(line.decode("ascii"), pos - 1))
        return after

    def _int(self, pos: int) -> int:
        line, after = self._line(pos)
        if line in (b"00", b"01"):
            self.stack.append(line == b"01")
        else:
            self.stack.append(_number(line))
        return after

    def _long(self, pos: int) -> int:
        line, after = self._line(pos)
        self.stack.append(_number(line.rstrip(b"L")))
        return after

    def _long1(self, pos: int) -> int:
        digits, after = self._counted(pos, 1)
        self.stack.append(int.from_bytes(digits, "little", signed=True))
        return after

    def _long4(self, pos: int) -> int:
        length = int.from_bytes(self._take(pos, 4), "little", signed=True)
        if not 0 <= length <= LONGEST_NUMBER // 3:
            raise ValueError(f"a number of {length:,} bytes")
        self.stack.append(int.from_bytes(self._take(pos + 4, length), "little", signed=True))
        return pos + 4 + length

    def _float(self, pos: int) -> int:
        line, after = self._line(pos)
        if len(line) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(line):,} digits")
        self.stack.append(float(line))
        return after

    def _binfloat(self, pos: int) -> int:
        self.stack.append(struct.unpack(">d", self._take(pos, 8))[0])
        return pos + 8

    def _string(self, pos: int) -> int:
        line, after = self._line(pos, self.limits.pickle_bytes)
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise ValueError("a string without its quotes")
        self.stack.append(_python2_text(unescaped(line[1:-1])))
        return after

    def _unicode(self, pos: int) -> int:
        line, after = self._line(pos, self.limits.pickle_bytes)
        self.stack.append(line.decode("raw-unicode-escape"))
        return after

    def _memo_text(self, pos: int) -> tuple[int, int]:
        line, after = self._line(pos)
        return _number(line), after

    def _get(self, pos: int) -> int:
        index, after = self._memo_text(pos)
        self.stack.append(self.memo[index])
        return after

    def _put(self, pos: int) -> int:
        index, after = self._memo_text(pos)
        self.memo[index] = self.stack[-1]
        return after

    def _next_buffer(self, pos: int) -> int:
        raise ValueError("an out-of-band buffer, which a file cannot have")

    def _readonly_buffer(self, pos: int) -> int:
        return pos


class EndOfDataError(Exception):
    """An operand goes past the bytes that are there."""


def _number(text: bytes | bytearray) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _python2_text(raw: bytes | bytearray) -> str | bytes:
    """Python 2 had one type for text and bytes: text where it decodes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return bytes(raw)


def _pushing(value: Any) -> Callable[[PickleOpcodes, int], int]:
    def push(machine: PickleOpcodes, pos: int) -> int:
        machine.stack.append(value)
        return pos

    return push


def _pushing_new(make: Callable[[], Any]) -> Callable[[PickleOpcodes, int], int]:
    def push(machine: PickleOpcodes, pos: int) -> int:
        machine.stack.append(make())
        return pos

    return push


def _pushing_counted(width: int, convert: Callable[[bytes | bytearray], Any]) -> Callable[[PickleOpcodes, int], int]:
    def push(machine: PickleOpcodes, pos: int) -> int:
        raw, after = machine._counted(pos, width)
        machine.stack.append(convert(raw))
        return after

    return push


def _text(raw: bytes | bytearray) -> str:
    return raw.decode("utf-8", "surrogatepass")


PickleOpcodes.rare = {
    0x80: PickleOpcodes._proto, 0x95: PickleOpcodes._frame,
    0x63: PickleOpcodes._global, 0x93: PickleOpcodes._stack_global, 0x69: PickleOpcodes._inst, 0x6F: PickleOpcodes._obj,
    0x81: PickleOpcodes._newobj, 0x92: PickleOpcodes._newobj_ex, 0x62: PickleOpcodes._build,
    0x82: lambda m, p: m._extension(1)(p), 0x83: lambda m, p: m._extension(2)(p), 0x84: lambda m, p: m._extension(4)(p),
    0x7D: _pushing_new(Mapping), 0x5D: _pushing_new(list), 0x8F: _pushing_new(lambda: SetOf([])),
    0x64: PickleOpcodes._dict, 0x6C: PickleOpcodes._list, 0x91: PickleOpcodes._frozenset,
    0x73: PickleOpcodes._setitem, 0x75: PickleOpcodes._setitems, 0x61: PickleOpcodes._append, 0x65: PickleOpcodes._appends,
    0x90: PickleOpcodes._appends,
    0x30: PickleOpcodes._pop, 0x31: PickleOpcodes._pop_mark, 0x32: PickleOpcodes._dup,
    0x4E: _pushing(None), 0x88: _pushing(True),
    0x49: PickleOpcodes._int, 0x4C: PickleOpcodes._long, 0x8A: PickleOpcodes._long1, 0x8B: PickleOpcodes._long4,
    0x46: PickleOpcodes._float, 0x47: PickleOpcodes._binfloat,
    0x53: PickleOpcodes._string, 0x56: PickleOpcodes._unicode,
    0x54: _pushing_counted(4, _python2_text), 0x55: _pushing_counted(1, _python2_text),
    0x42: _pushing_counted(4, bytes), 0x43: _pushing_counted(1, bytes), 0x8E: _pushing_counted(8, bytes),
    0x8D: _pushing_counted(8, _text), 0x96: _pushing_counted(8, bytes),
    0x67: PickleOpcodes._get, 0x70: PickleOpcodes._put, 0x50: PickleOpcodes._persid,
    0x97: PickleOpcodes._next_buffer, 0x98: PickleOpcodes._readonly_buffer,
}  # fmt: skip
