"""Which members of a zip archive are storages: numbers that a pickle of torch names, and that nobody unpickles.

    ROOT/data.pkl       ROOT/data/0 …                         torch.save, torch.jit.save
    ROOT/constants.pkl  ROOT/constants/0 …                    TorchScript
    ROOT/bytecode.pkl   ROOT/bytecode/0 …, ROOT/constants/0 … TorchScript for mobile
    ROOT/.data/0.storage …                                    torch.package, as its reader finds them

Any pickle can name any key, so that alone means little: torch.package unpickles members by any name, torch.export what its
configurations say is pickled, and whoever unpacks an archive opens what is in it. What a pickle names is a storage only in an archive
that has nothing but what torch.save and torch.jit.save write, in one folder, by a key that is a number, and no shorter than the pickle says.
And one that begins as a file that programs open by how it begins is looked at all the same; a pickle in it is data, as torch takes it.
Facts: torch/serialization.py (_save), torch/csrc/jit/serialization/export_module.cpp, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelscope_cli.containers.tar_directory import looks_like_tar
from modelscope_cli.containers.zip_directory import DEFLATED, STORED, Member

if TYPE_CHECKING:
    from modelscope_cli.formats.scan_zip_members import Archive

CLAIMED = {"data.pkl": ("data",), "constants.pkl": ("constants",), "bytecode.pkl": ("bytecode", "constants")}
RECORD = re.compile(  # what torch.save and torch.jit.save write, below the root
    r"(?:data|constants|bytecode|attributes|traced_inputs|mobile_debug_handles)\.pkl|(?:data|constants|bytecode|tensors|traced_inputs)/[0-9]+"
    r"|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id|model\.json|code/.+\.(?:py|debug_pkl)|extra/.+"
)
STORAGE = re.compile(r"(data|constants|bytecode|tensors)/([0-9]{1,20})")
PACKAGED = re.compile(r"(?:[^/]+/)?\.data/[0-9]{1,20}(?:\.storage)?")
READ = ("torch-zip", "torchscript", "torch-package")  # kinds whose readers find storages
MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # ZSTD and LZ4 the last
PACKED: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
)
SUM = re.compile(rb"[0-7 \0]{8}|\x80")  # where the header of a tar has its checksum
ZLIB = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
PICKLE = re.compile(rb"\x80[\x02-\x05]")


class Claims:
    """The storages of one archive. `root` is the folder that all of it lies in; None where it is no archive of torch's."""

    def __init__(self, archive: Archive):
        self.archive = archive
        members = archive.directory.members
        self.root = root_of([member.name for member in members if member.size or not member.name.endswith("/")])
        walk = archive.walk
        reads = not archive.where and not archive.base and walk.found.kind in READ
        self.starts = walk.data if reads else frozenset()  # of storages that a reader found
        self.packaged = reads and walk.found.kind == "torch-package"
        self.keys: dict[str, dict[str, int | None]] = {}  # by folder: those that its pickle names, and their bytes

    def add(self, name: str, keys: dict[str, int | None]) -> None:
        """The keys that the pickle in a member names."""
        if self.root is not None and name.startswith(self.root) and not self.starts:
            for folder in CLAIMED.get(name[len(self.root) :], ()):
                self.keys.setdefault(folder, {}).update(keys)

    def known(self, member: Member) -> bool:
        """Whether it is a storage that a reader found."""
        if member.start not in self.starts:
            return False
        return PACKAGED.fullmatch(member.name) is not None if self.packaged else self._place(member) is not None

    def has(self, member: Member) -> bool:
        """Whether a pickle names it, and it is no shorter than that says."""
        place = self._place(member)
        if place is None:
            return False
        keys = self.keys.get(place[1], {})
        length = keys.get(place[2], -1)
        return length is None or 0 <= length <= member.size

    def _place(self, member: Member) -> re.Match[str] | None:
        return STORAGE.fullmatch(member.name, len(self.root)) if self.root is not None else None

    def opened(self, member: Member) -> bool:
        """Whether a storage begins as a file that programs open by how it begins, as numpy.load and joblib.load do."""
        if member.method not in (STORED, DEFLATED):
            return True
        return member.stored >= 5 and begins_as_file(self.archive.head(member))


def root_of(names: list[str]) -> str | None:
    """The folder of an archive, with its slash, all of whose members are what torch.save and torch.jit.save write; None for others."""
    marks = [name for name in names if name.rpartition("/")[2] in ("data.pkl", "model.json")]
    if not marks:
        return None
    first = min(marks, key=len)
    root = first[: len(first) - len(first.rpartition("/")[2])]
    whole = all([name.startswith(root) and RECORD.fullmatch(name, len(root)) is not None for name in names])
    return root if whole else None


def begins_as_file(head: bytes) -> bool:
    """Whether a program that goes by first bytes would open it: as an array, an archive, or something compressed."""
    if head.startswith(MAGIC) or (SUM.match(head, 148) is not None and looks_like_tar(head)):
        return True
    for magic, begin in PACKED:
        if head.startswith(magic):
            return _unpacked(begin, head) is not None
    if head.startswith(ZLIB):
        inner = _unpacked(zlib.decompressobj, head)
        return inner is not None and (inner.startswith(MAGIC) or PICKLE.match(inner) is not None)
    return False


def _unpacked(begin: Callable[[], Any], head: bytes) -> bytes | None:
    """What comes out of the first bytes of something compressed; None where it is none."""
    try:
        return bytes(begin().decompress(head, 1 << 16))
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
        return None
