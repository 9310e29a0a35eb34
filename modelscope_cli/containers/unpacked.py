"""A window on what a compressed one unpacks to: a temporary file without a name, filled as far as somebody reads.

Nothing is held in memory, and nothing stays behind (containers/temporary.py). Filling can be taken back (`release`) and is then
done again when somebody reads, so that several archives together take no more room than one may.
A `Budget` counts what is unpacked behind one path; breaking it raises LimitError before the disk is full.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from modelscope_cli.containers.compressed import Stream
from modelscope_cli.containers.temporary import check_room, folder, no_room, temporary_file
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import CutWindow, Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError

PIECE = 1 << 20  # bytes unpacked at a time
ZEROS = bytes(PIECE)

Progress = Callable[[int, int], None]  # (bytes of the archive that are done, bytes there are)


class Budget:
    """What may be unpacked behind one path, in all, and who is told how far that is. All windows on it share one.

    `members` counts those of the archives that were opened behind it.
    """

    def __init__(self, limits: Limits, progress: Progress | None = None):
        self.limits = limits
        self.progress = progress
        self.spent = {"unpacked_bytes": 0, "unpacked_slowly": 0}
        self.members = 0  # of archives, in all
        self.windows: weakref.WeakSet[UnpackedWindow] = weakref.WeakSet()
        BUDGETS.add(self)

    @property
    def held(self) -> int:
        """Bytes in temporary files."""
        return sum(window.filled for window in self.windows)

    def charge(self, nbytes: int, *, slow: bool, path: str) -> None:
        """Count bytes that were unpacked. Raises LimitError."""
        resource = "unpacked_slowly" if slow else "unpacked_bytes"
        self.spent[resource] += nbytes
        limit = getattr(self.limits, resource)
        if self.spent[resource] > limit:
            raise LimitError(resource, limit, f"more than {limit:,}", path=path)

    def make_room(self) -> None:
        """Take back what was unpacked behind other paths, where it is too much together."""
        others = [budget for budget in BUDGETS if budget is not self]
        if self.held + sum(budget.held for budget in others) > self.limits.unpacked_bytes:
            for budget in others:
                for window in budget.windows:
                    window.release()


BUDGETS: weakref.WeakSet[Budget] = weakref.WeakSet()


class UnpackedWindow(Window):
    """What unpacks out of `outer`. `start` begins at its first byte, as often as it is called.

    Its size is `size`; where that is not known it is all unpacked at once. A size that the content does not have raises
    CorruptFileError as soon as that shows, which is when somebody reads to the end.
    """

    __slots__ = (
        "__weakref__",
        "_file",
        "_problem",
        "_start",
        "_stream",
        "budget",
        "filled",
        "outer",
        "reached",
        "slow",
        "trailing",
        "users",
    )

    def __init__(
        self, outer: Window, name: str, start: Callable[[], Stream], budget: Budget, *, slow: bool, size: int | None = None
    ):
        super().__init__(-1, name, 0)
        self.outer = outer
        self.budget = budget
        self.slow = slow
        self.filled = 0  # bytes that have been unpacked and are there
        self.trailing = 0  # bytes of the outer window behind the compressed data, once all of it has been read
        self.reached = 0  # bytes that have been unpacked at any time
        self.users = 0  # open views of it
        self._file: Any = None
        self._problem: ModelscopeError | None = None
        self._start = start
        self._stream: Stream | None = None
        budget.windows.add(self)
        if size is None:
            self._fill(None)
        else:
            self.size = size

    def next_data(self, offset: int) -> int:
        """Every byte may be data: what is not unpacked yet is no hole."""
        return offset

    def read(self, offset: int, length: int, what: str = "data") -> bytes:
        if offset >= 0 and length >= 0 and self.filled < offset + length <= self.size:
            self._fill(offset + length)
        return super().read(offset, length, what)

    def release(self) -> None:
        """Give the room on the disk back."""
        self._stream = None
        self.filled = 0
        self._descriptor = -1
        if self._file is not None:
            self._file.close()
            self._file = None

    close = release

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.release()

    def _fill(self, wanted: int | None) -> None:
        """Unpack up to a position, or all there is."""
        if self._problem is not None:
            raise without_traceback(self._problem)
        try:
            self._unpack(wanted)
        except ModelscopeError as problem:
            self.release()
            self._problem = without_traceback(problem)
            raise
        except OSError as error:
            self.release()
            raise no_room(error, folder(), self.name) from None
        except BaseException:  # Ctrl-C
            self.release()
            raise

    def _unpack(self, wanted: int | None) -> None:
        stream = self._stream = self._stream or self._start()
        stream.most = self.budget.limits.members
        if self._file is None:
            self._file = temporary_file()
            self._descriptor = self._file.fileno()
        least = self.outer.size if wanted is None else wanted
        check_room(least - self.filled, self.name)
        hole = False
        while wanted is None or self.filled < wanted:
            before = stream.consumed
            piece = stream.read(PIECE)
            done = self.filled + len(piece)
            if done > self.reached or not piece:
                self.budget.charge(max(done - self.reached, stream.consumed - before, 0), slow=self.slow, path=self.name)
                self.reached = max(done, self.reached)
            if not piece:
                break
            hole = piece == ZEROS  # takes neither time nor room
            if not hole:
                self._write(piece)
            self.filled = done
            self.budget.make_room()
            if self.budget.progress is not None:
                self.budget.progress(stream.consumed, self.outer.size)
        if hole:
            os.ftruncate(self._descriptor, self.filled)
        if wanted is None:
            self.size = self.filled
            self.trailing = stream.trailing
        elif self.filled < wanted or self.filled > self.size or (self.filled == self.size and stream.read(1)):
            more = "more" if self.filled >= self.size else f"{self.filled:,}"
            raise CorruptFileError(f"unpacks to {more} bytes, {self.size:,} were announced", path=self.name)
        elif self.filled == self.size:
            self.trailing = stream.trailing

    def _write(self, piece: bytes) -> None:
        os.lseek(self._descriptor, self.filled, os.SEEK_SET)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._descriptor, view) :]


class UnpackedView(CutWindow):
    """All that unpacks, as a file that is opened and closed: with its last view closed, the room on the disk is given back."""

    __slots__ = ("_open", "_unpacked")

    def __init__(self, unpacked: UnpackedWindow):
        super().__init__(unpacked, 0, unpacked.size, unpacked.name)
        self._unpacked = unpacked
        self._open = True
        unpacked.users += 1

    def close(self) -> None:
        if self._open:
            self._open = False
            self._unpacked.users -= 1
            if not self._unpacked.users:
                self._unpacked.release()


class KeptWindow(CutWindow):
    """All of a window, which is closed when nobody looks through this one or a part of it any more."""

    __slots__ = ()

    def __init__(self, window: Window):
        super().__init__(window, 0, window.size, window.name)

    def __del__(self) -> None:
        if hasattr(self, "_outer"):
            self._outer.close()


def without_traceback(problem: ModelscopeError) -> ModelscopeError:
    """The same again, without the frames that lead back to the window: with them it would hold itself open."""
    again: ModelscopeError = type(problem).__new__(type(problem), *problem.args)
    again.__dict__.update(problem.__dict__)
    return again
