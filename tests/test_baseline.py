"""A baseline reads back as the checkpoint that it describes, always has the same text, and is refused where it does not add up."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelscope_cli
from modelscope_cli.analysis.findings import executable
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, GlobalUse, Note, PickleTrace
from modelscope_cli.core.condensed import condensed
from modelscope_cli.core.dtype import BYTE, DTYPES, unknown
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.span import ByteMap
from modelscope_cli.core.tensor import NOWHERE, TensorTable, View
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, UnsupportedFeatureError
from modelscope_cli.formats.baseline import describe
from modelscope_cli.formats.baseline_text import UNSAFE
from modelscope_cli.formats.registry import sniff
from modelscope_cli.render import plain
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder
from tests.builders.torch_code import module, ordered, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import codes, opened
from tests.property.reading import check_analyses
from tests.snapshots.checkpoints import CHECKPOINTS
from tests.tables import checkpoint_of, transformer

DOCUMENT = Path(__file__).parents[1] / "docs" / "baselines.md"
NAME = "model.baseline.json"


def back(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as its baseline gives it back."""
    return opened(describe(checkpoint), NAME)


def books(checkpoint: Checkpoint) -> dict[str, object]:
    """Everything that is counted about a checkpoint, by name."""
    ledger = Ledger(checkpoint)
    owned, names, storage = ledger.ownership, ledger.names, checkpoint.tensors.storage
    columns = zip(
        names,
        ledger.shapes,
        ledger.dtypes,
        ledger.elements,
        ledger.owned,
        ledger.nbytes,
        ledger.roles,
        ledger.parameters,
        strict=True,
    )
    return {
        "tensors": {name: tuple(row) for name, *row in columns},
        "tied": {names[line]: names[first] for line, first in ledger.tied.items()},
        "overlaps": sorted((names[line], names[other]) for line, other in owned.overlaps),
        "waste": sorted((storage.nbytes[index], lost) for index, lost in owned.waste),
        "recorded": {names[line] for line in ledger.roles_result.recorded},
        "optimizers": sorted((fact.path, fact.name, sorted(fact.slots)) for fact in ledger.roles_result.optimizers),
        "files": [
            (os.path.basename(file.path), file.nbytes, byte_map.totals())
            for file, byte_map in zip(checkpoint.files, checkpoint.byte_maps, strict=True)
        ],
        "modules": {path: record.class_name for path, record in checkpoint.modules.items()},
        "format": checkpoint.format,
    }


def check_round_trip(checkpoint: Checkpoint) -> Checkpoint:
    """The figures are those of the file, the text is that of the baseline."""
    data = describe(checkpoint)
    found = opened(data, NAME)
    assert books(found) == books(checkpoint)
    assert describe(found) == data
    check_analyses(found)
    return found


def document_of(checkpoint: Checkpoint) -> dict[str, object]:
    return json.loads(describe(checkpoint))


# What is read back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample(name):
    check_round_trip(opened(SAMPLES[name], name))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_checkpoint_of_the_gallery(name, tmp_path):
    check_round_trip(modelscope_cli.read(str(tmp_path / CHECKPOINTS[name](tmp_path))))


def test_small_file_in_full():
    checkpoint = opened(
        safetensors_bytes({"h.1.w": ("F32", (2, 3)), "h.0.w": ("F32", (2, 3)), "s": ("I64", ())}), "folder/m.safetensors"
    )
    assert describe(checkpoint).decode() == (
        '{\n  "schema": "mscope.baseline/1",\n  "format": "safetensors",\n  "files": [\n    {\n      "name": "m.safetensors",\n'
        f'      "bytes": {checkpoint.nbytes},\n      "sections": {json.dumps(dict(sorted(checkpoint.sections().items())))},\n'
        '      "tensors": {\n        "h.{0-1}.w": "float32 [2, 3]",\n        "s": "int64 []"\n      }\n    }\n  ]\n}\n'
    )


