"""Findings about the names that configurations have a program look up and call: `_target_`, and YAML's tags for objects of Python.

A name is judged as if a pickle imported and called it, but for two things: Python's standard library is suspicious where a row does
not say worse, and functions of frameworks are unknown where no row knows them, because a configuration has use for many of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelscope_cli.analysis.policy import Judgement, Policy, grave, gravest, is_standard
from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import Target
from modelscope_cli.report.document import Code, Phrase

MOST_FOUND = 100
MOST_NAMED = 4
CODES = {DANGEROUS: "dangerous-target", SUSPICIOUS: "suspicious-target"}

# level, code, where, offset, message, subject, opcode, brief, evidence: the fields of safety.Found
Told = tuple[str, str, str, int | None, Phrase, str, str, Phrase, str]


def found_in(targets: Iterable[Target], policy: Policy) -> Iterator[Told]:
    """One for each name that is worse than unknown, and one a file for all others that nobody has judged."""
    unknown: dict[str, list[str]] = {}
    worse: list[tuple[Target, Judgement]] = []
    for target in targets:
        judgement = judged(target, policy)
        if grave(judgement.level) > grave(UNKNOWN):
            worse.append((target, judgement))
        elif judgement.level == UNKNOWN:
            unknown.setdefault(target.where, []).append(shown(target))
    worse.sort(key=lambda pair: -grave(pair[1].level))
    for target, judgement in worse[:MOST_FOUND]:
        by = "the tag" if target.tag else "_target_"
        reason = f": {target.name} {judgement.reason}" if target.tag and target.name else f", which {judgement.reason}"
        message = Phrase((f"{by} names ", Code(lettered(shown(target))), lettered(reason)))
        brief = Phrase(("a configuration names ", Code(lettered(shown(target)))))
        yield judgement.level, CODES[judgement.level], target.where, None, message, target.name, "", brief, ""
    for where, names in unknown.items():
        listed = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
        message = Phrase(("a configuration names what nobody has judged: ", Code(lettered(listed))))
        yield (
            UNKNOWN,
            "unjudged-target",
            where,
            None,
            message,
            names[0],
            "",
            Phrase(("a configuration names ", Code(lettered(listed)))),
            "",
        )


def shown(target: Target) -> str:
    """How the file writes it."""
    return f"{target.tag}:{target.name}" if target.tag and target.name else target.tag or target.name


def judged(target: Target, policy: Policy) -> Judgement:
    """How grave it is that a program calls what the name stands for."""
    if target.tag:
        return _tagged(target, policy)
    return _called(target.name, policy)


def _called(name: str, policy: Policy) -> Judgement:
    module, _, last = name.rpartition(".")
    if not module:
        return Judgement(UNKNOWN, "is no name of a module")
    own = policy.judge(module, last)
    first, _, rest = name.partition(".")
    if own.by or (own.level == SAFE and not is_standard(first)):
        return own
    through = policy.judge(first, rest)
    for judgement in (own, through):
        if judgement.level == DANGEROUS:
            return judgement
    if is_standard(first):
        return Judgement(SUSPICIOUS, "is of Python's standard library") if own.level != SAFE else Judgement(UNKNOWN, own.reason)
    return own if own.level != SUSPICIOUS or policy.row(module, last) is not None else Judgement(UNKNOWN, own.reason)


def _tagged(target: Target, policy: Policy) -> Judgement:
    """Tags that import or call are worse than the name alone; `name` and `module` only import."""
    if not target.name:
        return Judgement(DANGEROUS, "makes objects of Python, whatever they are")
    own = _called(target.name if "." in target.name else f"{target.name}.", policy)
    level = gravest((own.level, UNKNOWN))
    if grave(level) > grave(UNKNOWN):
        return Judgement(DANGEROUS, own.reason)
    if own.level == SAFE or own.by or target.tag.endswith(("/name", "/module")):
        return Judgement(UNKNOWN, own.reason)
    return Judgement(SUSPICIOUS, f"{own.reason}, and yaml.load makes an object of it")
