"""NumPy's .npy: an array of objects is a pickle behind the header, which numpy.load(allow_pickle=True) runs.

    "\\x93NUMPY" major minor | header length: 2 bytes (version 1) or 4 | {'descr': …, 'fortran_order': …, 'shape': …} | data

Facts: numpy/lib/_format_impl.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import Window

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LONGEST_HEADER = 1 << 16
OBJECTS = re.compile(rb"""["'][|<>=]?O(?:\d+)?["']|object""")


def scan_npy(walk: Walk, window: Window, where: str) -> None:
    """Run the pickle of an array of objects; other arrays are numbers."""
    head = window.head(12)
    wide = len(head) > 6 and head[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(head[8:start], "little")
    header = window.read(start, min(length, window.size - start, LONGEST_HEADER))
    if not OBJECTS.search(header):
        return
    from modelscope_cli.formats.scan_pickles import Series

    walk.sign(
        "object-array", where, "an array of objects: its data is a pickle, which numpy runs where allow_pickle=True is given"
    )
    begin = start + length
    if begin < window.size:
        Series(walk, window.cut(begin, window.size - begin, window.name), where, 1, PYTHON).run()
