"""Mixtures of experts: how many experts there are, how many a token uses, and how many parameters that makes active.

Everything works for every token but the routed experts, of which a token uses some: so

    active = parameters − routed + routed × used / experts

Router, shared experts, attention, norms and embeddings count wholly. Experts are modules of their own (experts.0, expert_0),
slices of one tensor (experts.gate_up_proj, ffn_up_exps), or rows of one matrix (DBRX). How many a token uses stands in no
tensor: config.json says it (GGUF: expert_used_count), or the model type does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from modelscope_cli.analysis.kinds import LAYER_EXPERTS
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.core.tensor import Shape

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
CONFIG_SHARED = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
INNER = (
    "text_config",
    "ffn_config",
    "llm_config",
    "thinker_config",
    "language_config",
)  # parts of a config.json one level down
BY_TYPE = {"switch_transformers": 1, "nllb-moe": 2, "nllb_moe": 2}  # model types that have a fixed number
LISTS = ("experts", "deepspeed_experts", "local_experts")
ROUTERS = ("gate", "router", "wg", "ffn_gate_inp", "layer", "classifier", "linear")  # last names of a router
SHARED = re.compile(r"(?:^|[._])shared_experts?(?:[._]|$)|_shexp")
NUMBERED = re.compile(r"(?:expert_?)?(\d+)")
SLICED = re.compile(r"(?:^|\.)(?:block_sparse_moe|moe)\.(?:input_linear|output_linear)(?:\.|$)")  # Granite


class Pool(NamedTuple):
    """The routed experts of one layer, or of several equal ones: `experts` in each of `layers`, and all their parameters."""

    path: str
    experts: int
    layers: int
    parameters: int
    evidence: str


class Mixture(NamedTuple):
    """The routed experts of a model. `used`: by a token, None where nothing says; `source`: what says it."""

    pools: list[Pool]
    shared: bool  # whether there are experts that every token uses
    used: int | None
    source: str

    @property
    def routed(self) -> int:
        return sum(pool.parameters for pool in self.pools)

    def active(self, parameters: int) -> int | None:
        """Of so many parameters in all those that one token uses."""
        if self.used is None:
            return None
        idle = sum(pool.parameters - pool.parameters * min(self.used, pool.experts) // pool.experts for pool in self.pools)
        return parameters - idle


def read_experts(ledger: Ledger, outline: Outline, weights: Mapping[str, Shape]) -> Mixture | None:
    """The routed experts; None where there are none. `weights`: module path → shape of its matrix."""
    config = flat_config(ledger.checkpoint.config)
    stated = next((value for name in CONFIG_EXPERTS if type(value := config.get(name)) is int and value > 0), None)
    pools: dict[str, _Sum] = {}
    known: dict[str, object] = {}
    shared = False
    ordered = sorted(zip(outline.lines, outline.copies, strict=True), key=lambda pair: -len(ledger.shapes[pair[0][1]]))
    for (name, line), copies in ordered:
        if not ledger.parameters[line]:
            continue
        if SHARED.search(name):
            shared = True
            continue
        found = _place(name, ledger.shapes[line], stated, known)
        if found is None:
            continue
        path, experts, evidence = found
        known.setdefault(path, experts)
        pool = pools.setdefault(path, _Sum(experts, evidence))
        pool.parameters += ledger.parameters[line] * copies
        pool.layers = max(pool.layers, copies)
        pool.named.add(str(experts))
    if not pools:
        return None
    listed = [_pool(path, pool, outline, weights) for path, pool in pools.items()]
    listed = [pool for pool in listed if pool.experts > 0]
    used, source = _used(config, ledger.checkpoint.config_from)
    return Mixture(listed, shared, used, source) if listed else None


def _place(name: str, shape: Shape, stated: int | None, known: Mapping[str, object]) -> tuple[str, int | str, str] | None:
    """(path of the pool, experts or the name of this one, evidence) of a tensor of routed experts.

    `stated`: experts by the configuration; `known`: experts of pools that cubes have told of, to which their biases belong.
    """
    parts = name.split(".")
    at = next((position for position, part in enumerate(parts[:-1]) if part in LISTS), None)
    if at is not None:
        while at + 1 < len(parts) - 1 and parts[at + 1] in LISTS:
            at += 1
        path, number = ".".join(parts[: at + 1]), parts[at + 1]
        if NUMBERED.fullmatch(number) and at + 2 < len(parts):
            return path, number, path
        if len(shape) > 2 or (shape and shape[0] in (stated, known.get(path))):
            return path, shape[0], f"{name} has {shape[0]:,} slices"
        if stated and shape and shape[0] % stated == 0:
            return path, stated, f"{name} has {shape[0]:,} rows for {stated:,} experts"
        return None
    if LAYER_EXPERTS.search(name) and shape:
        return name.partition(".ffn_")[0], shape[0], f"{name} has {shape[0]:,} slices"
    if SLICED.search(name) and len(shape) == 3:
        return name.rpartition("_linear")[0].rpartition(".")[0], shape[0], f"{name} has {shape[0]:,} slices"
    flat = re.fullmatch(r"(.+\.ffn_(?:gate|up|down))\.(\d+)\.\w+", name)  # GGUF before its experts were put together
    if flat:
        return flat[1].rpartition(".")[0] + ".ffn", flat[2], flat[1]
    return None


class _Sum:
    """A pool on the way: `experts` is a number, or the name of the first one where each is a module of its own."""

    __slots__ = ("evidence", "experts", "layers", "named", "parameters")

    def __init__(self, experts: int | str, evidence: str):
        self.experts = experts
        self.evidence = evidence
        self.layers = self.parameters = 0
        self.named: set[str] = set()


def _pool(path: str, pool: _Sum, outline: Outline, weights: Mapping[str, Shape]) -> Pool:
    """A pool with its experts counted: those that are modules of their own are folded, so that one stands for several."""
    if isinstance(pool.experts, int):
        return Pool(path, pool.experts, pool.layers, pool.parameters, pool.evidence)
    stack = outline.stacks.get(path) or outline.stacks.get(pool.evidence)
    count, copies = (stack.size, stack.copies) if stack is not None else (len(pool.named), pool.layers)
    around = path.removesuffix(path.rpartition(".")[2])
    router = next((name for name in weights if name.startswith(around) and name[len(around) :] in ROUTERS), None)
    said = f"{pool.evidence}; the router {router} has {weights[router][0]:,} rows" if router else pool.evidence
    return Pool(path, count, copies, pool.parameters, said)


def flat_config(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the part that is about the language model, or about its experts, at the top."""
    flat = dict(config)
    for name in INNER:
        inner = flat.get(name)
        if isinstance(inner, dict):
            flat |= {key: value for key, value in inner.items() if key != "model_type" or "model_type" not in flat}
    return flat


