"""Sharded sets: the index is held against the shards in both directions, and every disagreement is named."""

from __future__ import annotations

import json
import os

import pytest

import modelscope_cli
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError, MissingShardError, ModelscopeError
from modelscope_cli.formats.locate import locate
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.shards import TWO_SHARDS, sharded_folder
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import codes, facts

INDEX = "model.safetensors.index.json"
FIRST, SECOND = TWO_SHARDS
NAMES = [name for tensors in TWO_SHARDS.values() for name in tensors]


def message(checkpoint, code: str) -> str:
    return next(note.message for note in checkpoint.notes if note.code == code)


def test_agreement_is_silent(tmp_path):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path) / INDEX))
    assert list(facts(checkpoint)) == NAMES
    assert checkpoint.notes == []
    assert [os.path.basename(file.path) for file in checkpoint.files] == [FIRST, SECOND, INDEX]
    assert checkpoint.nbytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert checkpoint.sections()["index"] == (tmp_path / INDEX).stat().st_size
    assert checkpoint.metadata["total_size"] == (40 + 16 + 16 + 4) * 4


@pytest.mark.parametrize("entrance", [INDEX, FIRST, SECOND, ""])
def test_every_entrance_opens_the_set(tmp_path, entrance):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path) / entrance))
    assert list(facts(checkpoint)) == NAMES


def test_tensors_know_their_file(tmp_path):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path)))
    assert {t.name: os.path.basename(t.file) for t in checkpoint.tensors} == {
        name: file for file in TWO_SHARDS for name in TWO_SHARDS[file]
    }


def test_without_an_index_the_names_make_the_set(tmp_path):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, index=None) / SECOND))
    assert list(facts(checkpoint)) == NAMES
    assert codes(checkpoint) == {"no-index": "info"}


def test_torch_shards(tmp_path):
    for number in (1, 2):
        data = torch_zip_bytes({f"layers.{number}.weight": tensor("0", (2, 3))}, {"0": 24})
        (tmp_path / f"pytorch_model-0000{number}-of-00002.bin").write_bytes(data)
    weight_map = {f"layers.{number}.weight": f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)}
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": 48}, "weight_map": weight_map})
    )
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert list(facts(checkpoint)) == ["layers.1.weight", "layers.2.weight"]
    assert checkpoint.notes == []


@pytest.mark.parametrize("index", [INDEX, None])
def test_missing_shard_is_an_error_and_the_rest_is_shown(tmp_path, index):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, index=index, without=[SECOND]) / FIRST))
    assert codes(checkpoint)["shard-unreadable"] == "error"
    assert list(facts(checkpoint)) == list(TWO_SHARDS[FIRST])
    assert "index-absent" not in codes(checkpoint)


def test_no_shard_at_all(tmp_path):
    with pytest.raises(MissingShardError):
        modelscope_cli.read(str(sharded_folder(tmp_path, without=[FIRST, SECOND]) / INDEX))


def test_damaged_shard_is_an_error_and_the_rest_is_shown(tmp_path):
    sharded_folder(tmp_path)
    (tmp_path / SECOND).write_bytes((tmp_path / SECOND).read_bytes()[:-1])
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert codes(checkpoint)["shard-unreadable"] == "error"
    assert list(facts(checkpoint)) == list(TWO_SHARDS[FIRST])


WHERE = {name: file for file in TWO_SHARDS for name in TWO_SHARDS[file]}


def test_in_the_index_but_in_no_shard(tmp_path):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, weight_map={**WHERE, "ghost.weight": FIRST})))
    assert codes(checkpoint) == {"index-absent": "error"}
    assert "ghost.weight" in message(checkpoint, "index-absent")


def test_in_a_shard_but_not_in_the_index(tmp_path):
    checkpoint = modelscope_cli.read(
        str(sharded_folder(tmp_path, weight_map={k: v for k, v in WHERE.items() if k != "norm.weight"}))
    )
    assert codes(checkpoint) == {"index-unlisted": "warning"}
    assert "norm.weight" in message(checkpoint, "index-unlisted")


def test_absent_and_unlisted_at_once(tmp_path):
    weight_map = {**{k: v for k, v in WHERE.items() if k != "norm.weight"}, "ghost.weight": SECOND}
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, weight_map=weight_map)))
    assert codes(checkpoint) == {"index-unlisted": "warning", "index-absent": "error"}


def test_in_another_shard_than_the_index_says(tmp_path):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, weight_map={**WHERE, "norm.weight": FIRST})))
    assert codes(checkpoint) == {"index-elsewhere": "warning"}


@pytest.mark.parametrize("index", [INDEX, None])
def test_in_two_shards(tmp_path, index):
    shards = {FIRST: TWO_SHARDS[FIRST], SECOND: {**TWO_SHARDS[SECOND], "embed.weight": ("F32", (10, 4))}}
    folder = sharded_folder(tmp_path, shards, index=index, total_size=None)
    checkpoint = modelscope_cli.read(str(folder / FIRST))
    assert codes(checkpoint)["in-two-shards"] == "error"
    assert "embed.weight" in message(checkpoint, "in-two-shards")


