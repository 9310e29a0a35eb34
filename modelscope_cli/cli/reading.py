"""Reading what a command was pointed at: every path, what could be read, and a line on stderr for what could not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import typer

from modelscope_cli.cli.options import nearest
from modelscope_cli.cli.progress import LateProgress

if TYPE_CHECKING:
    from modelscope_cli.cli.looking import Timed
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.folder import Folder
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import Target


T = TypeVar("T")


class Unread(NamedTuple):
    """A path where no model was found, or the one that was (the `number`th of the targets) cannot be read."""

    path: str
    problem: ModelscopeError
    number: int | None = None


def find(
    paths: list[str], *, only: bool, bounds: Limits | None = None, unread: list[Unread] | None = None
) -> tuple[list[Target], list[ModelscopeError]]:
    """The model files behind paths, and why there is none behind others, which is told at once and added to `unread`."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.core.limits import DEFAULT_LIMITS
    from modelscope_cli.formats.locate import locate

    lost: list[str] = []
    bounds = bounds or DEFAULT_LIMITS
    with LateProgress(paths[0] if len(paths) == 1 else "") as progress:

        def unpacking(done: int, whole: int) -> None:  # which has a limit of its own
            Clock.running_now[-1].restart()
            progress.unpacking(done, whole)

        timed = partial(Clock.reading, bounds)
        targets, problems = locate(paths, only=only, limits=bounds, unpacking=unpacking, lost=lost, timed=timed)
    if unread is not None:
        unread += map(Unread, lost, problems)
    for problem in problems:
        suggest_command(problem)
        tell(problem)
    return targets, problems


def readable(
    targets: list[Target],
    problems: list[ModelscopeError],
    bounds: Limits,
    *,
    lenient: bool,
    looking_at: Callable[[Target], Timed | None] | None = None,
    unread: list[Unread] | None = None,
) -> Iterator[tuple[int, Checkpoint]]:
    """(number of the target, checkpoint) of those that can be read; the others are told and added to the problems, and to `unread`.

    `looking_at` gives what scans a target while it is read.

    Of the checkpoints of one folder only the last carries what is in that folder, and there no file is called used that was not
    read. Since the last may be one that cannot be read, each is kept back until the next has been tried.
    """
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.errors import ModelscopeError

    kept: tuple[int, Checkpoint] | None = None
    outcome = Outcome()
    for number, target in enumerate(targets):
        look = looking_at(target) if looking_at is not None else None
        try:
            checkpoint = read_in_time(target, bounds, lenient=lenient, look=look)
        except ModelscopeError as problem:
            name_copies(problem, target)
            suggest_scan(problem, target.path)
            if look is not None:
                look.warn(problem, target.path)
            tell(problem)
            problems.append(problem)
            if unread is not None:
                unread.append(Unread(target.path, problem, number))
            outcome.failed.append((target, problem.message))
            continue
        if kept is not None:
            if kept[1].in_folder is target.in_folder:
                kept[1].in_folder = without_entries(kept[1].in_folder)
            else:
                outcome.settle(kept[1])
            yield kept
            kept = None
        outcome.read.update(file.path for file in checkpoint.files)
        if target.in_folder is None:
            yield number, checkpoint
            continue
        last = number + 1 == len(targets) or targets[number + 1].in_folder is not target.in_folder
        if last:
            outcome.settle(checkpoint)
            yield number, checkpoint
        else:
            kept = number, checkpoint
    if kept is not None:
        outcome.settle(kept[1])
        yield kept


