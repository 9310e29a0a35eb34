"""Sets of files that are one checkpoint only together: tensor-parallel slices, DeepSpeed's files, distributed safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.builders.pickle_code import Code, call
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import ITEM_BYTES, ordered, tensor
from tests.builders.torch_file import torch_zip_bytes

Shape = tuple[int, ...]


def state_file(
    shapes: Mapping[str, Shape],
    cls: str = "FloatStorage",
    *,
    fill: int = 1,
    around: Mapping[str, Any] | None = None,
    key: str = "model",
) -> bytes:
    """A state_dict, alone or under `key` of a dictionary of other things. Bytes count up from `fill`, so that files differ."""
    storages: dict[str, bytes | int] = {}
    entries: dict[str, Code] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        length = math.prod(shape) * ITEM_BYTES[cls]
        same = name.endswith(("norm.weight", "freqs", "gate.weight"))
        storages[str(number)] = bytes(((3 if same else fill) + at) % 251 for at in range(length))
        entries[name] = tensor(str(number), shape, cls)
    root: Any = ordered(entries) if around is None else {key: ordered(entries), **around}
    return torch_zip_bytes(root, storages)


LLAMA: dict[str, Shape] = {
    "tok_embeddings.weight": (10, 4),
    "layers.0.attention.wq.weight": (4, 8),
    "layers.0.attention.wo.weight": (8, 4),
    "layers.0.feed_forward.w1.weight": (6, 8),
    "layers.0.feed_forward.w2.weight": (8, 6),
    "layers.0.feed_forward.gate.weight": (3, 8),
    "layers.0.attention_norm.weight": (8,),
    "norm.weight": (8,),
    "output.weight": (5, 8),
    "rope.freqs": (2,),
}


def llama_slices(
    files: int = 2, *, params: Mapping[str, Any] | None = None, shapes: Mapping[str, Shape] = LLAMA
) -> dict[str, bytes]:
    """consolidated.00.pth and so on: a hidden size of 8, cut by columns (embeddings, wo, w2) and by rows."""
    made = {f"consolidated.{rank:02}.pth": state_file(shapes, fill=rank * 7 + 1) for rank in range(files)}
    return made if params is None else {**made, "params.json": json.dumps(params).encode()}


def zero_files(
    shapes: Sequence[Mapping[str, Shape]], ranks: int = 2, *, stage: int = 2, about: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """DeepSpeed's files: 16-bit weights and flat groups of stage 1 or 2, or the parts of stage 3. The elements are not looked at."""
    together = {name: shape for group in shapes for name, shape in group.items()}
    listed = [ordered({name: call("torch.Size", shape) for name, shape in group.items()}) for group in shapes]
    states = {"buffer_names": [], "param_shapes": listed, "shared_params": {}, "ds_version": "0.16.4", **(about or {})}
    if stage < 3:
        files = {"mp_rank_00_model_states.pt": state_file(together, "HalfStorage", around=states, key="module")}
        sizes = [-(-sum(math.prod(shape) for shape in group.values()) // (2 * ranks)) * 2 for group in shapes]
        name = "single_partition_of_fp32_groups"
    else:
        empty = dict.fromkeys(together, (0,))
        files = {
            f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt": state_file(empty, "HalfStorage", around=states, key="module")
            for rank in range(ranks)
        }
        sizes = [sum(-(-math.prod(shape) // ranks) for shape in together.values())]
        name = "fp32_flat_groups"
    for rank in range(ranks):
        storages = {str(number): bytes([rank + 1]) * (4 * size) for number, size in enumerate(sizes * 2)}
        groups = [tensor(str(number), (size,)) for number, size in enumerate(sizes)]
        moments = {number: {"exp_avg": tensor(str(len(sizes) + number), (size,))} for number, size in enumerate(sizes)}
        state = {
            "zero_stage": stage,
            "partition_count": ranks,
            name: groups,
            "base_optimizer_state": {"state": moments, "param_groups": [{"lr": 0.5}]},
        }
        files[f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"] = torch_zip_bytes({"optimizer_state_dict": state}, storages)
    return files


ZERO_SHAPES: list[dict[str, Shape]] = [
    {"embed.weight": (5, 3), "layers.0.weight": (3, 3), "layers.1.weight": (3, 3)},
    {"layers.0.bias": (3,), "layers.1.bias": (3,)},
]


def distributed_safetensors(pieces: Sequence[Mapping[str, tuple[Sequence[int], Shape]]]) -> dict[str, bytes]:
    """A file for each rank: name → (where the piece begins, its shape)."""
    files = {}
    for rank, held in enumerate(pieces, 1):
        info = json.dumps({name: {"saved_offsets": list(origin)} for name, (origin, _) in held.items()})
        tensors = {name: ("F32", shape) for name, (_, shape) in held.items()}
        files[f"shard-{rank:05}-model-00001-of-00001.safetensors"] = safetensors_bytes(
            tensors, {"DCP_SHARDING_INFO": info, "format": "pt"}
        )
    return files


ROW_PIECES: list[dict[str, tuple[Sequence[int], Shape]]] = [
    {"a.weight": ((0, 0), (3, 4)), "norm.weight": ((0,), (4,))},
    {"a.weight": ((3, 0), (2, 4))},
]
