"""The smaller tables of a diff: renames, changes of tensors by pattern of their names, metadata, imports, shards, container."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple

from modelscope_cli.analysis import diff_words as words
from modelscope_cli.analysis.diff import Change, Diff
from modelscope_cli.analysis.diff_around import MetadataChange, Moved
from modelscope_cli.analysis.diff_words import RENAMED
from modelscope_cli.analysis.grouping import file_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview_header import TITLES
from modelscope_cli.core.name_patterns import fold, parse
from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import (
    BOTH,
    MACHINES,
    PEOPLE,
    READABLE,
    Bytes,
    BytesChange,
    Column,
    Count,
    CountChange,
    Phrase,
    Row,
    Table,
)

_FOLDABLE = re.compile(r"(?<![^.])(?:[0-9]+(?![^.])|\{)")  # a number between dots, or a brace that is written twice
HELPING = frozenset({words.HELPERS_ADDED, words.HELPERS_REMOVED})
MOST_ROWS = 24  # of tensors shown to people
MOST_SMALL = 16  # rows of the other tables shown to people


def smaller_tables(diff: Diff, detail: str, within: Collection[Change] = ()) -> list[Table]:
    """All that have rows. `within`: changes that the tree tells in one row for a whole module."""
    tables = [
        rename_table(diff, detail),
        kept(diff, "tensor_changes", detail, lambda: tensor_table(diff, detail, within)),
        metadata_table(diff, detail),
        import_table(diff, detail),
        moved_table(diff, detail),
        container_table(diff),
    ]
    return [table for table in tables if table.rows]


def kept(diff: Diff, key: str, detail: str, make: Callable[[], Table]) -> Table:
    """A table of which every detail but READABLE has all rows: made once."""
    if detail == READABLE:
        return make()
    table = diff.kept.get(key)
    if table is None:
        table = diff.kept[key] = make()
    return table


def rename_table(diff: Diff, detail: str) -> Table:
    """A line a prefix that was replaced."""
    rows = []
    for rename in diff.renames:
        before, after = pattern_of(rename.olds), pattern_of(rename.news)
        rows.append(Row((before, after, Count(len(rename.couples)))))
    columns = (Column("old", "Renamed"), Column("new", "To"), Column("tensors", "Tensors"))
    return short(Table("renames", "Renamed", columns, rows), detail)


def pattern_of(prefixes: Sequence[str]) -> str:
    """Everything under prefixes that differ in their numbers: blocks.{0-11}.attn.*"""
    patterns = fold((prefix.removesuffix("."), None) for prefix in prefixes)
    first = patterns[0][0]
    return (f"{first}.*" if any(prefixes) else "*") + (f" and {len(patterns) - 1:,} like it" if len(patterns) > 1 else "")


def tensor_table(diff: Diff, detail: str, within: Collection[Change]) -> Table:
    """What happened to tensors, those with the same fate and numbered names in a line; the largest differences first.

    For people those of whole modules are left to one line, and so are helpers that come with a weight, and what is too much to read.
    """
    short_one = detail == READABLE
    told = {id(change) for change in within} if short_one else set()
    changes = [change for change in diff.changes if id(change) not in told] if told else diff.changes
    helpers = [change for change in changes if change.aspects and HELPING.issuperset(change.aspects)] if short_one else []
    if helpers:
        changes = [change for change in changes if not (change.aspects and HELPING.issuperset(change.aspects))]
    lines = [(_names(pattern), pattern, fate) for pattern, fate in _folded(_fates(diff, changes))]
    lines.sort(key=lambda line: (-abs(line[2].nbytes * line[0]), -abs(line[2].parameters * line[0])))
    shown = MOST_ROWS - 1 if short_one and len(lines) > MOST_ROWS else len(lines)
    rows = [_tensor_row(*line) for line in lines[:shown]]
    if shown < len(lines):
        left = [(names, fate.parameters * names, fate.nbytes * names) for names, _, fate in lines[shown:]]
        rows.append(_rest(f"({len(left):,} more)", left))
    if rows and helpers:
        figures = [(1, change.parameters, change.nbytes) for change in helpers]
        rows.append(_rest("(their helpers)", figures))
    if short_one and rows and within:
        figures = [(1, change.parameters, change.nbytes) for change in within]
        rows.append(_rest("(modules as a whole)", figures))
    columns = (
        Column("name", "Tensor", yields=0.6),
        Column("change", "Change"),
        Column("tensors", "Tensors", show_from=74),
        Column("parameters_change", "± Params"),
        Column("bytes_change", "± Bytes"),
        Column("what", audience=MACHINES),
        Column("old", audience=MACHINES),
        Column("new", audience=MACHINES),
    )
    return Table("tensor_changes", "Tensors", columns, rows)


class Fate(NamedTuple):
    """What happened to a tensor. `again` keeps apart names that occur twice."""

    text: str
    what: str
    old: str
    new: str
    parameters: int
    nbytes: int
    again: int


def _fates(diff: Diff, changes: Iterable[Change]) -> Iterator[tuple[str, Fate]]:
    """(name, what happened to it)."""
    seen: dict[str, int] = {}
    known: dict[object, Fate] = {}  # of tensors that only one side has, which are many where two models have little in common
    for change in changes:
        which, line = (0, change.old or 0) if change.new is None else (1, change.new)
        ledger, tied = (diff.old, diff.new)[which], diff.books[which].tied
        name = ledger.names[line]
        again = seen.get(name, 0)
        seen[name] = again + 1
        key = None
        if not again and (change.old is None or change.new is None) and line not in tied:
            key = change.status, ledger.shapes[line], ledger.dtypes[line].name, change.parameters, change.nbytes
            if key in known:
                yield name, known[key]
                continue
        renamed = [RENAMED] if change.status == RENAMED else []
        what = ", ".join([*renamed, *change.aspects]) or change.status
        text = ", ".join([*renamed, words.tensor(diff, change)])
        sides = words.state(diff, change, 0), words.state(diff, change, 1)
        fate = Fate(text, what, *sides, change.parameters, change.nbytes, again)
        if key is not None:
            known[key] = fate
        yield name, fate


def _folded(named: Iterable[tuple[str, Fate]]) -> Iterator[tuple[str, Fate]]:
    """(pattern, fate); names in which nothing can fold need not be taken apart for it."""
    plain: list[tuple[str, Fate]] = []
    others: list[tuple[str, Fate]] = []
    for line in named:
        (others if _FOLDABLE.search(line[0]) else plain).append(line)
    plain.sort()
    return merge(plain, fold(others), key=itemgetter(0))


def _names(pattern: str) -> int:
    """How many names a pattern stands for."""
    return parse(pattern).names if "{" in pattern else 1


def _tensor_row(names: int, pattern: str, fate: Fate) -> Row:
    return Row((pattern, fate.text, Count(names), *_changes(fate.parameters * names, fate.nbytes * names), *fate[1:4]))


@lru_cache(maxsize=4096)  # thousands of rows have figures in common, which then take memory once
def _changes(parameters: int, nbytes: int) -> tuple[CountChange, BytesChange]:
    return CountChange(parameters), BytesChange(nbytes)


@lru_cache(maxsize=4096)
def _extents(shape: Shape) -> list[int]:
    return list(shape)


def _rest(label: str, figures: Sequence[Sequence[int]]) -> Row:
    """The sum of rows that are not shown."""
    tensors, parameters, nbytes = (sum(column) for column in zip(*figures, strict=True))
    return Row((label, "", Count(tensors), CountChange(parameters), BytesChange(nbytes), "", "", ""), mark="more")


def metadata_table(diff: Diff, detail: str) -> Table:
    """Values that came, went or changed, under dotted keys."""
    rows = []
    listed = [change for change in diff.metadata if not change.container]
    for change in one_sided(diff, listed) if detail == READABLE else listed:
        if isinstance(change, Row):
            rows.append(change)
        else:
            before, after = words.value(change.old), words.value(change.new)
            sides = (before if change.status != "added" else "", after if change.status != "removed" else "")
            rows.append(Row((change.key, change.status, *sides, change.old, change.new)))
    columns = (
        Column("key", "Metadata"),
        Column("status", "Change"),
        Column("old_text", "Old", audience=PEOPLE),
        Column("new_text", "New", audience=PEOPLE),
        Column("old", audience=MACHINES),
        Column("new", audience=MACHINES),
    )
    return short(Table("metadata_changes", "Metadata", columns, rows), detail)


def one_sided(diff: Diff, changes: list[MetadataChange]) -> Iterator[MetadataChange | Row]:
    """The changes, but one row for each dictionary that only one side has."""
    groups: dict[str, list[MetadataChange]] = {}
    for change in changes:
        groups.setdefault(change.key.partition(".")[0], []).append(change)
    sides = {"added": diff.old, "removed": diff.new}
    for first, members in groups.items():
        statuses = {change.status for change in members}
        status = members[0].status
        if len(members) > 2 and len(statuses) == 1 and status in sides and first not in sides[status].checkpoint.metadata:
            yield Row((f"{first}.*", f"{status}, {len(members):,} values", "", "", None, None))
        else:
            yield from members


def import_table(diff: Diff, detail: str) -> Table:
    """What loading the file with pickle would newly import, or import no longer."""
    rows = [
        Row((change.name, {"added": "newly imported", "removed": "no longer imported"}[change.status], change.harmless))
        for change in diff.imports
        if not change.harmless
    ]
    columns = (Column("name", "Imports"), Column("status", "Change"), Column("harmless", audience=MACHINES))
    return short(Table("imports", "Imports", columns, rows), detail)


def moved_table(diff: Diff, detail: str) -> Table:
    """Tensors that lie in another shard now."""

    def places(moved: Moved) -> tuple[str, tuple[str, str]]:
        return diff.new.names[moved.new], (moved.before, moved.after)

    rows = [
        Row((pattern, before, after, Count(parse(pattern).names))) for pattern, (before, after) in fold(map(places, diff.moved))
    ]
    columns = (Column("name", "Moved"), Column("old", "Old shard"), Column("new", "New shard"), Column("tensors", "Tensors"))
    return short(Table("moved", "Moved between shards", columns, rows), detail)


def container_table(diff: Diff) -> Table:
    """In what the files differ, whatever they hold."""
    rows = []
    for aspect in diff.container:
        shown = [_shown(side) for side in (aspect.old, aspect.new)]
        rows.append(Row((aspect.key, aspect.label, *shown, aspect.old, aspect.new)))
    columns = (
        Column("aspect", audience=MACHINES),
        Column("label", "Container", audience=PEOPLE, yields=0.5),
        Column("old_text", "Old", audience=PEOPLE),
        Column("new_text", "New", audience=PEOPLE),
        Column("old", audience=MACHINES),
        Column("new", audience=MACHINES),
    )
    told = {aspect.key for aspect in diff.container} <= {"outside", "unused", "stored"}  # by the rows of the tree
    return Table("container", "Container", columns, rows, audience=MACHINES if told else BOTH)


def _shown(thing: Any) -> Phrase:
    """A value among words, where a figure would not stand in a column of figures."""
    if thing is None:
        return Phrase()
    return Phrase(
        (
            thing
            if isinstance(thing, Bytes | Count)
            else TITLES.get(thing, thing)
            if isinstance(thing, str)
            else words.value(thing),
        )
    )


def short(table: Table, detail: str) -> Table:
    """The first rows of a table for people, and how many there are more."""
    if detail != READABLE or len(table.rows) <= MOST_SMALL:
        return table
    left = len(table.rows) - MOST_SMALL + 1
    return table._replace(
        rows=[*table.rows[: MOST_SMALL - 1], Row((f"({left:,} more)", *[None] * (len(table.columns) - 1)), mark="more")]
    )


def every_tensor(diff: Diff) -> Table:
    """Each tensor that is not the same, with both sides of it, for machines."""
    changed = {(change.old, change.new): change for change in diff.changes}
    couples = [couple for rename in diff.renames for couple in rename.couples if couple not in changed]
    changes = [*diff.changes, *[Change(RENAMED, (), old, new, 0, 0) for old, new in couples]]
    files = [[file.path for file in side.checkpoint.files] for side in (diff.old, diff.new)]
    aspects: dict[tuple[str, ...], list[str]] = {}
    rows = []
    for change in changes:
        sides = [
            _side(ledger, line, files[which], diff.books[which].tied)
            for which, (ledger, line) in enumerate(((diff.old, change.old), (diff.new, change.new)))
        ]
        both = [side for pair in zip(*sides, strict=True) for side in pair]
        rows.append(Row((change.status, aspects.setdefault(change.aspects, [*change.aspects]), *both, *_changes(*change[4:]))))
    keys = [f"{which}_{key}" for key in ("name", "shape", "dtype", "role", "tied_to", "file") for which in ("old", "new")]
    columns = [Column(key) for key in ("status", "aspects", *keys, "parameters_change", "bytes_change")]
    return Table("tensors", "", columns, rows, audience=MACHINES)


def _side(ledger: Ledger, line: int | None, files: list[str], tied: dict[int, int]) -> tuple[Any, ...]:
    if line is None:
        return (None,) * 6
    file = file_of(ledger, line)
    return (
        ledger.names[line],
        _extents(ledger.shapes[line]),
        ledger.dtypes[line].name,
        ledger.roles[line],
        ledger.names[tied[line]] if line in tied else None,
        files[file] if file >= 0 else None,
    )
