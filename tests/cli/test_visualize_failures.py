"""What cannot be drawn or written is told in one line, with exit code 3, and leaves what was there as it was."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from modelscope_cli.bridges import graphviz
from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.pictures import TWO, is_a, refused, visualize
from tests.command import mscope
from tests.painters import linked_folder
from tests.tables import transformer

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("path", ["decoder.pth", "./decoder.pth", "link.svg"])
def test_the_model_is_never_written_over(here, path):
    (here / "link.svg").symlink_to("decoder.pth")
    before = (here / "decoder.pth").read_bytes()
    refused("decoder.pth", "-f", "svg", "-o", path, said=("is the model itself",))
    assert (here / "decoder.pth").read_bytes() == before


@pytest.mark.parametrize("path", ["set", "set/model.safetensors.index.json", f"set/{TWO}"])
def test_no_shard_of_the_model_is_written_over(unchanged, path):
    visualize(path, "-f", "svg", "-o", "set/model-00001-of-00002.safetensors", code=2)
    visualize(path, "-f", "svg", "-o", "set/model.safetensors.index.json", code=2)


@pytest.mark.parametrize("output", ["missing/out.svg", "decoder.pth/out.svg", "set", "x" * 300 + ".svg"])
def test_an_output_that_cannot_be_written(unchanged, output):
    done = visualize("decoder.pth", "-f", "svg", "-o", output, code=3)
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "cannot be written" in done.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable for root")
def test_a_folder_that_cannot_be_written(here):
    (here / "set").chmod(0o555)
    assert "cannot be written: permission denied" in visualize("decoder.pth", "-o", "set/out.svg", code=3).err
    (here / "set").chmod(0o755)


def test_a_folder_with_several_models_names_them(unchanged):
    done = visualize(".", code=3)
    (line,) = done.err.splitlines()
    assert "a picture is of one" in line
    assert "./decoder.pth" in line
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gone.pth", "no such file or folder"), ("", "mscope: "), ("a\0b", "mscope: "), ("https://example.org/model.pt", "download it first"),
        ("decoder.pth/x", "mscope: "),
    ],
)  # fmt: skip
def test_a_path_without_a_file(unchanged, path, said):
    done = visualize(path, "-f", "svg", code=3)
    assert done.out == ""
    assert said in done.err


def test_a_file_that_is_no_model(here):
    (here / "page.pt").write_text("<!DOCTYPE html><html>not found</html>")
    assert "HTML" in visualize("page.pt", code=3).err
    (here / "empty.pt").write_bytes(b"")
    visualize("empty.pt", code=3)
    assert not list(here.glob("*.pdf"))


@pytest.mark.parametrize(
    "name", ["decoder.pth", "state_dict.pt", "training.ckpt", "legacy.pth", "bare.pkl", "plain.safetensors"]
)
def test_a_file_cut_anywhere_is_drawn_or_told(here, name):
    data = (here / name).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 12)):
        (here / "cut.bin").write_bytes(data[:length])
        (here / "cut.dot").unlink(missing_ok=True)
        done = mscope("visualize", "cut.bin", "-f", "dot")
        assert done.code in (0, 3), done
        assert done.code == 0 or done.err.startswith("mscope: cut.bin: ")
        assert (done.code == 0) <= (here / "cut.dot").exists()


def test_what_was_there_is_kept_when_drawing_fails(here):
    (here / "out.svg").write_text("precious")
    (here / "cut.pth").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    before = {path.name for path in here.iterdir()}
    visualize("cut.pth", "-o", "out.svg", code=3)
    visualize("decoder.pth", "--root", "nowhere", "-o", "out.svg", code=3)
    assert (here / "out.svg").read_text() == "precious"
    assert {path.name for path in here.iterdir()} == before


@pytest.mark.parametrize("format", ["svg", "png"])
def test_what_was_there_is_kept_when_nothing_can_paint(here, monkeypatch, format):
    (here / f"out.{format}").write_text("precious")
    folder = linked_folder(here / "bin")
    monkeypatch.setattr(graphviz, "find_wheel", lambda: None)
    done = visualize("decoder.pth", "-o", f"out.{format}", code=3, PATH=folder)
    assert "pip install graphviz-pure" in done.err
    assert (here / f"out.{format}").read_text() == "precious"
    assert visualize("decoder.pth", "-o", "out.pdf", PATH=folder).err == ""


def test_a_limit_is_obeyed():
    assert "--limit tensors=VALUE" in visualize("decoder.pth", "--limit", "tensors=3", code=3).err
    visualize("decoder.pth", "--limit", "tensors=57", "-f", "dot")


@pytest.mark.parametrize("command", ["visualze", "visualise"])
def test_a_misspelt_command(command):
    assert "did you mean 'visualize'?" in mscope(command, "decoder.pth").err


HOSTILE = [
    "\x1b[31m",
    "<script>",
    "a\nb",
    '"quote"',
    "back\\",
    "&amp;",
    "层",
    "]]>",
    "%s",
    "\u202egnp",
    "a b",
    "-o",
    "🦙",
    "\uffff",
]


@pytest.mark.skipif(sys.platform == "win32", reason="names that this file system does not have")
@pytest.mark.parametrize("format", ["svg", "png", "pdf", "dot"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_files_and_modules(here, name, format):
    shapes = {key.replace("model", f"m{name}"): ("F32", shape) for key, shape in transformer(2).items()}
    (here / f"{name}.safetensors").write_bytes(safetensors_bytes(shapes, {f"m{name}.tied": "lm_head.weight"}))
    done = visualize("-f", format, "--", f"{name}.safetensors")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.out + done.err)
    file = here / done.out.removesuffix("\n")
    assert is_a(format, file.read_bytes())
    if format == "svg":
        ElementTree.fromstring(file.read_bytes())
