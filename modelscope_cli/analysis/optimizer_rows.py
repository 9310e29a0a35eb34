"""The state of optimizers as rows: one an optimizer, inside it one an entry of its state (exp_avg …), not one a parameter number."""

from __future__ import annotations

from modelscope_cli.analysis.kinds import OTHER, Kind
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.size_row import SizeRow


def optimizer_rows(ledger: Ledger, lines: list[int]) -> list[SizeRow]:
    """The rows over the lines of optimizer state, in their order."""
    facts = ledger.roles_result.optimizers
    tops: dict[str, SizeRow] = {}
    entries: dict[tuple[str, str], SizeRow] = {}
    for index in lines:
        name = ledger.names[index]
        owner = next((fact.path for fact in facts if not fact.path or name.startswith(fact.path + ".")), name.partition(".")[0])
        slot = name.rpartition(".")[2]
        top = tops.get(owner)
        if top is None:
            title = next((fact.name for fact in facts if fact.path == owner), None) or "optimizer"
            top = tops[owner] = SizeRow(owner or "(optimizer)", Kind(title, "state", OTHER))
        entry = entries.get((owner, slot))
        if entry is None:
            entry = entries[(owner, slot)] = SizeRow(slot, Kind("optimizer state", "", OTHER, inferred=False))
            top.children.append(entry)
        line = SizeRow(
            "", tensors=1, parameters=ledger.parameters[index], elements=ledger.owned[index], nbytes=ledger.nbytes[index]
        )
        entry.add(line)
        top.add(line)
    return list(tops.values())
