"""torch.save files: the zip format and the older stacked pickles."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from tests.builders.pickle_code import pickled
from tests.builders.zip_archive import Entry, zip_bytes

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

Storages = Mapping[str, bytes | int]


def torch_entries(
    root: Any,
    storages: Storages | None = None,
    *,
    stem: str = "archive",
    byteorder: bytes | None = b"little",
    crc: int | None = None,
    deflate: bool = False,
    records: Mapping[str, bytes] | None = None,
) -> list[Entry]:
    """The members of a torch zip. A storage is its bytes, or a count of zero bytes; names get `stem/` in front."""
    folder = f"{stem}/" if stem else ""
    members = [Entry(f"{folder}data.pkl", pickled(root), align=64, crc=crc, deflate=deflate)]
    if byteorder is not None:
        members.append(Entry(f"{folder}byteorder", byteorder, align=64, crc=crc))
    for key, data in (storages or {}).items():
        members.append(Entry(f"{folder}data/{key}", bytes(data), align=64, crc=crc, deflate=deflate))
    for name, data in {"version": b"3\n", ".data/serialization_id": b"0" * 40, **(records or {})}.items():
        members.append(Entry(f"{folder}{name}", data, align=64, crc=crc))
    return members


def torch_zip_bytes(root: Any, storages: Storages | None = None, *, zip64: bool = False, **options: Any) -> bytes:
    """A torch zip file; `options` are those of torch_entries."""
    entries = torch_entries(root, storages, **options)
    return zip_bytes([entry._replace(zip64=zip64) for entry in entries], zip64=zip64)


def legacy_bytes(
    root: Any,
    storages: Mapping[str, tuple[int, bytes | int]] | None = None,
    *,
    little_endian: bool = True,
    keys: list[Any] | None = None,
    magic: int = MAGIC_NUMBER,
    version: int = 1001,
) -> bytes:
    """Stacked pickles and storages. A storage is (elements, bytes or a count of zero bytes)."""
    storages = storages or {}
    system = {"protocol_version": version, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    listed = list(storages) if keys is None else keys
    out = b"".join(pickled(part) for part in (magic, version, system, root, listed))
    for numel, data in storages.values():
        out += struct.pack("<q" if little_endian else ">q", numel) + bytes(data)
    return out
