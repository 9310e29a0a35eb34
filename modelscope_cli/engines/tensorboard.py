"""A log folder for TensorBoard: the graph from the names of the tensors, hyper-parameters to compare runs by, and tables."""

from __future__ import annotations

import os
from copy import copy

from modelscope_cli.analysis.diagram import model_lines
from modelscope_cli.analysis.diagram_page import title
from modelscope_cli.analysis.graph_nodes import Graph, read_graph
from modelscope_cli.analysis.hyper_parameters import hyper_parameters
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect, to_report
from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.tensorboard import Log, write
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import Wish
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.markdown_text import LONGEST_SENTENCE
from modelscope_cli.render.tensorboard_text import plain, texts
from modelscope_cli.report.painting import LogFolder

VIEW = "tensorboard --logdir {folder}"


def draw(checkpoint: Checkpoint, wish: Wish) -> LogFolder:
    """Raises MissingExtraError. A file without weights gets its tables, and a warning that there is no graph."""
    need("tensorboard", "the engine tensorboard", "tensorboard")
    overview = inspect(checkpoint)
    ledger = overview.ledger
    graph = graph_of(ledger)
    figures = {
        "size/parameters": overview.parameters,
        "size/stored_bytes": checkpoint.nbytes,
        "size/tensors": len(checkpoint.tensors),
    }
    log = Log(
        run_title(checkpoint),
        graph.nodes,
        hyper_parameters(ledger, overview.tree.outline()),
        figures,
        [*texts(to_report(overview)), about(graph)],
    )
    return LogFolder(write(log), "TensorBoard", VIEW, tuple(graph.warnings))


def run_title(checkpoint: Checkpoint) -> str:
    """The name of the run in tables: the same from whatever folder the command was given, so that the log is too."""
    placed = copy(checkpoint)
    placed.path = os.path.abspath(checkpoint.path)
    return title(placed)


def graph_of(ledger: Ledger) -> Graph:
    """The graph; an empty one with a warning where the file holds no model."""
    try:
        return read_graph(ledger, model_lines(ledger, None))
    except DrawingError as nothing:
        return Graph([], [f"no graph: the file {nothing.message}"])


def about(graph: Graph) -> tuple[str, str]:
    """What to know about the graph, for those who only see the page."""
    said = [
        "Written by mscope from names, shapes and dtypes of the tensors; nothing was executed.",
        "Graphs: nodes are modules that hold weights, named as in the file. Edges are the order of execution as inferred from"
        " names; residual additions and other operations without weights are not in a checkpoint. Where no edge is drawn, the"
        " order is not known. Below Tag, choose the bytes of the weights, then colour by memory.",
        *[plain(f"{warning[:1].upper()}{warning[1:]}.", LONGEST_SENTENCE) for warning in graph.warnings],
    ]
    return "About this log", "\n\n".join(said)
