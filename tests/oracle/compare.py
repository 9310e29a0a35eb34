"""Hold a checkpoint as we read it against the tensors that torch made of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import modelscope_cli
from modelscope_cli.core.checkpoint import Checkpoint


def named_tensors(thing: Any, path: str = "") -> dict[str, tuple[torch.Tensor, str | None]]:
    """name → (tensor, recorded role) of everything in dictionaries, lists, tuples and modules, keys joined with dots."""
    if isinstance(thing, torch.Tensor):
        return {path: (thing, "parameter" if isinstance(thing, torch.nn.Parameter) else None)}
    found: dict[str, tuple[torch.Tensor, str | None]] = {}
    if isinstance(thing, torch.nn.Module):
        for members, role in ((thing._parameters, "parameter"), (thing._buffers, "buffer"), (thing._modules, None)):
            for key, member in members.items():
                for name, (tensor, recorded) in named_tensors(member, _joined(path, key)).items():
                    found[name] = (tensor, role or recorded)
    elif isinstance(thing, dict):
        for key, member in thing.items():
            found |= named_tensors(member, _joined(path, key))
    elif isinstance(thing, list | tuple):
        for number, member in enumerate(thing):
            found |= named_tensors(member, _joined(path, number))
    return found


def _joined(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def strides_of(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """None for a contiguous tensor: strides of extents of one, and of nothing, do not matter."""
    return None if tensor.is_contiguous() else tensor.stride()


def assert_same(path: Path, loaded: Any, *, data: bool = True) -> Checkpoint:
    """Same names in the same order, shapes, dtypes, strides, offsets, roles, sharing and bytes."""
    checkpoint = modelscope_cli.read(str(path))
    expected = named_tensors(loaded)
    assert [t.name for t in checkpoint.tensors] == list(expected)
    raw = path.read_bytes()
    places: dict[int, tuple[int | None, ...]] = {}
    for info, (tensor, role) in zip(checkpoint.tensors, expected.values(), strict=True):
        assert info.shape == tuple(tensor.shape), info.name
        assert f"torch.{info.dtype.name}" == str(tensor.dtype), info.name
        assert info.numel == tensor.numel(), info.name
        assert info.role == role, info.name
        if tensor.layout is not torch.strided or tensor.is_meta:
            continue
        assert info.dtype.bits == tensor.element_size() * 8, info.name
        assert info.offset == tensor.storage_offset() * tensor.element_size(), info.name
        if tensor.numel():
            assert info.strides == strides_of(tensor), info.name
        storage = tensor.untyped_storage()
        if storage.nbytes():
            assert places.setdefault(storage.data_ptr(), (info.start, info.stop)) == (info.start, info.stop), info.name
            assert info.stop - info.start == storage.nbytes(), info.name
            if data:
                assert raw[info.start : info.stop] == bytes(storage.tolist()), info.name
    assert len(set(places.values())) == len(places)
    assert checkpoint.elements == sum(tensor.numel() for tensor, _ in expected.values())
    assert sum(checkpoint.sections().values()) == len(raw)
    return checkpoint


def saved(thing: Any, path: Path, **options: Any) -> Any:
    """Save with torch, and load it again. The old format writes newer dtypes but does not read them: then the thing itself."""
    torch.save(thing, path, **options)
    try:
        return torch.load(path, weights_only=False)
    except AttributeError:
        return thing
