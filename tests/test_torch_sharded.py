"""ShardedTensor: pieces of one tensor that a rank holds, and descriptions of them that are odd."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError
from tests.builders.pickle_code import instance
from tests.builders.torch_code import shard, sharded_tensor, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import opened

SHARD = "torch.distributed._shard.sharded_tensor.shard.Shard"
PIECE = tensor("0", (2, 3))


def read(state, shape=(4, 3), **options):
    return opened(torch_zip_bytes({"w": sharded_tensor(shape, state)}, {"0": 24, "1": 24}), **options)


def origins(checkpoint):
    return [piece.origin for piece in checkpoint.tensors[0].pieces]


def test_pieces_lie_where_the_file_says():
    checkpoint = read(([shard(tensor("1", (2, 3)), [2, 0], [2, 3]), shard(PIECE, [0, 0], [2, 3])],))
    assert checkpoint.tensors.shapes == [(4, 3)]
    assert origins(checkpoint) == [(2, 0), (0, 0)]
    assert Ledger(checkpoint).total_parameters() == 12


@pytest.mark.parametrize("offsets", [None, [0], [0, 0, 0], [-1, 0], [0.5, 0], ["0", "0"], [True, 0], 7], ids=repr)
def test_places_that_are_none(offsets):
    checkpoint = read(([shard(PIECE, offsets, [2, 3])],))
    assert checkpoint.tensors.shapes == [(4, 3)]
    assert origins(checkpoint) in ([], [(0, 0)])
    assert checkpoint.tensors.storages == [0]


@pytest.mark.parametrize(
    "state",
    [None, (), 7, [], ([],), ({},), ([7],), ([instance(SHARD)],), ([instance(SHARD, 7)],), ([instance(SHARD, {"tensor": 7})],)],
    ids=lambda state: type(state).__name__,
)
def test_a_state_without_pieces(state):
    checkpoint = read(state)
    assert checkpoint.tensors.shapes == [(4, 3)]
    assert checkpoint.tensors.storages == [-1]


def test_a_piece_that_its_storage_does_not_hold():
    with pytest.raises(CorruptFileError, match="tensor 'w'"):
        read(([shard(tensor("0", (2, 3), numel=6, offset=1), [0, 0], [2, 3])],))


def test_as_many_pieces_as_the_limit_allows():
    pieces = [shard(PIECE, [0, 0], [2, 3])] * 3
    assert len(read((pieces,), limits=DEFAULT_LIMITS._replace(parts=3)).tensors[0].pieces) == 3
    with pytest.raises(LimitError) as caught:
        read((pieces,), limits=DEFAULT_LIMITS._replace(parts=2))
    assert caught.value.resource == "parts"
