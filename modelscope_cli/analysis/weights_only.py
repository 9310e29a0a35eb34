"""What torch.load(weights_only=True) would say of a file: at which byte of which member it refuses what, or that it allows all names.

The names that torch allows by itself are data here; a test holds them against torch's own list (2.13). User code may allow
more with `torch.serialization.add_safe_globals`. Facts: torch/_weights_only_unpickler.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.containers.python2_names import imported_as
from modelscope_cli.core.checkpoint import PickleTrace
from modelscope_cli.core.scanned import TORCH, Scanned

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
    """Where torch.load(weights_only=True) stops, and at what. `where` is the member of an archive."""

    offset: int
    what: str
    where: str = ""


def said_of(scanned: Scanned) -> str | None:
    """What torch.load(weights_only=True) would say; None where it reads nothing of the file, or we could not read all it reads.

    Only names and instructions are looked at: a state that fits no tensor, or a missing storage, is refused as well.
    """
    if scanned.begins == "tar":
        return "refuses the legacy .tar format"
    bare = _bare(scanned)
    if bare is not None:
        return _of_bare(bare)
    if scanned.problem is not None:
        return None
    if scanned.kind == "torchscript":
        return "refuses TorchScript archives"
    traces = _read_by_torch(scanned)
    if not traces or any([trace.problem is not None for trace in traces.values()]):
        return None
    refused = [refusal(trace, place[0]) for place, trace in traces.items()]
    first = next((one for one in refused if one is not None), None)
    if scanned.kind == "torch-zip" and first is not None and not all(refused):
        return None  # several members could be the one that torch takes
    if first is not None:
        return f"refuses {lettered(first.what)} at byte {first.offset:,}{f' of {first.where}' if first.where else ''}"
    later = sorted({_brought_by(path) for trace in traces.values() for path in _paths(trace) if path in ALLOWED_ON_IMPORT})
    return f"would allow every name in it{f', once {chr(32).join(later)} is imported' if later else ''}"


def _bare(scanned: Scanned) -> PickleTrace | None:
    """The pickle that a file begins with which torch.save did not write: torch reads no further."""
    first = scanned.streams[0] if scanned.begins == "pickle" and scanned.streams else None
    return first.trace if first is not None and not first.where and first.loader != TORCH else None


def _of_bare(trace: PickleTrace) -> str | None:
    """torch unpickles what stands where its magic number should, and so tells a name or an instruction first."""
    found = refusal(trace)
    if found is not None:
        return f"refuses {lettered(found.what)} at byte {found.offset:,}"
    if trace.problem is not None:
        return None
    if any([use.name.endswith("Storage") for use in trace.globals]):
        return "refuses the storages of a pickle that is not in its archive (unsupported persistent id)"
    return "refuses a pickle that torch.save did not write (invalid magic number)"


def _read_by_torch(scanned: Scanned) -> dict[tuple[str, int], PickleTrace]:
    """The pickles that torch.load unpickles, by (member, number): `data.pkl` of the archive, or the first five of a stacked file."""
    if scanned.kind == "torch-zip":
        found: dict[tuple[str, int], PickleTrace] = {}
        listed = {stream.where for stream in scanned.streams if stream.loader == TORCH}
        for number, stream in enumerate(scanned.streams):
            folder, _, leaf = stream.where.rpartition("/")
            if leaf.lower() != "data.pkl" or not folder or "/" in folder:  # torch finds members whatever their case
                continue
            if stream.loader == TORCH or stream.where not in listed:  # else it is hidden, or behind the one that torch reads
                found[stream.where, number] = stream.trace
        return found
    if scanned.kind == "torch-legacy":
        own = [stream.trace for stream in scanned.streams if stream.loader == TORCH and not stream.where]
        return {("", number): trace for number, trace in enumerate(own)}
    return {}


def _paths(trace: PickleTrace) -> Iterator[str]:
    return (".".join(imported_as(use.module, use.name)) for use in trace.globals)


def _brought_by(path: str) -> str:
    """The module that has to be imported before torch allows a name."""
    return next((module for module in ("torch.nested", "torch._dynamo") if path.startswith(module)), "torch.distributed.tensor")


def refusal(trace: PickleTrace, where: str = "") -> Refusal | None:
    """The first name or instruction in a pickle that the weights-only loader refuses, or None where it allows all of them."""
    found: list[Refusal] = []
    for use, path in zip(trace.globals, _paths(trace), strict=True):
        if found and found[-1].offset < use.offset:
            break  # names come in the order of the file
        if path not in ALLOWED and path not in ALLOWED_ON_IMPORT:
            found.append(Refusal(use.offset, path, where))
    for code, offset in trace.firsts.items():
        if code not in KNOWN:
            found.append(Refusal(offset, f"the instruction {NAMES.get(code, f'0x{code:02x}')}", where))
    for call in trace.calls:
        if call.opcode == 0x51:
            found.append(Refusal(call.offset, "a call in a persistent id", where))
    return min(found, default=None)
