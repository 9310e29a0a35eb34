"""Layouts of quantised weights in bytes, codes and floats of a few bits, read from the shapes of a module's tensors.

Every function gets the leaf of the packed tensor, the tensors of its module by leaf, and what the configuration says.
"""

from __future__ import annotations

import math

from modelscope_cli.analysis.quantisation_schemes import (
    Layout,
    Module,
    Said,
    by_count,
    exact,
    group_of,
    matrix,
    one_to_one,
    settled,
)
from modelscope_cli.analysis.quantised import INTEGERS, SINGLE, WHOLE, Packed
from modelscope_cli.core.tensor import Shape

BYTES = ("uint8", "int8")
GROUPED = {16: "NVFP4", 32: "MXFP4"}  # four-bit floats by the elements that share a scale


def packed_floats(main: str, module: Module, said: Said) -> Layout | None:
    """Floats of 4 or 6 bits in bytes: compressed-tensors (weight_packed), ModelOpt and Quark (weight). A scale stands for 16
    elements in NVFP4 and for 32 in MXFP4 and MXFP6, so that the two widths show the bits."""
    stem, held = main.removesuffix("packed"), module[main]
    stem = stem if stem.endswith("_") else f"{stem}_"
    leaf = next((leaf for leaf in (f"{stem}scale", f"{stem}weight_scale") if leaf in module), "")
    if not leaf or held.dtype.name != "uint8" or len(held.shape) < 2 or len(module[leaf].shape) != len(held.shape):
        return None
    scale = module[leaf].shape
    kinds = ("scale", "weight_scale", "global_scale", "input_scale")
    helpers = tuple(other for other in module if other.startswith(tuple(stem + kind for kind in kinds)))
    cells, groups = held.numel, math.prod(scale)
    if not groups or 0 in held.shape:
        return None
    for per_scale, bits, group in ((8, 4, 16), (16, 4, 32), (24, 6, 32)):
        if cells == per_scale * groups:
            axis = next(
                (n for n, (own, other) in enumerate(zip(held.shape, scale, strict=True)) if own == per_scale * other), None
            )
            if axis is None:
                return None
            shape = (*held.shape[:axis], scale[axis] * group, *held.shape[axis + 1 :])
            name = GROUPED[group] if bits == 4 else "MXFP6"
            _, problem = settled(bits, said, f"{main} and {leaf}")
            into = Packed(name, stem.rstrip("_"), math.prod(shape), shape, bits, group, f"{main} and {leaf}")
            return Layout(main, into, helpers, problem)
    rows = held.shape[-2]
    if scale[-2] == 2 * rows and said.bits in (4, None):  # ModelOpt packs integers along the outputs
        shape = (*held.shape[:-2], 2 * rows, held.shape[-1])
        into = Packed(
            "INT4", stem.rstrip("_"), math.prod(shape), shape, 4, group_of(shape[-1], scale[-1]), f"{main} and {leaf}"
        )
        return Layout(main, into, helpers)
    return None


