"""From paths to checkpoints: folders, sets, copies of the same model, and what is no model."""

from __future__ import annotations

import os
import sys

import pytest

import modelscope_cli
from modelscope_cli.errors import SourceError
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read
from modelscope_cli.formats.shard_sets import SHARD_NAME
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder

ONE = safetensors_bytes({"w": ("F32", (2,))})


def names(*paths, **options) -> list[str]:
    located = locate([str(path) for path in paths], **options)
    assert not located.problems, located.problems
    return [os.path.basename(target.index_path or target.path) for target in located.found]


def filled(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(ONE)
    return folder


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("model-00001-of-00008.safetensors", True),
        ("model_00001_of_00008.safetensors", True),
        ("model-000001-of-000008.safetensors", True),
        ("pytorch_model-00001-of-00008.bin", True),
        ("model-00001-of-00008.fp16.safetensors", True),
        ("model.safetensors", False),
        ("model-1-of-8.safetensors", False),
        ("model-00001-of-00008.json", False),
    ],
)
def test_names_of_shards(name, found):
    assert bool(SHARD_NAME.fullmatch(name)) is found


def test_file_is_itself(tmp_path):
    assert names(filled(tmp_path, "a.safetensors") / "a.safetensors") == ["a.safetensors"]


def test_path_named_twice_counts_once(tmp_path):
    filled(tmp_path, "a.safetensors")
    assert names(tmp_path / "a.safetensors", tmp_path / "." / "a.safetensors", tmp_path) == ["a.safetensors"]


def test_only_takes_a_shard_by_itself(tmp_path):
    sharded_folder(tmp_path)
    shard = "model-00002-of-00002.safetensors"
    assert names(tmp_path / shard, only=True) == [shard]


def test_number_beyond_the_count_is_a_file_of_its_own(tmp_path):
    name = "model-00009-of-00002.safetensors"
    assert names(filled(tmp_path, name) / name) == [name]


def test_one_of_one(tmp_path):
    filled(tmp_path, "model-00001-of-00001.safetensors")
    checkpoint = modelscope_cli.read(str(tmp_path / "model-00001-of-00001.safetensors"))
    assert [t.name for t in checkpoint.tensors] == ["w"]


def test_folder_takes_what_from_pretrained_would(tmp_path):
    filled(tmp_path, "model.safetensors", "pytorch_model.bin", "consolidated.00.pth", "training_args.bin", "optimizer.pt")
    located = locate([str(tmp_path)])
    assert [os.path.basename(target.path) for target in located.found] == ["model.safetensors"]
    said = " ".join(note.message for note in located.found[0].notes)
    for name in ("pytorch_model.bin", "consolidated.00.pth"):
        assert name in said


def test_set_comes_before_copies_of_it(tmp_path):
    sharded_folder(tmp_path)
    filled(tmp_path, "pytorch_model.bin", "model.fp16.safetensors")
    located = locate([str(tmp_path)])
    assert [os.path.basename(target.index_path) for target in located.found] == ["model.safetensors.index.json"]
    said = " ".join(note.message for note in located.found[0].notes)
    assert "pytorch_model.bin" in said
    assert "model.fp16.safetensors" in said


def test_unrelated_files_all_come(tmp_path):
    filled(tmp_path, "resnet.pth", "vgg.pth", "notes.txt", ".hidden.pth")
    assert names(tmp_path) == ["resnet.pth", "vgg.pth"]


def test_shards_without_numbers_are_not_listed_again(tmp_path):
    shards = {"part_a.safetensors": {"a": ("F32", (1,))}, "part_b.safetensors": {"b": ("F32", (1,))}}
    sharded_folder(tmp_path, shards)
    assert names(tmp_path) == ["model.safetensors.index.json"]


def test_two_sets_in_a_folder(tmp_path):
    sharded_folder(tmp_path)
    shards = {f"other-0000{n}-of-00002.safetensors": {f"o{n}": ("F32", (1,))} for n in (1, 2)}
    sharded_folder(tmp_path, shards, index="other.safetensors.index.json")
    assert names(tmp_path) == ["model.safetensors.index.json", "other.safetensors.index.json"]


def test_variants_have_indexes_of_their_own(tmp_path):
    shards = {f"model-0000{n}-of-00002.fp16.safetensors": {f"o{n}": ("F16", (1,))} for n in (1, 2)}
    sharded_folder(tmp_path, shards, index="model.safetensors.index.fp16.json")
    checkpoint = modelscope_cli.read(str(tmp_path / "model-00001-of-00002.fp16.safetensors"))
    assert [t.name for t in checkpoint.tensors] == ["o1", "o2"]


def test_metadata_of_something_else_is_no_distributed_checkpoint(tmp_path):
    filled(tmp_path, ".metadata", "model.safetensors")
    assert [os.path.basename(target.path) for target in locate([str(tmp_path)]).found] == ["model.safetensors"]


def test_problems_do_not_stop_other_paths(tmp_path):
    filled(tmp_path, "a.safetensors")
    located = locate([str(tmp_path / "missing"), str(tmp_path / "a.safetensors"), "s3://bucket/key"])
    assert len(located.found) == 1
    assert len(located.problems) == 2


def test_config_beside_the_weights(tmp_path):
    filled(tmp_path, "model.safetensors")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 4}')
    assert modelscope_cli.read(str(tmp_path)).config == {"num_attention_heads": 4}


@pytest.mark.parametrize("text", ["", "[1]", "not json", "[" * 100_000, "\xff"], ids=range(5))
def test_config_that_is_none_counts_as_absent(tmp_path, text):
    filled(tmp_path, "model.safetensors")
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert modelscope_cli.read(str(tmp_path)).config == {}


def test_relative_paths(tmp_path, monkeypatch):
    sharded_folder(tmp_path)
    (tmp_path / "m.pt").write_bytes(SAMPLES["state_dict.pt"])
    monkeypatch.chdir(tmp_path)
    assert len(modelscope_cli.read("m.pt").tensors) == 5
    assert len(modelscope_cli.read("model-00001-of-00002.safetensors").tensors) == 4
    assert len(modelscope_cli.read("model.safetensors.index.json").tensors) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x.incomplete"], "its download did not finish: download it again"),
        (["x.0a1b.incomplete"], "its download did not finish: download it again"),
        (["y.incomplete"], "its download is not in the cache: download it again"),
    ],
)
def test_link_into_a_cache_whose_download_did_not_finish(tmp_path, names, said):
    snapshot = tmp_path / "models--o--m" / "snapshots" / ("a" * 40)
    blobs = tmp_path / "models--o--m" / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for name in names:
        (blobs / name).write_bytes(b"x")
    (snapshot / "model.safetensors").symlink_to("../../blobs/x")
    with pytest.raises(SourceError, match="a symbolic link to something that is not there") as caught:
        read(str(snapshot / "model.safetensors"))
    assert caught.value.hint == said
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SourceError) as caught:
        read(str(tmp_path / "link"))
    assert caught.value.hint == f"it leads to {tmp_path / 'nowhere'}"
