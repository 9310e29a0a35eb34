"""Compressed streams piece by piece, and the window on what they unpack to."""

from __future__ import annotations

import bz2
import errno
import gc
import lzma
import os
import random

import pytest

from modelscope_cli.containers import temporary
from modelscope_cli.containers.compressed import BZIP2, GZIP, XZ, ZSTD, Codec, Stream, codec_of
from modelscope_cli.containers.unpacked import BUDGETS, Budget, UnpackedWindow
from modelscope_cli.containers.zstd_frames import content_size
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, SourceError, UnsupportedFeatureError
from modelscope_cli.formats.archive import unpacking
from tests.builders.archives import PACKERS, gzipped, zstd

CODECS = {".gz": GZIP, ".bz2": BZIP2, ".xz": XZ, ".zst": ZSTD}
SOME = random.Random(1).randbytes(100_000) + bytes(50_000)  # what cannot be compressed, and what can


def everything(data: bytes, codec: Codec, piece: int = 1 << 20) -> bytes:
    stream = unpacking(MemoryWindow(data, "x"), codec)
    return b"".join(iter(lambda: stream.read(piece), b""))


def window_on(data: bytes, codec: Codec = GZIP, *, size: int | None = None, **limits: int) -> UnpackedWindow:
    outer = MemoryWindow(data, "x.gz")
    budget = Budget(DEFAULT_LIMITS._replace(**limits))
    return UnpackedWindow(outer, "x", lambda: unpacking(outer, codec), budget, slow=codec.slow, size=size)


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("piece", [1, 1_000, 1 << 20])
def test_what_was_packed_comes_out(suffix, piece):
    data = SOME if piece > 1 else SOME[:2_000]
    packed = PACKERS[suffix](data)
    assert codec_of(packed) == CODECS[suffix]
    assert everything(packed, CODECS[suffix], piece) == data


@pytest.mark.parametrize("suffix", PACKERS)
def test_pieces_are_never_larger_than_asked_for(suffix):
    stream = unpacking(MemoryWindow(PACKERS[suffix](bytes(5 << 20)), "x"), CODECS[suffix])
    sizes = [len(piece) for piece in iter(lambda: stream.read(10_000), b"")]
    assert max(sizes) <= 10_000
    assert sum(sizes) == 5 << 20


@pytest.mark.parametrize("suffix", PACKERS)
def test_streams_one_behind_another(suffix):
    pack = PACKERS[suffix]
    assert everything(pack(SOME) + pack(b"") + pack(b"end") + bytes(8), CODECS[suffix]) == SOME + b"end"


@pytest.mark.parametrize("suffix", PACKERS)
def test_bytes_behind_the_last_stream_are_counted(suffix):
    stream = unpacking(MemoryWindow(PACKERS[suffix](SOME) + bytes(4) + b"not compressed at all", "x"), CODECS[suffix])
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == SOME
    assert stream.trailing == len(b"not compressed at all")


@pytest.mark.parametrize("suffix", PACKERS)
def test_cut_anywhere(suffix):
    packed = PACKERS[suffix](SOME[-51_000:])
    for length in range(1, len(packed)):
        with pytest.raises(CorruptFileError):
            everything(packed[:length], CODECS[suffix])


@pytest.mark.parametrize("suffix", PACKERS)
def test_flipped_byte(suffix):
    data = SOME[-50_200:]
    packed = PACKERS[suffix](data)
    refused = 0
    for at in range(len(packed)):
        try:
            everything(packed[:at] + bytes([packed[at] ^ 0x41]) + packed[at + 1 :], CODECS[suffix])
        except ModelscopeError:
            refused += 1
    assert refused > len(packed) // 2


def test_text_is_not_compressed():
    for text in (b"BZh is a magic", b"", b"\x1f\x8b", b"PK\x03\x04", b"\xfd7z"):
        assert codec_of(text) is None


def test_xz_that_asks_for_much_memory():
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    with pytest.raises(UnsupportedFeatureError, match="128 MiB of memory"):
        everything(lzma.compress(b"small", filters=filters), XZ)


def test_zstd_that_asks_for_much_memory():
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 20 << 3]) + b"\x01\0\0"  # a window of 2^30 bytes, one empty last block
    with pytest.raises(UnsupportedFeatureError, match="128 MiB of memory"):
        everything(frame, ZSTD)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (zstd(SOME), len(SOME)),
        (zstd(SOME) + zstd(b"x") + b"\x50\x2a\x4d\x18\x03\0\0\0abc", len(SOME) + 1),
        (zstd(b""), 0),
        (zstd(bytes(300)), 300),
        (zstd(SOME)[:-1], None),
        (zstd(SOME) + b"more", None),
        (b"\x28\xb5\x2f\xfd" + bytes([0, 0]) + b"\x01\0\0", None),  # does not tell
        (b"", 0),
    ],
)
def test_size_that_zstd_frames_tell(data, size):
    assert content_size(MemoryWindow(data, "x")) == size


def test_window_reads_anywhere():
    window = window_on(gzipped(SOME))
    assert window.size == len(SOME)
    assert window.read(99_990, 20) == SOME[99_990:100_010]
    assert window.read(0, len(SOME)) == SOME
    with pytest.raises(CorruptFileError):
        window.read(len(SOME) - 1, 2)


def test_window_of_known_size_unpacks_what_is_read():
    data = random.Random(2).randbytes(3 << 20)
    window = window_on(gzipped(data), size=len(data))
    assert window.filled == 0
    assert window.read(10, 10) == data[10:20]
    assert 20 <= window.filled <= 1 << 20
    assert window.reached == window.filled
    assert window.read((2 << 20) - 5, 10) == data[(2 << 20) - 5 : (2 << 20) + 5]
    assert (2 << 20) + 5 <= window.filled <= len(data)


