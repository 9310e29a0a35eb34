"""DeepSpeed ZeRO checkpoints, made with torch as DeepSpeed lays them out, and merged again as its zero_to_fp32.py does.

The flat groups are laid out by the definition of ZeRO, independently of how we read them: stages 1 and 2 flatten a group, pad it
to a multiple of twice the ranks and cut it evenly; stage 3 cuts each parameter evenly, padding the last part. Facts:
deepspeed/utils/zero_to_fp32.py and deepspeed/runtime/zero/stage3.py of DeepSpeed 0.16.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

import torch

Groups = list[dict[str, torch.Tensor]]


def flat(tensors: list[torch.Tensor], align: int) -> torch.Tensor:
    """All elements one behind another, and zeros up to a multiple of `align`."""
    whole = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
    return torch.cat([whole, torch.zeros(-whole.numel() % align)])


def part(tensor: torch.Tensor, ranks: int, rank: int) -> torch.Tensor:
    """What stage 3 gives to a rank of one parameter."""
    length = math.ceil(tensor.numel() / ranks)
    whole = torch.cat([tensor.reshape(-1).float(), torch.zeros(length * ranks - tensor.numel())])
    return whole[rank * length : (rank + 1) * length]


def shapes_of(groups: Groups) -> list[OrderedDict]:
    return [OrderedDict((name, tensor.shape) for name, tensor in group.items()) for group in groups]


def model_states(module: dict, groups: Groups, buffers: list[str], **more) -> dict:
    """What is in a file of model states, as far as it matters."""
    return {
        "module": module,
        "buffer_names": buffers,
        "optimizer": None,
        "param_shapes": shapes_of(groups),
        "frozen_param_shapes": None,
        "shared_params": {},
        "frozen_param_fragments": None,
        "lr_scheduler": None,
        "dp_world_size": 2,
        "mp_world_size": 1,
        "ds_version": "0.16.4",
        "ds_config": {"train_batch_size": 8},
        "global_steps": 12,
        **more,
    }


def stage_2_files(folder: Path, groups: Groups, buffers: dict, ranks: int, stage: int = 2, prefix: str = "") -> None:
    """A checkpoint of stage 1 or 2; the moments of Adam are the parameters plus 1 and plus 2."""
    folder.mkdir(parents=True, exist_ok=True)
    module = {name: tensor.half() for group in groups for name, tensor in group.items()} | buffers
    torch.save(model_states(module, groups, list(buffers)), folder / "mp_rank_00_model_states.pt")
    whole = [[flat([tensor + add for tensor in group.values()], 2 * ranks) for group in groups] for add in (0, 1, 2)]
    for rank in range(ranks):
        cut = [[group.chunk(ranks)[rank].clone() for group in groups_] for groups_ in whole]
        state = {g: {"step": torch.tensor(12.0), "exp_avg": cut[1][g], "exp_avg_sq": cut[2][g]} for g in range(len(groups))}
        optimizer = {
            "loss_scaler": None,
            "zero_stage": stage,
            "partition_count": [ranks] * len(groups),
            "single_partition_of_fp32_groups": cut[0],
            "base_optimizer_state": {
                "state": state,
                "param_groups": [{"lr": 0.001, "params": [g]} for g in range(len(groups))],
            },
            "group_paddings": [0] * len(groups),
            "ds_version": "0.16.4",
        }
        name = f"{prefix}zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        torch.save({"optimizer_state_dict": optimizer, "ds_config": {}, "ds_version": "0.16.4"}, folder / name)


def stage_3_files(
    folder: Path, groups: Groups, buffers: dict, ranks: int, largest: int = 10**9, frozen: dict | None = None
) -> None:
    """A checkpoint of stage 3. Groups of a rank end where `largest` elements are full, in the middle of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    together = {name: tensor for group in groups for name, tensor in group.items()}
    for rank in range(ranks):
        module = {name: torch.empty(0, dtype=torch.half) for name in [*together, *(frozen or {})]} | buffers
        more = {}
        if frozen:
            more["frozen_param_shapes"] = OrderedDict((name, tensor.shape) for name, tensor in frozen.items())
            more["frozen_param_fragments"] = {name: part(tensor, ranks, rank).half() for name, tensor in frozen.items()}
        states = model_states(module, groups, list(buffers), **more)
        torch.save(states, folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        line = [torch.cat([part(tensor + add, ranks, rank) for tensor in together.values()]) for add in (0, 1, 2)]
        cut = [[piece.clone() for piece in one.split(largest)] for one in line]
        state = {g: {"step": 12, "exp_avg": cut[1][g], "exp_avg_sq": cut[2][g]} for g in range(len(cut[0]))}
        optimizer = {
            "zero_stage": 3,
            "partition_count": ranks,
            "fp32_flat_groups": cut[0],
            "optimizer_state_dict": {"state": state, "param_groups": [{"lr": 0.001, "params": list(state)}]},
        }
        torch.save({"optimizer_state_dict": optimizer}, folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
