"""Diagrams and scenes of checkpoints made in memory, and what is on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from modelscope_cli.analysis.diagram import DiagramOptions, draw
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.render.diagram import lay_out
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.diagram import Card, Diagram, Group, Line
from modelscope_cli.report.scene import Frame, Item, Scene, Words
from tests.tables import checkpoint_of


def diagram_of(
    model: Checkpoint | Mapping[str, Sequence[int]], *, ties: Mapping[str, str] | None = None, **rest: Any
) -> Diagram:
    """The diagram of a checkpoint or of a table of shapes; levels, root and fold are options of the drawing, others of the file."""
    options = DiagramOptions(rest.pop("levels", None), rest.pop("root", None), rest.pop("fold", True))
    return draw(model if isinstance(model, Checkpoint) else checkpoint_of(model, ties=ties, **rest), options)


def scene_of(diagram: Diagram, theme: str = "light") -> Scene:
    return lay_out(diagram, THEMES[theme])


def blocks(group: Group) -> Iterator[tuple[Card | Group, int]]:
    """Every card and group inside a group, and how many copies of it are in the model."""
    for block in group.blocks:
        if isinstance(block, Group):
            yield block, block.copies
            yield from blocks(block)
        else:
            yield block, group.copies


def lines(diagram: Diagram) -> list[tuple[Line, int]]:
    """Every line, and how many copies of it are in the model (its own fold included)."""
    return [
        (line, copies * line.fold) for block, copies in blocks(diagram.body) if isinstance(block, Card) for line in block.lines
    ]


def groups(diagram: Diagram) -> list[Group]:
    return [block for block, _ in blocks(diagram.body) if isinstance(block, Group)]


def titles(diagram: Diagram) -> list[str]:
    """The outermost blocks from top to bottom; the lines of a card without a heading are joined."""
    return [
        block.title or " + ".join(line.label for line in block.lines) if isinstance(block, Card) else block.title
        for block in diagram.body.blocks
    ]


def labels(diagram: Diagram) -> list[str]:
    """The names of all lines from top to bottom."""
    return [line.label for line, _ in lines(diagram)]


def paths(diagram: Diagram) -> list[str]:
    """The paths of all lines from top to bottom."""
    return [line.path for line, _ in lines(diagram)]


def items(scene: Scene | Frame) -> Iterator[tuple[Item, tuple[Frame, ...]]]:
    """Every item, frames included, with the frames it is in, the innermost last."""
    waiting: list[tuple[Item, tuple[Frame, ...]]] = [(item, ()) for item in reversed(scene.items)]
    while waiting:
        item, around = waiting.pop()
        yield item, around
        if isinstance(item, Frame):
            waiting += [(inner, (*around, item)) for inner in reversed(item.items)]


def texts(scene: Scene) -> list[str]:
    return [item.text for item, _ in items(scene) if isinstance(item, Words)]


def check_sums(diagram: Diagram, parameters: int) -> None:
    """Every parameter of what is drawn is in one line, once; headings are the sums of what is under them."""
    assert sum(found.parameters * copies for found, copies in lines(diagram)) == parameters
    assert math.fsum(found.share for found, _ in lines(diagram)) == pytest.approx(1 if parameters else 0, abs=1e-9)
    for found, copies in lines(diagram):
        assert found.share == pytest.approx(found.parameters * copies / max(1, parameters), abs=1e-12)
    for block, copies in blocks(diagram.body):
        inside = block.lines if isinstance(block, Card) else block.blocks
        assert block.share == pytest.approx(math.fsum(each.share for each in inside), abs=1e-9)
        if isinstance(block, Group):
            assert block.each * block.copies == pytest.approx(block.share * parameters, abs=1e-3)
            assert block.each * block.fold == block.parameters
        elif block.title:
            assert block.parameters * copies == sum(each.parameters * copies * each.fold for each in block.lines)