class Outcome:
    """Which files were read, and which targets could not be."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.failed: list[tuple[Target, str]] = []

    def settle(self, checkpoint: Checkpoint) -> None:
        """Correct what is said of the folder of a checkpoint: only what was read is used."""
        import os

        from modelscope_cli.core.place import SEPARATOR
        from modelscope_cli.formats.locate import names_of

        folder = checkpoint.in_folder
        if folder is None or not any(entry.used for entry in folder.entries):
            return
        read = set()
        for path in self.read:  # and the folder and the archive that hold it
            normal = os.path.normpath(path)
            read |= {
                normal,
                os.path.dirname(normal),
                *(normal[:at] for at, letter in enumerate(normal) if letter == SEPARATOR[0]),
            }
        failed = {os.path.normpath(name): message for target, message in self.failed for name in names_of(target)}

        def unread(name: str) -> str:
            path = os.path.normpath(os.path.join(folder.path, name))
            return "" if path in read else failed.get(path, "could not be read")

        checkpoint.in_folder = folder.without_unread(unread)


def read_in_time(target: Target, bounds: Limits, *, lenient: bool = False, look: Timed | None = None) -> Checkpoint:
    """The checkpoint of a target, shown while it lasts. Each file of a set has the seconds of the limits for itself.

    With `look` its files are scanned too, in the same seconds.
    """
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.formats.registry import read_target

    with LateProgress(target.path) as progress, Clock.reading(bounds, target.path) as clock:

        def step(done: int, whole: int) -> None:
            clock.restart()
            progress.step(done, whole)

        def unpacking(done: int, whole: int) -> None:  # which has a limit of its own
            clock.restart()
            progress.unpacking(done, whole)

        read = partial(read_target, target, bounds, lenient=lenient, step=step, unpacking=unpacking, look=look)
        if look is None:
            return guarded(read, target.path)
        look.clock = clock
        try:
            return guarded(read, target.path)
        finally:
            look.clock = None


def in_time(
    work: Callable[[], T],
    path: str,
    bounds: Limits,
    problems: list[ModelscopeError],
    unread: list[Unread] | None = None,
    number: int | None = None,
) -> T | None:
    """What work on a checkpoint that was read gives. Where it takes longer than the limits allow, that is told, and None.

    The checkpoint, the `number`th of the targets, is added to `unread` then.
    """
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.errors import ModelscopeError

    try:
        with Clock.showing(bounds, path):
            return guarded(work, path)
    except ModelscopeError as problem:
        if (problem.path, problem.message) not in [(other.path, other.message) for other in problems]:  # as of its scan
            tell(problem)
            problems.append(problem)
        if unread is not None:
            unread.append(Unread(path, problem, number))
        return None


def without_entries(folder: Folder | None) -> Folder | None:
    """The folder by name: what is in it is told once."""
    return folder._replace(entries=(), cut="") if folder is not None else None


def name_copies(problem: ModelscopeError, target: Target) -> None:
    """Where the weights to use cannot be read, the same model again beside them may be."""
    import os

    from modelscope_cli.core.folder import SAME

    if target.in_folder is None:
        return
    home = os.path.relpath(target.folder or ".", target.in_folder.path or ".").replace(os.sep, "/")
    names = [name for entry in target.in_folder.entries if entry.what == SAME for name in entry.names]
    copies = [
        name
        for name in names
        if (name.rpartition("/")[0] or ".") == home and name.endswith((".safetensors", ".bin", ".pth", ".gguf"))
    ]
    if copies:
        said = f"the folder holds the same model again: {', '.join(copies[:3])}{' …' if len(copies) > 3 else ''}"
        problem.hint = f"{problem.hint}; {said}" if problem.hint else said


def refuse_several(path: str, targets: list[Target], why: str) -> None:
    """A command about one model meets a folder of several: that is told, and ends it."""
    from modelscope_cli.cli.problems import UNREADABLE, say
    from modelscope_cli.core.place import typed
    from modelscope_cli.render.plain import visible

    if len(targets) > 1:
        named = ", ".join(visible(typed(target.path)) for target in targets[:4]) + (" …" if len(targets) > 4 else "")
        say(f"mscope: {visible(path)}: holds {len(targets):,} models, {why} - name it: {named}")
        raise typer.Exit(UNREADABLE)


def suggest_command(problem: ModelscopeError) -> None:
    """A word that is no path may be a command with a slip in it."""
    from modelscope_cli.cli.app import COMMANDS

    close = nearest(problem.path or "", tuple(command.name for command in COMMANDS))
    if close:
        problem.hint = close.removeprefix("; ")


def suggest_scan(problem: ModelscopeError, path: str) -> None:
    """What is refused here other programs may load, and run what is in it."""
    from contextlib import suppress

    from modelscope_cli.core.window import open_window
    from modelscope_cli.errors import CorruptFileError, ModelscopeError

    if problem.hint is None and isinstance(problem, CorruptFileError):
        with suppress(ModelscopeError), open_window(path) as window:
            if window.head(2).startswith((b"PK", b"\x80")):
                problem.hint = "mscope scan says what loading it can run"


def guarded(work: Callable[[], T], path: str) -> T:
    """Call what works on one file. Running out of memory or recursion is an error of the input like any other, and a mistake of ours
    is one of this file alone."""
    from modelscope_cli.errors import CorruptFileError, ModelscopeError

    try:
        return work()
    except ModelscopeError as problem:
        raise problem.without_frames() from None
    except MemoryError:
        raise CorruptFileError("needs more memory than there is", path=path) from None
    except RecursionError:
        raise CorruptFileError("nested too deeply", path=path) from None
    except Exception as error:
        from modelscope_cli.cli.mistakes import as_internal, is_mistake

        if is_mistake(error):
            raise as_internal(error, path) from None
        raise
