"""Why a limit is broken: the modules that grew since the baseline, or else the largest ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.checks.rule import Subject
from modelscope_cli.report.document import Bytes, Count, ThousandBytes

if TYPE_CHECKING:
    from modelscope_cli.analysis.diff_row import ChangeRow

MOST_NAMED = 3  # modules in a sentence


def explained(subject: Subject, measure: Any, unit: str, under: str = "") -> tuple[Any, ...]:
    """Cells of a sentence. `measure` is a limit whose unit is to be used, `unit` " parameters" or "" for bytes."""
    grown = list(_grown(subject, under, by_parameters=bool(unit))) if subject.baseline is not None else []
    if grown:
        return ("most of it is ", *_listed(sorted(grown, key=lambda found: -found[1])[:MOST_NAMED], measure, unit, "+"))
    rows = [row for row in subject.overview.tree.rows if not row.section]
    figures = [
        (f"{row.label} ×{row.fold}" if row.fold > 1 else row.label, row.parameters if unit else row.nbytes) for row in rows
    ]
    largest = [found for found in sorted(figures, key=lambda found: -found[1])[:MOST_NAMED] if found[1]]
    return ("the largest are ", *_listed(largest, measure, unit)) if largest else ("it holds no tensors",)


def like(limit: Any, number: int) -> Bytes | Count:
    """A number in the unit of a limit: what was asked in MB is answered in MB."""
    kind = next((kind for kind in (ThousandBytes, Bytes) if isinstance(limit, kind)), Count)
    return kind(number)


def _grown(subject: Subject, under: str, *, by_parameters: bool) -> Iterator[tuple[str, int]]:
    """(module, how much more it holds than in the baseline), as deep as the tree of changes tells them apart."""
    from modelscope_cli.analysis.diff_tree import ChangeTree

    tree = ChangeTree(subject.diff, under=under) if under else subject.diff.tree
    waiting: list[tuple[str, ChangeRow]] = [("", row) for row in tree.rows]
    while waiting:
        above, row = waiting.pop()
        path = f"{above}.{row.label}" if above else row.label
        if row.children:
            waiting += [(path, child) for child in row.children]
            continue
        change = row.parameters_change if by_parameters else row.nbytes_change
        if change > 0:
            name = f"{path} ×{row.fold}" if row.fold > 1 else path
            yield f"{name} (new)" if row.status == "added" else name, change


def _listed(found: list[tuple[str, int]], measure: Any, unit: str, sign: str = "") -> tuple[Any, ...]:
    parts: list[Any] = []
    for number, (name, value) in enumerate(found):
        parts += [", " if number else "", f"{name} {sign}", like(measure, value)]
    return (*parts, unit)
