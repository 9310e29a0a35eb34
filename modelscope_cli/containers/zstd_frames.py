"""How much a zstd file unpacks to, found without unpacking it: most frames say so. Then only what is read has to be unpacked.

    frame      28 B5 2F FD | descriptor | window | dictionary | content size | block … | checksum
    block      3 bytes, little-endian: last (1 bit), kind (2 bits: raw, one byte repeated, compressed, reserved), size (21 bits)
    skippable  5x 2A 4D 18 | 4 bytes size | anything

Facts: RFC 8878, section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError

FRAME = 0xFD2FB528
SKIPPABLE = 0x184D2A50  # and the fifteen that follow
REPEATED, RESERVED = 1, 3
DICTIONARY_BYTES = (0, 1, 2, 4)
MOST_BLOCKS = 1 << 18  # looked at: 32 GiB, where they are as long as they can be


class Header(NamedTuple):
    """Of a frame: where its blocks begin, what it says to unpack to, and the bytes of the checksum behind the blocks."""

    stop: int
    size: int
    checksum: int


def content_size(window: Window) -> int | None:
    """Bytes that come out; None where a frame does not tell, or the file does not end with one."""
    position = size = 0
    left = MOST_BLOCKS
    try:
        while position < window.size and left > 0:
            left -= 1
            magic = _number(window, position, 4)
            if SKIPPABLE <= magic < SKIPPABLE + 16:
                position += 8 + _number(window, position + 4, 4)
                continue
            header = _header(window, position) if magic == FRAME else None
            if header is None:
                return None
            size += header.size
            position = header.stop
            last = 0
            while not last and left > 0:
                left -= 1
                block = _number(window, position, 3)
                last, kind = block & 1, block >> 1 & 3
                if kind == RESERVED:
                    return None
                position += 3 + (1 if kind == REPEATED else block >> 3)
            position += header.checksum
    except CorruptFileError:  # ends inside a frame: unpacking it tells where
        return None
    return size if position == window.size and left > 0 else None


def _header(window: Window, position: int) -> Header | None:
    """None where the frame does not tell its size, or needs a dictionary."""
    descriptor = _number(window, position + 4, 1)
    single = descriptor >> 5 & 1
    dictionary = DICTIONARY_BYTES[descriptor & 3]
    width = (single, 2, 4, 8)[descriptor >> 6]
    at = position + 5 + (not single)
    if not width or (dictionary and _number(window, at, dictionary)):
        return None
    at += dictionary
    return Header(at + width, _number(window, at, width) + (256 if width == 2 else 0), 4 * (descriptor >> 2 & 1))


def _number(window: Window, at: int, length: int) -> int:
    return int.from_bytes(window.read(at, length, "zstd frame"), "little")
