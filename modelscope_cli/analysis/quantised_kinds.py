"""The kind of a module with a quantised weight: what it is in the model, and that it is quantised."""

from __future__ import annotations

from modelscope_cli.analysis.kinds import CONV, HEAD, HEAD_NAME, LINEAR, MLP, Kind
from modelscope_cli.analysis.ledger import Ledger

WORD = "quantised"


def quantised_kind(kind: Kind, name: str, ledger: Ledger, lines: list[int], *, top: bool) -> Kind:
    """The kind of the module `name` with these tensors, told from the shapes of the model, with what its packing adds."""
    packed = next((ledger.packed[line] for line in lines if line in ledger.packed), None)
    if packed is None or not kind.inferred:
        return kind
    if packed.shape is None:  # of the number of elements alone no matrix can be told
        head = top and HEAD_NAME.fullmatch(name.rpartition(".")[2])
        return Kind(f"{WORD} Linear", f"{packed.elements:,} weights" if packed.bits else "", HEAD if head else LINEAR)
    if kind.category == CONV and len(packed.shape) == 3:  # groups lie along rows of a Linear: these are experts in one tensor
        experts, out, into = packed.shape
        return Kind(f"{WORD} experts", f"{experts:,} × {into:,} → {out:,}", MLP)
    return kind._replace(name=f"{WORD} {kind.name}") if kind.name and len(lines) < 32 and kind.category != "block" else kind
