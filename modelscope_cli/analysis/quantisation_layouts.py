"""The layouts of quantised weights: a row for each, and which of them a module's tensors are in."""

from __future__ import annotations

from modelscope_cli.analysis.quantisation_bytes import (
    aqlm,
    bitmask,
    bitnet,
    bitsandbytes_4bit,
    bitsandbytes_8bit,
    eetq,
    mxfp4_blocks,
    packed_floats,
    quanto,
    quip,
    torchao,
    whole_integers,
)
from modelscope_cli.analysis.quantisation_engines import exl2, exl3, nunchaku
from modelscope_cli.analysis.quantisation_integers import (
    awq,
    awq_fast,
    awq_gemv,
    bytes_packed,
    gptq,
    higgs,
    hqq,
    marlin,
    marlin_sparse,
    mlx,
    packed_ints,
)
from modelscope_cli.analysis.quantisation_schemes import Held, Layout, Module, Said, Scheme, as_stored
from modelscope_cli.analysis.quantised import INTEGERS

SCALES = ("weight_scale", "weight_scale_inv", "weight_scale_2", "weight_global_scale", "weight_zero_point", "weight_g_idx", "weight_shape",
          "input_scale", "input_global_scale", "input_zero_point", "output_scale", "activation_scale", "pre_quant_scale", "weights_scaling_factor")  # fmt: skip
GPTQ_HELPERS = ("qzeros", "scales", "g_idx", "perm", "workspace", "zeros", "forward_hadamard_matrix", "backward_hadamard_matrix",
                "act_global_scale", "weight_global_scale")  # fmt: skip
HQQ_HELPERS = ("scale", "zero", "scale_q", "zero_q", "meta_scale", "meta_zero", "axis", "group_size", "nbits", "packing", "shape", "unpack_view_dtype",
               "view_as_float", "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config",
               "channel_wise", "optimize", "round_zero")  # fmt: skip

EXL2_HELPERS = ("q_scale", "q_scale_max", "q_groups", "q_perm", "q_invperm", "q_group_map")
NUNCHAKU_HELPERS = ("wscales", "wzeros", "wtscale", "wcscales", "smooth", "smooth_orig", "smooth_factor", "smooth_factor_orig", "proj_down", "proj_up",
                    "lora_down", "lora_up")  # fmt: skip

# Rows with the same `main` are tried in this order.
SCHEMES = (
    Scheme("SVDQuant", "qweight", ("wscales",), nunchaku, NUNCHAKU_HELPERS),
    Scheme("AWQ", "qweight", ("scales",), awq_fast, GPTQ_HELPERS, ("awq",)),
    Scheme("AWQ", "qweight", ("scales", "qzeros"), awq_gemv, GPTQ_HELPERS, ("awq",)),
    Scheme("AWQ", "qweight", ("scales",), awq, GPTQ_HELPERS, ("awq",)),
    Scheme("GPTQ (Marlin)", "qweight", ("scales",), marlin, GPTQ_HELPERS, ("gptq",)),
    Scheme("GPTQ", "qweight", (), gptq, GPTQ_HELPERS, ("gptq", "auto-round", "intel/auto-round")),
    Scheme("EXL2", "q_weight", ("q_scale", "q_groups"), exl2, EXL2_HELPERS, ("exl2",)),
    Scheme("EXL3", "trellis", ("suh", "svh"), exl3, ("suh", "svh", "mcg", "mul1"), ("exl3",)),
    Scheme("EXL3", "trellis", ("su", "sv"), exl3, ("su", "sv", "mcg", "mul1"), ("exl3",)),
    Scheme("FP-Quant", "qweight", ("scales",), bytes_packed, GPTQ_HELPERS, ("fp_quant", "bitblas")),
    Scheme("GPTQ (Marlin)", "B", ("s",), marlin, ("s", "workspace"), ("gptq", "marlin")),
    Scheme("compressed-tensors", "weight_packed", ("scale_packed",), marlin_sparse, ("scale_packed", "meta", "zero_point_packed")),
    Scheme("compressed-tensors", "weight_packed", (), packed_ints, SCALES, ("compressed-tensors",)),
    Scheme("compressed-tensors", "weight_packed", (), packed_floats, SCALES, ("compressed-tensors",)),
    Scheme("sparse (bitmask)", "compressed", ("bitmask",), bitmask, ("bitmask", "shape", "row_offsets")),
    Scheme("bitsandbytes 8-bit", "weight", ("SCB",), bitsandbytes_8bit, ("SCB", "weight_format"), ("bitsandbytes",)),
    Scheme("bitsandbytes 8-bit", "weight", ("weight.SCB",), bitsandbytes_8bit, ("weight_format",), ("bitsandbytes",)),
    Scheme("EETQ", "weight", ("weight_scales",), eetq, ("weight_scales",), ("eetq",)),
    Scheme("HIGGS", "weight", ("scales", "tables"), higgs, ("scales", "tables", "tables2", "workspace"), ("higgs",)),
    Scheme("MLX", "weight", ("scales",), mlx, ("scales", "biases", "qbiases"), ("mlx", "metal")),
    Scheme("BitNet", "weight", ("weight_scale",), bitnet, SCALES, ("bitnet",), only=True),
    Scheme("FP4", "weight", ("weight_scale",), packed_floats, SCALES),
    Scheme("INT8", "weight", ("weight_scale",), whole_integers, SCALES),
    Scheme("HQQ", "W_q", (), hqq, HQQ_HELPERS, ("hqq", "sinq")),
    Scheme("AQLM", "codes", ("codebooks",), aqlm, ("codebooks", "scales"), ("aqlm",)),
    Scheme("QuIP#", "Qidxs", ("SU", "SV"), quip, ("SU", "SV", "codebook_id", "Wscale", "fuse_scales", "rcp", "A", "B", "had_left", "had_right"), ("quip",)),
    Scheme("quanto", "weight._data", ("weight._scale",), quanto, ("weight._scale", "weight._shift", "input_scale", "output_scale"), ("quanto",)),
    Scheme("quanto", "weight._data._data", ("weight._scale",), quanto, ("weight._scale", "weight._shift", "input_scale", "output_scale"), ("quanto",)),
)  # fmt: skip

