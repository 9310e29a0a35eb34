"""Tar archives block by block, and in them what torch wrote before 0.1.10."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.builders.pickle_code import name, pickled

BLOCK = 512


class TarEntry(NamedTuple):
    """A member. `size` and `checksum` replace the true values; `magic` is b"" for Unix V7; `pax` is written before it."""

    name: str
    data: bytes = b""
    kind: bytes = b"0"
    size: int | None = None
    magic: bytes = b"ustar\x0000"
    prefix: str = ""
    link: str = ""
    checksum: int | None = None
    pax: Mapping[str, str] | None = None
    binary_size: bool = False


def tar_bytes(entries: Sequence[TarEntry], *, ending: int = 2, trailing: bytes = b"") -> bytes:
    """The archive, with `ending` blocks of zeros behind it."""
    out = bytearray()
    for entry in entries:
        if entry.pax is not None:
            out += _member(TarEntry("pax", _pax(entry.pax), b"x"))
        out += _member(entry)
    return bytes(out) + bytes(BLOCK * ending) + trailing


def _member(entry: TarEntry) -> bytes:
    size = len(entry.data) if entry.size is None else entry.size
    written = b"\x80" + size.to_bytes(11, "big") if entry.binary_size else b"%011o\0" % size
    header = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        entry.name.encode("utf-8", "surrogateescape"), b"0000644\0", b"0000000\0", b"0000000\0", written, b"00000000000\0", b" " * 8,
        entry.kind, entry.link.encode(), entry.magic, b"", b"", b"", b"", entry.prefix.encode(),
    )  # fmt: skip
    checksum = sum(header) if entry.checksum is None else entry.checksum
    header = header[:148] + b"%06o\0 " % checksum + header[156:]
    return header + entry.data + bytes(-len(entry.data) % BLOCK)


def _pax(values: Mapping[str, str]) -> bytes:
    out = bytearray()
    for key, value in values.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length += 1
        out += str(length).encode() + line
    return bytes(out)


class OldTensor(NamedTuple):
    """A record of the member `tensors`."""

    storage: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    cls: str = "torch.FloatTensor"


def storages_member(
    storages: Mapping[int, tuple[str, int, bytes]], views: Sequence[tuple[int, int, int, int]] = (), *, count: int | None = None
) -> bytes:
    """`storages`: key → (class, elements, bytes)."""
    out = bytearray(pickled(len(storages) if count is None else count))
    for key, (cls, numel, data) in storages.items():
        out += pickled((key, "cpu", name(f"torch.{cls}"))) + struct.pack("<q", numel) + data
    return bytes(out) + pickled(list(views))


def tensors_member(tensors: Mapping[int, OldTensor], *, count: int | None = None) -> bytes:
    out = bytearray(pickled(len(tensors) if count is None else count))
    for key, made in tensors.items():
        out += pickled((key, made.storage, name(made.cls))) + struct.pack("<i4x", len(made.shape))
        out += struct.pack(f"<{len(made.shape)}q{len(made.strides)}qq", *made.shape, *made.strides, made.offset)
    return bytes(out)


SYSTEM = pickled({"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}})


def torch_tar_entries(
    root: Any,
    storages: Mapping[int, tuple[str, int, bytes]],
    tensors: Mapping[int, OldTensor],
    views: Sequence[tuple[int, int, int, int]] = (),
) -> list[TarEntry]:
    """The four members; tensors in `root` are persistent ids of their keys, as text."""
    return [
        TarEntry("sys_info", SYSTEM),
        TarEntry("pickle", pickled(root)),
        TarEntry("tensors", tensors_member(tensors)),
        TarEntry("storages", storages_member(storages, views)),
    ]
