"""A pickle machine that goes on where the strict one refuses, because other unpicklers may go on too.

A reader wants the object and refuses what cannot be one. Here only names and calls matter, so a key that cannot be hashed, a
number that is too long or an item for something that takes none are passed over. An import whose name is itself computed
while loading becomes a Global with COMPUTED as its module. Persistent ids mean nothing, except where they hold a call:

    ('storage', class, key, place, elements)            stands for numbers elsewhere
    ('module', class, source file, source)              stands for the class (torch before 1.0)
    ('reduce_package', number, function, arguments)     calls the function, once for a number (torch.package)
    ('reduce_package', function, arguments)             calls it each time
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from modelscope_cli.containers.odd_attributes import of_later, of_state
from modelscope_cli.containers.odd_shapes import (
    FORGED_PICKLE,
    MANY,
    ODD_PICKLE,
    ODD_STORAGE,
    OLD_NAME,
    OVERWRITTEN,
    objects_in,
    of_call,
    of_filling,
    of_keys,
    of_keywords,
)
from modelscope_cli.containers.odd_states import odd_state
from modelscope_cli.containers.pickle_callers import BY_NAME, DILL_ARRAY
from modelscope_cli.containers.pickle_calls import DEEPEST_CALL
from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import COMPUTED, REDUCE, Call, Global, Mapping, PersistentId, SetOf
from modelscope_cli.containers.pickle_opcodes import LONGEST_NUMBER, EndOfDataError
from modelscope_cli.containers.python2_names import NEWEST, PYTHON2, PYTHON2_NAMES
from modelscope_cli.core.dtype import STORAGE_CLASSES
from modelscope_cli.errors import LimitError

MOST_PIDS = 400_000
LONGEST_KEY = 4_096  # characters of the key of a storage
LONGEST_INDEX = 4_300  # digits of a place in the memo: Python reads no longer numbers
MOST_ARGUMENTS = 10_000  # of a call, where they are no tuple
MOST_COPIED = 1_000_000  # of all such calls
FEW_ARGUMENTS = 16  # of each call after them
MOST_SIGNS = 4  # of a kind, in a pickle
NO_NAME = "_"  # stands for the name of a thing where the data ends behind that of its module, which is imported
DILL = DILL_ARRAY[0]
IMPORTER = PersistentId("importer")  # what torch.package gives first to the functions that persistent ids name
PARTIALS = ("functools.partial", "_functools.partial")  # which call later, with more


class TolerantMachine(PickleMachine):
    """One run over one pickle stream of which only the trace is wanted."""

    looks_through = True

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.size = sys.maxsize  # of the whole, as far as that is known: what goes beyond is nowhere
        self.protocol = 0
        self.cut = False  # whether the data ended inside of the lines that name an import
        self.keys: dict[
            str, int | None
        ] = {}  # of the storages that persistent ids name: how many bytes, where one number is said
        self.reduced: dict[Any, Any] = {}  # by the numbers of persistent ids of torch.package: what they stand for
        self.signs: list[tuple[str, int, str]] = []  # codes of findings, where, and why
        self.arguments = 0  # that were copied
        self.most = MOST_ARGUMENTS  # of the next call
        self.persistent_load = self._load

    def _load(self, pid: Any, offset: int) -> Any:
        if type(pid) is not tuple or not pid:
            return PersistentId(pid)
        kind = pid[0].decode("latin-1") if type(pid[0]) is bytes else pid[0]  # torch.package takes bytes as well
        if kind == "storage" and any(True for _ in objects_in(pid, self.budget)):
            self._note(None, [(ODD_PICKLE, ODD_STORAGE, ())], offset)
        if kind == "reduce_package" and len(pid) > 2:
            return self._reduced(pid, offset)
        if kind == "module" and len(pid) > 2 and type(pid[1]) is Global:
            pid[1].pushed += 1
            return pid[1]
        if kind == "storage" and len(pid) > 2 and len(self.keys) < MOST_PIDS:
            key = pid[2].decode("latin-1") if type(pid[2]) is bytes else pid[2]
            if type(key) is int and key.bit_length() < 64:
                key = str(key)
            if type(key) is str and len(key) <= LONGEST_KEY:
                length = length_of(pid[1], pid[4]) if len(pid) > 4 else None
                self.keys[key] = length if self.keys.get(key, length) == length else None
        return PersistentId(pid)

    def _reduced(self, pid: tuple[Any, ...], offset: int) -> Any:
        """What torch.package calls for a persistent id, with its importer first; of the ids with one number only the first one's."""
        function, args = pid[-2:]
        if type(function) is Global:
            function.indirect += 1  # the persistent id, which may be used elsewhere too, still has it
        if type(args) is not Call and type(args) is not PersistentId:  # of which nobody sees what they are
            if type(args) is tuple and len(args) > self._room(args):
                self._note(function, [(ODD_PICKLE, MANY, ())], offset)
            args = (IMPORTER, *(args[: self.most] if type(args) is tuple else self._arguments(args)))
        made = self._called(function, args, REDUCE, offset)
        if len(pid) > 3 and type(pid[1]) in (int, str, float, bool):
            made = self.reduced.setdefault(pid[1], made)
        return made

    # What no pickler writes -----------------------------------------------------------------------------------------

    def _reduce(self, function: Any, args: Any, offset: int) -> Any:
        return self._called(function, args, self.data[offset], offset)

    def _called(self, function: Any, args: Any, opcode: int, offset: int) -> Any:
        self._note(function, of_call(function, args, opcode, self.budget), offset)
        made = super()._reduce(function, args, offset)
        is_dill = type(function) is Global and function.module == DILL and type(args) is tuple
        return self._by_dill(function.name, args, made, offset) if is_dill else made

    def _by_dill(self, name: str, args: tuple[Any, ...], made: Any, offset: int) -> Any:
        """What two functions of dill give back (dill/_dill.py): a type by its name, and an array, as BUILD would make it."""
        if name == "_load_type" and len(args) == 1 and type(args[0]) is str:
            found = self._named("types" if args[0].endswith("Type") else "builtins", args[0], offset)
            found.pushed += 1
            return found
        if name == DILL_ARRAY[1] and len(args) == 4:  # a function, its arguments, a state, and attributes, if there are any
            made = Call(args[0], args[1] if type(args[1]) is tuple else self._arguments(args[1]))
            for state in args[2:] if args[3] is not None else args[2:3]:
                self._note(made, of_state(made, state, self.budget), offset)
                odd = odd_state(made, state, self.dtypes)
                if odd is not None:
                    self.calls.append((offset, made, (odd[1],), odd[0]))
                self._store_attributes(made, state, offset)
            made.state = args[2]
        return made

    def _called_by(self, through: str, callee: Any, args: Any, offset: int, depth: int = 0, *, stored: bool = False) -> None:
        if not stored and through not in BY_NAME and through not in PARTIALS:
            self._note(callee, of_call(callee, args, 0, self.budget), offset)
        super()._called_by(through, callee, args, offset, depth, stored=stored)

    def _newobj(self, pos: int) -> int:
        after = super()._newobj(pos)
        if type(self.stack[-1]) is Call:
            self.stack[-1].made = True
        return after

    def _newobj_ex(self, pos: int) -> int:
        kwargs = self.stack[-1]
        after = super()._newobj_ex(pos)
        if type(self.stack[-1]) is Call:
            self.stack[-1].made = True
            self._note(self.stack[-1].function, of_keywords(self.stack[-1].function, kwargs), pos - 1)
            if type(kwargs) is Call:
                self._note(self.stack[-1].function, of_call(None, kwargs, 0, self.budget), pos - 1)
        return after

    def _proto(self, pos: int) -> int:
        self.protocol = max(self.protocol, self._take(pos, 1)[0])
        return super()._proto(pos)

    def _named(self, module: str, name: str, offset: int) -> Global:
        found = super()._named(module, name, offset)
        if self.protocol > NEWEST and (module in PYTHON2 or (module, name) in PYTHON2_NAMES):
            self._note(found, [(ODD_PICKLE, OLD_NAME, (found,))], offset)
        return found

    def _stack_global(self, pos: int) -> int:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is str and type(module) is str:
            self._push(self._named(module, name, pos - 1))
        else:
            shown = name if type(name) is str else module if type(module) is str else "name"
            self._push(self._named(COMPUTED, shown, pos - 1))
        return pos

    def _frozenset(self, pos: int) -> int:
        after = super()._frozenset(pos)
        self._note(self.stack[-1], of_keys(self.stack[-1].items, self.budget), pos - 1)
        return after

    def _set_items(self, target: Any, items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=False))
        if isinstance(target, Mapping):
            if target.owner is not None:
                self._note(target, of_later(target.owner), self.end)
            self._note(target, of_keys(items[::2], self.budget), self.end)
            target.pairs += pairs
        elif isinstance(target, Call):
            self._note(target, of_filling(target), self.end)
            target.entries = target.entries if target.entries is not None else []
            target.entries += pairs
        else:
            self._note(target, [(FORGED_PICKLE, OVERWRITTEN, ())], self.end)

    def _add_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target += items
        elif isinstance(target, SetOf):
            self._note(target, of_keys(items, self.budget), self.end)
            target.items += items
        elif isinstance(target, Call):
            self._note(target, of_filling(target), self.end)
            target.items = target.items if target.items is not None else []
            target.items += items
        else:
            self._note(target, [(FORGED_PICKLE, OVERWRITTEN, ())], self.end)

    def _arguments(self, args: Any) -> tuple[Any, ...]:
        """Python's own unpickler takes whatever can be gone through; the one in C only a tuple."""
        kind = type(args)
        if kind is list or kind is bytes or kind is bytearray or kind is str:
            return tuple(args[: self._room(args)])
        if kind is SetOf:
            return tuple(args.items[: self._room(args.items)])
        if kind is Mapping:
            return tuple([key for key, _ in args.pairs[: self._room(args.pairs)]])
        return (args,)

    def _room(self, args: Sequence[Any]) -> int:
        """How many of the arguments are copied for a call: one list may be those of a million calls."""
        self.arguments += min(len(args), MOST_ARGUMENTS)
        self.most = MOST_ARGUMENTS if self.arguments <= MOST_COPIED else FEW_ARGUMENTS
        return self.most

    def _line(self, pos: int, most: int = 0) -> tuple[bytes | bytearray, int]:
        """Unpicklers know no longest line."""
        try:
            return super()._line(pos, self.limits.pickle_bytes)
        except ValueError:
            limit = self.limits.pickle_bytes
            raise LimitError("pickle_bytes", limit, f"more than {limit:,} in a line", path=self.where, offset=pos) from None

    def _import_lines(self, pos: int) -> tuple[str, str, int]:
        """At the end of the data Python's own unpickler takes what is left for a line, and cuts off its last letter (load_global)."""
        module, after = self._last_line(pos)
        if not module:
            raise EndOfDataError
        name, after = self._last_line(after)
        return module.decode("utf-8"), name.decode("utf-8") or NO_NAME, after

    def _last_line(self, pos: int) -> tuple[bytes | bytearray, int]:
        while True:
            try:
                return self._line(pos)
            except EndOfDataError:
                if not self._refilled():
                    self.cut = True
                    return self.data[pos:-1], len(self.data)

    def _counted(self, pos: int, width: int) -> tuple[bytes | bytearray, int]:
        length = int.from_bytes(self._take(pos, width), "little")
        if pos + width + length > self.size:
            raise EndOfDataError  # for every unpickler
        return super()._counted(pos, width)

    def _int(self, pos: int) -> int:
        line, after = self._line(pos)
        self.stack.append(line == b"01" if line in (b"00", b"01") else number_of(line))
        return after

    def _long(self, pos: int) -> int:
        line, after = self._line(pos)
        self.stack.append(number_of(line[:-1] if line.endswith(b"L") else line))
        return after

    def _float(self, pos: int) -> int:
        line, after = self._line(pos)
        try:
            self.stack.append(float(line[:LONGEST_NUMBER]))
        except ValueError:
            self.stack.append(0.0)
        return after

    def _memo_text(self, pos: int) -> tuple[int, int]:
        line, after = self._line(pos)
        digits = line.partition(b"\0")[0].strip()
        if len(digits.replace(b"_", b"")) > LONGEST_INDEX:
            raise ValueError("a place in the memo of too many digits")
        return int(digits), after

    def _put(self, pos: int) -> int:
        index, after = self._memo_text(pos)
        if index < 0:
            raise ValueError("a negative place in the memo")
        self.memo[index] = self.stack[-1]
        return after

    def _long4(self, pos: int) -> int:
        length = int.from_bytes(self._take(pos, 4), "little", signed=True)
        if length < 0:
            return super()._long4(pos)
        if pos + 4 + length > self.size:
            raise EndOfDataError
        digits = self._take(pos + 4, length)
        known = length <= LONGEST_NUMBER
        self.stack.append(int.from_bytes(digits, "little", signed=True) if known else Doubtful(0))
        return pos + 4 + length

    def _bytearray8(self, pos: int) -> int:
        raw, after = self._counted(pos, 8)
        self.stack.append(bytearray(raw))  # to which an APPENDS may add
        return after

    def _sign(self, code: str, offset: int, why: str) -> None:
        if len([known for known, _, _ in self.signs if known == code]) < MOST_SIGNS:
            self.signs.append((code, offset, why))

    def _too_deep(self, offset: int) -> None:
        self._sign("deep-calls", offset, f"functions that call functions, more than {DEEPEST_CALL} deep")


