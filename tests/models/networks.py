"""Small models of transformers, saved as people publish them, and the networks of examples/ in a small size."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelscope_cli.bridges.models.quiet import quiet
from tests.builders.safetensors_file import safetensors_bytes

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL", torch.float16: "F16"}


def example(name: str) -> Any:
    """A script of examples/, imported."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


Decoder, FiveLayers = example("decoder").Decoder, example("five_layers").FiveLayers


def saved(module: nn.Module, folder: Path, config: Mapping[str, Any] | None = None) -> Path:
    """The module's own state_dict as a safetensors file (its values are zeros), with a config.json beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: (NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in module.state_dict().items()}
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors, {"format": "pt"}))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"


TEXT = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
FAMILIES: dict[str, tuple[str, dict[str, Any], list[str]]] = {  # class, configuration, what it is called with
    "llama": ("LlamaForCausalLM", {**TEXT, **SPECIAL, "num_key_value_heads": 1}, ["input_ids=int64[1,8]<64"]),
    "gpt2": (
        "GPT2LMHeadModel",
        {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, **SPECIAL},
        ["input_ids=int64[1,8]<64"],
    ),
    "mixtral": (
        "MixtralForCausalLM",
        {**TEXT, **SPECIAL, "num_key_value_heads": 1, "num_local_experts": 4},
        ["input_ids=int64[1,8]<64"],
    ),
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, **SPECIAL},
        ["input_ids=int64[1,8]<64", "decoder_input_ids=int64[1,8]<64"],
    ),
    "bert": ("BertForMaskedLM", {**TEXT, **SPECIAL}, ["input_ids=int64[1,8]<64"]),
    "vit": (
        "ViTForImageClassification",
        {**{key: value for key, value in TEXT.items() if key != "vocab_size"}, "image_size": 32, "patch_size": 16},
        ["pixel_values=float32[1,3,32,32]"],
    ),
    "whisper": (
        "WhisperForConditionalGeneration",
        {
            "vocab_size": 64, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 8,
            "max_source_positions": 20, "max_target_positions": 16, "decoder_start_token_id": 1, **SPECIAL,
        },
        ["input_features=float32[1,8,40]", "decoder_input_ids=int64[1,8]<64"],
    ),
}  # fmt: skip


def build(family: str, **settings: Any) -> nn.Module:
    """A model of a family, in eval mode, on real tensors."""
    with quiet():
        import transformers

        name, usual, _ = FAMILIES[family]
        torch.manual_seed(0)
        model = getattr(transformers, name)
        return model(model.config_class(**usual | settings)).eval()


def publish(family: str, folder: Path, change: Callable[[dict[str, Any]], None] | None = None, **settings: Any) -> Path:
    """A folder as save_pretrained writes it, under the names of published files; `change` the config.json afterwards."""
    model: Any = build(family, **settings)
    with quiet():
        model.save_pretrained(folder)
    if change is not None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"
