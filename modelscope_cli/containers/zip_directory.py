"""The directory of a zip archive: which members there are, and where their bytes really lie.

    [local header | name | extra][data] … [central directory][zip64 end, locator][end of central directory]

The central directory at the end is believed for names and sizes, the local header for where the data begins: torch pads
the local extra field so that storages are aligned, and the directory does not tell. Where the two disagree there is a
note, because such files are how scanners are evaded. Checksums are not verified: torch can save with the checksum left
out (0) and loads such files, while Python's zipfile refuses them. Facts: APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError

END = b"PK\x05\x06"
END_SIZE = 22
LOCATOR = b"PK\x06\x07"
LOCATOR_SIZE = 20
END64 = b"PK\x06\x06"
END64_SIZE = 56
CENTRAL = b"PK\x01\x02"
CENTRAL_SIZE = 46
LOCAL = b"PK\x03\x04"
LOCAL_SIZE = 30
LONGEST_COMMENT = 0xFFFF
LONGEST_END = END64_SIZE + LOCATOR_SIZE + END_SIZE + LONGEST_COMMENT
MOST_IDLE = 1 << 24  # packed bytes beyond twice of what they unpack to
PART = 1 << 10  # bytes decompressed at a time, of what may be damaged
USUAL_TAIL = 1_024  # bytes looked at first: few archives have a comment
FILLED_32 = 0xFFFFFFFF  # "see the zip64 extra field"

STORED = 0
DEFLATED = 8
DESCRIPTOR_FLAG = 0x0008
ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000
DESCRIPTOR_SIZES = (12, 16, 20, 24)  # CRC and two sizes, 4 or 8 bytes each, with or without a signature

_unpack_central = struct.Struct("<4s6H3I5H2I").unpack_from
_unpack_local = struct.Struct("<4s5H3I2H").unpack_from


class Member(NamedTuple):
    """A member: sizes from the central directory, `start` (first byte of the data) from the local header."""

    name: str
    method: int
    flags: int
    stored: int  # bytes in the file
    size: int  # bytes when uncompressed
    header: int  # offset of the local header
    start: int
    stop: int
    crc: int = 0  # checksum of the uncompressed data, as the directory has it


class ZipDirectory:
    """The members of a zip archive in the order of the file, and notes on what is odd about it."""

    def __init__(self, window: Window, members: list[Member], directory_start: int, notes: list[Note]):
        self.window = window
        self.members = members
        self.directory_start = directory_start
        self.notes = notes

    def read(self, member: Member, limit: int, resource: str) -> bytes:
        """The uncompressed content of a member. Raises LimitError when it is larger than `limit`, as claimed or in truth.

        Deflated data may be longer than what comes out, by empty blocks: a little of that is read.
        """
        if member.size > limit:
            raise LimitError(resource, limit, member.size, path=f"{self.window.name}:{member.name}")
        if member.stored > 2 * member.size + MOST_IDLE:
            what = f"{member.stored:,} bytes of compressed data, which should unpack to only {member.size:,}"
            raise CorruptFileError(what, path=f"{self.window.name}:{member.name}", offset=member.start)
        raw = self.window.read(member.start, member.stored, member.name)
        if member.method == STORED:
            return raw
        return self._inflate(member, raw)

    def read_on(self, member: Member, limit: int) -> bytes:
        """What can be had of a damaged member, or of one whose size is not the one claimed: `limit` bytes at most."""
        raw = self.window.read(member.start, min(member.stored, limit, max(0, self.window.size - member.start)), member.name)
        if member.method != DEFLATED:
            return raw if member.method == STORED else b""
        engine = zlib.decompressobj(-15)
        data = bytearray()
        try:
            for start in range(0, len(raw), PART):
                data += engine.decompress(raw[start : start + PART], limit - len(data))
                if len(data) >= limit or engine.eof:  # behind its end zlib would keep all, and copy it each time
                    break
        except zlib.error:
            pass
        return bytes(data)

    def _inflate(self, member: Member, raw: bytes) -> bytes:
        if member.method != DEFLATED:
            from modelscope_cli.containers.compressed import method_named

            raise UnsupportedFeatureError(method_named(member.method), path=f"{self.window.name}:{member.name}")
        try:
            engine = zlib.decompressobj(-15)
            data = engine.decompress(raw, member.size + 1)
        except zlib.error as error:
            raise CorruptFileError(f"cannot be decompressed: {error}", path=f"{self.window.name}:{member.name}") from None
        if len(data) != member.size:
            more = "more" if len(data) > member.size else f"{len(data):,}"
            raise CorruptFileError(
                f"decompresses to {more} bytes, the directory says {member.size:,}", path=f"{self.window.name}:{member.name}"
            )
        return data

    def claim(
        self, byte_map: ByteMapBuilder, label_of: dict[str, str], default: str, inner: list[tuple[int, int, str]]
    ) -> None:
        """Label every byte: headers, alignment, the data of each member (by its name), descriptors, the directory.

        `inner` are ranges inside members that carry a label of their own.
        """
        stops = [member.header for member in self.members[1:]] + [self.directory_start]
        inner = sorted(inner)
        for member, next_start in zip(self.members, stops, strict=True):
            named = member.header + LOCAL_SIZE + len(member.name.encode("utf-8", "surrogateescape"))
            byte_map.claim("header", member.header, named)
            byte_map.claim("padding", named, member.start)
            byte_map.claim_around(
                label_of.get(member.name, default), member.start, member.stop, _between(inner, member.start, member.stop)
            )
            if member.flags & DESCRIPTOR_FLAG and next_start - member.stop in DESCRIPTOR_SIZES:
                byte_map.claim("header", member.stop, next_start)
        byte_map.claim("directory", self.directory_start, self.window.size)


def _between(ranges: list[tuple[int, int, str]], start: int, stop: int) -> list[tuple[int, int, str]]:
    """Those of the sorted ranges that begin in start..stop."""
    return ranges[bisect_left(ranges, (start,)) : bisect_left(ranges, (stop,))] if ranges else ranges


class _Parsed(NamedTuple):
    limits: Limits
    members: list[Member]
    directory_start: int
    notes: list[Note]


def read_zip_directory(window: Window, limits: Limits) -> ZipDirectory:
    """Parse the directory and every local header. Raises CorruptFileError, LimitError, UnsupportedFeatureError.

    A window is parsed once: a scan asks for what the reader of checkpoints has asked for before.
    """
    found = window.kept
    if not isinstance(found, _Parsed) or found.limits != limits:
        found = window.kept = _parse(window, limits)
    return ZipDirectory(window, found.members, found.directory_start, found.notes)


def _parse(window: Window, limits: Limits) -> _Parsed:
    notes: list[Note] = []
    count, size, offset, end_at = _find_end(window, notes)
    if count > limits.members:
        raise LimitError("members", limits.members, count, path=window.name, offset=end_at)
    if size > limits.directory_bytes:
        raise LimitError("directory_bytes", limits.directory_bytes, size, path=window.name, offset=end_at)
    if offset + size > end_at:
        raise CorruptFileError(
            f"the zip directory (bytes {offset:,} to {offset + size:,}) does not end before its end record",
            path=window.name,
            offset=end_at,
        )
    central = window.read(offset, size, "zip directory")
    entries, parsed = _parse_central(central, count, offset, window.name)
    if parsed < len(central) or offset + size < end_at:
        message = (
            "torch and Python's zipfile read another directory: it does not end where its entries do, or not at its end record"
        )
        notes.append(Note("zip-readings", "warning", window.name, message))
    members = [_locate(window, entry, notes) for entry in sorted(entries, key=lambda entry: entry.header)]
    _check_order(members, offset, window.name)
    outside = max(
        members[-1].stop if members else 0, window.size - LONGEST_END
    )  # the zip in a stored member has an end as well
    if window.read(outside, window.size - outside).count(END) > 1:
        notes.append(
            Note("zip-two-ends", "warning", window.name, "a second end-of-directory record: parsers may disagree about it")
        )
    if members and members[0].header > 0:
        notes.append(Note("zip-prefix", "warning", window.name, f"{members[0].header:,} bytes stand before the archive"))
    return _Parsed(limits, members, offset, notes)


def other_readings(window: Window, limits: Limits) -> list[ZipDirectory]:
    """An odd or damaged archive as programs read it that take it all the same: what can be read of each directory.

    torch (miniz) takes the directory from where the end record says, Python's zipfile the one that stands right before the end record,
    with all its entries, however many there should be, and shifts them by what stands before the archive. A 64-bit end record is where
    the locator says to miniz, right before the locator to zipfile. Members may lie on the same bytes. Raises for what has no end.
    """
    end_at, tail, at, (_, size, offset) = last_end(window)
    ends = [(size, offset, end_at)]
    if at >= LOCATOR_SIZE and tail[at - LOCATOR_SIZE : at - LOCATOR_SIZE + 4] == LOCATOR:
        (pointed,) = struct.unpack_from("<Q", tail, at - LOCATOR_SIZE + 8)
        for place in dict.fromkeys((pointed, end_at - LOCATOR_SIZE - END64_SIZE)):
            found = _end64(window, place)
            if found is not None:
                ends.append((found[1], found[2], place))
    known: set[tuple[int, int]] = set()
    directories = []
    for size, offset, stop in ends:
        for shift in (0, stop - size - offset):
            start = offset + shift
            if not 0 <= start < window.size or (start, shift) in known or size > limits.directory_bytes:
                continue
            known.add((start, shift))
            central = window.read(start, min(size, window.size - start), "zip directory")
            entries, _ = _parse_central(central, limits.members, start, window.name, lenient=True)
            members = []
            for entry in entries:
                try:
                    members.append(_locate(window, entry._replace(header=entry.header + shift), [], lenient=True))
                except CorruptFileError:
                    continue
            directories.append(ZipDirectory(window, members, start, []))
    return directories


def _find_end(window: Window, notes: list[Note]) -> tuple[int, int, int, int]:
    """(members, directory size, directory offset, offset of the first end record). The last signature in the file counts."""
    end_at, tail, at, (count, size, offset) = last_end(window)
    disk, comment = struct.unpack_from("<H14xH", tail, at + 4)
    if end_at + END_SIZE + comment != window.size:
        notes.append(
            Note("zip-trailing", "warning", window.name, f"{window.size - end_at - END_SIZE:,} bytes follow the end record")
        )
    if at >= LOCATOR_SIZE and tail[at - LOCATOR_SIZE : at - LOCATOR_SIZE + 4] == LOCATOR:
        (end64_at,) = struct.unpack_from("<Q", tail, at - LOCATOR_SIZE + 8)
        found = _end64(window, end64_at)
        beside = end_at - LOCATOR_SIZE - END64_SIZE
        if found is not None:
            if end64_at != beside and _end64(window, beside) is not None:
                message = "two 64-bit end records: torch takes the one that is pointed to, Python's zipfile the last"
                notes.append(Note("zip-readings", "warning", window.name, message))
            return *found, end64_at
        if FILLED_32 in (size, offset):
            raise CorruptFileError("zip64 end record expected", path=window.name, offset=min(end64_at, window.size))
        message = "the 64-bit end record is not where it should be: torch goes by the other, other programs may refuse"
        notes.append(Note("zip-locator", "warning", window.name, message))
    if disk not in (0, 1, 0xFFFF):
        raise UnsupportedFeatureError("a zip archive split over several disks", path=window.name, offset=end_at)
    if disk == 1:
        message = "a part of an archive split over several disks: torch and Python's zipfile take it for a whole one"
        notes.append(Note("zip-readings", "warning", window.name, message))
    return count, size, offset, end_at


def _end64(window: Window, place: int) -> tuple[int, int, int] | None:
    """(members, directory size, directory offset) of the 64-bit end record at a place; None where there is none."""
    if not 0 <= place <= window.size - END64_SIZE:
        return None
    record = window.read(place, END64_SIZE, "zip64 end record")
    if record[:4] != END64:
        return None
    count, size, offset = struct.unpack_from("<3Q", record, 32)
    return count, size, offset


def last_end(window: Window) -> tuple[int, bytes, int, tuple[int, int, int]]:
    """(where the last end record is, the tail of the file, where in it the record is, (members, directory size, its offset))."""
    tail_size = min(window.size, USUAL_TAIL)
    tail = window.read(window.size - tail_size, tail_size)
    at = tail.rfind(END, 0, max(0, tail_size - END_SIZE + len(END)))
    if at < 0:
        tail_size = min(window.size, END_SIZE + LONGEST_COMMENT + LOCATOR_SIZE)
        tail = window.read(window.size - tail_size, tail_size)
        at = tail.rfind(END, 0, max(0, tail_size - END_SIZE + len(END)))
    if at < 0:
        raise CorruptFileError(
            "a zip archive without its directory at the end",
            path=window.name,
            offset=window.size,
            hint="the file is probably cut short: compare its size with the source and download it again",
        )
    end_at = window.size - tail_size + at
    count, size, offset = struct.unpack_from("<H2I", tail, at + 10)
    return end_at, tail, at, (count, size, offset)


class _Entry(NamedTuple):
    name: str
    raw_name: bytes
    method: int
    flags: int
    stored: int
    size: int
    header: int
    crc: int


def _parse_central(central: bytes, count: int, base: int, path: str, *, lenient: bool = False) -> tuple[list[_Entry], int]:
    """The entries, and where the last one ends. A `lenient` reading ends at what is none, or is damaged."""
    entries: list[_Entry] = []
    position = 0
    for _ in range(count):
        if position + CENTRAL_SIZE > len(central) or central[position : position + 4] != CENTRAL:
            if lenient:
                break
            raise CorruptFileError(
                f"zip directory entry {len(entries) + 1} of {count:,} is missing", path=path, offset=base + position
            )
        row = _unpack_central(central, position)
        flags, method, crc, stored, size, header = row[3], row[4], row[7], row[8], row[9], row[16]
        name_at = position + CENTRAL_SIZE
        extra_at = name_at + row[10]
        position = extra_at + row[11] + row[12]
        if position > len(central) and not lenient:
            raise CorruptFileError("the zip directory ends inside an entry", path=path, offset=base + name_at)
        raw_name = central[name_at:extra_at]
        if FILLED_32 in (stored, size, header):
            try:
                size, stored, header = _zip64_values(
                    central[extra_at : extra_at + row[11]], size, stored, header, path, base + extra_at
                )
            except CorruptFileError:
                if not lenient:
                    raise
                continue
        entries.append(_Entry(raw_name.decode("utf-8", "surrogateescape"), raw_name, method, flags, stored, size, header, crc))
    return entries, position


def _zip64_values(extra: bytes, size: int, stored: int, header: int, path: str, offset: int) -> tuple[int, int, int]:
    """Those of (size, stored, header) that are filled with ones, from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 0x0001:
            values = list(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            try:
                size, stored, header = (values.pop(0) if value == FILLED_32 else value for value in (size, stored, header))
            except IndexError:
                break
            return size, stored, header
        at += 4 + length
    raise CorruptFileError("a zip entry lacks its 64-bit sizes", path=path, offset=offset)


def _locate(window: Window, entry: _Entry, notes: list[Note], *, lenient: bool = False) -> Member:
    """Find where the data of an entry begins, from its local header. A `lenient` reading takes what there is of it."""
    if entry.header < 0:
        raise CorruptFileError(f"no zip header for {entry.name!r}", path=window.name, offset=0)
    local = window.read(entry.header, LOCAL_SIZE + len(entry.raw_name), f"zip header of {entry.name!r}")
    if local[:4] != LOCAL:
        raise CorruptFileError(f"no zip header for {entry.name!r}", path=window.name, offset=entry.header)
    _, _, flags, method, _, _, crc, stored, size, name_length, extra_length = _unpack_local(local)
    described = bool(flags & DESCRIPTOR_FLAG)  # then checksum and sizes stand behind the data
    claims = ((crc, entry.crc), (stored, entry.stored), (size, entry.size))
    if (
        flags != entry.flags
        or method != entry.method
        or local[LOCAL_SIZE:] != entry.raw_name
        or name_length != len(entry.raw_name)
    ):
        which = "flags" if flags != entry.flags else "compression" if method != entry.method else "name"
        notes.append(Note("zip-headers-differ", "warning", entry.name, f"the local header and the directory differ in {which}"))
    elif not described and any(here != there and here != FILLED_32 for here, there in claims):
        which = "checksum" if claims[0][0] != claims[0][1] else "sizes"
        notes.append(Note("zip-headers-differ", "warning", entry.name, f"the local header and the directory differ in {which}"))
    if (flags | entry.flags) & ENCRYPTED_FLAGS:
        notes.append(
            Note("zip-encrypted-flag", "warning", entry.name, "marked as encrypted; torch ignores the mark, zipfile refuses it")
        )
    start = entry.header + LOCAL_SIZE + name_length + extra_length
    stop = start + entry.stored
    if lenient and start <= window.size:
        stop = min(stop, window.size)
        return Member(entry.name, entry.method, entry.flags, stop - start, entry.size, entry.header, start, stop, entry.crc)
    if stop > window.size:
        raise CorruptFileError(
            f"{entry.name!r}: expected {entry.stored:,} bytes, found {max(0, window.size - start):,}",
            path=window.name,
            offset=start,
        )
    if entry.method == STORED and entry.stored != entry.size:
        raise CorruptFileError(f"{entry.name!r} is stored, but its two sizes differ", path=window.name, offset=entry.header)
    return Member(entry.name, entry.method, entry.flags, entry.stored, entry.size, entry.header, start, stop, entry.crc)


def _check_order(members: list[Member], directory_start: int, path: str) -> None:
    """No two members share bytes, none reaches into the directory."""
    position = 0
    for member in members:
        if member.header < position:
            raise CorruptFileError(f"zip member {member.name!r} lies on the bytes of another", path=path, offset=member.header)
        position = member.stop
    if position > directory_start:
        raise CorruptFileError("the last zip member reaches into the directory", path=path, offset=directory_start)
