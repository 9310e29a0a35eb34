"""Archives of the torch world that claim or contain far too much: TorchScript, torch.export, torch.package, old tars."""

from __future__ import annotations

import json
import struct

from tests.builders.export_file import compiled_bytes, export_entries, old_export_bytes, payload, pickled_payload
from tests.builders.package_file import package_bytes, reduced
from tests.builders.pickle_code import Code, call, get, instance, name, persistent, pickled, put, value
from tests.builders.script_file import class_text, packed, script_bytes, script_module
from tests.builders.tar_file import OldTensor, TarEntry, storages_member, tar_bytes, tensors_member, torch_tar_entries
from tests.builders.torch_code import tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes

INNER = torch_zip_bytes(tensor("0", (2,)), {"0": 8})


# TorchScript


def test_modules_in_one_another(bounded):
    code = script_module("a.M", {"w": tensor("0", (1,))})
    for _ in range(1_500):
        code = script_module("a.M", {"m": code})
    bounded(script_bytes(code, {"0": 4}, {"a": class_text("M", ["w"], [])}))


def test_as_many_tensors_as_may_be_at_the_bottom_of_many_modules(bounded):
    """Roles are settled once for each tensor, not once for each module around it."""
    code = script_module("a.M", {"l": [Code(value(tensor("0", (1,))) + put(0)), *[get(0)] * 90_000]})
    for _ in range(900):
        code = script_module("a.M", {"m": code})
    bounded(script_bytes(code, {"0": 4}, {"a": class_text("M", ["w"], [])}))


def test_classes_without_end(bounded):
    text = class_text("M", [f"w{number}" for number in range(50)], [], *[f"f{number} : Final[int] = 1" for number in range(50)])
    many = "".join(text.replace("M", f"M{number}", 1) for number in range(8_000))
    bounded(script_bytes(script_module("a.M7", {"w": tensor("0", (1,))}), {"0": 4}, {"a": many}, deflate=True))


def test_a_list_of_names_that_never_ends(bounded):
    text = 'class M(Module):\n  __parameters__ = ["' + '\\"' * 8_000_000
    bounded(script_bytes(script_module("a.M", {}), {}, {"a": text}))


def test_a_class_file_for_every_object(bounded):
    root = [script_module(f"a{number}.M", {}) for number in range(30_000)]
    bounded(script_bytes(root, {}, {f"a{number}": "class M(Module):\n" for number in range(30_000)}))


def test_custom_object_with_a_state_of_millions(bounded):
    state = Code(b"(" + b"N" * 2_000_000 + b"t")
    bounded(script_bytes(packed("Conv2dPackedParamsBase", state), {}))


def test_containers_wrapped_without_end(bounded):
    wrapper = name("torch.jit._pickle.restore_type_tag") + b"("
    code = wrapper * 100_000 + value([1]) + b"tR" * 100_000
    bounded(script_bytes({"w": Code(code)}, {}))


# torch.export


def test_empty_objects_in_the_configuration(bounded):
    text = b'{"config": {"w": {"path_name": "weight_0", "tensor_meta": [' + b"{}," * 10_000_000 + b"{}]}}}"
    entries = [Entry("n/data/weights/model_weights_config.json", text, deflate=True), Entry("n/models/model.json", b"{}")]
    found = bounded(zip_bytes([*entries, Entry("n/archive_format", b"pt2")]), "bomb.pt2")
    assert "objects" in found.err


def test_words_in_the_configuration(bounded):
    text = b'{"config": [' + b'"ab",' * 6_000_000 + b'""]}'
    entries = [Entry("n/data/weights/model_weights_config.json", text, deflate=True), Entry("n/models/model.json", b"{}")]
    assert "objects" in bounded(zip_bytes([*entries, Entry("n/archive_format", b"pt2")]), "bomb.pt2").err


def test_configuration_nested_without_end(bounded):
    text = b'{"config": ' + b"[" * 1_000_000
    entries = [Entry("n/data/weights/model_weights_config.json", text), Entry("n/models/model.json", b"{}")]
    assert bounded(zip_bytes([*entries, Entry("n/archive_format", b"pt2")]), "bomb.pt2").code == 3


def test_many_tensors_over_one_storage(bounded):
    weights = {f"w{number}": payload("weight_0", (2,), (1,)) for number in range(60_000)}
    bounded(zip_bytes(export_entries(weights, {"weights/weight_0": bytes(8)})), "bomb.pt2")


def test_shapes_of_many_dimensions(bounded):
    weights = {f"w{number}": payload("weight_0", (1,) * 1_000, (1,) * 1_000) for number in range(200)}
    bounded(zip_bytes(export_entries(weights, {"weights/weight_0": bytes(8)})), "bomb.pt2")


def test_more_files_inside_than_may_be(bounded):
    weights = {f"w{number}": pickled_payload(f"weight_{number}") for number in range(10_500)}
    files = {f"weights/weight_{number}": legacy_bytes(tensor("a", (2,), view=None), {"a": (2, 8)}) for number in range(10_500)}
    assert "nested files" in bounded(zip_bytes(export_entries(weights, files)), "bomb.pt2").err


