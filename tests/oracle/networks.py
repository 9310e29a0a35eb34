"""Small networks and what is saved of them."""

from __future__ import annotations

import collections
from typing import Any

import torch
from torch import nn

ALL_DTYPES = sorted(
    {thing for thing in vars(torch).values() if isinstance(thing, torch.dtype)},
    key=str,
)
PLAIN_DTYPES = [dtype for dtype in ALL_DTYPES if not str(dtype).startswith(("torch.q", "torch.bits", "torch.int", "torch.uint"))] + [
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip


class Tied(nn.Module):
    """A head that is the embedding, a recurrent layer, attention, dropout, and a buffer that is not saved with the state."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True)
        self.attention = nn.MultiheadAttention(8, 2)
        self.body = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.1), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 8, bias=False))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2))
        self.scales = nn.ParameterList([nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(()))])
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.ones(4, 4), persistent=False)
        self.register_parameter("absent", None)


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "Adam amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "RMSprop": lambda p: torch.optim.RMSprop(p),
    "Adagrad": lambda p: torch.optim.Adagrad(p),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "Adamax": lambda p: torch.optim.Adamax(p),
    "NAdam": lambda p: torch.optim.NAdam(p),
    "ASGD": lambda p: torch.optim.ASGD(p),
    "Rprop": lambda p: torch.optim.Rprop(p),
    "Adafactor": lambda p: torch.optim.Adafactor(p),
}


def training_checkpoint(optimizer: str) -> dict[str, Any]:
    """Weights, optimizer state after a step, schedule, history."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    made = OPTIMIZERS[optimizer](model.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(made, 3)
    model(torch.randn(5, 3)).sum().backward()
    made.step()
    return {
        "model": model.state_dict(),
        "optimizer": made.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": 3,
        "history": [{"loss": torch.tensor(0.5)}, {"loss": torch.tensor(0.25)}],
        "best": (torch.tensor([1, 2]), None, 0.5),
        "rng": torch.get_rng_state(),
        "counts": collections.Counter("abca"),
        "defaults": collections.defaultdict(list, a=[torch.zeros(2)]),
    }


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros, of dtypes too that cannot be filled."""
    size = torch.empty((), dtype=dtype).element_size()
    return torch.zeros(*shape[:-1], shape[-1] * size, dtype=torch.uint8).view(dtype) if shape else torch.empty((), dtype=dtype)


def views() -> dict[str, torch.Tensor]:
    """Views of one storage of every shape."""
    base = torch.arange(60.0).reshape(5, 12)
    return {
        "base": base,
        "transposed": base.t(),
        "row": base[2],
        "column": base[:, 3],
        "block": base[1:4, 2:9:3],
        "element": base[1, 1],
        "expanded": base[0:1].expand(7, 12),
        "unfolded": base[0].unfold(0, 4, 2),
        "diagonal": base.diagonal(),
        "empty": base[5:],
        "single": base[4:5, 11:12],
        "last": base[:, :, None, None].contiguous(memory_format=torch.channels_last),
    }
