"""torch.package archives: pickles, code, files, TorchScript and fx modules in them."""

from __future__ import annotations

import pytest

from modelscope_cli.errors import CorruptFileError
from tests.builders.package_file import package_bytes, reduced
from tests.builders.pickle_code import call, pickled
from tests.builders.script_file import class_text, script_module
from tests.builders.torch_code import module, ordered, parameter, tensor
from tests.opened import codes, facts, opened

NET = module("shop.Net", {"weight": parameter(tensor("0", (2, 3)))}, {"mask": tensor("1", (2,))})
SIZES = {"0": 24, "1": 8}
UNPACK = "torch.jit._script.unpackage_script_module"


def test_one_pickle_is_the_model():
    checkpoint = opened(package_bytes({"model/model.pkl": NET}, SIZES))
    assert checkpoint.format == "torch-package"
    assert {info.name: info.role for info in checkpoint.tensors} == {"weight": "parameter", "mask": "buffer"}
    assert checkpoint.modules[""].class_name == "shop.Net"


def test_several_pickles_are_told_apart():
    checkpoint = opened(
        package_bytes({"model/a.pkl": NET, "model/b.pkl": {"w": tensor("0", (2, 3))}, "c.pkl": tensor("1", (2,))}, SIZES)
    )
    assert list(facts(checkpoint)) == ["model.a.weight", "model.a.mask", "model.b.w", "c"]
    assert len(checkpoint.tensors.storage) == 2


def test_contents_are_listed():
    files = {
        "shop.py": b"import torch",
        "a/__init__.py": b"",
        "a/b.py": b"from _mock import MockedObject\n",
        "_mock.py": b"class MockedObject: ...",
        "res/x.txt": b"hello",
        ".data/1.storage.meta": b"",
    }
    checkpoint = opened(package_bytes({"model.pkl": {}}, {"unused": 12}, files=files, extern="torch\nnumpy\n"))
    assert checkpoint.metadata["package"] == {
        "python_version": "3.11.7",
        "extern": ["torch", "numpy"],
        "intern": ["shop", "a", "_mock"],
        "mock": ["a.b"],
        "files": ["res/x.txt"],
    }
    sections = checkpoint.sections()
    assert (sections["files"], sections["data"]) == (5, 12)
    assert codes(checkpoint) == {"packaged-code": "info"}


@pytest.mark.parametrize("path", ["model/weights", "model/weights.bin"])
def test_a_pickle_under_another_name(path):
    assert list(facts(opened(package_bytes({path: {"w": tensor("0", (2, 3))}}, SIZES)))) == ["w"]


def test_every_pickle_is_traced():
    checkpoint = opened(package_bytes({"a.pkl": NET, "b.pkl": {"x": call("os.system", "true")}}, SIZES))
    found = {use.name: use.calls for trace in checkpoint.pickles for use in trace.globals}
    assert found["system"] == 1


def test_a_graph_module():
    body = {
        "training": True,
        "_parameters": ordered({"w": tensor("0", (2, 3))}),
        "_modules": ordered({}),
        "_graphmodule_cls_name": "Net",
    }
    made = reduced("torch.fx.graph_module.reduce_package_graph_module", body, "fx-generated._0")
    checkpoint = opened(package_bytes({"m.pkl": made}, SIZES))
    assert [(info.name, info.role) for info in checkpoint.tensors] == [("w", "parameter")]
    assert checkpoint.modules[""].class_name.endswith("Net")
    assert {use.name: use.calls for use in checkpoint.pickles[0].globals}["reduce_package_graph_module"] == 1


@pytest.mark.parametrize("number", [None, 5])
def test_a_torchscript_module(number):
    script = script_module("nn.Linear", {"weight": tensor("0.storage", (2, 3))})
    files = {
        ".data/ts_code/0/data.pkl": pickled(script),
        ".data/ts_code/0/constants.pkl": pickled((tensor("1.storage", (2,)),)),
        ".data/ts_code/code/__torch__/nn.py": class_text("Linear", ["weight"], []).encode(),
    }
    checkpoint = opened(package_bytes({"m.pkl": {"net": reduced(UNPACK, "0", number=number)}}, SIZES, files=files))
    assert {info.name: info.role for info in checkpoint.tensors} == {"net.weight": "parameter", "constants.c0": None}
    assert checkpoint.modules["net"].class_name == "nn.Linear"
    assert checkpoint.sections()["data"] == 32


def test_the_same_object_twice():
    twice = [reduced("torch.fx.x", {"_modules": {}, "_parameters": {"w": tensor("0", (2, 3))}}, number=9)] * 2
    checkpoint = opened(package_bytes({"m.pkl": twice}, SIZES))
    assert list(facts(checkpoint)) == ["0.w", "1.w"]


BROKEN = {
    "storage is not there": {"w": tensor("7", (2,))},
    "storage is too small": {"w": tensor("1", (3,))},
    "script is not there": reduced(UNPACK, "7"),
    "view leaves its storage": {"w": tensor("1", (2,), numel=2, offset=1)},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_packages_are_refused(what):
    with pytest.raises(CorruptFileError):
        opened(package_bytes({"m.pkl": BROKEN[what]}, SIZES))


def test_a_package_of_code_alone():
    checkpoint = opened(package_bytes({}, {}, files={"a.py": b"x = 1"}))
    assert len(checkpoint.tensors) == 0
    assert checkpoint.sections()["code"] == 5
