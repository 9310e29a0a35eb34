"""Sharded sets on disk: shards, and an index that agrees with them unless told otherwise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builders.safetensors_file import BITS, safetensors_bytes

Tensors = Mapping[str, tuple[str, Sequence[int]]]

TWO_SHARDS: dict[str, Tensors] = {
    "model-00001-of-00002.safetensors": {"embed.weight": ("F32", (10, 4)), "layers.0.weight": ("F32", (4, 4))},
    "model-00002-of-00002.safetensors": {"layers.1.weight": ("F32", (4, 4)), "norm.weight": ("F32", (4,))},
}


def sharded_folder(
    folder: Path,
    shards: Mapping[str, Tensors] | None = None,
    *,
    index: str | None = "model.safetensors.index.json",
    weight_map: Mapping[str, str] | None = None,
    total_size: Any = ...,
    metadata: Any = ...,
    without: Sequence[str] = (),
) -> Path:
    """Write a set. `weight_map`, `total_size` and `metadata` replace the true ones; shards in `without` are not written."""
    shards = TWO_SHARDS if shards is None else shards
    for file, tensors in shards.items():
        if file not in without:
            (folder / file).write_bytes(safetensors_bytes(tensors))
    if index is not None:
        true = {name: file for file, tensors in shards.items() for name in tensors}
        nbytes = sum(math.prod(shape) * BITS[dtype] // 8 for tensors in shards.values() for dtype, shape in tensors.values())
        size = {"total_size": nbytes if total_size is ... else total_size}
        content = {"metadata": size if metadata is ... else metadata, "weight_map": true if weight_map is None else weight_map}
        (folder / index).write_text(json.dumps(content))
    return folder
