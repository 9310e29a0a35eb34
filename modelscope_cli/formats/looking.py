"""What is read is scanned in the same window, before it is closed: a verdict is about the bytes that the tables show.

    look = Looking(limits)
    checkpoint = read_target(target, limits, look=look)     each file is read, and scanned, as it is opened
    look.own(checkpoint, target)                            what was found in its files; those that a reader of sets opened itself
                                                            (an index, the files of a distributed checkpoint) are opened again
    look.around(target, targets)                            the other files of the folder that was named, as a scan of it sees them

A file is scanned once, however many names, sets and rules lead to it: it is known by device, number, size and time of change.
A model out of an archive that was named is read without `look`: then all of the archive is scanned, as a scan of it would.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple, NoReturn

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.scanned import Scanned
from modelscope_cli.core.window import TRY_AGAIN, Window
from modelscope_cli.errors import ModelscopeError, SourceError
from modelscope_cli.formats.archive import Archive
from modelscope_cli.formats.archive_paths import leads_inside, open_path
from modelscope_cli.formats.files_below import files_below
from modelscope_cli.formats.locate import names_of
from modelscope_cli.formats.registry import Read, read_window
from modelscope_cli.formats.target import Target

Identity = tuple[int, int, int, int]
BASELINE = "baseline"  # the note of a description: what it describes was not opened


class Looked(NamedTuple):
    """What is in some files, and which of them could not be opened."""

    scans: list[Scanned]
    unread: list[ModelscopeError]

    def add(self, found: Scanned | ModelscopeError) -> None:
        if isinstance(found, Scanned):
            self.scans.append(found)
        else:
            self.unread.append(found)


class Looking:
    """The scans of one run. Its `scan` is what a command puts a clock around."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._known: dict[Identity | str, Scanned] = {}
        self._by_name: dict[str, Scanned] = {}
        self.reading: tuple[str, int] | None = None  # (name, bytes) of the file that a reader is at

    def __call__(self, window: Window, limits: Limits, read: Read) -> Checkpoint:
        """Read a file and scan it, also where it cannot be read. Raises what the reader raises."""
        self.reading = window.name, window.size
        try:
            checkpoint = read(window, limits)
        except ModelscopeError as problem:
            self.reading = None
            self._take(window, partial(_raised, problem))
            raise
        self.reading = None
        self._take(window, lambda *_: checkpoint)
        return checkpoint

    def scan(self, window: Window, read: Read, found: Scanned | None = None) -> Scanned:
        """What is in a file; put into `found` as it is found, if that is given."""
        from modelscope_cli.formats.scanning import scan_window

        return scan_window(window, self.limits, read, found)

    def give_up(self, problem: ModelscopeError) -> None:
        """The reader came to no end of the file it was at: that file is not begun again."""
        if self.reading is not None:
            name, nbytes = self.reading
            found = self._by_name[name] = Scanned(name, nbytes)
            found.problem = problem
            self.reading = None

    def own(self, checkpoint: Checkpoint, target: Target) -> Looked:
        """What is in the files of a checkpoint; nothing of one that only describes a model."""
        looked = Looked([], [])
        if is_description(checkpoint):
            return looked
        if target.archive is not None and not any([file.path in self._by_name for file in checkpoint.files]):
            return self.archive(target.archive)
        for file in checkpoint.files:
            looked.add(self._file(file.path, file.nbytes))
        return looked

    def files(self, paths: Iterable[str]) -> Looked:
        """What is in some files."""
        looked = Looked([], [])
        for path in paths:
            looked.add(self._file(path))
        return looked

    def archive(self, archive: Archive) -> Looked:
        """What is in the file that an archive is, or lies in."""
        return Looked([self._take(root(archive).window, read_window)], [])

    def around(self, target: Target, targets: Iterable[Target]) -> Looked:
        """What is in the files of the folder that was named, but for those of its other targets, which speak for themselves."""
        looked = Looked([], [])
        if target.in_folder is None or leads_inside(f"{target.in_folder.path}/"):  # the archive speaks for what is in it
            return looked
        others = {
            os.path.realpath(name)
            for other in targets
            if other is not target and other.in_folder is target.in_folder
            for name in names_of(other)
            if name != other.folder
        }
        for path in files_below(target.in_folder.path, looked.unread.append, self.limits):
            if os.path.realpath(path) not in others:
                looked.add(self._file(path))
        return looked

    def said_of(self, path: str | None) -> Scanned | None:
        """What is in a file that was read under this name, if it was."""
        return self._by_name.get(path or "")

    def _take(self, window: Window, read: Read) -> Scanned:
        key: Identity | str = window.identity or window.name
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.scan(window, read)
        self._by_name[window.name] = found
        return found

    def _file(self, path: str, nbytes: int | None = None) -> Scanned | ModelscopeError:
        """What is in a file, opened again where it was not looked at under this name. `nbytes` are those that were read."""
        known = self._by_name.get(path)
        if known is not None:
            return known
        try:
            with open_path(path, self.limits) as window:
                if nbytes is not None and window.size != nbytes:
                    raise SourceError(f"{nbytes:,} bytes when it was read, {window.size:,} now", path=path, hint=TRY_AGAIN)
                return self._take(window, read_window)
        except ModelscopeError as problem:
            return problem


def root(archive: Archive) -> Archive:
    """The archive that is a file of its own, around one that lies in it."""
    while archive.outer is not None:
        archive = archive.outer
    return archive


def is_description(checkpoint: Checkpoint) -> bool:
    """Whether it is a baseline: what was saved about a model, without the model."""
    return any([note.code == BASELINE for note in checkpoint.notes])


def _raised(problem: ModelscopeError, window: Window, limits: Limits) -> NoReturn:
    raise problem
