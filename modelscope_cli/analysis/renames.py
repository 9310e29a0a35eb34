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
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.conventions import WRAPPERS
from modelscope_cli.analysis.rename_units import NUMBER, Couple, Left, shared, size, stem_of
from modelscope_cli.analysis.rename_units import Side as Side

_WRAPPER = re.compile(rf"(?<![^.])(?:{'|'.join(WRAPPERS)})\.")
MOST_CANDIDATES = 64  # partners of equal ending above which an ending says nothing
MOST_VOTES = 400_000
MOST_LEVELS = 64  # parts of a name that are compared
MOST_LITERAL = 20_000  # names left on a side up to which numbers may have changed too
MOST_STEPS = 1_000_000  # parts that are taken off the ends of names, all together
SCANS = 40  # how often each name may be looked at while replacements are tried
MOST_WORK = 500_000  # names that are looked at then, where numbers are apart: those of a model are a few thousand
FIT = 4  # names that are looked at in the time that trying a replacement takes by itself
MATCH = 8  # the numbers of as many tensors are compared in the time that looking at a name takes
MOST_HELD = 1_000_000  # couples of replacements that are equally good

Prefixes = tuple[str, str]
Group = tuple[list[int], list[int]]  # units of both sides
Lengths = tuple["array[int]", "array[int]"]  # how much of the stems of both sides is not compared yet


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
                found += _replaced(Left(old, free[0], literal), Left(new, free[1], literal), literal)
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
        stems = [stem_of(prefix) for prefix in (before, after)]
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


# Prefixes -----------------------------------------------------------------------------------------------------------------


def _replaced(old: Left, new: Left, literal: bool) -> list[Rename]:
    """Take replacements by votes; with equal votes those that change the names least."""
    ranks: dict[tuple[int, ...], list[Prefixes]] = {}
    for prefixes, (votes, same_role) in _votes(old, new).items():
        ranks.setdefault((votes, same_role, _likeness(*prefixes)), []).append(prefixes)
    budget = SCANS * (len(old.stems) + len(new.stems)) + 10_000
    work = 0
    found: list[Rename] = []
    for rank in sorted(ranks, reverse=True):
        fitting: list[tuple[Prefixes, list[Couple]]] = []
        held = 0
        for prefixes in sorted(ranks[rank], key=sorted):
            looked_at = len(old.under(prefixes[0])) + len(new.under(prefixes[1]))
            budget -= looked_at
            if budget < 0:
                return found
            couples, compared = _fit(old, new, *prefixes)
            work += looked_at + FIT + compared // MATCH
            if couples and _convincing(old, couples, *prefixes, literal):
                fitting.append((prefixes, couples))
                held += len(couples)
            if held > MOST_HELD or (work > MOST_WORK and not literal):
                return found
        claims = Counter([couple[0] for _, couples in fitting for couple in couples]) if len(fitting) > 1 else {}
        others = Counter([couple[1] for _, couples in fitting for couple in couples]) if len(fitting) > 1 else {}
        for prefixes, couples in fitting:
            if len(fitting) == 1 or all([claims[first] == others[second] == 1 for first, second in couples]):
                found.append(_rename(old, new, *prefixes, couples))
                _take(old, couples, 0)
                _take(new, couples, 1)
    return found


def _fit(old: Left, new: Left, before: str, after: str) -> tuple[list[Couple], int]:
    """The couples of a replacement: the same rest, numbers and shape; none unless they are most of what is left on a side.

    And how many tensors were compared.
    """
    found: list[Couple] = []
    compared = 0
    for number in old.under(before):
        other = new.place.get((after + old.stems[number][len(before) :], old.shapes[number]), -1)
        if other < 0:
            continue
        couples = shared(old.units[number], new.units[other])
        compared += min(size(old.units[number]), size(new.units[other])) + len(couples)
        found.extend(couples)
    most = 2 * len(found)
    return (found if most and (most > old.count(before) or most > new.count(after)) else []), compared


def _rename(old: Left, new: Left, before: str, after: str, couples: list[Couple]) -> Rename:
    """A replacement in words: of prefixes with numbers each that there is."""
    if NUMBER not in before and NUMBER not in after:
        return Rename([before], [after], couples)
    rename = Rename([], [], couples)
    seen: set[Prefixes] = set()
    for first, second in couples:
        parts = old.stems[old.unit_of[first]].count(".", len(before)) + 1
        prefixes = _before(old.side.names[first], parts), _before(new.side.names[second], parts)
        if prefixes not in seen:
            seen.add(prefixes)
            rename.olds.append(prefixes[0])
            rename.news.append(prefixes[1])
    return rename


