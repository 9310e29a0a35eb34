"""Adapters: which parts make one, rank and weight change, what stands beside them, and how they are shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelscope_cli
from modelscope_cli.analysis.adapter_deltas import Delta, delta_of
from modelscope_cli.analysis.adapter_parts import BESIDE, FOUR, PARTS, Place, place_of, spread
from modelscope_cli.analysis.adapter_section import adapter_facts, target_of
from modelscope_cli.analysis.adapters import adapter_findings, read_adapter
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree, kind_totals
from modelscope_cli.analysis.overview import inspect, to_report
from modelscope_cli.render.json import as_object
from modelscope_cli.report.document import EVERYTHING
from tests.builders.safetensors_file import safetensors_bytes
from tests.tables import checkpoint_of

CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "meta-llama/Llama-2-7b-hf",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
}


def peft_lora(layers: int = 3, rank: int = 4, width: int = 16, into: int = 16, name: str = "") -> dict[str, tuple[int, ...]]:
    """As PEFT saves it; with the name of the adapter as in a model saved whole."""
    shapes: dict[str, tuple[int, ...]] = {}
    middle = f".{name}" if name else ""
    for number in range(layers):
        for target in ("q_proj", "v_proj"):
            path = f"base_model.model.model.layers.{number}.self_attn.{target}"
            shapes |= {f"{path}.lora_A{middle}.weight": (rank, into), f"{path}.lora_B{middle}.weight": (width, rank)}
    return shapes


def facts(shapes, **rest):
    """key → (value, text) of the section."""
    section = adapter_facts(Ledger(checkpoint_of(shapes, **rest)))
    return {fact.key: (fact.value, fact.text) for fact in section.items} if section is not None else None


def kinds(shapes, **rest) -> dict[str, tuple[str, str]]:
    """Written path → kind of what is shown as one row."""
    tree = ModuleTree(Ledger(checkpoint_of(shapes, **rest)))
    found: dict[str, tuple[str, str]] = {}

    def visit(rows, above):
        for row in rows:
            path = f"{above}.{row.label}" if above else row.label
            if row.children and not row.opaque:
                visit(row.children, path)
            else:
                found[path] = (row.kind.name, row.kind.detail)

    visit(tree.rows, "")
    return found


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("m.q_proj.lora_A.weight", Place("m.q_proj", "LoRA", "down", None)),
        ("m.q_proj.lora_B.default.weight", Place("m.q_proj", "LoRA", "up", "default")),
        ("m.q_proj.lora_B.my_task.bias", Place("m.q_proj", "LoRA", "up_bias", "my_task")),
        ("m.emb.lora_embedding_A", Place("m.emb", "LoRA", "rows_down", None)),
        ("m.q_proj.lora_magnitude_vector.default.weight", Place("m.q_proj", "DoRA", "magnitude", "default")),
        ("lora_unet_x.lora_down.weight", Place("lora_unet_x", "LoRA", "down", None)),
        ("lora_unet_x.alpha", Place("lora_unet_x", "", "alpha", None)),
        ("attn1.processor.to_q_lora.down.weight", Place("attn1.processor.to_q", "LoRA", "down", None)),
        ("attn.to_q.lora.up.weight", Place("attn.to_q", "LoRA", "up", None)),
        ("to_q.lora_linear_layer.down.weight", Place("to_q", "LoRA", "down", None)),
        ("x.hada_w1_a", Place("x", "LoHa", "w1_a", None)),
        ("x.ia3_l.default", Place("x", "IA3", "scale", "default")),
        ("layer.0.output.adapters.sst.adapter_down.0.weight", Place("layer.0.output", "bottleneck adapter", "down", "sst")),
        ("double_blocks.3.processor.qkv_lora2.down.weight", Place("double_blocks.3.processor.qkv_lora2", "LoRA", "down", None)),
        ("m.psoft_R.default.vector_a", Place("m", "PSOFT", "vector_a", "default")),
        ("m.osf_svd_params.U_low", Place("m", "OSF", "U_low", None)),
        ("base_model.tinylora_v.7", Place("base_model", "TinyLoRA", "bank", None)),
        ("m.emb.token_adapter.trainable_tokens_delta", Place("m.emb", "trainable tokens", "tokens", None)),
        ("m.glora_B.Xd", Place("m", "GLoRA", "B_Xd", None)),
        ("m.q.diff_b", Place("m.q", "", "diff_b", None)),
        ("m.q.b2.weight", Place("m.q", "", "b2", None)),
        ("b2.weight", Place("", "", "b2", None)),
        ("layers.0.q_proj.weight", None),
        ("layers.0.b2.bias", None),
        ("explora_tion.lora.weight", None),
    ],
)
def test_place(name, place):
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("method", "parts", "delta"),
    [
        ("LoRA", {"down": (4, 8), "up": (12, 4)}, Delta("LoRA", 4, (12, 8))),
        ("LoRA", {"down": (4, 8, 3, 3), "up": (6, 4, 1, 1)}, Delta("LoRA", 4, (6, 8, 3, 3))),
        ("LoRA", {"down": (8, 4), "up": (4, 12)}, Delta("LoRA", 4, (12, 8))),  # MLX has both transposed
        ("LoRA", {"down": (4, 8), "up": (12, 5)}, Delta("LoRA", None, ())),
        ("LoRA", {"down": (4, 8)}, Delta("LoRA", 4, ())),
        ("LoHa", {"w1_a": (12, 4), "w1_b": (4, 8), "w2_a": (12, 4), "w2_b": (4, 8)}, Delta("LoHa", 4, (12, 8))),
        (
            "LoHa",
            {"w1_a": (4, 6), "w1_b": (4, 8), "t1": (4, 4, 3, 3), "w2_a": (4, 6), "w2_b": (4, 8)},
            Delta("LoHa", 4, (6, 8, 3, 3)),
        ),
        ("LoKr", {"w1": (3, 2), "w2": (4, 4)}, Delta("LoKr", None, (12, 8))),
        ("LoKr", {"w1": (2, 2), "w2": (3, 2, 3, 3)}, Delta("LoKr", None, (6, 4, 3, 3))),
        ("LoKr", {"w1": (3, 2), "w2_a": (4, 2), "w2_b": (2, 4)}, Delta("LoKr", 2, (12, 8))),
        ("VeRA", {"lambda_b": (12,), "lambda_d": (4,)}, Delta("VeRA", 4, ())),
        ("soft prompt", {"prompt": (20, 768)}, Delta("soft prompt", None, ())),
        ("LoRA", {"rows_down": (4, 100), "rows_up": (8, 4)}, Delta("LoRA", 4, (100, 8))),  # of an embedding
        ("GLoRA", {"a1": (4, 8), "a2": (8, 4), "b1": (4, 8), "b2": (12, 4)}, Delta("GLoRA", 4, (12, 8))),
        ("GLoRA", {"A_Xd": (12, 4), "A_Xu": (4, 8), "B_Xd": (12, 4), "B_Xu": (4, 8)}, Delta("GLoRA", 4, (12, 8))),
        ("GraLoRA", {"down": (2, 4, 3), "up": (2, 3, 6)}, Delta("GraLoRA", 3, (12, 8))),
        ("GraLoRA", {"down": (2, 4, 3), "up": (2, 4, 6)}, Delta("GraLoRA", None, ())),
        ("Lily", {"down": (4, 8), "up": (8, 12), "router": (2, 4)}, Delta("Lily", 4, (12, 8))),
        ("Lily", {"down": (4, 8), "up": (9, 12)}, Delta("Lily", 4, ())),
        ("C3A", {"kernel": (3, 2, 4)}, Delta("C3A", None, (12, 8))),
        ("PVeRA", {"lambda_b": (12,), "lambda_d": (8,)}, Delta("PVeRA", 4, ())),
        ("weight difference", {"diff": (12, 8), "diff_b": (12,)}, Delta("weight difference", None, (12, 8))),
        ("weight difference", {"diff": (12,)}, Delta("weight difference", None, ())),
    ],
)
def test_delta(method, parts, delta):
    assert delta_of(method, parts) == delta


METHODS = sorted({method for method, _ in PARTS.values()} | {"GLoRA", "weight difference"})
PART_NAMES = sorted({part for _, part in PARTS.values()} | set(FOUR) | set(BESIDE) | {"S_low", "vector_a", "B_Xd", "B_Xu"})
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)


@given(st.sampled_from(METHODS), st.dictionaries(st.sampled_from(PART_NAMES), SHAPES))
def test_any_parts_of_any_shape_have_a_delta(method, parts):
    """Nothing is made up: the rank is an extent of a part (PVeRA: half of one), and what is changed is made of such extents."""
    delta = delta_of(method, parts)
    extents = {extent for shape in parts.values() for extent in shape}
    halves = {extent // 2 for extent in extents} if method == "PVeRA" else set()
    assert delta.method == method
    assert delta.rank is None or delta.rank in extents | halves
    assert len(delta.shape) != 1
    products = extents | {one * other for one in extents for other in extents}
    assert set(delta.shape) <= products


@given(
    st.sampled_from(["LoRA", "DoRA", "HiRA", "DeLoRA"]),
    st.integers(1, 6),
    st.integers(7, 20),
    st.integers(7, 20),
    st.lists(st.integers(1, 5), max_size=3).map(tuple),
)
def test_a_pair_that_fits_has_the_rank_and_the_shape_of_its_product(method, rank, out, into, kernel):
    ones = (1,) * len(kernel)
    assert delta_of(method, {"down": (rank, into, *kernel), "up": (out, rank, *ones)}) == (method, rank, (out, into, *kernel))
    assert delta_of(method, {"rows_down": (rank, into), "rows_up": (out, rank)}) == (method, rank, (into, out))
    assert delta_of(method, {"down": (rank, into), "up": (out + 20, rank + 21)}) == (method, None, ())
    assert delta_of(method, {"up": (out, rank)}) == (method, None, ())


WORDS = [
    *PARTS,
    *BESIDE,
    *FOUR,
    "lora",
    "to_q_lora",
    "qkv_lora1",
    "down",
    "up",
    "0",
    "weight",
    "bias",
    "adapters",
    "default",
    "x",
    "",
]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
def test_any_name_has_a_place_or_none(parts):
    """A place is read off the name: module, part and adapter are words of it; a name with a part in it has one."""
    name = ".".join(parts)
    place = place_of(name)
    if place is None:
        assert PARTS.keys().isdisjoint(parts)
        assert parts[-1] not in BESIDE
        return
    assert place.method in METHODS if place.method else place.part in (*BESIDE.values(), *FOUR)
    assert place.part in PART_NAMES or place.part.removesuffix("_bias") in PART_NAMES
    whole = f"{name}."
    assert whole.startswith((f"{place.module}.", f"{place.module}_lora.")) or not place.module
    assert len(place.module) < len(name)
    assert place.adapter is None or place.adapter in parts
    assert place_of(f"outer.{name}")[1:] == place[1:]


def test_a_pair_is_one_row_and_one_kind():
    shapes = peft_lora()
    assert set(kinds(shapes).values()) == {("LoRA", "rank 4, 16 → 16")}
    totals = kind_totals(ModuleTree(Ledger(checkpoint_of(shapes))).rows)
    assert list(totals) == ["LoRA"]
    assert totals["LoRA"].tensors == 12


def test_an_adapter_of_a_name_is_the_same():
    assert kinds(peft_lora(name="default")) == kinds(peft_lora())


def test_section_of_a_lora():
    found = facts(peft_lora(), config=CONFIG, config_from="adapter_config.json")
    assert found["kind"][0] == "LoRA"
    assert found["base_model"] == ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf  (adapter_config.json)")
    assert (found["rank"][0], found["alpha"][0], found["scaling"][0]) == (4, 8, 2)
    assert found["target_modules"] == ({"q_proj": 3, "v_proj": 3}, "q_proj ×3, v_proj ×3")
    assert found["layers"] == ({"base_model.model.model.layers": [0, 1, 2]}, "layers 0–2")
    assert found["parameters"][0] == 6 * 4 * 32
    assert found["weight_changes"][0] == [{"shape": [16, 16], "count": 6}]
    assert found["changed_values"][0] == 6 * 256
    assert found["merging"][1].startswith("6 weight changes, out × in 16 × 16: 1,536 values from 50 %")


def test_rank_stabilised_scaling():
    found = facts(peft_lora(), config=CONFIG | {"use_rslora": True})
    assert found["scaling"] == (4, "4 = alpha / √rank")


def test_several_ranks():
    shapes = peft_lora(1) | {name.replace("layers.0", "layers.1"): shape for name, shape in peft_lora(1, rank=2).items()}
    found = facts(shapes, config=CONFIG | {"rank_pattern": {"layers.1": 2}})
    assert found["rank"] == ({"2": 2, "4": 2}, "2 ×2, 4 ×2")
    assert found["scaling"] == ({"2": 4, "4": 2}, "alpha / rank: 4 at rank 2, 2 at rank 4")


def test_without_a_configuration_nothing_is_guessed():
    found = facts(peft_lora())
    assert (found["base_model"][0], found["alpha"][0]) == (None, None)
    assert "no adapter_config.json" in found["base_model"][1]
    assert "needs lora_alpha" in found["alpha"][1]
    assert "scaling" not in found


@pytest.mark.parametrize(
    ("pattern", "alpha", "scaling"),
    [
        ({"v_proj": 32}, ({"8": 3, "32": 3}, "8 ×3, 32 ×3  (adapter_config.json)"), {"8/4": 2, "32/4": 8}),
        ({"self_attn.v_proj": 32, "v_proj": 1}, ({"8": 3, "32": 3}, None), {"8/4": 2, "32/4": 8}),
        ({r"layers\.[01]\..*": 2, "v_proj": 32}, ({"2": 4, "8": 1, "32": 1}, None), {"2/4": 0.5, "8/4": 2, "32/4": 8}),
        ({"^model.layers.0.self_attn.q_proj": 32}, ({"8": 5, "32": 1}, None), {"8/4": 2, "32/4": 8}),
        ({"proj": 32, "_proj": 32, "q": 32}, (8, None), 2),  # no whole names
        ({"q_proj": 4, "v_proj": 4}, (4, "4  (adapter_config.json)"), 1),
        ([32], (8, None), 2),
    ],
)
def test_an_alpha_for_some_modules(pattern, alpha, scaling):
    found = facts(peft_lora(), config=CONFIG | {"alpha_pattern": pattern}, config_from="adapter_config.json")
    assert found["alpha"][0] == alpha[0]
    assert alpha[1] is None or found["alpha"][1] == alpha[1]
    assert found["scaling"][0] == scaling


@pytest.mark.parametrize(
    "pattern", [{"(a+)+$": 2}, {"[" * 5000: 1}, {"v_proj": "x"}, {f".*.*.*.*.*.*.*{n}": n for n in range(1, 700)}]
)
def test_patterns_that_are_not_followed_leave_the_scaling_open(pattern):
    found = facts(peft_lora(), config=CONFIG | {"alpha_pattern": pattern})
    assert found["alpha"][0] is None
    assert "that are not followed" in found["alpha"][1]
    assert "scaling" not in found


HUGE = [10**400, -(10**400), 10**4000, 2.0**60, "1e308", 1e308]


@pytest.mark.parametrize("value", [None, True, "abc", -1, 0, float("nan"), [8], {"a": 1}, "9" * 60, *HUGE])
def test_an_alpha_that_is_none(value):
    assert facts(peft_lora(), config=CONFIG | {"lora_alpha": value})["alpha"][0] is None


@pytest.mark.parametrize("value", HUGE)
def test_a_rank_that_no_file_means(value):
    ledger = Ledger(checkpoint_of(peft_lora(), config=CONFIG | {"r": value}))
    assert adapter_findings(ledger) == []
    text = '{"r": %s, "lora_alpha": 8}' % (value if isinstance(value, int) else json.dumps(value))
    assert facts(peft_lora(), metadata={"lora_adapter_metadata": text})["rank"][0] == 4


@pytest.mark.parametrize(("rank", "warned"), [(8, False), (4, False), (3, True)])
def test_an_adalora_begins_with_its_own_rank_and_loses_some(rank, warned):
    """r counts for nothing there: it is LoRA's default."""
    shapes = peft_lora() | {f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_E": (4, 1) for n in range(3)}
    found = adapter_findings(
        Ledger(checkpoint_of(shapes, config={"peft_type": "ADALORA", "r": 99, "init_r": rank, "target_r": 2}))
    )
    assert [finding.code for finding in found] == (["adapter-rank"] if warned else [])


def test_modules_that_are_saved_whole():
    shapes = peft_lora() | {"base_model.model.score.weight": (2, 16)}
    found = facts(shapes, config=CONFIG)
    assert found["saved_whole"][0] == ["base_model.model.score"]
    assert found["saved_whole"][1] == "score: 32 parameters, which replace the base's own"
    assert found["parameters"][0] == 6 * 4 * 32


def test_adapters_in_a_model_that_is_saved_whole():
    shapes = {}
    for name, shape in peft_lora(2, width=16, into=16, name="default").items():
        if "lora_A" in name:
            shapes[name.partition(".lora_A")[0] + ".base_layer.weight"] = (16, 16)
        shapes[name] = shape
    found = facts(shapes)
    assert found["base_model"] == (None, "in this file")
    assert found["kind"][1] == "LoRA, called default"
    assert "saved_whole" not in found
    assert found["parameters"] == (512, "512  ·  33.33 % of those in the file")
    rows = kinds(shapes)
    path = "base_model.model.model.layers.0–1.self_attn.q_proj"
    assert rows[f"{path}.base_layer"] == ("Linear", "16 → 16")
    assert dict(everything(shapes))[path] == ("Linear + LoRA", "16 → 16, rank 4")
    assert rows[f"{path}.lora_A"] == ("LoRA", "16 → 4")


def test_a_packed_weight_under_an_adapter_has_the_shape_of_the_change():
    """As QLoRA leaves a model: bitsandbytes packs 16 × 16 weights of four bits into a column of bytes."""
    shapes = {}
    for name, shape in peft_lora(2, width=16, into=16, name="default").items():
        if "lora_A" in name:
            base = name.partition(".lora_A")[0] + ".base_layer.weight"
            shapes |= {f"{base}:uint8": (128, 1), f"{base}.absmax:uint8": (4,), f"{base}.quant_map": (16,)}
            shapes |= {f"{base}.quant_state.bitsandbytes__nf4:uint8": (81,)}
        shapes[name] = shape
    assert dict(everything(shapes))["base_model.model.model.layers.0–1.self_attn.q_proj"][1] == "16 → 16, rank 4"


def everything(shapes):
    """Written path and kind of every row."""

    def visit(rows, above):
        for row in rows:
            path = f"{above}.{row.label}" if above else row.label
            yield path, (row.kind.name, row.kind.detail)
            yield from visit(row.children, path)

    return visit(ModuleTree(Ledger(checkpoint_of(shapes))).rows, "")


def test_a_layer_in_place_of_an_embedding_is_one():
    shapes = {
        "m.embed_tokens.base_layer.weight": (100, 8),
        "m.embed_tokens.lora_embedding_A.default": (4, 100),
        "m.embed_tokens.lora_embedding_B.default": (8, 4),
    }
    assert kinds(shapes)["m.embed_tokens.base_layer"] == ("Embedding", "100 × 8")


def test_lora_beside_its_weight():
    """As loralib writes it: tensors of one module."""
    shapes = {"fc.weight": (12, 8), "fc.bias": (12,), "fc.lora_A": (4, 8), "fc.lora_B": (12, 4)}
    assert kinds(shapes) == {"fc": ("Linear + LoRA", "8 → 12, rank 4")}


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"lora_A.weight": (4, 8), "lora_B.weight": (12, 4), "lora_magnitude_vector": (12,)}, ("DoRA", "rank 4, 8 → 12")),
        ({"lora_A": (4, 8), "lora_B": (12, 4), "lora_E": (4, 1)}, ("AdaLoRA", "rank 4, 8 → 12")),
        ({"ia3_l": (12, 1)}, ("IA3", "scales 12 outputs")),
        ({"ia3_l": (1, 12)}, ("IA3", "scales 12 inputs")),
        ({"hada_w1_a": (12, 4), "hada_w1_b": (4, 8), "hada_w2_a": (12, 4), "hada_w2_b": (4, 8)}, ("LoHa", "rank 4, 8 → 12")),
        ({"lokr_w1": (3, 2), "lokr_w2": (4, 4)}, ("LoKr", "8 → 12")),
        ({"vera_lambda_b": (12,), "vera_lambda_d": (4,)}, ("VeRA", "rank 4, 12 outputs")),
        ({"oft_R.weight": (2, 6)}, ("OFT", "2 blocks")),
        ({"boft_R": (1, 2, 4, 4), "boft_s": (12, 1)}, ("BOFT", "2 blocks")),
        ({"hra_u": (8, 4)}, ("HRA", "rank 4")),
        ({"fourierft_spectrum": (10,)}, ("FourierFT", "")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_kinds_of_other_methods(parts, kind):
    """Shapes as PEFT 0.21 writes them for a Linear 8 → 12."""
    shapes = {f"base_model.model.layers.{n}.q_proj.{part}": shape for n in (0, 1) for part, shape in parts.items()}
    ((path, found),) = kinds(shapes).items()
    assert (path, found) == ("base_model.model.layers.0–1.q_proj", kind)
    assert facts(shapes)["kind"][0] == kind[0]


@pytest.mark.parametrize(
    ("kind", "said"), [("PROMPT_TUNING", "prompt tuning"), ("PREFIX_TUNING", "prefix tuning"), (None, "soft prompt")]
)
def test_prompts(kind, said):
    found = facts({"prompt_embeddings": (20, 768)}, config={"peft_type": kind, "base_model_name_or_path": "gpt2"})
    assert found["kind"] == (said, said)
    assert found["merging"][1].startswith("nothing to merge")


@pytest.mark.parametrize(("stated", "said"), [("FROD", "FRoD"), ("SOMETHING_NEW", "SOMETHING_NEW")])
def test_a_method_that_is_only_stated(stated, said):
    shapes = {f"base_model.model.layers.{n}.q_proj.{part}": (4, 4) for n in range(2) for part in ("frodo_x", "frodo_y")}
    found = facts(shapes, config={"peft_type": stated, "base_model_name_or_path": "gpt2"})
    assert found["kind"][0] == said
    assert found["base_model"][0] == "gpt2"
    assert found["parameters"][0] == 64
    assert found["target_modules"][0] == {"q_proj": 2}
    assert "saved_whole" not in found


@pytest.mark.parametrize("stated", [None, 3, ["LORA"], ""])
def test_a_type_that_is_no_text_makes_no_adapter(stated):
    assert facts({"m.a": (4, 4)}, config={"peft_type": stated}) is None


def test_what_a_layer_replaces_keeps_its_name():
    """As PEFT saves an embedding that has grown: whole, and beside the pair that changes it."""
    path = "base_model.model.model.embed_tokens"
    shapes = {f"{path}.base_layer.weight": (96, 64), f"{path}.lora_embedding_A": (8, 96), f"{path}.lora_embedding_B": (64, 8)}
    found = facts(shapes | {"base_model.model.lm_head.weight": (96, 64)}, config=CONFIG | {"r": 8})
    assert found["saved_whole"][0] == [path, "base_model.model.lm_head"]
    assert found["saved_whole"][1].startswith("embed_tokens, lm_head: 12,288 parameters")
    assert found["weight_changes"][0] == [{"shape": [96, 64], "count": 1}]


def test_projections_that_nothing_trains_are_buffers():
    at = "base_model.model.layers.0.q_proj"
    shapes = {"base_model.randlora_A": (8, 1, 64), "base_model.randlora_B": (64, 8, 8), f"{at}.randlora_A": (8, 1, 64)}
    shapes |= {
        f"{at}.randlora_lambda": (8, 8),
        f"{at}.randlora_gamma": (8, 64),
        f"{at}.tinylora_P": (9, 2),
        f"{at}.pvera_B": (9, 2),
    }
    ledger = Ledger(checkpoint_of(shapes))
    trained = {leaf for leaf, role in zip(ledger.leaves, ledger.roles, strict=True) if role != "buffer"}
    assert trained == {"randlora_lambda", "randlora_gamma"}


def test_places_of_sparse_values_are_no_packed_weights():
    path = "base_model.model.layers.0.q_proj"
    shapes = {f"{path}.shira_weight": (100,), f"{path}.shira_indices:int32": (2, 100)}
    found = inspect(checkpoint_of(shapes, config={"peft_type": "SHIRA"}))
    assert as_object(to_report(found, EVERYTHING))["findings"] == []
    assert found.parameters == 100


@pytest.mark.parametrize(("stride", "downs"), [(1, 4), (2, 2), (3, 2), (9, 1), ("x", 4), (0, 4)])
def test_copies_of_a_lily_count_once(stride, downs):
    shapes = {}
    for number in range(4):
        path = f"base_model.model.layers.{number}.q_proj"
        shapes |= {f"{path}.lily_A.weight": (2, 8), f"{path}.lily_B.weight": (4, 10), f"{path}.lily_router.weight": (2, 2)}
    found = facts(shapes, config={"peft_type": "LILY", "stride_A": stride})
    assert found["parameters"][0] == 4 * 4 + 40 + downs * 16
    assert f"{(4 - downs) * 16 + 3 * 40:,} more are copies" in found["parameters"][1]


# ComfyUI, LyCORIS, XLabs ---------------------------------------------------------------------------------------------------


def flat(parts, blocks=2):
    return {f"lora_unet_blocks_{n}_proj.{part}": shape for n in range(blocks) for part, shape in parts.items()}


@pytest.mark.parametrize(
    ("parts", "kind", "parameters", "values"),
    [
        ({"diff": (12, 8), "diff_b": (12,)}, ("weight difference", "8 → 12"), 108, 96),
        (
            {"alpha": (), "a1.weight": (4, 8), "a2.weight": (8, 4), "b1.weight": (4, 8), "b2.weight": (12, 4)},
            ("GLoRA", "rank 4, 8 → 12"),
            32 * 3 + 48,
            96,
        ),
        ({"weight": (8,), "on_input:bool": ()}, ("IA3", "scales 8 activations"), 8, 0),
    ],
    ids=["full", "GLoRA", "IA3"],
)
def test_methods_of_lycoris(parts, kind, parameters, values):
    shapes = flat(parts)
    assert list(kinds(shapes).values()) == [kind]
    found = facts(shapes)
    assert found["kind"][0] == kind[0]
    assert found["parameters"][0] == 2 * parameters
    assert found["changed_values"][0] == 2 * values
    assert "saved_whole" not in found


def test_differences_beside_pairs_are_of_the_adapter():
    """As distilled video models are handed around: norms and biases as differences."""
    shapes = {}
    for number in range(2):
        path = f"diffusion_model.blocks.{number}"
        shapes |= {f"{path}.q.lora_A.weight": (2, 8), f"{path}.q.lora_B.weight": (8, 2), f"{path}.q.diff_b": (8,)}
        shapes |= {f"{path}.norm.diff": (8,), f"{path}.norm3.diff": (8,), f"{path}.norm3.diff_b": (8,)}
    found = facts(shapes)
    assert found["kind"][0] == ["weight difference", "LoRA"]  # the commoner first
    assert found["parameters"][0] == 2 * (32 + 8 + 24)
    assert kinds(shapes)["diffusion_model.blocks.0–1.norm3"] == ("weight difference", "8")


def test_differences_of_anything_else_are_parameters():
    shapes = {"layers.0.diff": (8,), "layers.0.alpha": (8,), "layers.0.scale": (8,), "a1.weight": (2, 2), "b1.weight": (2, 2)}
    assert facts(shapes) is None
    assert Ledger(checkpoint_of(shapes)).total_parameters() == 32


def test_two_pairs_at_one_module_are_two():
    """XLabs' FLUX LoRAs change text and image of a block."""
    shapes = {}
    for number in range(3):
        for name, out in (("qkv_lora1", 24), ("qkv_lora2", 24), ("proj_lora1", 8), ("proj_lora2", 8)):
            path = f"double_blocks.{number}.processor.{name}"
            shapes |= {f"{path}.down.weight": (2, 8), f"{path}.up.weight": (out, 2)}
    found = facts(shapes)
    assert found["target_modules"][0] == {"qkv_lora1": 3, "qkv_lora2": 3, "proj_lora1": 3, "proj_lora2": 3}
    assert found["changed_values"][0] == 3 * 8 * (24 + 24 + 8 + 8)
    assert kinds(shapes)["double_blocks.0–2.processor.qkv_lora2"] == ("LoRA", "rank 2, 8 → 24")


def test_bottleneck_adapters():
    path = "bert.encoder.layer.0.output.adapters.sst"
    shapes = {
        f"{path}.adapter_down.0.weight": (48, 768),
        f"{path}.adapter_down.0.bias": (48,),
        f"{path}.adapter_up.weight": (768, 48),
        f"{path}.adapter_up.bias": (768,),
    }
    found = facts(shapes, config={"config": {"reduction_factor": 16}, "model_name": "bert-base-uncased"})
    assert found["kind"] == ("bottleneck adapter", "bottleneck adapter, called sst")
    assert found["base_model"][0] == "bert-base-uncased"
    assert found["merging"][1].startswith("cannot be merged")


def kohya(blocks: int = 4) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(blocks):
        for target in ("attn1_to_q", "ff_net_0_proj"):
            path = f"lora_unet_down_blocks_{number}_attentions_0_{target}"
            shapes |= {f"{path}.alpha": (), f"{path}.lora_down.weight": (8, 32), f"{path}.lora_up.weight": (64, 8)}
    return shapes


def test_kohya_names_fold_and_alphas_are_no_parameters():
    metadata = {"ss_network_dim": "8", "ss_network_alpha": "4.0", "ss_base_model_version": "sd_v1", "ss_sd_model_name": "None"}
    shapes = kohya()
    (row,) = ModuleTree(Ledger(checkpoint_of(shapes))).rows
    assert (row.label, row.fold) == ("lora_unet_down_blocks.0–3", 4)
    ledger = Ledger(checkpoint_of(shapes, metadata=metadata))
    assert ledger.total_parameters() == 8 * 8 * (32 + 64)
    found = facts(shapes, metadata=metadata)
    assert found["base_model"][0] == "sd_v1"
    assert (found["rank"][0], found["alpha"][0], found["scaling"][0]) == (8, 4, 0.5)
    assert found["target_modules"][0] == {"attn1_to_q": 4, "ff_net.0.proj": 4}


def test_alphas_of_which_only_the_places_are_known():
    assert facts(kohya())["alpha"] == (None, "a tensor in each of 8 modules, which is not read")


def test_an_alpha_that_belongs_to_no_adapter_is_a_parameter():
    shapes = {"snake.alpha": (64,), "fc.weight": (4, 4)}
    assert Ledger(checkpoint_of(shapes)).total_parameters() == 80
    assert facts(shapes) is None


def test_only_flat_names_are_spread():
    names = ["lora_te_encoder_layers_11_fc1.lora_up", "lora_unet_input_blocks_1_1_proj_in", "lora_unet_x_0.a_1_b"]
    assert spread(names) == [
        "lora_te_encoder_layers.11.fc1.lora_up",
        "lora_unet_input_blocks.1.1.proj_in",
        "lora_unet_x.0.a_1_b",
    ]
    plain = ["model.layers.0", "lora_net_1_x"]
    assert spread([*plain, "z"]) == [*plain, "z"]


def test_diffusers_keeps_the_configuration_in_the_file():
    text = json.dumps({"transformer.r": 4, "transformer.lora_alpha": 16})
    assert facts(peft_lora(), metadata={"lora_adapter_metadata": text})["scaling"][0] == 4
    for broken in ("{", "[1]", "[" * 5000, 3):
        assert facts(peft_lora(), metadata={"lora_adapter_metadata": broken})["alpha"][0] is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a.layers.0.q_proj", "q_proj"),
        ("b.attn.to_out.0", "to_out.0"),
        ("b.ff.net.0.proj", "net.0.proj"),
        ("x", "x"),
        ("0", "0"),
    ],
)
def test_target(path, target):
    assert target_of(path) == target


