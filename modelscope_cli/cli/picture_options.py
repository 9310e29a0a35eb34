"""The options of `mscope visualize`, and what of them goes together: engine, format, file, and options of one engine alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscope_cli.cli.options import nearest

if TYPE_CHECKING:
    from modelscope_cli.bridges.models.recipe import Recipe
    from modelscope_cli.engines.registry import Engine

WHAT, OUTPUT, MODEL = "What to draw", "Output", "The model, for dataflow and torchviz"  # panels of the help
DEFAULT_FORMAT = "pdf"
STDOUT = "-"
PARAMETERS = {  # options of single engines, by the name of the parameter
    "depth": "depth",
    "root": "root",
    "fold": "fold",
    "theme": "theme",
    "model": "model",
    "inputs": "input",
    "config": "config",
    "layers": "layers",
    "trust_code": "trust-code",
    "show_attrs": "show-attrs",
    "show_saved": "show-saved",
    "force": "force",
    "port": "port",
}
Done = Callable[[], None]
LARGEST_CONFIG = 1 << 20  # bytes of a JSON file


class Theme(StrEnum):
    light = "light"
    dark = "dark"


def complete_formats(incomplete: str) -> list[str]:
    from modelscope_cli.engines.registry import FORMATS

    return [format for format in FORMATS if format.startswith(incomplete)]


def complete_engines(incomplete: str) -> list[tuple[str, str]]:
    from modelscope_cli.engines.registry import ENGINES

    return [(engine.name, engine.summary) for engine in ENGINES if engine.name.startswith(incomplete)]


Format = Annotated[
    str | None,
    typer.Option(
        "-f",
        "--format",
        metavar="FORMAT",
        help="pdf, svg, png, html, dot, browser or logs; default: the suffix of -o, else the engine's first.",
        rich_help_panel=OUTPUT,
        show_default=False,
        autocompletion=complete_formats,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Where to write (logs: the folder that holds the runs), - for stdout; default: the name of the input, in the working folder.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="One of the engines above; default: the first that writes the format.",
        rich_help_panel=WHAT,
        show_default=False,
        autocompletion=complete_engines,
    ),
]
Depth = Annotated[
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
]
Root = Annotated[
    str | None,
    typer.Option("--root", metavar="MODULE", help="Draw this module only.", rich_help_panel=WHAT, show_default=False),
]
Fold = Annotated[bool, typer.Option("--fold/--no-fold", help="Draw repeated blocks once.", rich_help_panel=WHAT)]
Colours = Annotated[
    Theme | None,
    typer.Option(
        "--theme", help="Colours; default: light, in a page as the reader has it.", rich_help_panel=OUTPUT, show_default=False
    ),
]
Open = Annotated[
    bool | None,
    typer.Option(
        "--open/--no-open",
        help="Open the picture when it is written; a page of -f browser is opened unless told not to.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say which program painted it.", rich_help_panel=OUTPUT)]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=1,
        max=65535,
        metavar="N",
        help="Where -f browser serves; default: any free one.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Draw what is too large to read, or does not fit.", rich_help_panel=WHAT)]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:NAME",
        help="What makes the model: package.module:factory or file.py:Class. Default: config.json beside the weights.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SPEC",
        help="What it is called with, e.g. 'int64\\[1,50]<98631' (token ids) or 'mask=bool\\[1,8]'. May be given again.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="JSON",
        help="Arguments of the factory, or changes to config.json: JSON, or a file of it.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        "--layers", min=1, metavar="N", help="Keep the first N of repeated layers.", rich_help_panel=MODEL, show_default=False
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run code that comes with the file: a TorchScript program, a pickled module, modelling code. It can do whatever you can.",
        rich_help_panel=MODEL,
    ),
]
ShowAttributes = Annotated[
    bool, typer.Option("--show-attrs", help="torchviz: with the attributes of every call.", rich_help_panel=WHAT)
]
ShowSaved = Annotated[
    bool, typer.Option("--show-saved", help="torchviz: with the tensors saved for the way back.", rich_help_panel=WHAT)
]


def choose(name: str | None, format: str | None, output: str | None) -> tuple[Engine, str]:
    """The engine and the format; what does not go together is a usage error that says what does."""
    from modelscope_cli.engines.registry import ENGINES, FILES, FORMATS, LOGS, engine_named, engines_for

    engine = engine_named(name) if name else None
    if name and engine is None:
        names = tuple(each.name for each in ENGINES)
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}{nearest(name, names)}", param_hint="'--engine'")
    wanted = (format or "").lower()
    if wanted and wanted not in FORMATS:
        raise typer.BadParameter(
            f"{format!r} is not one of {', '.join(FORMATS)}{nearest(wanted, FORMATS)}", param_hint="'--format'"
        )
    logs = wanted == LOGS or (engine is not None and engine.formats == (LOGS,))
    if not wanted and output == STDOUT:
        wanted = (
            DEFAULT_FORMAT if engine is None else next((each for each in engine.formats if each in FILES), engine.formats[0])
        )
    elif not wanted and output and not logs:
        wanted = format_of_file(output)
    wanted = wanted or (engine.formats[0] if engine else DEFAULT_FORMAT)
    if engine is None:
        engine = engines_for(wanted)[0]
    if wanted not in engine.formats:
        others = " or ".join(f"--engine {each.name}" for each in engines_for(wanted))
        raise typer.BadParameter(
            f"the engine {engine.name} writes {', '.join(engine.formats)}; for {wanted} take {others}", param_hint="'--format'"
        )
    return engine, wanted


def format_of_file(output: str) -> str:
    """The format that a file's suffix names."""
    from modelscope_cli.engines.registry import FILES

    if os.path.isdir(output):
        raise typer.BadParameter(f"{output!r} is a folder: name a file in it", param_hint="'--output'")
    wanted = os.path.splitext(output)[1].removeprefix(".").lower()
    if wanted not in FILES:
        raise typer.BadParameter(
            f"{output!r} does not end in one of {', '.join('.' + each for each in FILES)}: say which with -f",
            param_hint="'--output'",
        )
    return wanted


