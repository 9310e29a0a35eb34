"""Archives without the numbers in their tensors."""

from __future__ import annotations

import io
import zipfile

import pytest

from modelscope_cli.bridges.netron import hollow as module
from modelscope_cli.bridges.netron.hollow import SMALL
from modelscope_cli.core.window import open_window
from modelscope_cli.formats.archive_paths import open_path


def hollow(path) -> bytes | None:
    with open_window(str(path)) as window:
        return module.hollow(window)


def archive(path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return str(path)


def test_only_large_storages_are_emptied_and_their_size_is_kept(tmp_path):
    large, small = bytes(SMALL + 1), bytes(SMALL)
    path = archive(
        tmp_path / "net.pt",
        {
            "net/data/0": large,
            "net/data/1": small,
            "net/constants/0": large,
            "net/code/data/0.py": large,
            "net/data.pkl": b"graph",
        },
    )
    made = hollow(path)
    assert made is not None
    members = {member.filename: member for member in zipfile.ZipFile(io.BytesIO(made)).infolist()}
    assert {name: member.file_size for name, member in members.items()} == {
        "net/data/0": SMALL + 1,
        "net/data/1": SMALL,
        "net/constants/0": SMALL + 1,
        "net/code/data/0.py": SMALL + 1,
        "net/data.pkl": 5,
    }
    assert {name for name, member in members.items() if member.compress_size < 10} == {
        "net/data/0",
        "net/constants/0",
        "net/data.pkl",
    }
    assert zipfile.ZipFile(io.BytesIO(made)).read("net/data.pkl") == b"graph"


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(60)], ids=len)
def test_what_is_no_archive_is_none_or_empty(tmp_path, data):
    path = tmp_path / "net.pt"
    path.write_bytes(data)
    made = hollow(str(path))
    assert made is None or not zipfile.ZipFile(io.BytesIO(made)).namelist()


def test_a_damaged_archive_is_none(tmp_path):
    path = archive(tmp_path / "net.pt", {"net/data.pkl": b"graph" * 100, "net/code/a.py": b"code" * 100}, zipfile.ZIP_DEFLATED)
    whole = (tmp_path / "net.pt").read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "net.pt").write_bytes(damaged)
        hollow(path)  # raises nothing
    (tmp_path / "net.pt").write_bytes(whole[: len(whole) // 2])
    assert hollow(path) is None


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1000)
    assert hollow(archive(tmp_path / "net.pt", {"net/data.pkl": bytes(2000)}, zipfile.ZIP_DEFLATED)) is None
    monkeypatch.setattr(module, "MOST_MEMBERS", 2)
    assert hollow(archive(tmp_path / "net.pt", {str(number): b"" for number in range(3)})) is None


def test_a_name_that_is_there_twice_is_not_decided(tmp_path):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("net/a.py", b"one")
        made.writestr("net/b.py", b"two")
    path.write_bytes(path.read_bytes().replace(b"net/b.py", b"net/a.py"))
    assert hollow(str(path)) is None


def test_an_archive_in_an_archive(tmp_path):
    inner = archive(tmp_path / "net.pt", {"net/data/0": bytes(SMALL + 1), "net/data.pkl": b"graph", "net/code/a.py": b"code"})
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(inner, "net.pt")
    with open_path(str(tmp_path / "outer.zip!/net.pt")) as window:
        made = module.hollow(window)
    assert made is not None
    assert made == hollow(inner)
