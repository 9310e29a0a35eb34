"""The tensors of an adapter by name: which part of which method they are, and what weight change they make together.

    base_model.model.layers.0.q_proj.lora_A.weight      module …layers.0.q_proj, part down    PEFT
    layers.0.q_proj.lora_A.default.weight               the same of the adapter "default"     a PEFT model saved whole
    lora_unet_mid_block_attentions_0_proj_in.lora_up.weight, .alpha                           kohya, ComfyUI
    unet.up_blocks.0.attn1.processor.to_q_lora.down.weight                                    diffusers

A weight change (delta) has the shape of the weight, out × in (× kernel). LoRA: up · down. LoHa: (w1_a · w1_b) ∘ (w2_a · w2_b).
LoKr: w1 ⊗ w2. Names and shapes: PEFT's tuners (`peft/tuners/*/layer.py`), LyCORIS (`lycoris/modules`), kohya's networks/lora.py,
diffusers' loaders, AdapterHub's adapters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape

# Part of a dotted name → (method, part). Two names of one part are two writers' names for it.
PARTS = {
    "lora_A": ("LoRA", "down"), "lora_B": ("LoRA", "up"), "lora_a": ("LoRA", "down"), "lora_b": ("LoRA", "up"),
    "lora_down": ("LoRA", "down"), "lora_up": ("LoRA", "up"), "lora_mid": ("LoRA", "mid"),
    "lora_embedding_A": ("LoRA", "down"), "lora_embedding_B": ("LoRA", "up"),
    "lora_magnitude_vector": ("DoRA", "magnitude"), "dora_scale": ("DoRA", "magnitude"),
    "lora_E": ("AdaLoRA", "values"), "ranknum": ("AdaLoRA", "ranknum"),
    **{f"hada_{part}": ("LoHa", part) for part in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{part}": ("LoKr", part) for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    "ia3_l": ("IA3", "scale"),
    "vera_lambda_b": ("VeRA", "lambda_b"), "vera_lambda_d": ("VeRA", "lambda_d"),
    "vera_A": ("VeRA", "shared_A"), "vera_B": ("VeRA", "shared_B"),
    "oft_r": ("OFT", "rotation"), "oft_R": ("OFT", "rotation"), "oft_s": ("OFT", "scale"), "oft_blocks": ("OFT", "rotation"),
    "oft_diag": ("OFT", "rotation"), "boft_R": ("BOFT", "rotation"), "boft_s": ("BOFT", "scale"), "boft_P": ("BOFT", "order"),
    "hra_u": ("HRA", "reflections"), "fourierft_spectrum": ("FourierFT", "spectrum"),
    "vblora_logits_A": ("VB-LoRA", "down"), "vblora_logits_B": ("VB-LoRA", "up"), "vblora_vector_bank": ("VB-LoRA", "bank"),
    "prompt_embeddings": ("soft prompt", "prompt"), "adaption_prompt": ("LLaMA-Adapter", "prompt"),
    "adaption_gate": ("LLaMA-Adapter", "gate"), "adapter_down": ("bottleneck adapter", "down"),
    "adapter_up": ("bottleneck adapter", "up"), "ln_tuning_layers": ("LN tuning", "norm"),
}  # fmt: skip
HOLDERS = re.compile(r"(?:.*_)?lora\d*|lora_linear_layer")  # to_q_lora.down, to_q.lora.up
HELD = ("down", "up", "mid")
BESIDE = {"alpha": "alpha", "diff": "diff", "diff_b": "diff_b"}  # adapter parts where others stand beside them, else anything
BUFFERS = ("ranknum", "vera_A", "vera_B", "boft_P")  # registered as buffers by their writers, as alpha is beside others
MARKS = re.compile(
    r"(?<![^._\n])(?:lora|hada|lokr|ia3|vera|b?oft|hra|fourierft|vblora)\d*(?![^._\n])|prompt_embeddings|adaption_|"
    r"adapter_(?:down|up)|ln_tuning|dora_scale|ranknum"
)  # a quick look whether a name may be one of an adapter
FLAT = re.compile(r"(?:lora|lycoris|oft)_[a-z]\w*?_\d+(?:_|$)")
FEW = 500  # different last parts of names up to which each is looked at
OWN_WORDS = ("weight", "bias", "0", "1")  # what stands behind a part and is no adapter's name
BASE = ("base_layer", "linear", "original_module")  # what wraps the weight that an adapter changes


class Place(NamedTuple):
    """Where a tensor of an adapter belongs: the module it changes, the method, the part, and the adapter's name if it has one."""

    module: str
    method: str
    part: str
    adapter: str | None


