"""Models that no one would make: of everything that is looked for beside other things there are tens of thousands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes

Named = Iterator[tuple[str, tuple[int, ...]]]
TOKENS = ("embed_tokens.weight", (1000, 8))
WORDS = ("a_", "norm_", "embed_", "attn_", "position_", "ffn_", "lora_", "0-")


def words() -> Named:
    """Names of hundreds of thousands of words."""
    for number, word in enumerate(WORDS):
        yield word * (300_000 // len(word)) + f"{number}-.weight", (4, 4)
        yield word * (300_000 // len(word)) + f"{number}\\n.weight", (4, 4)


def names_of_words() -> Named:
    """Many names of many words."""
    return ((f"{'a_embed_' * 12}{number}-.weight", (8, 8 + number % 3)) for number in range(90_000))


def stacks() -> Named:
    """Lists of two layers each."""
    yield TOKENS
    yield from ((f"a{number:x}z.{layer}.q_proj.weight", (8, 1 + number % 50)) for number in range(30_000) for layer in (0, 1))


def layers() -> Named:
    """Layers of one list, none like another."""
    parts = ("attn_q", "attn_k", "ffn_gate_inp")
    yield TOKENS
    yield from ((f"m.layers.{layer}.{part}.weight", (0, 1 + layer)) for layer in range(30_000) for part in parts)


def heads() -> Named:
    """Output heads beside many other tensors."""
    yield TOKENS
    yield from ((f"q{number:x}", (0,)) for number in range(200_000))
    yield from ((f"a{number:x}z.lm_head.weight", (1000, 0)) for number in range(30_000))


def pools() -> Named:
    """Lists of experts, in layers of which none is like another."""
    yield TOKENS
    for layer in range(14_000):
        yield from ((f"m.layers.{layer}.mlp.experts.{expert}.w1.weight", (1, 2)) for expert in (0, 1))
        yield f"m.layers.{layer}.mlp.gate.weight", (2, 1)
        yield f"m.layers.{layer}.other.weight", (0, 1 + layer)


def ahead() -> Named:
    """Layers that predict further tokens."""
    yield TOKENS
    yield from ((f"a{number:x}z.0.eh_proj.weight", (1 + number % 7, 1 + number % 3)) for number in range(40_000))


MODELS = {
    "words.safetensors": words,
    "names-of-words.safetensors": names_of_words,
    "stacks.safetensors": stacks,
    "layers.safetensors": layers,
    "heads.safetensors": heads,
    "pools.safetensors": pools,
    "ahead.safetensors": ahead,
}


def ties() -> bytes:
    """Output heads that are all one."""
    named: dict[str, Any] = {"embed_tokens.weight": tensor("e", (1000, 2))}
    named |= {f"a{number:x}.lm_head.weight": tensor("e", (1000, 2)) for number in range(25_000)}
    return torch_zip_bytes(ordered(named), {"e": 8000}, zip64=True)


def optimizers() -> bytes:
    """Optimizers that keep nothing, and one that keeps much."""
    model = {"model": ordered({"w.weight": tensor("w", (2, 2))})}
    empty = {f"opt{number:x}q": {"state": {}, "param_groups": [{"lr": 0.1, "params": []}]} for number in range(6_000)}
    state = {number: {"exp_avg": tensor(f"a{number}", (2,))} for number in range(30_000)}
    full = {"state": state, "param_groups": [{"lr": 0.1, "params": list(range(30_000))}]}
    storages = {"w": 16} | {f"a{number}": 8 for number in range(30_000)}
    return torch_zip_bytes(model | empty | {"last_opt": full}, storages, zip64=True)


PICKLED = {"ties.pt": ties, "optimizers.pt": optimizers}


def quantised_apart(folder: Path) -> None:
    """Modules that are quantised and modules that are not, and a list of a thousand ends of names that leaves all of these out."""
    packed = {f"m.a{number:x}z.weight_packed": ("I32", (8, 2)) for number in range(40_000)}
    plain = {f"m.b{number:x}zyyyy.weight": ("F16", (8, 2)) for number in range(40_000)}
    (folder / "model.safetensors").write_bytes(safetensors_bytes(packed | plain))
    skipped = [f"y{number}k" for number in range(1_022)] + ["yyyy"]
    said = {"quant_method": "bitsandbytes", "llm_int8_skip_modules": skipped, "bits": 4}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "quantization_config": said}))


def experts_of_parts(folder: Path) -> None:
    """Lists of experts in modules of which each has a part of the configuration to itself."""
    experts = {f"x{n}.experts.{expert}.w1.weight": ("U8", (1 + n % 7, 2)) for n in range(30_000) for expert in (0, 1)}
    (folder / "model.safetensors").write_bytes(safetensors_bytes({"embed_tokens.weight": ("U8", (1000, 8))} | experts))
    parts = {f"x{number}_config": {"num_experts": 4} for number in range(10_000)}
    numbers = {f"k{number}": number for number in range(10_000)}
    (folder / "config.json").write_text(json.dumps({"num_experts_per_tok": 1, **parts, **numbers}))


FOLDERS = {"quantised-apart": quantised_apart, "experts-of-parts": experts_of_parts}
