"""Rules about sizes: bytes, parameters, shares, and growth since the baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.checks.growth import Pair, pairs
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
    return _growth(subject, demand, Pair("", subject.checkpoint.nbytes, subject.old.checkpoint.nbytes), "")


def max_parameter_growth(subject: Subject, demand: Demand) -> Verdict:
    """Parameters more than in the baseline."""
    return _growth(subject, demand, Pair("", subject.overview.parameters, subject.old.total_parameters()), " parameters")


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


def _growth(subject: Subject, demand: Demand, whole: Pair, unit: str) -> Verdict:
    """A figure against that of the baseline, for the whole or for each module: the one that grew most speaks for all."""
    found = [whole] if demand.pattern is None else pairs(subject, demand.pattern, by_parameters=bool(unit))
    if not found:
        return _no_module(subject, demand)
    limit, relative = demand.value, isinstance(demand.value, Ratio)

    def excess(pair: Pair) -> float:
        if relative and not pair.old:
            return float("inf") if pair.new else 0.0
        return pair.change / pair.old if relative and pair.old else pair.change

    most = max(found, key=excess)
    measure = (Bytes(0) if unit == "" else Count(0)) if relative else limit
    said = _said(most, measure, unit)
    who = f"{most.path} " if most.path and (len(found) > 1 or most.path != demand.target) else ""
    actual = Ratio(most.change / most.old) if relative and most.old else like(measure, most.change)
    over = [pair for pair in found if excess(pair) > limit]
    if not over:
        return demand.passed(actual, Phrase((who, *said, ", at most ", limit)))
    from_to = (": ", like(measure, most.old), " → ", like(measure, most.new or 0)) if most.old else ()
    others = f"; {len(over) - 1:,} more {_modules(len(over) - 1)} above the limit" if len(over) > 1 else ""
    why = () if others or not most.old else ("; ", *explained(subject, measure, unit, most.path))
    return demand.failed(actual, Phrase((who, *said, *from_to, ", at most ", limit, *why, others)))


def _said(pair: Pair, measure: Any, unit: str) -> tuple[Any, ...]:
    """What happened to a figure since the baseline."""
    if not pair.change:
        return ("did not grow",)
    verb = "grew by " if pair.change > 0 else "shrank by "
    share = (
        (" (", Ratio(abs(pair.change) / pair.old), ")")
        if pair.old
        else (", new since the baseline",)
        if pair.old is None
        else ()
    )
    return (verb, like(measure, abs(pair.change)), unit, *share)


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
