"""`python -m tests.fuzz.worker TARGET FOLDER [LIBFUZZER OPTION…]`: one target under atheris, until libFuzzer is stopped or finds.

What guides it is the coverage of the readers. The analyses and reports of what was read are made too, so that they are seen to break;
their own coverage, which grows with every new name of a tensor, would lead away from the reader.
"""

from __future__ import annotations

import sys
from pathlib import Path

SEED_PREFIX = "seed-"
READERS = [f"modelscope_cli.{room}" for room in ("core", "containers", "formats")]
JUDGING = [f"modelscope_cli.analysis.{name}" for name in ("safety", "policy", "in_context", "weights_only", "shown_call")]


def main(name: str, kept: Path, options: list[str]) -> None:
    import atheris

    covered = READERS + JUDGING if name == "scan" else READERS
    with atheris.instrument_imports(include=covered, enable_loader_override=False):
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        seeds = target.seeds()
        for seed in seeds:  # imports what readers import late, so that it is instrumented too
            target.run(seed)
    corpus, findings = kept / name, kept / "findings" / name
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"{SEED_PREFIX}{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], f"-artifact_prefix={findings}/", *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
