"""Mixtures of experts: how many experts there are, how many a token uses, and how many parameters that makes active.

Everything works for every token but the routed experts, of which a token uses some, and layers that predict the tokens after the
next one, which a model can run without: so

    active = parameters − prediction layers − routed + routed × used / experts

Router, shared experts, attention, norms and embeddings count wholly. Experts are modules of their own (experts.0, expert_0,
experts.up_projs.0), slices of one tensor (experts.gate_up_proj, switch_mlp.up_proj, mlp1_weight, ffn_up_exps), or rows of one
matrix (DBRX). How many a token uses stands in no tensor: config.json says it (GGUF: expert_used_count), or the model type does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from modelscope_cli.analysis.beneath import above
from modelscope_cli.analysis.experts_config import NEEDED, Part, Parts, Used
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.core.tensor import Shape

LISTS = ("experts", "deepspeed_experts", "local_experts", "switch_mlp")
ROUTERS = ("gate", "router", "wg", "ffn_gate_inp", "layer", "classifier", "linear")  # last names of a router
SHARED = re.compile(r"(?:^|[._])shared_experts?(?:[._]|$)|_shexp")
NUMBERED = re.compile(r"(?:expert_?)?(\d+)")
# LAYER_EXPERTS anywhere in a name: from the first ffn_ of a word on, which leaves most room for what is behind.
FLAT = re.compile(r"(?<!\w)(?>\w*?ffn_)\w+_(ch)?exps")
SLICED = re.compile(
    r"(?:(?P<Granite>(?:.+\.)?(?:block_sparse_moe|moe))\.(?:input|output)_linear|(?P<OpenAI>(?:.+\.)?mlp)\.mlp[12]_(?:weight|bias))(?:\..*)?",
    re.DOTALL,
)
AHEAD = re.compile(
    r"(.*?(?:^|\.)\d+)\.(?:nextn\.)?eh_proj\."
)  # joins a layer's input with the token before (DeepSeek, GLM, GGUF)
AHEAD_WORDS = re.compile(r"(?:^|\.)mtp(?:_\w+)?\.")  # Qwen3-Next, MiMo, ERNIE
LOTS = ("text", "images")


class Pool(NamedTuple):
    """Routed experts that are alike: `experts` in each of `layers`, all their parameters, and how many of each layer a token uses.

    `part` of the model, where it has several; `first` names one expert where they are modules; `evidence` says what shows them.
    """

    path: str
    part: str
    experts: int
    layers: int
    parameters: int
    used: Used
    first: str
    evidence: str
    lot: str = ""


class Mixture(NamedTuple):
    """The routed experts of a model; `ahead`: parameters of layers that predict further tokens, and what these are called."""

    pools: list[Pool]
    shared: bool  # whether there are experts that every token uses
    ahead: int
    layers_ahead: str

    @property
    def routed(self) -> int:
        return sum(pool.parameters for pool in self.pools)

    def active(self, parameters: int) -> int | None:
        """Of so many parameters in all those that one token uses."""
        idle = 0
        for pool in self.pools:
            if pool.used.number is None:
                return None
            idle += pool.parameters - pool.parameters * pool.used.number // pool.experts
        return parameters - self.ahead - idle


def read_experts(ledger: Ledger, outline: Outline, weights: Mapping[str, Shape]) -> Mixture | None:
    """The routed experts; None where there are none. `weights`: module path → shape of its matrix."""
    parts = Parts(ledger.checkpoint.config, ledger.checkpoint.config_from)
    ahead = _Ahead(_layers_ahead(outline, parts.of("")))
    around = _Around(outline, weights)
    pools: dict[str, _Sum] = {}
    shared, aside, heads = False, 0, dict.fromkeys(ahead.layers)
    ordered = sorted(zip(outline.lines, outline.copies, strict=True), key=lambda pair: -len(ledger.shapes[pair[0][1]]))
    for (name, line), copies in ordered:
        parameters = ledger.parameters[line] * copies
        if not parameters:
            continue
        if (head := ahead(name)) is not None:
            aside += parameters
            heads.setdefault(head)
            continue
        if ("shared_expert" in name or "_shexp" in name) and SHARED.search(name):
            shared = True
            continue
        packed = ledger.packed.get(line)
        shape = ledger.shapes[line] if packed is None else packed.shape or ()
        found = _place(name, shape, parts, pools)
        if found is not None:
            pool = pools.get(found.path)
            if pool is None:
                pool = pools[found.path] = _Sum(found, parts.of(found.path))
            pool.add(found, parameters, copies, outline)
    listed = [pool for path, summed in pools.items() for pool in summed.pools(path, around)]
    sizes: Counter[str] = Counter()
    for routed in listed:
        sizes[routed.part] += routed.parameters
    listed.sort(key=lambda routed: -sizes[routed.part])  # the part of the model that has most comes first
    return Mixture(listed, shared, aside, ", ".join(heads) if len(heads) < 4 else f"{len(heads):,} layers") if listed else None


# Prediction layers -------------------------------------------------------------------------------------------------------


def _layers_ahead(outline: Outline, part: Part) -> list[str]:
    """Paths of the layers that predict further tokens: by what only they hold, or behind the layers that config.json counts."""
    found = dict.fromkeys(match[1] for name, _ in outline.lines if "eh_proj" in name and (match := AHEAD.match(name)))
    count, more = part.layers(), part.config.get("num_nextn_predict_layers")
    if count and type(more) is int and 0 < more < count:
        for path, stack in outline.stacks.items():
            if stack.size == count + more:
                numbers = [group[0] for group in stack.groups if int(group[0][:18]) >= count]
                found |= dict.fromkeys(f"{path}.{number}" if path else number for number in numbers)
    return list(found)


class _Ahead:
    """Which prediction layer a tensor is in. `layers`: those that were found, and their order."""

    def __init__(self, layers: list[str]):
        self.layers = {layer: place for place, layer in enumerate(layers)}
        self._known: dict[str, str | None] = {}  # the path of a module → the layer it is in

    def __call__(self, name: str) -> str | None:
        match = AHEAD_WORDS.search(name) if "mtp" in name else None
        if match:
            return name[: match.end() - 1]
        if not self.layers:
            return None
        path = name.rpartition(".")[0]
        if path not in self._known:
            inside = [layer for layer in above(f"{path}.") if layer in self.layers]
            self._known[path] = min(inside, key=self.layers.__getitem__, default=None)
        return self._known[path]


# Places ------------------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a tensor of routed experts belongs: its pool, and how many experts it holds, or which one of the list at `listed`."""

    path: str
    experts: int
    number: str
    listed: str
    evidence: str


