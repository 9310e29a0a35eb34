"""How long a picture takes: `mscope visualize` against `mscope inspect` of the same file, as ratios in one run.

    python benchmarks/models.py            once: the model files
    python benchmarks/pictures.py          writes pictures.json and the table of README.md
    python benchmarks/pictures.py --quick  two pairs, nothing written

"wheel" is without a Graphviz on the PATH: graphviz-pure and reportlab, which come with the package. Nothing passes or fails
here: a ratio over its aim is marked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from measure import median, once, quartiles

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "pictures.json"
BEGIN, END = "<!-- pictures -->", "<!-- /pictures -->"
SYSTEM, WHEEL = "Graphviz", "wheel"


class Picture(NamedTuple):
    """`aim` is the largest ratio to `inspect` that we want; None where the figure is for information."""

    title: str
    path: str
    format: str
    options: tuple[str, ...] = ()
    aim: float | None = None
    painted: bool = True  # by a program: with Graphviz and without


LLAMA, DEEPSEEK = ("Llama-2-7B .bin", "llama-2-7b.bin"), ("DeepSeek-V3, 90,427 tensors", "deepseek-v3")
PICTURES = (
    Picture(*LLAMA, "svg", aim=3),
    Picture(*LLAMA, "pdf", aim=8),
    Picture(*LLAMA, "png"),
    Picture(*LLAMA, "html", painted=False),
    Picture(*LLAMA, "svg", ("--engine", "treemap")),
    Picture(*DEEPSEEK, "svg", aim=4),
    Picture(*DEEPSEEK, "pdf", aim=4),
    Picture(*DEEPSEEK, "png", aim=4),
    Picture(*DEEPSEEK, "html", painted=False),
)


def measured(picture: Picture, painter: str, path: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Pairs of inspect and visualize, one right after the other."""
    mscope = str(Path(sys.executable).with_name("mscope"))
    model, file = str(chosen.models / picture.path), folder / f"picture.{picture.format}"
    theirs, ours = [mscope, "inspect", model], [mscope, "visualize", model, *picture.options, "-o", str(file)]
    before = os.environ["PATH"]
    os.environ["PATH"] = path
    try:
        once(theirs)
        once(ours)
        pairs = [(once(theirs), once(ours)) for _ in range(chosen.pairs)]
    finally:
        os.environ["PATH"] = before
    ratios = [us.wall / them.wall for them, us in pairs]
    return {
        "title": picture.title,
        "picture": " ".join([picture.format, *picture.options[1:]]),
        "painter": painter,
        "wall": median([us.wall for _, us in pairs]),
        "inspect": median([them.wall for them, _ in pairs]),
        "ratio": median(ratios),
        "ratio_quartiles": list(quartiles(ratios)),
        "aim": picture.aim,
        "peak": max(us.peak for _, us in pairs),
        "bytes": file.stat().st_size,
    }


def row(found: dict[str, Any]) -> str:
    low, high = found["ratio_quartiles"]
    over = " !" if found["aim"] is not None and found["ratio"] > found["aim"] else ""
    cells = (
        found["title"],
        found["picture"],
        found["painter"],
        f"{found['wall'] * 1000:,.0f} ms",
        f"{found['ratio']:.2f}{over}",
        f"{low:.2f}–{high:.2f}",
        "" if found["aim"] is None else f"≤ {found['aim']:g}",
        f"{found['peak'] / (1 << 20):.0f} MiB",
        f"{found['bytes'] / 1000:,.0f} kB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="mscope visualize against mscope inspect, as ratios in one run")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of runs for every picture (7)")
    parser.add_argument("--models", type=Path, default=HERE / "models", metavar="DIR", help="where models.py put the files")
    parser.add_argument("--quick", action="store_true", help="two pairs, and no file is written")
    chosen = parser.parse_args()
    chosen.pairs = 2 if chosen.quick else max(1, chosen.pairs)
    without = str(Path(sys.executable).parent)  # the wheel's program is beside this Python; Graphviz is not
    routes = [(SYSTEM, os.environ["PATH"])] if shutil.which("dot") else []
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for picture in PICTURES:
            for painter, path in [*routes, (WHEEL, without)] if picture.painted else [("", without)]:
                results.append(measured(picture, painter, path, chosen, Path(folder)))
                print(row(results[-1]), flush=True)
    if chosen.quick:
        return
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    heading = ("model", "picture", "painted by", "wall", "ours / inspect", "quartiles", "aim", "peak", "size")
    rule = ("---",) * 3 + ("---:",) * 6
    table = [f"| {' | '.join(cells)} |" for cells in (heading, rule)] + [row(found) for found in results]
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
