"""`mscope scan` beside picklescan, fickling and modelscan: what each calls unsafe, and how long it takes.

    python -m venv peers && peers/bin/pip install picklescan==1.0.5 fickling==0.1.12 modelscan==0.8.8 typing_extensions
    python benchmarks/scanners.py --peers peers/bin [--honest DIR]     writes scanners.json and docs/scanners.md

Every scanner gets every file of scan_files.py by itself, in a process of its own, with its defaults. An attack counts as found when
the scanner says that the file is unsafe; a file that it gives up on is neither found nor passed. `--honest` adds real files, one
scan a file, to the seventeen small ones. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from measure import median, once, quartiles
from scan_files import HONEST, Subject, subjects

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "scanners.json", HERE.parent / "docs" / "scanners.md"
BEGIN, END = "<!-- scanners -->", "<!-- /scanners -->"
CANARY = "MODELSCOPE_CANARY_FIRED"
PATIENCE = 120  # seconds for one file
FOUND, PASSED, GAVE_UP = "found", "passed", "gave up"
MARKS = {FOUND: "found", PASSED: "**passed**", GAVE_UP: "gave up"}
FICKLING = """
import sys, zipfile
from fickling.loader import scan_file, scan_zip_archive
path = sys.argv[1]
found = list(scan_zip_archive(path, graceful=True).values()) if zipfile.is_zipfile(path) else [scan_file(path, graceful=True)]
sys.exit(1 if any(one.results and not one.is_safe for one in found) else 2 if not found or any(one.errors for one in found) else 0)
"""


class Scanner(NamedTuple):
    """A program: the command before the path, and which exit codes mean found and passed."""

    name: str
    command: tuple[str, ...]
    found: tuple[int, ...] = (1,)
    passed: tuple[int, ...] = (0,)


def scanners(peers: Path) -> list[Scanner]:
    return [
        Scanner("mscope", (str(Path(sys.executable).with_name("mscope")), "scan")),
        Scanner("picklescan", (str(peers / "picklescan"), "-p")),
        Scanner("fickling", (str(peers / "python"), "-c", FICKLING)),
        Scanner("modelscan", (str(peers / "modelscan"), "scan", "-p")),
    ]


def judged(scanner: Scanner, path: Path) -> str:
    """What a scanner says of a file, in the folder of the file."""
    try:
        ended = subprocess.run(
            [*scanner.command, str(path)], cwd=path.parent, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return GAVE_UP
    code = ended.returncode
    return FOUND if code in scanner.found else PASSED if code in scanner.passed else GAVE_UP


def compared(chosen: list[Scanner], files: Iterable[Subject], folder: Path) -> list[dict[str, Any]]:
    rows = []
    for number, subject in enumerate(files):
        inside = folder / str(number)
        inside.mkdir()
        path = inside / subject.file
        path.write_bytes(subject.data)
        said = {scanner.name: judged(scanner, path) for scanner in chosen}
        if list(folder.rglob(CANARY)):
            raise SystemExit(f"{subject.what}: something ran it")
        rows.append({"group": subject.group, "what": subject.what, "source": subject.source, **said})
        print(f"{subject.group}: {subject.what}: {said}", file=sys.stderr, flush=True)
    return rows


def honest(folder: Path) -> list[Subject]:
    """Real files below a folder, by name."""
    return [Subject(HONEST, path.name, path.name, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


def timed(chosen: list[Scanner], path: Path, pairs: int) -> list[dict[str, Any]]:
    """Whole processes on one file, ours right before each of theirs."""
    ours, *others = chosen
    rows = []
    for other in others:
        once([*ours.command, str(path)])
        them = [*other.command, str(path)]
        found = [(once([*ours.command, str(path)]), once(them, fine=(0, 1, 2, 3))) for _ in range(pairs)]
        ratios = [us.wall / them.wall for us, them in found]
        rows.append({
            "against": other.name,
            "said": judged(other, path),
            "ours": median([us.wall for us, _ in found]),
            "theirs": median([them.wall for _, them in found]),
            "ratio": median(ratios),
            "ratio_quartiles": list(quartiles(ratios)),
        })  # fmt: skip
    return rows


def grid(heading: tuple[str, ...], rows: list[tuple[str, ...]], words: int = 1) -> list[str]:
    rule = ("---",) * words + ("---:",) * (len(heading) - words)
    return [f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows)]


def alarm_count(count: int) -> str:
    return f"{count} false alarm{'' if count == 1 else 's'}"


def page(results: dict[str, Any]) -> str:
    """Sums, then speed, then every attack."""
    rows, names = results["files"], list(results["versions"])
    groups = list(dict.fromkeys(row["group"] for row in rows))
    sums = []
    for group in groups:
        inside = [row for row in rows if row["group"] == group]
        title = f"{group}: {len(inside)} files"
        if group == HONEST:
            cells = [alarm_count(sum(row[name] == FOUND for row in inside)) for name in names]
        else:
            cells = [f"{sum(row[name] == FOUND for row in inside)} found" for name in names]
        sums.append((title, *cells))
    speed = [
        (row["against"], row["said"], f"{row['theirs'] * 1000:,.0f} ms", f"{row['ours'] * 1000:,.0f} ms", f"{row['ratio']:.2f}",
         f"{row['ratio_quartiles'][0]:.2f}–{row['ratio_quartiles'][1]:.2f}")
        for row in results["speed"]
    ]  # fmt: skip
    attacks = [(row["what"], row["source"], *[MARKS[row[name]] for name in names]) for row in rows if row["group"] != HONEST]
    others = [name for name in names if name != "fickling"]  # it finds nearly all of them unsafe
    alarms = [
        (row["what"], *[row[name] for name in names])
        for row in rows
        if row["group"] == HONEST and any(row[name] == FOUND for name in others)
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [*grid(("files", *names), sums), "", f"{versions}; Python {results['python']}.", ""]
    lines += ["A state_dict of 20,000 tensors, whole processes:", ""]
    lines += [
        *grid(("against", "it says", "theirs", "ours", "ours / theirs", "quartiles"), speed, 2),
        "",
    ]
    if alarms:
        lines += [
            "Honest files that somebody but fickling calls unsafe:",
            "",
            *grid(("file", *names), alarms, len(names) + 1),
            "",
        ]
    lines += ["Every attack:", "", *grid(("attack", "published", *names), attacks, len(names) + 2)]
    return "\n".join(lines)


def versions_of(peers: Path) -> dict[str, str]:
    ask = "from importlib.metadata import version; import sys; print(*[version(name) for name in sys.argv[1:]])"
    names = ("picklescan", "fickling", "modelscan")
    theirs = subprocess.run(
        [str(peers / "python"), "-c", ask, *names], capture_output=True, text=True, check=True
    ).stdout.split()
    ours = subprocess.run(
        [sys.executable, "-c", ask, "modelscope-cli"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {"mscope": ours, **dict(zip(names, theirs, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description="mscope scan beside other scanners")
    parser.add_argument(
        "--peers", type=Path, required=True, metavar="DIR", help="bin folder with picklescan, fickling, modelscan"
    )
    parser.add_argument("--honest", type=Path, metavar="DIR", help="a folder of real model files")
    parser.add_argument(
        "--many", type=Path, default=HERE / "models" / "many.pt", metavar="FILE", help="the state_dict for the speed"
    )
    parser.add_argument("--pairs", type=int, default=7, help="pairs of runs for the speed (7)")
    parser.add_argument("--speed-only", action="store_true", help="keep the verdicts of scanners.json")
    chosen = parser.parse_args()
    found = scanners(chosen.peers.absolute())
    if chosen.speed_only:
        rows = json.loads(RESULTS.read_text())["files"]
    else:
        files = [*subjects(), *(honest(chosen.honest) if chosen.honest else [])]
        with tempfile.TemporaryDirectory() as folder:
            rows = compared(found, files, Path(folder))
    results = {
        "versions": versions_of(chosen.peers.absolute()),
        "python": platform.python_version(),
        "files": rows,
        "speed": timed(found, chosen.many.absolute(), max(1, chosen.pairs)),
    }
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{page(results)}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
