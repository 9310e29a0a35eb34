"""The pipeline: what a CI server does with each model, by the same commands, with the exit codes it would see.

    python make_models.py      # needs torch; done by this script when models/ is not there
    python run.py              # reports/ is written again; git shows whether anything changed
    python run.py --save       # makes the models and the baseline anew first, as after a change that was agreed on

Ends with 1 when a command did not end as it should: the accepted model passes, three others do not.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASELINE = "model.baseline.json"
ACCEPTED = "model.safetensors"
CHECKED = {  # model → exit code of `mscope check`
    ACCEPTED: 0,
    "grown.safetensors": 1,
    "with_optimizer.pt": 1,
    "untied.safetensors": 1,
    "wrapped.safetensors": 0,
}


def run(*command: str, said: str = "") -> int:
    """Run a command in this folder, 100 columns wide as in a log, after a line that says so. Returns its exit code."""
    print(f"$ {said or shlex.join(command)}", flush=True)
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=HERE, env=environment, check=False).returncode


def mscope(*arguments: str) -> int:
    """The `mscope` of this Python, whether or not it is on the PATH."""
    return run(sys.executable, "-m", "modelscope_cli", *arguments, said=shlex.join(["mscope", *arguments]))


def judge(model: str, expected: int) -> bool:
    """The three commands of the pipeline for one model. Returns whether they ended as they should."""
    path, folder = f"models/{model}", f"reports/{Path(model).stem}"
    (HERE / folder).mkdir(parents=True, exist_ok=True)
    page = ("-o", f"{folder}/report.html") if model == ACCEPTED else ()
    ended = [
        mscope("report", path, "-o", f"{folder}/comment.md", *page),
        mscope("diff", BASELINE, path, "-o", f"{folder}/diff.md"),
        mscope("check", path, "-o", f"{folder}/checks.txt", "-o", f"{folder}/checks.xml"),  # and the table for the log
    ]
    right = ended == [0, 0, expected]
    print(f"exit codes {ended}, {'as they should be' if right else f'not [0, 0, {expected}]'}\n", flush=True)
    return right


def main(*, save: bool) -> int:
    if save or not (HERE / "models" / ACCEPTED).exists():
        if run(sys.executable, "make_models.py", said="python make_models.py"):
            return 1
        print()
    if save and mscope("baseline", "save", f"models/{ACCEPTED}", "-o", BASELINE):
        return 1
    wrong = [model for model, expected in CHECKED.items() if not judge(model, expected)]
    print(f"not as it should be: {', '.join(wrong)}" if wrong else f"{len(CHECKED)} models judged as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="make the models and the baseline anew first")
    sys.exit(main(save=parser.parse_args().save))
