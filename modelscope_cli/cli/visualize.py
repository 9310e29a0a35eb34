"""`mscope visualize`: a picture of a model file."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import LimitChanges, Only, limits, nearest

if TYPE_CHECKING:
    from modelscope_cli.bridges.graphviz import Painting
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.engines.registry import Engine, Wish

DEFAULT_FORMAT = "pdf"


class Theme(StrEnum):
    light = "light"
    dark = "dark"


WHAT, OUTPUT = "What to draw", "Output"

HELP = """A picture of a model file: its architecture, or where its bytes are.

Works on every file that inspect reads, without torch, without a screen and without executing anything in it. \
Repeated blocks are drawn once. Kinds and order that the file does not record are inferred from names and shapes, \
and the picture says so.

\b
Engines:
  diagram  pdf svg png dot       modules in the order they run (default)
  treemap  html svg png pdf dot  where the bytes are; html: a page to explore

Exit codes: 0 fine, 2 wrong usage, 3 something could not be read, drawn or written.

\b
Examples:
  mscope visualize weights.pth                  weights.pdf, in this folder
  mscope visualize weights.pth -f svg           weights.svg
  mscope visualize weights.pth -o slide.png --theme dark
  mscope visualize weights.pth -f html --open   a page to explore
  mscope visualize weights.pth --engine treemap -o areas.svg
  mscope visualize weights.pth --depth 2        the upper levels only
  mscope visualize weights.pth --root model.layers.0
  mscope visualize weights.pth -f svg -o - | rsvg-convert > weights.png
"""


def complete_formats(incomplete: str) -> list[str]:
    from modelscope_cli.engines.registry import FORMATS

    return [format for format in FORMATS if format.startswith(incomplete)]


def complete_engines(incomplete: str) -> list[tuple[str, str]]:
    from modelscope_cli.engines.registry import ENGINES

    return [(engine.name, engine.summary) for engine in ENGINES if engine.name.startswith(incomplete)]


def visualize(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A model file, shard, index file or folder.", show_default=False)],
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="pdf, svg, png, html or dot; default: the suffix of -o, else pdf.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_formats,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to write, - for stdout; default: the name of the input, in the working folder.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="diagram or treemap; default: the one for the format.",
            rich_help_panel=WHAT,
            show_default=False,
            autocompletion=complete_engines,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "-d",
            "--depth",
            min=0,
            metavar="N",
            help="Levels of modules to draw (0 = all).",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="MODULE", help="Draw this module only.", rich_help_panel=WHAT, show_default=False),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Draw repeated blocks once.", rich_help_panel=WHAT)] = True,
    theme: Annotated[
        Theme | None,
        typer.Option(
            "--theme",
            help="Colours; default: light, in a page as the reader has it.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the picture when it is written.", rich_help_panel=OUTPUT)] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Say which program painted it.", rich_help_panel=OUTPUT)
    ] = False,
    only: Only = False,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then read, draw and write; the help text is HELP."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.cli.reading import find, readable, refuse_several
    from modelscope_cli.engines.registry import FORMATS, Wish

    if output == "":
        raise typer.BadParameter("a file needs a name", param_hint="'--output'")
    to_stdout = output == "-"
    if to_stdout and open_:
        raise typer.BadParameter("there is no file to open when the picture goes to stdout", param_hint="'--open'")
    chosen, wanted = choose(engine, format, None if to_stdout else output)
    if not fold and chosen.name == "treemap":
        raise typer.BadParameter("a treemap folds nothing; --no-fold is for the diagram", param_hint="'--no-fold'")
    if depth and wanted == "html":
        raise typer.BadParameter("a page has all levels to zoom into; --depth is for the other formats", param_hint="'--depth'")
    named = os.path.splitext(output or "")[1].removeprefix(".").lower()
    if named in FORMATS and named != wanted:
        say(f"mscope: warning: {output} gets {wanted.upper()}, whatever its name ends in")
    wish = Wish(wanted, depth or None, root, fold, theme.value if theme else None)
    bounds = limits(limit)
    targets, problems = find([path], only=only)
    refuse_several(path, targets, "a picture is of one")
    failed = False
    for _, checkpoint in readable(targets, problems, bounds, lenient=False):
        painting = painted(chosen, checkpoint, wish)
        failed = tell_about(checkpoint, painting, verbose=verbose)
        put(
            painting.data,
            "-" if to_stdout else output,
            path,
            wanted,
            [path, *(file.path for file in checkpoint.files)],
            opened=open_,
        )
    if problems or failed:
        leave()


def choose(name: str | None, format: str | None, output: str | None) -> tuple[Engine, str]:
    """The engine and the format; what does not go together is a usage error that says what does."""
    from modelscope_cli.engines.registry import ENGINES, FORMATS, engine_named, engines_for

    engine = engine_named(name) if name else None
    if name and engine is None:
        names = tuple(each.name for each in ENGINES)
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}{nearest(name, names)}", param_hint="'--engine'")
    wanted = (format or "").lower()
    if wanted and wanted not in FORMATS:
        raise typer.BadParameter(
            f"{format!r} is not one of {', '.join(FORMATS)}{nearest(wanted, FORMATS)}", param_hint="'--format'"
        )
    if not wanted and output and os.path.isdir(output):
        raise typer.BadParameter(f"{output!r} is a folder: name a file in it", param_hint="'--output'")
    if not wanted and output:
        wanted = os.path.splitext(output)[1].removeprefix(".").lower()
        if wanted not in FORMATS:
            raise typer.BadParameter(
                f"{output!r} does not end in one of {', '.join('.' + each for each in FORMATS)}: say which with -f",
                param_hint="'--output'",
            )
    wanted = wanted or (engine.formats[0] if engine else DEFAULT_FORMAT)
    if engine is None:
        return engines_for(wanted)[0], wanted
    if wanted not in engine.formats:
        others = " or ".join(f"--engine {each.name}" for each in engines_for(wanted))
        raise typer.BadParameter(
            f"the engine {engine.name} writes {', '.join(engine.formats)}; for {wanted} take {others}", param_hint="'--format'"
        )
    return engine, wanted


def painted(engine: Engine, checkpoint: Checkpoint, wish: Wish) -> Painting:
    """The picture; what cannot be drawn is told, and ends the command."""
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.cli.reading import guarded
    from modelscope_cli.engines.registry import draw
    from modelscope_cli.errors import ModelscopeError

    try:
        return guarded(lambda: draw(engine, checkpoint, wish), checkpoint.path)
    except ModelscopeError as problem:
        problem.path = problem.path or checkpoint.path
        tell(problem)
        raise typer.Exit(unreadable()) from None


def tell_about(checkpoint: Checkpoint, painting: Painting, *, verbose: bool) -> bool:
    """Say what is missing in the picture; returns whether something could not be read."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.render.plain import visible

    for warning in painting.warnings:
        say(f"mscope: warning: {visible(warning)}")
    if verbose:
        say(f"mscope: painted by {visible(painting.painter)}")
    errors = [note for note in checkpoint.notes if note.severity == "error"]
    for note in errors:
        say(f"mscope: {visible(note.where or checkpoint.path)}: {visible(note.message)}")
    return bool(errors)


