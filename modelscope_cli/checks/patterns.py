"""Module patterns: which modules and tensors a rule is about.

A pattern is a dotted path. `*` and `?` stand for anything within one part, `**` for any number of parts, and a part may be numbers as
the tables write them: `decoder.layers.0–5` (a plain hyphen will do). A rule holds for each module that matches, by itself.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.checks.quantities import shown

NUMBERS = re.compile(r"\d+(?:[–-]\d+)?(?:,\d+(?:[–-]\d+)?)*")
FOLD = re.compile(r"\s*×\d+$|\s+x\d+$")  # as the tables write how often a row stands for
DEEPEST = 64
MOST_COMPARED = 20_000
LONGEST = 1_000
DIGITS = 9
MOST_NUMBERS = 100_000


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
        self.parts = text.split(".")
        self.anywhere = "**" in self.parts
        self.plain = not any(character in text for character in "*?") and not any(_numbers(part) for part in self.parts)
        self.path = text
        self._regex = re.compile(_regex(self.parts))

    def find(self, ledger: Ledger) -> list[Matched]:
        """What matches, in the order of the file. A module holds everything below it."""
        found: dict[str, list[int]] = {}
        if self.plain:
            inside = self.path + "."
            lines = [
                line
                for line, name in enumerate(ledger.names)
                if name.startswith(self.path) and (name == self.path or name.startswith(inside))
            ]
            if lines:
                found[self.path] = lines
        elif self.anywhere:
            matches = self._regex.fullmatch
            known: dict[str, bool] = {}
            for line, name in enumerate(ledger.names):
                for path in enclosing(name):
                    fits = known.get(path)
                    if fits is None:
                        fits = known[path] = matches(path) is not None
                    if fits:
                        found.setdefault(path, []).append(line)
        else:
            depth = len(self.parts)
            whole: dict[str, list[int]] = {}
            for line, name in enumerate(ledger.names):
                parts = name.split(".", depth)
                if len(parts) >= depth:
                    whole.setdefault(".".join(parts[:depth]), []).append(line)
            found = {path: lines for path, lines in whole.items() if self._regex.fullmatch(path)}
        return [measured(ledger, path, lines) for path, lines in found.items()]

    def fits(self, path: str) -> bool:
        """Whether a module of this path matches."""
        return self._regex.fullmatch(path) is not None


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
    if not written.startswith("**") and Pattern(further).find(ledger):
        return f"did you mean {further!r}?"
    modules = {path for parent in set(ledger.parents) for path in enclosing(parent)}
    close = difflib.get_close_matches(FOLD.sub("", written), sorted(modules)[:MOST_COMPARED], 1)
    if close:
        return f"did you mean {close[0]!r}?"
    tops = sorted({name.partition(".")[0] for name in ledger.names})
    return f"at the top are {', '.join(tops[:6])}{', …' if len(tops) > 6 else ''}" if tops else "it has no tensors"


def enclosing(path: str) -> list[str]:
    """A path and those of everything around it."""
    parts = path.split(".")[:DEEPEST]
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if path else []


def _numbers(part: str) -> bool:
    return NUMBERS.fullmatch(part) is not None and not part.isdecimal()


def _regex(parts: list[str]) -> str:
    written: list[str] = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            if last:
                written.append(".+")
            elif parts[position + 1] != "**":  # one behind the other says no more than one
                written.append(r"(?:[^.]*\.)*")
            continue
        if _numbers(part):
            piece = _alternatives(part)
        else:
            piece = "".join(
                "[^.]*" if sign == "*" else "[^.]" if sign == "?" else re.escape(sign) for sign in re.sub(r"\*+", "*", part)
            )
        written.append(piece if last else piece + r"\.")
    return "(?s:" + "".join(written) + ")"


def _alternatives(part: str) -> str:
    """A regular expression for numbers and ranges of them. 00–11 has two digits throughout."""
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
    return f"(?:{'|'.join(numbers)})"
