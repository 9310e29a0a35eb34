"""An architecture diagram as content: blocks in the order they run, with figures; where things stand is a renderer's business.

Figures of a line or heading are those of one copy of what encloses it (`parameters`) and its share of the whole drawing, all
copies together (`share`). `copies` says how many that is, so that a renderer can label both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.report.document import Bytes, Count, Phrase, Ratio

TIED, UNCOUNTED = "tied", "uncounted"  # marks of a line


class Line(NamedTuple):
    """One leaf module, or one tensor: `kind` (Linear), `label` (q_proj), `detail` (4,096 → 4,096), `category`.

    `fold` equal neighbours stand in one line; `parameters` are then of one of them. `mark` TIED: all its elements are
    counted elsewhere, `note` says where; UNCOUNTED: buffers and other tensors that are not parameters. A note without a mark is
    about a part of it.
    """

    path: str
    kind: str
    label: str
    detail: str
    category: str
    parameters: Count
    share: Ratio
    fold: int = 1
    mark: str = ""
    note: str = ""


class Card(NamedTuple):
    """Lines in one box, with a heading when they are a module of their own."""

    path: str
    title: str
    kind: str
    parameters: Count
    share: Ratio
    lines: Sequence[Line]


class Group(NamedTuple):
    """Blocks inside a frame. `fold` equal modules are drawn as one; `each` is of one of them, `parameters` of all.

    `flows[i]` says whether an arrow leads from block i to the next; where it does not, the order is not known or they run
    side by side. `copies` counts every repetition of what is inside, those of the enclosing groups included.
    """

    path: str
    title: str
    kind: str
    fold: int
    copies: int
    each: Count
    parameters: Count
    share: Ratio
    blocks: Sequence[Card | Group]
    flows: Sequence[bool]


class Tie(NamedTuple):
    """Two modules that share a tensor; it is counted at `source`."""

    source: str
    other: str


class Segment(NamedTuple):
    """A part of a file's bytes."""

    label: str
    category: str
    nbytes: Bytes
    share: Ratio


class Diagram(NamedTuple):
    """`facts` are subtitles; `strip` divides the bytes of the files where they hold more than weights; `captions` end the page."""

    title: str
    facts: Sequence[Phrase]
    categories: Sequence[str]
    body: Group
    ties: Sequence[Tie]
    strip: Sequence[Segment]
    captions: Sequence[str]
