"""`mscope init`: a first mscope.toml, with limits taken from a model file."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import LimitChanges, Only, limits
from modelscope_cli.cli.output import OUTPUT

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint

FILE = "mscope.toml"

HELP = """Write a commented mscope.toml whose limits this model keeps, with some room to grow.

Edit it, commit it, and `mscope check` holds every later version to it. Rules that do not fit the model stand in it as comments.

Exit codes: 0 fine, 2 wrong usage, 3 something could not be read or written.

\b
Examples:
  mscope init weights.pth
  mscope init weights.pth -o ci/mscope.toml
  mscope init weights.pth -o -                     only look
"""


def init(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A model file, shard, index file or folder.", show_default=False)],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write, - for stdout.", rich_help_panel=OUTPUT)
    ] = FILE,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.", rich_help_panel=OUTPUT)] = False,
    only: Only = False,
    limit: LimitChanges = None,
) -> None:
    """Read, choose limits, write; the help text is HELP."""
    from modelscope_cli.analysis.overview import inspect
    from modelscope_cli.checks.rule import whole
    from modelscope_cli.checks.settings import Settings
    from modelscope_cli.checks.starter import starter
    from modelscope_cli.cli.looking import Safeties
    from modelscope_cli.cli.options import refuse_inputs, write_file
    from modelscope_cli.cli.policies import Criteria
    from modelscope_cli.cli.problems import UNREADABLE, print_line
    from modelscope_cli.cli.reading import find, in_time, readable, refuse_several
    from modelscope_cli.render.plain import visible

    if output == "":
        raise typer.BadParameter("a file needs a name", param_hint="'--output'")
    if output != "-" and os.path.exists(output) and not force:
        raise typer.BadParameter(
            f"{output!r} is there already: --force writes over it, -o names another", param_hint="'--output'"
        )
    bounds = limits(limit)
    targets, problems = find([path], only=only, bounds=bounds)
    refuse_several(path, targets, "a first configuration is for one")
    safeties = Safeties(bounds, Criteria(Settings(), named=False), [path])

    def choose(number: int, checkpoint: Checkpoint) -> bytes:
        whole(checkpoint, "limits taken from it would be too low")
        safety = safeties.of(checkpoint, targets[number], targets, around=True)
        return starter(inspect(checkpoint), safety).encode()

    for number, checkpoint in readable(targets, problems, bounds, lenient=False, looking_at=safeties.looking_at):
        data = in_time(partial(choose, number, checkpoint), checkpoint.path, bounds, problems)
        if data is None:
            continue
        if output == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            continue
        refuse_inputs(output, [path, *(each.path for each in checkpoint.files)])
        write_file(output, data)
        print_line(f"{visible(output)} – next: mscope check {visible(shlex.quote(path))}")
    if problems:
        raise typer.Exit(UNREADABLE)
