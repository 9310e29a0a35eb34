"""`--by`: the same bytes divided by any key, or by several in a hierarchy, always adding up to the files.

Two sorts of things are grouped: the lines of the ledger, and the bytes outside all tensors (headers, pickle, padding,
unused data), which appear as bracketed rows under every key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from modelscope_cli.analysis.execution_order import natural
from modelscope_cli.analysis.kinds import OTHER, Kind
from modelscope_cli.analysis.ledger import Ledger, unused_bytes
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.span import SECTIONS

KEYS = ("module", "kind", "dtype", "role", "layer", "shard", "storage", "tensor", "section")
SORTS = ("order", "bytes", "parameters", "tensors", "name")
UNUSED = "unused data"


class Remainder(NamedTuple):
    """Bytes of one file that no tensor owns, under one label."""

    file: int
    label: str
    nbytes: int


class Grouping:
    """Divides a checkpoint by keys. `include` and `exclude` are patterns searched in tensor names."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        include: re.Pattern[str] | None = None,
        exclude: re.Pattern[str] | None = None,
        fold: bool = True,
    ):
        self.ledger = ledger
        self.fold = fold
        self.filtered = SizeRow("[filtered out]", section=True)
        self.lines: list[int] | None = None
        if include is not None or exclude is not None:
            self.lines = self._matching(include, exclude)
        self.remainders = remainders(ledger)
        self._module_labels: dict[int, tuple[str, Kind]] | None = None

    def _matching(self, include: re.Pattern[str] | None, exclude: re.Pattern[str] | None) -> list[int]:
        kept: list[int] = []
        ledger = self.ledger
        for index, name in enumerate(ledger.names):
            if (include is None or include.search(name)) and not (exclude is not None and exclude.search(name)):
                kept.append(index)
            else:
                self.filtered.add(_line(ledger, index))
        return kept

    def rows(self, keys: list[str]) -> list[SizeRow]:
        """The rows under the first key, with those under the following keys inside. Their sum is the size of the files."""
        rows = self._grouped(self.lines, self.remainders, keys)
        if self.filtered.tensors:
            rows.append(self.filtered)
        return rows

    def labels(self) -> dict[int, tuple[str, Kind]]:
        """Module path and kind of every line, from the tree of all lines: a part of a module would look like another kind."""
        if self._module_labels is None:
            self._module_labels = ModuleTree(self.ledger, fold=self.fold).labels()
        return self._module_labels

    def _grouped(self, lines: list[int] | None, rest: list[Remainder], keys: list[str]) -> list[SizeRow]:
        key, deeper = keys[0], keys[1:]
        if key == "module" and not deeper:
            labels = self.labels() if lines is not None else None
            return ModuleTree(self.ledger, lines, fold=self.fold, labels=labels).rows + section_rows(rest)
        label_of = self._labels(key, lines)
        buckets: dict[str, list[int]] = {}
        kinds: dict[str, Kind] = {}
        for index in range(len(self.ledger)) if lines is None else lines:
            label, kind = label_of(index)
            members = buckets.get(label)
            if members is None:
                members = buckets[label] = []
                if kind is not None:
                    kinds[label] = kind
            members.append(index)
        outside: dict[str, list[Remainder]] = {}
        for remainder in rest:
            outside.setdefault(self._outside_label(key, remainder), []).append(remainder)
        rows = [
            self._row(label, kinds.get(label), members, outside.pop(label, []), deeper) for label, members in buckets.items()
        ]
        for label, left in outside.items():
            bracket = label.startswith("[")
            row = SizeRow(label, nbytes=sum(remainder.nbytes for remainder in left), section=bracket)
            if deeper and not bracket and key != "section":
                row.children = section_rows(left)
            rows.append(row)
        return rows

    def _row(self, label: str, kind: Kind | None, members: list[int], rest: list[Remainder], deeper: list[str]) -> SizeRow:
        row = SizeRow(label)
        if kind is not None:
            row.kind = kind
        ledger = self.ledger
        row.tensors = len(members)
        row.parameters = sum([ledger.parameters[i] for i in members])
        row.elements = sum([ledger.owned[i] for i in members])
        row.nbytes = sum([ledger.nbytes[i] for i in members]) + sum(remainder.nbytes for remainder in rest)
        if len(members) == 1 and members[0] in ledger.tied:
            row.tied = ledger.names[ledger.tied[members[0]]]
        if deeper:
            row.children = self._grouped(members, rest, deeper)
        elif rest:
            inside = SizeRow("tensors", tensors=row.tensors, parameters=row.parameters, elements=row.elements)
            inside.nbytes = row.nbytes - sum(remainder.nbytes for remainder in rest)
            row.children = [inside, *section_rows(rest)]
        return row

    def _outside_label(self, key: str, remainder: Remainder) -> str:
        if key == "shard":
            return os.path.basename(self.ledger.checkpoint.files[remainder.file].path)
        if key == "section":
            return remainder.label
        return f"[{remainder.label}]"

    def _labels(self, key: str, lines: list[int] | None) -> Callable[[int], tuple[str, Kind | None]]:
        """A function from a line to its label under a key, and the kind to show with it."""
        ledger = self.ledger
        tensors = ledger.checkpoint.tensors
        if key == "dtype":
            packed = any([dtype.block != 1 for dtype in ledger.dtypes])
            return lambda index: (ledger.dtypes[index].name, _width(ledger.dtypes[index]) if packed else None)
        if key == "role":
            return lambda index: (ledger.roles[index], None)
        if key == "tensor":
            return lambda index: (
                ledger.names[index] or "(the object itself)",
                Kind(ledger.dtypes[index].name, _times(ledger, index), "other", False),
            )
        if key == "layer":
            return lambda index: (layer_of(ledger.names[index]), None)
        if key == "section":
            return lambda index: ("data", None)
        if key == "shard":
            return lambda index: (shard_of(ledger, index), None)
        if key == "storage":

            def storage(index: int) -> tuple[str, Kind | None]:
                where = tensors.storages[index] if index < len(tensors) else -1
                if where < 0:
                    return "(no storage)", None
                shard = (
                    f"{os.path.basename(tensors.filenames[tensors.storage.files[where]])}:"
                    if len(tensors.filenames) > 1
                    else ""
                )
                return f"{shard}{tensors.storage.keys[where]}", None

            return storage
        labels = self.labels()
        if key == "kind":
            return lambda index: (
                (labels[index][1].name or "other", Kind("", "", labels[index][1].category))
                if index in labels
                else ("optimizer state", None)
            )
        return lambda index: (
            (labels[index][0] or "(top level)", labels[index][1]) if index in labels else ("optimizer state", None)
        )


