"""Tensors put together from where we say that their pieces lie, to be held against those of the framework."""

from __future__ import annotations

from pathlib import Path

import torch

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.tensor import View


def assembled(checkpoint: Checkpoint, index: int) -> torch.Tensor:
    """The whole tensor, from the bytes of its pieces; elements that no piece has stay at 77."""
    table = checkpoint.tensors
    dtype = getattr(torch, table.dtypes[index].name)
    whole = torch.full(table.shapes[index], 77).to(dtype)
    for view in table.views(index):
        if view.storage < 0:
            continue
        piece = loaded(checkpoint, view, dtype)
        if view.origin is None:
            return piece if index not in table.parts else whole
        if len(view.origin) != len(whole.shape):
            whole.view(-1)[view.origin[0] : view.origin[0] + piece.numel()] = piece.reshape(-1)
            continue
        place = tuple(slice(start, start + extent) for start, extent in zip(view.origin, view.shape, strict=True))
        whole[place] = piece
    return whole


def loaded(checkpoint: Checkpoint, view: View, dtype: torch.dtype) -> torch.Tensor:
    """One view, read from its file."""
    where = checkpoint.tensors.storage
    path = Path(checkpoint.tensors.filenames[where.files[view.storage]])
    start = where.starts[view.storage]
    raw = bytearray(path.read_bytes()[start : start + where.stored[view.storage]])
    if not raw:
        return torch.empty(view.shape, dtype=dtype)
    flat = torch.frombuffer(raw, dtype=dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    strides = view.strides if view.strides is not None else torch.empty(view.shape, device="meta").stride()
    return flat.as_strided(view.shape, strides, view.offset // size)


def same_tensor(checkpoint: Checkpoint, index: int, expected: torch.Tensor) -> bool:
    """Whether dtype, shape and every element are equal."""
    found = assembled(checkpoint, index)
    return found.dtype == expected.dtype and found.shape == expected.shape and torch.equal(found, expected)
