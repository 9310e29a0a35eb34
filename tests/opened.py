"""Open bytes as a file of a given name."""

from __future__ import annotations

from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window


def opened(data: bytes, name: str = "model.pt", *, limits: Limits = DEFAULT_LIMITS, lenient: bool = False) -> Checkpoint:
    """The checkpoint in `data`."""
    return read_window(MemoryWindow(data, name), limits, lenient=lenient)


def codes(checkpoint: Checkpoint) -> dict[str, str]:
    """The notes of a checkpoint: code → severity."""
    return {note.code: note.severity for note in checkpoint.notes}


def facts(checkpoint: Checkpoint) -> dict[str, tuple[Any, ...]]:
    """name → (shape, dtype, storage, offset in bytes, strides) of every tensor."""
    return {t.name: (t.shape, t.dtype.name, t.storage, t.offset, t.strides) for t in checkpoint.tensors}
