"""Sparse safetensors files of more than one dtype, and sets of shards with their index. sparse.py has the trick."""

import json
import math
from pathlib import Path

# The order is that of the data: safetensors puts the dtypes of its enumeration last to first, and sorts each by name.
BYTES = {"F32": 4, "I32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1}
DTYPES = list(BYTES)

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name → dtype, shape


def elements(tensors: Tensors, *dtypes: str) -> int:
    """How many elements there are of these dtypes, or of all."""
    return sum(math.prod(shape) for dtype, shape in tensors.values() if dtype in (dtypes or DTYPES))


def nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    return BYTES[dtype] * math.prod(shape)


def save_file(tensors: Tensors, path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file of zeros, its data one long hole."""
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape) in sorted(tensors.items(), key=lambda item: (DTYPES.index(item[1][0]), item[0])):
        start, end = end, end + nbytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def save_set(tensors: Tensors, folder: Path, shard_bytes: int, digits: int = 5) -> list[Path]:
    """Consecutive shards, each closed before it would grow past `shard_bytes`, then the index. `digits`: of the total in names."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Tensors] = [{}]
    room = shard_bytes
    for name, (dtype, shape) in tensors.items():
        if nbytes(dtype, shape) > room:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = dtype, shape
        room -= nbytes(dtype, shape)
    paths, weight_map = [], {}
    for number, shard in enumerate(shards, start=1):
        paths.append(folder / f"model-{number:05}-of-{len(shards):0{digits}}.safetensors")
        save_file(shard, paths[-1], {"format": "pt"})
        weight_map |= dict.fromkeys(shard, paths[-1].name)
    total = sum(nbytes(dtype, shape) for dtype, shape in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    return [*paths, save_json(index, folder / "model.safetensors.index.json")]


def save_json(content: dict, path: Path) -> Path:
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
