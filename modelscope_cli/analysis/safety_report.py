"""The document of `mscope scan`: a verdict a file, what it rests on, and what was not looked at.

Of one file people see its findings, what to do about them and all that it imports; of several the findings of each with their places.
Programs get every finding, import and call of all of them. What people see is in safety_tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelscope_cli.analysis.allowed import allowed_in
from modelscope_cli.analysis.policy import gravest
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.analysis.safety_tables import (
    MOST_FILES,
    MOST_FINDINGS,
    NOT_JUDGED,
    NOT_READ,
    ORDER,
    SEVERITY,
    first_harmless,
    place,
    short_paths,
    shown_advice,
    shown_files,
    shown_findings,
    shown_imports,
    shown_templates,
    shown_unseen,
    told,
)
from modelscope_cli.analysis.safety_words import in_words
from modelscope_cli.core.scan_codes import LEVELS, UNKNOWN
from modelscope_cli.core.scanned import FOLDER, LINK, LeftOut
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.report.document import (
    BOTH,
    MACHINES,
    PEOPLE,
    READABLE,
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
PASSED = {FOLDER: "folders", LINK: "links to folders"}  # what is passed over, one and several


def to_report(
    safeties: Sequence[Safety],
    detail: str,
    title: str,
    unread: Sequence[ModelscopeError] = (),
    left_out: Sequence[LeftOut] = (),
    paths: Sequence[str] = (),
) -> Report:
    """The verdicts on files, the gravest first.

    `unread` says of files why they could not be opened at all; `left_out` is what was passed over in folders, and why; `paths` is
    what was named, which `title` puts into one name.
    """
    ordered = sorted(safeties, key=lambda safety: ORDER[safety.verdict])
    several = len(safeties) + len(unread) != 1
    sections: list[Section] = [
        _summary(ordered, title, unread, several, list(dict.fromkeys(paths)) or [title], aside(left_out)),
        _files(ordered, unread)._replace(audience=MACHINES),
    ]
    if several:
        sections.append(shown_files(ordered, unread, short=detail == READABLE))
    else:
        sections += [
            shown_findings(ordered),
            Findings("advice", "What to do", shown_advice(ordered), PEOPLE),
            shown_imports(ordered),
        ]
    sections += [
        Findings("templates_shown", "Chat templates, as text", shown_templates(ordered, several), PEOPLE),
        Findings("unseen_shown", "Not looked at", shown_unseen(ordered, left_out), PEOPLE),
        *_for_machines(ordered, unread, left_out),
    ]
    verdict = ordered[0].verdict if ordered and not several else None
    line = f"{verdict}: {in_words(ordered[0])}" if verdict else headline(ordered, len(unread))
    return Report(SCHEMA, title, sections, False, Phrase((f"{line}{aside(left_out)}",)))


def aside(left_out: Sequence[LeftOut]) -> str:
    """What a verdict is not about, as the end of its line: ; 1 folder and 2 links to folders were not looked at."""
    counts = Counter(left.what for left in left_out if left.what)
    if not counts:
        return ""
    said = [f"{counts[what]:,} {what if counts[what] == 1 else several}" for what, several in PASSED.items() if counts[what]]
    return f"; {' and '.join(said)} {'was' if counts.total() == 1 else 'were'} not looked at"


def headline(safeties: Sequence[Safety], unread: int = 0) -> str:
    """The verdicts counted: 2 dangerous, 1 unknown, 14 safe."""
    counts = Counter(safety.verdict for safety in safeties)
    parts = [f"{counts[level]:,} {level}" for level in reversed(LEVELS) if counts[level]]
    parts += [f"{count:,} {what}" for count, what in ((counts[None], NOT_JUDGED), (unread, NOT_READ)) if count]
    return ", ".join(parts) or "no files"


def _summary(
    safeties: Sequence[Safety], title: str, unread: Sequence[ModelscopeError], several: bool, paths: Sequence[str], without: str
) -> Facts:
    judged = [safety.verdict for safety in safeties if safety.verdict is not None]
    verdict = gravest(judged) if judged else None
    size = Bytes(sum(safety.scanned.nbytes for safety in safeties))
    items = [
        Fact("path", "Path", paths[0] if len(paths) == 1 else None, title),
        Fact("paths", "", paths, audience=MACHINES),
    ]
    if several:
        items += [
            Fact("verdict", "Verdict", verdict, f"{headline(safeties, len(unread))}{without}"),
            Fact("file_count", "Files", Count(len(safeties) + len(unread))),
            Fact("bytes", "Size", size),
        ]
        return Facts("", "", items)
    safety = safeties[0] if safeties else None
    said = f"{verdict}: {in_words(safety)}" if verdict and safety else NOT_JUDGED if safety else NOT_READ
    why: Phrase = safety.why if safety else Phrase((unread[0].message,))
    weights_only = safety.weights_only if safety else None
    file = safety.path if safety else unread[0].path
    if file != title:
        items.append(Fact("file", "File", file, audience=PEOPLE))
    items += [
        Fact("verdict", "Verdict", verdict, f"{said}{without}"),
        Fact("why", "Because", why, audience=MACHINES if told(safeties) else BOTH),
        Fact("file_count", "", Count(1), audience=MACHINES),
        Fact("bytes", "Size", size, audience=BOTH if safety else MACHINES),
        Fact("weights_only", "torch.load(weights_only=True)", weights_only, audience=BOTH if weights_only else MACHINES),
    ]
    return Facts("", "", items)


def _files(safeties: Sequence[Safety], unread: Sequence[ModelscopeError]) -> Table:
    """A row a file."""
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
    at = first_harmless(safeties)
    columns = (
        Column("verdict", "Verdict", yields=0.1),
        Column("file", "File", audience=PEOPLE, wrapped=True),
        Column("path", "", audience=MACHINES),
        Column("why", "Why", yields=0.8, wrapped=True),
        Column("format", "Format", audience=MACHINES),
        Column("bytes", "Size", audience=MACHINES),
        Column("weights_only", "weights_only", audience=MACHINES),
    )
    return Table("files", "", columns, [*rows[:at], *failed, *rows[at:]])


def _for_machines(safeties: Sequence[Safety], unread: Sequence[ModelscopeError], left_out: Sequence[LeftOut]) -> list[Table]:
    """Everything, as tables: findings, imports, calls, templates, what was not looked at."""
    found: list[Any] = []
    imports: list[Any] = []
    calls: list[Any] = []
    texts: list[Any] = []
    unseen: list[Any] = []
    allowed: list[Any] = []
    for safety in safeties:
        path = safety.path
        allowed += [(path, *row) for row in allowed_in(safety)]
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
    unseen += [(left.place, "", left.why) for left in left_out]
    return [
        _table("findings", "path level code member offset subject opcode message evidence", found),
        _table("imports", "path member module name offset calls called_at level reason", imports),
        _table("calls", "path member offset opcode call", calls),
        _table("templates", "path member text", texts),
        _table("not_looked_at", "path member why", unseen),
        *([_table("allowed", "path member offset name level reason policy why", allowed)] if allowed else []),
    ]


def _table(key: str, columns: str, rows: Sequence[Sequence[Any]]) -> Table:
    return Table(key, "", [Column(name) for name in columns.split()], [Row(cells) for cells in rows], MACHINES)


def _first(table: Table, most: int) -> Table:
    """The table with as many of its rows, and one that counts the others by their verdict."""
    if len(table.rows) <= most:
        return table
    left = Counter(str(row.cells[0]) for row in table.rows[most:])
    more = ", ".join(f"{count:,} {verdict}" for verdict, count in left.items())
    last = Row(("…", f"{len(table.rows) - most:,} more files", None, more, None, None, None), mark="more")
    return table._replace(rows=[*table.rows[:most], last])


def section(safeties: Sequence[Safety], detail: str) -> list[Section]:
    """The verdicts as a part of another report; nothing without any."""
    if not safeties:
        return []
    ordered = sorted(safeties, key=lambda safety: ORDER[safety.verdict])
    table = _first(_files(ordered, ()), MOST_FILES if detail == READABLE else len(ordered))
    names = dict(zip([safety.path for safety in ordered], short_paths([safety.path for safety in ordered]), strict=True))
    items = [
        Finding(
            SEVERITY[found.level],
            found.code,
            ": ".join(filter(None, (names[safety.path] if len(ordered) > 1 else "", place(found)))),
            found.message,
        )
        for found, safety in told(ordered)[:MOST_FINDINGS]
        if SEVERITY[found.level] != "info"
    ]
    return [
        table._replace(key="safety", title="Safety", caption="what loading the file can execute: mscope scan has it in full"),
        *([Findings("safety_findings", "Safety findings", items)] if items else []),
    ]
