"""Quantised weights count as what the model has, whatever holds them: the same parameters, shapes, kinds and facts as unquantised."""

from __future__ import annotations

import json
from time import process_time

import pytest

import modelscope_cli
from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.fit import fit
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import Overview, inspect, to_report
from modelscope_cli.analysis.quantisation_layouts import SCHEMES
from modelscope_cli.analysis.quantisation_report import quantisation_findings
from modelscope_cli.analysis.quantisation_summary import summary
from modelscope_cli.analysis.quantised import MAINS
from modelscope_cli.analysis.size_table import walk
from modelscope_cli.formats import baseline
from tests.builders.quantised import (
    CONFIG,
    LAYERS,
    LAYOUTS,
    LINEARS,
    OTHERS,
    PARAMETERS,
    PLAIN,
    QUANTISED,
    gptq,
    group,
    packed_ints,
    quantised_tensors,
    write_quantised,
)
from tests.builders.safetensors_file import safetensors_bytes
from tests.opened import opened
from tests.tables import checkpoint_of


def overview_of(folder) -> Overview:
    return inspect(modelscope_cli.read(str(folder)))


def ledger_of(tensors, said=None, **config) -> Ledger:
    checkpoint = opened(safetensors_bytes(tensors), "model.safetensors")
    checkpoint.config = {**config, **({} if said is None else {"quantization_config": said})}
    return Ledger(checkpoint)


def codes(ledger: Ledger) -> dict[str, str]:
    return {finding.code: finding.severity for finding in quantisation_findings(ledger)}


def facts(overview: Overview) -> dict[str, object]:
    return {fact.key: fact.value for fact in read_architecture(overview.ledger, overview.tree.outline())}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Overview:
    tensors = {name: ("F16", shape) for name, shape in PLAIN.items()}
    return overview_of(write_quantised(tmp_path_factory.mktemp("plain"), tensors, None))


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_model_behind_every_layout(name, tmp_path, plain):
    linear, said, scheme, bits, shared = LAYOUTS[name]
    overview = overview_of(write_quantised(tmp_path, quantised_tensors(linear), said))
    ledger = overview.ledger
    assert ledger.total_parameters() == PARAMETERS == plain.ledger.total_parameters()
    share = summary(ledger).shares[0]
    assert (share.scheme, share.bits, share.group, share.tensors) == (scheme, bits, shared, len(LAYERS) * len(LINEARS))
    assert summary(ledger).quantised == QUANTISED
    roles = ledger.by_role()
    assert roles["weight"][0] == len(PLAIN)  # all else stands beside them: no scale is a parameter
    assert roles["helper"][0] == len(ledger) - len(PLAIN)
    assert codes(ledger) == {}
    assert facts(overview) == facts(plain)
    assert fit(ledger, PLAIN, {}).perfect
    kinds = {row.kind.name for row in walk(overview.tree.rows)}
    assert kinds == {row.kind.name for row in walk(plain.tree.rows)} | {"quantised Linear"}
    assert sum(row.parameters for row in overview.tree.rows) == PARAMETERS
    to_report(overview)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_baseline_counts_the_same(name, tmp_path):
    linear, said, *_ = LAYOUTS[name]
    checkpoint = modelscope_cli.read(str(write_quantised(tmp_path, quantised_tensors(linear), said)))
    again = opened(baseline.describe(checkpoint), "model.json")
    before, after = Ledger(checkpoint), Ledger(again)
    rows = [
        dict(zip(ledger.names, zip(ledger.parameters, ledger.roles, strict=True), strict=True)) for ledger in (before, after)
    ]
    assert rows[0] == rows[1]


def test_kinds_tell_the_sizes_of_the_model(tmp_path):
    overview = overview_of(write_quantised(tmp_path, quantised_tensors(LAYOUTS["awq"][0]), LAYOUTS["awq"][1]))
    found = {row.label: (row.kind.name, row.kind.detail) for row in walk(overview.tree.rows)}
    assert found["k_proj"] == ("quantised Linear", "256 → 128")
    assert found["down_proj"] == ("quantised Linear", "512 → 256")


