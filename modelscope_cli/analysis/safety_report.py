"""The document of `mscope scan`: a verdict a file, what it rests on, and what was not looked at.

Of one file people see its findings, what to do about them and all that it imports; of several a line each, with the gravest finding.
Programs get every finding, import and call of all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from modelscope_cli.analysis.policy import grave, gravest
from modelscope_cli.analysis.safety import Found, Safety
from modelscope_cli.core.scan_codes import DANGEROUS, LEVELS, SAFE, SCAN_CODES, SUSPICIOUS, UNKNOWN
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.report.document import (
    BOTH,
    MACHINES,
    PEOPLE,
    READABLE,
    Bytes,
    Code,
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
NOT_JUDGED, NOT_READ = "not judged", "not read"
MEANINGS = {
    SAFE: "loading it executes nothing but what weights need",
    UNKNOWN: "loading it may execute what nobody has judged",
    SUSPICIOUS: "it has what no honest file needs",
    DANGEROUS: "loading it can run what its author wanted",
}
SEVERITY = {DANGEROUS: "error", SUSPICIOUS: "warning", UNKNOWN: "info", SAFE: "info"}
ORDER = {verdict: place for place, verdict in enumerate((DANGEROUS, SUSPICIOUS, UNKNOWN, SAFE, None))}
MOST_FILES = 60  # rows that a person is shown; the gravest come first
MOST_FINDINGS = 40
MOST_IMPORTS = 30
MOST_ADVICE = 3
MOST_TEMPLATES = 6
TEMPLATE_LINES = 240  # characters of a template that a person is shown


def to_report(
    safeties: Sequence[Safety],
    detail: str,
    title: str,
    unread: Sequence[ModelscopeError] = (),
    left_out: Sequence[tuple[str, str]] = (),
) -> Report:
    """The verdicts on files, the gravest first.

    `unread` says of files why they could not be opened at all; `left_out` are folders that nobody looked into, and why.
    """
    ordered = sorted(safeties, key=lambda safety: ORDER[safety.verdict])
    several = len(safeties) + len(unread) != 1
    short = detail == READABLE
    sections: list[Section] = [_summary(ordered, title, unread, several)]
    if several:
        sections.append(_files(ordered, unread, short=short))
    else:
        sections += [
            _files(ordered, unread, short=short)._replace(audience=MACHINES),
            _findings(ordered),
            Findings("advice", "What to do", _advice(ordered), PEOPLE),
            _imports(ordered),
        ]
    sections += [
        Findings("templates_shown", "Chat templates, as text", _shown_templates(ordered, several), PEOPLE),
        Findings("unseen_shown", "Not looked at", _unseen(ordered, left_out), PEOPLE),
        *_for_machines(ordered, unread, left_out),
    ]
    verdict = ordered[0].verdict if ordered and not several else None
    line = f"{verdict}: {MEANINGS[verdict]}" if verdict else headline(ordered, len(unread))
    return Report(SCHEMA, title, sections, False, Phrase((line,)))


def headline(safeties: Sequence[Safety], unread: int = 0) -> str:
    """The verdicts counted: 2 dangerous, 1 unknown, 14 safe."""
    counts = Counter(safety.verdict for safety in safeties)
    parts = [f"{counts[level]:,} {level}" for level in reversed(LEVELS) if counts[level]]
    parts += [f"{count:,} {what}" for count, what in ((counts[None], NOT_JUDGED), (unread, NOT_READ)) if count]
    return ", ".join(parts) or "no files"


def _summary(safeties: Sequence[Safety], title: str, unread: Sequence[ModelscopeError], several: bool) -> Facts:
    judged = [safety.verdict for safety in safeties if safety.verdict is not None]
    verdict = gravest(judged) if judged else None
    size = Bytes(sum(safety.scanned.nbytes for safety in safeties))
    items = [Fact("path", "Path", title)]
    if several:
        items += [
            Fact("verdict", "Verdict", verdict, headline(safeties, len(unread))),
            Fact("file_count", "Files", Count(len(safeties) + len(unread))),
            Fact("bytes", "Size", size),
        ]
        return Facts("", "", items)
    safety = safeties[0] if safeties else None
    said = f"{verdict}: {MEANINGS[verdict]}" if verdict else NOT_JUDGED if safety else NOT_READ
    why: Phrase = safety.why if safety else Phrase((unread[0].message,))
    weights_only = safety.weights_only if safety else None
    items += [
        Fact("verdict", "Verdict", verdict, said),
        Fact("why", "Because", why, audience=MACHINES if told(safeties) else BOTH),
        Fact("file_count", "", Count(1), audience=MACHINES),
        Fact("bytes", "Size", size, audience=BOTH if safety else MACHINES),
        Fact("weights_only", "torch.load(weights_only=True)", weights_only, audience=BOTH if weights_only else MACHINES),
    ]
    return Facts("", "", items)


def _files(safeties: Sequence[Safety], unread: Sequence[ModelscopeError], *, short: bool) -> Table:
    """A row a file; of many a person is shown the gravest."""
    names = short_paths([*(safety.path for safety in safeties), *(problem.path or "" for problem in unread)])
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
            mark=safety.verdict or "",
        )
        for name, safety in zip(names, safeties, strict=False)
    ]
    failed = [
        Row((NOT_READ, name, problem.path, problem.message, None, None, None), mark=UNKNOWN)
        for name, problem in zip(names[len(safeties) :], unread, strict=True)
    ]
    at = _first_harmless(safeties)
    rows = [*rows[:at], *failed, *rows[at:]]
    columns = (
        Column("verdict", "Verdict", yields=0.1),
        Column("file", "File", audience=PEOPLE, wrapped=True),
        Column("path", "", audience=MACHINES),
        Column("why", "Why", yields=0.8, wrapped=True),
        Column("format", "Format", audience=MACHINES),
        Column("bytes", "Size", audience=MACHINES),
        Column("weights_only", "weights_only", audience=MACHINES),
    )
    if short and len(rows) > MOST_FILES:
        left = Counter(str(row.cells[0]) for row in rows[MOST_FILES:])
        more = ", ".join(f"{count:,} {verdict}" for verdict, count in left.items())
        rows = [
            *rows[:MOST_FILES],
            Row(("…", f"{len(rows) - MOST_FILES:,} more files", None, more, None, None, None), mark="more"),
        ]
    return Table("files", "", columns, rows)


def _first_harmless(safeties: Sequence[Safety]) -> int:
    """Where files that cannot be read stand: behind all that are worse than safe."""
    return sum(ORDER[safety.verdict] < ORDER[SAFE] for safety in safeties)


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


def told(safeties: Iterable[Safety]) -> list[tuple[Found, Safety]]:
    """The findings that a person is to know, the gravest first."""
    pairs = [
        (found, safety)
        for safety in safeties
        for found in safety.found
        if grave(found.level) > 0 or found.code == "torchscript"
    ]
    return sorted(pairs, key=lambda pair: -grave(pair[0].level))


def _findings(safeties: Sequence[Safety]) -> Table:
    """A row a finding of one file."""
    found = [found for found, _ in told(safeties)]
    rows = [Row((one.level, Code(place(one)), one.message), mark=one.level) for one in found[:MOST_FINDINGS]]
    if len(found) > MOST_FINDINGS:
        rows.append(Row(("…", "", f"{len(found) - MOST_FINDINGS:,} more findings: -f json has them all"), mark="more"))
    columns = (
        Column("level", "Finding", yields=0.1),
        Column("where", "Where", yields=1.0, wrapped=True),
        Column("what", "What", yields=0.5, wrapped=True),
    )
    return Table("findings_shown", "Findings", columns, rows, PEOPLE)


def _advice(safeties: Sequence[Safety]) -> list[Finding]:
    """What to do about the gravest kinds of findings; the same advice once."""
    by_text: dict[str, str] = {}
    for found, _ in told(safeties):
        if grave(found.level) > 0:
            by_text.setdefault(SCAN_CODES[found.code].advice, SEVERITY[found.level])
    return [Finding(severity, "advice", "", text) for text, severity in list(by_text.items())[:MOST_ADVICE]]


def _imports(safeties: Sequence[Safety]) -> Table:
    """A row a name that one file imports, the gravest first."""
    imports = sorted((item for safety in safeties for item in safety.imports), key=lambda item: -grave(item.judgement.level))
    rows = []
    for item in imports[:MOST_IMPORTS]:
        where = " ".join(filter(None, (item.where, f"byte {item.offset:,}")))
        calls = Count(item.calls)
        rows.append(
            Row((item.judgement.level, Code(item.path), calls, where, item.judgement.reason), mark=item.judgement.level)
        )
    if len(imports) > MOST_IMPORTS:
        rows.append(Row(("…", f"{len(imports) - MOST_IMPORTS:,} more", None, "", "-f json has them all"), mark="more"))
    columns = (
        Column("level", "Imports", yields=0.1),
        Column("name", "Name", yields=0.7, wrapped=True),
        Column("calls", "Calls"),
        Column("where", "Where", yields=0.7, wrapped=True, show_from=90),
        Column("reason", "It", yields=0.6, wrapped=True),
    )
    return Table("imports_shown", "Imports", columns, rows, PEOPLE)


def _shown_templates(safeties: Sequence[Safety], several: bool) -> list[Finding]:
    shown = [(safety, where, text) for safety in safeties for where, text in safety.scanned.texts]
    items = []
    for safety, where, text in shown[:MOST_TEMPLATES]:
        name = ": ".join(filter(None, (os.path.basename(safety.path) if several else "", where)))
        items.append(Finding("info", "template", name, text[:TEMPLATE_LINES] + ("…" if len(text) > TEMPLATE_LINES else "")))
    if len(shown) > MOST_TEMPLATES:
        items.append(Finding("info", "more", "", f"{len(shown) - MOST_TEMPLATES:,} more: -f json has them all"))
    return items


def _unseen(safeties: Sequence[Safety], left_out: Sequence[tuple[str, str]]) -> list[Finding]:
    """Folders nobody looked into, and how many parts of no kind that anything runs. Others are findings."""
    items = [Finding("info", "unseen", folder, why) for folder, why in left_out]
    minor = sum(one.minor for safety in safeties for one in safety.unseen)
    if minor:
        text = f"{minor:,} {'part' if minor == 1 else 'parts'} of no kind that anything runs: -f json has them all"
        items.append(Finding("info", "unseen", "", text))
    return items


def _for_machines(
    safeties: Sequence[Safety], unread: Sequence[ModelscopeError], left_out: Sequence[tuple[str, str]]
) -> list[Table]:
    """Everything, as tables: findings, imports, calls, templates, what was not looked at."""
    found: list[Any] = []
    imports: list[Any] = []
    calls: list[Any] = []
    texts: list[Any] = []
    unseen: list[Any] = []
    for safety in safeties:
        path = safety.path
        found += [
            (path, one.level, one.code, one.where, one.offset, one.subject, one.opcode, one.message, one.evidence)
            for one in safety.found
        ]
        for item in safety.imports:
            said = item.judgement
            imports.append(
                (path, item.where, item.module, item.name, item.offset, item.calls, item.sites, said.level, said.reason)
            )
        calls += [(path, *call) for call in safety.calls]
        texts += [(path, *text) for text in safety.scanned.texts]
        unseen += [(path, one.where, one.why) for one in safety.unseen]
        if safety.verdict is None:
            unseen.append((path, "", safety.why))
    unseen += [(problem.path, "", problem.message) for problem in unread]
    unseen += [(folder, "", why) for folder, why in left_out]
    return [
        _table("findings", "path level code member offset subject opcode message evidence", found),
        _table("imports", "path member module name offset calls called_at level reason", imports),
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
    table = _files(ordered, (), short=detail == READABLE)
    names = dict(zip([safety.path for safety in ordered], short_paths([safety.path for safety in ordered]), strict=True))
    items = [
        Finding(
            SEVERITY[found.level],
            found.code,
            ": ".join(filter(None, (names[safety.path] if len(ordered) > 1 else "", place(found)))),
            str(found.message),
        )
        for found, safety in told(ordered)[:MOST_FINDINGS]
        if SEVERITY[found.level] != "info"
    ]
    return [
        table._replace(key="safety", title="Safety", caption="what loading the file can execute: mscope scan has it in full"),
        *([Findings("safety_findings", "Safety findings", items)] if items else []),
    ]
