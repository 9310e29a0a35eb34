"""Layouts of quantised weights as single inference engines keep them, read from the shapes of a module's tensors.

    EXL2        q_weight int32 [in × bits / 32, out]   q_scale int32 [groups, out / 8]   q_groups int16 [2 × groups]   q_invperm [in]
    EXL3        trellis int16 [in / 16, out / 16, 16 × bits]   suh [in]   svh [out]
    Nunchaku    qweight int8 [out, in / 2]   wscales [in / 64, out]   proj_down [in, rank]   proj_up [out, rank]

Every function gets the leaf of the packed tensor, the tensors of its module by leaf, and what the configuration says.
Sources: exllamav2/ext.py (make_q_matrix), exllamav3/modules/quant/exl3.py, nunchaku/models/linear.py.
"""

from __future__ import annotations

import math

from modelscope_cli.analysis.quantisation_schemes import Layout, Module, Said, group_of, matrix
from modelscope_cli.analysis.quantised import Packed
from modelscope_cli.core.tensor import Shape

TILE = 16  # rows and columns of a tile of EXL3


def exl2(main: str, module: Module, said: Said) -> Layout | None:
    """EXL2: groups of inputs have their own bits each, so that a row of the packed matrix says nothing alone; the permutation of the
    inputs tells how many there are. The bits of a group stand in q_groups, whose values are not read."""
    packed, scale = matrix(module, main), matrix(module, "q_scale")
    order = module.get("q_invperm") or module.get("q_perm")
    if packed is None or module[main].dtype.name not in ("int32", "uint32"):
        return None
    groups = module["q_groups"].numel // 2
    inputs = order.numel if order is not None else 0
    if not inputs or not groups or (scale is not None and scale[0] != groups):
        return None
    mean, shape = round(packed[0] * 32 / inputs), (packed[1], inputs)
    if not 1 <= mean <= 8:
        return None
    return Layout(
        main, Packed("EXL2", "weight", math.prod(shape), shape, mean, None, f"{main} and the permutation", mixed=True)
    )


def exl3(main: str, module: Module, said: Said) -> Layout | None:
    """EXL3: tiles of 16 × 16 elements, 256 × bits bits in each; vectors of signs and scales for inputs and outputs."""
    tiles = module[main].shape
    if len(tiles) != 3 or 0 in tiles or module[main].dtype.name not in ("int16", "uint16") or tiles[2] % TILE:
        return None
    shape = (tiles[1] * TILE, tiles[0] * TILE)
    bits = tiles[2] // TILE
    return Layout(main, Packed("EXL3", "weight", math.prod(shape), shape, bits, None, main)) if bits <= 8 else None


def nunchaku(main: str, module: Module, said: Said) -> Layout | None:
    """Nunchaku: SVDQuant's int4 and NVFP4, two elements a byte, and the low-rank part of the weight beside it; and its AWQ, where
    int32 hold eight elements of four rows."""
    packed, scales = matrix(module, main), matrix(module, "wscales")
    if packed is None or scales is None:
        return None
    kind, shape = module[main].dtype.name, _nunchaku_shape(module[main].dtype.name, packed)
    if shape is None or scales[1] != shape[0]:
        return None
    floats = kind == "int8" and module["wscales"].dtype.name.startswith("float8")
    name = "AWQ (Nunchaku)" if kind == "int32" else "SVDQuant NVFP4" if floats else "SVDQuant"
    into = Packed(name, "weight", math.prod(shape), shape, 4, group_of(shape[1], scales[0]), f"{main} and wscales")
    return Layout(main, into)


def _nunchaku_shape(kind: str, packed: Shape) -> Shape | None:
    if kind in ("int8", "uint8"):
        return packed[0], packed[1] * 2
    return (packed[0] * 4, packed[1] * 2) if kind == "int32" else None
