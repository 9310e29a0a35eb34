"""A tar archive: each member by content. torch before 0.1.10 wrote its files so, and torch up to 2.5 unpickled them without asking."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modelscope_cli.containers.tar_directory import LINKS, TarDirectory, TarMember, looks_like_tar, read_tar_directory
from modelscope_cli.containers.tar_header import BLOCK, parse
from modelscope_cli.core.place import short_place
from modelscope_cli.core.scanned import TORCH
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive import parts_of
from modelscope_cli.formats.archive_links import end_of, goals
from modelscope_cli.formats.scan_package import roots_of

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

UNPICKLED = ("sys_info", "pickle", "storages", "tensors")  # members that torch.load unpickles, in whatever tar they are
WITH_NUMBERS = ("storages", "tensors")  # those of them that are several pickles, with raw numbers in between


def scan_tar(walk: Walk, window: Window, where: str, depth: int) -> None:
    """Look at every member, as tarfile reads the archive, and at those that another program would find in what it passes over."""
    directory = read_tar_directory(window, walk.limits, lenient=True)
    prefix = f"{short_place(where)}/" if where else ""
    names: dict[str, int] = {}
    files = {"/".join(parts_of(member.name)) for member in directory.members if _has_data(member)} - {""}
    leads = goals(member for member in directory.members if member.kind in LINKS)
    unpickled = any(member.kind in LINKS and member.name in UNPICKLED for member in directory.members)
    walk.found.looked = walk.found.looked or not where
    walk.found.begins = walk.found.begins if where else "tar"
    walk.packages.update(f"{prefix}{root}".lower() for root in roots_of(member.name for member in directory.members))
    for note in directory.notes:
        walk.sign(note.code, where, note.message)
    if directory.problem is not None:
        walk.unseen(where, directory.problem)
    for member in directory.members:
        inner = f"{prefix}{member.name}"
        names[member.name] = names.get(member.name, 0) + 1
        if names[member.name] == 2 and _has_data(member):
            walk.sign("tar-duplicate", inner, "several members have this name: programs differ in which they take")
        if member.name.startswith("/") or ".." in member.name.split("/"):
            walk.sign("tar-name", inner, "a member name that would leave the folder it is unpacked to")
        if not _has_data(member):
            if member.kind in LINKS and not end_of(member, leads, files):
                walk.sign("tar-link", inner, "a link: where it leads is not followed")
            continue
        if member.pieces and member.size:
            _content(walk, _filled(walk, window, member, inner), member.name, inner, depth, unpickled)
        if member.stop > member.start:
            content = window.cut(member.start, member.stop - member.start, inner)
            _content(walk, content, member.name, inner, depth, unpickled)
    _follow(walk, window, prefix, depth, directory)
    if directory.members and directory.problem is None and not directory.notes:
        walk.ends[where] = directory.members[-1].stop
    _carve(walk, window, where, depth, directory)


def _follow(walk: Walk, window: Window, prefix: str, depth: int, directory: TarDirectory) -> None:
    """What the index of a distributed checkpoint says lies in the members beside it."""
    files = {member.name: member for member in directory.members if member.stop > member.start}
    if walk.has_parts(prefix, files):
        from modelscope_cli.formats.scan_places import follow_members

        def opened(member: TarMember) -> Window:
            return window.cut(member.start, member.stop - member.start, f"{prefix}{member.name}")

        follow_members(walk, prefix, depth, {name: partial(opened, member) for name, member in files.items()})


def _has_data(member: TarMember) -> bool:
    return member.is_file or bool(member.pieces)


def _content(walk: Walk, content: Window, name: str, inner: str, depth: int, unpickled: bool) -> None:
    """Look at a member. `unpickled` says that a link of a name that torch unpickles may lead to it."""
    if unpickled or name in UNPICKLED:
        _unpickled(walk, content, inner, depth, with_numbers=unpickled or name in WITH_NUMBERS)
    else:
        walk.content(content, inner, depth + 1)


def _filled(walk: Walk, window: Window, member: TarMember, inner: str) -> Window:
    """A sparse file with its holes, as tarfile reads it: of pieces that overlap, the first that begins before a place counts."""
    size = min(member.size, walk.limits.searched_bytes)
    if member.size > size:
        walk.unseen(inner, f"a sparse file behind its first {size:,} bytes (--limit searched_bytes=N)")
    parts: list[tuple[int, int, int]] = []  # from, to, position of the bytes or -1 for a hole
    last, position = 0, member.start
    for offset, length in member.pieces:
        if offset > last:
            parts.append((last, offset, -1))
        parts.append((offset, offset + length, position))
        position += length
        last = offset + length
    if last < size:
        parts.append((last, size, -1))
    out = bytearray()
    at = steps = 0
    while len(out) < size and steps <= len(parts):
        start, stop, begin = parts[at]
        if not start <= len(out) < stop:
            at = (at + 1) % len(parts)
            steps += 1
            continue
        steps = 0
        length = min(stop, size) - len(out)
        begin += len(out) - start if begin >= 0 else 0
        data = bytes(length) if begin < 0 else window.read(begin, max(0, min(length, window.size - begin)))
        out += data
        if len(data) < length:
            break
    return MemoryWindow(bytes(out), inner)


def _carve(walk: Walk, window: Window, where: str, depth: int, directory: TarDirectory) -> None:
    """Headers that the archive does not lead to: behind its end, and everywhere in one that programs read differently."""
    odd = directory.problem is not None or any(note.code != "tar-end" for note in directory.notes)
    start = 0 if odd else directory.stop
    known = {member.start - BLOCK for member in directory.members} | {member.header for member in directory.members}
    data = window.read(start, min(window.size - start, walk.limits.searched_bytes))
    if odd and start + len(data) < window.size:
        at = start + len(data)
        walk.unseen(
            where, f"what may be members from byte {at:,} on, as programs read it differently (--limit searched_bytes=N)"
        )
    found = 0
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        if not data[at] or start + at in known or not looks_like_tar(data[at : at + BLOCK]):
            continue
        found += 1
        if found > walk.limits.scanned_pickles:
            walk.unseen(
                where, f"members that the archive does not lead to, beyond the first {found - 1:,} (--limit scanned_pickles=N)"
            )
            break
        begin = start + at + BLOCK
        name = data[at : at + 100].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        inner = f"{where}/{name}" if where else name
        if not odd:
            walk.sign("tar-hidden-member", where, f"a member {name[:80]!r} stands behind the end of the archive", start + at)
        following = window.read(begin, max(0, min(BLOCK, window.size - begin)))
        if not following.strip(b"\0") or looks_like_tar(following):
            continue  # a header of its own
        try:
            size = parse(data[at : at + BLOCK]).size
        except ValueError:
            size = 0
        left = window.size - begin
        _content(walk, window.cut(begin, min(size or left, left), inner), name, inner, depth, False)


def _unpickled(walk: Walk, content: Window, where: str, depth: int, *, with_numbers: bool) -> None:
    """A member that torch unpickles; one that does not begin as a pickle may be anything else."""
    from modelscope_cli.formats.scan_pickles import Series

    try:
        found = Series(walk, content, where, depth + 1, TORCH, one_of_many=with_numbers).run()
        if with_numbers:
            found = _between_numbers(walk, content, where, depth) or found
    except ModelscopeError as problem:
        walk.unseen(where, problem)
        found = False
    if not found:
        walk.content(content, where, depth + 1, raw=with_numbers)


def _between_numbers(walk: Walk, content: Window, where: str, depth: int) -> bool:
    """Pickles that stand between raw numbers. Returns whether one was told."""
    from modelscope_cli.formats.scan_hidden import search
    from modelscope_cli.formats.scan_pickles import Series

    searched = walk.limits.searched_bytes // 2
    data = content.head(searched)
    if content.size > searched:
        walk.unseen(where, f"records behind the first {searched:,} bytes (--limit searched_bytes=N)")
    return search(Series(walk, content, where, depth + 1, TORCH), data, 1, records=True) is not None