def test_a_rank_that_the_configuration_gives_otherwise():
    (finding,) = adapter_findings(Ledger(checkpoint_of(peft_lora(), config=CONFIG | {"r": 64})))
    assert (finding.severity, finding.code) == ("warning", "adapter-rank")
    assert "rank 64" in finding.message
    assert "have rank 4" in finding.message


def test_half_a_pair():
    shapes = peft_lora(1)
    del shapes["base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"]
    findings = adapter_findings(Ledger(checkpoint_of(shapes)))
    assert [finding.code for finding in findings] == ["adapter-half"]
    assert "self_attn.v_proj" in findings[0].message


def test_models_without_adapters_have_no_section():
    assert read_adapter(Ledger(checkpoint_of({"flora.weight": (4, 4), "explora.lora.weight": (2, 2)}))) is None


# Files -------------------------------------------------------------------------------------------------------------------


def written(folder, name, shapes, **configs):
    (folder / name).write_bytes(safetensors_bytes({key: ("F16", shape) for key, shape in shapes.items()}))
    for file, content in configs.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    return modelscope_cli.read(str(folder / name))


def test_the_configuration_of_an_adapter_stands_beside_it(tmp_path):
    checkpoint = written(
        tmp_path, "adapter_model.safetensors", peft_lora(), config={"model_type": "llama"}, adapter_config=CONFIG
    )
    assert (checkpoint.config, checkpoint.config_from) == (CONFIG, "adapter_config.json")


