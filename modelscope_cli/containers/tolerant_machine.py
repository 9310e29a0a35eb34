"""The pickle machine for judging: it goes on where the strict one refuses, because other unpicklers may go on too.

A reader wants the object and refuses what cannot be one. Here only names and calls matter, so a key that cannot be hashed, a
number that is too long or an item for something that takes none are passed over. An import whose name is itself computed
while loading becomes a Global with COMPUTED as its module. Persistent ids mean nothing, except where they hold a call:

    ('module', class, source file, source)              stands for the class (torch before 1.0)
    ('reduce_package', number, function, arguments)     calls the function (torch.package)

joblib writes the bytes of arrays between the instructions, behind the BUILD of a wrapper that says how many. They are skipped.
"""

from __future__ import annotations

import math
from typing import Any

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, SetOf
from modelscope_cli.errors import LimitError

COMPUTED = "(computed)"
JOBLIB_WRAPPERS = ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
MOST_PIDS = 400_000
DEEPEST = 20  # pickles of joblib in one another


class PersistentId:
    """What a persistent id stands for."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any):
        self.pid = pid


class TolerantMachine(PickleMachine):
    """One run over one pickle stream of which only the trace is wanted."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.keys: set[str] = set()  # of the storages that persistent ids name
        self.skipped = 0  # bytes of arrays between the instructions
        self.inner = 0  # pickles in one another
        self.persistent_load = self._load

    def forget(self) -> None:
        """Let go of all that the trace does not need. Bound methods among it are cycles, and nothing collects those."""
        self.stack, self.memo = [], {}
        self.persistent_load = PersistentId  # type: ignore[assignment]
        self.refill = None
        self.readers = {}

    def _load(self, pid: Any, offset: int) -> Any:
        if type(pid) is tuple and len(pid) > 2 and len(self.keys) < MOST_PIDS:
            if pid[0] == "storage":
                self.keys.add(pid[2] if type(pid[2]) is str else repr(pid[2])[:64])
            elif pid[0] == "module" and type(pid[1]) is Global:
                return pid[1]
            elif pid[0] == "reduce_package" and type(pid[-1]) is tuple:
                return self._reduce(pid[-2], pid[-1], offset)
        return PersistentId(pid)

    def _stack_global(self, pos: int) -> int:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is str and type(module) is str:
            self.stack.append(self._named(module, name, pos - 1))
        else:
            shown = name if type(name) is str else module if type(module) is str else "name"
            self.stack.append(self._named(COMPUTED, shown, pos - 1))
        return pos

    def _set_items(self, target: Any, items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=False))
        if isinstance(target, Mapping):
            target.pairs += pairs
        elif isinstance(target, Call):
            target.entries = (target.entries or []) + pairs

    def _add_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target += items
        elif isinstance(target, SetOf):
            target.items += items
        elif isinstance(target, Call):
            target.items = (target.items or []) + items

    def _int(self, pos: int) -> int:
        return self._number_or(super()._int, pos)

    def _long(self, pos: int) -> int:
        return self._number_or(super()._long, pos)

    def _float(self, pos: int) -> int:
        return self._number_or(super()._float, pos)

    def _number_or(self, read: Any, pos: int) -> int:
        """Read a number written as text, or take nought for one that is none."""
        _, after = self._line(pos)
        try:
            read(pos)
        except ValueError:
            self.stack.append(0)
        return after

    def _long4(self, pos: int) -> int:
        length = int.from_bytes(self._take(pos, 4), "little", signed=True)
        if length < 0:
            return super()._long4(pos)
        self._take(pos + 4, length)
        self.stack.append(0)
        return pos + 4 + length

    def _build(self, pos: int) -> int:
        target = self.stack[-2]
        after = super()._build(pos)
        if isinstance(target, Call) and isinstance(target.function, Global) and target.function.name == "NumpyArrayWrapper":
            return after + self._array_behind(target, after)
        return after

    def _array_behind(self, wrapper: Call, pos: int) -> int:
        """How many bytes of a joblib array follow."""
        state = wrapper.state
        if wrapper.function.module not in JOBLIB_WRAPPERS or type(state) is not Mapping:
            return 0
        shape, itemsize = state.get("shape"), _itemsize(state.get("dtype"))
        if type(shape) is not tuple or not all(type(extent) is int and 0 <= extent < 1 << 48 for extent in shape):
            return 0
        if itemsize is None:
            return self._pickle_behind(pos)
        length = math.prod(shape) * itemsize
        if type(state.get("numpy_array_alignment_bytes")) is int and self._reaches(pos + 1):
            length += 1 + self.data[pos]
        if not self._reaches(pos + length):
            return 0
        self.skipped += length
        return length

    def _reaches(self, stop: int) -> bool:
        """Whether there are so many bytes."""
        while len(self.data) < stop and self._refilled():
            pass
        return len(self.data) >= stop

    def _pickle_behind(self, pos: int) -> int:
        """Run the pickle of an array of objects, which joblib writes into the same stream; how long it is."""
        if self.inner >= DEEPEST:
            raise LimitError("nesting", DEEPEST, f"more than {DEEPEST}", path=self.where, offset=pos)
        machine = TolerantMachine(self.data, self.where, self.limits, refill=self.refill, start=pos)
        machine.inner = self.inner + 1
        try:
            machine.run()
        finally:
            self.opcodes += machine.opcodes
            self.calls += machine.calls
            self.keys |= machine.keys
            for use in machine.globals.values():
                known = self._named(use.module, use.name, use.offset)
                known.calls += use.calls
        return machine.end - pos


def _itemsize(dtype: Any) -> int | None:
    """Bytes of an element of a pickled numpy dtype; None for objects and for what is not understood."""
    if type(dtype) is not Call or not dtype.args or type(dtype.args[0]) is not str:
        return None
    kind, digits = dtype.args[0][:1], dtype.args[0][1:]
    state = dtype.state
    if kind in "US" and type(state) is tuple and len(state) > 5 and type(state[5]) is int and state[5] > 0:
        return state[5]
    if kind == "V" and type(state) is tuple and len(state) > 5 and type(state[5]) is int and state[5] > 0:
        return state[5]
    return int(digits) if kind in "biufcmM?" and digits.isdecimal() and len(digits) < 4 else None


TolerantMachine.rare = {
    **PickleMachine.rare,
    0x93: TolerantMachine._stack_global, 0x49: TolerantMachine._int, 0x4C: TolerantMachine._long, 0x46: TolerantMachine._float,
    0x8B: TolerantMachine._long4, 0x62: TolerantMachine._build,
}  # fmt: skip
