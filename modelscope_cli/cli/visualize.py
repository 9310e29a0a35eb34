"""`mscope visualize`: a picture of a model file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli import picture_options as asked
from modelscope_cli.cli.options import LimitChanges, Only, limits
from modelscope_cli.engines.registry import ENGINES

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.engines.registry import Engine, Wish
    from modelscope_cli.formats.locate import Target
    from modelscope_cli.report.painting import LogFolder, Painting

MOST_TOLD = 20  # problems of the file behind a picture
ENGINE_LINES = "\n".join(
    f"  {engine.name:11} {' '.join(engine.formats):20} {engine.short}" + (f" \\[{engine.extra}]" if engine.extra else "")
    for engine in ENGINES
)

HELP = f"""A picture of a model file: its architecture, what flows through it, or where its bytes are.

Every file that inspect reads can be drawn without torch, without a screen and without executing anything in it. \
Repeated blocks are drawn once. Kinds and order that the file does not record are inferred from names and shapes, \
and the picture says so.

Two engines draw what a model does when it is called, dataflow and torchviz. They need torch and the model: from the \
config.json beside the weights, or from your own code (--model, --input). They take little memory, whatever the size of its weights.

\b
Engines; those with an extra in brackets need pip install 'modelscope-cli\\[EXTRA]':
{ENGINE_LINES}

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
  mscope visualize weights.pth --engine netron  Netron in the browser
  mscope visualize llama/ --engine dataflow     from its config.json
  mscope visualize weights.pth --engine torchviz --show-attrs --show-saved \\
      --model net.py:Net --input 'float32\\[1,3,224,224]'
  mscope visualize weights.pth --engine dataflow --model decoder.py:Decoder \\
      --config '{{"vocabulary": 98631}}' --input 'int64\\[1,50]<98631'
  mscope visualize weights.pth --engine tensorboard
"""


def visualize(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A model file, shard, index file or folder.", show_default=False)],
    format: asked.Format = None,
    output: asked.Output = None,
    engine: asked.EngineName = None,
    depth: asked.Depth = None,
    root: asked.Root = None,
    fold: asked.Fold = True,
    show_attrs: asked.ShowAttributes = False,
    show_saved: asked.ShowSaved = False,
    force: asked.Force = False,
    model: asked.Model = None,
    inputs: asked.Inputs = None,
    config: asked.Config = None,
    layers: asked.Layers = None,
    trust_code: asked.TrustCode = False,
    theme: asked.Colours = None,
    open_: asked.Open = None,
    port: asked.Port = None,
    verbose: asked.Verbose = False,
    only: Only = False,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then read, draw and write; the help text is HELP."""
    from modelscope_cli.cli.pictures import put
    from modelscope_cli.cli.problems import say
    from modelscope_cli.cli.progress import LateStatus
    from modelscope_cli.engines.registry import BROWSER, Wish

    if output == "":
        raise typer.BadParameter("a file needs a name", param_hint="'--output'")
    chosen, wanted = asked.choose(engine, format, output)
    refuse_output(wanted, output, opened=open_)
    asked.refuse_unmeant(ctx, chosen)
    if depth and wanted == "html":
        raise typer.BadParameter("a page has all levels to zoom into; --depth is for the other formats", param_hint="'--depth'")
    if port and wanted != BROWSER:
        raise typer.BadParameter("only -f browser is served", param_hint="'--port'")
    recipe = asked.recipe(model, inputs, config, trusted=trust_code)
    if trust_code:
        say("mscope: warning: --trust-code runs code that comes with the file, and it can do whatever you can")
    with LateStatus() as status:
        wish = Wish(
            wanted,
            depth or None,
            root,
            fold,
            theme.value if theme else None,
            recipe,
            layers,
            show_attrs,
            show_saved,
            force,
            port,
            status.step,
        )
        target, bounds = located(path, limits(limit), only=only)
        checkpoint = read(target, bounds, chosen)
        if wanted == BROWSER:
            serve(chosen, checkpoint, wish, status.stop, opened=open_ is not False)
            return
        painting = painted(chosen, checkpoint, wish, bounds)
    failed = tell_about(checkpoint, painting, verbose=verbose)
    put(painting, output, path, wanted, files_read(path, target, checkpoint, model, config), opened=bool(open_))
    if failed:
        leave()