def test_a_model_keeps_its_own_configuration(tmp_path):
    checkpoint = written(
        tmp_path, "model.safetensors", {"a.weight": (2, 2)}, config={"model_type": "llama"}, adapter_config=CONFIG
    )
    assert (checkpoint.config, checkpoint.config_from) == ({"model_type": "llama"}, "config.json")


def test_an_adapter_of_another_name(tmp_path):
    assert written(tmp_path, "my_style.safetensors", peft_lora(), adapter_config=CONFIG).config_from == "adapter_config.json"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 3000, b"\xff\xfe", b'{"r": 1e999}'])
def test_a_broken_configuration_counts_as_absent(content, tmp_path):
    (tmp_path / "adapter_config.json").write_bytes(content)
    checkpoint = written(tmp_path, "adapter_model.safetensors", peft_lora())
    assert as_object(to_report(inspect(checkpoint), EVERYTHING))["adapter"]["alpha"] is None


def test_hostile_values_of_a_configuration(tmp_path):
    config = {
        "peft_type": {"a": 1},
        "base_model_name_or_path": ["x"],
        "r": "8" * 5000,
        "lora_alpha": 1e308,
        "target_modules": {"q": 1},
        "rank_pattern": 7,
        "alpha_pattern": [],
        "task_type": 3,
        "use_rslora": "yes",
    }
    checkpoint = written(tmp_path, "adapter_model.safetensors", peft_lora(), adapter_config=config)
    report = as_object(to_report(inspect(checkpoint), EVERYTHING))
    assert report["adapter"]["base_model"] is None
    assert report["adapter"]["rank"] == 4
