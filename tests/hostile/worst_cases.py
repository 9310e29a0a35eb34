"""The most that the limits let through, and what every command makes of it: seconds of the processor and peak memory.

python -m tests.hostile.worst_cases              all files with all commands: an hour on two cores
python -m tests.hostile.worst_cases ragged json  the files and commands whose names have one of these words in them

Each file is well-formed and within every limit: as many tensors as there may be, names that have nothing in common, ten thousand
shards, a thousand dimensions, names of a megabyte. What no limit bounds shows here.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import string
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.builders.pickle_code import call, pickled
from tests.builders.safetensors_file import raw_bytes, safetensors_bytes
from tests.builders.torch_code import module, ordered, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.hostile import worst_models

MEASURE = Path(__file__).with_name("measure.py")
MOST_SECONDS, MOST_BYTES = 10, 512 << 20
MANY = 290_000
SHARDS = 10_000


class Measured(NamedTuple):
    """How a command ended: exit code, seconds of the processor, peak of its memory in bytes, what it said on stderr."""

    code: int | None
    cpu: float
    peak: int
    err: str

    @property
    def within(self) -> bool:
        return self.cpu < MOST_SECONDS and self.peak < MOST_BYTES


def _header(names: Iterable[str], shape: Callable[[int], Sequence[int]]) -> bytes:
    """A safetensors file of bytes."""
    entries, position = [], 0
    for number, name in enumerate(names):
        extents = shape(number)
        stop = position + math.prod(extents)
        listed = ",".join(map(str, extents))
        entries.append(f'"{name}":{{"dtype":"U8","shape":[{listed}],"data_offsets":[{position},{stop}]}}')
        position = stop
    return raw_bytes("{" + ",".join(entries) + "}", position)


def _model(named: worst_models.Named) -> bytes:
    """A safetensors file of tensors by name and shape."""
    tensors = dict(named)
    shapes = list(tensors.values())
    return _header(tensors, shapes.__getitem__)


def _words(seed: int) -> Callable[[], str]:
    chosen = random.Random(seed)
    return lambda: "".join(chosen.choices(string.ascii_lowercase, k=4))


def _ragged() -> bytes:
    """Modules that have nothing in common: more than a million of them."""
    word = _words(1)
    return _header((f"{word()}.{word()}.{word()}.{word()}.{n:x}" for n in range(MANY)), lambda n: (1 + n % 13,))


def _unequal() -> bytes:
    """Layers by the thousand, none like another."""
    word = _words(2)
    return _header((f"l.{n // 10}.{word()}{n % 10}.weight" for n in range(MANY)), lambda n: (1 + n % 7, 1 + n // 7 % 5))


def _experts() -> bytes:
    """A mixture of experts three times the size of the largest."""
    names = (
        f"m.layers.{layer}.mlp.experts.{expert}.{part}.weight" for layer in range(250) for expert in range(400) for part in ("up", "gate", "down")
    )  # fmt: skip
    return _header(names, lambda n: (1, 2))


def _gguf(tensors: int, keys: int, characters: int) -> bytes:
    parts = [b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)]
    for number in range(keys):
        key = f"k{number}".encode()
        parts.append(struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, characters) + b"x" * characters)
    for number in range(tensors):
        name = f"blk.{number // 10}.w{number % 10}.weight".encode()
        parts.append(struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 8, 24, number * 32))
    head = b"".join(parts)
    return head + bytes(-len(head) % 32) + bytes(tensors * 32)


def _state_dict(count: int) -> Any:
    return ordered({f"layers.{n // 10}.w{n % 10}.weight": tensor(str(n), (2,)) for n in range(count)})


def _training(count: int) -> Any:
    state = {n: {"exp_avg": tensor(f"a{n}", (2,)), "exp_avg_sq": tensor(f"b{n}", (2,)), "step": n} for n in range(count)}
    model = ordered({f"l.{n}.weight": tensor(f"w{n}", (2,)) for n in range(count)})
    return {"model": model, "optimizer": {"state": state, "param_groups": [{"lr": 0.1, "params": list(range(count))}]}}


def _shards(folder: Path) -> None:
    """A set of as many files as there may be."""
    weight_map = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        held = {f"layers.{number}.w{place}": ("U8", (1 + place,)) for place in range(20)}
        (folder / name).write_bytes(safetensors_bytes(held))
        weight_map.update(dict.fromkeys(held, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _texts(folder: Path) -> None:
    """Shards whose metadata has nothing in common, two gigabytes of it."""
    data = {}
    for number in range(64):
        name = f"model-{number + 1:05}-of-00064.safetensors"
        metadata = {f"{number}.{key}": "y" * 1_000_000 for key in range(30)}
        (folder / name).write_bytes(safetensors_bytes({f"w{number}": ("U8", (1,))}, metadata))
        data[f"w{number}"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": data}))


def _near(*counts: int) -> bytes:
    """Layers that are nearly equal."""
    chosen = random.Random(3)
    names = (f"m.layers.{'.'.join(map(str, each))}.weight" for each in itertools.product(*map(range, counts)))
    return _header(names, lambda n: (8, 8 if chosen.random() < 0.9 else 7))


FILES: dict[str, Callable[[], bytes]] = {
    "flat.safetensors": lambda: _header((f"t{n:x}" for n in range(300_000)), lambda n: (0,)),
    "ragged.safetensors": _ragged,
    "unequal.safetensors": _unequal,
    "experts.safetensors": _experts,
    "quantised.safetensors": lambda: _header((f"m.layers.{n // 5_400}.e.{n // 18}.{'ugd'[n // 6 % 3]}.{part}" for n, part in
        enumerate(("qweight", "qzeros", "scales", "g_idx", "weight_scale", "weight_packed") * 41_400)), lambda n: (2, 2)),
    "adapters.safetensors": lambda: _header((f"base_model.model.l.{n // 4}.{'qv'[n // 2 % 2]}_proj.lora_{'AB'[n % 2]}.weight" for n in range(150_000)),
        lambda n: (2, 1) if n % 2 else (1, 2)),
    "dimensions.safetensors": lambda: _header((f"t{n}" for n in range(14_000)), lambda n: (1,) * 1_000),
    "long-names.safetensors": lambda: _header(("x" * 1_000_000 + str(n) for n in range(31)), lambda n: (1,)),
    "deep-names.safetensors": lambda: _header((f"{n}." + "a." * 400_000 + "w" for n in range(31)), lambda n: (1,)),
    "deeper-names.safetensors": lambda: _header((f"{n}." + "a." * 100 + "w" for n in range(100_000)), lambda n: (1,)),
    "stairs.safetensors": lambda: _header(("a." * n + "w" for n in range(5_000)), lambda n: (1,)),
    "empty-names.safetensors": lambda: _header((f"{n}" + "." * 4_000 for n in range(5_000)), lambda n: (1,)),
    "metadata.safetensors": lambda: safetensors_bytes({"w": ("F32", (2,))}, {f"k{n}": "v" for n in range(1_300_000)}),
    "aliases.safetensors": lambda: safetensors_bytes({"w": ("F32", (2,))}, {f"k{n}": "w" for n in range(299_000)}),
    "unknown.safetensors": lambda: raw_bytes("{" + ",".join(
        f'"t{n}":{{"dtype":"Q{n}","shape":[1],"data_offsets":[{n},{n + 1}]}}' for n in range(250_000)) + "}", 250_000),
    "many.gguf": lambda: _gguf(300_000, 0, 0),
    "keys.gguf": lambda: _gguf(0, 290_000, 90),
    "texts.gguf": lambda: _gguf(0, 19_000, 60_000),
    "archive.pt": lambda: torch_zip_bytes(_state_dict(100_000), {str(n): 8 for n in range(100_000)}, zip64=True),
    "members.pt": lambda: torch_zip_bytes({"w": tensor("0", (1,))}, {str(n): 4 for n in range(390_000)}, zip64=True),
    "training.pt": lambda: torch_zip_bytes(_training(25_000), {f"{kind}{n}": 8 for kind in "abw" for n in range(25_000)}, zip64=True),
    "modules.pt": lambda: torch_zip_bytes(module("a.Net", {}, {}, **{f"m{n}": module(f"a.M{n % 50}", {"w": tensor(str(n), (1,))}, {})
        for n in range(10_000)}), {str(n): 4 for n in range(10_000)}),
    "metadata.pt": lambda: torch_zip_bytes({"w": tensor("0", (1,)), "hyper_parameters": {f"k{n}": [n, {"a": float(n)}] for n in range(140_000)}}, {"0": 4}),
    "stacked.pth": lambda: legacy_bytes({f"l.{n // 10}.w{n % 10}": tensor(f"{n}", (2,), view=None) for n in range(100_000)},
        {f"{n}": (2, 8) for n in range(100_000)}),
    "globals.pkl": lambda: pickled([call(f"pkg{n}.mod.f", n) for n in range(190_000)]),
    "names.baseline.json": lambda: _description({f"{n:x}.{n % 9973:x}.w": "uint8 [0]" for n in range(MANY)}),
    "range.baseline.json": lambda: _description({"l.{0-299998}.w": "uint8 [0]"}),
    **{name: lambda named=named: _model(named()) for name, named in worst_models.MODELS.items()},
    **worst_models.PICKLED,
}  # fmt: skip
# What a diff has most to do with: (old, new).
PAIRS: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "numbers": (lambda: _header([f"a.{n}.w" for n in range(280_000)] + [f"a.x{n:x}q.w" for n in range(167)], lambda n: (n // 280_000,)),
        lambda: _header([f"b{n:x}q.0.w" for n in range(10_000)] + [f"b{n:x}q.x{n // 60:x}q.w" for n in range(10_000)], lambda n: (n // 10_000,))),
    "deep-heads": (lambda: _header((f"p{n:x}." + "a." * 30 + f"w{n // 60:x}" for n in range(200_000)), lambda n: (0,)),
        lambda: _header((f"q{n:x}." + "a." * 30 + f"w{n // 60:x}" for n in range(200_000)), lambda n: (0,))),
    "unlike": (lambda: _header([f"a.{'y' * 20}{n:x}z.w" for n in range(200_000)] + [f"a.K{n}z.w" for n in range(200)], lambda n: (n // 200_000,)),
        lambda: _header([f"c{'y' * 20}{n:x}z.w" for n in range(200_000)] + [f"b{n}z.K{n}z.w" for n in range(200)], lambda n: (2 - n // 200_000,))),
    "nearly-equal": (lambda: _near(60, 60, 60, 1), lambda: _near(20, 20, 20, 36)),
}  # fmt: skip
FOLDERS: dict[str, Callable[[Path], None]] = {"shards": _shards, "texts": _texts, **worst_models.FOLDERS}
PICTURE = ("visualize", "-o")
COMMANDS: dict[str, tuple[str, ...]] = {
    **{
        f"inspect {format}": ("inspect", "-f", format)
        for format in ("table", "tree", "json", "markdown", "html", "csv", "junit")
    },
    "inspect all rows": ("inspect", "--by", "tensor", "-n", "0"),
    "inspect unfolded": ("inspect", "-d", "0", "-n", "0", "--no-fold"),
    "inspect by kinds": ("inspect", "--by", "role,kind,dtype"),
    **{f"diagram {suffix}": (*PICTURE, f"out.{suffix}") for suffix in ("svg", "pdf", "html")},
    "treemap svg": (*PICTURE, "out.svg", "--engine", "treemap"),
    "report html": ("report", "-o", "out.html"),
    "report json": ("report", "-o", "out.json"),
    "report markdown": ("report", "-o", "out.md"),
    "report together": ("report", "-o", "out.html", "-o", "out.md", "-o", "out.json"),
    "check": ("check", "--max-size", "1GB", "--max-share", "*=50%", "--max-parameters", "*=5M"),
    "check head": ("check", "--forbid-untied-head"),
    "scan": ("scan",),
    "baseline": ("baseline", "save", "-o", "out.baseline.json"),
    "init": ("init", "-o", "-"),
    "diff": ("diff",),  # with itself
}


def _description(tensors: dict[str, str]) -> bytes:
    file = {"name": "m", "bytes": 0, "sections": {}, "tensors": tensors, "views": {}}
    return json.dumps({"schema": "mscope.baseline/1", "format": "safetensors", "files": [file]}).encode()


def make(name: str, folder: Path) -> Path:
    """Write a case, once."""
    path = folder / name
    if not path.exists():
        if name in FILES:
            path.write_bytes(FILES[name]())
        else:
            path.mkdir()
            FOLDERS[name](path)
    return path


def measured(path: Path, command: str, folder: Path) -> Measured:
    """Run a command on a case, in a folder where no mscope.toml counts."""
    return _measured([*COMMANDS[command], str(path), *([str(path)] if command == "diff" else [])], folder)


def measured_pair(name: str, command: str, folder: Path) -> Measured:
    """Run a command on an old and a new file."""
    paths = [folder / f"{name}-{side}.safetensors" for side in ("old", "new")]
    for path, data in zip(paths, PAIRS[name], strict=True):
        if not path.exists():
            path.write_bytes(data())
    old, new = map(str, paths)
    return _measured(["diff", old, new] if command == "diff" else ["check", new, "-b", old, "--max-growth", "1%"], folder)


def _measured(arguments: list[str], folder: Path) -> Measured:
    (folder / ".git").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, str(MEASURE), *arguments], capture_output=True, text=True, check=True, cwd=folder)
    found = json.loads(done.stdout)
    return Measured(found["code"], found["cpu"], found["peak"], found["err"])


def main(wanted: list[str]) -> None:
    """Print a line a case and command; those beyond the bounds are marked."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files = [name for name in (*FILES, *FOLDERS) if not wanted or any(word in name for word in wanted)] or [
            *FILES,
            *FOLDERS,
        ]
        commands = [name for name in COMMANDS if not wanted or any(word in name for word in wanted)] or [*COMMANDS]
        print("| file | command | exit | seconds | MiB |\n| --- | --- | --- | --- | --- |")
        for name in files:
            path = make(name, folder)
            for command in commands:
                found = measured(path, command, folder)
                mark = "" if found.within else " !"
                print(f"| {name} | {command} | {found.code} | {found.cpu:.1f} | {found.peak >> 20}{mark} |", flush=True)
            if path.is_file():
                os.unlink(path)
        for name, command in itertools.product(PAIRS, ("diff", "check")):
            if not wanted or any(word in name for word in wanted):
                found = measured_pair(name, command, folder)
                mark = "" if found.within else " !"
                print(f"| {name} | {command} | {found.code} | {found.cpu:.1f} | {found.peak >> 20}{mark} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
