"""`mscope visualize` with engines that make models or are other people's: options, extras, folders, what is told."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from modelscope_cli.cli.picture_options import PARAMETERS
from modelscope_cli.engines.registry import BROWSER, ENGINES, LOGS, Engine, engines_taking
from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.pictures import is_a, refused, visualize
from tests.command import UNSET, process, words
from tests.painters import written

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, blocks=0):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(blocks))

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x

def loses(): raise RuntimeError("no such luck\\nmore")
def leaves(): raise SystemExit(0)
class Branches(Net):
    def forward(self, x): return self.first(x) * float(x.sum())
class Wrong(Net):
    def forward(self, x): return self.first(x[:, :2])
HOSTILE = ["<script>", "a\\nb", '"', "back\\\\", "\\\\N", "]", "x -> y", "\\x1b[31m", "\\u202egnp", "层"]
class Hostile(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(3, 3) for name in HOSTILE})
    def forward(self, x):
        for part in self.parts.values(): x = part(x)
        return x
"""
LOUD = """
from nets import Net
class Loud(Net):
    print("imported")
    def __init__(self):
        super().__init__()
        print("made")
    def forward(self, x):
        print("called")
        return super().forward(x)
"""
BY_NET = ("--model", "nets.py:Net", "--input", "float32[2,3]")
OF_MODELS = [engine.name for engine in ENGINES if "model" in engine.takes]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: nets.py and the weights of Net."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "loud.py").write_text(LOUD)
    shapes = {"first.weight": (4, 3), "first.bias": (4,)}
    (tmp_path / "net.safetensors").write_bytes(safetensors_bytes({name: ("F32", shape) for name, shape in shapes.items()}))
    monkeypatch.chdir(tmp_path)
    before = dict(sys.modules)
    yield tmp_path
    for name in [name for name in sys.modules if name not in before and name in ("nets", "loud")]:
        del sys.modules[name]


pytestmark = [pytest.mark.usefixtures("folder"), pytest.mark.filterwarnings("ignore")]


def drawn(*arguments: object, model: tuple[str, ...] = BY_NET) -> str:
    """The DOT text of torchviz."""
    done = visualize("net.safetensors", "--engine", "torchviz", *model, *arguments, "-o", "out.dot")
    assert done.out == ""
    return Path("out.dot").read_text()


def not_drawn(*arguments: object, engine: str = "torchviz", model: tuple[str, ...] = BY_NET) -> str:
    """The one line that says why; exit code 3."""
    done = visualize("net.safetensors", "--engine", engine, *model, *arguments, "-o", "out.dot", code=3)
    assert done.out == ""
    assert not Path("out.dot").exists()
    said = [line for line in done.err.splitlines() if line.startswith("mscope: net.safetensors: ")]
    assert len(said) == 1
    return said[0]


# Options ---------------------------------------------------------------------------------------------------------------

VALUES = {
    "depth": ("--depth", "2"), "root": ("--root", "first"), "fold": ("--no-fold",), "theme": ("--theme", "dark"),
    "model": ("--model", "nets.py:Net"), "input": ("--input", "float32[1]"), "config": ("--config", "{}"), "layers": ("--layers", "1"),
    "trust-code": ("--trust-code",), "show-attrs": ("--show-attrs",), "show-saved": ("--show-saved",), "force": ("--force",),
    "port": ("--port", "8080"),
}  # fmt: skip


