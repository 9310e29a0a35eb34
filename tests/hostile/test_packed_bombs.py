"""Archives that are made to be unpacked: bombs, archives of themselves, many members, lies about sizes, names that lead out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zlib

import pytest

from modelscope_cli.containers import compressed
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError
from modelscope_cli.formats.archive import first_bytes, unpacking
from tests.builders.archives import MODEL, gzipped, special, tarred, zipped, zstd
from tests.builders.zip_archive import Entry, zip_bytes

GIB = 1 << 30


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """Temporary files go into a folder of their own, which is empty in the end."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert os.listdir(folder) == []


def deflated_zeros(nbytes: int) -> bytes:
    """One deflated stream, quickly made: every mebibyte of it begins anew and is the same."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)) * (nbytes >> 20) + b"\x03\0"


def gzipped_zeros(nbytes: int) -> bytes:
    """One gzip stream; the checksum is left wrong, nobody comes as far."""
    return gzipped(b"")[:10] + deflated_zeros(nbytes) + bytes(8)


def test_gzip_of_gigabytes_of_zeros(bounded):
    found = bounded(gzipped_zeros(3 * GIB), "model.safetensors.gz")
    assert found.code == 3


def test_gzip_of_gigabytes_that_look_like_a_model(bounded):
    head = struct.pack("<Q", 128) + b'{"w":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}'.ljust(128)
    found = bounded(gzipped(head) + gzipped_zeros(2 * GIB), "model.safetensors.gz")
    assert found.code == 3
    assert "unpacked bytes: more than the limit of 1,073,741,824" in found.err
    assert "--limit unpacked_bytes=VALUE" in found.err


def test_tar_of_gigabytes_of_zeros(bounded):
    info = tarfile.TarInfo("big.bin")
    info.size = 20 * GIB
    begin = tarred({"model.safetensors": MODEL})[: 512 + len(MODEL) + -len(MODEL) % 512]
    found = bounded(gzipped(begin + info.tobuf()) + gzipped_zeros(2 * GIB), "model.tar.gz")
    assert found.code == 3


def test_zstd_of_gigabytes_of_zeros(bounded):
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"  # one byte, repeated 131,072 times
    head = zstd(struct.pack("<Q", 128) + b"{}".ljust(128))
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 0x58]) + block * (64 << 10) + b"\x01\0\0"
    found = bounded(head + frame, "model.safetensors.zst")
    assert found.code == 3
    assert "unpacked bytes" in found.err


@pytest.mark.parametrize("suffix", ["bz2", "xz"])
def test_slow_codecs(bounded, suffix):
    import random

    pack = bz2.compress if suffix == "bz2" else lambda data: lzma.compress(data, preset=0)
    block = pack(b"".join(struct.pack("<f", random.gauss(0, 1)) for _ in range(1 << 18)))
    head = pack(struct.pack("<Q", 128) + b"{}".ljust(128))
    found = bounded(head + block * 200, f"model.safetensors.{suffix}")
    assert found.code == 3
    assert "unpacked slowly" in found.err


def test_zip_member_of_gigabytes_whose_header_is_enough(bounded):
    """Honest and large: nothing but the header has to be unpacked."""
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (1 << 29, 1 << 31)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = engine.compress(struct.pack("<Q", len(header)) + header) + engine.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(1 << 31)
    size = 8 + len(header) + (1 << 31)
    found = bounded(zip_bytes([Entry("model.safetensors", raw, method=8, size=size)]), "a.zip")
    assert found.code == 0


def test_zip_member_that_claims_more_than_can_be(bounded):
    raw = zlib.compress(MODEL)[2:-4]
    found = bounded(zip_bytes([Entry("model.safetensors", raw, method=8, size=1 << 31)]), "a.zip")
    assert found.code == 3
    assert "cannot unpack to" in found.err


@pytest.mark.parametrize("size", [len(MODEL) - 1, len(MODEL) + 1])
def test_zip_member_that_lies_about_its_size(bounded, size):
    raw = zlib.compress(MODEL)[2:-4]
    found = bounded(zip_bytes([Entry("model.safetensors", raw, method=8, size=size)]), "a.zip")
    assert found.code == 3


def test_zip_of_many_bombs(bounded):
    """Each within the limits, not all of them together."""
    raw = deflated_zeros(GIB // 4)
    entries = [Entry(f"{number}.pt", b"PK\x03\x04" + bytes(8), deflate=True) for number in range(2)]
    entries += [Entry(f"m{number}.pth", raw, method=8, size=GIB // 4) for number in range(20)]
    assert bounded(zip_bytes(entries), "a.zip").code == 3


def test_archives_in_archives_without_end(bounded):
    data = zipped({"model.safetensors": MODEL})
    for level in range(40):
        data = zipped({f"{level}.zip": data}) if level % 2 else gzip.compress(data)
    found = bounded(data, "a.zip")
    assert found.code == 3
    assert "archive depth" in found.err


def test_zip_that_holds_itself(bounded):
    """What a quine looks like from inside: every level has the same bytes; here the levels are made by hand."""
    data = b"x" * 100
    for _ in range(12):
        data = zip_bytes([Entry("r/r.zip", data), Entry("r/s.zip", data)])
    found = bounded(data, "r.zip")
    assert found.code == 3
    assert "archive depth" in found.err


def test_thousands_of_archives(bounded):
    inner = zipped({"model.safetensors": MODEL})
    found = bounded(zipped({f"{number}.zip": inner for number in range(3_000)}), "a.zip")
    assert found.code == 3
    assert found.printed < 1 << 20


def test_thousands_of_members(bounded):
    files = {f"d{number % 50}/x{number}.txt": b"text" for number in range(10_000)}
    for data, name in (
        (zipped({**files, "model.safetensors": MODEL}), "a.zip"),
        (gzipped(tarred({**files, "model.safetensors": MODEL})), "a.tgz"),
    ):
        assert bounded(data, name).code == 0


def test_thousands_of_members_that_might_be_models(bounded):
    files = {f"d{number % 50}/x{number}.bin": bytes([number % 256]) * 64 for number in range(10_000)}
    assert bounded(zipped(files), "a.zip").code == 3


def test_hundreds_of_thousands_of_gzip_streams(bounded):
    """Each is twenty bytes and nothing comes out."""
    found = bounded(gzipped(b"") * 600_000, "model.safetensors.gz")
    assert found.code == 3


EMPTY = {
    "zst": b"\x28\xb5\x2f\xfd\x04\0",  # and then empty blocks: noughts
    "gz": gzipped(b""),  # and then padding
    "bz2": bz2.compress(b""),
    "xz": lzma.compress(b""),
}


@pytest.mark.parametrize("command", ["inspect", "scan"])
@pytest.mark.parametrize("suffix", EMPTY)
def test_gigabytes_of_nothing(bounded, tmp_path, monkeypatch, suffix, command):
    """A sparse file takes no room on the disk. Nothing comes out of it, so that no limit on what is unpacked is met."""
    monkeypatch.setenv("MEASURED", command)
    path = tmp_path / f"model.safetensors.{suffix}"
    path.write_bytes(EMPTY[suffix])
    try:
        os.truncate(path, 40 * GIB)
    except OSError:
        pytest.skip("no such files here")
    found = bounded(b"", path.name)
    assert found.code == 3
    if command == "inspect":
        assert "bytes came out of the first" in found.err


def test_a_byte_now_and_then_is_nothing_too(monkeypatch):
    monkeypatch.setattr(compressed, "MOST_IDLE", 1 << 20)
    blocks = zstd(b"")[:6] + (bytes(3) * 200_000 + struct.pack("<I", 1 << 3)[:3] + b"x") * 20
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 0x58]) + blocks[6:]
    stream = unpacking(MemoryWindow(frame, "m.zst"), compressed.ZSTD)
    with pytest.raises(CorruptFileError, match="1 bytes came out of the first 1,"):
        first_bytes(stream, 4_096)


@pytest.mark.parametrize("command", ["inspect", "scan"])
@pytest.mark.parametrize("behind", [b"", b"\0\0\0\xff\xff"])
def test_deflated_member_that_is_far_longer_than_what_comes_out(bounded, monkeypatch, behind, command):
    """Empty blocks before the data, or anything behind it: both lie in the member and unpack to nothing."""
    monkeypatch.setenv("MEASURED", command)
    pickle = b"\x80\x02}q\0."
    packed, empty = zlib.compress(pickle)[2:-4], bytes(24 << 20) if not behind else behind * (5 << 20)
    raw = empty + packed if behind else packed + empty
    entries = [Entry("a/version", b"3\n"), Entry("a/data.pkl", raw, method=8, size=len(pickle))]
    found = bounded(zip_bytes(entries), "model.pt")
    assert found.code in ((3,) if command == "inspect" else (1, 3))
    assert "should unpack to only 6" in found.err


def test_members_on_the_same_bytes(bounded):
    data = bytearray(zip_bytes([Entry("a.safetensors", MODEL), Entry("b.safetensors", MODEL)]))
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    assert bounded(bytes(data), "a.zip").code == 3


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/etc/evil.safetensors", "C:\\evil.safetensors", "a/../../../evil.pt"]
)
def test_names_write_nothing(bounded, tmp_path, name):
    before = set(os.listdir(tmp_path)) | {"a.zip", "a.tar"}
    bounded(zip_bytes([Entry(name, MODEL), Entry("model.safetensors", MODEL)]), "a.zip")
    bounded(tarred({name: MODEL, "model.safetensors": MODEL}), "a.tar")
    assert set(os.listdir(tmp_path)) == before
    assert not os.path.exists("/etc/evil.safetensors")


def test_links_lead_nowhere(bounded):
    members = (special("model.safetensors", tarfile.SYMTYPE, "/etc/passwd"), special("x.pt", tarfile.LNKTYPE, "/etc/passwd"))
    found = bounded(tarred({}, *members), "a.tar")
    assert found.code == 3
    assert "root:" not in found.err


def test_names_are_shown_not_sent(inspect, tmp_path):
    name = "\x1b]0;x\x07\x1b[31mmodel\u202e.safetensors"
    (tmp_path / "a.zip").write_bytes(zipped({name: MODEL, "b.safetensors": MODEL}))
    done = inspect("a.zip")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


def test_name_with_the_separator_in_it(inspect, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"x.zip!/model.safetensors": MODEL, "y!": b"text"}))
    done = inspect("a.zip")
    assert done.returncode == 0
    assert "a.zip!/x.zip!/model.safetensors" in done.stdout


def test_limit_of_the_disk(inspect, tmp_path):
    """A file may grow to a megabyte: what the system says then is said in words."""
    import random

    if os.name != "posix":
        pytest.skip("there is no such limit")
    import resource

    (tmp_path / "m.pt.gz").write_bytes(gzipped(b"PK\x03\x04" + bytes(30) + random.Random(1).randbytes(4 << 20)))
    done = inspect("m.pt.gz", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert done.returncode == 3
    assert "cannot be unpacked into" in done.stderr
    assert "there is no room left" in done.stderr
