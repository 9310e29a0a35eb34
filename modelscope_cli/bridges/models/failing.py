"""A failure of a model's own code: on other tensors the same code may do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from modelscope_cli.errors import DrawingError

T = TypeVar("T")
LONGEST = 300  # letters of somebody else's message


class FailedOnTheseError(DrawingError):
    """The model could not be made or called on fake or meta tensors; it may be on others."""


def first_that_works(ways: Sequence[str], attempt: Callable[[str], T]) -> T:
    """What the attempt gives on the first of the ways (FAKE, META …) that it works on.

    Where none does, the last failure is raised: of the way with the fewest tricks. Other errors are raised at once.
    """
    for on in ways[:-1]:
        try:
            return attempt(on)
        except FailedOnTheseError:
            continue
    return attempt(ways[-1])


def said(problem: BaseException) -> str:
    """An exception in one line: its type and the first line of what it says, or two where the first only announces."""
    try:
        lines = [line.strip() for line in str(problem).strip().splitlines() if line.strip()]
    except Exception:  # a message that cannot be written
        lines = []
    text = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return f"{type(problem).__name__}: {text[:LONGEST]}" if text else type(problem).__name__
