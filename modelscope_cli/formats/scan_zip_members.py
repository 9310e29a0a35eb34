"""The members of one zip archive, each by its content, as a directory lists them.

The storages of an archive of torch are data: nobody unpickles them, so they are not looked into. Which those are scan_claims says.
"""

from __future__ import annotations

import re
import zlib
from functools import partial
from typing import TYPE_CHECKING

from modelscope_cli.containers.zip_directory import DEFLATED, STORED, Member, ZipDirectory
from modelscope_cli.core.place import short_place
from modelscope_cli.core.scanned import TORCH, Stream
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from modelscope_cli.formats.evaluated_hints import window_may_be_evaluated
from modelscope_cli.formats.scan_claims import Claims
from modelscope_cli.formats.scan_export import scan_export
from modelscope_cli.formats.scan_package import DATA, EXTERN

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

FIRST_BYTES = 512
RUN = (".pkl", ".py", ".json")  # suffixes of what is never a storage
BYTECODE = "bytecode.pkl"  # of TorchScript for mobile
TORCH_PICKLES = ("data.pkl", "constants.pkl", BYTECODE, "attributes.pkl")
STORAGE = re.compile(r"(.*/|)(data|constants|bytecode|\.data|tensors|xl_model_weights)/([^/]+)", re.DOTALL | re.IGNORECASE)
WEIGHTS = re.compile(
    r"(?:.*/)?data/(?:weights|constants)/[^/]+", re.DOTALL | re.IGNORECASE
)  # of torch.export: numbers, or pickles
# What torch writes into version, byteorder, .format_version, .storage_alignment, serialization_id, archive_format: no program at all.
PLAIN_RECORD = re.compile(rb"(?:[0-9]{1,64}|little|big|pt2)\s?")