def refuse_output(wanted: str, output: str | None, *, opened: bool | None) -> None:
    """Formats that are no file have no file to go to, and stdout has none to open."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.engines.registry import BROWSER, FILES, LOGS

    if output == asked.STDOUT and opened:
        raise typer.BadParameter("there is no file to open when the picture goes to stdout", param_hint="'--open'")
    if wanted == BROWSER and output is not None:
        raise typer.BadParameter("-f browser serves a page and writes no file", param_hint="'--output'")
    if wanted == LOGS and output == asked.STDOUT:
        raise typer.BadParameter("a log folder cannot go to stdout: name a folder", param_hint="'--output'")
    if wanted == LOGS and opened:
        raise typer.BadParameter("a log folder is opened by TensorBoard: the command is printed", param_hint="'--open'")
    named = os.path.splitext(output or "")[1].removeprefix(".").lower()
    if named in FILES and named != wanted:
        say(f"mscope: warning: {output} gets {wanted.upper()}, whatever its name ends in")


def located(path: str, bounds: Limits, *, only: bool) -> tuple[Target, Limits]:
    """The one model behind a path; none or several end the command."""
    from modelscope_cli.cli.reading import find, refuse_several

    targets, problems = find([path], only=only, bounds=bounds)
    refuse_several(path, targets, "a picture is of one")
    if problems or not targets:
        leave()
    return targets[0], bounds


def read(target: Target, bounds: Limits, engine: Engine) -> Checkpoint | str:
    """The checkpoint; its path where mscope has no reader for the file, but the engine has. Else the problem is told."""
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.cli.reading import read_in_time
    from modelscope_cli.errors import ModelscopeError, UnknownFormatError, UnsupportedFeatureError

    try:
        return read_in_time(target, bounds)
    except ModelscopeError as problem:
        if engine.reads_itself and isinstance(problem, (UnknownFormatError, UnsupportedFeatureError)):
            return target.path
        tell(problem)
        raise typer.Exit(unreadable()) from None


def files_read(path: str, target: Target, checkpoint: Checkpoint | str, model: str | None, config: str | None) -> list[str]:
    """Paths of what was read, which nothing may be written over."""
    from modelscope_cli.formats.locate import names_of

    found = [path, *names_of(target), os.path.join(target.folder, "config.json")]
    if not isinstance(checkpoint, str):
        found += [file.path for file in checkpoint.files]
    if model is not None:
        place = model.rpartition(":")[0]
        found.append(place if place.endswith(".py") else getattr(sys.modules.get(place), "__file__", None) or "")
    if config is not None and not config.lstrip().startswith("{"):
        found.append(config)
    return [file for file in found if os.path.exists(file)]


def painted(engine: Engine, checkpoint: Checkpoint | str, wish: Wish, bounds: Limits) -> Painting | LogFolder:
    """The picture; what cannot be drawn is told, and ends the command."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.cli.reading import guarded
    from modelscope_cli.engines.registry import draw
    from modelscope_cli.errors import ModelscopeError

    path = checkpoint if isinstance(checkpoint, str) else checkpoint.path
    own = engine.extra is None and not wish.force  # not another program, nor what somebody wants however long it takes
    if not own:
        Clock.without_memory()
    try:
        with Clock.showing(bounds, path) if own else Clock(0, path):
            return guarded(lambda: draw(engine, checkpoint, wish), path)
    except ModelscopeError as problem:
        problem.path = problem.path or path
        tell(problem)
        raise typer.Exit(unreadable()) from None


def serve(engine: Engine, checkpoint: Checkpoint | str, wish: Wish, quiet: asked.Done, *, opened: bool) -> None:
    """Serve the picture until Ctrl-C, and open it where there is a screen."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.problems import print_line, say, tell
    from modelscope_cli.engines import registry
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.render.plain import visible

    path = checkpoint if isinstance(checkpoint, str) else checkpoint.path

    def ready(address: str) -> None:
        quiet()
        print_line(address)
        sys.stdout.flush()
        say(f"mscope: {engine.name} shows {visible(os.path.basename(path))} there until Ctrl-C")
        if opened and has_screen():
            import webbrowser

            webbrowser.open(address)

    Clock.without_memory()
    try:
        registry.serve(engine, checkpoint, wish, ready)
    except ModelscopeError as problem:
        problem.path = problem.path or path
        tell(problem)
        raise typer.Exit(unreadable()) from None


def has_screen() -> bool:
    """Whether a browser with windows can come up: without one, webbrowser would start one in this terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def tell_about(checkpoint: Checkpoint | str, painting: Painting | LogFolder, *, verbose: bool) -> bool:
    """Say what is missing in the picture; returns whether something could not be read."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.render.plain import visible

    for warning in painting.warnings:
        say(f"mscope: warning: {visible(warning)}")
    if verbose:
        say(f"mscope: painted by {visible(painting.painter)}")
    if isinstance(checkpoint, str):
        return False
    errors = [note for note in checkpoint.notes if note.severity == "error"]
    for note in errors[:MOST_TOLD]:
        say(f"mscope: {visible(note.where or checkpoint.path)}: {visible(note.message)}")
    if len(errors) > MOST_TOLD:
        say(f"mscope: {visible(checkpoint.path)}: {len(errors) - MOST_TOLD:,} more such problems: mscope inspect tells of them")
    return bool(errors)


def unreadable() -> int:
    from modelscope_cli.cli.problems import UNREADABLE

    return UNREADABLE


def leave() -> None:
    raise typer.Exit(unreadable())
