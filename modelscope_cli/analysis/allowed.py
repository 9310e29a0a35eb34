"""What only a policy of the user's makes harmless: names and operators that are not safe without it, each with the row's reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.policy import standard_policy
from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.core.scan_codes import SAFE

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Judgement
    from modelscope_cli.analysis.safety import Safety

MOST = 1_000  # of a file


class Allowed(NamedTuple):
    """A name where it first stands. `level` and `reason` are ours, `why` is the reason that the policy file `by` gives."""

    where: str
    offset: int | None
    name: str
    level: str
    reason: str
    by: str
    why: str


def allowed_in(safety: Safety) -> list[Allowed]:
    """Each name of each place once."""
    if not safety.policy.source:
        return []
    found: dict[tuple[str, str], Allowed] = {}
    for where, offset, name, theirs, ours in _judged_twice(safety):
        if theirs.by and theirs.level == SAFE and ours.level != SAFE and len(found) < MOST:
            row = Allowed(where, offset, lettered(name), ours.level, ours.reason, theirs.by, theirs.reason)
            found.setdefault((where, name), row)
    return list(found.values())


def _judged_twice(safety: Safety) -> Iterator[tuple[str, int | None, str, Judgement, Judgement]]:
    """Everything that is judged by its name: by the user's policy, and without it."""
    for item in safety.imports:
        yield item.where, item.offset, item.path, item.judgement, standard_policy().judge(item.module, item.name)
    if safety.scanned.targets:
        from modelscope_cli.analysis.targets import judged, shown

        for target in safety.scanned.targets:
            yield target.where, None, shown(target), judged(target, safety.policy), judged(target, standard_policy())
    if safety.scanned.operators:
        from modelscope_cli.analysis.operators import path_of
        from modelscope_cli.analysis.policy_operators import judge_operator

        for operator in safety.scanned.operators:
            if not operator.guess:
                both = judge_operator(safety.policy, operator), judge_operator(standard_policy(), operator)
                yield operator.where, operator.offset, path_of(operator), *both
