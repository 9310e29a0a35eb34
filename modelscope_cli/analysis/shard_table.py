"""The table of shards: what each file of a set holds, and whether they have to be merged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelscope_cli.core.checkpoint import FileRecord
from modelscope_cli.report.document import READABLE, Bytes, Column, Count, Ratio, Row, Table

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview

MOST_SHARDS = 12  # shards listed to people; of more the first eight and the last four


def shard_table(overview: Overview, detail: str) -> Table | None:
    """A line a shard: what it holds."""
    checkpoint = overview.checkpoint
    files = checkpoint.shards
    if len(files) < 2:
        return None
    unlisted = checkpoint.format == "gguf" or any(note.code == "no-index" for note in checkpoint.notes)
    by = "by their names" if unlisted else "through the index"
    caption = f"no merge is needed: loaders read all shards {by}"
    if overview.ledger.ownership.spread:
        caption = "a tensor that lies in several shards is counted in each, its parameters and bytes where they are"
    numbers = {id(file): number for number, file in enumerate(checkpoint.files)}
    if len(files) > MOST_SHARDS and detail == READABLE:
        rows = [shard_row(overview, file, numbers[id(file)]) for file in files[: MOST_SHARDS - 4]]
        rows.append(Row((f"({len(files) - MOST_SHARDS:,} more)", None, None, None, None, None), mark="more"))
        rows += [shard_row(overview, file, numbers[id(file)]) for file in files[-4:]]
        caption += "; --by shard -n 0 lists all"
    else:
        rows = [shard_row(overview, file, numbers[id(file)]) for file in files]
    columns = (
        Column("file", "Shard", yields=0.4),
        Column("holds", "Holds", show_from=74, yields=0.8),
        Column("tensors", "Tensors"),
        Column("parameters", "Params"),
        Column("bytes", "Bytes"),
        Column("file_share", "% file"),
    )
    return Table("shard_files", "Shards", columns, rows, caption=caption)


def shard_row(overview: Overview, file: FileRecord, number: int) -> Row:
    """What one shard, a file of that number, holds."""
    ledger = overview.ledger
    return Row(
        (
            os.path.basename(file.path),
            contents([ledger.names[line] for line in file.tensors]),
            Count(len(file.tensors)),
            Count(ledger.inside(number)[0]),
            Bytes(file.nbytes),
            Ratio(file.nbytes / overview.nbytes),
        )
    )


def contents(names: list[str]) -> str:
    """What a shard holds, in a line: numbered layers as ranges, the rest by module."""
    layers: dict[str, set[int]] = {}
    others: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for position, part in enumerate(parts):
            if part.isdecimal():
                layers.setdefault(".".join(parts[:position]), set()).add(int(part[:9]))
                break
        else:
            others[parts[-2] if len(parts) > 1 else name] = None
    written = [f"{path.rpartition('.')[2]} {_ranges(sorted(numbers))}" for path, numbers in layers.items()]
    named = list(others)[:4] + (["…"] if len(others) > 4 else [])
    return ", ".join(written[:3] + named)


def _ranges(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return str(first)
    return (
        f"{first}–{last}"
        if last - first == len(numbers) - 1
        else ", ".join(map(str, numbers[:4])) + ("…" if len(numbers) > 4 else "")
    )
