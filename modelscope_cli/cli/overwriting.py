"""Which outputs may be written over, where a whole folder is looked through: only documents of our own.

A name that is not there yet may be written into the folder. A link in it leads where whoever made the folder wants, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from modelscope_cli.checks.safety import Judged

HEAD = 1 << 12  # bytes of a document by which it is known
JSON = tuple(
    b'{\n  "schema": "mscope.%b/' % name for name in (b"scan", b"check", b"report", b"inspect", b"diff")
)  # no baseline
SARIF = (b'{\n  "$schema": "https://docs.oasis-open.org/sarif/', b'"name": "modelscope-cli"')
JUNIT = b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="mscope.'
EARLIER = "a document of an earlier run, which this one writes over"


def is_own_document(path: str) -> bool:
    """Whether a file begins as our JSON, SARIF and JUnit do; our other formats have no mark that says so."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return head.startswith((*JSON, JUNIT)) or (head.startswith(SARIF[0]) and SARIF[1] in head)


class Outputs:
    """The files that a scan writes, while it goes through folders."""

    def __init__(self, files: Iterable[str], folders: Sequence[str]):
        """Wrong usage where a file in a folder would be written over, or where a link in it would be followed."""
        self.earlier: set[str] = set()  # real paths of documents of ours that are replaced
        self._there: dict[tuple[int, int], str] = {}  # the other outputs that are there already
        for file in files:
            for folder in folders:
                if leads_through_link(file, folder):
                    refuse(file, f"leads through a link that lies in {folder!r}, where it wants")
            if not os.path.isfile(file):
                continue
            real = os.path.realpath(file)
            if is_own_document(file):
                self.earlier.add(real)
                continue
            for folder in folders:
                if is_below(real, os.path.realpath(folder)):
                    refuse(file, f"is there already, in {folder!r} that is scanned, and is no JSON, SARIF or JUnit of mscope")
            found = os.stat(file)
            self._there[(found.st_dev, found.st_ino)] = file

    def take(self, path: str) -> bool:
        """Whether a file is a document that this run replaces. Wrong usage where it is an output that is none of ours."""
        if self.earlier and os.path.realpath(path) in self.earlier:
            return True
        if self._there:
            try:
                found = os.stat(path)
            except OSError:
                return False
            file = self._there.get((found.st_dev, found.st_ino))
            if file is not None:
                refuse(file, f"is {path!r}, which is scanned")
        return False


def judged_files(judged: Judged) -> list[str]:
    """The files that verdicts are about, which no output may be written over: not our own documents, nor a text that is not judged."""
    paths = [safety.path for safety in judged.safeties if safety.verdict is not None]
    return [path for path in paths if not is_own_document(path)]


def refuse(file: str, why: str) -> None:
    """Wrong usage, before anything is written."""
    raise typer.BadParameter(f"{file!r} {why}: name another file, or delete this one first", param_hint="'--output'")


def is_below(path: str, folder: str) -> bool:
    """Whether a path leads to something in a folder; both are absolute."""
    try:
        return os.path.commonpath((path, folder)) == folder
    except ValueError:  # another drive
        return False


def leads_through_link(file: str, folder: str) -> bool:
    """Whether a path goes through a folder, and from there on through a link."""
    home = os.path.realpath(folder)
    path, link = os.path.join(os.getcwd(), file), False
    while True:
        if os.path.realpath(path) == home:
            return link
        link = link or os.path.islink(path)
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
