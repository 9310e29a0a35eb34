"""Pickles, one behind another, as raw files and members hold them.

    [pickle][pickle] …                                       pickle.dump into one file, several times
    [magic][1001][system][object][keys][storages …]          torch.save before 1.6: torch unpickles the first five
    [pickle … array bytes … pickle]                          joblib: arrays between the instructions (judging_machine)

What runs before a broken instruction has run, so the trace of a broken pickle counts. A stream without a protocol number is
taken for a pickle when it calls something, or imports something and comes to its STOP: any text can begin like one.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from modelscope_cli.containers.judging_machine import JudgingMachine
from modelscope_cli.containers.literal_bytes import literal_bytes, source_of_bytes
from modelscope_cli.containers.pickle_frames import IMPORT
from modelscope_cli.containers.pickle_machine import CHUNK
from modelscope_cli.containers.pickle_nodes import COMPUTED, Call, Global
from modelscope_cli.core.scanned import PYTHON, TORCH, Stream
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.evaluated_hints import may_be_evaluated, window_may_be_evaluated
from modelscope_cli.formats.torch_legacy import MAGIC_NUMBER

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

STACKED = 5  # pickles that torch.load reads of a stacked file
LINES = frozenset(b"PVIFLSgpci")  # instructions whose argument is a line
MOST_OF_A_LINE = 256 << 20  # bytes that are searched for its end, a PIECE at a time
PIECE = 1 << 20
EXAMPLES = re.compile(r"(?:^|/)(?:data/sample_inputs/|serialized_example_inputs\.pt)", re.IGNORECASE)  # of torch.export
SEVERAL = 3  # instructions: so few of them any text can begin with
OVERHEAD = 50  # instructions that beginning a run counts for
PROTOCOL = 0x80
NEWEST_PROTOCOL = 5
PICKLED = (".bin", ".ckpt", ".dill", ".joblib", ".model", ".p", ".pickle", ".pk", ".pkl", ".pt", ".pth", ".sav")  # suffixes
EXTENSIONS = "copyreg"  # whose registry says what their codes mean
INDEX = "BytesStorageMetadata"  # a class of the index of a distributed checkpoint, whose places are looked at
NAME = re.compile(r"[\w.<>$ -]+( \([\d,]+ characters\))?")  # of longer ones the ends are kept
BLANKS = b"\xef\xbb\xbf\xff\xfe \t\r\n"  # that a program may strip before it unpickles text, a byte-order mark among them
NEVER_FIRST = frozenset(b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\xff\xfe")


def scan_pickles(walk: Walk, window: Window, where: str, depth: int, head: bytes, *, loader: str = PYTHON) -> bool:
    """Run every pickle of a window. Returns whether there was one."""
    blanks = len(head) - len(head.lstrip(BLANKS))
    if blanks == len(head) or head[blanks] in NEVER_FIRST:
        return False
    if walk.stacked and not depth and not window_may_be_evaluated(window, sum([trace.nbytes for trace in walk.stacked])):
        walk.found.streams += [Stream(where, trace, TORCH) for trace in walk.stacked]
        return True
    series = Series(walk, window, where, depth, loader)
    series.position = blanks
    found = series.run()
    if found and not depth and not blanks:
        walk.found.begins = "pickle"
    return found


class Series:
    """The pickles of one window."""

    def __init__(self, walk: Walk, window: Window, where: str, depth: int, loader: str, *, one_of_many: bool = False):
        self.walk = walk
        self.one_of_many = one_of_many  # whether pickles in a row are the way of the format
        self.window = window
        self.where = where
        self.depth = depth
        self.loader = loader
        self.data = bytearray(window.head(CHUNK))
        self.position = 0
        self.keys: dict[str, int | None] = {}  # of storages: how many bytes, where one number is said
        self.nested: list[tuple[int, bytes]] = []
        self.seen: set[bytes] = set()  # checksums of files in the pickle
        self.sources: dict[tuple[int, bool], Any] = {}  # what their bytes are made of, by identity

    def more(self, wanted: int) -> bytes:
        start = len(self.data)
        return self.window.read(start, min(wanted, self.window.size - start))

    def run(self) -> bool:
        """Whether there was a pickle at all."""
        first = self.position
        announced = len(self.data) > first + 1 and self.data[first] == PROTOCOL and self.data[first + 1] <= NEWEST_PROTOCOL
        machine, problem = self.one()
        most = self.walk.limits.scanned_pickles
        before: list[JudgingMachine] = []  # a number or a text by itself: what any text can begin with, and a pickle may follow
        while not announced and not self._is_pickle(machine, problem):
            ended = problem is not None or machine.opcodes < 2 or self.position >= self.window.size
            if isinstance(problem, LimitError) and (
                problem.resource
                == "imports"  # the first name is one too many, where others have used up what a file may import
                or (machine.opcodes >= SEVERAL and not self._is_endless_line(machine))
            ):
                self._unfollowed(problem)
            if ended or len(before) >= most:
                return False
            before.append(machine)
            machine, problem = self.one()
        if announced and problem is not None and not machine.globals and machine.opcodes < 3:
            if isinstance(problem, LimitError) and problem.resource == "imports":
                self._unfollowed(problem)
            return False
        stacked = type(machine.result) is int and machine.result == MAGIC_NUMBER
        for each in before:
            self.keep(each, None)
        self.keep(machine, problem, TORCH if stacked else None)
        count = len(before) + 1
        while problem is None and self.position < self.window.size and count < most:
            if stacked and count >= STACKED:
                break
            position = self.position
            machine, problem = self.one()
            if problem is not None and not named(machine):
                self.position = position
                break
            self.keep(machine, problem, TORCH if stacked else PYTHON)  # torch stops behind the first one
            count += 1
        self.walk.budget -= len(self.data)
        if count >= most and self.position < self.window.size and not (stacked and count >= STACKED):
            self.walk.unseen(self.where, f"what follows its first {count:,} pickles (--limit scanned_pickles=N)")
        if not stacked:
            self._rest(count)
        self.look_inside()
        return True

    def _is_pickle(self, machine: JudgingMachine, problem: ModelscopeError | None) -> bool:
        """Whether something did what pickles do: without a protocol number, more than text may do by chance.

        An import at the very end of the data runs before that is missed. Any two lines of text can be one, so there the name decides.
        Codes of extensions mean what the loading program says, so by themselves they are numbers, unless something is called to the end.
        """
        uses = named(machine)
        at = machine.firsts.get(PROTOCOL, -1)
        numbered = 0 <= at < len(self.data) - 1 and self.data[at + 1] <= NEWEST_PROTOCOL
        if not numbered and all([use.module == EXTENSIONS and use.name.startswith("extension ") for use in uses]):
            uses = [use for use in uses if use.calls and problem is None]
        if problem is None:
            return machine.opcodes > 1 and (bool(uses) or numbered)
        cut = machine.cut and (self.where or self.window.name).lower().endswith(PICKLED)
        return bool(uses) and (numbered or cut or any(use.calls for use in uses))

    def _named(self, problem: ModelscopeError) -> ModelscopeError:
        """What is left of a limit is no number that anybody knows: the limit itself is told."""
        if isinstance(problem, LimitError) and problem.resource in ("opcodes", "imports"):
            limit = getattr(self.walk.limits, problem.resource)
            return LimitError(problem.resource, limit, f"more than {limit:,}", path=problem.path, offset=problem.offset)
        return problem

    def _unfollowed(self, problem: LimitError) -> None:
        self.walk.unseen(self.where, f"what may be a pickle could not be followed to its end: {problem.told}")

    def look_inside(self) -> None:
        """Look at what its calls unpickle in turn."""
        nested, self.nested = self.nested, []
        for number, raw in nested:
            inner = f"{self.where}/" if self.where else ""
            self.walk.content(MemoryWindow(raw, f"{self.window.name}"), f"{inner}bytes at {number:,}", self.depth + 1)

    def _is_endless_line(self, machine: JudgingMachine) -> bool:
        """Whether it stopped at a line that never ends, as a safetensors file whose length begins with `P` (0x50) seems to do.

        Holes are skipped; where more is stored than is searched, nobody knows.
        """
        if machine.globals or machine.end >= len(self.data) or self.data[machine.end] not in LINES:
            return False
        if self.data.find(b"\n", machine.end) >= 0:
            return False
        position, left = self.window.next_data(len(self.data)), MOST_OF_A_LINE
        while position < self.window.size and left > 0:
            piece = self.window.read(position, min(PIECE, self.window.size - position))
            if b"\n" in piece:
                return False
            left -= len(piece)
            position = (
                self.window.next_data(position + len(piece)) if position + len(piece) < self.window.size else self.window.size
            )
        return position >= self.window.size

    def one(self) -> tuple[JudgingMachine, ModelscopeError | None]:
        """Run the pickle at the position, and go behind it."""
        readers: Any = {("torch.storage", "_load_from_bytes"): self._load_from_bytes}
        name = self.where or self.window.name
        imports = max(0, min(self.walk.limits.imports, self.walk.imports))
        bounds = self.walk.limits._replace(opcodes=max(0, self.walk.opcodes), imports=imports)
        if not bounds.opcodes:
            raise LimitError("opcodes", self.walk.limits.opcodes, f"more than {self.walk.limits.opcodes:,}", path=name)
        machine = JudgingMachine(self.data, name, bounds, None, self.more, self.position, readers)
        machine.size = self.window.size
        problem: ModelscopeError | None = None
        try:
            machine.run()
        except ModelscopeError as error:
            problem = self._named(error.without_frames())
        except RecursionError:
            problem = LimitError("nesting", self.walk.limits.nesting, f"more than {self.walk.limits.nesting:,}", path=name)
        except BaseException:  # the time is up, or the memory: what was found so far counts
            if named(machine):
                self.walk.found.streams.append(
                    Stream(self.where, machine.trace("it took too long or too much memory"), self.loader)
                )
            raise
        machine.other_readings()
        self.position = machine.end
        self.walk.opcodes -= machine.opcodes + OVERHEAD
        self.walk.imports -= len(machine.globals)
        machine.forget()
        return machine, problem

    def keep(self, machine: JudgingMachine, problem: ModelscopeError | None, loader: str | None = None) -> None:
        trace = machine.trace(problem.message if problem is not None else None)
        if self.where not in self.walk.indexes and any(name == INDEX for _, name in machine.globals):
            self.walk.indexes[self.where] = machine.result, trace
        for key, length in machine.keys.items():
            self.keys[key] = length if self.keys.get(key, length) == length else None
        self.walk.found.streams.append(Stream(self.where, trace, loader or self.loader))
        if problem is None and may_be_evaluated(self.data, machine.start, machine.end):
            from modelscope_cli.formats.scan_evaluated import texts_in_pickle

            texts_in_pickle(self.walk, self.where, machine.result)
        if EXAMPLES.search(self.where):
            from modelscope_cli.formats.scan_program import scan_examples

            scan_examples(self.walk, self.where, machine.result)
        for sign, offset, why in machine.signs:
            self.walk.sign(sign, self.where, why, offset)
        for offset, doubt in machine.doubts:
            self.walk.sign("joblib-array", self.where, doubt, offset)
        if problem is not None:
            code = "pickle-limit" if isinstance(problem, LimitError) else "pickle-broken"
            why = problem.told if isinstance(problem, LimitError) else problem.message
            self.walk.sign(code, self.where, f"the pickle could not be followed to its end: {why}", machine.end)
            self._behind_break(machine)
        if machine.end - machine.start > self.walk.limits.pickle_bytes:
            self.walk.unseen(
                self.where,
                f"a pickle longer than the limit of {self.walk.limits.pickle_bytes:,} bytes (--limit pickle_bytes=N)",
            )

    def _behind_break(self, machine: JudgingMachine) -> None:
        """What stands behind an instruction that cannot be followed here could be followed by another program."""
        left = self.window.read(machine.end, min(self.walk.limits.searched_bytes // 8, max(0, self.window.size - machine.end)))
        found = IMPORT.search(left)
        if found is not None:
            at = machine.end + found.start()
            self.walk.sign("pickle-behind-break", self.where, "imports follow where the pickle could not be followed", at)

    def _load_from_bytes(self, args: tuple[Any, ...]) -> Any:
        """A torch.save inside the pickle: looked at as a file of its own."""
        source = source_of_bytes(args[0]) if len(args) == 1 else None
        met = id(source), len(args) == 1 and source is args[0]  # a text stands for other bytes than what is decoded from it
        if source is not None and met in self.sources:
            return Call(Global("torch.storage", "_load_from_bytes"), args)
        raw = literal_bytes(args[0]) if source is not None else None
        if raw is None:
            self.walk.sign(
                "computed-bytes", self.where, "it unpickles bytes that are put together while loading: nobody can see them"
            )
        if raw is not None and (known := sha256(raw).digest()) not in self.seen:
            self.seen.add(known)
            self.sources[met] = source
            if len(self.nested) >= self.walk.limits.nested_files:
                raise LimitError("nested_files", self.walk.limits.nested_files, len(self.nested) + 1, path=self.window.name)
            self.nested.append((self.data.find(raw[:64]) if raw else 0, raw))
        return Call(Global("torch.storage", "_load_from_bytes"), args)

    def _rest(self, count: int) -> None:
        """What stands behind the last STOP."""
        left = self.window.size - self.position
        if self.one_of_many:
            return
        if self.loader == TORCH and count > 1:
            self.walk.sign(
                "second-pickle",
                self.where,
                f"{count - 1:,} more {'pickle follows' if count == 2 else 'pickles follow'} the one that torch loads",
            )
        if left <= 0 or not self.walk.found.streams or self.walk.found.streams[-1].trace.problem is not None:
            return
        at = self.position
        rest = self.window.read(at, min(left, self.walk.limits.searched_bytes // 8))
        if left > len(rest) or rest.strip(b"\0\n\r "):
            from modelscope_cli.formats.scan_hidden import PICKLE_START, search

            self.walk.sign("after-stop", self.where, f"{left:,} bytes follow the last pickle", at)
            if PICKLE_START.search(rest) is not None:
                self.data += self.more(max(0, at + len(rest) - len(self.data)))
                self.loader = PYTHON  # torch stops before it
                search(self, rest, base=at)


def named(machine: JudgingMachine) -> list[Global]:
    """What it imports by names that a module and a thing in it can have."""
    named = [use for use in machine.globals.values() if use.module == COMPUTED or NAME.fullmatch(use.module)]
    return [use for use in named if NAME.fullmatch(use.name)]
