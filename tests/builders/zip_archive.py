"""Zip archives with every field under control, the wrong ones too."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

FILLED_16, FILLED_32 = 0xFFFF, 0xFFFFFFFF


class Entry(NamedTuple):
    """A member. `crc`, `size` and the `local_` fields replace the true values; `align` pads the local header's extra field."""

    name: str
    data: bytes = b""
    deflate: bool = False
    align: int = 0
    crc: int | None = None
    size: int | None = None
    flags: int = 0
    local_name: str | None = None
    local_flags: int | None = None
    zip64: bool = False
    descriptor: bool = False
    method: int | None = None


def zip_bytes(
    entries: Sequence[Entry],
    *,
    prefix: bytes = b"",
    comment: bytes = b"",
    trailing: bytes = b"",
    zip64: bool = False,
    count: int | None = None,
    directory_offset: int | None = None,
) -> bytes:
    """The archive. `zip64` adds the 64-bit end record and locator; `count` and `directory_offset` replace the true ones."""
    out = bytearray(prefix)
    central = bytearray()
    for entry in entries:
        raw = _deflated(entry.data) if entry.deflate else entry.data
        method = entry.method if entry.method is not None else 8 if entry.deflate else 0
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        flags = entry.flags | (8 if entry.descriptor else 0)
        header = len(out)
        local_name = (entry.local_name if entry.local_name is not None else entry.name).encode()
        local_flags = flags if entry.local_flags is None else entry.local_flags
        extra = _padding(header + 30 + len(local_name), entry.align)
        sizes = (0, 0, 0) if entry.descriptor else (crc, len(raw), size)
        out += struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, local_flags, method, 0, 0, *sizes, len(local_name), len(extra))
        out += local_name + extra + raw
        if entry.descriptor:
            out += struct.pack("<4s3I", b"PK\x07\x08", crc, len(raw), size)
        written = (FILLED_32, FILLED_32, FILLED_32) if entry.zip64 else (len(raw), size, header)
        wide = struct.pack("<2H3Q", 1, 24, size, len(raw), header) if entry.zip64 else b""
        name = entry.name.encode()
        fixed = (20, 20, flags, method, 0, 0, crc, *written[:2], len(name), len(wide), 0, 0, 0, 0, written[2])
        central += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *fixed) + name + wide
    start = len(out) if directory_offset is None else directory_offset
    members = len(entries) if count is None else count
    out += central
    if zip64:
        end64 = len(out)
        out += struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, members, members, len(central), start)
        out += struct.pack("<4sIQI", b"PK\x06\x07", 0, end64, 1)
        counts, where = (FILLED_16, FILLED_16, FILLED_32), FILLED_32
    else:
        counts, where = (members & FILLED_16, members & FILLED_16, len(central)), start
    out += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, *counts, where, len(comment)) + comment
    return bytes(out) + trailing


def _deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def _padding(position: int, align: int) -> bytes:
    """An extra field "FB", as torch writes it, so that the data begins at a multiple of `align`."""
    if not align:
        return b""
    length = -(position + 4) % align
    return struct.pack("<2H", 0x4246, length) + b"Z" * length