def _line(ledger: Ledger, index: int) -> SizeRow:
    return SizeRow(
        "", tensors=1, parameters=ledger.parameters[index], elements=ledger.owned[index], nbytes=ledger.nbytes[index]
    )


def _times(ledger: Ledger, index: int) -> str:
    return " × ".join(f"{extent:,}" for extent in ledger.shapes[index]) or "scalar"


def file_of(ledger: Ledger, index: int) -> int:
    """The number of the file that holds the data of a line, or -1."""
    tensors = ledger.checkpoint.tensors
    if index >= len(tensors):
        return -1
    storage = tensors.storages[index]
    if storage < 0 and index in tensors.parts:
        storage = tensors.parts[index][0].storage
    return tensors.storage.files[storage] if storage >= 0 else -1


def shard_of(ledger: Ledger, index: int) -> str:
    """The name of the file that holds a line; of a tensor in pieces those of its first and last."""
    files = ledger.checkpoint.files
    held = list(ledger.ownership.spread.get(index, ())) or [file_of(ledger, index)]
    if held[0] < 0:
        return "(no data)"
    named = [os.path.basename(files[number].path) for number in (held[0], held[-1])]
    return named[0] if len(held) == 1 else f"{named[0]} {'and' if len(held) == 2 else 'to'} {named[1]}"


def layer_of(name: str) -> str:
    """The module path up to the first number: model.layers.7; for names without one, the module."""
    parts = name.split(".")
    for position, part in enumerate(parts[:-1]):
        if part.isdecimal():
            return ".".join(parts[: position + 1])
    return ".".join(parts[:-1]) or name or "(the object itself)"


def remainders(ledger: Ledger) -> list[Remainder]:
    """All bytes of the files that no tensor owns."""
    found: list[Remainder] = []
    unused = unused_bytes(ledger)
    for number, byte_map in enumerate(ledger.checkpoint.byte_maps):
        totals = byte_map.totals()
        found += [Remainder(number, label, totals[label]) for label in SECTIONS if label != "data" and label in totals]
        if unused[number]:
            found.append(Remainder(number, UNUSED, unused[number]))
    return found


def section_rows(rest: list[Remainder]) -> list[SizeRow]:
    """One bracketed row a label, over all files."""
    sums: dict[str, int] = {}
    for remainder in rest:
        sums[remainder.label] = sums.get(remainder.label, 0) + remainder.nbytes
    return [SizeRow(f"[{label}]", nbytes=nbytes, section=True) for label, nbytes in sums.items()]


def sort(rows: list[SizeRow], by: str, *, reverse: bool = False) -> list[SizeRow]:
    """Rows in an order, at every level; bracketed rows stay last. Sizes go from large to small unless reversed."""
    if by not in SORTS:
        raise ValueError(f"rows are sorted by {', '.join(SORTS)}, not by {by!r}")
    inside = [row for row in rows if not row.section]
    outside = [row for row in rows if row.section]
    if by == "name":
        inside.sort(key=lambda row: natural(row.label), reverse=reverse)
    elif by == "order":
        if reverse:
            inside.reverse()
    else:
        figure: Callable[[SizeRow], int] = {
            "bytes": lambda r: r.nbytes,
            "parameters": lambda r: r.parameters,
            "tensors": lambda r: r.tensors,
        }[by]
        inside.sort(key=figure, reverse=not reverse)
    for row in inside:
        if row.children:
            row.children = sort(row.children, by, reverse=reverse)
    return inside + outside


def trim(rows: list[SizeRow], levels: int, most: int) -> list[SizeRow]:
    """Rows down to `levels`, at most `most` beside each other (0 = all); the rest of each list in one row."""
    kept: list[SizeRow] = []
    plain = [row for row in rows if not row.section]
    outside = [row for row in rows if row.section]
    for row in plain[:most] if most else plain:
        kept.append(row.holding(trim(row.children, levels - 1, most) if levels > 1 else []) if row.children else row)
    left = plain[most:] if most else []
    if left:
        rest = SizeRow(f"({len(left):,} more)")
        for row in left:
            rest.add(row)
        kept.append(rest)
    return kept + outside


def _width(dtype: DType) -> Kind | None:
    """What an element of a dtype takes, where the details of a kind would stand."""
    return None if dtype.width is None else Kind("", f"{dtype.width:g} bits each", OTHER, inferred=False)
