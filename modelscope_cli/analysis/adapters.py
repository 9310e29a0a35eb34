"""The adapters of a file: the modules they change, by which method, and what is said of them beside the tensors.

Ranks and shapes are those of the tensors. Base, alpha and the rest are what stands beside them: adapter_config.json (PEFT,
adapter-transformers, MLX), or the metadata of the file (kohya's ss_*, modelspec.*, PEFT's configuration as diffusers writes it).
Where the two disagree, a finding says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.adapter_parts import MARKS, Delta, delta_of, place_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import Finding

SHARED = frozenset(("bank", "shared_A", "shared_B"))  # parts that all modules have in common
LONGEST_TEXT = 200  # characters of a value from a file that are shown
METADATA = "the file's metadata"


class Changed(NamedTuple):
    """One module that an adapter changes, by one of the adapters in the file."""

    path: str
    adapter: str | None
    delta: Delta
    parts: dict[str, Shape]


class Adapter(NamedTuple):
    """The adapters of a file: the modules they change, their parameters, and those of everything else in it."""

    changed: list[Changed]
    parameters: int
    beside: int
    saved: list[str]  # modules saved whole beside the adapters (modules_to_save), where the base is not in the file
    config: dict[str, Any]
    source: str


def read_adapter(ledger: Ledger, names: Sequence[str] | None = None) -> Adapter | None:
    """The adapters of a file; None where there are none. `names` stand for all: what no module has twice is enough to look at first."""
    if not any(MARKS.search(name) for name in (ledger.names if names is None else names)):
        return None
    groups: dict[tuple[str, str | None], dict[str, Shape]] = {}
    methods: dict[tuple[str, str | None], dict[str, None]] = {}
    unsure: list[tuple[tuple[str, str | None], str, int]] = []
    parameters = beside = 0
    others: dict[str, None] = {}
    for line, (parent, leaf) in enumerate(zip(ledger.parents, ledger.leaves, strict=True)):
        place = place_of(f"{parent}.{leaf}" if parent else leaf)
        if place is not None:
            key = (place.module, place.adapter)
            if not place.method:
                unsure.append((key, place.part, line))
                continue
            groups.setdefault(key, {})[place.part] = ledger.shapes[line]
            methods.setdefault(key, {})[place.method] = None
            parameters += ledger.parameters[line]
        elif ledger.roles[line] in (WEIGHT, BIAS):
            beside += ledger.parameters[line]
            others.setdefault(parent)
    for key, part, line in unsure:
        if key in groups:
            groups[key][part] = ledger.shapes[line]
            parameters += ledger.parameters[line]
        else:
            beside += ledger.parameters[line]
    if not groups:
        return None
    changed = [
        Changed(key[0], key[1], _delta(methods[key], parts), parts)
        for key, parts in groups.items()
        if not SHARED.issuperset(parts)
    ]
    if not changed:
        return None
    config, source = _config(ledger)
    held = beside > parameters and not any(name in config for name in ("peft_type", "base_model_name_or_path"))
    return Adapter(changed, parameters, beside, [] if held else list(others), config, source)


def _delta(methods: Mapping[str, None], parts: Mapping[str, Shape]) -> Delta:
    """Of a DoRA both LoRA's parts and its own are there: the method is the one that needs most."""
    method = next((name for name in ("DoRA", "AdaLoRA") if name in methods), next(iter(methods)))
    return delta_of(method, parts)


def _config(ledger: Ledger) -> tuple[dict[str, Any], str]:
    """What is said of the adapter, under PEFT's names, and where."""
    checkpoint = ledger.checkpoint
    given = checkpoint.config
    if "peft_type" in given or "base_model_name_or_path" in given:
        return given, checkpoint.config_from
    inner = given.get("lora_parameters")
    if isinstance(inner, dict):  # MLX
        return {
            "base_model_name_or_path": given.get("model"),
            "r": inner.get("rank"),
            "scaling": inner.get("scale"),
        }, checkpoint.config_from
    if isinstance(given.get("config"), dict) and "model_name" in given:  # adapter-transformers
        return {"base_model_name_or_path": given["model_name"], "task_type": given.get("head_type")}, checkpoint.config_from
    return _from_metadata(checkpoint.metadata), METADATA


def _from_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """kohya's training metadata, the model specification of Stability, and the configuration that diffusers puts into the file."""
    found: dict[str, Any] = {}
    text = metadata.get("lora_adapter_metadata")
    if isinstance(text, str) and len(text) < 1 << 20:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, dict):
            found |= {str(key).rpartition(".")[2]: value for key, value in inner.items()}
    said = [plain(metadata.get(key)) for key in ("ss_sd_model_name", "ss_base_model_version", "modelspec.architecture")]
    named = [text for text in dict.fromkeys(said) if text]
    if named and not found.get("base_model_name_or_path"):
        found["base_model_name_or_path"] = ", ".join(named)
    for key, name in (("ss_network_dim", "r"), ("ss_network_alpha", "lora_alpha")):
        number = number_of(metadata.get(key))
        if number is not None:
            found.setdefault(name, number)
    return found


def plain(value: Any) -> str:
    """A text worth showing, else ""."""
    text = value.strip() if isinstance(value, str) else ""
    return "" if text in ("None", "null", "none") else text[:LONGEST_TEXT]


def number_of(value: Any) -> float | int | None:
    """A number, also one written as text; None for anything else."""
    try:
        number = float(value) if isinstance(value, str) and len(value) < 40 else value
    except ValueError:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number <= 0:
        return None
    return int(number) if number == int(number) else number


def adapter_findings(ledger: Ledger, names: Sequence[str] | None = None) -> list[Finding]:
    """Halves without the other, and ranks that the configuration gives otherwise."""
    found = read_adapter(ledger, names)
    if found is None:
        return []
    findings = []
    torn = [
        change.path
        for change in found.changed
        if ("down" in change.parts) != ("up" in change.parts) and change.delta.method in ("LoRA", "DoRA", "AdaLoRA")
    ]
    if torn:
        shown = ", ".join(torn[:3]) + (", …" if len(torn) > 3 else "")
        text = f"{len(torn):,} {'module has' if len(torn) == 1 else 'modules have'} one half of a LoRA pair only: {shown}"
        findings.append(Finding("warning", "adapter-half", "", text))
    stated, pattern = number_of(found.config.get("r")), found.config.get("rank_pattern")
    ranks = {change.delta.rank for change in found.changed if change.delta.rank is not None}
    if stated is not None and ranks and stated not in ranks and not (isinstance(pattern, dict) and pattern):
        listed = ", ".join(f"{rank:,}" for rank in sorted(ranks)[:8])
        text = (
            f"{found.source} gives rank {stated:g}, the tensors have rank {listed}: alpha / rank is worked out from the tensors"
        )
        findings.append(Finding("warning", "adapter-rank", "", text))
    return findings
