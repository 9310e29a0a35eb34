"""TorchScript archives of torch 1.0 to 1.3, whose modules are described in JSON instead of a pickle.

    ROOT/model.json       {"protoVersion": "6", "mainModule": MODULE, "tensors": [TENSOR, …]}
    ROOT/tensors/KEY      the bytes of a storage; tensors that share it name the same record
    ROOT/attributes.pkl   further attributes, a list (1.2 and 1.3)
    ROOT/code/….py        methods as source text

    MODULE   {"name": "Net", "parameters": [{"name", "tensorId": "0", "isBuffer"}], "submodules": [MODULE, …], "torchscriptArena"}
    TENSOR   {"dims": ["2", "3"], "strides": ["3", "1"], "offset": "0", "dataType": "FLOAT", "data": {"key": "tensors/0"}}

It is a protobuf message written as JSON, so that long numbers are text and zeros may be left out. Facts: caffe2/proto/torch.proto
and torch/csrc/jit/serialization/import_legacy.cpp of torch 1.4 to 2.x; torch 2.13 reads them no more.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, ModuleRecord
from modelscope_cli.core.dtype import DTYPES, DType, unknown
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.export_payloads import json_object
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, strided
from modelscope_cli.formats.torch_walk import BUFFER, PARAMETER
from modelscope_cli.formats.torchscript import label_files

# caffe2.TensorProto.DataType
DATA_TYPES = {
    "FLOAT": "float32", "INT32": "int32", "BYTE": "uint8", "BOOL": "bool", "UINT8": "uint8", "INT8": "int8", "UINT16": "uint16",
    "INT16": "int16", "INT64": "int64", "FLOAT16": "float16", "DOUBLE": "float64",
}  # fmt: skip
DEEPEST = 200  # modules in one another


def read_archive(archive: Archive, root: str) -> Checkpoint:
    """The checkpoint in an old TorchScript archive. Reads model.json, no tensor data."""
    model = json_object(archive, f"{root}model.json")
    described, tensors = model.get("mainModule"), model.get("tensors", [])
    if type(described) is not dict or type(tensors) is not list or "protoVersion" not in model:
        raise CorruptFileError("model.json does not describe a TorchScript module", path=f"{archive.path}:{root}model.json")
    modules: dict[str, ModuleRecord] = {}
    try:
        add_modules(archive, root, described, tensors, modules)
    except BadTensorError as problem:
        raise CorruptFileError(str(problem), path=f"{archive.path}:{root}model.json") from None
    archive.check_tensors()
    attributes = f"{root}attributes.pkl"
    if attributes in archive.members:
        archive.unpickle(attributes, "pickle", lambda pid, offset: None)
    archive.label(f"{root}tensors/", "data")
    archive.label(f"{root}code/", "code")
    metadata: dict[str, Any] = {"protoVersion": str(model["protoVersion"])[:40]}
    label_files(archive, f"{root}extra/", metadata)
    return archive.checkpoint("torchscript", metadata=metadata, modules=modules)


def add_modules(archive: Archive, root: str, described: Any, tensors: list[Any], modules: dict[str, ModuleRecord]) -> None:
    """List the parameters and buffers of a module and of those inside it, in order. Raises BadTensorError."""
    waiting: list[tuple[str, Any, int]] = [("", described, 0)]
    while waiting:
        path, module, depth = waiting.pop()
        if type(module) is not dict:
            raise BadTensorError(f"module {path[:80]!r} is not described")
        if depth > DEEPEST or len(modules) > archive.limits.tensors:
            raise LimitError("nesting", DEEPEST, depth, path=archive.path)
        modules[path] = ModuleRecord(None, {})
        for entry in _listed(module, "parameters"):
            name = f"{path}.{_text(entry, 'name')}" if path else _text(entry, "name")
            archive.count_names(1, len(name))
            number = _number(_field(entry, "tensorId"))
            if number >= len(tensors) or type(tensors[number]) is not dict:
                raise BadTensorError(f"{name[:80]!r} is tensor {number:,}, and {len(tensors):,} are described")
            add_tensor(archive, root, name, tensors[number])
            archive.table.recorded[len(archive.table) - 1] = BUFFER if entry.get("isBuffer") is True else PARAMETER
        for inner in reversed(_listed(module, "submodules")):
            name = f"{path}.{_text(inner, 'name')}" if path else _text(inner, "name")
            archive.count_names(1, len(name))
            waiting.append((name, inner, depth + 1))


def add_tensor(archive: Archive, root: str, name: str, tensor: dict[str, Any]) -> None:
    """A row for a tensor as described. Raises BadTensorError when its storage does not hold it."""
    kind = _text({"dataType": "UNDEFINED", **tensor}, "dataType")
    dtype: DType = DTYPES[DATA_TYPES[kind]] if kind in DATA_TYPES else unknown(kind[:40].lower())
    shape = [_number(value) for value in _listed(tensor, "dims")]
    strides = [_number(value) for value in _listed(tensor, "strides")]
    key = _text(_field(tensor, "data"), "key")
    member = root + key
    if member not in archive.members:
        raise BadTensorError(f"tensor {name[:80]!r} lies in {key[:80]!r}, which is not in the archive")
    row = archive.storage(member, key)
    held = archive.members[member]
    try:
        view = strided(StorageRef(row, dtype, held.size), _number(tensor.get("offset", 0)), shape, strides, archive.limits)
    except BadTensorError as problem:
        raise BadTensorError(f"tensor {name[:80]!r}: {problem}") from None
    except LimitError as problem:
        raise problem.of(archive.path, f"tensor {name[:80]!r}") from None
    archive.table.add(name, view.shape, dtype, row, view.offset, view.strides)


def _field(entry: Any, name: str) -> Any:
    """A value that may be left out when it is zero."""
    return entry.get(name, 0) if type(entry) is dict else 0


def _listed(entry: Any, name: str) -> list[Any]:
    found = entry.get(name, []) if type(entry) is dict else None
    if type(found) is not list:
        raise BadTensorError(f"its {name} are not a list")
    return found


def _text(entry: Any, name: str) -> str:
    found = entry.get(name) if type(entry) is dict else None
    if type(found) is not str:
        raise BadTensorError(f"an entry without its {name}")
    return found


def _number(value: Any) -> int:
    if type(value) is str and value.isdecimal() and len(value) < 20:
        value = int(value)
    if type(value) is not int or value < 0:
        raise BadTensorError(f"{str(value)[:40]!r} where a number should be")
    return value
