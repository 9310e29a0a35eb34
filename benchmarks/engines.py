"""How long the engines of other people take in `mscope visualize`, as ratios to the least that they could take.

    python benchmarks/models.py             once: the model files
    python benchmarks/engines.py            writes engines.json and the table of README.md
    python benchmarks/engines.py --quick    two pairs, nothing written

Beside each run, right before it, is a floor: for Netron a headless browser that prints an empty page, for torchviz and
dataflow a Python that imports torch, torchviz and transformers' Llama and ends, for TensorBoard `mscope inspect`. Nothing
passes or fails here: a figure over its aim is marked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from measure import median, once, quartiles
from models import LLAMA_7B

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "engines.json"
BEGIN, END = "<!-- engines -->", "<!-- /engines -->"
IMPORTS, BLANK, INSPECT = "the imports", "an empty page", "inspect"
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False, **LLAMA_7B}


SCRIPT = """
import sys, torch
torch.jit.script(torch.nn.Sequential(torch.nn.Linear(15_600, 15_999), torch.nn.ReLU())).save(sys.argv[1])
"""


class Run(NamedTuple):
    """`seconds` and `memory` (bytes) are the most that we want; None where the figure is for information."""

    title: str
    model: str
    floor: str
    options: tuple[str, ...]
    suffix: str
    seconds: float | None = None
    memory: int | None = None


LLAMA = ("Llama-2-7B, 13.5 GB", "llama")
RUNS = (
    Run(*LLAMA, BLANK, ("--engine", "netron"), ".svg", 5),
    Run(*LLAMA, BLANK, ("--engine", "netron"), ".pdf"),
    Run("a TorchScript file of 1 GB", "script.pt", BLANK, ("--engine", "netron"), ".svg", 5),
    Run(*LLAMA, IMPORTS, ("--engine", "torchviz"), ".svg", 20, 1_500_000_000),
    Run(*LLAMA, IMPORTS, ("--engine", "torchviz", "--show-attrs", "--show-saved"), ".pdf", 20, 1_500_000_000),
    Run(*LLAMA, IMPORTS, ("--engine", "dataflow"), ".svg", 10),
    Run(*LLAMA, INSPECT, ("--engine", "tensorboard"), ""),
    Run("DeepSeek-V3, 90,427 tensors", "deepseek-v3", INSPECT, ("--engine", "tensorboard"), ""),
)


def prepared(models: Path, folder: Path) -> dict[str, Path]:
    """The models of the runs: Llama with a config.json beside it, a TorchScript file just below a GB.

    That one is made by a process of its own: the peak of a child is seen from the peak of this one on.
    """
    llama = folder / "llama"
    llama.mkdir()
    (llama / "model.safetensors").symlink_to((models / "llama-2-7b.safetensors").resolve())
    (llama / "config.json").write_text(json.dumps(CONFIG))
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder / "script.pt")], check=True)
    return {"llama": llama, "script.pt": folder / "script.pt", "deepseek-v3": models / "deepseek-v3"}


def floor_command(run: Run, model: Path, browser: str, folder: Path) -> list[str]:
    """What is measured beside a run."""
    if run.floor == IMPORTS:
        return [sys.executable, str(HERE / "import_model.py")]
    if run.floor == INSPECT:
        return [str(Path(sys.executable).with_name("mscope")), "inspect", str(model)]
    rooted = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    quiet = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    profile = tempfile.mkdtemp(dir=folder)
    return [browser, *quiet, *rooted, f"--user-data-dir={profile}", f"--print-to-pdf={folder}/blank.pdf", "about:blank"]


def measured(run: Run, model: Path, browser: str, pairs: int, folder: Path) -> dict[str, Any]:
    """Pairs of the floor and the engine, one right after the other."""
    target = folder / f"picture-{run.model}{run.suffix}"
    ours = [str(Path(sys.executable).with_name("mscope")), "visualize", str(model), *run.options, "-o", str(target)]
    once(floor_command(run, model, browser, folder))
    once(ours)
    found = [(once(floor_command(run, model, browser, folder)), once(ours)) for _ in range(pairs)]
    ratios = [us.wall / floor.wall for floor, us in found]
    size = (
        sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) if target.is_dir() else target.stat().st_size
    )
    return {
        "title": run.title,
        "picture": " ".join([*(each for each in run.options if each != "--engine"), run.suffix.removeprefix(".")]).strip(),
        "floor": run.floor,
        "wall": median([us.wall for _, us in found]),
        "floor_wall": median([floor.wall for floor, _ in found]),
        "ratio": median(ratios),
        "ratio_quartiles": list(quartiles(ratios)),
        "seconds": run.seconds,
        "peak": max(us.peak for _, us in found),
        "memory": run.memory,
        "bytes": size,
    }


def row(found: dict[str, Any]) -> str:
    low, high = found["ratio_quartiles"]
    slow = " !" if found["seconds"] is not None and found["wall"] > found["seconds"] else ""
    large = " !" if found["memory"] is not None and found["peak"] > found["memory"] else ""
    cells = (
        found["title"],
        found["picture"],
        f"{found['wall']:.2f} s{slow}",
        "" if found["seconds"] is None else f"≤ {found['seconds']:g} s",
        f"{found['ratio']:.2f}",
        f"{low:.2f}–{high:.2f}",
        found["floor"],
        f"{found['peak'] / (1 << 20):,.0f} MiB{large}",
        f"{found['bytes'] / 1000:,.0f} kB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    from modelscope_cli.bridges.chromium import find_browser

    parser = argparse.ArgumentParser(description="the engines of mscope visualize against the least they could take")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs for every picture (5)")
    parser.add_argument("--models", type=Path, default=HERE / "models", metavar="DIR", help="where models.py put the files")
    parser.add_argument("--quick", action="store_true", help="two pairs, and no file is written")
    chosen = parser.parse_args()
    chosen.pairs = 2 if chosen.quick else max(1, chosen.pairs)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = prepared(chosen.models, folder)
        for run in RUNS:
            results.append(measured(run, models[run.model], find_browser(), chosen.pairs, folder))
            print(row(results[-1]), flush=True)
    if chosen.quick:
        return
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    heading = ("model", "picture", "wall", "aim", "ours / floor", "quartiles", "floor", "peak", "size")
    rule = ("---", "---", "---:", "---:", "---:", "---:", "---", "---:", "---:")
    table = [f"| {' | '.join(cells)} |" for cells in (heading, rule)] + [row(found) for found in results]
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
