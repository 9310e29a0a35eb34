"""Llama-2-7B at full size: 291 float16 tensors, 6,738,415,616 parameters, 13.5 GB that take next to no disk.

    llama-2-7b-bin/pytorch_model.bin             as torch.save writes it
    llama-2-7b-safetensors/model.safetensors     the same tensors

Names, shapes and dtypes are those of the Hugging Face checkpoint, with a config.json beside each file; the weights are
zeros, stored as holes (see sparse.py).
"""

import argparse
import json
import math
from pathlib import Path

from sparse import Shapes, save_bin, save_safetensors, zeros

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
}


def llama_shapes() -> Shapes:
    width, inner, vocabulary = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for projection in "qkvo":
            shapes[f"{prefix}self_attn.{projection}_proj.weight"] = (width, width)
        shapes[prefix + "mlp.gate_proj.weight"] = (inner, width)
        shapes[prefix + "mlp.up_proj.weight"] = (inner, width)
        shapes[prefix + "mlp.down_proj.weight"] = (width, inner)
        shapes[prefix + "input_layernorm.weight"] = (width,)
        shapes[prefix + "post_attention_layernorm.weight"] = (width,)
    shapes["model.norm.weight"] = (width,)
    shapes["lm_head.weight"] = (vocabulary, width)
    return shapes


def main(folder: Path) -> None:
    shapes = llama_shapes()
    assert len(shapes) == 291
    assert sum(map(math.prod, shapes.values())) == 6_738_415_616
    as_bin = folder / "llama-2-7b-bin" / "pytorch_model.bin"
    as_safetensors = folder / "llama-2-7b-safetensors" / "model.safetensors"
    for path in (as_bin, as_safetensors):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_bin(zeros(shapes), as_bin)
    save_safetensors(shapes, as_safetensors)
    print(as_bin, as_safetensors, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
