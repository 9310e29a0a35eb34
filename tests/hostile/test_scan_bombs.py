"""Files that would keep a scanner busy for ever: each ends in words, in time and within memory, and is not called safe."""

from __future__ import annotations

import gzip
from time import process_time

import pytest

from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_file
from tests.builders.pickle_code import MARK, call, name, pickled, proto
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.zip_archive import Entry, zip_bytes

TINY = proto() + name("a.b") + b")R."


def many_names(file: int, count: int) -> bytes:
    """A pickle that imports and calls so many different names."""
    return proto() + b"".join(b"cm%d\nn%d\n)R0" % (file, number) for number in range(count)) + b"N."


def tar_of(storages: bytes) -> bytes:
    parts = {"sys_info": pickled({}), "pickle": pickled({}), "tensors": pickled(0), "storages": storages}
    return tar_bytes([TarEntry(member, data) for member, data in parts.items()])


BOMBS = {
    "members.zip": lambda: zip_bytes([Entry(f"m{number}", TINY) for number in range(60_000)], zip64=True),
    "pickles.zip": lambda: zip_bytes(
        [Entry(f"n{n}.pkl", b"\x80\x02X\0\0\0\x02" + bytes(50 << 20), deflate=True) for n in range(8)]
    ),
    "row.pkl": lambda: TINY * 100_000,
    "starts.tar": lambda: tar_of(pickled(1) + b"\x80\x02" * 2_000_000),
    "nested.pkl": lambda: (
        proto()
        + b"".join(call("torch.storage._load_from_bytes", TINY + bytes([n & 255, n >> 8])) + b"0" for n in range(12_000))
        + b"N."
    ),
    "headers.zip": lambda: b"PK\x03\x04" * 2_000_000,
    "ends.zip": lambda: zip_bytes([Entry("a", TINY)], comment=b"PK\x05\x06" * 15_000),
    "zeros.pt": lambda: gzip.compress(bytes(300 << 20), 1),
    "names.pkl": lambda: many_names(0, 800_000),
    "names.zip": lambda: zip_bytes([Entry(f"a{n}.pkl", many_names(n, 380_000), deflate=True) for n in range(8)]),
    "strange.pkl": lambda: proto() + MARK + b"N)R0" * 1_000_000 + b"0N.",
}


# What is said of each, and the exit code: what was not all looked at ends with 3. None is safe.
VERDICTS = {
    "members.zip": ("unknown", 3), "pickles.zip": ("unknown", 3), "row.pkl": ("unknown", 3), "starts.tar": ("unknown", 3),
    "nested.pkl": ("suspicious", 1), "headers.zip": ("suspicious", 1), "ends.zip": ("unknown", 0), "zeros.pt": (None, 3),
    "strange.pkl": ("suspicious", 1), "names.pkl": ("suspicious", 1), "names.zip": ("suspicious", 1),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb(bounded, monkeypatch, tmp_path, bomb):
    monkeypatch.setenv("MEASURED", "scan")
    found = bounded(BOMBS[bomb](), bomb)
    safety = Safety(scan_file(str(tmp_path / bomb), DEFAULT_LIMITS, read_window))
    assert (safety.verdict, found.code) == VERDICTS[bomb], (safety.why, found)


@pytest.mark.parametrize("command", ["inspect", "check --forbid-unsafe", "report"])
@pytest.mark.parametrize("bomb", ["names.pkl", "names.zip", "pickles.zip", "strange.pkl"])
def test_a_bomb_for_the_commands_that_read_and_scan(bounded, monkeypatch, bomb, command):
    monkeypatch.setenv("MEASURED", command)
    judged = VERDICTS[bomb][1] if command.startswith("check") else 3  # what a scan finds outranks what cannot be read
    assert bounded(BOMBS[bomb](), bomb).code == judged


def test_a_line_without_an_end_is_read_once(tmp_path):
    """A safetensors header may begin as a pickle does, with a string or a name up to the next line break; behind it are holes."""
    for first in b"SVPicIFLgp":
        header = b"{" + b'"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}' % ((1 << 28,) * 2) + b"}"
        header = header.ljust(first)
        path = tmp_path / f"{first}.safetensors"
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + (1 << 28))
        began = process_time()
        found = scan_file(str(path), DEFAULT_LIMITS, read_window)
        assert process_time() - began < 2
        assert found.kind == "safetensors"
