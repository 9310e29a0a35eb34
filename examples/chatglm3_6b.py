"""ChatGLM3-6B at full size in 8 shards: 6,243,584,000 float16 parameters, 12.5 GB that take next to no disk.

    chatglm3-6b/pytorch_model-00001-of-00008.bin ... pytorch_model-00008-of-00008.bin
    chatglm3-6b/pytorch_model.bin.index.json     which tensor is in which shard
    chatglm3-6b/config.json

The parameters are 199 tensors. A 200th is no parameter: the buffer transformer.rotary_pos_emb.inv_freq, 32 elements, with
real values. Queries, keys and values are one matrix of 4,608 rows: 32 heads of queries, but only 2 of keys and 2 of values.
Names and shapes are those of the published model; its own files are cut elsewhere. The weights are zeros, stored as holes
(see sparse.py).
"""

import argparse
import json
import math
from pathlib import Path

import torch
from sparse import Shapes, save_bin, zeros

CONFIG = {
    "architectures": ["ChatGLMModel"],
    "model_type": "chatglm",
    "num_layers": 28,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "num_attention_heads": 32,
    "kv_channels": 128,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "padded_vocab_size": 65024,
    "seq_length": 8192,
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "rmsnorm": True,
    "torch_dtype": "float16",
}
INV_FREQ = "transformer.rotary_pos_emb.inv_freq"
SHARDS = 8
SHARD_BYTES = 1_650_000_000  # a shard is closed before it would grow past this


def chatglm_shapes() -> Shapes:
    width, inner, vocabulary = CONFIG["hidden_size"], CONFIG["ffn_hidden_size"], CONFIG["padded_vocab_size"]
    qkv = width + 2 * CONFIG["multi_query_group_num"] * CONFIG["kv_channels"]
    shapes: Shapes = {"transformer.embedding.word_embeddings.weight": (vocabulary, width), INV_FREQ: (32,)}
    for layer in range(CONFIG["num_layers"]):
        prefix = f"transformer.encoder.layers.{layer}."
        shapes[prefix + "input_layernorm.weight"] = (width,)
        shapes[prefix + "self_attention.query_key_value.weight"] = (qkv, width)
        shapes[prefix + "self_attention.query_key_value.bias"] = (qkv,)
        shapes[prefix + "self_attention.dense.weight"] = (width, width)
        shapes[prefix + "post_attention_layernorm.weight"] = (width,)
        shapes[prefix + "mlp.dense_h_to_4h.weight"] = (2 * inner, width)  # gate and up projection in one
        shapes[prefix + "mlp.dense_4h_to_h.weight"] = (width, inner)
    shapes["transformer.encoder.final_layernorm.weight"] = (width,)
    shapes["transformer.output_layer.weight"] = (vocabulary, width)
    return shapes


def split(shapes: Shapes) -> list[Shapes]:
    """Consecutive shards of at most SHARD_BYTES each."""
    shards: list[Shapes] = [{}]
    room = SHARD_BYTES
    for name, shape in shapes.items():
        nbytes = 2 * math.prod(shape)
        if nbytes > room:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][name] = shape
        room -= nbytes
    return shards


def main(folder: Path) -> None:
    shapes = chatglm_shapes()
    elements = sum(map(math.prod, shapes.values()))
    assert elements == 6_243_584_000 + 32
    shards = split(shapes)
    assert len(shards) == SHARDS

    folder = folder / "chatglm3-6b"
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        path = folder / f"pytorch_model-{number:05}-of-{SHARDS:05}.bin"
        state_dict = zeros(shard)
        if INV_FREQ in state_dict:
            state_dict[INV_FREQ] = (10_000 ** (-torch.arange(32) / 32)).half()
        save_bin(state_dict, path)
        weight_map |= dict.fromkeys(shard, path.name)
        print(path)
    index = {"metadata": {"total_size": 2 * elements}, "weight_map": dict(sorted(weight_map.items()))}
    for name, content in (("pytorch_model.bin.index.json", index), ("config.json", CONFIG)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
        print(folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
