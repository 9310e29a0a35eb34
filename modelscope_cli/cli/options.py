"""Options that commands share: output file, colours, limits, regular expressions."""

from __future__ import annotations

import os
import re
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelscope_cli.core.limits import Limits


READING = "How to read"  # a panel of the help
Only = Annotated[bool, typer.Option("--only", help="Take a shard by itself instead of its whole set.", rich_help_panel=READING)]
LimitChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="Raise a limit, e.g. header_bytes=100000000.",
        rich_help_panel=READING,
        show_default=False,
    ),
]


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


class Unit(StrEnum):
    auto = "auto"
    iec = "iec"
    si = "si"
    bytes = "bytes"


def pattern(text: str | None, option: str) -> re.Pattern[str] | None:
    """A compiled regular expression; a wrong one is a usage error."""
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"{text!r} is not a regular expression: {error}", param_hint=f"'{option}'") from None


def limits(assignments: list[str] | None) -> Limits:
    """The limits with `NAME=VALUE` assignments; a wrong one is a usage error."""
    from modelscope_cli.core.limits import DEFAULT_LIMITS
    from modelscope_cli.errors import ModelscopeError

    try:
        return DEFAULT_LIMITS.replace(assignments or [])
    except ModelscopeError as problem:
        raise typer.BadParameter(f"{problem.message} ({problem.hint})", param_hint="'--limit'") from None


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A hint at what may have been meant, or nothing."""
    import difflib

    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def console(color: Color, file: Any = None) -> Any:
    """A rich console on stdout (or a file), as wide as the terminal, obeying --color and NO_COLOR."""
    from rich.console import Console as RichConsole

    class Console(RichConsole):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1, which means something else here

    stream = file or sys.stdout
    terminal = file is None and stream.isatty()
    width = None if terminal or "COLUMNS" in os.environ else 100
    if color is Color.always:
        return Console(file=stream, force_terminal=True, width=width, no_color=False, highlight=False, legacy_windows=False)
    plain = color is Color.never or not terminal
    return Console(
        file=stream,
        force_terminal=not plain,
        width=width,
        no_color=True if plain else None,
        color_system=None if plain else "auto",
        highlight=False,
    )


def refuse_model(file: str, model: list[str]) -> None:
    """Writing over the model itself is wrong usage."""
    if os.path.exists(file) and any(os.path.exists(each) and os.path.samefile(file, each) for each in model):
        raise typer.BadParameter(f"{file!r} is the model itself", param_hint="'--output'")


def write_file(path: str, data: bytes) -> None:
    """Write a file whole or not at all. Failing is exit code 3 and a sentence."""
    from modelscope_cli.cli.problems import UNREADABLE

    if not written(path, data):
        raise typer.Exit(UNREADABLE)


def written(path: str, data: bytes) -> bool:
    """Write beside, then rename: a file is there whole or not at all. Returns False, with a sentence said, where that fails."""
    import tempfile

    from modelscope_cli.cli.problems import say

    folder = os.path.dirname(path) or "."
    aside = None
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # /dev/stdout and its like cannot be renamed onto
            with open(path, "wb") as file:
                file.write(data)
            return True
        handle, aside = tempfile.mkstemp(dir=folder, prefix=".mscope-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(aside, 0o666 & ~mask)
        os.replace(aside, path)
    except OSError as error:
        if aside is not None and os.path.exists(aside):
            os.unlink(aside)
        reason, todo = (error.strerror or str(error)).lower(), ""
        if isinstance(error, FileNotFoundError):
            reason, todo = f"there is no folder {folder!r}", " - make it first, or name another"
        elif os.path.isdir(path):
            reason, todo = "it is a folder", " - name a file in it"
        say(f"mscope: {path}: cannot be written: {reason}{todo}")
        return False
    return True


class LateProgress:
    """A progress bar on stderr for a read of many files: only on a terminal, and only when it takes longer than a second."""

    PATIENCE = 1.0  # seconds

    def __init__(self, path: str):
        self.path = path
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def step(self, done: int, whole: int) -> None:
        """Say that `done` of `whole` files have been read."""
        if self.bar is None:
            if time.monotonic() - self.started < self.PATIENCE or not sys.stderr.isatty():
                return
            from rich.console import Console
            from rich.progress import Progress

            from modelscope_cli.render.plain import visible

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(visible(os.path.basename(self.path)), total=whole)
            self.bar.start()
        self.bar.update(self.task, completed=done)

    def __enter__(self) -> LateProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