def _place(name: str, shape: Shape, config: Parts, known: Mapping[str, _Sum]) -> _Place | None:
    """The place of a tensor of routed experts; None for any other. `shape` is () where a quantised weight does not tell its own.

    `known`: pools that cubes have told of, to which biases belong.
    """
    parts = name.split(".")
    at = next((position for position, part in enumerate(parts[:-1]) if part in LISTS), None)
    if at is not None:
        while at + 1 < len(parts) - 1 and parts[at + 1] in LISTS:
            at += 1
        path, number = ".".join(parts[: at + 1]), parts[at + 1]
        if NUMBERED.fullmatch(number) and at + 2 < len(parts):
            return _Place(path, 0, number, path, path)
        if at + 3 < len(parts) and parts[at + 2].isdecimal() and len(shape) < 3:
            listed = f"{path}.{number}"
            return _Place(path, 0, parts[at + 2], listed, listed)
        stated = config.of(path).experts()
        if len(shape) > 2 or (shape and shape[0] in (stated, known[path].experts if path in known else None)):
            return _Place(path, shape[0], "", "", f"{name} has {shape[0]:,} slices")
        if stated and len(shape) == 2 and shape[0] % stated == 0:
            return _Place(path, stated, "", "", f"{name} has {shape[0]:,} rows for {stated:,} experts")
        return None
    if shape and "exps" in name and FLAT.search(name):
        return _Place(name.partition(".ffn_")[0], shape[0], "", "", f"{name} has {shape[0]:,} slices")
    sliced = SLICED.fullmatch(name)
    if sliced:
        path = sliced["Granite"] or sliced["OpenAI"]
        if len(shape) == 3 or (shape and path in known and shape[0] == known[path].experts):
            return _Place(path, shape[0], "", "", f"{name} has {shape[0]:,} slices")
    flat = re.fullmatch(r"(.+\.ffn_(?:gate|up|down))\.(\d+)\.\w+", name)  # GGUF before its experts were put together
    if flat:
        return _Place(flat[1].rpartition(".")[0] + ".ffn", 0, flat[2], flat[1], flat[1])
    return None


