"""Distributed checkpoints in safetensors: whole tensors out of the pieces of all ranks."""

from __future__ import annotations

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from tests.builders.dcp_folder import write
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.sets import ROW_PIECES, distributed_safetensors
from tests.property.reading import check_analyses


def read(tmp_path, pieces):
    checkpoint = modelscope_cli.read(str(write(tmp_path, distributed_safetensors(pieces))))
    check_analyses(checkpoint)
    return checkpoint


def test_pieces_of_two_ranks(tmp_path):
    checkpoint = read(tmp_path, ROW_PIECES)
    assert checkpoint.notes == []
    assert [(info.name, info.shape) for info in checkpoint.tensors] == [("a.weight", (5, 4)), ("norm.weight", (4,))]
    assert [piece.origin for piece in checkpoint.tensors["a.weight"].pieces] == [(0, 0), (3, 0)]
    assert checkpoint.metadata == {"format": "pt"}
    assert Ledger(checkpoint).total_parameters() == 24


def test_lost_rank_leaves_a_hole(tmp_path):
    files = distributed_safetensors([*ROW_PIECES, {"a.weight": ((5, 0), (1, 4))}])
    del files["shard-00002-model-00001-of-00001.safetensors"]
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert [note.message for note in checkpoint.notes] == ["8 of its elements are in no file"]


def test_pieces_on_each_other(tmp_path):
    checkpoint = read(tmp_path, [*ROW_PIECES, {"a.weight": ((4, 0), (1, 4))}])
    assert [note.message for note in checkpoint.notes] == ["4 of its elements are in more than one file"]


def test_pieces_of_different_kinds(tmp_path):
    checkpoint = read(tmp_path, [*ROW_PIECES, {"a.weight": ((0,), (4,))}])
    assert [note.code for note in checkpoint.notes] == ["dcp-disagrees"]


def test_file_that_does_not_say_where_its_pieces_begin(tmp_path):
    files = distributed_safetensors(ROW_PIECES)
    files["shard-00002-model-00001-of-00001.safetensors"] = safetensors_bytes(
        {"a.weight": ("F32", (2, 4))}, {"DCP_SHARDING_INFO": "[" * 50_000}
    )
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert [note.code for note in checkpoint.notes] == ["dcp-absent", "dcp-twice"]
    check_analyses(checkpoint)
