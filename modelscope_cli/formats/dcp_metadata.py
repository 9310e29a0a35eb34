"""The index of a distributed checkpoint: what `.metadata` says is saved, in which pieces, and where each piece lies.

    Metadata
      state_dict_metadata   {name: TensorStorageMetadata(properties, size, chunks [(offsets, sizes), …]) | BytesStorageMetadata()}
      storage_data          {MetadataIndex(fqn, offset, index): _StorageInfo(relative_path, offset, length[, transform_descriptors])}
      planner_data          {name: (key, key, …)}   the dictionaries that the names were flattened from, in the model's order
      storage_meta, version                         since torch 2.3 and 2.10

It is a pickle of dataclasses: each an object of no arguments whose state is a dictionary, but for TensorProperties, whose state
is a tuple that begins with the dtype. A class is known by its name: torch 1.13 kept them in another module. Nothing of it is
imported. Facts: torch/distributed/checkpoint/metadata.py and filesystem.py of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping
from modelscope_cli.core.checkpoint import PickleTrace
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.plain_values import Plain, simple_value
from modelscope_cli.formats.torch_objects import BadTensorError, dtype_of, extents

DEEPEST_PATH = 64  # keys of a flattened name


class Chunk(NamedTuple):
    """A piece of a tensor: where it begins and how far it reaches, a number a dimension."""

    origin: Shape
    shape: Shape


class Saved(NamedTuple):
    """An entry of the state_dict: a tensor with its chunks, or an object (`dtype` None) that was pickled."""

    name: str
    path: tuple[str, ...]  # the keys it was flattened from; the name itself where that is not recorded
    shape: Shape
    dtype: DType | None
    chunks: tuple[Chunk, ...]


class Blob(NamedTuple):
    """Where something lies: `length` bytes at `offset` of a file of the folder, as the extensions `transforms` left them."""

    file: str
    offset: int
    length: int
    transforms: tuple[str, ...]


class Index(NamedTuple):
    """`blobs` are found by name and origin of the chunk; objects have the origin None."""

    saved: list[Saved]
    blobs: dict[tuple[str, Shape | None], Blob]
    ordered: bool  # whether the order of the names is the model's own
    about: dict[str, Any]
    trace: PickleTrace


def read_index(window: Window, limits: Limits) -> Index:
    """The index in a `.metadata` file. Raises CorruptFileError or LimitError."""
    if window.size > limits.pickle_bytes:
        raise LimitError("pickle_bytes", limits.pickle_bytes, window.size, path=window.name)
    roomy = limits._replace(objects=2 * limits.objects, opcodes=2 * limits.opcodes)  # small objects, some 27 a chunk
    machine = PickleMachine(window.read(0, window.size), window.name, roomy)
    return index_of(machine.run(), window.name, limits, machine.trace())


def index_of(root: Any, where: str, limits: Limits, trace: PickleTrace) -> Index:
    """The same of the object that the pickle makes."""
    fields = fields_of(root, "Metadata")
    if fields is None:
        raise CorruptFileError("not the metadata of a distributed checkpoint: it holds another object", path=where)
    paths = read_paths(fields.get("planner_data"))
    try:
        saved = read_saved(fields.get("state_dict_metadata"), paths, limits)
        blobs = read_blobs(fields.get("storage_data"), limits)
    except BadTensorError as problem:
        raise CorruptFileError(str(problem), path=where) from None
    except LimitError as problem:
        raise problem.of(where) from None
    rank = {name: number for number, name in enumerate(paths)}
    saved.sort(key=lambda entry: rank.get(entry.name, len(rank)))
    return Index(saved, blobs, bool(paths), read_about(fields), trace)


def fields_of(node: Any, *names: str) -> dict[str, Any] | None:
    """The attributes of an instance of a class of one of these names, or None for anything else."""
    if type(node) is not Call or type(node.function) is not Global or node.function.name not in names:
        return None
    state: Any = node.state
    if type(state) is tuple and len(state) == 2 and state[0] is None:  # (__dict__, __slots__)
        state = state[1]
    pairs: Sequence[tuple[Any, Any]] = state.pairs if type(state) is Mapping else ()
    return {key: value for key, value in pairs if type(key) is str}


def read_paths(planner: Any) -> dict[str, tuple[str, ...]]:
    """name → keys it was flattened from. A planner of another kind keeps something else here, which says nothing to us."""
    paths: dict[str, tuple[str, ...]] = {}
    pairs: Sequence[tuple[Any, Any]] = planner.pairs if type(planner) is Mapping else ()
    for name, path in pairs:
        if type(name) is str and type(path) is tuple and 0 < len(path) <= DEEPEST_PATH:
            paths[name] = tuple([str(key) if type(key) is int else key if type(key) is str else "?" for key in path])
    return paths


def read_saved(listed: Any, paths: dict[str, tuple[str, ...]], limits: Limits) -> list[Saved]:
    """The entries of the state_dict. Raises BadTensorError for one that is neither tensor nor object."""
    if type(listed) is not Mapping:
        raise BadTensorError("the metadata names no state_dict")
    if len(listed.pairs) > limits.tensors:
        raise LimitError("tensors", limits.tensors, len(listed.pairs))
    saved: dict[str, Saved] = {}
    for name, node in listed.pairs:
        if type(name) is not str:
            raise BadTensorError("a name in the metadata is no string")
        path = paths.get(name, (name,))
        fields = fields_of(node, "TensorStorageMetadata")
        if fields is not None:
            saved[name] = read_tensor(name, path, fields, limits)
        elif fields_of(node, "BytesStorageMetadata") is not None:
            saved[name] = Saved(name, path, (), None, ())
        else:
            raise BadTensorError(f"{name[:200]!r} is described neither as a tensor nor as bytes")
    return list(saved.values())


def read_tensor(name: str, path: tuple[str, ...], fields: dict[str, Any], limits: Limits) -> Saved:
    """A tensor with its chunks, which may be missing or lie outside it: that is for the reader to tell."""
    try:
        shape = extents(fields.get("size"), "size", limits)
        dtype = read_dtype(fields.get("properties"))
        listed = fields.get("chunks")
        if type(listed) is not list:
            raise BadTensorError("its chunks are not listed")
        if len(listed) > limits.parts:
            raise LimitError("parts", limits.parts, len(listed))
        chunks = []
        for node in listed:
            chunk = fields_of(node, "ChunkStorageMetadata") or {}
            origin = extents(chunk.get("offsets"), "chunk offset", limits)
            sizes = extents(chunk.get("sizes"), "chunk size", limits)
            if len(origin) != len(shape) or len(sizes) != len(shape):
                raise BadTensorError(f"it has {len(shape)} dimensions, a chunk of it {len(sizes)}")
            chunks.append(Chunk(origin, sizes))
    except BadTensorError as problem:
        raise BadTensorError(f"tensor {name[:200]!r}: {problem}") from None
    except LimitError as problem:
        raise problem.of(None, f"tensor {name[:200]!r}") from None
    return Saved(name, path, shape, dtype, tuple(chunks))


def read_dtype(properties: Any) -> DType:
    """The dtype of TensorProperties, whose state is a tuple (dtype, layout, requires_grad, memory format, pinned)."""
    state = properties.state if type(properties) is Call else None
    if type(state) is tuple and state:
        return dtype_of(state[0])
    return dtype_of((fields_of(properties, "TensorProperties") or {}).get("dtype"))


def read_blobs(listed: Any, limits: Limits) -> dict[tuple[str, Shape | None], Blob]:
    """Where every chunk and object lies. Raises BadTensorError for a place that is none."""
    if type(listed) is not Mapping:
        raise BadTensorError("the metadata says of nothing where it lies: it was made by another kind of writer")
    blobs: dict[tuple[str, Shape | None], Blob] = {}
    for key, value in listed.pairs:
        index, place = fields_of(key, "MetadataIndex"), fields_of(value, "_StorageInfo")
        if index is None or place is None or type(index.get("fqn")) is not str:
            raise BadTensorError("a storage entry of the metadata is not what torch writes")
        origin = index.get("offset")
        blobs[index["fqn"], None if origin is None else extents(origin, "chunk offset", limits)] = read_blob(place)
    return blobs


def read_blob(place: dict[str, Any]) -> Blob:
    """A place, its numbers not negative."""
    file, offset, length = place.get("relative_path"), place.get("offset"), place.get("length")
    if type(file) is not str or type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
        raise BadTensorError("a storage entry of the metadata names no place in a file")
    transforms: Any = place.get("transform_descriptors")
    named = tuple([name for name in transforms if type(name) is str]) if type(transforms) in (list, tuple) else ()
    return Blob(file, offset, length, named)


def read_about(fields: dict[str, Any]) -> dict[str, Any]:
    """What else is worth showing: the version, and where and as what it was saved."""
    plain = Plain()
    about: dict[str, Any] = {"version": plain.value(fields["version"])} if fields.get("version") is not None else {}
    meta = fields_of(fields.get("storage_meta"), "StorageMeta")
    for key, value in (meta or {}).items():
        named = type(value) is Call and type(value.function) is Global
        shown = simple_value(value, value.function.path) if named else plain.value(value)
        if value not in (None, []) and shown is not None:
            about[key] = shown
    return about
