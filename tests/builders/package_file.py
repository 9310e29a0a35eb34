"""torch.package archives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.builders.pickle_code import Code, name, persistent, pickled
from tests.builders.zip_archive import Entry, zip_bytes


def reduced(function: str, *args: Any, number: int | None = 140_000) -> Code:
    """What a pickle of a package refers to when an object has a __reduce_package__."""
    return persistent(("reduce_package", *(() if number is None else (number,)), name(function), args))


def package_bytes(
    pickles: Mapping[str, Any],
    storages: Mapping[str, bytes | int] | None = None,
    *,
    files: Mapping[str, bytes] | None = None,
    extern: str = "torch\ncollections\n",
    stem: str = "pkg",
    **options: Any,
) -> bytes:
    """The archive: pickles by path, storages by key, other members by path. `options` are those of every member."""
    members = {f".data/{key}.storage": bytes(data) for key, data in (storages or {}).items()}
    members |= {path: pickled(root, 3) for path, root in pickles.items()}
    members |= dict(files or {})
    members |= {
        ".data/extern_modules": extern.encode(),
        ".data/python_version": b"3.11.7",
        ".data/version": b"6\n",
        "byteorder": b"little",
    }
    return zip_bytes([Entry(f"{stem}/{path}", data, align=64, **options) for path, data in members.items()])
