"""Reads printed tables back: columns by where their titles stand, trees by their guides."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

TITLES = ("Params", "%", "Bytes", "% file")
FIGURE = re.compile(r"\d[\d,]*")
GUIDE = re.compile(r"((?:│ | {2})*)(?:├ |└ )")


class PrintedRow(NamedTuple):
    """A row as printed: figures are None where the cell is empty; shares are in per cent."""

    level: int
    label: str
    parameters: int | None
    parameter_share: float | None
    nbytes: int
    file_share: float


def width(text: str) -> int:
    """Cells that the text takes on a terminal."""
    return sum(map(cells, text))


def cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def spread(line: str) -> str:
    """The line with a blank behind every character of double width and without marks of none: one character a cell."""
    return "".join(character + " " * (cells(character) - 1) for character in line if cells(character))


def blocks(page: str) -> list[list[str]]:
    """The lines of a page between its empty lines: the header, the main table, the small tables."""
    return [block.split("\n") for block in page.strip("\n").split("\n\n")]


def rows(lines: list[str]) -> list[PrintedRow]:
    """The rows of a table under its line of titles; its caption, which has no figure under Bytes, is left out."""
    ends, start = {}, spread(lines[0]).index("Params")
    for title in TITLES:
        start = spread(lines[0]).index(title, start)
        ends[title] = start = start + len(title)
    read = []
    for line in lines[1:]:
        text = spread(line).ljust(ends["% file"])
        cell = {title: _ending_at(text, end) for title, end in ends.items()}
        if not FIGURE.fullmatch(cell["Bytes"]):
            continue
        guide = GUIDE.match(line)
        label = re.split(r"\s{2,}", text[len(guide[0]) if guide else 0 :])[0]
        parameters, share = cell["Params"], cell["%"]
        read.append(
            PrintedRow(
                len(guide[0]) // 2 if guide else 0,
                label,
                int(parameters.replace(",", "")) if parameters else None,
                _share(share) if share else None,
                int(cell["Bytes"].replace(",", "")),
                _share(cell["% file"]),
            )
        )
    return read


def _ending_at(text: str, end: int) -> str:
    """The word that ends at a cell: figures are set flush right under their titles."""
    return "" if text[end - 1] == " " else text[:end].rsplit(" ", 1)[-1]


def _share(text: str) -> float:
    return 0.025 if text == "<0.1" else float(text)
