"""The tensors of an adapter by name: which part of which method they are.

    base_model.model.layers.0.q_proj.lora_A.weight      module …layers.0.q_proj, part down    PEFT
    layers.0.q_proj.lora_A.default.weight               the same of the adapter "default"     a PEFT model saved whole
    lora_unet_mid_block_attentions_0_proj_in.lora_up.weight, .alpha                           kohya, ComfyUI
    unet.up_blocks.0.attn1.processor.to_q_lora.down.weight                                    diffusers

Names: PEFT's tuners (`peft/tuners/*/layer.py`), LyCORIS
(`lycoris/modules`), kohya's networks/lora.py, diffusers' loaders, AdapterHub's adapters, XLabs' and ComfyUI's LoRAs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

# Part of a dotted name → (method, part). Two names of one part are two writers' names for it.
PARTS = {
    "lora_A": ("LoRA", "down"), "lora_B": ("LoRA", "up"), "lora_a": ("LoRA", "down"), "lora_b": ("LoRA", "up"),
    "lora_down": ("LoRA", "down"), "lora_up": ("LoRA", "up"), "lora_mid": ("LoRA", "mid"),
    "lora_embedding_A": ("LoRA", "rows_down"), "lora_embedding_B": ("LoRA", "rows_up"),
    "lora_magnitude_vector": ("DoRA", "magnitude"), "dora_scale": ("DoRA", "magnitude"),
    "lora_E": ("AdaLoRA", "values"), "ranknum": ("AdaLoRA", "ranknum"),
    **{f"hada_{part}": ("LoHa", part) for part in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{part}": ("LoKr", part) for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    "ia3_l": ("IA3", "scale"),
    "vera_lambda_b": ("VeRA", "lambda_b"), "vera_lambda_d": ("VeRA", "lambda_d"),
    "vera_A": ("VeRA", "shared_A"), "vera_B": ("VeRA", "shared_B"),
    "oft_r": ("OFT", "rotation"), "oft_R": ("OFT", "rotation"), "oft_s": ("OFT", "scale"), "oft_blocks": ("OFT", "rotation"),
    "oft_diag": ("OFT", "rotation"), "boft_R": ("BOFT", "rotation"), "boft_s": ("BOFT", "scale"), "boft_P": ("BOFT", "order"),
    "hra_u": ("HRA", "reflections"), "fourierft_spectrum": ("FourierFT", "spectrum"), "waveft_spectrum": ("WaveFT", "spectrum"),
    "miss_block": ("MiSS", "block"), "bone_block": ("Bone", "block"), "c3a_kernel": ("C3A", "kernel"), "beft_bias": ("BEFT", "shift"),
    "shira_weight": ("SHiRA", "values"), "shira_indices": ("SHiRA", "indices"), "osf_svd_params": ("OSF", "factors"),
    "road_theta": ("RoAd", "angles"), "road_alpha": ("RoAd", "lengths"), "psoft_R": ("PSOFT", "rotation"),
    "delora_A": ("DeLoRA", "down"), "delora_B": ("DeLoRA", "up"), "delora_lambda": ("DeLoRA", "strength"),
    "delora_w_norm": ("DeLoRA", "norms"), "hira_A": ("HiRA", "down"), "hira_B": ("HiRA", "up"),
    "hira_embedding_A": ("HiRA", "rows_down"), "hira_embedding_B": ("HiRA", "rows_up"),
    "gralora_A": ("GraLoRA", "down"), "gralora_B": ("GraLoRA", "up"),
    "gralora_A_general": ("GraLoRA", "whole_down"), "gralora_B_general": ("GraLoRA", "whole_up"),
    "randlora_lambda": ("RandLoRA", "lambda"), "randlora_gamma": ("RandLoRA", "gamma"),
    "randlora_A": ("RandLoRA", "shared_A"), "randlora_B": ("RandLoRA", "shared_B"),
    "pvera_lambda_b": ("PVeRA", "lambda_b"), "pvera_lambda_d": ("PVeRA", "lambda_d"),
    "pvera_A": ("PVeRA", "shared_A"), "pvera_B": ("PVeRA", "shared_B"),
    "lily_A": ("Lily", "down"), "lily_B": ("Lily", "up"), "lily_router": ("Lily", "router"),
    "tinylora_v": ("TinyLoRA", "bank"), "tinylora_A": ("TinyLoRA", "down"), "tinylora_B": ("TinyLoRA", "up"),
    "tinylora_P": ("TinyLoRA", "projection"), "trainable_tokens_delta": ("trainable tokens", "tokens"),
    **{f"glora_{part}": ("GLoRA", part) for part in "ABCDE"}, "on_input": ("IA3", "side"),
    "vblora_logits_A": ("VB-LoRA", "down"), "vblora_logits_B": ("VB-LoRA", "up"), "vblora_vector_bank": ("VB-LoRA", "bank"),
    "prompt_embeddings": ("soft prompt", "prompt"), "adaption_prompt": ("LLaMA-Adapter", "prompt"),
    "adaption_gate": ("LLaMA-Adapter", "gate"), "adapter_down": ("bottleneck adapter", "down"),
    "adapter_up": ("bottleneck adapter", "up"), "ln_tuning_layers": ("LN tuning", "norm"),
}  # fmt: skip
HOLDERS = re.compile(r"(?:.*_)?lora\d*|lora_linear_layer")  # to_q_lora.down, to_q.lora.up
HELD = ("down", "up", "mid")
BESIDE = {"alpha": "alpha", "diff": "diff", "diff_b": "diff_b"}  # adapter parts where others stand beside them, else anything
FOUR = ("a1", "a2", "b1", "b2")  # LyCORIS' GLoRA: a2 · a1 is multiplied with the weight, b2 · b1 is added
PARTED = ("PSOFT", "OSF", "GLoRA")
INSIDE = ("vector_a", "vector_b", "U_low", "S_low", "V_low", "Xd", "Xu", "vector", "zeros")  # of one part: psoft_R.vector_a
BUFFERS = (
    "ranknum", "vera_A", "vera_B", "boft_P", "randlora_A", "randlora_B", "pvera_A", "pvera_B", "tinylora_A", "tinylora_B",
    "tinylora_P", "delora_w_norm", "frod_V", "adamss_newB", "unilora_scales_A", "unilora_scales_B",
)  # registered as buffers by PEFT: fixed projections, norms, orders; as alpha is beside others  # fmt: skip
TOGETHER = (frozenset(("diff", "diff_b")), frozenset(FOUR), frozenset(("weight", "on_input")))  # parts that show each other
DIFFERENCE = "weight difference"  # what LyCORIS calls full, and ComfyUI diff
MARKS = re.compile(
    r"(?<![^._\n])(?:lora|hada|lokr|ia3|p?vera|b?oft|hra|fourierft|waveft|vblora|miss|bone|c3a|beft|shira|road|psoft|delora|hira|"
    r"gralora|randlora|lily|tinylora)\d*(?![^._\n])|prompt_embeddings|adaption_|adapter_(?:down|up)|ln_tuning|dora_scale|ranknum|"
    r"osf_svd_params|trainable_tokens"
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


def place_of(name: str) -> Place | None:
    """The place of a tensor by its dotted name; None for one that is no part of an adapter. `alpha` and `diff` count as parts."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        known = PARTS.get(part)
        start, stop = position, position + 1
        if known is None and "lora" in part and HOLDERS.fullmatch(part) and stop < len(parts) and parts[stop] in HELD:
            known = ("LoRA", parts[stop])
            stop += 1
            if not part.startswith("lora"):  # to_q_lora, or qkv_lora1 beside qkv_lora2 (XLabs), which keeps its number
                parts[position] = part.removesuffix("_lora")
                start = position + 1
        if known is None:
            continue
        rest = parts[stop:]
        inside = next((word for word in rest if word in INSIDE), None) if known[0] in PARTED else None
        named = next(
            (word for word in rest if word not in (*OWN_WORDS, inside) and not (part == "tinylora_v" and word.isdecimal())),
            None,
        )
        if inside:
            known = (known[0], f"{known[1]}_{inside}" if known[0] == "GLoRA" else inside)
        if part == "trainable_tokens_delta" and start and parts[start - 1] == "token_adapter":
            start -= 1
        if known[0] == "bottleneck adapter" and start >= 2 and parts[start - 2] == "adapters":
            return Place(".".join(parts[: start - 2]), *_of_bias(known, rest), parts[start - 1])
        return Place(".".join(parts[:start]), *_of_bias(known, rest), named)
    if parts[-1] in BESIDE:
        return Place(".".join(parts[:-1]), "", BESIDE[parts[-1]], None)
    if len(parts) > 1 and parts[-2] in FOUR and parts[-1] == "weight":
        return Place(".".join(parts[:-2]), "", parts[-2], None)
    return None


def _of_bias(known: tuple[str, str], rest: list[str]) -> tuple[str, str]:
    return (known[0], f"{known[1]}_bias") if rest and rest[-1] == "bias" else known


def buffers(parents: Sequence[str], leaves: Sequence[str], distinct: Collection[str]) -> Iterator[int]:
    """Lines of an adapter that are not trained: the alpha of each module, what VeRA shares, permutations. `distinct`: of `leaves`."""
    if "alpha" in distinct:
        parted = {_holder(parent) for parent, leaf in zip(parents, leaves, strict=True) if MARKS.search(f"{parent}.{leaf}")}
        yield from (line for line, leaf in enumerate(leaves) if leaf == "alpha" and parents[line] in parted)
    if "zeros" in distinct:  # what a GLoRA leaves out
        yield from (line for line, leaf in enumerate(leaves) if leaf == "zeros" and ".glora_" in f".{parents[line]}")
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