def test_what_is_known_of_a_tensor():
    found = back(opened(safetensors_bytes({"w": ("F32", (2, 3))}), "m.safetensors"))
    (only,) = found.tensors
    assert (only.file, only.start, only.stop, only.storage, only.offset) == ("m.safetensors", None, None, "w", 0)
    assert (found.path, found.format, found.ordered, found.files[0].path) == (NAME, "safetensors", False, "m.safetensors")
    assert codes(found) == {"baseline": "info"}


def test_suffix_and_content_are_known(tmp_path):
    data = describe(opened(SAMPLES["state_dict.pt"], "m.pt"))
    assert sniff(data, "x").name == "baseline"
    (tmp_path / "anything").write_bytes(b"\n" + data)
    assert len(modelscope_cli.read(str(tmp_path / "anything")).tensors) == 5


def test_a_sharded_set(tmp_path):
    found = check_round_trip(modelscope_cli.read(str(sharded_folder(tmp_path))))
    assert [(file.path, len(file.tensors)) for file in found.files] == [
        ("model-00001-of-00002.safetensors", 2),
        ("model-00002-of-00002.safetensors", 2),
        ("model.safetensors.index.json", 0),
    ]


def test_tensors_are_in_the_order_of_their_numbers():
    names = back(checkpoint_of({f"h.{n}.{leaf}": (2,) for n in (10, 9, 1) for leaf in "ba"})).tensors.names
    assert names == ["h.1.a", "h.1.b", "h.9.a", "h.9.b", "h.10.a", "h.10.b"]


def test_equal_layers_take_a_line():
    (file,) = document_of(checkpoint_of(transformer(32, 16)))["files"]
    assert len(file["tensors"]) == 3 + 9
    assert file["tensors"]["model.layers.{0-31}.self_attn.q_proj.weight"] == "float32 [16, 16]"


# The same text --------------------------------------------------------------------------------------------------------------


def saved(entries, sizes):
    return opened(torch_zip_bytes(ordered(entries), sizes), "model.pt")


def test_order_of_the_tensors_does_not_matter():
    entries = {f"l.{n}.w": tensor(str(n), (2, 3)) for n in range(5)} | {
        "slice": tensor("7", (2,), numel=9),
        "t": tensor("8", (4, 2), strides=(1, 4)),
    }
    sizes = {**{str(n): 24 for n in range(5)}, "7": 36, "8": 32}
    straight, turned = saved(entries, sizes), saved(dict(reversed(entries.items())), sizes)
    assert straight.tensors.names == turned.tensors.names[::-1]
    assert describe(straight) == describe(turned)


def test_order_of_ties_does_not_matter():
    first = {"a": tensor("0", (2, 3)), "part": tensor("0", (3,), numel=6)}
    ties = {name: tensor("0", (2, 3)) for name in "cb"} | {"again": tensor("0", (3,), numel=6)}
    texts = {describe(saved({**first, **dict(order)}, {"0": 24})) for order in itertools.permutations(ties.items())}
    assert len(texts) == 1
    check_round_trip(saved({**first, **ties}, {"0": 24}))


def test_keys_of_storages_do_not_matter():
    first = saved({"a": tensor("0", (2,)), "b": tensor("1", (3,), numel=5)}, {"0": 8, "1": 20})
    second = saved({"a": tensor("1", (2,)), "b": tensor("0", (3,), numel=5)}, {"0": 20, "1": 8})
    assert describe(first) == describe(second)


def test_order_of_the_metadata_does_not_matter():
    shapes, values = {"w": (2,)}, {"b": 1, "a": {"10": "x", "9": "y"}}
    turned = {"a": {"9": "y", "10": "x"}, "b": 1}
    assert describe(checkpoint_of(shapes, metadata=values)) == describe(checkpoint_of(shapes, metadata=turned))
    assert list(back(checkpoint_of(shapes, metadata=values)).metadata["a"]) == ["9", "10"]


def test_owner_of_a_tie_does_matter():
    first = saved({"a": tensor("0", (2, 3)), "b": tensor("0", (2, 3))}, {"0": 24})
    second = saved({"b": tensor("0", (2, 3)), "a": tensor("0", (2, 3))}, {"0": 24})
    assert document_of(first)["files"][0]["views"] == {"b": "= a"}
    assert document_of(second)["files"][0]["views"] == {"a": "= b"}
    for checkpoint in (first, second):
        check_round_trip(checkpoint)


