"""Paths as they are shown where there is little room. What lies in an archive is `backup.zip!/dir/model.pt`."""

from __future__ import annotations

import os
import re

SEPARATOR = "!/"


_PLAIN = re.compile(r"[\w/.,:@%+=-]+")  # what no shell takes for something else


def typed(path: str) -> str:
    """A path as it can be given to a shell: in quotes where that takes a letter for something else, as ! and blanks."""
    path = f"./{path}" if path.startswith("-") else path
    return path if _PLAIN.fullmatch(path) else "'" + path.replace("'", "'\\''") + "'"


def real_path(path: str) -> str:
    """The path without links. That of a member of an archive may hold what no path of a system does: a zero byte."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return os.path.normpath(path)


def short_name(path: str) -> str:
    """The name of a file; of one in an archive that of the archive and the way from there."""
    at = path.find(SEPARATOR)
    return os.path.basename(path) if at < 0 else os.path.basename(path[:at]) + path[at:]
