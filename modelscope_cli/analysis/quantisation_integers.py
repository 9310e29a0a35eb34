"""Layouts of quantised weights that pack integers into larger ones, read from the shapes of a module's tensors.

Every function gets the leaf of the packed tensor, the tensors of its module by leaf, and what the configuration says.
"""

from __future__ import annotations

import math

from modelscope_cli.analysis.quantisation_schemes import Layout, Module, Said, by_count, exact, group_of, matrix, settled, width
from modelscope_cli.analysis.quantised import INTEGERS, Packed

INT32 = ("int32", "uint32")
BYTES = ("uint8", "int8")
MLX_FLOATS = {64: ("NVFP4", 4), 128: ("MXFP4", 4), 256: ("MXFP8", 8)}  # by bits × group


def gptq(main: str, module: Module, said: Said) -> Layout | None:
    """AutoGPTQ and GPTQModel, v1 and v2: elements are packed along the inputs, zeros along the outputs (qlinear/*.py: pack)."""
    packed, scales, zeros = matrix(module, main), matrix(module, "scales"), matrix(module, "qzeros")
    if packed is None or module[main].dtype.name not in INT32 or (scales and scales[1] != packed[1]):
        return None
    order = module.get("g_idx")
    inputs = order.shape[0] if order is not None and len(order.shape) == 1 and order.shape[0] else None
    rows, out = packed
    shown, by = (width(rows, inputs), "qweight and g_idx") if inputs else (None, "")
    if shown is None and zeros:
        shown, by, inputs = width(zeros[1], out), "qzeros and qweight", None
    bits, problem = settled(shown, said, by)
    if not bits:
        return None
    inputs = inputs or rows * 32 // bits
    group = group_of(inputs, scales[0]) if scales else said.group
    if group and said.group not in (None, group) and not problem:
        problem = f"the configuration says groups of {said.group}, scales show {group}"
    into = Packed("GPTQ", "weight", inputs * out, (out, inputs), bits, group, by or "bits of the configuration", not shown)
    return Layout(main, into, problem=problem)


def awq(main: str, module: Module, said: Said) -> Layout | None:
    """AutoAWQ, GEMM: elements and zeros are packed along the outputs (awq/modules/linear/gemm.py)."""
    packed, scales = matrix(module, main), matrix(module, "scales")
    if packed is None or scales is None or module[main].dtype.name not in INT32 or packed[1] >= scales[1]:
        return None
    bits, problem = settled(width(packed[1], scales[1]), said, "qweight and scales")
    if not bits:
        return None
    into = Packed(
        "AWQ",
        "weight",
        packed[0] * scales[1],
        (scales[1], packed[0]),
        bits,
        group_of(packed[0], scales[0]),
        "qweight and scales",
    )
    return Layout(main, into, problem=problem)  # fmt: skip


def awq_gemv(main: str, module: Module, said: Said) -> Layout | None:
    """AutoAWQ, GEMV: packed along the inputs, scales in rows that are filled up (awq/modules/linear/gemv.py), always 4 bits."""
    packed, scales, zeros = matrix(module, main), matrix(module, "scales"), matrix(module, "qzeros")
    if packed is None or scales is None or zeros is None or module[main].dtype.name not in INT32:
        return None
    if not packed[0] == scales[0] == zeros[0] or scales[1] != 8 * zeros[1]:
        return None
    shape = (packed[0], packed[1] * 8)
    _, problem = settled(4, said, "qweight and scales")
    return Layout(main, Packed("AWQ", "weight", math.prod(shape), shape, 4, said.group, "qweight and scales"), problem=problem)


def awq_fast(main: str, module: Module, said: Said) -> Layout | None:
    """AutoAWQ, GEMV fast: int16 of four elements, four rows interleaved (awq/modules/linear/gemv_fast.py)."""
    packed, scales = matrix(module, main), matrix(module, "scales")
    if packed is None or scales is None or module[main].dtype.name != "int16" or scales[1] != 4 * packed[0]:
        return None
    shape = (scales[1], packed[1])
    _, problem = settled(4, said, "qweight and scales")
    return Layout(main, Packed("AWQ", "weight", math.prod(shape), shape, 4, said.group, "qweight and scales"), problem=problem)


