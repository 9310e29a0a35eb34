"""The graph that autograd keeps of one call, drawn by torchviz: make_dot(y.mean(), params=dict(model.named_parameters()), …).

A small model of the user's own is called as it is, so that the graph is the one that torchviz would give by hand. Gradients
need no values, so a large one, and that of a config.json, is called on fake tensors; what cannot run on those is tried on meta
tensors, then from an exported program. Some calls have other names there (View for ReshapeAlias), and the title says so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.models.failing import first_that_works, said
from modelscope_cli.bridges.models.making import FAKE, META, REAL, Made, make, may_be_real
from modelscope_cli.bridges.models.quiet import quiet, silent
from modelscope_cli.bridges.models.recipe import Recipe
from modelscope_cli.bridges.models.running import call
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.dot import quoted
from modelscope_cli.render.plain import visible

MOST_NODES = 4_000  # a drawing of more takes minutes, and nobody reads it
COUNTED = 200_000  # where counting ends
EXPORTED = "an exported program"
FONT = '\tfontname="Helvetica"\n\tfontsize="14"'
NODE, EDGE = re.compile(r"^\s*(\d+) \[(.*)\]\s*$", re.DOTALL), re.compile(r"^\s*(\d+) -> (\d+)( \[.*\])?\s*$", re.DOTALL)


class Graph(NamedTuple):
    """Lines of a DOT text, how many nodes are in it, and how the model was made."""

    lines: list[str]
    nodes: int
    said: str
    warnings: tuple[str, ...]

    def dot(self, title: str) -> str:
        """The whole text, with a title over the graph."""
        return "\n".join(
            ["digraph {", f"\tlabel={quoted(title)}", '\tlabelloc="t"', '\tlabeljust="l"', FONT, *self.lines, "}", ""]
        )


class Asked(NamedTuple):
    """What is to be seen of a call: its attributes, the tensors it saves; of repeated layers the `first` only."""

    attributes: bool = False
    saved: bool = False
    first: int | None = None
    force: bool = False


def draw_autograd(checkpoint: Checkpoint, recipe: Recipe | None, asked: Asked, step: Callable[[str], None]) -> Graph:
    """torchviz's graph. Raises DrawingError when no way to call the model works, or the graph is too large to read."""
    need("torch", "the engine torchviz", "torch", "torchviz")

    def attempt(on: str) -> Graph:
        made = make(checkpoint, recipe, on=META if on == EXPORTED else on, first=asked.first, force=asked.force, step=step)
        step("calling it" if on != EXPORTED else "exporting it")
        output = call(exported(made) if on == EXPORTED else made)
        step("collecting the graph")
        graph = graph_of(made, output, asked)
        return graph if on == REAL else graph._replace(said=f"{graph.said}, on tensors without values")

    return first_that_works((REAL,) if may_be_real(checkpoint, recipe) else (FAKE, META, EXPORTED), attempt)


def exported(made: Made) -> Made:
    """The model as torch.export sees it. Raises DrawingError."""
    import torch

    from modelscope_cli.bridges.models.running import failure

    with silent():
        try:
            program = torch.export.export(made.module, made.args, made.kwargs, strict=False)
        except KeyboardInterrupt:
            raise
        except BaseException as problem:
            raise failure(made, "", problem) from problem
        return made._replace(module=program.module())


def graph_of(made: Made, output: Any, asked: Asked) -> Graph:
    """The graph behind the mean of the first output. Raises DrawingError."""
    import torch

    result = first_output(output)
    if result is None:
        what = "Tensor" if isinstance(output, torch.Tensor) else type(output).__name__
        raise DrawingError(f"{type(made.module).__name__} returns {what}, with no tensor that depends on parameters")
    with quiet(), made.mode, deep():
        from torchviz import make_dot

        mean = result.mean()
        many = count(mean.grad_fn)
        if many > MOST_NODES and not asked.force:
            raise too_large(many, asked)
        named = {visible(name).replace("\\", "\\\\"): parameter for name, parameter in made.module.named_parameters()}
        try:
            graph = make_dot(mean, params=named, show_attrs=asked.attributes, show_saved=asked.saved)
        except RuntimeError as problem:  # a saved tensor that was overwritten since
            raise DrawingError(
                f"what its call saved cannot be shown: {said(problem)}", hint="draw it without --show-attrs and --show-saved"
            ) from None
        lines, nodes = settled(list(graph.body), dict(graph.node_attr))
    if nodes > MOST_NODES and not asked.force:
        raise too_large(nodes, asked)
    return Graph(lines, nodes, made.said, made.warnings)


def first_output(output: Any) -> Any:
    """The first tensor with a gradient in what a model returns: logits before caches."""
    import torch

    if isinstance(output, torch.Tensor):
        return output if output.grad_fn is not None else None
    inner = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((found for each in inner if (found := first_output(each)) is not None), None)


def count(start: Any) -> int:
    """Calls of a graph and the parameters they reach, up to COUNTED."""
    seen, waiting, nodes = {start}, [start], 0
    while waiting and nodes < COUNTED:
        each = waiting.pop()
        nodes += 2 if hasattr(each, "variable") else 1
        for inner, _ in each.next_functions:
            if inner is not None and inner not in seen:
                seen.add(inner)
                waiting.append(inner)
    return nodes


def too_large(nodes: int, asked: Asked) -> DrawingError:
    """The refusal, with what makes the graph smaller."""
    smaller = [
        "--layers 1 draws the first of the repeated layers" if asked.first is None or asked.first > 1 else "",
        "leaving out --show-saved draws no saved tensors" if asked.saved else "",
        "--engine dataflow draws layers as boxes",
        "--force draws it all",
    ]
    more = "more than " if nodes >= COUNTED else ""
    return DrawingError(
        f"{more}{nodes:,} nodes would be drawn, more than can be read (the most is {MOST_NODES:,})",
        hint=", ".join(each for each in smaller if each),
    )


def settled(body: list[str], node_attributes: dict[str, str]) -> tuple[list[str], int]:
    """(lines of DOT, nodes) of torchviz's lines, the same for every run: nodes are numbered in their order, not by address.

    torchviz asks for a font called monospace, which not every Graphviz has, and for a page of its own size, which would shrink
    the words.
    """
    numbers: dict[str, str] = {}

    def number(address: str) -> str:
        return numbers.setdefault(address, f"n{len(numbers)}")

    lines: list[str] = []
    for line in body:
        edge, node = EDGE.match(line), NODE.match(line)
        if edge:
            lines.append(f"\t{number(edge[1])} -> {number(edge[2])}{edge[3] or ''}")
        elif node:
            lines.append(f"\t{number(node[1])} [{node[2]}]")
        else:
            lines.append(line.rstrip("\n"))
    attributes = {**node_attributes, "fontname": "Courier"}
    described = " ".join(f"{key}={quoted(value)}" for key, value in attributes.items())
    return [f"\tnode [{described}]", *lines], len(numbers)


@contextmanager
def deep() -> Iterator[None]:
    """torchviz walks the graph by recursion, one level a call."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, COUNTED))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
