"""The books of a checkpoint: one line a tensor with everything that is counted about it.

All tables are sums over this. Lines of names that a writer dropped (aliases) follow those of the tensors: they own nothing
and are tied to the name that was kept.
"""

from __future__ import annotations

from modelscope_cli.analysis.ownership import Ownership, own
from modelscope_cli.analysis.roles import BIAS, BUFFER, WEIGHT, Roles, assign_roles
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.tensor import Shape


class Ledger:
    """Columns over all lines: names, shapes, dtypes, roles, elements (by shape), owned (distinct), nbytes (in the files).

    `parameters[i]` is owned[i] where the role is weight or bias, else 0. `tied` maps a line to the one it is tied to.
    """

    __slots__ = ("checkpoint", "dtypes", "elements", "names", "nbytes", "owned", "ownership", "parameters", "roles", "roles_result", "shapes", "tied")  # fmt: skip

    def __init__(self, checkpoint: Checkpoint):
        tensors = checkpoint.tensors
        self.checkpoint = checkpoint
        self.ownership: Ownership = own(checkpoint)
        self.roles_result: Roles = assign_roles(checkpoint)
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

    def by_role(self) -> dict[str, tuple[int, int, int]]:
        """role → (tensors, distinct elements, bytes), in the order of appearance."""
        totals: dict[str, list[int]] = {}
        for role, owned, nbytes in zip(self.roles, self.owned, self.nbytes, strict=True):
            row = totals.get(role)
            if row is None:
                row = totals[role] = [0, 0, 0]
            row[0] += 1
            row[1] += owned
            row[2] += nbytes
        return {role: (row[0], row[1], row[2]) for role, row in totals.items()}

    def buffer_elements(self) -> int:
        """Distinct elements of buffers."""
        return sum(owned for owned, role in zip(self.owned, self.roles, strict=True) if role == BUFFER)


def unused_bytes(ledger: Ledger) -> list[int]:
    """Per file: bytes of tensor data that no tensor reaches (waste in storages, storages without a tensor)."""
    checkpoint = ledger.checkpoint
    left = [byte_map.totals().get("data", 0) for byte_map in checkpoint.byte_maps]
    storage_file = checkpoint.tensors.storage.files
    storages = checkpoint.tensors.storages
    parts = checkpoint.tensors.parts
    for index, storage in enumerate(storages):
        nbytes = ledger.nbytes[index]
        if nbytes:
            where = storage if storage >= 0 else parts[index][0].storage
            left[storage_file[where]] -= nbytes
    return left
