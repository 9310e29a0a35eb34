"""The books of a checkpoint: one line a tensor with everything that is counted about it.

All tables are sums over this. Lines of names that a writer dropped (aliases) follow those of the tensors: they own nothing
and are tied to the name that was kept.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from modelscope_cli.analysis.adapter_parts import spread
from modelscope_cli.analysis.ownership import Ownership, own
from modelscope_cli.analysis.quantised import TORCH_PACKED, Packed, Quantised, quantise, rejoin
from modelscope_cli.analysis.roles import BIAS, HELPER, WEIGHT, Roles, assign_roles
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.tensor import Shape

if TYPE_CHECKING:
    from modelscope_cli.analysis.adapters import Adapter


class Ledger:
    """Columns over all lines: names, shapes, dtypes, roles, elements (by shape), owned (distinct), nbytes (in the files).

    `parents[i]` and `leaves[i]` are the name up to its last dot and behind it; helpers below the name of a weight count to the
    module of the weight (quantised.py). `parameters[i]` is owned[i] where the role is weight or bias, else 0; of a quantised
    weight it is what the model has, `packed[i]` tells more. `tied` maps a line to the one it is tied to.
    """

    __slots__ = (
        "_by_dtype",
        "_by_role",
        "adapter",
        "checkpoint",
        "dtypes",
        "elements",
        "leaves",
        "levels",
        "names",
        "nbytes",
        "owned",
        "ownership",
        "packed",
        "parameters",
        "parents",
        "quantised",
        "roles",
        "roles_result",
        "shapes",
        "tied",
    )

    def __init__(self, checkpoint: Checkpoint):
        tensors = checkpoint.tensors
        self.checkpoint = checkpoint
        self._by_dtype: dict[str, int] = {}
        self._by_role: dict[str, tuple[int, int, int]] = {}
        self.adapter: tuple[Adapter | None] | None = None  # once they were looked for
        self.levels: int | None = None  # at which the first tree of all lines could tell modules apart: others need not try
        self.ownership: Ownership = own(checkpoint)
        self.parents, self.leaves = split(tensors.names)
        rejoin(tensors.names, self.parents, self.leaves, tensors.dtypes)
        self.parents = spread(self.parents)
        self.roles_result: Roles = assign_roles(checkpoint, self.parents, self.leaves)
        self.quantised: Quantised = quantise(checkpoint, self.parents, self.leaves, self.roles_result)
        self.packed: dict[int, Packed] = self.quantised.packed
        self.names: list[str] = tensors.names
        self.shapes: list[Shape] = tensors.shapes
        self.dtypes: list[DType] = tensors.dtypes
        self.roles: list[str] = self.roles_result.roles
        self.elements: list[int] = self.ownership.elements
        self.owned: list[int] = self.ownership.owned
        self.nbytes: list[int] = self.ownership.nbytes
        self.tied: dict[int, int] = self.ownership.tied
        if checkpoint.aliases:
            self._add_aliases(checkpoint.aliases)
        self.parameters = [owned if role in (WEIGHT, BIAS) else 0 for owned, role in zip(self.owned, self.roles, strict=True)]
        for line, packed in self.packed.items():
            if self.parameters[line]:
                self.parameters[line] = self._logical(line, packed, self.parameters[line])

    def _logical(self, line: int, packed: Packed, owned: int) -> int:
        """What `owned` of the stored elements of a quantised weight are in the model."""
        stored = self.stored(line)
        return packed.elements if owned >= stored else packed.elements * owned // stored

    def stored(self, line: int) -> int:
        """Elements of a tensor as they are stored: those of its main view, where that is another than its shape says."""
        views = self.checkpoint.tensors.parts.get(line) if line in self.packed else None
        return min(math.prod(views[0].shape), self.elements[line]) if views else self.elements[line]

    def model_tensors(self, lines: list[int]) -> dict[str, Shape]:
        """The tensors of a module by leaf, as the model has them: quantised weights under their own name and shape, no helpers."""
        if not self.packed:
            return {self.leaves[line]: self.shapes[line] for line in lines}
        found: dict[str, Shape] = {}
        for line in lines:
            packed = self.packed.get(line)
            if packed is not None:
                found[packed.into] = self.shapes[line] if packed.shape is None else packed.shape
            elif self.roles[line] != HELPER:
                leaf = self.leaves[line]
                found["bias" if leaf.startswith(TORCH_PACKED) else leaf] = self.shapes[line]
        return found

    def _add_aliases(self, aliases: dict[str, str]) -> None:
        index_of = {name: index for index, name in enumerate(self.names)}
        kept = [index_of[name] for name in aliases.values()]
        first = len(self.names)
        self.names = self.names + list(aliases)
        self.parents = self.parents + [name.rpartition(".")[0] for name in aliases]
        self.leaves = self.leaves + [name.rpartition(".")[2] for name in aliases]
        self.shapes = self.shapes + [self.shapes[index] for index in kept]
        self.dtypes = self.dtypes + [self.dtypes[index] for index in kept]
        self.roles = self.roles + [self.roles[index] for index in kept]
        self.elements = self.elements + [0] * len(kept)
        self.owned = self.owned + [0] * len(kept)
        self.nbytes = self.nbytes + [0] * len(kept)
        self.tied = {**self.tied, **{first + number: index for number, index in enumerate(kept)}}

    def __len__(self) -> int:
        return len(self.names)

    def total_parameters(self) -> int:
        """Distinct elements of weights and biases."""
        return sum(self.parameters)

    def inside(self, number: int) -> tuple[int, int]:
        """(parameters, bytes) that lie in a file."""
        lines, spread = self.checkpoint.files[number].tensors, self.ownership.spread
        if not spread:
            return sum([self.parameters[line] for line in lines]), sum([self.nbytes[line] for line in lines])
        parameters = nbytes = 0
        for line in lines:
            share = spread.get(line)
            elements, taken = share.get(number, (0, 0)) if share is not None else (self.owned[line], self.nbytes[line])
            if self.roles[line] in (WEIGHT, BIAS):
                whole, owned = self.parameters[line], self.owned[line]
                parameters += elements if whole == owned else elements * whole // owned
            nbytes += taken
        return parameters, nbytes

    def by_role(self) -> dict[str, tuple[int, int, int]]:
        """role → (tensors, distinct elements, bytes), in the order of appearance; worked out once."""
        if self._by_role:
            return self._by_role
        tensors, elements, sizes = Counter(self.roles), dict.fromkeys(self.roles, 0), dict.fromkeys(self.roles, 0)
        for role, owned, nbytes in zip(self.roles, self.owned, self.nbytes, strict=True):
            elements[role] += owned
            sizes[role] += nbytes
        self._by_role = {role: (tensors[role], elements[role], sizes[role]) for role in elements}
        return self._by_role

    def by_dtype(self) -> dict[str, int]:
        """dtype → bytes of the files; worked out once."""
        if self._by_dtype:
            return self._by_dtype
        dtypes = dict(zip(map(id, self.dtypes), self.dtypes, strict=True))
        sums = dict.fromkeys(dtypes, 0)
        for key, nbytes in zip(map(id, self.dtypes), self.nbytes, strict=True):
            sums[key] += nbytes
        parts = self.checkpoint.tensors.parts
        for line in self.packed if parts else ():
            if line in parts and self.dtypes[line] != parts[line][0].dtype:  # a subclass of float outside, integers inside
                inside = parts[line][0].dtype
                dtypes.setdefault(id(inside), inside)
                sums[id(inside)] = sums.get(id(inside), 0) + self.nbytes[line]
                sums[id(self.dtypes[line])] -= self.nbytes[line]
        for key, nbytes in sums.items():
            name = dtypes[key].name
            self._by_dtype[name] = self._by_dtype.get(name, 0) + nbytes
        return self._by_dtype


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the last dot of each name, and behind it. Thousands of leaves are `weight`: they take memory once."""
    parents, leaves = [], []
    known: dict[str, str] = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        parents.append(parent)
        leaves.append(known.setdefault(leaf, leaf))
    return parents, leaves


def unused_bytes(ledger: Ledger) -> list[int]:
    """Per file: bytes of tensor data that no tensor reaches (waste in storages, storages without a tensor)."""
    return [
        byte_map.totals().get("data", 0) - ledger.inside(number)[1]
        for number, byte_map in enumerate(ledger.checkpoint.byte_maps)
    ]
