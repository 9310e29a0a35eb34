"""What a rule is, what is asked of it, and what it looks at."""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.checks import quantities
from modelscope_cli.errors import CorruptFileError
from modelscope_cli.report.document import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelscope_cli.analysis.diff import Diff
    from modelscope_cli.analysis.overview import Overview
    from modelscope_cli.checks.patterns import Matched, Pattern
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.core.checkpoint import Checkpoint

WHOLE, MODULE = "the whole model", "a module"  # what a rule may be about


class Rule(NamedTuple):
    """A kind of limit. `value` reads what a person wrote (checks/quantities.py); `scopes` are what it may be about.

    `judge` names a function `(subject, demand) -> Verdict`, imported when the rule is used: "package.module:function".
    """

    name: str
    value: Callable[[object], Any]
    scopes: tuple[str, ...]
    summary: str
    example: str  # a value as it is written in mscope.toml
    judge: str
    needs_baseline: bool = False
    wanted: str = "none"  # what a switch asks for, in a word
    several: bool = False  # whether its value is a list: flags given again add up

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off, without a value."""
        return self.value is quantities.switch


class Demand(NamedTuple):
    """A rule with its value. `pattern` None is the whole model; `origin` says where it was written."""

    rule: Rule
    value: Any
    pattern: Pattern | None = None
    origin: str = ""

    @property
    def target(self) -> str:
        """The module pattern as written, "" for the whole."""
        return self.pattern.written if self.pattern else ""

    @property
    def limit(self) -> Any:
        """The value as a cell."""
        return self.rule.wanted if self.rule.is_switch else self.value

    def passed(self, actual: Any, message: Any) -> Verdict:
        return Verdict("passed", self.rule.name, self.target, self.limit, actual, message)

    def failed(self, actual: Any, message: Any, todo: str = "") -> Verdict:
        return Verdict("failed", self.rule.name, self.target, self.limit, actual, message, todo)

    def nothing(self, message: str, todo: str = "") -> Verdict:
        """There was nothing to judge."""
        return Verdict("warning", self.rule.name, self.target, self.limit, None, message, todo)


class Subject:
    """A checkpoint under judgement, beside the baseline it is held against. Analyses are made once, when a rule asks for them.

    `safety` gives the verdicts on its files, where they were scanned.
    """

    def __init__(self, overview: Overview, baseline: Checkpoint | None = None, safety: Callable[[], Judged] | None = None):
        self.overview = overview
        self.ledger: Ledger = overview.ledger
        self.checkpoint = overview.checkpoint
        self.baseline = baseline
        self.safety = safety

    @cached_property
    def old(self) -> Ledger:
        """The books of the baseline, which must be there."""
        if self.baseline is None:
            raise ValueError("there is no baseline")
        return Ledger(self.baseline)

    @cached_property
    def diff(self) -> Diff:
        """What changed since the baseline."""
        from modelscope_cli.analysis.diff import compare

        return compare(self.old, self.ledger)

    @cached_property
    def direct(self) -> list[Matched]:
        """The modules that hold parameters themselves."""
        from modelscope_cli.checks.patterns import direct_modules

        return direct_modules(self.ledger)


def whole(checkpoint: Checkpoint, purpose: str) -> Checkpoint:
    """The checkpoint, when all of it could be read. Of a part nothing can be said; raises CorruptFileError with the `purpose`."""
    problem = next((note for note in checkpoint.notes if note.severity == "error"), None)
    if problem is not None:
        raise CorruptFileError(f"not whole, so {purpose}: {problem.message}", path=checkpoint.path)
    return checkpoint


def judge(subject: Subject, demand: Demand) -> Verdict:
    """What a rule says."""
    module, _, function = demand.rule.judge.partition(":")
    verdict: Verdict = getattr(importlib.import_module(module), function)(subject, demand)
    return verdict
