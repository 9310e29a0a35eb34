"""`mscope baseline`: descriptions of models to compare with later."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelscope_cli.cli.options import LimitChanges, Only, limits
from modelscope_cli.cli.output import OUTPUT

SUFFIX = ".baseline.json"

HELP = """Descriptions of models, made to be committed.

A baseline is a small text file with everything about a model but its weights: names, shapes, dtypes, ties, metadata, the bytes of \
each file. check, report, diff, inspect and visualize take one wherever they take a model.
"""

SAVE_HELP = """Describe a model file in a small JSON file.

The same model always gives the same text, equal layers stand on one line, and there are no times or folders in it, so that a git \
diff of it reads well. No weights are read.

Exit codes: 0 fine, 2 wrong usage, 3 something could not be read or written.

\b
Examples:
  mscope baseline save weights.pth                        weights.baseline.json
  mscope baseline save weights.pth -o model.baseline.json
  mscope check weights.pth -b model.baseline.json --max-growth 5%
  mscope diff model.baseline.json weights.pth
"""

app = typer.Typer(name="baseline", help=HELP, no_args_is_help=True, rich_markup_mode="rich", add_completion=False)


@app.callback()
def root() -> None:
    """A group of its own, even with one command in it; the help text is HELP."""


@app.command("save", help=SAVE_HELP, no_args_is_help=True)
def save(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A model file, shard, index file or folder.", show_default=False)],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help=f"Where to write, - for stdout; default: the name of the input with {SUFFIX}, in the working folder.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    only: Only = False,
    limit: LimitChanges = None,
) -> None:
    """Read, describe, write; the help text is SAVE_HELP."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.options import refuse_inputs, write_file
    from modelscope_cli.cli.pictures import name_of
    from modelscope_cli.cli.problems import UNREADABLE, print_line, tell
    from modelscope_cli.cli.reading import find, readable, refuse_several
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.baseline import describe
    from modelscope_cli.render.plain import begun

    if output == "":
        raise typer.BadParameter("a file needs a name", param_hint="'--output'")
    bounds = limits(limit)
    targets, problems = find([path], only=only, bounds=bounds)
    refuse_several(path, targets, "a baseline is of one")
    for _, checkpoint in readable(targets, problems, bounds, lenient=False):
        try:
            with Clock.showing(bounds, checkpoint.path):
                data = describe(checkpoint)
        except ModelscopeError as problem:
            problem.path = problem.path or checkpoint.path
            tell(problem)
            raise typer.Exit(UNREADABLE) from None
        if output == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            continue
        file = output or name_of(path) + SUFFIX
        refuse_inputs(file, [path, *(each.path for each in checkpoint.files)])
        write_file(file, data)
        if output is None:
            print_line(begun(file))
    if problems:
        raise typer.Exit(UNREADABLE)
