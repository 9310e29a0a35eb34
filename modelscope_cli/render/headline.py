"""What a report says in one line, and the name it goes by beside other reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.render.cells import words
from modelscope_cli.report.document import MACHINES, Fact, Facts, Finding, Findings, Report, Table, Verdict, Verdicts, summary

USUAL = re.compile(r"(?:pytorch_|adapter_|diffusion_pytorch_)?model\b|consolidated\b|checkpoint\b")  # names that say nothing


def headline(report: Report, unit: str) -> str:
    """The report's own line, or size, parameters and dtypes from its header. Not yet escaped for any format.

    A line that only repeats what the verdicts sum up to is passed over: whoever shows verdicts says that already.
    """
    own = words(report.headline, unit, exact=True).strip()
    if own and own not in [section.caption for section in report.sections if isinstance(section, Verdicts)]:
        return own
    facts = {fact.key: fact for fact in header_facts(report)}
    parts = []
    if "bytes" in facts:
        parts.append(words(facts["bytes"].value, unit))
    if "parameters" in facts:
        count = facts["parameters"].value
        parts.append(f"{words(count, unit, exact=True)} {'parameter' if count == 1 else 'parameters'}")
    if "dtypes" in facts:
        fact = facts["dtypes"]
        parts.append(words(fact.value if fact.text is None else fact.text, unit))
    return " · ".join(filter(None, parts))


def header_facts(report: Report) -> list[Fact]:
    """The facts that stand at the top of a report, without a title."""
    return [fact for section in report.sections if isinstance(section, Facts) and not section.title for fact in section.items]


def verdicts(report: Report) -> list[Verdict]:
    """What the rules say, in their order."""
    return [
        verdict
        for section in report.sections
        if isinstance(section, Verdicts) and section.audience != MACHINES
        for verdict in section.items
    ]


def findings(report: Report, *severities: str) -> list[Finding]:
    """The findings of these severities."""
    return [
        finding
        for section in report.sections
        if isinstance(section, Findings) and section.audience != MACHINES
        for finding in section.items
        if finding.severity in severities
    ]


class ScanFinding(NamedTuple):
    """A row of the table of findings that a scan has for machines."""

    path: str
    level: str
    code: str
    member: str
    offset: int | None
    subject: str
    opcode: str
    message: str
    evidence: str


def scan_findings(report: Report) -> Iterator[ScanFinding]:
    """What a scan found; nothing in other reports."""
    for section in report.sections:
        if isinstance(section, Table) and section.key == "findings":
            for row in section.rows:
                found = ScanFinding(*row.cells)
                yield found._replace(message=words(found.message, "auto", exact=True))


class AllowedName(NamedTuple):
    """A row of the table of what only a policy of the user's makes harmless."""

    path: str
    member: str
    offset: int | None
    name: str
    level: str
    reason: str
    policy: str
    why: str


def allowed_names(report: Report) -> Iterator[AllowedName]:
    """What a scan would say without a policy of the user's; nothing in other reports."""
    for section in report.sections:
        if isinstance(section, Table) and section.key == "allowed":
            yield from (AllowedName(*row.cells) for row in section.rows)


def tally(said: Sequence[Verdict]) -> tuple[str, str]:
    """The status of all verdicts together, and a line: 2 of 5 rules failed, 1 met nothing to judge."""
    statuses = {verdict.status for verdict in said}
    return next((status for status in ("failed", "warning") if status in statuses), "passed"), summary(said)


def short_names(reports: Sequence[Report]) -> list[str]:
    """The last part of each path, of both where two files are compared; all of it where that would not tell them apart."""
    names = [" → ".join(map(_last, report.title.split(" → "))) for report in reports]
    return [name if names.count(name) == 1 else report.title for name, report in zip(names, reports, strict=True)]


def _last(path: str) -> str:
    parts = [part for part in re.split(r"[/\\]", path) if part]
    return "/".join(parts[-2:] if parts and USUAL.match(parts[-1]) else parts[-1:]) or path
