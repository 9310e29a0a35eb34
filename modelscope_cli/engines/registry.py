"""The engines of `mscope visualize`: what each draws, in which formats, and what it needs.

An engine is a module, imported when it is chosen, with `draw(checkpoint, wish)`. What comes back is a Painting, written to a
file, or a LogFolder, whose files go into one. The format BROWSER is no file: there the engine has
`serve(checkpoint, wish, ready)`, which calls `ready(address)` once and returns when its user has seen enough. Engines with
readers of their own have `draw_file(path, wish)` and `serve_file(path, wish, ready)` too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelscope_cli.bridges.models.recipe import Recipe
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.report.painting import LogFolder, Painting

BROWSER, LOGS = "browser", "logs"  # a page that is served, a folder of log files
PICTURES = ("pdf", "svg", "png", "dot")


class Engine(NamedTuple):
    """`formats`: those it writes, the first the one it is best at. `short` and `summary`: a line of help, in few words and in more.

    `takes`: the options of `mscope visualize` that mean something to it, beside those about the output. `extra`: the pip extra
    it needs. `reads_itself`: it has readers of its own, and is handed the path of a file that mscope has none for.
    """

    name: str
    formats: tuple[str, ...]
    short: str
    summary: str
    module: str
    takes: tuple[str, ...] = ()
    extra: str | None = None
    reads_itself: bool = False


class Wish(NamedTuple):
    """What to draw: the format, levels of modules (None: all), the module to start at, folded or not.

    `theme` is light or dark; None is light on paper, and in a page as its reader has it. `recipe` says how the model is made,
    for engines that draw its calls; None: from what lies in and beside the file. `first` repeated layers are kept (None: all).
    `attributes` and `saved` tensors of a call are shown or not, `force` draws what is too large to read. `port` is the one to
    serve on. `step(text)` tells what is being done.
    """

    format: str
    levels: int | None = None
    root: str | None = None
    fold: bool = True
    theme: str | None = None
    recipe: Recipe | None = None
    first: int | None = None
    attributes: bool = False
    saved: bool = False
    force: bool = False
    port: int | None = None
    step: Callable[[str], None] = lambda text: None


OF_MODELS = ("model", "input", "config", "layers", "trust-code")  # options about making a model

ENGINES = (
    Engine(
        "diagram",
        PICTURES,
        "modules in the order they run (default)",
        "the architecture: modules in the order they run, repeated blocks drawn once",
        "modelscope_cli.engines.diagram",
        ("depth", "root", "fold", "theme"),
    ),
    Engine(
        "treemap",
        ("html", "svg", "png", "pdf", "dot"),
        "where the bytes are, as a page to explore",
        "where the bytes are: every tensor as an area; html is a page to click through",
        "modelscope_cli.engines.treemap",
        ("depth", "root", "theme"),
    ),
    Engine(
        "netron",
        (BROWSER, "svg", "png", "pdf"),
        "Netron, served or as a file",
        "Netron: served on this machine until Ctrl-C, or as a file",
        "modelscope_cli.engines.netron",
        ("depth", "root", "fold", "theme", "port"),
        "netron",
        reads_itself=True,
    ),
    Engine(
        "dataflow",
        PICTURES,
        "what a call does, with shapes",
        "what flows where: calls of layers, residual additions, attention, shapes",
        "modelscope_cli.engines.dataflow",
        (*OF_MODELS, "fold", "theme", "force"),
        "torch",
    ),
    Engine(
        "torchviz",
        PICTURES,
        "the graph of autograd",
        "the graph that autograd keeps, as torchviz's make_dot gives it",
        "modelscope_cli.engines.torchviz",
        (*OF_MODELS, "show-attrs", "show-saved", "force"),
        "torch",
    ),
    Engine(
        "tensorboard",
        (LOGS,),
        "a log folder with its graph",
        "a log folder for TensorBoard: graph, hyper-parameters, metadata",
        "modelscope_cli.engines.tensorboard",
        (),
        "tensorboard",
    ),
)
FORMATS = tuple(dict.fromkeys(format for engine in ENGINES for format in engine.formats))
FILES = tuple(format for format in FORMATS if format not in (BROWSER, LOGS))  # formats that are one file


def engine_named(name: str) -> Engine | None:
    return next((engine for engine in ENGINES if engine.name == name), None)


def engines_for(format: str) -> list[Engine]:
    """The engines that write a format, the one to take by default first."""
    return [engine for engine in ENGINES if format in engine.formats]


def engines_taking(option: str) -> list[Engine]:
    """The engines to which an option means something."""
    return [engine for engine in ENGINES if option in engine.takes]


def draw(engine: Engine, checkpoint: Checkpoint | str, wish: Wish) -> Painting | LogFolder:
    """The picture of a checkpoint, or of the file at a path. Raises DrawingError, or MissingExtraError."""
    module = importlib.import_module(engine.module)
    work = module.draw_file if isinstance(checkpoint, str) else module.draw
    drawn: Painting | LogFolder = work(checkpoint, wish)
    return drawn


def serve(engine: Engine, checkpoint: Checkpoint | str, wish: Wish, ready: Callable[[str], None]) -> None:
    """Serve the picture until Ctrl-C. Raises DrawingError, or MissingExtraError."""
    module = importlib.import_module(engine.module)
    work = module.serve_file if isinstance(checkpoint, str) else module.serve
    work(checkpoint, wish, ready)