class _Sum:
    """A pool on the way: `experts` is their number, or 0 where each is a module of its own: `members` has the parameters of each."""

    __slots__ = ("_groups", "evidence", "experts", "layers", "listed", "members", "parameters", "part")

    def __init__(self, place: _Place, part: Part):
        self.experts = place.experts
        self.evidence = place.evidence
        self.listed = place.listed
        self.part = part
        self.layers = self.parameters = 0
        self.members: dict[str, int] = {}
        self._groups: dict[str, dict[str, list[str]]] = {}

    def add(self, place: _Place, parameters: int, copies: int, outline: Outline) -> None:
        """Take in a tensor that stands for `copies` with so many parameters in all. Equal experts are folded: one stands for several."""
        self.parameters += parameters
        group = [place.number]
        if place.listed:
            groups = self._groups.get(place.listed)
            if groups is None:
                stack = outline.stacks.get(place.listed)
                groups = self._groups[place.listed] = {names[0]: names for names in stack.groups} if stack else {}
            group = groups.get(place.number, group)
            for member in group:
                self.members[member] = self.members.get(member, 0) + parameters // len(group)
        self.layers = max(self.layers, copies // len(group))

    def pools(self, path: str, around: _Around) -> list[Pool]:
        """Pools of experts that are alike and of which a token uses as many."""
        if self.experts:
            return self._of_layers(
                Pool(path, self.part.name, self.experts, self.layers, self.parameters, _NONE, "", self.evidence), around
            )
        if self.listed != path and len(self.members) != self.part.experts():
            return []  # modules in a list within a module called experts: nothing says that these are the experts
        said = f"{self.evidence}{around.router(path, len(self.members))}"
        sizes = Counter(self.members.values())
        if len(sizes) == 1:
            first = next(iter(self.members))
            whole = Pool(path, self.part.name, len(self.members), self.layers, self.parameters, _NONE, first, said)
            return self._of_layers(whole, around)
        return self._of_sizes(path, said, around)

    def _of_layers(self, pool: Pool, around: _Around) -> list[Pool]:
        """A pool of equal layers, divided by how many experts a token uses in each."""
        numbers = around.layer_numbers(pool.path)
        used = self.part.used(numbers if numbers is not None and len(numbers) == pool.layers else None)
        if len(used) == 1:
            return [pool._replace(used=_within(used[0], pool.experts))]
        each = pool.parameters // pool.layers
        return [
            pool._replace(layers=count, parameters=each * count, used=_within(entry, pool.experts))
            for entry, count in Counter(used).items()
        ]

    def _of_sizes(self, path: str, said: str, around: _Around) -> list[Pool]:
        """Pools of experts of several sizes in one layer, as config.json lists them; else nothing says which of them a token uses."""
        ordered = sorted(self.members.items(), key=lambda member: int(NUMBERED.fullmatch(member[0])[1][:18]))  # type: ignore[index]
        lots, taken = self.part.lots(), 0
        pools: list[Pool] = []
        for count in lots if sum(lots) == len(ordered) and self.part.two_kinds() and len(lots) == len(LOTS) else []:
            inside = ordered[taken : taken + count]
            taken += count
            if len({parameters for _, parameters in inside}) > 1:
                break
            parameters = sum(parameters for _, parameters in inside)
            pool = Pool(path, self.part.name, count, self.layers, parameters, _NONE, inside[0][0], said, LOTS[len(pools)])
            used = self.part.used(around.layer_numbers(path))[0]
            pools.append(pool._replace(used=_within(used, count) if not pools or used.number is None else Used(0, used.source)))
        if len(pools) == len(LOTS):
            return pools
        why = "a layer has experts of several sizes: how many parameters a token uses depends on which of them it goes to"
        return [Pool(path, self.part.name, len(ordered), self.layers, self.parameters, Used(None, why), ordered[0][0], said)]


_NONE = Used(None, NEEDED)


def _within(used: Used, experts: int) -> Used:
    """A token uses no more experts than there are, whatever is written."""
    if used.number is None or used.number <= experts:
        return used
    return Used(experts, f"{used.source} is {used.number:,}, and a layer has {experts:,}")


class _Around:
    """What is around a list of experts: the router beside it, and the layers it is in."""

    def __init__(self, outline: Outline, weights: Mapping[str, Shape]):
        self._stacks = outline.stacks
        self._weights = weights
        self._groups: dict[str, dict[str, list[str]]] = {}  # a stack → the first of each group of equal layers → the group

    def router(self, path: str, experts: int) -> str:
        """The router beside a list of experts, where its matrix has a row or a column for each."""
        around = path.removesuffix(path.rpartition(".")[2])
        beside = [name for router in ROUTERS if experts in self._weights.get(name := f"{around}{router}", ())]
        if not beside:
            return ""
        name = min(beside, key=self._order.__getitem__) if len(beside) > 1 else beside[0]
        return f"; the router {name} has {experts:,} {'rows' if self._weights[name][0] == experts else 'columns'}"

    @cached_property
    def _order(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._weights)}

    def layer_numbers(self, path: str) -> list[int] | None:
        """The numbers of the layers that the one at `path` stands for."""
        parts = path.split(".")
        at = next((position for position, part in enumerate(parts) if part.isdecimal()), None)
        if at is None:
            return None
        stack = ".".join(parts[:at])
        if stack not in self._groups:
            self._groups[stack] = {names[0]: names for names in self._stacks[stack].groups} if stack in self._stacks else {}
        group = self._groups[stack].get(parts[at])
        return [int(number[:18]) for number in group] if group else None