def marlin(main: str, module: Module, said: Said) -> Layout | None:
    """Marlin's tiles of 16 inputs, as vLLM, AutoGPTQ and GPTQModel write them (marlin/__init__.py: pack)."""
    leaf = "s" if "s" in module else "scales"
    packed, scales = matrix(module, main), matrix(module, leaf)
    if (
        packed is None
        or scales is None
        or module[main].dtype.name not in INT32
        or packed[1] <= scales[1]
        or scales[0] >= packed[0]
    ):
        return None
    bits, problem = settled(exact(2 * packed[1], scales[1]), said, f"{main} and {leaf}")
    inputs = packed[0] * 16
    if bits not in (4, 8):
        return None
    into = Packed(
        "GPTQ (Marlin)",
        "weight",
        inputs * scales[1],
        (scales[1], inputs),
        bits,
        group_of(inputs, scales[0]),
        f"{main} and {leaf}",
    )
    return Layout(main, into, problem=problem)  # fmt: skip


def bytes_packed(main: str, module: Module, said: Said) -> Layout | None:
    """Bytes in rows of outputs with a scale a group: FP-Quant (fp_quant) and BitBLAS (bitblas), bits from the configuration."""
    packed, scales = matrix(module, main), matrix(module, "scales")
    if packed is None or scales is None or scales[0] != packed[0] or module[main].dtype.name not in BYTES:
        return None
    bits = 4 if "forward_hadamard_matrix" in module else said.bits
    if not bits or 8 % bits:
        return None
    inputs = packed[1] * 8 // bits
    name = "FP-Quant" if "forward_hadamard_matrix" in module else "BitBLAS"
    shape = (packed[0], inputs)
    return Layout(
        main, Packed(name, "weight", math.prod(shape), shape, bits, group_of(inputs, scales[1]), "qweight and scales", not bits)
    )


