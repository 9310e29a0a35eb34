"""An archive as a place with files in it: zip, tar, a compressed tar, or one compressed file.

    models.zip!/bert/model.safetensors          a member, by the name that everything shown calls it
    backup.tar.gz!/models.zip!/model.pt         archives lie in archives
    model.safetensors.zst!/model.safetensors    what is compressed by itself

A name is a label and never a way: nothing is extracted, and a name that leads out (`../x`) is left out.
A stored member is a window cut out of the archive's; a compressed one is unpacked behind a window, as far as somebody reads
(containers/unpacked.py). formats/archive_opening.py makes an Archive of a file.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

from modelscope_cli.containers.compressed import DEFLATE, ZSTD, Codec, Stream, engine
from modelscope_cli.containers.unpacked import Budget, UnpackedView, UnpackedWindow
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.place import SEPARATOR
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError
from modelscope_cli.formats.archive_paths import may_be_archive

HEAD = 1 << 12  # bytes of a file by which it is known
MOST_EXPANSION = 1_032  # of deflate: 258 bytes from two bits
LONGEST_NAME = 4_096  # characters
MOST_FOLDERS = 64  # above a file
ASIDE = ("__MACOSX", ".DS_Store")  # what macOS puts beside files
MOST_SLOW_HEADS = 64  # of bzip2, which unpacks 900 kB to give the first byte
LONGEST_SHOWN = 80  # characters of a name in a sentence


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
    """The files of an archive by name. What was left out is in `notes`; `outer` is the archive it lies in itself.

    `links` are names in `files` that are others of a file: each with the one that is its own.
    """

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
        self.links: dict[str, str] = {}
        self.notes: list[Note] = []
        self.unpacked: dict[str, UnpackedWindow] = {}
        self._slow_heads: dict[str, bytes] = {}

    def add(self, name: str, file: File) -> bool:
        """Take in a file; False for one with a name that leads out of the archive, or that no system would take."""
        parts = parts_of(name)
        if not parts:
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
        """The first bytes of a file; none where it cannot be unpacked, or where too many are slow to unpack."""
        file = self.files[name]
        if not self.may_look(name):
            return b""
        if file.codec is not None and file.codec.slow and name not in self.unpacked:
            if name not in self._slow_heads:
                self._slow_heads[name] = self._head(name, file, HEAD)
            return self._slow_heads[name][:length]
        return self._head(name, file, length)

    def may_look(self, name: str) -> bool:
        """Whether the first bytes of a file can be had: of those that are slow to unpack only a few are."""
        codec = self.files[name].codec
        known = name in self.unpacked or name in self._slow_heads
        return codec is None or not codec.slow or known or len(self._slow_heads) < MOST_SLOW_HEADS

    def _head(self, name: str, file: File, length: int) -> bytes:
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
        from modelscope_cli.formats.archive_opening import open_archive

        return open_archive(self.open(name), self.budget, self)


OPENED: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()  # by path, while somebody reads them


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


def parts_of(name: str) -> list[str]:
    """The folders of a name and the name in the last of them; none where it leads out of the archive, or no system would take it."""
    if len(name) > LONGEST_NAME:
        return []
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return [] if ".." in parts or len(parts) > MOST_FOLDERS else parts


def some(names: list[str]) -> str:
    """'3 (a, b, c)' with at most a few named."""
    shown = ", ".join(map(shortened, names[:3])) + (", …" if len(names) > 3 else "")
    return f"{len(names):,} ({shown})"


def shortened(name: str) -> str:
    """A name for a sentence: of a long one the last folders that there is room for, and the end at least."""
    if len(name) <= LONGEST_SHOWN:
        return name
    at = name.find("/", len(name) - LONGEST_SHOWN)
    return f"…{name[at:]}" if at >= 0 else f"…{name[1 - LONGEST_SHOWN :]}"
