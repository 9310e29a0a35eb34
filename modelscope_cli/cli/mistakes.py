"""Exceptions that nobody foresaw: mistakes of this program. They are told in a sentence, and the other files are read all the same."""

from __future__ import annotations

import os
from pathlib import Path
from traceback import walk_tb

from modelscope_cli.errors import InternalError

TRACEBACK = "MSCOPE_TRACEBACK"  # the variable of the environment that lets them through
PACKAGE = Path(__file__).parents[1]
MOST_SAID = 200  # characters of what an exception says, which may be out of the file


def is_mistake(error: Exception) -> bool:
    """Whether it is one that is to be told so: not what the system answers, not the end of a command, and none if asked for the traceback."""
    return not (isinstance(error, OSError) or hasattr(error, "exit_code") or os.environ.get(TRACEBACK))


def as_internal(error: Exception, path: str | None) -> InternalError:
    """It as a problem with a path, with the place in our source that it came from."""
    said = str(error)
    if len(said) > MOST_SAID:
        said = f"{said[: MOST_SAID - 1]}…"
    return InternalError(f"{type(error).__name__}{_place(error)}{f': {said}' if said else ''}", path=path)


def _place(error: Exception) -> str:
    """The innermost line of ours."""
    found = ""
    for frame, line in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            found = f" in {file.relative_to(PACKAGE).as_posix()} line {line}"
    return found
