"""A zip archive as every program may see it: each member by content, and the signs that programs would see different ones.

torch and Python's zipfile go by the directory at the end, a program that reads a stream goes by the local headers, and they
part ways over names that stand twice, headers that differ, bytes that no directory lists, a second end record and marks of
encryption. Each of these has hidden a pickle from a scanner (CVE-2025-1889, -1944, -1945, -10155, -10156). Members whose bytes
a pickle claims as its storages are data: nobody unpickles them, so they are not looked into.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from modelscope_cli.containers.zip_directory import (
    DESCRIPTOR_FLAG,
    DESCRIPTOR_SIZES,
    ENCRYPTED_FLAGS,
    LOCAL,
    LOCAL_SIZE,
    STORED,
    Member,
    ZipDirectory,
    read_zip_directory,
)
from modelscope_cli.core.scanned import TORCH, Stream
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import LimitError, ModelscopeError

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

FIRST_BYTES = 512
CARVED = 8 << 20  # bytes searched for local headers that no directory lists
MOST_CARVED = 1_000
LARGEST_TEXT = 4 << 20
END = b"PK\x05\x06"
TORCH_PICKLES = ("data.pkl", "constants.pkl", "bytecode.pkl", "attributes.pkl")
STORAGE = re.compile(r"(?:.*/)?(?:data|constants|bytecode|\.data|tensors|xl_model_weights)/([^/]+?)(?:\.storage)?", re.DOTALL)
RECORDS = (
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    "serialization_id",
    "archive_format",
    "archive_version",
)
ODD_NAME = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:|\\|\0")


def scan_zip(walk: Walk, window: Window, where: str, depth: int) -> None:
    """Look at every member, listed or not."""
    if window.name.endswith(".distcp") and (blobs := _blobs(walk, window)):
        for start, blob in blobs:
            scan_zip(walk, blob, f"{where}byte {start:,}", depth + 1)
        return
    try:
        directory = read_zip_directory(window, walk.limits)
    except ModelscopeError as problem:
        if isinstance(problem, LimitError):
            walk.unseen(where, problem.message)
        else:
            walk.sign("zip-broken", where, f"the zip directory cannot be read: {problem.message}", problem.offset)
        carve(walk, window, where, depth, [(0, window.size)], listed=0)
        return
    Archive(walk, window, where, depth, directory).scan()


def scan_appended(walk: Walk, window: Window, where: str, depth: int) -> None:
    """A file of another kind that ends as a zip archive."""
    try:
        directory = read_zip_directory(window, walk.limits)
    except ModelscopeError:
        directory = None
    if directory is None or not directory.members:
        start = _first_local(window)
        if start is None:
            return
        try:
            window = window.cut(start, window.size - start, window.name)
            directory = read_zip_directory(window, walk.limits)
        except ModelscopeError as problem:
            walk.sign("polyglot-broken", where, f"it ends as a zip archive that cannot be read: {problem.message}")
            return
    walk.sign(
        "polyglot",
        where,
        f"it is a zip archive of {len(directory.members):,} members as well: programs that look at the end open that",
    )
    Archive(walk, window, where, depth, directory).scan()


def _first_local(window: Window) -> int | None:
    """Where the first local header stands, in the part that is searched."""
    at = window.head(CARVED).find(LOCAL)
    return at if at >= 0 else None


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


class Archive:
    """One archive with its directory."""

    def __init__(self, walk: Walk, window: Window, where: str, depth: int, directory: ZipDirectory):
        self.walk = walk
        self.window = window
        self.where = where
        self.depth = depth
        self.directory = directory
        self.prefix = f"{where}/" if where else ""
        self.roots = {member.name.removesuffix("data.pkl") for member in directory.members if member.name.endswith("data.pkl")}

    def scan(self) -> None:
        self.walk.found.looked = self.walk.found.looked or not self.where
        self.look_at_structure()
        storages: list[Member] = []
        keys: set[str] = set()
        known = self.walk.data if not self.depth else frozenset()
        for member in self.directory.members:
            if member.start in known:
                continue
            storage = STORAGE.fullmatch(member.name) if self.roots else None
            if storage is not None and not member.name.endswith((".pkl", ".py", ".json")):
                storages.append(member)
            else:
                keys |= self.member(member)
        for member in storages:
            match = STORAGE.fullmatch(member.name)
            if match is not None and match[1] not in keys:
                self.member(member)
        self.python_code()

    def look_at_structure(self) -> None:
        """What the directory itself and the gaps between members show."""
        names: dict[str, int] = {}
        for note in self.directory.notes:
            self.walk.sign(
                note.code, f"{self.prefix}{note.where}" if note.where != self.window.name else self.where, note.message
            )
        position = 0
        gaps: list[tuple[int, int]] = []
        for member in self.directory.members:
            names[member.name] = names.get(member.name, 0) + 1
            if member.header > position:
                gaps.append((position, member.header))
            position = member.stop
            if member.flags & DESCRIPTOR_FLAG:
                position += self._descriptor(position)
        if self.directory.directory_start > position:
            gaps.append((position, self.directory.directory_start))
        for name, count in names.items():
            if count > 1:
                self.walk.sign(
                    "zip-duplicate",
                    f"{self.prefix}{name}",
                    f"{count} members have this name: programs differ in which they take",
                )
            if ODD_NAME.search(name):
                self.walk.sign(
                    "zip-name",
                    f"{self.prefix}{name}",
                    "a member name that would leave the folder it is unpacked to, or that programs read differently",
                )
        folded: dict[str, str] = {}
        for name in names:
            other = folded.setdefault(name.lower(), name)
            if other != name and name.lower().endswith(".pkl"):
                self.walk.sign(
                    "zip-duplicate",
                    f"{self.prefix}{name}",
                    f"differs from {other!r} in case only: torch finds members without regard to case",
                )
        if gaps:
            carve(self.walk, self.window, self.where, self.depth, gaps, listed=len(self.directory.members))
        self._other_ends()

    def _descriptor(self, position: int) -> int:
        """The length of the descriptor at a position: what follows it is another header or the directory."""
        window = self.window
        for size in (*DESCRIPTOR_SIZES, 0):
            if (
                position + size + 4 <= window.size
                and window.read(position + size, 2) == b"PK"
                and (size != 0 or window.read(position, 4) != b"PK\x07\x08")
            ):
                return size
        return 0

    def _other_ends(self) -> None:
        """A second end record, in a comment for one: the archive that a program sees which takes that one."""
        if not any(note.code == "zip-two-ends" for note in self.directory.notes):
            return
        start = max(0, self.window.size - (1 << 17))
        tail = self.window.read(start, self.window.size - start)
        known = {member.header for member in self.directory.members}
        at = tail.rfind(END)
        for _ in range(8):
            at = tail.rfind(END, 0, at)
            if at < 0 or at + 22 > len(tail):
                break
            try:
                other = read_zip_directory(self.window.cut(0, start + at + 22, self.window.name), self.walk.limits)
            except ModelscopeError:
                continue
            for member in other.members:
                if member.header not in known:
                    known.add(member.header)
                    self.walk.sign(
                        "zip-hidden-member",
                        f"{self.prefix}{member.name}",
                        "listed only by a directory that most programs do not use",
                        member.header,
                    )
                    self.member(member)

    def member(self, member: Member) -> set[str]:
        """Look at a member by its content; the keys of the storages that its pickles name."""
        where = f"{self.prefix}{member.name}"
        if not member.size and not member.stored:
            return set()
        try:
            head = self.head(member)
            if not self.interesting(member, head):
                return set()
            inner = self.open(member, where)
        except ModelscopeError as problem:
            self.walk.unseen(where, problem.message)
            return set()
        leaf = member.name.rpartition("/")[2]
        known = self.walk.known.get(f"{self.window.name}:{member.name}") if not self.depth else None
        if known is not None and known.nbytes == member.size:
            self.walk.found.streams.append(Stream(where, known, TORCH))
            self.check_sum(member, inner, where)
            return set()
        if leaf in TORCH_PICKLES and not head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
            from modelscope_cli.formats.scan_pickles import Series

            series = Series(self.walk, inner, where, self.depth + 1, TORCH)
            try:
                series.run()
            except ModelscopeError as problem:
                self.walk.unseen(where, problem.message)
            self.check_sum(member, inner, where)
            return series.keys
        before = len(self.walk.found.streams)
        self.walk.content(inner, where, self.depth + 1)
        if len(self.walk.found.streams) > before:
            self.check_sum(member, inner, where)
        return set()

    def head(self, member: Member) -> bytes:
        """The first bytes of a member, uncompressed."""
        if member.method == STORED:
            return self.window.read(member.start, min(member.stored, FIRST_BYTES))
        raw = self.window.read(member.start, min(member.stored, 4 * FIRST_BYTES), member.name)
        try:
            return zlib.decompressobj(-15).decompress(raw, FIRST_BYTES) if member.method == 8 else raw
        except zlib.error:
            return raw

    def interesting(self, member: Member, head: bytes) -> bool:
        """Whether what it begins with could be run. Raw tensor data and short records are passed over."""
        leaf = member.name.rpartition("/")[2]
        if leaf in RECORDS and member.size < 256:
            return False
        if leaf.endswith(".npy") and not head.startswith(b"\x93NUMPY"):
            self.walk.unseen(f"{self.prefix}{member.name}", "it is called .npy and is no array")
        if not any(head):
            return False
        return not (leaf.endswith(".npy") and head.startswith(b"\x93NUMPY") and b"O" not in head[:256])

    def open(self, member: Member, where: str) -> Window:
        """A window on a member's content; raises LimitError for more than may be unpacked."""
        if member.method == STORED:
            return self.window.cut(member.start, member.stored, where)
        left = max(0, self.walk.budget)
        if left < min(member.size, self.walk.limits.pickle_bytes):
            raise LimitError("scanned_bytes", self.walk.limits.scanned_bytes, f"{member.size:,} bytes more", path=where)
        data = self.directory.read(member, self.walk.limits.pickle_bytes, "pickle_bytes")
        self.walk.budget -= len(data)
        return MemoryWindow(data, where)

    def check_sum(self, member: Member, inner: Window, where: str) -> None:
        """Programs that check the checksum refuse what torch loads (CVE-2025-10156). Nought means that it was left out."""
        if member.crc and inner.size <= self.walk.limits.pickle_bytes and zlib.crc32(inner.read(0, inner.size)) != member.crc:
            self.walk.sign("zip-crc", where, "the checksum is wrong: some programs refuse this member, torch loads it")

    def python_code(self) -> None:
        """Source code that comes along: TorchScript's is compiled by torch's own compiler, that of torch.package is run."""
        from modelscope_cli.formats.scan_text import scan_sources

        sources = [member for member in self.directory.members if member.name.endswith(".py") and member.size <= LARGEST_TEXT]
        if sources:
            scan_sources(self, sources)

    def text(self, member: Member) -> str:
        """The content of a small member as text."""
        data = self.directory.read(member, LARGEST_TEXT, "pickle_bytes")
        return data.decode("utf-8", "replace")


