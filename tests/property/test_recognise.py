"""Whatever a file holds, saying what it is ends soon and never fails; damage does not turn one kind into another."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.known import foreign_error, recognise
from tests.builders.foreign import FOREIGN

STARTS = sorted({data[:12] for _, data, _, _ in FOREIGN})
FAMILIES = (  # kinds that a flipped bit makes of one another, with full right
    {"keras-h5", "hdf5"},
    {"ggml", "whisper-ggml"},
    {"cosmopolitan", "llamafile", "pe"},
    {"tf-checkpoint", "leveldb"},
    {"mach-o", "java-class"},
)
SLOWEST = 1.0  # seconds of the processor, for files of at most a MiB; the longest took 0.05


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["", *[start.decode("latin-1") for start in STARTS]]), st.binary(max_size=300))
def test_any_bytes(start, rest):
    window = MemoryWindow(start.encode("latin-1") + rest, "model.bin")
    found = recognise(window)
    assert found is None or found.what.startswith(found.kind.title)
    assert foreign_error(window).message


@pytest.mark.parametrize("suffix", [".bin", ".weights", ".mnn", ".msgpack", ".onnx"])
def test_noise_is_nothing(suffix):
    """Random bytes have no name, but for those that begin with two or three bytes of a magic number."""
    noise = random.Random(7)
    named = [found.kind.name for _ in range(3_000) if (found := recognise(MemoryWindow(noise.randbytes(600), f"x{suffix}")))]
    assert set(named) <= {"pe", "gzip", "bzip2", "jpeg"}
    assert len(named) <= 3


@pytest.mark.parametrize(("kind", "data", "name"), [row[:3] for row in FOREIGN])
def test_cut_anywhere(kind, data, name):
    for length in range(min(len(data), 400)):
        recognise(MemoryWindow(data[:length], name))


@pytest.mark.parametrize(
    ("kind", "data", "name"), [row[:3] for row in FOREIGN if row[0] not in ("text", "json", "xml", "python")]
)
def test_flipped_bits_never_make_another_model_of_it(kind, data, name):
    flips = random.Random(11)
    family = next((family for family in FAMILIES if kind in family), {kind})
    for _ in range(300):
        place = flips.randrange(min(len(data), 200))
        damaged = data[:place] + bytes([data[place] ^ 1 << flips.randrange(8)]) + data[place + 1 :]
        found = recognise(MemoryWindow(damaged, name))
        if found is not None and found.kind.group == "models":
            assert found.kind.name in family | {kind}, (place, found.what)


LONG = {
    "quotes": b'"""' * 20_000,
    "quotes and blanks": b'"""\n' * 16_000,
    "comments": b"#\n" * 30_000,
    "blanks": b" \n" * 30_000,
    "brackets": b"[" * 60_000,
    "braces": b'{"a":' * 12_000,
    "keys": b'{"' + b"a" * 60_000,
    "escapes": b'{"' + b"\\a" * 30_000,
    "words": b"a\n" * 30_000,
    "xml": b"<?xml?>" + b"<!--" * 15_000,
    "net": b"<net " + b'name="' * 10_000,
    "doctype": b"<!DOCTYPE svg" * 4_000,
    "maps": b"\x81\xa1a" * 300_000,
    "arrays": b"\x81\xa1a" + b"\x91" * 900_000,
    "wide map": b"\xdf\xff\xff\xff\xff" + b"\xa1a\x01" * 300_000,
    "fields": b"\x0a\x00" * 500_000,
    "varints": b"\x80" * 100_000,
    "nodes": (b"\x0a\x08\x0a\x01x\x12\x03Add") * 100_000,
    "paths": b'\x01"paths":[' + b'"a",' * 100_000,
    "base64": b"QUJD" * 16_000,
    "tabs": b"<unk>\t0\n" + b"a\t" * 30_000,
    "hub": b"Access to model " + b"a " * 30_000,
}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
def test_none_takes_long(data):
    begun = time.process_time()
    recognise(MemoryWindow(data, "model.bin"))
    assert time.process_time() - begun < SLOWEST
