"""Data of HDF5 that lies in other files: whoever opens the file reads those, too, whatever they are.

    External Data Files message (7)    01 0 0 0 | slots allocated: 2 bytes | used: 2 | address of a local heap, which has the names
                                       of each: name in the heap | offset | size        raw bytes of any file taken for a dataset
    Link message (6), external         01 | flags | 40 | … | length and name of the link | length: 2 bytes | 00 | file 00 | object 00
    Data Layout message (8), virtual   04 or 05 | 03 | address of a global heap | index      a dataset put together from those of other files

Objects are not walked to: the messages are searched for, and counted where all that they say fits together (addresses that lead to a
heap, lengths that add up). Addresses are as wide as the superblock says. A user block shifts them.

Facts: HDF5 File Format Specification 3.0, III.D, IV.A.2.g, h and i, VII.C; H5Olayout.c for version 5 of the layout. Keras from 3.13 on
refuses such datasets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_graphs import leads_out

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # and its doubles: where the superblock may stand
# Behind the three kinds of headers that messages have: their type, size and flags, and then noughts, nothing or a number.
EXTERNAL = re.compile(rb"\x07(?:\0...\0\0\0|...|.....)\x01\0\0\0(?=(?:[^\0].|\0[^\0]){2})", re.DOTALL)
LINK = re.compile(
    rb"\x01(?:[\x08-\x0b]|[\x0c-\x0f](?=\x40.{8})|[\x18-\x1b](?=\x40[\0\1])|[\x1c-\x1f](?=\x40.{8}[\0\1]))\x40", re.DOTALL
)
VIRTUAL = re.compile(rb"\x03(?<=[\x04\x05]\x03)(?=.{2,8}\0)", re.DOTALL)
LOCAL_HEAP, GLOBAL_HEAP = b"HEAP", b"GCOL"
LONGEST = 4_096  # bytes of a name
MOST_NAMES = 1_000
MOST_SLOTS = 1_000  # of one message that are looked at
MOST_CANDIDATES = 1_000_000  # bytes that read like the beginning of a message
MOST_LOOKS = 100_000  # addresses that are followed
SHOWN, MOST_TOLD = 120, 4
RAW, LINKED, PUT_TOGETHER = "the data of a dataset lie in", "a link leads to", "the data of a virtual dataset lie in"


class Outside:
    """The other files that a file of HDF5 names."""

    def __init__(self, walk: Walk, window: Window, where: str):
        self.walk = walk
        self.window = window
        self.where = where
        self.names: dict[str, str] = {}  # file → what of it
        self.looks = MOST_LOOKS
        self.candidates = MOST_CANDIDATES
        self.lost = False  # whether there is more than could be followed
        self.base = self._superblock()
        head = self._read(self.base, 16)
        at = 9 if head[8:9] >= b"\x02" else 13
        self.wide, self.long = head[at], head[at + 1]  # bytes of an address and of a length
        self.known = self.wide in (2, 4, 8, 16) and self.long in (2, 4, 8, 16)

    def look(self, piece: bytes, base: int) -> None:
        """Look at a piece of the file that begins at `base`."""
        if not self.known:
            return
        for match in self._limited(EXTERNAL.finditer(piece)):
            self._external(piece, match.end() - 4, base)
        for match in self._limited(LINK.finditer(piece)):
            self._link(piece, match.start(), base)
        for match in self._limited(VIRTUAL.finditer(piece)):
            self._virtual(piece, match.end())

    def _limited(self, matches: Iterator[re.Match[bytes]]) -> Iterator[re.Match[bytes]]:
        for match in matches:
            if not self.candidates:
                self.lost = True
                return
            self.candidates -= 1
            yield match

    def tell(self) -> None:
        """Say what was found. Files of HDF5 beside it are ordinary; no model keeps bytes of a dataset in a file of another kind."""
        out = {name: wrong for name in self.names if (wrong := leads_out(name))}
        for name, wrong in list(out.items())[:MOST_TOLD]:
            more = f", and {len(out) - MOST_TOLD:,} more" if len(out) > MOST_TOLD else ""
            self.walk.sign("external-path", self.where, f"{self.names[name]} {name[:SHOWN]!r}, {wrong}{more}")
        beside = [name for name in self.names if name not in out]
        if beside:
            told = ", ".join(repr(name[:SHOWN]) for name in beside[:MOST_TOLD])
            quiet = all(self.names[name] != RAW for name in beside)
            self.walk.unseen(self.where, f"files beside it that hold data of it: {told}", quiet=quiet)
        if self.lost:
            self.walk.unseen(self.where, "data of it in other files, more of them than are followed")

    def _superblock(self) -> int:
        at = 0
        while at + len(SIGNATURE) <= self.window.size:
            if self._read(at, 8) == SIGNATURE:
                return at
            at = at * 2 or USER_BLOCK
        return 0

    def _read(self, at: int, size: int) -> bytes:
        found = self.window.read(at, max(0, min(size, self.window.size - at))) if 0 <= at < self.window.size else b""
        return found.ljust(size, b"\0")

    def _note(self, raw: bytes, how: str) -> None:
        name = raw.decode("utf-8", "replace")
        if len(self.names) >= MOST_NAMES:
            self.lost = True
        elif name and self.names.get(name) != RAW:
            self.names[name] = how

    def _heap(self, piece: bytes, at: int, signature: bytes) -> int:
        """Where the heap is whose address stands there; -1 where there is none."""
        address = piece[at : at + self.wide]
        place = self.base + int.from_bytes(address, "little")
        if len(address) < self.wide or place + 16 > self.window.size:
            return -1
        if not self.looks:
            self.lost = True
            return -1
        self.looks -= 1
        return place if self.window.read(place, 4) == signature else -1

    def _external(self, piece: bytes, at: int, base: int) -> None:
        slots, used = (int.from_bytes(piece[at + place : at + place + 2], "little") for place in (4, 6))
        if not 0 < used <= slots:
            return
        heap = self._heap(piece, at + 8, LOCAL_HEAP)
        if heap < 0:
            return
        names = self.base + int.from_bytes(self._read(heap + 8 + 2 * self.long, self.wide), "little")
        each = 3 * self.long
        listed = self._read(base + at + 8 + self.wide, each * used)
        for slot in range(0, len(listed), each):
            place = names + int.from_bytes(listed[slot : slot + self.long], "little")
            self._note(self._read(place, LONGEST).partition(b"\0")[0], RAW)

    def _link(self, piece: bytes, at: int, base: int) -> None:
        flags = piece[at + 1]
        place = at + 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(piece[place : place + width], "little")
        if not 0 < length <= LONGEST:
            return
        place += width + length
        if base + place + 2 > self.window.size:
            return
        told = int.from_bytes(self._read(base + place, 2), "little")
        kept = self._read(base + place + 2, told) if 4 <= told <= self.window.size - base - place - 2 else b""
        if kept[:1] == b"\0" and kept[-1:] == b"\0" and kept.count(b"\0", 1) == 2:
            self._note(kept[1:].partition(b"\0")[0], LINKED)

    def _virtual(self, piece: bytes, at: int) -> None:
        heap = self._heap(piece, at, GLOBAL_HEAP)
        index = int.from_bytes(piece[at + self.wide : at + self.wide + 4], "little")
        if heap < 0 or not 0 < index < 1 << 16:
            return
        end = heap + int.from_bytes(self._read(heap + 8, self.long), "little")
        place = heap + 8 + self.long
        for _ in range(MOST_SLOTS):
            head = self._read(place, 8 + self.long)
            size = int.from_bytes(head[8:], "little")
            if place >= end or not size:
                return
            if int.from_bytes(head[:2], "little") == index:
                self._sources(self._read(place + 8 + self.long, min(size, 1 << 20)))
                return
            place += 8 + self.long + size + -size % 8

    def _sources(self, block: bytes) -> None:
        """The names in a block of a virtual dataset: version, count, then of each the file, the dataset and two selections."""
        at = 1 + self.long
        if block[:1] != b"\0":
            self.lost = True
            return
        for _ in range(int.from_bytes(block[1:at], "little")):
            name, _, rest = block[at : at + 2 * LONGEST].partition(b"\0")
            dataset, ended, _ = rest.partition(b"\0")
            at += len(name) + len(dataset) + 2
            if name != b".":
                self._note(name, PUT_TOGETHER)
            for _ in range(2):
                at += self._selection(block, at) if ended else len(block)
            if at >= len(block) or self.lost:
                self.lost = self.lost or at > len(block)
                return

    def _selection(self, block: bytes, at: int) -> int:
        """The length of a selection of elements: its kind, its version, and what these say stands there (H5Shyper.c, H5Sall.c)."""
        kind, version = (int.from_bytes(block[place : place + 4], "little") for place in (at, at + 4))
        if version == 1:
            return 16 + (int.from_bytes(block[at + 12 : at + 16], "little") if kind in (1, 2) else 0)
        if version == 2 and kind == 2:
            return 13 + int.from_bytes(block[at + 9 : at + 13], "little")
        self.lost = True
        return 0
