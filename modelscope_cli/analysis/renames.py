"""Which old name became which new one.

Two steps over the names that only one side has. Wrappers first: DistributedDataParallel, torch.compile, FSDP and their like put
a part of their own into names, and names that are equal without such parts are the same tensor. Then prefixes: tensors of one
shape whose names end alike say by what one prefix was replaced (`transformer.h.` → `model.layers.`), and a replacement that
explains most of what is left under one of the two prefixes is taken. That needs more in common than a last part: every module
has a `weight`. Where two are equally good, neither is taken: a guess would be worse than "removed, added". Nothing depends on
which side is the old one.

Numbers are kept apart from names, so that the 14,848 experts of a model are one name with 14,848 numbers, and
`blocks.0.attn.` → `blocks.0.attention.` is one replacement for all blocks.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.conventions import WRAPPERS
from modelscope_cli.core.tensor import Shape

_WRAPPER = re.compile(rf"(?<![^.])(?:{'|'.join(WRAPPERS)})\.")
NUMBER = "\0"  # stands for a number in a stem
MOST_CANDIDATES = 64  # partners of equal ending above which an ending says nothing
MOST_VOTES = 400_000
MOST_LEVELS = 64  # parts of a name that are compared
MOST_LITERAL = 20_000  # names left on a side up to which numbers may have changed too
SCANS = 40  # how often each name may be looked at while replacements are tried

Couple = tuple[int, int]
Prefixes = tuple[str, str]
Numbers = tuple[str, ...]
Group = tuple[list[int], list[int]]  # units of both sides


class Side(NamedTuple):
    """The names of one side that the other does not have, with their shapes and roles."""

    names: Sequence[str]
    shapes: Sequence[Shape]
    roles: Sequence[str]


class Rename(NamedTuple):
    """Prefixes and what replaced them (several where they differ in their numbers only), and the (old, new) tensors."""

    olds: list[str]
    news: list[str]
    couples: list[Couple]


def find_renames(old: Side, new: Side) -> list[Rename]:
    """The renames that explain what is left on both sides, those of most tensors first. No tensor is in two of them."""
    found: list[Rename] = []
    if old.names and new.names:
        free = _once(old.names), _once(new.names)
        found += _unwrapped(old, new, free)
        for literal in (False, True):
            counts = sum(free[0]), sum(free[1])
            if min(counts) and not (literal and max(counts) > MOST_LITERAL):
                found += _replaced(_Left(old, free[0], literal), _Left(new, free[1], literal), literal)
    return sorted(found, key=lambda rename: -len(rename.couples))


def _once(names: Sequence[str]) -> list[bool]:
    """Names that occur twice, which some files have, are left alone."""
    counts = Counter(names)
    return [counts[name] == 1 for name in names]


# Wrappers -----------------------------------------------------------------------------------------------------------------


def _unwrapped(old: Side, new: Side, free: tuple[list[bool], list[bool]]) -> list[Rename]:
    """Couple names that are equal without the parts of wrappers, where that is one name on each side."""
    plain = [[_WRAPPER.sub("", name) for name in side.names] for side in (old, new)]
    if plain[0] == list(old.names) and plain[1] == list(new.names):
        return []
    places: dict[str, int] = {}
    for position, name in enumerate(plain[1]):
        places[name] = -1 if name in places or not free[1][position] else position
    counts = Counter(plain[0])
    couples: dict[Prefixes, list[Couple]] = {}
    for position, name in enumerate(plain[0]):
        other = places.get(name, -1)
        if other >= 0 and counts[name] == 1 and free[0][position]:
            couples.setdefault(_prefixes(old.names[position], new.names[other]), []).append((position, other))
            free[0][position] = free[1][other] = False
    joined: dict[tuple[str, str], Rename] = {}
    for (before, after), members in couples.items():
        stems = [_stem(prefix) for prefix in (before, after)]
        same = stems[0][1] == stems[1][1]
        rename = joined.setdefault((stems[0][0], stems[1][0]) if same else (before, after), Rename([], [], []))
        rename.olds.append(before)
        rename.news.append(after)
        rename.couples.extend(members)
    return list(joined.values())


def _prefixes(old: str, new: str) -> Prefixes:
    """What stands before the longest common dotted ending of two names."""
    if new.endswith(old) and new[: -len(old)].endswith("."):
        return "", new[: -len(old)]
    if old.endswith(new) and old[: -len(new)].endswith("."):
        return old[: -len(new)], ""
    parts, others = old.split("."), new.split(".")
    common = 1
    while common < min(len(parts), len(others), MOST_LEVELS) and parts[-1 - common] == others[-1 - common]:
        common += 1
    return _before(old, common), _before(new, common)


def _before(name: str, parts: int) -> str:
    """The name without its last parts, with the dot behind it."""
    head = name.rsplit(".", parts)
    return head[0] + "." if len(head) > parts else ""


def _stem(text: str) -> tuple[str, Numbers]:
    """A name with its numbers taken out, and the numbers."""
    parts = text.split(".")
    numbers = tuple([part for part in parts if part.isdecimal()])
    return (".".join([NUMBER if part.isdecimal() else part for part in parts]) if numbers else text), numbers


# Prefixes -----------------------------------------------------------------------------------------------------------------


class _Left:
    """What is not coupled yet on one side, in units: tensors of one stem and shape, by their numbers.

    `literal`: numbers are part of the name, and every tensor is a unit of its own.
    """

    def __init__(self, side: Side, free: list[bool], literal: bool):
        self.side = side
        self.free = free
        units: dict[tuple[str, Shape], dict[Numbers, int]] = {}
        stems: dict[str, tuple[str, Numbers]] = {}
        for position, name in enumerate(side.names):
            if not free[position] or NUMBER in name:
                continue
            numbers: Numbers = ()
            stem = name
            if not literal:
                head, dot, leaf = name.rpartition(".")
                known = stems.get(head)
                if known is None:
                    known = stems[head] = _stem(head)
                stem, numbers = known
                if leaf.isdecimal():
                    leaf, numbers = NUMBER, (*numbers, leaf)
                stem += dot + leaf
            unit = units.get((stem, side.shapes[position]))
            if unit is None:
                unit = units[stem, side.shapes[position]] = {}
            unit[numbers] = position
        ordered = sorted(units.items())
        self.stems = [stem for (stem, _), _ in ordered]
        self.shapes = [shape for (_, shape), _ in ordered]
        self.units = [unit for _, unit in ordered]
        self.place = {key: number for number, (key, _) in enumerate(ordered)}
        self.unit_of = {position: number for number, unit in enumerate(self.units) for position in unit.values()}

    def under(self, prefix: str) -> range:
        """The units under a prefix."""
        if not prefix:
            return range(len(self.stems))
        return range(bisect_left(self.stems, prefix), bisect_left(self.stems, prefix[:-1] + "/"))  # "/" follows "."

    def count(self, prefix: str) -> int:
        """Tensors left under a prefix."""
        span = self.under(prefix)
        return sum(map(len, self.units[span.start : span.stop]))


def _replaced(old: _Left, new: _Left, literal: bool) -> list[Rename]:
    """Take replacements by votes; with equal votes those that change the names least."""
    ranks: dict[tuple[int, ...], list[Prefixes]] = {}
    for prefixes, (votes, same_role) in _votes(old, new).items():
        ranks.setdefault((votes, same_role, _likeness(*prefixes)), []).append(prefixes)
    budget = SCANS * (len(old.stems) + len(new.stems)) + 10_000
    found: list[Rename] = []
    for rank in sorted(ranks, reverse=True):
        fitting: list[Rename] = []
        for prefixes in sorted(ranks[rank], key=sorted):
            budget -= len(old.under(prefixes[0])) + len(new.under(prefixes[1]))
            if budget < 0:
                return found
            rename = _fit(old, new, *prefixes)
            if rename and _convincing(old, rename, *prefixes, literal):
                fitting.append(rename)
        claims = Counter([couple[0] for rename in fitting for couple in rename.couples]) if len(fitting) > 1 else {}
        others = Counter([couple[1] for rename in fitting for couple in rename.couples]) if len(fitting) > 1 else {}
        for rename in fitting:
            if len(fitting) == 1 or all([claims[first] == others[second] == 1 for first, second in rename.couples]):
                found.append(rename)
                _take(old, rename, 0)
                _take(new, rename, 1)
    return found


def _fit(old: _Left, new: _Left, before: str, after: str) -> Rename | None:
    """The couples of a replacement: the same rest, numbers and shape; None unless they are most of what is left on a side."""
    rename = Rename([], [], [])
    seen: set[Prefixes] = set()
    plain = NUMBER not in before and NUMBER not in after
    if plain:
        rename.olds.append(before)
        rename.news.append(after)
    for number in old.under(before):
        rest = old.stems[number][len(before) :]
        other = new.place.get((after + rest, old.shapes[number]), -1)
        if other < 0:
            continue
        partners = new.units[other]
        couples = [(position, partners[numbers]) for numbers, position in old.units[number].items() if numbers in partners]
        rename.couples.extend(couples)
        if not plain:
            parts = rest.count(".") + 1
            for first, second in couples:
                prefixes = _before(old.side.names[first], parts), _before(new.side.names[second], parts)
                if prefixes not in seen:
                    seen.add(prefixes)
                    rename.olds.append(prefixes[0])
                    rename.news.append(prefixes[1])
    most = 2 * len(rename.couples)
    return rename if most and (most > old.count(before) or most > new.count(after)) else None


def _convincing(old: _Left, rename: Rename, before: str, after: str, literal: bool) -> bool:
    """Whether it only adds or takes away a prefix, or more than a last part stayed, or tensors of several shapes fit.

    `weight` of an equal shape is in modules that have nothing to do with each other.
    """
    firsts = [first for first, _ in rename.couples]
    levels = before.count(".")  # dots in the names of the tensors that belong to the prefix
    if any(old.side.names[first].count(".") > levels for first in firsts):
        return True
    if _extends(before, after) or _extends(after, before):
        return len(firsts) > 1 or not literal
    return len({old.side.shapes[first] for first in firsts}) > 1


def _extends(longer: str, prefix: str) -> bool:
    """Whether a prefix is another one with something before or behind it."""
    return longer.startswith(prefix) or longer.endswith(f".{prefix}")


def _take(left: _Left, rename: Rename, which: int) -> None:
    taken = {couple[which] for couple in rename.couples}
    for position in taken:
        left.free[position] = False
    for number in {left.unit_of[position] for position in taken}:
        kept = {numbers: position for numbers, position in left.units[number].items() if position not in taken}
        left.units[number] = kept


def _likeness(before: str, after: str) -> int:
    """How many parts at the beginning of a prefix stayed."""
    parts, others = before.split("."), after.split(".")
    common = 0
    while common < min(len(parts), len(others)) - 1 and parts[common] == others[common]:
        common += 1
    return common


# Votes --------------------------------------------------------------------------------------------------------------------


def _votes(old: _Left, new: _Left) -> dict[Prefixes, tuple[int, int]]:
    """(old prefix, new prefix) → how many tensors speak for it, and how many of these keep their role.

    A unit speaks for those on the other side whose stems end like its own for as long as any does, if it is in turn among the
    best for them.
    """
    votes: dict[Prefixes, tuple[int, int]] = {}
    budget = MOST_VOTES
    heads = list(old.stems), list(new.stems)
    roles = old.side.roles, new.side.roles
    for firsts, seconds in _best(heads, _alike(old, new, heads)):
        if len(firsts) > MOST_CANDIDATES or len(seconds) > MOST_CANDIDATES:
            continue
        for first in firsts:
            for second in seconds:
                unit, other = old.units[first], new.units[second]
                budget -= min(len(unit), len(other))
                shared = [numbers for numbers in unit if numbers in other]
                if shared:
                    prefixes = heads[0][first], heads[1][second]
                    count, same = votes.get(prefixes, (0, 0))
                    same += sum([roles[0][unit[numbers]] == roles[1][other[numbers]] for numbers in shared])
                    votes[prefixes] = count + len(shared), same
        if budget < 0:
            break
    return votes


def _alike(old: _Left, new: _Left, heads: tuple[list[str], list[str]]) -> list[Group]:
    """Units of both sides with the same last part and shape. The last part is taken off their heads."""
    groups: dict[object, Group] = {}
    for which, left in enumerate((old, new)):
        side = heads[which]
        for number, (stem, shape) in enumerate(zip(left.stems, left.shapes, strict=True)):
            head, dot, leaf = stem.rpartition(".")
            side[number] = head + dot
            group = groups.get((leaf, shape))
            if group is None:
                group = groups[leaf, shape] = ([], [])
            group[which].append(number)
    return [group for group in groups.values() if group[0] and group[1]]


def _best(heads: tuple[list[str], list[str]], groups: list[Group]) -> Iterator[Group]:
    """The groups split by one more part from the end for as long as both sides have it, which is then taken off the heads."""
    level = 1
    while groups and level < MOST_LEVELS:
        longer: list[Group] = []
        for group in groups:
            inner: dict[str, Group] = {}
            for which in (0, 1):
                side = heads[which]
                for number in group[which]:
                    part = side[number][side[number].rfind(".", 0, -1) + 1 :]
                    inner.setdefault(part, ([], []))[which].append(number)
            ended: Group = inner.pop("", ([], []))
            for part, (firsts, seconds) in inner.items():
                if firsts and seconds:
                    longer.append((firsts, seconds))
                    _shorten(heads[0], firsts, len(part))
                    _shorten(heads[1], seconds, len(part))
                else:
                    ended[0].extend(firsts)
                    ended[1].extend(seconds)
            if ended[0] and ended[1]:
                yield ended
        groups = longer
        level += 1
    yield from groups


def _shorten(heads: list[str], numbers: Iterable[int], length: int) -> None:
    for number in numbers:
        heads[number] = heads[number][:-length]
