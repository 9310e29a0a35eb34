"""What names say of how a file was made: wrappers around the model, averaged copies, weights written in several parts; and how to load it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelscope_cli.analysis.conventions import (
    ORTHOGONAL,
    PARAMETRIZATIONS,
    PARAMETRIZED,
    PRUNED,
    SPECTRAL_NORM,
    WEIGHT_NORM,
    WRAPPERS,
    convention,
    ended,
    parametrization,
)
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import AVERAGED, BIAS, BUFFER, EMA, WEIGHT
from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import Finding

WRAPPED = re.compile(rf"(?<![^.])(?:{'|'.join(WRAPPERS)})\.")
PARTED = re.compile(rf"{PARAMETRIZATIONS}\.|_(?:g|orig|bar)$")
COUNTED = "n_averaged"  # how often an AveragedModel was updated: it stands beside module.
MOST_PREFIXES = 3  # prefixes that are told of
STRIP = "torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state_dict, {prefix!r})"
MEANINGS = {
    WEIGHT_NORM: ("weight_g and weight_v", "original0 and original1", "g · v / ‖v‖, both are parameters"),
    SPECTRAL_NORM: (
        "weight_orig, weight_u and weight_v",
        "original, _u and _v",
        "the original over its largest singular value",
    ),
    PRUNED: ("weight_orig and weight_mask", "", "the original times the mask; prune.remove() makes it permanent"),
    ORTHOGONAL: ("", "original and base", "an orthogonal matrix made of the original"),
    PARAMETRIZED: ("", "originals", "made of them by code that is not in the file"),
}


def convention_findings(ledger: Ledger, names: Sequence[str] | None = None) -> list[Finding]:
    """One line for each convention in use. `names` stand for all: what no module has twice is enough to look at first."""
    names = ledger.names if names is None else names
    found = lightning(ledger) + averaged(ledger)
    if any(WRAPPED.search(name) for name in names):
        found += wrapper_findings(ledger)
    if any(PARTED.search(name) for name in names):
        found += weight_findings(ledger)
    return found


# Wrappers ----------------------------------------------------------------------------------------------------------------


def wrapper_findings(ledger: Ledger) -> list[Finding]:
    """Prefixes and parts of names from DistributedDataParallel, torch.compile, FSDP and their like.

    A model may well have a module called module: only where all names begin so is it a wrapper.
    """
    inner: Counter[str] = Counter()
    prefixed: list[tuple[tuple[str, ...], int, int, str, bool]] = []
    for start, stop, path in _groups(ledger):
        skip = len(path) + 1 if path else 0
        runs: Counter[tuple[str, ...]] = Counter()
        for line in range(start, stop):
            parts = ledger.names[line][skip:].split(".")[:-1]
            run = 0
            while run < len(parts) and parts[run] in WRAPPERS:
                run += 1
            runs[tuple(parts[:run])] += 1
            inner.update(dict.fromkeys([part for part in parts[run:] if part in WRAPPERS and part.startswith("_")], 1))
        averages = ledger.names[start:stop].count(path + "." * bool(path) + COUNTED)
        whole = stop - start - averages
        prefixed += [
            (run, count, whole, path, bool(averages))
            for run, count in runs.items()
            if run and (count == whole or set(run) != {"module"})
        ]
    found = [_prefix(*prefix) for prefix in prefixed[:MOST_PREFIXES] if not inner.keys() >= set(prefix[0])]
    return found + (_inside(inner) if inner else [])


def _inside(inner: Counter[str]) -> list[Finding]:
    """Wrappers of modules within the model."""
    listed = " and ".join(f"{name}. ({WRAPPERS[name]}, in {count:,})" for name, count in inner.items())
    pattern = "|".join(inner)
    text = (
        f"names hold {listed}: a plain model has them without it; load with "
        f'{{re.sub(r"({pattern})\\.", "", name): tensor for name, tensor in state_dict.items()}}'
    )
    return [Finding("info", "wrapped", "", text)]


def _prefix(run: tuple[str, ...], count: int, whole: int, path: str, averages: bool) -> Finding:
    prefix = ".".join(run) + "."
    of = f"all {whole:,}{' other' * averages}" if count == whole else f"{count:,} of {whole:,}"
    where = f" in {path}" if path else ""
    origins = "; ".join(dict.fromkeys(WRAPPERS[name] for name in run))
    text = f"{of} names{where} begin with {prefix}, from {origins}: a plain model has them without it; {STRIP.format(prefix=prefix)}"
    return Finding("info", "wrapped", "", text + " takes it off")


def _groups(ledger: Ledger) -> list[tuple[int, int, str]]:
    """(first line, line behind the last, path) of the dictionaries that hold weights."""
    checkpoint = ledger.checkpoint
    starts = [start for start, _ in checkpoint.groups] + [len(checkpoint.tensors)]
    held = []
    for number, (_, path) in enumerate(checkpoint.groups):
        first, last = starts[number], starts[number + 1]
        if any(role in (WEIGHT, BIAS, BUFFER, EMA) for role in ledger.roles[first:last]):
            held.append((first, last, path))
    return held


def lightning(ledger: Ledger) -> list[Finding]:
    """A Lightning checkpoint names the weights by the attribute of the LightningModule that holds the network."""
    metadata: dict[str, Any] = ledger.checkpoint.metadata
    if "pytorch-lightning_version" not in metadata and not {"loops", "callbacks"} <= metadata.keys():
        return []
    for first, last, path in _groups(ledger):
        tops = {name[len(path) + 1 :].partition(".")[0] for name in ledger.names[first:last]} if path == "state_dict" else set()
        if len(tops) == 1:
            (top,) = tops
            text = (
                f"a Lightning checkpoint: all names in {path} begin with {top}., the attribute of the LightningModule that holds "
                f"the network; LightningModule.load_from_checkpoint reads it, the bare network needs them without {top}."
            )
            return [Finding("info", "lightning", "", text)]
    return []


def averaged(ledger: Ledger) -> list[Finding]:
    """Averaged copies inside one state_dict, under a prefix of their own."""
    if EMA not in ledger.roles:
        return []
    counts: Counter[str] = Counter()
    for first, last, path in _groups(ledger):
        skip = len(path) + 1 if path else 0
        for line in range(first, last):
            if ledger.roles[line] == EMA:
                counts[ledger.names[line][skip:].partition(".")[0]] += 1
    found = []
    for name, count in counts.items():
        if name in AVERAGED.split("|"):
            text = f"{count:,} tensors under {name}. are a running average of the weights, counted beside them; to load it, take off {name}."
            found.append(Finding("info", "averaged", "", text))
    return found


# Weights -----------------------------------------------------------------------------------------------------------------


def weight_findings(ledger: Ledger) -> list[Finding]:
    """Weights that are kept as the tensors that torch makes them of."""
    pairs = {leaf for leaf in set(ledger.leaves) if ended(leaf)[1]}
    named: dict[tuple[str, str], dict[str, Shape]] = {}
    listed: dict[str, dict[str, Shape]] = {}
    for parent, leaf, shape in zip(ledger.parents, ledger.leaves, ledger.shapes, strict=True):
        head, mark, rest = parent.rpartition(f"{PARAMETRIZATIONS}.")
        if mark:
            tensor, _, below = rest.partition(".")
            listed.setdefault(f"{head}{tensor}", {})[f"{below}.{leaf}" if below else leaf] = shape
        elif leaf in pairs:
            tensor, ending = ended(leaf)
            named.setdefault((parent, tensor), {})[ending] = shape
    counts: dict[tuple[str, bool], list[str]] = {}
    for (parent, tensor), kept in named.items():
        word, _ = convention(kept)
        if word:
            counts.setdefault((word, False), []).append(f"{parent}.{tensor}" if parent else tensor)
    for name, kept in listed.items():
        if any(part.startswith("original") for part in kept):
            counts.setdefault((parametrization(kept), True), []).append(name)
    return [_weights(word, new, names) for (word, new), names in counts.items()]


def _weights(word: str, new: bool, names: list[str]) -> Finding:
    before, now, meaning = MEANINGS[word]
    how = f"kept as {f'{now} (torch.nn.utils.parametrize)' if new else before}"
    count = len(names)
    shown = f"{names[0]}" if count == 1 else f"{names[0]}, …"
    text = f"{count:,} {'weight is' if count == 1 else 'weights are'} {word}, {how}: the weight is {meaning} ({shown})"
    return Finding("info", word.replace(" ", "-"), "", text)
