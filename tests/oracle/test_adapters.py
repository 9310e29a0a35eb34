"""Adapters as PEFT itself saves them: what they are, what of them is trained, and how weight changes are scaled."""

from __future__ import annotations

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from safetensors import safe_open  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

import modelscope_cli  # noqa: E402
from modelscope_cli.analysis.adapter_section import adapter_facts  # noqa: E402
from modelscope_cli.analysis.adapters import read_adapter  # noqa: E402
from modelscope_cli.analysis.findings import find  # noqa: E402
from modelscope_cli.analysis.overview import inspect  # noqa: E402

TARGETS = ["q_proj", "v_proj", "down_proj"]
BASE = "example/llama-tiny"
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96}  # fmt: skip
# name → class of the configuration, its options, the kind that is said
METHODS = {
    "lora": ("LoraConfig", {"r": 8, "lora_alpha": 16}, "LoRA"),
    "dora": ("LoraConfig", {"r": 8, "use_dora": True}, "DoRA"),
    "lora bias": ("LoraConfig", {"r": 8, "lora_bias": True}, "LoRA"),
    "lora tokens": ("LoraConfig", {"r": 8, "trainable_token_indices": [1, 2, 3]}, ["LoRA", "trainable tokens"]),
    "adalora": ("AdaLoraConfig", {"init_r": 12, "target_r": 4, "total_step": 100}, "AdaLoRA"),
    "ia3": ("IA3Config", {"feedforward_modules": ["down_proj"]}, "IA3"),
    "loha": ("LoHaConfig", {"r": 4, "alpha": 8}, "LoHa"),
    "lokr": ("LoKrConfig", {"r": 4, "alpha": 8}, "LoKr"),
    "oft": ("OFTConfig", {"oft_block_size": 16}, "OFT"),
    "boft": ("BOFTConfig", {"boft_block_size": 4}, "BOFT"),
    "vera": ("VeraConfig", {"r": 16, "target_modules": ["q_proj", "o_proj"]}, "VeRA"),
    "pvera": ("PveraConfig", {"r": 8}, "PVeRA"),
    "hra": ("HRAConfig", {"r": 4}, "HRA"),
    "fourierft": ("FourierFTConfig", {"n_frequency": 50}, "FourierFT"),
    "waveft": ("WaveFTConfig", {"n_frequency": 50}, "WaveFT"),
    "vblora": ("VBLoRAConfig", {"r": 4, "num_vectors": 16, "vector_length": 32, "target_modules": ["q_proj"]}, "VB-LoRA"),
    "lntuning": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}, "LN tuning"),
    "miss": ("MissConfig", {"r": 8}, "MiSS"),
    "c3a": ("C3AConfig", {"block_size": 16}, "C3A"),
    "shira": ("ShiraConfig", {"r": 4}, "SHiRA"),
    "randlora": ("RandLoraConfig", {"r": 8}, "RandLoRA"),
    "gralora": ("GraloraConfig", {"r": 8}, "GraLoRA"),
    "delora": ("DeloraConfig", {"r": 8}, "DeLoRA"),
    "hira": ("HiraConfig", {"r": 8}, "HiRA"),
    "beft": ("BeftConfig", {}, "BEFT"),
    "psoft": ("PsoftConfig", {"r": 8}, "PSOFT"),
    "osf": ("OSFConfig", {}, "OSF"),
    "lily": ("LilyConfig", {"r": 8}, "Lily"),
    "lily stride": ("LilyConfig", {"r": 8, "stride_A": 2}, "Lily"),
    "tinylora": ("TinyLoraConfig", {}, "TinyLoRA"),
    "road": ("RoadConfig", {"group_size": 16}, "RoAd"),
    "trainable tokens": ("TrainableTokensConfig", {"token_indices": [1, 2], "target_modules": ["embed_tokens"]}, "trainable tokens"),
    "prompt": ("PromptTuningConfig", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 10, "target_modules": None}, "prompt tuning"),
    "prefix": ("PrefixTuningConfig", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 10, "target_modules": None}, "prefix tuning"),
    "glora": ("GloraConfig", {"r": 4}, "GLoRA"),
    "unilora": ("UniLoraConfig", {"r": 4}, "Uni-LoRA"),
}  # fmt: skip


