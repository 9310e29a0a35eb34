"""A tar archive: each member by content. torch before 0.1.10 wrote its files so, and torch up to 2.5 unpickled them without asking."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from modelscope_cli.containers.pickle_machine import CHUNK
from modelscope_cli.containers.tar_directory import LINKS, TarDirectory, TarMember, looks_like_tar, read_tar_directory
from modelscope_cli.containers.tar_header import BLOCK, parse
from modelscope_cli.core.scanned import TORCH
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive import parts_of
from modelscope_cli.formats.archive_links import end_of, goals

if TYPE_CHECKING:
    from modelscope_cli.formats.scan_pickles import Series
    from modelscope_cli.formats.scanning import Walk

FILLED = 8 << 20  # bytes of a sparse file that are put together
CARVED = 8 << 20  # bytes searched for headers that the archive does not lead to
MOST_CARVED = 1_000
UNPICKLED = ("sys_info", "pickle", "storages", "tensors")  # members that torch.load unpickles, in whatever tar they are
WITH_NUMBERS = ("storages", "tensors")  # those of them that are several pickles, with raw numbers in between
# Where a pickle that imports begins, by its protocol, or where it imports: by GLOBAL, by INST, or by two strings and STACK_GLOBAL.
_NAME = rb"[A-Za-z_][\w.]{0,80}"
_STRING = (
    rb"(?:(?:\x8c.|[XT].\0\0\0|U.|\x8d.\0{7})" + _NAME + rb"|V" + _NAME + rb"\n|S(?:'" + _NAME + rb"'|\"" + _NAME + rb"\")\n)"
    rb"(?:\x94|q.|r....|p\d{1,9}\n)?"
)
PICKLE_START = re.compile(rb"\x80[\x02-\x05]|[ci]" + _NAME + rb"\n" + _NAME + rb"\n|" + _STRING + _STRING + rb"\x93", re.DOTALL)
PROTOCOL = 0x80
MARK = ord("(")
ROOTS = sys.stdlib_module_names | {"torch", "numpy", "__builtin__", "commands", "copy_reg"}
RECORDED = re.compile(r"\w+(?:Storage|Tensor)")  # what each record imports from torch
SEARCHED = 4 << 20
MOST_TRIES = 2_000
MOST_OPCODES = 2_000_000  # instructions run in what may be pickles between numbers


def scan_tar(walk: Walk, window: Window, where: str, depth: int) -> None:
    """Look at every member, as tarfile reads the archive, and at those that another program would find in what it passes over."""
    directory = read_tar_directory(window, walk.limits, lenient=True)
    prefix = f"{where}/" if where else ""
    names: dict[str, int] = {}
    files = {"/".join(parts_of(member.name)) for member in directory.members if _has_data(member)} - {""}
    leads = goals(member for member in directory.members if member.kind in LINKS)
    unpickled = any(member.kind in LINKS and member.name in UNPICKLED for member in directory.members)
    walk.found.looked = walk.found.looked or not where
    for note in directory.notes:
        walk.sign(note.code, where, note.message)
    if directory.problem is not None:
        walk.unseen(where, directory.problem.message)
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
    if directory.members and directory.problem is None and not directory.notes:
        walk.ends[where] = directory.members[-1].stop
    _carve(walk, window, where, depth, directory)


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
    size = min(member.size, FILLED)
    if member.size > FILLED:
        walk.unseen(inner, f"a sparse file behind its first {FILLED:,} bytes")
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
    data = window.read(start, min(window.size - start, CARVED))
    if odd and start + len(data) < window.size:
        walk.unseen(where, f"what may be members from byte {start + len(data):,} on, in a tar that programs read differently")
    found = 0
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        if not data[at] or start + at in known or not looks_like_tar(data[at : at + BLOCK]):
            continue
        found += 1
        if found > MOST_CARVED:
            walk.unseen(where, f"members that the archive does not lead to, beyond the first {MOST_CARVED:,}")
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
        walk.unseen(where, problem.message)
        found = False
    if not found:
        walk.content(content, where, depth + 1, raw=with_numbers)


def _between_numbers(walk: Walk, content: Window, where: str, depth: int) -> bool:
    """Pickles that stand between raw numbers: wherever one seems to begin, or to import, it is run. Returns whether one was told.

    What imports may need what stands before it, so it is run with a mark before it as well; and an import of a module that everybody
    has is told however the run ends.
    """
    from modelscope_cli.formats.scan_pickles import Series

    data = content.head(SEARCHED)
    if content.size > SEARCHED:
        walk.unseen(where, f"records behind the first {SEARCHED:,} bytes")
    series = Series(walk, content, where, depth + 1, TORCH)
    told = False
    tries = 0
    enough = max(0, walk.opcodes - MOST_OPCODES)
    for match in PICKLE_START.finditer(data, 1):
        if tries >= MOST_TRIES or walk.opcodes <= enough:
            walk.unseen(where, f"what may be pickles from byte {match.start():,} on")
            break
        while len(series.data) < min(match.start() + CHUNK, content.size):
            series.data += series.more(SEARCHED)
        for start, by_itself in _starts(match):
            told = _run_at(series, start, by_itself=by_itself) or told
            tries += 1
    return told


def _starts(match: re.Match[bytes]) -> list[tuple[int, bool]]:
    """Where to begin in what was found, and whether an import by itself is told that ends at its STOP.

    The letter of GLOBAL or INST may be one of a text before it, as in "cpu" and "ctorch": those count that name a known module.
    """
    first = match.start()
    if match[0][0] not in b"ci":
        return [(first, True)]
    module, name, _ = match[0].decode("latin-1").split("\n")
    places = [at for at, letter in enumerate(module[:-1]) if letter in "ci"]
    known = [at for at in places if module[at + 1 :].partition(".")[0] in ROOTS]
    return [(first + at, not _recorded(module[at + 1 :], name)) for at in known] or [(first, True)]


def _run_at(series: Series, start: int, *, by_itself: bool) -> bool:
    """Run what begins there, and again with a mark before it; keep what it imports or calls. Returns whether there was any."""
    before = series.data[start - 1]
    told = False
    for position in (start, start - 1):
        if position < start:
            series.data[position] = MARK
        series.position = position
        machine, problem = series.one()
        uses = machine.globals.values()
        if uses and ((problem is None and by_itself) or any(use.calls or _known(use.module, use.name) for use in uses)):
            series.keep(machine, None)
            told = True
        if series.data[start] == PROTOCOL or problem is None:
            break
    series.data[start - 1] = before
    return told


def _known(module: str, name: str) -> bool:
    """Whether an import cannot have come about by chance, and is not what the format itself imports."""
    return module.partition(".")[0] in ROOTS and not _recorded(module, name)


def _recorded(module: str, name: str) -> bool:
    return module == "torch" and RECORDED.fullmatch(name) is not None
