"""`mscope init`: writes a first mscope.toml that the model keeps, and never over anything without being told to."""

from __future__ import annotations

import os
import tomllib

import pytest

from tests.builders.samples import SAMPLES
from tests.cli.documents import FULL, files, needs_full
from tests.command import mscope, process, words
from tests.judged import weights


@pytest.fixture(autouse=True)
def fenced(here):
    """No mscope.toml above the folder counts."""
    (here / ".git").mkdir()


def init(*arguments: object, code: int = 0):
    done = mscope("init", *arguments)
    assert done.code == code, done
    return done


@pytest.mark.parametrize("name", [*SAMPLES, "decoder.pth", "set", "set/model-00001-of-00002.safetensors"])
def test_the_model_keeps_what_is_written(here, name):
    done = init(name)
    assert done.out == f"mscope.toml – next: mscope check {name}\n"
    assert done.err == ""
    checked = mscope("check", name, "--strict")
    assert checked.code == 0, checked.out
    assert len(checked.out.partition("Checks\n")[2].splitlines()) > 4


def test_a_larger_model_breaks_what_is_written(here):
    init("plain.safetensors")
    (here / "plain.safetensors").write_bytes(weights({"a.weight": (500,)}))
    assert mscope("check", "plain.safetensors").code == 1


def test_stdout(here):
    before = files(here)
    done = init("decoder.pth", "-o", "-")
    assert tomllib.loads(done.out)["require-format"] == "torch-zip"
    assert files(here) == before
    init("decoder.pth")
    assert (here / "mscope.toml").read_text(encoding="utf-8") == done.out


def test_a_file_that_is_there_is_kept_unless_forced(here):
    (here / "mscope.toml").write_text("precious")
    done = init("decoder.pth", code=2)
    assert "is there already: --force writes over it" in words(done.err)
    assert (here / "mscope.toml").read_text() == "precious"
    init("decoder.pth", "-o", "other.toml")
    init("decoder.pth", "--force")
    assert "max-size" in (here / "mscope.toml").read_text()


@pytest.mark.parametrize("path", ["gone.pth", "cut.pth", "."])
def test_what_cannot_be_read_writes_nothing(here, path):
    (here / "cut.pth").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    before = files(here)
    done = init(path, code=3)
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert files(here) == before


def test_of_a_damaged_set_no_limits_are_taken(here):
    shard = here / "set" / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    assert "not whole, so limits taken from it would be too low" in init("set", code=3).err
    assert not (here / "mscope.toml").exists()


def test_the_model_is_never_written_over(here):
    before = files(here)
    assert "is the model itself" in words(init("decoder.pth", "-o", "decoder.pth", "--force", code=2).err)
    assert "is the model itself" in words(init("set", "-o", "set/model.safetensors.index.json", "--force", code=2).err)
    init("decoder.pth", "-o", "", code=2)
    init("decoder.pth", "-o", "gone/mscope.toml", code=3)
    init("decoder.pth", "-o", "set", "--force", code=3)
    assert files(here) == before


def test_nothing_is_half_written(here, monkeypatch):
    (here / "mscope.toml").write_text("precious")
    before = files(here)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert "cannot be written: no space left on device" in init("decoder.pth", "--force", code=3).err
    assert files(here) == before


@needs_full
def test_a_full_disk():
    assert f"{FULL}: cannot be written: no space left on device" in process("init", "decoder.pth", "-o", FULL, "--force").stderr
    with open(FULL, "w") as full:
        done = process("init", "decoder.pth", "-o", "-", stdout=full)
    assert (done.returncode, done.stderr) == (3, "mscope: the output cannot be written: no space left on device\n")


def test_the_next_command_can_be_pasted(here):
    (here / "my model.safetensors").write_bytes(weights({"w": (3,)}))
    assert init("my model.safetensors").out == "mscope.toml – next: mscope check 'my model.safetensors'\n"


def test_hostile_names_are_shown_not_sent(here):
    name = "\x1b[2J\u202e\n.safetensors"
    (here / name).write_bytes(weights({"w": (3,), "\x1b[2J": (9,)}))
    done = init(name)
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert done.out.count("\n") == 1
    assert tomllib.loads((here / "mscope.toml").read_text())
    assert mscope("check", name).code == 0


def test_a_written_file_is_utf8_whatever_the_encoding(here):
    (here / "模型.safetensors").write_bytes(weights({"层.权重": (30,), "b": (1,)}))
    done = process("init", "模型.safetensors", encoding="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert '[modules."层"]' in (here / "mscope.toml").read_text(encoding="utf-8")


def test_help():
    text = words(init("--help").out)
    for said in (
        "--output",
        "--force",
        "--only",
        "--limit",
        "Exit codes: 0 fine, 2 wrong usage, 3",
        "mscope init weights.pth -o -",
    ):
        assert said in text
    assert mscope("init").code == 2
