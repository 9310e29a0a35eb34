"""A small Llama under every layout of quantised weights: names, dtypes and shapes as its writers publish them, filled with zeros.

`PLAIN` is the model itself; `LAYOUTS` has for each layout the tensors that stand for a Linear of `into` inputs and `out` outputs,
and what config.json says. Where a layout is from is named with its reader in analysis/quantisation_*.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders.safetensors_file import safetensors_bytes

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "tie_word_embeddings": False,
}  # fmt: skip
LINEARS = {
    "self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256), "self_attn.o_proj": (256, 256),
    "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256), "mlp.down_proj": (256, 512),
}  # fmt: skip
LAYERS = ("model.layers.0", "model.layers.1")
OTHERS = {
    "model.embed_tokens.weight": (320, 256),
    **{f"{layer}.{norm}.weight": (256,) for layer in LAYERS for norm in ("input_layernorm", "post_attention_layernorm")},
    "model.norm.weight": (256,),
    "lm_head.weight": (320, 256),
}
PLAIN = {**OTHERS, **{f"{layer}.{path}.weight": shape for layer in LAYERS for path, shape in LINEARS.items()}}
PARAMETERS = sum(map(math.prod, PLAIN.values()))
QUANTISED = 2 * sum(map(math.prod, LINEARS.values()))

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name → dtype of safetensors, shape


def gptq(bits: int, out: int, into: int) -> Tensors:
    groups = into // 128
    return {
        "qweight": ("I32", (into * bits // 32, out)), "qzeros": ("I32", (groups, out * bits // 32)), "scales": ("F16", (groups, out)),
        "g_idx": ("I32", (into,)),
    }  # fmt: skip


def packed_ints(bits: int, group: int, out: int, into: int) -> Tensors:
    cells, groups = -(-into * bits // 32), into // group if group > 0 else 1
    return {"weight_packed": ("I32", (out, cells)), "weight_scale": ("BF16", (out, groups)), "weight_shape": ("I64", (2,))}


def bitsandbytes(nested: bool, out: int, into: int) -> Tensors:
    count = out * into
    found: Tensors = {"weight": ("U8", (count // 2, 1)), "weight.absmax": ("U8" if nested else "F32", (count // 64,)),
                      "weight.quant_map": ("F32", (16,)), "weight.quant_state.bitsandbytes__nf4": ("U8", (90,))}  # fmt: skip
    if nested:
        found |= {"weight.nested_absmax": ("F32", (-(-count // 64 // 256),)), "weight.nested_quant_map": ("F32", (256,))}
    return found


def hqq(bits: int, out: int, into: int) -> Tensors:
    rows = out * into // 64
    stored = ("I32", (-(-rows // 10), 64)) if bits == 3 else ("U8", (rows * bits // 8, 64))
    return {
        "W_q": stored,
        "scale": ("F32", (rows, 1)),
        "zero": ("F32", (rows, 1)),
        "nbits": ("I32", ()),
        "shape": ("I32", (2,)),
    }


def group(bits: int, size: int | None = 128, kind: str = "int", **more: Any) -> dict[str, Any]:
    """A configuration of compressed-tensors with one group."""
    weights = {
        "num_bits": bits,
        "type": kind,
        "symmetric": True,
        "group_size": size,
        "strategy": "group" if size else "channel",
    }
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["lm_head"], **more}


def _gptq(bits: int, **more: Any) -> tuple[Callable[[int, int], Tensors], dict[str, Any] | None]:
    said = {"quant_method": "gptq", "bits": bits, "group_size": 128, "sym": True, **more}
    return (lambda out, into: gptq(bits, out, into)), said


# name → (tensors of a Linear, quantization_config, scheme, bits, elements that share a scale)
LAYOUTS: dict[str, tuple[Callable[[int, int], Tensors], dict[str, Any] | None, str, int, int | None]] = {
    **{f"gptq {bits}": (*_gptq(bits), "GPTQ", bits, 128) for bits in (2, 3, 4, 8)},
    "gptq without config": (_gptq(4)[0], None, "GPTQ", 4, 128),
    "gptq without g_idx": (
        lambda out, into: {"qweight": ("I32", (into // 8, out)), "qzeros": ("I32", (1, out // 8)), "scales": ("F16", (1, out))},
        None, "GPTQ", 4, -1,
    ),
    "marlin": (
        lambda out, into: {"B": ("I32", (into // 16, out * 2)), "s": ("F16", (into // 128, out)), "workspace": ("I32", (out // 8,))},
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "is_marlin_format": True}, "GPTQ (Marlin)", 4, 128,
    ),
    "awq": (
        lambda out, into: {
            "qweight": ("I32", (into, out // 8)), "qzeros": ("I32", (into // 128, out // 8)), "scales": ("F16", (into // 128, out)),
        },
        {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}, "AWQ", 4, 128,
    ),
    "awq gemv": (
        lambda out, into: {"qweight": ("I32", (out, into // 8)), "qzeros": ("I32", (out, 1)), "scales": ("F16", (out, 8))},
        {"quant_method": "awq", "w_bit": 4, "q_group_size": 128, "version": "gemv"}, "AWQ", 4, 128,
    ),
    "awq gemv fast": (
        lambda out, into: {"qweight": ("I16", (out // 4, into)), "qzeros": ("F16", (8, out)), "scales": ("F16", (8, out))},
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv_fast"}, "AWQ", 4, 128,
    ),
    "fp-quant": (
        lambda out, into: {
            "qweight": ("U8", (out, into // 2)), "scales": ("U8", (out, into // 32)), "forward_hadamard_matrix": ("BF16", (32, 32)),
        },
        {"quant_method": "fp_quant"}, "FP-Quant", 4, 32,
    ),
    "pack-quantized": (lambda out, into: packed_ints(4, 128, out, into), group(4), "compressed-tensors", 4, 128),
    "pack-quantized, 3 bits": (lambda out, into: packed_ints(3, 32, out, into), group(3, 32), "compressed-tensors", 3, 32),
    "pack-quantized, channel": (lambda out, into: packed_ints(8, 0, out, into), group(8, None), "compressed-tensors", 8, -1),
    "pack-quantized, asymmetric": (
        lambda out, into: {**packed_ints(4, 128, out, into), "weight_zero_point": ("I32", (out // 8, into // 128))},
        None, "compressed-tensors", 4, 128,
    ),
    "pack-quantized, act order": (
        lambda out, into: {**packed_ints(4, 128, out, into), "weight_g_idx": ("I32", (into,))}, None, "compressed-tensors", 4, 128,
    ),
    "nvfp4-pack-quantized": (
        lambda out, into: {
            "weight_packed": ("U8", (out, into // 2)), "weight_scale": ("F8_E4M3", (out, into // 16)), "weight_global_scale": ("F32", (1,)),
        },
        group(4, 16, "float"), "NVFP4", 4, 16,
    ),
    "mxfp4-pack-quantized": (
        lambda out, into: {"weight_packed": ("U8", (out, into // 2)), "weight_scale": ("U8", (out, into // 32))},
        group(4, 32, "float"), "MXFP4", 4, 32,
    ),
    "mxfp6-pack-quantized": (
        lambda out, into: {"weight_packed": ("U8", (out, into * 3 // 4)), "weight_scale": ("U8", (out, into // 32))},
        group(6, 32, "float"), "MXFP6", 6, 32,
    ),
    "int-quantized": (
        lambda out, into: {"weight": ("I8", (out, into)), "weight_scale": ("BF16", (out, 1))}, group(8, None), "INT8", 8, -1,
    ),
    "marlin-24": (
        lambda out, into: {
            "weight_packed": ("I32", (into // 32, out * 2)), "scale_packed": ("F16", (into // 128, out)), "meta": ("I16", (into // 16, out)),
        },
        group(4, 128, format="marlin-24"), "compressed-tensors (2:4 sparse)", 4, 128,
    ),
    "sparse-bitmask": (
        lambda out, into: {
            "compressed": ("BF16", (out * into // 2,)), "bitmask": ("U8", (out, into // 8)), "shape": ("I64", (2,)),
            "row_offsets": ("I64", (out,)),
        },
        {"quant_method": "compressed-tensors"}, "sparse (bitmask)", 16, None,
    ),
    "modelopt nvfp4": (
        lambda out, into: {
            "weight": ("U8", (out, into // 2)), "weight_scale": ("F8_E4M3", (out, into // 16)), "weight_scale_2": ("F32", ()),
            "input_scale": ("F32", ()),
        },
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, "NVFP4", 4, 16,
    ),
    "modelopt int4": (
        lambda out, into: {
            "weight": ("U8", (out // 2, into)), "weight_scale": ("F16", (out, into // 128)), "pre_quant_scale": ("F16", (into,)),
        },
        {"quant_algo": "W4A16_AWQ", "exclude_modules": ["lm_head"]}, "INT4", 4, 128,
    ),
    "quark mxfp4": (
        lambda out, into: {"weight": ("U8", (out, into // 2)), "weight_scale": ("U8", (out, into // 32))},
        {"quant_method": "quark", "exclude": ["lm_head"]}, "MXFP4", 4, 32,
    ),
    "bitsandbytes nf4": (
        lambda out, into: bitsandbytes(False, out, into),
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes NF4", 4, 64,
    ),
    "bitsandbytes nf4, nested": (lambda out, into: bitsandbytes(True, out, into), None, "bitsandbytes NF4", 4, 64),
    "bitsandbytes nf4 in bfloat16": (
        lambda out, into: {**bitsandbytes(False, out, into), "weight": ("BF16", (out * into // 4, 1))}, None, "bitsandbytes NF4", 4, 64,
    ),
    "bitsandbytes int8": (
        lambda out, into: {"weight": ("I8", (out, into)), "SCB": ("F32", (out,)), "weight_format": ("U8", ())},
        {"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes 8-bit", 8, None,
    ),
    "eetq": (
        lambda out, into: {"weight": ("I8", (into, out)), "weight_scales": ("F16", (out,))}, {"quant_method": "eetq"}, "EETQ", 8, -1,
    ),
    "bitnet": (
        lambda out, into: {"weight": ("U8", (out // 4, into)), "weight_scale": ("BF16", (1,))}, {"quant_method": "bitnet"}, "BitNet", 2, -2,
    ),
    "higgs": (
        lambda out, into: {
            "weight": ("I16", (out // 4, into)), "scales": ("BF16", (out, into // 64)), "tables": ("BF16", (16,)), "tables2": ("BF16", (16, 16, 2)),
        },
        {"quant_method": "higgs", "bits": 4, "group_size": 64}, "HIGGS", 4, 64,
    ),
    "mlx": (
        lambda out, into: {"weight": ("U32", (out, into // 8)), "scales": ("F16", (out, into // 64)), "biases": ("F16", (out, into // 64))},
        {"mlx": True, "bits": 4, "group_size": 64}, "MLX", 4, 64,
    ),
    **{
        f"hqq {bits}": (
            lambda out, into, bits=bits: hqq(bits, out, into),
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": bits, "group_size": 64}}}, "HQQ", bits, 64,
        )
        for bits in (1, 2, 3, 4, 8)
    },
    "mlx mxfp4": (
        lambda out, into: {"weight": ("U32", (out, into // 8)), "scales": ("U8", (out, into // 32))}, None, "MLX MXFP4", 4, 32,
    ),
    "exl2": (
        lambda out, into: {
            "q_weight": ("I32", (into * 4 // 32, out)), "q_invperm": ("I16", (into,)), "q_scale": ("I32", (into // 128, out // 8)),
            "q_scale_max": ("F16", (into // 128,)), "q_groups": ("I16", (2 * (into // 128),)),
        },
        {"quant_method": "exl2", "bits": 4.25, "head_bits": 6}, "EXL2", 4, None,
    ),
    "exl3": (
        lambda out, into: {"trellis": ("I16", (into // 16, out // 16, 48)), "suh": ("F16", (into,)), "svh": ("F16", (out,)), "mcg": ("I32", ())},
        {"quant_method": "exl3", "bits": 3.5}, "EXL3", 3, None,
    ),
    "nunchaku": (
        lambda out, into: {
            "qweight": ("I8", (out, into // 2)), "wscales": ("BF16", (into // 64, out)), "smooth_factor": ("BF16", (into,)),
            "smooth_factor_orig": ("BF16", (into,)), "proj_down": ("BF16", (into, 32)), "proj_up": ("BF16", (out, 32)),
        },
        None, "SVDQuant", 4, 64,
    ),
    "nunchaku nvfp4": (
        lambda out, into: {
            "qweight": ("I8", (out, into // 2)), "wscales": ("F8_E4M3", (into // 16, out)), "wcscales": ("BF16", (out,)), "wtscale": ("BF16", (1,)),
            "smooth": ("BF16", (into,)), "lora_down": ("BF16", (into, 32)), "lora_up": ("BF16", (out, 32)),
        },
        None, "SVDQuant NVFP4", 4, 16,
    ),
    "nunchaku awq": (
        lambda out, into: {"qweight": ("I32", (out // 4, into // 2)), "wscales": ("BF16", (into // 64, out)), "wzeros": ("BF16", (into // 64, out))},
        None, "AWQ (Nunchaku)", 4, 64,
    ),
    "aqlm": (
        lambda out, into: {"codes": ("I16", (out, into // 8, 2)), "codebooks": ("F16", (2, 256, 1, 8)), "scales": ("F16", (out, 1, 1, 1))},
        {"quant_method": "aqlm"}, "AQLM", 2, None,
    ),
    "quip": (
        lambda out, into: {"Qidxs": ("I16", (out, into // 8)), "SU": ("F16", (into,)), "SV": ("F16", (out,)), "Wscale": ("F32", ())},
        None, "QuIP#", 2, None,
    ),
    "quanto int8": (
        lambda out, into: {"weight._data": ("I8", (out, into)), "weight._scale": ("F32", (out, 1)), "input_scale": ("F32", ())},
        {"quant_method": "quanto", "weights": "int8"}, "quanto", 8, None,
    ),
    "quanto int4": (
        lambda out, into: {
            "weight._data._data": ("U8", (64, out * into // 128)), "weight._scale": ("F32", (1, out * into // 128)),
            "weight._shift": ("F32", (1, out * into // 128)),
        },
        {"quant_method": "quanto", "weights": "int4"}, "quanto", 4, None,
    ),
    "torchao int4": (
        lambda out, into: {
            "_weight_qdata": ("U8", (out, into // 2)), "_weight_scale": ("BF16", (into // 128, out)), "_weight_zero_point": ("BF16", (into // 128, out)),
        },
        {"quant_method": "torchao"}, "torchao", 4, 128,
    ),
    "torchao int8": (
        lambda out, into: {"_weight_qdata": ("I8", (out, into)), "_weight_scale": ("BF16", (out, 1))}, None, "torchao", 8, None,
    ),
}  # fmt: skip


def quantised_tensors(linear: Callable[[int, int], Tensors], paths: tuple[str, ...] = tuple(LINEARS)) -> Tensors:
    """The whole model with the Linears at some paths under a layout, the others in float16."""
    tensors: Tensors = {name: ("F16", shape) for name, shape in OTHERS.items()}
    for layer in LAYERS:
        for path, shape in LINEARS.items():
            inside = linear(*shape) if path in paths else {"weight": ("F16", shape)}
            tensors |= {f"{layer}.{path}.{leaf}": held for leaf, held in inside.items()}
    return tensors


def write_quantised(folder: Path, tensors: Tensors, said: dict[str, Any] | None, **more: Any) -> Path:
    """A folder with model.safetensors and config.json; `said` is its quantization_config, `more` other entries."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    config = {**CONFIG, **({} if said is None else {"quantization_config": said}), **more}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
