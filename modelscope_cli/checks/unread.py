"""Judging what lies where no model could be read: what can run in it was looked at all the same, and that is all that can be judged."""

from __future__ import annotations

from collections.abc import Sequence

from modelscope_cli.analysis.unread import header
from modelscope_cli.checks.check import SCHEMA
from modelscope_cli.checks.rule import Demand
from modelscope_cli.checks.safety import NAME, Judged, verdict_of
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.report.document import Fact, Phrase, Report, Verdict, Verdicts, summary

UNJUDGED = "cannot be judged: the model is not read"
ORDER = ("failed", "warning", "passed")


def verdicts(demands: Sequence[Demand], judged: Judged) -> Verdicts:
    """What forbid-unsafe says, as of any other file, and of every other rule that it cannot be judged; the failed ones first."""
    said = [verdict_of(judged, demand) if demand.rule.name == NAME else demand.nothing(UNJUDGED) for demand in demands]
    said.sort(key=lambda verdict: ORDER.index(verdict.status))
    return Verdicts("checks", "Checks", said, caption=summary(said))


def to_report(path: str, problem: ModelscopeError, judged: Judged, said: Verdicts, origin: str = "") -> Report:
    """The document of `mscope check` about what lies at a path. `passed` is null where nothing failed and not all was judged."""
    facts = header(path, problem, judged.safeties)
    rules = [Fact("rules", "Rules", origin)] if origin else []
    items = [*facts.items, *rules, Fact("passed", "", passed(said.items), audience="machines")]
    return Report(SCHEMA, path, [facts._replace(items=items), said], True, Phrase((said.caption,)))


def passed(said: Sequence[Verdict]) -> bool | None:
    """Whether all rules passed; None where nobody can say."""
    statuses = {verdict.status for verdict in said}
    return False if "failed" in statuses else None if "warning" in statuses else True
