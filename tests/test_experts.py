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


def worked_out(evidence: str) -> int:
    """The value of the formula as it is printed: 1,605 + 2/8 × 45,097 in routed experts (…)."""
    value = 0
    for term in evidence.partition(" in routed experts")[0].split(" + "):
        factor, _, parameters = term.rpartition(" × ")
        used, _, experts = factor.partition("/")
        numbers = [int(number.replace(",", "")) for number in (parameters, used or "1", experts or "1")]
        assert numbers[0] * numbers[1] % numbers[2] == 0
        value += numbers[0] * numbers[1] // numbers[2]
    return value


@pytest.mark.parametrize(
    ("config", "used", "said"),
    [
        ({"num_experts_per_tok": 1}, 1, "num_experts_per_tok in config.json"),
        ({"text_config": {"num_experts_per_tok": 2}}, 2, "num_experts_per_tok in config.json"),
        ({"thinker_config": {"text_config": {"num_experts_per_tok": 2}}}, 2, "num_experts_per_tok in config.json"),
        ({"ffn_config": {"moe_top_k": 3}}, 3, "moe_top_k in config.json"),
        ({"moe_topk": [2, 2, 2]}, 2, "moe_topk in config.json"),
        ({"num_experts_per_tok": 99}, 4, "num_experts_per_tok in config.json is 99, and a layer has 4"),
        ({"experts_per_token": 4}, 4, "experts_per_token in config.json"),
        ({"model_type": "switch_transformers"}, 1, "a switch_transformers model"),
    ],
)
def test_how_many_a_token_uses(config, used, said):
    found, whole = facts(checkpoint_of(mixtral(**SMALL), config=config))
    router = 3 * 4 * 16
    assert whole == OUTSIDE + router + ROUTED
    active = found["active_parameters"]
    assert active.value == OUTSIDE + router + ROUTED * used // 4
    assert active.text == f"{active.value:,} a token, {100 * active.value / whole:.1f} % of {whole:,}"
    assert active.evidence == f"{whole - ROUTED:,} + {used}/4 × {ROUTED:,} in routed experts ({said}); embeddings count"
    assert worked_out(active.evidence) == active.value
    assert found["experts"].text == f"4 in each of 3 layers, each a gated MLP of 24, {used} active a token"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "needs num_experts_per_tok in a config.json"),
        ({"num_experts_per_tok": "2"}, 'num_experts_per_tok in config.json is "2", which is no number of experts'),
        ({"moe_topk": [1, 2]}, "moe_topk in config.json lists 2 numbers: which layer has which cannot be told"),
        ({"moe_topk": []}, "moe_topk in config.json is a list, which is no number of experts"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok in config.json is 0, which is no number of experts"),
        ({"num_experts_per_tok": True}, "num_experts_per_tok in config.json is True, which is no number of experts"),
        ({"num_experts_per_tok": 2.0}, "num_experts_per_tok in config.json is 2.0, which is no number of experts"),
        ({"num_experts_per_tok": 10**499}, "num_experts_per_tok in config.json is a number of 500 digits, which is no number of experts"),
        ({"num_experts_per_tok": 10**5000}, "num_experts_per_tok in config.json is a number of 5,001 digits, which is no number of experts"),
        ({"num_experts_per_tok": "x" * 9000}, f'num_experts_per_tok in config.json is "{"x" * 38}…, which is no number of experts'),
    ],
)  # fmt: skip
def test_where_nothing_says_it(config, why):
    found, _ = facts(checkpoint_of(mixtral(**SMALL), config=config))
    assert (found["experts"].value, found["experts"].text) == (4, "4 in each of 3 layers, each a gated MLP of 24")
    active = found["active_parameters"]
    assert (active.value, active.inferred, active.text) == (None, False, why)


def test_a_number_for_each_layer():
    found, whole = facts(checkpoint_of(mixtral(**SMALL), config={"moe_topk": [1, 2, 2]}))
    active = found["active_parameters"]
    assert active.value == whole - ROUTED + ROUTED // 3 // 4 + 2 * ROUTED // 3 * 2 // 4
    assert active.evidence.startswith(
        f"{whole - ROUTED:,} + 1/4 × {ROUTED // 3:,} + 2/4 × {2 * ROUTED // 3:,} in routed experts"
    )
    assert found["experts"].text == (
        "4 in a layer, each a gated MLP of 24, 1 active a token; 4 in each of 2 layers, each a gated MLP of 24, 2 active a token"
    )


