"""Mixtral-8x7B at full size in 19 shards: 995 bfloat16 tensors, 46,702,792,704 parameters, 93.4 GB that take next to no disk.

    mixtral-8x7b/model-00001-of-00019.safetensors ... model-00019-of-00019.safetensors
    mixtral-8x7b/model.safetensors.index.json     which tensor is in which shard
    mixtral-8x7b/config.json

Eight experts a layer hold 96.6 % of the parameters; the router sends each token to two of them. Names and shapes: the
model's config.json and the class MixtralForCausalLM of transformers 4. The shards are cut where the published ones are,
and are as long. The weights are zeros, stored as holes (see sparse.py).
"""

import argparse
from pathlib import Path

from sparse_set import Tensors, elements, save_json, save_set

CONFIG = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
SHARD_BYTES = 5_000_000_000  # what transformers cut at when the model was published


def mixtral_tensors() -> Tensors:
    width, inner, vocabulary = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    experts, heads = CONFIG["num_local_experts"], CONFIG["num_attention_heads"]
    narrow = width // heads * CONFIG["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for projection, outputs in zip("qkvo", (width, narrow, narrow, width), strict=True):
            shapes[f"{prefix}self_attn.{projection}_proj.weight"] = (outputs, width)
        shapes[prefix + "block_sparse_moe.gate.weight"] = (experts, width)
        for expert in range(experts):
            for projection, shape in (("w1", (inner, width)), ("w2", (width, inner)), ("w3", (inner, width))):
                shapes[f"{prefix}block_sparse_moe.experts.{expert}.{projection}.weight"] = shape
        shapes[prefix + "input_layernorm.weight"] = (width,)
        shapes[prefix + "post_attention_layernorm.weight"] = (width,)
    shapes["model.norm.weight"] = (width,)
    shapes["lm_head.weight"] = (vocabulary, width)
    return {name: ("BF16", shape) for name, shape in shapes.items()}


def main(folder: Path) -> None:
    folder = folder / "mixtral-8x7b"
    tensors = mixtral_tensors()
    assert len(tensors) == 995
    assert elements(tensors) == 46_702_792_704
    paths = save_set(tensors, folder, SHARD_BYTES)
    shards = [path for path in paths if path.suffix == ".safetensors"]
    assert (len(shards), sum(path.stat().st_size for path in shards)) == (19, 93_405_713_504)  # as published
    print(*paths, save_json(CONFIG, folder / "config.json"), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
