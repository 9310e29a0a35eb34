"""`mscope`: the commands and what they share. `mscope FILE` without a command means `mscope inspect FILE`."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from modelscope_cli import __version__
from modelscope_cli.cli.clock import Clock, SpentError
from modelscope_cli.errors import ModelscopeError

DEFAULT_COMMAND = "inspect"
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class CommandRow(NamedTuple):
    """A command: its module has a function `name` and a HELP, or an `app` with commands of its own. Imported when it is called."""

    name: str
    module: str
    needs_argument: bool = True  # without any, help is shown


COMMANDS = (
    CommandRow("inspect", "modelscope_cli.cli.inspect"),
    CommandRow("visualize", "modelscope_cli.cli.visualize"),
    CommandRow("report", "modelscope_cli.cli.report"),
    CommandRow("check", "modelscope_cli.cli.check", needs_argument=False),
    CommandRow("scan", "modelscope_cli.cli.scan"),
    CommandRow("diff", "modelscope_cli.cli.diff"),
    CommandRow("baseline", "modelscope_cli.cli.baseline"),
    CommandRow("init", "modelscope_cli.cli.init"),
    CommandRow("formats", "modelscope_cli.cli.formats", needs_argument=False),
)

HELP = """Look inside model files: what is in them, which layer takes the space, where every byte is.

Reads PyTorch (.pth .pt .bin .ckpt), safetensors, GGUF, sharded and distributed checkpoints without torch, without loading the weights \
and without executing anything in them. `mscope FILE` is short for `mscope inspect FILE`.
"""


class LateGroup(TyperGroup):
    """A group that imports a command when it is called, and takes a path in place of one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [row.name for row in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            row = next((row for row in COMMANDS if row.name == cmd_name), None)
            if row is None:
                return None
            self.commands[cmd_name] = _command(row)
        return self.commands[cmd_name]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {option for parameter in self.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help",
            "-h",
        }
        if args and args[0] not in self.list_commands(ctx) and args[0].partition("=")[0] not in own:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Whoever reads our output has had enough (`mscope … | head`): no failure, and 1 would mean something else here."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(0) from None


app = typer.Typer(
    name="mscope",
    cls=LateGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelscope-cli {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """The options of mscope itself; the help text is HELP."""


def _command(row: CommandRow) -> Any:
    """A command as click knows it."""
    module = import_module(row.module)
    inner = getattr(module, "app", None)
    if inner is None:
        inner = typer.Typer(
            rich_markup_mode="rich",
            add_completion=False,
            pretty_exceptions_enable=False,
            context_settings=app.info.context_settings,
        )
        inner.command(row.name, help=module.HELP, no_args_is_help=row.needs_argument)(getattr(module, row.name))
    made = typer.main.get_command(inner)
    made.name = row.name
    return made


def main() -> None:
    """The console script."""
    if sys.stdout is None:  # closed by whoever started us: a stream that refuses to be written to
        sys.stdout = open(os.devnull)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    Clock.watching = True
    gc.disable()  # a short life: collecting cycles in a million objects would cost more than it frees
    try:
        app(prog_name=os.path.basename(sys.argv[0]) if not sys.argv[0].endswith("__main__.py") else "mscope")
        code: object = 0
    except SystemExit as ended:
        code = 0 if isinstance(ended.__context__, BrokenPipeError) else ended.code  # rich and click end so when help is cut off
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = 0
    except OSError as error:  # the disk behind a redirection is full
        failed = unwritable(error)
        code = getattr(error.__context__, "exit_code", failed)  # of wrong usage, which nobody could be told about
    except (ModelscopeError, MemoryError, RecursionError) as error:  # beyond the reading, where each file answers for itself
        code = unworkable(error)
    except SpentError as error:
        code = unworkable(error.problem(None))
    except Exception as error:
        from modelscope_cli.cli.mistakes import as_internal, is_mistake

        Clock.stop()
        if not is_mistake(error):
            raise
        code = unworkable(as_internal(error, None))
    Clock.stop()
    leave(code if isinstance(code, int) else 0 if code is None else 1)


def leave(code: int) -> None:
    """Flush and end at once: taking a million objects apart one by one would take longer than reading the file did."""
    if code == INTERRUPTED:
        stop_at_once()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `mscope … | head`: whoever reads has had enough
        pass
    except OSError as error:
        code = code or unwritable(error)
    except KeyboardInterrupt:
        stop_at_once()
    with suppress(OSError, KeyboardInterrupt):
        sys.stderr.flush()
    os._exit(code)


def stop_at_once() -> NoReturn:
    """End after Ctrl-C. What has not been written yet stays so: whoever should read it may be the one who does not."""
    os._exit(INTERRUPTED)


def unwritable(error: OSError) -> int:
    """Say that the output could not be written, or which other file the system refused; returns the exit code."""
    from modelscope_cli.cli.problems import UNREADABLE, say
    from modelscope_cli.render.plain import visible

    what = "the output cannot be written" if error.filename is None else visible(os.fsdecode(error.filename))
    with suppress(OSError):
        say(f"mscope: {what}: {(error.strerror or str(error) or 'no standard output').lower()}")
    return UNREADABLE


def unworkable(error: Exception) -> int:
    """Say that a command cannot go on; returns the exit code."""
    from modelscope_cli.cli.problems import UNREADABLE, say, tell

    if isinstance(error, ModelscopeError):
        tell(error)
    else:
        say(f"mscope: {'needs more memory than there is' if isinstance(error, MemoryError) else 'nested too deeply'}")
    return UNREADABLE
