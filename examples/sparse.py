"""Full-size model files that take almost no disk: the headers are real, the weights are zeros that are never stored.

A file system keeps no blocks for a stretch that was skipped with `seek` or `truncate`; reading there gives zeros. So a
13 GB file of zero weights has its full size and its full layout, opens everywhere, and occupies a few hundred kilobytes
(`ls -l` shows the one, `du` the other). Copy such files with `cp --sparse=always`, or they grow to their full size.
"""

import io
import json
import math
from pathlib import Path

import numpy as np
import torch

Shapes = dict[str, tuple[int, ...]]


class SparseFile(io.FileIO):
    """A file to write to, in which long runs of zeros become holes."""

    def write(self, data) -> int:
        if len(data) >= 4096 and not np.frombuffer(data, np.uint8).any():
            self.seek(len(data), io.SEEK_CUR)
            return len(data)
        return super().write(data)


def zeros(shapes: Shapes) -> dict[str, torch.Tensor]:
    """A float16 state_dict of zeros. NumPy leaves fresh zero pages to the operating system, so memory stays free too."""
    return {name: torch.from_numpy(np.zeros(shape, np.float16)) for name, shape in shapes.items()}


def save_bin(state_dict: dict[str, torch.Tensor], path: Path) -> None:
    """What torch.save writes, every byte of it, checksums included; only the zeros are skipped."""
    with SparseFile(path, "w") as file:
        torch.save(state_dict, file)


def save_safetensors(shapes: Shapes, path: Path) -> None:
    """A safetensors file of float16 zeros: 8 bytes of header length, the JSON header, then the data, here one long hole."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in sorted(shapes.items()):  # the order that the safetensors library gives tensors of one dtype
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
