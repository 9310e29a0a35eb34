"""What only looks quantised is not, and what is quantised in ways few others are still counts as what the model has."""

from __future__ import annotations

import math

import pytest

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.analysis.quantisation_report import quantisation_findings, quantisation_table
from modelscope_cli.analysis.quantisation_summary import summary
from modelscope_cli.analysis.size_table import walk
from tests.builders.quantised import (
    CONFIG,
    LAYERS,
    LINEARS,
    PARAMETERS,
    QUANTISED,
    bitsandbytes,
    gptq,
    quantised_tensors,
)
from tests.builders.safetensors_file import safetensors_bytes
from tests.opened import opened

F = "F32"


def checkpoint(tensors, **config):
    found = opened(safetensors_bytes(tensors), "model.safetensors")
    found.config = config
    return found


def ledger_of(tensors, **config) -> Ledger:
    return Ledger(checkpoint(tensors, **config))


def rows(ledger: Ledger, fact: str) -> list[tuple[str, str]]:
    """(text, evidence) of a row of the table."""
    table = quantisation_table(ledger)
    assert table is not None
    return [(str(getattr(row.cells[3], "text", row.cells[3])), row.cells[4]) for row in table.rows if row.cells[0] == fact]


# Scales beside weights in the dtype they were trained in ----------------------------------------------------------------

LINEAR = {"a.weight": (F, (8, 4)), "a.bias": (F, (8,))}


@pytest.mark.parametrize(
    "tensors",
    [
        {**LINEAR, "a.scales": (F, (8,))},
        {**LINEAR, "a.input_scale": (F, (4,)), "a.output_scale": (F, (8,))},
        {**LINEAR, "a.weight_scale": (F, (8, 1))},
        {**LINEAR, "a.scale_weight": ("F16", (8, 1))},
        {"attn.in_proj_weight": (F, (24, 8)), "attn.k_scale": (F, (8,)), "attn.v_scale": (F, (8,))},
        {"dec.q_scales": (F, (8,)), "dec.q": (F, (8, 8)), "dec.anchor_scales": (F, (5,)), "dec.anchor": (F, (5, 4))},
        {"m.x_blocks": (F, (8, 4)), "m.x_scales": (F, (8,))},
        {"m.weight.blocks": (F, (8, 4)), "m.weight.scales": (F, (8,))},
        {"m.weight_packed": (F, (8, 4)), "m.weight_scale": (F, (8, 1))},
        {"vq.codes": (F, (8, 16, 2)), "vq.codebooks": (F, (2, 256, 1, 8)), "vq.scales": (F, (8,))},
        {"m.W_q": (F, (8, 8)), "m.scale": (F, (8, 1)), "m.zero": (F, (8, 1))},
        {"m.compressed": (F, (8, 4)), "m.bitmask": (F, (8, 1))},
        {"m.trellis": (F, (2, 2, 64)), "m.suh": (F, (32,)), "m.svh": (F, (32,))},
        {"m.qweight": (F, (8, 4)), "m.wscales": (F, (1, 8))},
        {"scaled_fp8": (F, (2,)), **LINEAR},
    ],
)  # fmt: skip
def test_floats_are_parameters(tensors):
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == sum(math.prod(shape) for _, shape in tensors.values())
    assert summary(ledger) is None


@pytest.mark.parametrize(
    ("weight", "config"),
    [("F8_E4M3", {}), ("I8", {}), (F, {"quantization_config": {"quant_method": "fp8"}})],
)
def test_the_same_scale_beside_another_weight_is_a_helper(weight, config):
    ledger = ledger_of({"a.weight": (weight, (8, 4)), "a.input_scale": (F, (4,)), "a.weight_scale": (F, (8, 1))}, **config)
    assert ledger.roles == ["weight", "helper", "helper"]
    assert ledger.total_parameters() == 32


def test_codes_of_64_bits_are_indices():
    """A codebook model's codes are no weights of AQLM, which keeps them in bytes."""
    tensors = {"vq.codes": ("I64", (8, 16, 2)), "vq.codebooks": (F, (2, 256, 1, 8))}
    ledger = ledger_of(tensors)
    assert dict(zip(ledger.names, ledger.roles, strict=True)) == {"vq.codes": "buffer", "vq.codebooks": "weight"}
    assert ledger.total_parameters() == 2 * 256 * 8


def test_scales_without_a_weight_are_no_parameters_if_they_are_integers():
    assert ledger_of({"a.weight_shape": ("I64", (2,)), "b.weight": (F, (2, 2))}).roles == ["buffer", "weight"]


# Experts in one tensor --------------------------------------------------------------------------------------------------


