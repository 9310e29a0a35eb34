"""A pickle is a program for a small stack machine. This machine runs it without a way to do anything.

    GLOBAL / STACK_GLOBAL / INST   make a Global: two strings, nothing is looked up or imported
    REDUCE / NEWOBJ / OBJ          make a Call: a function and its arguments, nothing is called
    BUILD, SETITEM(S), APPEND(S)   attach state, entries and items to what stands on the stack
    BINPERSID                      asks the caller's `persistent_load`, as torch does for its storages

What comes out is the object graph as plain data. Dictionaries are lists of pairs (`Mapping`), so that no key is ever
hashed: hashing a tuple whose halves are shared forty times over would not end in this century. All opcodes of protocols
0 to 5 are known (facts: CPython Lib/pickletools.py). The memo is a dict, not an array: its indices are claims of the file.

The loop at the heart is written for speed (some 32 opcodes a tensor): the twenty opcodes that torch.save writes are
spelled out in it, the rest are methods found through a table (pickle_opcodes.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from modelscope_cli.containers.pickle_calls import Readers
from modelscope_cli.containers.pickle_nodes import MARK, Global
from modelscope_cli.containers.pickle_opcodes import EndOfDataError, PersistentLoad, PickleOpcodes
from modelscope_cli.core.checkpoint import CallUse, GlobalUse, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.errors import CorruptFileError, LimitError

CHECK_EVERY = 4_096  # bytes
CHUNK = 1 << 16  # how much is read at a time when the length of the pickle is not known beforehand
_unpack_index = struct.Struct("<I").unpack_from
LONGEST_FIXED = 9  # bytes of an instruction with an argument of fixed length
LONGEST_REASON = 200  # characters of an error of Python's


Refill = Callable[[int], bytes]  # how many bytes are wanted → those bytes, or b"" at the end


class PickleMachine(PickleOpcodes):
    """One run over one pickle stream. `result` is the object, `end` the position behind STOP."""

    def __init__(
        self,
        data: bytes | bytearray,
        where: str,
        limits: Limits,
        persistent_load: PersistentLoad | None = None,
        refill: Refill | None = None,
        start: int = 0,
        readers: Readers | None = None,
    ):
        super().__init__(data, where, limits, persistent_load, readers)
        self.refill = refill
        self.start = self.end = start
        self.opcodes = 0
        self.objects = 0
        self.firsts: dict[int, int] = {}  # instructions that torch.save does not write: where each stands first
        self.result: Any = None

    def run(self) -> Any:
        """Execute until STOP and return the object. Raises CorruptFileError or LimitError."""
        position = self.start
        while True:
            try:
                return self._run_from(position)
            except (IndexError, struct.error, EndOfDataError) as reason:
                position = self.end
                inside = position + LONGEST_FIXED <= len(self.data) and not isinstance(reason, EndOfDataError)
                if inside or not self._refilled():  # inside of what was read the stack was too short, not the data
                    raise self._broken(reason) from None
            except (ValueError, KeyError, TypeError, OverflowError) as reason:
                raise self._broken(reason) from None

    def trace(self, problem: str | None = None) -> PickleTrace:
        """What the stream imports and calls, as far as it was read."""
        uses = tuple([_use(found) for found in self.globals.values()])
        calls = tuple(CallUse(at, self.data[at], function, args, through) for at, function, args, through in self.calls)
        return PickleTrace(self.where, self.end - self.start, self.opcodes, uses, problem, calls, self.firsts)

    def _run_from(self, pos: int) -> Any:
        """The loop. `pos` stays on the opcode until its operands have been read, so that it can be taken up again there."""
        data, stack, marks, memo = self.data, self.stack, self.marks, self.memo
        push, pop, unpack = stack.append, stack.pop, _unpack_index
        persistent_load = self.persistent_load
        opcodes, objects, firsts, rare = self.opcodes, self.objects, self.firsts, self.rare
        pos = self._check_from(pos)
        check_at = self.check_at
        try:
            while True:
                at = pos
                op = data[pos]
                opcodes += 1
                if op == 0x72:  # LONG_BINPUT
                    memo[unpack(data, pos + 1)[0]] = stack[-1]
                    pos += 5
                elif op == 0x68:  # BINGET
                    push(memo[data[pos + 1]])
                    pos += 2
                elif op == 0x4B:  # BININT1
                    push(data[pos + 1])
                    pos += 2
                elif op == 0x71:  # BINPUT
                    memo[data[pos + 1]] = stack[-1]
                    pos += 2
                elif op == 0x4D:  # BININT2
                    push(data[pos + 1] | data[pos + 2] << 8)
                    pos += 3
                elif op == 0x28:  # MARK
                    marks.append(len(stack))
                    push(MARK)
                    pos += 1
                elif op == 0x74:  # TUPLE
                    mark = marks.pop()
                    made = tuple(stack[mark + 1 :])
                    del stack[mark:]
                    push(made)
                    objects += 1
                    pos += 1
                elif op == 0x52:  # REDUCE
                    args = pop()
                    stack[-1] = self._reduce(stack[-1], args, pos)
                    objects += 1
                    pos += 1
                elif op == 0x58:  # BINUNICODE
                    stop = pos + 5 + int.from_bytes(data[pos + 1 : pos + 5], "little")
                    if stop > len(data):
                        raise EndOfDataError
                    push(data[pos + 5 : stop].decode("utf-8", "surrogatepass"))
                    pos = stop
                elif op == 0x8C:  # SHORT_BINUNICODE
                    stop = pos + 2 + data[pos + 1]
                    if stop > len(data):
                        raise EndOfDataError
                    push(data[pos + 2 : stop].decode("utf-8", "surrogatepass"))
                    if op not in firsts:
                        firsts[op] = pos
                    pos = stop
                elif op == 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                    pos += 1
                elif op == 0x85:  # TUPLE1
                    stack[-1] = (stack[-1],)
                    objects += 1
                    pos += 1
                elif op == 0x86:  # TUPLE2
                    last = pop()
                    stack[-1] = (stack[-1], last)
                    objects += 1
                    pos += 1
                elif op == 0x87:  # TUPLE3
                    last = pop()
                    middle = pop()
                    stack[-1] = (stack[-1], middle, last)
                    objects += 1
                    pos += 1
                elif op == 0x29:  # EMPTY_TUPLE
                    push(())
                    pos += 1
                elif op == 0x89:  # NEWFALSE
                    push(False)
                    pos += 1
                elif op == 0x51:  # BINPERSID
                    stack[-1] = persistent_load(stack[-1], pos)
                    objects += 1
                    pos += 1
                elif op == 0x6A:  # LONG_BINGET
                    push(memo[unpack(data, pos + 1)[0]])
                    pos += 5
                elif op == 0x4A:  # BININT
                    data[pos + 4]
                    push(int.from_bytes(data[pos + 1 : pos + 5], "little", signed=True))
                    pos += 5
                elif op == 0x2E:  # STOP
                    pos += 1
                    if pos < self.frame_end:
                        self._stopped_in_frame(at)
                    self.result = self._stop()
                    return self.result
                else:
                    self.end = pos
                    if op not in firsts:
                        firsts[op] = pos
                    pos = rare[op](self, pos + 1)
                    memo = self.memo  # another one once a name was met whose mentions are counted
                    check_at = self.check_at  # an earlier one once a frame began
                    objects += 1
                if pos >= check_at:
                    self._check_limits(opcodes, objects, pos)
                    if at < self.frame_end < pos:
                        self._crossed(at)
                    pos = self._check_from(pos)
                    check_at = self.check_at
        finally:
            self.end, self.opcodes, self.objects = pos, opcodes, objects

    def _check_limits(self, opcodes: int, objects: int, pos: int) -> None:
        """Called every 4,096 bytes, which is at most so many instructions."""
        counted = (("opcodes", opcodes), ("objects", objects), ("memo", len(self.memo)))
        for resource, actual in counted:
            limit = getattr(self.limits, resource)
            if actual > limit:
                raise LimitError(resource, limit, f"more than {limit:,}", path=self.where, offset=pos)

    def _check_from(self, pos: int) -> int:
        """Say where to check next, and where the next instruction stands."""
        self.check_at = pos + CHECK_EVERY
        if pos < self.frame_end < self.check_at:
            self.check_at = self.frame_end
        return pos

    # Frames. Python's unpicklers read a frame as a whole. What reaches across its end is taken from there on by the one in C, which
    # forgets the rest of the frame (Modules/_pickle.c, _Unpickler_ReadFromFile); by pickle.loads from both sides; by the one in
    # Python not at all. No writer does that (Lib/pickle.py, _Framer), so it is refused.

    def _crossed(self, at: int) -> None:
        """The instruction at `at` goes on behind the end of its frame."""
        raise CorruptFileError("an instruction of the pickle reaches across the end of its frame", path=self.where, offset=at)

    def _stopped_in_frame(self, at: int) -> None:
        """The pickle ends before its frame does."""
        raise CorruptFileError("the pickle ends inside a frame", path=self.where, offset=at)

    def _stop(self) -> Any:
        result = self.stack.pop()  # what may lie below it is ignored, as the original does
        if result is MARK:
            raise TypeError("it stops inside an unfinished tuple or list")
        return result

    def _refilled(self) -> bool:
        """Fetch more of a stream whose length was not known; False when there is no more or it may not grow further."""
        if self.refill is None:
            return False
        if len(self.data) >= self.limits.pickle_bytes:
            raise LimitError("pickle_bytes", self.limits.pickle_bytes, f"more than {len(self.data):,}", path=self.where)
        more = self.refill(CHUNK)
        self.data += more
        return bool(more)

    def _broken(self, reason: Exception) -> CorruptFileError:
        """The error for a stream that cannot go on, naming what it would have imported up to there."""
        if isinstance(reason, EndOfDataError) or (
            isinstance(reason, IndexError | struct.error) and self.end + LONGEST_FIXED > len(self.data)
        ):
            what = "the pickle ends in the middle of an instruction"
        elif isinstance(reason, IndexError):
            what = "the pickle takes more from its stack than it put there"
        elif isinstance(reason, KeyError):
            op = self.data[self.end]
            what = (
                f"no pickle instruction 0x{op:02x}"
                if op not in KNOWN
                else f"the pickle refers to memo {reason}, which was never set"
            )
        elif isinstance(reason, UnicodeDecodeError):
            what = "a string in the pickle is not UTF-8"
        else:
            what = f"the pickle is malformed: {str(reason)[:LONGEST_REASON]}"
        uses = [g.path for g in self.globals.values()]
        hint = f"up to there it would import {', '.join(uses[:6])}" if uses else None
        return CorruptFileError(what, path=self.where, offset=self.end, hint=hint)


def _use(found: Global) -> GlobalUse:
    loose = max(0, found.pushed - found.calls + found.indirect) if found.watched else None
    return GlobalUse(found.module, found.name, found.offset, found.calls, loose, found.sites or ())


_HOT = (0x71, 0x68, 0x72, 0x6A, 0x4B, 0x4D, 0x28, 0x74, 0x52, 0x58, 0x8C, 0x94, 0x85, 0x86, 0x87, 0x29, 0x89, 0x51, 0x4A, 0x2E)
KNOWN = frozenset(_HOT) | frozenset(PickleOpcodes.rare)