def test_folder_does_not_matter(tmp_path):
    texts = []
    for name in "ab":
        (tmp_path / name).mkdir()
        texts.append(describe(modelscope_cli.read(str(sharded_folder(tmp_path / name)))))
    assert texts[0] == texts[1]
    assert str(tmp_path).encode() not in texts[0]


# Views ----------------------------------------------------------------------------------------------------------------------


def test_slices_name_the_tensor_whose_storage_they_lie_on():
    whole = tensor("0", (4, 3))
    checkpoint = saved(
        {"whole": whole, "row": tensor("0", (3,), numel=12, offset=3), "column": tensor("0", (4,), numel=12, strides=(3,))},
        {"0": 48},
    )
    assert document_of(checkpoint)["files"][0]["views"] == {
        "row": {"dtype": "float32", "shape": [3], "storage": "whole", "offset": 12},
        "column": {"dtype": "float32", "shape": [4], "storage": "whole", "strides": [3]},
    }
    check_round_trip(checkpoint)


def table_checkpoint(table: TensorTable, **rest) -> Checkpoint:
    """A checkpoint of one file with this table."""
    data = sum(table.storage.stored)
    regions = [region for region in ((0, 10, "header"), (10, 10 + data, "data")) if region[1] > region[0]]
    files = [FileRecord("model.pt", 10 + data, range(len(table)))]
    return Checkpoint("model.pt", "torch-zip", files, table, [ByteMap(regions, 10 + data)], **rest)


def new_table() -> TensorTable:
    table = TensorTable()
    table.filenames.append("model.pt")
    return table


def test_parts_on_shared_storages():
    table, float32 = new_table(), DTYPES["float32"]
    values, indices = table.storage.add("0", 0, 0, 40), table.storage.add("1", 0, 40, 80)
    for name, offset in (("x", 0), ("y", 20)):
        parts = (View(values, offset, (5,), float32, None), View(indices, 0, (2, 5), DTYPES["int64"], None))
        row = table.add(name, (9, 9), float32, values, offset)
        table.parts[row] = parts
    (file,) = document_of(table_checkpoint(table))["files"]
    assert file["views"]["y"]["parts"][1]["storage"] == ["x", 1]
    found = check_round_trip(table_checkpoint(table))
    assert [view.offset for view in found.tensors.parts[1]] == [20, 0]


def test_unknown_dtypes_and_untyped_bytes():
    table = new_table()
    for name, dtype in (
        ("new", unknown("float3")),
        ("named like another", unknown("float32")),
        ("bytes", BYTE),
        ("f", DTYPES["float32"]),
    ):
        table.add(name, (4,), dtype, table.storage.add(name, 0, 0, {BYTE: 4}.get(dtype, 16)))
    found = check_round_trip(table_checkpoint(table))
    assert {each.name: each.dtype for each in found.tensors} == {each.name: each.dtype for each in table}


def test_storages_without_a_tensor():
    table = new_table()
    table.storage.add("0", 0, 0, 30)
    table.add("w", (2,), DTYPES["float32"], table.storage.add("1", 0, 30, 8))
    table.storage.add("2", 0, 38, 20, 7)
    table.storage.add("3", 0, 38, 0)
    (file,) = document_of(table_checkpoint(table))["files"]
    assert file["unused_storages"] == [[20, 7], 30]
    check_round_trip(table_checkpoint(table))


