"""The library: `modelscope_cli.read`, what it returns, and the errors it raises."""

from __future__ import annotations

import contextlib
import inspect
import io
import os

import pytest

import modelscope_cli
from modelscope_cli import errors
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.tensor import TensorInfo
from tests.builders.safetensors_file import entry, raw_bytes, safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.shards import TWO_SHARDS, sharded_folder
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes


@pytest.fixture
def path(tmp_path):
    """A torch zip of two tensors, one a slice of the other's storage."""
    root = ordered({"fc.weight": tensor("0", (2, 3)), "fc.bias": tensor("0", (2,), numel=6, offset=3, strides=(2,))})
    (tmp_path / "model.pt").write_bytes(torch_zip_bytes(root, {"0": bytes(range(24))}))
    return str(tmp_path / "model.pt")


def test_all_that_is_public():
    assert modelscope_cli.__all__ == ["Check", "Checkpoint", "Limits", "ModelscopeError", "TensorInfo", "__version__", "check", "read"]
    assert all(getattr(modelscope_cli, name) for name in modelscope_cli.__all__)
    assert str(inspect.signature(modelscope_cli.read)).startswith("(path: 'str | PathLike[str]', *, limits: 'Limits | None' = None, lenient: ")


def test_read(path):
    checkpoint = modelscope_cli.read(path)
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.path == path
    assert checkpoint.format == "torch-zip"
    assert checkpoint.nbytes == os.path.getsize(path)
    assert checkpoint.elements == 8
    assert [tensor.name for tensor in checkpoint.tensors] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_labels_of_every_file_cover_it(tmp_path, name):
    (tmp_path / name).write_bytes(SAMPLES[name])
    checkpoint = modelscope_cli.read(str(tmp_path / name))
    assert sum(checkpoint.sections().values()) == checkpoint.nbytes == len(SAMPLES[name])


def test_fields_of_a_tensor(path):
    bias = modelscope_cli.read(path).tensors["fc.bias"]
    assert isinstance(bias, TensorInfo)
    assert bias._fields == ("name", "shape", "dtype", "role", "file", "start", "stop", "storage", "offset", "strides", "pieces")
    assert bias.name == "fc.bias"
    assert bias.shape == (2,)
    assert bias.numel == 2
    assert (bias.dtype.name, bias.dtype.kind) == ("float32", "float")
    assert bias.role is None
    assert bias.file == path
    assert bias.storage == "0"
    assert (bias.offset, bias.strides) == (12, (2,))
    assert bias.pieces == ()


def test_the_range_of_a_tensor_is_where_its_bytes_are(path):
    weight = modelscope_cli.read(path).tensors[0]
    with open(path, "rb") as file:
        file.seek(weight.start)
        assert file.read(weight.stop - weight.start) == bytes(range(24))


def test_tensors_are_a_sequence_with_names(path):
    tensors = modelscope_cli.read(path).tensors
    assert len(tensors) == 2
    assert tensors[1] == tensors["fc.bias"] == list(tensors)[1]
    with pytest.raises(KeyError):
        tensors["fc"]
    with pytest.raises(IndexError):
        tensors[2]


def test_repr_of_a_checkpoint(path):
    size = os.path.getsize(path)
    assert repr(modelscope_cli.read(path)) == (
        f"<Checkpoint {path!r}: torch-zip, 1 file, {size:,} bytes, 2 tensors, 8 elements, float32>"
    )


def test_repr_of_a_set_and_of_nothing(tmp_path):
    sharded_folder(tmp_path)
    assert "safetensors, 3 files, " in repr(modelscope_cli.read(str(tmp_path)))
    (tmp_path / "empty.safetensors").write_bytes(safetensors_bytes({}))
    assert repr(modelscope_cli.read(str(tmp_path / "empty.safetensors"))).endswith("0 tensors, 0 elements, no tensors>")


@pytest.mark.parametrize("which", ["", *TWO_SHARDS, "model.safetensors.index.json"])
def test_a_set_is_read_from_any_of_its_files(tmp_path, which):
    sharded_folder(tmp_path)
    checkpoint = modelscope_cli.read(str(tmp_path / which))
    assert len(checkpoint.tensors) == 4
    assert {os.path.basename(tensor.file) for tensor in checkpoint.tensors} == set(TWO_SHARDS)
    assert len(checkpoint.files) == len(checkpoint.byte_maps) == 3


