"""Names folded by number, and unfolded again.

    layers.{3-60}.mlp.experts.{0-255}.down_proj.weight    14,848 names
    layers.{0-2,5,7-9}.norm.weight                        7 names
    {{x}.weight                                           the one name {x}.weight

Only whole parts between dots fold, and only numbers as Python writes them (7, not 007), so that unfolding gives back the very
names. A part that begins with a brace of its own gets one more in front. A pattern says how many names it stands for before
any of them is made.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from itertools import chain, pairwise, product
from operator import itemgetter
from typing import NamedTuple, TypeVar

MOST_NUMBERS = 8  # in a name with more of them they are text like everything else

_NATURAL = r"(?:0|[1-9][0-9]{0,17})"
_NUMBER = re.compile(rf"(?<![^.])({_NATURAL})(?![^.])")
_SLOT = re.compile(rf"(?<![^.])({_NATURAL}|\{{[0-9,-]+\}})(?![^.])")
_RANGE = re.compile(rf"({_NATURAL})(?:-({_NATURAL}))?(,|$)")
_BRACE = re.compile(r"(?<![^.])\{")
_DOUBLE_BRACE = re.compile(r"(?<![^.])\{\{")
_SINGLE_BRACE = re.compile(r"(?<![^.])\{(?!\{)")

Key = tuple[str | int, ...]  # text and numbers in turn, text first: how names are sorted
Value = TypeVar("Value", bound=Hashable)


class Pattern(NamedTuple):
    """A pattern taken apart: texts, and between each two of them the numbers that may stand there."""

    texts: tuple[str, ...]
    numbers: tuple[tuple[range, ...], ...]
    names: int  # how many it stands for
    longest: int  # characters of a name, at most


def sort_key(name: str) -> Key:
    """What puts layers.2 before layers.10."""
    pieces: list[str | int] = [*_NUMBER.split(name, MOST_NUMBERS + 1)]
    if len(pieces) > 2 * MOST_NUMBERS + 1:
        return (name,)
    pieces[1::2] = map(int, pieces[1::2])
    return tuple(pieces)


def fold(named: Iterable[tuple[str, Value]]) -> list[tuple[str, Value]]:
    """(pattern, value) for (name, value), sorted, the same for any order of the names. Names fold where their values are equal.

    The last number folds first, then prefixes that have equal sets behind them: every name is in one pattern only.
    """
    alike: dict[tuple[tuple[str, ...], Value], list[tuple[int, ...]]] = {}
    for name, value in named:
        pieces = _NUMBER.split(name, MOST_NUMBERS + 1)
        if len(pieces) > 2 * MOST_NUMBERS + 1:
            pieces = [name]
        alike.setdefault((tuple(pieces[::2]), value), []).append(tuple(map(int, pieces[1::2])))
    found: list[tuple[Key, str, Value]] = []
    for (texts, value), numbers in alike.items():
        written = [_BRACE.sub("{{", text) for text in texts]
        for sets in _products(numbers):
            firsts = [values[0] for values in sets]
            slots = [_ranges(values) for values in sets]
            found.append((_in_turn(texts, firsts), "".join(map(str, _in_turn(written, slots))), value))
    found.sort(key=itemgetter(0, 1))
    return [(pattern, value) for _, pattern, value in found]


def _in_turn(texts: Iterable[str], between: Iterable[str | int]) -> Key:
    return tuple(piece for pair in zip(texts, [*between, ""], strict=True) for piece in pair)[:-1]


def _products(numbers: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Tuples of equal length as disjoint products of sets, each set sorted."""
    ends: dict[tuple[tuple[int, ...], ...], list[tuple[int, ...]]] = {(): numbers}
    for _ in numbers[0]:
        longer: dict[tuple[tuple[int, ...], ...], list[tuple[int, ...]]] = {}
        for end, prefixes in ends.items():
            behind: dict[tuple[int, ...], set[int]] = {}
            for prefix in prefixes:
                behind.setdefault(prefix[:-1], set()).add(prefix[-1])
            for prefix, values in behind.items():
                longer.setdefault((tuple(sorted(values)), *end), []).append(prefix)
        ends = longer
    return list(ends)


def _ranges(values: tuple[int, ...]) -> str:
    """One number as it is, several as {0-2,5}."""
    if len(values) == 1:
        return str(values[0])
    firsts = [values[0]] + [later for earlier, later in pairwise(values) if later != earlier + 1]
    lasts = [earlier for earlier, later in pairwise(values) if later != earlier + 1] + [values[-1]]
    runs = [str(first) if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True)]
    return "{" + ",".join(runs) + "}"


def parse(pattern: str) -> Pattern:
    """Take a pattern apart. Raises ValueError, with a sentence, for one that `fold` would not write."""
    pieces = _SLOT.split(pattern, MOST_NUMBERS + 1)
    if len(pieces) > 2 * MOST_NUMBERS + 1:
        pieces = [pattern]
    texts = pieces[::2]
    if any([_SINGLE_BRACE.search(text) for text in texts]):
        raise ValueError(f"the name {pattern[:80]!r} has a brace that opens no range; a brace of the name itself stands twice")
    numbers = tuple([_numbers(slot) for slot in pieces[1::2]])
    count = 1
    longest = sum(map(len, texts))
    for runs in numbers:
        count *= sum([run.stop - run.start for run in runs])
        longest += len(str(runs[-1].stop - 1))
    return Pattern(tuple([_DOUBLE_BRACE.sub("{", text) for text in texts]), numbers, count, longest)


def _numbers(slot: str) -> tuple[range, ...]:
    """The runs of numbers of a slot: `{0-2,5}`, or a single number."""
    if not slot.startswith("{"):
        return (range(int(slot), int(slot) + 1),)
    runs: list[range] = []
    position, stop = 1, len(slot) - 1
    while position < stop:
        match = _RANGE.match(slot, position, stop)
        first = int(match[1]) if match else -1
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < first or (runs and first < runs[-1].stop) or (match[3] and match.end() == stop):
            raise ValueError(f"{slot[:80]!r} is not a rising list of numbers and ranges")
        runs.append(range(first, last + 1))
        position = match.end()
    return tuple(runs)


def keys(pattern: Pattern) -> Iterable[Key]:
    """The sort keys of all names of a pattern; `spell` makes names of them."""
    pools: list[Iterable[str | int]] = [(pattern.texts[0],)]
    for runs, text in zip(pattern.numbers, pattern.texts[1:], strict=True):
        pools += [chain.from_iterable(runs), (text,)]
    return product(*pools)


def spell(key: Key) -> str:
    """The name with this sort key."""
    return ("%s%d" * (len(key) // 2) + "%s") % key


def expand(pattern: Pattern) -> list[str]:
    """All names of a pattern. Look at `names` first: they may be more than there is memory."""
    return [spell(key) for key in keys(pattern)]


def holders(names: list[str], paths: Iterable[str]) -> list[str]:
    """For each name the longest of the paths that is the name or followed by a dot in it, or ""."""
    found = [""] * len(names)
    paths = list(paths)
    rows = [(f"{path}.", -1) for path in paths] + [(f"{name}.", index) for index, name in enumerate(names)]
    around: list[str] = []  # paths that the current row lies in, each inside the one before: sorted rows nest
    for text, index in sorted(rows):
        while around and not text.startswith(around[-1]):
            around.pop()
        if index < 0:
            around.append(text)
        elif around:
            found[index] = around[-1][:-1]
    return found
