"""The tars of torch before 0.1.10, and tar archives in general."""

from __future__ import annotations

import struct

import pytest

from modelscope_cli.containers.tar_directory import looks_like_tar, read_tar_directory
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError, FormatError, LimitError, UnknownFormatError
from tests.builders.pickle_code import call, name, persistent, pickled
from tests.builders.tar_file import OldTensor, TarEntry, storages_member, tar_bytes, tensors_member, torch_tar_entries
from tests.builders.torch_code import module, ordered
from tests.opened import codes, facts, opened

STORAGES = {1: ("FloatStorage", 6, bytes(range(24))), 4: ("LongStorage", 2, bytes(16))}
TENSORS = {
    11: OldTensor(1, (2, 3), (3, 1)),
    12: OldTensor(1, (2,), (3,), 1),
    13: OldTensor(2, (2,), (1,)),
    14: OldTensor(4, (), ()),
}
VIEWS = [(2, 1, 4, 2)]
ROOT = ordered({"weight": persistent("11"), "column": persistent(12), "tail": persistent("13"), "count": persistent("14")})


def tar(root=ROOT, **options) -> bytes:
    return tar_bytes(torch_tar_entries(root, STORAGES, TENSORS, VIEWS), **options)


def replaced(**members: bytes | None) -> bytes:
    """The archive with other members; None leaves one out."""
    entries = torch_tar_entries(ROOT, STORAGES, TENSORS, VIEWS)
    kept = [
        entry._replace(data=members.get(entry.name, entry.data) or b"")
        for entry in entries
        if members.get(entry.name, b"") is not None
    ]
    return tar_bytes(kept)


def test_tensors_and_views():
    data = tar()
    checkpoint = opened(data)
    assert checkpoint.format == "torch-tar"
    assert facts(checkpoint) == {
        "weight": ((2, 3), "float32", "1", 0, None),
        "column": ((2,), "float32", "1", 4, (3,)),
        "tail": ((2,), "float32", "1", 16, None),
        "count": ((), "int64", "4", 0, None),
    }
    weight = checkpoint.tensors[0]
    assert data[weight.start : weight.stop] == bytes(range(24))
    assert checkpoint.notes == []


def test_every_byte_is_labelled():
    data = tar(trailing=bytes(2_048))
    sections = opened(data).sections()
    assert sections["data"] == 40
    assert sections["header"] == 4 * 512 + 2 * 8
    assert sum(sections.values()) == len(data)
    assert "unmapped" not in sections


def test_bytes_behind_the_archive_are_unmapped():
    assert opened(tar(trailing=b"more")).sections()["unmapped"] == 4


def test_modules_saved_with_their_source():
    cls = persistent((name("shop.Net"), "net.py", "class Net: ..."))
    net = module("shop.Net", {"weight": persistent("11")})
    checkpoint = opened(tar({"cls": cls, "net": net}))
    assert checkpoint.tensors[0].role == "parameter"
    assert checkpoint.modules["net"].class_name == "shop.Net"


def test_a_tensor_met_twice():
    assert list(facts(opened(tar([persistent("11"), persistent("11")])))) == ["0", "1"]


def test_pickles_are_traced_by_member():
    checkpoint = opened(tar({"x": call("os.system", "true"), "w": persistent("11")}))
    traces = {trace.where.rpartition(":")[2]: {use.name for use in trace.globals} for trace in checkpoint.pickles}
    assert traces["pickle"] == {"system"}
    assert traces["storages"] == {"FloatStorage", "LongStorage"}
    assert traces["tensors"] == {"FloatTensor"}


def test_the_last_member_of_a_name_counts_and_the_first_is_looked_at():
    hidden = TarEntry("pickle", pickled({"x": call("os.system", "true")}))
    checkpoint = opened(tar_bytes([hidden, *torch_tar_entries(ROOT, STORAGES, TENSORS, VIEWS)]))
    assert len(checkpoint.tensors) == 4
    assert codes(checkpoint) == {"tar-duplicate": "warning"}
    assert any(use.name == "system" for trace in checkpoint.pickles for use in trace.globals)


def test_other_members_are_records():
    extra = TarEntry("../../etc/passwd", b"x" * 600)
    checkpoint = opened(tar_bytes([extra, *torch_tar_entries(ROOT, STORAGES, TENSORS, VIEWS)]))
    assert checkpoint.sections()["record"] == 600
    assert len(checkpoint.tensors) == 4


def test_big_endian_is_noted():
    assert codes(opened(replaced(sys_info=pickled({"little_endian": False})))) == {"big-endian": "info"}


