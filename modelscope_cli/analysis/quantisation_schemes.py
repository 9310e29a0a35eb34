"""What a layout of quantised weights is: how it is known, and what the function that reads its shapes returns. The rows: quantisation_layouts.py.

    GPTQ    qweight int32 [in × bits / 32, out]     qzeros [groups, out × bits / 32]   scales [groups, out]   g_idx [in]
    AWQ     qweight int32 [in, out × bits / 32]     qzeros [groups, out × bits / 32]   scales [groups, out]
    …       packed int32 [out, in × bits / 32]      scale [out, groups]   shape [2]    (compressed-tensors)

What an element is follows from the shapes of the tensors beside the packed one wherever they show it; the configuration is
asked where they do not, and where both speak they are held against each other. What neither shows is counted as stored.
Sources: the libraries that write each layout, named with its function in quantisation_integers.py and quantisation_bytes.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from modelscope_cli.analysis.quantised import WHOLE, Packed
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.tensor import Shape

BITS = (4, 8, 3, 2, 5, 6, 7, 1)  # of an element, the usual ones first


class Held(NamedTuple):
    """A tensor of a module as it is stored."""

    shape: Shape
    dtype: DType

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.numel) or 0


Module = dict[str, Held]


class Said(NamedTuple):
    """What the configuration says of one module. `group` is WHOLE where it says so, `shape` follows from the sizes it gives."""

    method: str = ""
    bits: int | None = None
    group: int | None = None
    layout: str = ""
    shape: Shape | None = None


class Layout(NamedTuple):
    """What a function found in a module: the packed tensor, what it is, its helpers, and what disagrees."""

    main: str
    packed: Packed
    helpers: tuple[str, ...] = ()
    problem: str = ""


class Scheme(NamedTuple):
    """A row: `main` is the leaf of the packed tensor, `beside` must stand with it, `read` gives None where it fits not after all.

    `methods` are the names the configuration has for it; a row with `only` counts only under these.
    """

    name: str
    main: str
    beside: tuple[str, ...]
    read: Callable[[str, Module, Said], Layout | None]
    helpers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    only: bool = False


def width(cells: int, elements: int, cell: int = 32) -> int | None:
    """The bits an element when so many fill this number of cells, the last of them perhaps not quite."""
    return next((bits for bits in BITS if elements and -(-elements * bits // cell) == cells), None)


def exact(dividend: int, divisor: int) -> int | None:
    """The quotient, where there is one without a rest."""
    return dividend // divisor if divisor and dividend % divisor == 0 else None


def matrix(module: Module, leaf: str) -> Shape | None:
    """The shape of a tensor if it is a matrix with something in it."""
    held = module.get(leaf)
    return held.shape if held is not None and len(held.shape) == 2 and 0 not in held.shape else None


def group_of(inputs: int, groups: int) -> int | None:
    """How many elements share a scale when a row of so many has this number of scales."""
    if groups <= 1 or not inputs:
        return WHOLE
    size = -(-inputs // groups)
    return size if -(-inputs // size) == groups else None


def settled(bits: int | None, said: Said, shown_by: str) -> tuple[int | None, str]:
    """The bits that shapes show, or else the configuration; and a sentence where they disagree."""
    if bits is None:
        return said.bits, ""
    if said.bits is not None and said.bits != bits:
        return bits, f"the configuration says {said.bits} bits, {shown_by} show {bits}"
    return bits, ""


def by_count(scheme: str, main: str, module: Module, said: Said, into: str = "weight") -> Layout | None:
    """Elements from the bits that the configuration says, where no shape shows them; the shape if its sizes give just that many."""
    held = module[main]
    container, bits = held.dtype.bits, said.bits
    if container is None or bits is None or not 0 < bits <= container:
        return None
    elements = held.numel * container // bits if container % bits == 0 or container == 32 else held.numel * (container // bits)
    shape = said.shape if said.shape is not None and math.prod(said.shape) == elements else None
    packed = Packed(scheme, into, elements, shape, bits, said.group, "bits of the configuration", configured=True)
    return Layout(main, packed)


def as_stored(scheme: str, main: str, module: Module, into: str = "weight") -> Layout:
    """Nothing tells how it is packed."""
    held = module[main]
    return Layout(main, Packed(scheme, into, held.numel, None, None))


def one_to_one(
    scheme: str, main: str, module: Module, evidence: str, helpers: tuple[str, ...] = (), into: str = "weight"
) -> Layout:
    """Every element has a cell of its own: stored and logical are the same."""
    held = module[main]
    return Layout(main, Packed(scheme, into, held.numel, held.shape, held.dtype.bits, None, evidence), helpers)
