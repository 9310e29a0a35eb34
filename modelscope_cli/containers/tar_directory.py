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

from typing import NamedTuple

from modelscope_cli.containers.tar_header import (
    BLOCK,
    FOLDER,
    KEYS,
    LINKS,
    LONG_LINK,
    LONG_NAME,
    PAX_ALL,
    PAX_NEXT,
    PAX_SOLARIS,
    SPARSE,
    SPARSE_AT,
    SPARSE_KEYS,
    SPARSE_MORE,
    SPARSE_SIZE,
    SYMBOLIC_LINK,
    Described,
    Header,
    checksum_fits,
    number,
    old_pieces,
    parse,
    records,
    whole,
)
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError

__all__ = ["LINKS", "SYMBOLIC_LINK", "TarDirectory", "TarMember", "looks_like_tar", "padded", "read_tar_directory"]

ZEROS = bytes(BLOCK)
FILE_KINDS = b"\0" + b"07"  # old and new ordinary files, and contiguous ones
WITHOUT_DATA = b"123456"  # links, devices, folders
DESCRIPTIONS = (PAX_NEXT, PAX_ALL, LONG_NAME, LONG_LINK, PAX_SOLARIS)
LONGEST_TARGET = 4_097  # characters kept of where a link leads: systems take 4,096
LONGEST_DESCRIPTION = 1 << 20  # bytes of a pax or long-name member
MOST_PIECES = 100_000  # of all sparse files of an archive together
NEGATIVE = "a tar header whose size is negative"
MOST_NOTES = 20  # of one code


class TarMember(NamedTuple):
    """A member: where its header (with what describes it) begins, and the bytes start..stop of its data. `target`: of a link.

    `pieces` of a sparse file are (where they belong, length), one behind another in the data; `size` is that of the whole. They are
    followed in a lenient reading only.
    """

    name: str
    kind: bytes
    header: int
    start: int
    stop: int
    target: str = ""
    pieces: tuple[tuple[int, int], ...] = ()
    size: int = 0

    @property
    def is_file(self) -> bool:
        """Whether it is an ordinary file, as tarfile takes what is of no known kind; links and devices have no data of their own."""
        if self.kind in FILE_KINDS:
            return self.kind != b""
        return self.kind not in WITHOUT_DATA and self.kind != SPARSE and self.stop > self.start


class TarDirectory:
    """The members of a tar archive in the order of the file."""

    def __init__(
        self, window: Window, members: list[TarMember], stop: int, notes: list[Note], problem: ModelscopeError | None = None
    ):
        self.window = window
        self.members = members
        self.stop = stop  # where the archive ends: at its first block of zeros
        self.notes = notes
        self.problem = problem  # why a lenient reading ended before the archive does

    def claim(
        self, byte_map: ByteMapBuilder, label_of: dict[int, str], default: str, inner: dict[int, list[tuple[int, int, str]]]
    ) -> None:
        """Label headers, padding, and the data of each member (by its number; `inner` holds ranges with labels of their own)."""
        for index, member in enumerate(self.members):
            byte_map.claim("header", member.header, member.start)
            byte_map.claim_around(label_of.get(index, default), member.start, member.stop, inner.get(index, []))
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


def looks_like_tar(head: bytes) -> bool:
    """Whether the first block is a tar header with a correct checksum; tars of Unix V7 have no other sign."""
    return len(head) >= BLOCK and checksum_fits(head[:BLOCK])


def read_tar_directory(window: Window, limits: Limits, *, lenient: bool = False) -> TarDirectory:
    """Read every header, as Python's tarfile does, and note what it takes that is odd.

    Raises CorruptFileError for a damaged one, LimitError for too many members. A `lenient` reading raises nothing of that, keeps what
    stands before, and follows sparse files; its members may lie on the same bytes.
    """
    reading = _Reading(window, limits, lenient)
    try:
        reading.run()
    except (CorruptFileError, LimitError) as problem:
        if not lenient:
            raise
        reading.problem = problem
    if not reading.members and reading.problem is None:
        reading.problem = CorruptFileError("a tar archive without members", path=window.name, offset=0)
    if reading.problem is not None and not lenient:
        raise reading.problem
    return TarDirectory(window, reading.members, min(reading.first, window.size), reading.notes, reading.problem)


class _Description(NamedTuple):
    """One that stands before a member. `values` of a pax header hold those of all before it that count for all members."""

    kind: bytes
    values: dict[str, str]
    pieces: list[tuple[int, int]]