def test_stacks_of_commas_and_quotes(bounded):
    stack = b'"nn_module_stack": "' + b"," * 16_000 + b'", "parameter_name": "' + b'\\"' * 4_000
    text = b"".join(stack.replace(b",,", b",%d," % number, 1) for number in range(1_500))
    bounded(zip_bytes(export_entries({}, {}, text=text)), "bomb.pt2")


def test_compressed_parts_that_inflate_to_gigabytes(bounded):
    inner = zip_bytes(
        [Entry("a/data.pkl", pickled({"w": tensor("0", (1 << 26,))})), Entry("a/data/0", bytes(1 << 28), deflate=True)]
    )
    assert bounded(old_export_bytes(inner, deflate=True), "fine.pt2").code == 0
    large = torch_zip_bytes({"w": tensor("0", (1 << 25,))}, {"0": 1 << 27})
    assert "pickle bytes" in bounded(old_export_bytes(large, deflate=True), "bomb.pt2").err


def test_an_archive_in_an_archive_in_an_archive(bounded):
    """What lies in a .pt2 is a torch.save file, never a .pt2 again."""
    data = INNER
    for _ in range(50):
        data = old_export_bytes(data)
    assert bounded(data, "bomb.pt2").code == 3


def test_views_of_compiled_weights(bounded):
    weights = {f"w{number}": ["weight_0", [2], [1], 0] for number in range(100_000)}
    bounded(compiled_bytes({"m.so": b"\x7fELF"}, weights, {"weight_0": INNER}), "bomb.pt2")


# torch.package


def test_pickles_without_end(bounded):
    bounded(package_bytes({f"model/{number}.pkl": {"w": tensor("0", (1,))} for number in range(20_000)}, {"0": 4}))


def test_scripts_that_refer_to_themselves_and_to_many(bounded):
    modules = [reduced("torch.jit._script.unpackage_script_module", str(number), number=number) for number in range(12_000)]
    files = {f".data/ts_code/{number}/data.pkl": pickled(instance("__torch__.M", {})) for number in range(12_000)}
    assert bounded(package_bytes({"m.pkl": modules}, {}, files=files)).code == 3


def test_extern_modules_without_end(bounded):
    bounded(package_bytes({"m.pkl": {}}, {}, extern="torch\n" * 4_000_000))


# Old tars


def test_members_without_end(bounded):
    header = tar_bytes([TarEntry("x")], ending=0)
    found = bounded(header * 450_000, "bomb.tar")
    assert "members" in found.err


def test_storages_without_end(bounded):
    one = pickled((1, "cpu", name("torch.ByteStorage"))) + struct.pack("<q", 0)
    entries = torch_tar_entries({}, {}, {})[:3]
    bounded(tar_bytes([*entries, TarEntry("storages", pickled(299_000) + one * 150_000)]), "bomb.tar")


def test_tensors_without_end(bounded):
    tensors = {key: OldTensor(0, (1,), (1,)) for key in range(1, 100_000)}
    storages = storages_member({0: ("FloatStorage", 1, bytes(4))})
    root = [persistent(key) for key in tensors]
    members = {"sys_info": pickled({}), "pickle": pickled(root), "tensors": tensors_member(tensors), "storages": storages}
    bounded(tar_bytes([TarEntry(path, data) for path, data in members.items()]), "bomb.tar")


def test_counts_are_claims(bounded):
    for what in ("tensors", "storages"):
        entries = [entry for entry in torch_tar_entries({}, {}, {}) if entry.name != what]
        assert what in bounded(tar_bytes([*entries, TarEntry(what, pickled(1 << 40))]), "bomb.tar").err


def test_dimensions_are_claims(bounded):
    record = pickled(1) + pickled((1, 2, name("torch.FloatTensor"))) + struct.pack("<i4x", 1 << 30)
    entries = [entry for entry in torch_tar_entries({}, {2: ("FloatStorage", 1, bytes(4))}, {}) if entry.name != "tensors"]
    assert bounded(tar_bytes([*entries, TarEntry("tensors", record)]), "bomb.tar").code == 3


def test_sizes_are_claims(bounded):
    assert bounded(tar_bytes([TarEntry("storages", b"", size=1 << 62, binary_size=True)]), "bomb.tar").code == 3
    assert bounded(tar_bytes([TarEntry("storages", b"", pax={"size": "9" * 30})]), "bomb.tar").code == 3


def test_hidden_members_without_end(bounded):
    hidden = [TarEntry("pickle", pickled(call("os.system", "true")))] * 20_000
    found = bounded(tar_bytes([*hidden, *torch_tar_entries({}, {}, {})]), "bomb.tar")
    assert found.code == 0
    assert found.printed < 1 << 20


def test_old_model_json_without_end(bounded):
    module = {"name": "m", "parameters": []}
    for _ in range(300):
        module = {"name": "m", "submodules": [module]}
    text = json.dumps({"protoVersion": "6", "mainModule": module}).encode()
    assert bounded(zip_bytes([Entry("n/model.json", text), Entry("n/code/n.py")])).code == 3