class Delta(NamedTuple):
    """What the parts at one module make. `shape` is that of the weight change, () where the parts do not tell."""

    method: str
    rank: int | None
    shape: Shape


def place_of(name: str) -> Place | None:
    """The place of a tensor by its dotted name; None for one that is no part of an adapter. `alpha` and `diff` count as parts."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        known = PARTS.get(part)
        start, stop = position, position + 1
        if known is None and HOLDERS.fullmatch(part) and stop < len(parts) and parts[stop] in HELD:
            known = ("LoRA", parts[stop])
            stop += 1
            if part.endswith("_lora"):
                parts[position] = part.removesuffix("_lora")
                start = position + 1
        if known is None:
            continue
        rest = parts[stop:]
        named = next((word for word in rest if word not in OWN_WORDS), None)
        if known[0] == "bottleneck adapter" and start >= 2 and parts[start - 2] == "adapters":
            return Place(".".join(parts[: start - 2]), *_of_bias(known, rest), parts[start - 1])
        return Place(".".join(parts[:start]), *_of_bias(known, rest), named)
    if parts[-1] in BESIDE:
        return Place(".".join(parts[:-1]), "", BESIDE[parts[-1]], None)
    return None


def _of_bias(known: tuple[str, str], rest: list[str]) -> tuple[str, str]:
    return (known[0], f"{known[1]}_bias") if rest and rest[-1] == "bias" else known


def buffers(parents: Sequence[str], leaves: Sequence[str], distinct: Collection[str]) -> Iterator[int]:
    """Lines of an adapter that are not trained: the alpha of each module, what VeRA shares, permutations. `distinct`: of `leaves`."""
    if "alpha" in distinct:
        parted = {_holder(parent) for parent, leaf in zip(parents, leaves, strict=True) if MARKS.search(f"{parent}.{leaf}")}
        yield from (line for line, leaf in enumerate(leaves) if leaf == "alpha" and parents[line] in parted)
    for leaf in distinct:
        if leaf in BUFFERS:
            yield from (line for line, other in enumerate(leaves) if other == leaf)
        elif leaf not in OWN_WORDS and len(distinct) <= FEW and _last(parents[leaves.index(leaf)]) in PARTS:  # vera_A.default
            yield from (line for line, other in enumerate(leaves) if other == leaf and _last(parents[line]) in BUFFERS)


def spread(parents: list[str]) -> list[str]:
    """kohya's names with dots around their numbers, so that equal blocks are seen: lora_unet_down_blocks_0_… → lora_unet_down_blocks.0.…

    kohya writes the whole path with underscores, because Stable Diffusion's tools once took a name for a file.
    """
    if not parents or not (FLAT.match(parents[0]) or FLAT.match(parents[-1])):
        return parents
    done: dict[str, str] = {}
    for head in {parent.partition(".")[0] for parent in parents}:
        if FLAT.match(head):
            done[head] = re.sub(r"(\.\d+)_", r"\1.", re.sub(r"_(\d+)(?=_|$)", r".\1", head))
    return [done.get(head, head) + dot + rest for head, dot, rest in (parent.partition(".") for parent in parents)]


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _holder(path: str) -> str:
    """The module that a part is of: without lora_down, without lora.down."""
    head, _, last = path.rpartition(".")
    if last in HELD and HOLDERS.fullmatch(head.rpartition(".")[2]):
        return head.rpartition(".")[0]
    return head if last in PARTS else path


def delta_of(method: str, parts: Mapping[str, Shape]) -> Delta:
    """Rank and shape of the weight change that parts of one module make. Parts that do not fit leave both unknown."""
    if method in ("LoRA", "DoRA", "AdaLoRA"):
        return Delta(method, *_low_rank(parts.get("down"), parts.get("up")))
    if method == "LoHa":
        rank, shape = _product(parts, "w1", parts.get("t1"))
        return Delta(method, rank, shape)
    if method == "LoKr":
        return _kronecker(parts)
    if method == "VeRA" and len(parts.get("lambda_d", ())) == 1:
        return Delta(method, parts["lambda_d"][0], ())
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
        side = "inputs" if len(scale) > 1 and scale[0] == 1 else "outputs"
        return f"scales {math.prod(scale):,} {side}"
    if delta.method in ("OFT", "BOFT") and len(parts.get("rotation", ())) > 1:
        return f"{math.prod(parts['rotation'][:-2] or parts['rotation'][:1]):,} blocks"
    if delta.method == "VeRA" and len(parts.get("lambda_b", ())) == 1:
        return f"{rank + ', ' if rank else ''}{parts['lambda_b'][0]:,} outputs"
    if "prompt" in parts:
        return " × ".join(f"{extent:,}" for extent in parts["prompt"])
    return rank
