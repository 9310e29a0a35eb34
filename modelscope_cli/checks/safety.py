"""The rule about what loading a file can execute, and the verdicts it rests on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.checks.rule import Demand, Subject
from modelscope_cli.core.place import SEPARATOR, short_name, typed
from modelscope_cli.core.scan_codes import SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.report.document import Phrase, Verdict

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.scanned import Scanned
    from modelscope_cli.errors import LimitError, ModelscopeError

MOST_NAMED = 3
NOT_JUDGED = "not judged"
UNSEEN = "not all of it could be looked at"
NAME = "forbid-unsafe"
NEVER = "never"  # as a level to fail on: only what could not be looked at fails


class Judged(NamedTuple):
    """The verdicts on the files of a checkpoint, the level from which on the rule fails, and what could not be opened."""

    safeties: Sequence[Safety]
    fail_on: str = SUSPICIOUS
    unread: Sequence[ModelscopeError] = ()
    origin: str = ""  # the settings that say so

    @property
    def failing(self) -> list[Safety]:
        """The verdicts that are too grave, the gravest first."""
        from modelscope_cli.analysis.policy import grave

        if self.fail_on == NEVER:
            return []
        wrong = [one for one in self.safeties if one.verdict and grave(one.verdict) >= grave(self.fail_on)]
        return sorted(wrong, key=lambda safety: -grave(safety.verdict or SAFE))

    @property
    def problems(self) -> list[ModelscopeError]:
        """Why not all could be looked at."""
        return [*self.unread, *(safety.problem for safety in self.safeties if safety.problem is not None)]


class Bench:
    """Judges what was scanned in a run by one policy, each file once."""

    def __init__(self, policy: Policy | None = None):
        self.policy = policy
        self._judged: dict[int, Safety] = {}
        self._kept: list[Scanned] = []  # so that no other gets their place in memory

    def judge(self, scans: Iterable[Scanned]) -> list[Safety]:
        """The verdicts, a file once."""
        return [self.one(scanned) for scanned in different(scans)]

    def one(self, scanned: Scanned, ends: Callable[[], LimitError | None] = lambda: None) -> Safety:
        """The verdict on a file. Where `ends` gives a limit, little more is judged (see Safety)."""
        from modelscope_cli.analysis.safety import Safety

        key = id(scanned)
        if key not in self._judged:
            self._judged[key] = Safety(scanned, self.policy, ends)
            self._kept.append(scanned)
        return self._judged[key]


def different(scans: Iterable[Scanned]) -> list[Scanned]:
    """Each of them once."""
    return [*{id(scanned): scanned for scanned in scans}.values()]


def asks(demands: Iterable[Demand]) -> bool:
    """Whether one of them needs a scan."""
    return any([demand.rule.name == NAME for demand in demands])


def forbid_unsafe(subject: Subject, demand: Demand) -> Verdict:
    """Whether a file is suspicious or dangerous, as `mscope scan` judges it."""
    judged = subject.safety() if subject.safety is not None else None
    if judged is None or not (judged.safeties or judged.problems):
        return demand.failed("not scanned", f"nothing was scanned{described(subject.checkpoint)}", "check the model itself")
    return verdict_of(judged, demand)


def verdict_of(judged: Judged, demand: Demand) -> Verdict:
    """What the rule says of files that were scanned."""
    from modelscope_cli.analysis.safety import worst

    unjudged = all([safety.verdict is None for safety in judged.safeties])
    level = NOT_JUDGED if unjudged else worst(judged.safeties)
    wrong = judged.failing
    if wrong:
        said = "; ".join(
            [f"{os.path.basename(safety.path)} is {safety.verdict}: {safety.why}" for safety in wrong[:MOST_NAMED]]
        )
        more = f"; {len(wrong) - MOST_NAMED:,} more files" if len(wrong) > MOST_NAMED else ""
        whole = wrong[0].path.partition(SEPARATOR)[0]
        return demand.failed(level, said + more, f"do not load it; mscope scan {typed(whole)} tells all of it")
    if judged.problems:
        first = judged.problems[0]
        told = first.message if first.message.startswith(UNSEEN) else f"{UNSEEN}: {first.message}"
        return demand.failed(level, f"{short_name(first.path)}: {told}" if first.path else told, first.hint or "")
    if unjudged:
        one = judged.safeties[0]
        reason = Phrase((f"{os.path.basename(one.path)} is not judged: ", *one.why))
        return demand.failed(level, reason, "name a model, or an archive or a folder of models")
    return demand.passed(level, f"{'they are' if len(judged.safeties) > 1 else 'it is'} {level}{_reason(judged, level)}")


def _reason(judged: Judged, level: str) -> str:
    """Why a verdict passes, where it is not simply safe: what nobody judged, what a policy allows, what the level lets pass."""
    at = [safety for safety in judged.safeties if safety.verdict == level]
    if level == SAFE:
        allowed = {path: before for safety in at for path, before in loosened(safety).items()}
        shown = [
            f"{path} allowed by {_source(at)} ({before} without it)" for path, before in list(allowed.items())[:MOST_NAMED]
        ]
        return f": {', '.join(shown)}{', …' if len(allowed) > MOST_NAMED else ''}" if shown else ""
    if level == UNKNOWN:
        names: list[str] = sorted({item.path for safety in at for item in safety.imports if item.judgement.level == level})
        if names:
            return f": {', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''} not judged"
        return f": {at[0].why}"
    return f': {at[0].why}; fail-on = "{judged.fail_on}" in {judged.origin or "the settings"} lets it pass'


def _source(safeties: Sequence[Safety]) -> str:
    """The user's policy that has a part in verdicts."""
    return next((safety.policy.source for safety in safeties if safety.policy.source), "the policy")


def loosened(safety: Safety) -> dict[str, str]:
    """What only the user's policy makes milder: each name with the level that it has without it."""
    from modelscope_cli.analysis.policy import grave, standard_policy

    found: dict[str, str] = {}
    for item in safety.imports:
        if item.judgement.by:
            before = standard_policy().judge(item.module, item.name).level
            if grave(before) > grave(item.judgement.level):
                found[item.path] = before
    if safety.scanned.targets and safety.policy.source:
        from modelscope_cli.analysis.targets import judged, shown

        for target in safety.scanned.targets:
            before = judged(target, standard_policy()).level
            if grave(before) > grave(judged(target, safety.policy).level):
                found[shown(target)] = before
    if safety.scanned.operators and safety.policy.source:
        from modelscope_cli.analysis.operators import path_of
        from modelscope_cli.analysis.policy_operators import judge_operator

        for operator in safety.scanned.operators:
            before = judge_operator(standard_policy(), operator).level
            if grave(before) > grave(judge_operator(safety.policy, operator).level):
                found[path_of(operator)] = before
    return found


def described(checkpoint: Checkpoint) -> str:
    """What is known of a model that is not here, where this is a description of it."""
    from modelscope_cli.analysis.findings import executable
    from modelscope_cli.formats.looking import is_description

    if not is_description(checkpoint):
        return ""
    told = "; ".join([str(finding.message) for finding in executable(checkpoint)])
    return f": this is a description of a model, not the model{f', of which it tells that {told}' if told else ''}"
