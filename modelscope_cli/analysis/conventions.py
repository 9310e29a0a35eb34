"""Names that say how a module was wrapped or its weight written, and what they stand for.

    module.layers.0._checkpoint_wrapped_module.fc.weight      wrappers: parts of a name that are no modules of the model
    weight_g, weight_v                                        weight norm: weight = g · v / ‖v‖
    weight_orig, weight_u, weight_v                           spectral norm: weight_orig / σ, which u and v help to estimate
    weight_orig, weight_mask                                  pruning: weight_orig ∘ mask
    parametrizations.weight.original0, .original1             weight norm since torch 2.0: g, v
    parametrizations.weight.original, .0._u, .0._v            spectral norm the same way; .0.base: orthogonal
    embed, inited, embed_avg, cluster_size                    a codebook kept by running averages, which nothing trains (EnCodec)

Facts: torch/nn/utils/{weight_norm,spectral_norm,prune,parametrize,parametrizations}.py. The weight itself is in none of these
files; torch makes it when the model runs. g, v and originals are parameters; masks, u, v of a spectral norm and bases are buffers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape

WRAPPERS = {
    "module": "DistributedDataParallel, DataParallel, DeepSpeed or AveragedModel",
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_fpw_module": "FSDP before torch 2.0",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "Lightning Fabric",
    "_module": "Opacus",
}
PARAMETRIZATIONS = "parametrizations"
WEIGHT_NORM, SPECTRAL_NORM, PRUNED, ORTHOGONAL, PARAMETRIZED = (
    "weight-normed",
    "spectral-normed",
    "pruned",
    "orthogonal",
    "parametrized",
)
ENDINGS = ("g", "v", "orig", "mask", "u", "bar")
AVERAGES = ("embed_avg", "cluster_size")  # what a codebook is made of without training
CODEBOOK = ("embed", "inited", "initted")
_ENDED = re.compile(rf"(.+)_({'|'.join(ENDINGS)})")
MARKS = re.compile(rf"(?:^| )(?:{PARAMETRIZATIONS}|\w+_(?:g|orig|bar))(?: |$)")  # among the names in a module


class Plain(NamedTuple):
    """The tensors of a module as they are without a convention, and the words for those it is written in."""

    tensors: dict[str, Shape]
    words: tuple[str, ...]


def unwrapped(path: str) -> str:
    """A dotted name without the parts of wrappers."""
    return ".".join([part for part in path.split(".") if part not in WRAPPERS])


def plain_of(parts: Mapping[str, Shape]) -> Plain | None:
    """The plain tensors behind the parts of one module (relative name → shape); None where no convention is in use."""
    tensors: dict[str, Shape] = {}
    words: dict[str, None] = {}
    listed: dict[str, dict[str, Shape]] = {}  # tensor → what its parametrizations keep
    by_tensor: dict[str, dict[str, Shape]] = {}  # tensor → ending → shape
    for name, shape in parts.items():
        if name.startswith(f"{PARAMETRIZATIONS}."):
            tensor, _, rest = name[len(PARAMETRIZATIONS) + 1 :].partition(".")
            listed.setdefault(tensor, {})[rest] = shape
            continue
        tensor, ending = ended(name)
        if ending and "." not in name:
            by_tensor.setdefault(tensor, {})[ending] = shape
        else:
            tensors[name] = shape
    for tensor, kept in listed.items():
        originals = {name: shape for name, shape in kept.items() if re.fullmatch(r"original\d*", name)}
        if originals:
            tensors[tensor] = max(originals.values(), key=lambda shape: (_numel(shape), len(shape)))
            words[parametrization(kept)] = None
    for tensor, by_ending in by_tensor.items():
        word, main = convention(by_ending)
        if word:
            tensors[tensor] = by_ending[main]
            words[word] = None
        else:
            tensors |= {f"{tensor}_{ending}": shape for ending, shape in by_ending.items()}
    return Plain(tensors, tuple(words)) if words else None


def ended(leaf: str) -> tuple[str, str]:
    """weight_g as (weight, g); ("", "") where a name does not end so."""
    match = _ENDED.fullmatch(leaf)
    return (match[1], match[2]) if match else ("", "")


def convention(endings: Iterable[str]) -> tuple[str, str]:
    """The convention of the tensors weight_{ending}, and the ending of the one that has the shape of the weight."""
    found = set(endings)
    if "u" in found and found & {"orig", "bar"}:
        return SPECTRAL_NORM, "orig" if "orig" in found else "bar"
    if {"g", "v"} <= found:
        return WEIGHT_NORM, "v"
    return (PRUNED, "orig") if {"orig", "mask"} <= found else ("", "")


def parametrization(kept: Mapping[str, Shape]) -> str:
    """Which parametrization keeps tensors of these names and shapes; g has one number a row of v, or one in all."""
    if any(name.endswith("._u") for name in kept):
        return SPECTRAL_NORM
    if any(name.endswith(".base") for name in kept):
        return ORTHOGONAL
    first, second = kept.get("original0"), kept.get("original1")
    if first is not None and second is not None and "original2" not in kept:
        scalar = not first or (len(first) == len(second) and all(a in (b, 1) for a, b in zip(first, second, strict=True)))
        if scalar and _numel(first) <= _numel(second):
            return WEIGHT_NORM
    return PARAMETRIZED


def buffers(parents: Sequence[str], leaves: Sequence[str], distinct: Collection[str]) -> Iterator[int]:
    """Lines that a convention keeps besides the parameters: masks of pruning, u and v of a spectral norm, orthogonal bases, codebooks
    that are running averages. `distinct` are the different ones of `leaves`.
    """
    if any(leaf in distinct for leaf in ("_u", "_v", "base")):
        for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
            if leaf in ("_u", "_v", "base") and f"{PARAMETRIZATIONS}." in parent:
                yield line
    if all(leaf in distinct for leaf in AVERAGES):
        holders = [{parent for parent, leaf in zip(parents, leaves, strict=True) if leaf == average} for average in AVERAGES]
        codebooks = set.intersection(*holders)
        yield from (
            line
            for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True))
            if leaf in CODEBOOK and parent in codebooks
        )
    yield from _beside_originals(parents, leaves, distinct)


def _beside_originals(parents: Sequence[str], leaves: Sequence[str], distinct: Collection[str]) -> Iterator[int]:
    """weight_mask, weight_u and weight_v in modules that keep weight_orig or weight_bar; u and v also where the weight itself is kept."""
    originals = {leaf for leaf in distinct if leaf.endswith(("_orig", "_bar"))}
    if not originals and "weight_u" not in distinct:
        return
    kept: dict[str, set[str]] = {}  # module → its tensors that have an original
    holders: dict[str, set[str]] = {"weight": set(), "weight_u": set()}
    for parent, leaf in zip(parents, leaves, strict=True):
        if leaf in originals:
            kept.setdefault(parent, set()).add(leaf.rpartition("_")[0])
        elif leaf in holders:
            holders[leaf].add(parent)
    normed = holders["weight"] & holders["weight_u"]
    for line, (parent, leaf) in enumerate(zip(parents, leaves, strict=True)):
        tensor, _, ending = leaf.rpartition("_")
        if (ending in ("mask", "u", "v") and tensor in kept.get(parent, ())) or (
            leaf in ("weight_u", "weight_v") and parent in normed
        ):
            yield line


def _numel(shape: Shape) -> int:
    numel = 1
    for extent in shape:
        numel *= extent
    return numel
