"""The document of `mscope report`: all that inspect shows, with tables of dtypes, ties and waste, and what a check or a diff adds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.findings import shards
from modelscope_cli.analysis.folder_table import folder_table
from modelscope_cli.analysis.overview import Overview, every_tensor, headline
from modelscope_cli.analysis.overview_header import header
from modelscope_cli.analysis.overview_tables import architecture, kind_table, metadata, optimizer_table, role_table
from modelscope_cli.analysis.ownership import first_users
from modelscope_cli.analysis.quantisation_report import quantisation_table
from modelscope_cli.analysis.shard_table import shard_table
from modelscope_cli.analysis.size_table import main_table
from modelscope_cli.report.document import (
    BOTH,
    EVERYTHING,
    MACHINES,
    READABLE,
    Bytes,
    Column,
    Count,
    Findings,
    Phrase,
    Ratio,
    Report,
    Row,
    Section,
    Table,
    Verdicts,
)

if TYPE_CHECKING:
    from modelscope_cli.analysis.safety import Safety

SCHEMA = "mscope.report/1"
MOST_ROWS = 16  # of the small tables, shown to people


def to_report(
    overview: Overview,
    detail: str,
    *,
    verdicts: Verdicts | None = None,
    since: Report | None = None,
    pictures: Sequence[Section] = (),
    safeties: Sequence[Safety] = (),
) -> Report:
    """Everything about one checkpoint. `since` is a diff with its baseline, `pictures` are sections of drawings.

    `safeties` are the verdicts on its files, where they were scanned: what is wrong with them is told before all else.
    """
    found = overview.findings(scanned=bool(safeties)) + shards(overview.checkpoint)
    warnings, verdict_tables = safety_sections(safeties, detail)
    optional = [
        optimizer_table(overview),
        shard_table(overview, detail),
        tie_table(overview, detail),
        waste_table(overview, detail),
        quantisation_table(overview.ledger),
        architecture(overview),
        metadata(overview, detail),
        folder_table(overview.checkpoint, detail),
        overview.together,
    ]
    modules = main_table(overview, detail)._replace(title="Modules")
    sections: list[Any] = [
        header(overview),
        *warnings,
        *([verdicts] if verdicts is not None else []),
        *[_since(section) for section in (since.sections[1:] if since is not None else ())],
        modules,
        *pictures,
        *([overview.adapter] if overview.adapter is not None else []),
        kind_table(overview),
        dtype_table(overview),
        role_table(overview),
        *[table for table in optional if table is not None],
        *verdict_tables,
        Findings("findings", "Findings", found),
        *(every_tensor(overview) if detail == EVERYTHING else []),
    ]
    failed = any(finding.severity == "error" for finding in found)
    line = headline(overview)
    if since is not None:
        line = Phrase((*line, " · since the baseline: ", *since.headline))
    danger = warning(safeties)
    if danger:
        line = Phrase((danger, " · ", *line))
    return Report(SCHEMA, overview.checkpoint.path, sections, failed, line)


def safety_sections(safeties: Sequence[Safety], detail: str) -> tuple[list[Section], list[Section]]:
    """(what is suspicious or dangerous, the verdicts as a table)."""
    if not safeties:
        return [], []
    from modelscope_cli.analysis.safety_report import section

    sections = section(safeties, detail)
    return [one for one in sections if isinstance(one, Findings)], [one for one in sections if not isinstance(one, Findings)]


def warning(safeties: Sequence[Safety]) -> str:
    """The gravest verdict in a line, with the file and the reason; nothing where none is suspicious."""
    from modelscope_cli.core.scan_codes import DANGEROUS, SUSPICIOUS

    wrong = [safety for level in (DANGEROUS, SUSPICIOUS) for safety in safeties if safety.verdict == level]
    if not wrong:
        return ""
    first, name = wrong[0], os.path.basename(wrong[0].path)
    more = f" (and {len(wrong) - 1:,} more {'file' if len(wrong) == 2 else 'files'})" if len(wrong) > 1 else ""
    return f"{str(first.verdict).upper()}: {f'{name}: ' if len(safeties) > 1 else ''}{first.why}{more}"


def _since(section: Section) -> Section:
    """A section of a diff as a part of the report: its modules are not the modules of the report."""
    own = section.key == "modules"
    title = "Changes since the baseline" if own else f"Changes: {section.title[:1].lower()}{section.title[1:]}"
    return section._replace(key="changes" if own else f"changes_{section.key}", title=title)


def dtype_table(overview: Overview) -> Table:
    """Tensors, elements and bytes of each dtype."""
    ledger, files = overview.ledger, overview.checkpoint.nbytes
    tensors = Counter(dtype.name for dtype in ledger.dtypes)
    owned: Counter[str] = Counter()
    for dtype, elements in zip(ledger.dtypes, ledger.owned, strict=True):
        owned[dtype.name] += elements
    sizes = ledger.by_dtype()
    widths = {dtype.name: dtype.width for dtype in ledger.dtypes}
    rows = [
        Row(
            (
                name,
                widths[name],
                Count(tensors[name]),
                Count(owned[name]),
                Bytes(sizes[name]),
                Ratio(sizes[name] / files) if files else None,
            )
        )
        for name in sorted(sizes, key=lambda name: -sizes[name])
    ]
    columns = (
        Column("dtype", "Dtype"),
        Column("bits", "Bits", audience=BOTH if any([dtype.block != 1 for dtype in ledger.dtypes]) else MACHINES),
        Column("tensors", "Tensors"),
        Column("elements", "Elements"),
        Column("bytes", "Bytes"),
        Column("file_share", "% file"),
    )
    return Table("dtype_totals", "By dtype", columns, rows)


def tie_table(overview: Overview, detail: str) -> Table | None:
    """Names that share all their elements with another, and what that saves."""
    ledger = overview.ledger
    rows = []
    for line, first in ledger.tied.items():
        elements = ledger.elements[first]
        saved = ledger.dtypes[line].nbytes(elements) or 0
        rows.append(Row((ledger.names[line], ledger.names[first], Count(elements), Bytes(saved))))
    columns = (Column("name", "Tied"), Column("tied_to", "To"), Column("elements", "Elements"), Column("saved", "Saves"))
    return _short(Table("ties", "Ties", columns, rows), detail) if rows else None


def waste_table(overview: Overview, detail: str) -> Table | None:
    """Storages of which tensors use only a part, the worst first."""
    ledger, storage = overview.ledger, overview.checkpoint.tensors.storage
    if not ledger.ownership.waste:
        return None
    users = first_users(overview.checkpoint.tensors, {number for number, _ in ledger.ownership.waste})
    rows = [
        Row((users.get(number, "no tensor"), storage.keys[number], Bytes(storage.nbytes[number]), Bytes(lost)))
        for number, lost in sorted(ledger.ownership.waste, key=lambda pair: -pair[1])
    ]
    columns = (Column("name", "Tensor"), Column("storage", "Storage"), Column("bytes", "Bytes"), Column("unused", "Unused"))
    return _short(Table("waste", "Waste", columns, rows), detail)


def _short(table: Table, detail: str) -> Table:
    """The first rows of a table for people, and how many there are more."""
    if detail != READABLE or len(table.rows) <= MOST_ROWS:
        return table
    cells = (f"({len(table.rows) - MOST_ROWS:,} more)", *[None] * (len(table.columns) - 1))
    return table._replace(rows=[*table.rows[:MOST_ROWS], Row(cells, mark="more")])