def test_every_option_of_single_engines_is_tried_here():
    assert set(VALUES) == set(PARAMETERS.values())
    assert {option for engine in ENGINES for option in engine.takes} <= set(VALUES)


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_an_option_that_means_nothing_to_an_engine_is_refused_with_those_to_which_it_does(engine: Engine, option):
    if option in engine.takes:
        pytest.skip("it means something")
    names = " and ".join(each.name for each in engines_taking(option))
    flag = VALUES[option][0]
    refused("net.safetensors", "--engine", engine.name, *VALUES[option],
            said=(f"'{flag}'", f"means nothing to the engine {engine.name}; it is for {names}"))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "torchviz", "-f", "html"), ("the engine torchviz writes pdf, svg, png, dot", "--engine treemap")),
        (
            ("--engine", "torchviz", "--model", "nets"),
            ("'--model'", "'nets' has no name behind a colon", "package.module:factory"),
        ),
        (("--engine", "torchviz", "--model", "nets:"), ("'--model'", "no name behind a colon")),
        (("--engine", "torchviz", "--model", ":Net"), ("'--model'", "no name behind a colon")),
        (("--engine", "torchviz", "--input", "float32"), ("'--input'", "no description of an input", "int64[1,50]<98631")),
        (("--engine", "dataflow", "--input", "flot[1]"), ("'--input'", "'flot'", "is no dtype")),
        (("--engine", "torchviz", "--input", "float32[1 2]"), ("'--input'",)),
        (("--engine", "torchviz", "--input", "a=float[1]", "--input", "a=float[1]"), ("'--input'", "'a' is given twice")),
        (("--engine", "torchviz", "--layers", "0"), ("'--layers'",)),
        (("--engine", "torchviz", "--layers", "-1"), ("'--layers'",)),
        (("--engine", "torchviz", "--layers", "all"), ("'--layers'",)),
        (("--engine", "torchviz", "--config", "{'a': 1}"), ("'--config'", "no JSON")),
        (("--engine", "torchviz", "--config", "{"), ("'--config'", "no JSON")),
        (("--engine", "torchviz", "--config", "[1]"), ("'--config'", "neither a JSON object nor a file of one")),
        (("--engine", "torchviz", "--config", "gone.json"), ("'--config'", "neither a JSON object nor a file of one")),
        (("--engine", "torchviz", "--config", "."), ("'--config'", "neither a JSON object nor a file of one")),
        (("--engine", "torchviz", "--config", ""), ("'--config'", "neither a JSON object nor a file of one")),
        (("--engine", "torchviz", "--config", '{"a":' * 100_000), ("'--config'", "no JSON")),
        (("--engine", "torchviz", "--config", "list.json"), ("'--config'", 'must be a JSON object: {"name": value}')),
        (("--engine", "torchviz", "--config", "broken.json"), ("'--config'", "no JSON")),
        (("--engine", "torchviz", "--config", "binary.json"), ("'--config'", "neither a JSON object nor a file of one")),
        (("--engine", "torchviz", "--config", "large.json"), ("'--config'", "larger than a configuration is")),
        (("-f", "browser", "-o", "page.html"), ("'--output'", "serves a page and writes no file")),
        (("-f", "browser", "-o", "-"), ("'--output'", "serves a page and writes no file")),
        (("-f", "browser", "--port", "0"), ("'--port'",)),
        (("-f", "browser", "--port", "65536"), ("'--port'",)),
        (("--engine", "netron", "-f", "svg", "--port", "8080"), ("'--port'", "only -f browser is served")),
        (("--engine", "tensorboard", "-f", "svg"), ("tensorboard writes logs", "--engine diagram")),
        (("-f", "logs", "-o", "-"), ("'--output'", "a log folder cannot go to stdout: name a folder")),
        (("--engine", "tensorboard", "-o", "-"), ("'--output'", "a log folder cannot go to stdout")),
        (("--engine", "tensorboard", "--open"), ("'--open'", "opened by TensorBoard")),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_wrong_usage(folder, options, said):
    (folder / "list.json").write_text("[1, 2]")
    (folder / "broken.json").write_text('{"a": 1,}')
    (folder / "binary.json").write_bytes(b"\xff\xfe\x00")
    (folder / "large.json").write_bytes(b" " * (1 << 20) + b"{}")
    before = sorted(path.name for path in folder.rglob("*"))
    refused("net.safetensors", *options, said=said)
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize("config", ['{"width": 4, "blocks": 2}', ' {"width": 4, "blocks": 2}\n', "config of mine.json"])
def test_settings_are_written_out_or_in_a_file(folder, config):
    (folder / "config of mine.json").write_text(json.dumps({"blocks": 2}))
    done = visualize("net.safetensors", "--engine", "torchviz", *BY_NET, "--config", config, "-o", "out.dot")
    assert "blocks.1.0.weight" in (folder / "out.dot").read_text()
    assert "4 tensors are in the model and not in the file: blocks.0.0.weight, " in done.err


# What is written -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", OF_MODELS)
@pytest.mark.parametrize("format", ["svg", "png", "pdf", "dot"])
def test_every_format(folder, engine, format):
    done = visualize("net.safetensors", "--engine", engine, "-f", format, *BY_NET)
    assert done.out == f"net.{format}\n"
    data = (folder / f"net.{format}").read_bytes()
    assert is_a(format, data) or (format == "dot" and data.startswith(b"digraph"))
    if format == "svg":
        found = " ".join(written(data))
        assert "first" in found
        assert "net.safetensors" in found


