"""`python -m tests.fuzz.worker TARGET FOLDER [LIBFUZZER OPTION…]`: one target under atheris, until libFuzzer is stopped or finds.

With `-merge=1` and a second folder it takes from there what reaches more than the corpus does, and ends.

What guides it is the coverage of the readers. The analyses and reports of what was read are made too, so that they are seen to break;
their own coverage, which grows with every new name of a tensor, would lead away from the reader.
"""

from __future__ import annotations

import sys
from pathlib import Path

READERS = ("core", "containers", "formats")
JUDGING = ("safety", "policy", "in_context", "operators", "targets", "weights_only", "shown_call")  # of analysis: a part of a scan


def not_covered(target: str) -> list[str]:
    """The modules beyond the readers. Atheris chooses by whole packages, and leaves out by whole names."""
    import pkgutil

    import modelscope_cli

    found = [module.name for module in pkgutil.walk_packages(modelscope_cli.__path__, "modelscope_cli.")]
    kept = [f"modelscope_cli.{room}" for room in READERS]
    if target.startswith("scan"):
        kept += [f"modelscope_cli.analysis.{name}" for name in JUDGING]
    return [name for name in found if not name.startswith(tuple(kept))]


def main(name: str, kept: Path, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["modelscope_cli"], exclude=not_covered(name), enable_loader_override=False):
        from tests.fuzz.corpora import SEED_PREFIX
        from tests.fuzz.mutators import Chance, mutate
        from tests.fuzz.targets import TARGETS
        from tests.fuzz.words import words_of

        target = TARGETS[name]
        seeds = target.seeds()
        for seed in seeds:  # imports what readers import late, so that it is instrumented too
            target.run(seed)
    corpus, findings = kept / name, kept / "findings" / name
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"{SEED_PREFIX}{number}").write_bytes(seed)

    words = words_of(name)

    def change(data: bytes, most: int, seed: int) -> bytes:
        chance = Chance(seed)
        chance.words = words
        return mutate(data, most, chance, atheris.Mutate, first=target.choosing)

    again = f"{sys.executable} -m tests.fuzz.worker {name} {kept}"  # libFuzzer begins with this when a merge starts its helper
    setting = [again, f"-artifact_prefix={findings}/", str(corpus), *options]
    atheris.Setup(setting, target.run, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
