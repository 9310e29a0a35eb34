"""What lies in a folder is what its content says: data called .bin, pickles without tensors, blobs, what could not be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelscope_cli.core.folder import MODEL, OTHER
from modelscope_cli.formats import folder_heads, known_beside
from modelscope_cli.formats.folder_search import LEVELS
from modelscope_cli.formats.locate import locate
from tests.builders.archives import zipped
from tests.builders.folders import pickled, safe, text, write
from tests.builders.foreign import POINTER, TFJS, coreml, hdf5, onnx, pickled_estimator
from tests.builders.pickle_code import pickled as plain_pickle
from tests.builders.samples import SAMPLES
from tests.command import mscope, process
from tests.test_folder import disk_usage, told, used
from tests.unprivileged import options as unprivileged

STATISTICS = plain_pickle({"mean": 1, "classes": ["a", "b"]})
NUMBERS = bytes(range(0, 200, 2)) * 40  # as of tokens


def problem_of(folder: Path) -> tuple[str, str]:
    (problem,) = locate([str(folder)]).problems
    return problem.message, problem.hint or ""


def test_data_called_bin_is_no_model_and_no_error(tmp_path):
    files = {"out/ckpt.pt": pickled(), "data/train.bin": NUMBERS, "data/val.bin": NUMBERS[:500]}
    write(tmp_path / "folder", files)
    (tmp_path / "same.zip").write_bytes(zipped(files))
    assert used(tmp_path / "folder") == ["out/ckpt.pt"]
    assert told(tmp_path / "folder")["data/train.bin"] == (OTHER, "not a model that is read")
    assert [mscope("inspect", tmp_path / name).code for name in ("folder", "same.zip")] == [0, 0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("b.pth", pickled()[:900]),
        ("b.safetensors", b"no header at all" * 9),
        ("b.pt", NUMBERS),
        ("b.bin", POINTER),
        ("b.bin", b"<!doctype html><title>404</title>"),
        ("b.bin", b""),
        ("b.bin", bytes(5000)),
        ("pytorch_model.bin", NUMBERS),
    ],
)
def test_what_should_be_a_model_and_is_none_stays_an_error(name, data, tmp_path):
    done = mscope("inspect", write(tmp_path, {"a.pth": pickled(), name: data}))
    assert done.code == 3
    assert name in done.err


def test_models_of_other_programs_beside_ours_are_said(tmp_path):
    said = told(write(tmp_path, {"a.pth": pickled(), "b.bin": onnx()}))
    assert used(tmp_path) == ["a.pth"]
    assert said["b.bin"] == (MODEL, "an ONNX model")


def test_a_pickle_without_tensors_beside_a_model(tmp_path):
    write(tmp_path, {"weights/best.pt": pickled(), "weights/stats.pkl": STATISTICS, "model.onnx": onnx()})
    assert used(tmp_path) == ["weights/best.pt"]
    assert told(tmp_path)["weights/stats.pkl"] == (OTHER, "a pickle without tensors")
    assert told(tmp_path)["model.onnx"][0] == "same model again"  # of the one model that there is


def test_a_pickle_with_tensors_beside_a_model(tmp_path):
    write(tmp_path, {"best.pt": pickled(), "state.pkl": SAMPLES["legacy.pth"]})
    assert used(tmp_path) == ["best.pt", "state.pkl"]


def test_pickles_alone_are_shown(tmp_path):
    assert used(write(tmp_path, {"scaler.pkl": STATISTICS})) == ["scaler.pkl"]


def test_pickles_beside_a_model_of_another_program(tmp_path):
    write(tmp_path, {"scaler.pkl": STATISTICS, "model.h5": hdf5(keras=True)})
    message, _ = problem_of(tmp_path)
    assert message == "this is a folder with a Keras model in HDF5 (model.h5)"


def test_an_estimator_beside_a_model_is_a_model_of_another_program(tmp_path):
    write(tmp_path, {"best.pt": pickled(), "forest.pkl": pickled_estimator()})
    assert used(tmp_path) == ["best.pt"]
    assert told(tmp_path)["forest.pkl"][0] == MODEL


def test_one_file_that_is_no_model_is_told_by_its_reader(tmp_path):
    assert "it begins 00 02 04" in mscope("inspect", write(tmp_path, {"weights.bin": NUMBERS})).err


def test_very_many_files_of_data_are_told_in_a_line(tmp_path):
    write(tmp_path, {f"s{number}x.bin": NUMBERS[: number + 40] for number in range(500)})
    done = mscope("inspect", tmp_path)
    assert done.code == 3
    assert "a folder with 500 files called .bin, none a model that is read" in done.err
    assert len(done.err.splitlines()) == 1


def test_files_beyond_the_bound_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_heads, "MOST_HEADS", 3)
    write(tmp_path, {f"{letter}.bin": NUMBERS for letter in "abcdef"})
    assert problem_of(tmp_path)[0] == "a folder with 6 files called .bin, none a model that is read"


def test_a_folder_is_listed_once_for_the_files_that_are_looked_up_in_it(tmp_path, monkeypatch):
    names = [f"s{number}x.bin" for number in range(40)]
    write(tmp_path, {**dict.fromkeys(names, NUMBERS), "model.json": TFJS, "vocab.json": b"{}"})
    listings, listdir = [], os.listdir
    monkeypatch.setattr(known_beside.os, "listdir", lambda path: listings.append(path) or listdir(path))
    mscope("inspect", tmp_path)
    assert len([path for path in listings if path == str(tmp_path)]) <= 2


def test_a_manifest_that_was_written_meanwhile_is_read_again(tmp_path):
    write(tmp_path, {"a.bin": NUMBERS, "model.json": b'{"paths": ["b.bin"]}'})
    assert "TensorFlow.js" not in mscope("inspect", tmp_path).err
    (tmp_path / "model.json").write_bytes(TFJS.replace(b"group1-shard1of1.bin", b"a.bin"))
    assert "TensorFlow.js" in mscope("inspect", tmp_path).err


@pytest.mark.parametrize("data", [safe(), pickled(), SAMPLES["legacy.pth"]], ids=["safetensors", "zip", "legacy"])
def test_content_tells_where_no_name_does(data, tmp_path):
    write(tmp_path, {"3f" * 32: data, "9a" * 20: text({"hidden_size": 4})})
    assert used(tmp_path) == ["3f" * 32]
    assert told(tmp_path)["3f" * 32] == ("weights", "a model by its content")


def test_a_zip_of_anything_is_no_model_by_its_content(tmp_path):
    write(tmp_path, {"download": zipped({"notes.txt": b"hello"})})
    assert problem_of(tmp_path)[0] == "a folder without a model file"


def test_no_file_is_called_used_that_was_not_read(tmp_path):
    write(tmp_path, {"a.pth": pickled(), "b.pth": pickled()[:900], "c.pth": b""})
    (checkpoint,) = json.loads(mscope("inspect", tmp_path, "-f", "json").out)["checkpoints"]
    rows = checkpoint["in_folder"]
    assert sum(row["bytes"] for row in rows if row["used"]) == checkpoint["bytes"]
    assert {name: row["what"] for row in rows for name in row["names"]} == {"a.pth": "weights", "b.pth": "unreadable", "c.pth": "unreadable"}  # fmt: skip
    assert [row["why"] for row in rows if row["names"] == ["c.pth"]] == ["an empty file"]
    assert rows[-1]["bytes"] == sum(row["bytes"] for row in rows[:-1]) == disk_usage(tmp_path)


def test_only_the_last_could_be_read(tmp_path):
    write(tmp_path, {"a.pth": b"", "b.pth": pickled()})
    (checkpoint,) = json.loads(mscope("inspect", tmp_path, "-f", "json").out)["checkpoints"]
    assert [row["names"] for row in checkpoint["in_folder"] if row["used"]] == [["b.pth"]]


def test_models_of_other_programs_below_are_named_by_their_content(tmp_path):
    write(
        tmp_path,
        {"pkg/data/c6.h5": hdf5(keras=False), "pkg/m/net.onnx": onnx(), "pkg/m/fake.tflite": b"x", "pkg/a.py": b"pass\n"},
    )
    message, hint = problem_of(tmp_path)
    assert "an HDF5 file (pkg/data/c6.h5)" in message
    assert "an ONNX model (pkg/m/net.onnx)" in message
    assert "fake" not in message + hint


def test_weights_of_numbers_are_not_named_beside_their_model(tmp_path):
    write(tmp_path, {"pkg/model.json": TFJS, "pkg/group1-shard1of1.bin": NUMBERS})
    message, hint = problem_of(tmp_path)
    assert message == "this is a folder with a TensorFlow.js model (pkg/model.json)"
    assert "pkg/model.json" in hint


def test_a_foreign_model_deep_in_a_package(tmp_path):
    write(tmp_path, {"a/b/c/d/model.mlmodel": coreml()})
    assert "a Core ML model (a/b/c/d/model.mlmodel" in problem_of(tmp_path)[0]


def test_the_state_of_a_training_below_is_named(tmp_path):
    write(tmp_path, {"pkg/models/training_args.bin": pickled()})
    assert "pkg/models/training_args.bin" in problem_of(tmp_path)[1]


def test_what_lies_too_deep_is_said(tmp_path):
    path = "/".join("abcdefghijkl"[: LEVELS + 1])
    write(tmp_path, {f"{path}/model.safetensors": safe()})
    _, hint = problem_of(tmp_path)
    assert f"{path}/model.safetensors lies more than {LEVELS} folders deep" in hint
    assert used(tmp_path / "a") == [f"{path[2:]}/model.safetensors"]


def test_a_folder_that_cannot_be_listed_is_said(tmp_path):
    bound = unprivileged()
    write(tmp_path, {"z/model.safetensors": safe(), "readme.txt": b"hello"})
    (tmp_path / "z").chmod(0)
    try:
        done = process("inspect", tmp_path, **bound)
    finally:
        (tmp_path / "z").chmod(0o755)
    assert done.returncode == 3
    assert "z/ cannot be listed: no permission to read it" in done.stderr
