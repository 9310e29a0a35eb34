"""TorchScript archives: what is a parameter, what a buffer, what classes there are; constants, packed weights, bytecode."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.script_walk import parse
from tests.builders.pickle_code import call, get, name, pickled, remembered
from tests.builders.script_file import class_text, method, packed, script_bytes, script_module
from tests.builders.torch_code import storage, tensor
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import codes, facts, opened

CODE = {
    "torch/nn/linear": class_text("Linear", ["weight", "bias"], [], "weight : Tensor", "in_features : Final[int] = 3"),
    "torch/nn/linear/___torch_mangle_4": class_text("Linear", ["weight"], ["scale"]),
    "": class_text("Net", [], []),
}


def recorded(data: bytes) -> dict[str, str | None]:
    return {info.name: info.role for info in opened(data).tensors}


def linear(cls: str = "torch.nn.linear.Linear", **attributes: object) -> bytes:
    return script_module(cls, {"weight": tensor("0", (2, 3)), **attributes})


def test_the_class_says_what_is_a_parameter():
    root = script_module(
        "Net",
        {
            "fc": linear(bias=tensor("1", (2,))),
            "again": linear("torch.nn.linear.___torch_mangle_4.Linear", scale=tensor("1", (2,))),
            "loose": tensor("1", (2,)),
            "kept": {"a": [tensor("1", (2,))]},
        },
    )
    assert recorded(script_bytes(root, {"0": 24, "1": 8}, CODE)) == {
        "fc.weight": "parameter",
        "fc.bias": "parameter",
        "again.weight": "parameter",
        "again.scale": "buffer",
        "loose": "buffer",
        "kept.a.0": "buffer",
    }


def test_without_code_nothing_is_recorded():
    assert recorded(script_bytes(linear(), {"0": 24})) == {"weight": None}


def test_classes_are_shown_without_their_mangling():
    root = script_module("Net", {"fc": linear("torch.nn.linear.___torch_mangle_4.Linear", training=True, hidden=7)})
    modules = opened(script_bytes(root, {"0": 24}, CODE)).modules
    assert {path: record.class_name for path, record in modules.items()} == {"": "Net", "fc": "torch.nn.linear.Linear"}
    assert modules["fc"].attributes["hidden"] == 7


def test_final_attributes_are_those_of_the_class():
    assert opened(script_bytes(linear(), {"0": 24}, CODE)).modules[""].attributes["in_features"] == 3


def test_lines_of_a_method_are_no_attributes():
    text = 'class A(Module):\n  def f(self):\n  __parameters__ = ["w", ]\n  n : Final[int] = 3\n'
    assert parse(text.encode())["A"].roles is None
    assert parse(text.encode())["A"].finals == {}


@pytest.mark.parametrize(
    "code", [b"", b"class", b"class (", b"class A(Module):", b"\xff\xfeclass A(", b'class A(X):\n  __buffers__ = ["a']
)
def test_code_that_is_none(code):
    assert all(not found.roles for found in parse(code).values())


def test_a_module_used_twice_is_tied():
    root = script_module("Net", {"a": remembered(1, linear()), "b": get(1)})
    checkpoint = opened(script_bytes(root, {"0": 24}, CODE))
    assert Ledger(checkpoint).total_parameters() == 6
    assert checkpoint.elements == 12


def test_typed_containers_are_unwrapped():
    wrapped = call(
        "torch.jit._pickle.restore_type_tag", {"k": call("torch.jit._pickle.build_tensorlist", [tensor("0", (2, 3))])}, "T"
    )
    assert recorded(script_bytes(script_module("Net", {"d": wrapped}), {"0": 24}, CODE)) == {"d.k.0": "buffer"}


def quantised(key: str, shape: tuple[int, ...]) -> bytes:
    strides = (shape[1], 1) if len(shape) == 2 else tuple(range(len(shape), 0, -1))
    affine = (name("torch.per_tensor_affine"), 0.5, 0)
    return call("torch._utils._rebuild_qtensor", storage(key, 400, "QInt8Storage"), 0, shape, strides, affine, False, {})


PACKED_STATES = {
    "LinearPackedParamsBase": ((quantised("0", (4, 5)), tensor("1", (4,))), ["weight", "bias"]),
    "Conv2dPackedParamsBase": (("2", [tensor("2", (9,), "ShortStorage"), quantised("0", (4, 5))], [tensor("1", (4,))]), ["config", "weight", "bias"]),
    "EmbeddingPackedParamsBase": ((1, [quantised("0", (4, 5))], [], [4]), ["weight"]),
    "CellParamsBase": (("quantized", [tensor("1", (4,)), tensor("1", (4,))], [], [1], [packed("LinearPackedParamsBase", (quantised("0", (4, 5)), None))]),
                       ["b_ih", "b_hh", "w_ih.weight"]),
    "NobodyKnowsPackedParams": ((tensor("1", (4,)), 3, [tensor("1", (4,))]), ["0", "2.0"]),
}  # fmt: skip


@pytest.mark.parametrize("cls", PACKED_STATES)
def test_packed_weights(cls):
    state, names = PACKED_STATES[cls]
    checkpoint = opened(script_bytes(script_module("Net", {"p": packed(cls, state)}), {"0": 400, "1": 16, "2": 18}, CODE))
    assert [info.name for info in checkpoint.tensors] == [f"p.{name}" for name in names]
    assert checkpoint.modules["p"].class_name == f"torch.classes.quantized.{cls}"
    roles = {info.name.rpartition(".")[2]: info.role for info in checkpoint.tensors}
    assert {roles.get(part) for part in ("weight", "bias", "b_ih", "b_hh")} <= {"parameter", None}
    assert roles.get("config", "buffer") == "buffer"


def test_constants_beside_parameters_are_none():
    data = script_bytes(linear(), {"0": 24}, CODE, constants=(tensor("7", (2,)), 5), constant_storages={"7": bytes(8)})
    assert recorded(data) == {"weight": "parameter", "constants.c0": "buffer"}


def test_constants_of_a_frozen_module_are_its_parameters():
    data = script_bytes(
        script_module("Net", {}), {}, CODE, constants=(tensor("0", (2, 3)),), constant_storages={"0": bytes(24)}
    )
    checkpoint = opened(data)
    assert codes(checkpoint) == {"frozen": "info"}
    assert Ledger(checkpoint).total_parameters() == 6


def test_bytecode_refers_to_the_constants_again():
    held = tensor("0.storage", (2,))
    bytecode = (8, method("Net.forward", (1, held, "x")), method("Net.other", ()))
    data = script_bytes(
        linear(), {"0": 24}, CODE, constants=(held,), constant_storages={"0.storage": bytes(8)}, bytecode=bytecode
    )
    checkpoint = opened(data)
    assert facts(checkpoint)["bytecode.forward.c1"] == facts(checkpoint)["constants.c0"]
    assert checkpoint.metadata == {"mobile": {"bytecode_version": 8}}
    assert len(checkpoint.tensors.storage) == 2


def test_older_bytecode_has_storages_of_its_own():
    data = script_bytes(
        linear(), {"0": 24}, CODE, bytecode=(4, method("Net.f", (tensor("0", (2,)),))), records={"bytecode/0": bytes(8)}
    )
    assert recorded(data) == {"weight": "parameter", "bytecode.f.c0": "buffer"}


@pytest.mark.parametrize("bytecode", [None, (), 3, (8,), (8, 3, ("a",), ("a", (("constants", 4),))), [8]], ids=str)
def test_bytecode_of_another_shape(bytecode):
    assert recorded(script_bytes(linear(), {"0": 24}, CODE, bytecode=bytecode)) == {"weight": "parameter"}


def test_every_member_is_labelled():
    records = {"extra/info.json": b"{}", "mobile_debug_handles.pkl": b"123", "code/__torch__/a.py.debug_pkl": b"12345"}
    data = script_bytes(linear(), {"0": 24, "unused": 40}, CODE, constant_storages={"left": bytes(16)}, records=records)
    checkpoint = opened(data)
    sections = checkpoint.sections()
    assert sections["data"] == 80
    assert sections["files"] == 2
    assert sections["code"] == sum(map(len, CODE.values())) + 3 + 5 + len(pickled(()))
    assert sum(sections.values()) == len(data)
    assert checkpoint.metadata == {"files": ["info.json"]}


def test_limits_hold_over_all_pickles_together():
    from modelscope_cli.core.limits import DEFAULT_LIMITS

    data = script_bytes(linear(), {"0": 24}, CODE, constants=(tensor("0", (2,)),) * 3, constant_storages={"0": bytes(8)})
    with pytest.raises(LimitError):
        opened(data, limits=DEFAULT_LIMITS._replace(tensors=3))


# Before 1.4


def old_script(main: dict, tensors: list, members: dict[str, bytes]) -> bytes:
    model = {"protoVersion": "6", "mainModule": main, "producerName": "pytorch", "tensors": tensors}
    members = {"model.json": json.dumps(model).encode(), "code/net.py": b"op_version_set = 1\n", **members}
    return zip_bytes([Entry(f"net/{path}", data, align=64) for path, data in members.items()])


def described(key: str, dims: list[int], strides: list[int], kind: str = "FLOAT", **rest: str) -> dict:
    return {
        "dims": [str(n) for n in dims],
        "strides": [str(n) for n in strides],
        "dataType": kind,
        "data": {"key": key},
        **rest,
    }


FC = {"name": "fc", "parameters": [{"name": "weight", "tensorId": "1"}]}
MAIN = {"name": "Net", "submodules": [FC], "parameters": [{"name": "scale", "isBuffer": True}]}
TENSORS = [described("tensors/0", [2], [1], "INT64", offset="1"), described("tensors/1", [2, 3], [1, 2])]
RECORDS = {"tensors/0": bytes(24), "tensors/1": bytes(24)}


def test_modules_described_in_json():
    checkpoint = opened(old_script(MAIN, TENSORS, RECORDS))
    assert checkpoint.format == "torchscript"
    assert facts(checkpoint) == {
        "scale": ((2,), "int64", "tensors/0", 8, None),
        "fc.weight": ((2, 3), "float32", "tensors/1", 0, (1, 2)),
    }
    assert [info.role for info in checkpoint.tensors] == ["buffer", "parameter"]
    assert list(checkpoint.modules) == ["", "fc"]


@pytest.mark.parametrize(
    ("main", "tensors"),
    [
        (MAIN, TENSORS[:1]),
        (MAIN, [TENSORS[0], described("tensors/9", [2], [1])]),
        (MAIN, [TENSORS[0], described("tensors/1", [7], [1])]),
        (MAIN, [TENSORS[0], described("tensors/1", [-2], [1])]),
        (MAIN, [TENSORS[0], {"dims": 3, "data": {"key": "tensors/1"}}]),
        (MAIN, [TENSORS[0], {**TENSORS[1], "dataType": []}]),
        ({"submodules": 7}, []),
        ({"submodules": [{}]}, []),
        ("Net", []),
    ],
    ids=str,
)
def test_broken_descriptions_are_refused(main, tensors):
    with pytest.raises(CorruptFileError):
        opened(old_script(main, tensors, RECORDS))
