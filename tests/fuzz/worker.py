"""`python -m tests.fuzz.worker TARGET FOLDER [LIBFUZZER OPTION…]`: one target under atheris, until libFuzzer is stopped or finds."""

from __future__ import annotations

import sys
from pathlib import Path

SEED_PREFIX = "seed-"


def main(name: str, kept: Path, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["modelscope_cli"], enable_loader_override=False):
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
