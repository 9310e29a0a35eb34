"""By how much an adapter's weight changes are multiplied: alpha / rank, or alpha / √rank where it is rank-stabilised.

alpha stands in adapter_config.json, for some modules another one in its alpha_pattern: a pattern is a regular expression that
must end where the module's name does and begin at a dot (PEFT, utils/other.py, get_pattern_key). Ranks are those of the tensors.
Patterns may come from anybody: one whose cost is not bounded is not followed, and then nothing is said of the scaling.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.adapters import Adapter, number_of
from modelscope_cli.analysis.quantisation_rules import Budget, Rules
from modelscope_cli.report.document import Fact

MOST_LISTED = 8
MOST_PATTERNS = 4096
SCALED = ("LoRA", "DoRA", "AdaLoRA", "LoHa", "LoKr", "GLoRA")  # methods that have an alpha
OUTSIDE = ("base_model.model.", "base_model.")  # what PEFT puts before the names of the model


def scaling_facts(found: Adapter) -> list[Fact]:
    """Alpha and scaling, as far as they are said."""
    config, source = found.config, found.source
    scaled = [
        change
        for change in found.changed
        if change.delta.method in SCALED
        and change.delta.rank is not None
        and "B_Xd" not in change.parts  # PEFT's GLoRA has none
    ]
    if not scaled:
        return []
    given = next((config[name] for name in ("lora_alpha", "alpha") if config.get(name) is not None), None)
    alpha = number_of(given)
    if alpha is None:
        scale = number_of(config.get("scaling"))
        if scale is not None:
            return [Fact("scaling", "Scaling", scale, f"{scale:g}  ({source})")]
        stored = sum("alpha" in change.parts for change in scaled)
        said = "not said: needs lora_alpha in an adapter_config.json"
        if given is not None:
            said = f"what {source} gives is no number that it could be"
        elif stored:
            said = f"a tensor in {f'each of {stored:,} modules' if stored > 1 else 'the module'}, which is not read"
        return [Fact("alpha", "Alpha", None, said)]
    patterns = _Patterns(config.get("alpha_pattern"))
    pairs = Counter((patterns.alpha(change.path, alpha), change.delta.rank or 0) for change in scaled)
    if patterns.unfollowed:
        why = f"{alpha:g}, or as {patterns.unfollowed:,} patterns of names say that are not followed  ({source})"
        return [Fact("alpha", "Alpha", None, why)]
    alphas = Counter({number: 0 for number, _ in pairs})
    for (number, _), count in pairs.items():
        alphas[number] += count
    if len(alphas) == 1:
        (only,) = alphas
        facts = [Fact("alpha", "Alpha", only, f"{only:g}  ({source})")]
    else:
        text = ", ".join(f"{number:g} ×{count:,}" for number, count in list(alphas.items())[:MOST_LISTED])
        more = f", {len(alphas) - MOST_LISTED:,} more" if len(alphas) > MOST_LISTED else ""
        facts = [
            Fact("alpha", "Alpha", {f"{number:g}": count for number, count in alphas.items()}, f"{text}{more}  ({source})")
        ]
    return facts + _scaling(pairs, several=len(alphas) > 1, rooted=config.get("use_rslora") is True)


def _scaling(pairs: Mapping[tuple[float, int], int], *, several: bool, rooted: bool) -> list[Fact]:
    """The factor for each (alpha, rank), with how many modules have it."""
    scales = {pair: pair[0] / (math.sqrt(pair[1]) if rooted else pair[1]) for pair in sorted(pairs, key=_by_rank) if pair[1]}
    if not scales:
        return []
    formula = "alpha / √rank" if rooted else "alpha / rank"
    if len(set(scales.values())) == 1:
        scale = next(iter(scales.values()))
        return [Fact("scaling", "Scaling", scale, f"{scale:.6g} = {formula}")]
    shown = list(scales.items())[:MOST_LISTED]
    if several:
        texts = [f"{scale:.6g} at alpha {alpha:g} and rank {rank:,}" for (alpha, rank), scale in shown]
        value: dict[str, Any] = {f"{alpha:g}/{rank}": scale for (alpha, rank), scale in scales.items()}
    else:
        texts = [f"{scale:.6g} at rank {rank:,}" for (_, rank), scale in shown]
        value = {str(rank): scale for (_, rank), scale in scales.items()}
    more = f", {len(scales) - len(shown):,} more" if len(scales) > len(shown) else ""
    return [Fact("scaling", "Scaling", value, f"{formula}: {', '.join(texts)}{more}")]


def _by_rank(pair: tuple[float, int]) -> tuple[int, float]:
    return pair[1], pair[0]


class _Patterns:
    """The alphas of modules that a pattern means; the first that does counts. `unfollowed`: patterns that cannot be followed."""

    def __init__(self, patterns: Any):
        given = patterns if isinstance(patterns, dict) else {}
        entries = {text: number_of(value) for text, value in list(given.items())[:MOST_PATTERNS]}
        self.order = {text: place for place, text in enumerate(entries)}
        self.alphas = entries
        self.names = {text for text in entries if re.fullmatch(r"[\w.\-]+", text)}
        self.budget = Budget()
        self.rules = Rules([_rule(text) for text in entries if text not in self.names], "", self.budget)
        self.written = {_rule(text): text for text in entries if text not in self.names}
        self.unfollowed = (
            len(self.rules.unfollowed) + len(given) - len(entries) + sum(number is None for number in entries.values())
        )

    def alpha(self, path: str, otherwise: float) -> float:
        """The alpha of a module."""
        if not self.order:
            return otherwise
        for outside in OUTSIDE:
            path = path.removeprefix(outside)
        found = {end for end in _ends(path) if end in self.names}
        if self.written:
            rule = self.rules.first(path)
            if rule is not None:
                found.add(self.written[rule.text])
            elif self.budget.seconds <= 0:
                self.unfollowed = self.unfollowed or len(self.written)
        first = min(found, key=self.order.__getitem__, default=None)
        number = self.alphas[first] if first is not None else otherwise
        return otherwise if number is None else number


def _rule(text: str) -> str:
    return rf"re:(.*\.)?(?:{text})$"


def _ends(path: str) -> list[str]:
    """A name and what it ends in, from one dot on: a.b.c, b.c, c."""
    parts = path.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]
