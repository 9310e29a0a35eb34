"""HDF5 as far as a scan looks: a superblock and pieces of text, heaps and messages between noughts."""

from __future__ import annotations

from collections.abc import Callable

SIGNATURE = b"\x89HDF\r\n\x1a\n"
Piece = bytes | Callable[["Hdf5"], bytes]


class Hdf5:
    """A file whose addresses are of `wide` bytes and count from its superblock, `before` bytes behind its beginning."""

    def __init__(self, *, before: int = 0, wide: int = 8):
        self.before = before
        self.wide = wide
        self.data = bytes(before) + SIGNATURE + bytes(5) + bytes((wide, wide)) + bytes(81)

    def number(self, value: int) -> bytes:
        return value.to_bytes(self.wide, "little")

    def put(self, piece: bytes) -> int:
        """Append a piece. Returns its address."""
        self.data += bytes(-len(self.data) % 8)
        self.data += piece
        return len(self.data) - len(piece) - self.before

    def external(self, *names: str, header: bytes = b"\x07\0\x30\0\0\0\0\0") -> None:
        """A dataset whose bytes lie in other files: a heap with their names, and the message."""
        texts = b"".join(name.encode() + b"\0" for name in ("", *names))
        at = self.put(texts)
        heap = self.put(b"HEAP" + bytes(4) + self.number(len(texts)) + self.number(1) + self.number(at))
        slots = b""
        place = 1
        for name in names:
            slots += self.number(place) + self.number(0) + self.number(12)
            place += len(name.encode()) + 1
        count = len(names).to_bytes(2, "little")
        self.put(header + b"\x01\0\0\0" + count + count + self.number(heap) + slots)

    def link(self, file: str, *, flags: int = 8) -> None:
        """A link to an object of another file."""
        inside = b"\0" + file.encode() + b"\0/data\0"
        order, letters = (bytes(8) if flags & 4 else b""), (b"\1" if flags & 16 else b"")
        name = (1).to_bytes(1 << (flags & 3), "little") + b"l"
        self.put(bytes((1, flags, 64)) + order + letters + name + len(inside).to_bytes(2, "little") + inside)

    def virtual(self, *files: str) -> None:
        """A dataset put together from those of other files."""
        whole = b"\x03\0\0\0\x01\0\0\0" + bytes(8)
        block = b"\0" + self.number(len(files)) + b"".join(file.encode() + b"\0/data\0" + whole * 2 for file in files) + bytes(4)
        entry = b"\x01\0\0\0" + bytes(4) + self.number(len(block)) + block + bytes(-len(block) % 8)
        heap = self.put(b"GCOL\x01\0\0\0" + self.number(8 + self.wide + len(entry)) + entry)
        self.put(b"\x08\0\x18\0\0\0\0\0" + b"\x04\x03" + self.number(heap) + b"\x01\0\0\0")
