"""Paths as they are shown where there is little room. What lies in an archive is `backup.zip!/dir/model.pt`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

SEPARATOR = "!/"
LONGEST = 1_000  # characters of a place that many others begin with; systems take 4,096 for a path
ENDS = 200  # characters that stay of a longer one


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


def short_place(place: str) -> str:
    """A place that will stand before many others: a long one is its ends, with a checksum between them.

    Two are the same text only where they are the same.
    """
    if len(place) <= LONGEST and "…" not in place:
        return place
    import hashlib

    checksum = hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{place[:ENDS]}…{checksum}…{place[-ENDS:]}"


def folders_above(place: str) -> Iterator[str]:
    """The folders that a path is in, each to its last `/` and the nearest first; the last is "", where all begin."""
    end = len(place)
    while (end := place.rfind("/", 0, end)) >= 0:
        yield place[: end + 1]
    yield ""


def short_name(path: str) -> str:
    """The name of a file; of one in an archive that of the archive and the way from there."""
    at = path.find(SEPARATOR)
    return os.path.basename(path) if at < 0 else os.path.basename(path[:at]) + path[at:]