def carve(walk: Walk, window: Window, where: str, depth: int, gaps: list[tuple[int, int]], *, listed: int) -> None:
    """Local headers in bytes that no directory lists: what a program sees that reads the archive as a stream."""
    budget = CARVED
    found = 0
    for start, stop in gaps:
        length = min(stop - start, budget)
        if stop - start > budget:
            walk.unseen(
                where, f"{stop - start - length:,} bytes between the members of a zip archive, from byte {start + length:,}"
            )
        budget -= length
        data = window.read(start, length)
        if listed and data.strip(b"\0") and LOCAL not in data and length > 24:
            walk.sign("zip-gap", where, f"{stop - start:,} bytes between members belong to none of them", start)
        at = data.find(LOCAL)
        while at >= 0 and found < MOST_CARVED:
            found += 1
            at = _carved(walk, window, where, depth, start + at, data, at, listed=listed)
            at = data.find(LOCAL, at)


def _carved(walk: Walk, window: Window, where: str, depth: int, at: int, data: bytes, index: int, *, listed: int) -> int:
    """Look at the member behind a local header that stands at `at`; where to search on."""
    if index + LOCAL_SIZE > len(data):
        return len(data)
    flags = int.from_bytes(data[index + 6 : index + 8], "little")
    method = int.from_bytes(data[index + 8 : index + 10], "little")
    stored = int.from_bytes(data[index + 18 : index + 22], "little")
    name_length = int.from_bytes(data[index + 26 : index + 28], "little")
    extra_length = int.from_bytes(data[index + 28 : index + 30], "little")
    name = data[index + LOCAL_SIZE : index + LOCAL_SIZE + name_length].decode("utf-8", "replace")
    begin = index + LOCAL_SIZE + name_length + extra_length
    following = min(
        (end for mark in (LOCAL, b"PK\x07\x08", b"PK\x01\x02") if (end := data.find(mark, begin)) >= 0), default=len(data)
    )
    end = begin + stored if stored and stored != 0xFFFFFFFF else following
    content = data[begin : min(end, len(data))]
    inner = f"{where}/{name}" if where else name
    if listed:
        walk.sign(
            "zip-hidden-member",
            inner,
            "a member that the directory does not list: programs that read the archive as a stream see it",
            at,
        )
    if flags & ENCRYPTED_FLAGS:
        walk.sign("zip-encrypted-flag", inner, "marked as encrypted; torch ignores the mark, others refuse it", at)
    if method == 8:
        try:
            content = zlib.decompressobj(-15).decompress(content, CARVED)
        except zlib.error:
            content = b""
    if content:
        walk.content(MemoryWindow(content, inner), inner, depth + 1)
    return index + 4 if not stored else max(index + 4, min(end, len(data)))
