"""The recurrent modules of a model: LSTM, GRU or RNN, what goes in, the hidden state, layers and directions.

The rows of weight_hh are those of all gates: 4 times the hidden state in an LSTM, 3 times in a GRU, once in an RNN (torch/nn/modules/rnn.py).
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.conventions import PARAMETRIZATIONS, plain_of
from modelscope_cli.analysis.kinds import RECURRENT, Kind, infer
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.core.tensor import Shape

MOST_NAMED = 3


class Recurrent(NamedTuple):
    """A recurrent module; `evidence` says what shows its gates."""

    path: str
    kind: Kind
    evidence: str


def recurrent_modules(ledger: Ledger, outline: Outline) -> list[Recurrent]:
    """All of them, one of each that are equal."""
    held: dict[str, dict[str, Shape]] = {}
    for name, line in outline.lines:
        head, _, rest = name.rpartition(f"{PARAMETRIZATIONS}.")
        path, leaf = (head.rstrip("."), f"{PARAMETRIZATIONS}.{rest}") if head or rest != name else ("", "")
        if not leaf:
            path, _, leaf = name.rpartition(".")
        if "weight_hh" in leaf or "weight_ih" in leaf or "weight_hr" in leaf:
            held.setdefault(path, {})[leaf] = ledger.shapes[line]
    found = []
    for path, tensors in held.items():
        plain = plain_of(tensors)
        tensors = plain.tensors if plain is not None else tensors
        kind = infer(path, tensors, {}, top=False)
        if kind.category == RECURRENT:
            found.append(Recurrent(path, kind, _evidence(path, tensors)))
    return found


def _evidence(path: str, tensors: dict[str, Shape]) -> str:
    name = next(name for name in ("weight_hh_l0", "weight_hh") if name in tensors)
    rows, columns = tensors[name]
    projected = tensors.get("weight_hr_l0", ())
    hidden = projected[1] if len(projected) == 2 else columns
    gates = f" = {rows // hidden:,} × {hidden:,}" if hidden and rows % hidden == 0 else ""
    return f"{path}.{name} has {rows:,} rows{gates}" if path else f"{name} has {rows:,} rows{gates}"


def described(modules: list[Recurrent]) -> tuple[str, str]:
    """What to say of them, and what shows it: that of the first."""
    texts = list(dict.fromkeys(f"{module.kind.name} {module.kind.detail}" for module in modules))
    more = f", {len(texts) - MOST_NAMED:,} more" if len(texts) > MOST_NAMED else ""
    return "; ".join(texts[:MOST_NAMED]) + more, modules[0].evidence