def refuse_unmeant(ctx: typer.Context, engine: Engine) -> None:
    """An option that means nothing to the engine is wrong usage, and so is one without which it means nothing."""
    from modelscope_cli.engines.registry import engines_taking

    for parameter, option in PARAMETERS.items():
        source: Any = ctx.get_parameter_source(parameter)
        if source is None or source.name == "DEFAULT" or option in engine.takes:
            continue
        shown = "no-fold" if option == "fold" else option
        names = " and ".join(each.name for each in engines_taking(option))
        raise typer.BadParameter(f"means nothing to the engine {engine.name}; it is for {names}", param_hint=f"'--{shown}'")


def recipe(model: str | None, inputs: list[str] | None, config: str | None, *, trusted: bool) -> Recipe:
    """How the model is made. What cannot be understood is a usage error."""
    from modelscope_cli.bridges.models.input_specs import parse_all
    from modelscope_cli.bridges.models.recipe import Recipe
    from modelscope_cli.errors import SettingsError

    try:
        parse_all(inputs or [])
    except SettingsError as problem:
        hint = f" - {problem.hint}" if problem.hint else ""
        raise typer.BadParameter(f"{problem.message}{hint}", param_hint="'--input'") from None
    if model is not None and not all(model.rpartition(":")):
        raise typer.BadParameter(
            f"{model!r} has no name behind a colon: package.module:factory or path/to/file.py:Class", param_hint="'--model'"
        )
    return Recipe(model, tuple(inputs or ()), settings(config), trusted)


def settings(config: str | None) -> dict[str, Any] | None:
    """The JSON object of --config, written out or in a file."""
    if config is None:
        return None
    import json

    text = config
    if not config.lstrip().startswith("{"):
        try:
            if os.path.isfile(config) and os.path.getsize(config) > LARGEST_CONFIG:
                raise typer.BadParameter(f"{config!r} is larger than a configuration is", param_hint="'--config'")
            with open(config, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as problem:
            raise typer.BadParameter(
                f"{config!r} is neither a JSON object nor a file of one: {problem}", param_hint="'--config'"
            ) from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise typer.BadParameter(f"no JSON: {problem}", param_hint="'--config'") from None
    if not isinstance(found, dict):
        raise typer.BadParameter('must be a JSON object: {"name": value}', param_hint="'--config'")
    return found
