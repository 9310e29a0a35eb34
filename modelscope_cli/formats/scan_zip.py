"""The zip archives of a file: one that begins there, one behind another file, several one behind another in a `.distcp`.

What is in them, listed or not, is looked at in scan_zip_members and scan_zip_gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_cli.containers.zip_directory import CENTRAL, LOCAL, ZipDirectory, read_zip_directory
from modelscope_cli.core.window import Window
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.scan_zip_gaps import carve, look_at_structure, members_elsewhere
from modelscope_cli.formats.scan_zip_members import Archive

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk


def scan_zip(walk: Walk, window: Window, where: str, depth: int) -> None:
    """Look at every member, listed or not."""
    if window.name.endswith(".distcp") and (blobs := _blobs(walk, window)):
        walk.blobs[where] = {(start, blob.size) for start, blob in blobs}
        for start, blob in blobs:
            scan_zip(walk, blob, f"{where}{'/' if where else ''}byte {start:,}", depth + 1)
        return
    try:
        directory = read_zip_directory(window, walk.limits)
    except ModelscopeError as problem:
        if isinstance(problem, LimitError):
            walk.unseen(where, problem)
        else:
            walk.sign("zip-broken", where, f"the zip directory cannot be read: {problem.message}", problem.offset)
            members_elsewhere(Archive(walk, window, where, depth, ZipDirectory(window, [], 0, [])), told=False)
        carve(walk, window, where, depth, [(0, window.size)], listed=0)
        return
    _scan(Archive(walk, window, where, depth, directory))


def beginning(window: Window, end: int) -> int | None:
    """Where the archive begins that has an end record at a position; None where the directory does not stand before it.

    Programs take what stands before the archive as no part of it: the offsets in the directory count from its own first byte.
    """
    record = window.read(end, 22)
    size, offset = int.from_bytes(record[12:16], "little"), int.from_bytes(record[16:20], "little")
    if end >= 20 and window.read(end - 20, 4) == b"PK\x06\x07":
        return 0
    if size and size <= end and window.read(end - size, 4) == CENTRAL:
        return max(0, end - size - offset)
    if size and offset + size <= end and window.read(offset, 4) == CENTRAL:
        return 0  # as torch reads it: other bytes may stand between the directory and its end record
    return None


def scan_appended(walk: Walk, window: Window, where: str, depth: int, end: int) -> bool:
    """A file of another kind that holds the end record of a zip archive at `end`. Returns whether it is one of an archive.

    Only where the file ends with the archive is that odd: an archive is a part of many files.
    """
    base = beginning(window, end)
    if base is None:
        return False
    stop = end + 22 + int.from_bytes(window.read(end + 20, 2), "little")
    appended = stop == window.size
    directory = None
    for start in dict.fromkeys((base, _first_local(walk, window))):
        try:
            archive = window.cut(start, min(stop, window.size) - start, window.name)
            directory = read_zip_directory(archive, walk.limits)
        except ModelscopeError as problem:
            reason = problem.message
        if directory is not None and directory.members:
            break
    if directory is None:
        walk.sign("polyglot-broken", where, f"it ends as a zip archive that cannot be read: {reason}")
        carve(walk, window, where, depth, [(base, window.size)], listed=0)
        return True
    if appended:
        walk.sign(
            "polyglot",
            where,
            f"it is a zip archive of {len(directory.members):,} members as well: programs that look at the end open that",
        )
    _scan(Archive(walk, archive, where, depth, directory, start))
    return True


def _first_local(walk: Walk, window: Window) -> int:
    """Where the first local header stands, in the part that is searched; nought where none does."""
    return max(0, window.head(walk.limits.searched_bytes).find(LOCAL))


def _blobs(walk: Walk, window: Window) -> list[tuple[int, Window]]:
    """The torch files one behind another in a .distcp, as far as they can be followed."""
    from modelscope_cli.formats.dcp_part import blob_length

    found: list[tuple[int, Window]] = []
    position = 0
    while position < window.size and len(found) < walk.limits.nested_files:
        try:
            length = blob_length(window, position, walk.limits)
        except ModelscopeError as problem:
            if found:
                walk.unseen(f"byte {position:,}", f"what follows the last blob that can be followed: {problem.message}")
            break
        found.append((position, window.cut(position, length, f"{window.name}:{position}")))
        position += length
    return found


def _scan(archive: Archive) -> None:
    look_at_structure(archive)
    archive.scan()