def put(data: bytes, output: str | None, path: str, format: str, model: list[str], *, opened: bool) -> None:
    """Write the picture; where no file was named, beside the user, and say where. `model`: files not to be written over."""
    from modelscope_cli.cli.options import refuse_inputs, write_file
    from modelscope_cli.cli.problems import print_line
    from modelscope_cli.render.plain import begun

    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    file = output or f"{name_of(path)}.{format}"
    refuse_inputs(file, model)
    write_file(file, data)
    if output is None:
        print_line(begun(file))
    if opened:
        open_file(file)


def open_file(file: str) -> None:
    """Show a file in the program that the system has for it; say so where there is none."""
    from modelscope_cli.cli.problems import say

    start = getattr(os, "startfile", None)  # Windows
    try:
        if start is not None:
            start(os.path.abspath(file))
        elif typer.launch(os.path.abspath(file)):
            raise OSError("no program for it was found")
    except OSError as problem:
        say(f"mscope: {file} is written, but could not be opened: {(problem.strerror or str(problem)).lower()}")


def name_of(path: str) -> str:
    """A name after the input: weights of weights.pth, model of model-00001-of-00008.safetensors, the name of a folder."""
    from modelscope_cli.render.plain import visible

    base = os.path.basename(os.path.normpath(os.path.abspath(path)))
    stem = base if os.path.isdir(path) else re.sub(r"\.(safetensors|bin)\.index$", "", os.path.splitext(base)[0])
    stem = re.sub(r"-\d+-of-\d+$", "", stem)
    return visible(stem).replace("\\", "_") or "model"


def unreadable() -> int:
    from modelscope_cli.cli.problems import UNREADABLE

    return UNREADABLE


def leave() -> None:
    raise typer.Exit(unreadable())
