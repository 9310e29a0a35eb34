"""A window on bytes: a size, and `read(offset, length)` that checks before it allocates.

Readers never open files; they are handed a window. Today it looks at a local file through `os.pread` on one descriptor
(never mmap: a file that shrinks under a mapping kills the process). Anything else that can serve byte ranges fits behind
the same two members, and a window can be cut out of a window: a stored zip member is itself a file.

A file may be written to while it is read. What came of that is half of one file and half of another, so a window that is
left looks once more at size and time of change, and says so instead. A file that another is renamed over is no such case:
the descriptor keeps the old one, whole.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from modelscope_cli.errors import CorruptFileError, ModelscopeError, SourceError

TRY_AGAIN = "try again when whatever writes it has finished"
BLOBS = "blobs"  # the folder of a cache of Hugging Face in which the files lie, those that are not whole as *.incomplete
KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO (named pipe)"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


class Window:
    """`size` bytes starting at `base` of an open file descriptor. `bytes_read` counts what was asked of the system."""

    __slots__ = ("_descriptor", "_opened", "_owns", "base", "bytes_read", "kept", "name", "size")

    def __init__(self, descriptor: int, name: str, size: int, base: int = 0, opened: os.stat_result | None = None):
        self._descriptor = descriptor
        self._opened = opened  # what the file was when it was opened: the window closes it, and sees whether it changed
        self._owns = opened is not None
        self.name = name
        self.size = size
        self.base = base
        self.bytes_read = 0
        self.kept: object = None  # what was found in it that is asked for again: the directory of an archive

    def read(self, offset: int, length: int, what: str = "data") -> bytes:
        """Exactly `length` bytes at `offset`. Raises CorruptFileError when the window does not hold them."""
        if offset < 0 or length < 0 or offset + length > self.size:
            there = max(0, self.size - offset) if offset >= 0 else 0
            raise CorruptFileError(f"{what}: expected {length:,} bytes, found {there:,}", path=self.name, offset=max(offset, 0))
        try:
            data = _pread(self._descriptor, length, self.base + offset)
        except OSError as error:
            raise self._unreadable(error, offset) from None
        self.bytes_read += len(data)
        if len(data) != length:
            data = self._read_on(data, offset, length, what)
        return data

    def _read_on(self, data: bytes, offset: int, length: int, what: str) -> bytes:
        """Finish a short read (signals, network file systems); an end of file here means that the file shrank meanwhile."""
        pieces = [data]
        have = len(data)
        while have < length:
            try:
                piece = _pread(self._descriptor, length - have, self.base + offset + have)
            except OSError as error:
                raise self._unreadable(error, offset + have) from None
            if not piece:
                message = f"{what}: the file became shorter while it was read"
                raise SourceError(message, path=self.name, offset=offset + have, hint=TRY_AGAIN)
            self.bytes_read += len(piece)
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def _unreadable(self, error: OSError, offset: int) -> SourceError:
        """A read that the system refused: a bad sector, a network that is gone. (A signal is no such thing: Python reads on.)"""
        reason = (error.strerror or type(error).__name__).lower()
        hint = "the disk or the network it lies on has a problem: copy it elsewhere and try again"
        return SourceError(f"cannot be read: {reason}", path=self.name, offset=offset, hint=hint)

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or all there are."""
        return self.read(0, min(length, self.size))

    @property
    def identity(self) -> tuple[int, int, int, int] | None:
        """What tells a file from all others, and from itself once it is written to; None for a part of one."""
        opened = self._opened
        return (opened.st_dev, opened.st_ino, opened.st_size, opened.st_mtime_ns) if opened is not None else None

    def next_data(self, offset: int) -> int:
        """Where the next bytes that are stored begin, beyond a hole of noughts; `offset` where nobody knows of holes."""
        if not hasattr(os, "SEEK_DATA"):
            return offset
        try:
            return min(self.size, os.lseek(self._descriptor, self.base + offset, os.SEEK_DATA) - self.base)
        except OSError as error:  # ENXIO: nothing but a hole up to the end
            return self.size if error.errno == errno.ENXIO else offset

    def cut(self, offset: int, length: int, name: str) -> Window:
        """A window on a part of this one. Raises CorruptFileError when it does not hold that much."""
        if offset < 0 or length < 0 or offset + length > self.size:
            there = max(0, self.size - offset) if offset >= 0 else 0
            raise CorruptFileError(f"{name}: expected {length:,} bytes, found {there:,}", path=self.name, offset=max(offset, 0))
        return CutWindow(self, offset, length, name)

    def close(self) -> None:
        if self._owns:
            os.close(self._descriptor)
            self._owns = False

    def __enter__(self) -> Window:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        changed = self._change() if error is None or isinstance(error, ModelscopeError) else None
        self.close()
        if changed:
            raise SourceError(changed, path=self.name, hint=TRY_AGAIN) from None

    def _change(self) -> str | None:
        """What happened to the file since it was opened, or None."""
        if self._opened is None or not self._owns:
            return None
        now = os.fstat(self._descriptor)
        if now.st_size != self._opened.st_size:
            what = "became shorter" if now.st_size < self._opened.st_size else "grew"
            return f"{what} while it was read: {self._opened.st_size:,} bytes before, {now.st_size:,} now"
        return "was written to while it was read" if now.st_mtime_ns != self._opened.st_mtime_ns else None


