"""The smaller tables of `inspect`: kinds of modules, roles of tensors, optimizers, architecture, metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.findings import flat_metadata
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import kind_totals
from modelscope_cli.analysis.roles import BIAS, BUFFER, EMA, HELPER, MASTER, OPTIMIZER, OTHER, WEIGHT
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.analysis.size_table import SUMMARY_COLUMNS, kind_cell, summary_row
from modelscope_cli.report.document import MACHINES, PEOPLE, READABLE, Column, Count, Inferred, Row, Table

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview

LONGEST_METADATA = 24  # metadata rows shown to people
MOST_METADATA = 500  # and in a page
ROOT = "(root)"  # a pickle that is one object and no dictionary
ROLE_TITLES = {
    WEIGHT: "weights",
    BIAS: "biases",
    BUFFER: "buffers",
    HELPER: "quantisation helpers",
    OPTIMIZER: "optimizer state",
    EMA: "EMA copy",
    MASTER: "master copy",
    OTHER: "other tensors",
}


def kind_table(overview: Overview) -> Table:
    """Sums by kind of module."""
    kinds = sorted(kind_totals(overview.tree.rows).values(), key=lambda row: -row.nbytes)
    rows = [summary_row(overview, row, kind_cell(row.kind), row.kind.inferred, Count(row.tensors)) for row in kinds]
    columns = (Column("kind", "Kind"), Column("inferred", audience=MACHINES), Column("tensors", "Tensors"), *SUMMARY_COLUMNS)
    return Table("kinds", "By kind", columns, rows)


def role_table(overview: Overview) -> Table:
    """Weights, biases, buffers, optimizer state, copies, other tensors, and metadata: what no tensor owns."""
    rows = []
    counted = parameters_by_role(overview.ledger)
    for role in (WEIGHT, BIAS, HELPER, BUFFER, OPTIMIZER, EMA, MASTER, OTHER):
        if role in overview.roles:
            tensors, elements, nbytes = overview.roles[role]
            row = SizeRow(ROLE_TITLES[role], parameters=counted.get(role, 0), nbytes=nbytes)
            rows.append(summary_row(overview, row, ROLE_TITLES[role], Count(tensors), Count(elements)))
    outside = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label != "unused data")
    unused = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label == "unused data")
    if unused:
        rows.append(summary_row(overview, SizeRow("unused data", nbytes=unused), "unused data", None, None))
    rows.append(summary_row(overview, SizeRow("metadata and container", nbytes=outside), "metadata and container", None, None))
    columns = (
        Column("role", "Role"),
        Column("tensors", "Tensors"),
        Column("elements", "Elements", show_from=74),
        *SUMMARY_COLUMNS,
    )
    return Table("roles", "By role", columns, rows)


def parameters_by_role(ledger: Ledger) -> dict[str, int]:
    """Parameters of the roles that have some."""
    if not ledger.packed:
        return {role: elements for role, (_, elements, _) in ledger.by_role().items() if role in (WEIGHT, BIAS)}
    found = {WEIGHT: 0, BIAS: 0}
    for role, parameters in zip(ledger.roles, ledger.parameters, strict=True):
        if parameters:
            found[role] += parameters
    return found


def optimizer_table(overview: Overview) -> Table | None:
    """The optimizers whose state is in the file."""
    facts = overview.ledger.roles_result.optimizers
    if not facts:
        return None
    rows = [Row((fact.path or "(top level)", fact.name, ", ".join(fact.slots) or "no state")) for fact in facts]
    return Table(
        "optimizers",
        "Optimizer",
        (Column("path", "Where"), Column("optimizer", "Optimizer"), Column("state", "Keeps per parameter")),
        rows,
    )


def architecture(overview: Overview) -> Table | None:
    """Facts with their evidence."""
    facts = overview.architecture
    if not facts:
        return None
    rows = [
        Row(
            (
                fact.key,
                fact.label,
                fact.value,
                Inferred(fact.text) if fact.inferred else fact.text,
                fact.evidence,
                fact.inferred,
            )
        )
        for fact in facts
    ]
    columns = (
        Column("fact", audience=MACHINES),
        Column("label", "Architecture", audience=PEOPLE),
        Column("value", audience=MACHINES),
        Column("text", "", audience=PEOPLE, yields=0.7, wrapped=True),
        Column("evidence", "Evidence", show_from=74, wrapped=True),
        Column("inferred", audience=MACHINES),
    )
    return Table("architecture", "", columns, rows)


def metadata(overview: Overview, detail: str) -> Table | None:
    """Plain values of the file, for people: dotted keys, as many as can be read."""
    most = LONGEST_METADATA if detail == READABLE else MOST_METADATA
    flat = [
        (key, value)
        for key, value in flat_metadata(overview.checkpoint.metadata, most)
        if not re.search(r"param_groups\.\d+\.params$", key)
    ]
    if not flat:
        return None
    flat.sort(
        key=lambda pair: "param_groups" in pair[0] or "scheduler" in pair[0].partition(".")[0]
    )  # what a person looks for first
    rows = [Row((key or ROOT, _shown(value))) for key, value in flat[:most]]
    if len(flat) > most:
        rows.append(Row((f"({len(flat) - most:,} more)", "-f json has them all"), mark="more"))
    return Table("metadata_rows", "", (Column("key", "Metadata"), Column("value", "")), rows, audience=PEOPLE)


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value[:12])) + (" …" if len(value) > 12 else "") if isinstance(value, list) else str(value)
    if isinstance(value, list):
        text = f"[{text}]"
    return text if len(text) <= 160 else f"{text[:150]}… ({len(text):,} characters)"
