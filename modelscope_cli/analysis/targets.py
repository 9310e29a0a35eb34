"""Findings about the names that configurations have a program look up and call: `_target_`, tags of YAML, and Keras's own.

A name is judged as if a pickle imported and called it, but for three things. Python's standard library is suspicious where a row does
not say worse, and functions of frameworks are unknown where no row knows them, because a configuration has use for many of them.
Keras asks for parts of models alone: what is of Python is dangerous there, and of any other library at least unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelscope_cli.analysis.found import MOST_NAMED, Found, capped
from modelscope_cli.analysis.policy import Judgement, Policy, grave, gravest, is_standard
from modelscope_cli.analysis.policy_keras import is_builtin, is_part_of_a_model
from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import KERAS, Target
from modelscope_cli.report.document import Code, Phrase

LONGEST = 200  # characters of a name that are shown
OF_PYTHON = "!!python/"
CODES = {DANGEROUS: "dangerous-target", SUSPICIOUS: "suspicious-target", UNKNOWN: "unjudged-target"}
OF_KERAS = {DANGEROUS: "keras-import", SUSPICIOUS: "keras-odd-import", UNKNOWN: "keras-unjudged"}


def found_in(targets: Iterable[Target], policy: Policy) -> Iterator[Found]:
    """One for each name that is worse than unknown, and one a file for all others that nobody has judged."""
    unknown: dict[tuple[str, bool], list[str]] = {}
    worse: list[tuple[Target, Judgement]] = []
    for target in targets:
        judgement = judged(target, policy)
        if grave(judgement.level) > grave(UNKNOWN):
            worse.append((target, judgement))
        elif judgement.level == UNKNOWN:
            unknown.setdefault((target.where, target.tag == KERAS), []).append(shown(target))
    worse.sort(key=lambda pair: -grave(pair[1].level))
    yield from capped((_worse(target, judgement) for target, judgement in worse), "names")
    for (where, keras), names in unknown.items():
        yield _unjudged(where, keras, names)


def _worse(target: Target, judgement: Judgement) -> Found:
    keras = target.tag == KERAS
    by = "its Keras configuration" if keras else "the tag" if target.tag else "_target_"
    reason = (
        f": {_cut(target.name)} {judgement.reason}" if _is_python(target) and target.name else f", which {judgement.reason}"
    )
    name = Code(lettered(shown(target)))
    return Found(
        judgement.level,
        (OF_KERAS if keras else CODES)[judgement.level],
        where=target.where,
        offset=None,
        message=Phrase((f"{by} names ", name, lettered(reason))),
        subject=_cut(target.name) or shown(target),
        brief=Phrase(("a Keras configuration names " if keras else "a configuration names ", name)),
    )


def _unjudged(where: str, keras: bool, names: list[str]) -> Found:
    listed = Code(lettered(", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")))
    which = "a Keras configuration" if keras else "a configuration"
    return Found(
        UNKNOWN,
        (OF_KERAS if keras else CODES)[UNKNOWN],
        where=where,
        offset=None,
        message=Phrase((f"{which} names what nobody has judged: ", listed)),
        subject=names[0],
        brief=Phrase((f"{which} names ", listed)),
    )


def shown(target: Target) -> str:
    """How the file writes it."""
    name = _cut(target.name)
    return name if target.tag in ("", KERAS) else f"{target.tag}:{name}" if name else target.tag


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def _is_python(target: Target) -> bool:
    return target.tag.startswith(OF_PYTHON)


def judged(target: Target, policy: Policy) -> Judgement:
    """How grave it is that a program calls what the name stands for."""
    if target.tag == KERAS:
        return _of_keras(target.name, policy)
    if _is_python(target):
        return _tagged(target, policy)
    return _called(target.name, policy)


def _called(name: str, policy: Policy) -> Judgement:
    module, _, last = name.rpartition(".")
    if not module:
        return Judgement(UNKNOWN, "is no name of a module")
    own = policy.judge(module, last)
    first, _, rest = name.partition(".")
    if own.by or (own.level == SAFE and not is_standard(first)) or (own.level == UNKNOWN and (module, last) in policy.exact):
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


def _of_keras(name: str, policy: Policy) -> Judgement:
    """A module and a name with a dot between them, however the configuration divides them."""
    module, _, last = name.rpartition(".")
    first, _, rest = name.partition(".")
    own, through = policy.judge(module, last), policy.judge(first, rest)
    if own.by:
        return own
    for judgement in (own, through):
        if judgement.level == DANGEROUS:
            return judgement
    if name.partition(".")[0] == "builtins":
        return _of_builtins(rest, policy)
    if is_standard(first):
        return Judgement(DANGEROUS, "is of Python's standard library: Keras before 3.9 imports and calls it")
    if own.level == SUSPICIOUS:
        return own
    if is_part_of_a_model(module, last):
        return Judgement(SAFE, "is a part of Keras's models")
    return Judgement(UNKNOWN, own.reason if own.level == UNKNOWN else "is of another library than Keras")


def _of_builtins(name: str, policy: Policy) -> Judgement:
    """Keras writes its own functions as of this module, and those of the program, which has to bring them."""
    if not is_builtin(name):
        return Judgement(SAFE, "is a function of Keras, or of the program that loads the model")
    row = policy.row("builtins", name)
    return row if row is not None and row.level == SUSPICIOUS else Judgement(UNKNOWN, "is a function of Python itself")
