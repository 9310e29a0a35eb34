"""What lies in the folder that was named: every file under what it is for, adding up to the folder."""

from __future__ import annotations

import re

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.folder import ALIAS, RUN, STEP, FolderEntry
from modelscope_cli.core.place import SEPARATOR
from modelscope_cli.report.document import BOTH, MACHINES, PEOPLE, READABLE, Bytes, Column, Count, Row, Table

MOST_STEPS = 6  # of a training, shown to people: the last ones
MOST_NAMES = 6  # in a line
MOST_LISTED = 1_000  # names of one row for programs; the rest is counted
_NUMBER = re.compile(r"\d+")
_CHECKSUM = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33,57}\b")  # of a revision or a blob


def folder_table(checkpoint: Checkpoint, detail: str) -> Table | None:
    """A line a purpose, and the total; None where no folder was named."""
    folder = checkpoint.in_folder
    if folder is None or not folder.entries:
        return None
    entries = list(folder.entries)
    title = "In this archive" if folder.path.endswith(SEPARATOR[0]) else "In this folder"
    several_of = {what: sorted((entry for entry in entries if entry.what == what), key=_step) for what in (STEP, RUN)}
    rows = []
    for entry in entries:
        if entry.what not in several_of:
            rows.append(_row(entry))
        else:
            rows += _steps(several_of[entry.what], detail)
            several_of[entry.what] = []
    rows.append(Row(("TOTAL", "TOTAL", False, Count(folder.files), Bytes(folder.nbytes), None, [], None), mark="total"))
    several = any(entry.why for entry in entries)
    columns = (
        Column("label", title, audience=PEOPLE),
        Column("what", audience=MACHINES),
        Column("used", audience=MACHINES),
        Column("files", "Files"),
        Column("bytes", "Bytes"),
        Column("which", "Which", audience=PEOPLE),
        Column("names", audience=MACHINES),
        Column("why", "Why", show_from=74, yields=0.9, audience=BOTH if several else MACHINES),
    )
    return Table("in_folder", title, columns, rows)


def _row(entry: FolderEntry) -> Row:
    label = f"{entry.what} (used)" if entry.used else entry.what
    names = list(entry.names[:MOST_LISTED])
    files = None if entry.what == ALIAS else Count(entry.files)
    return Row((label, entry.what, entry.used, files, Bytes(entry.nbytes), shown(entry.names), names, entry.why or None))


def _steps(steps: list[FolderEntry], detail: str) -> list[Row]:
    """Steps or runs one by one, the last first; to people no more than can be read."""
    few = steps[::-1] if detail != READABLE or len(steps) <= MOST_STEPS else steps[:-MOST_STEPS:-1]
    rows = [_row(entry) for entry in few]
    rest = steps[: len(steps) - len(few)]
    if rest:
        files, nbytes = sum(entry.files for entry in rest), sum(entry.nbytes for entry in rest)
        names = shown(tuple(name for entry in rest for name in entry.names))
        label = f"({len(rest):,} more {'runs' if rest[0].what == RUN else 'steps'})"
        rows.append(Row((label, None, False, Count(files), Bytes(nbytes), names, [], None), mark="more"))
    return rows


def _step(entry: FolderEntry) -> tuple[list[int], str]:
    name = entry.names[0] if entry.names else ""
    return [int(digits[:18]) for digits in _NUMBER.findall(name)], name


def shown(names: tuple[str, ...]) -> str:
    """Names in a line; those that differ only by a number are one, with * for it and how many there are."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        alike.setdefault((name,) if _CHECKSUM.search(name) else tuple(_NUMBER.split(name)), []).append(name)
    patterns = [starred(several) for several in alike.values()]
    more = sum(len(several) for several in list(alike.values())[MOST_NAMES:])
    line = ", ".join(map(shortened, patterns[:MOST_NAMES]))
    return line + (f", … {more:,} more" if more else "")


def shortened(name: str) -> str:
    """A name without the length of the checksums in it."""
    return _CHECKSUM.sub(r"\1…", name)


def starred(names: list[str]) -> str:
    """`a-1.bin`, `a-2.bin` as `a-*.bin ×2`: numbers in which all agree stay."""
    if len(names) == 1:
        return names[0]
    columns = list(zip(*[_NUMBER.findall(name) for name in names], strict=True))
    texts = _NUMBER.split(names[0])
    middle = [column[0] if len(set(column)) == 1 else "*" for column in columns]
    return texts[0] + "".join(number + text for number, text in zip(middle, texts[1:], strict=True)) + f" ×{len(names):,}"
