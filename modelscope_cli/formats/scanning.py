"""Everything in a file that a program could run: found by content, whatever the name, and handed on unjudged.

    file ── read as the model it seems to be ──▶ problem, metadata
         └─ walk ──▶ zip members, tar members, .npy and joblib arrays, blobs of a .distcp, compressed streams … each by content
                     └─▶ pickles (scan_pickles), programs as text (scan_text), signs of disagreeing parsers (scan_zip)

Both are done: a file that no reader takes is never said to be safe, and a reader that is content has not seen every member.
What is too large, too deep, encrypted or of no known kind goes into `unseen`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from modelscope_cli.containers.tar_directory import looks_like_tar
from modelscope_cli.containers.unpacked import Budget
from modelscope_cli.core.checkpoint import Checkpoint, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.scanned import Scanned, Sign, Unseen
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.scan_compressed import scan_compressed, stream_of

HEAD = 1 << 12
DEEPEST = 8  # containers in one another
FILES = 4  # times nested_files: members that are looked into
MOST_UNSEEN = 200
MOST_SIGNS = 2_000
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
END_OF_ZIP = b"PK\x05\x06"
NUMPY = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"
SAFETENSORS = re.compile(rb"(?![\t\n\r -~]{8}).{8}\{", re.DOTALL)
TEXT_SUFFIXES = (".json", ".jinja", ".jinja2", ".j2", ".py", ".md", ".txt", ".yaml", ".yml", ".toml")

Read = Callable[[Window, Limits], Checkpoint]


def scan_file(path: str, limits: Limits, read: Read) -> Scanned:
    """Everything found in one file. `read` is the reader of checkpoints; its refusal is kept as the problem.

    Raises SourceError for what is no file; everything else ends in the result.
    """
    with open_window(path) as window:
        return scan_window(window, limits, read)


def scan_window(window: Window, limits: Limits, read: Read) -> Scanned:
    """Everything found behind a window."""
    found = Scanned(window.name, window.size)
    walk = Walk(found, limits)
    try:
        walk.take(read(window, limits))
    except ModelscopeError as problem:
        found.problem = problem
    except RecursionError:
        found.problem = LimitError("nesting", limits.nesting, "too much", path=window.name)
    walk.content(window, "", 0)
    return found


class Walk:
    """One walk through a file and what is packed in it. `budget` are the bytes that may still be unpacked and run."""

    def __init__(self, found: Scanned, limits: Limits):
        self.found = found
        self.limits = limits
        self.budget = limits.scanned_bytes
        self.opcodes = limits.opcodes + limits.opcodes // 2  # instructions that may still be run, of all pickles together
        self.unpacking = Budget(limits)  # for what is compressed by itself
        self.files = 0
        self.known: dict[str, PickleTrace] = {}  # pickles of torch that a reader has run from end to end, by their place
        self.stacked: list[PickleTrace] = []  # the same of the first five of torch.save before 1.6
        self.data: frozenset[int] = frozenset()  # where the storages begin that a reader found: nothing to run

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
                self.known = {trace.where: trace for trace in checkpoint.pickles if trace.problem is None}
        elif checkpoint.format == "torch-legacy" and all([trace.problem is None for trace in checkpoint.pickles]):
            self.stacked = checkpoint.pickles
        from modelscope_cli.formats.scan_text import templates_of

        templates_of(checkpoint, self)

    def content(self, window: Window, where: str, depth: int) -> None:
        """Look at a file, or at one inside another, by what it begins with. Never raises for what is in it."""
        try:
            if depth > DEEPEST:
                raise LimitError("nested_files", DEEPEST, f"more than {DEEPEST} in one another", path=window.name)
            self.files += 1
            if self.files > self.limits.nested_files * FILES:
                raise LimitError("nested_files", self.limits.nested_files * FILES, self.files, path=window.name)
            self._by_content(window, where, depth)
        except ModelscopeError as problem:
            self.unseen(where, str(problem.message))
        except (RecursionError, MemoryError):
            self.unseen(where, "it is nested too deeply, or needs more memory than there is")

    def _by_content(self, window: Window, where: str, depth: int) -> None:
        head = window.head(HEAD)
        name = (where or window.name).lower()
        if head.startswith(ZIP):
            from modelscope_cli.formats.scan_zip import scan_zip

            scan_zip(self, window, where, depth)
            return
        if head.startswith(NUMPY):
            from modelscope_cli.formats.scan_arrays import scan_npy

            scan_npy(self, window, where)
        elif head.startswith(HDF5):
            from modelscope_cli.formats.scan_keras import scan_hdf5

            scan_hdf5(self, window, where)
        elif head.startswith(b"GGUF") or SAFETENSORS.match(head):
            self._trusted_format(window, where, depth)
        elif looks_like_tar(head):
            from modelscope_cli.formats.scan_tar import scan_tar

            scan_tar(self, window, where, depth)
        elif packed := stream_of(head, window):
            scan_compressed(self, window, where, depth, *packed)
        elif name.endswith(TEXT_SUFFIXES) and _is_text(head):
            from modelscope_cli.formats.scan_text import scan_text

            scan_text(self, window, where, name)
        else:
            from modelscope_cli.formats.scan_pickles import scan_pickles

            if not scan_pickles(self, window, where, depth, head) and window.size:
                self._unknown(window, where, depth, head)
        self._second_end(window, where, depth)

    def _trusted_format(self, window: Window, where: str, depth: int) -> None:
        """Formats in which nothing can be executed; inside another file they are not read further."""
        from modelscope_cli.formats.scan_pickles import scan_pickles

        scan_pickles(self, window, where, depth, window.head(HEAD))

    def _unknown(self, window: Window, where: str, depth: int, head: bytes) -> None:
        if depth and not _is_text(head):
            self.unseen(where, "of no kind that is known here", quiet=True)

    def _second_end(self, window: Window, where: str, depth: int) -> None:
        """A zip archive that ends where another file does: programs that look at the end see another file than those at the start."""
        tail_size = min(window.size, (1 << 16) + 22)
        tail = window.read(window.size - tail_size, tail_size)
        at = tail.rfind(END_OF_ZIP)
        if at < 0 or at + 22 > len(tail):
            return
        comment = int.from_bytes(tail[at + 20 : at + 22], "little")
        if at + 22 + comment != len(tail):
            return
        from modelscope_cli.formats.scan_zip import scan_appended

        scan_appended(self, window, where, depth)

    def sign(self, code: str, where: str, message: str, offset: int | None = None) -> None:
        """Note something odd."""
        if len(self.found.signs) < MOST_SIGNS:
            self.found.signs.append(Sign(code, where, message, offset))

    def unseen(self, where: str, why: str, *, quiet: bool = False) -> None:
        """Note a part that was not looked at; `quiet` ones matter less than those that should have been."""
        if len(self.found.unseen) < MOST_UNSEEN and not (quiet and len(self.found.unseen) > MOST_UNSEEN // 2):
            self.found.unseen.append(Unseen(where, why, quiet))


def _is_text(head: bytes) -> bool:
    """Whether it reads as UTF-8 without controls, but for a character cut at the end."""
    if b"\0" in head:
        return False
    text = head.decode("utf-8", "replace").rstrip("\ufffd")
    return "\ufffd" not in text