def test_a_folder_with_several_models_gives_the_one_that_loaders_take(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"right": ("F32", (1,))}))
    (tmp_path / "another.safetensors").write_bytes(safetensors_bytes({"wrong": ("F32", (1,))}))
    assert modelscope_cli.read(str(tmp_path)).tensors[0].name == "right"


def test_metadata_is_plain_data(tmp_path):
    (tmp_path / "run.ckpt").write_bytes(SAMPLES["training.ckpt"])
    metadata = modelscope_cli.read(str(tmp_path / "run.ckpt")).metadata
    assert metadata["epoch"] == 7
    assert metadata["args"] == {"seed": 1, "name": "run"}
    assert metadata["optimizer"]["param_groups"]["0"] == {"lr": 0.1, "params": [0]}


def test_limits(path):
    low = DEFAULT_LIMITS._replace(tensors=1)
    with pytest.raises(errors.LimitError) as caught:
        modelscope_cli.read(path, limits=low)
    assert (caught.value.resource, caught.value.limit) == ("tensors", 1)
    assert str(caught.value.path).startswith(path)
    assert modelscope_cli.read(path, limits=DEFAULT_LIMITS.replace(["tensors=2"])).elements == 8


def test_lenient(tmp_path):
    damaged = str(tmp_path / "cut.safetensors")
    with open(damaged, "wb") as file:
        file.write(raw_bytes({"a": entry("F32", (2,), 0, 8), "b": entry("F32", (4,), 8, 24)}, 16))
    with pytest.raises(errors.CorruptFileError) as caught:
        modelscope_cli.read(damaged)
    assert caught.value.path == damaged
    checkpoint = modelscope_cli.read(damaged, lenient=True)
    assert checkpoint.tensors[0].name == "a"
    assert "error" in {note.severity for note in checkpoint.notes}


WRONG = {
    "missing.pt": (None, errors.SourceError),
    "page.pt": (b"<!DOCTYPE html><html></html>", errors.UnknownFormatError),
    "empty.pt": (b"", errors.FormatError),
    "cut.pt": (SAMPLES["state_dict.pt"][:300], errors.CorruptFileError),
    "cut.safetensors": (SAMPLES["plain.safetensors"][:40], errors.CorruptFileError),
    "model-00001-of-00002.safetensors": (SAMPLES["plain.safetensors"], None),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_of_one_family_and_say_where(tmp_path, name):
    data, expected = WRONG[name]
    wrong = tmp_path / name
    if data is not None:
        wrong.write_bytes(data)
    if expected is None:  # the rest of the set is missing: what is there is read, with a note
        checkpoint = modelscope_cli.read(str(wrong))
        assert "error" in {note.severity for note in checkpoint.notes}
        return
    with pytest.raises(errors.ModelscopeError) as caught:
        modelscope_cli.read(str(wrong))
    assert isinstance(caught.value, expected)
    assert caught.value.path == str(wrong)
    assert str(caught.value).startswith(f"{wrong}: {caught.value.message}")


def test_the_tree_of_errors_is_the_one_in_its_docstring():
    drawn = [
        word
        for line in (errors.__doc__ or "").splitlines()
        for word in line.replace("(", " ").split()
        if word.endswith("Error")
    ]
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(drawn) == classes
    assert all(issubclass(getattr(errors, name), errors.ModelscopeError) for name in classes)


def test_an_error_in_words():
    problem = errors.CorruptFileError("expected 8 bytes, found 3", path="model.pt", offset=1234, hint="download it again")
    assert str(problem) == "model.pt: expected 8 bytes, found 3 (byte 1,234)"
    assert problem.hint == "download it again"
    assert str(errors.LimitError("header_bytes", 10, 2000)) == "header bytes: 2,000 found, the limit is 10"
    assert "pip install 'modelscope-cli[x]'" in str(errors.MissingExtraError("x", "drawing").hint)


def test_reading_prints_nothing(path):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        modelscope_cli.read(path)
        with contextlib.suppress(errors.ModelscopeError):
            modelscope_cli.read(path + ".gone")
    assert out.getvalue() == err.getvalue() == ""


def test_reading_leaves_no_file_open(path):
    for _ in range(3):
        modelscope_cli.read(path)
    if os.path.isdir("/proc/self/fd"):
        held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert os.path.realpath(path) not in held
