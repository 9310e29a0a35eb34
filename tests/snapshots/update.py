"""Writes the snapshots again: `python -m tests.snapshots.update`. Look at what `git diff tests/snapshots` says before keeping it.

    saved/NAME-60.txt, -100.txt, -160.txt    what a terminal of that many columns shows
    saved/NAME-tree.txt                      -f tree
    saved/NAME.json                          -f json

NAME is a checkpoint of checkpoints.py. Blanks at the ends of lines are left out.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.command import mscope
from tests.snapshots.checkpoints import SHOWN

SAVED = Path(__file__).with_name("saved")
VIEWS: dict[str, tuple[int, tuple[str, ...]]] = {
    "-60.txt": (60, ()),
    "-100.txt": (100, ()),
    "-160.txt": (160, ()),
    "-tree.txt": (100, ("-f", "tree")),
    ".json": (100, ("-f", "json")),
}


def report(path: str, view: str) -> str:
    """What the command says of a checkpoint of the current folder."""
    columns, options = VIEWS[view]
    done = mscope("inspect", path, *options, columns=columns)
    if (done.code, done.err) != (0, ""):
        raise AssertionError(f"{path}: exit code {done.code}, {done.err}")
    return "".join(f"{line.rstrip()}\n" for line in done.out.split("\n")[:-1])


def reports(folder: Path) -> Iterator[tuple[str, str]]:
    """(file name, text) of every snapshot, from checkpoints made in the folder."""
    with contextlib.chdir(folder):
        for name, make in SHOWN.items():
            path = make(folder)
            for view in VIEWS:
                yield name + view, report(path, view)


def main() -> None:
    SAVED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        written = dict(reports(Path(folder)))
    for old in SAVED.iterdir():
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (SAVED / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(written)} snapshots")


if __name__ == "__main__":
    main()
