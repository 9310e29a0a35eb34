"""What lies in a folder that somebody named: every file in it, in groups of what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# What a group is, in the order in which groups are shown.
WEIGHTS, ADAPTER, SAME, STEP, RUN, REVISION, MODEL = (
    "weights", "adapter", "same model again", "another step", "another run", "another revision", "another model",
)  # fmt: skip
OPTIMIZER, SCHEDULER, SCALER, RANDOM, RECORD = (
    "optimizer state", "scheduler", "gradient scaler", "random state", "training record",
)  # fmt: skip
TOKENIZER, CONFIGURATION, CODE, DOCUMENTATION, IMAGES = "tokenizer", "configuration", "code", "documentation", "images"
OTHER, ALIAS, HIDDEN, UNREADABLE = "other", "another name", "hidden", "unreadable"
ORDER = (
    WEIGHTS, ADAPTER, SAME, STEP, RUN, REVISION, MODEL, OPTIMIZER, SCHEDULER, SCALER, RANDOM, RECORD, TOKENIZER, CONFIGURATION,
    CODE, DOCUMENTATION, IMAGES, OTHER, ALIAS, HIDDEN, UNREADABLE,
)  # fmt: skip


class FolderEntry(NamedTuple):
    """Files that are for the same: `what` they are (of ORDER), `why` it is thought so, and whether a model is `used` from them.

    `names` are paths from the folder on, with / at the end of a folder that is meant with all that is in it; `files` counts the
    files themselves. Other names of a file that is counted already (links) have no bytes. Of files that are used `sizes` has the
    bytes of each name.
    """

    what: str
    names: tuple[str, ...]
    files: int
    nbytes: int
    why: str = ""
    used: bool = False
    sizes: tuple[int, ...] = ()


def _with_names(entry: FolderEntry, names: list[tuple[str, int]]) -> FolderEntry:
    """The same of other files: pairs of a name and its bytes."""
    sizes = tuple(nbytes for _, nbytes in names)
    return entry._replace(names=tuple(name for name, _ in names), files=len(names), nbytes=sum(sizes), sizes=sizes)


class Folder(NamedTuple):
    """A folder as a whole: the entries add up to its bytes, each file once. `cut` says what was not looked at, if anything."""

    path: str
    entries: tuple[FolderEntry, ...]
    cut: str = ""

    def without_unread(self, unread: Callable[[str], str]) -> Folder:
        """With only those files used that were read. `unread` tells why a file was not, "" of one that was."""
        entries: list[FolderEntry] = []
        failed: dict[str, list[tuple[str, int]]] = {}
        for entry in self.entries:
            if not entry.used:
                entries.append(entry)
                continue
            kept: list[tuple[str, int]] = []
            for name, nbytes in zip(entry.names, entry.sizes, strict=True):
                why = unread(name)
                (failed.setdefault(why, []) if why else kept).append((name, nbytes))
            if kept:
                entries.append(_with_names(entry, kept))
        if not failed:
            return self
        for why, names in failed.items():
            entries.append(_with_names(FolderEntry(UNREADABLE, (), 0, 0, why), names))
        return self._replace(entries=tuple(entries))

    @property
    def files(self) -> int:
        return sum(entry.files for entry in self.entries)

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries)
