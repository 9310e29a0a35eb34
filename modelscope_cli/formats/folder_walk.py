"""A folder and what is below it, as names and sizes: nothing is opened.

Folders nearer to the top are listed first, so that what is cut off at a limit is what lies deepest. A link to a file is followed
for its size; a link to a folder is not, so there are no circles. A file that has several names in the folder (links, hard links,
a cache of blobs) is counted once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import KINDS_OF_FILE, source_error

KEPT_HIDDEN = ".metadata"  # of a distributed checkpoint; __0.metadata is not hidden


class File(NamedTuple):
    """A file under one of its names. `identity` is the same for all names of it, None where the system does not say."""

    path: str
    nbytes: int
    identity: tuple[int, int] | None
    link: bool


class Listing:
    """What is in a folder. Paths in it are relative, with /; "" is the folder itself.

    `names` has the entries of every folder that was listed, sorted; `hidden` maps files to the hidden entry they are or lie
    below; `special` says what is neither file nor folder; `unreadable` which folders could not be listed; `cut` is a sentence
    where a limit was met.
    """

    def __init__(self, root: str, limits: Limits):
        self.root = root
        self.limits = limits
        self.names: dict[str, list[str]] = {}
        self.folders: set[str] = set()
        self.files: list[File] = []
        self.hidden: dict[str, str] = {}
        self.special: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        self.cut = ""

    def at(self, path: str) -> str:
        """The path that the system knows."""
        return os.path.join(self.root, *path.split("/")) if path else self.root

    def inside(self, folder: str) -> list[str]:
        """Names of the folders of a folder, sorted."""
        return [name for name in self.names.get(folder, ()) if below(folder, name) in self.folders]

    def once(self, rank: Callable[[File], int]) -> tuple[list[File], dict[str, str]]:
        """Every file under one name, the one of lowest rank; and the other names, with the name each stands for."""
        names: dict[tuple[int, int], list[File]] = {}
        self.files.sort()
        for file in self.files:
            if file.identity is not None:
                names.setdefault(file.identity, []).append(file)
        aliases: dict[str, str] = {}
        for several in names.values():
            if len(several) > 1:
                best = min(several, key=lambda file: (rank(file), file.link))
                aliases.update((file.path, best.path) for file in several if file is not best)
        return [file for file in self.files if file.path not in aliases], aliases


def below(folder: str, name: str) -> str:
    """The path of an entry of a folder."""
    return f"{folder}/{name}" if folder else name


def walk(root: str, limits: Limits) -> Listing:
    """List a folder. Raises SourceError when it cannot be listed; folders in it that cannot be are noted."""
    listing = Listing(root, limits)
    waiting = [("", "")]  # (folder, hidden entry it lies below)
    left = limits.folder_entries
    for depth in range(limits.folder_depth + 1):
        found: list[tuple[str, str]] = []
        for folder, hidden in waiting:
            try:
                with os.scandir(listing.at(folder)) as entries:
                    left = _list(listing, folder, hidden, entries, left, found)
            except OSError as error:
                if not folder:
                    raise source_error(root, error) from None
                listing.unreadable[folder] = source_error(listing.at(folder), error).message
            if left < 0:
                listing.cut = f"only the first {limits.folder_entries:,} entries were looked at (--limit folder_entries=N)"
                return listing
        waiting = found
        if not found:
            return listing
        if depth == limits.folder_depth:
            listing.cut = f"folders more than {limits.folder_depth} deep were not looked at (--limit folder_depth=N)"
    return listing


def _list(
    listing: Listing, folder: str, hidden: str, entries: os._ScandirIterator[str], left: int, found: list[tuple[str, str]]
) -> int:
    """Take in the entries of one folder; how many more may come, below 0 when there were more."""
    names = []
    files = listing.files
    prefix = f"{folder}/" if folder else ""
    for entry in entries:
        left -= 1
        if left < 0:
            break
        name = entry.name
        path = prefix + name
        below_hidden = hidden or (path if name.startswith(".") and name != KEPT_HIDDEN else "")
        if not below_hidden:
            names.append(name)
        try:
            link = entry.is_symlink()
            if entry.is_dir():
                if not below_hidden:
                    listing.folders.add(path)
                    if link:
                        listing.special[path] = "a link to a folder, not followed"
                if not link:
                    found.append((path, below_hidden))
                continue
            known = entry.stat()
        except OSError as error:
            if not below_hidden:
                listing.special[path] = source_error(entry.path, error).message
            continue
        if not stat.S_ISREG(known.st_mode):
            if not below_hidden:
                listing.special[path] = next((words for test, words in KINDS_OF_FILE if test(known.st_mode)), "a special file")
            continue
        files.append(File(path, known.st_size, (known.st_dev, known.st_ino) if known.st_ino else None, link))
        if below_hidden:
            listing.hidden[path] = below_hidden
    if not hidden:
        listing.names[folder] = sorted(names)
    return left
