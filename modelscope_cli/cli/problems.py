"""Errors in words, and exit codes.

0 fine · 1 only from check, scan and `diff --exit-code` · 2 usage · 3 something could not be read (the rest is still shown)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelscope_cli.errors import ModelscopeError

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.report.document import Problem

FINE, USAGE, UNREADABLE = 0, 2, 3


def tell(problem: ModelscopeError) -> None:
    """One line on stderr: what, where, and what to do next."""
    from modelscope_cli.render.plain import visible

    hint = f" - {visible(problem.hint)}" if problem.hint else ""
    say(f"mscope: {visible(str(problem))}{hint}")


def tell_errors(checkpoint: Checkpoint) -> None:
    """One line on stderr for a checkpoint that was read and is not whole: the first that is wrong, and how much more is."""
    wrong = [note for note in checkpoint.notes if note.severity == "error"]
    if wrong:
        more = f" (and {len(wrong) - 1:,} more errors)" if len(wrong) > 2 else " (and another error)" if len(wrong) == 2 else ""
        tell(ModelscopeError(f"{wrong[0].message}{more}", path=wrong[0].where or checkpoint.path))


def say(line: str) -> None:
    """A line on stderr, whatever its encoding."""
    stream = sys.stderr
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding, "replace") + "\n")
    stream.flush()


def print_line(line: str) -> None:
    """A line on stdout, whatever its encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding, "replace") + "\n")


def as_problem(error: ModelscopeError) -> Problem:
    """An error as a part of a document."""
    from modelscope_cli.report.document import Problem

    return Problem(type(error).__name__, error.path, error.message, error.offset, error.hint)


@contextmanager
def told_if_spent(problems: list[ModelscopeError]) -> Iterator[None]:
    """For work on all files: where there is no more memory for it, that is told, and what was found until then stays."""
    from modelscope_cli.cli.clock import Clock, SpentError

    try:
        yield
    except SpentError as error:
        if Clock.whole is not None:
            Clock.whole.let_go(error)
        problem = error.problem(None)
        tell(problem)
        problems.append(problem)
