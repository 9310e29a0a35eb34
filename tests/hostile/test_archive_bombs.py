"""Zip directories that claim much: many members, long names, a huge count, entries that lie on one another."""

from __future__ import annotations

import bz2
import io
import struct
import zipfile

import pytest

from tests.builders.pickle_code import pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_entries
from tests.builders.zip_archive import Entry, zip_bytes

ENTRIES = torch_entries({"w": tensor()}, {"0": 24})


def test_count_of_members_is_a_claim(bounded):
    data = bytearray(zip_bytes(ENTRIES, zip64=True))
    at = data.rfind(b"PK\x06\x06")
    data[at + 24 : at + 40] = struct.pack("<2Q", 1 << 60, 1 << 60)
    found = bounded(bytes(data))
    assert "members" in found.err


def test_size_of_the_directory_is_a_claim(bounded):
    data = bytearray(zip_bytes(ENTRIES, zip64=True))
    at = data.rfind(b"PK\x06\x06")
    data[at + 40 : at + 48] = struct.pack("<Q", 1 << 60)
    assert bounded(bytes(data)).code == 3


def test_many_members_on_one_header(bounded):
    """Three hundred thousand directory entries that all mean the same bytes."""
    base = zip_bytes(ENTRIES[:1])
    header = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    central = b"".join(header + b"%07d" % number for number in range(300_000))
    data = base + central + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(central), len(base), 0)
    assert bounded(data).code == 3


def test_many_members_whose_headers_disagree(bounded):
    """A hundred thousand oddities are counted, not written out one by one."""
    entries = [*ENTRIES, *(Entry(f"archive/x/{number}", local_flags=4) for number in range(60_000))]
    found = bounded(zip_bytes(entries))
    assert found.printed < 1 << 20


def test_many_small_members(bounded):
    entries = [*ENTRIES, *(Entry(f"archive/x/{number}") for number in range(60_000))]
    assert bounded(zip_bytes(entries)).code == 0


def test_member_that_inflates_to_more_than_it_takes_in_memory(bounded):
    """A storage is never decompressed, however large it says it is."""
    entries = [Entry("a/data.pkl", pickled({"w": tensor("0", (1 << 26,))})), Entry("a/data/0", bytes(1 << 28), deflate=True)]
    assert bounded(zip_bytes(entries)).code == 0


def many(count: int, name: str, *, data: bytes = b"\1\2\3\4", method: int = 0) -> bytes:
    """A zip archive of very many files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(name.format(number, number % 900)), data, method)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["data/s{}x.bin", "d{1}/s{0}.pt", "s{}.json", "{}.a{}", "m{}.zip"])
def test_many_files_that_are_no_models(bounded, name):
    assert bounded(many(60_000, name), "many.zip").code == 3


def test_many_members_that_are_slow_to_unpack(bounded):
    packed = bz2.compress(bytes(900_000))
    entries = [Entry(f"{number}.bin", packed, method=12, size=900_000) for number in range(6_000)]
    assert bounded(zip_bytes(entries), "many.zip").code == 3


def test_many_members_in_many_archives(bounded):
    inner = many(4_000, "s{}x.bin")
    assert bounded(zip_bytes([Entry(f"{number}.zip", inner, deflate=True) for number in range(40)]), "many.zip").code == 3


def test_many_models(bounded):
    model = safetensors_bytes({"w": ("F32", (2,))})
    found = bounded(many(20_000, "m{}.safetensors", data=model), "many.zip")
    assert (found.code, found.printed < 1_000) == (3, True)
    assert "an archive of 2,000 models" in found.err


def test_many_links(bounded):
    links = [TarEntry(f"{number}", b"", b"2", link=f"{number + 1}") for number in range(60_000)]
    assert bounded(tar_bytes([*links, TarEntry("60000", b"x")]), "many.tar").code == 3
