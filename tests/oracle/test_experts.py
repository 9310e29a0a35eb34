"""Total and active parameters against the modules that transformers makes of a configuration."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM  # noqa: E402

from modelscope_cli.analysis.architecture import read_architecture  # noqa: E402
from modelscope_cli.analysis.ledger import Ledger  # noqa: E402
from modelscope_cli.analysis.modules import ModuleTree  # noqa: E402
from tests.tables import checkpoint_of  # noqa: E402

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 500}  # fmt: skip
MODELS = {
    "mixtral": SMALL | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2_moe": SMALL | {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 48},
    "qwen3_moe": SMALL | {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "head_dim": 16},
    "deepseek_v3": SMALL
    | {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
    | {"q_lora_rank": 16, "kv_lora_rank": 16, "num_key_value_heads": 4},
    "gpt_oss": SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
    "olmoe": SMALL | {"num_experts": 8, "num_experts_per_tok": 2},
    "granitemoe": SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "jamba": SMALL | {"num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 8, "attn_layer_period": 4, "attn_layer_offset": 2},
    "switch_transformers": {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 4, "num_heads": 4, "vocab_size": 500, "num_experts": 4}
    | {"num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 2},
    "nllb-moe": {"d_model": 64, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_experts": 4}
    | {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 500, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
}  # fmt: skip
FIXED = {"switch_transformers": 1, "nllb-moe": 2}


@pytest.mark.parametrize("name", MODELS)
def test_active_parameters(name):
    if name not in CONFIG_MAPPING:
        pytest.skip("this transformers does not know it")
    config = CONFIG_MAPPING[name](**MODELS[name])
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    shapes = {path: tuple(parameter.shape) for path, parameter in model.named_parameters()}
    ledger = Ledger(checkpoint_of(shapes, config=config.to_dict()))
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert ledger.total_parameters() == whole
    experts = next(
        value for key in ("num_local_experts", "n_routed_experts", "num_experts") if (value := getattr(config, key, None))
    )
    used = FIXED.get(name) or config.num_experts_per_tok
    routed = sum(p.numel() for path, p in model.named_parameters() if ".experts." in path and "shared" not in path)
    facts = {fact.key: fact for fact in read_architecture(ledger, ModuleTree(ledger).outline())}
    assert routed
    assert facts["experts"].value == experts
    assert facts["active_parameters"].value == whole - routed + routed * used // experts
