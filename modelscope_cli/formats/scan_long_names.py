"""Members of archives whose names are longer than any that is ever written: a scan goes by them cut, since it writes them often.

A name of 60,000 characters, once before each of 20,000 members, would be a gigabyte of places. Two names are cut to the same text only
where they are the same, and so are two folders.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.containers.zip_directory import ZipDirectory

LONGEST = 1_000  # characters; systems take 4,096 for a path, and most programs fewer
ENDS = 150  # characters that stay of a name
FOLDER = 500  # of the folders before it
CUT = f"members with names of more than {LONGEST:,} characters: what refers to one by its name is not followed"


def short(name: str) -> str:
    """The name, or its ends with a checksum in place of the rest."""
    if len(name) <= LONGEST:
        return name
    folder, slash, leaf = name.rpartition("/")
    if len(folder) > FOLDER:
        folder = f"{folder[:FOLDER]}…{_checksum(folder)}"
    if len(leaf) > 2 * ENDS:
        leaf = f"{leaf[:ENDS]}…{_checksum(leaf)}…{leaf[-ENDS:]}"
    return f"{folder}{slash}{leaf}"


def any_long(names: Iterable[str]) -> bool:
    """Whether one of them is cut."""
    return any(len(name) > LONGEST for name in names)


def with_short_names(directory: ZipDirectory) -> ZipDirectory:
    """The same directory, or one with other names where some are too long."""
    if not any_long(member.name for member in directory.members):
        return directory
    members = [member._replace(name=short(member.name)) for member in directory.members]
    return ZipDirectory(directory.window, members, directory.directory_start, directory.notes)


def _checksum(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