def some_experts(path, counts, *, inner=6, width=16):
    """Layers with so many experts each."""
    shapes = {}
    for number, count in enumerate(counts):
        shapes |= linear(f"{path}.layers.{number}.mlp.gate", count, width, bias=False) | attention(width, 8)(
            f"{path}.layers.{number}.self_attn"
        )
        for expert in range(count):
            shapes |= gated(f"{path}.layers.{number}.mlp.experts.{expert}", inner, width)
    return shapes


@pytest.mark.parametrize("counts", [[4, 8, 4, 8], [3, 5, 6, 7, 9, 10, 11]], ids=["two", "many"])
def test_layers_with_different_numbers_of_experts_add_up(counts):
    shapes = {"model.embed_tokens.weight": (50, 16)} | some_experts("model", counts)
    found, whole = facts(checkpoint_of(shapes, config={"num_experts": max(counts), "num_experts_per_tok": 2}))
    active = found["active_parameters"]
    assert active.value == whole - sum(count - 2 for count in counts) * 3 * 6 * 16
    if len(counts) == 4:
        assert worked_out(active.evidence) == active.value
        assert found["experts"].text.count("; ") == 1
    else:
        assert f" + {3 * 2 * 288:,} of {(9 + 10 + 11) * 288:,} in routed experts" in active.evidence
        assert found["experts"].text.endswith("; 3 more kinds")


def test_parts_of_a_model_have_numbers_of_their_own():
    """As in Qwen Omni: a thinker and a talker."""
    shapes = {"thinker.model.embed_tokens.weight": (50, 16)} | some_experts("thinker.model", [8, 8, 8])
    shapes |= some_experts("talker.model", [8, 8], inner=4)
    thinker = {"text_config": {"num_experts": 8, "num_experts_per_tok": 4}}
    both = {"thinker_config": thinker, "talker_config": {"text_config": {"num_experts": 8, "num_experts_per_tok": 2}}}
    found, whole = facts(checkpoint_of(shapes, config=both))
    assert found["active_parameters"].value == whole - 3 * 4 * 3 * 6 * 16 - 2 * 6 * 3 * 4 * 16
    assert worked_out(found["active_parameters"].evidence) == found["active_parameters"].value
    assert "thinker: 8 in each of 3 layers, each a gated MLP of 6, 4 active a token" in found["experts"].text
    assert "talker: 8 in each of 2 layers, each a gated MLP of 4, 2 active a token" in found["experts"].text
    found, _ = facts(checkpoint_of(shapes, config={"thinker_config": thinker, "talker_config": {"text_config": {}}}))
    assert found["active_parameters"].value is None  # what the thinker uses says nothing of the talker


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"num_hidden_layers": 2, "num_nextn_predict_layers": 1}, ("enorm.weight",)),
        ({}, ("eh_proj.weight",)),
        ({}, ("nextn.eh_proj.weight",)),
    ],
    ids=["config.json", "DeepSeek", "GGUF"],
)
def test_layers_that_predict_further_tokens_are_not_active(config, names):
    shapes = {"model.embed_tokens.weight": (50, 16)} | some_experts("model", [4, 4, 4])
    ahead = {f"model.layers.2.{name}": (16, 32) for name in names} | {"model.layers.2.shared_head.head.weight": (50, 16)}
    found, whole = facts(
        checkpoint_of(shapes | ahead | {"lm_head.weight": (50, 16)}, config=config | {"num_experts_per_tok": 1})
    )
    layer = 4 * 16 + 2 * 16 * 16 + 2 * 8 * 16 + 4 * 3 * 6 * 16 + 16 * 32 + 50 * 16
    assert found["active_parameters"].value == whole - layer - 2 * 3 * 3 * 6 * 16
    assert worked_out(found["active_parameters"].evidence) == found["active_parameters"].value
    assert f"; without {layer:,} in model.layers.2, which predicts further tokens" in found["active_parameters"].evidence
    assert found["experts"].text.startswith("4 in each of 2 layers")
    assert found["tied_head"].evidence == "lm_head has a storage of its own"


def test_a_prediction_block_beside_the_layers_is_not_active():
    shapes = {"model.embed_tokens.weight": (50, 16)} | some_experts("model", [4, 4]) | some_experts("mtp", [4])
    found, whole = facts(checkpoint_of(shapes, config={"num_experts_per_tok": 1}))
    layer = 4 * 16 + 2 * 16 * 16 + 2 * 8 * 16 + 4 * 3 * 6 * 16
    assert found["active_parameters"].value == whole - layer - 2 * 3 * 3 * 6 * 16
    assert f"without {layer:,} in mtp, which predicts further tokens" in found["active_parameters"].evidence


