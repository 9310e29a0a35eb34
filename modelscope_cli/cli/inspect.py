"""`mscope inspect`: what is in a model file, and where every byte of it goes."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscope_cli.cli.options import READING, Color, LimitChanges, Only, Unit, console, limits, nearest, pattern

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Options
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError

KEYS = "module, kind, dtype, role, layer, shard, storage, tensor, section"


class Format(StrEnum):
    table = "table"
    tree = "tree"
    json = "json"


class Sort(StrEnum):
    order = "order"
    bytes = "bytes"
    parameters = "parameters"
    tensors = "tensors"
    name = "name"


SIZES, SHOWN, OUTPUT = "How to divide", "What to show", "Output"

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
  mscope inspect weights.pth -f json -o report.json
"""


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
    unit: Annotated[
        Unit, typer.Option("--unit", help="Sizes in KiB/MiB (iec, auto), kB/MB (si) or bytes.", rich_help_panel=OUTPUT)
    ] = Unit.auto,
    format: Annotated[
        Format,
        typer.Option("-f", "--format", help="table, tree (like print(model)) or json (complete).", rich_help_panel=OUTPUT),
    ] = Format.table,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to a file instead of stdout.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    color: Annotated[
        Color, typer.Option("--color", help="When to use colours; NO_COLOR is obeyed.", rich_help_panel=OUTPUT)
    ] = Color.auto,
    only: Only = False,
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient",
            help="Show what can be shown of a damaged safetensors file (still exit code 3).",
            rich_help_panel=READING,
        ),
    ] = False,
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
        complete=format is Format.json,
    )
    run(paths, options, limits(limit), format, output, color, unit, only=only, lenient=lenient)


def run(
    paths: list[str],
    options: Options,
    bounds: Limits,
    format: Format,
    output: str | None,
    color: Color,
    unit: Unit,
    *,
    only: bool,
    lenient: bool,
) -> None:
    """Read every path, show what could be read, tell what could not."""
    from modelscope_cli.cli.problems import UNREADABLE
    from modelscope_cli.cli.reading import find, readable

    targets, problems = find(paths, only=only)
    writer = Writer(format, output, color, unit, options)
    failed = False
    for number, checkpoint in readable(targets, problems, bounds, lenient=lenient):
        failed = writer.add(checkpoint, first=number == 0) or failed
    failed = failed or bool(problems)
    writer.finish(problems)
    if failed:
        raise typer.Exit(UNREADABLE)


class Writer:
    """Puts reports out one by one (table, tree) or together at the end (JSON)."""

    def __init__(self, format: Format, output: str | None, color: Color, unit: Unit, options: Options):
        self.format = format
        self.output = output
        self.unit = unit
        self.options = options
        self.reports: list[Any] = []
        self.buffer: Any = None
        self.console: Any = None
        if format is not Format.json:
            if output and output != "-":
                import io

                self.buffer = io.StringIO()
            self.console = console(color, self.buffer)

    def add(self, checkpoint: Checkpoint, *, first: bool) -> bool:
        """Analyse and put out one checkpoint; returns whether anything in it could not be read."""
        from modelscope_cli.analysis.overview import inspect, to_report, to_tree_report

        overview = inspect(checkpoint, self.options)
        if self.format is Format.json:
            report = to_report(overview)
            self.reports.append(report)
            return report.failed
        if not first:
            self.console.print()
        if self.format is Format.tree:
            from modelscope_cli.render.plain import speaks_ascii_only, to_ascii
            from modelscope_cli.render.tree import render

            report = to_tree_report(overview)
            text = to_ascii(render(report)) if speaks_ascii_only(self.console.encoding) else render(report)
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)
        else:
            from modelscope_cli.render.terminal import Page

            report = to_report(overview)
            Page(self.console, self.unit.value).show(report)
        return report.failed

    def finish(self, problems: list[ModelscopeError]) -> None:
        """Write what was kept back."""
        if self.format is Format.json:
            from modelscope_cli.analysis.overview import SCHEMA
            from modelscope_cli.cli.problems import as_problem
            from modelscope_cli.render.json import render
            from modelscope_cli.render.registry import Look
            from modelscope_cli.report.document import Document

            self._put(render(Document(SCHEMA, self.reports, list(map(as_problem, problems))), Look()))
        elif self.buffer is not None:
            self._put(self.buffer.getvalue().encode("utf-8", "backslashreplace"))

    def _put(self, data: bytes) -> None:
        if not self.output or self.output == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        from modelscope_cli.cli.options import write_file

        write_file(self.output, data)
