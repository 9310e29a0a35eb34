"""The document of `mscope scan`: a verdict a file, what it rests on, and what was not looked at."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelscope_cli.analysis.policy import grave, gravest
from modelscope_cli.analysis.safety import Found, Safety
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.report.document import (
    BOTH,
    EVERYTHING,
    MACHINES,
    PEOPLE,
    Bytes,
    Column,
    Count,
    Fact,
    Facts,
    Finding,
    Findings,
    Phrase,
    Report,
    Row,
    Section,
    Table,
)

SCHEMA = "mscope.scan/1"
SEVERITY = {DANGEROUS: "error", SUSPICIOUS: "warning", UNKNOWN: "info", SAFE: "info"}
NOT_JUDGED = "not judged"
MOST_FILES = 60  # rows that a person is shown; the gravest come first
MOST_FINDINGS = 40
MOST_TEMPLATES = 6
TEMPLATE_LINES = 240  # characters of a template that a person is shown
ORDER = {DANGEROUS: 0, SUSPICIOUS: 1, UNKNOWN: 2, None: 3, SAFE: 4}


def to_report(safeties: Sequence[Safety], detail: str, title: str, unread: int = 0) -> Report:
    """The verdicts on files, the gravest first. `unread` are files that could not be opened at all."""
    ordered = sorted(safeties, key=lambda safety: ORDER[safety.verdict])
    several = len(safeties) > 1
    people = detail != EVERYTHING
    sections: list[Section] = [
        _summary(ordered, title),
        _files(ordered, several=several, short=people),
        Findings("told", "Findings", _told(ordered, several), PEOPLE),
        Findings("templates_shown", "Chat templates, as text", _shown_templates(ordered), PEOPLE),
        Findings("unseen_shown", "Not looked at", _unseen(ordered, several), PEOPLE),
        *_for_machines(ordered),
    ]
    return Report(SCHEMA, title, sections, False, Phrase((headline(ordered),)))


def headline(safeties: Sequence[Safety]) -> str:
    """The verdicts counted: 2 dangerous, 1 unknown, 14 safe."""
    counts = Counter(safety.verdict for safety in safeties)
    parts = [f"{counts[level]:,} {level}" for level in (DANGEROUS, SUSPICIOUS, UNKNOWN, SAFE) if counts[level]]
    if counts[None]:
        parts.append(f"{counts[None]:,} {NOT_JUDGED}")
    return ", ".join(parts) or "no files"


def _summary(safeties: Sequence[Safety], title: str) -> Facts:
    verdict = gravest(safety.verdict for safety in safeties if safety.verdict is not None)
    items = [
        Fact("path", "Path", title),
        Fact(
            "verdict",
            "Verdict",
            verdict,
            headline(safeties) if len(safeties) > 1 else f"{safeties[0].verdict or NOT_JUDGED}: {safeties[0].why}",
        ),
        Fact("file_count", "Files", Count(len(safeties)), audience=BOTH if len(safeties) > 1 else MACHINES),
        Fact("bytes", "Size", Bytes(sum(safety.scanned.nbytes for safety in safeties))),
    ]
    if len(safeties) == 1:
        said = safeties[0].weights_only
        items.append(Fact("weights_only", "torch.load(weights_only=True)", said, audience=BOTH if said else MACHINES))
    return Facts("", "", items)


def _files(safeties: Sequence[Safety], *, several: bool, short: bool) -> Table:
    names = short_paths([safety.path for safety in safeties])
    rows = [
        Row(
            (
                safety.verdict or NOT_JUDGED,
                name,
                safety.path,
                safety.why,
                safety.scanned.kind,
                Bytes(safety.scanned.nbytes),
                safety.weights_only,
            ),
            mark=safety.verdict or "more",
        )
        for name, safety in zip(names, safeties, strict=True)
    ]
    columns = (
        Column("verdict", "Verdict", yields=0.2),
        Column("file", "File", audience=PEOPLE),
        Column("path", "", audience=MACHINES),
        Column("why", "Why", yields=0.8),
        Column("format", "Format", audience=MACHINES),
        Column("bytes", "Size", audience=MACHINES),
        Column("weights_only", "weights_only", audience=MACHINES),
    )
    if short and len(rows) > MOST_FILES:
        left = Counter(safety.verdict or NOT_JUDGED for safety in safeties[MOST_FILES:])
        more = ", ".join(f"{count:,} {level}" for level, count in left.items())
        rows = [*rows[:MOST_FILES], Row(("…", f"({len(rows) - MOST_FILES:,} more: {more})", *[None] * 5), mark="more")]
    return Table("files", "", columns, rows, BOTH if several else MACHINES)


def short_paths(paths: Sequence[str]) -> list[str]:
    """The paths without the folders that all of them share."""
    split = [path.replace(os.sep, "/").split("/") for path in paths]
    shared = 0
    for names in zip(*[parts[:-1] for parts in split], strict=False):
        if len(set(names)) > 1:
            break
        shared += 1
    return ["/".join(parts[shared:]) for parts in split]


def place(found: Found) -> str:
    """Where in a file: its member and byte."""
    at = f"byte {found.offset:,}" if found.offset is not None else ""
    return " ".join(part for part in (found.where, at) if part)


def _told(safeties: Sequence[Safety], several: bool) -> list[Finding]:
    """What a person is to know, the gravest first."""
    pairs = [
        (found, safety)
        for safety in safeties
        for found in safety.found
        if grave(found.level) > 0 or found.code == "torchscript"
    ]
    pairs.sort(key=lambda pair: -grave(pair[0].level))
    items = []
    for found, safety in pairs[:MOST_FINDINGS]:
        name = os.path.basename(safety.path) if several else ""
        where = ": ".join(part for part in (name, place(found)) if part)
        items.append(Finding(SEVERITY[found.level], found.code, where, f"{found.message} [{found.level}]"))
    if len(pairs) > MOST_FINDINGS:
        items.append(Finding("info", "more", "", f"{len(pairs) - MOST_FINDINGS:,} more findings: -f json has them all"))
    return items


def _shown_templates(safeties: Sequence[Safety]) -> list[Finding]:
    shown = [(safety, where, text) for safety in safeties for where, text in safety.scanned.texts]
    items = [
        Finding(
            "info",
            "template",
            f"{os.path.basename(safety.path)}: {where}",
            text[:TEMPLATE_LINES] + ("…" if len(text) > TEMPLATE_LINES else ""),
        )
        for safety, where, text in shown[:MOST_TEMPLATES]
    ]
    if len(shown) > MOST_TEMPLATES:
        items.append(Finding("info", "more", "", f"{len(shown) - MOST_TEMPLATES:,} more: -f json has them all"))
    return items


def _unseen(safeties: Sequence[Safety], several: bool) -> list[Finding]:
    items: list[Finding] = []
    for safety in safeties:
        name = os.path.basename(safety.path) if several else ""
        for where, why, _ in safety.unseen:
            items.append(Finding("info", "unseen", ": ".join(filter(None, (name, where))), why))
    foreign = [safety for safety in safeties if safety.verdict is None]
    if several and foreign:
        names = ", ".join(os.path.basename(safety.path) for safety in foreign[:6]) + (" …" if len(foreign) > 6 else "")
        items.append(
            Finding(
                "info", "unseen", "", f"{len(foreign):,} {'file is' if len(foreign) == 1 else 'files are'} no models: {names}"
            )
        )
    more = (
        [Finding("info", "more", "", f"{len(items) - MOST_FINDINGS:,} more: -f json has them all")]
        if len(items) > MOST_FINDINGS
        else []
    )
    return items[:MOST_FINDINGS] + more


def _for_machines(safeties: Sequence[Safety]) -> list[Table]:
    """Everything, as tables: findings, imports, calls, templates, what was not looked at."""
    found: list[Any] = []
    imports: list[Any] = []
    calls: list[Any] = []
    texts: list[Any] = []
    unseen: list[Any] = []
    for safety in safeties:
        path = safety.path
        found += [
            (path, one.level, one.code, one.where, one.offset, one.subject, one.opcode, one.message) for one in safety.found
        ]
        imports += [
            (path, item.where, item.module, item.name, item.offset, item.calls, item.judgement.level, item.judgement.reason)
            for item in safety.imports
        ]
        calls += [(path, *call) for call in safety.calls]
        texts += [(path, *text) for text in safety.scanned.texts]
        unseen += [(path, one.where, one.why) for one in safety.unseen]
        if safety.verdict is None:
            unseen.append((path, "", safety.why))
    return [
        _table("findings", "path level code member offset subject opcode message", found),
        _table("imports", "path member module name offset calls level reason", imports),
        _table("calls", "path member offset opcode call", calls),
        _table("templates", "path member text", texts),
        _table("not_looked_at", "path member why", unseen),
    ]


def _table(key: str, columns: str, rows: Sequence[Sequence[Any]]) -> Table:
    return Table(key, "", [Column(name) for name in columns.split()], [Row(cells) for cells in rows], MACHINES)


def section(safeties: Sequence[Safety], detail: str) -> list[Section]:
    """The verdicts as a part of another report; nothing without any."""
    if not safeties:
        return []
    ordered = sorted(safeties, key=lambda safety: ORDER[safety.verdict])
    table = _files(ordered, several=True, short=detail != EVERYTHING)
    told = [finding for finding in _told(ordered, len(ordered) > 1) if finding.severity != "info"]
    return [
        table._replace(key="safety", title="Safety", caption="what loading the file can execute: mscope scan has it in full"),
        *([Findings("safety_findings", "Safety findings", told)] if told else []),
    ]
