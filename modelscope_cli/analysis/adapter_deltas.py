"""What the parts of an adapter at one module make together: the shape of the weight change, and its rank.

A weight change (delta) has the shape of the weight, out × in (× kernel). LoRA: up · down. LoHa: (w1_a · w1_b) ∘ (w2_a · w2_b).
LoKr: w1 ⊗ w2. Of an embedding it is rows × width. Shapes: the layers of PEFT's tuners and LyCORIS' modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from modelscope_cli.analysis.adapter_parts import DIFFERENCE, FOUR
from modelscope_cli.core.tensor import Shape


class Delta(NamedTuple):
    """What the parts at one module make. `shape` is that of the weight change, () where the parts do not tell."""

    method: str
    rank: int | None
    shape: Shape


def method_of(parts: Mapping[str, Shape], *, sure: bool) -> str | None:
    """The method of parts that could be anything, each for itself; None where they are none. `sure`: the file is an adapter."""
    if set(parts) >= set(FOUR) and delta_of("GLoRA", parts).shape:
        return "GLoRA"
    differences = {"diff", "diff_b"} & set(parts)
    return DIFFERENCE if differences and (sure or len(differences) == 2) else None


def delta_of(method: str, parts: Mapping[str, Shape]) -> Delta:
    """Rank and shape of the weight change that parts of one module make. Parts that do not fit leave both unknown."""
    if "rows_down" in parts or "rows_up" in parts:
        rank, shape = _low_rank(parts.get("rows_down"), parts.get("rows_up"))
        return Delta(method, rank, shape[::-1])
    if method in ("LoRA", "DoRA", "AdaLoRA", "HiRA", "DeLoRA", "TinyLoRA"):
        return Delta(method, *_low_rank(parts.get("down"), parts.get("up")))
    if method == "GLoRA":
        return Delta(method, *_low_rank(parts.get("b1", parts.get("B_Xu")), parts.get("b2", parts.get("B_Xd"))))
    if method == DIFFERENCE:
        return Delta(method, None, parts["diff"] if len(parts.get("diff", ())) > 1 else ())
    if method in BLOCKS:
        return BLOCKS[method](parts)
    if method == "LoHa":
        rank, shape = _product(parts, "w1", parts.get("t1"))
        return Delta(method, rank, shape)
    if method == "LoKr":
        return _kronecker(parts)
    if method in ("VeRA", "PVeRA") and len(parts.get("lambda_d", ())) == 1:
        return Delta(method, parts["lambda_d"][0] // (2 if method == "PVeRA" else 1), ())  # PVeRA has mean and variance in one
    if method == "HRA" and len(parts.get("reflections", ())) == 2:
        return Delta(method, parts["reflections"][1], ())
    return Delta(method, None, ())


def _low_rank(down: Shape | None, up: Shape | None) -> tuple[int | None, Shape]:
    """down is rank × in (× kernel), up is out × rank (× 1 …); MLX has both transposed."""
    if not down or not up or len(down) < 2 or len(up) < 2:
        return (down[0] if down and len(down) > 1 else None), ()
    if down[0] == up[1]:
        return down[0], (up[0], *down[1:])
    if len(down) == len(up) == 2 and down[1] == up[0]:
        return down[1], (up[1], down[0])
    return None, ()


def _product(parts: Mapping[str, Shape], which: str, core: Shape | None) -> tuple[int | None, Shape]:
    """A matrix as a product of `which`_a (out × rank) and _b (rank × in); with a `core` both are rank × …, and it has the kernel."""
    first, second = parts.get(f"{which}_a"), parts.get(f"{which}_b")
    if not first or not second or len(first) != 2 or len(second) < 2:
        return None, ()
    if core:
        return first[0], (first[1], second[1], *core[2:])
    return (first[1], (first[0], *second[1:])) if first[1] == second[0] else (None, ())


def _kronecker(parts: Mapping[str, Shape]) -> Delta:
    """w1 ⊗ w2, each whole or as a product; the kernel is in w2."""
    ranks: list[int] = []
    sides: list[Shape] = []
    for which in ("w1", "w2"):
        whole = parts.get(which)
        if not whole:
            rank, whole = _product(parts, which, parts.get("t2") if which == "w2" else None)
            ranks += [rank] if rank is not None else []
        sides.append(whole)
    if any(len(side) < 2 for side in sides):
        return Delta("LoKr", None, ())
    first, second = sides
    shape = (first[0] * second[0], first[1] * second[1], *second[2:])
    return Delta("LoKr", min(ranks, default=None), shape)


def _lily(parts: Mapping[str, Shape]) -> Delta:
    """down is rank × in; up has several experts of rank × out below each other."""
    down, up = parts.get("down", ()), parts.get("up", ())
    fits = len(down) == len(up) == 2 and down[0] and up[0] % down[0] == 0
    return Delta("Lily", down[0] if down else None, (up[1], down[1]) if fits else ())


def _gralora(parts: Mapping[str, Shape]) -> Delta:
    """A grid of blocks: down is blocks × in of a block × rank, up is blocks × rank × out of a block."""
    down, up = parts.get("down", ()), parts.get("up", ())
    fits = len(down) == len(up) == 3 and down[0] == up[0] and down[2] == up[1]
    return Delta("GraLoRA", down[2], (up[0] * up[2], down[0] * down[1])) if fits else Delta("GraLoRA", None, ())


def _c3a(parts: Mapping[str, Shape]) -> Delta:
    """Circulant blocks: out / size × in / size × size."""
    kernel = parts.get("kernel", ())
    return Delta("C3A", None, (kernel[0] * kernel[2], kernel[1] * kernel[2]) if len(kernel) == 3 else ())


def _first(method: str, part: str) -> Callable[[Mapping[str, Shape]], Delta]:
    """The rank is the first extent of a part; the shape of the weight does not show."""
    return lambda parts: Delta(method, parts[part][0] if len(parts.get(part, ())) else None, ())


BLOCKS: dict[str, Callable[[Mapping[str, Shape]], Delta]] = {
    "Lily": _lily,
    "GraLoRA": _gralora,
    "C3A": _c3a,
    "RandLoRA": _first("RandLoRA", "lambda"),
    "OSF": _first("OSF", "S_low"),
    "MiSS": _first("MiSS", "block"),
    "PSOFT": _first("PSOFT", "vector_a"),
}


def written(shape: Shape) -> str:
    """The shape of a weight as a module says it: in → out, and a kernel."""
    kernel = f", {'×'.join(map(str, shape[2:]))}" if len(shape) > 2 else ""
    return f"{shape[1]:,} → {shape[0]:,}{kernel}"


def detail_of(delta: Delta, parts: Mapping[str, Shape]) -> str:
    """What to say behind the name of a method: rank 16, 4,096 → 4,096."""
    rank = f"rank {delta.rank:,}" if delta.rank is not None else ""
    if delta.shape:
        return ", ".join(filter(None, (rank, written(delta.shape))))
    if delta.method == "bottleneck adapter":
        down, up = parts.get("down", ()), parts.get("up", ())
        return f"{down[1]:,} → {down[0]:,} → {up[0]:,}" if len(down) == len(up) == 2 else ""
    if delta.method == "IA3" and parts.get("scale"):
        scale = parts["scale"]
        side = "activations" if "side" in parts else "inputs" if len(scale) > 1 and scale[0] == 1 else "outputs"
        return f"scales {math.prod(scale):,} {side}"
    if delta.method in ("OFT", "BOFT") and len(parts.get("rotation", ())) > 1:
        return f"{math.prod(parts['rotation'][:-2] or parts['rotation'][:1]):,} blocks"
    if delta.method in ("VeRA", "PVeRA") and len(parts.get("lambda_b", ())) == 1:
        return f"{rank + ', ' if rank else ''}{parts['lambda_b'][0]:,} outputs"
    single = next((parts[part] for part in ("prompt", "tokens", "diff", "diff_b") if part in parts), None)
    if single is not None:
        return " × ".join(f"{extent:,}" for extent in single)
    return rank
