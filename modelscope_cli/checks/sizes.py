"""Rules about sizes: bytes, parameters, shares, and growth since the baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.checks.patterns import Matched, nearest_module
from modelscope_cli.checks.reasons import explained, like
from modelscope_cli.checks.rule import Demand, Subject
from modelscope_cli.report.document import Bytes, Count, Phrase, Ratio, Verdict

Figure = Callable[[Matched], int]


def max_size(subject: Subject, demand: Demand) -> Verdict:
    """The size of all files; of a module the bytes of its tensors."""
    return _at_most(subject, demand, lambda module: module.nbytes, subject.checkpoint.nbytes, "")


def max_parameters(subject: Subject, demand: Demand) -> Verdict:
    """Distinct elements of weights and biases."""
    return _at_most(subject, demand, lambda module: module.parameters, subject.overview.parameters, " parameters")


def max_share(subject: Subject, demand: Demand) -> Verdict:
    """Parameters of a module over those of the model; without a pattern, of any module that holds parameters itself."""
    whole = subject.overview.parameters
    modules = demand.pattern.find(subject.ledger) if demand.pattern else subject.direct
    if not modules:
        return _no_module(subject, demand) if demand.pattern else demand.nothing("there are no parameters")
    if not whole:
        return demand.nothing("there are no parameters")
    largest = max(modules, key=lambda module: module.parameters)
    actual = Ratio(largest.parameters / whole)
    figures = f" of the parameters ({largest.parameters:,} of {whole:,})"
    if actual <= demand.value:
        where = _in_largest(demand, largest, len(modules))
        return demand.passed(actual, Phrase((actual, figures, where, ", at most ", demand.value)))
    over = [module for module in modules if module.parameters > demand.value * whole]
    others = f", and {len(over) - 1:,} more {_modules(len(over) - 1)} above the limit" if len(over) > 1 else ""
    points = f"{(actual - demand.value) * 100:.1f}"
    return demand.failed(
        actual, Phrase((f"{largest.path} has ", actual, figures, f", {points} points above ", demand.value, others))
    )


def max_growth(subject: Subject, demand: Demand) -> Verdict:
    """Bytes more than in the baseline."""
    whole = (subject.checkpoint.nbytes, subject.old.checkpoint.nbytes)
    return _growth(subject, demand, lambda module: module.nbytes, whole, "")


def max_parameter_growth(subject: Subject, demand: Demand) -> Verdict:
    """Parameters more than in the baseline."""
    whole = (subject.overview.parameters, subject.old.total_parameters())
    return _growth(subject, demand, lambda module: module.parameters, whole, " parameters")


def _at_most(subject: Subject, demand: Demand, figure: Figure, whole: int, unit: str) -> Verdict:
    """A figure of the whole, or of each module by itself, against a limit."""
    limit = demand.value
    if demand.pattern is None:
        actual = like(limit, whole)
        if whole <= limit:
            return demand.passed(actual, Phrase((actual, unit, " of at most ", limit)))
        why = explained(subject, limit, unit)
        return demand.failed(actual, Phrase((actual, unit, ", ", like(limit, whole - limit), " above ", limit, "; ", *why)))
    modules = demand.pattern.find(subject.ledger)
    if not modules:
        return _no_module(subject, demand)
    largest = max(modules, key=figure)
    actual = like(limit, figure(largest))
    over = [module for module in modules if figure(module) > limit]
    if not over:
        where = _in_largest(demand, largest, len(modules))
        return demand.passed(actual, Phrase((actual, unit, where, ", at most ", limit)))
    excess = (like(limit, figure(largest) - limit), " above ", limit)
    others = f"; {len(over) - 1:,} more {_modules(len(over) - 1)} above it" if len(over) > 1 else ""
    return demand.failed(actual, Phrase((f"{largest.path} has ", actual, unit, ", ", *excess, others)))


def _growth(subject: Subject, demand: Demand, figure: Figure, whole: tuple[int, int], unit: str) -> Verdict:
    """A figure against that of the baseline, for the whole or for each module by itself."""
    if demand.pattern is None:
        return _grown(subject, demand, [("", *whole)], figure, unit)
    new = {module.path: figure(module) for module in demand.pattern.find(subject.ledger)}
    old = {module.path: figure(module) for module in demand.pattern.find(subject.old)}
    if not new and not old:
        return _no_module(subject, demand)
    return _grown(subject, demand, [(path, new.get(path, 0), old.get(path, 0)) for path in {**new, **old}], figure, unit)


def _grown(subject: Subject, demand: Demand, pairs: list[tuple[str, int, int]], figure: Figure, unit: str) -> Verdict:
    """The verdict on (path, new, old) figures: the one that grew most speaks for all."""
    limit, relative = demand.value, isinstance(demand.value, Ratio)

    def excess(pair: tuple[str, int, int]) -> float:
        _, new, old = pair
        if relative and not old:
            return float("inf") if new else 0.0
        return (new - old) / old if relative else new - old

    path, new, old = max(pairs, key=excess)
    change = new - old
    measure = demand.value if not relative else Bytes(0) if unit == "" else Count(0)
    grown = like(measure, abs(change))
    said: tuple[Any, ...] = (
        ("grew by ", grown, unit) if change > 0 else ("shrank by ", grown, unit) if change else ("did not grow",)
    )
    share: tuple[Any, ...] = (
        (" (", Ratio(abs(change) / old), ")") if old and change else (", new since the baseline",) if change else ()
    )
    who = f"{path} " if path and (len(pairs) > 1 or path != demand.target) else ""
    actual = Ratio(change / old) if relative and old else like(measure, change)
    over = [pair for pair in pairs if excess(pair) > limit]
    if not over:
        return demand.passed(actual, Phrase((who, *said, *share, ", at most ", limit)))
    from_to = (": ", like(measure, old), " → ", like(measure, new)) if old else ()
    others = f"; {len(over) - 1:,} more {_modules(len(over) - 1)} above the limit" if len(over) > 1 else ""
    why = () if others or not old else ("; ", *explained(subject, measure, unit, path))
    return demand.failed(actual, Phrase((who, *said, *share, *from_to, ", at most ", limit, *why, others)))


def _no_module(subject: Subject, demand: Demand) -> Verdict:
    """A rule about modules that are not there: a slip, or a model that has changed under it."""
    return demand.nothing(f"no module matches {demand.target!r}", nearest_module(subject.ledger, demand.target))


def _in_largest(demand: Demand, largest: Matched, count: int) -> str:
    """Which module a figure is of, where the rule does not say it already."""
    if count > 1:
        return f" in the largest of {count:,} modules, {largest.path}"
    return "" if largest.path == demand.target else f" in {largest.path}"


def _modules(count: int) -> str:
    return "module" if count == 1 else "modules"


def matched_lines(subject: Subject, demand: Demand) -> list[int]:
    """The lines of the ledger a demand is about."""
    ledger: Ledger = subject.ledger
    if demand.pattern is None:
        return list(range(len(ledger)))
    return sorted({line for module in demand.pattern.find(ledger) for line in module.lines})
