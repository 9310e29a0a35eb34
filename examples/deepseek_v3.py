"""DeepSeek-V3 at full size in 158 shards: 671,026,419,200 parameters, 673 GB that take 20 MB of disk.

    deepseek-v3/model-00001-of-000158.safetensors ... model-00158-of-000158.safetensors
    deepseek-v3/model.safetensors.index.json      which of the 90,427 tensors is in which shard
    deepseek-v3/config.json

Linear layers are in float8, each with a float32 scale per 128 x 128 block (40,838,232 in all, which are no parameters);
the rest is in bfloat16. Queries, keys and values pass through narrow latents. After three dense layers come 58 of 256
experts and a shared one. Names and shapes: the model's config.json and modeling_deepseek.py. The multi-token-prediction
layer of the published files, number 61, is left out. The weights are zeros, stored as holes (see sparse.py).
"""

import argparse
from pathlib import Path

from sparse_set import Tensors, elements, save_json, save_set

CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}
SHARD_BYTES = 4_301_000_000


def attention() -> dict[str, tuple[int, int]]:
    """Shapes of a layer's projections: down to the latents, up to the heads, and out."""
    width, heads = CONFIG["hidden_size"], CONFIG["num_attention_heads"]
    nope, rope, value = CONFIG["qk_nope_head_dim"], CONFIG["qk_rope_head_dim"], CONFIG["v_head_dim"]
    q_rank, kv_rank = CONFIG["q_lora_rank"], CONFIG["kv_lora_rank"]
    return {
        "q_a_proj": (q_rank, width),
        "q_b_proj": (heads * (nope + rope), q_rank),
        "kv_a_proj_with_mqa": (kv_rank + rope, width),
        "kv_b_proj": (heads * (nope + value), kv_rank),
        "o_proj": (width, heads * value),
    }


def mlp(inner: int) -> dict[str, tuple[int, int]]:
    width = CONFIG["hidden_size"]
    return {"gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner)}


def fp8(prefix: str, linears: dict[str, tuple[int, int]]) -> Tensors:
    """Each linear layer's weight and the scales of its blocks."""
    tensors: Tensors = {}
    for name, (outputs, inputs) in linears.items():
        tensors[f"{prefix}{name}.weight"] = "F8_E4M3", (outputs, inputs)
        tensors[f"{prefix}{name}.weight_scale_inv"] = "F32", (-(-outputs // 128), -(-inputs // 128))
    return tensors


def deepseek_tensors() -> Tensors:
    width, vocabulary = CONFIG["hidden_size"], CONFIG["vocab_size"]
    expert, experts = CONFIG["moe_intermediate_size"], CONFIG["n_routed_experts"]
    tensors: Tensors = {"model.embed_tokens.weight": ("BF16", (vocabulary, width))}
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        tensors |= fp8(prefix + "self_attn.", attention())
        tensors[prefix + "self_attn.q_a_layernorm.weight"] = "BF16", (CONFIG["q_lora_rank"],)
        tensors[prefix + "self_attn.kv_a_layernorm.weight"] = "BF16", (CONFIG["kv_lora_rank"],)
        if layer < CONFIG["first_k_dense_replace"]:
            tensors |= fp8(prefix + "mlp.", mlp(CONFIG["intermediate_size"]))
        else:
            tensors[prefix + "mlp.gate.weight"] = "BF16", (experts, width)
            tensors[prefix + "mlp.gate.e_score_correction_bias"] = "F32", (experts,)
            for number in range(experts):
                tensors |= fp8(f"{prefix}mlp.experts.{number}.", mlp(expert))
            tensors |= fp8(prefix + "mlp.shared_experts.", mlp(expert * CONFIG["n_shared_experts"]))
        tensors[prefix + "input_layernorm.weight"] = "BF16", (width,)
        tensors[prefix + "post_attention_layernorm.weight"] = "BF16", (width,)
    tensors["model.norm.weight"] = "BF16", (width,)
    tensors["lm_head.weight"] = "BF16", (vocabulary, width)
    return tensors


def main(folder: Path) -> None:
    folder = folder / "deepseek-v3"
    tensors = deepseek_tensors()
    scales = elements({name: tensor for name, tensor in tensors.items() if name.endswith("_scale_inv")})
    assert len(tensors) == 90_427
    assert (elements(tensors) - scales, scales) == (671_026_419_200, 40_838_232)
    paths = save_set(tensors, folder, SHARD_BYTES, digits=6)
    assert len(paths) == 158 + 1
    print(*paths, save_json(CONFIG, folder / "config.json"), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
