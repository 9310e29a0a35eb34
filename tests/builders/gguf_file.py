"""GGUF files, right and wrong, of any version and byte order."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# number, elements in a block, bytes of a block
TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210), "Q8_K": (15, 256, 292), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98),
    "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136),
    "I8": (24, 1, 1), "I16": (25, 1, 2), "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8), "IQ1_M": (29, 256, 56),
    "BF16": (30, 1, 2), "Q4_0_4_4": (31, 32, 18), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18),
}  # fmt: skip
LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Value(NamedTuple):
    """A metadata value of a type that Python does not tell: Value(12, 1.5) is a float64, Value(9, (5, [1])) an array of int32."""

    kind: int
    value: Any


class Writer:
    """Numbers and strings in one version and byte order."""

    def __init__(self, version: int = 3, order: str = "<"):
        self.order = order
        self.wide = "Q" if version > 1 else "I"

    def number(self, letter: str, value: Any) -> bytes:
        return struct.pack(self.order + letter, value)

    def count(self, value: int) -> bytes:
        return self.number(self.wide, value)

    def text(self, value: str | bytes) -> bytes:
        raw = value if isinstance(value, bytes) else value.encode()
        return self.count(len(raw)) + raw

    def typed(self, value: Any) -> Value:
        """int → uint32, float → float32, and so on."""
        if isinstance(value, Value):
            return value
        if isinstance(value, bool):
            return Value(7, value)
        if isinstance(value, int):
            return Value(4, value)
        if isinstance(value, float):
            return Value(6, value)
        if isinstance(value, list):
            return Value(ARRAY, (self.typed(value[0]).kind if value else 4, value))
        return Value(STRING, value)

    def body(self, kind: int, value: Any) -> bytes:
        if kind == STRING:
            return self.text(value)
        if kind == ARRAY:
            inner, items = value
            return self.number("I", inner) + self.count(len(items)) + b"".join([self.body(inner, item) for item in items])
        return self.number(LETTERS[kind], value)

    def pair(self, key: str | bytes, value: Any) -> bytes:
        typed = self.typed(value)
        return self.text(key) + self.number("I", typed.kind) + self.body(*typed)

    def head(self, version: int, tensors: int, pairs: int, magic: bytes = b"GGUF") -> bytes:
        return magic + self.number("I", version) + self.count(tensors) + self.count(pairs)

    def entry(self, name: str | bytes, kind: int, shape: Sequence[int], offset: int, dims: int | None = None) -> bytes:
        """A row of the list of tensors; `shape` in torch order."""
        extents = b"".join([self.count(extent) for extent in reversed(shape)])
        dims = len(shape) if dims is None else dims
        return self.text(name) + self.number("I", dims) + extents + self.number("I", kind) + self.number("Q", offset)


def gguf_bytes(
    tensors: Mapping[str, tuple[str | int, Sequence[int]]],
    metadata: Mapping[str, Any] | None = None,
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = 32,
    offsets: Mapping[str, int] | None = None,
    data: int | None = None,
) -> bytes:
    """A file of name → (type, shape in torch order) and key → value, filled with zeros.

    `offsets` replace the true ones, `data` the length of the data. A type by number takes 32 bytes.
    """
    writer = Writer(version, order)
    pairs = dict(metadata or {})
    if alignment != 32:
        pairs["general.alignment"] = alignment
    body = writer.head(version, len(tensors), len(pairs)) + b"".join([writer.pair(key, value) for key, value in pairs.items()])
    position = 0
    for name, (kind, shape) in tensors.items():
        number, block, nbytes = TYPES[kind] if isinstance(kind, str) else (kind, 1, 0)
        body += writer.entry(name, number, shape, (offsets or {}).get(name, position))
        position += math.prod(shape) // block * nbytes if isinstance(kind, str) else 32
        position += -position % alignment
    if not tensors:
        return body
    return body + bytes(-len(body) % alignment) + bytes(position if data is None else data)


def llama(
    layers: int = 2, width: int = 64, *, hidden: int = 128, tokens: int = 96, kv: int = 32
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a small Llama as llama.cpp names and quantises them, in an order of no meaning."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "output.weight": ("Q8_0", (tokens, width)),
        "token_embd.weight": ("Q4_0", (tokens, width)),
    }
    for number in range(layers):
        layer = f"blk.{number}"
        found |= {f"{layer}.attn_norm.weight": ("F32", (width,)), f"{layer}.ffn_down.weight": ("Q4_0", (width, hidden))}
        found |= {f"{layer}.ffn_{name}.weight": ("Q4_0", (hidden, width)) for name in ("gate", "up")}
        found |= {f"{layer}.ffn_norm.weight": ("F32", (width,)), f"{layer}.attn_output.weight": ("Q4_0", (width, width))}
        found |= {f"{layer}.attn_{name}.weight": ("Q4_0", (rows, width)) for name, rows in (("k", kv), ("q", width), ("v", kv))}
    return {**found, "output_norm.weight": ("F32", (width,)), "rope_freqs.weight": ("F32", (width // 8,))}


LLAMA_METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.file_type": 2,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(96)],
}
