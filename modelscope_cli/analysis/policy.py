"""How grave it is that a pickle imports a name: the rows of policy_dangers and policy_harmless, and what holds for names that no row knows.

    exact row → pattern row → row for the whole module, a longer module first → the rules below

What no row knows is judged by where it comes from. Everything an attacker needs is in Python's standard library, which is
always there, and honest files need little of it, so its other names are suspicious. Functions of torch and NumPy that nobody
has judged are, too; their classes, and all names of other packages, are unknown: named, not accused. A name with dots reaches
through attributes and is judged by what it can reach; one with __dunder__ parts leads out of any object.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from modelscope_cli.analysis.policy_dangers import DANGEROUS_ROWS
from modelscope_cli.analysis.policy_harmless import SAFE_ROWS
from modelscope_cli.analysis.policy_levels import BORROWED, GONE, Row
from modelscope_cli.containers.pickle_nodes import COMPUTED as COMPUTED
from modelscope_cli.containers.python2_names import imported_as
from modelscope_cli.core.scan_codes import DANGEROUS, LEVELS, SAFE, SUSPICIOUS, UNKNOWN

UNJUDGED_FUNCTION = "that has not been judged"
FRAMEWORKS = ("torch", "numpy", "torchvision", "torchaudio", "transformers", "tensorflow", "jax", "scipy", "pandas")
TELLING = frozenset({
    "eval", "exec", "execfile", "system", "popen", "spawn", "run_code", "runcode", "runsource", "run_command", "check_output",
    "check_call", "getoutput", "import_module", "__import__", "loads", "load", "unpickle", "read_pickle", "compile",
    "call_command", "shell", "execute", "exec_module", "load_module", "urlopen", "urlretrieve", "write_text", "write_bytes", "unlink",
    "rmtree", "tofile", "to_csv", "to_pickle", "to_folder", "save_pretrained",
})  # fmt: skip


class Judgement(NamedTuple):
    """How grave a name is, and why, as the end of a sentence that begins with it. `by` is the user's policy that says so."""

    level: str
    reason: str
    by: str = ""


def grave(level: str) -> int:
    """The place of a level in LEVELS."""
    return LEVELS.index(level)


def gravest(levels: Iterable[str]) -> str:
    """The highest of several levels; safe where there is none."""
    return max(levels, key=grave, default=SAFE)


def is_known_module(module: str) -> bool:
    """Whether a module is Python's own, or of a framework: a file has no reason to bring one of that name."""
    root = module.partition(".")[0]
    return root in sys.stdlib_module_names or root in GONE or root in FRAMEWORKS


