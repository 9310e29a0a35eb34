"""Mixtures of experts: total against active parameters, from every way in which experts are kept."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.formats.gguf_config import config_of
from tests.builders.gguf_file import gguf_bytes
from tests.opened import opened
from tests.tables import checkpoint_of, linear


def facts(checkpoint):
    ledger = Ledger(checkpoint)
    return {fact.key: fact for fact in read_architecture(ledger, ModuleTree(ledger).outline())}, ledger.total_parameters()


def decoder(layers, width, vocabulary, attention, moe, *, dense=()):
    """Names of Hugging Face: `attention(path)` and `moe(path)` give the tensors of a layer, `dense` layers have none of the latter."""
    shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for number in range(layers):
        path = f"model.layers.{number}"
        shapes |= attention(f"{path}.self_attn")
        shapes |= {f"{path}.input_layernorm.weight": (width,), f"{path}.post_attention_layernorm.weight": (width,)}
        shapes |= gated(f"{path}.mlp", dense, width) if number < (1 if dense else 0) else moe(path)
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}


def gated(path, inner, width, names=("gate_proj", "up_proj", "down_proj")):
    shapes = {}
    for name, (out, into) in zip(names, ((inner, width), (inner, width), (width, inner)), strict=True):
        shapes |= linear(f"{path}.{name}", out, into, bias=False)
    return shapes


def attention(width, kv):
    return lambda path: {
        key: shape
        for name, out, into in (
            ("q_proj", width, width),
            ("k_proj", kv, width),
            ("v_proj", kv, width),
            ("o_proj", width, width),
        )
        for key, shape in linear(f"{path}.{name}", out, into, bias=False).items()
    }


def mixtral(layers=32, width=4096, inner=14336, experts=8, vocabulary=32000, kv=1024):
    def moe(path):
        shapes = linear(f"{path}.block_sparse_moe.gate", experts, width, bias=False)
        for expert in range(experts):
            shapes |= gated(f"{path}.block_sparse_moe.experts.{expert}", inner, width, ("w1", "w3", "w2"))
        return shapes

    return decoder(layers, width, vocabulary, attention(width, kv), moe)


def test_mixtral_8x7b():
    found, whole = facts(checkpoint_of(mixtral(), config={"num_experts_per_tok": 2}))
    assert whole == 46_702_792_704
    assert found["active_parameters"].value == 12_879_925_248
    assert found["active_parameters"].evidence == (
        "1,605,636,096 + 2/8 × 45,097,156,608 in routed experts (num_experts_per_tok in config.json); embeddings count"
    )
    assert found["experts"].value == 8
    assert found["experts"].text == "8 in each of 32 layers, each a gated MLP of 14,336, 2 active a token"


SMALL = {"layers": 3, "width": 16, "inner": 24, "experts": 4, "vocabulary": 50, "kv": 8}
OUTSIDE = 2 * 50 * 16 + 16 + 3 * (2 * 16 * 16 + 2 * 8 * 16 + 2 * 16)  # embeddings, norms, attention
ROUTED = 3 * 4 * 3 * 16 * 24


@pytest.mark.parametrize(
    ("config", "used"),
    [
        ({"num_experts_per_tok": 1}, 1),
        ({"text_config": {"num_experts_per_tok": 2}}, 2),
        ({"ffn_config": {"moe_top_k": 3}}, 3),
        ({"moe_topk": [2, 2, 2]}, 2),
        ({"num_experts_per_tok": 99}, 4),  # no more than there are
        ({"experts_per_token": 4}, 4),
    ],
)
def test_how_many_a_token_uses(config, used):
    found, whole = facts(checkpoint_of(mixtral(**SMALL), config=config))
    router = 3 * 4 * 16
    assert whole == OUTSIDE + router + ROUTED
    assert found["active_parameters"].value == OUTSIDE + router + ROUTED * used // 4


@pytest.mark.parametrize(
    "config",
    [{}, {"num_experts_per_tok": "2"}, {"moe_topk": [1, 2]}, {"num_experts_per_tok": 0}, {"num_experts_per_tok": True}],
)
def test_where_nothing_says_it(config):
    found, _ = facts(checkpoint_of(mixtral(**SMALL), config=config))
    assert found["experts"].value == 4
    active = found["active_parameters"]
    assert (active.value, active.inferred) == (None, False)
    assert "needs num_experts_per_tok in a config.json" in active.text


def test_shared_experts_and_dense_layers_count_wholly():
    def moe(path):
        shapes = linear(f"{path}.mlp.gate", 8, 16, bias=False) | gated(f"{path}.mlp.shared_experts", 12, 16)
        for expert in range(8):
            shapes |= gated(f"{path}.mlp.experts.{expert}", 6, 16)
        return shapes

    found, whole = facts(checkpoint_of(decoder(4, 16, 50, attention(16, 8), moe, dense=40), config={"num_experts_per_tok": 2}))
    routed = 3 * 8 * 3 * 6 * 16
    assert found["active_parameters"].value == whole - routed * 6 // 8
    assert found["experts"].text.endswith("2 active a token, and shared ones")
    assert "8 in each of 3 layers" in found["experts"].text


@pytest.mark.parametrize(
    ("tensors", "config", "experts"),
    [
        ({"mlp.experts.gate_up_proj": (4, 48, 16), "mlp.experts.down_proj": (4, 16, 24)}, {"num_experts_per_tok": 2}, 4),
        (
            {
                "mlp.experts.gate_up_proj": (4, 16, 48),
                "mlp.experts.gate_up_proj_bias": (4, 48),
                "mlp.experts.down_proj": (4, 24, 16),
                "mlp.experts.down_proj_bias": (4, 16),
            },
            {"num_local_experts": 4, "num_experts_per_tok": 2},
            4,
        ),
        (
            {"mlp.experts.down_proj_bias": (4, 16), "mlp.experts.down_proj": (4, 24, 16)},
            {"num_experts_per_tok": 2},
            4,
        ),
        (
            {"ffn.experts.mlp.w1": (4 * 24, 16), "ffn.experts.mlp.v1": (4 * 24, 16), "ffn.experts.mlp.w2": (4 * 24, 16)},
            {"ffn_config": {"moe_num_experts": 4, "moe_top_k": 2}},
            4,
        ),
        (
            {"block_sparse_moe.input_linear.weight": (4, 48, 16), "block_sparse_moe.output_linear.weight": (4, 16, 24)},
            {"num_local_experts": 4, "num_experts_per_tok": 2},
            4,
        ),
        (
            {
                f"mlp.experts.expert_{n}.{name}.weight": shape
                for n in range(4)
                for name, shape in (("wi", (24, 16)), ("wo", (16, 24)))
            },
            {"model_type": "nllb-moe"},
            4,
        ),
        (
            {f"mlp.deepspeed_moe.experts.deepspeed_experts.{n}.dense_h_to_4h.weight": (24, 16) for n in range(4)},
            {"moe_top_k": 2},
            4,
        ),
    ],
    ids=["cubes", "cubes and biases", "bias first", "rows", "Granite", "expert_0", "DeepSpeed"],
)
def test_ways_to_keep_experts(tensors, config, experts):
    def moe(path):
        return {f"{path}.{name}": shape for name, shape in tensors.items()} | linear(f"{path}.router", 4, 16, bias=False)

    found, whole = facts(checkpoint_of(decoder(2, 16, 50, attention(16, 8), moe), config=config))
    routed = 2 * sum(_numel(shape) for shape in tensors.values())
    assert found["experts"].value == experts
    assert "in each of 2 layers" in found["experts"].text
    assert found["active_parameters"].value == whole - routed + routed * 2 // 4


def _numel(shape):
    numel = 1
    for extent in shape:
        numel *= extent
    return numel


def test_switch_transformers_use_one():
    shapes = {f"encoder.block.{b}.layer.1.mlp.experts.expert_{n}.wi.weight": (8, 4) for b in (1, 3) for n in range(4)}
    shapes |= {f"encoder.block.{b}.layer.1.mlp.router.classifier.weight": (4, 4) for b in (1, 3)} | {"shared.weight": (50, 4)}
    found, whole = facts(checkpoint_of(shapes, config={"model_type": "switch_transformers"}))
    assert found["active_parameters"].value == whole - 2 * 3 * 32
    assert "a switch_transformers model" in found["active_parameters"].evidence


def test_rows_without_a_configuration_are_not_experts():
    shapes = {"wte.weight": (50, 16), "blocks.0.ffn.experts.mlp.w1": (96, 16), "blocks.0.ffn.experts.mlp.w2": (96, 16)}
    assert "experts" not in facts(checkpoint_of(shapes))[0]


@pytest.mark.parametrize("split", [False, True], ids=["one tensor", "a tensor an expert"])
def test_gguf(split):
    metadata = {"general.architecture": "llama", "llama.expert_count": 4, "llama.expert_used_count": 2}
    tensors = {"token_embd.weight": ("F32", (50, 16))}
    for block in range(2):
        tensors[f"blk.{block}.attn_q.weight"] = tensors[f"blk.{block}.attn_k.weight"] = ("F32", (16, 16))
        tensors[f"blk.{block}.ffn_gate_inp.weight"] = ("F32", (4, 16))
        for name, shape in (("gate", (24, 16)), ("up", (24, 16)), ("down", (16, 24))):
            if split:
                tensors |= {f"blk.{block}.ffn_{name}.{expert}.weight": ("F32", shape) for expert in range(4)}
            else:
                tensors[f"blk.{block}.ffn_{name}_exps.weight"] = ("F32", (4, *shape))
    assert config_of(metadata)["num_experts_per_tok"] == 2
    found, whole = facts(opened(gguf_bytes(tensors, metadata), "model.gguf"))
    routed = 2 * 4 * 3 * 16 * 24
    assert found["experts"].value == 4
    assert found["active_parameters"].value == whole - routed // 2
    assert found["active_parameters"].evidence.endswith("in routed experts (GGUF metadata); embeddings count")


def test_a_dense_model_has_no_experts():
    shapes = {"embed.weight": (50, 16), "shared_experts.up_proj.weight": (4, 4)}
    assert "active_parameters" not in facts(checkpoint_of(shapes, config={"num_experts_per_tok": 2}))[0]