def _used(config: Mapping[str, Any], source: str) -> tuple[int | None, str]:
    """How many experts a token uses, and what says so. A list is one number a layer, and counts where all are the same."""
    for name in CONFIG_ACTIVE:
        value = config.get(name)
        if isinstance(value, list) and value and all(inner == value[0] for inner in value):
            value = value[0]
        if type(value) is int and value > 0:
            return value, f"{name} in {source}" if source.endswith(".json") else source
    by_type = BY_TYPE.get(str(config.get("model_type")))
    return by_type, f"a {config['model_type']} model" if by_type else ""


Add = Callable[..., None]


def expert_facts(
    ledger: Ledger, outline: Outline, weights: Mapping[str, Shape], width: Callable[[str], str], add: Add
) -> Mixture | None:
    """Add what there is to say: experts, and active parameters. `width(path)`: what one expert is, in words."""
    mixture = read_experts(ledger, outline, weights)
    if mixture is None:
        return None
    largest = max(mixture.pools, key=lambda pool: (pool.experts, pool.parameters))
    layers = sum(pool.layers for pool in mixture.pools if pool.experts == largest.experts)
    where = f"{largest.experts:,} in each of {layers:,} layers" if layers > 1 else f"{largest.experts:,} in a layer"
    used = f", {mixture.used:,} active a token" if mixture.used else ""
    beside = ", and shared ones" if mixture.shared else ""
    add("experts", "Experts", largest.experts, f"{where}{width(largest.path)}{used}{beside}", largest.evidence)
    whole = ledger.total_parameters()
    active = mixture.active(whole)
    if active is None:
        text = "needs num_experts_per_tok in a config.json"
        held = f"{mixture.routed:,} of {whole:,} are in routed experts"
        add("active_parameters", "Active", None, text, held, inferred=False)
        return mixture
    share = f"{100 * active / whole:.1f} %" if whole else ""
    rest = whole - mixture.routed
    sizes = {pool.experts for pool in mixture.pools}
    part = f"{mixture.used:,}/{largest.experts:,}" if len(sizes) == 1 else f"{mixture.used:,} a layer"
    evidence = f"{rest:,} + {part} × {mixture.routed:,} in routed experts ({mixture.source}); embeddings count"
    add("active_parameters", "Active", active, f"{active:,} a token, {share} of {whole:,}", evidence)
    return mixture
