"""What lies in a folder that somebody named: every file in it, in groups of what they are for."""

from __future__ import annotations

from typing import NamedTuple

# What a group is, in the order in which groups are shown.
WEIGHTS, ADAPTER, SAME, STEP, REVISION, MODEL = (
    "weights", "adapter", "same model again", "another step", "another revision", "another model",
)  # fmt: skip
OPTIMIZER, SCHEDULER, SCALER, RANDOM, RECORD = (
    "optimizer state", "scheduler", "gradient scaler", "random state", "training record",
)  # fmt: skip
TOKENIZER, CONFIGURATION, CODE, DOCUMENTATION, IMAGES = "tokenizer", "configuration", "code", "documentation", "images"
OTHER, ALIAS, HIDDEN, UNREADABLE = "other", "another name", "hidden", "unreadable"
ORDER = (
    WEIGHTS, ADAPTER, SAME, STEP, REVISION, MODEL, OPTIMIZER, SCHEDULER, SCALER, RANDOM, RECORD, TOKENIZER, CONFIGURATION, CODE,
    DOCUMENTATION, IMAGES, OTHER, ALIAS, HIDDEN, UNREADABLE,
)  # fmt: skip


class FolderEntry(NamedTuple):
    """Files that are for the same: `what` they are (of ORDER), `why` it is thought so, and whether a model is `used` from them.

    `names` are paths from the folder on, with / at the end of a folder that is meant with all that is in it; `files` counts the
    files themselves. Other names of a file that is counted already (links) have no bytes.
    """

    what: str
    names: tuple[str, ...]
    files: int
    nbytes: int
    why: str = ""
    used: bool = False


class Folder(NamedTuple):
    """A folder as a whole: the entries add up to its bytes, each file once. `cut` says what was not looked at, if anything."""

    path: str
    entries: tuple[FolderEntry, ...]
    cut: str = ""

    @property
    def files(self) -> int:
        return sum(entry.files for entry in self.entries)

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries)