def bitmask(main: str, module: Module, said: Said) -> Layout | None:
    """compressed-tensors, sparse: the values that are not zero, and a bit for every element."""
    mask = matrix(module, "bitmask")
    if mask is None or module["bitmask"].dtype.name not in BYTES or len(module[main].shape) != 1:
        return None
    shape = (mask[0], mask[1] * 8)
    if said.shape is not None and said.shape[0] == mask[0] and -(-said.shape[1] // 8) == mask[1]:
        shape = (said.shape[0], said.shape[1])
    return Layout(main, Packed("sparse (bitmask)", "weight", math.prod(shape), shape, module[main].dtype.bits, None, "bitmask"))


def bitsandbytes_4bit(main: str, module: Module, said: Said) -> Layout | None:
    """bitsandbytes: a column of bytes, or of another type (quant_storage), with two elements a byte; absmax has one of each block
    (functional.py: quantize_4bit, QuantState.as_dict)."""
    held, maxima = module[main], module.get(f"{main}.absmax")
    if maxima is None:
        return None
    if held.dtype.kind not in INTEGERS and 1 not in held.shape[:1] + held.shape[1:2]:  # another type is a column, too
        return None
    elements = 2 * held.nbytes
    if said.shape is not None and math.prod(said.shape) + 1 == elements:  # an odd number of elements leaves half a byte
        elements -= 1
    shape = said.shape if said.shape is not None and math.prod(said.shape) == elements else None
    group = group_of(elements, maxima.numel)
    states = [leaf for leaf in module if leaf.startswith(f"{main}.") and "bitsandbytes__" in leaf]
    kind = states[0].rpartition("__")[2].upper()[:8] if states else "4-bit"
    helpers = tuple(leaf for leaf in module if leaf.startswith(f"{main}."))
    _, problem = settled(4, said, f"{main}.absmax and {main}")
    packed = Packed(f"bitsandbytes {kind}", main, elements, shape, 4, group, f"{main} and {main}.absmax")
    return Layout(main, packed, helpers, problem)


def bitsandbytes_8bit(main: str, module: Module, said: Said) -> Layout | None:
    """bitsandbytes: int8 as it is, with a scale a row in SCB."""
    if module[main].dtype.name != "int8":
        return None
    return one_to_one("bitsandbytes 8-bit", main, module, "weight and SCB", (f"{main}.SCB",))


def eetq(main: str, module: Module, said: Said) -> Layout | None:
    """EETQ: int8, inputs first, with a scale an output."""
    packed, scales = matrix(module, main), module["weight_scales"].shape
    if packed is None or module[main].dtype.name != "int8" or scales != packed[1:]:
        return None
    return Layout(
        main, Packed("EETQ", "weight", math.prod(packed), (packed[1], packed[0]), 8, WHOLE, "weight and weight_scales")
    )


def bitnet(main: str, module: Module, said: Said) -> Layout | None:
    """BitNet: four ternary elements a byte, packed along the outputs (transformers, integrations/bitnet.py)."""
    packed, scale = matrix(module, main), module["weight_scale"]
    if packed is None or module[main].dtype.name != "uint8" or scale.numel != 1:
        return None
    shape = (packed[0] * 4, packed[1])
    return Layout(main, Packed("BitNet", "weight", math.prod(shape), shape, 2, SINGLE, "quant_method of the configuration", configured=True))  # fmt: skip


def whole_integers(main: str, module: Module, said: Said) -> Layout | None:
    """An element a byte, with a scale: int-quantized and naive-quantized of compressed-tensors, ModelOpt, Quark."""
    if module[main].dtype.name != "int8" or said.bits not in (8, None):
        return None
    found, scale = one_to_one("INT8", main, module, "weight and weight_scale"), module["weight_scale"].shape
    group = group_of(module[main].shape[-1], scale[-1]) if len(scale) == len(module[main].shape) > 1 else None
    group = SINGLE if math.prod(scale) == 1 else group
    return found._replace(packed=found.packed._replace(group=group))


def quanto(main: str, module: Module, said: Said) -> Layout | None:
    """optimum-quanto: int8 and float8 as they are; 4 and 2 bits in bytes, along the outputs (tensor/packed.py)."""
    stem = main.removesuffix("._data")
    if not main.endswith("._data._data"):
        name = module[main].dtype.name
        if name != "int8" and not name.startswith("float8"):
            return None
        return one_to_one("quanto", main, module, f"{main} and {stem}._scale", into=stem)
    stem = main.removesuffix("._data._data")
    found = by_count("quanto", main, module, said, stem)
    if found is None or module[main].dtype.name != "uint8" or len(module[main].shape) != 2:
        return found
    rows, columns = module[main].shape
    out = rows * 8 // found.packed.bits if found.packed.bits else 0
    grouped = module[f"{stem}._scale"].shape != (out, 1)  # then the shape is another than that of the model
    shape = found.packed.shape or (None if grouped else (out, columns))
    return found._replace(packed=found.packed._replace(shape=shape))


def aqlm(main: str, module: Module, said: Said) -> Layout | None:
    """AQLM: codes int8 or int16 [out / g, in / h, books], codebooks [books, entries, g, h] (aqlm/inference.py)."""
    if module[main].dtype.name not in ("int8", "int16"):
        return None
    codes, books = module[main].shape, module["codebooks"].shape
    if len(codes) != 3 or len(books) != 4 or 0 in codes or 0 in books or codes[2] != books[0]:
        return None
    shape = (codes[0] * books[2], codes[1] * books[3])
    bits = round(codes[2] * math.log2(books[1]) / (books[2] * books[3]))
    return Layout(main, Packed("AQLM", "weight", math.prod(shape), shape, bits or None, None, "codes and codebooks"))


def quip(main: str, module: Module, said: Said) -> Layout | None:
    """QuIP#: indices into a lattice; signs SU of the inputs and SV of the outputs (quip-sharp, lib/linear)."""
    inputs, out = module["SU"].shape, module["SV"].shape
    if len(inputs) != 1 or len(out) != 1 or module[main].dtype.kind not in INTEGERS:
        return None
    shape = (out[0], inputs[0])
    bits = exact(8 * module[main].nbytes, math.prod(shape))
    return Layout(main, Packed("QuIP#", "weight", math.prod(shape), shape, bits, None, "SU and SV"))


def mxfp4_blocks(main: str, module: Module, said: Said) -> Layout | None:
    """gpt-oss: bytes of two elements in blocks of 32, scales for each: weight_blocks (transformers, integrations/mxfp4.py), or
    weight.blocks (gpt_oss/torch/weights.py)."""
    stem, blocks = main[: -len("_blocks")], module[main].shape
    beside = f"{main.removesuffix('blocks')}scales"
    scales = module[beside].shape
    if len(blocks) < 3 or blocks[:-1] != scales or module[main].dtype.name != "uint8":
        return None
    shape = (*blocks[:-2], blocks[-2] * blocks[-1] * 2)
    bits = 4
    into = Packed("MXFP4", stem, math.prod(shape), shape, bits, blocks[-1] * 2, f"{main} and {beside}")
    return Layout(main, into, (beside,))


def torchao(main: str, module: Module, said: Said) -> Layout | None:
    """torchao's tensors taken apart for safetensors: _weight_qdata, _weight_scale (torchao/prototype/safetensors). Four bits lie
    two a byte, scales [in / group, out] for integers and [out, in / group] for floats."""
    stem, held = main.removesuffix("qdata"), module[main]
    into, shape, name = stem.strip("_"), held.shape, held.dtype.name
    helpers = tuple(leaf for leaf in module if leaf.startswith(stem) and leaf != main)
    scale = module.get(f"{stem}scale")
    if 0 in shape or len(shape) < 2:
        return None
    if name.startswith(("float8", "int8")) or name == "float4_e2m1fn":
        return one_to_one("torchao", main, module, main, helpers, into)
    per_cell = {"uint8": 2, "int32": 8, "float4_e2m1fn_x2": 2}.get(name)
    if per_cell is None:
        return None
    if len(shape) == 4 and name == "int32":  # [out / 8, in / (16 tiles), 32, tiles / 2], filled up
        found: Shape = (shape[0] * 8, shape[1] * shape[3] * 2 * 16)
    else:
        found = (*shape[:-1], shape[-1] * per_cell)
    group = exact(math.prod(found), scale.numel) if scale is not None else None
    group = WHOLE if group is not None and group >= found[-1] else group
    return Layout(main, Packed("torchao", into, math.prod(found), found, 4, group, main), helpers)
