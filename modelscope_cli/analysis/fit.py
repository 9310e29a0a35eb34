"""Do the weights of a file fit a model? Names and shapes of both, held against each other.

A prefix on either side (`module.` of a wrapper, `model.` of a training checkpoint, a base model without its head) is no
difference. Several tensors of a file may become one of the model, when its library merges them while it loads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.tensor import Shape

SHOWN = 3  # names in a sentence
ENOUGH = 0.5  # of the elements of the file: with less it is another model


class Fit(NamedTuple):
    """`lacking`: of the model, not in the file. `extra`: of the file, not in the model. `differing`: (name, file's, model's).

    `untied`: pairs that are one tensor in the file and two in the model. `fitting` of the `whole` elements of the file's weights have their place in the model.
    """

    lacking: list[str]
    extra: list[str]
    differing: list[tuple[str, Shape, Shape]]
    untied: list[tuple[str, str]]
    fitting: int
    whole: int

    @property
    def perfect(self) -> bool:
        return not (self.lacking or self.extra or self.differing or self.untied)

    @property
    def hopeless(self) -> bool:
        """So little fits that this is another model."""
        return self.fitting < ENOUGH * self.whole

    def words(self) -> list[str]:
        """What does not fit, a sentence each."""
        said: list[str] = []
        for name, file, model in self.differing[:SHOWN]:
            said.append(f"{name} is {written(file)} in the file and {written(model)} in the model")
        if len(self.differing) > SHOWN:
            said.append(f"{len(self.differing) - SHOWN:,} more tensors have other shapes in the model")
        if self.lacking:
            said.append(f"{counted(self.lacking)} in the model and not in the file: {listed(self.lacking)}")
        if self.extra:
            said.append(f"{counted(self.extra)} in the file and not in the model: {listed(self.extra)}")
        if self.untied:
            more = f", and so are {len(self.untied) - 1:,} more pairs" if len(self.untied) > 1 else ""
            said.append(f"{' and '.join(self.untied[0])} are one tensor in the file and two in the model{more}")
        return said


def fit(
    ledger: Ledger, model: Mapping[str, Shape], tied: Mapping[str, str], renamed: Callable[[str], str] | None = None
) -> Fit:
    """How the file fits a model with these shapes by name.

    `tied` maps names of the model to another that is the same tensor: one of them in the file is enough. Buffers of the file
    that the model lacks are no difference, since models make theirs anew. `renamed` says what a name of the file is called in
    the model.
    """
    names, held = in_the_model(ledger)
    place = places(names, held, model, renamed)
    loose = {names[line] for line in ledger.packed}
    sources: dict[str, list[str]] = {}
    for name in held:
        sources.setdefault(place[name], []).append(name)
    extra: list[str] = []
    differing: list[tuple[str, Shape, Shape]] = []
    fitting = 0
    for target, own in sources.items():
        elements = sum(math.prod(held[name]) for name in own)
        if target not in model:
            extra += own
        elif len(own) == 1 and not same_shape(held[own[0]], model[target], own[0] in loose):
            shown = own[0] if own[0] == target else f"{own[0]} ({target} in the model)"
            differing.append((shown, held[own[0]], model[target]))
        elif elements != math.prod(model[target]):
            differing.append((f"{own[0]} with {len(own) - 1} more", (elements,), model[target]))
        else:
            fitting += elements
    root = {name: tied.get(name, name) for name in model}
    met = {root[target] for target in place.values() if target in root}
    lacking = [name for name in model if root[name] not in met]
    pairs = [(names[line], names[other]) for line, other in ledger.tied.items()]
    untied = [
        (name, other)
        for name, other in pairs
        if place[name] in root and place[other] in root and root[place[name]] != root[place[other]]
    ]
    return Fit(lacking, extra, differing, untied, fitting, sum(map(math.prod, held.values())))


def in_the_model(ledger: Ledger) -> tuple[list[str], dict[str, Shape]]:
    """The name of every line in the model, and the shapes of weights and biases there. A quantised weight is what it was before it was
    packed, qweight [512, 4096] a weight [4096, 4096]; where only the number of its elements is known, its shape is that."""
    names, shapes = ledger.names, ledger.shapes
    if ledger.packed:
        names, shapes = names[:], shapes[:]
        for line, packed in ledger.packed.items():
            names[line] = f"{ledger.parents[line]}.{packed.into}" if ledger.parents[line] else packed.into
            shapes[line] = packed.shape if packed.shape is not None else (packed.elements,)
    rows = zip(names, ledger.roles, shapes, strict=True)
    return names, {name: shape for name, role, shape in rows if role in (WEIGHT, BIAS)}


def same_shape(file: Shape, model: Shape, packed: bool) -> bool:
    """Whether a tensor has its place: of a quantised one the number of elements may be all that is known, and experts in one tensor
    may lie with inputs and outputs exchanged (gpt-oss)."""
    if file == model:
        return True
    return (
        packed
        and math.prod(file) == math.prod(model)
        and (len(file) == 1 or (sorted(file) == sorted(model) and len(file) == 3))
    )


def places(
    names: list[str], held: Mapping[str, Shape], model: Mapping[str, Shape], renamed: Callable[[str], str] | None
) -> dict[str, str]:
    """What every name of the file is called in the model."""
    if renamed is not None and not set(held) <= set(model):
        called = {name: renamed(name) for name in names}
    else:
        called = {name: name for name in names}
    off, on = prefixes([called[name] for name in held], model)
    return {name: placed(called[name], off, on) for name in names}


def prefixes(names: list[str], model: Mapping[str, Shape]) -> tuple[str, str]:
    """(prefix to take off the file's names, prefix to put on them) with which most of them are names of the model."""
    taken_off = ["", *sorted({name[: end + 1] for name in names for end in dots(name)}, key=len)[:16]]
    put_on = ["", *sorted({name[: end + 1] for name in model for end in dots(name)}, key=len)[:16]]
    best, found = ("", ""), -1
    for off in taken_off:
        if 2 * sum(name.startswith(off) for name in names) < len(names):  # the name of a module, not a prefix
            continue
        for on in put_on:
            if off and off == on:
                continue
            if off and on and not any("." in name[len(off) :] for name in names if name.startswith(off)):
                continue  # one module for another
            count = len({target for name in names if (target := placed(name, off, on)) in model})
            if count > found:
                best, found = (off, on), count
    return best


def dots(name: str) -> list[int]:
    """Where the first two dots of a name are."""
    first = name.find(".")
    if first < 0:
        return []
    second = name.find(".", first + 1)
    return [first] if second < 0 else [first, second]


def placed(name: str, off: str, on: str) -> str:
    """A name with one prefix taken off and another put on; a name without the first stays as it is."""
    return on + name[len(off) :] if name.startswith(off) else name


def written(shape: Shape) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "a single number"


def counted(names: list[str]) -> str:
    return "1 tensor is" if len(names) == 1 else f"{len(names):,} tensors are"


def listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
