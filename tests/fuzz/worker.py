"""`python -m tests.fuzz.worker TARGET FOLDER [LIBFUZZER OPTION…]`: one target under atheris, until libFuzzer is stopped or finds.

With `-merge=1` and a second folder it takes from there what reaches more than the corpus does, and ends.

What guides it is the coverage of the modules that `guides.py` names. All others are run too, the analyses and reports of what was read
among them, so that they are seen to break.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(name: str, kept: Path, options: list[str]) -> None:
    import atheris

    from tests.fuzz.guides import split

    guiding, others = split(name)
    with atheris.instrument_imports(include=["modelscope_cli"], exclude=others, enable_loader_override=False):
        for module in guiding:  # readers import late, which would be too late to be instrumented
            import_module(module)
        from tests.fuzz.corpora import SEED_PREFIX
        from tests.fuzz.mutators import Chance, mutate
        from tests.fuzz.targets import TARGETS
        from tests.fuzz.words import words_of

        target = TARGETS[name]
        seeds = target.seeds()
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
