"""The section about an adapter: method, base, rank, scaling, which modules it changes, and what merging it would add to the base."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from modelscope_cli.analysis.adapter_scaling import scaling_facts
from modelscope_cli.analysis.adapters import METADATA, Adapter, plain, read_adapter
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.report.document import MACHINES, PEOPLE, Count, Fact, Facts

MOST_LISTED = 8  # targets, ranks, layers named to people
FEW_LISTED = 3  # shapes
UNMERGEABLE = {
    "soft prompt": "nothing to merge: its vectors stand before the input when the model runs",
    "LLaMA-Adapter": "nothing to merge: its prompts go into the attention when the model runs",
    "bottleneck adapter": "cannot be merged: it has an activation of its own and stays in the model",
}
PEFT_TYPES = {
    "PREFIX_TUNING": "prefix tuning", "PROMPT_TUNING": "prompt tuning", "P_TUNING": "p-tuning",
    "MULTITASK_PROMPT_TUNING": "multitask prompt tuning", "CPT": "context-aware prompt tuning",
}  # fmt: skip


def adapter_facts(ledger: Ledger, names: Sequence[str] | None = None) -> Facts | None:
    """The section about the adapters of a file."""
    found = read_adapter(ledger, names)
    if found is None:
        return None
    facts = [_kind(found), _base(found), *_ranks(found), _targets(found), *_layers(found), *_counts(found, ledger)]
    return Facts("adapter", "Adapter", facts)


def _kind(found: Adapter) -> Fact:
    methods = [method for method, _ in Counter(change.delta.method for change in found.changed).most_common()]
    names = [PEFT_TYPES.get(str(found.config.get("peft_type")), name) if name == "soft prompt" else name for name in methods]
    words = {"DoRA": "DoRA (LoRA with a magnitude for each output)", "IA3": "IA3 (a scale for each activation)"}
    text = " and ".join(words.get(name, name) for name in names)
    task = plain(found.config.get("task_type"))
    named = [name for name in dict.fromkeys(change.adapter for change in found.changed) if name]
    text += f", for {task}" if task else ""
    text += f", called {_listed(named, len(named))}" if named else ""
    return Fact("kind", "Kind", names if len(names) > 1 else names[0], text)


def _base(found: Adapter) -> Fact:
    base = plain(found.config.get("base_model_name_or_path"))
    if base:
        return Fact("base_model", "Base", base, f"{base}  ({found.source})")
    said = "in this file" if found.beside > found.parameters else f"not named in {found.source}"
    if found.source == METADATA and found.beside <= found.parameters:
        said = "not named: no adapter_config.json beside the file, and nothing in its metadata"
    return Fact("base_model", "Base", None, said)


def _ranks(found: Adapter) -> list[Fact]:
    ranks = Counter(change.delta.rank for change in found.changed if change.delta.rank is not None)
    if not ranks:
        return []
    ordered = sorted(ranks.items())
    only = ordered[0][0] if len(ordered) == 1 else None
    text = f"{only:,}" if only is not None else _tally([(f"{rank:,}", count) for rank, count in ordered])
    return [Fact("rank", "Rank", only if only is not None else {str(r): c for r, c in ordered}, text), *scaling_facts(found)]


def _targets(found: Adapter) -> Fact:
    wanted = found.config.get("target_modules")
    entries = [entry for entry in wanted if isinstance(entry, str)] if isinstance(wanted, list) else []
    paths = dict.fromkeys(change.path for change in found.changed)
    counts = Counter(target_of(path, entries) for path in paths)
    text = _tally([(name or "(top level)", count) for name, count in counts.items()])
    return Fact("target_modules", "Targets", dict(counts), text)


def target_of(path: str, entries: Iterable[str] = ()) -> str:
    """What a module is called in target_modules: its last name, with a number behind it or a general word (net.0.proj) more of it."""
    for entry in entries:
        if path == entry or path.endswith(f".{entry}"):
            return entry
    parts = path.split(".")
    if parts[-1].isdecimal() and len(parts) > 1:
        return ".".join(parts[-2:])
    if parts[-1] == "proj" and len(parts) > 2 and parts[-2].isdecimal():
        return ".".join(parts[-3:])
    return parts[-1]


def _layers(found: Adapter) -> list[Fact]:
    """Numbered lists that are reached into, with the numbers."""
    lists: dict[str, set[int]] = {}
    for change in found.changed:
        parts = change.path.split(".")
        number = next((position for position, part in enumerate(parts) if part.isdecimal()), None)
        if number:
            lists.setdefault(".".join(parts[:number]), set()).add(int(parts[number][:9]))
    if not lists:
        return []
    spans = [f"{path.rpartition('.')[2]} {_span(sorted(numbers))}" for path, numbers in lists.items()]
    value = {path: sorted(numbers) for path, numbers in lists.items()}
    return [Fact("layers", "Layers", value, _listed(spans, MOST_LISTED))]


def _span(numbers: list[int]) -> str:
    if len(numbers) == numbers[-1] - numbers[0] + 1:
        return f"{numbers[0]}–{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    return ", ".join(map(str, numbers[:MOST_LISTED])) + (", …" if len(numbers) > MOST_LISTED else "")


def _counts(found: Adapter, ledger: Ledger) -> list[Fact]:
    """Parameters, modules saved whole, and what merging adds."""
    whole = ledger.total_parameters()
    share = f"  ·  {100 * found.parameters / whole:.2f} % of those in the file" if found.beside and whole else ""
    share += f"  ·  {found.copies:,} more are copies, which layers share" if found.copies else ""
    facts = [Fact("parameters", "Parameters", Count(found.parameters), f"{found.parameters:,}{share}")]
    if found.saved:
        names = dict.fromkeys(target_of(path) or "(top level)" for path in found.saved)
        facts.append(
            Fact(
                "saved_whole",
                "Saved whole",
                found.saved,
                f"{_listed(list(names), MOST_LISTED)}: {found.beside:,} parameters, which replace the base's own",
            )
        )
    shapes = Counter(change.delta.shape for change in found.changed if change.delta.shape)
    values = sum(math.prod(shape) * count for shape, count in shapes.items())
    changes = [{"shape": list(shape), "count": count} for shape, count in shapes.most_common()]
    facts.append(Fact("weight_changes", "", changes, audience=MACHINES))
    facts.append(Fact("changed_values", "", Count(values), audience=MACHINES))
    if shapes:
        listed = _listed([" × ".join(f"{extent:,}" for extent in shape) for shape, _ in shapes.most_common()], FEW_LISTED)
        part = f" from {100 * found.parameters / values:.2g} % as many parameters" if values > found.parameters else ""
        several = sum(shapes.values())
        text = f"{several:,} weight change{'s' if several > 1 else ''}, out × in {listed}: {values:,} values{part}"
        facts.append(Fact("merging", "Merging adds", None, text, PEOPLE))
    else:
        method = found.changed[0].delta.method
        said = UNMERGEABLE.get(method, "changes weights of the base whose shapes the adapter does not hold")
        facts.append(Fact("merging", "Merging", None, said, PEOPLE))
    return facts


def _tally(counted: list[tuple[str, int]]) -> str:
    """q_proj ×32, v_proj ×32; a single thing that occurs once is only named."""
    return _listed([f"{name} ×{count:,}" if count > 1 else name for name, count in counted], MOST_LISTED)


def _listed(texts: list[str], most: int) -> str:
    return ", ".join(texts[:most]) + (f", {len(texts) - most:,} more" if len(texts) > most else "")
