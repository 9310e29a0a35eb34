"""`mscope diff`: what changed between two model files."""

from __future__ import annotations

from typing import Annotated

import typer

from modelscope_cli.cli.options import Color, LimitChanges, Unit, limits
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Github, Publisher, Units, complete_documents, outputs

COMPARING = "What counts"
DIFFERENT = 1

HELP = """What changed between two model files, and what that does to the size of every module.

Tensors added, removed, renamed, reshaped, retyped, tied or untied, with ± parameters and ± bytes. Works \
across formats and shardings: a .bin in eight shards can be held against one safetensors file. A prefix that came or went \
(module., _orig_mod.) is one line. Names, shapes and dtypes are compared, not values. Either side may be a baseline.

Exit codes: 0 fine, 1 with --exit-code when there are differences, 2 wrong usage, 3 something could not be read or written.

\b
Examples:
  mscope diff old.pth new.pth
  mscope diff model.baseline.json weights.pth --exit-code
  mscope diff pytorch_model.bin.index.json model.safetensors
  mscope diff old.pth new.pth -o changes.md -o changes.json
"""


def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="What it was: a model file, a set or a baseline.", show_default=False)
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is now.", show_default=False)],
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 when there are differences.", rich_help_panel=COMPARING)
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Differences of the container count too: format, shards, bytes outside the tensors.",
            rich_help_panel=COMPARING,
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="table, markdown, html, json, junit, sarif, csv or tsv.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_documents,
        ),
    ] = None,
    output: Files = None,
    github: Github = False,
    unit: Units = Unit.auto,
    color: Colors = Color.auto,
    only: Annotated[bool, typer.Option("--only", help="Take a shard by itself instead of its whole set.")] = False,
    limit: LimitChanges = None,
) -> None:
    """Read both, compare, show; the help text is HELP."""
    from functools import partial

    from modelscope_cli.analysis.diff import compare
    from modelscope_cli.analysis.diff_report import SCHEMA, to_report
    from modelscope_cli.cli.problems import UNREADABLE
    from modelscope_cli.cli.reading import find, in_time, readable, refuse_several
    from modelscope_cli.errors import ModelscopeError

    bounds = limits(limit)
    publisher = Publisher(outputs(format, output, TABLE), SCHEMA, color, unit, github=github, judging=True)
    problems: list[ModelscopeError] = []
    sides = []
    for path in (old, new):
        targets, missing = find([path], only=only, bounds=bounds)
        publisher.targets(targets)
        problems += missing
        refuse_several(path, targets, "a diff is of one with one")
        for _, checkpoint in readable(targets, problems, bounds, lenient=False):
            publisher.model(checkpoint)
            sides.append(checkpoint)
    different = failed = False
    if len(sides) == 2:
        before, after = sides

        def show() -> tuple[bool, bool]:
            found = compare(before, after)
            return found.differs(strict=strict), publisher.add(partial(to_report, found))

        different, failed = in_time(show, new, bounds, problems) or (False, True)
    failed = publisher.finish(problems) or failed or bool(problems)
    if failed or (different and exit_code):
        raise typer.Exit(UNREADABLE if failed else DIFFERENT)