@st.composite
def tables(draw) -> Checkpoint:
    """Any views on any storages, in any groups."""
    table = new_table()
    for number in range(draw(st.integers(1, 4))):
        nbytes = draw(st.sampled_from([0, 8, 24, 24, 48]))
        table.storage.add(str(number), 0, 0, nbytes, draw(st.sampled_from([nbytes, nbytes, nbytes // 2])))
    groups: list[tuple[int, str]] = []
    for number in range(draw(st.integers(1, 9))):
        path = draw(st.sampled_from(["", "model", "model", "model_ema", "optimizer.state.0", "a", "a.1"]))
        name = draw(st.sampled_from(["weight", "x.weight", "bias", "1.w", "2.w", "exp_avg"])) + f".{number}"
        views = tuple(draw(view(table)) for _ in range(draw(st.sampled_from([1, 1, 1, 2]))))
        main = views[0]
        row = table.add(f"{path}.{name}" if path else name, main.shape, main.dtype, main.storage, main.offset, main.strides)
        if len(views) > 1 and main.storage >= 0:
            table.parts[row] = views
        if not groups or groups[-1][1] != path:
            groups.append((row, path))
        if draw(st.booleans()):
            table.recorded[row] = draw(st.sampled_from(["parameter", "buffer"]))
    return table_checkpoint(table, groups=groups)


@st.composite
def view(draw, table: TensorTable) -> View:
    storage = draw(st.integers(-1, len(table.storage) - 1))
    dtype = DTYPES[draw(st.sampled_from(["float32", "float16", "uint8"]))]
    if storage < 0:
        return View(NOWHERE, 0, (2, 2), dtype, None)
    room = table.storage.nbytes[storage] * 8 // dtype.bits
    offset = draw(st.sampled_from([0, 0, min(1, room), min(3, room)]))
    shape = draw(st.sampled_from([(room,), (room // 2, 2), (2, 2), (3,), (), (0, 3)]))
    if 0 not in shape and math.prod(shape) > room - offset:
        offset, shape = 0, (room,)
    strides = None
    if len(shape) == 2 and 0 not in shape and draw(st.booleans()):
        strides = draw(st.sampled_from([(1, shape[0]), (0, 1), (1, 1)]))
    return View(storage, offset * dtype.bits // 8, shape, dtype, strides)


@settings(max_examples=400, deadline=None)
@given(tables())
def test_any_views_are_divided_among_the_same_owners(checkpoint):
    data = describe(checkpoint)
    found = opened(data, NAME)
    expected, actual = books(checkpoint), books(found)
    for key in ("tied", "overlaps", "files", "recorded", "waste"):
        assert actual[key] == expected[key]
    without_role = [{name: row[:5] for name, row in each["tensors"].items()} for each in (expected, actual)]
    assert without_role[0] == without_role[1]
    assert describe(found) == data


# Roles ----------------------------------------------------------------------------------------------------------------------


def group_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Name of each tensor → the dictionary that holds it."""
    ends = [start for start, _ in checkpoint.groups[1:]] + [len(checkpoint.tensors)]
    rows = zip(checkpoint.groups, ends, strict=True)
    return {name: path for (start, path), stop in rows for name in checkpoint.tensors.names[start:stop]}


def test_groups_are_those_of_the_names():
    root = {"model": {"a.w": tensor("0", (2,))}, "optim": {"state": {n: {"exp_avg": tensor(str(n), (2,))} for n in (1, 2)}}}
    checkpoint = opened(torch_zip_bytes(root, {"0": 8, "1": 8, "2": 8}))
    assert document_of(checkpoint)["groups"] == ["model", "optim.state.{1-2}"]
    assert group_of(back(checkpoint)) == group_of(checkpoint)


def test_groups_that_the_names_do_not_show():
    root = {
        "model": {"w": tensor("0", (2,)), "x": {"y": tensor("1", (2,))}, "x.z": tensor("2", (2,))},
        "model.loose": tensor("3", (2,)),
    }
    checkpoint = opened(torch_zip_bytes(root, {str(n): 8 for n in range(4)}))
    assert document_of(checkpoint)["grouped"] == {"": ["model.loose"], "model": ["model.x.z"]}
    assert group_of(back(checkpoint)) == group_of(checkpoint)
    check_round_trip(checkpoint)


def test_views_stay_with_their_group():
    """Which of the dictionaries beside `model` is a model too depends on all names in it, views as well."""
    root = {
        "model": {"w": tensor("0", (2, 3))},
        "critic_head": {"weight": tensor("1", (2,)), "temperature": tensor("2", (2,), numel=9)},
        "stale": {"w": tensor("0", (2, 3)), "v": tensor("3", (2,))},
    }
    checkpoint = opened(torch_zip_bytes(root, {"0": 24, "1": 8, "2": 36, "3": 8}))
    found = check_round_trip(checkpoint)
    assert len(found.groups) == 3
    turned = opened(torch_zip_bytes(dict(reversed(root.items())), {"0": 24, "1": 8, "2": 36, "3": 8}))
    assert check_round_trip(turned).tensors.names[0].startswith("critic_head")


def test_groups_that_own_each_other():
    root = {"m": {"a": tensor("0", (2,))}, "n": {"a": tensor("0", (2,)), "b": tensor("1", (2,))}}
    table = opened(torch_zip_bytes(root, {"0": 8, "1": 8})).tensors
    table.add("m.b", (2,), DTYPES["float32"], 1)
    found = check_round_trip(table_checkpoint(table, groups=[(0, "m"), (1, "n"), (3, "m")]))
    assert group_of(found) == {"m.a": "m", "n.b": "n", "n.a": "n", "m.b": "m"}


def test_recorded_roles():
    shapes = {"fc.weight": (2,), "fc.bias": (2,), "norm.count": (), "free": (2,)}
    some = {0: "parameter", 1: "parameter", 2: "buffer"}
    assert document_of(checkpoint_of(shapes, recorded=some))["recorded"] == {
        "buffer": ["norm.count"],
        "parameter": ["fc.bias", "fc.weight"],
    }
    every = {**some, 3: "parameter"}
    assert document_of(checkpoint_of(shapes, recorded=every))["recorded"] == {
        "buffer": ["norm.count"],
        "parameter": "all others",
    }
    for recorded in ({}, some, every):
        check_round_trip(checkpoint_of(shapes, recorded=recorded))


def test_classes_of_modules():
    layers = {str(n): module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor(str(n), (2, 2)))}) for n in range(3)}
    checkpoint = opened(
        torch_zip_bytes(
            module("shop.Net", body=module("torch.nn.modules.container.Sequential", **layers)), {str(n): 16 for n in range(3)}
        )
    )
    assert document_of(checkpoint)["modules"] == {
        "": "shop.Net",
        "body": "torch.nn.modules.container.Sequential",
        "body.{0-2}": "torch.nn.modules.linear.Linear",
    }
    check_round_trip(checkpoint)


# The rest -------------------------------------------------------------------------------------------------------------------


def test_dropped_names():
    data = safetensors_bytes({"a.weight": ("F32", (2, 3))}, {"format": "pt", "b.weight": "a.weight"})
    found = check_round_trip(opened(data, "m.safetensors"))
    assert found.aliases == {"b.weight": "a.weight"}


@pytest.mark.parametrize(
    ("module_name", "name"), [("os", "system"), ("torch._utils", "os.system"), ("", "f"), ("a", ""), ("a.b", "f()")]
)
@pytest.mark.parametrize("calls", [0, 2])
def test_findings_about_imports(module_name, name, calls):
    trace = PickleTrace("m.pt", 9, 9, (GlobalUse("torch", "FloatStorage", 3, 0), GlobalUse(module_name, name, 5, calls)), None)
    checkpoint = checkpoint_of({"w": (2,)}, pickles=[trace, trace])
    (expected, _), (found,) = executable(checkpoint), executable(back(checkpoint))
    assert found.message == expected.message


def test_long_values_of_the_metadata_are_digests():
    values = {
        "short": "x" * 198,
        "long": "x" * 199,
        "list": list(range(100)),
        "deep": {"text": "é" * 300},
        "odd": [math.inf, 1 << 4000],
    }
    found = back(checkpoint_of({"w": (2,)}, metadata=values)).metadata
    assert found["short"] == values["short"]
    for key in ("long", "list"):
        assert found[key] == condensed(values[key])
        assert re.fullmatch(r"sha256:[0-9a-f]{64} \([\d,]+ characters\)", found[key])
    assert found["deep"] == {"text": condensed(values["deep"]["text"])}


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 1e300, "", "x", [], [1, "a", None, [2]], {}, {"a": {"b": {}}}, 1 << 70, "\ud800", "é\n"]
)
def test_values_of_the_metadata(value):
    found = back(checkpoint_of({"w": (2,)}, metadata={"key": value})).metadata
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


def test_numbers_that_json_has_no_word_for():
    values = {"nan": math.nan, "low": -math.inf, "long": 1 << 700, "longer": -(1 << 20_000)}
    found = back(checkpoint_of({"w": (2,)}, metadata=values)).metadata
    assert (found["nan"], found["low"], found["long"]) == ("nan", "-inf", condensed(1 << 700))
    assert found["longer"].startswith("sha256:")


def test_hostile_names_come_back_and_are_harmless():
    names = [
        "\x1b[2J",
        "a\nb",
        "\u202eevil",
        "w\ud800x",
        "{0-3}.w",
        "{{",
        "",
        "..",
        "=1+1",
        "\U000e0041",
        '"',
        "\\",
        "\x7f",
        "é",
        "= tie",
    ]
    checkpoint = checkpoint_of(dict.fromkeys(names, (2,)))
    data = describe(checkpoint)
    assert set(opened(data, NAME).tensors.names) == set(names)
    assert not plain.UNSAFE.search(data.decode().replace("\n", ""))


def test_two_halves_of_a_character_are_the_character():
    data = describe(checkpoint_of({"\ud83d\ude00": (2,)}))
    assert opened(data, NAME).tensors.names == ["😀"]
    assert describe(opened(data, NAME)) == data


def test_unsafe_characters_are_those_of_the_renderers():
    both = [char for char in map(chr, range(0x110000)) if bool(UNSAFE.match(char)) != bool(plain.UNSAFE.match(char))]
    assert both == ["\n"]


def test_what_is_not_whole_has_no_baseline():
    damaged = checkpoint_of({"w": (2,)}, notes=[Note("damaged", "error", "m", "a hole")])
    with pytest.raises(ModelscopeError, match=r"not whole.*a hole") as caught:
        describe(damaged)
    assert caught.value.hint
    assert describe(checkpoint_of({"w": (2,)}, notes=[Note("odd", "warning", "m", "odd")]))


def test_two_tensors_of_a_name_have_no_baseline():
    root = {"a": {"b": tensor("0", (2,))}, "a.b": tensor("1", (2,))}
    with pytest.raises(ModelscopeError, match=r"two tensors are called 'a\.b'"):
        describe(opened(torch_zip_bytes(root, {"0": 8, "1": 8})))


# What is refused --------------------------------------------------------------------------------------------------------------

GOOD = {
    "schema": "mscope.baseline/1",
    "format": "torch-zip",
    "files": [
        {
            "name": "m",
            "bytes": 110,
            "sections": {"header": 10, "data": 100},
            "tensors": {"a.{0-1}": "float32 [2, 3]", "b": "uint8 []"},
            "views": {},
        }
    ],
}
OWN = {"dtype": "float32", "shape": [2], "storage_bytes": 8}


def changed(file=None, **rest) -> bytes:
    return json.dumps({**GOOD, "files": [{**GOOD["files"][0], **(file or {})}], **rest}).encode()


def test_the_document_that_is_changed_below_is_good():
    assert opened(changed(), NAME).tensors.names == ["a.0", "a.1", "b"]
    views = {"x": OWN, "y": {**OWN, "storage_bytes": 20, "offset": 4, "strides": [2]}, "z": "= x"}
    assert len(opened(changed({"views": views}), NAME).tensors) == 6


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ({"bytes": 111}, "add up"),
        ({"bytes": True}, "whole number"),
        ({"bytes": 110.0}, "whole number"),
        ({"sections": {"header": 10, "data": 50, "extra": 50}}, "no section"),
        ({"sections": {"header": 210, "data": -100}}, "no section with a size"),
        ({"sections": {"header": 100, "data": 10}}, "its data has 10"),
        ({"name": 3}, "not text"),
        ({"unknown": 1}, "nothing called 'unknown'"),
        ({"tensors": []}, "not a JSON object"),
        ({"tensors": {"a": "float31 [2]"}}, "not a known dtype"),
        ({"tensors": {"a": "float32 [-2]"}}, "not a known dtype"),
        ({"tensors": {"a": "float32 [2,3]"}}, "not a known dtype"),
        ({"tensors": {"a": "float32 2"}}, "not a known dtype"),
        ({"tensors": {"a": ["float32", [2]]}}, "not a known dtype"),
        ({"tensors": {"a": "float32 [9999999999999999999]"}}, "larger than any file"),
        ({"tensors": {"a": "float32 [0, 9999999999999999999]"}}, "larger than any file"),
        ({"tensors": {"a": "float32 [100]"}}, "take 400 bytes"),
        ({"tensors": {"{0-1}.{2-1}": "float32 []"}}, "rising list"),
        ({"tensors": {"{a}": "float32 []"}}, "opens no range"),
        ({"tensors": {"a.{0-1}": "float32 []", "a.1": "float32 []"}}, "two tensors are called 'a.1'"),
        ({"views": {"b": "= a.0"}}, "two tensors are called 'b'"),
        ({"views": {"x": "= y", "y": "= a.0"}}, "does not stand before"),
        ({"views": {"x": "a.0"}}, "not a JSON object"),
        ({"views": {"x": {**OWN, "dtype": "float31"}}}, "no dtype"),
        ({"views": {"x": {**OWN, "shape": [3]}}}, "beyond its storage"),
        ({"views": {"x": {**OWN, "offset": 1}}}, "beyond its storage"),
        ({"views": {"x": {**OWN, "strides": [2]}}}, "beyond its storage"),
        ({"views": {"x": {**OWN, "strides": [1, 1]}}}, "1 dimensions and 2 strides"),
        ({"views": {"x": {**OWN, "shape": [True]}}}, "whole numbers"),
        ({"views": {"x": {**OWN, "shape": [-1]}}}, "whole numbers"),
        ({"views": {"x": {**OWN, "shape": [1 << 62]}}}, "whole numbers"),
        ({"views": {"x": {**OWN, "shape": [1 << 40, 1 << 40], "strides": [0, 0]}}}, "more elements"),
        ({"views": {"x": {**OWN, "more": 1}}}, "nothing called"),
        ({"views": {"x": {"dtype": "float32", "shape": [2]}}}, "has no 'storage_bytes'"),
        ({"views": {"x": {**OWN, "storage_bytes": 100}}}, "its data has 100"),
        ({"views": {"x": {"dtype": "float32", "shape": [2], "storage": "y"}}}, "not that of a tensor"),
        ({"views": {"x": {"dtype": "float32", "shape": [2], "storage": ["a.0", 1]}}}, "not that of a tensor"),
        ({"views": {"x": {"dtype": "float32", "shape": [2], "storage": ["a.0", -1]}}}, "not that of a tensor"),
        ({"views": {"x": {"dtype": "float32", "shape": [7], "storage": "a.0"}}}, "beyond its storage"),
        ({"views": {"x": {"dtype": "float32", "shape": [2], "parts": []}}}, "'parts' is empty"),
        ({"views": {"x": {"dtype": "float32", "shape": [2], "parts": [3]}}}, "not a JSON object"),
        ({"unused_storages": [-1]}, "no size"),
        ({"unused_storages": [[8]]}, "no size"),
        ({"unused_storages": [80]}, "its data has 100"),
        ({"sections": {"header": 10, "data": 40, "padding": 60}}, "its data has 40"),  # padding is what no tensor reaches
    ],
)
def test_a_file_that_does_not_add_up(file, what):
    with pytest.raises(CorruptFileError, match=re.escape(what)) as caught:
        opened(changed(file), NAME)
    assert caught.value.path == NAME


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"dtype": "float32", "shape": [2], "storage": "v"},
        {"dtype": "float32", "shape": [2], "parts": [{**OWN, "file": 0}]},
        "= v",
    ],
)
def test_a_tensor_is_described_with_a_file_that_has_some_of_it(elsewhere):
    first = {**GOOD["files"][0], "views": {"v": OWN}}
    second = {"name": "second", "bytes": 8, "sections": {"data": 8}}
    held = {"dtype": "float32", "shape": [2], "parts": [OWN, {**OWN, "file": 0}]}
    with pytest.raises(CorruptFileError, match="no part of the tensor 'x' lies in the file"):
        opened(changed(files=[first, {**second, "views": {"x": elsewhere}}]), NAME)
    read = opened(changed(files=[first, {**second, "views": {"x": held}}]), NAME)
    assert [[read.tensors.names[row] for row in file.tensors] for file in read.files] == [["a.0", "a.1", "b", "v", "x"], ["x"]]


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ({"format": None}, "not text"),
        ({"files": {}}, "not a list"),
        ({"files": [3]}, "not a JSON object"),
        ({"more": 1}, "nothing called 'more'"),
        ({"metadata": []}, "not a JSON object"),
        ({"groups": ["a.{0"]}, "opens no range"),
        ({"groups": ["a", "a"]}, "two groups"),
        ({"groups": [3]}, "no name"),
        ({"groups": ["a"], "grouped": {"c": ["b"]}}, "no group"),
        ({"groups": ["a"], "grouped": {"a": ["c"]}}, "no tensor"),
        ({"recorded": {"weight": ["b"]}}, "no role"),
        ({"recorded": {"buffer": ["c"]}}, "no tensor"),
        ({"recorded": {"buffer": ["b"], "parameter": ["b"]}}, "a role already"),
        ({"recorded": {"buffer": "some"}}, "not a list"),
        ({"modules": {"a": 3}}, "no name"),
        ({"modules": {"a.{0-1}": None, "a.1": None}}, "two modules"),
        ({"aliases": {"c": "d"}}, "no other tensor"),
        ({"aliases": {"b": "a.0"}}, "no other tensor"),
        ({"aliases": {"c": 3}}, "no other tensor"),
        ({"imports": ["os"]}, "no name"),
        ({"imports": [["os", "system", 1]]}, "no name"),
    ],
)
def test_a_document_that_does_not_add_up(rest, what):
    with pytest.raises(CorruptFileError, match=re.escape(what)):
        opened(changed(**rest), NAME)


def test_another_version_is_said():
    with pytest.raises(UnsupportedFeatureError, match=r"'mscope.baseline/2'; this version reads 'mscope.baseline/1'") as caught:
        opened(changed(schema="mscope.baseline/2"), NAME)
    assert caught.value.hint == "save it again: mscope baseline save PATH -o FILE"


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": "mscope.baseline/1", "x": NaN}',
        '{"schema": "mscope.baseline/1"',
        '{"schema": "mscope.baseline/1", "x": 1, "x": 2}',
    ],
)
def test_what_is_not_json(text):
    with pytest.raises(CorruptFileError, match="baseline"):
        opened(text.encode(), NAME)


@pytest.mark.parametrize(
    ("limits", "resource"),
    [
        ({"tensors": 2}, "tensors"),
        ({"header_bytes": 10}, "header bytes"),
        ({"name_characters": 5}, "name characters"),
        ({"objects": 3}, "objects"),
    ],
)
def test_limits(limits, resource):
    with pytest.raises(LimitError, match=resource):
        opened(changed(), NAME, limits=DEFAULT_LIMITS._replace(**limits))


def test_limit_of_metadata():
    data = changed(metadata={str(n): n for n in range(50)})
    with pytest.raises(LimitError, match="metadata items"):
        opened(data, NAME, limits=DEFAULT_LIMITS._replace(metadata_items=20))


# The page -----------------------------------------------------------------------------------------------------------------


def test_examples_of_the_page_are_baselines():
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if '"schema"' in block]
    assert whole
    for block in whole:
        assert describe(opened(block.encode(), NAME)).decode() == block
