"""An archive as a place with files in it: zip, tar, a compressed tar, or one compressed file.

    models.zip!/bert/model.safetensors          a member, by the name that everything shown calls it
    backup.tar.gz!/models.zip!/model.pt         archives lie in archives
    model.safetensors.zst!/model.safetensors    what is compressed by itself

A name is a label and never a way: nothing is extracted, links are not followed, and a name that leads out (`../x`) is left out.
A stored member is a window cut out of the archive's; a compressed one is unpacked behind a window, as far as somebody reads
(containers/unpacked.py). Formats that travel in an archive themselves are none of these: torch's zips and its old tar.
"""

from __future__ import annotations

import re
import weakref
from typing import NamedTuple

from modelscope_cli.containers.compressed import DEFLATE, ZIP_METHODS, ZSTD, Codec, Stream, codec_of, engine
from modelscope_cli.containers.tar_directory import TarMember, looks_like_tar, read_tar_directory
from modelscope_cli.containers.unpacked import Budget, KeptWindow, Progress, UnpackedView, UnpackedWindow
from modelscope_cli.containers.zip_directory import ENCRYPTED_FLAGS, STORED, Member, read_zip_directory
from modelscope_cli.containers.zstd_frames import content_size
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import SEPARATOR
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError
from modelscope_cli.formats.archive_paths import ZIP_MAGIC, may_be_archive

HEAD = 1 << 12  # bytes of a file by which it is known
MOST_EXPANSION = 1_032  # of deflate: 258 bytes from two bits
TORCH_TAR = {"sys_info", "pickle", "storages", "tensors"}
LONGEST_NAME = 4_096  # characters
MOST_FOLDERS = 64  # above a file
ASIDE = ("__MACOSX", ".DS_Store")  # what macOS puts beside files
LINKS = (b"1", b"2")
FOLDER = b"5"
SPARSE = b"S"
SPARSE_FOLDER = re.compile(r"(^|/)GNUSparseFile\.\d+/")  # in the POSIX form of the same


class File(NamedTuple):
    """A file in an archive: `nbytes` unpacked (-1 where only unpacking tells), of which `stored` bytes lie there at `start`.

    `refused` is the way it is stored in, where that is none of ours.
    """

    nbytes: int
    stored: int
    start: int
    codec: Codec | None = None  # None where it is stored as it is
    refused: str = ""
    encrypted: bool = False


