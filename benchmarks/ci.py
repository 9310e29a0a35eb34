"""How long a verdict takes: check, report, baseline and diff against `mscope inspect` of the same file, as ratios in one run.

    python benchmarks/models.py      once: the model files
    python benchmarks/ci.py          writes ci.json and the table of README.md
    python benchmarks/ci.py --quick  two pairs, nothing written

Nothing passes or fails here: a ratio or a size over its aim is marked.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from measure import median, once, quartiles

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "ci.json"
BEGIN, END = "<!-- ci -->", "<!-- /ci -->"
RULES = (
    *("--max-size", "900GB", "--max-parameters", "700B", "--max-size", "model.layers.*=500GB", "--max-share", "model.embed_tokens=10%"),
    *("--forbid-optimizer-state", "--forbid-waste", "--allowed-dtypes", "float16,bfloat16,float32,float8_e4m3fn"),
)  # fmt: skip


class Run(NamedTuple):
    """A command on a model; `{model}`, `{other}` and `{file}` are filled in. `aim` is the largest ratio to inspect that we want."""

    title: str
    model: str
    what: str
    command: tuple[str, ...]
    suffix: str = ""  # of the file it writes
    aim: float | None = None
    most_bytes: int | None = None
    other: str = ""


LLAMA, DEEPSEEK = ("Llama-2-7B .bin", "llama-2-7b.bin"), ("DeepSeek-V3, 90,427 tensors", "deepseek-v3")
RUNS = (
    Run(*LLAMA, "check, 7 rules", ("check", "{model}", "-c", "{empty}", *RULES), aim=1.2),
    Run(*LLAMA, "report, Markdown", ("report", "{model}", "-c", "{empty}", "-o", "{file}"), ".md"),
    Run(*LLAMA, "report, HTML", ("report", "{model}", "-c", "{empty}", "-o", "{file}"), ".html"),
    Run(*LLAMA, "baseline save", ("baseline", "save", "{model}", "-o", "{file}"), ".baseline.json"),
    Run(*LLAMA, "diff with the safetensors file", ("diff", "{model}", "{other}"), other="llama-2-7b.safetensors"),
    Run(*DEEPSEEK, "check, 7 rules", ("check", "{model}", "-c", "{empty}", *RULES)),
    Run(*DEEPSEEK, "report, Markdown", ("report", "{model}", "-c", "{empty}", "-o", "{file}"), ".md", most_bytes=60_000),
    Run(*DEEPSEEK, "report, HTML", ("report", "{model}", "-c", "{empty}", "-o", "{file}"), ".html", most_bytes=3_000_000),
    Run(*DEEPSEEK, "baseline save", ("baseline", "save", "{model}", "-o", "{file}"), ".baseline.json"),
    Run(*DEEPSEEK, "diff with itself", ("diff", "{model}", "{model}")),
)


def measured(run: Run, models: Path, pairs: int, folder: Path) -> dict[str, Any]:
    """Pairs of inspect and the command, one right after the other."""
    mscope = str(Path(sys.executable).with_name("mscope"))
    file, empty = folder / f"out{run.suffix}", folder / "mscope.toml"
    empty.touch()
    places = {"model": models / run.model, "other": models / run.other, "file": file, "empty": empty}
    theirs, ours = [mscope, "inspect", str(models / run.model)], [mscope, *[part.format(**places) for part in run.command]]
    once(theirs)
    once(ours)
    found = [(once(theirs), once(ours)) for _ in range(pairs)]
    ratios = [us.wall / them.wall for them, us in found]
    return {
        "title": run.title,
        "what": run.what,
        "wall": median([us.wall for _, us in found]),
        "inspect": median([them.wall for them, _ in found]),
        "ratio": median(ratios),
        "ratio_quartiles": list(quartiles(ratios)),
        "aim": run.aim,
        "peak": max(us.peak for _, us in found),
        "bytes": file.stat().st_size if run.suffix else None,
        "most_bytes": run.most_bytes,
    }


def row(found: dict[str, Any]) -> str:
    low, high = found["ratio_quartiles"]
    over = " !" if found["aim"] is not None and found["ratio"] > found["aim"] else ""
    large = " !" if found["most_bytes"] is not None and found["bytes"] > found["most_bytes"] else ""
    cells = (
        found["title"],
        found["what"],
        f"{found['wall'] * 1000:,.0f} ms",
        f"{found['ratio']:.2f}{over}",
        f"{low:.2f}–{high:.2f}",
        "" if found["aim"] is None else f"≤ {found['aim']:g}",
        f"{found['peak'] / (1 << 20):.0f} MiB",
        "" if found["bytes"] is None else f"{found['bytes'] / 1000:,.0f} kB{large}",
        "" if found["most_bytes"] is None else f"≤ {found['most_bytes'] / 1000:,.0f} kB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="check, report, baseline and diff against mscope inspect, as ratios in one run"
    )
    parser.add_argument("--pairs", type=int, default=7, help="pairs of runs for every command (7)")
    parser.add_argument("--models", type=Path, default=HERE / "models", metavar="DIR", help="where models.py put the files")
    parser.add_argument("--quick", action="store_true", help="two pairs, and no file is written")
    chosen = parser.parse_args()
    pairs = 2 if chosen.quick else max(1, chosen.pairs)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for run in RUNS:
            results.append(measured(run, chosen.models.absolute(), pairs, Path(folder)))
            print(row(results[-1]), flush=True)
    if chosen.quick:
        return
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    heading = ("model", "command", "wall", "ours / inspect", "quartiles", "aim", "peak", "size", "aim")
    rule = ("---",) * 2 + ("---:",) * 7
    table = [f"| {' | '.join(cells)} |" for cells in (heading, rule)] + [row(found) for found in results]
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
