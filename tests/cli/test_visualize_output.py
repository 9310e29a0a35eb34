"""Where pictures go: a file named after the input, the one that -o names, or stdout with nothing else on it."""

from __future__ import annotations

import os
import re
import select
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from tests.cli.pictures import FORMATS, TWO, is_a, visualize
from tests.command import Done, process
from tests.painters import linked_folder

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_is_called_like_the_file_and_its_name_is_printed(here, format):
    assert visualize("decoder.pth", "-f", format) == Done(0, f"decoder.{format}\n", "")
    assert is_a(format, (here / f"decoder.{format}").read_bytes())


def test_the_default_is_a_pdf(here):
    assert visualize("decoder.pth").out == "decoder.pdf\n"
    assert is_a("pdf", (here / "decoder.pdf").read_bytes())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("set", "set"), ("set/", "set"), ("./set/.", "set"), (f"set/{TWO}", "model"), ("set/model.safetensors.index.json", "model"),
        ("./plain.safetensors", "plain"), ("training.ckpt", "training"),
    ],
)  # fmt: skip
def test_the_name_of_a_picture(here, path, name):
    assert visualize(path, "-f", "dot").out == f"{name}.dot\n"
    assert (here / f"{name}.dot").is_file()


def test_the_picture_of_a_file_elsewhere_is_in_the_working_folder(here, monkeypatch):
    monkeypatch.chdir("set")
    assert visualize("../decoder.pth", "-f", "dot").out == "decoder.dot\n"
    assert (here / "set" / "decoder.dot").is_file()


@pytest.mark.parametrize("format", FORMATS)
def test_the_suffix_of_the_output_decides(here, format):
    assert visualize("decoder.pth", "-o", f"out.{format.upper()}") == Done(0, "", "")
    assert is_a(format, (here / f"out.{format.upper()}").read_bytes())


def test_the_format_wins_over_the_suffix(here):
    done = visualize("decoder.pth", "-f", "SVG", "-o", "out.png")
    assert done == Done(0, "", "mscope: warning: out.png gets SVG, whatever its name ends in\n")
    assert is_a("svg", (here / "out.png").read_bytes())
    visualize("decoder.pth", "-f", "dot", "-o", "no suffix")
    assert is_a("dot", (here / "no suffix").read_bytes())


@pytest.mark.parametrize("format", FORMATS)
def test_a_dash_is_stdout_and_nothing_else_is_on_it(here, format):
    with open(here / "stdout", "wb") as file:
        done = process("visualize", "decoder.pth", "-f", format, "-o", "-", "-v", stdout=file)
    assert done.returncode == 0
    assert done.stderr.startswith("mscope: painted by ")
    assert is_a(format, (here / "stdout").read_bytes())
    visualize("decoder.pth", "-f", format, "-o", f"same.{format}")
    assert (here / "stdout").read_bytes() == (here / f"same.{format}").read_bytes()
    assert not (here / "-").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_an_encoding_without_our_letters_changes_no_picture(here, format):
    with open(here / "stdout", "wb") as file:
        assert process("visualize", "decoder.pth", "-f", format, "-o", "-", stdout=file, encoding="ascii").returncode == 0
    visualize("decoder.pth", "-f", format, "-o", f"same.{format}")
    assert (here / "stdout").read_bytes() == (here / f"same.{format}").read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_is_full():
    with open("/dev/full", "w") as full:
        done = process("visualize", "decoder.pth", "-f", "svg", "-o", "-", stdout=full)
    assert (done.returncode, done.stderr) == (3, "mscope: the output cannot be written: no space left on device\n")
    assert "cannot be written" in visualize("decoder.pth", "-f", "svg", "-o", "/dev/full", code=3).err


def test_a_file_is_replaced_and_nothing_is_left_beside_it(here):
    before = {path.name for path in here.iterdir()}
    (here / "out.svg").write_text("old and much longer " * 100_000)
    visualize("decoder.pth", "-o", "out.svg")
    ElementTree.fromstring((here / "out.svg").read_bytes())
    assert {path.name for path in here.iterdir()} == before | {"out.svg"}


def test_verbose_says_which_program_painted():
    assert re.fullmatch(
        r"mscope: painted by (Graphviz|graphviz-pure) \(.+\)\n", visualize("decoder.pth", "-f", "svg", "-v").err
    )
    assert visualize("decoder.pth", "-f", "svg").err == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="xdg-open")
def test_open_opens_what_was_written(here, tmp_path):
    os.mkfifo(here / "called")
    folder = linked_folder(here / "bin")
    (here / "bin" / "xdg-open").write_text(f'#!/bin/sh\necho "$1" > {here}/called\n')
    (here / "bin" / "xdg-open").chmod(0o755)
    pipe = os.open(here / "called", os.O_RDWR | os.O_NONBLOCK)
    done = process("visualize", "decoder.pth", "-f", "svg", "--open", env={"PATH": folder})
    assert (done.returncode, done.stdout, done.stderr) == (0, "decoder.svg\n", "")
    assert select.select([pipe], [], [], 20)[0]
    assert os.read(pipe, 1000).decode().strip().endswith("decoder.svg")
    os.close(pipe)
