"""Keeping the first of repeated layers, so that a graph of calls stays readable (`--layers N`)."""

from __future__ import annotations

from typing import Any


def keep_first(module: Any, first: int) -> list[str]:
    """Shorten every list of equal layers to the first ones, in place; returns what was left out, in words.

    Equal are neighbours in an nn.ModuleList or nn.Sequential of the same class with the same parameters, that hold modules of
    their own. The lists inside of what is kept are shortened too.
    """
    from torch import nn

    left_out: list[str] = []
    waiting: list[tuple[str, Any]] = [("", module)]
    while waiting:
        path, parent = waiting.pop()
        for name, child in list(parent.named_children()):
            place = f"{path}.{name}" if path else name
            if isinstance(child, (nn.ModuleList, nn.Sequential)):
                kept = shortened(list(child._modules.items()), first)
                if len(kept) < len(child):
                    left_out.append(f"{len(kept)} of {len(child)} in {place}")
                    numbered = isinstance(child, nn.ModuleList)  # it is asked for layers by number
                    child._modules = {str(number) if numbered else key: layer for number, (key, layer) in enumerate(kept)}
            waiting.append((place, child))
    return left_out


def shortened(layers: list[tuple[str, Any]], first: int) -> list[tuple[str, Any]]:
    """The layers without those that follow `first` equal neighbours."""
    kept: list[tuple[str, Any]] = []
    run, before = 0, None
    for key, layer in layers:
        form = (type(layer), tuple((name, tuple(tensor.shape)) for name, tensor in layer.named_parameters()))
        run = run + 1 if form == before else 1
        before = form
        if run <= first or not any(True for _ in layer.children()):
            kept.append((key, layer))
    return kept