@pytest.mark.parametrize("claimed", [1, 303, 305, 0, -1, 304.5, "304", True, [304], {"a": 1}])
def test_wrong_total(tmp_path, claimed):
    checkpoint = modelscope_cli.read(str(sharded_folder(tmp_path, total_size=claimed)))
    assert codes(checkpoint) == {"index-total": "warning"}
    assert "304" in message(checkpoint, "index-total")


@pytest.mark.parametrize("claimed", [304, 304.0, None])
def test_right_total(tmp_path, claimed):
    assert codes(modelscope_cli.read(str(sharded_folder(tmp_path, total_size=claimed)))) == {}


@pytest.mark.parametrize("metadata", [None, {}, [], "text", 7, {"total_size": 304, "note": "a: b", "nested": {"x": 1}}])
def test_metadata_of_any_kind(tmp_path, metadata):
    assert codes(modelscope_cli.read(str(sharded_folder(tmp_path, metadata=metadata)))) == {}


@pytest.mark.parametrize("spelling", ["norm.weight", "norm\\u002eweight"])
def test_names_that_stand_twice_in_the_index(tmp_path, spelling):
    sharded_folder(tmp_path)
    text = (tmp_path / INDEX).read_text()
    (tmp_path / INDEX).write_text(text.replace('"weight_map": {', f'"weight_map": {{"{spelling}": "{SECOND}", '))
    assert codes(modelscope_cli.read(str(tmp_path))) == {"index-repeats": "error"}


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "a/../../b.safetensors",
        "/etc/passwd",
        "C:\\x.safetensors",
        "C:x",
        "..\\x.safetensors",
        "",
        "a\0b",
    ],
)
def test_names_that_lead_outside_are_refused(tmp_path, name):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (1,))}))
    sharded_folder(folder, weight_map={**WHERE, "w": name})
    with pytest.raises(CorruptFileError):
        modelscope_cli.read(str(folder / INDEX))


def test_index_that_names_itself_is_refused(tmp_path):
    with pytest.raises(CorruptFileError):
        modelscope_cli.read(str(sharded_folder(tmp_path, weight_map={**WHERE, "w": INDEX})))


def test_shards_may_lie_in_a_folder_below(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (1,))}))
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"w": "parts/a.safetensors"}}))
    checkpoint = modelscope_cli.read(str(tmp_path / INDEX))
    assert list(facts(checkpoint)) == ["w"]
    assert codes(checkpoint) == {}


def test_shard_beside_the_set_that_the_index_does_not_name(tmp_path):
    sharded_folder(tmp_path)
    (tmp_path / "model-00003-of-00003.safetensors").write_bytes(safetensors_bytes({"extra": ("F32", (1,))}))
    assert codes(modelscope_cli.read(str(tmp_path / INDEX))) == {"shard-unlisted": "warning"}


NO_INDEX = [
    "",
    "[]",
    "{}",
    '{"weight_map": []}',
    '{"weight_map": {"a": 1}}',
    '{"weight_map": {"a": null}}',
    "not json",
    '{"weight_map": {',
    "\xff",
    "[" * 100_000,
]


@pytest.mark.parametrize("text", NO_INDEX, ids=range(len(NO_INDEX)))
def test_things_that_are_no_index(tmp_path, text):
    (tmp_path / INDEX).write_text(text, encoding="latin-1")
    with pytest.raises(ModelscopeError):
        modelscope_cli.read(str(tmp_path / INDEX))


def test_index_of_no_shards(tmp_path):
    (tmp_path / INDEX).write_text('{"weight_map": {}}')
    with pytest.raises(CorruptFileError):
        modelscope_cli.read(str(tmp_path / INDEX))


@pytest.mark.parametrize(("resource", "limit"), [("index_bytes", 50), ("shards", 1)])
def test_limits_are_named(tmp_path, resource, limit):
    sharded_folder(tmp_path)
    with pytest.raises(LimitError) as caught:
        modelscope_cli.read(str(tmp_path / INDEX), limits=DEFAULT_LIMITS._replace(**{resource: limit}))
    assert caught.value.resource == resource


def test_limit_on_tensors_holds_for_the_set(tmp_path):
    sharded_folder(tmp_path)
    checkpoint = modelscope_cli.read(str(tmp_path / INDEX), limits=DEFAULT_LIMITS._replace(tensors=3))
    assert "error" in codes(checkpoint).values()
    assert list(facts(checkpoint)) == list(TWO_SHARDS[FIRST])


def test_limit_on_shards_holds_without_an_index(tmp_path):
    sharded_folder(tmp_path, index=None)
    with pytest.raises(LimitError):
        modelscope_cli.read(str(tmp_path / FIRST), limits=DEFAULT_LIMITS._replace(shards=1))


def test_several_shards_are_one_checkpoint(tmp_path):
    sharded_folder(tmp_path)
    located = locate([str(tmp_path / name) for name in (FIRST, SECOND, INDEX, "")])
    assert not located.problems
    assert len(located.found) == 1


@pytest.mark.parametrize("odd", [b'"\x80":1', b'"n":' + b"9" * 5_000], ids=["bytes that are no text", "a number without end"])
def test_an_index_that_is_odd_where_nobody_looks(tmp_path, odd):
    sharded_folder(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(index.read_bytes().replace(b"{", b"{" + odd + b",", 1))
    with pytest.raises(CorruptFileError, match="not JSON"):
        modelscope_cli.read(index)
