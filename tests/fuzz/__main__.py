"""`python -m tests.fuzz TARGET`: mutate valid files, guided by coverage, until nothing new was found for a while.

Needs atheris (Linux, Python 3.11 to 3.13). The corpus is kept, so that a later run goes on where this one ended; an input that
breaks something is written to the folder of findings, and `--repeat FILE` runs it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SEED_PREFIX = "seed-"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", help="a reader, or `list`")
    parser.add_argument("--seconds", type=int, default=1800, help="stop after so many seconds (1800)")
    parser.add_argument(
        "--corpus", type=Path, default=Path(".fuzz"), metavar="DIR", help="where corpora and findings are kept (.fuzz)"
    )
    parser.add_argument("--longest", type=int, default=16_384, metavar="BYTES", help="the longest input (16384)")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run this input once and end")
    chosen = parser.parse_args()

    import atheris

    with atheris.instrument_imports(include=["modelscope_cli"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS

        if chosen.target not in TARGETS:
            known = ", ".join(TARGETS)
            parser.exit(0 if chosen.target == "list" else 2, f"targets: {known}\n")
        target = TARGETS[chosen.target]
        seeds = target.seeds()
        for seed in seeds:  # imports what readers import late, so that it is instrumented too
            target.run(seed)
    if chosen.repeat is not None:
        target.run(chosen.repeat.read_bytes())
        return
    corpus, findings = chosen.corpus / chosen.target, chosen.corpus / "findings" / chosen.target
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"{SEED_PREFIX}{number}").write_bytes(seed)

    options = [
        f"-max_total_time={chosen.seconds}",
        f"-max_len={chosen.longest}",
        f"-artifact_prefix={findings}/",
        "-timeout=10",  # seconds for one input
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-report_slow_units=5",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
