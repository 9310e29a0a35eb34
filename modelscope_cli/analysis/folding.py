"""Equal neighbours of a module tree as one row, and what such a row is called: `layers.0–31`."""

from __future__ import annotations

from modelscope_cli.analysis.signatures import Signature
from modelscope_cli.analysis.size_row import SizeRow

MANY_GROUPS = 6  # runs of equal siblings above which equal ones are folded although others stand between
MOST_RANGES = 4  # ranges written out in the label of a fold


def groups_of(children: list[tuple[str, Signature]]) -> list[tuple[list[str], Signature]]:
    """Neighbouring numbered children of one signature together; in long irregular lists also those further apart."""
    groups: list[tuple[list[str], Signature]] = []
    for name, shape in children:
        if groups and groups[-1][1] is shape and name.isdecimal() and groups[-1][0][0].isdecimal():
            groups[-1][0].append(name)
        else:
            groups.append(([name], shape))
    numbered = [group for group in groups if group[0][0].isdecimal()]
    if len(numbered) > MANY_GROUPS:
        distinct = {id(shape) for _, shape in numbered}
        if len(distinct) * 2 <= len(numbered):
            return _gathered(groups)
    return groups


def _gathered(groups: list[tuple[list[str], Signature]]) -> list[tuple[list[str], Signature]]:
    gathered: dict[int, tuple[list[str], Signature]] = {}
    rows: list[tuple[list[str], Signature]] = []
    for names, shape in groups:
        known = gathered.get(id(shape)) if names[0].isdecimal() else None
        if known is not None:
            known[0].extend(names)
        else:
            rows.append((list(names), shape))
            if names[0].isdecimal():
                gathered[id(shape)] = rows[-1]
    return rows


def merged(row: SizeRow) -> SizeRow:
    """A row with a single child and the child, as one: `layers` + `0–31` = `layers.0–31`."""
    child = row.children[0]
    child.label = f"{row.label}.{child.label}"
    child.fold *= row.fold
    if row.kind.name and not child.kind.name:
        child.kind = row.kind
    return child


def fold_label(names: list[str]) -> str:
    """The numbers of a fold as ranges: 0–31, or 0, 2, 4, … when they are scattered."""
    if len(names) == 1:
        return names[0] or "(unnamed)"
    ranges: list[tuple[str, str]] = []
    for name in names:
        if ranges and int(name[:18]) == int(ranges[-1][1][:18]) + 1:
            ranges[-1] = (ranges[-1][0], name)
        else:
            ranges.append((name, name))
    written = [first if first == last else f"{first}–{last}" for first, last in ranges]
    if len(written) > MOST_RANGES:
        written = [*written[: MOST_RANGES - 1], "…", written[-1]]
    return ",".join(written)
