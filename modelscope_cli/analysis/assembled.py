"""Modules whose tensors only together say what they are: a LoRA pair, a weight norm's g and v, a weight with its mask.

They are shown as one module of the kind that the model has there, with the convention named: `weight-normed Conv1d 512 → 512, 3`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from modelscope_cli.analysis import adapter_parts, conventions
from modelscope_cli.analysis.adapter_deltas import delta_of, detail_of, method_of, written
from modelscope_cli.analysis.adapter_parts import BASE, BESIDE, TOGETHER, Place, place_of
from modelscope_cli.analysis.kinds import CONV, EMBEDDING, LINEAR, LONGEST_NAME, MLP, WORDS, Kind, kind_of
from modelscope_cli.core.tensor import Shape

MOST_PARTS = 40  # tensors of a module up to which they are put together: an LSTM of four layers that go both ways has 32
HOLDER = re.compile(rf"({WORDS}\w*?)_?lora\w*", re.DOTALL)  # to_q_lora holds what is of to_q
CATEGORIES = {"bottleneck adapter": MLP, "soft prompt": EMBEDDING}


def may_be_assembled(name: str, inside: Iterable[str]) -> bool:
    """A quick look at the name of a module and the names directly in it."""
    names = [name, *inside]
    listed = " ".join([each for each in names if len(each) <= LONGEST_NAME])
    return any(parts.issubset(names) for parts in TOGETHER) or bool(
        conventions.MARKS.search(listed) or adapter_parts.MARKS.search(listed.replace(" ", "."))
    )


def assembled(name: str, parts: Mapping[str, Shape], class_name: str | None, *, top: bool) -> Kind | None:
    """The kind of a module by all tensors in it (relative name → shape); None where its children say what it is."""
    placed = {part: place_of(f"{name}.{part}") for part in parts}
    if any(place is not None and place.method for place in placed.values()):
        return _adapted(name, parts, placed, class_name, top=top)
    if all(place is not None and place.module == name for place in placed.values()):
        own = {place.part: parts[part] for part, place in placed.items() if place is not None}
        method = method_of(own, sure=False)
        if method is not None:
            delta = delta_of(method, own)
            return Kind(method, detail_of(delta, own), CONV if math.prod(delta.shape[2:]) > 1 else LINEAR, whole=True)
    plain = conventions.plain_of(parts)
    if plain is None or any("." in leaf for leaf in plain.tensors):
        return None
    found = kind_of(name, plain.tensors, {}, None, top=top)
    if not found.name:
        return None
    recorded = class_name.rpartition(".")[2].removeprefix("Parametrized") if class_name else found.name
    words = " ".join([*plain.words, recorded])
    return Kind(words, found.detail, found.category, inferred=class_name is None, whole=True)


def _adapted(
    name: str, parts: Mapping[str, Shape], placed: Mapping[str, Place | None], class_name: str | None, *, top: bool
) -> Kind | None:
    """An adapter's own module, or a module of the model with an adapter in it."""
    own: dict[str, Shape] = {}
    base: dict[str, Shape] = {}
    methods: dict[str, None] = {}
    modules: set[str] = set()
    for part, shape in parts.items():
        place = placed[part]
        if part == "weight" and "on_input" in parts:
            own["scale"] = shape  # LyCORIS keeps the scales of an (IA)³ under the name of a weight
            continue
        if place is None or (not place.method and part not in BESIDE):
            base[part] = shape
            continue
        own.setdefault(place.part, shape)  # of several adapters the first
        modules.add(place.module)
        if place.method:
            methods[place.method] = None
    held = HOLDER.fullmatch(name)
    outside = {module for module in modules if module not in (name, held[1] if held else name, "")}
    method = "DoRA" if "DoRA" in methods else "AdaLoRA" if "AdaLoRA" in methods else next(iter(methods))
    if outside:
        return None  # a container of modules with adapters
    delta = delta_of(method, own)
    category = CONV if math.prod(delta.shape[2:]) > 1 else CATEGORIES.get(method, LINEAR)
    if not base:
        half = len(own) == 1 and not {"down", "up", "rows_down", "rows_up"}.isdisjoint(own)
        detail = _matrix(next(iter(parts.values()))) if half else detail_of(delta, own)
        return Kind(method, detail, category, whole=True)
    flat = {_without_wrapper(part): shape for part, shape in base.items()}
    if len(delta.shape) > 1 and math.prod(flat.get("weight", ())) != math.prod(delta.shape) and "weight" in flat:
        flat["weight"] = delta.shape  # that in the file is packed, and does not tell its shape
    if any("." in leaf for leaf in flat):
        return None
    found = kind_of(name, flat, {}, class_name, top=top)
    if not found.name:
        return None
    rank = f", rank {delta.rank:,}" if delta.rank is not None else ""
    return found._replace(name=f"{found.name} + {method}", detail=f"{found.detail}{rank}")


def _without_wrapper(part: str) -> str:
    head, dot, rest = part.partition(".")
    return rest if dot and head in BASE else part


def _matrix(shape: Shape) -> str:
    return written(shape) if len(shape) > 1 else " × ".join(f"{extent:,}" for extent in shape)
