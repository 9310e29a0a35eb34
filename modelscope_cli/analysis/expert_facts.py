"""What is said of a mixture of experts: the experts, and how many parameters a token uses, with a formula that adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelscope_cli.analysis.experts import Mixture, Pool, read_experts
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.core.tensor import Shape

Add = Callable[..., None]
MOST_LISTED = 4  # kinds of experts, terms of the formula


def expert_facts(
    ledger: Ledger, outline: Outline, weights: Mapping[str, Shape], width: Callable[[str, str], str], add: Add
) -> Mixture | None:
    """Add what there is to say: experts, and active parameters. `width(path, number)`: what one expert is, in words."""
    mixture = read_experts(ledger, outline, weights)
    if mixture is None:
        return None
    largest = max(mixture.pools, key=lambda pool: (pool.experts, pool.parameters))
    add("experts", "Experts", largest.experts, _experts(mixture, width), largest.evidence)
    whole = ledger.total_parameters()
    active = mixture.active(whole)
    if active is None:
        why = dict.fromkeys(pool.used.source for pool in mixture.pools if pool.used.number is None)
        held = f"{mixture.routed:,} of {whole:,} are in routed experts"
        add("active_parameters", "Active", None, "; ".join(list(why)[:2]), held, inferred=False)
        return mixture
    share = f"{100 * active / whole:.1f} %" if whole else ""
    token = "text token" if any(pool.lot for pool in mixture.pools) else "token"
    add("active_parameters", "Active", active, f"{active:,} a {token}, {share} of {whole:,}", _formula(mixture, whole))
    return mixture


def _experts(mixture: Mixture, width: Callable[[str, str], str]) -> str:
    """The kinds of pools, each with what they have in common."""
    layers: dict[tuple[str, int, str, str, int | None], int] = {}
    for pool in mixture.pools:
        key = (pool.part, pool.experts, width(pool.path, pool.first), pool.lot, pool.used.number)
        layers[key] = layers.get(key, 0) + pool.layers
    texts = []
    for (part, experts, each, lot, used), count in list(layers.items())[:MOST_LISTED]:
        where = f"{experts:,} in each of {count:,} layers" if count > 1 else f"{experts:,} in a layer"
        whose = f"{part}: " if part and len({key[0] for key in layers}) > 1 else ""
        active = f", {used:,} active a token" if used else ""
        texts.append(f"{whose}{where}{f' for {lot}' if lot else ''}{each}{active}")
    more = len(layers) - len(texts)
    return "; ".join(texts) + (f"; {more:,} more kinds" if more else "") + (", and shared ones" if mixture.shared else "")


def _formula(mixture: Mixture, whole: int) -> str:
    """How the active parameters come about: what works for every token, and of each kind of pool the part that does."""
    terms: dict[tuple[int, int], list[Pool]] = {}
    for pool in mixture.pools:
        terms.setdefault((pool.used.number or 0, pool.experts), []).append(pool)
    sums = {key: sum(pool.parameters for pool in pools) for key, pools in terms.items()}
    shown = list(sums)[:MOST_LISTED]
    text = f"{whole - mixture.ahead - mixture.routed:,}"
    text += "".join(f" + {used:,}/{experts:,} × {sums[used, experts]:,}" for used, experts in shown)
    rest = [key for key in sums if key not in shown]
    if rest:
        text += f" + {sum(sums[used, n] * used // n for used, n in rest):,} of {sum(sums[key] for key in rest):,}"
    sources = list(dict.fromkeys(pool.used.source for pool in mixture.pools))
    text += f" in routed experts ({', '.join(sources[:2])}{', …' if len(sources) > 2 else ''})"
    if mixture.ahead:
        text += f"; without {mixture.ahead:,} in {mixture.layers_ahead}, which predict{'s' * ('layers' not in mixture.layers_ahead.split())} further tokens"
    return f"{text}; embeddings count"