class Archive:
    """The files of an archive by name. What was left out is in `notes`; `outer` is the archive it lies in itself."""

    def __init__(self, path: str, what: str, window: Window, outer: Archive | None, budget: Budget):
        self.path = path
        self.what = what
        self.window = window
        self.outer = outer
        self.budget = budget
        self.depth: int = outer.depth + 1 if outer is not None else 1
        self.file: str = outer.file if outer is not None else path
        self.nbytes = window.size  # of the archive, as it lies in its file
        self.alone = False  # one compressed file, whose name says nothing
        self.files: dict[str, File] = {}
        self.notes: list[Note] = []
        self.unpacked: dict[str, UnpackedWindow] = {}

    def add(self, name: str, file: File) -> bool:
        """Take in a file; False for one with a name that leads out of the archive, or that no system would take."""
        parts = (
            [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] if len(name) <= LONGEST_NAME else []
        )
        if ".." in parts or not 0 < len(parts) <= MOST_FOLDERS:
            return False
        name = "/".join(parts)
        if parts[0] not in ASIDE and parts[-1] not in ASIDE and not parts[-1].startswith("._"):
            if name in self.files:
                message = f"two members are called {name!r}: the last one is read, other programs may take the first"
                self.notes.append(Note("archive-duplicate", "warning", name, message))
            self.files[name] = file
        return True

    def at(self, name: str) -> str:
        """The path of a file in it."""
        return f"{self.path}{SEPARATOR}{name}"

    def open(self, name: str) -> Window:
        """A window on a file. Raises UnsupportedFeatureError for one that is encrypted or packed in a way that is not known."""
        file = self.files[name]
        if file.encrypted and not self._plain_all_the_same(name):
            raise UnsupportedFeatureError(
                "an encrypted member of an archive", path=self.at(name), hint="unpack it first, with its password"
            )
        if file.codec is None:
            return self._stored(name)
        unpacked = self.unpacked.get(name)
        if unpacked is None:
            packed, codec = self._packed(name), file.codec
            size = file.nbytes if file.nbytes >= 0 else None
            unpacked = UnpackedWindow(
                packed, self.at(name), lambda: unpacking(packed, codec), self.budget, slow=codec.slow, size=size
            )
            self.unpacked[name] = unpacked
        return UnpackedView(unpacked)

    def head(self, name: str, length: int = HEAD) -> bytes:
        """The first bytes of a file; none where it cannot be unpacked."""
        file = self.files[name]
        try:
            if file.codec is None:
                return self._stored(name).head(length)
            unpacked = self.unpacked.get(name)
            return (
                unpacked.head(length)
                if unpacked is not None
                else first_bytes(unpacking(self._packed(name), file.codec), length)
            )
        except (CorruptFileError, UnsupportedFeatureError):
            return b""

    def _plain_all_the_same(self, name: str) -> bool:
        """Whether a member that is marked as encrypted is not: a way to keep programs that believe the mark from looking."""
        from modelscope_cli.formats.registry import sniff

        return sniff(self.head(name), name) is not None

    def _stored(self, name: str) -> Window:
        file = self.files[name]
        if file.refused:
            hint = "unpack it first and give the path of what comes out"
            raise UnsupportedFeatureError(file.refused, path=self.at(name), hint=hint)
        return self.window.cut(file.start, file.nbytes, self.at(name))

    def _packed(self, name: str) -> Window:
        file = self.files[name]
        if file.codec is DEFLATE and file.nbytes > (file.stored + 1) * MOST_EXPANSION:
            what = f"{file.stored:,} bytes of deflated data cannot unpack to {file.nbytes:,}"
            raise CorruptFileError(what, path=self.at(name), offset=file.start)
        return self.window.cut(file.start, file.stored, self.at(name))

    def inner(self, name: str) -> Archive | None:
        """The archive that a file in it is, or None. Raises LimitError where archives lie too deep in one another."""
        head = self.head(name)
        if not may_be_archive(head):
            return None
        limit = self.budget.limits.archive_depth
        if self.depth >= limit:
            raise LimitError("archive_depth", limit, f"more than {limit}", path=self.at(name))
        return open_archive(self.open(name), self.budget, self)


OPENED: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()  # by path, while somebody reads them


def open_file(path: str, limits: Limits, progress: Progress | None = None) -> Archive | None:
    """The archive at a path, or None where there is something else."""
    window = KeptWindow(open_window(path))
    return open_archive(window, Budget(limits, progress), None) if may_be_archive(window.head(HEAD)) else None


def open_archive(window: Window, budget: Budget, outer: Archive | None) -> Archive | None:
    """The archive behind a window, or None: also for a damaged zip or tar, which its reader tells about."""
    head = window.head(HEAD)
    codec = codec_of(head)
    if codec is not None:
        archive = _compressed(window, codec, budget, outer)
    else:
        try:
            archive = _zip(window, budget, outer) if head.startswith(ZIP_MAGIC) else _tar(window, window.name, budget, outer)
        except (CorruptFileError, LimitError, UnsupportedFeatureError):
            return None
    if archive is not None:
        OPENED[archive.path] = archive
    return archive


def _zip(window: Window, budget: Budget, outer: Archive | None) -> Archive | None:
    directory = read_zip_directory(window, budget.limits)
    if is_torch_zip([member.name for member in directory.members]):
        return None
    archive = Archive(window.name, "zip archive", window, outer, budget)
    archive.notes += [note for note in directory.notes if note.code != "zip-encrypted-flag"]
    outside = [member.name for member in directory.members if not _add_zip_member(archive, member)]
    _note_outside(archive, outside)
    return archive


def _add_zip_member(archive: Archive, member: Member) -> bool:
    if member.name.endswith("/") and not member.size:
        return True
    codec = ZIP_METHODS.get(member.method)
    refused = f"zip compression method {member.method}" if codec is None and member.method != STORED else ""
    encrypted = bool(member.flags & ENCRYPTED_FLAGS)
    return archive.add(member.name, File(member.size, member.stored, member.start, codec, refused, encrypted))


