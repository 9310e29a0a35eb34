"""A LoRA adapter of rank 16 for Llama-2-7B, as PEFT saves it: 128 float32 tensors, 8,388,608 parameters, 33.6 MB.

    llama-2-7b-lora/adapter_model.safetensors
    llama-2-7b-lora/adapter_config.json        rank, scale, and the model it belongs to

Each of the 32 layers has two adapted projections, of queries and of values. For each, A (16 x 4,096) reads the input and
B (4,096 x 16) adds to the output: 0.12 % of the 6.7 billion parameters of the model, which are not in the file. Names:
PEFT's save_pretrained; shapes: Llama-2-7B's config.json. Before training A is random and B is zero, and so it is here.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from llama2_7b import CONFIG
from safetensors.torch import save_file

ADAPTER = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "meta-llama/Llama-2-7b-hf",
    "r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "target_modules": ["q_proj", "v_proj"],
    "bias": "none",
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "inference_mode": True,
}


def lora_state_dict() -> dict[str, torch.Tensor]:
    width, rank = CONFIG["hidden_size"], ADAPTER["r"]
    state_dict = {}
    for layer in range(CONFIG["num_hidden_layers"]):
        for projection in ADAPTER["target_modules"]:
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{projection}."
            state_dict[prefix + "lora_A.weight"] = torch.nn.init.kaiming_uniform_(torch.empty(rank, width), a=math.sqrt(5))
            state_dict[prefix + "lora_B.weight"] = torch.zeros(width, rank)
    return state_dict


def main(folder: Path) -> None:
    folder = folder / "llama-2-7b-lora"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    state_dict = lora_state_dict()
    assert len(state_dict) == 128
    assert sum(tensor.numel() for tensor in state_dict.values()) == 8_388_608
    model, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    save_file(state_dict, model, metadata={"format": "pt"})
    config.write_text(json.dumps(ADAPTER, indent=2) + "\n")
    print(model, config, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
