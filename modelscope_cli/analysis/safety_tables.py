"""What `mscope scan` shows to people: verdicts, findings and imports as tables with room for what matters, advice, templates.

Wherever a finding or a name is shown its place is: the member and the byte. On a wide screen that is a column; of several files on
a narrow one it begins the sentence, and where all names of a file are imported by one pickle its member stands below the table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from modelscope_cli.analysis.policy import grave
from modelscope_cli.analysis.safety import Found, Safety
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SCAN_CODES, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import LeftOut
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.report.document import PEOPLE, Code, Column, Count, Finding, Listing, Phrase, Row, Table

NOT_JUDGED, NOT_READ = "not judged", "not read"
SEVERITY = {DANGEROUS: "error", SUSPICIOUS: "warning", UNKNOWN: "info", SAFE: "info"}
ORDER = {verdict: place for place, verdict in enumerate((DANGEROUS, SUSPICIOUS, UNKNOWN, SAFE, None))}
MOST_FILES = 60  # rows that a person is shown; the gravest come first
FEW_FILES = 12  # so many are shown with more than the first of their findings
MOST_OF_A_FILE = {True: 5, False: 100}  # findings: where there is little room, and where there is much
MOST_FINDINGS = 40
MOST_IMPORTS = 30
MOST_ADVICE = 3
MOST_TEMPLATES = 6
MOST_OF_A_TEMPLATE, MOST_LINES = 480, 12  # characters and lines that a person is shown
WIDE = 100  # columns of a terminal from which the place of a finding is a column of its own
MOST_LEFT_OUT = 12
REST = "mscope scan FILE shows all that a file imports and calls; -f json has it for every file"


def shown_files(safeties: Sequence[Safety], unread: Sequence[ModelscopeError], *, short: bool) -> Table:
    """The verdicts on several files, each with what it rests on. `short`: the gravest files, and few findings of each."""
    names = short_paths([*(safety.path for safety in safeties), *(problem.path or "" for problem in unread)])
    several = MOST_OF_A_FILE[short] if not short or len(names) <= FEW_FILES else 1
    groups = [list(_of_a_file(safety, name, several)) for name, safety in zip(names, safeties, strict=False)]
    failed = [
        [_row(NOT_READ, name, None, problem.message, UNKNOWN)]
        for name, problem in zip(names[len(safeties) :], unread, strict=True)
    ]
    at = first_harmless(safeties)
    groups = [*groups[:at], *failed, *groups[at:]]
    shown = groups[:MOST_FILES] if short else groups
    rows = [row for group in shown for row in group]
    if len(shown) < len(groups):
        left = Counter(str(group[0].cells[0]) for group in groups[len(shown) :])
        more = ", ".join(f"{count:,} {verdict}" for verdict, count in left.items())
        rows.append(_row("…", f"{len(groups) - len(shown):,} more files", None, more, "more"))
    columns = (
        Column("verdict", "Verdict", yields=0.1),
        Column("file", "File", wrapped=True),
        Column("where", "Where", yields=0.8, wrapped=True, show_from=WIDE),
        Column("why", "Why", yields=0.6, wrapped=True, show_from=WIDE),
        Column("why_with_place", "Why", yields=0.6, wrapped=True, show_until=WIDE - 1),
    )
    return Table("files_shown", "", columns, rows, PEOPLE, caption=REST)


def _of_a_file(safety: Safety, name: str, several: int) -> Iterator[Row]:
    """A row a finding, the first with the verdict and the file's name; one row for a file without any."""
    verdict = safety.verdict or NOT_JUDGED
    found = [one for one in safety.found if grave(one.level) > grave(SAFE)]
    if not found:
        yield _row(verdict, name, None, safety.why, safety.verdict or "")
    elif several == 1:
        yield _row(verdict, name, found[0], safety.why, safety.verdict or "")
    else:
        for number, one in enumerate(found[:several]):
            said = one.brief or one.message
            first = number == 0
            yield _row(verdict if first else "", name if first else "", one, said, (safety.verdict or "") if first else "")
        if len(found) > several:
            yield _row("", "", None, f"and {len(found) - several:,} more", "")


