"""Ties of two checkpoints, made comparable: the same owner on both sides, whichever name a writer happened to put first."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.ledger import Ledger


class Books(NamedTuple):
    """The columns of a ledger that depend on who owns what is tied."""

    owned: list[int]
    parameters: list[int]
    nbytes: list[int]
    tied: dict[int, int]


def settle(old: Ledger, new: Ledger, partner: list[int], origin: list[int]) -> tuple[Books, Books]:
    """The books of both sides, with what is tied given to a name that both sides have and, if it can be, that owns it in both.

    `partner[i]` is the new line of old line i, `origin[j]` the other way round, or -1. Sums stay what they were, and nothing
    depends on which side is the old one.
    """
    books = tuple([Books(side.owned, side.parameters, side.nbytes, side.tied) for side in (old, new)])
    if old.tied == new.tied and old.names == new.names:
        return books[0], books[1]

    def rank(pair: tuple[int, int]) -> tuple[bool, int, list[str]]:
        first, second = pair
        owns = (first >= 0 and first not in old.tied) + (second >= 0 and second not in new.tied)
        names = [old.names[first] if first >= 0 else "", new.names[second] if second >= 0 else ""]
        return first < 0 or second < 0, -owns, sorted(names)

    settled = []
    for which, (side, mine) in enumerate(zip((old, new), books, strict=True)):
        changed = Books(mine.owned[:], mine.parameters[:], mine.nbytes[:], dict(mine.tied)) if side.tied else mine
        groups: dict[int, list[int]] = {}
        for line, owner in side.tied.items():
            groups.setdefault(side.tied.get(owner, owner), []).append(line)
        for owner, lines in groups.items():
            pairs = [(line, partner[line]) if which == 0 else (origin[line], line) for line in (owner, *lines)]
            best = min(pairs, key=rank)[which]
            if best != owner:
                for column in changed[:3]:
                    column[owner], column[best] = column[best], column[owner]
            changed.tied.update(dict.fromkeys((owner, *lines), best))
            del changed.tied[best]
        settled.append(changed)
    return settled[0], settled[1]