class MemoryWindow(Window):
    """A window on bytes in memory: a file that was found inside another. `base` is where it lies in the outer file."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes, name: str, base: int = 0):
        super().__init__(-1, name, len(data), base)
        self._data = data

    def next_data(self, offset: int) -> int:
        return offset

    def read(self, offset: int, length: int, what: str = "data") -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            there = max(0, self.size - max(offset, 0))
            raise CorruptFileError(f"{what}: expected {length:,} bytes, found {there:,}", path=self.name, offset=max(offset, 0))
        return self._data[offset : offset + length]


class CutWindow(Window):
    """A file inside a file. It has its own positions: `base` is 0, and what is found in it counts from its own first byte."""

    __slots__ = ("_outer", "_start")

    def __init__(self, outer: Window, start: int, size: int, name: str):
        super().__init__(-1, name, size)
        self._outer = outer
        self._start = start

    @property
    def identity(self) -> tuple[int, int, int, int] | None:
        return self._outer.identity if self._start == 0 and self.size == self._outer.size else None

    def next_data(self, offset: int) -> int:
        return min(self.size, self._outer.next_data(self._start + offset) - self._start)

    def read(self, offset: int, length: int, what: str = "data") -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            there = max(0, self.size - max(offset, 0))
            raise CorruptFileError(f"{what}: expected {length:,} bytes, found {there:,}", path=self.name, offset=max(offset, 0))
        return self._outer.read(self._start + offset, length, what)


def open_window(path: str) -> Window:
    """A window on a regular file. Raises SourceError for everything else, without blocking on a FIFO."""
    try:
        refuse_unless_regular(os.stat(path), path)
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        )
    except OSError as error:
        raise source_error(path, error) from None
    except ValueError:  # a NUL in the path
        raise SourceError("not a usable path", path=path) from None
    try:
        found = os.fstat(descriptor)
        refuse_unless_regular(found, path)
    except BaseException:
        os.close(descriptor)
        raise
    return Window(descriptor, path, found.st_size, opened=found)


def refuse_unless_regular(found: os.stat_result, path: str) -> None:
    """Raise SourceError unless the path leads to an ordinary file."""
    if stat.S_ISREG(found.st_mode):
        return
    kind = next((words for test, words in KINDS_OF_FILE if test(found.st_mode)), "a special file")
    raise SourceError(f"{kind}, not a file that can be inspected", path=path)


def source_error(path: str, error: OSError) -> SourceError:
    """The system's refusal in our words."""
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return SourceError("a symbolic link to something that is not there", path=path, hint=_where_to(path))
        return SourceError("no such file or folder", path=path)
    if isinstance(error, PermissionError):
        return SourceError("no permission to read it", path=path)
    return SourceError((error.strerror or type(error).__name__).lower(), path=path)


def _where_to(link: str) -> str:
    """What is known of what a link leads to; the files of a cache of Hugging Face are links to blobs/."""
    try:
        target = os.path.join(os.path.dirname(link), os.readlink(link))
        folder, name = os.path.split(target)
        if os.path.basename(folder) != BLOBS:
            return f"it leads to {target}"
        begun = any(other.startswith(name) and other.endswith(".incomplete") for other in os.listdir(folder))
    except OSError:
        begun = False
    return "its download did not finish: download it again" if begun else "its download is not in the cache: download it again"


if hasattr(os, "pread"):
    _pread = os.pread
else:  # Windows

    def _pread(descriptor: int, length: int, offset: int) -> bytes:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)
