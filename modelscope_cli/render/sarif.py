"""SARIF 2.1.0, as GitHub's code scanning and other security panels read it: a result a finding.

    runs[0].tool.driver.rules        each code once, with its severity, meaning and advice
    runs[0].results                  ruleId, level, message, the file, and the byte where it stands
    runs[0].invocations              what could not be read

Of a scan its findings are the results, of other reports their failed rules, warnings and errors. What only a policy of the user's makes
harmless is a suppressed result: the run then has `suppressions` in all of its results (3.27.23), with the reason of the policy. A place inside an archive is a
logical location (`model.pt/archive/data.pkl`) beside the physical one, because no panel opens archives. Facts: OASIS, Static
Analysis Results Interchange Format 2.1.0, sections 3.14 to 3.52; what GitHub asks for besides (a line, even of a binary file; paths
relative to the working folder; primaryLocationLineHash): its page on SARIF support for code scanning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from modelscope_cli.core.place import short_place
from modelscope_cli.core.scan_codes import SAFE, SCAN_CODES, ScanCode
from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import allowed_names, findings, scan_findings, verdicts
from modelscope_cli.render.plain import visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document, Report, Table

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOME = "https://pypi.org/project/modelscope-cli/"
LEVELS = {
    "dangerous": "error",
    "suspicious": "warning",
    "unknown": "note",
    "safe": "none",
    "error": "error",
    "warning": "warning",
    "info": "note",
}
GRAVEST = ("dangerous", "error", "suspicious", "warning", "unknown", "info")
SCORES = {"dangerous": "9.8", "suspicious": "6.5", "unknown": "2.0"}  # security-severity, by which GitHub sorts
MOST_RESULTS = 5_000  # GitHub takes 25,000 of a run and shows 5,000
ALLOWED = "allowed-by-policy"
OWN_CODES = {
    ALLOWED: ScanCode(
        SAFE,
        "Harmless by your policy alone",
        "A policy file allows the name or the operator; without it the verdict would be the one that the message says.",
        "Nothing to do while the policy is yours: its reason stands beside.",
    )
}
NOT_WORDS = re.compile(r"[^a-z0-9]+")


class Result(NamedTuple):
    """A finding as SARIF sees it; `graded` is its own word for how grave it is, `evidence` the call in full.

    `allowed` is why a policy of the user's allows it.
    """

    rule: str
    graded: str
    message: str
    path: str
    member: str = ""
    offset: int | None = None
    subject: str = ""
    evidence: str = ""
    allowed: str = ""


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    every = [result for report in document.reports for result in _results(report)]
    results = sorted(every, key=lambda result: GRAVEST.index(result.graded))[:MOST_RESULTS]
    rules = list(dict.fromkeys(result.rule for result in results))
    suppressing = any(result.allowed for result in results)
    worst = {result.rule: result.graded for result in reversed(results)}
    notes = [
        {"level": "error", "message": {"text": visible(f"{problem.path or 'input'}: {problem.message}")}}
        for problem in document.problems
    ]
    if len(every) > len(results):
        text = f"{len(every) - len(results):,} more findings, none graver, are left out: -f json has them all"
        notes.append({"level": "warning", "message": {"text": text}})
    run = {
        "tool": {
            "driver": {
                "name": "modelscope-cli",
                "informationUri": HOME,
                **({"version": version, "semanticVersion": version} if (version := own_version()) else {}),
                "rules": [_rule(code, worst[code]) for code in rules],
            }
        },
        "invocations": [{"executionSuccessful": not document.problems, "toolExecutionNotifications": notes}],
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(result, rules.index(result.rule)) | (_suppressions(result) if suppressing else {}) for result in results
        ],
    }
    whole = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _results(report: Report) -> Iterator[Result]:
    """The findings of a scan, or what a report warns of."""
    if any(isinstance(section, Table) and section.key == "findings" for section in report.sections):
        for found in scan_findings(report):
            if found.level != "safe":
                yield Result(
                    found.code,
                    found.level,
                    found.message,
                    found.path,
                    found.member,
                    found.offset,
                    found.subject,
                    found.evidence,
                )
        for allowed in allowed_names(report):
            said = f"{allowed.name} allowed by {allowed.policy} ({allowed.level} without it: it {allowed.reason})"
            place = allowed.path, allowed.member, allowed.offset
            yield Result(ALLOWED, "info", said, *place, subject=allowed.name, allowed=allowed.why)
        return
    for verdict in verdicts(report):
        if verdict.status != "passed":
            graded = "error" if verdict.status == "failed" else "warning"
            yield Result(verdict.rule, graded, words(verdict.message, "auto", exact=True), report.title, verdict.target)
    for finding in findings(report, "error", "warning"):
        yield Result(finding.code, finding.severity, str(finding.message), report.title, finding.where)


def _rule(code: str, graded: str) -> dict[str, Any]:
    known = SCAN_CODES.get(code) or OWN_CODES.get(code)
    title = known.title if known else code.replace("-", " ").capitalize()
    meaning = known.meaning if known else f"{title}: a rule of mscope check, or a warning of mscope report."
    advice = known.advice if known else "mscope check --list-rules explains each rule; mscope inspect shows the file."
    rule: dict[str, Any] = {
        "id": visible(code),
        "name": "".join(part.capitalize() for part in NOT_WORDS.split(title.lower())),
        "shortDescription": {"text": visible(title)},
        "fullDescription": {"text": visible(meaning)},
        "help": {"text": visible(f"{meaning} {advice}")},
        "defaultConfiguration": {"level": LEVELS[graded]},
    }
    if graded in SCORES:
        rule["properties"] = {"security-severity": SCORES[graded], "tags": ["security"]}
    return rule


def _result(result: Result, index: int) -> dict[str, Any]:
    member = short_place(result.member) if result.member else ""  # it stands in four places
    region: dict[str, Any] = {"startLine": 1}  # GitHub shows nothing without a line
    if result.offset is not None and not result.member:
        region |= {"byteOffset": result.offset, "byteLength": 1}
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": address(result.path)}, "region": region}}
    if result.member:
        place = f"{result.path}/{member}"
        location["logicalLocations"] = [{"fullyQualifiedName": visible(place), "kind": "member"}]
    where = f" ({member}" + (f", byte {result.offset:,}" if result.offset is not None else "") + ")" if result.member else ""
    said = {"offset": result.offset, "member": member or None, "evidence": result.evidence or None}
    # The same finding keeps its alert when its words change or the file grows before it.
    same = f"{result.rule}:{member}:{result.subject}"
    return {
        "ruleId": visible(result.rule),
        "ruleIndex": index,
        "level": LEVELS[result.graded],
        "message": {"text": visible(result.message + where)},
        "locations": [location],
        "partialFingerprints": {"finding/v1": visible(same), "primaryLocationLineHash": f"{_hash(same)}:1"},
        "properties": {
            key: visible(value) if isinstance(value, str) else value for key, value in said.items() if value is not None
        },
    }


def _suppressions(result: Result) -> dict[str, Any]:
    accepted = {"kind": "external", "status": "accepted", "justification": visible(result.allowed)}
    return {"suppressions": [accepted] if result.allowed else []}


def _hash(text: str) -> str:
    """Sixteen hexadecimal digits for a text."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@cache
def own_version() -> str | None:
    """The version of this package as it is installed; None where it is not."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("modelscope-cli")
    except PackageNotFoundError:
        return None


def address(path: str) -> str:
    """A path as a URI with every odd character escaped: relative to the working folder where it is below it."""
    with suppress(ValueError, OSError):  # another drive of Windows; a working folder that is gone
        if os.path.isabs(path) and not (below := os.path.relpath(path)).startswith(os.pardir):
            path = below
    text = path.replace("\\", "/")
    escaped = quote(text.encode("utf-8", "surrogateescape"), safe="/~._-")
    return f"file://{escaped}" if text.startswith("/") else escaped
