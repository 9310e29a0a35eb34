"""Element types, as a table that can be held against the specifications.

Names are torch's (float32, bfloat16, float8_e4m3fn …); SAFETENSORS_DTYPES and STORAGE_CLASSES translate to them. The types
of GGUF that pack a block of elements with their scale (q4_K: 256 in 144 bytes) have ggml's names.
Sources: torch/csrc/api/include/torch/types.h and torch/storage.py for torch, safetensors' `Dtype` for the other, ggml's
ggml-common.h and gguf-py's GGML_QUANT_SIZES for the blocks.
A dtype nobody has told us about keeps its name and has `bits` None: it is shown, never guessed.
"""

from __future__ import annotations

from typing import NamedTuple


class DType(NamedTuple):
    """An element type: `bits` of a block of `block` elements (None when unknown), which is one element for most.

    `kind` is float, int, uint, bool, complex, quantized or raw.
    """

    name: str
    kind: str
    bits: int | None
    block: int = 1

    def nbytes(self, numel: int) -> int | None:
        """Bytes that `numel` packed elements take, or None when the size is unknown. Sub-byte types are counted in bits."""
        if self.bits is None:
            return None
        return (numel * self.bits + 7) // 8 if self.block == 1 else -(-numel // self.block) * self.bits // 8

    @property
    def width(self) -> int | float | None:
        """Bits per element: 32 of a float32, 4.5 of a q4_K. Blocks are powers of two long, so the fraction is exact."""
        return self.bits if self.bits is None or self.block == 1 else self.bits / self.block


_ROWS = (
    ("float64", "float", 64), ("float32", "float", 32), ("float16", "float", 16), ("bfloat16", "float", 16),
    ("float8_e4m3fn", "float", 8), ("float8_e5m2", "float", 8), ("float8_e4m3fnuz", "float", 8), ("float8_e5m2fnuz", "float", 8),
    ("float8_e8m0fnu", "float", 8), ("float6_e2m3fn", "float", 6), ("float6_e3m2fn", "float", 6), ("float4_e2m1fn", "float", 4),
    ("float4_e2m1fn_x2", "float", 8),
    ("int64", "int", 64), ("int32", "int", 32), ("int16", "int", 16), ("int8", "int", 8),
    ("uint64", "uint", 64), ("uint32", "uint", 32), ("uint16", "uint", 16), ("uint8", "uint", 8),
    ("bool", "bool", 8),
    ("complex128", "complex", 128), ("complex64", "complex", 64), ("complex32", "complex", 32),
    ("qint8", "quantized", 8), ("quint8", "quantized", 8), ("qint32", "quantized", 32),
    ("quint4x2", "quantized", 4), ("quint2x4", "quantized", 2),
    ("bits8", "raw", 8), ("bits16", "raw", 16), ("bits1x8", "raw", 8), ("bits2x4", "raw", 8), ("bits4x2", "raw", 8),
    # torch stores its int1…int7 and uint1…uint7 one element a byte
    *((f"int{n}", "int", 8) for n in range(1, 8)), *((f"uint{n}", "uint", 8) for n in range(1, 8)),
)  # fmt: skip

DTYPES = {name: DType(name, kind, bits) for name, kind, bits in _ROWS}

# Elements in a block and its bytes. Never among DTYPES: no torch tensor is made of these, so none can be strided.
_BLOCKS = (
    ("q1_0", 128, 18), ("q4_0", 32, 18), ("q4_1", 32, 20), ("q4_2", 16, 10), ("q4_3", 16, 12), ("q5_0", 32, 22), ("q5_1", 32, 24),
    ("q8_0", 32, 34), ("q8_1", 32, 36),
    ("q2_K", 256, 84), ("q3_K", 256, 110), ("q4_K", 256, 144), ("q5_K", 256, 176), ("q6_K", 256, 210), ("q8_K", 256, 292),
    ("iq1_s", 256, 50), ("iq1_m", 256, 56), ("iq2_xxs", 256, 66), ("iq2_xs", 256, 74), ("iq2_s", 256, 82), ("iq3_xxs", 256, 98),
    ("iq3_s", 256, 110), ("iq4_nl", 32, 18), ("iq4_xs", 256, 136),
    ("tq1_0", 256, 54), ("tq2_0", 256, 66), ("mxfp4", 32, 17), ("nvfp4", 64, 36),
    # the same numbers laid out for one processor or another
    ("q4_0_4_4", 32, 18), ("q4_0_4_8", 32, 18), ("q4_0_8_8", 32, 18),
    ("iq4_nl_4_4", 32, 18), ("iq4_nl_4_8", 32, 18), ("iq4_nl_8_8", 32, 18),
)  # fmt: skip
BLOCK_DTYPES = {name: DType(name, "quantized", nbytes * 8, block) for name, block, nbytes in _BLOCKS}

BYTE = DType("byte", "raw", 8)  # an untyped storage: the tensors over it say what its bytes are


KNOWN_DTYPES = {**DTYPES, **BLOCK_DTYPES, BYTE.name: BYTE}


def unknown(name: str) -> DType:
    """A dtype of which only the name is known."""
    return DType(name, "raw", None)


_SAFETENSORS = {
    "BOOL": "bool", "F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn", "U8": "uint8", "I8": "int8",
    "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16", "I32": "int32",
    "U32": "uint32", "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip
SAFETENSORS_DTYPES = {short: DTYPES[name] for short, name in _SAFETENSORS.items()}

_STORAGE_CLASSES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64", "ComplexHalfStorage": "complex32",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
STORAGE_CLASSES = {cls: DTYPES[name] for cls, name in _STORAGE_CLASSES.items()}
STORAGE_CLASSES["UntypedStorage"] = BYTE
STORAGE_CLASSES["_UntypedStorage"] = BYTE
