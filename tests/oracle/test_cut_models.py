"""Models cut into pieces by torch: joined again, every element is where it was."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed as dist
from torch.distributed._shard.sharded_tensor import Shard, init_from_local_shards
from torch.distributed._shard.sharding_spec import ShardMetadata

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from tests.oracle.pieces import assembled, same_tensor

WIDTH, INNER, WORDS, LAYERS = 32, 96, 80, 3
ROWS = ("wq", "wk", "wv", "w1", "w3", "output")
COLUMNS = ("wo", "w2")


def llama():
    """A small Llama under Meta's names."""
    torch.manual_seed(2)
    state = {"tok_embeddings.weight": torch.randn(WORDS, WIDTH)}
    for layer in range(LAYERS):
        for name in ("wq", "wk", "wv", "wo"):
            state[f"layers.{layer}.attention.{name}.weight"] = torch.randn(WIDTH, WIDTH)
        state[f"layers.{layer}.feed_forward.w1.weight"] = torch.randn(INNER, WIDTH)
        state[f"layers.{layer}.feed_forward.w2.weight"] = torch.randn(WIDTH, INNER)
        state[f"layers.{layer}.feed_forward.w3.weight"] = torch.randn(INNER, WIDTH)
        state[f"layers.{layer}.attention_norm.weight"] = torch.rand(WIDTH)
        state[f"layers.{layer}.ffn_norm.weight"] = torch.ones(WIDTH)
    return state | {"norm.weight": torch.rand(WIDTH), "output.weight": torch.randn(WORDS, WIDTH), "rope.freqs": torch.rand(4)}


@pytest.mark.parametrize("files", [2, 4, 8])
@pytest.mark.parametrize("embedding_axis", [0, 1])
@pytest.mark.parametrize("params", [{"dim": WIDTH, "vocab_size": -1}, None], ids=["params.json", "alone"])
def test_slices_of_llama(tmp_path, files, embedding_axis, params):
    whole = llama()
    for number in range(files):
        held = {}
        for name, tensor in whole.items():
            leaf = name.split(".")[-2]
            axis = embedding_axis if leaf == "tok_embeddings" else 0 if leaf in ROWS else 1 if leaf in COLUMNS else None
            held[name] = tensor.clone() if axis is None else tensor.chunk(files, axis)[number].contiguous().clone()
        torch.save(held, tmp_path / f"consolidated.{number:02}.pth")
    if params:
        (tmp_path / "params.json").write_text(json.dumps(params))
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert [note.code for note in checkpoint.notes if note.severity != "info"] == []
    assert checkpoint.tensors.names == list(whole)
    for index, tensor in enumerate(whole.values()):
        assert same_tensor(checkpoint, index, tensor), checkpoint.tensors.names[index]
    expected = sum(tensor.numel() for name, tensor in whole.items() if name != "rope.freqs")
    assert Ledger(checkpoint).total_parameters() == expected
    assert checkpoint.sections()["data"] == sum(Ledger(checkpoint).nbytes)


@pytest.fixture
def group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_sharded_tensor_with_two_local_shards(group, tmp_path):
    whole = torch.arange(40.0).reshape(10, 4)
    shards = [Shard(whole[at : at + 5].clone(), ShardMetadata([at, 0], [5, 4], "rank:0/cpu")) for at in (5, 0)]
    torch.save({"w": init_from_local_shards(shards, (10, 4)), "plain": torch.ones(3)}, tmp_path / "sharded.pt")
    checkpoint = modelscope_cli.read(str(tmp_path / "sharded.pt"))
    at = checkpoint.tensors.names.index("w")
    assert checkpoint.tensors.shapes[at] == (10, 4)
    assert [piece.origin for piece in checkpoint.tensors[at].pieces] == [(5, 0), (0, 0)]
    assert torch.equal(assembled(checkpoint, at), whole)
    assert Ledger(checkpoint).total_parameters() == 43
