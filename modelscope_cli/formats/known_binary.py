"""Kinds that the first bytes alone do not tell: what stands further on, at the end, or behind a length.

HDF5             89 HDF 0D 0A 1A 0A, at 0 or behind a user block of 512, 1,024, 2,048 … bytes       HDF5 File Format, II.A
tensor bundle    a LevelDB table (footer of 48 bytes, magic number last) whose first key is empty and holds the header:
                 1 number of shards, 3 version                                                      tensor_bundle.proto
Flax             MessagePack: maps, and arrays as extension 1 (shape, dtype, bytes)                 flax/serialization.py
CTranslate2      version, name of the specification, its revision, number of variables              model_spec.py
Core ML weights  number of blobs, version, 56 zeros; a record at 64 begins EF BE AD DE              MILBlob/Blob/StorageFormat.hpp
whisper.cpp      lmgg, vocabulary, 1,500 frames of audio (n_audio_ctx of every Whisper)             whisper.cpp
llamafile        a Cosmopolitan program with a zip behind it                                        llamafile
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import Window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.known_protobuf import Found

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512, 1_024, 2_048)
KERAS_MARKS = (b"keras_version", b"layer_names", b"model_config")
KERAS_SEARCHED = 1 << 18  # bytes: they are attributes of the root group, which Keras writes first
TABLE_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
BUNDLE = re.compile(rb"\x00\x00[\x04-\x40](?:\x08([\x01-\xff]{1,5}))?(?:\x10\x01)?\x1a[\x02-\x20]\x08[\x01-\x7f]", re.DOTALL)
SPECIFICATION = re.compile(rb"[\x01-\x20]\x00{3}(.)\x00([A-Za-z]\w{2,80})\x00(.{4})(.{4})", re.DOTALL)
COREML_BLOB = re.compile(rb"(.{4})[\x01-\x03]\x00{3}\x00{56}\xef\xbe\xad\xde", re.DOTALL)
WHISPER_FRAMES = 1_500
NPY_ABOUT = re.compile(rb"'descr': '([^'\n]{1,20})'.{0,80}'shape': \(([\d, ]{0,200})\)", re.DOTALL)
PNG_SIZE = struct.Struct(">2I")
ZLIB_HEADS = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
LZMA_ALONE = re.compile(rb"\x5d\x00\x00[\x00-\xff]{2}\xff{8}|ZF0x[0-9a-f]", re.DOTALL)
PICKLE = re.compile(rb"\x80[\x02-\x05]")
MOST_ITEMS = 4_000  # of MessagePack that are looked at
DEEPEST = 64
FLAX_ARRAY = 1


def look(window: Window, head: bytes) -> Found | None:
    """Which of these kinds it is, or None. Never raises."""
    tests: tuple[Callable[[Window, bytes], Found | None], ...] = (
        hdf5, tensor_bundle, ctranslate2, coreml_weights, compressed_pickle, flax,
    )  # fmt: skip
    return next((found for test in tests if (found := test(window, head))), None)


def hdf5(window: Window, head: bytes) -> Found | None:
    if HDF5_MAGIC not in head:
        return None
    for start in USER_BLOCKS:
        if head[start : start + 8] == HDF5_MAGIC:
            beginning = window.head(KERAS_SEARCHED)
            return Found("keras-h5" if any(mark in beginning for mark in KERAS_MARKS) else "hdf5")
    return None


def tensor_bundle(window: Window, head: bytes) -> Found | None:
    if window.size < 48 or window.read(window.size - 8, 8) != TABLE_MAGIC:
        return None
    header = BUNDLE.match(head)
    if header is None:
        return Found("leveldb")
    shards = header[1][0] if header[1] else 1
    return Found("tf-checkpoint", (f"{shards} data {'file' if shards == 1 else 'files'}",) if shards < 0x80 else ())


def ctranslate2(window: Window, head: bytes) -> Found | None:
    match = SPECIFICATION.match(head)
    if match is None or match[1][0] != len(match[2]) + 1:
        return None
    revision, variables = int.from_bytes(match[3], "little"), int.from_bytes(match[4], "little")
    if not 0 < revision < 1_000 or not 0 < variables < 1_000_000:
        return None
    return Found("ctranslate2", (match[2].decode(), f"{variables:,} variables"))


def coreml_weights(window: Window, head: bytes) -> Found | None:
    match = COREML_BLOB.match(head)
    if match is None:
        return None
    count = int.from_bytes(match[1], "little")
    return Found("coreml-weights", (f"{count:,} tensor{'s' * (count > 1)}",)) if 0 < count <= window.size // 64 else None


def compressed_pickle(window: Window, head: bytes) -> Found | None:
    """joblib.dump with compress: zlib by default; its LZMA is that of .lzma files, and ZF0x is what it wrote until 2015."""
    if LZMA_ALONE.match(head):
        import lzma

        if head[:2] == b"ZF":
            return Found("joblib-compressed", ("as of joblib before 0.10",))
        try:
            data = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=1 << 27).decompress(head, 64)
        except (lzma.LZMAError, EOFError):
            return None
        return Found("joblib-compressed", ("LZMA",)) if PICKLE.match(data) else None
    if not head.startswith(ZLIB_HEADS):
        return None
    try:
        data = zlib.decompressobj().decompress(head, 64)
    except zlib.error:
        return None
    return Found("joblib-compressed", ("zlib",)) if PICKLE.match(data) else None


def flax(window: Window, head: bytes) -> Found | None:
    """A map of texts, in which an array is found before anything that is none of MessagePack."""
    if not head or not (0x80 < head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
        return None
    try:
        return Found("flax") if Items(window).hold_array() else None
    except (ModelscopeError, IndexError, RecursionError):
        return None


class Items:
    """Walks MessagePack as far as the first array; only heads and lengths are read."""

    def __init__(self, window: Window):
        self.window = window
        self.position = 0
        self.left = MOST_ITEMS

    def hold_array(self) -> bool:
        return self.item(0, keys=True)

    def number(self, length: int) -> int:
        found = int.from_bytes(self.window.read(self.position, length), "big")
        self.position += length
        return found

    def skip(self, length: int) -> None:
        self.position += length
        if self.position > self.window.size:
            raise IndexError

    def item(self, depth: int, *, keys: bool = False) -> bool:
        """Pass over one item; whether it is or holds an array. `keys`: it must be a map of texts. IndexError: no MessagePack."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise IndexError
        kind = self.number(1)
        if 0x80 <= kind <= 0x8F or kind in (0xDE, 0xDF):
            count = kind & 0x0F if kind <= 0x8F else self.number(2 if kind == 0xDE else 4)
            return any(self.entry(depth, keys=keys) for _ in range(min(count, MOST_ITEMS)))
        if keys:
            raise IndexError
        if 0x90 <= kind <= 0x9F or kind in (0xDC, 0xDD):
            count = kind & 0x0F if kind <= 0x9F else self.number(2 if kind == 0xDC else 4)
            return any(self.item(depth + 1) for _ in range(min(count, MOST_ITEMS)))
        if kind in EXTENSIONS:
            length = self.number(EXTENSIONS[kind])
            return self.extension(length)
        if kind in FIXED_EXTENSIONS:
            return self.extension(FIXED_EXTENSIONS[kind])
        if 0xA0 <= kind <= 0xBF:
            self.skip(kind & 0x1F)
        elif kind in LENGTHS:
            self.skip(self.number(LENGTHS[kind]))
        elif kind in SIZES:
            self.skip(SIZES[kind])
        elif kind == 0xC1:
            raise IndexError
        return False

    def entry(self, depth: int, *, keys: bool) -> bool:
        kind = self.window.read(self.position, 1)[0]
        if keys and not (0xA0 <= kind <= 0xBF or kind in (0xD9, 0xDA, 0xDB)):
            raise IndexError
        self.item(depth + 1)
        return self.item(depth + 1)

    def extension(self, length: int) -> bool:
        """Whether this is an array: a shape, the name of a dtype, bytes."""
        code, start = self.number(1), self.position
        self.skip(length)
        return code == FLAX_ARRAY and length > 4 and self.window.read(start, 1) == b"\x93"


EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
SIZES = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def more_about(kind: str, window: Window, head: bytes) -> Found:
    """What else the first bytes tell of a kind that they told, which may make it a narrower one."""
    refine = REFINED.get(kind)
    return refine(window, head) if refine else Found(kind)


def ggml(window: Window, head: bytes) -> Found:
    frames = int.from_bytes(head[8:12], "little")
    return Found("whisper-ggml" if head[:4] == b"lmgg" and frames == WHISPER_FRAMES else "ggml")


def llamafile(window: Window, head: bytes) -> Found:
    from modelscope_cli.containers.zip_directory import read_zip_directory

    try:
        members = read_zip_directory(window, DEFAULT_LIMITS).members
    except ModelscopeError:
        return Found("cosmopolitan")
    models = [member for member in members if member.name.endswith(".gguf")]
    return Found("llamafile", (f"{models[0].name[:80]}, {models[0].size:,} bytes",)) if models else Found("cosmopolitan")


def npy(window: Window, head: bytes) -> Found:
    about = NPY_ABOUT.search(head[:1_024])
    if about is None:
        return Found("npy")
    shape = " × ".join(filter(None, about[2].decode().replace(" ", "").split(",")))
    return Found("npy", (about[1].decode("latin-1"), *([shape] if shape else [])))


def png(window: Window, head: bytes) -> Found:
    if head[12:16] != b"IHDR" or len(head) < 24:
        return Found("png")
    width, height = PNG_SIZE.unpack_from(head, 16)
    return Found("png", (f"{width:,} × {height:,} pixels",))


def pointer(window: Window, head: bytes) -> Found:
    size = re.search(rb"\nsize (\d{1,18})", head)
    return Found("lfs-pointer", (f"it stands for {int(size[1]):,} bytes",) if size else ())


REFINED: dict[str, Callable[[Window, bytes], Found]] = {
    "ggml": ggml, "cosmopolitan": llamafile, "npy": npy, "png": png, "lfs-pointer": pointer,
}  # fmt: skip
