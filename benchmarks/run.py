"""Run the benchmarks: `mscope inspect` against its peers, as ratios in one run.

    python benchmarks/models.py                          once: the model files
    python benchmarks/run.py --peers VENV/bin            the series; writes results.json and the table of README.md
    python benchmarks/run.py --quick --only deepseek     a glance: two pairs, nothing written

Nothing passes or fails here: a figure over its aim is marked in the table, and the exit code stays 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from cases import CASES, HERE, Case, Opponent
from measure import RunError, Sample, floor, median, once, quartiles

RESULTS = HERE / "results.json"
README = HERE / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
MIB = 1 << 20
PEERS = ("modelinfo-cli", "sft-cli", "safetensors-print")
PACKAGES = ("modelscope-cli", "typer", "rich", "msgspec", "torch", "safetensors", *PEERS)
ASK_VERSIONS = """
import json, sys
from importlib.metadata import distributions
print(json.dumps({found.name: found.version for found in distributions() if found.name in sys.argv}))
"""

Json = dict[str, Any]


def options() -> argparse.Namespace:
    names = [case.name for case in CASES]
    mscope = shlex.quote(str(Path(sys.executable).with_name("mscope")))
    parser = argparse.ArgumentParser(description="mscope inspect against its peers, as ratios in one run")
    add = parser.add_argument
    add("--pairs", type=int, default=9, help="pairs of runs for every opponent (9)")
    add("--only", action="append", metavar="NAME", choices=names, help=f"only this case, repeatable: {', '.join(names)}")
    add("--models", type=Path, default=HERE / "models", metavar="DIR", help="where models.py put the files")
    add("--peers", type=Path, metavar="DIR", help="bin folder with modelinfo, sft, safetensors-print")
    add("--subject", default=f"{mscope} inspect", help="the command to measure; the path is appended")
    add("--quick", action="store_true", help="two pairs, and no file is written")
    found = parser.parse_args()
    found.pairs = 2 if found.quick else max(1, found.pairs)
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_case(case: Case, chosen: argparse.Namespace) -> Json:
    """Warm up everyone, dropping opponents that cannot play, then pair the subject with each of them in turn."""
    path = chosen.models / case.path
    if not path.exists():
        raise RunError("no model; make it with python benchmarks/models.py")
    subject = [*shlex.split(chosen.subject), str(path)]
    once(subject, keep_output=True)
    commands: dict[Opponent, list[str]] = {}
    skipped: dict[str, str] = {}
    for opponent in case.opponents:
        command = opponent.command(path, chosen.peers or Path("."))
        try:
            if not os.path.exists(command[0]) or (chosen.peers is None and command[0] != sys.executable):
                raise RunError("not installed, or no --peers given")
            once(command, keep_output=True)
            commands[opponent] = command
        except RunError as reason:
            skipped[opponent.name] = str(reason).replace(str(path), path.name)
            say(f"  {opponent.name}: left out: {reason}")
    pairs: dict[Opponent, list[tuple[Sample, Sample]]] = {opponent: [] for opponent in commands}
    for number in range(chosen.pairs):
        say(f"  pair {number + 1} of {chosen.pairs}")
        for opponent, command in commands.items():
            ours = once(subject)
            pairs[opponent].append((ours, once(command, keep_output=opponent.printed)))
    runs = [us for rows in pairs.values() for us, _ in rows] or [once(subject)]
    return {
        "name": case.name,
        "title": case.title,
        "wall": median([us.wall for us in runs]),
        "cpu": median([us.cpu for us in runs]),
        "peak": max(us.peak for us in runs),
        "peak_aim": case.peak_aim,
        **bytes_read(path),
        "opponents": [summary(opponent, rows) for opponent, rows in pairs.items()],
        "left_out": skipped,
    }


def summary(opponent: Opponent, pairs: list[tuple[Sample, Sample]]) -> Json:
    """The figures of one opponent. Ratios are ours / theirs, so smaller is better."""
    theirs = [float(them.output.split()[-1]) if opponent.printed else them.wall for _, them in pairs]
    ratios = [us.wall / wall for (us, _), wall in zip(pairs, theirs, strict=True)]
    low, high = quartiles(ratios)
    return {
        "name": opponent.name,
        "wall": median(theirs),
        "peak": max(them.peak for _, them in pairs),
        "ratio": median(ratios),
        "ratio_quartiles": [low, high],
        "cpu_ratio": None if opponent.printed else median([us.cpu / them.cpu for us, them in pairs]),
        "aim": opponent.aim,
    }


def bytes_read(path: Path) -> Json:
    try:
        found = once([sys.executable, str(HERE / "bytes_read.py"), str(path)], keep_output=True)
    except RunError as reason:
        say(f"  bytes read: not counted: {reason}")
        return {"bytes_read": None, "bytes_aim": None}
    read, aim = map(int, found.output.split())
    return {"bytes_read": read, "bytes_aim": aim}


def environment(chosen: argparse.Namespace) -> Json:
    """What the figures depend on. Versions are asked of the environments in other processes: this one stays small."""
    versions: dict[str, str] = {}
    for python in [chosen.peers / "python" if chosen.peers else None, Path(sys.executable)]:  # ours last: it wins
        if python is not None and python.exists():
            versions.update(json.loads(once([str(python), "-c", ASK_VERSIONS, *PACKAGES], keep_output=True).output))
    return {
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": dict(sorted(versions.items())),
        "pairs": chosen.pairs,
        "smallest_peak_seen": floor(),
    }


OURS = ("model", "wall", "peak", "aim", "bytes read", "aim")
AGAINST = ("against", "theirs", "ours / theirs", "quartiles", "aim", "peak")


def our_row(case: Json) -> tuple[str, ...]:
    """The tool's own figures; `!` marks what is over its aim."""
    read = "" if case["bytes_read"] is None else f"{case['bytes_read']:,}" + over(case["bytes_read"], case["bytes_aim"])
    read_aim = "" if case["bytes_aim"] is None else f"≤ {case['bytes_aim']:,}"
    peak_aim = "" if case["peak_aim"] is None else f"≤ {mib(case['peak_aim'])}"
    return case["title"], ms(case["wall"]), mib(case["peak"]) + over(case["peak"], case["peak_aim"]), peak_aim, read, read_aim


