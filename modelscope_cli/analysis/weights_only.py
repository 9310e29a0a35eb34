"""What torch.load(weights_only=True) would say of a pickle: it loads, or at which byte it refuses what.

The names that torch allows by itself are data here; a test holds them against torch's own list (2.13). User code may allow
more with `torch.serialization.add_safe_globals`. Facts: torch/_weights_only_unpickler.py.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.policy_levels import PYTHON2
from modelscope_cli.core.checkpoint import PickleTrace

_KINDS = (
    "BFloat16",
    "Bool",
    "Byte",
    "Char",
    "ComplexDouble",
    "ComplexFloat",
    "Double",
    "Float",
    "Half",
    "Int",
    "Long",
    "Short",
)
_STORAGES = {f"{kind}Storage" for kind in _KINDS}
_TENSORS = {f"{kind}Tensor" for kind in _KINDS if not kind.startswith("Complex")}
_SPARSE = _TENSORS - {"BoolTensor"}
_REBUILD = (
    "device_tensor_from_cpu_tensor", "device_tensor_from_numpy", "meta_tensor_no_storage", "nested_tensor", "parameter",
    "parameter_with_state", "qtensor", "sparse_tensor", "tensor", "tensor_v2", "tensor_v3", "wrapper_subclass",
)  # fmt: skip
_TORCH = (
    "Size", "Tensor", "device", "bfloat16", "bits16", "bits1x8", "bits2x4", "bits4x2", "bits8", "bool", "complex128",
    "complex32", "complex64", "float16", "float32", "float4_e2m1fn_x2", "float64", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "int1", "int16", "int2", "int3", "int32", "int4", "int5", "int6",
    "int64", "int7", "int8", "per_channel_affine", "per_channel_affine_float_qparams", "per_channel_symmetric",
    "per_tensor_affine", "per_tensor_symmetric", "qint32", "qint8", "quint2x4", "quint4x2", "quint8", "uint1", "uint16",
    "uint2", "uint3", "uint32", "uint4", "uint5", "uint6", "uint64", "uint7", "uint8",
    "QInt32Storage", "QInt8Storage", "QUInt2x4Storage", "QUInt4x2Storage", "QUInt8Storage",
)  # fmt: skip
ALLOWED = frozenset(
    {f"torch.{name}" for name in (*_STORAGES, *_TENSORS, *_TORCH)}
    | {f"torch.cuda.{name}" for name in _STORAGES | _TENSORS}
    | {f"torch.{place}.{name}" for name in _SPARSE for place in ("sparse", "cuda.sparse")}
    | {f"torch._utils._rebuild_{name}" for name in _REBUILD}
    | {
        "_codecs.encode", "builtins.bytearray", "builtins.complex", "builtins.set", "collections.Counter",
        "collections.OrderedDict", "torch._tensor._rebuild_from_type_v2", "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout", "torch.storage.TypedStorage", "torch.storage.UntypedStorage",
    }
)  # fmt: skip
# Allowed once the module behind them has been imported, as torch.distributed.tensor and torch.nested do for their own.
ALLOWED_ON_IMPORT = frozenset({
    "torch.distributed.device_mesh.DeviceMesh", "torch.distributed.tensor._dtensor_spec.DTensorSpec",
    "torch.distributed.tensor._dtensor_spec.TensorMeta", "torch.distributed.tensor.DTensor",
    "torch.distributed.tensor.placement_types.Partial", "torch.distributed.tensor.placement_types.Replicate",
    "torch.distributed.tensor.placement_types.Shard", "torch.nested._internal.nested_tensor.NestedTensor",
    "torch.nested._internal.nested_tensor._rebuild_njt", "torch._dynamo.decorators._DimRange",
})  # fmt: skip

# The less usual instructions that it knows; those that torch.save writes all the time need no entry.
KNOWN = frozenset(b"c\x81baesu]}N\x88\x8fGU\x8a\x80")
NAMES = {
    0x93: "STACK_GLOBAL", 0x69: "INST", 0x6F: "OBJ", 0x92: "NEWOBJ_EX", 0x8C: "SHORT_BINUNICODE", 0x94: "MEMOIZE", 0x95: "FRAME",
    0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x8E: "BINBYTES8", 0x8D: "BINUNICODE8", 0x96: "BYTEARRAY8", 0x54: "BINSTRING",
    0x56: "UNICODE", 0x53: "STRING", 0x49: "INT", 0x4C: "LONG", 0x46: "FLOAT", 0x70: "PUT", 0x67: "GET", 0x50: "PERSID",
    0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x64: "DICT", 0x6C: "LIST", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x8B: "LONG4",
    0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
    0x52: "REDUCE", 0x81: "NEWOBJ", 0x62: "BUILD", 0x51: "BINPERSID", 0x63: "GLOBAL",
}  # fmt: skip


class Refusal(NamedTuple):
    """Where torch.load(weights_only=True) stops, and at what."""

    offset: int
    what: str


def refusal(trace: PickleTrace) -> Refusal | None:
    """The first thing in a pickle that the weights-only loader refuses, or None where it would load it."""
    found: list[Refusal] = []
    for use in trace.globals:
        if found and found[-1].offset < use.offset:
            break  # names come in the order of the file
        path = f"{PYTHON2.get(use.module, use.module)}.{use.name}"
        if path not in ALLOWED and path not in ALLOWED_ON_IMPORT:
            found.append(Refusal(use.offset, f"{use.module}.{use.name}"))
    for code, offset in trace.firsts.items():
        if code not in KNOWN:
            found.append(Refusal(offset, f"the instruction {NAMES.get(code, f'0x{code:02x}')}"))
    for call in trace.calls:
        if call.opcode == 0x51:
            found.append(Refusal(call.offset, "a call in a persistent id"))
    return min(found, default=None)