def test_every_layout_of_the_table_is_looked_for():
    """quantised.py decides by leaves alone which modules are worth a look."""
    assert {scheme.main for scheme in SCHEMES} == MAINS | {"weight"}


# Shapes against configuration -------------------------------------------------------------------------------------------


def test_shapes_beat_a_configuration_that_disagrees():
    ledger = ledger_of(
        quantised_tensors(lambda out, into: gptq(4, out, into)), {"quant_method": "gptq", "bits": 8, "group_size": 128}
    )
    assert ledger.total_parameters() == PARAMETERS
    finding = next(finding for finding in quantisation_findings(ledger) if finding.code == "quantisation-disagrees")
    assert finding.severity == "warning"
    assert finding.message == "the configuration says 8 bits, qweight and g_idx show 4; the shapes are counted"


def test_groups_that_disagree():
    ledger = ledger_of(
        quantised_tensors(lambda out, into: gptq(4, out, into)), {"quant_method": "gptq", "bits": 4, "group_size": 64}
    )
    assert codes(ledger) == {"quantisation-disagrees": "warning"}


def test_without_any_evidence_integers_count_as_stored():
    tensors = quantised_tensors(lambda out, into: packed_ints(4, 128, out, into))
    ledger = ledger_of(tensors)
    assert ledger.total_parameters() == PARAMETERS - QUANTISED + QUANTISED // 8
    assert codes(ledger) == {"packed": "info"}
    assert summary(ledger).shares[0].bits is None
    assert ledger.roles[ledger.names.index("model.layers.0.mlp.up_proj.weight_scale")] == "helper"


def test_sizes_of_the_configuration_are_evidence_too():
    ledger = ledger_of(quantised_tensors(lambda out, into: packed_ints(4, 128, out, into)), **CONFIG)
    assert ledger.total_parameters() == PARAMETERS


def test_rows_filled_up_to_whole_integers():
    """100 inputs of 4 bits take 13 int32, which hold 104: the groups tell."""
    tensors = {"a.weight_packed": ("I32", (8, 13)), "a.weight_scale": ("F16", (8, 5)), "a.weight_shape": ("I64", (2,))}
    ledger = ledger_of(tensors, group(4, 20))
    assert ledger.packed[0].shape == (8, 100)
    assert ledger.total_parameters() == 800


def test_three_bits_that_do_not_fill_the_last_integer():
    tensors = {
        "a.qweight": ("I32", (10, 32)),
        "a.g_idx": ("I32", (100,)),
        "a.scales": ("F16", (1, 32)),
        "a.qzeros": ("I32", (1, 3)),
    }
    assert ledger_of(tensors).packed[0].shape == (32, 100)


def test_groups_of_a_configuration_by_module():
    weights = {4: group(4)["config_groups"]["group_0"]["weights"], 8: group(8, 64)["config_groups"]["group_0"]["weights"]}
    said = {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "a": {"targets": [r"re:.*self_attn\.[qkv]_proj$"], "weights": weights[8]},
            "b": {"targets": ["Linear"], "weights": weights[4]},
            "c": {"targets": ["model.layers.0.self_attn.o_proj"], "weights": weights[8]},
        },
        "ignore": ["lm_head"],
    }
    tensors = quantised_tensors(lambda out, into: packed_ints(4, 128, out, into))
    for layer in LAYERS:
        for path in (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            *(["self_attn.o_proj"] if layer == LAYERS[0] else []),
        ):
            tensors |= {f"{layer}.{path}.{leaf}": held for leaf, held in packed_ints(8, 64, *LINEARS[path]).items()}
    ledger = ledger_of(tensors, said)
    assert ledger.total_parameters() == PARAMETERS
    assert {(share.bits, share.group): share.tensors for share in summary(ledger).shares} == {(4, 128): 7, (8, 64): 7}


