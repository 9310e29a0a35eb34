"""Files of bare numbers are told by what lies beside them, and folders by what lies in them."""

from __future__ import annotations

import pytest

from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats import known_beside
from modelscope_cli.formats.foreign_folder import MOST_ENTRIES, foreign_folder
from modelscope_cli.formats.known_beside import listed
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read_file
from tests.builders.foreign import (
    MANIFEST,
    OPENVINO,
    POINTER,
    TFJS,
    coreml,
    coreml_weights,
    ctranslate2,
    leveldb,
    onnx,
    saved_model,
    tensor_bundle,
)

NUMBERS = bytes.fromhex("66faf93e59c8bc3e0f8b003fcc8f1a3d") * 20


def lay(folder, **files):
    """Files with `__` for a slash and `_dot_` for a dot of their names."""
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def said(path) -> str:
    with pytest.raises(ModelscopeError) as caught:
        read_file(str(path))
    return caught.value.message


BESIDE = [
    ("variables.data-00000-of-00001", {"variables_dot_index": tensor_bundle()}, "a data file of a TensorFlow checkpoint, not"),
    ("variables.data-00000-of-00001", {}, "by its name; the .index that names its tensors is not beside it"),
    ("variables.data-00000-of-00001", {"variables_dot_index": leveldb()}, "is not beside it"),
    ("group1-shard1of1.bin", {"model_dot_json": TFJS}, "a weight file of a TensorFlow.js model (model.json lists it)"),
    ("group1-shard2of2.bin", {"model_dot_json": TFJS}, "known kind"),
    ("face-shard1", {"face_dot_json": b'[{"weights":[],"paths":["face-shard1"]}]'}, "a weight file of a TensorFlow.js model"),
    ("net.bin", {"net_dot_xml": OPENVINO}, "the weight file of an OpenVINO model"),
    ("net.bin", {"net_dot_xml": b"<?xml version='1.0'?><a><b/></a>"}, "known kind"),
    ("model.onnx.data", {"model_dot_onnx": onnx()}, "the tensor data of an ONNX model"),
    ("model.onnx_data", {"model_dot_onnx": onnx()}, "the tensor data of an ONNX model"),
    ("model.onnx_data", {"model_dot_onnx": b"x"}, "known kind"),
]


@pytest.mark.parametrize(("name", "beside", "what"), BESIDE)
def test_what_lies_beside_it_tells(tmp_path, name, beside, what):
    lay(tmp_path, **beside)
    (tmp_path / name).write_bytes(NUMBERS)
    assert what in said(tmp_path / name)


def test_names_with_signs_of_patterns(tmp_path):
    name = "a(b+[c].bin"
    (tmp_path / name).write_bytes(NUMBERS)
    (tmp_path / "model.json").write_bytes(TFJS.replace(b"group1-shard1of1.bin", name.encode()))
    assert "TensorFlow.js" in said(tmp_path / name)


def test_lists_of_a_manifest_are_read_once(tmp_path):
    """Lists that do not end, a hundred thousand of them: looking for a name from each of them on would take minutes."""
    names = [f"group1-shard{number}of4.bin" for number in range(1, 5)]
    for name in names:
        (tmp_path / name).write_bytes(NUMBERS)
    (tmp_path / "model.json").write_bytes(b'{"weightsManifest":[' + b'"paths":[' * 116_000)
    assert all("known kind" in said(tmp_path / name) for name in names)


def test_names_in_lists_of_a_manifest():
    text = b'{"format": "layers.bin", "weightsManifest": [{"paths" : ["a.bin", "./b].bin"], "weights": ["c.bin"]}, {"paths": ["d.bin"'
    assert listed(text) == {b"a.bin", b"b].bin", b"d.bin"}


def test_manifests_of_a_folder_have_a_bound_together(tmp_path, monkeypatch):
    monkeypatch.setattr(known_beside, "MOST_SEARCHED", 1_000)
    (tmp_path / "model.json").write_bytes(TFJS.ljust(2_000))
    (tmp_path / "other.json").write_bytes(b'[{"weights":[],"paths":["face-shard1"]}]')
    assert [name for name, _ in known_beside.manifests(str(tmp_path))] == ["model.json"]


def test_one_file_that_describes_many_is_looked_at_once(tmp_path, monkeypatch):
    """An index for a hundred thousand data files would be read as often."""
    lay(tmp_path, variables_dot_index=tensor_bundle())
    opened = []
    monkeypatch.setattr(known_beside, "open_window", lambda path: opened.append(path) or open_window(path))
    for number in range(20):
        path = tmp_path / f"variables.data-{number:05}-of-00020"
        path.write_bytes(NUMBERS)
        assert "a data file of a TensorFlow checkpoint, not" in said(path)
    assert len(opened) == 1
    (tmp_path / "variables.index").write_bytes(leveldb() + b"x")
    assert "is not beside it" in said(path)


