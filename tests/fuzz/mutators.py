"""Changes that arrive where they are meant: instruction by instruction, inside members, with lengths and sums made right again.

Blind changes of bytes are libFuzzer's own, and half of all mutations stay so. Of the other half, an input is taken for what it looks
like: an archive is unpacked, one member changed, and packed again; a pickle is cut into its instructions; JSON into its values.
What cannot be taken apart gives None, and is changed blindly.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from tests.builders import pickle_code
from tests.builders.samples import SAMPLES
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.zip_archive import Entry, zip_bytes

MOST_UNPACKED = 1 << 20  # bytes; more is no input to learn from
MOST_PIECES = 20_000
FRAME, FRAME_BYTES = b"\x95", 9
NOT_SO = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    ValueError, LookupError, EOFError, OSError, RuntimeError, NotImplementedError, OverflowError, RecursionError,
)  # fmt: skip
ODD_VALUES = (0, -1, 1, 1 << 31, 1 << 63, -(1 << 63), 1e300, 0.5, True, None, "", "0", "\ud800", [], {}, [[]], {"": 0}, "a" * 300)
ODD_NUMBERS = (b"I%d\n", b"L%dL\n")

Blind = Callable[[bytes], bytes]


class Chance(Random):
    """What is drawn, and the words that are drawn from."""

    words: Sequence[str] = ("",)

    def word(self) -> str:
        return self.choice(self.words)


def mutate(data: bytes, most: int, random: Chance, blind: Callable[[bytes, int], bytes], *, first: int = 0) -> bytes:
    """One mutation of at most `most` bytes. The `first` bytes choose something else than content and are left to blind changes."""
    if len(data) > first and random.random() < 0.5:

        def part_blindly(part: bytes) -> bytes:
            word = random.word().encode() if random.random() < 0.2 else b""
            return word or bytes(blind(part or b"\0", max(len(part) * 2, 64)))

        try:
            changed = aware(data[first:], random, part_blindly)
        except NOT_SO:
            changed = None
        if changed is not None and len(changed) + first <= most and changed != data[first:]:
            return data[:first] + changed
    return bytes(blind(data, most))


def aware(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """A change that fits what the bytes look like."""
    for begin, unpack, pack in PACKED:
        if data.startswith(begin):
            plain = unpack(data)
            return None if len(plain) > MOST_UNPACKED else pack(aware(plain, random, blind) or blind(plain))
    if b"PK\x05\x06" in data[-65_600:]:
        return in_zip(data, random, blind)
    if data[257:262] == b"ustar":
        return in_tar(data, random, blind)
    if data[:1] in (b"{", b"["):
        return in_json(data, random, blind)
    if data[8:9] == b"{":
        return in_safetensors(data, random, blind)
    return in_pickle(data, random, blind)


def gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data, MOST_UNPACKED + 1)


def unlzma(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data, MOST_UNPACKED + 1)


def unbzip(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, MOST_UNPACKED + 1)


PACKED: tuple[tuple[bytes, Blind, Blind], ...] = (
    (b"\x1f\x8b", gunzip, lambda data: gzip.compress(data, 1)),
    (b"\xfd7zXZ", unlzma, lambda data: lzma.compress(data, preset=0)),
    (b"BZh", unbzip, lambda data: bz2.compress(data, 1)),
)


def in_zip(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """A member's content, name or place; sums, lengths and the directory are written anew."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = archive.infolist()
        if not found or sum(member.file_size for member in found) > MOST_UNPACKED:
            return None
        entries = [Entry(member.filename, archive.read(member), deflate=member.compress_type == 8) for member in found]
        comment = archive.comment
    pickles = [place for place, entry in enumerate(entries) if entry.data[:1] == b"\x80" or entry.name.endswith(".pkl")]
    place = random.choice(pickles) if pickles and random.random() < 0.6 else random.randrange(len(entries))
    entry = entries[place]
    match random.randrange(12):
        case 0:
            entries[place] = entry._replace(name=random.choice(NAMES) if random.random() < 0.5 else text(blind(entry.name.encode())))
        case 1:
            entries.insert(random.randrange(len(entries) + 1), entry._replace(name=random.choice(NAMES)))
        case 2:
            del entries[place]
        case 3:
            entries[place] = entry._replace(deflate=not entry.deflate, descriptor=random.random() < 0.3, zip64=random.random() < 0.3)
        case _:
            entries[place] = entry._replace(data=changed(entry.data, random, blind))
    return zip_bytes(entries, comment=comment)