def packed_ints(main: str, module: Module, said: Said) -> Layout | None:
    """compressed-tensors, pack-quantized: rows are filled up to whole int32; the exact width is in weight_shape, whose values
    are not read: g_idx shows it, or scales with the size of a group (compressors/pack_quantized)."""
    stem, held = main.removesuffix("packed"), module[main]
    if held.dtype.name not in INT32 or len(held.shape) < 2 or 0 in held.shape:
        return None
    *lead, out, cells = held.shape
    scale, zeros, order = (module.get(stem + leaf) for leaf in ("scale", "zero_point", "g_idx"))
    groups = scale.shape[-1] if scale is not None and len(scale.shape) == len(held.shape) else 0
    if len(lead) == 1 and scale is None:
        lead = []
    shown, by = None, ""
    if order is not None and len(order.shape) == 1 and (shown := width(cells, order.shape[0])):
        by = f"{main} and {stem}g_idx"
    elif zeros is not None and zeros.dtype.name in INT32 and len(zeros.shape) == len(held.shape):
        shown, by = width(zeros.shape[-2], out), f"{stem}zero_point and {main}"
    elif said.bits is None and said.shape is not None and said.shape[0] == out:
        shown, by = width(cells, said.shape[1]), "sizes of the configuration"
    bits, problem = settled(shown, said, by)
    if not bits:
        return None
    inputs = cells * 32 // bits
    if order is not None and len(order.shape) == 1 and width(cells, order.shape[0]) == bits:
        inputs = order.shape[0]
    elif groups > 1 and said.group and said.group > 0 and -(-groups * said.group * bits // 32) == cells:
        inputs = groups * said.group  # a row is filled up to whole int32
    elif said.shape is not None and said.shape[0] == out and -(-said.shape[1] * bits // 32) == cells:
        inputs = said.shape[1]
    shape = (*lead, out, inputs)
    group = group_of(inputs, groups) if groups else said.group
    if group and said.group not in (None, group) and not problem:
        problem = f"the configuration says groups of {said.group}, {stem}scale shows {group}"
    into = Packed(
        "compressed-tensors",
        stem.rstrip("_"),
        math.prod(shape),
        shape,
        bits,
        group,
        by or "bits of the configuration",
        not shown,
    )
    return Layout(main, into, tuple(stem + leaf for leaf in ("scale", "zero_point", "g_idx", "shape")), problem)  # fmt: skip


def marlin_sparse(main: str, module: Module, said: Said) -> Layout | None:
    """compressed-tensors, marlin-24: of four elements two are kept, in Marlin's tiles; `meta` tells which."""
    packed, scales = matrix(module, main), matrix(module, "scale_packed")
    if packed is None or scales is None or not said.bits:
        return None
    elements = module[main].numel * 32 // said.bits * 2
    inputs = exact(elements, scales[1])
    shape = (scales[1], inputs) if inputs else None
    name, by = "compressed-tensors (2:4 sparse)", "bits of the configuration"
    return Layout(main, Packed(name, "weight", elements, shape, said.bits, said.group, by, configured=True))


def mlx(main: str, module: Module, said: Said) -> Layout | None:
    """MLX and Metal: uint32 in rows of outputs, scales [out, groups], for experts in one tensor [experts, out, …]. The shapes show only
    bits × group, but scales in bytes are those of floats, of which there are few kinds (mlx/ops.cpp: quantize)."""
    held, scale = module[main], module["scales"]
    *lead, cells = held.shape or (0,)
    *others, groups = scale.shape or (0,)
    if not lead or lead != others or 0 in held.shape or held.dtype.name != "uint32":
        return None
    product = exact(32 * cells, groups)  # bits × elements of a group
    floats = MLX_FLOATS.get(product or 0) if scale.dtype.name == "uint8" else None
    bits = (floats[1] if floats else None) or said.bits or (exact(product, said.group) if product and said.group else None)
    if not bits or not product or product % bits:
        return None
    shape, problem = (*lead, groups * (product // bits)), ""
    if said.group not in (None, product // bits):
        problem = (
            f"the configuration says {bits} bits in groups of {said.group}, weight and scales show groups of {product // bits}"
        )
    name = f"MLX {floats[0]}" if floats else "MLX"
    into = Packed(
        name, "weight", math.prod(shape), shape, bits, product // bits, "weight and scales", configured=floats is None
    )
    return Layout(main, into, problem=problem)


def higgs(main: str, module: Module, said: Said) -> Layout | None:
    """HIGGS: int16 along the outputs, a table of 2 ** bits values (transformers, integrations/higgs.py)."""
    packed, scales, table = matrix(module, main), matrix(module, "scales"), module["tables"].numel
    if packed is None or scales is None or module[main].dtype.name != "int16":
        return None
    bits, problem = settled(exact(16 * packed[0], scales[0]), said, "weight and scales")
    if not bits or table != 2**bits:
        return None
    into = Packed(
        "HIGGS",
        "weight",
        scales[0] * packed[1],
        (scales[0], packed[1]),
        bits,
        group_of(packed[1], scales[1]),
        "weight, scales and tables",
    )
    return Layout(main, into, problem=problem)  # fmt: skip


def hqq(main: str, module: Module, said: Said) -> Layout | None:
    """HQQ: rows of a group each; with a column of scales there is a row for each (hqq/core/quantize.py, bitpack.py)."""
    packed, scale = matrix(module, main), matrix(module, "scale")
    if packed is None or (module[main].dtype.kind not in INTEGERS and said.method != "hqq" and "nbits" not in module):
        return None
    elements = scale[0] * packed[1] if scale and scale[1] == 1 and scale[0] >= packed[0] else 0
    if elements:
        bits, problem = settled(_bits_of(elements, module, main), said, "W_q and scale")
        shape = said.shape if said.shape is not None and math.prod(said.shape) == elements else None
        into = Packed("HQQ", "weight", elements, shape, bits, packed[1], "W_q and scale")
        return Layout(main, into, problem=problem)
    if (
        scale and scale[0] == 1 and scale[1] == packed[1] and said.group and said.bits and said.group > 0
    ):  # columns of a group each
        rows = -(-said.group // 10) if module[main].dtype.name == "int32" else -(-said.group * said.bits // 8)
        if rows == packed[0]:
            elements = said.group * packed[1]
            shape = said.shape if said.shape is not None and math.prod(said.shape) == elements else None
            into = Packed(
                "HQQ", "weight", elements, shape, said.bits, said.group, "bits and group of the configuration", configured=True
            )
            return Layout(main, into)
    return by_count("HQQ", main, module, said)


def _bits_of(elements: int, module: Module, main: str) -> int | None:
    """The bits an element: ten of 3 bits lie in an int32, others fill theirs."""
    held = module[main]
    if held.dtype.name == "int32":
        return 3
    return exact(8 * held.numel, elements)
