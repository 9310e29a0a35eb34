"""Biases that GPTQ's writers made for modules that have none.

AutoGPTQ gave each of its Linears a bias (qlinear/*.py), zeros where the model has none: 224 tensors in a Llama. The configuration
tells of some models which of their Linears have a bias (transformers/models/*/modeling_*.py); of the others the names may hint at
it, and a finding says what the difference is.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.analysis.quantised import Quantised, module_name
from modelscope_cli.analysis.roles import BIAS, HELPER, Roles
from modelscope_cli.core.checkpoint import Checkpoint

SCHEME = "GPTQ"  # how the names of its layouts begin
QUERIES, OUTPUT, MLP = ("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
GATE = "gate_proj"  # has a bias in hardly any model

# model_type → whether QUERIES, OUTPUT and MLP have biases: always, never, or as an entry of the configuration says.
BIASES: dict[str, tuple[str | bool, str | bool, str | bool]] = {
    "llama": ("attention_bias", "attention_bias", "mlp_bias"), "mistral": (False, False, False), "mixtral": (False, False, False),
    "gemma": ("attention_bias", "attention_bias", False), "gemma2": ("attention_bias", "attention_bias", False),
    "qwen2": (True, False, False), "qwen2_moe": (True, False, False), "qwen3": ("attention_bias", "attention_bias", False),
    "qwen3_moe": ("attention_bias", "attention_bias", False),
}  # fmt: skip


def without_bias(config: dict[str, Any]) -> frozenset[str]:
    """The names of the Linears that have no bias in the model of a configuration; none where it is not known."""
    inner = config.get("text_config")
    config = {**config, **inner} if isinstance(inner, dict) else config
    kind = config.get("model_type")
    rules = BIASES.get(kind, ()) if isinstance(kind, str) else ()
    bare: list[str] = []
    for names, rule in zip((QUERIES, OUTPUT, MLP), rules, strict=False):
        if not (config.get(rule) if isinstance(rule, str) else rule):
            bare += names
    return frozenset(bare)


def set_aside(checkpoint: Checkpoint, parents: list[str], leaves: list[str], found: Roles, result: Quantised) -> None:
    """The biases of Linears that have none become helpers, `result.unused`."""
    bare = without_bias(checkpoint.config)
    if not bare:
        return
    owners = {parents[line] for line, packed in result.packed.items() if packed.scheme.startswith(SCHEME)}
    owners = {path for path in owners if module_name(path) in bare}
    for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
        if leaf == "bias" and parent in owners and found.roles[line] == BIAS:
            found.roles[line] = HELPER
            found.recorded.discard(line)
            result.unused.append(line)


def doubtful(result: Quantised, parents: list[str], leaves: list[str], roles: list[str]) -> list[int]:
    """Lines of biases beside GPTQ weights of which nothing tells that the model has them: those of gated MLPs hint that it has not."""
    owners = {parents[line] for line, packed in result.packed.items() if packed.scheme.startswith(SCHEME)}
    if not any(path.endswith(GATE) for path in owners):
        return []
    lines = [line for line, leaf in enumerate(leaves) if leaf == "bias" and roles[line] == BIAS and parents[line] in owners]
    return lines if any(parents[line].endswith(GATE) for line in lines) else []
