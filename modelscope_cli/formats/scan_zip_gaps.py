"""What lies between and behind the members of a zip archive, and what its directory says of itself.

torch and Python's zipfile go by the directory at the end, a program that reads a stream goes by the local headers, and they
part ways over names that stand twice, headers that differ, bytes that no directory lists, a second end record and marks of
encryption. Each of these has hidden a pickle from a scanner (CVE-2025-1889, -1944, -1945, -10155, -10156).
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from modelscope_cli.containers.zip_directory import (
    DESCRIPTOR_FLAG,
    DESCRIPTOR_SIZES,
    ENCRYPTED_FLAGS,
    END_SIZE,
    LOCAL,
    LOCAL_SIZE,
    last_end,
    other_readings,
    read_zip_directory,
)
from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.scan_hidden import hidden_in
from modelscope_cli.formats.scan_zip_members import STORAGE, Archive

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

SMALLEST = 4  # bytes: no pickle that does anything is shorter
HIDDEN = "a pickle stands where no member is: {}"
LONGEST_NAME = 120  # characters of a name in a sentence
END = b"PK\x05\x06"
MARKS = re.compile(rb"PK(?:\x03\x04|\x07\x08|\x01\x02)")  # with what follows a member
ODD_NAME = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:|\\|\0")


def look_at_structure(archive: Archive) -> None:
    """What the directory itself and the gaps between members show."""
    names: dict[str, int] = {}
    for note in archive.directory.notes:
        archive.walk.sign(
            note.code, f"{archive.prefix}{note.where}" if note.where != archive.window.name else archive.where, note.message
        )
    position = 0
    gaps: list[tuple[int, int]] = []
    for member in archive.directory.members:
        names[member.name] = names.get(member.name, 0) + 1
        if member.header > position:
            gaps.append((position, member.header))
        position = member.stop
        if member.flags & DESCRIPTOR_FLAG:
            position += _descriptor(archive.window, position)
    if archive.directory.directory_start > position:
        gaps.append((position, archive.directory.directory_start))
    for name, count in names.items():
        if count > 1:
            archive.walk.sign(
                "zip-duplicate",
                f"{archive.prefix}{name}",
                f"{count} members have this name: programs differ in which they take",
            )
        if ODD_NAME.search(name):
            archive.walk.sign(
                "zip-name",
                f"{archive.prefix}{name}",
                "a member name that would leave the folder it is unpacked to, or that programs read differently",
            )
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.lower(), name)
        if other != name and name.lower().endswith(".pkl"):
            archive.walk.sign(
                "zip-duplicate",
                f"{archive.prefix}{name}",
                f"differs from {other!r} in case only: torch finds members without regard to case",
            )
    if gaps:
        carve(
            archive.walk,
            archive.window,
            archive.where,
            archive.depth,
            gaps,
            listed=len(archive.directory.members),
            base=archive.base,
        )
    _other_ends(archive)
    _end(archive)


def _end(archive: Archive) -> None:
    """What could hide in the directory, behind the end record, in a comment above all."""
    window = archive.window
    end, tail, at, _ = last_end(window)
    stop = end + END_SIZE
    comment = min(window.size, stop + int.from_bytes(tail[at + 20 : at + 22], "little"))
    start = max(archive.directory.directory_start, end - archive.walk.limits.searched_bytes)
    for begin, until, name, said in (
        (start, end, "[directory]", "in the archive's directory"),
        (stop, comment, "[comment]", "in the archive's comment"),
        (comment, window.size, "[behind]", "behind the end of the archive"),
    ):
        if until - begin > SMALLEST:
            hidden_in(
                archive.walk,
                window.read(begin, until - begin),
                f"{archive.prefix}{name}",
                archive.depth,
                told=HIDDEN.format(said),
            )


def _descriptor(window: Window, position: int) -> int:
    """The length of the descriptor at a position: what follows it is another header or the directory."""
    there = window.read(position, min(DESCRIPTOR_SIZES[-1] + 4, window.size - position))
    for size in (*DESCRIPTOR_SIZES, 0):
        if size + 4 <= len(there) and there.startswith(b"PK", size) and (size != 0 or not there.startswith(b"PK\x07\x08")):
            return size
    return 0


def members_elsewhere(archive: Archive, *, told: bool) -> None:
    """The members that torch or zipfile would find where this reading found others, or none; `told` says that each is a sign."""
    known = {(member.header, member.name) for member in archive.directory.members}
    try:
        readings = other_readings(archive.window, archive.walk.limits)
    except ModelscopeError:
        return
    for directory in readings:
        new = [member for member in directory.members if (member.header, member.name) not in known]
        known.update((member.header, member.name) for member in new)
        if new and told:
            archive.walk.sign(
                "zip-hidden-member",
                archive.where,
                f"{len(new):,} members, {new[0].name[:LONGEST_NAME]!r} first, are found by some programs only",
                archive.base + new[0].header,
            )
        if new:
            other = archive.beside(directory)
            other.directory.members = new
            other.python_code()
            for member in new:
                other.member(member)


def _other_ends(archive: Archive) -> None:
    """A second end record, in a comment for one: the archive that a program sees which takes that one."""
    if any(note.code in ("zip-readings", "zip-locator", "zip-prefix") for note in archive.directory.notes):
        members_elsewhere(archive, told=True)
    if not any(note.code == "zip-two-ends" for note in archive.directory.notes):
        return
    start = max(0, archive.window.size - (1 << 17))
    tail = archive.window.read(start, archive.window.size - start)
    known = {member.header for member in archive.directory.members}
    at = tail.rfind(END)
    for _ in range(8):
        at = tail.rfind(END, 0, at)
        if at < 0 or at + 22 > len(tail):
            break
        try:
            other = read_zip_directory(archive.window.cut(0, start + at + 22, archive.window.name), archive.walk.limits)
        except ModelscopeError:
            continue
        for member in other.members:
            if member.header not in known:
                known.add(member.header)
                archive.walk.sign(
                    "zip-hidden-member",
                    archive.where,
                    f"the member {member.name[:LONGEST_NAME]!r} is listed only by a directory that most programs do not use",
                    archive.base + member.header,
                )
                archive.member(member)


def carve(
    walk: Walk, window: Window, where: str, depth: int, gaps: list[tuple[int, int]], *, listed: int, base: int = 0
) -> None:
    """Local headers in bytes that no directory lists: what a program sees that reads the archive as a stream.

    Positions in what is told count from the first byte of what `where` names, in which the window begins at `base`.
    """
    budget = walk.limits.searched_bytes
    most = walk.limits.scanned_pickles
    found = 0
    for start, stop in gaps:
        length = min(stop - start, budget)
        if stop - start > budget:
            left = f"{stop - start - length:,} bytes between the members of a zip archive, from byte {start + length:,}"
            walk.unseen(where, f"{left} (--limit searched_bytes=N)")
        budget -= length
        data = window.read(start, length)
        if listed and data.strip(b"\0") and LOCAL not in data and length > 24:
            walk.sign("zip-gap", where, f"{stop - start:,} bytes between members belong to none of them", base + start)
        at = data.find(LOCAL)
        rest = bytearray(data)  # but for the members found in it
        while at >= 0 and found < most:
            found += 1
            following, until = _carved(walk, where, depth, base + start + at, data, at, listed=listed)
            rest[at:until] = bytes(until - at)
            at = data.find(LOCAL, following)
        if at >= 0:
            walk.unseen(where, f"members that no directory lists, beyond the first {most:,} (--limit scanned_pickles=N)")
        place = f"{where}/[gap at {base + start:,}]" if where else f"[gap at {base + start:,}]"
        hidden_in(walk, bytes(rest), place, depth, told=HIDDEN.format("between the members of the archive") if listed else "")


def _carved(walk: Walk, where: str, depth: int, at: int, data: bytes, index: int, *, listed: int) -> tuple[int, int]:
    """Look at the member behind a local header that stands at `at` in what `where` names; where to search on, and where it ends."""
    if index + LOCAL_SIZE > len(data):
        return len(data), len(data)
    flags = int.from_bytes(data[index + 6 : index + 8], "little")
    method = int.from_bytes(data[index + 8 : index + 10], "little")
    stored = int.from_bytes(data[index + 18 : index + 22], "little")
    name_length = int.from_bytes(data[index + 26 : index + 28], "little")
    extra_length = int.from_bytes(data[index + 28 : index + 30], "little")
    name = data[index + LOCAL_SIZE : index + LOCAL_SIZE + name_length].decode("utf-8", "replace")
    begin = index + LOCAL_SIZE + name_length + extra_length
    mark = MARKS.search(data, begin)
    following = mark.start() if mark else len(data)
    end = max(begin + stored if stored and stored != 0xFFFFFFFF else 0, following)  # its size may lie
    content = data[begin : min(end, len(data))]
    inner = f"{where}/{name}" if where else name
    if listed:
        walk.sign(
            "zip-hidden-member",
            where,
            f"the member {name[:LONGEST_NAME]!r} is not in the directory: programs that read the archive as a stream see it",
            at,
        )
    if flags & ENCRYPTED_FLAGS:
        walk.sign(
            "zip-encrypted-flag",
            where,
            f"the member {name[:LONGEST_NAME]!r} is marked as encrypted; torch ignores it, others refuse it",
            at,
        )
    rest = MemoryWindow(data, inner).cut(min(begin, len(data)), max(0, len(data) - begin), inner)
    if method == 8:
        try:
            content = zlib.decompressobj(-15).decompress(data[begin:], max(1, min(walk.limits.searched_bytes, walk.budget)))
        except zlib.error:
            content = b""
        walk.budget -= len(content)
        rest = MemoryWindow(content, inner)
    ran = _as_pickles(walk, rest, inner, depth) if content else 0
    if content and not ran:
        walk.content(MemoryWindow(content, inner), inner, depth + 1, raw=STORAGE.fullmatch(name) is not None)
    following = max(index + 4, min(following, len(data)))
    ends = begin + max(ran, stored)
    return following, ends if begin < ends < following else following


def _as_pickles(walk: Walk, rest: Window, inner: str, depth: int) -> int:
    """Run the pickles that begin there, however long their header says that they are. Returns how long they are; 0 where there is none."""
    from modelscope_cli.formats.scan_pickles import NEVER_FIRST, Series

    first = rest.head(1)
    if not first or first[0] in NEVER_FIRST:
        return 0
    series = Series(walk, rest, inner, depth + 1, PYTHON, one_of_many=True)
    try:
        return series.position if series.run() else 0
    except ModelscopeError as problem:
        walk.unseen(inner, problem)
        return rest.size
