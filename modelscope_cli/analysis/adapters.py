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

from modelscope_cli.analysis.adapter_deltas import Delta, delta_of, method_of
from modelscope_cli.analysis.adapter_parts import BASE, FLAT, MARKS, Place, place_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import Finding

SHARED = frozenset(("bank", "shared_A", "shared_B"))  # parts that all modules have in common
LONGEST_TEXT = 200  # characters of a value from a file that are shown
METADATA = "the file's metadata"
LARGEST = 2**53  # of a rank or an alpha; no file means more
PEFT_METHODS = {
    "ADAMSS": "AdaMSS", "FROD": "FRoD", "UNILORA": "Uni-LoRA", "XLORA": "X-LoRA", "POLY": "Poly", "DEFT": "DEFT",
    "CARTRIDGE": "cartridge", "PEANUT": "PEANuT", "SUPERTUNING": "supertuning", "SHADOW": "shadow",
}  # types of PEFT whose tensors are not told apart  # fmt: skip


class Changed(NamedTuple):
    """One module that an adapter changes, by one of the adapters in the file."""

    path: str
    adapter: str | None
    delta: Delta
    parts: dict[str, Shape]


class Adapter(NamedTuple):
    """The adapters of a file: the modules they change, their parameters, and those of everything else in it.

    `copies`: elements that are stored again for another module; they are in neither number.
    """

    changed: list[Changed]
    parameters: int
    copies: int
    beside: int
    saved: list[str]  # modules saved whole beside the adapters (modules_to_save), where the base is not in the file
    config: dict[str, Any]
    source: str


def read_adapter(ledger: Ledger, names: Sequence[str] | None = None) -> Adapter | None:
    """The adapters of a file; None where there are none. `names` stand for all: what no module has twice is enough to look at first."""
    if ledger.adapter is None:
        ledger.adapter = (_read(ledger, ledger.names if names is None else names),)
    return ledger.adapter[0]


def _read(ledger: Ledger, names: Sequence[str]) -> Adapter | None:
    stated = plain(ledger.checkpoint.config.get("peft_type"))
    if not stated and not any(MARKS.search(name) for name in names):
        return None
    groups, parameters, others = _groups(ledger)
    beside = sum(others.values())
    if stated and not groups:  # a method that we do not know by its tensors, but adapter_config.json says that it is one
        groups = {(path, None): _Group({PEFT_METHODS.get(stated, stated): None}) for path in others}
        parameters, beside, others = beside, 0, {}
    changed = [
        Changed(key[0], key[1], group.delta(), group.parts)
        for key, group in groups.items()
        if not SHARED.issuperset(group.parts)
    ] or [Changed(key[0], key[1], group.delta(), group.parts) for key, group in groups.items() if stated]
    if not changed:
        return None
    config, source = _config(ledger)
    held = beside > parameters and not any(name in config for name in ("peft_type", "base_model_name_or_path"))
    saved = [] if held else list(dict.fromkeys(_without_wrapper(path) for path in others))
    copies = _copies(changed, config)
    return Adapter(changed, parameters - copies, copies, beside, saved, config, source)


class _Group:
    """The parts of one adapter at one module, and their methods; empty `parts` where a method is not known by its tensors."""

    __slots__ = ("methods", "parts")

    def __init__(self, methods: dict[str, None] | None = None):
        self.methods: dict[str, None] = methods or {}
        self.parts: dict[str, Shape] = {}

    def delta(self) -> Delta:
        """Of a DoRA both LoRA's parts and its own are there: the method is the one that needs most."""
        method = next((name for name in ("DoRA", "AdaLoRA") if name in self.methods), next(iter(self.methods)))
        return delta_of(method, self.parts)


Key = tuple[str, str | None]  # path of the module, name of the adapter


