"""What a configuration says of experts: how many there are, and how many a token uses, by the part of the model and by the layer.

    num_experts_per_tok: 8                                      everywhere
    moe_topk: [1, 2, 2, 2]                                      layer by layer (Hunyuan)
    moe_num_experts: [64, 64]                                   two lots in a layer, for text and for images (ERNIE 4.5 VL)
    thinker_config: {text_config: {num_experts_per_tok: 8}}     for the modules under thinker. (Qwen Omni)

Numbers come from a file: one that no model could have counts as none, and is said to be there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

CONFIG_ACTIVE = (
    "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k", "moe_topk", "moe_k", "num_selected_experts",
    "top_k_experts", "router_top_k",
)  # fmt: skip
CONFIG_EXPERTS = (
    "num_local_experts",
    "n_routed_experts",
    "num_experts",
    "moe_num_experts",
    "num_routed_experts",
    "moe_nums_expert",
)
INNER = (
    "text_config",
    "ffn_config",
    "llm_config",
    "thinker_config",
    "language_config",
)  # parts of a config.json that are about the language model, or about its experts
DEEPEST = 3  # parts within parts that are looked into
ASKED = frozenset((*CONFIG_ACTIVE, *CONFIG_EXPERTS, "num_hidden_layers", "num_nextn_predict_layers", "model_type"))
MOST_PARTS = 32  # of a model that have numbers of their own
BY_TYPE = {"switch_transformers": 1, "nllb-moe": 2, "nllb_moe": 2}  # model types that have a fixed number
TEXT_AND_IMAGES = (
    "ernie4_5_moe_vl",
    "ernie4_5_vl",
    "ernie4_5_vl_moe",
)  # two lots of experts: a token goes to those of its kind
MOST_EXPERTS = 1_000_000  # more than any layer has
LONGEST = 40  # characters of a value that are shown
NEEDED = "needs num_experts_per_tok in a config.json"


class Used(NamedTuple):
    """How many experts a token uses, and what says so; `number` is None where nothing does, and `source` is then why."""

    number: int | None
    source: str


class Part(NamedTuple):
    """A part of a model that the configuration tells of: its name, "" for the model as a whole, and what it says."""

    name: str
    config: dict[str, Any]
    source: str

    def experts(self) -> int | None:
        """How many routed experts a layer has."""
        return next((value for name in CONFIG_EXPERTS if _counts(value := self.config.get(name))), None)

    def lots(self) -> list[int]:
        """How many experts each lot within a layer has, where the configuration lists several."""
        found = next((value for name in CONFIG_EXPERTS if isinstance(value := self.config.get(name), list)), [])
        return found if 1 < len(found) <= MOST_EXPERTS and all(map(_counts, found)) else []

    def layers(self) -> int | None:
        """How many layers the model itself has."""
        value = self.config.get("num_hidden_layers")
        return value if _counts(value) else None

    def two_kinds(self) -> bool:
        """Whether text goes to the first lot of experts and images to the second."""
        return self.config.get("model_type") in TEXT_AND_IMAGES

    def used(self, layers: Sequence[int] | None) -> list[Used]:
        """How many experts a token uses in each of these layers; a single entry where all are alike or not known by number."""
        name = next((name for name in CONFIG_ACTIVE if self.config.get(name) is not None), None)
        if name is None:
            by_type = BY_TYPE.get(str(self.config.get("model_type")))
            return [Used(by_type, f"a {self.config['model_type']} model" if by_type else NEEDED)]
        value = self.config[name]
        where = f"{name} in {self.source}" if self.source.endswith(".json") else self.source
        if isinstance(value, list) and value and all(map(_counts, value)):
            if all(inner == value[0] for inner in value):
                return [Used(value[0], where)]
            if layers and max(layers) < len(value):
                return [Used(value[number], where) for number in layers]
            return [Used(None, f"{name} in {self.source} lists {len(value):,} numbers: which layer has which cannot be told")]
        if _counts(value):
            return [Used(value, where)]
        return [Used(None, f"{name} in {self.source} is {_written(value)}, which is no number of experts")]


class Parts:
    """The parts of a model by the modules in them, each worked out once: tens of thousands of tensors ask."""

    def __init__(self, config: dict[str, Any], source: str):
        self._words: set[str] = set()
        self._config = self._asked(config, 2 * DEEPEST + 1)
        self._source = source
        self._known: dict[tuple[str, ...], Part] = {(): part_of("", self._config, source)}

    def _asked(self, config: dict[str, Any], deepest: int) -> dict[str, Any]:
        """What is asked for of a configuration, and the parts in it."""
        kept = {name: config[name] for name in ASKED if name in config}
        for name, value in config.items() if deepest else ():
            if isinstance(value, dict) and name.endswith("_config"):
                self._words.add(name.removesuffix("_config"))
                kept[name] = self._asked(value, deepest - 1)
        return kept

    def of(self, path: str) -> Part:
        """What the configuration says of the part of the model that a module is in."""
        words = tuple(word for word in path.split(".", DEEPEST)[:DEEPEST] if word in self._words)
        part = self._known.get(words)
        if part is None:
            if len(self._known) >= MOST_PARTS:
                return self.of("")
            part = self._known[words] = part_of(".".join(words), self._config, self._source)
        return part


def part_of(path: str, config: dict[str, Any], source: str) -> Part:
    """What a configuration says of the part of the model that a module is in. Of another part's numbers nothing counts here."""
    own, named = config, []
    for word in path.split(".")[:DEEPEST]:
        inner = own.get(f"{word}_config")
        if isinstance(inner, dict):
            shared = {key: value for key, value in own.items() if not isinstance(value, dict)}
            own = shared | flat_config(inner)
            named.append(word)
    return Part(".".join(named), own if named else flat_config(config), source)


def flat_config(config: dict[str, Any], deepest: int = DEEPEST) -> dict[str, Any]:
    """A configuration with the part that is about the language model, or about its experts, at the top."""
    flat = dict(config)
    for name in INNER if deepest else ():
        inner = config.get(name)
        if isinstance(inner, dict):
            below = flat_config(inner, deepest - 1)
            flat |= {key: value for key, value in below.items() if key != "model_type" or "model_type" not in flat}
    return flat


def _counts(value: object) -> bool:
    """Whether a value is a number of experts or layers."""
    return type(value) is int and 0 < value <= MOST_EXPERTS


def _written(value: object) -> str:
    """A value that is none, as it stands there."""
    if isinstance(value, int) and abs(value) > MOST_EXPERTS:
        digits = int(value.bit_length() * math.log10(2)) + 1  # writing out a number of thousands of digits is refused
        return f"a number of {digits:,} digits" if digits > LONGEST else f"{value:,}"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
