"""What is compressed by itself: with gzip, bzip2, xz or zstd as archives are, or in a bare stream of zlib or LZMA, as joblib writes.

Streams one behind another are one file, as every program reads them. Where one is damaged or too long, what comes out of its
beginning is looked at all the same: who reads it piece by piece has run that before the damage shows.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from modelscope_cli.containers.compressed import MOST_MEMORY, Codec, Inflater, Stream, codec_of
from modelscope_cli.containers.unpacked import UnpackedWindow
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.archive import unpacking

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

PIECE = 1 << 13  # bytes unpacked at a time of what is damaged
ZLIB = Codec("zlib", re.compile(rb"\x78[\x01\x5e\x9c\xda]"), ())
LZMA = Codec("LZMA", re.compile(rb"\x5d\x00\x00\x80\x00"), (), slow=True)


def stream_of(head: bytes, window: Window) -> tuple[Codec, Callable[[], Stream]] | None:
    """How a window that begins so is compressed, and what begins to unpack it; None where it is not."""
    codec = codec_of(head)
    if codec is not None:
        return codec, lambda: unpacking(window, codec)
    if ZLIB.magic.match(head):
        return ZLIB, lambda: Stream(window, ZLIB, lambda: Inflater(15))
    if LZMA.magic.match(head):
        return LZMA, lambda: Stream(window, LZMA, lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MOST_MEMORY))
    return None


def scan_compressed(walk: Walk, window: Window, where: str, depth: int, codec: Codec, begin: Callable[[], Stream]) -> None:
    """Look at what unpacks, and at what follows it."""
    inner = f"{where}:unpacked" if where else "unpacked"
    try:
        unpacked = UnpackedWindow(window, inner, begin, walk.unpacking, slow=codec.slow)
    except (CorruptFileError, LimitError) as problem:
        beginning = first_part(begin, max(0, min(walk.limits.pickle_bytes, walk.budget)))
        walk.budget -= len(beginning)
        walk.unseen(where, problem.message)
        walk.content(MemoryWindow(beginning, inner), inner, depth + 1)
        return
    walk.content(unpacked, inner, depth + 1)
    unpacked.release()
    if unpacked.trailing:
        behind = f"{where}:behind" if where else "behind"
        walk.content(window.cut(window.size - unpacked.trailing, unpacked.trailing, behind), behind, depth + 1)
    if not where and not any(one.where == inner for one in walk.found.unseen):
        walk.found.looked = True


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
