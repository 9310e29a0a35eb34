"""What one header of a tar archive says, and the descriptions that stand before it, as Python's tarfile reads them.

tarfile is what torch.load and pandas open tars with, and it takes more than the standard has: numbers that end at the first NUL, or
with underscores, checksums in base 256, descriptions that go on in the padding behind them. Each of these is read, and told as odd.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

BLOCK = 512
CHECKSUM = slice(148, 156)
BLANKS = 8 * ord(" ")
OLD_FILE, HARD_LINK, SYMBOLIC_LINK, FOLDER, SPARSE = b"\0", b"1", b"2", b"5", b"S"
LINKS = (HARD_LINK, SYMBOLIC_LINK)
PAX_NEXT, PAX_ALL, LONG_NAME, LONG_LINK, PAX_SOLARIS = b"x", b"g", b"L", b"K", b"X"
GNU_KINDS = (LONG_NAME, LONG_LINK, SPARSE)
LONGEST_LENGTH = 64  # characters of the length of a pax record
LONGEST_NUMBER = 4_300  # digits that Python makes a number of
SPARSE_AT, SPARSE_MORE, SPARSE_SIZE = (
    386,
    482,
    slice(483, 495),
)  # in a header of the old GNU form: four pieces, and how it goes on
KEYS = ("path", "size", "linkpath")
SPARSE_KEYS = (*(f"GNU.sparse.{key}" for key in ("name", "size", "realsize", "map", "major", "minor")),)
_fields = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x").unpack
_sparse_fields = re.compile(rb"(?<!\d)\d{1,20} GNU\.sparse\.(offset|numbytes)=(\d{1,20})\n")


class Header(NamedTuple):
    """`odd` says what other programs than tarfile would read differently, "" for nothing."""

    name: str
    kind: bytes
    size: int
    target: str
    odd: str


class Described(NamedTuple):
    """What a description says: its records, the pieces of a sparse file, whether records are damaged or leave its size."""

    values: dict[str, str]
    pieces: list[tuple[int, int]]
    damaged: int  # position of the first that cannot be read, -1 for none
    beyond: bool


def parse(block: bytes) -> Header:
    """Raises ValueError with a sentence for what is no header."""
    if not checksum_fits(block):
        raise ValueError("a tar header with a wrong checksum")
    fields = _fields(block)
    raw, kind, magic, prefix = fields[0], fields[7], fields[9], fields[15]
    try:
        size, odd = number(fields[4])
    except ValueError:
        raise ValueError("a tar header whose size is not a number") from None
    name = raw.split(b"\0", 1)[0]
    told = "its size is written in a way that programs read differently" if odd else ""
    if kind == OLD_FILE and name.endswith(b"/"):
        kind = FOLDER
    if magic == b"ustar\0" and prefix[:1] != b"\0" and kind not in GNU_KINDS:
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    target = fields[8].split(b"\0", 1)[0].decode("utf-8", "surrogateescape") if kind in LINKS else ""
    return Header(name.decode("utf-8", "surrogateescape"), kind, size, target, told)


def checksum_fits(block: bytes) -> bool:
    """Sums were taken over signed bytes by some old programs."""
    field = block[CHECKSUM]
    unsigned = sum(block) - sum(field) + BLANKS
    for spelling in (field, field.replace(b"\0", b" ").strip()):
        try:
            claimed = number(spelling)[0] if spelling else 0
        except ValueError:
            continue
        if claimed == unsigned:
            return True
        if claimed and claimed == unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
            return True
    return False


def number(field: bytes) -> tuple[int, bool]:
    """A number field, and whether it is odd. Raises ValueError."""
    if field[0] & 0x80:
        if field[0] in (0x80, 0xFF):
            value = int.from_bytes(field[1:], "big")
            return (value - (1 << 8 * (len(field) - 1)), True) if field[0] == 0xFF else (value, False)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big"), True
    text, _, rest = field.partition(b"\0")
    digits = text.decode("ascii").strip()
    return int(digits or "0", 8), bool(rest.strip(b"\0 ") or digits.strip("01234567"))


def whole(text: str) -> int | None:
    """A number in a pax record, as Python reads it."""
    try:
        return int(text) if len(text) <= LONGEST_NUMBER else None
    except ValueError:
        return None


def records(data: bytes, size: int, keys: tuple[str, ...]) -> Described:
    """LENGTH KEY=VALUE lines of which the first `size` bytes are the description; tarfile reads on in the padding behind them."""
    found: dict[str, str] = {}
    position = equals = 0
    damaged = -1
    beyond = False
    while position < len(data):
        space = data.find(b" ", position, position + LONGEST_LENGTH)
        digits = data[position:space] if space > 0 else b""
        equals = equals if equals > space else data.find(b"=", space + 1)
        if not digits.isdigit() or equals <= space + 1 or not int(digits):
            damaged = position if data[position:].strip(b"\0") or position < size else -1
            break
        stop = position + int(digits)
        if stop > size:
            damaged, beyond = (position, beyond) if position < size else (damaged, True)
        if damaged < 0 and stop - position <= space - position + 1:
            damaged = position
        key = data[space + 1 : min(equals, space + 1 + LONGEST_LENGTH)].decode("utf-8", "surrogateescape")
        if key in keys:
            found[key] = data[equals + 1 : max(0, stop - 1)].decode("utf-8", "surrogateescape")
        position = stop
    numbers: dict[bytes, list[int]] = {b"offset": [], b"numbytes": []}
    if SPARSE_KEYS[0] in keys:
        for match in _sparse_fields.finditer(data):
            numbers[match[1]].append(int(match[2]))
    pieces = list(zip(numbers[b"offset"], numbers[b"numbytes"], strict=False))
    return Described(found, pieces, damaged, beyond)


def old_pieces(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    """Where the pieces of a sparse file of the old GNU form belong, and their lengths; the list ends at what is no number."""
    pieces = []
    for position in range(at, at + 24 * count, 24):
        try:
            pieces.append((number(block[position : position + 12])[0], number(block[position + 12 : position + 24])[0]))
        except ValueError:
            break
    return pieces