def saved(folder, cls, options):
    """A PEFT model and its overview, saved and read again."""
    kind = getattr(peft, cls, None)
    if kind is None:
        pytest.skip("this peft does not know it")
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**SMALL))
    base.name_or_path = base.config._name_or_path = BASE
    given = {"target_modules": TARGETS} | options
    model = peft.get_peft_model(base, kind(**{key: value for key, value in given.items() if value is not None}))
    model.save_pretrained(folder)
    return model, inspect(modelscope_cli.read(str(folder)))


def section(overview):
    return {fact.key: fact.value for fact in adapter_facts(overview.ledger, overview.names()).items}


@pytest.mark.parametrize("name", METHODS)
def test_kind_base_and_what_is_trained(name, tmp_path):
    cls, options, said = METHODS[name]
    model, overview = saved(tmp_path, cls, options)
    found = section(overview)
    assert found["kind"] == said
    assert found["base_model"] == BASE
    assert int(found["parameters"]) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert find(overview.ledger, overview.grouping) == []


@pytest.mark.parametrize("name", METHODS)
def test_weight_changes_have_the_shape_of_the_weight(name, tmp_path):
    cls, options, _ = METHODS[name]
    model, overview = saved(tmp_path, cls, options)
    shapes = {path: tuple(weight.shape) for path, weight in model.get_base_model().named_parameters()}
    for change in read_adapter(overview.ledger).changed:
        if change.delta.shape:
            path = change.path.removeprefix("base_model.model.")
            assert change.delta.shape == (shapes.get(f"{path}.weight") or shapes[f"{path}.base_layer.weight"])


@pytest.mark.parametrize(
    "options",
    [
        {"r": 8, "lora_alpha": 16},
        {"r": 8, "lora_alpha": 16, "use_rslora": True},
        {"r": 8, "lora_alpha": 16, "rank_pattern": {"down_proj": 4}, "alpha_pattern": {"down_proj": 32}},
        {"r": 8, "lora_alpha": 16, "alpha_pattern": {"down_proj": 32, r"layers\.[01]\.self_attn\..*": 24, "q_proj": 4}},
        {"r": 8, "lora_alpha": 16, "alpha_pattern": {r"^model.layers.0.self_attn.q_proj": 24, "proj": 4}},
        {"r": 8, "lora_alpha": 16, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"self_attn.v_proj": 3}, "use_rslora": True},
    ],
)
def test_scaling(options, tmp_path):
    model, overview = saved(tmp_path, "LoraConfig", options)
    layers = [module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    assert len(layers) == 9
    scales = {layer.scaling["default"] for layer in layers}
    alphas = Counter(layer.lora_alpha["default"] for layer in layers)
    found = section(overview)
    said = found["scaling"]
    assert sorted(set(said.values() if isinstance(said, dict) else [said])) == pytest.approx(sorted(scales))
    assert found["alpha"] == ({f"{alpha:g}": n for alpha, n in alphas.items()} if len(alphas) > 1 else next(iter(alphas)))


def test_an_embedding_and_a_module_that_is_saved_whole(tmp_path):
    model, overview = saved(
        tmp_path, "LoraConfig", {"target_modules": ["embed_tokens", "q_proj"], "modules_to_save": ["lm_head"]}
    )
    found = section(overview)
    with safe_open(str(tmp_path / "adapter_model.safetensors"), "pt") as file:
        whole = [name for name in file.keys() if "lora_" not in name]  # noqa: SIM118
    assert len(whole) == len(found["saved_whole"])
    assert {path.rpartition(".")[2] for path in found["saved_whole"]} == {"lm_head", "embed_tokens"}
    trained = sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "lora_" in name)
    assert int(found["parameters"]) == trained
    assert {"shape": [96, 64], "count": 1} in found["weight_changes"]