def test_experts_of_mlx():
    """[experts, out, in]: mlx-lm keeps those of a layer in one tensor."""
    path = "model.layers.0.mlp.switch_mlp.gate_proj"
    tensors = {
        f"{path}.weight": ("U32", (4, 96, 16)),
        f"{path}.scales": ("BF16", (4, 96, 2)),
        f"{path}.biases": ("BF16", (4, 96, 2)),
    }
    found = checkpoint(tensors, quantization={"bits": 4, "group_size": 64})
    overview = inspect(found)
    assert overview.ledger.total_parameters() == 4 * 96 * 128
    assert overview.ledger.packed[0].shape == (4, 96, 128)
    kinds = {(row.kind.name, row.kind.detail) for row in walk(overview.tree.rows)}
    assert ("quantised experts", "4 × 128 → 96") in kinds


@pytest.mark.parametrize(("cells", "scheme", "bits"), [(2, "MLX NVFP4", 4), (4, "MLX MXFP4", 4), (8, "MLX MXFP8", 8)])
def test_floats_of_mlx_need_no_configuration(cells, scheme, bits):
    """Scales in bytes are those of floats: 16 or 32 elements share one."""
    packed = ledger_of({"a.weight": ("U32", (8, 3 * cells)), "a.scales": ("U8", (8, 3))}).packed[0]
    assert (packed.scheme, packed.bits, packed.elements) == (scheme, bits, 8 * 3 * cells * 32 // bits)


def gpt_oss(heads: int = 8, kv: int = 2, head: int = 16) -> dict:
    block, width = "block.0", (heads + 2 * kv) * head
    return {
        "embedding.weight": ("BF16", (320, 96)),
        f"{block}.attn.qkv.weight": ("BF16", (width, 96)), f"{block}.attn.qkv.bias": ("BF16", (width,)),
        f"{block}.attn.out.weight": ("BF16", (96, heads * head)), f"{block}.attn.out.bias": ("BF16", (96,)),
        f"{block}.attn.sinks": ("BF16", (heads,)), f"{block}.mlp.gate.weight": ("BF16", (4, 96)), f"{block}.mlp.gate.bias": ("BF16", (4,)),
        f"{block}.mlp.mlp1_weight.blocks": ("U8", (4, 128, 3, 16)), f"{block}.mlp.mlp1_weight.scales": ("U8", (4, 128, 3)),
        f"{block}.mlp.mlp1_bias": ("BF16", (4, 128)), f"{block}.mlp.mlp2_weight.blocks": ("U8", (4, 96, 2, 16)),
        f"{block}.mlp.mlp2_weight.scales": ("U8", (4, 96, 2)), f"{block}.mlp.mlp2_bias": ("BF16", (4, 96)),
        f"{block}.mlp.norm.scale": ("F32", (96,)), "unembedding.weight": ("BF16", (320, 96)),
    }  # fmt: skip


def test_gpt_oss_as_openai_writes_it():
    tensors = gpt_oss()
    plain = {name: shape for name, (_, shape) in tensors.items() if not name.endswith((".blocks", ".scales"))}
    overview = inspect(checkpoint(tensors))
    ledger = overview.ledger
    assert ledger.total_parameters() == sum(map(math.prod, plain.values())) + 4 * 128 * 96 + 4 * 96 * 64
    assert [(packed.into, packed.shape) for packed in ledger.packed.values()] == [
        ("mlp1_weight", (4, 128, 96)),
        ("mlp2_weight", (4, 96, 64)),
    ]
    assert ledger.by_role()["helper"][0] == 2
    assert {"quantised Parameter"} <= {row.kind.name for row in walk(overview.tree.rows)}


@pytest.mark.parametrize("config", [{}, {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16}])
def test_queries_are_wider_than_the_model(config):
    """A head_dim that is no part of hidden_size: the way out shows it, and so does the configuration."""
    tensors = gpt_oss()
    if config:  # the way out under a name that says nothing
        tensors["block.0.attn.way.weight"] = tensors.pop("block.0.attn.out.weight")
    overview = inspect(checkpoint(tensors, **config))
    facts = {fact.key: fact for fact in read_architecture(overview.ledger, overview.tree.outline())}
    assert "queries 128, keys and values 32 each" in facts["attention"].evidence


# Engines ----------------------------------------------------------------------------------------------------------------


def test_bits_that_differ_from_group_to_group():
    """EXL2: some rows of q_weight hold 5 bits an element, others 4: the mean is what can be said without reading them."""
    tensors = {
        "a.q_weight": ("I32", (34, 64)), "a.q_invperm": ("I16", (256,)), "a.q_scale": ("I32", (2, 8)), "a.q_scale_max": ("F16", (2,)),
        "a.q_groups": ("I16", (4,)),
    }  # fmt: skip
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == 256 * 64
    assert rows(ledger, "scheme") == [("EXL2, 4.25 bits on average", "q_weight and the permutation of 1 tensor")]
    assert summary(ledger).shares[0].bits == 4.25


def test_float8_as_comfyui_scales_it():
    tensors = {
        "scaled_fp8": ("F8_E4M3", (2,)), "a.weight": ("F8_E4M3", (8, 4)), "a.scale_weight": (F, ()), "a.scale_input": (F, ()),
        "b.weight": ("F8_E4M3", (8, 4)), "b.weight_scale": (F, (1,)), "b.comfy_quant": ("U8", (30,)),
    }  # fmt: skip
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == 64
    assert set(ledger.roles) - {"weight"} == {"helper"}
    assert rows(ledger, "scheme")[0][0] == "FP8 (E4M3), a scale a tensor"


@pytest.mark.parametrize(
    ("shape", "scale", "words"),
    [((8, 4), (), "a scale a tensor"), ((8, 4), (1,), "a scale a tensor"), ((8, 4), (8,), "a scale a row"), ((8, 4), (8, 1), "a scale a row"),
     ((8, 4), (4, 1), "blocks of 2 × 4"), ((3, 8, 4), (3, 1, 1), "a scale an expert"), ((3, 8, 4), (), "a scale a tensor")],
)  # fmt: skip
def test_what_shares_a_scale_of_float8(shape, scale, words):
    ledger = ledger_of({"a.weight": ("F8_E4M3", shape), "a.weight_scale": (F, scale)})
    assert rows(ledger, "scheme")[0][0] == f"FP8 (E4M3), {words}"


def test_one_scale_for_the_whole_of_a_bitnet():
    tensors = {"a.weight": ("U8", (64, 128)), "a.weight_scale": ("BF16", (1,))}
    ledger = ledger_of(tensors, quantization_config={"quant_method": "bitnet"})
    assert rows(ledger, "scheme")[0][0] == "BitNet, 2 bits, a scale a tensor"


# Integers of which nobody knows -----------------------------------------------------------------------------------------


def test_integers_that_are_most_of_a_file_are_told_of():
    tensors = {"a.codewords": ("I32", (64, 64)), "a.norm.weight": (F, (64,))}
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == 64
    findings = [(finding.code, finding.severity, finding.message) for finding in quantisation_findings(ledger)]
    assert findings == [
        ("packed", "warning",
         "1 tensor of integers takes 98 % of the bytes and is named like no weight that is known: counted as buffers, not as parameters "
         "(a.codewords)"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "tensors", [{"a.index": ("I64", (64, 64)), "b.weight": (F, (4,))}, {"a.index": ("I32", (8,)), "b.weight": (F, (8, 8))}]
)
def test_indices_are_not(tensors):
    assert quantisation_findings(ledger_of(tensors)) == []


# Biases that the model has not ------------------------------------------------------------------------------------------


def with_biases(paths=tuple(LINEARS)):
    tensors = quantised_tensors(lambda out, into: gptq(4, out, into))
    added = {f"{layer}.{path}.bias": ("F16", (LINEARS[path][0],)) for layer in LAYERS for path in paths}
    return {**tensors, **added}, sum(shape[0] for _, shape in added.values())


def test_biases_that_gptq_made_are_not_counted():
    tensors, elements = with_biases()
    said = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    ledger = ledger_of(tensors, **CONFIG, quantization_config=said)
    assert ledger.total_parameters() == PARAMETERS
    finding = next(finding for finding in quantisation_findings(ledger) if finding.code == "biases")
    assert finding.message.startswith(
        f"14 biases beside GPTQ weights are not counted ({elements:,} elements): the model of config.json"
    )


def test_biases_that_the_configuration_has():
    tensors, _ = with_biases()
    counted = 2 * sum(LINEARS[path][0] for path in LINEARS if path.startswith("self_attn"))
    assert ledger_of(tensors, **CONFIG, attention_bias=True).total_parameters() == PARAMETERS + counted
    queries = 2 * sum(LINEARS[f"self_attn.{name}_proj"][0] for name in "qkv")
    assert ledger_of(tensors, **{**CONFIG, "model_type": "qwen2"}).total_parameters() == PARAMETERS + queries


def test_biases_of_a_model_nobody_knows():
    """Without a configuration they count, and the number without them is told; fc1 of an OPT hints at nothing."""
    tensors, elements = with_biases()
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == PARAMETERS + elements
    finding = next(finding for finding in quantisation_findings(ledger) if finding.code == "biases")
    assert f"the model has {PARAMETERS:,} parameters" in finding.message
    opt = {f"fc1.{leaf}": held for leaf, held in gptq(4, 256, 256).items()} | {"fc1.bias": ("F16", (256,))}
    assert quantisation_findings(ledger_of(opt)) == []


# Names ------------------------------------------------------------------------------------------------------------------


def test_adapters_on_a_quantised_base_are_told_by_the_names_of_the_model():
    tensors = {}
    for layer in range(2):
        path = f"base_model.model.layers.{layer}.q_proj"
        tensors |= {f"{path}.base_layer.{leaf}": held for leaf, held in bitsandbytes(False, 256, 256).items()}
        for adapter in ("default", "second"):
            tensors |= {
                f"{path}.lora_A.{adapter}.weight": (F, (8, 256)),
                f"{path}.lora_B.{adapter}.weight": (F, (256, 8)),
            }
    ledger = ledger_of(tensors)
    assert rows(ledger, "quantised")[0][1] == "q_proj"
    assert rows(ledger, "kept")[0][1] == "lora_A, lora_B"
    assert summary(ledger).quantised == 2 * 256 * 256 < QUANTISED
