"""Reading what a command was pointed at: every path, what could be read, and a line on stderr for what could not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import typer

from modelscope_cli.cli.options import nearest
from modelscope_cli.cli.progress import LateProgress

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import Target


T = TypeVar("T")


def find(paths: list[str], *, only: bool) -> tuple[list[Target], list[ModelscopeError]]:
    """The model files behind paths, and the paths behind which there is none, which are told at once."""
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.formats.locate import locate

    targets, problems = locate(paths, only=only)
    for problem in problems:
        suggest_command(problem)
        tell(problem)
    return targets, problems


def readable(
    targets: list[Target], problems: list[ModelscopeError], bounds: Limits, *, lenient: bool
) -> Iterator[tuple[int, Checkpoint]]:
    """(number of the target, checkpoint) of those that can be read; the others are told and added to the problems."""
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.registry import read_target

    for number, target in enumerate(targets):
        try:
            with LateProgress(target.path) as progress:
                read = partial(read_target, target, bounds, lenient=lenient, step=progress.step)
                checkpoint = guarded(read, target.path)
        except ModelscopeError as problem:
            tell(problem)
            problems.append(problem)
            continue
        yield number, checkpoint


def refuse_several(path: str, targets: list[Target], why: str) -> None:
    """A command about one model meets a folder of several: that is told, and ends it."""
    from modelscope_cli.cli.problems import UNREADABLE, say
    from modelscope_cli.render.plain import visible

    if len(targets) > 1:
        named = ", ".join(visible(target.path) for target in targets[:4]) + (" …" if len(targets) > 4 else "")
        say(f"mscope: {visible(path)}: holds {len(targets):,} models, {why} - name it: {named}")
        raise typer.Exit(UNREADABLE)


def suggest_command(problem: ModelscopeError) -> None:
    """A word that is no path may be a command with a slip in it."""
    from modelscope_cli.cli.app import COMMANDS

    close = nearest(problem.path or "", tuple(command.name for command in COMMANDS))
    if close:
        problem.hint = close.removeprefix("; ")


def guarded(work: Callable[[], T], path: str) -> T:
    """Call a reader; running out of memory or recursion is an error of the input like any other."""
    from modelscope_cli.errors import CorruptFileError

    try:
        return work()
    except MemoryError:
        raise CorruptFileError("needs more memory than there is", path=path) from None
    except RecursionError:
        raise CorruptFileError("nested too deeply", path=path) from None
