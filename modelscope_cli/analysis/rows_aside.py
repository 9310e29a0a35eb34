"""Rows for what is not shown in the modules it belongs to.

The state of optimizers: one row an optimizer, inside it one an entry of its state (exp_avg …), not one a parameter number.
The quantisation state of bitsandbytes, where it is uneven: JSON with a float in it, so it takes a byte more in one layer than in
the next, and layers that are equal but for that would stand one by one.
"""

from __future__ import annotations

from modelscope_cli.analysis.beneath import Owners
from modelscope_cli.analysis.kinds import OTHER, Kind
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.size_row import SizeRow, total

STATE = "quant_state."


def optimizer_rows(ledger: Ledger, lines: list[int]) -> list[SizeRow]:
    """The rows over the lines of optimizer state, in their order."""
    titles = {fact.path: fact.name for fact in ledger.roles_result.optimizers}
    owners = Owners(titles)
    tops: dict[str, SizeRow] = {}
    entries: dict[tuple[str, str], SizeRow] = {}
    for index in lines:
        name = ledger.names[index]
        owner = owners.of(name)
        if owner is None:
            owner = name.partition(".")[0]
        slot = name.rpartition(".")[2]
        top = tops.get(owner)
        if top is None:
            title = titles.get(owner) or "optimizer"
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


def uneven_state(ledger: Ledger) -> frozenset[int]:
    """The lines of quantisation state, if their sizes differ; none if all are of one size."""
    if not ledger.packed:
        return frozenset()
    marked = {leaf for leaf in set(ledger.leaves) if STATE in leaf}
    lines = [line for line, leaf in enumerate(ledger.leaves) if leaf in marked] if marked else []
    return frozenset(lines) if len({ledger.nbytes[line] for line in lines}) > 1 else frozenset()


def uneven_rows(ledger: Ledger, lines: list[int]) -> list[SizeRow]:
    """One row over all of it."""
    if not lines:
        return []
    rows = [SizeRow("", tensors=1, elements=ledger.owned[line], nbytes=ledger.nbytes[line]) for line in lines]
    row = total(rows, "(quantisation state)")
    row.kind = Kind("quantisation helpers", "of bitsandbytes, JSON", OTHER, inferred=False)
    return [row]
