"""safetensors files, right and wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def header_bytes(header: bytes | str | Mapping[str, Any], *, padding: int | None = None, length: int | None = None) -> bytes:
    """The length and the JSON, padded with spaces to a multiple of 8 unless told otherwise."""
    raw = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8 if padding is None else padding)
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw


def entry(dtype: str, shape: Sequence[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def safetensors_bytes(
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    metadata: Mapping[str, str] | None = None,
    *,
    trailing: bytes = b"",
) -> bytes:
    """A well-formed file of name → (dtype, shape), filled with zeros, in that order."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    position = 0
    for name, (dtype, shape) in tensors.items():
        stop = position + math.prod(shape) * BITS[dtype] // 8
        header[name] = entry(dtype, shape, position, stop)
        position = stop
    return header_bytes(header) + bytes(position) + trailing


def raw_bytes(header: bytes | str | Mapping[str, Any], data: int = 0) -> bytes:
    """Any header in front of `data` zero bytes."""
    return header_bytes(header) + bytes(data)