def _groups(ledger: Ledger) -> tuple[dict[Key, _Group], int, dict[str, int]]:
    """The parts at each module, the parameters in them, and those of every other module."""
    groups: dict[Key, _Group] = {}
    unsure: dict[Key, dict[str, int]] = {}
    parameters = 0
    others: dict[str, int] = {}
    switches = {parent for parent, leaf in zip(ledger.parents, ledger.leaves, strict=True) if leaf == "on_input"}
    for line, (parent, leaf) in enumerate(zip(ledger.parents, ledger.leaves, strict=True)):
        place = place_of(f"{parent}.{leaf}" if parent else leaf)
        if leaf == "weight" and parent in switches:
            place = Place(parent, "IA3", "scale", None)
        if place is None:
            if ledger.roles[line] in (WEIGHT, BIAS):
                others[parent] = others.get(parent, 0) + ledger.parameters[line]
        elif not place.method:
            unsure.setdefault((place.module, place.adapter), {})[place.part] = line
        else:
            group = groups.setdefault((place.module, place.adapter), _Group())
            group.parts[place.part] = ledger.shapes[line]
            group.methods[place.method] = None
            parameters += ledger.parameters[line]
    adapted = bool(groups)
    for key, lines in unsure.items():
        shapes = {part: ledger.shapes[line] for part, line in lines.items()}
        counted = sum(ledger.parameters[line] for line in lines.values())
        if key not in groups:
            sure = adapted or any(FLAT.match(ledger.names[line]) for line in lines.values())
            method = method_of(shapes, sure=sure) if sure else None
            if method is None:
                others[key[0]] = others.get(key[0], 0) + counted
                continue
            groups[key] = _Group({method: None})
        groups[key].parts |= shapes
        parameters += counted
    return groups, parameters, others


def _without_wrapper(path: str) -> str:
    """The module that is meant by one that stands in its place: embed_tokens.base_layer is what becomes of embed_tokens."""
    head, _, last = path.partition(".modules_to_save")[0].rpartition(".")
    return head if last in BASE and head else path.partition(".modules_to_save")[0]


def _copies(changed: list[Changed], config: Mapping[str, Any]) -> int:
    """Parameters that are copies of others: layers of a Lily share up in all, and down in `stride_A` that follow each other."""
    stride = config.get("stride_A")
    every = stride if type(stride) is int and stride > 0 else 1
    seen: dict[tuple[str, Shape, Shape], int] = {}
    copies = 0
    for change in changed:
        if change.delta.method == "Lily":
            up, down = change.parts.get("up", ()), change.parts.get("down", ())
            key = (change.path.rpartition(".")[2], up, down)
            before = seen[key] = seen.get(key, -1) + 1
            copies += (math.prod(up) if before else 0) + (math.prod(down) if before % every else 0)
    return copies


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
    """A number that a rank or an alpha can be, also one written as text; None for anything else."""
    try:
        number = float(value) if isinstance(value, str) and len(value) < 40 else value
    except ValueError:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= LARGEST:
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
        if any((f"{kind}down" in change.parts) != (f"{kind}up" in change.parts) for kind in ("", "rows_"))
        and change.delta.method in ("LoRA", "DoRA", "AdaLoRA")
    ]
    if torn:
        shown = ", ".join(torn[:3]) + (", …" if len(torn) > 3 else "")
        text = f"{len(torn):,} {'module has' if len(torn) == 1 else 'modules have'} one half of a LoRA pair only: {shown}"
        findings.append(Finding("warning", "adapter-half", "", text))
    budgeted = found.config.get("peft_type") == "ADALORA"  # begins with init_r, and takes ranks away while it learns
    stated, pattern = number_of(found.config.get("init_r" if budgeted else "r")), found.config.get("rank_pattern")
    ranks = {change.delta.rank for change in found.changed if change.delta.rank is not None}
    if (
        stated is not None
        and ranks
        and stated not in ranks
        and not (budgeted and max(ranks) < stated)
        and not (isinstance(pattern, dict) and pattern)
    ):
        listed = ", ".join(f"{rank:,}" for rank in sorted(ranks)[:8])
        text = (
            f"{found.source} gives rank {stated:g}, the tensors have rank {listed}: alpha / rank is worked out from the tensors"
        )
        findings.append(Finding("warning", "adapter-rank", "", text))
    return findings
