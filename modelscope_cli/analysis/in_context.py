"""The judgement on a name in the light of what it is called with: getattr of an enumeration is not getattr of a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelscope_cli.analysis.policy import Judgement, Policy, grave
from modelscope_cli.containers.pickle_nodes import Call, Global
from modelscope_cli.core.checkpoint import CallUse, PickleTrace
from modelscope_cli.core.scan_codes import SAFE, UNKNOWN

BUILD = 0x62
DEEPEST_REACH = 8  # getattr of getattr of …
BUILTINS = ("builtins", "__builtin__")
Name = tuple[str, str]


def calls_by_name(trace: PickleTrace) -> dict[Name, list[CallUse]]:
    """The calls of imported names that a trace tells of; giving an object a state is none."""
    found: dict[Name, list[CallUse]] = {}
    for call in trace.calls:
        name = name_of(call.function)
        if name is not None and call.opcode != BUILD:
            found.setdefault(name, []).append(call)
    return found


def judge(policy: Policy, module: str, name: str, calls: Sequence[CallUse] = (), count: int = 0) -> Judgement:
    """The judgement on a name. `calls` are those that are known, of `count` in all: only when all are known do they excuse it."""
    judgement = policy.judge(module, name)
    if judgement.level in (SAFE, UNKNOWN) or not calls or len(calls) < count:
        return judgement
    if name == "getattr" and module in BUILTINS:
        return _getattr(policy, calls) or judgement
    if name == "partial" and module in ("functools", "_functools"):
        wrapped = [name_of(call.args[0]) if call.args else None for call in calls]
        if all(pair is not None and grave(policy.judge(*pair).level) <= grave(UNKNOWN) for pair in wrapped):
            return Judgement(UNKNOWN, "wraps a function, which is judged by itself")
    if name == "type" and module in BUILTINS and all(len(call.args) == 1 for call in calls):
        return Judgement(SAFE, "tells the type of a value")
    return judgement


def _getattr(policy: Policy, calls: Sequence[CallUse]) -> Judgement | None:
    """What all these calls of getattr can reach, or None where that cannot be told."""
    reached = [reach(call.function, call.args) for call in calls]
    if not all(reached):
        return None
    worst = max((policy.judge(*pair) for pair in reached if pair), key=lambda one: grave(one.level))
    if worst.level in (SAFE, UNKNOWN):
        return Judgement(UNKNOWN, "reaches attributes by name, here of classes that have not been judged")
    return Judgement(worst.level, f"reaches for something that {worst.reason}")


def reach(function: Any, args: Any, depth: int = 0) -> Name | None:
    """(module, dotted name) that getattr(X, 'name') gives, where X is an import or another such call."""
    name = name_of(function)
    if name is None or name[1] != "getattr" or name[0] not in BUILTINS or depth > DEEPEST_REACH:
        return None
    if type(args) is not tuple or len(args) not in (2, 3) or type(args[1]) is not str:
        return None
    owner = name_of(args[0])
    if owner is None and type(args[0]) is Call:
        owner = reach(args[0].function, args[0].args, depth + 1)
    return (owner[0], f"{owner[1]}.{args[1]}") if owner else None


def name_of(node: Any) -> Name | None:
    """(module, name) of an imported name; None for any other node of a pickle."""
    return (node.module, node.name) if type(node) is Global else None
