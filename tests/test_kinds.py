"""Kinds of modules from names and shapes, or from the class where it is recorded."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.kinds import kind_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from tests.tables import checkpoint_of

ROWS = [
    ("fc1", {"weight": (4, 8), "bias": (4,)}, "Linear", "8 → 4", "linear"),
    ("proj", {"weight": (4, 8)}, "Linear", "8 → 4", "linear"),
    ("lm_head", {"weight": (100, 8)}, "Linear", "8 → 100", "head"),
    ("embed_tokens", {"weight": (100, 8)}, "Embedding", "100 × 8", "embedding"),
    ("wte", {"weight": (100, 8)}, "Embedding", "100 × 8", "embedding"),
    ("ln_1", {"weight": (8,), "bias": (8,)}, "LayerNorm", "8", "norm"),
    ("input_layernorm", {"weight": (8,)}, "RMSNorm", "8", "norm"),
    ("gn1", {"weight": (8,), "bias": (8,)}, "GroupNorm", "8", "norm"),
    ("bn1", {"weight": (8,), "bias": (8,), "running_mean": (8,), "running_var": (8,)}, "BatchNorm", "8", "norm"),
    ("conv1", {"weight": (64, 3, 7, 7)}, "Conv2d", "3 → 64, 7×7", "conv"),
    ("conv", {"weight": (64, 3, 5), "bias": (64,)}, "Conv1d", "3 → 64, 5", "conv"),
    ("conv", {"weight": (8, 4, 3, 3, 3), "bias": (8,)}, "Conv3d", "4 → 8, 3×3×3", "conv"),
    ("up", {"weight": (64, 32, 2, 2), "bias": (32,)}, "ConvTranspose2d", "64 → 32, 2×2", "conv"),
    ("c_attn", {"weight": (8, 24), "bias": (24,)}, "Conv1D", "8 → 24", "linear"),
    ("attn", {"in_proj_weight": (24, 8), "in_proj_bias": (24,)}, "MultiheadAttention", "8", "attention"),
    ("lstm", {"weight_ih_l0": (24, 8), "weight_hh_l0": (24, 6)}, "LSTM", "8 → 6", "recurrent"),
    ("gru", {"weight_ih_l0": (18, 8), "weight_hh_l0": (18, 6)}, "GRU", "8 → 6", "recurrent"),
    ("rnn", {"weight_ih_l0": (6, 8), "weight_hh_l0": (6, 6)}, "RNN", "8 → 6", "recurrent"),
    ("cell", {"weight_ih": (24, 8), "weight_hh": (24, 6)}, "LSTMCell", "8 → 6", "recurrent"),
    ("q_proj", {"qweight": (8, 4), "scales": (4,)}, "quantised Linear", "", "linear"),
    ("norm", {"gamma": (8,), "beta": (8,)}, "LayerNorm", "8", "norm"),
    ("rotary_emb", {"inv_freq": (4,)}, "RotaryEmbedding", "", "other"),
    ("thing", {"a": (2,), "b": (3,)}, "", "", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tensors", "kind", "detail", "category"), ROWS, ids=[f"{row[0]} {row[2]}" for row in ROWS])
def test_inferred(name, tensors, kind, detail, category):
    found = kind_of(name, tensors, {}, None, top=True)
    assert (found.name, found.detail, found.category, found.inferred) == (kind, detail, category, True)


def test_recurrent_layers_and_directions():
    tensors = {f"weight_{way}_l{layer}{side}": (24, 6) for way in ("ih", "hh") for layer in (0, 1) for side in ("", "_reverse")}
    assert kind_of("lstm", tensors, {}, None, top=True).detail == "6 → 6, 2 layers, bidirectional"


def test_head_inside_a_layer_is_a_linear():
    assert kind_of("fc", {"weight": (4, 8)}, {}, None, top=False).category == "linear"


@pytest.mark.parametrize(
    ("cls", "name", "category"),
    [
        ("torch.nn.modules.linear.Linear", "Linear", "linear"), ("shop.RMSNorm", "RMSNorm", "norm"), ("shop.MyAttention", "MyAttention", "attention"),
        ("shop.FancyConv2d", "FancyConv2d", "conv"), ("shop.Widget", "Widget", "linear"), ("shop.PatchEmbedding", "PatchEmbedding", "embedding"),
    ],
)  # fmt: skip
def test_recorded_class(cls, name, category):
    found = kind_of("x", {"weight": (4, 8)}, {}, cls, top=False)
    assert (found.name, found.category, found.inferred) == (name, category, False)


def container(shapes, path):
    """The kind of the module at `path`."""
    tree = ModuleTree(Ledger(checkpoint_of(shapes)))
    shape = tree.shape
    for part in path.split("."):
        shape = dict(shape.children)[part]
    return tree.kind(path.rpartition(".")[2], shape, True).name


def weights(path, *names):
    return {f"{path}.{name}.weight": (8, 8) for name in names}


@pytest.mark.parametrize(
    ("path", "shapes", "kind"),
    [
        ("self_attn", weights("self_attn", "q_proj", "k_proj", "v_proj", "o_proj"), "attention"),
        ("attention", weights("attention", "query_key_value", "dense"), "attention"),
        ("mlp", weights("mlp", "gate_proj", "up_proj", "down_proj"), "gated MLP"),
        ("feed_forward", weights("feed_forward", "w1", "w2", "w3"), "gated MLP"),
        ("mlp", weights("mlp", "fc1", "fc2"), "MLP"),
        ("moe", {**weights("moe", "gate"), **weights("moe.experts.0", "w1", "w2", "w3")}, "mixture of experts"),
        ("block", {**weights("block.attn", "q_proj", "k_proj", "v_proj"), **weights("block.mlp", "fc1", "fc2")}, "transformer layer"),
        ("block", {**weights("block.attn", "q_proj", "k_proj"), **weights("block.mlp", "gate_proj", "up_proj", "down_proj")}, "decoder layer"),
        ("stem", weights("stem", "a", "b"), ""),
    ],
)  # fmt: skip
def test_containers_are_named_by_structure(path, shapes, kind):
    assert container(shapes, path) == kind


@pytest.mark.parametrize(
    ("tensors", "kind", "detail"),
    [
        ({"weight_ih_l0": (80, 10), "weight_hh_l0": (80, 6), "weight_hr_l0": (6, 20)}, "LSTM", "10 → 20 projected to 6"),
        ({"weight_ih_l0": (40, 10), "weight_hh_l0": (40, 20)}, "recurrent layer", "10 → 20"),  # two gates: none of torch's
        ({"weight_ih_l0": (45, 10), "weight_hh_l0": (45, 20)}, "recurrent layer", "10 → 20"),
        ({"weight_ih": (9, 4), "weight_hh": (9, 3)}, "GRUCell", "4 → 3"),
        ({"weight_ih_l0": (4, 4), "weight_hh_l0": (4, 0)}, "", ""),
    ],
)
def test_gates_tell_recurrent_modules_apart(tensors, kind, detail):
    found = kind_of("rnn", tensors, {}, None, top=True)
    assert (found.name, found.detail) == (kind, detail)
