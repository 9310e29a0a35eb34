"""Arguments for described inputs: tensors, on whatever device or under whatever mode is active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelscope_cli.bridges.models.input_specs import INTEGERS, PLAIN, InputSpec

ANY = 2  # integers are below this where nothing is said: rows that every embedding has


def draw_inputs(specs: Sequence[InputSpec]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(positional arguments, keyword arguments)."""
    positional = tuple(tensor(spec) for spec in specs if spec.name is None)
    return positional, {spec.name: tensor(spec) for spec in specs if spec.name is not None}


def tensor(spec: InputSpec) -> Any:
    """One tensor as described, or a plain value as it is."""
    if spec.dtype == PLAIN:
        return spec.value
    import torch

    dtype = getattr(torch, spec.dtype)
    if spec.dtype in INTEGERS:
        return torch.randint(0, ANY if spec.below is None else spec.below, spec.shape, dtype=dtype)
    if spec.dtype == "bool":
        return torch.ones(spec.shape, dtype=dtype)
    return torch.randn(spec.shape, dtype=dtype)
