"""Judging a checkpoint: every demand in turn, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelscope_cli.checks.rule import Demand, Subject, judge
from modelscope_cli.report.document import Fact, Facts, Findings, Phrase, Report, Section, Verdict, Verdicts, summary

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint

SCHEMA = "mscope.check/1"


class Check:
    """The verdicts on one checkpoint. True when nothing failed, so that `assert check(...)` says it all."""

    def __init__(self, subject: Subject, verdicts: Sequence[Verdict], *, strict: bool = False, origin: str = ""):
        self.subject = subject
        self.origin = origin  # the configuration whose rules were judged
        self.checkpoint: Checkpoint = subject.checkpoint
        self.strict = strict
        self.verdicts = [_strictly(verdict) for verdict in verdicts] if strict else list(verdicts)

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts that fail."""
        return [verdict for verdict in self.verdicts if verdict.status == "failed"]

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return not self.failed

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        """A line a verdict."""
        from modelscope_cli.render.cells import words
        from modelscope_cli.render.plain import visible

        signs = {"passed": "✓", "failed": "✗", "warning": "!"}
        lines = [
            f"{signs[verdict.status]} {verdict.rule} {verdict.target}".rstrip()
            + f": {words(verdict.message, 'auto', exact=True)}"
            + (f" - {visible(verdict.todo)}" if verdict.todo else "")
            for verdict in self.verdicts
        ]
        return "\n".join([f"{visible(self.checkpoint.path)}: {self.summary}", *lines])

    def __repr__(self) -> str:
        return f"<Check {self}>"

    @property
    def summary(self) -> str:
        """The verdicts in a few words: 1 of 6 rules failed."""
        return summary(self.verdicts) if self.verdicts else "there is no rule"


def check(subject: Subject, demands: Sequence[Demand], *, strict: bool = False, origin: str = "") -> Check:
    """The verdict of every demand. `strict`: a rule that met nothing to judge fails."""
    return Check(subject, [judge(subject, demand) for demand in demands], strict=strict, origin=origin)


def verdicts(result: Check) -> Verdicts:
    """The verdicts as a section of a report, the failed ones first."""
    order = {"failed": 0, "warning": 1, "passed": 2}
    items = sorted(result.verdicts, key=lambda verdict: order[verdict.status])
    return Verdicts("checks", "Checks", items, caption=result.summary)


def to_report(result: Check) -> Report:
    """The document of `mscope check`: what was judged, the verdicts, and what could not be read."""
    from modelscope_cli.analysis.findings import from_notes
    from modelscope_cli.analysis.overview_header import header

    facts = header(result.subject.overview)
    known = [fact for fact in facts.items if fact.key in ("path", "format", "bytes", "parameters", "dtypes")]
    against = result.subject.baseline
    if against is not None:
        known.append(Fact("baseline", "Baseline", against.path))
    if result.origin:
        known.append(Fact("rules", "Rules", result.origin))
    known.append(Fact("passed", "", result.passed, audience="machines"))
    unread = [finding for finding in from_notes(result.checkpoint) if finding.severity == "error"]
    sections: list[Section] = [Facts("", "", known), verdicts(result), Findings("findings", "Findings", unread)]
    return Report(SCHEMA, result.checkpoint.path, sections, bool(unread), Phrase((result.summary,)))


def _strictly(verdict: Verdict) -> Verdict:
    return verdict._replace(status="failed") if verdict.status == "warning" else verdict
