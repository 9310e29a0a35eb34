"""Element types, as a table that can be held against the specifications.

Names are torch's (float32, bfloat16, float8_e4m3fn …); SAFETENSORS_DTYPES and STORAGE_CLASSES translate to them.
Sources: torch/csrc/api/include/torch/types.h and torch/storage.py for torch, safetensors' `Dtype` for the other.
A dtype nobody has told us about keeps its name and has `bits` None: it is shown, never guessed.
"""

from __future__ import annotations

from typing import NamedTuple


class DType(NamedTuple):
    """An element type: `bits` per element (None when unknown), `kind` is float, int, uint, bool, complex, quantized or raw."""

    name: str
    kind: str
    bits: int | None

    def nbytes(self, numel: int) -> int | None:
        """Bytes that `numel` packed elements take, or None when the size is unknown. Sub-byte types are counted in bits."""
        return None if self.bits is None else (numel * self.bits + 7) // 8


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

BYTE = DType("byte", "raw", 8)  # an untyped storage: the tensors over it say what its bytes are


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