class Archive:
    """One archive with its directory. `base` is where its window begins in the file or member that `where` names."""

    def __init__(self, walk: Walk, window: Window, where: str, depth: int, directory: ZipDirectory, base: int = 0):
        self.base = base
        self.walk = walk
        self.window = window
        self.where = where
        self.depth = depth
        self.directory = directory
        self.prefix = f"{short_place(where)}/" if where else ""
        # Where a data.pkl stands: data/ beside it holds raw numbers.
        names = [member.name.lower() for member in directory.members]  # torch finds members without regard to case
        self.roots = {name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")}

    def beside(self, directory: ZipDirectory) -> Archive:
        """The same archive as another directory lists it."""
        return Archive(self.walk, self.window, self.where, self.depth, directory, self.base)

    def scan(self) -> None:
        """Look at every member that the directory lists."""
        self.walk.found.looked = self.walk.found.looked or not self.where
        self.python_code()
        scan_export(self)
        claims = Claims(self)
        storages: list[tuple[Member, bool]] = []
        for member in self.directory.members:
            if claims.known(member):
                if claims.opened(member):
                    self.member(member, raw=True)
                continue
            storage = STORAGE.fullmatch(member.name) if self.roots else None
            if storage is not None and not member.name.lower().endswith(RUN):
                storages.append((member, storage[1].lower() in self.roots))
            else:
                named = self.member(member, raw=WEIGHTS.fullmatch(member.name) is not None)
                if named:
                    claims.add(member.name, named)
        for member, raw in storages:
            if not claims.has(member) or claims.opened(member):
                self.member(member, raw=raw)
        self.follow()
        if self.where:
            self.read_package()

    def read_package(self) -> None:
        """Read a torch.package inside another file as one, so that a damaged one is not taken for a whole one there either."""
        names = [member.name for member in self.directory.members]
        if not any([name.endswith(f"{DATA}/{EXTERN}") for name in names]):
            return
        from modelscope_cli.formats.torch_zip import read

        # no more of its bytes are instructions
        run = sum([member.size for member in self.directory.members if not member.name.endswith(".storage")])
        try:
            checkpoint = read(self.window, self.walk.limits._replace(opcodes=min(self.walk.limits.opcodes, self.walk.reading)))
            run = sum([trace.opcodes for trace in checkpoint.pickles])
        except ModelscopeError as problem:
            many = isinstance(problem, LimitError) and problem.resource == "opcodes"
            said = "pickles in packages of more instructions than are followed (--limit opcodes=N)"
            self.walk.unseen(self.where, said if many else problem)
        except RecursionError:
            self.walk.unseen(self.where, "it is nested too deeply")
        self.walk.reading -= min(run, self.walk.reading)

    def follow(self) -> None:
        """What the index of a distributed checkpoint says lies in the members beside it."""
        files = {member.name: member for member in self.directory.members}
        if self.walk.has_parts(self.prefix, files):
            from modelscope_cli.formats.scan_places import follow_members

            opened = {name: partial(self.open, member, f"{self.prefix}{name}") for name, member in files.items()}
            follow_members(self.walk, self.prefix, self.depth, opened)

    def member(self, member: Member, *, raw: bool = False) -> dict[str, int | None]:
        """Look at a member by its content; the keys of the storages that its pickles name, and their bytes. `raw` ones should be numbers."""
        where = f"{self.prefix}{member.name}"
        if not member.size and not member.stored:
            return {}
        try:
            head = self.head(member)
            if not self.interesting(member, head):
                return {}
            inner = self.open(member, where)
        except ModelscopeError as problem:
            self.walk.unseen(where, problem)
            return {}
        if not inner.size:  # nothing could be had of it
            return {}
        leaf = member.name.lower().rpartition("/")[2]
        if leaf == BYTECODE:
            from modelscope_cli.formats.scan_bytecode import scan_bytecode

            scan_bytecode(self.walk, inner, where)
        known = self.walk.known.get(f"{self.window.name}:{member.name}") if not self.depth else None
        if known is not None and known.nbytes == member.size and not window_may_be_evaluated(inner, member.size):
            self.walk.found.streams.append(Stream(where, known, TORCH))
            self.check_sum(member, inner, where)
            return {}
        if leaf in TORCH_PICKLES and not head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
            from modelscope_cli.formats.scan_pickles import Series

            series = Series(self.walk, inner, where, self.depth + 1, TORCH)
            try:
                found = series.run()
            except ModelscopeError as problem:
                self.walk.unseen(where, problem)
                found = True
            if not found:
                self.walk.content(inner, where, self.depth + 1)
            self.check_sum(member, inner, where)
            return series.keys
        before = len(self.walk.found.streams)
        self.walk.content(inner, where, self.depth + 1, raw=raw)
        if len(self.walk.found.streams) > before:
            self.check_sum(member, inner, where)
        return {}

    def head(self, member: Member) -> bytes:
        """The first bytes of a member, uncompressed."""
        if member.method == STORED:
            return self.window.read(member.start, min(member.stored, FIRST_BYTES))
        raw = self.window.read(member.start, min(member.stored, 4 * FIRST_BYTES), member.name)
        try:
            return zlib.decompressobj(-15).decompress(raw, FIRST_BYTES) if member.method == DEFLATED else raw
        except zlib.error:
            return raw

    def interesting(self, member: Member, head: bytes) -> bool:
        """Whether what it begins with could be run. Short records and arrays of numbers are passed over."""
        if member.size == len(head) and PLAIN_RECORD.fullmatch(head):
            return False
        if member.name.endswith(".npy"):
            from modelscope_cli.formats.scan_arrays import is_plain

            if not head.startswith(b"\x93NUMPY"):
                self.walk.unseen(f"{self.prefix}{member.name}", "it is called .npy and is no array")
            elif is_plain(head):
                self.walk.kinds += 1
                return False
        return True

    def open(self, member: Member, where: str) -> Window:
        """A window on a member's content; raises LimitError for more than may be unpacked."""
        if member.method == STORED:
            return self.window.cut(member.start, member.stored, where)
        left = max(0, self.walk.budget)
        if left < min(member.size, self.walk.limits.pickle_bytes):
            most = self.walk.limits.scanned_bytes
            raise LimitError("scanned_bytes", most, f"more than {most:,}", path=where)
        try:
            data = self.directory.read(member, self.walk.limits.pickle_bytes, "pickle_bytes")
        except (
            CorruptFileError
        ) as problem:  # what stands before the damage is read all the same by programs that read as they go
            self.walk.unseen(where, problem)
            data = self.directory.read_on(member, self.walk.limits.pickle_bytes)
        self.walk.budget -= len(data)
        return MemoryWindow(data, where)

    def check_sum(self, member: Member, inner: Window, where: str) -> None:
        """Programs that check the checksum refuse what torch loads (CVE-2025-10156). Nought means that it was left out."""
        if member.crc and inner.size <= self.walk.limits.pickle_bytes and zlib.crc32(inner.read(0, inner.size)) != member.crc:
            self.walk.sign("zip-crc", where, "the checksum is wrong: some programs refuse this member, torch loads it")

    def python_code(self) -> None:
        """Source code that comes along: TorchScript's is compiled by torch's own compiler, that of torch.package is run."""
        from modelscope_cli.formats.scan_source import scan_sources

        sources = [member for member in self.directory.members if member.name.lower().endswith(".py")]
        if sources:
            scan_sources(self, sources)

    def beginning(self, member: Member, most: int) -> bytes:
        """The first so many bytes of a member, or of what can be had of it; what is left out is told."""
        read = self.directory.read if member.size <= most and member.method == STORED else None
        data = read(member, most, "searched_bytes") if read else self.directory.read_on(member, most)
        if member.size > len(data):
            said = f"what follows the first {len(data):,} bytes of a source (--limit searched_bytes=N)"
            self.walk.unseen(f"{self.prefix}{member.name}", said)
        return data
