"""Module patterns: which modules and tensors a rule is about.

A pattern is a dotted path. `*` and `?` stand for anything within one part, `**` for any number of parts, and a part may be numbers as
tables and baselines write them: `decoder.layers.0–5`, `decoder.layers.{0-5}`. A rule holds for each module that matches, by itself.

Names come from files and may be made to be slow, so nothing here goes back over what it has read: a path runs once through the
states of the pattern, a part once through the words between the stars.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.root import enclosing
from modelscope_cli.checks.quantities import shown

NUMBERS = re.compile(r"\d+(?:[–-]\d+)?(?:,\d+(?:[–-]\d+)?)*")
FOLD = re.compile(r"\s*×\d+$|\s+x\d+$")  # as the tables write how often a row stands for
FOREIGN = re.compile(r"[\[\]{}()|\\^$+=]")  # signs of other pattern languages
DEEPEST = 64
MOST_COMPARED = 20_000
LONGEST = 1_000
DIGITS = 9
MOST_NUMBERS = 100_000
MOST_STEPS = 200_000  # remembered
FEW_STEPS = 5_000  # remembered from one search to the next

States = frozenset[int]


class Matched(NamedTuple):
    """A module or tensor: its figures, and its lines in the ledger."""

    path: str
    parameters: int
    nbytes: int
    lines: list[int]


class Pattern:
    """A compiled pattern. Raises ValueError for one that can match nothing."""

    def __init__(self, written: str):
        text = FOLD.sub("", written.strip())
        if not text or len(text) > LONGEST or any(not part for part in text.split(".")):
            raise ValueError(f"{shown(written)} is not a module pattern: dotted names, with * for anything within a name")
        self.written = written
        self.path = text
        self._parts = [_part(part) for part in text.split(".")]  # None is **
        self.plain = not re.search(r"[*?{]", text) and not any(_numbers(part) for part in text.split("."))
        self._first = self._closed({0})
        self._known: dict[tuple[States, str], States] = {}

    def find(self, ledger: Ledger) -> list[Matched]:
        """What matches, in the order of the file. A module holds everything below it."""
        return [measured(ledger, path, lines) for path, lines in self.lines(ledger.names).items()]

    def lines(self, names: Sequence[str]) -> dict[str, list[int]]:
        """The modules and tensors that match, with the positions of all names in them."""
        found: dict[str, list[int]] = {}
        if self.plain:
            inside = self.path + "."
            lines = [line for line, name in enumerate(names) if name == self.path or name.startswith(inside)]
            return {self.path: lines} if lines else {}
        for line, name in enumerate(names):
            parts = name.split(".", DEEPEST)[:DEEPEST]
            states = self._first
            for depth, part in enumerate(parts, 1):
                states = self._step(states, part)
                if not states:
                    break
                if len(self._parts) in states:
                    found.setdefault(".".join(parts[:depth]), []).append(line)
        if len(self._known) > FEW_STEPS:
            self._known.clear()  # may be tens of megabytes, and other patterns make theirs
        return found

    def fits(self, path: str) -> bool:
        """Whether a module of this path matches."""
        return path in self.lines([path])

    def _step(self, states: States, part: str) -> States:
        """The places in the pattern where one may be after another part of a path."""
        known = self._known.get((states, part))
        if known is None:
            after: set[int] = set()
            for at in states:
                if at == len(self._parts):
                    continue
                fits = self._parts[at]
                if fits is None:
                    after.update((at, at + 1))
                elif fits(part):
                    after.add(at + 1)
            known = self._closed(after)
            if len(self._known) < MOST_STEPS:
                self._known[states, part] = known
        return known

    def _closed(self, states: set[int]) -> States:
        """With the places behind each **, which may stand for nothing, unless it ends the pattern."""
        for at in sorted(states):
            while at < len(self._parts) - 1 and self._parts[at] is None:
                at += 1
                states.add(at)
        return frozenset(states)


def measured(ledger: Ledger, path: str, lines: list[int]) -> Matched:
    """The sums over some lines."""
    return Matched(path, sum([ledger.parameters[line] for line in lines]), sum([ledger.nbytes[line] for line in lines]), lines)


def direct_modules(ledger: Ledger) -> list[Matched]:
    """The modules that hold tensors themselves, each with its own tensors only."""
    found: dict[str, list[int]] = {}
    for line, parent in enumerate(ledger.parents):
        if ledger.parameters[line]:
            found.setdefault(parent or ledger.names[line], []).append(line)
    return [measured(ledger, path, lines) for path, lines in found.items()]


def nearest_module(ledger: Ledger, written: str) -> str:
    """A module that may have been meant, or the names at the top."""
    further = f"**.{FOLD.sub('', written.strip())}"
    if not written.startswith("**") and len(further) <= LONGEST and Pattern(further).find(ledger):
        return f"did you mean {further!r}?"
    modules = {path for parent in set(ledger.parents) for path in enclosing(parent)}
    close = difflib.get_close_matches(FOLD.sub("", written), sorted(modules)[:MOST_COMPARED], 1)
    if close:
        return f"did you mean {close[0]!r}?"
    if FOREIGN.search(written):
        return "* and ? stand for anything within a name, 0–5 or {0-5} for numbers"
    tops = sorted({name.partition(".")[0] for name in ledger.names})
    return f"at the top are {', '.join(tops[:6])}{', …' if len(tops) > 6 else ''}" if tops else "it has no tensors"


def _numbers(part: str) -> bool:
    return NUMBERS.fullmatch(part) is not None and not part.isdecimal()


def _part(part: str) -> Callable[[str], bool] | None:
    """What tells whether a part of a path fits a part of the pattern; None for **."""
    if part == "**":
        return None
    inside = part[1:-1] if part.startswith("{") and part.endswith("}") else part
    if _numbers(inside) or (inside != part and inside.isdecimal()):
        return _number_words(inside).__contains__
    if "*" not in part and "?" not in part:
        return part.__eq__
    return _glob(part)


def _glob(part: str) -> Callable[[str], bool]:
    """Whether the words between the stars follow each other: the first at the start, the last at the end, each as early as can be."""
    texts = re.sub(r"\*+", "*", part).split("*")
    pieces = [re.compile("".join("." if sign == "?" else re.escape(sign) for sign in text), re.DOTALL) for text in texts]
    first, *others = pieces
    if not others:
        return lambda name: first.fullmatch(name) is not None
    *middle, last = others
    length = len(texts[-1])

    def fits(name: str) -> bool:
        start = first.match(name)
        if start is None:
            return False
        at = start.end()
        for piece in middle:
            found = piece.search(name, at)
            if found is None:
                return False
            at = found.end()
        return len(name) - length >= at and last.match(name, len(name) - length) is not None

    return fits


def _number_words(part: str) -> frozenset[str]:
    """The numbers of ranges, as they are written. 00–11 has two digits throughout."""
    numbers: list[str] = []
    for piece in part.split(","):
        first, _, last = piece.replace("–", "-").partition("-")
        last = last or first
        start, stop = int(first[:DIGITS]), int(last[:DIGITS])
        if len(last) > DIGITS or len(first) > DIGITS or stop - start + len(numbers) > MOST_NUMBERS:
            raise ValueError(f"{shown(part)} are more than {MOST_NUMBERS:,} numbers, or too large ones")
        if stop < start:
            raise ValueError(f"{shown(part)} goes from more to less")
        width = len(first) if first.startswith("0") else 0
        numbers += [str(number).zfill(width) for number in range(start, stop + 1)]
    return frozenset(numbers)
