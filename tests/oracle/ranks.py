"""Distributed checkpoints as torch writes them from several ranks: a program, run once, with a process a rank.

    python -m tests.oracle.ranks FOLDER

makes FOLDER/plain, grid, fsdp, threads … each a checkpoint, over a gloo process group on the loopback interface.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

RANKS = 4


class Block(nn.Module):
    """A layer of a small decoder."""

    def __init__(self, width: int):
        super().__init__()
        self.attention = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.attention(self.norm(x))[..., : x.shape[-1]])


def network(width: int = 24) -> nn.Module:
    """Layers whose first dimension does not divide by the ranks, and a buffer."""
    model = nn.Sequential(nn.Embedding(101, width), Block(width), Block(width), nn.Linear(width, 101))
    model.register_buffer("mask", torch.ones(5, dtype=torch.bool))
    return model


def work(rank: int, folder: str) -> None:
    """What each rank does."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=os.environ.get("MASTER_PORT", "29555"))
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    root = Path(folder)
    torch.manual_seed(3)
    line = init_device_mesh("cpu", (RANKS,))
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))

    def cut(shape, placements, mesh=line, dtype=torch.float32):
        whole = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
        return distribute_tensor(whole, mesh, placements)

    plain = {
        "rows": cut((101, 16), [Shard(0)]),
        "columns": cut((8, 30), [Shard(1)], dtype=torch.bfloat16),
        "few": cut((3, 4), [Shard(0)]),  # a rank has nothing of it
        "same": cut((16,), [Replicate()]),
        "nested": {"scalar": torch.tensor(7.5), "list": [1, 2, 3], "deep": {"x": torch.zeros(2, 0)}},
        "step": 12,
        "name": "a run",
    }
    dcp.save(plain, checkpoint_id=root / "plain")
    grid = {
        "square": cut((10, 14), [Shard(0), Shard(1)], square),
        "twice": cut((37, 3), [Shard(0), Shard(0)], square),
        "half": cut((6, 6), [Replicate(), Shard(1)], square, torch.float64),
    }
    dcp.save({"model": grid}, checkpoint_id=root / "grid")
    writer = dcp.FileSystemWriter(root / "threads", thread_count=3)
    dcp.save({"model": {**grid, **plain}}, storage_writer=writer)
    writer = dcp.FileSystemWriter(root / "single", single_file_per_rank=False)
    dcp.save({"model": grid}, storage_writer=writer)

    model = network()
    for layer in model:
        fully_shard(layer, mesh=line)
    fully_shard(model, mesh=line)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.arange(6)).sum().backward()
    optimizer.step()
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optim": state, "epoch": 3}, checkpoint_id=root / "fsdp")
    local = dict(weights)
    torch.save(local, root / f"fsdp_rank_{rank}.pt")
    hf = dcp.HuggingFaceStorageWriter(str(root / "huggingface"), save_distributed=True)
    dcp.save({"a.weight": plain["rows"], "b.weight": grid["square"]}, storage_writer=hf)
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    folder = sys.argv[1]
    Path(folder).mkdir(parents=True, exist_ok=True)
    mp.start_processes(work, args=(folder,), nprocs=RANKS, start_method="fork")


if __name__ == "__main__":
    main()
