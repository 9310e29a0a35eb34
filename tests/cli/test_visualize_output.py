"""Where pictures go: a file named after the input, the one that -o names, or stdout with nothing else on it."""

from __future__ import annotations

import os
import re
import select
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from modelscope_cli.cli.pictures import name_of, run_name
from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.pictures import FORMATS, TWO, is_a, refused, visualize
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


# What was read stays -----------------------------------------------------------------------------------------------------

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.first = nn.Linear(width, 4)
    def forward(self, x):
        return self.first(x)
"""


@pytest.mark.parametrize("output", ["set/config.json", "set/../set/config.json", "link", "hard"])
@pytest.mark.parametrize("path", ["set", f"set/{TWO}", "set/model.safetensors.index.json"])
def test_the_configuration_beside_the_weights_is_not_written_over(here, path, output):
    (here / "set" / "config.json").write_text('{"a": 1}')
    (here / "link").symlink_to("set/config.json")
    os.link(here / "set" / "config.json", here / "hard")
    refused("-f", "svg", "-o", output, path, said=("--output", "another file that this command reads"))
    assert (here / "set" / "config.json").read_text() == '{"a": 1}'


def test_a_configuration_elsewhere_is_a_file_like_any_other(here):
    (here / "config.json").write_text("{}")
    visualize("set", "-f", "svg", "-o", "config.json")
    assert is_a("svg", (here / "config.json").read_bytes())


def test_a_configuration_that_is_not_there_is_not_in_the_way(here):
    visualize("decoder.pth", "-f", "svg", "-o", "config.json")
    assert is_a("svg", (here / "config.json").read_bytes())


@pytest.mark.parametrize("model", ["nets_kept.py:Net", "./nets_kept.py:Net", "nets_kept:Net"])
@pytest.mark.parametrize("output", ["nets_kept.py", "settings"])
def test_the_source_and_the_settings_of_a_model_are_not_written_over(here, monkeypatch, model, output):
    pytest.importorskip("torch")
    (here / "nets_kept.py").write_text(NET)
    (here / "settings").write_text('{"width": 3}')
    (here / "net.safetensors").write_bytes(safetensors_bytes({"first.weight": ("F32", (4, 3)), "first.bias": ("F32", (4,))}))
    before = (here / output).read_text()
    given = ("--model", model, "--config", "settings", "--input", "float32[1,3]")
    try:
        refused("net.safetensors", "--engine", "torchviz", *given, "-f", "svg", "-o", output, said=("--output",))
    finally:
        sys.modules.pop("nets_kept", None)
    assert (here / output).read_text() == before


# Log folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("bert/model.safetensors", "bert"),
        ("bert/pytorch_model.bin", "bert"),
        ("bert/model-00001-of-00002.safetensors", "bert"),
        ("bert/model.safetensors.index.json", "bert"),
        ("bert/diffusion_pytorch_model.safetensors", "bert"),
        ("bert/checkpoint-1000.pt", "bert-checkpoint-1000"),
        ("bert/model.fp16.safetensors", "bert-model.fp16"),
        ("bert/resnet.pth", "resnet"),
        ("bert/../gpt/model.pt", "gpt"),
        ("bert/\x1b[31m/model.pt", "\\x1b[31m".replace("\\", "_")),
        ("/model.pt", "model"),
    ],
)
def test_a_run_is_called_like_the_folder_where_all_files_are_called_the_same(path, name):
    assert run_name(path) == name


def test_a_run_of_a_file_in_the_working_folder_is_called_like_that(here, monkeypatch):
    (here / "bert").mkdir()
    monkeypatch.chdir(here / "bert")
    assert run_name("model.pt") == "bert"
    assert name_of("model.pt") == "model"


@pytest.fixture
def two(here):
    """Two models of the name that all have."""
    pytest.importorskip("tensorboard")
    for folder, width in (("bert", 3), ("gpt", 5)):
        (here / folder).mkdir()
        (here / folder / "model.safetensors").write_bytes(safetensors_bytes({"a.weight": ("F32", (4, width))}))
    return here


def logged(*arguments: object, code: int = 0):
    return visualize("--engine", "tensorboard", *arguments, code=code)


def test_two_models_of_the_common_name_are_two_runs(two):
    assert logged("bert/model.safetensors").out == "runs/bert\n"
    assert logged("gpt/model.safetensors").out == "runs/gpt\n"
    assert len([path for path in (two / "runs").rglob("*") if path.is_file()]) == 2


def test_the_same_model_may_come_again_however_it_is_named(two, monkeypatch):
    logged("bert/model.safetensors")
    for path in ("bert/model.safetensors", "./bert/../bert/model.safetensors", two / "bert" / "model.safetensors"):
        assert logged(path).out == "runs/bert\n"
    monkeypatch.chdir(two / "bert")
    assert logged("model.safetensors", "-o", "../runs").out == "../runs/bert\n"


def test_the_log_of_another_model_is_not_replaced(two):
    logged("bert/model.safetensors")
    (file,) = (two / "runs" / "bert").iterdir()
    before = file.read_bytes()
    (two / "bert" / "model.safetensors").write_bytes((two / "gpt" / "model.safetensors").read_bytes())
    done = logged("bert/model.safetensors", code=3)
    assert done.out == ""
    assert done.err.startswith(
        "mscope: runs/bert: holds the log of another model, or an older one of this model - name another"
    )
    assert file.read_bytes() == before
    assert logged("bert/model.safetensors", "-o", "others").out == "others/bert\n"


def test_nothing_is_mixed_with_the_events_of_a_training(two):
    (two / "runs" / "bert").mkdir(parents=True)
    (two / "runs" / "bert" / "events.out.tfevents.1700000000.host.1.0").write_bytes(b"precious")
    done = logged("bert/model.safetensors", code=3)
    assert "holds events of another program" in done.err
    assert "-o" in done.err
    assert [path.read_bytes() for path in (two / "runs" / "bert").iterdir()] == [b"precious"]


def test_trainings_below_and_other_files_are_no_part_of_the_run(two):
    (two / "runs" / "bert" / "version_0").mkdir(parents=True)
    (two / "runs" / "bert" / "version_0" / "events.out.tfevents.1").write_bytes(b"precious")
    (two / "runs" / "bert" / "notes.txt").write_text("mine")
    assert logged("bert/model.safetensors").out == "runs/bert\n"
    assert (two / "runs" / "bert" / "version_0" / "events.out.tfevents.1").read_bytes() == b"precious"
    assert (two / "runs" / "bert" / "notes.txt").read_text() == "mine"
