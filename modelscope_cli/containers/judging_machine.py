"""The machine that judges: a tolerant one that also goes the other ways in which unpicklers may read the same bytes.

    frames     the unpickler in C drops what is left of a frame that an instruction reaches across; pickle.loads reads straight on
    joblib     writes the bytes of arrays between the instructions, behind the BUILD of a wrapper that says how many; they are skipped,
               and where joblib may read something else, or others read on, that is run as well

What such a run finds counts as if it were found in the first one.
"""

from __future__ import annotations

import re
from array import array
from contextlib import suppress
from typing import Any

from modelscope_cli.containers.joblib_arrays import ALIGNMENT, ARGUMENTS, WRAPPER, Fields, attributes, behind, wraps
from modelscope_cli.containers.pickle_callers import CountingMemo
from modelscope_cli.containers.pickle_frames import read_before
from modelscope_cli.containers.pickle_machine import KNOWN
from modelscope_cli.containers.pickle_nodes import Call, Global, PersistentId
from modelscope_cli.containers.tolerant_machine import MOST_SIGNS, TolerantMachine
from modelscope_cli.errors import ModelscopeError

ARRAY = Global("numpy", "ndarray")  # what stands for an array of joblib's
MOST_DOUBTS = 20  # that are told of a pickle
MOST_LATER = 8  # other ways to read on that are tried
LARGEST_COPY = 100_000  # objects that are kept for that
CAN_BEGIN = KNOWN - {0x2E}  # instructions that lead on
PLAUSIBLE = re.compile(r"[A-Za-z_][\w.]*( \([\d,]+ characters\))?(\.[A-Za-z_][\w.]*( \([\d,]+ characters\))?)?")
Jump = tuple[int, int, int]  # (instruction, how much of it is read before, where its frame ends and the rest of it is read)


