"""Files for what is unpacked: without a name, on a disk, and only while there is room.

A file has no name from the start, so nothing stays behind, whatever ends the program (on Windows the system removes it when it
is closed). It lies in TMPDIR, else in /var/tmp, because /tmp is often memory.
"""

from __future__ import annotations

import os
from typing import Any

from modelscope_cli.errors import SourceError

ROOM_LEFT = 16 << 20  # bytes of the disk that are never asked for


def temporary_file() -> Any:
    """A file without a name, closed and gone with the program."""
    import tempfile

    return tempfile.TemporaryFile(buffering=0, prefix="mscope-", dir=folder())


def folder() -> str:
    """Where temporary files of any size belong: TMPDIR and its like, else /var/tmp, which is on a disk."""
    import tempfile

    if not any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")) and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


def check_room(nbytes: int, path: str) -> None:
    """Raises SourceError where the disk has no room for so many bytes more."""
    import shutil

    free = shutil.disk_usage(folder()).free
    if nbytes + ROOM_LEFT > free:
        what = f"unpacking it takes {nbytes:,} bytes or more, and {folder()} has {free:,} bytes left"
        raise SourceError(what, path=path, hint="make room there, or set TMPDIR to a folder that has more")


def no_room(error: OSError, place: str, path: str) -> SourceError:
    """The system's refusal to write a temporary file, in our words."""
    import errno

    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    why = "there is no room left" if full else (error.strerror or type(error).__name__).lower()
    hint = (
        "make room there, or set TMPDIR to a folder that has more" if full else "set TMPDIR to a folder that can be written to"
    )
    return SourceError(f"it cannot be unpacked into {place}: {why}", path=path, hint=hint)
