"""The directory of a zip: names and sizes from the end of the file, positions from the local headers."""

from __future__ import annotations

import struct

import pytest

from modelscope_cli.containers.zip_directory import read_zip_directory
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, UnsupportedFeatureError
from tests.builders.zip_archive import Entry, zip_bytes

PAIR = [Entry("a/one", b"first"), Entry("a/two", b"second, longer")]


def directory_of(data: bytes):
    return read_zip_directory(MemoryWindow(data, "x.zip"), DEFAULT_LIMITS)


def contents(data: bytes) -> dict[str, bytes]:
    directory = directory_of(data)
    return {member.name: directory.read(member, 1 << 20, "header_bytes") for member in directory.members}


def regions(data: bytes) -> dict[str, int]:
    builder = ByteMapBuilder()
    directory_of(data).claim(builder, {}, "data", [])
    return builder.finish(len(data), "x.zip").totals()


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("align", [0, 64, 4096])
@pytest.mark.parametrize("deflate", [False, True])
def test_members_are_found(zip64, wide, align, deflate):
    data = zip_bytes([entry._replace(zip64=wide, align=align, deflate=deflate) for entry in PAIR], zip64=zip64)
    assert contents(data) == {entry.name: entry.data for entry in PAIR}
    assert sum(regions(data).values()) == len(data)
    assert "unmapped" not in regions(data)
    if align:
        assert all(member.start % align == 0 for member in directory_of(data).members)


def test_order_is_that_of_the_file():
    data = zip_bytes([Entry("z"), Entry("a"), Entry("m")])
    assert [member.name for member in directory_of(data).members] == ["z", "a", "m"]


def test_checksums_are_not_verified():
    assert contents(zip_bytes([Entry("a", b"data", crc=0)])) == {"a": b"data"}
    assert contents(zip_bytes([Entry("a", b"data", crc=0xDEADBEEF)])) == {"a": b"data"}


def test_descriptor_behind_the_data_is_accounted_for():
    data = zip_bytes([Entry("a", b"data", descriptor=True), Entry("b", b"more", descriptor=True)])
    assert contents(data) == {"a": b"data", "b": b"more"}
    assert "unmapped" not in regions(data)


def test_comment_is_part_of_the_directory():
    data = zip_bytes(PAIR, comment=b"hello")
    assert "unmapped" not in regions(data)
    assert not directory_of(data).notes


def note_codes(data: bytes) -> set[str]:
    return {note.code for note in directory_of(data).notes}


def test_prefix_is_noted_and_unmapped():
    data = zip_bytes(PAIR, prefix=b"#!/bin/sh\n")
    assert note_codes(data) == {"zip-prefix"}
    assert regions(data)["unmapped"] == 10


def test_trailing_bytes_are_noted():
    assert "zip-trailing" in note_codes(zip_bytes(PAIR, trailing=b"more"))


def test_two_end_records_are_noted():
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    assert "zip-two-ends" in note_codes(zip_bytes(PAIR, comment=end))


@pytest.mark.parametrize("difference", [{"local_flags": 0x800}, {"local_name": "a/zzz"}])
def test_headers_that_disagree_are_noted(difference):
    assert "zip-headers-differ" in note_codes(zip_bytes([PAIR[0]._replace(**difference), PAIR[1]]))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encryption_marks_are_noted(flag):
    assert "zip-encrypted-flag" in note_codes(zip_bytes([Entry("a", b"data", flags=flag)]))


def test_names_twice_are_both_listed():
    assert [member.name for member in directory_of(zip_bytes([Entry("a"), Entry("a")])).members] == ["a", "a"]


def test_names_not_in_utf8_survive():
    data = zip_bytes([Entry("aXb", b"1")]).replace(b"aXb", b"a\xffb")
    assert [member.name for member in directory_of(data).members] == ["a\udcffb"]


def test_empty_archive():
    assert directory_of(zip_bytes([])).members == []


def damaged(**changes) -> bytes:
    return zip_bytes([PAIR[0]._replace(**changes), PAIR[1]])


BROKEN = {
    "no end record": zip_bytes(PAIR)[:-30],
    "count too high": zip_bytes(PAIR, count=3),
    "directory elsewhere": zip_bytes(PAIR, directory_offset=10),
    "directory beyond the file": zip_bytes(PAIR, directory_offset=1 << 30),
    "stored with two sizes": damaged(size=7),
    "no local header": zip_bytes(PAIR).replace(b"PK\x03\x04", b"PK\x03\x05", 1),
    "zip64 locator to nowhere": zip_bytes(PAIR, zip64=True).replace(b"PK\x06\x06", b"PK\x06\x08"),
    "zip64 sizes absent": zip_bytes([PAIR[0]._replace(zip64=True)]).replace(b"\x01\x00\x18\x00", b"\x02\x00\x18\x00"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_archives_are_refused(what):
    with pytest.raises(CorruptFileError):
        directory_of(BROKEN[what])


def test_members_on_the_same_bytes_are_refused():
    data = bytearray(zip_bytes([Entry("a", b"x" * 50), Entry("b", b"y" * 10)]))
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    with pytest.raises(CorruptFileError):
        directory_of(bytes(data))


def test_inflating_to_another_size_is_refused():
    for size in (3, 300):
        with pytest.raises(CorruptFileError):
            contents(zip_bytes([Entry("a", b"x" * 100, deflate=True, size=size)]))


def test_damaged_deflate_is_refused():
    data = zip_bytes([Entry("a", b"abcdefgh" * 40, deflate=True)])
    start = directory_of(data).members[0].start
    with pytest.raises(CorruptFileError):
        contents(data[:start] + b"\xff\xff" + data[start + 2 :])


def test_other_compression_is_unsupported():
    with pytest.raises(UnsupportedFeatureError):
        contents(zip_bytes([Entry("a", b"data", method=93)]))


def test_limits_are_named():
    window = MemoryWindow(zip_bytes(PAIR), "x.zip")
    for resource, limit in (("members", 1), ("directory_bytes", 50)):
        with pytest.raises(LimitError) as caught:
            read_zip_directory(window, DEFAULT_LIMITS._replace(**{resource: limit}))
        assert caught.value.resource == resource
        assert resource in (caught.value.hint or "")


def test_member_larger_than_its_limit():
    directory = directory_of(zip_bytes(PAIR))
    with pytest.raises(LimitError):
        directory.read(directory.members[1], 5, "pickle_bytes")


def test_disks_are_unsupported():
    data = bytearray(zip_bytes(PAIR))
    data[-18:-16] = b"\x02\x00"
    with pytest.raises(ModelscopeError):
        directory_of(bytes(data))
