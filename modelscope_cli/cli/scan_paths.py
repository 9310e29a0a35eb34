"""The files that `mscope scan` goes through: those that were named, and all in the folders and archives' folders that were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelscope_cli.cli.overwriting import EARLIER, Outputs, is_below
from modelscope_cli.core.scanned import LINK, LeftOut
from modelscope_cli.errors import ModelscopeError, SourceError

if TYPE_CHECKING:
    from modelscope_cli.core.limits import Limits

FEW = 3  # files named in a line


class ScanPaths:
    """Each file once. While they are gone through, `left_out` gets what nobody looks at, `problems` the folders that cannot be listed."""

    def __init__(self, paths: Sequence[str], bounds: Limits, outputs: Sequence[str]):
        from modelscope_cli.formats.files_below import Met

        self.paths = paths
        self.bounds = bounds
        self.outputs = Outputs(outputs, [path for path in paths if os.path.isdir(path)])
        self.left_out: list[LeftOut] = []
        self.problems: list[ModelscopeError] = []
        self.met = Met()

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        """(file, whether it was named itself)."""
        from modelscope_cli.formats.archive_paths import leads_inside
        from modelscope_cli.formats.files_below import files_below

        for path in self.paths:
            if os.path.isdir(path):
                for file in files_below(path, self.problems.append, self.bounds, self.met, self.leave_out):
                    if self.outputs.take(file):
                        self.met.forget(file)
                        self.leave_out(LeftOut(file, EARLIER))
                    else:
                        yield file, False
            elif leads_inside(path):
                yield from self._inside(path)
            elif self.met.is_new(path, self.leave_out):
                yield path, True

    def leave_out(self, left: LeftOut) -> None:
        """Note what is passed over. Nothing is missed where a link leads to a folder that is gone through by its own name."""
        if left.what == LINK and (home := self._home_of(left.place)):
            left = LeftOut(left.place, f"a link to a folder in {home}, which was looked at")
        self.left_out.append(left)

    def _home_of(self, link: str) -> str:
        """The folder that was named in which a link leads to another; "" for none, or where what is a repository's own begins."""
        from modelscope_cli.formats.files_below import GIT

        real = os.path.realpath(link)
        for path in self.paths:
            root = os.path.realpath(path)
            if os.path.isdir(root) and is_below(real, root) and GIT not in os.path.relpath(real, root).split(os.sep):
                return path
        return ""

    def _inside(self, path: str) -> Iterator[tuple[str, bool]]:
        """What a path into an archive means: a file in it, or all those of a folder in it. The archive stays open meanwhile."""
        from modelscope_cli.formats.archive_paths import reach

        try:
            archive, name = reach(path, self.bounds)
        except ModelscopeError:
            yield path, True  # opening it says what is wrong
            return
        folder = f"{name.rstrip('/')}/" if name.rstrip("/") else ""
        below = [file for file in archive.files if file.startswith(folder)] if name not in archive.files else []
        if not below:
            yield path, True
        for file in below:
            yield archive.at(file), False

    def nothing(self) -> ModelscopeError:
        """That there is nothing to scan is no verdict: a folder may have been misspelt."""
        first = "; ".join(f"{left.place}: {left.why}" for left in self.left_out[:FEW])
        return SourceError("no files to scan", path=self.paths[0], hint=first or "is it the folder you mean?")


def read_by(path: str) -> list[str]:
    """The files of the system that a path leads to: of one into an archive the archive."""
    return [path[:at] for at, letter in enumerate(path) if letter == "!" and os.path.isfile(path[:at])][:1] or [path]


def unread_in_folders(files: Sequence[str]) -> ModelscopeError:
    """One problem for all files of folders that could not be read: each has its verdict and its finding."""
    named = ", ".join(map(os.path.basename, files[:FEW])) + (" …" if len(files) > FEW else "")
    count = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
    said = f"{count} could not be read, or not to the end: {named}"
    return SourceError(said, hint="the verdicts say why, and -f json has them all")


def told_folders(problems: Sequence[ModelscopeError]) -> list[ModelscopeError]:
    """The folders that could not be listed, or not to the end: the first few one by one, the others in a line."""
    if len(problems) <= FEW + 1:
        return list(problems)
    more = SourceError(f"{len(problems) - FEW:,} more folders could not be listed", hint="-f json has them all")
    return [*problems[:FEW], more]
