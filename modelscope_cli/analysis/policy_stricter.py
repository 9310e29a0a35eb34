"""A policy file that was found and that nobody named: it may make judgements graver, never milder.

Whoever wrote the files that are judged may have written it, too. What it would have made milder is kept, so that it can be told.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.analysis.policy import Judgement, Policy, grave, standard_policy
from modelscope_cli.analysis.policy_levels import Row

MOST_KEPT = 1_000  # names that are told, or counted


class StricterPolicy(Policy):
    """Of the rows of a file and ours the graver one counts. `overruled` are names that the file calls milder than ours do."""

    loosens = False

    def __init__(self, extra: Iterable[Row] = (), source: str = ""):
        super().__init__(extra, source)
        self.overruled: dict[str, str] = {}  # name → our level

    def judge(self, module: str, name: str) -> Judgement:
        """The graver judgement on a name."""
        return self.stricter(f"{module}.{name}", super().judge(module, name), standard_policy().judge(module, name))

    def stricter(self, path: str, theirs: Judgement, ours: Judgement) -> Judgement:
        """The graver of two judgements on a name; a milder one of the file's is kept."""
        if theirs.by and grave(theirs.level) < grave(ours.level) and len(self.overruled) < MOST_KEPT:
            self.overruled[path] = ours.level
        return super().stricter(path, theirs, ours)