class _Reading:
    """One way through the headers. `first` is where the next member begins, with its descriptions."""

    def __init__(self, window: Window, limits: Limits, lenient: bool):
        self.window = window
        self.limits = limits
        self.lenient = lenient
        self.keys = (*KEYS, *SPARSE_KEYS) if lenient else KEYS
        self.members: list[TarMember] = []
        self.notes: list[Note] = []
        self.everywhere: dict[str, str] = {}
        self.before: list[_Description] = []
        self.first = 0
        self.pieces = 0
        self.problem: ModelscopeError | None = None

    def run(self) -> None:
        window = self.window
        position = descriptions = 0
        while position + BLOCK <= window.size:
            block = window.read(position, BLOCK, "tar header")
            if block == ZEROS:
                return
            try:
                header = parse(block)
            except ValueError as problem:
                raise CorruptFileError(str(problem), path=window.name, offset=position) from None
            if len(self.members) + descriptions >= self.limits.members:
                raise LimitError(
                    "members", self.limits.members, f"more than {self.limits.members:,}", path=window.name, offset=position
                )
            if header.odd:
                self.note("tar-number", f"the member {header.name[:80]!r} at byte {position:,}: {header.odd}")
            if header.kind in DESCRIPTIONS:
                descriptions += 1
                position = self.describe(header, position)
            else:
                position = self.add(header, block, position)
                self.first = position
                self.before = []
        self.notes.append(Note("tar-end", "warning", window.name, "the archive ends without its blocks of zeros"))

    def note(self, code: str, message: str) -> None:
        if sum(note.code == code for note in self.notes) < MOST_NOTES:
            self.notes.append(Note(code, "warning", self.window.name, message))

    def describe(self, header: Header, position: int) -> int:
        """Keep what a description says; where the next header stands."""
        start = position + BLOCK
        if header.size < 0:
            raise CorruptFileError(NEGATIVE, path=self.window.name, offset=position)
        self.hold(header.name, start, header.size, position)
        if header.size > LONGEST_DESCRIPTION:
            raise LimitError("header_bytes", LONGEST_DESCRIPTION, header.size, path=self.window.name, offset=start)
        following = padded(start + header.size, start)
        data = self.window.read(start, min(following, self.window.size) - start, "tar header")
        if header.kind in (LONG_NAME, LONG_LINK):
            text = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            self.before.append(_Description(header.kind, {"path" if header.kind == LONG_NAME else "linkpath": text}, []))
            return following
        found = records(data, header.size, self.keys)
        self.judge(found, header, start)
        if header.kind == PAX_ALL:
            self.everywhere.update(found.values)
        values = self.everywhere if header.kind == PAX_ALL else {**self.everywhere, **found.values}
        self.before.append(_Description(header.kind, values, found.pieces))
        return following

    def judge(self, found: Described, header: Header, start: int) -> None:
        """Refuse, or note, what programs do not agree about."""
        size = found.values.get("size")
        where = f"the pax header at byte {start - BLOCK:,}"
        if found.damaged >= 0:
            if not self.lenient:
                raise CorruptFileError("a pax header that is damaged", path=self.window.name, offset=start + found.damaged)
            self.note("tar-pax", f"{where} is damaged: programs differ in what they make of it")
        if found.beyond:
            self.note("tar-pax", f"{where} goes on behind its end: Python's tarfile reads that too")
        if size is not None and (not size.isdecimal() or len(size) > 20):
            if not self.lenient:
                raise CorruptFileError("a pax header whose size is not a number", path=self.window.name, offset=start)
            self.note("tar-pax", f"{where} has a size that is not a number")
        if size is not None and header.kind == PAX_ALL:
            self.note("tar-global-size", f"{where} gives one size to all members: programs differ in where the next one begins")
        if header.kind == PAX_SOLARIS:
            self.note("tar-type", f"{where} is of the kind of Solaris: some programs take it for a file")

    def add(self, header: Header, block: bytes, position: int) -> int:
        """Keep a member; where the next header stands. tarfile applies descriptions from the last to the first."""
        name, target, size, kind = header.name, header.target, header.size, header.kind
        start = position + BLOCK
        has_data = kind not in WITHOUT_DATA
        pieces: list[tuple[int, int]] | None = None
        if kind == SPARSE and self.lenient:
            pieces, start = self.old_sparse(block, start)
        following = padded(start + size, start) if has_data else start
        stop = start + max(0, size) if has_data else start
        if kind == SPARSE and self.lenient:
            size = self.sparse_size(block, size)
        if kind == FOLDER and block[156:157] != FOLDER and header.size:
            self.note("tar-type", f"the member {name[:80]!r} is a folder to some programs and a file to others")
        elif has_data and header.size and kind not in FILE_KINDS and kind != SPARSE:
            self.note(
                "tar-type", f"the member {name[:80]!r} is of the unknown kind {kind!r}: Python's tarfile takes it for a file"
            )
        resized = False
        for values, description in [(self.everywhere, None), *((each.values, each) for each in reversed(self.before))]:
            if description is not None and description.kind in (PAX_NEXT, PAX_ALL, PAX_SOLARIS) and self.lenient:
                found = self.pax_pieces(values, description.pieces, start)
                if found is not None:
                    pieces, start = found
            if (description is None and kind == SPARSE) or (description is not None and description.kind == PAX_ALL):
                continue
            for key, value in values.items():
                if key == "path":
                    name = value.rstrip("/") if description is None or description.kind != LONG_NAME else value
                elif key == "linkpath":
                    target = value
                elif key == "GNU.sparse.name":
                    name = value
                elif key in ("size", "GNU.sparse.size", "GNU.sparse.realsize"):
                    size = max(0, whole(value) or 0)
                    resized = True
            if description is not None and description.kind in (PAX_NEXT, PAX_SOLARIS) and "size" in values:
                following = padded(start + size, start) if has_data else start
        if pieces is None and resized:
            stop = start + size if has_data else start
        if not has_data:
            size = 0
        self.hold(name, start, max(stop, start) - start, position)
        stop = min(max(stop, start), max(self.window.size, start))
        if kind not in LINKS:
            target = ""
        member = TarMember(name, kind, self.first, start, stop, target[:LONGEST_TARGET])
        if pieces is not None:
            self.note("tar-sparse", f"the member {name[:80]!r} has holes: programs differ in how they fill them")
            member = member._replace(pieces=tuple(pieces) or ((0, 0),), size=size)
        if not self.lenient and following < stop:
            raise CorruptFileError("a tar member that reaches into the next one", path=self.window.name, offset=position)
        self.members.append(member)
        if following < start:
            raise CorruptFileError(NEGATIVE, path=self.window.name, offset=position)
        return following

    def hold(self, name: str, start: int, size: int, position: int) -> None:
        """Raise CorruptFileError, or keep the problem, where a member is longer than the file."""
        if start + size <= self.window.size:
            return
        what = f"tar member {name[:80]!r}: expected {size:,} bytes, found {max(0, self.window.size - start):,}"
        problem = CorruptFileError(what, path=self.window.name, offset=position)
        if not self.lenient:
            raise problem
        self.problem = self.problem or problem

    def old_sparse(self, block: bytes, start: int) -> tuple[list[tuple[int, int]], int]:
        """(pieces, where the data begins) of the old GNU form, whose list goes on in blocks behind the header."""
        pieces = old_pieces(block, SPARSE_AT, 4)
        more = block[SPARSE_MORE]
        while more and start + BLOCK <= self.window.size:
            block = self.window.read(start, BLOCK, "tar header")
            pieces += [piece for piece in old_pieces(block, 0, 21) if piece[0] and piece[1]]
            more = block[504]
            start += BLOCK
            self.spend(21, start)
        return pieces, start

    def sparse_size(self, block: bytes, size: int) -> int:
        try:
            return max(0, number(block[SPARSE_SIZE])[0])
        except ValueError:
            return size

    def pax_pieces(
        self, values: dict[str, str], pieces: list[tuple[int, int]], start: int
    ) -> tuple[list[tuple[int, int]], int] | None:
        """(pieces, where the data begins) of the three pax forms, None for an ordinary file."""
        if "GNU.sparse.map" in values:
            numbers = [whole(text) or 0 for text in values["GNU.sparse.map"].split(",")]
        elif "GNU.sparse.size" in values:
            self.spend(len(pieces), start)
            return pieces, start
        elif (values.get("GNU.sparse.major"), values.get("GNU.sparse.minor")) == ("1", "0"):
            numbers, start = self.map_in_data(start)
        else:
            return None
        self.spend(len(numbers), start)
        return list(zip(numbers[::2], numbers[1::2], strict=False)), start

    def map_in_data(self, start: int) -> tuple[list[int], int]:
        """The decimal lines at the beginning of the data, in whole blocks: how many pieces, then the two numbers of each."""
        text = b""
        numbers: list[int] = []
        count = -1
        while start + BLOCK <= self.window.size and (count < 0 or len(numbers) < 2 * count):
            text += self.window.read(start, BLOCK, "tar header")
            start += BLOCK
            *lines, text = text.split(b"\n")
            for line in lines:
                value = whole(line.decode("latin-1"))
                if value is None or (count >= 0 and len(numbers) >= 2 * count):
                    break
                if count < 0:
                    count = max(0, value)
                else:
                    numbers.append(value)
            if not lines:
                break
            self.spend(len(lines), start)
        return numbers, start

    def spend(self, count: int, position: int) -> None:
        self.pieces += count
        if self.pieces > MOST_PIECES:
            what = f"sparse files of more than {MOST_PIECES:,} pieces"
            raise CorruptFileError(what, path=self.window.name, offset=position)


def padded(stop: int, start: int) -> int:
    """Where the block ends in which data that began at `start` stops."""
    return start + (stop - start + BLOCK - 1) // BLOCK * BLOCK
