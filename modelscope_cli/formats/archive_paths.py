"""Paths that may lead into an archive: `backup.zip!/dir/model.safetensors`. Others are the system's, and go to it as they are.

Every path goes through here, so what archives need (formats/archive.py) is imported only for those that lead into one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.place import SEPARATOR
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import ModelscopeError, SourceError

if TYPE_CHECKING:
    from modelscope_cli.formats.archive import Archive

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
TORCH_FIRST = ("/data.pkl", "/.format_version")  # what the first member of most torch zips is called
COMPRESSED = (
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    *(b"%c\x2a\x4d\x18" % kind for kind in range(0x50, 0x60)),
)
TAR_CHECKSUM = slice(148, 156)


def may_be_archive(head: bytes) -> bool:
    """Whether a file is worth opening as an archive, by its first bytes; what torch.save writes mostly is not."""
    if head.startswith(ZIP_MAGIC):
        length = int.from_bytes(head[26:28], "little")
        return not head[30 : 30 + length].decode("utf-8", "replace").endswith(TORCH_FIRST)
    if head.startswith(COMPRESSED):
        return True
    checksum = head[TAR_CHECKSUM].replace(b"\0", b" ").strip()
    if not checksum or checksum.strip(b"01234567"):
        return False
    from modelscope_cli.containers.tar_directory import looks_like_tar

    return looks_like_tar(head)


def begins_like_archive(path: str) -> bool:
    """Whether the file at a path is worth opening as an archive. Of one that cannot be opened its reader tells."""
    try:
        with open_window(path) as window:
            return may_be_archive(window.head(512))
    except ModelscopeError:
        return False


def leads_inside(path: str) -> bool:
    """Whether a path goes into an archive, by its looks: a folder of the system may be called `x!` too."""
    return SEPARATOR[0] in path and not os.path.lexists(path)


def open_path(path: str, limits: Limits = DEFAULT_LIMITS) -> Window:
    """A window on a file, wherever it lies. Raises SourceError where there is none."""
    if not leads_inside(path):
        return open_window(path)
    archive, name = reach(path, limits)
    if name not in archive.files:
        raise SourceError("the archive holds no such file", path=path)
    return archive.open(name)


def is_file(path: str) -> bool:
    """Whether there is a file."""
    if not leads_inside(path):
        return os.path.isfile(path)
    try:
        archive, name = reach(path, DEFAULT_LIMITS)
    except ModelscopeError:
        return False
    return name in archive.files


def names_in(folder: str) -> list[str]:
    """Names of the files (and, on the system, folders) in a folder; of one that cannot be listed none."""
    if not leads_inside(f"{folder}/"):
        try:
            return os.listdir(folder or ".")
        except OSError:
            return []
    try:
        archive, inside = reach(f"{folder}/", DEFAULT_LIMITS)
    except ModelscopeError:
        return []
    prefix = f"{inside.rstrip('/')}/" if inside.rstrip("/") else ""
    return [name[len(prefix) :] for name in archive.files if name.startswith(prefix) and "/" not in name[len(prefix) :]]


def reach(path: str, limits: Limits) -> tuple[Archive, str]:
    """The archive that a path goes into, the innermost one, and what is left of the path: a file in it, a folder, or nothing.

    Archives that somebody holds open are used, others are opened. Raises SourceError where there is no archive.
    """
    from modelscope_cli.formats.archive import OPENED
    from modelscope_cli.formats.archive_opening import open_file

    places = [at for at, letter in enumerate(path) if letter == "!"]
    for at in reversed(places):
        archive = OPENED.get(path[:at])
        if archive is not None:
            return deeper(archive, path[at + 1 :].replace(os.sep, "/").lstrip("/"))
    for at in places:
        if os.path.isfile(path[:at]):
            found = open_file(path[:at], limits)
            if found is None:
                raise SourceError(
                    "no archive that mscope looks into", path=path[:at], hint="zip, tar, gzip, bzip2, xz and zstd are"
                )
            return deeper(found, path[at + 1 :].replace(os.sep, "/").lstrip("/"))
    raise SourceError("no such file or folder", path=path)


def deeper(archive: Archive, name: str) -> tuple[Archive, str]:
    """Go on into the archives in an archive, where a path does."""
    while name not in archive.files:
        for at in range(len(name)):
            if name[at] == "!" and name[:at] in archive.files:
                found = archive.inner(name[:at])
                if found is None:
                    raise SourceError("no archive that mscope looks into", path=archive.at(name[:at]))
                archive, name = found, name[at + 1 :].lstrip("/")
                break
        else:
            break
    return archive, name
