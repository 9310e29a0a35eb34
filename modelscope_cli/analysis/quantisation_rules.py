"""Lists of modules in a configuration: which modules an entry means.

Entries may come from anybody. A pattern is followed only if its cost is bounded: no repetition of a repetition, few alternatives.
"""

from __future__ import annotations

import math
import re
from time import perf_counter
from typing import NamedTuple

MOST_STEPS = 1_000_000  # of matching one name
LONGEST_PATTERN, MOST_REPEATS, MOST_LEVELS = 500, 6, 8  # of a pattern: characters, repetitions, groups within groups
MOST_SECONDS = 1.0  # of matching all of them
MOST_RULES, MOST_PARTS, MOST_PATTERNS = (
    4_096,
    1_024,
    512,
)  # entries of a list; beginnings and ends of names; patterns of all lists


class Rule(NamedTuple):
    """One entry of a list of modules: a whole name, a name that counts as the beginning or end of others too, or a pattern.

    `cost`: unbounded repetitions in the pattern, and ways through its alternatives.
    """

    text: str
    pattern: re.Pattern[str] | None = None
    cost: tuple[int, int] = (0, 1)
    anywhere: bool = False

    def matches(self, path: str) -> bool:
        """Whether a pattern means a module. A name so long that it could take for ever is not meant."""
        repeats, ways = self.cost
        bounded = math.comb(len(path) + repeats, repeats) * ways <= MOST_STEPS
        return bounded and self.pattern is not None and self.pattern.match(path) is not None


class Budget:
    """What following the patterns of one configuration may take: so many of them, and so long."""

    def __init__(self) -> None:
        self.patterns = MOST_PATTERNS
        self.seconds = MOST_SECONDS


class Rules:
    """Entries of a list of modules, ready to be asked of tens of thousands of names. `unfollowed`: patterns that are not followed."""

    def __init__(self, entries: list[str], method: str, budget: Budget):
        self.all: list[Rule] = []
        self.unfollowed: list[str] = []
        for text in dict.fromkeys(entries[:MOST_RULES]):
            rule = rule_of(text, method) if budget.patterns > 0 else None
            if rule is None:
                self.unfollowed.append(text)
                continue
            budget.patterns -= rule.pattern is not None
            self.all.append(rule)
        self.whole = {rule.text: rule for rule in self.all if rule.pattern is None}
        self._patterns = [rule for rule in self.all if rule.pattern is not None]
        self._parts = [rule for rule in self.all if rule.anywhere and rule.text][:MOST_PARTS]
        self._places = {rule.text: place for place, rule in enumerate(self._parts)}
        self._lengths = sorted({len(text) for text in self._places})
        self._budget = budget

    def first(self, path: str) -> Rule | None:
        """The first rule that means a module. Once patterns have taken their time, only names count: a hostile list ends there."""
        if path in self.whole:
            return self.whole[path]
        part = self._part(path)
        if part is not None:
            return part
        for rule in self._patterns:
            if self._budget.seconds <= 0:
                return None
            begun = perf_counter()
            found = rule.matches(path)
            self._budget.seconds -= perf_counter() - begun
            if found:
                return rule
        return None

    def _part(self, path: str) -> Rule | None:
        """The first rule that is how a module's name ends, or all of its first words."""
        places: list[int] = []
        for length in self._lengths:
            if length > len(path):
                break
            cuts = (path[-length:], path[:length] if path[length : length + 1] == "." else "")
            places += [self._places[cut] for cut in cuts if cut in self._places]
        return self._parts[min(places)] if places else None


def rule_of(text: str, method: str) -> Rule | None:
    """How an entry is meant: compressed-tensors has whole names and `re:` patterns, ModelOpt stars, the others beginnings and ends
    of names. None for a pattern that is none, or that could take for ever."""
    if text.startswith("re:"):
        written = text[3:]
    elif method in ("modelopt", "quark"):
        if "*" not in text:
            return Rule(text)
        written = ".*".join(map(re.escape, re.split(r"\*+", text))) + "$"
    elif method == "compressed-tensors":
        return Rule(text)
    elif re.fullmatch(r"[\w.\-]*", text):
        return Rule(text, anywhere=True)
    else:
        written = rf"(?:{text})(?:(?<=\.)|(?=\.|$))"
    cost = _cost(written)
    if cost is None:
        return None
    try:
        return Rule(text, re.compile(written), cost)
    except (re.error, RecursionError, OverflowError):
        return None


def _cost(pattern: str) -> tuple[int, int] | None:
    """(unbounded repetitions, ways through alternatives and options) of a regular expression; None where repetitions are nested or
    it refers back, because such a one can take for ever."""
    if len(pattern) > LONGEST_PATTERN or re.search(r"\\\d|\(\?P=", pattern):
        return None
    plain = re.sub(r"\\.", "x", re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern))
    plain = re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>|[aimsux]+[:)])", "(", plain)
    if re.search(r"\)[*+{]", plain):
        return None
    ways = 2 ** min(len(re.findall(r"(?<![*+?}])\?", plain)), 30)
    repeats = len(re.findall(r"[*+{]", plain))
    for _ in range(MOST_LEVELS):
        inside = re.findall(r"\(([^()]*)\)", plain)
        for part in inside:
            ways *= part.count("|") + 1
        if not inside or ways > MOST_STEPS:
            break
        plain = re.sub(r"\([^()]*\)", "x", plain)
    ways *= plain.count("|") + 1
    return (repeats, ways) if repeats <= MOST_REPEATS and "(" not in plain and ways <= MOST_STEPS else None
