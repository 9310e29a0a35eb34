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

    `fitting` of the `whole` elements of the file's weights have their place in the model.
    """

    lacking: list[str]
    extra: list[str]
    differing: list[tuple[str, Shape, Shape]]
    fitting: int
    whole: int

    @property
    def perfect(self) -> bool:
        return not (self.lacking or self.extra or self.differing)

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
        return said


def fit(
    ledger: Ledger, model: Mapping[str, Shape], tied: Mapping[str, str], renamed: Callable[[str], str] | None = None
) -> Fit:
    """How the file fits a model with these shapes by name.

    `tied` maps names of the model to another that is the same tensor: one of them in the file is enough. Buffers of the file
    that the model lacks are no difference, since models make theirs anew. `renamed` says what a name of the file is called in
    the model.
    """
    roles, shapes = ledger.roles, ledger.shapes
    held: dict[str, Shape] = {
        name: shape for name, role, shape in zip(ledger.names, roles, shapes, strict=True) if role in (WEIGHT, BIAS)
    }
    beside = {name: shape for name, role, shape in zip(ledger.names, roles, shapes, strict=True) if role not in (WEIGHT, BIAS)}
    if renamed is not None and not set(held) <= set(model):
        taken = renamed
    else:
        taken = str
    file_prefix, model_prefix = prefixes([taken(name) for name in held], model)
    sources: dict[str, list[str]] = {}
    for name in held:
        sources.setdefault(placed(taken(name), file_prefix, model_prefix), []).append(name)
    extra: list[str] = []
    differing: list[tuple[str, Shape, Shape]] = []
    fitting, whole = 0, sum(map(math.prod, held.values()))
    for target, names in sources.items():
        elements = sum(math.prod(held[name]) for name in names)
        if target not in model:
            extra += names
        elif len(names) == 1 and tuple(held[names[0]]) != tuple(model[target]):
            differing.append((names[0], held[names[0]], model[target]))
        elif elements != math.prod(model[target]):
            differing.append((f"{names[0]} with {len(names) - 1} more", (elements,), model[target]))
        else:
            fitting += elements
    there = {*sources, *(placed(taken(name), file_prefix, model_prefix) for name in beside)}
    whole_tie = {name: {name} for name in tied.values()}
    for name, other in tied.items():
        whole_tie[other].add(name)
    met = {name for names in whole_tie.values() if names & there for name in names}
    return Fit([name for name in model if name not in there and name not in met], extra, differing, fitting, whole)


def prefixes(names: list[str], model: Mapping[str, Shape]) -> tuple[str, str]:
    """(prefix to take off the file's names, prefix to put on them) with which most of them are names of the model."""
    taken_off = ["", *sorted({name[: end + 1] for name in names for end in dots(name)}, key=len)[:16]]
    put_on = ["", *sorted({name[: end + 1] for name in model for end in dots(name)}, key=len)[:16]]
    best, found = ("", ""), -1
    for off in taken_off:
        for on in put_on:
            if off and off == on:
                continue
            count = sum(placed(name, off, on) in model for name in names)
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
