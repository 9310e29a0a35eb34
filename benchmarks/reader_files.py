"""Make a file of every format that is read, each with many small tensors, by the program that writes it.

`make(folder)` writes what is not there yet; the formats nobody writes any more come from the builders of the tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
LAYERS = 1_000  # of programs, which have a graph beside their tensors: a weight and a bias each
MANY = 20_000  # tensors of everything else
SHAPE = (4, 4)


def state(count: int = MANY) -> dict[str, Any]:
    import torch

    return {f"layers.{number // 2}.{('weight', 'bias')[number % 2]}": torch.zeros(SHAPE) for number in range(count)}


def network() -> Any:
    import torch

    return torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(LAYERS)])


def torch_zip(path: Path) -> None:
    import torch

    torch.save(state(), path)


def torch_legacy(path: Path) -> None:
    import torch

    torch.save(state(), path, _use_new_zipfile_serialization=False)


def bare_pickle(path: Path) -> None:
    """Tensors in a plain pickle: each is a file of its own inside."""
    import pickle

    path.write_bytes(pickle.dumps(state(2_000)))


def safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state(), path)


def sharded(path: Path) -> None:
    """Eight shards and their index."""
    import json

    from safetensors.torch import save_file

    path.mkdir()
    rows = list(state().items())
    listed = {}
    for number in range(8):
        name = f"model-{number + 1:05}-of-00008.safetensors"
        part = dict(rows[number * len(rows) // 8 : (number + 1) * len(rows) // 8])
        save_file(part, path / name)
        listed.update(dict.fromkeys(part, name))
    index = {"metadata": {"total_size": len(rows) * 64}, "weight_map": listed}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def gguf(path: Path) -> None:
    import numpy
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    for number in range(MANY):
        writer.add_tensor(f"blk.{number // 2}.{('attn_q', 'attn_k')[number % 2]}.weight", numpy.zeros(SHAPE, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def distributed(path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    dcp.save(state(), checkpoint_id=path, no_dist=True)


def torchscript(path: Path) -> None:
    import torch

    torch.jit.script(network()).save(str(path))


def exported(path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(network(), (torch.zeros(1, 4),)), path)


def package(path: Path) -> None:
    from torch.package import PackageExporter

    with PackageExporter(str(path)) as archive:
        archive.extern(["torch.**", "collections"])
        archive.save_pickle("model", "model.pkl", state())


def built(name: str) -> Callable[[Path], None]:
    """From the builders of the tests: a file, or a folder of them."""

    def write(path: Path) -> None:
        sys.path.insert(0, str(REPOSITORY))
        made = BUILT[name]()
        if isinstance(made, bytes):
            path.write_bytes(made)
        else:
            path.mkdir()
            for inner, data in made.items():
                (path / inner).write_bytes(data)

    return write


def old_tar() -> bytes:
    from tests.builders.pickle_code import persistent
    from tests.builders.tar_file import OldTensor, tar_bytes, torch_tar_entries
    from tests.builders.torch_code import ordered

    root = ordered({f"layers.{key}.weight": persistent(str(key)) for key in range(MANY)})
    tensors = {key: OldTensor(key, SHAPE, (4, 1)) for key in range(MANY)}
    storages = {key: ("FloatStorage", 16, bytes(64)) for key in range(MANY)}
    return tar_bytes(torch_tar_entries(root, storages, tensors))


def names(count: int) -> dict[str, tuple[int, ...]]:
    return {f"layers.{number}.weight": SHAPE for number in range(count)}


def tensor_parallel() -> dict[str, bytes]:
    from tests.builders.sets import llama_slices

    shapes = {f"layers.{number}.attention.wq.weight": SHAPE for number in range(MANY // 4)}
    return llama_slices(4, shapes=shapes)


def zero() -> dict[str, bytes]:
    from tests.builders.sets import zero_files

    return zero_files([names(MANY // 4)], ranks=2)


BUILT: dict[str, Callable[[], bytes | dict[str, bytes]]] = {
    "tar": old_tar,
    "tensor-parallel": tensor_parallel,
    "deepspeed": zero,
}
FILES: dict[str, Callable[[Path], None]] = {
    "state.safetensors": safetensors,
    "sharded": sharded,
    "state.pt": torch_zip,
    "legacy.pt": torch_legacy,
    "bare.pkl": bare_pickle,
    "model.gguf": gguf,
    "dcp": distributed,
    "tensor_parallel": built("tensor-parallel"),
    "deepspeed": built("deepspeed"),
    "scripted.pt": torchscript,
    "program.pt2": exported,
    "package.pt": package,
    "old.tar": built("tar"),
}


def make(folder: Path) -> None:
    """Write what is missing. Raises ImportError where a program that writes is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in FILES.items():
        if not (folder / name).exists():
            print(f"making {name}", file=sys.stderr, flush=True)
            unfinished = folder / f"unfinished-{name}"
            write(unfinished)
            os.replace(unfinished, folder / name)