def their_row(them: Json) -> tuple[str, ...]:
    low, high = them["ratio_quartiles"]
    ratio = f"{them['ratio']:.2f}" + over(them["ratio"], them["aim"])
    aim = "" if them["aim"] is None else f"≤ {them['aim']:.2g}"
    return them["name"], ms(them["wall"]), ratio, f"{low:.2f}–{high:.2f}", aim, mib(them["peak"])


def over(value: float, aim: float | None) -> str:
    return " !" if aim is not None and value > aim else ""


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def mib(nbytes: int) -> str:
    return f"{nbytes / MIB:.0f} MiB"


def left_out(results: Json) -> list[str]:
    """Why an opponent has no row."""
    return [f"{case['title']}: {name}: {reason}" for case in results["cases"] for name, reason in case["left_out"].items()]


def grid(headings: tuple[str, ...], rows: list[tuple[str, ...]], words: int) -> list[str]:
    """A Markdown table, its columns after the first `words` right-aligned."""
    rule = ("---",) * words + ("---:",) * (len(headings) - words)
    return [f"| {' | '.join(row)} |" for row in (headings, rule, *rows)]


def markdown(results: Json) -> str:
    """Our figures, then the ratios, then what they were measured with."""
    cases, about = results["cases"], results["environment"]
    races = [(case["title"], *their_row(them)) for case in cases for them in case["opponents"]]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [*grid(OURS, [our_row(case) for case in cases], 1), "", *grid(("model", *AGAINST), races, 2)]
    lines += ["", f"{about['system']}, Python {about['python']}, {about['pairs']} pairs; {versions}."]
    if left_out(results):
        lines += ["", "Left out:", "", *(f"- {line}" for line in left_out(results))]
    return "\n".join(lines)


def show(results: Json) -> None:
    """The same on a terminal: a table a model, narrow enough for 80 columns."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for case in results["cases"]:
        title, wall, peak, peak_aim, read, read_aim = our_row(case)
        ours = f"{wall}, {peak} {peak_aim}, {read} bytes read {read_aim}"
        console.print(f"\n[bold]{title}[/]: {ours}", highlight=False, soft_wrap=True)
        table = Table(AGAINST[0])
        for heading in AGAINST[1:]:
            table.add_column(heading, justify="right")
        for them in case["opponents"]:
            table.add_row(*their_row(them))
        console.print(table)
    for line in left_out(results):
        print(f"left out: {line}")


def write(results: Json) -> None:
    """results.json, and the table between the markers of README.md."""
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}")


def main() -> None:
    chosen = options()
    cases: list[Json] = []
    for case in CASES:
        if chosen.only and case.name not in chosen.only:
            continue
        say(case.title)
        try:
            cases.append(run_case(case, chosen))
        except RunError as reason:
            say(f"  left out: {reason}")
    results = {"environment": environment(chosen), "cases": cases}
    show(results)
    if not chosen.quick and not chosen.only:
        write(results)
    elif not chosen.quick:
        say("results.json and README.md are written by a run of all cases only")


if __name__ == "__main__":
    main()
