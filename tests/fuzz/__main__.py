"""`python -m tests.fuzz TARGET…`: mutate valid files, guided by coverage, until half an hour brought nothing new.

Needs atheris (Linux, Python 3.11 to 3.13). The corpus and the record of what was run are kept, so that a later run goes on where
this one ended; an input that breaks something is written to the folder of findings, and `--repeat FILE` runs it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET",
        help="readers; or `all`, `list`, `harvest` (inputs out of the tests), `pack` (corpora into the repository, figures into docs/fuzzing.md)",
    )
    parser.add_argument("--quiet", type=float, default=30, metavar="MINUTES", help="stop when so long, of processor time, brought no new edge (30)")
    parser.add_argument("--most", type=float, default=600, metavar="MINUTES", help="stop after so long in any case (600)")
    parser.add_argument("--kept", type=Path, default=Path(".fuzz"), metavar="DIR", help="corpora, findings and record (.fuzz)")
    parser.add_argument("--longest", type=int, default=16_384, metavar="BYTES", help="the longest input (16384)")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run this input once and end")
    chosen = parser.parse_args()

    if chosen.targets == ["pack"]:
        from tests.fuzz.corpora import CORPORA, pack
        from tests.fuzz.record import write_table

        pack(chosen.kept, chosen.longest)
        write_table(CORPORA)
        return
    if chosen.targets == ["harvest"]:
        from tests.fuzz.harvest import harvest

        harvest(chosen.kept, chosen.longest)
        return
    from tests.fuzz.targets import TARGETS

    if chosen.targets == ["list"]:
        print("\n".join(TARGETS))
        return
    targets = list(TARGETS) if chosen.targets == ["all"] else chosen.targets
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if chosen.repeat is not None:
        for name in targets:
            TARGETS[name].run(chosen.repeat.read_bytes())
        return
    from tests.fuzz.supervisor import fuzz_until_quiet

    broken = [
        name for name in targets if not fuzz_until_quiet(name, chosen.kept, chosen.quiet * 60, chosen.most * 60, chosen.longest)
    ]
    sys.exit(f"findings of {', '.join(broken)} in {chosen.kept / 'findings'}" if broken else 0)


if __name__ == "__main__":
    main()
