"""Code that comes with a file runs with --trust-code only, and then its user is told what that means."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
import torch
from torch import nn

import modelscope_cli
from modelscope_cli.bridges.models.trusted import holds_module
from modelscope_cli.engines.registry import BROWSER, ENGINES
from tests.command import mscope, process
from tests.models.networks import FiveLayers

pytestmark = pytest.mark.usefixtures("unconnected", "forgotten")
WARNING = "mscope: warning: --trust-code runs code that comes with the file, and it can do whatever you can\n"


class Canary:
    """Loading its pickle writes a file."""

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __reduce__(self):
        return eval, (f"open({self.path!r}, 'w').close()",)


def network(canary: object = None) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Sequential(nn.Linear(4, 2)))
    if canary is not None:
        model[0].note = Canary(canary)
    return model


def write(kind: str, path, canary: object = None) -> str:
    """A file of a kind that holds the network, or a canary alone."""
    model = network(canary)
    if kind == "torchscript":
        torch.jit.save(torch.jit.script(network()), path)
    elif kind == "state_dict":
        torch.save({**model.state_dict(), "note": Canary(canary)}, path)
    elif kind == "bare":
        torch.save(Canary(canary), path)
    else:
        content = {"epoch": 3, "model": model} if kind == "training" else model
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy")
    return os.path.basename(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Without trust ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["module", "training", "legacy", "state_dict", "bare"])
def test_the_canaries_would_sing(here, kind):
    write(kind, here / "model.pt", here / "canary")
    assert not (here / "canary").exists()
    torch.load(here / "model.pt", weights_only=False)
    assert (here / "canary").exists()


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Every engine in the first format that is a file, and those that make models with one of the user's too."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for engine in ENGINES:
        format = next(format for format in engine.formats if format != BROWSER)
        found.append((engine.name, ("--engine", engine.name, "-f", format, "-o", "out")))
        if "model" in engine.takes:
            found.append(
                (f"{engine.name} with a model", (*found[-1][1], "--model", "nets.py:build", "--input", "float32[1,3]"))
            )
    return found


@pytest.mark.parametrize("kind", ["module", "training", "legacy", "state_dict", "bare"])
@pytest.mark.parametrize("arguments", [arguments for _, arguments in commands()], ids=[name for name, _ in commands()])
def test_no_engine_loads_a_pickle(here, kind, arguments):
    with_model = "--model" in arguments
    if with_model and kind not in ("module", "state_dict"):
        pytest.skip("one of each is enough of the slow ones")
    write(kind, here / "model.pt", here / "canary")
    (here / "nets.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Sequential(nn.Linear(4, 2)))\n"
    )
    done = process("visualize", "model.pt", *arguments, cwd=here)
    assert not (here / "canary").exists()
    assert "Traceback" not in done.stderr
    assert all(line.startswith("mscope: ") for line in done.stderr.splitlines()), done.stderr
    assert done.returncode == (0 if with_model else done.returncode), done.stderr
    assert done.returncode in (0, 3)
    assert "--trust-code runs" not in done.stderr


OF_MODELS = [engine.name for engine in ENGINES if "trust-code" in engine.takes]


@pytest.mark.parametrize("engine", OF_MODELS)
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("module", "holds a pickled module, and loading that calls "),
        ("training", "holds a pickled module, and loading that calls "),
        ("torchscript", "holds a TorchScript program, which loading and tracing it runs"),
    ],
)
def test_modules_in_files_are_refused_with_what_loading_them_runs(here, engine, kind, said):
    write(kind, here / "model.pt", here / "canary")
    done = mscope("visualize", "model.pt", "--engine", engine, "-o", "out.dot", "--input", "float32[1,3]")
    (line,) = done.err.splitlines()
    assert (done.code, done.out) == (3, "")
    assert f"mscope: model.pt: {said}" in line
    assert "--trust-code" in line
    assert "--model package.module:factory" in line
    assert kind == "torchscript" or re.search(r"\b__builtin__\.eval\b", line)  # as protocol 2 calls it
    assert not (here / "canary").exists()
    assert not (here / "out.dot").exists()


def test_names_that_a_pickle_calls_are_shown_as_what_they_are(here):
    from tests.builders.torch_code import module, parameter, tensor
    from tests.builders.torch_file import torch_zip_bytes

    linear = module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor("0", (2, 3)))})
    odd = module("\x1b[31m<b>\u202e.Odd", fc=linear)
    (here / "odd.pt").write_bytes(torch_zip_bytes(odd, {"0": 24}))
    done = mscope("visualize", "odd.pt", "--engine", "torchviz", "-o", "out.dot")
    assert done.code == 3
    assert "holds a pickled module" in done.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.err)


@pytest.mark.parametrize(
    ("kind", "holds"),
    [("module", True), ("training", True), ("legacy", True), ("torchscript", True), ("state_dict", False), ("bare", False)],
)
def test_which_files_hold_a_module(here, kind, holds):
    write(kind, here / "model.pt", here / "canary")
    assert holds_module(modelscope_cli.read("model.pt")) == holds


# With trust ------------------------------------------------------------------------------------------------------------


def drawn(*arguments: object) -> str:
    """The DOT text on stdout, on which nothing else may be."""
    done = mscope("visualize", *arguments, "--engine", "torchviz", "-f", "dot", "-o", "-", "--trust-code")
    assert done.code == 0, done.err
    assert done.err == WARNING
    assert done.out.startswith("digraph {")
    return done.out


@pytest.mark.parametrize("kind", ["module", "training", "legacy", "torchscript"])
@pytest.mark.parametrize("canary", [False, True])
def test_trusted_modules_are_drawn(here, kind, canary):
    write(kind, here / "model.pt", here / "canary" if canary else None)
    text = drawn("model.pt", "--input", "float32[1,3]")
    assert "the Sequential in the file" in text
    for name, tensor in network().named_parameters():
        assert f'"{name}\n ({", ".join(map(str, tensor.shape))})"' in text
    assert (here / "canary").exists() == (canary and kind != "torchscript")


def test_a_class_beside_the_user_is_found(here, monkeypatch):
    (here / "their_nets.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
    monkeypatch.syspath_prepend(str(here))
    import their_nets

    torch.save(their_nets.Net(3, 2), here / "model.pt")
    monkeypatch.undo()
    sys.modules.pop("their_nets")
    monkeypatch.chdir(here)
    assert "the Net in the file" in drawn("model.pt", "--input", "float32[1,3]")


def test_whole_modules_of_the_examples(here):
    torch.save(FiveLayers(True), here / "model.pt")
    assert drawn("model.pt", "--input", "float32[1,3]").count("AddBackward0") == 4
    assert "1 of 5 in layers" not in drawn("model.pt", "--input", "float32[1,3]")
    assert "2 of 5 in layers" in drawn("model.pt", "--input", "float32[1,3]", "--layers", "1")


@pytest.mark.parametrize("kind", ["module", "torchscript"])
def test_a_call_that_fails_is_told(here, kind):
    write(kind, here / "model.pt")
    done = mscope("visualize", "model.pt", "--engine", "torchviz", "-o", "out.dot", "--trust-code", "--input", "float32[1,5]")
    assert done.code == 3
    told = done.err.removeprefix(WARNING)
    assert told.count("\n") == 1
    assert "with --input 'float32[1,5]' failed" in told


@pytest.mark.parametrize("kind", ["module", "torchscript"])
def test_a_trusted_module_needs_inputs(here, kind):
    write(kind, here / "model.pt")
    done = mscope("visualize", "model.pt", "--engine", "torchviz", "-o", "out.dot", "--trust-code")
    assert done.code == 3
    assert "a module from a file needs --input" in done.err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "class Net(nn.Linear):\n    def __setstate__(self, state): raise RuntimeError('broken\\nmore')\n",
            "RuntimeError: broken",
        ),
        ("class Net(nn.Linear):\n    def __setstate__(self, state): raise SystemExit(4)\n", "SystemExit: 4"),
        ("", "Can't get attribute 'Net'"),
        (None, "ModuleNotFoundError: No module named 'their_nets'"),
        ("class Net(dict):\n    def __setstate__(self, state): pass\n", "no torch.nn.Module"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_told(here, monkeypatch, code, said):
    (here / "their_nets.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
    monkeypatch.syspath_prepend(str(here))
    import their_nets

    torch.save(their_nets.Net(3, 2), here / "model.pt")
    sys.modules.pop("their_nets")
    (here / "their_nets.py").unlink()
    if code is not None:
        (here / "their_nets.py").write_text(f"from torch import nn\n{code}")
        os.utime(here / "their_nets.py", (1, 1))
    done = mscope("visualize", "model.pt", "--engine", "torchviz", "-o", "out.dot", "--trust-code", "--input", "float32[1,3]")
    assert done.code == 3
    told = done.err.removeprefix(WARNING)
    assert told.count("\n") == 1
    assert said in told
    assert not (here / "out.dot").exists()


def test_trust_does_not_make_a_model_of_weights_alone(here):
    torch.save(network().state_dict(), here / "model.pt")
    done = mscope("visualize", "model.pt", "--engine", "torchviz", "-o", "out.dot", "--trust-code", "--input", "float32[1,3]")
    assert done.code == 3
    assert "the file holds weights alone" in done.err


def test_a_factory_comes_before_what_is_in_the_file(here):
    write("module", here / "model.pt", here / "canary")
    (here / "nets.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(3, 2)\n"
    )
    (here / "config.json").write_text(json.dumps({"model_type": "llama"}))
    done = mscope("visualize", "model.pt", "--engine", "torchviz", "-o", "out.dot", "--trust-code", "--model", "nets.py:Net",
                  "--input", "float32[1,3]", "--force")  # fmt: skip
    assert done.code == 0, done.err
    assert not (here / "canary").exists()
    assert "nets.py:Net" in (here / "out.dot").read_text()
