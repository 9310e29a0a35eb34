"""NumPy's .npy: an array of objects is a pickle behind the header, which numpy.load(allow_pickle=True) runs.

    "\\x93NUMPY" major minor | header length: 2 bytes (version 1) or 4 | {'descr': …, 'fortran_order': …, 'shape': …} | data

Facts: numpy/lib/_format_impl.py.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import Window

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LONGEST_HEADER = 1 << 16
NEWEST_VERSION = 3
DEEPEST = 16  # structured types in one another
PLAIN = re.compile(
    rb"""\s*\{\s*'descr':\s*(?:'[<>|=]?([a-zA-Z?])(\d*)(?:\[\w+\])?'|[\[(].*[\])]),\s*'fortran_order':\s*(?:True|False),"""
    rb"""\s*'shape':\s*\(([\d, ]*)\),?\s*\}\s*""",
    re.DOTALL,
)
OBJECTS = re.compile(rb"""["'][|<>=]?O(?:\d+)?["']|object""")


def scan_npy(walk: Walk, window: Window, where: str) -> None:
    """Run the pickle of an array of objects; other arrays are numbers."""
    head = window.head(12)
    wide = len(head) > 6 and head[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(head[8:start], "little")
    header = window.read(start, min(length, window.size - start, LONGEST_HEADER))
    if not OBJECTS.search(header):
        if not where:
            walk.found.looked = _is_whole(head, header, window.size - start - length)
        return
    from modelscope_cli.formats.scan_pickles import Series

    walk.sign(
        "object-array", where, "an array of objects: its data is a pickle, which numpy runs where allow_pickle=True is given"
    )
    begin = start + length
    if begin < window.size:
        Series(walk, window.cut(begin, window.size - begin, window.name), where, 1, PYTHON).run()


def _is_whole(head: bytes, header: bytes, nbytes: int) -> bool:
    """Whether the header says what headers say, and as much data follows."""
    match = PLAIN.fullmatch(header)
    if match is None or not 1 <= head[6] <= NEWEST_VERSION or max(header.count(b"["), header.count(b"(")) > DEEPEST:
        return False
    if match[1] is None or not match[2]:
        return True
    width = int(match[2][:6]) * (4 if match[1] == b"U" else 1)
    extents = [int(part) for part in match[3].replace(b" ", b"").split(b",") if part and len(part) < 20]
    return width * prod(extents) <= nbytes
