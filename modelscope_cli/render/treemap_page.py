"""A Treemap as one page that needs nothing else: no network, no library, no server.

The page is data, a style and a script; `component`, `style` and `script` are the parts for a page that holds more. Names
from files reach the reader only as text: escaped here, and put in place there by textContent and fillText. The data is JSON:

    words   every name, kind and dtype once          names   of children: runs of positions in words, or n for "0" … "n-1"
    kinds   [category, kind, detail, inferred]       types   of tensors: [category, role, dtype, bits, counted]
    nodes   [kind, names, …runs of children] a module; [-1 - type, …shape] a tensor; [kind] bytes outside the tensors
    figures {node: [parameters, bytes]} where they do not follow from the shape

A run is three numbers, first, step and count: 7, 0, 3 is 7 7 7 and 7, 1, 3 is 7 8 9.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import Any, NamedTuple

import msgspec

from modelscope_cli.render.palette import BESIDE_COLOURS, CATEGORY_COLOURS, category_name
from modelscope_cli.render.plain import visible
from modelscope_cli.report.treemap import Node, Treemap

CATEGORIES = {key: (category_name(key), colour) for key, colour in (CATEGORY_COLOURS | BESIDE_COLOURS).items()}
COUNTED = ("weight", "bias")  # roles whose elements are parameters
LARGEST = 1 << 63  # number in the data; a larger extent, which is a lie, is given in letters

SCRIPTS = ("model", "layout", "words", "paint", "find", "view")  # files of one script, in this order

IN_MARKUP = re.compile(b"[<>&]")  # of which </script> and <!-- are made; line separators are made visible before


class Start(NamedTuple):
    """What a map shows first. `path` is a module's; `theme` light or dark, None as the reader's system has it."""

    path: str = ""
    view: str = "treemap"  # or icicle
    by: str | None = None  # parameters or bytes; None: parameters where there are any
    theme: str | None = None


FIRST = Start()


def page(treemap: Treemap, start: Start = FIRST, *, unit: str = "auto") -> bytes:
    """One self-contained HTML file. `unit`: auto and iec are KiB of 1,024 bytes, si is kB of 1,000, bytes are bytes."""
    styles, scripts = style(), script()
    policy = (
        f"default-src 'none'; script-src '{_digest(scripts)}'; style-src '{_digest(styles)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    filled = Template(_file("page.html")).substitute(
        policy=policy,
        title=html.escape(f"{visible(treemap.title)} · treemap"),
        style=styles,
        component=component(treemap, start, unit=unit, linked=True),
        script=scripts,
    )
    return filled.encode()


def component(treemap: Treemap, start: Start = FIRST, *, unit: str = "auto", linked: bool = False) -> str:
    """The map for a place in a page that has `style()` and `script()`. A `linked` one follows the page's address; one may."""
    data = IN_MARKUP.sub(lambda match: b"\\u%04x" % ord(match[0]), msgspec.json.encode(payload(treemap, start, unit=unit)))
    return (
        f'<section class="mscope-treemap"{" data-linked" if linked else ""}>'
        f'<script type="application/json">{data.decode()}</script>'
        "<noscript>The map is drawn by a script in this page, and scripts are switched off.</noscript></section>"
    )


@cache
def style() -> str:
    """The style sheet of all maps in a page."""
    return _file("treemap.css")


@cache
def script() -> str:
    """The script of all maps in a page: the layouts of d3-hierarchy under their licence, and our own."""
    licence = _file("d3-hierarchy.LICENSE").strip()
    ours = "\n".join([_file(f"treemap_{name}.js") for name in SCRIPTS])
    return f'/* d3-hierarchy 3.1.2\n\n{licence}\n*/\n{_file("d3-hierarchy.min.js")}\n(() => {{\n"use strict";\n{ours}}})();\n'


def _file(name: str) -> str:
    return (resources.files("modelscope_cli.render") / "web" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def payload(treemap: Treemap, start: Start = FIRST, *, unit: str = "auto") -> dict[str, Any]:
    """The data of a map as plain values."""
    packed = _Packing()
    rows = [packed.row(number, node) for number, node in enumerate(treemap.nodes)]
    return {
        "schema": "mscope.treemap/1",
        "title": visible(treemap.title),
        "facts": [visible(fact) for fact in treemap.facts],
        "unit": unit,
        "start": {"path": visible(start.path), "view": start.view, "by": start.by, "theme": start.theme},
        "categories": [[key, title, colour, key in BESIDE_COLOURS] for key, (title, colour) in CATEGORIES.items()],
        "words": list(packed.words),
        "names": [list(names) if isinstance(names, tuple) else names for names in packed.names],
        "kinds": list(packed.kinds),
        "types": list(packed.types),
        "nodes": rows,
        "figures": packed.figures,
        "ties": {visible(name): visible(other) for name, other in treemap.ties.items()},
    }


class _Packing:
    """Tables that grow while nodes become rows of numbers. Each holds a value once."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.places: dict[str, int] = {}  # a word as the file has it → its position
        self.names: dict[tuple[int, ...] | int, int] = {}
        self.kinds: dict[tuple[Any, ...], int] = {}
        self.types: dict[tuple[Any, ...], int] = {}
        self.figures: dict[str, tuple[int, int]] = {}
        self.category = {key: number for number, key in enumerate(CATEGORIES)}

    def row(self, number: int, node: Node) -> list[int | str]:
        """A node as numbers."""
        category = self.category.get(node.category, self.category["other"])
        if node.shape is not None:
            return self._tensor(number, node, category)
        kind = (category, self._word(node.kind), self._word(node.detail), int(node.inferred))
        row: list[int | str] = [_position(self.kinds, kind)]
        if not node.children:
            self.figures[str(number)] = (node.parameters, node.nbytes)
            return row
        names = node.names
        if names[0] == "0" and names == tuple(map(str, range(len(names)))):
            row.append(_position(self.names, len(names)))
        else:
            row.append(_position(self.names, tuple(runs([self._word(name) for name in names]))))
        return row + runs(node.children)

    def _tensor(self, number: int, node: Node, category: int) -> list[int | str]:
        counted = node.role in COUNTED
        kind = (category, self._word(node.role), self._word(node.dtype), node.bits or 0, int(counted))
        shape = node.shape or ()
        elements = math.prod(shape)
        if node.parameters != (elements if counted else 0) or node.nbytes != (elements * (node.bits or 0) + 7) // 8:
            self.figures[str(number)] = (node.parameters, node.nbytes)
        extents = shape if elements < LARGEST else [extent if extent < LARGEST else str(extent) for extent in shape]
        return [-1 - _position(self.types, kind), *extents]

    def _word(self, text: str) -> int:
        known = self.places.get(text)
        if known is None:
            known = self.places[text] = _position(self.words, visible(text))
        return known


def runs(numbers: Sequence[int]) -> list[int]:
    """Numbers as runs of equal or consecutive ones."""
    found: list[int] = []
    first = step = count = 0
    for number in numbers:
        if count == 1 and number - first in (0, 1):
            step, count = number - first, 2
        elif count and number == first + step * count:
            count += 1
        else:
            if count:
                found += (first, step, count)
            first, step, count = number, 0, 1
    return [*found, first, step, count] if count else found


def _position(table: dict[Any, int], value: Any) -> int:
    return table.setdefault(value, len(table))