def test_the_settings_of_another_file(tmp_path):
    folder = write_quantised(tmp_path, quantised_tensors(lambda out, into: packed_ints(4, 128, out, into)), None)
    (folder / "config.json").unlink()
    (folder / "quantize_config.json").write_text(json.dumps(group(4)))
    ledger = overview_of(folder).ledger
    assert ledger.total_parameters() == PARAMETERS
    assert ledger.quantised.config.source == "quantize_config.json"


# What is left out -------------------------------------------------------------------------------------------------------


def without(*paths: str) -> tuple[str, ...]:
    return tuple(path for path in LINEARS if path not in paths)


def left_out(ledger: Ledger) -> dict[str, int]:
    return {rule.text: len(lines) for rule, lines in summary(ledger).left_out()}


def test_what_the_configuration_leaves_out_is_found_to_be_left_out():
    tensors = quantised_tensors(lambda out, into: packed_ints(4, 128, out, into), without("mlp.down_proj"))
    said = group(4, ignore=["lm_head", r"re:.*mlp\.down_proj$", "re:.*vision.*"])
    ledger = ledger_of(tensors, said)
    assert ledger.total_parameters() == PARAMETERS
    assert left_out(ledger) == {"lm_head": 1, r"re:.*mlp\.down_proj$": 2, "re:.*vision.*": 0}
    assert codes(ledger) == {}


def test_a_module_that_should_be_quantised_and_is_not():
    tensors = quantised_tensors(lambda out, into: packed_ints(4, 128, out, into), without("mlp.down_proj"))
    ledger = ledger_of(tensors, group(4))
    finding = next(finding for finding in quantisation_findings(ledger) if finding.code == "not-quantised")
    assert finding.severity == "warning"
    assert finding.message.startswith("model.layers.0.mlp.down_proj, model.layers.1.mlp.down_proj are float16, not quantised")


def test_a_head_that_should_be_quantised_and_is_not():
    ledger = ledger_of(quantised_tensors(lambda out, into: packed_ints(4, 128, out, into)), group(4, ignore=[]))
    assert [ledger.parents[line] for line in summary(ledger).not_quantised()] == ["lm_head"]


def test_one_layer_that_is_not_quantised_like_the_others():
    """GPTQ does not say of every module whether it is quantised; that its brothers are does."""
    tensors = quantised_tensors(lambda out, into: gptq(4, out, into))
    path = "model.layers.1.mlp.up_proj"
    for leaf in gptq(4, 512, 256):
        del tensors[f"{path}.{leaf}"]
    tensors[f"{path}.weight"] = ("F16", (512, 256))
    ledger = ledger_of(tensors, {"quant_method": "gptq", "bits": 4, "group_size": 128})
    assert ledger.total_parameters() == PARAMETERS
    assert [ledger.parents[line] for line in summary(ledger).not_quantised()] == [path]
    excused = {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {r"-:.*layers\.1\.mlp\.up_proj": {}}}
    assert summary(ledger_of(tensors, excused)).not_quantised() == []


def test_a_module_that_is_left_out_and_quantised_all_the_same():
    ledger = ledger_of(
        quantised_tensors(lambda out, into: packed_ints(4, 128, out, into)),
        group(4, ignore=["lm_head", "model.layers.0.mlp.up_proj"]),
    )
    assert summary(ledger).quantised_anyway() == ["model.layers.0.mlp.up_proj"]
    assert codes(ledger) == {"quantised-anyway": "warning"}