def test_a_file_that_points_at_itself_ends(tmp_path):
    """The .xml of a .bin is looked at, not the .bin of that .xml."""
    (tmp_path / "a.xml").symlink_to(tmp_path / "a.bin")
    (tmp_path / "a.bin").write_bytes(NUMBERS)
    assert "known kind" in said(tmp_path / "a.bin")


PACKAGE = {
    "Manifest_dot_json": MANIFEST,
    "Data__com_dot_apple_dot_CoreML__model_dot_mlmodel": coreml(),
    "Data__w__weight_dot_bin": coreml_weights(),
}
SAVED = {"saved_model_dot_pb": saved_model(), "variables__variables_dot_index": tensor_bundle()}
FOLDERS = [
    ("savedmodel", SAVED, "a TensorFlow SavedModel (TensorFlow 2.15.0), 2 files of ", "saved_model.pb --engine netron"),
    ("mlpackage", PACKAGE, "a Core ML package (ML program, specification 7), 3 files of ", "Data/com.apple.CoreML/model.mlmodel"),
    ("mlmodelc", {"coremldata_dot_bin": b"\x02\x00\xff", "model_dot_mil": b"program(1.0)"}, "a compiled Core ML model, 2 files", "compiled from"),
    ("tfjs", {"model_dot_json": TFJS, "group1-shard1of1_dot_bin": NUMBERS}, "a TensorFlow.js model, 2 files", "model.json"),
    ("ct2", {"model_dot_bin": ctranslate2(), "config_dot_json": b"{}"}, "a CTranslate2 model (TransformerSpec, 12 variables)", "ctranslate2"),
    ("bundle", {"m_dot_index": tensor_bundle(), "m_dot_data-00000-of-00001": NUMBERS}, "a TensorFlow checkpoint (1 data file)", "m.index"),
    ("openvino", {"n_dot_xml": OPENVINO, "n_dot_bin": NUMBERS}, "an OpenVINO model (main), 2 files", "n.xml"),
    ("orbax", {"_METADATA": b"{}", "manifest_dot_ocdbt": b"x"}, "an Orbax checkpoint (JAX)", "safetensors"),
    ("onnx", {"a_dot_onnx": onnx(), "README_dot_md": b"# a\n"}, "a folder with an ONNX model (a.onnx)", "a.onnx --engine netron"),
    ("several", {"a_dot_onnx": onnx(), "b_dot_onnx": onnx(), "c_dot_xml": OPENVINO}, "2 files, each an ONNX model (a.onnx, b.onnx); an OpenVINO", ""),
    ("below", {"Manifest_dot_json": b"{}", "Data__model_dot_mlmodel": coreml()}, "a folder with a Core ML model (Data/model.mlmodel)", "Data/model.mlmodel"),
    ("pointers", {"model_dot_safetensors": POINTER}, "a folder with a Git LFS pointer (model.safetensors)", "git lfs pull"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "what", "todo"), [row[1:] for row in FOLDERS], ids=[row[0] for row in FOLDERS])
def test_a_folder_is_named(tmp_path, files, what, todo):
    lay(tmp_path, **files)
    found = foreign_folder(str(tmp_path))
    assert found is not None
    assert what in found[0]
    assert todo in found[1]


@pytest.mark.parametrize(("files", "what"), [row[1:3] for row in FOLDERS], ids=[row[0] for row in FOLDERS])
def test_a_folder_is_named_though_its_weights_are_called_as_ours(tmp_path, files, what):
    lay(tmp_path, **files)
    (problem,) = locate([str(tmp_path)]).problems or [None]
    if problem is None:  # pointers are files of weights that were not downloaded
        assert "pointer" in what
    else:
        assert what in str(problem)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"notes_dot_txt": b"hello\n", "a_dot_json": b"{}"},
        {"saved_model_dot_pb": b"not a protocol buffer"},
        {"Manifest_dot_json": MANIFEST},
        {"saved_model_dot_pb": b""},
    ],
)
def test_a_folder_of_anything_else_is_not(tmp_path, files):
    lay(tmp_path, **files)
    assert foreign_folder(str(tmp_path)) is None


def test_folders_that_cannot_be_listed(tmp_path):
    assert foreign_folder(str(tmp_path / "none")) is None
    (tmp_path / "file").write_bytes(onnx())
    assert foreign_folder(str(tmp_path / "file")) is None


def test_a_folder_that_links_to_itself_ends(tmp_path):
    lay(tmp_path, **SAVED)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "2 files" in foreign_folder(str(tmp_path))[0]


def test_of_very_many_files_some_are_counted(tmp_path, monkeypatch):
    from modelscope_cli.formats import foreign_folder as module

    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    lay(tmp_path, **SAVED, a=b"", b=b"", c=b"")
    found = foreign_folder(str(tmp_path))
    assert found is None or "and more" in found[0]
    assert MOST_ENTRIES >= 1_000
