"""Findings about the operators of a model's graph: one for each that is worse than unknown, and one for all that are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelscope_cli.analysis.found import MOST_NAMED, Found, capped
from modelscope_cli.analysis.policy import Judgement, Policy, grave, standard_policy
from modelscope_cli.analysis.policy_operators import judge_operator
from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.core.scan_codes import SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import Operator
from modelscope_cli.report.document import Code, Phrase

LONGEST = 80  # characters of the name of a node or an attribute


def found_in(operators: Iterable[Operator], policy: Policy) -> Iterator[Found]:
    """What is to be told, the gravest first."""
    unknown: dict[str, list[tuple[Operator, Judgement]]] = {}
    grave_ones: list[tuple[Operator, Judgement]] = []
    for operator in operators:
        judgement = judge_operator(policy, operator)
        if grave(judgement.level) >= grave(SUSPICIOUS):
            grave_ones.append((operator, judgement))
        elif judgement.level != SAFE and not operator.guess:
            unknown.setdefault(operator.where, []).append((operator, judgement))
    grave_ones.sort(key=lambda pair: -grave(pair[1].level))
    yield from capped((_told(operator, judgement) for operator, judgement in grave_ones), "operators")
    for where, pairs in unknown.items():
        yield _unknown(where, pairs)


def why_harmless(operators: Iterable[Operator], policy: Policy) -> str:
    """Why a graph is safe, and which of its operators are so by a policy of the user's alone."""
    seen = {(operator.library, operator.name): operator for operator in operators if not operator.guess}
    said = f"a graph of {len(seen):,} {'kind' if len(seen) == 1 else 'kinds'} of operators: "
    allowed = []
    for operator in seen.values():
        theirs = judge_operator(policy, operator)
        without = judge_operator(standard_policy(), operator).level
        if theirs.by and without != SAFE:
            allowed.append(f"{path_of(operator)} allowed by {theirs.by} ({without} without it)")
    if not allowed:
        return f"{said}all of them known to be harmless"
    more = f", {len(allowed) - MOST_NAMED:,} more allowed by it" if len(allowed) > MOST_NAMED else ""
    others = ", the others known to be harmless" if len(allowed) < len(seen) else ""
    return f"{said}{', '.join(allowed[:MOST_NAMED])}{more}{others}"


def path_of(operator: Operator) -> str:
    """How a policy file calls it."""
    return lettered(f"{operator.library}.{operator.name}"[: 2 * LONGEST])


def _told(operator: Operator, judgement: Judgement) -> Found:
    at = f" in the node {lettered(operator.node[:LONGEST])}" if operator.node else ""
    times = f" and {operator.nodes - 1:,} more" if operator.nodes > 1 else ""
    said: list[str] = (
        [" with ", Code(lettered(", ".join(operator.detail[:MOST_NAMED])[: 2 * LONGEST]))] if operator.detail else []
    )
    message = Phrase(("its graph has ", Code(path_of(operator)), *said, at, times, f", which {judgement.reason}"))
    brief = Phrase(("has the operator ", Code(path_of(operator)), *said))
    code = "suspicious-operator" if judgement.level == SUSPICIOUS else "dangerous-operator"
    return Found(
        judgement.level,
        code,
        where=operator.where,
        offset=operator.offset,
        message=message,
        subject=path_of(operator),
        brief=brief,
        evidence="\n".join(operator.detail),
    )


def _unknown(where: str, pairs: list[tuple[Operator, Judgement]]) -> Found:
    names = list(dict.fromkeys(path_of(operator) for operator, _ in pairs))
    shown: list[str] = []
    for name in names[:MOST_NAMED]:
        shown += [Code(name), ", "]
    shown = [*shown, "…"] if len(names) > MOST_NAMED else shown[:-1]
    reasons = {judgement.reason for _, judgement in pairs}
    why = f", which {reasons.pop()}" if len(reasons) == 1 and len(names) == 1 else ""
    which = "an operator that has" if len(names) == 1 else f"{len(names):,} operators that have"
    message = Phrase((f"its graph has {which} not been judged: ", *shown, why))
    return Found(
        UNKNOWN,
        "foreign-operators",
        where=where,
        offset=pairs[0][0].offset,
        message=message,
        subject=names[0],
        brief=Phrase(("has ", *shown)),
    )
