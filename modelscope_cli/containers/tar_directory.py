"""The members of a tar archive, and where their bytes lie.

    [header, 512 bytes][data, padded to 512] …   then two blocks of zeros, and more of them up to the size of a tape record

    header    0 name   100 mode   108 uid   116 gid   124 size   136 mtime   148 checksum   156 kind   157 target of a link
              257 "ustar" (POSIX: with 00 behind it; GNU: with blanks; absent in tars of Unix V7)   345 prefix of the name

Numbers are octal text, or big-endian binary with the first bit set (GNU). The checksum is the sum of the header's bytes with
its own field taken as blanks. A member of kind x or g (pax), L or K (GNU) describes the next one, or all that follow: a long name
or target of a link, a large size.
There is no directory at the end, so every header is read. Facts: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError

BLOCK = 512
ZEROS = bytes(BLOCK)
CHECKSUM = slice(148, 156)
BLANKS = 8 * ord(" ")
FILE_KINDS = b"\0" + b"07"  # old and new ordinary files, and contiguous ones
HARD_LINK, SYMBOLIC_LINK = b"1", b"2"
LINKS = (HARD_LINK, SYMBOLIC_LINK)
PAX_NEXT, PAX_ALL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
DESCRIPTIONS = (PAX_NEXT, PAX_ALL, LONG_NAME, LONG_LINK)
LONGEST_TARGET = 4_097  # characters kept of where a link leads: systems take 4,096
LONGEST_DESCRIPTION = 1 << 20  # bytes of a pax or long-name member
_fields = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x").unpack


class TarMember(NamedTuple):
    """A member: where its header (with what describes it) begins, and the bytes start..stop of its data. `target`: of a link."""

    name: str
    kind: bytes
    header: int
    start: int
    stop: int
    target: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is an ordinary file; links and devices have no data of their own."""
        return self.kind in FILE_KINDS and self.kind != b""


class TarDirectory:
    """The members of a tar archive in the order of the file."""

    def __init__(self, window: Window, members: list[TarMember], stop: int, notes: list[Note]):
        self.window = window
        self.members = members
        self.stop = stop  # where the archive ends: at its first block of zeros
        self.notes = notes

    def claim(
        self, byte_map: ByteMapBuilder, label_of: dict[int, str], default: str, inner: dict[int, list[tuple[int, int, str]]]
    ) -> None:
        """Label headers, padding, and the data of each member (by its number; `inner` holds ranges with labels of their own)."""
        for number, member in enumerate(self.members):
            byte_map.claim("header", member.header, member.start)
            byte_map.claim_around(label_of.get(number, default), member.start, member.stop, inner.get(number, []))
            byte_map.claim("padding", member.stop, min(padded(member.stop, member.start), self.window.size))
        end = min(self.stop, self.window.size)
        zeros = end
        while zeros < self.window.size:
            block = self.window.read(zeros, min(BLOCK * 128, self.window.size - zeros))
            if block.strip(b"\0"):
                zeros += len(block) - len(block.lstrip(b"\0"))
                break
            zeros += len(block)
        byte_map.claim("padding", end, zeros)


def padded(stop: int, start: int) -> int:
    """Where the block ends in which data that began at `start` stops."""
    return start + (stop - start + BLOCK - 1) // BLOCK * BLOCK


def looks_like_tar(head: bytes) -> bool:
    """Whether the first block is a tar header with a correct checksum; tars of Unix V7 have no other sign."""
    return len(head) >= BLOCK and _checksum_fits(head[:BLOCK])