COMMON = ("B", "codes", "compressed", "trellis")  # words that mean something else in other models
WIDEST = 32  # bits of the integers that others are packed into: those of 64 are indices

_BY_MAIN: dict[str, list[Scheme]] = {}
for _scheme in SCHEMES:
    _BY_MAIN.setdefault(_scheme.main, []).append(_scheme)


def layouts_of(module: Module, said: Said) -> list[Layout]:
    """The quantised weights of one module, with those of its leaves that are helpers."""
    found = [layout for main, held in module.items() if (layout := _layout(main, held, module, said)) is not None]
    mains = {layout.main for layout in found}
    return [
        layout._replace(helpers=tuple(leaf for leaf in dict.fromkeys(layout.helpers) if leaf in module and leaf not in mains))
        for layout in found
    ]


def _layout(main: str, held: Held, module: Module, said: Said) -> Layout | None:
    """What the tensor `main` is, or None for one that is as it seems."""
    if f"{main}.absmax" in module:
        return bitsandbytes_4bit(main, module, said)
    rows = _BY_MAIN.get(main, [])
    for row in rows:
        if all([leaf in module for leaf in row.beside]) and (not row.only or said.method in row.methods):
            layout = row.read(main, module, said)
            if layout is not None:
                return layout._replace(helpers=(*layout.helpers, *row.helpers))
    if main.endswith(("_blocks", ".blocks")) and f"{main.removesuffix('blocks')}scales" in module:
        return mxfp4_blocks(main, module, said)
    if main.endswith("_qdata"):
        return torchao(main, module, said)
    if held.dtype.kind not in INTEGERS or (held.dtype.bits or 0) > WIDEST:
        return None
    if main.endswith("_packed") and not rows:
        return packed_ints(main, module, said) or packed_floats(main, module, said)
    if f"{main}_weight_scale" in module:
        return packed_floats(main, module, said)
    beside = [leaf for row in rows for leaf in (*row.beside, *row.helpers) if leaf in module]
    if not rows or (main in COMMON and not said.method) or (main == "weight" and not beside and not said.method):
        return None
    fitting = {row.name for row in rows if all([leaf in module for leaf in row.beside])}
    name = next((row.name for row in rows if said.method in row.methods), "") or (
        fitting.pop() if len(fitting) == 1 else "packed integers"
    )
    return as_stored(name, main, module)._replace(helpers=tuple(beside))
