"""What a configuration says of how a model was quantised: method, bits, group, and which modules were left out.

Writers differ in their words: `bits`, `w_bit`, `num_bits`, `nbits`; `ignore`, `modules_to_not_convert`, `exclude_modules`. All of
it may come from anybody, so patterns are followed only as far as their cost is bounded.
Sources: transformers/utils/quantization_config.py, compressed_tensors/quantization, modelopt's hf_quant_config.json, AutoGPTQ's
quantize_config.json, mlx-lm's config.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from modelscope_cli.analysis.quantisation_rules import MOST_RULES, Budget, Rules
from modelscope_cli.analysis.quantisation_schemes import Said
from modelscope_cli.analysis.quantised import WHOLE, module_name
from modelscope_cli.core.checkpoint import QUANTISATION_FILES, SOURCE, quantisation_of
from modelscope_cli.core.tensor import Shape

TITLES = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "compressed-tensors": "compressed-tensors", "mxfp4": "MXFP4",
    "fp8": "FP8", "fbgemm_fp8": "FP8", "modelopt": "ModelOpt", "quark": "Quark", "hqq": "HQQ", "torchao": "torchao", "eetq": "EETQ",
    "quanto": "quanto", "aqlm": "AQLM", "bitnet": "BitNet", "mlx": "MLX", "vptq": "VPTQ", "spqr": "SpQR", "exl2": "EXL2", "exl3": "EXL3",
}  # fmt: skip
BIT_KEYS = ("bits", "num_bits", "nbits", "w_bit", "weight_bits", "wbits")
GROUP_KEYS = ("group_size", "q_group_size", "weight_group_size")
MIXED = ("exl2", "exl3")  # methods whose "bits" are what was aimed at over all modules
LEFT_OUT_KEYS = (
    "ignore",
    "modules_to_not_convert",
    "exclude_modules",
    "exclude",
    "skip_modules",
    "ignored_layers",
    "llm_int8_skip_modules",
)
ALGORITHMS = {  # ModelOpt's: bits, elements that share a scale
    "NVFP4": (4, 16), "W4A8_NVFP4_FP8": (4, 16), "NVFP4_AWQ": (4, 16), "MXFP4": (4, 32), "FP8": (8, None),
    "FP8_PER_CHANNEL_PER_TOKEN": (8, None), "W4A16_AWQ": (4, None), "W4A8_AWQ": (4, None), "W8A16": (8, None), "INT8_SQ": (8, None),
    "W8A8_SQ_PER_CHANNEL": (8, None), "INT4_AWQ": (4, None),
}  # fmt: skip
WORD_BITS = re.compile(r"(?:u?int|q?float|fp|nf|w)(\d)(?!\d)", re.IGNORECASE)


class Group(NamedTuple):
    """A part of a compressed-tensors configuration: the modules it is for, and their weights."""

    targets: Rules
    bits: int | None
    group: int | None
    symmetric: bool | None
    layout: str


class QuantisationConfig:
    """The configuration, taken apart. `method` is "" where there is none; `left_out` the rules for modules that are not quantised."""

    def __init__(self, config: dict[str, Any], source: str = ""):
        self.sizes = _sizes(config)
        raw = quantisation_of(config)
        self.source = raw[SOURCE] if raw.get(SOURCE) in QUANTISATION_FILES else source
        self.raw = raw
        self.method = _method(raw)
        self.title = TITLES.get(self.method, self.method)
        settings = _settings(raw, self.method)
        self.bits, self.group = _bits(settings, self.method), _group(settings)
        self.symmetric = next((settings[key] for key in ("sym", "symmetric") if type(settings.get(key)) is bool), None)
        if self.symmetric is None and type(settings.get("zero_point")) is bool:
            self.symmetric = not settings["zero_point"]
        self.layout = next(
            (raw[key] for key in ("format", "checkpoint_format", "version") if isinstance(raw.get(key), str)), ""
        )
        budget = Budget()
        self.groups = list(_groups(raw, budget))
        self.explicit = bool(self.groups) or self.method == "modelopt"  # says of all modules whether they are quantised
        self.left_out = Rules(list(_entries(raw)), self.method, budget)
        self.unfollowed = [
            text for rules in (self.left_out, *[group.targets for group in self.groups]) for text in rules.unfollowed
        ]
        self._said: dict[tuple[object, ...], Said] = {}
        self._overlays = {
            path: value for path, value in raw.items() if isinstance(value, dict) and ("." in path or raw.get("mlx"))
        }

    def said(self, path: str) -> Said:
        """What it says of the module at a path. Equal answers are one object."""
        bits, group, layout = self.bits, self.group, self.layout
        if self.groups:
            chosen = self.group_of(path)
            if chosen is not None:
                bits, group, layout = chosen.bits, chosen.group, chosen.layout or layout
        elif self._overlays and path in self._overlays:  # MLX lists modules that are quantised otherwise
            bits, group = _bits(self._overlays[path], self.method), _group(self._overlays[path])
        key = (bits, group, layout, self.shape(path))
        known = self._said.get(key)
        if known is None:
            known = self._said[key] = Said(self.method, bits, group, layout, self.shape(path))
        return known

    def group_of(self, path: str) -> Group | None:
        """The part of a compressed-tensors configuration that is for a module: by its name, by a pattern, else by class."""
        if len(self.groups) == 1:
            return self.groups[0]
        for group in self.groups:
            if path in group.targets.whole:
                return group
        named = next((group for group in self.groups if group.targets.first(path)), None)
        return named or next((group for group in self.groups if "Linear" in group.targets.whole), None)

    def shape(self, path: str) -> Shape | None:
        """The shape that the sizes of the configuration give a matrix under one of the usual names: [out, in]."""
        return self.sizes.get(module_name(path)) if self.sizes else None


def _method(raw: dict[str, Any]) -> str:
    method = raw.get("quant_method")
    if not isinstance(method, str):
        algorithm = raw.get("quant_algo")
        if isinstance(algorithm, str):
            return "modelopt"
        if "config_groups" in raw:
            return "compressed-tensors"
        if "w_bit" in raw or "zero_point" in raw:
            return "awq"
        if raw.get("mlx"):
            return "mlx"
        return "gptq" if "desc_act" in raw else ""
    return "gptq" if method.startswith("gptq") else method.lower()[:40]


def _settings(raw: dict[str, Any], method: str) -> dict[str, Any]:
    """The dictionary with bits and group: one level down in HQQ and in Quark."""
    inner = raw.get("quant_config") or raw.get("global_quant_config")
    for key in ("weight_quant_params", "weight"):
        if isinstance(inner, dict) and isinstance(inner.get(key), dict):
            return {**raw, **inner[key]}
    return {**raw, **inner} if isinstance(inner, dict) else raw


def _bits(settings: dict[str, Any], method: str) -> int | None:
    if method in MIXED:
        return None
    for key in BIT_KEYS:
        value = settings.get(key)
        if isinstance(value, int | float) and type(value) is not bool and 0 < value <= 64:
            return math.ceil(value)
    if settings.get("load_in_4bit") is True or settings.get("_load_in_4bit") is True:
        return 4
    if settings.get("load_in_8bit") is True or settings.get("_load_in_8bit") is True:
        return 8
    algorithm = settings.get("quant_algo")
    if isinstance(algorithm, str) and algorithm in ALGORITHMS:
        return ALGORITHMS[algorithm][0]
    for key in ("weights", "quant_type", "dtype"):
        if isinstance(settings.get(key), str) and (found := WORD_BITS.search(settings[key])):
            return int(found[1])
    return {"mxfp4": 4, "fp8": 8, "fbgemm_fp8": 8, "eetq": 8, "bitnet": 2}.get(method)


def _group(settings: dict[str, Any]) -> int | None:
    for key in GROUP_KEYS:
        value = settings.get(key)
        if type(value) is int:
            return value if value > 0 else WHOLE
    algorithm = settings.get("quant_algo")
    return ALGORITHMS[algorithm][1] if isinstance(algorithm, str) and algorithm in ALGORITHMS else None


def _groups(raw: dict[str, Any], budget: Budget) -> Iterator[Group]:
    parts = raw.get("config_groups")
    for part in list(parts.values())[:64] if isinstance(parts, dict) else ():
        weights = part.get("weights") if isinstance(part, dict) else None
        if not isinstance(weights, dict):
            continue
        targets = Rules(_texts(part.get("targets")), "compressed-tensors", budget)
        symmetric, layout = weights.get("symmetric"), part.get("format")
        group = _group(weights)
        if group is None and weights.get("strategy") in ("channel", "tensor"):
            group = WHOLE
        symmetric = symmetric if type(symmetric) is bool else None
        yield Group(targets, _bits(weights, ""), group, symmetric, layout if isinstance(layout, str) else "")


def _texts(value: Any) -> list[str]:
    return [text for text in value[:MOST_RULES] if isinstance(text, str)] if isinstance(value, list) else []


def _entries(raw: dict[str, Any]) -> Iterator[str]:
    for key in LEFT_OUT_KEYS:
        yield from _texts(raw.get(key))
    dynamic = raw.get("dynamic")  # GPTQModel: "-:pattern" leaves out, "+:pattern" changes the settings
    for key in list(dynamic)[:MOST_RULES] if isinstance(dynamic, dict) else ():
        if isinstance(key, str) and key.startswith("-:"):
            yield f"re:{key[2:]}"
    for path, value in raw.items():
        if value is False and ("." in path or raw.get("mlx")):  # MLX
            yield path


def _sizes(config: dict[str, Any]) -> dict[str, Shape]:
    """The shapes of the usual matrices of a decoder, by the last part of their names."""
    inner = config.get("text_config")
    config = {**config, **inner} if isinstance(inner, dict) else config

    def number(*keys: str) -> int:
        return next((config[key] for key in keys if type(config.get(key)) is int and 0 < config[key] < 1 << 32), 0)

    hidden, middle, heads = (
        number("hidden_size", "n_embd"),
        number("intermediate_size"),
        number("num_attention_heads", "n_head"),
    )
    if not hidden or not heads:
        return {}
    kv, head = number("num_key_value_heads") or heads, number("head_dim") or hidden // heads
    sizes: dict[str, Shape] = {
        "q_proj": (heads * head, hidden), "k_proj": (kv * head, hidden), "v_proj": (kv * head, hidden), "o_proj": (hidden, heads * head),
        "qkv_proj": ((heads + 2 * kv) * head, hidden), "out_proj": (hidden, heads * head),
    }  # fmt: skip
    if middle:
        sizes |= {
            "gate_proj": (middle, hidden), "up_proj": (middle, hidden), "down_proj": (hidden, middle), "fc1": (middle, hidden),
            "fc2": (hidden, middle), "gate_up_proj": (2 * middle, hidden), "w1": (middle, hidden), "w3": (middle, hidden), "w2": (hidden, middle),
        }  # fmt: skip
    return sizes
