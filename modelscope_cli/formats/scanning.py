"""Everything in a file that a program could run: found by content, whatever the name, and handed on unjudged.

    file ── read as the model it seems to be ──▶ problem, metadata
         └─ walk ──▶ zip members, tar members, .npy and joblib arrays, blobs of a .distcp, compressed streams … each by content
                     └─▶ pickles (scan_pickles), texts (scan_text), chat templates (scan_templates), Python (scan_source),
                         signs of disagreeing parsers (scan_zip_gaps), programs of torch.export (scan_program) and compiled code (scan_export),
                         operators of ONNX and TensorFlow (scan_graphs)

Both are done: a file that no reader takes is never said to be safe, and a reader that is content has not seen every member. The
looks add up: a file that is an archive may begin as a pickle and end as another archive, whatever it is called. What is too large,
too deep, encrypted or cannot be followed goes into `unseen`, and so does, quietly, what is of no known kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from modelscope_cli.containers.pickle_nodes import INST, NEWOBJ, NEWOBJ_EX, OBJ
from modelscope_cli.containers.tar_directory import looks_like_tar
from modelscope_cli.containers.unpacked import Budget
from modelscope_cli.core.checkpoint import Checkpoint, GlobalUse, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.scanned import TORCH, Scanned, Sign, Stream, Target, Unseen
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.scan_compressed import packed_otherwise, scan_compressed, stream_of

if TYPE_CHECKING:
    from modelscope_cli.formats.scan_asked import Asked
    from modelscope_cli.formats.scan_package import Manifest
    from modelscope_cli.formats.scan_source import Source

HEAD = 1 << 12
MOST_UNSEEN = 200
MOST_SIGNS = 200  # of a kind: many of one must not keep out those of another
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
END_OF_ZIP = b"PK\x05\x06"
NUMPY = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # bytes, or twice as many, or twice that …: what may stand before HDF5
GGUF = re.compile(rb"GGUF(?![ -~]{4})")
SAFETENSORS = re.compile(rb"(?![\t\n\r -~]{8}).{8}\{", re.DOTALL)
PART = ".distcp"
NATIVE = (b"\x7fELF", b"\0asm", b"MZ", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba")
MOST_ENDS = 8  # end records of zip archives that are tried

Read = Callable[[Window, Limits], Checkpoint]


def scan_file(path: str, limits: Limits, read: Read, found: Scanned | None = None) -> Scanned:
    """Everything found in one file. `read` is the reader of checkpoints; its refusal is kept as the problem.

    It is put into `found`, if that is given, as it is found: whoever is interrupted has what there was until then.
    Raises SourceError for what is no file; everything else ends in the result.
    """
    with open_window(path) as window:
        return scan_window(window, limits, read, found)


def scan_window(window: Window, limits: Limits, read: Read, found: Scanned | None = None) -> Scanned:
    """Everything found behind a window."""
    found = found or Scanned(window.name)
    found.nbytes = window.size
    walk = Walk(found, limits)
    try:
        walk.take(read(window, limits))
    except ModelscopeError as problem:
        found.problem = problem
    except RecursionError:
        found.problem = LimitError("nesting", limits.nesting, f"more than {limits.nesting:,}", path=window.name)
    walk.content(window, "", 0)
    walk.follow(window)
    walk.finish()
    return found


def _is_followed(trace: PickleTrace) -> bool:
    """Whether a reader came to the end of a pickle, and it is a plain state dict, in which a reader sees all that there is to see."""
    if trace.problem is not None or not MAKING_OBJECTS.isdisjoint(trace.firsts):
        return False
    return all([(use.module, use.name) in PLAIN or (_is_storage(use) and not use.calls) for use in trace.globals])


def _is_storage(use: GlobalUse) -> bool:
    return use.module in ("torch", "torch.cuda", "torch.storage") and use.name.endswith("Storage")


MAKING_OBJECTS = frozenset({NEWOBJ, NEWOBJ_EX, OBJ, INST})  # instructions that no state dict needs
PLAIN = frozenset(
    {("collections", "OrderedDict")}
    | {("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")}
)


class Walk:
    """One walk through a file and what is packed in it. `budget` are the bytes that may still be unpacked and run."""

    def __init__(self, found: Scanned, limits: Limits):
        self.found = found
        self.limits = limits
        self.budget = limits.scanned_bytes
        self.tries = limits.scanned_pickles  # places where a hidden pickle may still be looked for
        self.spare = limits.opcodes // 2  # instructions that may still be run to look for one
        self.opcodes = limits.opcodes + limits.opcodes // 2  # instructions that may still be run, of all pickles together
        self.reading = self.opcodes  # the same of those in packages that are read as such
        self.imports = 5 * limits.imports  # names that may still be imported, by all of them
        self.unpacking = Budget(limits)  # for what is compressed by itself
        self.files = 0
        self.known: dict[str, PickleTrace] = {}  # pickles of torch that a reader has run from end to end, by their place
        self.stacked: list[PickleTrace] = []  # the same of the first five of torch.save before 1.6
        self.unpickled: list[PickleTrace] = []  # all that a reader of the oldest format has run
        self.data: frozenset[int] = frozenset()  # where the storages begin that a reader found: nothing to run
        self.templates = False  # whether a reader kept the chat templates, each to its end
        self.sources: list[Source] = []  # Python files, until it is known what names them, and everything else was looked at
        self.source_bytes = 4 * limits.searched_bytes  # of them that may still be searched
        self.judged: set[str] = set()  # those of them that an archive runs by its nature
        self.targets: set[Target] = set()  # names in configurations, each once a place
        self.names: set[tuple[str, str]] = set()  # of them, each once, with how it is asked for
        self.names_left_out = False  # whether there were more than the limit
        self.packages: set[str] = set()  # where in an archive a torch.package begins that was unpacked
        self.served: dict[str, Manifest] = {}  # by folder: what a manifest of TorchServe in it names
        self.indexes: dict[
            str, tuple[Any, PickleTrace]
        ] = {}  # by place: the object that the index of a distributed checkpoint is
        self.blobs: dict[str, set[tuple[int, int]]] = {}  # by the place of a `.distcp`: (start, bytes) of its blobs
        self.numbers = 4 * limits.searched_bytes  # bytes of numbers that may still be searched for programs
        self.asked: list[Asked] = []  # the Python files that configurations name
        self.unsought: set[str] = set()  # configurations beside which nothing is looked for
        self.asking = 500_000  # of their paths that may still be kept
        self.programs: list[str] = []  # prefixes of archives of torch.export
        self.quoted: dict[str, str] = {}  # by kind, texts that torch.export puts between quotes in source
        self.counts: dict[str, int] = {}  # signs by their code
        self.places: dict[str, int] = {}  # where in `found.unseen` a place stands
        self.ends: dict[str, int] = {}  # by place: where the last member of a tar stops, which was looked at by itself
        self.kinds = 0  # parts of a known kind, but for containers

    def has_parts(self, prefix: str, names: Iterable[str]) -> bool:
        """Whether among the members of an archive there is the index of a distributed checkpoint, or a part of one."""
        return any(where.startswith(prefix) for where in self.indexes) or any([name.endswith(".distcp") for name in names])

    def take(self, checkpoint: Checkpoint) -> None:
        """What the reader of checkpoints learnt. A pickle that it ran to the end need not be run again: it is the stricter one."""
        found = self.found
        found.kind = checkpoint.format
        wrong = next((note for note in checkpoint.notes if note.severity == "error"), None)
        if wrong is not None:
            found.problem = CorruptFileError(wrong.message, path=found.path)
        storage = checkpoint.tensors.storage
        self.data = frozenset(start for start, nbytes in zip(storage.starts, storage.nbytes, strict=True) if nbytes)
        if checkpoint.format in ("torch-zip", "torchscript"):
            if all([trace.where.startswith(f"{found.path}:") for trace in checkpoint.pickles]):  # no torch.save in a pickle
                self.known = {trace.where: trace for trace in checkpoint.pickles if _is_followed(trace)}
        elif checkpoint.format == "torch-legacy" and all([_is_followed(trace) for trace in checkpoint.pickles]):
            self.stacked = checkpoint.pickles
        elif checkpoint.format == "torch-tar":
            self.unpickled = checkpoint.pickles
        elif checkpoint.format == "gguf":
            from modelscope_cli.formats.scan_gguf import kept_whole, templates_of

            self.templates = kept_whole(checkpoint)
            if self.templates:
                templates_of(checkpoint, self)

    def content(self, window: Window, where: str, depth: int, *, raw: bool = False) -> bool:
        """Look at a file, or at one inside another, by what it holds. `raw` says that numbers are expected. Never raises for content.

        Returns whether it is of a kind that is known, or was told.
        """
        self.files += 1
        if depth > self.limits.scanned_depth:
            self.unseen(where, f"more than {self.limits.scanned_depth:,} containers in one another (--limit scanned_depth=N)")
            return True
        if self.files > self.limits.scanned_parts:
            self.unseen("", f"what follows the first {self.limits.scanned_parts:,} parts (--limit scanned_parts=N)")
            return True
        try:
            head = window.head(HEAD)
        except ModelscopeError as problem:
            self.unseen(where, problem)
            return True
        known = False
        for look in (self._pickles, self._container, self._user_block, self._second_end):
            try:
                known = look(window, where, depth, head) or known
            except ModelscopeError as problem:
                if depth or self.found.problem is None or problem.message != self.found.problem.message:
                    self.unseen(where, problem)
                known = True
            except (RecursionError, MemoryError):
                self.unseen(where, "it is nested too deeply, or needs more memory than there is")
                known = True
        if not known and window.size and depth and not raw:
            self.unseen(where, "of no kind that is known here", quiet=True)
        return known

    def _pickles(self, window: Window, where: str, depth: int, head: bytes) -> bool:
        from modelscope_cli.formats.scan_pickles import scan_pickles

        found = scan_pickles(self, window, where, depth, head)
        self.kinds += found
        return found

    def _container(self, window: Window, where: str, depth: int, head: bytes) -> bool:
        """What its first bytes say it is, if not a pickle. Returns whether that is known."""
        if head.startswith(ZIP):
            from modelscope_cli.formats.scan_zip import scan_zip

            scan_zip(self, window, where, depth)
            return True
        if looks_like_tar(head):
            from modelscope_cli.formats.scan_tar import scan_tar

            scan_tar(self, window, where, depth)
            return True
        packed = stream_of(head, window)
        if packed and scan_compressed(self, window, where, depth, *packed):
            return True
        if other := packed_otherwise(head):
            self.unseen(where, f"packed with {other}, which is not unpacked here: unpack it first and scan what comes out")
            return True
        if self._model(window, where, depth, head):
            self.kinds += 1
            return True
        from modelscope_cli.formats.scan_text import scan_text

        return scan_text(self, window, where, head)

    def _model(self, window: Window, where: str, depth: int, head: bytes) -> bool:
        """Formats of arrays and models that are no containers."""
        if head.startswith(NUMPY):
            from modelscope_cli.formats.scan_arrays import scan_npy

            scan_npy(self, window, where)
        elif head.startswith(HDF5):
            from modelscope_cli.formats.scan_keras import scan_hdf5

            scan_hdf5(self, window, where)
        elif GGUF.match(head):
            if depth or not self.templates:
                from modelscope_cli.formats.scan_gguf import scan_gguf

                scan_gguf(self, window, where)
        elif SAFETENSORS.match(head) and int.from_bytes(head[:8], "little") + 8 <= window.size:
            if depth or self.found.problem is not None:
                self._safetensors(window, where, depth)
        elif depth and head.startswith(NATIVE):
            from modelscope_cli.formats.scan_export import native_kind, scan_native

            kind = native_kind(head, window)
            if kind is None:
                return False
            scan_native(self, where, kind)
        else:
            from modelscope_cli.formats.scan_graphs import scan_graph

            return scan_graph(self, window, where, head)
        return True

    def _safetensors(self, window: Window, where: str, depth: int) -> None:
        """Nothing in it is executed; what stands behind it may be. Raises a ModelscopeError for a header that cannot be read."""
        from modelscope_cli.formats.safetensors import read

        checkpoint = read(window, self.limits, lenient=True)
        wrong = next((note for note in checkpoint.notes if note.severity == "error"), None)
        if wrong is not None and depth:
            self.unseen(where, wrong.message)
        storage = checkpoint.tensors.storage
        header = 8 + int.from_bytes(window.read(0, 8), "little")
        end = max([header, *map(sum, zip(storage.starts, storage.nbytes, strict=True))])
        if end < window.size:
            behind = f"{where}/behind" if where else "behind"
            self.content(window.cut(end, window.size - end, behind), behind, depth + 1)

    def _user_block(self, window: Window, where: str, depth: int, head: bytes) -> bool:
        """HDF5 may begin behind a block that is the user's own."""
        at = USER_BLOCK
        while at + len(HDF5) <= window.size:
            if (head[at : at + 8] if at + 8 <= len(head) else window.read(at, 8)) == HDF5:
                from modelscope_cli.formats.scan_keras import scan_hdf5

                scan_hdf5(self, window, where)
                self.kinds += 1
                return True
            at *= 2
        return False

    def _second_end(self, window: Window, where: str, depth: int, head: bytes) -> bool:
        """A zip archive that ends where another file does: programs that look at the end see another file than those at the start.

        Python's zipfile takes the last end record of the last 64 KiB, whatever follows it.
        """
        if head.startswith(ZIP):
            return False
        size = min(window.size, (1 << 16) + 22)
        tail = window.read(window.size - size, size)
        at = len(tail)
        for _ in range(MOST_ENDS):
            at = tail.rfind(END_OF_ZIP, 0, at)
            if at < 0 or window.size - size + at < self.ends.get(where, 0):
                return False
            if at + 22 <= len(tail):
                from modelscope_cli.formats.scan_zip import scan_appended

                if scan_appended(self, window, where, depth, window.size - size + at):
                    return True
        return False

    def follow(self, window: Window) -> None:
        """Look at what an index of a distributed checkpoint points to."""
        if window.name.endswith(PART):
            from modelscope_cli.formats.scan_places import follow_beside

            follow_beside(self, window)
        elif "" in self.indexes:
            from modelscope_cli.formats.scan_places import follow_index

            follow_index(self, window.name, *self.indexes.pop(""))

    def finish(self) -> None:
        """What can be said only once everything was looked at."""
        told = {(use.module, use.name) for stream in self.found.streams for use in stream.trace.globals}
        for trace in self.unpickled:
            if any((use.module, use.name) not in told for use in trace.globals):
                where = trace.where.removeprefix(f"{self.found.path}:")
                self.found.streams.append(Stream(where, trace, TORCH))
        if self.found.streams:
            from modelscope_cli.formats.scan_package import modules_beside

            self.found.packaged |= modules_beside(self.found)
        if self.sources or self.served:
            from modelscope_cli.formats.scan_source import judge_sources

            judge_sources(self)
        for code, count in self.counts.items():
            if count > MOST_SIGNS:
                self.found.signs.append(Sign(code, "", f"{count - MOST_SIGNS:,} more of this kind, which are not listed"))
        if not self.kinds and not self.found.has_something:
            self.found.looked = False  # a container of nothing that is judged: of texts, or of what is known by no name

    def sign(self, code: str, where: str, message: str, offset: int | None = None) -> None:
        """Note something odd; of many of a kind the first."""
        count = self.counts[code] = self.counts.get(code, 0) + 1
        if count <= MOST_SIGNS:
            self.found.signs.append(Sign(code, where, message, offset))

    def unseen(self, where: str, why: str | ModelscopeError, *, quiet: bool = False, source: bool = False) -> None:
        """Note a part that was not looked at, each place once; `quiet` ones matter less than those that should have been."""
        if isinstance(why, ModelscopeError):
            why = why.told if isinstance(why, LimitError) else why.message
        found = self.found.unseen
        left = Unseen(where, why, quiet, source)
        place = self.places.get(where)
        if place is not None:
            if found[place].minor and not quiet:
                found[place] = left
        elif len(found) < MOST_UNSEEN and not (quiet and len(found) > MOST_UNSEEN // 2):
            self.places[where] = len(found)
            found.append(left)
        elif not quiet and all(one.minor for one in found):
            found[-1] = left
