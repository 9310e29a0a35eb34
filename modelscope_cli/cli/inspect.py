"""`mscope inspect`: what is in a model file, and where every byte of it goes."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscope_cli.cli.options import Color, Lenient, LimitChanges, Only, Unit, limits, nearest, pattern
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Output, Publisher, Units, complete_documents, outputs

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Options, Overview
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.report.document import Report

KEYS = "module, kind, dtype, role, layer, shard, storage, tensor, section"


class Sort(StrEnum):
    order = "order"
    bytes = "bytes"
    parameters = "parameters"
    tensors = "tensors"
    name = "name"


SIZES, SHOWN = "How to divide", "What to show"
TREE = "tree"
OWN = (TABLE, TREE)  # formats beside those of all documents

HELP = """What is in a model file: parameters, bytes and shares of every layer.

Kinds marked ~ are inferred from names and shapes. A folded row (layers.0–31 ×32) counts all its copies. \
Rows in \\[brackets] are bytes outside the tensors, so that TOTAL is the size of the files.

Exit codes: 0 fine, 2 wrong usage, 3 something could not be read (everything else is still shown).

\b
Examples:
  mscope inspect weights.pth                       the whole file on a page
  mscope inspect model-00001-of-00008.safetensors  any shard opens its set
  mscope inspect weights.pth --by kind             Embedding, Linear, LayerNorm …
  mscope inspect weights.pth --by role,dtype       a hierarchy
  mscope inspect weights.pth --by tensor -n 10 --sort bytes
  mscope inspect weights.pth -f tree               nested, like print(model)
  mscope inspect weights.pth -o report.json -o report.md
"""


def complete_formats(incomplete: str) -> list[str]:
    """Shell completion of --format."""
    return [name for name in (TREE,) if name.startswith(incomplete)] + complete_documents(incomplete)


def complete_keys(incomplete: str) -> list[str]:
    """Shell completion of --by, behind commas too."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{key}" for key in KEYS.split(", ") if key.startswith(last)]


def inspect(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Model files, shards, index files or folders.", show_default=False)
    ],
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="KEYS",
            help=f"Divide by {KEYS}; several, comma-separated, make a hierarchy.",
            rich_help_panel=SIZES,
            autocompletion=complete_keys,
        ),
    ] = "module",
    depth: Annotated[
        int | None,
        typer.Option(
            "-d",
            "--depth",
            min=0,
            metavar="N",
            help="Levels of the tree to show (0 = all; default: as many as fit a page).",
            rich_help_panel=SHOWN,
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--top",
            min=0,
            metavar="N",
            help="Rows beside each other (0 = all); the rest goes into one row.",
            rich_help_panel=SHOWN,
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        Sort | None, typer.Option("--sort", help="Order of the rows.", rich_help_panel=SIZES, show_default=False)
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order round.", rich_help_panel=SIZES)] = False,
    include: Annotated[
        str | None,
        typer.Option(
            "--include", metavar="RE", help="Only tensors whose name matches.", rich_help_panel=SHOWN, show_default=False
        ),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            "--exclude", metavar="RE", help="Leave out tensors whose name matches.", rich_help_panel=SHOWN, show_default=False
        ),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Fold repeated blocks into one row.", rich_help_panel=SHOWN)
    ] = True,
    unit: Units = Unit.auto,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="table, tree (like print(model)), json (complete), markdown, html, csv, tsv, sarif or junit.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_formats,
        ),
    ] = None,
    output: Files = None,
    color: Colors = Color.auto,
    only: Only = False,
    lenient: Lenient = False,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then read and show; the help text is HELP."""
    from modelscope_cli.analysis.grouping import KEYS as KNOWN
    from modelscope_cli.analysis.overview import Options

    keys = tuple(key.strip() for key in by.split(","))
    for key in keys:
        if key not in KNOWN:
            raise typer.BadParameter(f"{key!r} is not one of {KEYS}{nearest(key, KNOWN)}", param_hint="'--by'")
    options = Options(
        by=keys,
        levels=depth,
        top=top,
        order=sort.value if sort else None,
        reverse=reverse,
        include=pattern(include, "--include"),
        exclude=pattern(exclude, "--exclude"),
        fold=fold,
    )
    run(paths, options, limits(limit), outputs(format, output, TABLE, OWN), color, unit, only=only, lenient=lenient)


def run(
    paths: list[str],
    options: Options,
    bounds: Limits,
    wanted: list[Output],
    color: Color,
    unit: Unit,
    *,
    only: bool,
    lenient: bool,
) -> None:
    """Read every path, show what could be read, tell what could not."""
    from modelscope_cli.analysis.folder_total import Totals
    from modelscope_cli.analysis.overview import SCHEMA, inspect, to_report
    from modelscope_cli.cli.problems import UNREADABLE, tell_errors
    from modelscope_cli.cli.reading import find, in_time, readable

    targets, problems = find(paths, only=only, bounds=bounds)
    publisher = Publisher(wanted, SCHEMA, color, unit)
    publisher.targets(targets)
    failed, totals = False, Totals()

    def show(checkpoint: Checkpoint) -> bool:
        publisher.model(checkpoint)
        tell_errors(checkpoint)
        if checkpoint.format == "gguf":
            from modelscope_cli.formats.template_notes import template_notes

            checkpoint.notes += template_notes(checkpoint, bounds)
        overview = inspect(checkpoint, options)
        totals.add(overview)
        return publisher.add(partial(to_report, overview), partial(show_tree, overview))

    for _, checkpoint in readable(targets, problems, bounds, lenient=lenient):
        failed = in_time(partial(show, checkpoint), checkpoint.path, bounds, problems) or failed
    failed = publisher.finish(problems) or failed or bool(problems)
    if failed:
        raise typer.Exit(UNREADABLE)


def show_tree(overview: Overview, terminal: Any, _: str) -> Report:
    """Print the nested text."""
    from modelscope_cli.analysis.overview import to_tree_report
    from modelscope_cli.render.plain import speaks_ascii_only, to_ascii
    from modelscope_cli.render.tree import render

    report = to_tree_report(overview)
    ascii_only = speaks_ascii_only(terminal.encoding)
    terminal.file.writelines((to_ascii(line) if ascii_only else line) + "\n" for line in render(report))
    return report