def _convincing(old: Left, couples: list[Couple], before: str, after: str, literal: bool) -> bool:
    """Whether it only adds or takes away a prefix, or more than a last part stayed, or tensors of several shapes fit.

    `weight` of an equal shape is in modules that have nothing to do with each other.
    """
    firsts = [first for first, _ in couples]
    levels = before.count(".")  # dots in the names of the tensors that belong to the prefix
    if any(old.side.names[first].count(".") > levels for first in firsts):
        return True
    if _extends(before, after) or _extends(after, before):
        return len(firsts) > 1 or not literal
    return len({old.side.shapes[first] for first in firsts}) > 1


def _extends(longer: str, prefix: str) -> bool:
    """Whether a prefix is another one with something before or behind it."""
    return longer.startswith(prefix) or longer.endswith(f".{prefix}")


def _take(left: Left, couples: list[Couple], which: int) -> None:
    taken = {couple[which] for couple in couples}
    for position in taken:
        left.free[position] = False
    for number in {left.unit_of[position] for position in taken}:
        unit = left.units[number]
        kept = {} if isinstance(unit, tuple) else {numbers: each for numbers, each in unit.items() if each not in taken}
        left.units[number] = kept


def _likeness(before: str, after: str) -> int:
    """How many parts at the beginning of a prefix stayed."""
    parts, others = before.split("."), after.split(".")
    common = 0
    while common < min(len(parts), len(others)) - 1 and parts[common] == others[common]:
        common += 1
    return common


# Votes --------------------------------------------------------------------------------------------------------------------


def _votes(old: Left, new: Left) -> dict[Prefixes, tuple[int, int]]:
    """(old prefix, new prefix) → how many tensors speak for it, and how many of these keep their role.

    A unit speaks for those on the other side whose stems end like its own for as long as any does, if it is in turn among the
    best for them.
    """
    votes: dict[Prefixes, tuple[int, int]] = {}
    budget = MOST_VOTES
    lengths = array("i", bytes(4 * len(old.stems))), array("i", bytes(4 * len(new.stems)))
    roles = old.side.roles, new.side.roles
    for firsts, seconds in _best(old.stems, new.stems, lengths, _alike(old, new, lengths)):
        if len(firsts) > MOST_CANDIDATES or len(seconds) > MOST_CANDIDATES:
            continue
        sizes = [size(new.units[second]) for second in seconds]
        cost = sum([min(size(old.units[first]), each) for first in firsts for each in sizes])
        if cost > budget + MOST_VOTES:
            break
        befores = [old.stems[first][: lengths[0][first]] for first in firsts]
        afters = [new.stems[second][: lengths[1][second]] for second in seconds]
        for first, before in zip(firsts, befores, strict=True):
            for second, after in zip(seconds, afters, strict=True):
                couples = shared(old.units[first], new.units[second])
                if couples:
                    count, same = votes.get((before, after), (0, 0))
                    same += sum([roles[0][one] == roles[1][other] for one, other in couples])
                    votes[before, after] = count + len(couples), same
        budget -= cost
        if budget < 0:
            break
    return votes


def _alike(old: Left, new: Left, lengths: Lengths) -> list[Group]:
    """Units of both sides with the same last part and shape. `lengths` become those of what stands before the last part."""
    groups: dict[object, Group] = {}
    for which, left in enumerate((old, new)):
        side = lengths[which]
        for number, (stem, shape) in enumerate(zip(left.stems, left.shapes, strict=True)):
            start = stem.rfind(".") + 1
            side[number] = start
            key = stem[start:], shape
            group = groups.get(key)
            if group is None:
                group = groups[key] = ([], [])
            group[which].append(number)
    return [group for group in groups.values() if group[0] and group[1]]


def _best(olds: list[str], news: list[str], lengths: Lengths, groups: list[Group]) -> Iterator[Group]:
    """The groups split by one more part from the end for as long as both sides have it, which is then taken off the lengths.

    Where names have so many parts that this takes too long, the groups are those of the parts that were compared.
    """
    sides = olds, news
    level = 1
    steps = MOST_STEPS
    while groups and level < MOST_LEVELS and steps > 0:
        longer: list[Group] = []
        for group in groups:
            steps -= len(group[0]) + len(group[1])
            inner: dict[str, Group] = {}
            for which in (0, 1):
                stems, left = sides[which], lengths[which]
                for number in group[which]:
                    stem, length = stems[number], left[number]
                    part = stem[stem.rfind(".", 0, max(length - 1, 0)) + 1 : length]
                    found = inner.get(part)
                    if found is None:
                        found = inner[part] = ([], [])
                    found[which].append(number)
            ended: Group = inner.pop("", ([], []))
            for part, (firsts, seconds) in inner.items():
                if firsts and seconds:
                    longer.append((firsts, seconds))
                    _shorten(lengths[0], firsts, len(part))
                    _shorten(lengths[1], seconds, len(part))
                else:
                    ended[0].extend(firsts)
                    ended[1].extend(seconds)
            if ended[0] and ended[1]:
                yield ended
        groups = longer
        level += 1
    yield from groups


def _shorten(lengths: array[int], numbers: Iterable[int], length: int) -> None:
    for number in numbers:
        lengths[number] -= length
