"""GGUF files that ask for much."""

from __future__ import annotations

import struct

from tests.builders.gguf_file import Value, Writer, gguf_bytes

writer = Writer()
NAME = "bomb.gguf"


def array(kind: int, count: int) -> bytes:
    """A key with an array of which only the beginning is there."""
    return writer.text("k") + struct.pack("<IIQ", 9, kind, count)


def test_absurd_counts(bounded):
    assert bounded(writer.head(3, (1 << 64) - 1, 0) + bytes(99), NAME).code == 3
    assert bounded(writer.head(3, 0, (1 << 64) - 1) + bytes(99), NAME).code == 3
    assert bounded(writer.head(3, 0, 1) + array(8, 1 << 60) + bytes(99), NAME).code == 3


def test_empty_strings_by_the_million(bounded):
    count = 15_000_000
    assert bounded(writer.head(3, 0, 1) + array(8, count) + bytes(8 * count), NAME).code == 0


def test_more_strings_than_the_limit(bounded):
    count = 20_000_000
    found = bounded(writer.head(3, 0, 1) + array(8, count) + bytes(8 * count), NAME)
    assert found.code == 3
    assert "array bytes" in found.err


def test_empty_arrays_by_the_million(bounded):
    count = 2_000_000
    assert bounded(writer.head(3, 0, 1) + array(9, count) + struct.pack("<IQ", 4, 0) * count, NAME).code == 0


def test_arrays_within_arrays(bounded):
    assert bounded(writer.head(3, 0, 1) + array(9, 1) + struct.pack("<IQ", 9, 1) * 4_000_000, NAME).code == 3


def test_many_keys(bounded):
    pairs = b"".join([writer.pair(f"{number:x}", Value(0, 1)) for number in range(290_000)])
    assert bounded(writer.head(3, 0, 290_000) + pairs, NAME).code == 0


def test_more_keys_than_the_limit(bounded):
    pairs = b"".join([writer.pair(f"{number:x}", Value(0, 1)) for number in range(1_000)])
    found = bounded(writer.head(3, 0, 2_000_000) + pairs + bytes(40_000_000), NAME)
    assert found.code == 3
    assert "keys: 2,000,000 found" in found.err


def test_many_short_arrays_of_long_texts(bounded):
    text = writer.text("x" * 60_000)
    pairs = b"".join([writer.text(f"k{number}") + struct.pack("<IIQ", 9, 8, 64) + text * 64 for number in range(100)])
    assert bounded(writer.head(3, 0, 100) + pairs, NAME).code == 0


def test_many_short_arrays(bounded):
    body = struct.pack("<IIQ64f", 9, 6, 64, *[0.1] * 64)
    pairs = b"".join([writer.text(f"{number:x}") + body for number in range(290_000)])
    assert bounded(writer.head(3, 0, 290_000) + pairs, NAME).code == 0


def test_many_tensors(bounded):
    entries = b"".join([writer.entry(f"{number:x}", 0, (0,), 0) for number in range(299_000)])
    assert bounded(writer.head(3, 299_000, 0) + entries + bytes(-len(entries) % 32 + 8), NAME).code == 0


def test_many_tensors_on_the_same_bytes(bounded):
    entries = b"".join([writer.entry(f"{number:x}", 0, (8,), 0) for number in range(100_000)])
    assert bounded(writer.head(3, 100_000, 0) + entries + bytes(64), NAME).code == 3


def test_long_names(bounded):
    tensors = {f"{number}" + "n" * 100_000: ("F32", (1,)) for number in range(400)}
    found = bounded(gguf_bytes(tensors), NAME)
    assert found.code == 3
    assert "name characters" in found.err


def test_a_set_of_many_parts_that_are_not_there(bounded):
    data = gguf_bytes({"w": ("F32", (8,))}, {"split.no": Value(2, 0), "split.count": Value(2, 65_535)})
    found = bounded(data, "bomb-00001-of-65535.gguf")
    assert found.code == 3
    assert found.printed < 1 << 20