def read_tar_directory(window: Window, limits: Limits) -> TarDirectory:
    """Read every header. Raises CorruptFileError for a damaged one, LimitError for too many members."""
    members: list[TarMember] = []
    notes: list[Note] = []
    everywhere: dict[str, str] = {}
    following: dict[str, str] = {}
    position = first = 0
    descriptions = 0
    while position + BLOCK <= window.size:
        block = window.read(position, BLOCK, "tar header")
        if block == ZEROS:
            break
        name, kind, size, target = _parse(block, position, window.name)
        if kind not in DESCRIPTIONS:
            size = _claimed_size(following.get("size", everywhere.get("size")), size, position, window.name)
        start = position + BLOCK
        if kind not in FILE_KINDS and kind not in DESCRIPTIONS:
            size = 0 if kind in b"123456" else size
        if start + size > window.size:
            what = f"tar member {name[:80]!r}: expected {size:,} bytes, found {window.size - start:,}"
            raise CorruptFileError(what, path=window.name, offset=position)
        position = padded(start + size, start)
        if len(members) + descriptions >= limits.members:
            raise LimitError("members", limits.members, f"more than {limits.members:,}", path=window.name, offset=start)
        if kind in DESCRIPTIONS:
            descriptions += 1
            _describe(window, kind, start, size, everywhere if kind == PAX_ALL else following)
            continue
        name = following.get("path", everywhere.get("path", name))
        target = following.get("linkpath", everywhere.get("linkpath", target)) if kind in LINKS else ""
        members.append(TarMember(name, kind, first, start, start + size, target[:LONGEST_TARGET]))
        following = {}
        first = position
    else:
        notes.append(Note("tar-end", "warning", window.name, "the archive ends without its blocks of zeros"))
    if not members:
        raise CorruptFileError("a tar archive without members", path=window.name, offset=0)
    return TarDirectory(window, members, min(first, window.size), notes)


def _parse(block: bytes, position: int, path: str) -> tuple[str, bytes, int, str]:
    """(name, kind, size, target of a link) of a header."""
    if not _checksum_fits(block):
        raise CorruptFileError("a tar header with a wrong checksum", path=path, offset=position)
    fields = _fields(block)
    raw, size, kind, magic, prefix = fields[0], fields[4], fields[7], fields[9], fields[15]
    name = raw.split(b"\0", 1)[0]
    if magic == b"ustar\0" and prefix[:1] != b"\0":
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    target = fields[8].split(b"\0", 1)[0].decode("utf-8", "surrogateescape") if kind in LINKS else ""
    return name.decode("utf-8", "surrogateescape"), kind, _number(size, position, path), target


def _checksum_fits(block: bytes) -> bool:
    """Sums were taken over signed bytes by some old programs."""
    field = block[CHECKSUM]
    text = field.replace(b"\0", b" ").strip()
    if not text or text.strip(b"01234567"):
        return False
    claimed = int(text, 8)
    unsigned = sum(block) - sum(field) + BLANKS
    return claimed == unsigned or claimed == unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def _number(field: bytes, position: int, path: str) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.replace(b"\0", b" ").strip()
    if text.strip(b"01234567"):
        raise CorruptFileError("a tar header whose size is not a number", path=path, offset=position)
    return int(text or b"0", 8)


def _claimed_size(text: str | None, size: int, position: int, path: str) -> int:
    """The size from a pax description, which comes before that of the header."""
    if text is None:
        return size
    if not text.isdecimal() or len(text) > 20:
        raise CorruptFileError("a pax header whose size is not a number", path=path, offset=position)
    return int(text)


def _describe(window: Window, kind: bytes, start: int, size: int, found: dict[str, str]) -> None:
    """What a description says about path and size; LENGTH KEY=VALUE lines, or a name alone."""
    if size > LONGEST_DESCRIPTION:
        raise LimitError("header_bytes", LONGEST_DESCRIPTION, size, path=window.name, offset=start)
    data = window.read(start, size, "tar header")
    if kind in (LONG_NAME, LONG_LINK):
        found["path" if kind == LONG_NAME else "linkpath"] = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    if kind not in (PAX_NEXT, PAX_ALL):
        return
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        length = data[position:space] if space > 0 else b""
        if not length.isdigit() or not space - position < int(length) <= len(data) - position:
            raise CorruptFileError("a pax header that is damaged", path=window.name, offset=start + position)
        key, _, value = data[space + 1 : position + int(length) - 1].partition(b"=")
        if key in (b"path", b"size", b"linkpath"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        position += int(length)