@pytest.mark.parametrize(
    ("method", "entry", "path", "meant"),
    [
        ("awq", "lm_head", "lm_head", True), ("awq", "visual", "visual.blocks.0.fc", True), ("awq", "visual", "visualise.fc", False),
        ("bitsandbytes", "fc1", "model.layers.3.fc1", True), ("compressed-tensors", "fc1", "model.layers.3.fc1", False),
        ("compressed-tensors", "re:.*fc1$", "model.layers.3.fc1", True), ("modelopt", "*.mlp.gate*", "model.layers.3.mlp.gate_proj", True),
        ("modelopt", "lm_head*", "lm_head", True), ("modelopt", "lm_head", "model.lm_head", False), ("fp8", "layer.*", "layer.11.attn", True),
        ("fp8", "mlp.gate.*x|mlp.gate", "mlp.gate_proj", False),
    ],
)  # fmt: skip
def test_how_entries_are_meant(method, entry, path, meant):
    from modelscope_cli.analysis.quantisation_config import QuantisationConfig

    config = QuantisationConfig(
        {"quantization_config": {"quant_method": method, "modules_to_not_convert": [entry], "config_groups": {}}}
    )
    assert (config.left_out.first(path) is not None) == meant


@pytest.mark.parametrize(
    "pattern", [r"re:(a+)+$", r"re:(a|a)*b", r"re:(.*)*x", r"re:(a?){30}b", r"re:" + "(a|a)" * 30 + "b", r"re:(x)\1", "re:(", "re:" + "a?" * 40,
                r"re:a*a*a*a*a*a*a*b"],
)  # fmt: skip
def test_patterns_that_could_take_for_ever_are_not_followed(pattern):
    tensors = {"a" * 60 + ".weight": ("F16", (4, 4)), **quantised_tensors(lambda out, into: packed_ints(4, 128, out, into))}
    ledger = ledger_of(tensors, group(4, ignore=["lm_head", "a" * 60, pattern]))
    assert codes(ledger) == {"patterns": "info"}


@pytest.mark.parametrize(
    "said",
    [
        {"quant_method": 7}, {"quant_method": "gptq", "bits": "four"}, {"bits": True}, {"config_groups": [1]}, {"config_groups": {"a": 3}},
        {"ignore": "lm_head"},
        {"config_groups": {"a": {"targets": None, "weights": {"num_bits": -4, "group_size": "x"}}}}, {"quant_method": "gptq", "bits": 10**30},
        {"ignore": [None, 5, "re:["]}, {"dynamic": {"-:(": 1}}, {"quant_config": {"weight_quant_params": []}}, {"quant_algo": 5}, {"a.b": {"bits": 0}},
        {"quant_method": "mlx", "group_size": 0, "bits": 0}, {"from_file": "/etc/passwd"},
    ],
)  # fmt: skip
def test_a_configuration_of_nonsense(said, tmp_path):
    """Shapes still tell, and nothing of it is fatal."""
    overview = overview_of(write_quantised(tmp_path, quantised_tensors(lambda out, into: gptq(4, out, into)), said))
    assert overview.ledger.total_parameters() == PARAMETERS
    to_report(overview)
    assert overview.ledger.quantised.config.source == "config.json"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("extents", [(), (0,), (1,), (0, 0), (1, 1), (3, 5, 7), (1 << 20, 0), (2, 2, 2, 2)])
def test_shapes_of_nonsense(name, extents):
    """Any tensor of a layout may have any shape: a count comes out, and never a negative one."""
    linear, said, *_ = LAYOUTS[name]
    for odd in linear(64, 128):
        tensors = {f"a.{leaf}": (dtype, extents if leaf == odd else shape) for leaf, (dtype, shape) in linear(64, 128).items()}
        ledger = ledger_of(tensors, said)
        assert all(count >= 0 for count in ledger.parameters)
        assert quantisation_findings(ledger) is not None


# Experts, float8, torch's own -------------------------------------------------------------------------------------------


