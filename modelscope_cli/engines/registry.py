"""The engines of `mscope visualize`: what each draws, in which formats, and what it needs.

An engine is a module with `draw(checkpoint, wish) -> Painting`, imported when it is chosen.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelscope_cli.bridges.graphviz import Painting
    from modelscope_cli.core.checkpoint import Checkpoint


class Engine(NamedTuple):
    """`formats`: those it writes, the first the one it is best at. `summary`: a line of help."""

    name: str
    formats: tuple[str, ...]
    summary: str
    module: str


class Wish(NamedTuple):
    """What to draw: the format, levels of modules (None: all), the module to start at, folded or not.

    `theme` is light or dark; None is light on paper, and in a page as its reader has it.
    """

    format: str
    levels: int | None = None
    root: str | None = None
    fold: bool = True
    theme: str | None = None


ENGINES = (
    Engine(
        "diagram",
        ("pdf", "svg", "png", "dot"),
        "the architecture: modules in the order they run, repeated blocks drawn once",
        "modelscope_cli.engines.diagram",
    ),
    Engine(
        "treemap",
        ("html", "svg", "png", "pdf", "dot"),
        "where the bytes are: every tensor as an area; html is a page to click through",
        "modelscope_cli.engines.treemap",
    ),
)
FORMATS = tuple(dict.fromkeys(format for engine in ENGINES for format in engine.formats))


def engine_named(name: str) -> Engine | None:
    return next((engine for engine in ENGINES if engine.name == name), None)


def engines_for(format: str) -> list[Engine]:
    """The engines that write a format, the one to take by default first."""
    return [engine for engine in ENGINES if format in engine.formats]


def draw(engine: Engine, checkpoint: Checkpoint, wish: Wish) -> Painting:
    """The picture. Raises DrawingError."""
    painting: Painting = importlib.import_module(engine.module).draw(checkpoint, wish)
    return painting
