"""What is raced against what, and how far the tool aims to get: one row a model, one line an opponent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MIB = 1 << 20


class Opponent(NamedTuple):
    """`command` makes the command line from the model's path and the folder of the peers' programs.

    `aim` is the largest ratio ours / theirs that we want; None where the figure is for information.
    `printed`: compare with the seconds that the command prints last, not with the whole of its process.
    """

    name: str
    command: Callable[[Path, Path], list[str]]
    aim: float | None = None
    printed: bool = False


class Case(NamedTuple):
    """`path` is relative to the folder of models, `peak_aim` in bytes."""

    name: str
    title: str
    path: str
    opponents: tuple[Opponent, ...]
    peak_aim: int | None = None


def shards(path: Path) -> list[str]:
    return [str(path)] if path.is_file() else [str(shard) for shard in sorted(path.glob("*.safetensors"))]


def index(path: Path) -> str:
    return str(path if path.is_file() else path / "model.safetensors.index.json")


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / name), *arguments]


def null(aim: float | None = None) -> Opponent:
    return Opponent("null command", lambda path, peers: script("null_command.py"), aim)


def torch_walk(aim: float | None = None) -> Opponent:
    return Opponent("torch.load(mmap) walk", lambda path, peers: script("torch_walk.py", str(path)), aim)


def torch_load(aim: float | None = None) -> Opponent:
    command = partial(script, "torch_walk.py", "--no-mmap")
    return Opponent("torch.load alone, no import", lambda path, peers: command(str(path)), aim, printed=True)


def safe_open(aim: float | None = None) -> Opponent:
    return Opponent("safe_open loop", lambda path, peers: script("safe_open_loop.py", *shards(path)), aim)


MODELINFO = Opponent("modelinfo", lambda path, peers: [str(peers / "modelinfo"), index(path)])
SFT = Opponent("sft info", lambda path, peers: [str(peers / "sft"), "info", str(path)])
SFT_SET = Opponent("sft ls", lambda path, peers: [str(peers / "sft"), "ls", *shards(path)])
SAFETENSORS_PRINT = Opponent("safetensors-print", lambda path, peers: [str(peers / "safetensors-print"), str(path)])

ONE_FILE = (MODELINFO, SFT, SAFETENSORS_PRINT)
A_SET = (MODELINFO, SFT_SET)  # safetensors-print takes one file

CASES = (
    Case("7b-bin", "Llama-2-7B .bin", "llama-2-7b.bin", (null(1.7), torch_walk(1 / 6), MODELINFO), 45 * MIB),
    Case("7b-safetensors", "Llama-2-7B safetensors", "llama-2-7b.safetensors", (null(1.7), safe_open(), *ONE_FILE), 45 * MIB),
    Case("70b", "Llama-2-70B, 15 shards", "llama-2-70b", (null(), safe_open(), *A_SET)),
    Case("deepseek", "DeepSeek-V3, 90,427 tensors, 158 shards", "deepseek-v3", (null(), safe_open(2.5), *A_SET), 140 * MIB),
    Case("many90k", "90,000 tensors, one safetensors", "many90k.safetensors", (null(), safe_open(), *ONE_FILE)),
    Case("many-pt", "20,000 tensors, one .pt", "many.pt", (null(), torch_load(0.5), torch_walk(), MODELINFO), 120 * MIB),
)