def test_experts_in_blocks_of_mxfp4():
    """gpt-oss: [experts, out, blocks, bytes], the model's parameter is [experts, in, out]."""
    experts = "model.layers.0.mlp.experts"
    tensors = {
        f"{experts}.gate_up_proj_blocks": ("U8", (4, 128, 3, 16)), f"{experts}.gate_up_proj_scales": ("U8", (4, 128, 3)),
        f"{experts}.gate_up_proj_bias": ("BF16", (4, 128)), f"{experts}.down_proj_blocks": ("U8", (4, 96, 2, 16)),
        f"{experts}.down_proj_scales": ("U8", (4, 96, 2)), f"{experts}.down_proj_bias": ("BF16", (4, 96)),
    }  # fmt: skip
    ledger = ledger_of(tensors, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    assert ledger.total_parameters() == 4 * (128 * 96 + 128 + 96 * 64 + 96)
    assert [ledger.packed[line].shape for line in (0, 3)] == [(4, 128, 96), (4, 96, 64)]
    model = {
        f"{experts}.gate_up_proj": (4, 96, 128), f"{experts}.gate_up_proj_bias": (4, 128), f"{experts}.down_proj": (4, 64, 96),
        f"{experts}.down_proj_bias": (4, 96),
    }  # fmt: skip
    assert fit(ledger, model, {}).perfect


def test_float8_with_scales_of_blocks():
    tensors = {
        "a.q_proj.weight": ("F8_E4M3", (256, 384)), "a.q_proj.weight_scale_inv": ("F32", (2, 3)), "a.norm.weight": ("BF16", (256,)),
        "experts.gate_up_proj": ("F8_E4M3", (2, 8, 16)), "experts.gate_up_proj_scale_inv": ("F32", (2, 1, 1)),
    }  # fmt: skip
    ledger = ledger_of(tensors)
    assert ledger.roles == ["weight", "helper", "weight", "weight", "helper"]
    found = summary(ledger)
    assert [(share.scheme, share.bits, share.tensors) for share in found.shares] == [("FP8 (E4M3)", 8, 2)]
    assert found.block(found.shares[0]) == (128, 128)


def test_float8_alone_is_a_dtype():
    assert summary(ledger_of({"a.weight": ("F8_E4M3", (16, 16))})) is None


def test_a_scale_without_a_quantised_weight_is_a_parameter():
    ledger = ledger_of(
        {"a.scale": ("F32", (16,)), "b.scales": ("F32", (4,)), "c.weight_g": ("F32", (4, 1)), "d.codes": ("F32", (4, 4))}
    )
    assert set(ledger.roles) == {"weight"}
    assert summary(ledger) is None


def test_a_configuration_of_which_nothing_is_seen():
    ledger = ledger_of({name: ("F16", shape) for name, shape in PLAIN.items()}, {"quant_method": "vptq"})
    finding = quantisation_findings(ledger)[0]
    assert (finding.code, finding.severity) == ("not-quantised", "warning")
    assert "VPTQ" in finding.message


def test_embeddings_of_mlx_are_quantised_too():
    tensors = {
        "model.embed_tokens.weight": ("U32", (320, 32)), "model.embed_tokens.scales": ("F16", (320, 4)),
        "model.embed_tokens.biases": ("F16", (320, 4)), "lm_head.weight": ("U32", (320, 64)), "lm_head.scales": ("F16", (320, 4)),
        "lm_head.biases": ("F16", (320, 4)),
    }  # fmt: skip
    checkpoint = opened(safetensors_bytes(tensors), "model.safetensors")
    checkpoint.config = {
        "quantization": {"bits": 4, "group_size": 64, "lm_head": {"bits": 8, "group_size": 64}, "a.lm_head": False}
    }
    overview = inspect(checkpoint)
    kinds = {row.label: f"{row.kind.name} {row.kind.detail}" for row in walk(overview.tree.rows)}
    assert kinds["model.embed_tokens"] == "quantised Embedding 320 × 256"
    assert overview.ledger.total_parameters() == 2 * 320 * 256


def test_half_a_quantised_weight_counts_half():
    """Two names over one storage: the second owns nothing, so neither has it parameters."""
    shapes = {"a.qweight:int32": (32, 64), "a.g_idx:int32": (256,), "b.qweight:int32": (32, 64), "b.g_idx:int32": (256,)}
    ledger = Ledger(checkpoint_of(shapes, ties={"b.qweight": "a.qweight"}))
    assert ledger.parameters == [256 * 64, 0, 0, 0]


def test_bits_for_each_parameter():
    ledger = ledger_of(quantised_tensors(lambda out, into: gptq(4, out, into)))
    over_all, quantised = summary(ledger).bits_per_weight()
    helpers = sum(nbytes for role, nbytes in zip(ledger.roles, ledger.nbytes, strict=True) if role == "helper")
    assert quantised == pytest.approx((QUANTISED * 4 + 8 * helpers) / QUANTISED)
    assert over_all == pytest.approx((QUANTISED * 4 + 8 * helpers + 16 * (PARAMETERS - QUANTISED)) / PARAMETERS)
    assert summary(ledger).stored() == PARAMETERS - QUANTISED + QUANTISED // 8


def test_others_are_others():
    assert sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in OTHERS.values()) == PARAMETERS - QUANTISED


