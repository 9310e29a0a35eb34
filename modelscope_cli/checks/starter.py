"""A first mscope.toml for a model: limits that it keeps, with room to grow, and the rules it does not keep as comments."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.overview import Overview
from modelscope_cli.checks.check import check
from modelscope_cli.checks.patterns import Matched, Pattern, direct_modules
from modelscope_cli.checks.registry import RULES
from modelscope_cli.checks.rule import MODULE, Demand, Rule, Subject
from modelscope_cli.render.plain import visible

if TYPE_CHECKING:
    from modelscope_cli.checks.safety import Judged

ROOM = 1.1  # a tenth more than there is
MOST_MODULES = 3
LONGEST = 200  # characters of a path that is worth writing down
COMMENT_AT = 44  # column of the comments
LARGE_SHARE = 0.2  # of the parameters, from which a module is worth a limit of its own
STEPS = ((10**12, "TB", "T"), (10**9, "GB", "B"), (10**6, "MB", "M"), (10**3, "kB", "k"))
PARAGRAPHS = ("max-size", "allowed-dtypes", "require-format", "forbid-pickle")  # rules before which a blank line stands


class Line(NamedTuple):
    """A rule as it is written: in force, or as a comment with the reason."""

    rule: Rule
    written: str
    active: bool
    why: str = ""


def starter(overview: Overview, safety: Callable[[], Judged] | None = None) -> str:
    """The text of a mscope.toml; reading it back gives rules that the model passes. `safety` gives the verdicts on its files."""
    subject = Subject(overview, safety=safety)
    checkpoint = overview.checkpoint
    name = visible(os.path.basename(os.path.normpath(checkpoint.path)))
    parts = [
        "# Limits for `mscope check`. `mscope check --list-rules` explains every rule; what stands behind # is not in force.",
        f"# Taken from {name}: {checkpoint.nbytes:,} bytes, {overview.parameters:,} parameters.",
        "",
        "# What growth is measured against; made and renewed by `mscope baseline save PATH -o model.baseline.json`, and committed.",
        '# baseline = "model.baseline.json"',
    ]
    for rule in RULES:
        line = written(rule, subject)
        if rule.name in PARAGRAPHS:
            parts.append("")
        text = f"{'' if line.active else '# '}{rule.name} = {line.written}"
        parts.append(f"{text.ljust(COMMENT_AT)}  # {rule.summary}{f' ({line.why})' if line.why else ''}")
    parts += modules(subject)
    parts += [
        "",
        "# Limits for some files only stand under their path, which may have * in it; `mscope check` without a path checks them all.",
        '# [models."weights/*.safetensors"]',
        '# max-size = "1 GB"',
    ]
    return "\n".join(parts) + "\n"


def written(rule: Rule, subject: Subject) -> Line:
    """A rule with a value that fits the model, or as a comment where there is none."""
    overview = subject.overview
    fitting = {
        "max-size": _amount(subject.checkpoint.nbytes, 1),
        "max-parameters": _amount(overview.parameters, 2) if overview.parameters else None,
        "allowed-dtypes": _list([*dict.fromkeys(_dtypes(subject))]),
        "require-format": _string(subject.checkpoint.format),
    }
    if rule.needs_baseline:
        return Line(rule, rule.example, False, "needs the baseline")
    if rule.is_switch:
        verdict = check(subject, [Demand(rule, True)]).verdicts[0]
        return Line(rule, "true", verdict.status == "passed", "" if verdict.status == "passed" else _why(verdict.status))
    value = fitting.get(rule.name)
    if value is None:
        return Line(rule, rule.example, False)
    if not keeps(rule, value, subject):  # a dtype whose name reads back as something else, an amount beyond all limits
        return Line(rule, rule.example, False, "nothing fits")
    return Line(rule, value, True)


def keeps(rule: Rule, value: str, subject: Subject) -> bool:
    """Whether the model keeps a rule as it is written."""
    import tomllib

    try:
        demanded = Demand(rule, rule.value(tomllib.loads(f"value = {value}")["value"]))
    except ValueError:
        return False
    return value.isprintable() and check(subject, [demanded]).passed


def modules(subject: Subject) -> list[str]:
    """Limits for the modules that hold the most."""
    whole = subject.overview.parameters
    parts = ["", "# Limits for modules: dotted names, with * for anything within one, as in decoder.layers.*"]
    large = sorted(direct_modules(subject.ledger), key=lambda module: -module.parameters)[:MOST_MODULES]
    named = [found for module in large if whole and (found := _by_name(module, subject)).parameters >= LARGE_SHARE * whole]
    for module in named:
        share = min(100, math.ceil(round(module.parameters / whole * 100 * ROOM, 6)))  # 55.00000000000001 is 55
        parts += [
            f"[modules.{_string(module.path)}]",
            f'max-share = "{share} %"  # {module.parameters / whole * 100:.1f} % today',
            "",
        ]
    if not named:
        rule = next(rule for rule in RULES if MODULE in rule.scopes)
        parts += ['# [modules."decoder.layers.*"]', f"# {rule.name} = {rule.example}", ""]
    return parts[:-1]


def _by_name(module: Matched, subject: Subject) -> Matched:
    """What the path of a module stands for as a pattern: all that is below it too. Nothing where it cannot be a pattern."""
    nothing = Matched(module.path, 0, 0, [])
    if not module.path.isprintable() or len(module.path) >= LONGEST:
        return nothing
    try:
        pattern = Pattern(module.path)
    except ValueError:
        return nothing
    found = pattern.find(subject.ledger) if pattern.plain else []
    return found[0] if found and found[0].path == module.path else nothing


def _dtypes(subject: Subject) -> list[str]:
    ledger = subject.ledger
    return [dtype.name for dtype, parameters in zip(ledger.dtypes, ledger.parameters, strict=True) if parameters]


def _why(status: str) -> str:
    return "the model breaks this" if status == "failed" else "nothing here to judge"


def _amount(number: int, unit: int) -> str:
    """A tenth more, rounded up to three figures, in MB (`unit` 1) or in millions (2)."""
    target = number * ROOM
    for step in STEPS:
        if target >= step[0]:
            figures = target / step[0]
            digits = 0 if figures >= 100 else 1 if figures >= 10 else 2
            rounded = math.ceil(round(figures * 10**digits, 6)) / 10**digits
            return f'"{rounded:g} {step[unit]}"'
    return str(max(1, math.ceil(target)))


def _list(words: list[str]) -> str | None:
    return f"[{', '.join(map(_string, words))}]" if words else None


def _string(text: str) -> str:
    """A basic string of TOML. Its escapes are those of JSON."""
    import json

    return json.dumps(text, ensure_ascii=False)
