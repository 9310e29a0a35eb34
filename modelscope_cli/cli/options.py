"""Options that commands share: output file, colours, limits, regular expressions."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelscope_cli.core.limits import Limits


def list_limits(assignments: list[str] | None) -> list[str] | None:
    """Print the limits and end, where help is asked for instead of a change."""
    if "help" not in (assignments or ()):
        return assignments
    from modelscope_cli.cli.problems import print_line
    from modelscope_cli.core.limits import explained

    rows = explained()
    longest = max(len(name) for name, _, _ in rows)
    print_line("Limits, their defaults, and what they are of. Change one with --limit NAME=VALUE:")
    for name, default, meaning in rows:
        print_line(f"  {name:{longest}}  {default:>13,}  {meaning}")
    raise typer.Exit


READING = "How to read"  # a panel of the help
DESCRIPTOR = re.compile(r"/dev/std(out|err)|(?:/dev|/proc/self)/fd/(\d{1,9})")  # names of streams that are open
Only = Annotated[bool, typer.Option("--only", help="Take a shard by itself instead of its whole set.", rich_help_panel=READING)]
Lenient = Annotated[
    bool,
    typer.Option(
        "--lenient", help="Show what can be shown of a damaged safetensors file (still exit code 3).", rich_help_panel=READING
    ),
]
LimitChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        help="Change a limit, e.g. header_bytes=100000000; --limit help lists them.",
        callback=list_limits,
        is_eager=True,
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
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.core.limits import DEFAULT_LIMITS
    from modelscope_cli.errors import ModelscopeError

    try:
        bounds = DEFAULT_LIMITS.replace(assignments or [])
    except ModelscopeError as problem:
        raise typer.BadParameter(f"{problem.message} ({problem.hint})", param_hint="'--limit'") from None
    Clock.command(bounds)
    return bounds


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


def refuse_inputs(file: str, inputs: Iterable[str]) -> None:
    """Writing over what the command reads is wrong usage, under whatever name: a link, a hard link, another way to spell it."""
    real, there = os.path.realpath(file), os.path.exists(file)
    for each in inputs:
        if os.path.realpath(each) == real or (there and os.path.exists(each) and os.path.samefile(file, each)):
            raise typer.BadParameter(
                f"{file!r} is the model itself or another file that this command reads", param_hint="'--output'"
            )


def write_file(path: str, data: bytes) -> None:
    """Write a file whole or not at all. Failing is exit code 3 and a sentence."""
    from modelscope_cli.cli.problems import UNREADABLE

    if not written(path, data):
        raise typer.Exit(UNREADABLE)


def written(path: str, data: bytes | Iterable[bytes]) -> bool:
    """Write a file whole or not at all, behind a link too. Returns False, with a sentence said, where that fails."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.render.plain import visible

    parts = (data,) if isinstance(data, bytes) else data
    try:
        stream = DESCRIPTOR.fullmatch(path)
        if stream is not None:
            write_stream({"out": 1, "err": 2}.get(stream[1]) or int(stream[2]), parts)
        elif os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device cannot be renamed onto
            with open(path, "wb") as device:
                device.writelines(parts)
        else:
            replace(os.path.realpath(path), parts)
    except OSError as error:
        reason, todo = (error.strerror or str(error)).lower(), ""
        if isinstance(error, FileNotFoundError):
            folder = os.path.dirname(os.path.realpath(path) if os.path.islink(path) else path) or "."
            reason, todo = f"there is no folder {folder!r}", " - make it first, or name another"
        elif os.path.isdir(path):
            reason, todo = "it is a folder", " - name a file in it"
        say(f"mscope: {visible(path)}: cannot be written: {reason}{todo}")
        return False
    return True


def write_stream(number: int, parts: Iterable[bytes]) -> None:
    """Write to a stream that is open already, where it stands: behind `>> log` is a file whose other lines must stay."""
    sys.stdout.flush()
    with os.fdopen(os.dup(number), "wb") as stream:
        stream.writelines(parts)


def replace(file: str, parts: Iterable[bytes]) -> None:
    """Write beside, then rename. The mode of a file that is there stays; whatever ends this (but SIGKILL), nothing is left beside it."""
    from modelscope_cli.bridges.ending import deferred_end

    if os.path.islink(file):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # all links are followed, but for one that leads to itself
    if os.path.exists(file):
        mode = os.stat(file).st_mode & 0o777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    aside = os.path.join(os.path.dirname(file), f".mscope-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with deferred_end() as ending:
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "wb") as beside:
                ending.allow()
                beside.writelines(parts)
            os.chmod(aside, mode)
            os.replace(aside, file)
        except BaseException:  # Ctrl-C too, and being asked to end
            if os.path.exists(aside):
                os.unlink(aside)
            raise