def in_tar(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """A member's content, name or kind; checksums are written anew."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = [TarEntry(member.name, content(archive, member), member.type, link=member.linkname[:100]) for member in archive]
    if not entries:
        return None
    place = random.randrange(len(entries))
    entry = entries[place]
    match random.randrange(10):
        case 0:
            entries[place] = entry._replace(name=random.choice(NAMES) if random.random() < 0.5 else text(blind(entry.name.encode())))
        case 1:
            entries.insert(random.randrange(len(entries) + 1), entry)
        case 2:
            del entries[place]
        case 3:
            entries[place] = entry._replace(kind=random.choice((b"0", b"\0", b"5", b"1", b"2", b"L", b"x", b"S", b"7")))
        case 4:
            entries[place] = entry._replace(size=random.choice((0, 1, 511, 512, 513, 1 << 33)) + random.randrange(3))
        case _:
            entries[place] = entry._replace(data=changed(entry.data, random, blind))
    return tar_bytes([entry._replace(name=entry.name[:100]) for entry in entries], ending=random.choice((2, 2, 2, 1, 0)))


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    held = archive.extractfile(member) if member.isreg() else None
    return held.read(MOST_UNPACKED) if held is not None else b""


def changed(part: bytes, random: Chance, blind: Blind) -> bytes:
    """A member: as what it looks like, or blindly."""
    try:
        new = aware(part, random, blind) if random.random() < 0.8 else None
    except NOT_SO:
        new = None
    return blind(part) if new is None else new


def in_json(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """One value becomes odd, goes, or stands twice."""
    root = json.loads(data)
    places = [*walk(root)]
    if not places:
        return None
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1:
            other, there = random.choice(places)
            holder[key] = other[there]  # may hold itself, which dumps refuses
        case 2 if isinstance(holder, dict):
            holder[random.word()] = holder[key]
        case 3 if isinstance(holder[key], str):
            holder[key] = text(blind(holder[key].encode("utf-8", "surrogatepass")))
        case 4 if type(holder[key]) is int:
            holder[key] += random.choice((-1, 1, 8, -8, 1 << 32))
        case _:
            holder[key] = random.choice(ODD_VALUES) if random.random() < 0.7 else random.word()
    return json.dumps(root, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def in_safetensors(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """A value of the header, whose length is written anew."""
    length = int.from_bytes(data[:8], "little")
    header = in_json(data[8 : 8 + length], random, blind)
    return header and struct.pack("<Q", len(header)) + header + data[8 + length :]


def walk(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a value in a list or an object."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending and len(found) < MOST_PIECES:
        holder = pending.pop()
        keys: Sequence[Any] = [*holder] if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        pending += [holder[key] for key in keys]
    return found


def in_pickle(data: bytes, random: Chance, blind: Blind) -> bytes | None:
    """One to four instructions go, come, move, or get another argument."""
    pieces = instructions(data)
    if len(pieces) < 3:
        return None
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        place = random.randrange(len(pieces))
        match random.randrange(9):
            case 8:
                pieces.insert(place, worded(random))
            case 0:
                del pieces[place]
            case 1:
                pieces[place] = random.choice(known_instructions())
            case 2 | 3:
                pieces.insert(place, random.choice(known_instructions()))
            case 4:
                other = random.randrange(len(pieces))
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case 5:
                stretch = random.choice(known_stretches())
                pieces[place:place] = stretch
            case 6:
                start = random.randrange(len(pieces))
                pieces[place:place] = pieces[start : start + random.randrange(1, 9)]
            case _:
                pieces[place] = pieces[place][:1] + blind(pieces[place][1:]) if len(pieces[place]) > 1 else blind(pieces[place])
        if not pieces:
            return None
    return b"".join(framed(pieces) if random.random() < 0.9 else pieces)


def worded(random: Chance) -> bytes:
    """A text, or a name of a module that is known, by one of the words."""
    word = random.word()
    if random.random() < 0.5:
        return pickle_code.text(word)
    module = random.choice(known_modules()) if random.random() < 0.8 else random.word()
    return f"c{module}\n{word}\n".encode()


def instructions(data: bytes) -> list[bytes]:
    """The pickles of the bytes, one behind the other, each instruction a piece; what is no instruction is the last piece."""
    pieces: list[bytes] = []
    end = 0
    while end < len(data) and len(pieces) < MOST_PIECES:
        stream, before = io.BytesIO(data), end
        stream.seek(end)
        try:
            for _ in pickletools.genops(stream):
                pieces.append(data[end : stream.tell()])
                end = stream.tell()
        except NOT_SO:
            pass
        if end == before or pieces[-1] != b".":
            break
    return [*pieces, data[end:]] if end < len(data) else pieces


def framed(pieces: list[bytes]) -> list[bytes]:
    """Frames are as long again as what they hold: to the next one, or to the STOP."""
    out = list(pieces)
    length = 0
    for place in reversed(range(len(out))):
        piece = out[place]
        if piece[:1] == FRAME and len(piece) == FRAME_BYTES:
            out[place] = FRAME + struct.pack("<Q", length)
            length = 0
        elif piece == b".":
            length = 1
        else:
            length += len(piece)
    return out


@cache
def known_pickles() -> list[list[bytes]]:
    """The instructions of every pickle in the samples and attacks."""
    from tests.builders.attacks import ATTACKS

    found = []
    for data in [*SAMPLES.values(), *[row[0] for row in ATTACKS.values()]]:
        parts = [data]
        if data.startswith(b"PK"):
            try:
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    parts = [archive.read(name) for name in archive.namelist()]
            except NOT_SO:
                parts = []
        found += [pieces for part in parts if part[:1] in (b"\x80", b"c", b"(") and len(pieces := instructions(part)) > 3]
    return found


@cache
def known_instructions() -> list[bytes]:
    """Each instruction of the samples once, and each of the language, with arguments that mean something."""
    found = {piece: None for pieces in known_pickles() for piece in pieces if len(piece) < 200}
    for opcode in pickletools.opcodes:
        if opcode.arg is None:
            found[opcode.code.encode("latin-1")] = None
    found |= {form % number: None for form in ODD_NUMBERS for number in (0, 1, -1, 1 << 31, 1 << 63, -(1 << 70))}
    return list(found)


@cache
def known_modules() -> list[str]:
    """The modules that samples and attacks name."""
    found = {piece[1:].split(b"\n")[0].decode("utf-8", "replace") for piece in known_instructions() if piece[:1] in (b"c", b"i")}
    return sorted(found)


@cache
def known_stretches() -> list[list[bytes]]:
    """Runs of instructions that end in a call, a build or a container: a thing that stands for itself."""
    endings = (b"R", b"b", b"\x81", b"Q", b"t", b"\x85", b"\x86", b"\x87", b"\x93", b"u", b"e")
    found = {}
    for pieces in known_pickles():
        for place, piece in enumerate(pieces):
            if piece[:1] in endings:
                for length in (3, 6, 12):
                    stretch = pieces[max(0, place - length) : place + 1]
                    found[b"".join(stretch)] = stretch
    return [stretch for joined, stretch in found.items() if len(joined) < 1_000]


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


NAMES = (
    "archive/data.pkl", "archive/data/0", "archive/version", "archive/byteorder", "archive/.data/version", "archive/constants.pkl",
    "archive/code/__torch__.py", "archive/code/__torch__.py.debug_pkl", "archive/constants/0", "archive/extra/a", "data.pkl", "version",
    "archive/model.py", "archive/.data/extern_modules", "archive/models/m.json", "archive/data/weights/model_weights_config.json",
    "archive/serialized_exported_program.json", "archive_format", "byteorder", "config.json", "model.safetensors", "a/../b", "/a", "a\\b", "",
    "../a", "a/", "m.pt", "m.gz", "pickle", "tensors", "storages", "sys_info",
)  # fmt: skip
