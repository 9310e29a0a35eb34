"""What a path leads to: one checkpoint to read, a file or a set of files, and which reader puts a set together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.core.checkpoint import Note

if TYPE_CHECKING:
    from modelscope_cli.core.folder import Folder
    from modelscope_cli.formats.archive import Archive


class Target(NamedTuple):
    """One checkpoint to read. `shards` lists the files of a set (None for a single file), `index_path` tells what is in them.

    `reader` is the module that puts a set together where it is more than shards one behind another; see formats/composites.py.
    `in_folder` is everything in the folder that somebody named to get here; the targets of one folder share it.
    `archive` is the one that the files lie in; it is held open as long as the target is there.
    """

    path: str
    folder: str
    shards: tuple[str, ...] | None
    index_path: str | None
    notes: tuple[Note, ...] = ()
    reader: str | None = None
    in_folder: Folder | None = None
    archive: Archive | None = None
