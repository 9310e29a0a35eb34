"""What a path leads to: one checkpoint to read, a file or a set of files, and which reader puts a set together."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note


class Target(NamedTuple):
    """One checkpoint to read. `shards` lists the files of a set (None for a single file), `index_path` tells what is in them.

    `reader` is the module that puts a set together where it is more than shards one behind another; see formats/composites.py.
    """

    path: str
    folder: str
    shards: tuple[str, ...] | None
    index_path: str | None
    notes: tuple[Note, ...] = ()
    reader: str | None = None