@pytest.mark.parametrize("engine", OF_MODELS)
def test_nothing_but_the_picture_is_on_stdout(engine):
    loud = ("--model", "loud.py:Loud", "--input", "float32[2,3]")
    done = process("visualize", "net.safetensors", "--engine", engine, *loud, "-f", "svg", "-o", "-")
    assert done.returncode == 0, done.stderr
    ElementTree.fromstring(done.stdout)
    assert done.stderr.split("\n")[:2] == ["imported", "made"]
    assert "Warning" not in done.stderr


def test_verbose_says_what_painted_it():
    done = visualize("net.safetensors", "--engine", "torchviz", *BY_NET, "-v", "-o", "out.dot", code=0)
    assert done.err.endswith("mscope: painted by mscope\n")


def test_options_of_torchviz_change_the_graph():
    plain, attributes, saved = drawn(), drawn("--show-attrs"), drawn("--show-saved")
    assert "self_sym_sizes" in attributes
    assert "self_sym_sizes" not in plain + saved
    assert "fillcolor=orange" in saved
    assert "fillcolor=orange" not in plain + attributes


def test_hostile_names_of_modules_are_letters(folder):
    model = ("--model", "nets.py:Hostile", "--input", "float32[1,3]", "--force")
    done = visualize("net.safetensors", "--engine", "torchviz", *model, "-o", "out.svg")
    found = written((folder / "out.svg").read_bytes())
    for name in ("<script>", '"', "back\\", "\\N", "]", "x -> y", "层"):
        assert any(f"parts.{name}.weight" in text for text in found), name
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.err)


@pytest.mark.parametrize("name", ["<script>", '"quote"', "back\\", "\\N", "a\nb", "]]>", "\x1b[31m", "%s", "🦙"])
def test_hostile_names_of_files_are_letters(folder, name):
    path = folder / f"{name}.safetensors"
    path.write_bytes((folder / "net.safetensors").read_bytes())
    done = visualize("--engine", "torchviz", *BY_NET, "-o", "out.svg", "--", path.name)
    assert done.out == ""
    assert any("nets.py:Net" in text for text in written((folder / "out.svg").read_bytes()))


# Log folders -----------------------------------------------------------------------------------------------------------


def events(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("arguments", "parent"), [((), "runs"), (("-o", "my logs"), "my logs"), (("-o", "a/b"), "a/b")])
@pytest.mark.parametrize("how", [("--engine", "tensorboard"), ("-f", LOGS)])
def test_logs_go_into_a_folder_of_their_own(folder, how, arguments, parent):
    done = visualize("net.safetensors", *how, *arguments)
    assert done.out == f"{parent}/net\n"
    assert done.err == f"mscope: look at it with: tensorboard --logdir {shlex.quote(parent)}\n"
    assert events(folder / parent / "net")


def test_logs_are_put_beside_what_is_there(folder):
    (folder / "logs" / "net").mkdir(parents=True)
    (folder / "logs" / "net" / "mine").write_text("precious")
    visualize("net.safetensors", "--engine", "tensorboard", "-o", "logs")
    assert (folder / "logs" / "net" / "mine").read_text() == "precious"
    assert len(events(folder / "logs")) > 1


@pytest.mark.parametrize("output", ["nets.py", "nets.py/logs", "net.safetensors"])
def test_a_folder_that_cannot_be_made(folder, output):
    before = (folder / "nets.py").read_text()
    done = visualize("net.safetensors", "--engine", "tensorboard", "-o", output, code=3)
    assert done.out == ""
    assert "no folder can be made there" in done.err
    assert (folder / "nets.py").read_text() == before


# Served pages ----------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = process("visualize", "net.safetensors", "-f", BROWSER, "--no-open", "--port", port)
    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(port) in line
    assert line.startswith("mscope: net.safetensors: ")


# Missing extras --------------------------------------------------------------------------------------------------------

RUNNER = """
import sys
hidden = sys.argv.pop(1).split(",")
sys.modules.update(dict.fromkeys(hidden))
from modelscope_cli.cli.app import main
main()
"""
PACKAGES = {"netron": ["netron"], "torchviz": ["torch", "torchviz"], "dataflow": ["torch"], "tensorboard": ["tensorboard"]}