def test_a_list_of_patterns_that_each_take_their_time():
    """Patterns are bounded one by one, and all together."""
    slow = [f"re:.*a.*a.*a.*{number}$" for number in range(2_000)]
    parts = {f"a{number}": {"targets": slow, "weights": {"num_bits": 4}} for number in range(100)}
    names = {f"layers.{number}.{'a' * 40}.weight": ("F16", (4, 4)) for number in range(300)}
    begun = process_time()
    ledger = ledger_of(
        {**names, "b.weight_packed": ("I32", (8, 4))},
        {"quant_method": "compressed-tensors", "config_groups": parts, "ignore": slow},
    )
    assert quantisation_findings(ledger)
    assert process_time() - begun < 8


@pytest.mark.parametrize("count", [300, 4_000])
def test_long_lists_of_names_are_quick(count):
    names = {f"layers.{number}.up.weight": ("F16", (4, 4)) for number in range(20_000)}
    said = {"quant_method": "awq", "modules_to_not_convert": [f"layers.{number}.down" for number in range(count)]}
    begun = process_time()
    quantisation_findings(ledger_of({**names, "b.qweight": ("I32", (8, 4)), "b.scales": ("F16", (1, 32))}, said))
    assert process_time() - begun < 8


def test_the_order_is_that_of_the_file():
    """Not that of a set, which is another in every process."""
    ledger = ledger_of(quantised_tensors(lambda out, into: gptq(4, out, into)), {"quant_method": "gptq", "bits": 8})
    assert list(ledger.packed) == sorted(ledger.packed)
    assert ledger.quantised.problems[0][0] == min(ledger.packed)


def test_state_whose_length_differs_from_layer_to_layer_stands_aside(tmp_path):
    """bitsandbytes writes a float into it, which has a digit more here than there."""
    linear, said, *_ = LAYOUTS["bitsandbytes nf4"]
    tensors = quantised_tensors(linear)
    state = [name for name in tensors if ".quant_state." in name]
    uneven = {**tensors, state[3]: ("U8", (91,))}
    for made, rows in ((tensors, 0), (uneven, 1)):
        checkpoint = opened(safetensors_bytes(made), "model.safetensors")
        checkpoint.config = {"quantization_config": said}
        overview = inspect(checkpoint)
        labels = [row.label for row in walk(overview.rows)]
        assert any("0–1" in label for label in labels)
        aside = [row for row in overview.rows if row.label == "(quantisation state)"]
        assert [(row.tensors, row.nbytes) for row in aside] == [(len(state), len(state) * 90 + 1)] * rows
        assert sum(row.nbytes for row in overview.rows) == checkpoint.nbytes
