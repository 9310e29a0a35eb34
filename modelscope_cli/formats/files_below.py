"""Every file below a folder, each once: what a scan of the folder looks at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.scanned import FOLDER, LINK, LeftOut
from modelscope_cli.core.window import source_error
from modelscope_cli.errors import LimitError, ModelscopeError

GIT = ".git"  # what is in it comes with no download, and no program that loads models looks there
OWN = "a repository's own files: left out, name it to have it scanned"
LINKED = "a link to a folder: left out, name it to have it scanned"


def unheard(left: LeftOut) -> None:
    """Nobody wants to know what is left out."""


class Met:
    """The files that were met: by device and number, and by suffix, because a suffix can say how a file is looked at."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], str] = {}

    def is_new(self, path: str, left_out: Callable[[LeftOut], None] = unheard) -> bool:
        """Whether it was not met before; now it was. What is not there is new: reading it says what is wrong.

        `left_out` hears of another name, a link or a hard link, of a file that was met.
        """
        try:
            found = os.stat(path)
        except OSError:
            return True
        identity = (found.st_dev, found.st_ino, os.path.splitext(path)[1].lower())
        first = self._known.get(identity) if found.st_ino else None
        if first is None:
            self._known[identity] = path
            return True
        if os.path.abspath(first) != os.path.abspath(path):
            left_out(LeftOut(path, f"one file with {first}, which was looked at"))
        return False

    def forget(self, path: str) -> None:
        """A file that nobody looks at after all: another name of it is new."""
        self._known = {identity: first for identity, first in self._known.items() if first != path}


def files_below(
    folder: str,
    told: Callable[[ModelscopeError], None],
    limits: Limits = DEFAULT_LIMITS,
    met: Met | None = None,
    left_out: Callable[[LeftOut], None] = unheard,
) -> Iterator[str]:
    """The files in the order of their names. What cannot be listed is `told`; `left_out` hears of what is passed over."""
    met = met or Met()
    entries = 0

    def failed(error: OSError) -> None:
        told(source_error(str(error.filename), error))

    depths = {folder: 0}
    for place, folders, names in os.walk(folder, onerror=failed):
        depth = depths.pop(place, 0)
        for name in sorted(folders):
            path = os.path.join(place, name)
            if name == GIT or os.path.islink(path):
                left_out(LeftOut(path, OWN, FOLDER) if name == GIT else LeftOut(path, LINKED, LINK))
        folders[:] = sorted(name for name in folders if name != GIT)
        entries += len(folders)
        if depth >= limits.folder_depth and any(not os.path.islink(os.path.join(place, name)) for name in folders):
            told(LimitError("folder_depth", limits.folder_depth, f"more than {limits.folder_depth:,}", path=place))
            folders.clear()
        depths.update((os.path.join(place, name), depth + 1) for name in folders)
        for name in sorted(names):
            entries += 1
            if entries > limits.folder_entries:
                told(LimitError("folder_entries", limits.folder_entries, f"more than {limits.folder_entries:,}", path=folder))
                return
            path = os.path.join(place, name)
            if met.is_new(path, left_out):
                yield path
