"""Distributed checkpoints: the files of the ranks, and the index that says what lies in them.

>>> dcp_files({"w": cut((4, 2), {"__0_0.distcp": (0, 2), "__1_0.distcp": (2, 4)}), "lr": Thing("__0_0.distcp", 0.1)})
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.builders.pickle_code import EMPTY_DICT, MARK, SETITEMS, Code, built, call, instance, name, pickled
from tests.builders.torch_code import ITEM_BYTES, tensor
from tests.builders.torch_file import torch_entries
from tests.builders.zip_archive import zip_bytes

METADATA = "torch.distributed.checkpoint.metadata"
FILESYSTEM = "torch.distributed.checkpoint.filesystem"
DTYPES = {"FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "LongStorage": "int64"}

Shape = tuple[int, ...]


class Piece(NamedTuple):
    """A chunk: the file it lies in, where it begins in the tensor, its shape."""

    file: str
    origin: Shape
    shape: Shape


class Cut(NamedTuple):
    """A tensor in pieces."""

    shape: Shape
    pieces: tuple[Piece, ...]
    cls: str = "FloatStorage"


class Thing(NamedTuple):
    """An object that is pickled into a file, with the storages of the tensors in it."""

    file: str
    value: Any
    storages: Mapping[str, bytes | int] | None = None


class Place(NamedTuple):
    """What the index says of a blob."""

    name: str
    origin: Shape | None
    file: str
    offset: int
    length: int
    transforms: tuple[str, ...] | None = None


def cut(shape: Shape, rows: Mapping[str, tuple[int, int]], cls: str = "FloatStorage") -> Cut:
    """A tensor whose rows first..last each file has."""
    rest = shape[1:]
    pieces = [Piece(file, (first, *[0] * len(rest)), (last - first, *rest)) for file, (first, last) in rows.items()]
    return Cut(shape, tuple(pieces), cls)


def whole(shape: Shape, file: str = "__0_0.distcp", cls: str = "FloatStorage") -> Cut:
    """A tensor in one piece."""
    return Cut(shape, (Piece(file, (0,) * len(shape), shape),), cls)


def blob(root: Any, storages: Mapping[str, bytes | int] | None = None) -> bytes:
    """A file inside a `.distcp`, as torch writes it: the local headers leave the sizes to descriptors."""
    return zip_bytes([entry._replace(descriptor=True) for entry in torch_entries(root, storages)], zip64=True)


def tensor_blob(shape: Shape, cls: str = "FloatStorage", fill: int = 0) -> bytes:
    """One tensor, every byte of it `fill`."""
    return blob(tensor("0", shape, cls), {"0": bytes([fill]) * (math.prod(shape) * ITEM_BYTES[cls])})


def dcp_parts(entries: Mapping[str, Cut | Thing]) -> tuple[dict[str, bytes], list[Place]]:
    """The `.distcp` files, and where everything lies in them. The n-th blob is filled with n."""
    files: dict[str, bytes] = {}
    places: list[Place] = []

    def put(called: str, origin: Shape | None, file: str, data: bytes) -> None:
        places.append(Place(called, origin, file, len(files.setdefault(file, b"")), len(data)))
        files[file] += data

    for called, entry in entries.items():
        if isinstance(entry, Thing):
            put(called, None, entry.file, blob(entry.value, entry.storages))
        else:
            for file, origin, shape in entry.pieces:
                put(called, origin, file, tensor_blob(shape, entry.cls, len(places) % 256))
    return files, places


def metadata_code(
    entries: Mapping[str, Cut | Thing],
    places: list[Place],
    paths: Mapping[str, tuple[Any, ...]] | None = None,
    **attributes: Any,
) -> Code:
    """The Metadata object. `attributes` replace its own."""
    saved = {called: saved_code(entry) for called, entry in entries.items()}
    storage = b"".join(index_code(place) + info_code(place) for place in places)
    fields = {
        "state_dict_metadata": saved,
        "planner_data": paths,
        "storage_data": Code(EMPTY_DICT + MARK + storage + SETITEMS),
        "storage_meta": instance(f"{METADATA}.StorageMeta", {"checkpoint_id": "runs/7", "save_id": "an id", "load_id": None}),
        "version": "1.0.0",
    }
    return instance(f"{METADATA}.Metadata", {**fields, **attributes})


def saved_code(entry: Cut | Thing) -> Code:
    """How an entry of the state_dict is described."""
    if isinstance(entry, Thing):
        return instance(f"{METADATA}.BytesStorageMetadata", {})
    chunks = [chunk_code(piece.origin, piece.shape) for piece in entry.pieces]
    fields = {"properties": properties_code(DTYPES[entry.cls]), "size": size_code(entry.shape), "chunks": chunks}
    return instance(f"{METADATA}.TensorStorageMetadata", fields)


def properties_code(dtype: str) -> Code:
    layout = call("torch.serialization._get_layout", "torch.strided")
    memory = call(f"{METADATA}._MEM_FORMAT_ENCODING", 0)
    return built(instance(f"{METADATA}.TensorProperties"), (name(f"torch.{dtype}"), layout, False, memory, False))


def size_code(shape: Shape) -> Code:
    return call("torch.Size", shape)


def chunk_code(origin: Shape, shape: Shape) -> Code:
    return instance(f"{METADATA}.ChunkStorageMetadata", {"offsets": size_code(origin), "sizes": size_code(shape)})


def index_code(place: Place) -> Code:
    origin = None if place.origin is None else size_code(place.origin)
    return instance(f"{METADATA}.MetadataIndex", {"fqn": place.name, "offset": origin, "index": 0})


def info_code(place: Place) -> Code:
    fields: dict[str, Any] = {"relative_path": place.file, "offset": place.offset, "length": place.length}
    if place.transforms is not None:
        fields["transform_descriptors"] = list(place.transforms)
    return instance(f"{FILESYSTEM}._StorageInfo", fields)


def dcp_files(
    entries: Mapping[str, Cut | Thing],
    places: list[Place] | None = None,
    paths: Mapping[str, tuple[Any, ...]] | None = None,
    **attributes: Any,
) -> dict[str, bytes]:
    """All files of a checkpoint; `places` replace what is true."""
    files, true = dcp_parts(entries)
    index = metadata_code(entries, true if places is None else places, paths, **attributes)
    return {**files, ".metadata": pickled(index)}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder that need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for called, data in files.items():
        (folder / called).write_bytes(data)
    return folder


RANKS = ("__0_0.distcp", "__1_0.distcp")
TRAINING: dict[str, Cut | Thing] = {
    "model.embed.weight": cut((10, 4), {RANKS[0]: (0, 5), RANKS[1]: (5, 10)}),
    "model.layers.0.weight": cut((4, 4), {RANKS[0]: (0, 2), RANKS[1]: (2, 4)}, "HalfStorage"),
    "model.layers.1.weight": cut((4, 4), {RANKS[0]: (0, 2), RANKS[1]: (2, 4)}, "HalfStorage"),
    "model.norm.weight": whole((4,), RANKS[1]),
    "optim.state.norm.weight.exp_avg": whole((4,), RANKS[1]),
    "optim.param_groups.0.lr": Thing(RANKS[0], 0.25),
    "epoch": Thing(RANKS[1], 7),
}
PATHS = {
    "model.norm.weight": ("model", "norm.weight"),
    "model.embed.weight": ("model", "embed.weight"),
    "model.layers.0.weight": ("model", "layers.0.weight"),
    "model.layers.1.weight": ("model", "layers.1.weight"),
    "optim.state.norm.weight.exp_avg": ("optim", "state", "norm.weight", "exp_avg"),
    "optim.param_groups.0.lr": ("optim", "param_groups", 0, "lr"),
    "epoch": ("epoch",),
}