RECORD = pickled(1) + pickled((1, "cpu", name("torch.FloatStorage")))
TENSOR = pickled(1) + pickled((11, 1, name("torch.FloatTensor")))
BROKEN = {
    "storages end early": {"storages": RECORD + struct.pack("<q", 9) + bytes(35)},
    "storage of negative size": {"storages": RECORD + struct.pack("<q", -1)},
    "storage of no class": {"storages": pickled(1) + pickled((1, "cpu", "FloatStorage")) + bytes(8)},
    "key is no number": {"storages": pickled(1) + pickled(("x", "cpu", name("torch.FloatStorage"))) + bytes(8)},
    "record of two": {"storages": pickled(1) + pickled((1, "cpu"))},
    "count is text": {"storages": pickled("1")},
    "view leaves its storage": {"storages": storages_member(STORAGES, [(2, 1, 5, 2)])},
    "view of nothing": {"storages": storages_member(STORAGES, [(2, 7, 0, 1)])},
    "tensor of nothing": {"tensors": tensors_member({11: OldTensor(9, (1,), (1,))})},
    "tensor leaves its storage": {"tensors": tensors_member({**TENSORS, 11: OldTensor(1, (3, 3), (3, 1))})},
    "negative extent": {"tensors": tensors_member({**TENSORS, 11: OldTensor(1, (-1,), (1,))})},
    "negative dimensions": {"tensors": TENSOR + struct.pack("<i4x", -1) + bytes(80)},
    "tensors end early": {"tensors": TENSOR + struct.pack("<i4x", 2) + bytes(16)},
    "pickle is cut": {"pickle": pickled(ROOT)[:-3]},
    "unknown key": {"pickle": pickled({"w": persistent("99")})},
    "key that is text": {"pickle": pickled({"w": persistent("abc")})},
    "tensors are missing": {"tensors": None},
    "storages are missing": {"storages": None},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused(what):
    with pytest.raises(CorruptFileError):
        opened(replaced(**BROKEN[what]), "old.tar")


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
def test_links_are_not_followed(kind):
    entries = torch_tar_entries(ROOT, STORAGES, TENSORS, VIEWS)
    entries[1] = TarEntry("pickle", kind=kind, link="/etc/passwd")
    with pytest.raises(CorruptFileError, match="a link"):
        opened(tar_bytes(entries))


def test_other_tars_are_named():
    with pytest.raises(UnknownFormatError, match=r"this is an archive, not a PyTorch checkpoint \(1 file, notes.txt\)"):
        opened(tar_bytes([TarEntry("notes.txt", b"hello")]), "model.pth.tar")


# The archive


def members(data: bytes) -> dict[str, bytes]:
    directory = read_tar_directory(MemoryWindow(data, "x.tar"), DEFAULT_LIMITS)
    return {member.name: data[member.start : member.stop] for member in directory.members}


LONG = "long/" * 60 + "name"
WRITTEN = {
    "posix": (TarEntry("a", b"data"), "a"),
    "gnu": (TarEntry("a", b"data", magic=b"ustar  \0"), "a"),
    "unix v7": (TarEntry("sys_info", b"data", magic=b"", kind=b"\0"), "sys_info"),
    "prefix": (TarEntry("a", b"data", prefix="in/side"), "in/side/a"),
    "binary size": (TarEntry("a", b"data", binary_size=True), "a"),
    "pax name": (TarEntry("cut", b"data", pax={"path": LONG, "mtime": "1.5"}), LONG),
    "pax size": (TarEntry("a", b"data", pax={"size": "4"}), "a"),
    "surrogates": (TarEntry("\udcff", b"data"), "\udcff"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_ways_to_write_a_header(how):
    entry, expected = WRITTEN[how]
    data = tar_bytes([entry, TarEntry("next", b"more" * 200)])
    assert members(data) == {expected: b"data", "next": b"more" * 200}


def test_gnu_long_names():
    data = tar_bytes([TarEntry("././@LongLink", LONG.encode() + b"\0", kind=b"L"), TarEntry(LONG[:100], b"data")])
    assert members(data) == {LONG: b"data"}


def test_tars_without_a_sign_are_known_by_their_checksum():
    entries = [entry._replace(magic=b"") for entry in torch_tar_entries(ROOT, STORAGES, TENSORS, VIEWS)]
    data = tar_bytes(entries)
    assert looks_like_tar(data[:512])
    assert opened(data).format == "torch-tar"


def test_an_archive_without_its_end_is_noted():
    assert codes(opened(tar(ending=0))) == {"tar-end": "warning"}


@pytest.mark.parametrize(
    "entry",
    [
        TarEntry("a", checksum=1),
        TarEntry("a", size=600),
        TarEntry("a", size=-1 & 0x7FFFFFFF),
        TarEntry("a", pax={"size": "x"}),
        TarEntry("pax", b"99 path=a\n", kind=b"x"),
        TarEntry("pax", b"nothing", kind=b"x"),
    ],
    ids=str,
)
def test_damaged_headers_are_refused(entry):
    with pytest.raises(FormatError):
        opened(tar_bytes([entry]), "model.tar")


def test_members_are_limited():
    with pytest.raises(LimitError):
        opened(tar(), limits=DEFAULT_LIMITS._replace(members=3))
