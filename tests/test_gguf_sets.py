"""GGUF models in several files: one set through any part, held against what the parts say of themselves."""

from __future__ import annotations

import pytest

import modelscope_cli
from modelscope_cli.errors import MissingShardError, ModelscopeError
from modelscope_cli.formats.locate import locate
from tests.builders.gguf_file import Value, gguf_bytes
from tests.opened import codes

PARTS = (
    {"token_embd.weight": ("F32", (5, 4))},
    {"blk.0.attn_q.weight": ("Q4_0", (2, 32)), "blk.0.attn_k.weight": ("Q4_0", (2, 32))},
    {"output.weight": ("F32", (5, 4))},
)


def part(number: int, *, said: int | None = None, count: int = 3, tensors: int = 4) -> bytes:
    metadata = {
        "split.no": Value(2, number if said is None else said),
        "split.count": Value(2, count),
        "split.tensors.count": Value(5, tensors),
    }
    whole = {"general.architecture": "llama", "llama.attention.head_count": 8} if number == 0 else {}
    return gguf_bytes(PARTS[number], {**whole, **metadata})


def name(number: int) -> str:
    return f"tiny.Q4_0-0000{number + 1}-of-00003.gguf"


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        (tmp_path / name(number)).write_bytes(part(number))
    return tmp_path


@pytest.mark.parametrize("through", [name(0), name(1), name(2), ""])
def test_a_set_is_one_checkpoint_through_any_part(folder, through):
    checkpoint = modelscope_cli.read(str(folder / through))
    assert checkpoint.format == "gguf"
    assert checkpoint.tensors.names == [tensor for tensors in PARTS for tensor in tensors]
    assert [file.path for file in checkpoint.files] == [str(folder / name(number)) for number in range(3)]
    assert sum(checkpoint.sections().values()) == sum(path.stat().st_size for path in folder.iterdir())
    assert codes(checkpoint) == {}
    assert checkpoint.config["num_attention_heads"] == 8
    assert checkpoint.config_from == "GGUF metadata"
    assert checkpoint.metadata["split.count"] == 3
    assert "split.no" not in checkpoint.metadata


def test_all_parts_named_are_one_set(folder):
    assert len(locate([str(folder / name(number)) for number in range(3)]).found) == 1


@pytest.mark.parametrize("lost", range(3))
def test_a_missing_part_is_named_and_the_others_are_shown(folder, lost):
    (folder / name(lost)).unlink()
    checkpoint = modelscope_cli.read(str(folder / name((lost + 1) % 3)))
    assert codes(checkpoint) == {"shard-unreadable": "error"}
    assert [note.where for note in checkpoint.notes] == [name(lost)]
    assert len(checkpoint.tensors) == 4 - len(PARTS[lost])


def test_all_parts_missing_but_a_broken_one(folder):
    for number in (0, 2):
        (folder / name(number)).unlink()
    (folder / name(1)).write_bytes(b"GGUF\x03")
    with pytest.raises(MissingShardError):
        modelscope_cli.read(str(folder / name(1)))


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"said": 2}, "split-number"), ({"count": 4}, "split-count"), ({"tensors": 5}, "split-tensors")],
)
def test_what_a_part_says_is_held_against_the_set(folder, changes, code):
    (folder / name(1)).write_bytes(part(1, **changes))
    checkpoint = modelscope_cli.read(str(folder / name(0)))
    assert codes(checkpoint) == {code: "error"}
    assert [note.where for note in checkpoint.notes] == [name(1)]


def test_a_number_of_tensors_is_not_held_against_a_set_that_is_not_whole(folder):
    (folder / name(2)).unlink()
    assert "split-tensors" not in codes(modelscope_cli.read(str(folder / name(0))))


def test_a_part_that_says_nothing_of_a_set(folder):
    (folder / name(1)).write_bytes(gguf_bytes(PARTS[1]))
    assert codes(modelscope_cli.read(str(folder / name(0)))) == {"split-unsaid": "warning"}


def test_a_tensor_in_two_parts(folder):
    (folder / name(2)).write_bytes(gguf_bytes(PARTS[0], {"split.no": Value(2, 2), "split.count": Value(2, 3)}))
    assert codes(modelscope_cli.read(str(folder / name(0)))) == {"in-two-shards": "error"}


def test_config_json_beside_it_does_not_replace_what_the_file_says(folder):
    (folder / "config.json").write_text('{"model_type": "other", "num_attention_heads": 99}')
    assert modelscope_cli.read(str(folder / name(0))).config["num_attention_heads"] == 8


def test_a_folder_of_quantisations_is_one_model(tmp_path):
    for kind in ("F32", "F16"):
        (tmp_path / f"tiny-{kind}.gguf").write_bytes(gguf_bytes({"w": (kind, (2, 2))}))
    found = locate([str(tmp_path)])
    assert [target.path for target in found.found] == [str(tmp_path / "tiny-F16.gguf")]
    assert "tiny-F32.gguf" in found.found[0].notes[0].message


def test_a_folder_with_nothing_hints_at_gguf(tmp_path):
    with pytest.raises(ModelscopeError) as caught:
        modelscope_cli.read(str(tmp_path))
    assert ".gguf" in caught.value.hint
