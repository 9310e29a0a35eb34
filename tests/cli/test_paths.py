"""From what a person types to the checkpoints that are meant, in words where there are none."""

from __future__ import annotations

import json
import re

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.shards import sharded_folder
from tests.command import Done, mscope, words

pytestmark = pytest.mark.usefixtures("here")
ONE, TWO = "set/model-00001-of-00002.safetensors", "set/model-00002-of-00002.safetensors"
INDEX = "set/model.safetensors.index.json"


def found(*paths: str, code: int = 0) -> list[str]:
    """The paths of the checkpoints that were shown."""
    done = mscope("inspect", *paths, "-f", "json")
    assert done.code == code, done.err
    return [checkpoint["path"] for checkpoint in json.loads(done.out)["checkpoints"]]


def told(done: Done) -> list[str]:
    """The lines on stderr, each a sentence of its own."""
    assert all(line.startswith("mscope: ") for line in done.err.splitlines())
    return done.err.splitlines()


def test_inspect_is_the_default_command():
    assert mscope("decoder.pth") == mscope("inspect", "decoder.pth")
    assert mscope("--by", "kind", "decoder.pth") == mscope("inspect", "--by", "kind", "decoder.pth")
    assert mscope("-f", "json", "decoder.pth") == mscope("inspect", "decoder.pth", "-f", "json")
    assert mscope("--unit=si", "decoder.pth", "plain.safetensors").code == 0


def test_a_file_may_be_called_like_the_command(here):
    (here / "inspect").write_bytes((here / "decoder.pth").read_bytes())
    assert found("inspect") == ["inspect"]
    assert mscope("./inspect").code == 0


def test_options_may_stand_behind_the_paths_and_between_them():
    assert mscope("inspect", "decoder.pth", "-n", "3") == mscope("inspect", "-n", "3", "decoder.pth")
    assert found("decoder.pth", "--by", "role", "plain.safetensors") == ["decoder.pth", "plain.safetensors"]


def test_a_path_behind_two_dashes_may_begin_with_one(here):
    (here / "-n.safetensors").write_bytes((here / "plain.safetensors").read_bytes())
    assert "File        -n.safetensors" in mscope("inspect", "--", "-n.safetensors").out


def test_several_files_are_shown_one_after_the_other():
    done = mscope("inspect", "plain.safetensors", "decoder.pth", "legacy.pth")
    assert re.findall(r"^File +(\S+)", done.out, re.MULTILINE) == ["plain.safetensors", "decoder.pth", "legacy.pth"]
    assert done.out.count("TOTAL") == 3


def test_a_file_named_twice_is_shown_once(here):
    (here / "link.pth").symlink_to("decoder.pth")
    assert found("decoder.pth", "./decoder.pth", "link.pth", "set/../decoder.pth") == ["decoder.pth"]


def test_shards_of_one_set_are_one_checkpoint():
    assert found(TWO, ONE) == ["set/model.safetensors"]
    assert found(INDEX, ONE, "set", TWO) == ["set/model.safetensors"]


@pytest.mark.parametrize("path", [ONE, TWO, INDEX, "set", "set/", "./set/."])
def test_every_way_to_name_a_set(path):
    out = mscope("inspect", path).out
    assert "Set         set/model.safetensors  ·  safetensors, 2 shards" in out
    assert "76  in 4 tensors" in out


def test_a_set_in_the_current_folder(monkeypatch):
    monkeypatch.chdir("set")
    assert found(".") == ["./model.safetensors"]
    assert found(ONE.removeprefix("set/")) == ["model.safetensors"]


def test_only_takes_each_shard_by_itself():
    done = mscope("inspect", ONE, TWO, "--only")
    assert re.findall(r"^File +(\S+)", done.out, re.MULTILINE) == [ONE.removeprefix("set/"), TWO.removeprefix("set/")]


def test_a_missing_shard_is_told_and_the_others_are_shown(here):
    (here / TWO).unlink()
    done = mscope("inspect", ONE)
    assert done.code == 3
    assert "56  in 2 tensors" in done.out
    assert TWO.removeprefix("set/") in done.out + done.err


