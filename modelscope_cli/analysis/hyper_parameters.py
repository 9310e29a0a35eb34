"""Single values that tell checkpoints apart, for tables of runs: architecture, configuration, optimizer, progress of a training.

Only what is one number, truth or word; names say where each comes from: `arch.layers` is a fact of the architecture, `config.rope_theta` stands in
config.json, `optimizer.lr` in the first of its param_groups, `epoch` in the metadata of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.findings import flat_metadata
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.analysis.roles import param_groups

Value = bool | float | str

MOST_OF_A_SOURCE = 64  # values taken from one place
LONGEST_VALUE = 120  # characters of a text that is still a value
FEW_ITEMS = 4  # of a list that is written as one value: betas
ELSEWHERE = re.compile(r"(^|\.)param_groups\.|^(lr_)?schedulers?\b|^optimizer|^_")


def hyper_parameters(ledger: Ledger, outline: Outline) -> dict[str, Value]:
    """Names and values, the ones to compare first."""
    checkpoint = ledger.checkpoint
    sizes = ledger.by_dtype()
    found: dict[str, Value] = {"format": checkpoint.format}
    if sizes:
        found["dtype"] = max(sizes, key=lambda name: sizes[name])
    for fact in read_architecture(ledger, outline):
        value = single(fact.value)
        if value is not None:
            found.setdefault(f"arch.{fact.key}", value)
    for source in (from_optimizers(ledger), from_metadata(checkpoint.metadata), from_config(checkpoint.config)):
        for taken, (name, value) in enumerate(source):
            if taken == MOST_OF_A_SOURCE:
                break
            found.setdefault(name, value)
    return found


def from_config(config: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    for key, value in config.items():
        inner = single(value)
        if inner is not None and not key.startswith("_"):
            yield f"config.{key}", inner


def from_metadata(metadata: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    """Epoch, step, arguments of the training; not what an optimizer or its scheduler keeps for itself."""
    for key, value in flat_metadata(metadata, MOST_OF_A_SOURCE):
        inner = single(value)
        if inner is not None and not ELSEWHERE.search(key):
            yield key, inner


def from_optimizers(ledger: Ledger) -> Iterator[tuple[str, Value]]:
    """The optimizer and the options of its first group of parameters; of further groups what differs."""
    facts = {fact.path: fact for fact in ledger.roles_result.optimizers}
    groups = dict(param_groups(ledger.checkpoint.metadata))
    for number, path in enumerate(dict.fromkeys([*facts, *groups])):
        prefix = "optimizer" if not number else path or "optimizer.2"
        name = facts[path].name if path in facts else None
        if name:
            yield prefix, name
        first: dict[str, Value] = {}
        for place, group in enumerate(listed(groups.get(path))):
            for key, value in group.items():
                inner = None if key == "params" else single(value)
                if inner is None or first.get(key) == inner:
                    continue
                yield (f"{prefix}.{key}" if not place else f"{prefix}.{place}.{key}"), inner
                first.setdefault(key, inner)


def listed(groups: Any) -> list[dict[str, Any]]:
    """param_groups is a list of dictionaries, which the metadata keeps as {"0": {…}}."""
    values = list(groups.values()) if isinstance(groups, dict) else groups if isinstance(groups, list) else []
    return [value for value in values if isinstance(value, dict)]


def single(value: Any) -> Value | None:
    """The value as one number, truth or word; None where it is none of them, or nobody would read it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else str(number)
    if isinstance(value, list | tuple):
        items = [single(item) for item in value] if len(value) <= FEW_ITEMS else []
        return ", ".join(map(written, items)) if items and None not in items else None
    return value if isinstance(value, str) and value and len(value) <= LONGEST_VALUE else None


def written(value: Value | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
