"""Netron: its own page on a model, served on this machine until Ctrl-C, or a picture of what it draws.

A TorchScript archive goes to Netron, for it holds a graph, which Netron draws: as it is, or, for a picture and where it is too
large, without the numbers in its tensors (bridges/netron/hollow.py). All others go as a drawing of ours in Netron's own form
(render/netron.py), connected and folded, of some kB: what Netron makes of a state_dict is loose boxes, and a sharded set or a
file over 2 GB is more than it takes. So do pickled modules: of these it draws every module in a frame in a frame of
dictionaries, each of the repeated layers again, and no arrow between them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from modelscope_cli.analysis.diagram import DiagramOptions
from modelscope_cli.analysis.diagram import draw as draw_diagram
from modelscope_cli.analysis.line_tensors import line_tensors
from modelscope_cli.bridges import chromium
from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.netron.export import export
from modelscope_cli.bridges.netron.hollow import hollow
from modelscope_cli.bridges.netron.page import Model, assets
from modelscope_cli.bridges.netron.server import Server
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.errors import DrawingError
from modelscope_cli.formats.archive_paths import open_path
from modelscope_cli.render.netron import render
from modelscope_cli.report.painting import Painting

LARGEST = 1_000_000_000  # bytes of a file that Netron gets; it holds all of it in memory, and fails at 2 GB
HINT = (
    "Netron's own application (https://netron.app) opens some of these; of PyTorch and Safetensors files inspect and"
    " --engine diagram take any size"
)
WHOLE_FILES = ("torchscript",)  # formats that Netron draws better than we do
SMALL = 10_000_000  # bytes that it gets in less time than it takes to leave something out
SUFFIXES = (".pt", ".pth")  # of such files; Netron goes by names


def draw(checkpoint: Checkpoint, wish: Wish) -> Painting:
    """The picture. Raises DrawingError when there is nothing to draw, no browser, or Netron fails; MissingExtraError."""
    need("netron", "the engine netron", "netron")
    warnings: list[str] = []
    if holds_graph(checkpoint, wish):
        try:
            with archive(checkpoint, values=False) as model:
                return export(model, wish.format, wish.theme, wish.step)
        except DrawingError as problem:
            chromium.find_browser()  # the one problem that is the same for all drawings
            warnings.append(f"drawn from names and shapes: {problem.message}")
    painting = export(drawing(checkpoint, wish), wish.format, wish.theme, wish.step)
    return painting._replace(warnings=(*painting.warnings, *warnings))


def serve(checkpoint: Checkpoint, wish: Wish, ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C. Raises DrawingError when there is nothing to draw or the port is taken."""
    need("netron", "the engine netron", "netron")
    if holds_graph(checkpoint, wish):
        with archive(checkpoint, values=True) as model:
            serve_model(model, wish, ready)
    else:
        serve_model(drawing(checkpoint, wish), wish, ready)


def draw_file(path: str, wish: Wish) -> Painting:
    """A picture of a file that only Netron reads: ONNX, TFLite. Raises DrawingError, SourceError, MissingExtraError."""
    with foreign(path) as model:
        return export(model, wish.format, wish.theme, wish.step)


def serve_file(path: str, wish: Wish, ready: Callable[[str], None]) -> None:
    """Serve such a file until Ctrl-C."""
    with foreign(path) as model:
        serve_model(model, wish, ready)


def serve_model(model: Model, wish: Wish, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C, which ends it in peace."""
    with suppress(KeyboardInterrupt), Server(assets(model, wish.theme), wish.port) as server:
        ready(server.address)
        while True:
            time.sleep(3600)


@contextmanager
def foreign(path: str) -> Iterator[Model]:
    need("netron", "the engine netron", "netron")
    with open_path(path) as window:
        if window.size > LARGEST:
            raise DrawingError(
                f"{window.size:,} bytes are more than Netron takes (the most is {LARGEST:,})", path=path, hint=HINT
            )
        yield Model(path, os.path.basename(path), window)


def holds_graph(checkpoint: Checkpoint, wish: Wish) -> bool:
    """Whether Netron finds the graph itself, and all of it is wished for."""
    whole = wish.root is None and wish.levels is None and wish.fold
    return whole and checkpoint.format in WHOLE_FILES and len(checkpoint.files) == 1


@contextmanager
def archive(checkpoint: Checkpoint, *, values: bool) -> Iterator[Model]:
    """The file as it is where `values` of tensors can be looked at, or it is small. Raises DrawingError when it is too large."""
    path, nbytes = checkpoint.files[0].path, checkpoint.files[0].nbytes
    title = os.path.basename(path)
    name = path if path.lower().endswith(SUFFIXES) else f"{path}.pt"
    light = None
    if nbytes > (LARGEST if values else SMALL):
        with open_path(path) as window:
            light = hollow(window)
    if light is not None:
        yield Model(name, title, light)
        return
    with foreign(path) as model:
        yield Model(name, title, model.content)


def drawing(checkpoint: Checkpoint, wish: Wish) -> Model:
    """A drawing of ours. Raises DrawingError when there is nothing to draw or more than can be read."""
    wish.step("drawing the modules")
    diagram = draw_diagram(checkpoint, DiagramOptions(wish.levels, wish.root, wish.fold))
    content = render(diagram, checkpoint.format, line_tensors(checkpoint, diagram.body))
    return Model(f"{checkpoint.path}.netron", diagram.title, content, ours=True)
