"""Compressed streams, unpacked piece by piece: gzip, bzip2, xz, zstd, and the methods of zip members.

A file may be several streams one behind another (`cat a.gz b.gz`, pigz, pbzip2): they are read as one. Zeros after the last
stream are padding, as tapes and xz have it; anything else there is left alone and counted (`trailing`), as gzip does.
Output comes in pieces of the size asked for, however much a few bytes of input expand to. Empty blocks, skippable frames, empty
streams and padding give nothing, for as many gigabytes as there are: how much of that is read has a bound.
Facts: RFC 1952 (gzip), RFC 8878 (zstd), the xz file format 1.2, APPNOTE.TXT 6.3.10 section 4.4.5 (methods of zip).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError

MOST_MEMORY = 128 << 20  # bytes that a stream may make its decompressor remember: what `zstd` and `xz -9` ask for at most
INPUT = 1 << 18  # bytes read of the file at a time
MOST_HEADER = 1 << 20  # bytes of a gzip header
UNREAD_FLAGS = 0xE2  # of it: those without a meaning, and that there is a checksum of the header
MOST_IDLE = 1 << 26  # packed bytes that may give nothing, at a time and beyond twice of what came out
MOST_IDLE_SLOWLY = 1 << 24  # the same of slow codecs
HEAD = 16  # bytes by which a codec is known


class Engine(Protocol):
    """What the decompressors of the standard library have in common; one stream each."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Codec(NamedTuple):
    """`magic` is matched against the first bytes. `slow` ones unpack some 20 MB of weights a second, the others 300 and more."""

    name: str
    magic: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    slow: bool = False


