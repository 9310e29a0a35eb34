"""A page that must not be longer than so many bytes: parts inside parts, lines of unlike weight, and a word on what is missing.

Comments have a limit, and beyond it the server refuses all of it. Lines are let in by priority, and by their order where that
is equal; a part (a table, a folded section, all about a file) costs its frame with the first line it gets. So whatever is
left out, every table has its head and every <details> its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

FILE, SECTION = "file", "section"
NOTICE_ROOM = 200  # bytes kept free for the last line


class Line(NamedTuple):
    """A line with its line end. Those of the lowest `priority` are let in first."""

    text: str
    priority: int


class Part(NamedTuple):
    """Lines and parts in a frame. `noun`: what is missing where all of it is. `gap` stands for {} lines that are left out."""

    head: str
    inside: Sequence[Line | Part]
    tail: str = ""
    noun: str = ""
    gap: str = ""


def fit(page: Part, most_bytes: int) -> str:
    """The page, or as much of it as fits, with a last line that counts what was left out."""
    everything = "".join(_written(page, None)).rstrip("\n") + "\n"
    if _size(everything) <= most_bytes:
        return everything
    kept = _chosen(page, most_bytes - NOTICE_ROOM)
    missing = _counted(page, kept)
    notice = f"*{_listed(missing)} left out to fit {_limit(most_bytes)}; the html and json reports have all.*\n"
    text = "".join(_written(page, kept)) + notice
    return text if _size(text) <= most_bytes else notice.strip("*\n")[: max(0, most_bytes)]


def _chosen(page: Part, room: int) -> set[int]:
    """The ids of the lines that are let in and of the parts that hold some."""
    kept: set[int] = set()
    full: set[tuple[int, int]] = set()
    for line, around in sorted(_lines(page, ()), key=lambda pair: pair[0].priority):
        owner = id(around[-1])
        if (owner, line.priority) in full:
            continue
        new = [part for part in around if id(part) not in kept]
        cost = _size(line.text) + sum(
            _size(part.head) + _size(part.tail) + _size(part.gap) + 12 * bool(part.gap) for part in new
        )
        if cost > room:
            full.add((owner, line.priority))  # no later row of a table without the earlier ones
            continue
        room -= cost
        kept.update((id(line), *map(id, new)))
    return kept


def _lines(part: Part, around: tuple[Part, ...]) -> Iterator[tuple[Line, tuple[Part, ...]]]:
    around = (*around, part)
    for item in part.inside:
        if isinstance(item, Line):
            yield item, around
        else:
            yield from _lines(item, around)


def _written(part: Part, kept: set[int] | None) -> Iterator[str]:
    """The text of what is kept, or of everything."""
    if kept is not None and id(part) not in kept:
        return
    yield part.head
    missing = sum(isinstance(item, Line) and id(item) not in kept for item in part.inside) if kept is not None else 0
    for item in part.inside:
        if isinstance(item, Part):
            yield from _written(item, kept)
        elif kept is None or id(item) in kept:
            yield item.text
        elif missing:
            yield part.gap.format(f"{missing:,}")
            missing = 0
    yield part.tail


def _counted(part: Part, kept: set[int]) -> dict[str, int]:
    """How many files, sections and rows are left out; those inside of something left out are not counted again."""
    if id(part) not in kept and part.noun:
        return {part.noun: 1}
    counts: dict[str, int] = {}
    for item in part.inside:
        found = _counted(item, kept) if isinstance(item, Part) else {"row": int(id(item) not in kept)}
        for noun, count in found.items():
            counts[noun] = counts.get(noun, 0) + count
    return counts


def _listed(counts: dict[str, int]) -> str:
    """3 files, 2 sections and 312 rows."""
    words = [f"{counts[noun]:,} {noun}{'s' * (counts[noun] != 1)}" for noun in (FILE, SECTION, "row") if counts.get(noun)]
    return " and ".join([part for part in (", ".join(words[:-1]), words[-1] if words else "") if part])


def _limit(most_bytes: int) -> str:
    return f"{most_bytes // 1000} kB" if most_bytes % 1000 == 0 else f"{most_bytes:,} bytes"


def _size(text: str) -> int:
    return len(text.encode())
