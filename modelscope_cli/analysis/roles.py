"""What each tensor is for: weight, bias, buffer, helper (of a quantised weight), optimizer, ema, master or other.

Two steps. First the dictionary that holds a tensor is sorted into a section (weights, optimizer state, EMA, master copies,
other) by its path and by what stands beside it: a dictionary with `param_groups` is an optimizer's, whatever its name. Then
the tensors among the weights become weight, bias or buffer: as recorded where the file records it (a pickled module, a
Parameter), else by name, dtype and shape; a state_dict does not say. Names and slots are torch's own (torch/optim, torch/nn).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from modelscope_cli.analysis import adapter_parts, conventions
from modelscope_cli.analysis.beneath import Owners
from modelscope_cli.analysis.kinds import ROPE_FACTORS
from modelscope_cli.core.checkpoint import Checkpoint, quantisation_of
from modelscope_cli.core.dtype import DType

WEIGHT, BIAS, BUFFER, OPTIMIZER, EMA, MASTER, OTHER = "weight", "bias", "buffer", "optimizer", "ema", "master", "other"
HELPER = "helper"  # scales, zeros and the like of a quantised weight

# Dictionary paths, by any of their parts; "." is any character, so that what ends in .* fits wherever it begins (see fits).
SECTION_NAMES = (
    (
        MASTER,
        r"(master_(params|weights|copy).*|.*fp32_(from_(fp16|float16)_)?(flat_)?(groups|params|group)(_flat)?|shard_fp32.*|"
        r"single_partition_of_fp32_groups)",
    ),
    (OPTIMIZER, r"(.*_)?(optim|optimizer|opt)s?(_[a-z0-9]+)?(_?states?)?(_?dicts?)?(_[a-z0-9])?|(exp_avg|exp_avg_sq|momentum_buffer)s?"),
    (EMA, r"(model_?)?ema(_.*)?|.+_ema|ema\d*|shadow(_params)?|averaged_model|swa_(model|state_dict)|.*_averaged"),
    (
        OTHER,
        r"(.*_)?rng(_.*)?|random_states?|(.*_)?(lr_)?schedulers?(_.*)?|lr_scheds?|(grad_|loss_)?scalers?(_.*)?|amp|loops|callbacks|"
        r"metrics?|history|_flat_weights|(.*_)?loss(es)?|(.*_)?sampler(_.*)?|.*dataloader.*|hparams|hyper_parameters|args|config|train_.*stats",
    ),
)  # fmt: skip

AVERAGED = r"model_ema|ema_model|ema"  # first part of names inside one state_dict
MODEL_NAME = (
    r"(.*_)?(state_dict|model|module|net|network|weights|params|generator|discriminator|encoder|decoder|policy|actor|critic)s?|"
    r".*state_dict.*|net_?[a-z0-9]?|model_.*"
)

# Last parts of names.
BUFFER_LEAVES = frozenset({
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
    "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar",
    "running_mean", "running_var", "num_batches_tracked", "inv_freq", "original_inv_freq", "position_ids", "token_type_ids", "masked_bias",
    "mask", "causal_mask", "attn_mask", "attention_mask", "tril", "triu", "relative_position_index", "relative_coords_table", "rel_pos_index",
    "cos_cached", "sin_cached", "freqs_cis", "freqs", "pe", "sinusoid_table", "cluster_size", "embed_avg", "initted", "n_averaged",
    "num_updates", "anchor_grid", "stride_grid", "_extra_state", "_num_elements", "observer_enabled", "fake_quant_enabled", "min_val", "max_val",
    "zero_point", "eps", "weight_mask", "bias_mask", "spectral_norm_u", "_float_tensor", "std_dev", "activation_post_process",
})  # fmt: skip
# Names that quantised formats put beside a packed or 8-bit weight: helpers of it, not parameters.
QUANTISATION_HELPERS = frozenset({
    "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_zero_point", "weight_shape", "weight_g_idx", "input_scale", "output_scale", "input_amax",
    "scales", "qzeros", "g_idx", "SCB", "absmax", "quant_map", "nested_absmax", "nested_quant_map", "weight_format", "k_scale", "v_scale",
    "activation_scale", "input_scale_ub", "weight_global_scale", "input_global_scale", "input_zero_point", "weight_scales",
    "scale_weight", "scale_input", "comfy_quant", "scaled_fp8",
})  # fmt: skip
HELPER_ENDS = (
    "_scales",
    "_scale_inv",
    "_weight_scale",
    "_weight_scale_2",
    "_input_scale",
    "_activation_scale",
)  # of experts kept in one tensor
PACKED_WEIGHTS = frozenset({"qweight", "weight_packed", "weight", "weight_blocks", "in_proj_weight", "_weight"})
MARKER = "scaled_fp8"  # ComfyUI's: an empty tensor in float8 that says how the others were scaled

# State entries → optimizer; the first row whose entries are all there counts.
OPTIMIZERS = (
    (("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "Adam (amsgrad)"),
    (("exp_avg", "exp_avg_sq", "mu_product"), "NAdam"),
    (("exp_avg", "exp_avg_diff"), "Adan"),
    (("exp_avg", "exp_avg_sq"), "Adam"),
    (("exp_avg_sq_row",), "Adafactor"),
    (("exp_avg", "exp_inf"), "Adamax"),
    (("state1", "state2"), "Adam (8-bit)"),
    (("square_avg", "acc_delta"), "Adadelta"),
    (("square_avg",), "RMSprop"),
    (("step_size", "prev"), "Rprop"),
    (("ax",), "ASGD"),
    (("row_var",), "Adafactor"),
    (("prev_flat_grad",), "L-BFGS"),
    (("momentum_buffer",), "SGD with momentum"),
    (("exp_avg",), "Lion"),
    (("sum",), "Adagrad"),
)


# Entries that nothing but an optimizer keeps: they are state wherever they stand, as in a flat file without dictionaries.
STATE_ENTRIES = frozenset({
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_avg_diff", "exp_inf", "exp_avg_sq_row", "exp_avg_sq_col", "momentum_buffer",
    "square_avg", "acc_delta",
})  # fmt: skip


class OptimizerFact(NamedTuple):
    """An optimizer whose state is in the file: where, its name if the state tells, the entries it keeps per parameter."""

    path: str
    name: str | None
    slots: tuple[str, ...]


class Roles(NamedTuple):
    """`roles[i]` of tensor i; `recorded` are the indices for which the file itself says so; the rest is inferred."""

    roles: list[str]
    recorded: set[int]
    optimizers: list[OptimizerFact]
    promoted: str | None  # path of the averaged copy that counts as the weights, because the file has no others


def assign_roles(checkpoint: Checkpoint, parents: list[str], leaves: list[str]) -> Roles:
    """The role of every tensor of a checkpoint; `parents` and `leaves` are the two halves of their names."""
    names, count = checkpoint.tensors.names, len(checkpoint.tensors)
    owners = Owners(path for path, _ in param_groups(checkpoint.metadata))
    starts = [start for start, _ in checkpoint.groups] + [count]
    paths = [path for _, path in checkpoint.groups]
    nested = any(paths)
    sections = [section_of(path, owners) for path in paths]
    roles: list[str] = [WEIGHT] * count
    recorded = set(checkpoint.tensors.recorded)
    held = [
        path
        for number, (path, section) in enumerate(zip(paths, sections, strict=True))
        if section == WEIGHT and starts[number] < starts[number + 1]
    ]
    modelled = nested and any(fits(MODEL_NAME, part) for path in held for part in path.split(".", 4)[:2])
    for number, section in enumerate(sections):
        first, last, path = starts[number], starts[number + 1], paths[number]
        if section != WEIGHT:
            roles[first:last] = [section] * (last - first)
        elif not path and nested:
            for index in range(first, last):  # loose tensors beside dictionaries of weights: random states and the like
                roles[index] = _loose(names[index], checkpoint.tensors.recorded.get(index))
        elif modelled and not _is_model(path, leaves[first:last]):
            roles[first:last] = [OTHER] * (last - first)
        else:
            _mark_averaged(names, roles, first, last, len(path) + 1 if path else 0)
    if not STATE_ENTRIES.isdisjoint(leaves):
        _mark_state(roles, parents, leaves)
    promoted = None
    if EMA in roles and WEIGHT not in roles:  # the averaged copy is all there is
        first = roles.index(EMA)
        promoted = (
            next((path for start, path in reversed(checkpoint.groups) if start <= first), "") or names[first].partition(".")[0]
        )
        roles = [WEIGHT if role == EMA else role for role in roles]
    _classify_weights(checkpoint, roles, parents, leaves)
    return Roles(roles, recorded, name_optimizers(checkpoint, roles), promoted)


def _is_model(path: str, leaves: list[str]) -> bool:
    """Whether a dictionary beside those named for a model holds weights too: by its own name, or because they are called so."""
    named = any(fits(MODEL_NAME, part) for part in path.split(".", 4)[:2])
    return named or any(leaf in ("weight", "bias") or leaf.endswith(("_weight", "_bias")) for leaf in leaves)


def fits(pattern: str, part: str) -> bool:
    """Whether a part of a name is what a pattern says, in letters of any size."""
    return re.fullmatch(pattern, part.lower(), re.DOTALL) is not None


def section_of(path: str, owners: Owners) -> str:
    """The section of a dictionary by its path; WEIGHT when nothing speaks for another. `owners`: the paths of optimizers."""
    parts = path.split(".", 12)
    owner = owners.of(f"{path}.")
    if owner is not None:
        inner = path[len(owner) :].split(".")
        return MASTER if any(fits(SECTION_NAMES[0][1], part) for part in inner) else OPTIMIZER
    for section, pattern in SECTION_NAMES:
        if any(fits(pattern, part) for part in (parts if section == MASTER else parts[:3])):
            return section
    return WEIGHT


def param_groups(metadata: dict[str, Any], path: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """(path, param_groups) of every optimizer state_dict in the metadata."""
    found = []
    for key, value in metadata.items():
        if key == "param_groups":
            found.append((path, value))
        elif isinstance(value, dict) and depth < 6:
            found += param_groups(value, f"{path}.{key}" if path else key, depth + 1)
    return found


def _loose(name: str, recorded: str | None) -> str:
    leaf = name.rpartition(".")[2]
    if recorded or "." in name or leaf in ("weight", "bias"):
        return WEIGHT
    return next((section for section, pattern in SECTION_NAMES if fits(pattern, leaf)), OTHER)


def _mark_averaged(names: list[str], roles: list[str], first: int, last: int, skip: int) -> None:
    """One state_dict may hold an averaged copy under model_ema. beside the weights themselves. `skip`: length of its own path."""
    prefixes = {name[skip:].partition(".")[0] for name in names[first:last]}
    copies = {prefix for prefix in prefixes if re.fullmatch(AVERAGED, prefix)}
    if copies and copies != prefixes:
        for index in range(first, last):
            if names[index][skip:].partition(".")[0] in copies:
                roles[index] = EMA


def _mark_state(roles: list[str], parents: list[str], leaves: list[str]) -> None:
    """Optimizer state that stands among the weights under its own names (0.weight.exp_avg), with the step beside it."""
    owners = {parent for parent, leaf in zip(parents, leaves, strict=True) if leaf in STATE_ENTRIES}
    for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
        if roles[line] in (WEIGHT, OTHER) and parent in owners and (leaf in STATE_ENTRIES or leaf == "step"):
            roles[line] = OPTIMIZER


def _classify_weights(checkpoint: Checkpoint, roles: list[str], parents: list[str], leaves: list[str]) -> None:
    """Tell weight, bias and buffer apart among the tensors that are weights so far."""
    tensors = checkpoint.tensors
    shapes, recorded = tensors.shapes, tensors.recorded
    known = {leaf: role_of_leaf(leaf) for leaf in set(leaves)}
    dtypes = dict(zip(map(id, tensors.dtypes), tensors.dtypes, strict=True))
    integral = {key for key, dtype in dtypes.items() if dtype.kind in ("int", "uint", "bool")}
    if not integral and not recorded and set(roles) == {WEIGHT}:
        roles[:] = [known[leaf] for leaf in leaves]
        lines = [line for line, role in enumerate(roles) if role in (HELPER, BIAS)]
    else:
        lines = [line for line, role in enumerate(roles) if role == WEIGHT]
    packed: set[str] = set()
    if HELPER in known.values():
        owners = {leaf.removesuffix(end) for leaf in known for end in HELPER_ENDS if leaf.endswith(end)}
        weights = {leaf for leaf in known if leaf in PACKED_WEIGHTS or leaf.endswith("_blocks") or leaf in owners}
        declared = bool(quantisation_of(checkpoint.config))
        whole = set() if declared else {key for key, dtype in dtypes.items() if _is_plain(dtype)}
        keys = map(id, tensors.dtypes)
        packed = {
            parent for parent, leaf, key in zip(parents, leaves, keys, strict=True) if leaf in weights and key not in whole
        }
    for line in lines:
        leaf = leaves[line]
        role = known[leaf]
        stated = recorded.get(line) if recorded else None
        if stated is not None:
            role = BUFFER if stated == BUFFER else BIAS if role == BIAS else WEIGHT
        elif role == HELPER:
            parent = parents[line]
            marks = leaf == MARKER and not _is_plain(tensors.dtypes[line])
            helps = parent in packed or "." in leaf or marks
            role = HELPER if helps else BUFFER if id(tensors.dtypes[line]) in integral else WEIGHT
        elif role == BIAS:
            shape = shapes[line]
            if len(shape) == 4 and shape[0] == shape[1] == 1 and shape[2] == shape[3]:
                role = BUFFER  # GPT-2 calls its causal mask attn.bias
        elif (
            role == WEIGHT
            and id(tensors.dtypes[line]) in integral
            and leaf not in PACKED_WEIGHTS
            and not leaf.endswith(("_blocks", ".blocks"))
        ):
            role = BUFFER  # torch trains no integers
        roles[line] = role
    for line in (*conventions.buffers(parents, leaves, known), *adapter_parts.buffers(parents, leaves, known)):
        if roles[line] in (WEIGHT, BIAS) and line not in recorded:
            roles[line] = BUFFER
    if checkpoint.format == "gguf":  # llama.cpp keeps frequencies that were worked out beforehand as if they were a weight
        for line, parent in enumerate(parents):
            if parent.rpartition(".")[2] in ROPE_FACTORS and roles[line] == WEIGHT:
                roles[line] = BUFFER


def _is_plain(dtype: DType) -> bool:
    """Whether it is a dtype that models are trained in, of which no quantised weight is: a scale beside one is a parameter."""
    return dtype.kind in ("float", "complex") and dtype.block == 1 and (dtype.bits or 0) >= 16


def role_of_leaf(leaf: str) -> str:
    """The role that the last part of a name suggests; HELPER needs a look at its neighbours."""
    if leaf in BUFFER_LEAVES:
        return BUFFER
    if leaf in QUANTISATION_HELPERS or leaf.endswith(HELPER_ENDS):
        return HELPER
    if "." in leaf:  # below the name of its weight, as weight.absmax is: see quantised.py
        return WEIGHT if leaf.endswith(("_data", ".0", ".blocks")) else BIAS if leaf.endswith(".1") else HELPER
    if leaf.endswith(("bias", "bias_orig")) or leaf.startswith(("bias_", "b_ih", "b_hh")) or leaf == "beta":
        return BIAS
    if leaf.endswith(("_observer", "_fake_quant")):
        return BUFFER
    return WEIGHT


def name_optimizers(checkpoint: Checkpoint, roles: list[str]) -> list[OptimizerFact]:
    """The optimizers of the file, by the entries of their states and of their param_groups."""
    found: list[OptimizerFact] = []
    names = checkpoint.tensors.names
    groups = dict(param_groups(checkpoint.metadata))
    slots: dict[str, dict[str, None]] = {path: {} for path in groups}
    owners = Owners(groups)
    for index, role in enumerate(roles):
        if role == OPTIMIZER:
            name = names[index]
            owner = owners.of(name)
            if owner is None:
                owner = name.partition(".state.")[0] if ".state." in name else name.partition(".")[0]
            slots.setdefault(owner, {})[name.rpartition(".")[2]] = None
    for path, entries in slots.items():
        found.append(OptimizerFact(path, optimizer_name(set(entries), _first_group(groups.get(path))), tuple(entries)))
    return found


def _first_group(value: Any) -> dict[str, Any]:
    """param_groups is a list of dictionaries, which the metadata keeps as {"0": {…}}."""
    if isinstance(value, dict):
        value = list(value.values())
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


def optimizer_name(slots: set[str], options: dict[str, Any]) -> str | None:
    """The optimizer that keeps these entries; AdamW differs from Adam by an option only."""
    for entries, name in OPTIMIZERS:
        if slots.issuperset(entries):
            if name == "Adam" and options and "amsgrad" not in options and "decoupled_weight_decay" in options:
                return "RAdam"
            if name.startswith("Adam") and name != "Adamax" and "decoupled_weight_decay" in options:
                return name.replace("Adam", "AdamW", 1) if options["decoupled_weight_decay"] else name
            return (
                name.replace("Adam", "Adam or AdamW", 1)
                if name.startswith("Adam") and name not in ("Adamax", "Adafactor")
                else name
            )
    if not slots and "nesterov" in options:
        return "SGD"
    return None