GZIP = Codec("gzip", re.compile(rb"\x1f\x8b\x08"), (".gz", ".tgz"))
BZIP2 = Codec("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), (".bz2", ".tbz2", ".tbz"), slow=True)
XZ = Codec("xz", re.compile(rb"\xfd7zXZ\x00"), (".xz", ".txz"), slow=True)
ZSTD = Codec("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), (".zst", ".tzst", ".zstd"))
DEFLATE = Codec("deflate", re.compile(rb"(?!)"), ())  # only inside zip archives: nothing tells it by its first bytes
CODECS = (GZIP, BZIP2, XZ, ZSTD)
ZIP_METHODS = {8: DEFLATE, 12: BZIP2, 93: ZSTD, 95: XZ}
OTHER_METHODS = {1: "shrunk", 6: "imploded", 9: "Deflate64", 14: "LZMA", 97: "WavPack", 98: "PPMd", 99: "AES"}  # of zip members


def codec_of(head: bytes) -> Codec | None:
    """The codec that a file begins with, or None."""
    return next((codec for codec in CODECS if codec.magic.match(head)), None)


def method_named(method: int) -> str:
    """A way of zip that is not read, with its name where it has one."""
    name = OTHER_METHODS.get(method)
    return f"zip compression method {method}" + (f" ({name})" if name else "")


def gzip_header_end(data: bytes) -> int:
    """Where the deflated data of a gzip stream begins; -1 where more must be read to know (RFC 1952, section 2.3)."""
    flags, at = data[3], 10
    if flags & 4:  # FEXTRA: bytes behind their count
        if len(data) < 12:
            return -1
        at = 12 + int.from_bytes(data[10:12], "little")
    for flag in (8, 16):  # FNAME, FCOMMENT: text up to a NUL
        if flags & flag:
            found = data.find(b"\0", at)
            if found < 0:
                return -1
            at = found + 1
    return at + (2 if flags & 2 else 0)  # FHCRC


class Inflater:
    """zlib's decompressor, with the members that those of bzip2 and xz have."""

    def __init__(self, wbits: int):
        import zlib

        self._object = zlib.decompressobj(wbits)
        self.error = zlib.error

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


def engine(codec: Codec) -> Engine:
    """A decompressor for one stream of a codec that every Python has: all but zstd."""
    if codec is BZIP2:
        import bz2

        return bz2.BZ2Decompressor()
    if codec is XZ:
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY)
    return Inflater(31 if codec is GZIP else -15)


class Stream:
    """What a compressed window unpacks to, from its beginning: `read(n)` until it gives nothing. `make` begins a stream."""

    def __init__(self, window: Window, codec: Codec, make: Callable[[], Engine]):
        self.window = window
        self.codec = codec
        self.make = make
        self.consumed = 0  # bytes of the window that were read
        self.given = 0  # bytes that came out
        self.idle = 0  # bytes of the window that were read since
        self.most_idle = MOST_IDLE_SLOWLY if codec.slow else MOST_IDLE
        self.streams = 0
        self.most = DEFAULT_LIMITS.members  # streams one behind another: bgzip begins a new one every 64 KiB
        self.trailing = 0  # bytes behind the last stream that are none
        self._engine: Engine | None = None
        self._ended = False

    def read(self, wanted: int) -> bytes:
        """Between one and `wanted` bytes, or none at the end. Raises CorruptFileError, UnsupportedFeatureError."""
        while not self._ended:
            if self._engine is None or self._engine.eof:
                data = self._next_stream()
            else:
                data = self._input() if self._engine.needs_input else b""
                if not data and self._engine.needs_input:
                    raise self._corrupt(f"the {self.codec.name} data ends early: is the file cut short?")
            if self._ended or self._engine is None:
                break
            try:
                piece = self._engine.decompress(data, wanted)
            except MemoryError:
                raise self._too_large() from None
            except Exception as error:  # zlib.error, lzma.LZMAError, OSError, ZstdError: they have no ancestor in common
                if "emory" in str(error):
                    raise self._too_large() from None
                raise self._corrupt(f"the {self.codec.name} data is damaged: {error}") from None
            if piece:
                self.given += len(piece)
                self.idle = 0
                return piece
        return b""

    def _input(self) -> bytes:
        data = self.window.read(self.consumed, min(INPUT, self.window.size - self.consumed), f"{self.codec.name} data")
        self.consumed += len(data)
        self.idle += len(data)
        if self.idle > self.most_idle or self.consumed > self.most_idle + 2 * self.given:
            came = f"{self.given:,} bytes came out of the first {self.consumed:,} of {self.codec.name} data"
            raise self._corrupt(f"{came}, none of them of the last {self.idle:,}")
        return data

    def _next_stream(self) -> bytes:
        """Begin the stream that follows; the bytes of it that have been read already."""
        data = self._engine.unused_data if self._engine is not None else b""
        if self.codec is DEFLATE and self._engine is not None:  # one stream a member
            self.trailing = len(data) + self.window.size - self.consumed
            self._ended = True
            return b""
        data = data.lstrip(b"\0") if self.streams else data
        while len(data) < HEAD and (more := self._input()):
            data = (data + more).lstrip(b"\0") if self.streams else data + more
        if self.streams and not (data and self.codec.magic.match(data)):
            self.trailing = len(data) + self.window.size - self.consumed
            self._ended = True
            return b""
        if self.streams >= self.most:
            raise LimitError("members", self.most, f"more than {self.most:,} {self.codec.name} streams", path=self.window.name)
        self._engine = self.make()
        self.streams += 1
        return self._plain_header(data) if self.codec is GZIP and len(data) > 3 and data[3] & UNREAD_FLAGS else data

    def _plain_header(self, data: bytes) -> bytes:
        """A gzip header without the flags that zlib refuses and Python's gzip module takes, which checks no sum of a header."""
        while (end := gzip_header_end(data)) < 0 or len(data) < end:
            more = self._input() if len(data) < MOST_HEADER else b""
            if not more:
                raise self._corrupt("the gzip header does not end")
            data += more
        return data[:3] + b"\0" + data[4:10] + data[end:]

    def _corrupt(self, what: str) -> CorruptFileError:
        return CorruptFileError(what, path=self.window.name, offset=self.consumed)

    def _too_large(self) -> UnsupportedFeatureError:
        what = f"{self.codec.name} data that needs more than {MOST_MEMORY >> 20} MiB of memory to unpack"
        return UnsupportedFeatureError(what, path=self.window.name, hint="unpack it first and give the path of what comes out")
