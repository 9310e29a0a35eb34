"""NumPy's .npy: an array of objects is a pickle behind the header, which numpy.load(allow_pickle=True) runs.

A header that is not one that numpy writes may say anything, so what follows it is run as a pickle too, and the array is not safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import Window
from modelscope_cli.formats.npy_header import may_hold_objects, read_header

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk


def scan_npy(walk: Walk, window: Window, where: str) -> None:
    """Run the pickle of an array of objects; other arrays are numbers."""
    header = read_header(window.read, window.size)
    if header.is_plain:
        missing = (header.nbytes or 0) - (window.size - header.start)
        if missing > 0:
            walk.unseen(where, f"the array lacks {missing:,} bytes of its data")
        elif not where:
            walk.found.looked = True
        return
    if header.shape is None or not may_hold_objects(header.descr):
        walk.unseen(where, "the header of the array is none that NumPy writes: what it says cannot be told")
    else:
        walk.sign(
            "object-array",
            where,
            "an array of objects: its data is a pickle, which numpy runs where allow_pickle=True is given",
        )
    if header.start < window.size:
        from modelscope_cli.formats.scan_pickles import Series

        Series(walk, window.cut(header.start, window.size - header.start, window.name), where, 1, PYTHON).run()


def is_plain(head: bytes) -> bool:
    """Whether a file that begins so, with a header as numpy writes it, is an array of numbers."""
    return read_header(lambda start, length: head[start : start + length], len(head)).is_plain
