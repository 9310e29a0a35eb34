"""Which tensors of a checkpoint are quantised weights, what the model makes of them, and which stand beside them to that end.

    model.layers.0.mlp.up_proj.qweight   int32 [512, 11008]    →  weight [11008, 4096], 4 bits an element
    model.layers.0.mlp.up_proj.scales    float16 [32, 11008]   →  a helper: no parameter

A module is looked at once for all that have tensors of the same names, shapes and dtypes. Layouts that give every element a cell
of its own dtype (float8 with a scale) need no look: their helpers are told by name in roles.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelscope_cli.analysis.adapter_parts import PARTS
from modelscope_cli.analysis.roles import BIAS, BUFFER, HELPER, WEIGHT, Roles
from modelscope_cli.core.checkpoint import Checkpoint, quantisation_of
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.tensor import Shape

if TYPE_CHECKING:
    from modelscope_cli.analysis.quantisation_config import QuantisationConfig
    from modelscope_cli.analysis.quantisation_summary import Summary

# Leaves that make a module worth a look, beside those of the leaf `weight` that are integers.
MAINS = frozenset(
    {
        "qweight", "B", "weight_packed", "compressed", "W_q", "codes", "Qidxs", "weight._data", "weight._data._data", "q_weight", "trellis",
    }
)  # fmt: skip
SIGNS = frozenset({"SCB", "weight.SCB", "weight_scales"})
MAIN_ENDS = (".absmax", "_blocks", ".blocks", "_qdata", "_packed")
BELOW_WEIGHT = frozenset({"absmax", "nested_absmax", "quant_map", "nested_quant_map", "SCB"})  # bitsandbytes
STATE = ("bitsandbytes__nf4", "bitsandbytes__fp4")
QUANTO = frozenset({"_data", "_scale", "_shift"})
BLOCKS = frozenset({"blocks", "scales"})  # of one weight, in the files of gpt-oss as OpenAI writes them
TORCH_PACKED = "_packed_params._packed_params"  # torch's quantised Linear: (weight, bias)
MODEL = (WEIGHT, BIAS, BUFFER, HELPER)
CACHE_SCALES = frozenset({"k_scale", "v_scale", "q_scale", "prob_output_scale"})  # of attention, where the cache is quantised
INTEGERS = ("int", "uint")
INNER = ("base_layer", "original_module")  # what an adapter's wrapper calls the module that it wraps (PEFT)
WHOLE, SINGLE = -1, -2  # instead of a group: one scale for a whole row, one for the whole tensor


class Packed(NamedTuple):
    """A quantised weight: what the model makes of a stored tensor.

    `into` is its name in the model, `elements` and `shape` (torch order; None where only the number is known) are those of the
    model. `bits` an element, None where nothing tells: then `elements` are those stored. `group`: elements of a row that share
    a scale. `evidence`: the tensors that show it; with `configured` it is the configuration that does. `mixed`: the bits differ
    from row to row, `bits` is their mean, rounded.
    """

    scheme: str
    into: str
    elements: int
    shape: Shape | None
    bits: int | None
    group: int | None = None
    evidence: str = ""
    configured: bool = False
    mixed: bool = False


class Quantised:
    """`packed`: line → what it is in the model. `problems`: (line, sentence), one a kind. `unused`: lines of biases that the writer made
    for modules that have none."""

    def __init__(self, checkpoint: Checkpoint):
        self.packed: dict[int, Packed] = {}
        self.problems: list[tuple[int, str]] = []
        self.unused: list[int] = []
        self.summary: Summary | Literal[False] | None = None  # kept here by quantisation_summary.py
        dtypes = checkpoint.tensors.dtypes
        self.dtypes = dict(zip(map(id, dtypes), dtypes, strict=True))  # each that occurs, by its id
        self.integers = {key for key, dtype in self.dtypes.items() if dtype.kind in INTEGERS}
        self._checkpoint = checkpoint
        self._config: QuantisationConfig | None = None

    @property
    def declared(self) -> str:
        """The method that the configuration names; "" where it has nothing to say."""
        found = quantisation_of(self._checkpoint.config)
        return str(found.get("quant_method", "unnamed")) if found else ""

    @property
    def config(self) -> QuantisationConfig:
        """What the configuration says, read when somebody asks."""
        if self._config is None:
            from modelscope_cli.analysis.quantisation_config import QuantisationConfig

            self._config = QuantisationConfig(self._checkpoint.config, self._checkpoint.config_from)
        return self._config


def module_name(path: str) -> str:
    """The name of a module in the model by its path in the file: q_proj of …q_proj.base_layer, lora_A of …q_proj.lora_A.default."""
    parts = path.rsplit(".", 3)[-3:]
    if len(parts) > 1 and parts[-1] in INNER:
        return parts[-2]
    return parts[-2] if len(parts) > 1 and parts[-2] in PARTS else parts[-1]


def rejoin(names: list[str], parents: list[str], leaves: list[str], dtypes: list[DType]) -> None:
    """Helpers whose names hang below that of the weight, q_proj.weight.absmax, count to the module of the weight, q_proj: the lists
    are changed so that its leaf is "weight.absmax". So do the parts of a weight that is none itself, mlp1_weight.blocks."""
    kinds = set(leaves)
    below = not kinds.isdisjoint(BELOW_WEIGHT) or not kinds.isdisjoint(STATE)
    quanto = {"_data", "_scale"} <= kinds
    packed = "0" in kinds and any(parent.endswith(TORCH_PACKED) for parent in parents)
    blocks = _in_blocks(parents, leaves, dtypes) if kinds >= BLOCKS else frozenset()
    if not (below or quanto or packed or blocks):
        return
    known = set(names) if below else set()
    for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
        owner = ""
        if leaf in BELOW_WEIGHT:
            owner = parent
        elif leaf in STATE:
            owner = parent.removesuffix(".quant_state")
        if owner and owner in known:
            parents[line] = owner.rpartition(".")[0]
        elif quanto and leaf in QUANTO and (stem := parent.removesuffix("._data")).endswith("weight"):
            parents[line] = stem.rpartition(".")[0]
        elif packed and leaf in ("0", "1") and parent.endswith(TORCH_PACKED):
            parents[line] = parent.removesuffix(TORCH_PACKED).rstrip(".")
        elif blocks and leaf in BLOCKS and parent in blocks:
            parents[line] = parent.rpartition(".")[0]
        else:
            continue
        leaves[line] = names[line][len(parents[line]) + 1 :] if parents[line] else names[line]


def _in_blocks(parents: list[str], leaves: list[str], dtypes: list[DType]) -> frozenset[str]:
    """The weights that are kept as bytes in blocks and their scales."""
    whole, scaled = [
        {parent for parent, leaf, dtype in zip(parents, leaves, dtypes, strict=True) if leaf == part and dtype.name == "uint8"}
        for part in ("blocks", "scales")
    ]
    return frozenset({parent for parent in whole & scaled if parent.endswith("weight")})


def quantise(checkpoint: Checkpoint, parents: list[str], leaves: list[str], found: Roles) -> Quantised:
    """Find the quantised weights. Their roles and those of their helpers are set in `found`."""
    result = Quantised(checkpoint)
    kinds = set(leaves)
    candidates = _candidates(checkpoint, parents, leaves, kinds, result.integers)
    if candidates:
        _look(checkpoint, candidates, parents, leaves, found, result)
    if checkpoint.tensors.parts:
        _subclasses(checkpoint, leaves, found, result)
    if {"scale", "zero_point"} <= kinds:
        _torch_quantised(checkpoint, parents, leaves, found, result)
    if "bias" in kinds and result.packed:
        from modelscope_cli.analysis.quantisation_biases import set_aside

        set_aside(checkpoint, parents, leaves, found, result)
    if not kinds.isdisjoint(CACHE_SCALES) and (result.packed or HELPER in found.roles):
        for line, leaf in enumerate(leaves):
            if leaf in CACHE_SCALES and found.roles[line] in MODEL:
                found.roles[line] = HELPER
    return result


def _candidates(checkpoint: Checkpoint, parents: list[str], leaves: list[str], kinds: set[str], whole: set[int]) -> set[str]:
    """The modules worth a look: with a leaf of one of the layouts, or a weight of integers."""
    signs = {leaf for leaf in kinds if leaf in MAINS or leaf in SIGNS or leaf.endswith(MAIN_ENDS)}
    found = {parent for parent, leaf in zip(parents, leaves, strict=True) if leaf in signs} if signs else set()
    scaled = {leaf.removesuffix("_weight_scale") for leaf in kinds if leaf.endswith("_weight_scale")}
    if whole and ("weight" in kinds or scaled):
        rows = zip(parents, leaves, map(id, checkpoint.tensors.dtypes), strict=True)
        found |= {parent for parent, leaf, key in rows if key in whole and (leaf == "weight" or leaf in scaled)}
    return found


def _look(
    checkpoint: Checkpoint, candidates: set[str], parents: list[str], leaves: list[str], found: Roles, result: Quantised
) -> None:
    """Look at some modules, at those with equal tensors once."""
    from modelscope_cli.analysis.quantisation_layouts import layouts_of
    from modelscope_cli.analysis.quantisation_schemes import Held, Layout

    tensors, roles = checkpoint.tensors, found.roles
    modules: dict[str, dict[str, int]] = {}
    for line, parent in enumerate(parents):  # in the order of the file
        if parent in candidates and roles[line] in MODEL:
            modules.setdefault(parent, {})[leaves[line]] = line
    known: dict[object, list[Layout]] = {}
    told: set[str] = set()
    shapes, dtypes = tensors.shapes, tensors.dtypes
    for parent, lines in modules.items():
        said = result.config.said(parent)
        key = (id(said), tuple([(leaf, shapes[line], id(dtypes[line])) for leaf, line in lines.items()]))
        layouts = known.get(key)
        if layouts is None:
            layouts = known[key] = layouts_of({leaf: Held(shapes[line], dtypes[line]) for leaf, line in lines.items()}, said)
        for main, packed, helpers, problem in layouts:
            line = lines[main]
            result.packed[line] = packed
            roles[line] = BIAS if packed.into.endswith("bias") else WEIGHT
            found.recorded.discard(line)
            for leaf in helpers:
                roles[lines[leaf]] = HELPER
                found.recorded.discard(lines[leaf])
            if problem and problem not in told:
                told.add(problem)
                result.problems.append((line, problem))


def _subclasses(checkpoint: Checkpoint, leaves: list[str], found: Roles, result: Quantised) -> None:
    """Pickled tensor subclasses (torchao's) have the shape and dtype of the model's tensor, and other ones inside."""
    tensors = checkpoint.tensors
    torchao = any(use.module.startswith("torchao") for trace in checkpoint.pickles for use in trace.globals)
    for line, views in tensors.parts.items():
        main, dtype = views[0], tensors.dtypes[line]
        if found.roles[line] not in (WEIGHT, BIAS) or main.origin is not None or main.dtype == dtype or main.dtype.bits is None:
            continue
        if dtype.kind not in ("float", "complex"):
            continue
        shape = tensors.shapes[line]
        elements = math.prod(shape)
        stored = main.dtype.nbytes(math.prod(main.shape)) or 0
        bits = round(8 * stored / elements) if elements else None
        packed = Packed(
            "torchao" if torchao else "tensor subclass", leaves[line], elements, shape, bits, None, "recorded shape"
        )
        result.packed[line] = packed


def _torch_quantised(checkpoint: Checkpoint, parents: list[str], leaves: list[str], found: Roles, result: Quantised) -> None:
    """torch's own quantised modules: the scale and zero point of what comes out of them stand beside a qint8 weight."""
    tensors = checkpoint.tensors
    quantised = {key for key, dtype in result.dtypes.items() if dtype.kind == "quantized"}
    if not quantised:
        return
    modules = {parent for parent, dtype in zip(parents, tensors.dtypes, strict=True) if id(dtype) in quantised}
    for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
        if leaf.startswith(TORCH_PACKED) and id(tensors.dtypes[line]) in quantised:
            dtype, shape = tensors.dtypes[line], tensors.shapes[line]
            result.packed[line] = Packed(f"torch {dtype.name}", "weight", math.prod(shape), shape, dtype.bits, None, "dtype")
        if (
            parent in modules
            and leaf in ("scale", "zero_point")
            and math.prod(tensors.shapes[line]) == 1
            and found.roles[line] in MODEL
        ):
            found.roles[line] = HELPER
            found.recorded.discard(line)