def _row(verdict: str, name: str, found: Found | None, said: str | Phrase, mark: str) -> Row:
    """A row that has its place twice: in a column, and before the sentence."""
    where = place(found) if found else ""
    sentence = said if isinstance(said, Phrase) else Phrase((said,))
    return Row((verdict, name, Code(where), sentence, Phrase((Code(where), ": ", *sentence)) if where else sentence), mark=mark)


def first_harmless(safeties: Sequence[Safety]) -> int:
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


def shown_findings(safeties: Sequence[Safety]) -> Table:
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


def shown_advice(safeties: Sequence[Safety]) -> list[Finding]:
    """What to do about the gravest kinds of findings; the same advice once."""
    by_text: dict[str, str] = {}
    for found, _ in told(safeties):
        if grave(found.level) > 0:
            by_text.setdefault(SCAN_CODES[found.code].advice, SEVERITY[found.level])
    return [Finding(severity, "advice", "", text) for text, severity in list(by_text.items())[:MOST_ADVICE]]


def shown_imports(safeties: Sequence[Safety]) -> Table:
    """A row a name that one file imports, the gravest first. A member that holds all of the pickles is named once, below."""
    items = sorted((item for safety in safeties for item in safety.imports), key=lambda item: -grave(item.judgement.level))
    members = {item.where for item in items}
    member = members.pop() if len(members) == 1 else ""
    rows = []
    for item in items[:MOST_IMPORTS]:
        where = " ".join(filter(None, ("" if member else item.where, f"byte {item.offset:,}")))
        level, reason = item.judgement.level, item.judgement.reason
        rows.append(Row((level, Code(item.path), Count(item.calls), Code(where), reason), mark=level))
    if len(items) > MOST_IMPORTS:
        rows.append(Row(("…", f"{len(items) - MOST_IMPORTS:,} more", None, "", "-f json has them all"), mark="more"))
    columns = (
        Column("level", "Imports", yields=0.1),
        Column("name", "Name", yields=0.7, wrapped=True),
        Column("calls", "Calls"),
        Column("where", "Where", yields=0.7, wrapped=True),
        Column("reason", "It", yields=0.6, wrapped=True),
    )
    caption = f"bytes are counted from the beginning of {member}" if member else ""
    return Table("imports_shown", "Imports", columns, rows, PEOPLE, caption=caption)


def shown_templates(safeties: Sequence[Safety], several: bool) -> list[Finding]:
    """The chat templates as they stand in the files, as far as there is room."""
    shown = [(safety, where, text) for safety in safeties for where, text in safety.scanned.texts]
    items = []
    for safety, where, text in shown[:MOST_TEMPLATES]:
        name = ": ".join(filter(None, (os.path.basename(safety.path) if several else "", where)))
        items.append(Finding("info", "template", name or os.path.basename(safety.path), _begun(text)))
    if len(shown) > MOST_TEMPLATES:
        items.append(Finding("info", "more", "", f"{len(shown) - MOST_TEMPLATES:,} more: -f json has them all"))
    return items


def _begun(text: str) -> Listing:
    """The first lines of a text."""
    lines = text[:MOST_OF_A_TEMPLATE].rstrip("\n").split("\n")[:MOST_LINES]
    shown = "\n".join(lines)
    left = len(text.rstrip("\n")) - len(shown)
    return Listing(f"{shown}\n… and {left:,} characters more: -f json has them" if left > 0 else shown)


def shown_unseen(safeties: Sequence[Safety], left_out: Sequence[LeftOut]) -> list[Finding]:
    """Folders nobody looked into, and how many parts that nothing is known to run. Others are findings."""
    items = [Finding("info", "unseen", left.place, left.why) for left in left_out[:MOST_LEFT_OUT]]
    if len(left_out) > MOST_LEFT_OUT:
        items.append(Finding("info", "unseen", "", f"{len(left_out) - MOST_LEFT_OUT:,} more: -f json has them all"))
    code = [one.why for safety in safeties for one in safety.unseen if one.source]
    if code:
        more = f" (and in {len(code) - 1:,} more places)" if len(code) > 1 else ""
        items.append(Finding("info", "unseen", "", f"not judged: {code[0]}{more}"))
    minor = sum(one.minor and not one.source for safety in safeties for one in safety.unseen)
    if minor:
        text = f"{minor:,} {'part' if minor == 1 else 'parts'} that nothing is known to run: -f json has them all"
        items.append(Finding("info", "unseen", "", text))
    return items