def without(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where some packages are not installed."""
    settings = {name: value for name, value in os.environ.items() if name not in UNSET}
    command = [sys.executable, "-c", RUNNER, hidden, "visualize", *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)


def test_every_engine_with_an_extra_is_tried_without_it():
    assert set(PACKAGES) == {engine.name for engine in ENGINES if engine.extra}


@pytest.mark.parametrize(("engine", "hidden"), [(engine, hidden) for engine in PACKAGES for hidden in PACKAGES[engine]])
def test_a_missing_extra_is_one_line_that_says_which_to_install(folder, engine, hidden):
    made_by = BY_NET if engine in OF_MODELS else ()
    done = without(hidden, "net.safetensors", "--engine", engine, *made_by, *(("-f", "svg") if engine == "netron" else ()))
    extra = next(each.extra for each in ENGINES if each.name == engine)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert f"needs the optional extra [{extra}]" in line
    assert line.endswith(f"pip install 'modelscope-cli[{extra}]'")
    assert not [path for path in folder.iterdir() if path.suffix not in (".py", ".safetensors", "")]


def test_a_config_needs_transformers(folder):
    (folder / "config.json").write_text('{"model_type": "llama"}')
    done = without("transformers", "net.safetensors", "--engine", "torchviz")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "making the model of a config.json needs the optional extra [torch]" in line


def test_engines_without_an_extra_need_none_of_them():
    hidden = ",".join(sorted({package for packages in PACKAGES.values() for package in packages} | {"transformers", "svglib"}))
    for engine in ENGINES:
        if not engine.extra:
            done = without(hidden, "net.safetensors", "--engine", engine.name, "-f", "svg")
            assert (done.returncode, done.stderr) == (0, "")


# What cannot be drawn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", OF_MODELS)
@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("gone:Net", "there is no module gone"),
        ("gone.py:Net", "there is no file gone.py"),
        ("nets.py:Nett", "did you mean Net?"),
        ("nets.py:loses", "loses() raised RuntimeError: no such luck"),
        ("nets.py:leaves", "leaves() raised SystemExit: 0"),
        ("nets.py:Wrong", "failed in "),
    ],
)
def test_a_model_that_cannot_be_made_or_called(engine, factory, said):
    assert said in not_drawn(engine=engine, model=("--model", factory, "--input", "float32[2,3]"))


@pytest.mark.parametrize("engine", OF_MODELS)
def test_weights_alone_make_no_model(engine):
    line = not_drawn(engine=engine, model=())
    assert "no config.json that says of what model is beside it" in line
    assert "--model package.module:factory --input" in line


@pytest.mark.parametrize("engine", OF_MODELS)
def test_a_model_needs_inputs_and_a_config_a_known_type(folder, engine):
    assert "--model needs --input" in not_drawn(engine=engine, model=BY_NET[:2])
    (folder / "config.json").write_text('{"model_type": "\\u001b[31mno such"}')
    line = not_drawn(engine=engine, model=())
    assert "knows no model_type" in line
    assert "\x1b" not in line


def test_weights_of_another_model_are_refused_but_for_force(folder):
    line = not_drawn("--config", '{"width": 9}')
    assert "first.weight is 4 × 3 in the file and 9 × 3 in the model" in line
    assert "--force" in line
    done = visualize("net.safetensors", "--engine", "torchviz", *BY_NET, "--config", '{"width": 9}', "--force", "-o", "out.dot")
    assert "mscope: warning: the weights do not all fit the model: first.weight is 4 × 3" in done.err
    assert "first.weight\n (9, 3)" in (folder / "out.dot").read_text()


def test_advice_for_a_graph_that_is_too_large_works(folder):
    many = ("--config", '{"blocks": 900}')
    line = not_drawn(*many)
    assert "nodes would be drawn, more than can be read" in line
    advice = [tuple(option.split()) for option in re.findall(r"(--layers \d+|--force) draws", line)]
    assert advice == [("--layers", "1"), ("--force",)]
    for option in advice:
        text = drawn(*many, *option)
        assert ("blocks.899.0.weight" in text) == (option == ("--force",))
        assert "blocks.0.0.weight" in text
        (folder / "out.dot").unlink()


@pytest.mark.parametrize("engine", OF_MODELS)
def test_help_of_a_refusal_fits_its_engine(engine):
    said = words(not_drawn(engine=engine, model=()))
    assert "--engine diagram" in said
    assert f"--engine {engine} " not in said
