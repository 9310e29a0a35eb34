"""What was run of each target, over all its runs: kept as JSON beside the corpora, shown as the table of docs/fuzzing.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fuzzing.md"
BLOCK = re.compile(r"(?<=<!-- fuzzing -->\n).*?(?=<!-- /fuzzing -->)", re.DOTALL)


class Record(NamedTuple):
    """`quiet`: seconds of fuzzing since the last new edge. `edges` as atheris counts them; `corpus` in inputs."""

    executions: int = 0
    seconds: float = 0.0
    quiet: float = 0.0
    edges: int = 0
    corpus: int = 0


def load(kept: Path, name: str) -> Record:
    path = kept / f"{name}.json"
    return Record(**json.loads(path.read_text())) if path.is_file() else Record()


def save(kept: Path, name: str, record: Record) -> None:
    (kept / f"{name}.json").write_text(json.dumps(record._asdict(), indent=1) + "\n")


def table(kept: Path) -> str:
    from tests.fuzz.targets import TARGETS

    lines = [
        "| target | seeds | executions | minutes | edges | inputs kept | minutes since the last new edge |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, target in TARGETS.items():
        ran = load(kept, name)
        figures = [len(target.seeds()), ran.executions, round(ran.seconds / 60), ran.edges, ran.corpus, int(ran.quiet / 60)]
        known = [ran.executions, ran.executions, ran.executions, ran.edges, ran.executions, ran.edges]  # edges: not since its guide changed
        said = [f"{figure:,}" if there else "–" for figure, there in zip(figures, known, strict=True)]
        lines.append(f"| {name} | {' | '.join(said)} |")
    return "\n".join(lines) + "\n"


def write_table(kept: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: table(kept), page), encoding="utf-8")
