"""The books of a checkpoint: one line a tensor with everything that is counted about it.

All tables are sums over this. Lines of names that a writer dropped (aliases) follow those of the tensors: they own nothing
and are tied to the name that was kept.
"""

from __future__ import annotations

from collections import Counter

from modelscope_cli.analysis.ownership import Ownership, own
from modelscope_cli.analysis.roles import BIAS, WEIGHT, Roles, assign_roles
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.tensor import Shape


class Ledger:
    """Columns over all lines: names, shapes, dtypes, roles, elements (by shape), owned (distinct), nbytes (in the files).

    `parents[i]` and `leaves[i]` are the name up to its last dot and behind it. `parameters[i]` is owned[i] where the role is
    weight or bias, else 0. `tied` maps a line to the one it is tied to.
    """

    __slots__ = (
        "checkpoint",
        "dtypes",
        "elements",
        "leaves",
        "names",
        "nbytes",
        "owned",
        "ownership",
        "parameters",
        "parents",
        "roles",
        "roles_result",
        "shapes",
        "tied",
    )

    def __init__(self, checkpoint: Checkpoint):
        tensors = checkpoint.tensors
        self.checkpoint = checkpoint
        self.ownership: Ownership = own(checkpoint)
        parts = [name.rpartition(".") for name in tensors.names]
        self.parents = [part[0] for part in parts]
        self.leaves = [part[2] for part in parts]
        self.roles_result: Roles = assign_roles(checkpoint, self.parents, self.leaves)
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
            parameters += elements if self.roles[line] in (WEIGHT, BIAS) else 0
            nbytes += taken
        return parameters, nbytes

    def by_role(self) -> dict[str, tuple[int, int, int]]:
        """role → (tensors, distinct elements, bytes), in the order of appearance."""
        tensors, elements, sizes = Counter(self.roles), dict.fromkeys(self.roles, 0), dict.fromkeys(self.roles, 0)
        for role, owned, nbytes in zip(self.roles, self.owned, self.nbytes, strict=True):
            elements[role] += owned
            sizes[role] += nbytes
        return {role: (tensors[role], elements[role], sizes[role]) for role in elements}


def unused_bytes(ledger: Ledger) -> list[int]:
    """Per file: bytes of tensor data that no tensor reaches (waste in storages, storages without a tensor)."""
    return [
        byte_map.totals().get("data", 0) - ledger.inside(number)[1]
        for number, byte_map in enumerate(ledger.checkpoint.byte_maps)
    ]