class Policy:
    """The rows, made ready for look-up. `extra` rows come before ours, and `source` is the file they are from."""

    loosens = True  # whether rows of the user's may make a judgement milder (policy_stricter has the other kind)

    def __init__(self, extra: Iterable[Row] = (), source: str = "", *, alone: bool = False):
        """`alone`: of the extra rows only, without ours."""
        self.source = source
        self.exact: dict[tuple[str, str], Judgement] = {}
        self.below: dict[str, list[tuple[str, bool, Judgement]]] = {}  # module → (pattern, also below it, judgement)
        own = list(extra)
        self.theirs = Policy(own, source, alone=True) if own and not alone else None
        for at, (module, names, level, reason) in enumerate(own if alone else (*own, *SAFE_ROWS, *DANGEROUS_ROWS)):
            root, deep = (module[:-2], True) if module.endswith(".*") else (module, False)
            judgement = Judgement(level, reason, source if at < len(own) else "")
            for name in names.split():
                if not deep and not _is_pattern(name):
                    self.exact.setdefault((root, name), judgement)
                else:
                    self.below.setdefault(root, []).append((name, deep, judgement))

    def judge(self, module: str, name: str) -> Judgement:
        """The judgement on a name of a module, as a pickle writes them."""
        module, name = imported_as(module, name)
        if module == COMPUTED:
            return Judgement(DANGEROUS, "is an import whose name is put together while loading")
        if not module.isascii() or not name.isascii():
            return Judgement(SUSPICIOUS, "has letters in it that only look like others")
        found = self.row(module, name)
        if found is not None:
            return found
        parts = name.split(".")
        within = [part for part in module.split(".")[1:] if part != "__main__"]
        if any(len(part) > 4 and part.startswith("__") and part.endswith("__") for part in (*parts, *within)):
            return Judgement(DANGEROUS, "leads through special attributes out of the object")
        if len(parts) > 1:
            return self._constant(module, parts) or self._dotted(module, parts)
        if not module.replace("_", "a").replace(".", "a").replace("-", "a").isalnum() or not name.isidentifier():
            return Judgement(SUSPICIOUS, "is no name that Python code can have")
        top = module.partition(".")[0]
        if is_standard(top):
            return Judgement(SUSPICIOUS, "is of Python's standard library and no data type that models are made of")
        if name in TELLING:
            return Judgement(SUSPICIOUS, "is called like something that loads or runs")
        if top in FRAMEWORKS and not name.lstrip("_")[:1].isupper():
            return Judgement(SUSPICIOUS, f"is a function of {top} {UNJUDGED_FUNCTION}")
        if top in FRAMEWORKS and name.lstrip("_") in BORROWED:
            return Judgement(SUSPICIOUS, "stands for a class of another module, which no honest file names so")
        if top == "__main__":
            return Judgement(UNKNOWN, "was defined in the script that saved the file")
        return Judgement(UNKNOWN, "has not been judged")

    def stricter(self, path: str, theirs: Judgement, ours: Judgement) -> Judgement:
        """Which of two judgements on a name counts: the graver one, of two alike ours."""
        return theirs if grave(theirs.level) > grave(ours.level) else ours

    def row(self, module: str, name: str) -> Judgement | None:
        """What a row says, or None. A row of the user's comes first, also one for a whole module before our row for the name."""
        theirs = self.theirs.row(module, name) if self.theirs is not None else None
        if theirs is not None:
            return theirs
        found = self.exact.get((module, name))
        if found is not None:
            return found
        root, own = module, True
        while root:
            rows = self.below.get(root)
            if rows is not None:
                whole: Judgement | None = None
                for pattern, deep, judgement in rows:
                    if not (own or deep):
                        continue
                    if pattern == "*":
                        whole = whole or judgement
                    elif _matches(pattern, name):
                        return judgement
                if whole is not None and ("." not in name or whole.level == DANGEROUS or (whole.by and whole.level != SAFE)):
                    return whole  # a milder row is about what the module itself holds, not what can be reached through that
            root, own = root.rpartition(".")[0], False
        return None

    def _constant(self, module: str, parts: list[str]) -> Judgement | None:
        """torch pickles its memory formats by the name `torch.channels_last` of whatever module holds torch."""
        found = self.exact.get(("torch", parts[1])) if parts[0] == "torch" and len(parts) == 2 else None
        if found is None or found.level != SAFE:
            return None
        return found if module.partition(".")[0] == "torch" else Judgement(UNKNOWN, "reaches for a constant of torch", found.by)

    def _dotted(self, module: str, parts: list[str]) -> Judgement:
        """A name that reaches through attributes: each of them may be a module that the first one imported."""
        own = self.row(module, parts[-1]) or Judgement(SAFE, "")
        found = [self.judge(module, parts[0]), own]
        for at in range(len(parts) - 1):
            owner = parts[at].lstrip("_")  # `import os as _os` is usual
            if is_standard(owner) or self.below.get(owner):
                found.append(self.judge(owner, parts[at + 1]))
        worst = max(found, key=lambda judgement: grave(judgement.level))
        if own.level == DANGEROUS and len(parts) == 2:
            return own  # a method of a class
        if worst.level == DANGEROUS:
            return Judgement(DANGEROUS, f"reaches through attributes for something that {worst.reason}")
        top = module.partition(".")[0]
        inner = parts if top in FRAMEWORKS else parts[:-1]
        classes = all(part.lstrip("_")[:1].isupper() for part in inner)
        if classes and not is_standard(top) and worst.level != SUSPICIOUS and parts[-1] not in TELLING:
            return Judgement(UNKNOWN, "is an attribute of a class that has not been judged")
        return Judgement(SUSPICIOUS, "reaches through attributes of another module")


def is_standard(module: str) -> bool:
    """Whether a top-level module is of Python's standard library, of this version or another."""
    return module in sys.stdlib_module_names or module in GONE or module == "builtins"


def _is_pattern(name: str) -> bool:
    return "*" in name or "[" in name


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def _matches(pattern: str, name: str) -> bool:
    if not _is_pattern(pattern):
        return pattern == name
    return ("." in pattern or "." not in name) and _compiled(pattern).match(name) is not None


@cache
def standard_policy() -> Policy:
    """Our own rows alone."""
    return Policy()