def length_of(cls: Any, numel: Any) -> int | None:
    """How many bytes a storage of a class has, as torch writes them; None where nobody can say."""
    dtype = STORAGE_CLASSES.get(cls.name) if type(cls) is Global else None
    return dtype.nbytes(numel) if dtype is not None and type(numel) is int and 0 <= numel < 1 << 63 else None


class Doubtful(int):
    """A number that unpicklers read in different ways, or that is too long to be read here."""


def number_of(line: bytes | bytearray) -> int:
    """A number as text: in C it ends at a NUL, and a nought makes it octal; in Python neither."""
    if len(line) <= LONGEST_NUMBER:
        with suppress(ValueError):
            return int(line, 0)
    text = line.partition(b"\0")[0].strip()
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    if len(digits) <= LONGEST_NUMBER:
        for base in (8, 0, 10):
            with suppress(ValueError):
                return Doubtful(int(digits, base) * (-1 if text.startswith(b"-") else 1))
    return Doubtful(0)


TolerantMachine.rare = {
    **PickleMachine.rare,
    0x80: TolerantMachine._proto,    0x93: TolerantMachine._stack_global, 0x49: TolerantMachine._int, 0x4C: TolerantMachine._long, 0x46: TolerantMachine._float,
    0x8B: TolerantMachine._long4, 0x81: TolerantMachine._newobj, 0x92: TolerantMachine._newobj_ex,
    0x91: TolerantMachine._frozenset, 0x96: TolerantMachine._bytearray8, 0x67: TolerantMachine._get, 0x70: TolerantMachine._put,
}  # fmt: skip
