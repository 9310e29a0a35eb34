"""A data flow as content: boxes, the frames they stand in, and what flows between them; places are a renderer's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import Count, Phrase, Ratio

CARD, SIGN, END, MORE, POINT = "card", "sign", "end", "more", "point"  # forms of a box


class Step(NamedTuple):
    """One line of a card: a module that runs, or an operator. `parameters` None: it has none, by its nature.

    `note` stands in place of a count, where all its tensors are counted elsewhere.
    """

    path: str
    kind: str
    label: str
    detail: str
    category: str
    parameters: Count | None = None
    share: Ratio = Ratio(0)
    note: str = ""


class Box(NamedTuple):
    """CARD: steps in the order they run, with a title when they are a module of their own. SIGN: an operator of one letter.
    END: an input or output. POINT: where a way divides, nothing to see. MORE: layers that are not drawn, `title` and `kind` say which.

    `frame` is the name of the frame it stands in, or "". `shape` is that of what it gives.
    """

    name: str
    form: str
    title: str
    kind: str
    steps: Sequence[Step]
    frame: str
    shape: Shape | None
    path: str = ""
    parameters: Count | None = None


class FlowFrame(NamedTuple):
    """A module with its boxes inside, in frame `within`, or "". `fold` equal ones are drawn once; `each` is of one of them."""

    name: str
    within: str
    path: str
    title: str
    kind: str
    fold: int
    each: Count
    parameters: Count
    share: Ratio


class Edge(NamedTuple):
    """A tensor on its way. `shortcut`: it passes by what others go through. `shape` is shown where it is news. `role`: Q, K, V."""

    tail: str
    head: str
    shape: Shape | None = None
    shortcut: bool = False
    role: str = ""


class Flow(NamedTuple):
    """`facts` are subtitles; boxes and frames are in the order they run, outer frames first; `captions` end the page."""

    title: str
    facts: Sequence[Phrase]
    categories: Sequence[str]
    boxes: Sequence[Box]
    frames: Sequence[FlowFrame]
    edges: Sequence[Edge]
    captions: Sequence[str]
