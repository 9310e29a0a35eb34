"""Archives in which Python's tarfile, its zipfile and torch (miniz) find members that a strict reading does not: each is looked at."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import zipfile

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelscope_cli.containers.tar_directory import read_tar_directory
from modelscope_cli.containers.zip_directory import other_readings, read_zip_directory
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.scanned import Scanned
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError, ModelscopeError
from modelscope_cli.formats.scan_tar import _filled
from modelscope_cli.formats.scanning import Walk
from tests.builders.attacks import SYSTEM
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.pickle_code import name as named
from tests.builders.tar_file import OldTensor, TarEntry, storages_member, tar_bytes, tensors_member, torch_tar_entries
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_entries
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import codes as noted
from tests.opened import opened
from tests.scanned import codes, scanned

EVIL = proto() + SYSTEM + STOP
OLD = b"cposix\nsystem\n(S'true'\ntR."
BLOCK = 512
EMPTY = [TarEntry("storages", storages_member({})), TarEntry("tensors", tensors_member({}))]
LOCATOR = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)


def header(entry: TarEntry, **fields: bytes) -> bytes:
    """The header of a member with `size` or `at_N` replaced; `sum` asks for its checksum in base 256."""
    block = bytearray(tar_bytes([entry], ending=0)[:BLOCK])
    for field, value in fields.items():
        if field != "sum":
            at = 124 if field == "size" else int(field.removeprefix("at_"))
            block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = (fields.get("sum") and b"\x80" + sum(block).to_bytes(7, "big")) or b"%06o\0 " % sum(block)
    return bytes(block)


def data(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def tar(*members: bytes | TarEntry) -> bytes:
    """Members, and the end."""
    return b"".join(one if isinstance(one, bytes) else tar_bytes([one], ending=0) for one in members) + bytes(2 * BLOCK)


def with_pickle(*parts: bytes) -> bytes:
    return tar(*EMPTY, *parts)


def pax(**values: str) -> bytes:
    whole = tar_bytes([TarEntry("x", b"", pax={key.replace("_", "."): value for key, value in values.items()})], ending=0)
    return whole[: -BLOCK]


def of_kind(kind: bytes, described: bytes) -> bytes:
    """A pax description of another kind."""
    return header(TarEntry("pax", kind=kind), size=described[124:136]) + described[BLOCK:]


PIECES = b"".join(b"%011o\0" % number for number in (0, len(OLD)))
SPARSE = header(TarEntry("pickle", OLD, b"S"), at_386=PIECES, at_483=b"%011o\0" % len(OLD))
HIDDEN = b"\x01" * BLOCK + tar(TarEntry("pickle", OLD))
TARS = {
    "a kind that nobody knows": tar(header(TarEntry("m.pkl", OLD, b"Z")) + data(OLD)),
    "a kind that nobody knows, behind another of the name": with_pickle(
        tar_bytes([TarEntry("pickle", pickled({}))], ending=0), header(TarEntry("pickle", OLD, b"Z")) + data(OLD)
    ),
    "sparse of the old GNU form": tar(SPARSE + data(OLD)),
    "sparse whose first piece belongs before the file": tar(
        pax(GNU_sparse_map=f"-512,512,0,{len(OLD)}", GNU_sparse_size=str(len(OLD))), TarEntry("m.pkl", b"\x01" * BLOCK + OLD)
    ),
    "pax of Solaris": with_pickle(of_kind(b"X", pax(size="512")), TarEntry("junk", HIDDEN)),
    "one size for all": with_pickle(of_kind(b"g", pax(size=str(BLOCK + len(HIDDEN)))), header(TarEntry("junk"), size=b"%011o\0" % BLOCK), HIDDEN),
    "checksum in base 256": tar(header(TarEntry("storages", EMPTY[0].data), sum=b"1") + data(EMPTY[0].data), *EMPTY[1:], TarEntry("pickle", OLD)),
    "a damaged header behind": with_pickle(tar_bytes([TarEntry("pickle", OLD)], ending=0), b"damaged." * 64),
    "size that ends at a NUL": with_pickle(header(TarEntry("pickle"), size=b"%o\0zzzzzzzz" % len(OLD)) + data(OLD)),
    "size with underscores": with_pickle(header(TarEntry("pickle"), size=(b"0_%o" % len(OLD)).ljust(12, b"\0")) + data(OLD)),
    "behind the end": tar(*EMPTY) + tar(TarEntry("pickle", OLD)),
    "a folder of Unix V7 with a size": with_pickle(header(TarEntry("junk/", kind=b"\0"), size=b"%011o\0" % (4 * BLOCK)) + tar(TarEntry("pickle", OLD))),
    "a record of protocol 0": with_pickle(
        tar_bytes([TarEntry("storages", pickled(2) + pickled((1, "cpu", named("torch.FloatStorage"))) + struct.pack("<q", 1) + b"cpu\0" + OLD)], ending=0)
    ),
    "a link to records": tar(TarEntry("x", pickled(2) + struct.pack("<q", 1) + b"cpu\0" + OLD), TarEntry("storages", kind=b"1", link="x")),
    "an import of protocol 4 without its number": with_pickle(
        tar_bytes([TarEntry("storages", pickled(2) + bytes(8) + b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.")], ending=0)
    ),
    "an object of protocol 1": with_pickle(
        tar_bytes([TarEntry("storages", pickled(2) + bytes(8) + b"(N0cposix\nsystem\nS'true'\no.")], ending=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TARS)
def test_members_of_a_tar_that_tarfile_finds(how):
    assert scanned(TARS[how], "model.tar").verdict == "dangerous"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("a kind that nobody knows", "tar-type"),
        ("sparse of the old GNU form", "tar-sparse"),
        ("pax of Solaris", "tar-type"),
        ("one size for all", "tar-global-size"),
        ("size that ends at a NUL", "tar-number"),
        ("size with underscores", "tar-number"),
        ("behind the end", "tar-hidden-member"),
    ],
)
def test_what_is_odd_about_a_tar_is_told(how, code):
    assert code in codes(scanned(TARS[how], "model.tar"))


def test_readers_note_what_tarfile_takes_and_stay_strict():
    entries = torch_tar_entries(ordered({}), {}, {})
    checkpoint = opened(tar_bytes([entries[0], entries[1]._replace(kind=b"Z"), *entries[2:]]))
    assert noted(checkpoint) == {"tar-type": "warning"}
    for how in ("a damaged header behind", "one size for all"):
        with pytest.raises(CorruptFileError):
            opened(TARS[how], "model.tar")


def test_records_of_torch_are_told_by_their_names_alone():
    """The c of "cpu" and the c of GLOBAL: no module is called puctorch."""
    entries = torch_tar_entries(ordered({}), {1: ("FloatStorage", 2, b"cpucpucp")}, {11: OldTensor(1, (2,), (1,))})
    safety = scanned(tar_bytes(entries), "old.tar")
    assert {item.path for item in safety.imports} <= {"collections.OrderedDict", "torch.FloatStorage", "torch.FloatTensor"}
    assert safety.verdict == "safe"


def test_a_damaged_tar_is_not_safe():
    packed = tar(TarEntry("notes.txt", b"hello"))
    assert scanned(packed[:BLOCK] + data(b"hello") + b"damaged." * 64 + bytes(1024), "a.tar").verdict == "unknown"


# Every member that tarfile finds is found, whatever is changed

PACKED = tar_bytes(
    [
        TarEntry("first", b"one" * 200), TarEntry("second", b"two", pax={"size": "3", "path": "named"}),
        TarEntry("folder/", kind=b"5"), TarEntry("third", b"three" * 150),
    ]
)  # fmt: skip
HEADERS = [at for at in range(0, len(PACKED), BLOCK) if PACKED[at + 257 : at + 262] == b"ustar"]
FIELDS = [(0, 100), (124, 12), (156, 1), (257, 8), (345, 8), (386, 48), (482, 1), (483, 12)]


def of_tarfile(packed: bytes) -> list[tuple[str, bytes]]:
    """What tarfile lists and can read; nothing where it gives up."""
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for member in archive.getmembers():
                source = archive.extractfile(member) if not (member.issym() or member.islnk()) else None
                if source is not None and 0 < member.size < 1 << 20:
                    found.append((member.name, source.read()))
    except (tarfile.TarError, ValueError, OverflowError, OSError, IndexError):
        return []
    return found


def of_us(packed: bytes) -> set[tuple[str, bytes]]:
    window = MemoryWindow(packed, "x.tar")
    directory = read_tar_directory(window, DEFAULT_LIMITS, lenient=True)
    walk = Walk(Scanned("x.tar", len(packed)), DEFAULT_LIMITS)
    found = set()
    for member in directory.members:
        if member.pieces:
            filled = _filled(walk, window, member, "")
            found.add((member.name, filled.read(0, filled.size)))
        elif member.is_file:
            found.add((member.name, packed[member.start : member.stop]))
    return found


@st.composite
def changed_tars(draw):
    packed = bytearray(PACKED)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(HEADERS))
        start, length = draw(st.sampled_from(FIELDS))
        value = draw(
            st.sampled_from([b"x", b"X", b"g", b"S", b"Z", b"0", b"\0", b"L", b"K", b"1", b"5", b"7", b"\x80", b"12\0junk", b"0_7", b"0o7 "])
            | st.binary(min_size=1, max_size=length)
            | st.builds(lambda a, b: b"%011o\0%011o\0" % (a, b), st.integers(0, 600), st.integers(0, 600))
        )  # fmt: skip
        value = value[:length]
        packed[at + start : at + start + len(value)] = value
    if draw(st.booleans()):
        at = packed.index(b" size=3\n") + 6
        packed[at : at + 1] = draw(st.sampled_from([b"0", b"9", b"x", b"-", b" "]))
    for at in HEADERS:
        packed[at + 148 : at + 156] = b" " * 8
        packed[at + 148 : at + 156] = b"%06o\0 " % sum(packed[at : at + BLOCK])
    return bytes(packed)


@given(changed_tars())
@example(TARS["sparse of the old GNU form"])
@example(TARS["sparse whose first piece belongs before the file"])
@example(TARS["pax of Solaris"])
@example(TARS["one size for all"])
def test_whatever_tarfile_reads_is_found(packed):
    theirs = of_tarfile(packed)
    assume(theirs)
    ours = of_us(packed)
    contents = {content for _, content in ours}
    for name, content in theirs:  # tarfile takes the times of GNU tar for a prefix: what is unpickled by its name has none
        assert content in contents
        assert "/" in name or (name, content) in ours


# Zip archives

GOOD = torch_entries(ordered({"w": tensor()}), {"0": 24})
HOSTILE = [GOOD[0]._replace(data=EVIL), *GOOD[1:]]


def end_at(packed: bytes) -> int:
    return packed.rindex(b"PK\x05\x06")


def lying(packed: bytes) -> bytes:
    """The local header of the first member says that it has four bytes."""
    return packed[:18] + struct.pack("<2I", 4, 4) + packed[26:]


def with_locator(packed: bytes) -> bytes:
    return packed[: end_at(packed)] + LOCATOR + packed[end_at(packed) :]


def on_disk(packed: bytes, number: int) -> bytes:
    at = end_at(packed) + 4
    return packed[:at] + struct.pack("<2H", number, number) + packed[at + 4 :]


def with_gap(packed: bytes) -> bytes:
    """Bytes between the directory and its end record: torch goes by the offset."""
    return packed[: end_at(packed)] + b"between" + packed[end_at(packed) :]


def counted_short(entries: list[Entry]) -> bytes:
    """zipfile reads the directory to its end, torch as many entries as there should be."""
    return zip_bytes(entries, count=len(entries) - 1)


def two_directories() -> bytes:
    """A directory of a decoy where torch looks, one of a hidden array where zipfile looks."""
    inner = zip_bytes([Entry("a.npy", npy("'|O'", EVIL))])
    hidden, central = inner[: inner.index(b"PK\x01\x02")], inner[inner.index(b"PK\x01\x02") : end_at(inner)]
    decoy = zip_bytes([Entry("numbers", b"1" * 200 + hidden)])
    at = decoy.index(hidden)
    directory = decoy[decoy.index(b"PK\x01\x02") : end_at(decoy)]
    start = end_at(decoy) - len(directory)
    shift = end_at(decoy) - start  # zipfile moves offsets by as much as its directory stands behind where it should
    central = central[:42] + struct.pack("<I", at - shift) + central[46:]
    assert len(central) <= len(directory)
    central = central[:32] + struct.pack("<H", len(directory) - len(central)) + central[34:]
    central += bytes(len(directory) - len(central))
    return decoy[: end_at(decoy)] + central + decoy[end_at(decoy) :]


def npy(descr: str, content: bytes) -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content


CLAIM = proto() + b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x05x.npy\x8c\x03cpuK\x01tQ."
ZIPS = {
    "a locator to nowhere": with_locator(zip_bytes(HOSTILE)),
    "a locator to nowhere, and sizes that lie": with_locator(lying(zip_bytes(HOSTILE))),
    "disk one": on_disk(zip_bytes(HOSTILE), 1),
    "disk one, and sizes that lie": on_disk(lying(zip_bytes(HOSTILE)), 1),
    "disk nine": on_disk(lying(zip_bytes(HOSTILE)), 9),
    "no directory, and sizes that lie": lying(zip_bytes(HOSTILE))[:-40],
    "a gap before the end": with_gap(zip_bytes(HOSTILE)),
    "more entries than counted": counted_short([*GOOD, Entry("evil/data.pkl", EVIL)]),
    "two directories": two_directories(),
    "an array that a pickle claims": zip_bytes([Entry("data/x.npy", npy("'|O'", EVIL)), Entry("data.pkl", CLAIM)]),
    "an array without suffix that a pickle claims": zip_bytes(
        [Entry("data/7", npy("'|O'", EVIL)), Entry("data.pkl", CLAIM.replace(b"\x05x.npy", b"\x017"))]
    ),
    "a deflated member of another size": zip_bytes([Entry("a.pkl", EVIL + b"x" * 40, deflate=True, size=len(EVIL) + 9)]),
}


@pytest.mark.parametrize("how", ZIPS)
def test_members_of_a_zip_that_torch_or_zipfile_find(how):
    assert scanned(ZIPS[how], "model.npz").verdict == "dangerous"


def test_zipfile_finds_what_only_it_finds():
    """The archive made here is one that it takes."""
    with zipfile.ZipFile(io.BytesIO(ZIPS["two directories"])) as archive:
        assert archive.read("a.npy").endswith(EVIL)
    with zipfile.ZipFile(io.BytesIO(ZIPS["more entries than counted"])) as archive:
        assert "evil/data.pkl" in archive.namelist()


def test_readers_note_a_locator_to_nowhere():
    assert noted(opened(with_locator(zip_bytes(GOOD)))) == {"zip-locator": "warning", "zip-readings": "warning"}
    assert noted(opened(on_disk(zip_bytes(GOOD), 1))) == {"zip-readings": "warning"}


def test_an_archive_with_the_directory_torch_writes_has_one_reading():
    for packed in (zip_bytes(GOOD), zip_bytes(GOOD, zip64=True), zip_bytes(GOOD, comment=b"comment")):
        assert noted(opened(packed)) == {}
        members = read_zip_directory(MemoryWindow(packed, "x"), DEFAULT_LIMITS).members
        for reading in other_readings(MemoryWindow(packed, "x"), DEFAULT_LIMITS):
            assert [member.name for member in reading.members] in ([member.name for member in members], [])


def test_a_member_of_which_nothing_can_be_read():
    damaged = bytearray(zip_bytes([Entry("archive/data.pkl", EVIL * 4, deflate=True), Entry("archive/version", b"3")]))
    damaged[30 + 16 : 30 + 20] = b"\xff" * 4
    assert scanned(bytes(damaged)).verdict == "unknown"
    assert scanned(with_locator(zip_bytes([Entry("archive/data.pkl", b"", size=5)]))).verdict != "safe"


def test_a_polyglot_whose_archive_ends_before_the_file():
    plain = struct.pack("<Q", 2) + b"{}"
    for gap in (b"", b"between"):
        packed = zip_bytes([Entry("m/.data/version", b"6"), Entry("m/m/m.pkl", EVIL)], prefix=plain, trailing=bytes(8))
        packed = packed[: end_at(packed)] + gap + packed[end_at(packed) :]
        assert scanned(packed, "model.safetensors").verdict == "dangerous"


ZIPPED = zip_bytes([Entry("a", b"one" * 20), Entry("b", b"two" * 30, deflate=True), Entry("c", b"three" * 9)])


@given(st.lists(st.tuples(st.integers(ZIPPED.index(b"PK\x01\x02"), len(ZIPPED) - 1), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_whatever_zipfile_reads_is_found(changes, located):
    packed = bytearray(ZIPPED)
    for at, value in changes:
        packed[at] = value
    whole = with_locator(bytes(packed)) if located and packed.count(b"PK\x05\x06") == 1 else bytes(packed)
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            theirs = {(info.filename, archive.read(info)) for info in archive.infolist() if info.file_size}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError, struct.error, UnicodeDecodeError):
        return
    window = MemoryWindow(whole, "x.zip")
    readings = other_readings(window, DEFAULT_LIMITS)
    with contextlib.suppress(ModelscopeError):
        readings.append(read_zip_directory(window, DEFAULT_LIMITS))
    ours = {directory.read_on(member, 1 << 20)[: member.size] for directory in readings for member in directory.members}
    for _, content in theirs:
        assert content in ours