def test_zeros_take_no_room_on_the_disk():
    window = window_on(gzipped(bytes(8 << 20) + b"x" + bytes(8 << 20)))
    assert window.read((8 << 20) - 1, 3) == b"\0x\0"
    assert window.read(window.size - 5, 5) == bytes(5)
    if os.name == "posix":
        assert os.fstat(window._descriptor).st_blocks * 512 <= 4 << 20


@pytest.mark.parametrize("size", [len(SOME) - 1, len(SOME) + 1, 1])
def test_size_that_is_a_lie(size):
    window = window_on(gzipped(SOME), size=size)
    for _ in range(2):  # the same every time
        with pytest.raises(CorruptFileError, match=r"unpacks to \S+ bytes, \S+ were announced"):
            window.read(0, size)


def test_what_cannot_be_unpacked_is_tried_once():
    outer = MemoryWindow(gzipped(SOME)[:-30_000], "x.gz")
    begun: list[int] = []

    def start() -> Stream:
        begun.append(1)
        return unpacking(outer, GZIP)

    window = UnpackedWindow(outer, "x", start, Budget(DEFAULT_LIMITS), slow=False, size=len(SOME))
    for _ in range(3):
        with pytest.raises(CorruptFileError, match="ends early"):
            window.read(0, len(SOME))
    assert len(begun) == 1


def test_given_back_and_unpacked_again():
    window = window_on(gzipped(SOME))
    window.release()
    assert window.filled == 0
    assert window.read(100, 100) == SOME[100:200]
    assert window.budget.spent["unpacked_bytes"] == len(SOME)  # counted once


@pytest.mark.parametrize(
    ("codec", "pack", "resource"), [(GZIP, gzipped, "unpacked_bytes"), (BZIP2, bz2.compress, "unpacked_slowly")]
)
def test_limit_of_what_is_unpacked(codec, pack, resource):
    with pytest.raises(LimitError, match=resource.replace("_", " ")) as problem:
        window_on(pack(SOME), codec, **{resource: 100_000})
    assert problem.value.resource == resource
    assert window_on(pack(SOME), codec, **{resource: len(SOME) + 10_000}).size == len(SOME)


def test_limit_is_for_all_windows_of_a_path_together():
    outer = MemoryWindow(gzipped(SOME), "x.gz")
    budget = Budget(DEFAULT_LIMITS._replace(unpacked_bytes=2 * len(SOME) + 1))

    def another() -> UnpackedWindow:
        return UnpackedWindow(outer, "x", lambda: unpacking(outer, GZIP), budget, slow=False)

    kept = [another(), another()]
    with pytest.raises(LimitError):
        another()
    assert len(kept) == 2


def test_several_paths_take_no_more_room_than_one_may():
    first = window_on(gzipped(SOME), unpacked_bytes=200_000)
    second = window_on(gzipped(SOME), unpacked_bytes=200_000)
    third = window_on(gzipped(SOME), unpacked_bytes=200_000)
    assert [window.filled for window in (first, second, third)] == [0, 0, len(SOME)]
    assert first.read(7, 7) == SOME[7:14]
    assert second.read(7, 7) == SOME[7:14]


def test_nothing_is_left_when_nobody_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    window = window_on(gzipped(SOME))
    assert os.listdir(tmp_path) == [] or os.name != "posix"  # it has no name
    descriptor = window._descriptor
    del window
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(descriptor)
    assert os.listdir(tmp_path) == []
    assert not [budget for budget in BUDGETS if budget.held]


def test_temporary_files_lie_where_tmpdir_says(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary.folder() == str(tmp_path)


@pytest.mark.skipif(not os.path.isdir("/var/tmp"), reason="there is no /var/tmp")
def test_temporary_files_lie_on_a_disk_where_nothing_is_said(monkeypatch):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert temporary.folder() == "/var/tmp"


def test_too_little_room_is_said_before(monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1, 1, 1_000))
    with pytest.raises(SourceError, match="has 1,000 bytes left") as problem:
        window_on(gzipped(SOME), size=len(SOME)).read(0, 10)
    assert "TMPDIR" in problem.value.hint


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "there is no room left"), (errno.EIO, "input/output error")])
def test_disk_that_fails(monkeypatch, number, said):
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(SourceError, match=f"cannot be unpacked into .*: {said}"):
        window_on(gzipped(SOME))


def test_ctrl_c_leaves_nothing(monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    outer = MemoryWindow(gzipped(SOME), "x.gz")
    budget = Budget(DEFAULT_LIMITS, stop)
    with pytest.raises(KeyboardInterrupt):
        UnpackedWindow(outer, "x", lambda: unpacking(outer, GZIP), budget, slow=False)
    gc.collect()
    assert budget.held == 0


def test_progress_counts_bytes_of_the_archive():
    told: list[tuple[int, int]] = []
    data = random.Random(3).randbytes(2 << 20)
    outer = MemoryWindow(gzipped(data), "x.gz")
    UnpackedWindow(
        outer, "x", lambda: unpacking(outer, GZIP), Budget(DEFAULT_LIMITS, lambda *both: told.append(both)), slow=False
    )
    assert told == sorted(told)
    assert told[-1] == (outer.size, outer.size)


def test_checksum_is_checked_when_all_is_read():
    packed = bytearray(gzipped(SOME))
    packed[-6] ^= 1
    with pytest.raises(CorruptFileError, match="gzip data is damaged"):
        window_on(bytes(packed))