def ernie():
    """Two layers with four experts for text, and four narrower ones for images; the router is transposed."""
    shapes = {"model.embed_tokens.weight": (50, 16)}
    for number in range(2):
        path = f"model.layers.{number}"
        shapes |= attention(16, 8)(f"{path}.self_attn") | {
            f"{path}.mlp.gate.weight": (16, 4),
            f"{path}.mlp.gate.weight_1": (16, 4),
        }
        for expert in range(8):
            shapes |= gated(f"{path}.mlp.experts.{expert}", 12 if expert < 4 else 6, 16)
    return shapes


def test_experts_of_two_sizes():
    config = {"model_type": "ernie4_5_moe_vl", "moe_num_experts": [4, 4], "moe_k": 3}
    found, whole = facts(checkpoint_of(ernie(), config=config))
    text, images = 2 * 4 * 3 * 12 * 16, 2 * 4 * 3 * 6 * 16
    assert found["experts"].text == (
        "4 in each of 2 layers for text, each a gated MLP of 12, 3 active a token; "
        "4 in each of 2 layers for images, each a gated MLP of 6"
    )
    active = found["active_parameters"]
    assert active.value == whole - text - images + text * 3 // 4
    assert active.text.startswith(f"{active.value:,} a text token")
    assert worked_out(active.evidence) == active.value


@pytest.mark.parametrize(
    "config", [{"moe_num_experts": [4, 4]}, {"model_type": "ernie4_5_moe_vl", "moe_num_experts": [3, 5]}, {}]
)
def test_experts_of_several_sizes_that_nothing_tells_apart(config):
    found, _ = facts(checkpoint_of(ernie(), config=config | {"moe_k": 3}))
    assert found["active_parameters"].value is None
    assert "experts of several sizes" in found["active_parameters"].text


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
            {
                f"mlp.experts.{name}.{n}.{leaf}": shape
                for n in range(4)
                for name in ("gate_up_projs", "down_projs")
                for leaf, shape in (("weight", (48, 16)), ("bias", (48,)))
            },
            {"num_local_experts": 4, "num_experts_per_tok": 2},
            4,
        ),
        (
            {f"mlp.switch_mlp.{name}.weight": (4, 24, 16) for name in ("gate_proj", "up_proj")},
            {"num_experts_per_tok": 2},
            4,
        ),
        (
            {
                "mlp.mlp1_bias": (4, 48),
                "mlp.mlp1_weight": (4, 48, 16),
                "mlp.mlp2_bias": (4, 16),
                "mlp.mlp2_weight": (4, 16, 24),
            },
            {"num_experts": 4, "experts_per_token": 2},
            4,
        ),
        (
            {f"mlp.deepspeed_moe.experts.deepspeed_experts.{n}.dense_h_to_4h.weight": (24, 16) for n in range(4)},
            {"moe_top_k": 2},
            4,
        ),
    ],
    ids=["cubes", "cubes and biases", "bias first", "rows", "Granite", "expert_0", "lists", "MLX", "OpenAI", "DeepSpeed"],
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


def test_a_bias_that_all_experts_share_is_not_routed():
    """As in nomic-embed v2: its length is the model's width, which the number of experts divides."""
    shapes = {"wte.weight": (50, 16)} | attention(16, 8)("blocks.0.attn") | {"blocks.0.mlp.experts.bias": (16,)}
    shapes |= {"blocks.0.mlp.experts.mlp.w1": (4 * 8, 16), "blocks.0.mlp.experts.mlp.w2": (4 * 8, 16)}
    found, whole = facts(checkpoint_of(shapes, config={"num_experts": 4, "moe_top_k": 1}))
    assert found["active_parameters"].value == whole - 3 * 2 * 8 * 16


def test_rows_of_a_packed_weight_are_not_experts():
    """bitsandbytes packs a matrix into a column, whose length the number of experts divides by accident."""
    shapes = {"model.embed_tokens.weight": (50, 16)}
    for expert in range(4):
        path = f"model.layers.0.mlp.experts.up_projs.{expert}.weight"
        shapes |= {f"{path}:uint8": (512, 1), f"{path}.absmax:uint8": (16,), f"{path}.quant_map": (16,)}
        shapes |= {f"{path}.quant_state.bitsandbytes__nf4:uint8": (81,)}
    found, whole = facts(checkpoint_of(shapes, config={"num_local_experts": 4, "num_experts_per_tok": 1}))
    assert whole == 50 * 16 + 4 * 1024
    assert found["experts"].text == "4 in a layer, 1 active a token"
    assert found["active_parameters"].value == 50 * 16 + 1024


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
