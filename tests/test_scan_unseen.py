"""`mscope scan` says what it did not look at, each kind in its own words: a hole that is not told is a hole."""

from __future__ import annotations

import gzip
import json
import os
import re

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.attack_files import FILES
from tests.builders.dcp_folder import blob
from tests.builders.pickle_code import call, pickled
from tests.builders.samples import SAMPLES
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_entries
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words
from tests.scanned import scanned

EVIL = pickled(call("posix.system", "a"))
GOOD = torch_entries(ordered({"w": tensor()}), {"0": 24})


def nested(levels: int) -> bytes:
    data = EVIL
    for _ in range(levels):
        data = zip_bytes([Entry("next", data)])
    return data


def why(data: bytes, name: str = "model.pt", **limits: int) -> list[tuple[str, str]]:
    """(place, reason) of what was not looked at; the file must not be called safe."""
    safety = scanned(data, name, DEFAULT_LIMITS._replace(**limits))
    assert safety.verdict not in ("safe", None)
    assert [found.message for found in safety.found if found.code == "not-looked-at"]
    return [(one.where, one.why) for one in safety.unseen if not one.minor]


def test_what_lies_too_deep():
    (left,) = why(nested(DEFAULT_LIMITS.scanned_depth + 2))
    assert left[0] == "/".join(["next"] * (DEFAULT_LIMITS.scanned_depth + 1))
    assert left[1].startswith(f"more than {DEFAULT_LIMITS.scanned_depth} containers in one another")
    assert scanned(nested(DEFAULT_LIMITS.scanned_depth)).verdict == "dangerous"


def test_more_parts_than_are_looked_at():
    data = zip_bytes([Entry(f"{number}.pkl", pickled({})) for number in range(9)])
    assert any("what follows the first 5 parts" in reason for _, reason in why(data, scanned_parts=5))


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (zip_bytes([*GOOD, Entry("extra.pkl", EVIL * 400, deflate=True)]), {"scanned_bytes": 2_000}),
        (gzip.compress(pickled({"x": "x" * 900}) + EVIL), {"unpacked_bytes": 100}),
        (pickled({str(number): number for number in range(900)}) + EVIL, {"opcodes": 100}),
        (pickled([call("shop.f", "x" * 3_000)]) + EVIL, {"pickle_bytes": 1_000}),
    ],
    ids=["scanned bytes", "unpacked bytes", "opcodes", "pickle bytes"],
)
def test_what_is_beyond_a_limit_and_which(data, limits):
    safety = scanned(data, "model.pt", DEFAULT_LIMITS._replace(**limits))
    assert safety.verdict not in ("safe", None)
    told = " ".join([str(found.message) for found in safety.found] + [one.why for one in safety.unseen])
    assert "--limit" in told


def test_what_is_encrypted_or_packed_otherwise():
    (left,) = why(zip_bytes([*GOOD, Entry("archive/x", b"Rar!\x1a\x07\0" + bytes(99))]))
    assert left[0] == "archive/x"
    assert "which is not unpacked here: unpack it first and scan what comes out" in left[1]
    assert [place for place, _ in why(zip_bytes([*GOOD, Entry("secret.pkl", EVIL, method=99)]))] == ["secret.pkl"]


def test_a_link_in_an_archive():
    safety = scanned(
        tar_bytes([TarEntry("a.pkl", pickled({})), TarEntry("b.pkl", b"", kind=b"2", link="/etc/passwd")]), "m.tar"
    )
    assert [(found.code, found.where) for found in safety.found if found.code.startswith("tar-")] == [("tar-link", "b.pkl")]


@pytest.mark.parametrize("comment", [EVIL, b"\x80\x04" + EVIL[2:], bytes(40) + EVIL])
def test_what_stands_in_the_comment_of_an_archive(comment):
    safety = scanned(zip_bytes(GOOD, comment=comment))
    told = [str(found.message) for found in safety.found] + [one.why for one in safety.unseen]
    assert safety.verdict != "safe"
    assert any("comment" in one for one in told) or {"posix.system"} <= {item.path for item in safety.imports}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    return tmp_path / "set"


def left_out(path: str) -> dict[str, str]:
    """What a person and a program are told of what was left out."""
    (report,) = json.loads(mscope("scan", path, "-f", "json").out)["checkpoints"]
    shown = words(mscope("scan", path, columns=200).out)
    rows = {row["path"]: row["why"] for row in report["not_looked_at"] if row["why"] and not row["member"]}
    for place, reason in rows.items():
        assert f"{place}: {reason}" in shown.partition("Not looked at")[2]
    return rows


def test_a_repositorys_own_files(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "x.pkl").write_bytes(EVIL)
    assert left_out("set") == {os.path.join("set", ".git"): "a repository's own files: left out, name it to have it scanned"}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_links_to_folders(folder):
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "x.pkl").write_bytes(EVIL)
    (folder / "linked").symlink_to(folder.parent / "other", target_is_directory=True)
    assert left_out("set") == {os.path.join("set", "linked"): "a link to a folder: left out, name it to have it scanned"}


def test_parts_of_no_known_kind_are_counted(folder):
    (folder / "good.pt").unlink()
    (folder / "m.zip").write_bytes(zip_bytes([*GOOD, Entry("archive/x", os.urandom(9).hex().encode() + b"\xff\xfe\xfd" * 9)]))
    out = words(mscope("scan", "set/m.zip").out)
    assert "1 part that nothing is known to run: -f json has them all" in out


@pytest.mark.parametrize("names", [("a.pkl",), ("a.pkl", "b.pkl")])
def test_the_verdict_on_a_folder_is_not_about_what_was_left_out(names, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "evil.pkl").write_bytes(EVIL)
    for name in names:
        (tmp_path / name).write_bytes(pickled({}))
    done = mscope("scan", tmp_path)
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if line.startswith("Verdict ") and "safe" in line]
    assert "safe" in line
    assert "; 1 folder was not looked at" in words(done.out)
    (tmp_path / ".git" / "evil.pkl").unlink()
    (tmp_path / ".git").rmdir()
    assert "not looked at" not in words(mscope("scan", tmp_path).out)


def test_numbers_of_a_part_without_its_index_are_searched_so_far():
    attack = FILES["a part without its index"]
    data = attack.files[attack.path]
    assert scanned(data, attack.path).verdict == "dangerous"
    short = scanned(data, attack.path, DEFAULT_LIMITS._replace(searched_bytes=8))
    (left,) = [one.why for one in short.unseen if "numbers" in one.where]
    assert re.fullmatch(r"without its index, [\d,]+ bytes of them: no more than 32 bytes of numbers are searched \(.*\)", left)


def test_so_many_places_of_a_part_are_tried():
    numbers = b"\x80\x02ca\nb\n0" * 210
    numbers += bytes(-len(numbers) % 4)
    safety = scanned(blob(tensor("0", (len(numbers) // 4,)), {"0": numbers}), "__0_0.distcp")
    assert [one.why for one in safety.unseen] == ["10 places where a pickle could begin: 200 are tried in each MiB"]
