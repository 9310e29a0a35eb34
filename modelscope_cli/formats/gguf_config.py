"""The hyperparameters in a GGUF file under the names that config.json has for them, which is where analyses look.

Keys of GGUF begin with the architecture ("llama.block_count"). A value that differs from layer to layer is an array there;
config.json has one number for all, so only an array of equal numbers is taken over. Names: gguf-py's constants.py (`Keys`) and
the converters of llama.cpp.
"""

from __future__ import annotations

import re
from typing import Any

from modelscope_cli.formats.gguf_types import FILE_TYPES, GUESSED

SOURCE = "GGUF metadata"  # what evidence from here is called

HF_NAMES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.sliding_window": "sliding_window",
    "rope.freq_base": "rope_theta",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_count": "n_shared_experts",
}


def config_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """What config.json would say; empty where the file names no architecture."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        return {}
    config: dict[str, Any] = {"model_type": architecture}
    for key, name in HF_NAMES.items():
        value = metadata.get(f"{architecture}.{key}")
        if isinstance(value, list) and len(set(map(str, value))) == 1:
            value = value[0]
        if isinstance(value, int | float):
            config[name] = value
    if "vocab_size" not in config:
        counted = vocabulary(metadata.get("tokenizer.ggml.tokens"))
        if counted is not None:
            config["vocab_size"] = counted
    named = file_type(metadata.get("general.file_type"))
    if named is not None:
        config["quantization_config"] = {"quant_method": "gguf", "file_type": named}
    return config


def vocabulary(tokens: Any) -> int | None:
    """How many tokens there are."""
    if isinstance(tokens, list):
        return len(tokens)
    found = re.match(r"([\d,]+) strings", tokens) if isinstance(tokens, str) else None
    return int(found[1].replace(",", "")) if found else None


def file_type(number: Any) -> str | None:
    """The mix of types by its name; a number that is not in the table yet stays one."""
    if type(number) is not int:
        return None
    plain = number & ~GUESSED
    return FILE_TYPES.get(plain, f"type {plain}") + (" (guessed)" if number & GUESSED else "")