class JudgingMachine(TolerantMachine):
    """One run over one pickle stream, and `other_readings` of it."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.skipped = 0  # bytes of arrays between the instructions
        self.inner = 0  # pickles in one another
        self.joblib = True  # whether joblib's wrappers mean something
        self.wrapper_named = False
        self.fields = Fields()
        self.drops: list[tuple[int, list[Jump]]] = []  # where runs begin, and jump, that leave out what is left of a frame
        self.jumps: list[Jump] = []  # that are still to come in this run
        self.patched: list[tuple[int, bytes]] = []  # what stood where it jumped to
        self.wrappers: dict[int, tuple[Call, dict[str, Any]]] = {}  # by identity: their attributes
        self.doubts: list[tuple[int, str]] = []  # places where unpicklers may part ways
        self.later: list[tuple[int, tuple[list[Any], list[int], dict[int, Any]], bool]] = []

    def forget(self) -> None:
        """Let go of all that the trace does not need. Bound methods among it are cycles, and nothing collects those."""
        self.stack, self.memo, self.stored, self.wrappers, self.later, self.drops = [], {}, {}, {}, [], []
        self.reduced = {}
        self.persistent_load = PersistentId  # type: ignore[assignment]
        self.refill = None
        self.readers = {}

    def _build(self, pos: int) -> int:
        target = self.stack[-2]
        after = super()._build(pos)
        if not self.joblib or not self.wrapper_named:
            return after
        wrapper = wraps(target)
        if wrapper is False and type(target) is Call and type(target.state) is tuple:
            wrapper = None if "__class__" in attributes(target, {}) else False
        return after if wrapper is False else after + self._array_behind(target, after, doubtful=wrapper is None)

    def _named(self, module: str, name: str, offset: int) -> Global:
        if name.endswith(WRAPPER):
            self.wrapper_named = True
        return super()._named(module, name, offset)

    # Frames that unpicklers read in different ways: this run reads straight on, as pickle.loads does -----------------------

    def run(self) -> Any:
        try:
            return super().run()
        except ModelscopeError:
            if self.end < self.frame_end and self._reaches(self.frame_end):
                self._crossed(self.end)
            raise

    def _frame(self, pos: int) -> int:
        length = int.from_bytes(self._take(pos, 8), "little")
        before, end = self.frame_end, pos + 8 + length
        if pos - 1 < before <= self.size:
            read = 1 if pos + 8 > before else 9
            beyond = max(pos + 8, end) > before
            self._differs(pos - 1, "a frame begins before the last one has ended", (pos - 1, read, before) if beyond else None)
        self.frame_end = before if pos + 8 <= before and end <= before else end
        self.check_at = pos + 8
        return pos + 8

    def _crossed(self, at: int) -> None:
        read = read_before(self.data, at, self.frame_end)
        if read is not None and self.frame_end <= self.size:
            self._differs(at, "an instruction reaches across the end of its frame", (at, read, self.frame_end))

    def _stopped_in_frame(self, at: int) -> None:
        if self.inner or self.frame_end > self.size:
            return
        self._differs(at, "the pickle ends before its frame does", None)
        self._drop(self.frame_end, [])

    def _differs(self, at: int, why: str, jump: Jump | None) -> None:
        self._sign("pickle-frame", at, f"{why}: unpicklers go on in different places, so other instructions may run")
        if jump is not None and not self.jumps:
            self._drop(self.start, [jump])

    def _drop(self, start: int, jumps: list[Jump]) -> None:
        if len(self.drops) < MOST_LATER:
            self.drops.append((start, jumps))

    def _check_from(self, pos: int) -> int:
        """Where a jump is due, what was read of the instruction is put before the end of the frame, to go on there."""
        if self.jumps and pos == self.jumps[0][0]:
            at, read, end = self.jumps.pop(0)
            pos = end - read
            self.patched.append((pos, bytes(self.data[pos:end])))
            self.data[pos:end] = self.data[at : at + read]  # type: ignore[index]
            self.frame_end = 0
        super()._check_from(pos)
        if self.jumps and pos < self.jumps[0][0] < self.check_at:
            self.check_at = self.jumps[0][0]
        return pos

    def _dropped_readings(self) -> None:
        """Run again what the unpickler in C reads otherwise, from the beginning on."""
        waiting, self.drops = self.drops, []
        tried = 0
        while waiting and tried < MOST_LATER:
            start, jumps = waiting.pop(0)
            if not self._reaches(max([start + 1, *[end for _, _, end in jumps]])):
                continue
            tried += 1
            bounds = self.limits._replace(opcodes=max(0, self.limits.opcodes - self.opcodes))
            machine = JudgingMachine(self.data, self.where, bounds, refill=self.refill, start=start, readers=self.readers)
            machine.size, machine.jumps, machine.inner, machine.joblib = self.size, list(jumps), self.inner + 1, False
            try:
                with suppress(ModelscopeError, RecursionError):
                    machine.run()
            finally:
                for pos, stood in reversed(machine.patched):
                    self.data[pos : pos + len(stood)] = stood  # type: ignore[index]
            self.opcodes += machine.opcodes
            moved = {end - read: at for at, read, end in jumps}
            known = {(at, str(getattr(function, "path", "")), through) for at, function, _, through in self.calls}
            told = [(moved.get(at, at), function, args, through) for at, function, args, through in machine.calls]
            for use in machine.globals.values():
                use.sites = array("Q", [moved.get(at, at) for at in use.sites or ()])
            machine.calls = [call for call in told if (call[0], str(getattr(call[1], "path", "")), call[3]) not in known]
            self._take_in(machine)
            waiting += [(start, jumps + more) for _, more in machine.drops if more]

    # joblib's arrays --------------------------------------------------------------------------------------------------

    def _array_behind(self, wrapper: Call, pos: int, *, doubtful: bool) -> int:
        """How many bytes of a joblib array follow. Where joblib may read something else, that is tried as well, later."""
        made = wrapper.args if type(wrapper.args) is tuple else ()
        direct = type(wrapper.function) is Global and wrapper.function.name == WRAPPER
        known = {**dict(zip(ARGUMENTS, made, strict=False)), ALIGNMENT: 16} if direct and made else {}
        _, earlier = self.wrappers.get(id(wrapper), (None, known))
        values = attributes(wrapper, earlier)
        self.wrappers[id(wrapper)] = (wrapper, values)
        self.stack[-1] = Call(ARRAY, ())  # the array takes its place on the stack, not in the memo
        said = behind(values, self.fields)
        doubt = said.doubt or ("what makes its wrapper is not joblib" if doubtful else "")
        if direct and made:
            doubt = doubt or "its wrapper is made with arguments"
        if pos < self.frame_end:
            doubt = doubt or "a frame goes on behind its wrapper, so its elements may stand elsewhere"
        if said.objects:
            if doubt:
                self._doubt(pos, doubt)
                self._try_later(pos)
                if said.nbytes is not None:
                    self._try_later(pos + self._padding(said.padded, pos) + said.nbytes)
            return self._pickle_behind(pos)
        if doubt:
            self._doubt(pos, doubt)
            self._try_later(pos, nested=True)
        length = -1 if said.nbytes is None else self._padding(said.padded, pos) + said.nbytes
        if length < 0 or not self._reaches(pos + length):
            return 0
        self._try_later(pos, certain=bool(doubt))
        self.skipped += length
        return length

    def _padding(self, padded: bool, pos: int) -> int:
        return 1 + self.data[pos] if padded and self._reaches(pos + 1) else 0

    def _doubt(self, pos: int, why: str) -> None:
        """What is odd about the array that may stand here."""
        if len(self.doubts) < MOST_DOUBTS:
            self.doubts.append((pos, f"joblib may read an array here in another way than others: {why}"))

    def _try_later(self, pos: int, *, nested: bool = False, certain: bool = True) -> None:
        """Once this run has ended, go on from here with what is on the stack now; `nested`: with nothing, as a pickle in it.

        Where it is not `certain` that anybody reads it so, only imports that look like ones count.
        """
        if self.inner or not self._reaches(pos + 1) or self.data[pos] not in CAN_BEGIN:
            return
        if len(self.later) >= MOST_LATER or len(self.stack) + len(self.memo) > LARGEST_COPY:
            if certain:
                self._doubt(pos, "too many such arrays to try everything")
            return
        state = ([], [], {}) if nested else (list(self.stack), list(self.marks), dict(self.memo))
        self.later.append((pos, state, certain))

    def other_readings(self) -> None:
        """Run what was put off. What an unpickler comes to when it reads arrays in another way counts as if it were read so."""
        if type(self.data) is bytearray:
            self._dropped_readings()
        waiting, self.later = self.later, []
        for pos, (stack, marks, memo), certain in waiting:
            bounds = self.limits._replace(opcodes=max(0, self.limits.opcodes - self.opcodes))
            machine = JudgingMachine(self.data, self.where, bounds, refill=self.refill, start=pos, readers=self.readers)
            machine.stack, machine.marks, machine.size = stack, marks, self.size
            machine.memo, machine.stored, machine.wrappers = CountingMemo(memo), self.stored, dict(self.wrappers)
            machine.inner, machine.wrapper_named, machine.fields = self.inner + 1, True, self.fields
            with suppress(ModelscopeError, RecursionError):
                machine.run()
            self.opcodes += machine.opcodes
            called = [use for use in machine.globals.values() if use.calls and PLAUSIBLE.fullmatch(use.path)]
            if not certain and not called:
                continue
            if not certain:
                self._doubt(pos, "its bytes are a pickle too, which runs where the file is not opened with joblib")
            self._take_in(machine)

    def _take_in(self, machine: JudgingMachine) -> None:
        """What another run found is found here."""
        self.calls += machine.calls
        for key, length in machine.keys.items():
            self.keys[key] = length if self.keys.get(key, length) == length else None
        self.signs = list(dict.fromkeys(self.signs + machine.signs))[: 2 * MOST_SIGNS]
        self.doubts = list(dict.fromkeys(self.doubts + machine.doubts))[:MOST_DOUBTS]
        for use in machine.globals.values():
            known = self._known_as(use.module, use.name, use.offset)
            known.indirect += use.indirect
            known.pushed += use.pushed
            for at in use.sites or ():
                known.called_at(at)

    def _reaches(self, stop: int) -> bool:
        """Whether there are so many bytes."""
        if stop > self.size:
            return False
        while len(self.data) < stop and self._refilled():
            pass
        return len(self.data) >= stop

    def _pickle_behind(self, pos: int) -> int:
        """Run the pickle of an array of objects, which joblib writes into the same stream; how long it is."""
        machine = JudgingMachine(self.data, self.where, self.limits, refill=self.refill, start=pos, readers=self.readers)
        machine.inner = self.inner + 1
        machine.joblib = False  # an unpickler of Python's own, which knows nothing of wrappers
        machine.size = self.size
        try:
            machine.run()
        finally:
            self.opcodes += machine.opcodes
            self._take_in(machine)
        if machine.end < machine.frame_end:
            self._doubt(machine.end, "a frame goes on behind the end of its objects")
            self._try_later(machine.frame_end)
        return machine.end - pos


JudgingMachine.rare = {
    **TolerantMachine.rare,
    0x62: JudgingMachine._build, 0x95: JudgingMachine._frame,
}  # fmt: skip
