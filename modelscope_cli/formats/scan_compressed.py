"""What is compressed by itself: with gzip, bzip2, xz or zstd as archives are, or in a bare stream of zlib or LZMA, as joblib writes.

    zlib    CMF FLG data checksum           CMF is 0x08 … 0x78; 256 CMF + FLG is a multiple of 31
    LZMA    0x5d dictionary:4 size:8 data   the size may be all ones: not told (liblzma's lzma_alone, also with other first bytes)
    ZF      "ZF" "0x…" in 19 characters, perhaps a blank, zlib         joblib before 0.10

Streams one behind another are one file, as every program reads them. Where one is damaged or too long, what comes out of its
beginning is looked at all the same: who reads it piece by piece has run that before the damage shows. What nothing in Python's
standard library unpacks is told as not looked at. Facts: RFC 1950; joblib/numpy_pickle_utils.py, numpy_pickle_compat.py (read_zfile).
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from modelscope_cli.containers.compressed import MOST_MEMORY, XZ, Codec, Inflater, Stream, codec_of
from modelscope_cli.containers.unpacked import UnpackedWindow
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.archive import unpacking

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

PIECE = 1 << 13  # bytes unpacked at a time of what is damaged
CHECKED = [
    cmf << 8 | flags for cmf in range(8, 0x80, 16) for flags in range(256) if not flags & 0x20 and not (cmf << 8 | flags) % 31
]
ZLIB = Codec("zlib", re.compile(b"|".join(re.escape(pair.to_bytes(2, "big")) for pair in CHECKED)), ())
CONVINCING = 64  # bytes that unpack of what is damaged: fewer come of any text by chance
WEAK = ("zlib", "LZMA")  # whose first bytes other files have too
# What liblzma takes without being told: a dictionary of 2^n or 3·2^n bytes, and a size that is none or plausible. Python's lzma module
# takes either of its formats for each stream of a file, whatever the first one was (Lib/lzma.py, FORMAT_AUTO).
DICTIONARIES = [*[times << n for times in (1, 3) for n in range(32 - times // 2)], 0xFFFFFFFF]
OLD_LZMA = rb"[\0-\xe0](?:%s)(?:\xff{8}|.{4}[\0-\x3f]\0{3})" % b"|".join(
    re.escape(size.to_bytes(4, "little")) for size in DICTIONARIES
)
EITHER = re.compile(rb"%s|%s" % (XZ.magic.pattern, OLD_LZMA), re.DOTALL)
LZMA = Codec("LZMA", EITHER, (), slow=True)
ANY_XZ = Codec("xz", EITHER, XZ.suffixes, slow=True)
ZFILE = re.compile(rb"ZF\s*0x[0-9A-Fa-f]+[Ll]?\s*")
ZFILE_HEADER = 21
# By their first bytes: what is packed in ways that are not unpacked here.
PACKED = (
    (re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"), "LZ4"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "7-Zip"),
    (re.compile(rb"Rar!\x1a\x07"), "RAR"),
    (re.compile(rb"LZIP\x01"), "lzip"),
    (re.compile(rb"\x89LZO\x00\r\n\x1a\n"), "lzop"),
)


def stream_of(head: bytes, window: Window) -> tuple[Codec, Callable[[], Stream]] | None:
    """How a window that begins so is compressed, and what begins to unpack it; None where it is not."""
    codec = codec_of(head)
    if codec is XZ:
        return ANY_XZ, lambda: Stream(window, ANY_XZ, either_lzma)
    if codec is not None:
        return codec, lambda: unpacking(window, codec)
    if ZLIB.magic.match(head):
        return ZLIB, lambda: Stream(window, ZLIB, lambda: Inflater(15))
    if LZMA.magic.match(head):
        return LZMA, lambda: Stream(window, LZMA, either_lzma)
    if ZFILE.fullmatch(head[:ZFILE_HEADER]) and len(head) > ZFILE_HEADER:
        begin = ZFILE_HEADER + (head[ZFILE_HEADER] == ord(" "))
        rest = window.cut(begin, window.size - begin, window.name)
        return ZLIB, lambda: Stream(rest, ZLIB, lambda: Inflater(15))
    return None


def either_lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=MOST_MEMORY)


def packed_otherwise(head: bytes) -> str | None:
    """The name of a way of packing that is not unpacked here; None where it is none."""
    return next((name for magic, name in PACKED if magic.match(head)), None)


def scan_compressed(walk: Walk, window: Window, where: str, depth: int, codec: Codec, begin: Callable[[], Stream]) -> bool:
    """Look at what unpacks, and at what follows it. Returns whether it is compressed at all."""
    inner = f"{where}/unpacked" if where else "unpacked"
    try:
        unpacked = UnpackedWindow(window, inner, begin, walk.unpacking, slow=codec.slow)
    except (CorruptFileError, LimitError) as problem:
        beginning = first_part(begin, max(0, min(walk.limits.pickle_bytes, walk.budget)))
        walk.budget -= len(beginning)
        before = len(walk.found.streams)
        weak = codec.name in WEAK and len(beginning) < CONVINCING and not isinstance(problem, LimitError)
        walk.content(MemoryWindow(beginning, inner), inner, depth + 1, raw=weak)
        if weak and len(walk.found.streams) == before:
            return False
        walk.unseen(where, problem)
        return True
    walk.content(unpacked, inner, depth + 1)
    unpacked.release()
    if unpacked.trailing:
        behind = f"{where}/behind" if where else "behind"
        if not walk.content(window.cut(window.size - unpacked.trailing, unpacked.trailing, behind), behind, depth + 1):
            walk.unseen(behind, f"what follows the {codec.name} data is of no kind that is known here")
    if not where and not any(one.where == inner for one in walk.found.unseen):
        walk.found.looked = True
    return True


def first_part(begin: Callable[[], Stream], most: int) -> bytes:
    """All that unpacks before a stream is damaged, or `most` of it. A decompressor gives nothing of a piece that is not whole."""
    data = bytearray()
    for size in (PIECE, 1):
        stream = begin()
        with suppress(CorruptFileError, LimitError):
            left = len(data)
            while left and (piece := stream.read(min(left, PIECE))):
                left -= len(piece)
            while len(data) < most and (piece := stream.read(min(size, most - len(data)))):
                data += piece
    return bytes(data)
