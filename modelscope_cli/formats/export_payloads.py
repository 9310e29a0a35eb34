"""The tensors of a torch.export archive, as its JSON configurations list them: a file of bytes, and a strided view of it.

    PayloadMeta   path_name, is_param, use_pickle, tensor_meta {dtype, sizes, strides, storage_offset, layout, …}
    a number      {"as_int": 3}, or an expression with a hint where a shape is symbolic
    dtype         an index into DTYPE_NUMBERS (torch/_export/serde/schema.py, ScalarType)

AOTInductor has a table of its own: {tensor: [file, shape, strides, offset]}, and each file is a torch.save of one tensor.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.core.dtype import DTYPES, DType, unknown
from modelscope_cli.core.tensor import NOWHERE
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.inner_file import adopt, read_inner
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, strided
from modelscope_cli.formats.torch_walk import BUFFER, PARAMETER

DTYPE_NUMBERS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 9: "complex32",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2",
    31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip


def json_object(archive: Archive, name: str) -> dict[str, Any]:
    """The JSON object in a member. Raises CorruptFileError for anything else."""
    import json

    archive.labels[name] = "header"
    raw = archive.read(name, archive.limits.header_bytes, "header_bytes")
    for count, limit in (
        (raw.count(b"{") + raw.count(b"["), archive.limits.objects),
        (raw.count(b'"'), 4 * archive.limits.objects),
    ):
        if count > limit:  # counted before they are made: empty objects take twenty times their text
            raise LimitError("objects", archive.limits.objects, count, path=f"{archive.path}:{name}")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CorruptFileError(f"not JSON: {reason}", path=f"{archive.path}:{name}") from None
    if type(found) is not dict:
        raise CorruptFileError("not a JSON object", path=f"{archive.path}:{name}")
    return found


def payload_config(archive: Archive, name: str) -> dict[str, Any]:
    """tensor → PayloadMeta."""
    config = json_object(archive, name).get("config")
    if type(config) is not dict:
        raise CorruptFileError("no table of tensors under 'config'", path=f"{archive.path}:{name}")
    return config


def view_config(archive: Archive, name: str) -> dict[str, Any]:
    """tensor → [file, shape, strides, offset]."""
    return json_object(archive, name)


def add_payloads(archive: Archive, folder: str, config: dict[str, Any], prefix: str) -> None:
    """List the tensors of a configuration; their files are members of `folder`."""
    opened: set[str] = set()
    for name, meta in config.items():
        file = meta.get("path_name") if type(meta) is dict else None
        if type(file) is not str:
            raise CorruptFileError(f"tensor {name[:80]!r} has no path_name", path=archive.path)
        member = folder + file
        archive.count_names(1, len(prefix) + 1 + len(name))
        path = f"{prefix}.{name}" if prefix else name
        if member not in archive.members:
            raise CorruptFileError(
                f"tensor {name[:80]!r} lies in {file[:80]!r}, which is not in the archive", path=archive.path
            )
        role = PARAMETER if meta.get("is_param") is True else BUFFER
        if meta.get("use_pickle"):
            if member not in opened:  # a second name for the same object is not torch's way
                opened.add(member)
                rows = adopt(archive, member, read_inner(archive, member), path)
                archive.table.recorded.update(dict.fromkeys(rows, role))
            continue
        try:
            _add_raw(archive, member, file, path, meta.get("tensor_meta"))
        except BadTensorError as problem:
            raise CorruptFileError(f"tensor {name[:80]!r}: {problem}", path=archive.path) from None
        except LimitError as problem:
            raise problem.of(archive.path, f"tensor {name[:80]!r}") from None
        archive.table.recorded[len(archive.table) - 1] = role
    archive.check_tensors()


def _add_raw(archive: Archive, member: str, file: str, name: str, meta: Any) -> None:
    """A row for a view of a raw storage. Raises BadTensorError. An empty file stands for a fake tensor, which has no data."""
    if type(meta) is not dict:
        raise BadTensorError("it has no tensor_meta")
    number = meta.get("dtype")
    if type(number) is not int:
        raise BadTensorError("its dtype is not a number")
    dtype: DType = DTYPES[DTYPE_NUMBERS[number]] if number in DTYPE_NUMBERS else unknown(f"scalar_type_{number}")
    shape = tuple(_number(value) for value in _listed(meta.get("sizes"), "sizes"))
    strides = tuple(_number(value) for value in _listed(meta.get("strides"), "strides"))
    offset = _number(meta.get("storage_offset"))
    if len(shape) > archive.limits.dimensions:
        raise LimitError("dimensions", archive.limits.dimensions, len(shape))
    held = archive.members[member]
    numel = 1
    for extent in shape:
        numel *= extent
    if held.size == 0 and numel:
        archive.labels[member] = "data"
        archive.table.add(name, shape, dtype, NOWHERE)
        return
    row = archive.storage(member, file)
    view = strided(StorageRef(row, dtype, held.size), offset, shape, strides, archive.limits)
    archive.table.add(name, shape, dtype, row, view.offset, view.strides)


def _listed(value: Any, what: str) -> list[Any]:
    if type(value) is not list:
        raise BadTensorError(f"its {what} are not a list")
    return value


def _number(value: Any) -> int:
    """A SymInt: a number as written, or the hint of an expression."""
    if type(value) is dict:
        if "as_expr" in value:
            hint = value["as_expr"].get("hint") if type(value["as_expr"]) is dict else None
            value = hint.get("as_int") if type(hint) is dict else None
        else:
            value = value.get("as_int")
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise BadTensorError("its shape holds no number")
    return value


def add_views(archive: Archive, folder: str, config: dict[str, Any], prefix: str) -> None:
    """List the tensors of AOTInductor's table: views of the one tensor that each torch.save file holds."""
    table = archive.table
    rows: dict[str, tuple[int, DType]] = {}
    for name, entry in config.items():
        if type(entry) is not list or len(entry) != 4 or type(entry[0]) is not str:
            raise CorruptFileError(
                f"weight {name[:80]!r} is not described by file, shape, strides and offset", path=archive.path
            )
        file, shape, strides, offset = entry
        member = folder + file
        if member not in archive.members:
            raise CorruptFileError(
                f"weight {name[:80]!r} lies in {file[:80]!r}, which is not in the archive", path=archive.path
            )
        if member not in rows:
            rows[member] = _only_tensor(archive, member, name)
        row, dtype = rows[member]
        try:
            size = table.storage.nbytes[row] if row >= 0 else 0
            view = strided(StorageRef(row, dtype, size), offset, shape, strides, archive.limits)
        except BadTensorError as problem:
            raise CorruptFileError(f"weight {name[:80]!r}: {problem}", path=archive.path) from None
        except LimitError as problem:
            raise problem.of(archive.path, f"weight {name[:80]!r}") from None
        table.add(f"{prefix}.{name}" if prefix else name, view.shape, dtype, row, view.offset, view.strides)
    archive.check_tensors()


def _only_tensor(archive: Archive, member: str, name: str) -> tuple[int, DType]:
    """Row of the storage behind the tensor in a torch.save file, and its dtype; the row of the tensor itself is taken back."""
    table = archive.table
    found = adopt(archive, member, read_inner(archive, member), name)
    if len(found) != 1 or found.start in table.parts:
        raise CorruptFileError(f"weight {name[:80]!r}: its file holds {len(found):,} tensors, expected one", path=archive.path)
    row, dtype = table.storages[found.start], table.dtypes[found.start]
    for column in (table.names, table.shapes, table.dtypes, table.storages, table.offsets, table.strides):
        column.pop()
    table.recorded.pop(found.start, None)
    return row, dtype
