"""torch.export archives: three layouts, shared storages, several programs, compiled code."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.errors import CorruptFileError, FormatError
from tests.builders.export_file import (
    compiled_bytes,
    export_entries,
    graph,
    old_export_bytes,
    payload,
    pickled_payload,
)
from tests.builders.pickle_code import call, pickled
from tests.builders.torch_code import ordered, parameter, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import codes, facts, opened

WEIGHTS = {
    "fc.weight": payload("weight_0", (2, 3), (3, 1)),
    "head": payload("weight_0", (3, 2), (1, 3)),
    "mask": payload("weight_1", (2,), (1,), offset=1, dtype=5, parameter=False),
}
FILES = {"weights/weight_0": bytes(range(24)), "weights/weight_1": bytes(24)}


def export(weights=WEIGHTS, files=FILES, **options) -> bytes:
    return zip_bytes(export_entries(weights, files, **options))


def roles(checkpoint) -> dict[str, str | None]:
    return {info.name: info.role for info in checkpoint.tensors}


def test_raw_weights():
    data = export()
    checkpoint = opened(data)
    assert checkpoint.format == "torch-export"
    assert facts(checkpoint) == {
        "fc.weight": ((2, 3), "float32", "weight_0", 0, None),
        "head": ((3, 2), "float32", "weight_0", 0, (1, 3)),
        "mask": ((2,), "int64", "weight_1", 8, None),
    }
    assert roles(checkpoint) == {"fc.weight": "parameter", "head": "parameter", "mask": "buffer"}
    assert Ledger(checkpoint).total_parameters() == 6
    first = checkpoint.tensors[0]
    assert data[first.start : first.stop] == bytes(range(24))


def test_constants_are_no_parameters():
    held = {"lifted": payload("tensor_0", (2,), (1,), parameter=False), "object": pickled_payload("opaque_obj_0")}
    files = {**FILES, "constants/tensor_0": bytes(8), "constants/opaque_obj_0": pickled(call("os.system", "true"))}
    checkpoint = opened(export(files=files, constants=held))
    assert roles(checkpoint)["lifted"] == "buffer"
    assert [use.name for trace in checkpoint.pickles for use in trace.globals] == ["system"]


def test_a_tensor_subclass_is_a_file_inside():
    inner = torch_zip_bytes(tensor("0", (2,)), {"0": b"12345678"})
    data = export({"w": {**pickled_payload("weight_0"), "is_param": True}}, {"weights/weight_0": inner})
    (found,) = opened(data).tensors
    assert (found.name, found.role) == ("w", "parameter")
    assert data[found.start : found.stop] == b"12345678"


def test_a_fake_tensor_has_no_bytes():
    (found,) = opened(export({"w": payload("weight_0", (2, 3), (3, 1))}, {"weights/weight_0": b""})).tensors
    assert (found.shape, found.file) == ((2, 3), None)


def test_an_unknown_dtype_keeps_its_number():
    assert facts(opened(export({"w": payload("weight_0", (2,), (1,), dtype=77)})))["w"][1] == "scalar_type_77"


def test_symbolic_shapes_give_their_hint():
    meta = payload("weight_0", (2,), (1,))
    meta["tensor_meta"]["sizes"] = [{"as_expr": {"expr_str": "s0", "hint": {"as_int": 4}}}]
    assert opened(export({"w": meta})).tensors[0].shape == (4,)


def test_the_graph_tells_classes_and_versions():
    checkpoint = opened(export(text=graph(modules={"fc": "torch.nn.modules.linear.Linear", "fc@1": "other.Linear"})))
    assert checkpoint.modules["fc"].class_name == "torch.nn.modules.linear.Linear"
    assert checkpoint.modules[""].class_name == "shop.Net"
    assert checkpoint.metadata["torch_version"] == "2.9.0"
    assert checkpoint.metadata["schema_version"] == "8.2"


def test_several_programs():
    first = export_entries({"w": payload("weight_0", (2,), (1,))}, {"weights/weight_0": bytes(8)}, model="a")
    second = export_entries({"w": payload("weight_1", (2,), (1,))}, {"weights/weight_1": bytes(8)}, model="b")
    names = {entry.name for entry in first}
    checkpoint = opened(zip_bytes([*first, *(entry for entry in second if entry.name not in names)]))
    assert list(facts(checkpoint)) == ["a.w", "b.w"]
    assert checkpoint.groups == [(0, "a"), (1, "b")]


def test_example_inputs_are_no_tensors_of_the_model():
    inputs = torch_zip_bytes((tensor("0", (2,)),), {"0": 8})
    checkpoint = opened(export(files={**FILES, "sample_inputs/model.pt": inputs}))
    assert len(checkpoint.tensors) == 3
    assert checkpoint.sections()["examples"] == 8
    assert len(checkpoint.pickles) == 1


STATE = torch_zip_bytes(ordered({"fc.weight": tensor("0", (2, 3)), "mask": tensor("1", (2,))}), {"0": bytes(range(24)), "1": 8})
SIGNED = graph(["fc.weight"], ["mask"], {"fc": "torch.nn.modules.linear.Linear"})


@pytest.mark.parametrize("deflate", [False, True], ids=["stored", "compressed"])
def test_the_oldest_layout(deflate):
    constants = torch_zip_bytes({"c": tensor("0", (2,))}, {"0": 8})
    data = old_export_bytes(STATE, constants, torch_zip_bytes((tensor("0", (2,)),), {"0": 8}), SIGNED, deflate=deflate)
    checkpoint = opened(data)
    assert roles(checkpoint) == {"fc.weight": "parameter", "mask": "buffer", "c": "buffer"}
    assert checkpoint.notes == []
    assert sum(checkpoint.sections().values()) == len(data)
    weight = checkpoint.tensors[0]
    assert deflate or data[weight.start : weight.stop] == bytes(range(24))
    assert sum(Ledger(checkpoint).nbytes) == checkpoint.sections()["data"]
    assert "unmapped" not in checkpoint.sections()


def test_the_oldest_layout_with_stacked_pickles():
    state = legacy_bytes(ordered({"w": parameter(tensor("a", (2,), view=None))}), {"a": (2, b"12345678")})
    data = old_export_bytes(state, text=b"{}")
    (found,) = opened(data).tensors
    assert (found.name, found.role) == ("w", "parameter")
    assert data[found.start : found.stop] == b"12345678"


def test_without_a_signature_roles_are_left_to_names():
    assert roles(opened(old_export_bytes(STATE, text=b"{}"))) == {"fc.weight": None, "mask": None}


def test_the_layout_of_torch_2_7():
    members = {
        "models/model.json": SIGNED,
        "data/weights/model.pt": STATE,
        "data/constants/model.pt": torch_zip_bytes({"c": tensor("0", (2,))}, {"0": 8}),
        "data/sample_inputs/model.pt": torch_zip_bytes((), {}),
        "archive_format": b"pt2",
    }
    checkpoint = opened(zip_bytes([Entry(f"net/{name}", data) for name, data in members.items()]))
    assert roles(checkpoint) == {"fc.weight": "parameter", "mask": "buffer", "c": "buffer"}


def test_a_zip_inside_has_an_end_of_its_own():
    """Its end record, close to the end of the file, is no second end of the archive."""
    assert codes(opened(old_export_bytes(b"", text=b"{}", constants=STATE))) == {}


# Compiled code


def test_compiled_code_is_named():
    checkpoint = opened(compiled_bytes({"a.so": b"\x7fELF" + bytes(96), "a.cpp": b"int main;", "a_metadata.json": b"{}"}))
    assert checkpoint.format == "torch-aotinductor"
    assert checkpoint.sections()["compiled"] == 100
    assert checkpoint.sections()["code"] == 11
    (note,) = checkpoint.notes
    assert (note.code, note.severity) == ("compiled-code", "warning")
    assert "100 bytes of native code" in note.message
    assert "built in" in note.message


def test_weights_beside_compiled_code():
    weights = {"l.weight": ["weight_0", [2, 3], [3, 1], 0], "half": ["weight_0", [3], [1], 3]}
    inner = torch_zip_bytes(tensor("0", (6,)), {"0": bytes(range(24))})
    data = compiled_bytes({"a.so": b"\x7fELF"}, weights, {"weight_0": inner})
    checkpoint = opened(data)
    found = checkpoint.tensors[0]
    assert [(info.name, info.shape, info.offset) for info in checkpoint.tensors] == [
        ("l.weight", (2, 3), 0),
        ("half", (3,), 12),
    ]
    assert data[found.start : found.stop] == bytes(range(24))
    assert checkpoint.notes[0].message.endswith("loading it runs that code")


def test_a_blob_of_weights_is_counted():
    message = opened(compiled_bytes({"a.so": b"\x7fELF", "a_weights.blob": bytes(1_000)})).notes[0].message
    assert "1,000 bytes of weights" in message


# Damage


def config(**changes) -> dict:
    meta = payload("weight_0", (2, 3), (3, 1))
    meta["tensor_meta"].update(changes)
    return {"w": meta}


BROKEN = {
    "file is not there": {"w": payload("weight_9", (2,), (1,))},
    "storage is too small": {"w": payload("weight_0", (7,), (1,))},
    "offset leaves it": {"w": payload("weight_0", (6,), (1,), offset=1)},
    "negative extent": {"w": payload("weight_0", (-2,), (1,))},
    "negative stride": {"w": payload("weight_0", (2,), (-1,))},
    "strides of another rank": {"w": payload("weight_0", (2,), (1, 1))},
    "sizes are text": config(sizes="2"),
    "size is a truth value": config(sizes=[{"as_int": True}]),
    "no sizes": config(sizes=None),
    "dtype is text": config(dtype="float"),
    "no tensor_meta": {"w": {"path_name": "weight_0"}},
    "no path": {"w": {}},
    "no table": [],
    "path leads out": {"w": payload("../../../etc/passwd", (2,), (1,))},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_configurations_are_refused(what):
    with pytest.raises(CorruptFileError):
        opened(export(BROKEN[what]))


@pytest.mark.parametrize(
    "weights", [{"w": 3}, {"w": []}, {"w": ["weight_0", [9], [1], 0]}, {"w": ["weight_1", [2], [1], 0]}], ids=str
)
def test_broken_tables_of_compiled_weights_are_refused(weights):
    with pytest.raises(CorruptFileError):
        opened(compiled_bytes({"a.so": b""}, weights, {"weight_0": torch_zip_bytes(tensor("0", (6,)), {"0": 24})}))


@pytest.mark.parametrize(
    "inner", [b"", b"PK\x03\x04", b"nothing", pickled({"w": 1})[:-1], torch_zip_bytes({}, {})[:-30]], ids=len
)
def test_broken_files_inside_are_refused(inner):
    with pytest.raises(FormatError):
        opened(export({"w": pickled_payload("weight_0")}, {"weights/weight_0": inner}))


def test_a_program_without_weights_is_refused():
    entries = [entry for entry in export_entries({}, {}) if "weights_config" not in entry.name]
    with pytest.raises(CorruptFileError, match="has no weights"):
        opened(zip_bytes(entries))
    with pytest.raises(CorruptFileError, match="without its state_dict"):
        opened(old_export_bytes(b""))


def test_another_archive_format_is_refused():
    with pytest.raises(CorruptFileError, match="archive_format"):
        opened(export(records={"archive_format": b"pt9"}))


def test_a_graph_that_is_no_json_is_only_searched():
    assert len(opened(export(text=json.dumps({"nn_module_stack": ";,;,,,;a,b"}).encode() + b"\xff{")).tensors) == 3
