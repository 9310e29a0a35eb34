"""What a model does with its inputs, as data: calls of operators in the order they run, each knowing the modules it runs in.

Values are known by name: inputs, tensors that the model keeps, and what calls return. A call that returns several tensors is
one value; its parts are taken out by calls of `getitem`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape


class Value(NamedTuple):
    """An input. `shape` None: not a tensor."""

    name: str
    shape: Shape | None
    dtype: str


class Kept(NamedTuple):
    """A tensor of the model. `path` is its first name there, whichever it is read by: tied tensors are one.

    `learned`: a parameter; else a buffer or a constant. `content`: of a constant that stood in the code, its numbers where they
    are known; None: the tensor belongs to a module.
    """

    name: str
    path: str
    shape: Shape
    learned: bool
    content: str | None = None


class Place(NamedTuple):
    """A module that is running: its path and class. `again` counts earlier runs of the same module."""

    path: str
    kind: str
    again: int = 0


class Call(NamedTuple):
    """`operator` without its overload (linear, add). `arguments`: names of the values it reads, in order; `numbers`: the plain
    numbers among its arguments, in order. `within`: the modules that were running, outermost first. `shape` and `dtype`: of
    what it returns; None and "" where that is no tensor. `slots`: where each of `arguments` stands, a position or a keyword.
    `plain`: (slot, text) of every argument that is not just a value: numbers, lists, texts, None.
    """

    name: str
    operator: str
    arguments: Sequence[str]
    numbers: Sequence[float]
    within: Sequence[Place]
    shape: Shape | None
    dtype: str
    slots: Sequence[str] = ()
    plain: tuple[tuple[str, str], ...] = ()


class Calls(NamedTuple):
    """`modules`: path of a module → its class; `tensors`: the same → its own tensors, as (leaf name, kept tensor).

    A tensor that two modules share stands under both.
    """

    inputs: Sequence[Value]
    kept: Sequence[Kept]
    calls: Sequence[Call]
    outputs: Sequence[str]
    modules: Mapping[str, str]
    tensors: Mapping[str, Sequence[tuple[str, Kept]]]
