"""A look at the bytes of tensors: whether the same tensor of several files is a copy or another slice.

The only place where readers look at the elements of tensors, and they look at a few thousand bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError

SAMPLE = 4_096  # bytes compared at the beginning of a tensor, and at its end


class Samples:
    """The first and the last bytes of tensors, to see whether they are equal in all files."""

    def __init__(self, table: TensorTable):
        self.table = table

    def equal(self, rows: Sequence[int]) -> bool:
        """Whether some tensors are equal as far as they are looked at."""
        first, *others = [self._sample(row) for row in rows]
        return first is not None and all(sample == first for sample in others)

    def same(self, rows: Sequence[int]) -> bool | None:
        """Whether some tensors are equal as far as they are looked at; None where that says nothing: all bytes are one, or unknown."""
        samples = [self._sample(row) for row in rows]
        if any(sample is None for sample in samples):
            return None
        if any(sample != samples[0] for sample in samples):
            return False
        return True if len(set(samples[0] or b"")) > 2 else None

    def _sample(self, row: int) -> bytes | None:
        storage, where = self.table.storages[row], self.table.storage
        if (
            storage < 0
            or where.starts[storage] < 0
            or where.stored[storage] != where.nbytes[storage]
            or row in self.table.parts
        ):
            return None
        nbytes = self.table.dtypes[row].nbytes(self.table[row].numel)
        if nbytes is None or self.table.strides[row] is not None:
            return None
        start = where.starts[storage] + self.table.offsets[row]
        with contextlib.suppress(ModelscopeError), open_window(self.table.filenames[where.files[storage]]) as window:
            length = min(SAMPLE, nbytes)
            return window.read(start, length) + window.read(start + nbytes - length, length)
        return None