def test_a_folder_with_several_sets_shows_the_one_that_loaders_take(here):
    shards = {f"pytorch_model-0000{n}-of-00002.bin": {f"w{n}": ("F32", (2,))} for n in (1, 2)}
    sharded_folder(here / "set", shards, index="pytorch_model.bin.index.json")
    done = mscope("inspect", "set")
    assert done.code == 0
    assert done.out.count("TOTAL") == 2  # of the set, and of the folder
    assert "the folder also holds pytorch_model.bin.index.json: probably the same model again" in words(done.out)


def test_unrelated_files_of_a_folder_all_come(here):
    (here / "mixed").mkdir()
    for name in ("b.safetensors", "a.safetensors"):
        (here / "mixed" / name).write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    (here / "mixed" / "notes.txt").write_text("not a model")
    assert found("mixed") == ["mixed/a.safetensors", "mixed/b.safetensors"]


def test_a_folder_without_a_model(here):
    (here / "empty").mkdir()
    done = mscope("inspect", "empty")
    assert (done.code, done.out) == (3, "")
    assert told(done) == [
        "mscope: empty: a folder without a model file - expected .safetensors, .gguf, .bin, .pt, .pth or .ckpt files"
    ]


def test_a_missing_path_among_good_ones():
    done = mscope("inspect", "plain.safetensors", "gone.pt", "decoder.pth", "away.bin")
    assert done.code == 3
    assert done.out.count("TOTAL") == 2
    assert [line.split(":")[1].strip() for line in told(done)] == ["gone.pt", "away.bin"]


def test_what_is_no_checkpoint_among_good_ones(here):
    (here / "page.pt").write_text("<!DOCTYPE html><html>not found</html>")
    (here / "pointer.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (here / "cut.pth").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    done = mscope("inspect", "page.pt", "plain.safetensors", "pointer.bin", "cut.pth")
    assert done.code == 3
    assert done.out.count("TOTAL") == 1
    lines = told(done)
    assert len(lines) == 3
    assert "HTML" in lines[0]
    assert "Git LFS" in lines[1]
    assert lines[2].startswith("mscope: cut.pth: ")


def test_json_has_the_errors_as_objects():
    document = json.loads(mscope("inspect", "decoder.pth", "gone.pt", "-f", "json").out)
    (error,) = document["errors"]
    assert error["error"] == "SourceError"
    assert error["path"] == "gone.pt"
    assert set(error) == {"error", "path", "message", "offset", "hint"}
    assert len(document["checkpoints"]) == 1


@pytest.mark.parametrize("format", ["table", "tree", "json"])
def test_nothing_but_errors(format):
    done = mscope("inspect", "gone.pt", "-f", format)
    assert done.code == 3
    assert len(told(done)) == 1
    if format == "json":
        assert json.loads(done.out)["checkpoints"] == []
    else:
        assert done.out == ""


@pytest.mark.parametrize(
    "address", ["https://example.org/model.safetensors", "s3://bucket/model.pt", "hf:org/name", "GS://bucket/m.bin"]
)
def test_addresses(address):
    done = mscope("inspect", address)
    assert (done.code, done.out) == (3, "")
    assert told(done) == [f"mscope: {address}: remote files: not yet - download it first and give the local path"]


@pytest.mark.parametrize("word", ["inspct", "Inspect", "inspekt"])
def test_a_misspelt_command(word):
    done = mscope(word, "decoder.pth")
    assert done.code == 3
    assert told(done)[0].endswith("did you mean 'inspect'?")
    assert "TOTAL" in done.out


def test_a_misspelt_file_is_not_taken_for_a_command():
    (line,) = told(mscope("decodr.pth"))
    assert "inspect" not in line


def test_no_path_at_all_is_wrong_usage():
    assert mscope("inspect").code == 2
    assert mscope("--by", "kind").code == 2


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_paths_that_no_file_can_have(path):
    done = mscope("inspect", path)
    assert (done.code, done.out) == (3, "")
    assert len(told(done)) == 1
