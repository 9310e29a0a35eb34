"""How large everything of a data flow is, for whoever finds places for it; and the places. Lengths are points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.report.scene import Point


class Node(NamedTuple):
    """A box in a frame, or in none: ""."""

    name: str
    width: float
    height: float
    frame: str


class Cluster(NamedTuple):
    """A frame around nodes, in another, or in none: "". `width`: what its heading needs."""

    name: str
    within: str
    width: float


class Link(NamedTuple):
    """`weight`: how much is to be given for a straight way."""

    tail: str
    head: str
    weight: int


class Plan(NamedTuple):
    nodes: Sequence[Node]
    clusters: Sequence[Cluster]
    links: Sequence[Link]
    rows: Sequence[Sequence[str]]  # nodes of one frame that begin together: side by side, in this order
    margin: float  # between a frame and what is in it


class Places(NamedTuple):
    """Middles of nodes, left and right ends of frames, and the ways of links, as points with y downwards."""

    nodes: dict[str, Point]
    frames: dict[str, tuple[float, float]]
    ways: Sequence[Sequence[Point]]
