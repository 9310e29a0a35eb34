"""Distributed checkpoints in safetensors: what each rank has of every tensor, and where it begins.

    shard-00001-model-00001-of-00001.safetensors    from rank 1: {"__metadata__": {"DCP_SHARDING_INFO": JSON, …}, …}
    shard-00002-model-00001-of-00001.safetensors    {name: {"saved_offsets": [26, 0]}, …}

No index tells how large a tensor is: it reaches as far as its pieces do. Facts: torch/distributed/checkpoint/hf_storage.py
(HuggingFaceStorageWriter with save_distributed, HuggingFaceStorageReader.read_metadata), 2.8 to 2.13.
"""

from __future__ import annotations

import json
import os
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape
from modelscope_cli.formats.parts import Member, OpenPart, Parts, Step
from modelscope_cli.formats.pieces import Fitting
from modelscope_cli.formats.target import Target

INFO = "DCP_SHARDING_INFO"
LARGEST = 1 << 62


def read_set(target: Target, limits: Limits, open_part: OpenPart, step: Step | None = None) -> Checkpoint:
    """One checkpoint out of the files of all ranks. What is missing or contradicts itself is a note of severity error."""
    parts = Parts(target.path, target.shards or (), open_part, limits, step)
    tensors = parts.merged.tensors
    pieces: dict[str, list[Member]] = {}
    for number, span in enumerate(parts.spans):
        info = sharding(parts.metadata[number].get(INFO))
        strange = [tensors.names[row] for row in span if origin_of(info, tensors.names[row], tensors.shapes[row]) is None]
        if strange:
            said = f"it does not say where its pieces of {len(strange):,} tensors begin ({strange[0]:.200}, …): taken for the beginning"
            parts.note("dcp-absent", "error", os.path.basename(parts.paths[number]), said)
        for row in span:
            name, shape = tensors.names[row], tensors.shapes[row]
            pieces.setdefault(name, []).append((row, origin_of(info, name, shape) or (0,) * len(shape)))
    fitting = Fitting()
    for name, members in pieces.items():
        _join(parts, fitting, name, members)
    parts.merged.metadata.pop(INFO, None)
    return parts.finish("dcp-safetensors")


def _join(parts: Parts, fitting: Fitting, name: str, members: list[Member]) -> None:
    tensors = parts.merged.tensors
    shapes = [tensors.shapes[row] for row, _ in members]
    if len({len(shape) for shape in shapes}) > 1 or len({tensors.dtypes[row] for row, _ in members}) > 1:
        parts.note(
            "dcp-disagrees", "error", name, "its pieces are not of one dtype and number of dimensions: only the first is shown"
        )
        members, shapes = members[:1], shapes[:1]
    boxes = [(origin or (), shape) for (_, origin), shape in zip(members, shapes, strict=True)]
    whole = tuple([max(start + extent for start, extent in along) for along in _by_axis(boxes)])
    if len(members) == 1 and whole == shapes[0]:
        parts.copy(members[0][0], name, "")
        return
    fit = fitting.fit(whole, boxes)
    if fit.missing:
        parts.note("dcp-hole", "error", name, f"{fit.missing:,} of its elements are in no file")
    if fit.twice:
        parts.note("dcp-twice", "error", name, f"{fit.twice:,} of its elements are in more than one file")
    parts.join(name, whole, members, "")


def _by_axis(boxes: list[tuple[Shape, Shape]]) -> list[list[tuple[int, int]]]:
    """(start, extent) of every box, axis by axis."""
    return [[(origin[axis], shape[axis]) for origin, shape in boxes] for axis in range(len(boxes[0][1]))]


def sharding(text: Any) -> dict[str, Any]:
    """The JSON of where pieces begin; anything else says nothing."""
    try:
        found = json.loads(text) if type(text) is str else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def origin_of(info: dict[str, Any], name: str, shape: Shape) -> Shape | None:
    """Where the piece of a tensor begins, or None where that is not said as it should be."""
    entry = info.get(name)
    origin = entry.get("saved_offsets") if isinstance(entry, dict) else None
    if not isinstance(origin, list) or len(origin) != len(shape):
        return None
    return tuple(origin) if all(type(place) is int and 0 <= place < LARGEST for place in origin) else None