def is_torch_zip(names: list[str]) -> bool:
    """Whether members speak for one of the archives that torch writes."""
    from modelscope_cli.formats.torch_zip import KINDS

    tails = {tail for _, tail, _ in KINDS} - {"model.json"}
    if any(name.rpartition("/")[2] in tails for name in names) or any(name.endswith(".data/extern_modules") for name in names):
        return True
    roots = [name.removesuffix("model.json") for name in names if name.rpartition("/")[2] == "model.json"]
    return any(name.startswith(f"{root}code/") for root in roots for name in names)


def _tar(window: Window, path: str, budget: Budget, outer: Archive | None, what: str = "tar archive") -> Archive | None:
    directory = read_tar_directory(window, budget.limits)
    if len(TORCH_TAR.intersection(member.name for member in directory.members)) > 1:
        return None
    archive = Archive(path, what, window, outer, budget)
    archive.notes += directory.notes
    outside = [member.name for member in directory.members if not _add_tar_member(archive, member)]
    _note_outside(archive, outside)
    links = [member.name for member in directory.members if member.kind in LINKS]
    if links:
        message = f"links in the archive are not followed: {some(links)}"
        archive.notes.append(Note("archive-links", "info", path, message))
    special = [
        member.name for member in directory.members if not member.is_file and member.kind not in (*LINKS, FOLDER, SPARSE)
    ]
    if special:
        message = f"members that are no ordinary files are not read: {some(special)}"
        archive.notes.append(Note("archive-special", "info", path, message))
    return archive


def _add_tar_member(archive: Archive, member: TarMember) -> bool:
    if not (member.is_file or member.kind == SPARSE) or member.name.endswith("/"):
        return True
    name = SPARSE_FOLDER.sub(r"\1", member.name)
    refused = "a sparse file of GNU tar" if member.kind == SPARSE or name != member.name else ""
    nbytes = member.stop - member.start
    return archive.add(name, File(nbytes, nbytes, member.start, refused=refused))


def _note_outside(archive: Archive, names: list[str]) -> None:
    if names:
        message = f"members whose names lead out of the archive, or are too long, are not read: {some(names)}"
        archive.notes.append(Note("archive-outside", "warning", archive.path, message))


def _compressed(window: Window, codec: Codec, budget: Budget, outer: Archive | None) -> Archive | None:
    """A compressed tar, or a compressed file. What is neither archive nor model is not unpacked."""
    head = first_bytes(unpacking(window, codec), HEAD)
    name = stem(window.name, codec)
    unpacked = None
    if looks_like_tar(head):
        unpacked = UnpackedWindow(
            window, f"{window.name}{SEPARATOR}{name}", lambda: unpacking(window, codec), budget, slow=codec.slow
        )
        archive = _tar(unpacked, window.name, budget, outer, f"{codec.name}-compressed tar archive")
        if archive is not None:
            archive.nbytes = window.size
            return archive
    archive = Archive(window.name, f"{codec.name}-compressed file", window, outer, budget)
    archive.alone = True
    size = content_size(window) if codec is ZSTD else None
    archive.files[name] = File(-1 if size is None else size, window.size, 0, codec)
    if unpacked is not None:  # the tar that torch wrote before 0.1.10
        archive.unpacked[name] = unpacked
    return archive


def stem(path: str, codec: Codec) -> str:
    """A name for what unpacks out of a file: its own, without the suffix of the codec."""
    name = path.replace("\\", "/").rpartition("/")[2]
    for suffix in codec.suffixes:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def unpacking(window: Window, codec: Codec) -> Stream:
    """Begin to unpack a window. Raises MissingExtraError where that needs a package."""
    if codec is ZSTD:
        from modelscope_cli.formats.zstd import zstd_engine

        return Stream(window, codec, zstd_engine)
    return Stream(window, codec, lambda: engine(codec))


def first_bytes(stream: Stream, length: int) -> bytes:
    """The first bytes of what unpacks, or all there is."""
    data = b""
    while len(data) < length and (piece := stream.read(length - len(data))):
        data += piece
    return data


def some(names: list[str]) -> str:
    """'3 (a, b, c)' with at most a few named."""
    shown = ", ".join(name[:80] for name in names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names):,} ({shown})"
