"""Quantisation as a section of a report, the facts of it in the header, and what a reader should know besides."""

from __future__ import annotations

from collections import Counter
from typing import Any

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantisation_biases import doubtful
from modelscope_cli.analysis.quantisation_summary import Share, Summary, overlooked, summary, unexplained
from modelscope_cli.analysis.quantised import SINGLE, WHOLE, module_name
from modelscope_cli.analysis.roles import HELPER
from modelscope_cli.report.document import MACHINES, PEOPLE, Column, Count, Fact, Finding, Inferred, Row, Table

MOST_NAMED = 4
MOST_MODULES = 7
MOST_RULES = 6  # shown to people

COLUMNS = (
    Column("fact", audience=MACHINES),
    Column("label", "Quantisation", audience=PEOPLE),
    Column("value", audience=MACHINES),
    Column("text", "", audience=PEOPLE, yields=0.5),
    Column("evidence", "Evidence", show_from=74),
    Column("inferred", audience=MACHINES),
)


def quantisation_facts(ledger: Ledger) -> list[Fact]:
    """For the header: elements as they are stored, those of helpers, and the bits for each parameter."""
    found = summary(ledger)
    if found is None:
        return []
    facts = []
    helpers = ledger.by_role().get(HELPER, (0, 0, 0))
    if ledger.packed:
        facts.append(Fact("elements_stored", "Stored", Count(found.stored()), audience=MACHINES))
    if helpers[0]:
        text = (
            f"{helpers[1]:,} elements  in {helpers[0]:,} {_tensors(helpers[0])} of the quantisation, not counted as parameters"
        )
        facts.append(Fact("helpers", "Helpers", Count(helpers[1]), text))
    bits = found.bits_per_weight()
    if bits is not None:
        text = f"{bits[0]:.2f} over all parameters"
        if f"{bits[1]:.2f}" != f"{bits[0]:.2f}":
            text += f", {bits[1]:.2f} over the quantised ones"
        text += ", helpers included" if found.helpers else ""
        facts.append(Fact("bits_per_weight", "Bits/weight", round(bits[0], 4), text))
        facts.append(Fact("quantised_bits_per_weight", "", round(bits[1], 4), audience=MACHINES))
    return facts


def stored_words(ledger: Ledger) -> str:
    """What the line of the parameters adds where they are not what is stored."""
    found = summary(ledger) if ledger.packed else None
    stored = found.stored() if found is not None else 0
    return f"  ·  {stored:,} elements stored" if found is not None and stored != ledger.total_parameters() else ""


def quantisation_table(ledger: Ledger) -> Table | None:
    """Schemes, what is quantised and what is not, and whether that is what the configuration says."""
    found = summary(ledger)
    if found is None or not found.shares:
        return None
    rows = [_scheme(found, share) for share in found.shares]
    config = found.config
    symmetric = next((group.symmetric for group in config.groups if group.symmetric is not None), config.symmetric)
    if symmetric is not None:
        rows.append(_row("symmetric", "Symmetric", symmetric, "yes" if symmetric else "no", config.source))
    rows += [_quantised(found), *_kept(found)]
    rows += _left_out(found)
    return Table("quantisation", "", COLUMNS, rows)


def _row(fact: str, label: str, value: object, text: str, evidence: str, *, inferred: bool = False) -> Row:
    return Row((fact, label, value, Inferred(text) if inferred else text, evidence, inferred))


def _scheme(found: Summary, share: Share) -> Row:
    """One scheme: its name, bits and group."""
    ledger = found.ledger
    parts = [share.scheme]
    if share.bits is None:
        parts.append("bits not known, counted as stored")
    elif share.mixed:
        parts.append(f"{share.bits:.2f} bits on average")
    elif not share.scheme.startswith(("FP8", "torch ")):
        parts.append(f"{share.bits} bits")
    group, block = share.group, found.block(share) if share.scheme.startswith("FP8") else None
    if block:
        *lead, rows, columns = ledger.shapes[share.line]
        one = "an expert" if lead and block[0] == rows else "a tensor"
        whole = f"a scale {one}" if block[0] >= rows and block[1] >= columns else ""
        parts.append(whole or ("a scale a row" if block == (1, columns) else f"blocks of {block[0]} × {block[1]}"))
    elif group in (WHOLE, SINGLE):
        parts.append("a scale a row" if group == WHOLE else "a scale a tensor")
    elif group:
        parts.append(f"groups of {group}")
    value: dict[str, Any] = {
        "scheme": share.scheme, "bits": share.bits, "group": None if group in (WHOLE, SINGLE) else group, "tensors": share.tensors,
        "parameters": share.elements, "bytes": share.nbytes,
    }  # fmt: skip
    if block:
        value["block"] = list(block)
    source, counted = found.config.source, f"{share.tensors:,} {_tensors(share.tensors)}"
    if share.configured:
        evidence = f"{share.evidence.replace('the configuration', source)}, {counted}"
    else:
        said = found.config.said(ledger.parents[share.line]).bits if found.config.method and share.bits else None
        agrees = "agrees" if said == share.bits else f"says {said} bits"
        evidence = f"{share.evidence} of {counted}" + (f"; {source} {agrees}" if said else "")
    return _row("scheme", "Scheme", value, ", ".join(parts), evidence, inferred=True)


def _quantised(found: Summary) -> Row:
    whole, tensors = found.ledger.total_parameters(), sum(share.tensors for share in found.shares)
    share = f" ({100 * found.quantised / whole:.1f} %)" if whole else ""
    text = f"{found.quantised:,} in {tensors:,} {_tensors(tensors)}{share}"
    return _row("quantised", "Quantised", {"parameters": found.quantised, "tensors": tensors}, text, _modules(found.modules()))


def _kept(found: Summary) -> list[Row]:
    """What is not quantised."""
    ledger, lines = found.ledger, found.others
    dtypes: Counter[str] = Counter()
    for line in lines:
        dtypes[ledger.dtypes[line].name] += ledger.parameters[line]
    parameters = sum(dtypes.values())
    if not parameters:
        return []
    named = ", ".join(name for name, _ in dtypes.most_common(3))
    rest = len(lines) - len(found.plain)
    matrices = Counter([module_name(ledger.parents[line]) or ledger.names[line] for line in found.plain])
    evidence = ", ".join(
        filter(None, [_modules(matrices), f"{rest:,} {'vector' if rest == 1 else 'vectors'}" if rest > 0 else ""])
    )
    text = f"{parameters:,} in {len(lines):,} {_tensors(len(lines))}, {named}"
    return [
        _row("kept", "Not quantised", {"parameters": parameters, "tensors": len(lines), "dtypes": dict(dtypes)}, text, evidence)
    ]


def _left_out(found: Summary) -> list[Row]:
    """The modules that the configuration leaves out, by rule, as they are in the file."""
    rules = found.left_out()
    shown = [(rule, lines) for rule, lines in rules if lines]
    rows = []
    for rule, lines in shown[:MOST_RULES]:
        dtypes = ", ".join(dict.fromkeys(found.ledger.dtypes[line].name for line in lines))
        count = f"{len(lines):,} matrices, " if len(lines) > 1 or rule.pattern is not None else ""
        value = {"rule": rule.text, "matrices": len(lines), "dtypes": dtypes.split(", ")}
        rows.append(_row("left_out", "Left out", value, f"{rule.text}: {count}{dtypes}", f"as {found.config.source} says"))
    if len(shown) > MOST_RULES:
        more = shown[MOST_RULES:]
        text = f"{len(more):,} more entries, {sum(len(lines) for _, lines in more):,} matrices"
        value = {"rules": len(more), "matrices": sum(len(lines) for _, lines in more)}
        rows.append(_row("left_out_more", "", value, text, f"as {found.config.source} says"))
    idle = [rule.text for rule, lines in rules if not lines]
    if idle:
        text = f"{len(idle):,} {'entry means' if len(idle) == 1 else 'entries mean'} no matrix of the file"
        rows.append(_row("left_out_idle", "", {"rules": idle}, text, _listed(idle)))
    return rows


def quantisation_findings(ledger: Ledger) -> list[Finding]:
    """Where shapes and configuration disagree, and what could not be told."""
    found = summary(ledger)
    if found is None:
        return _integers(ledger)
    told: list[Finding] = []
    source = found.config.source
    for line, problem in ledger.quantised.problems[:MOST_NAMED]:
        told.append(Finding("warning", "quantisation-disagrees", ledger.parents[line], f"{problem}; the shapes are counted"))
    anyway = found.quantised_anyway()
    if anyway:
        text = f"{source} leaves out {_listed(anyway)}: quantised all the same"
        told.append(Finding("warning", "quantised-anyway", "", text))
    plain = found.not_quantised()
    if plain:
        names, dtypes = [ledger.parents[line] for line in plain], dict.fromkeys(ledger.dtypes[line].name for line in plain)
        verb = "is" if len(plain) == 1 else "are"
        text = f"{_listed(names)} {verb} {', '.join(dtypes)}, not quantised, and {source} does not leave {'it' if len(plain) == 1 else 'them'} out"
        told.append(Finding("warning", "not-quantised", "", text))
    if found.config.unfollowed:
        text = f"{len(found.config.unfollowed):,} of its patterns cannot be followed: {_listed(found.config.unfollowed)}"
        told.append(Finding("info", "patterns", source, text))
    if not found.shares and found.config.method:
        text = f"{source} says {found.config.title}, but no tensor of the file is quantised in a way that is known"
        told.append(Finding("warning", "not-quantised", "", text))
    return told + _biases(ledger) + _integers(ledger)


def _biases(ledger: Ledger) -> list[Finding]:
    """Biases that a writer of GPTQ may have made."""
    lines, whole = ledger.quantised.unused, ledger.total_parameters()
    if lines:
        source, elements = ledger.quantised.config.source or "config.json", sum([ledger.owned[line] for line in lines])
        count = "1 bias beside GPTQ weights is" if len(lines) == 1 else f"{len(lines):,} biases beside GPTQ weights are"
        text = f"{count} not counted ({elements:,} elements): the model of {source} has none there, and AutoGPTQ writes zeros"
        return [Finding("info", "biases", "", text)]
    lines = doubtful(ledger.quantised, ledger.parents, ledger.leaves, ledger.roles)
    if not lines:
        return []
    less = whole - sum([ledger.parameters[line] for line in lines])
    text = f"biases stand beside {len(lines):,} GPTQ weights; if they are the zeros that AutoGPTQ writes, the model has {less:,} parameters"
    return [Finding("info", "biases", "", text)]


def _integers(ledger: Ledger) -> list[Finding]:
    """Weights stored as integers of which nothing tells how they are packed."""
    lines = unexplained(ledger)
    if not lines:
        return _overlooked(ledger)
    names = _listed([ledger.names[line] for line in lines])
    word = f"{len(lines):,} {'weight is' if len(lines) == 1 else 'weights are'}"
    text = f"{word} stored as integers, and nothing tells their bits: counted as stored ({names})"
    return [Finding("info", "packed", "", text)]


def _overlooked(ledger: Ledger) -> list[Finding]:
    """Integers of an unknown layout that are most of the file."""
    lines = overlooked(ledger)
    if not lines:
        return []
    share = sum([ledger.nbytes[line] for line in lines]) / max(sum(ledger.nbytes), 1)
    take, are = ("takes", "is") if len(lines) == 1 else ("take", "are")
    text = f"{len(lines):,} {_tensors(len(lines))} of integers {take} {100 * share:.0f} % of the bytes and {are} named like no weight that is known: "
    text += f"counted as buffers, not as parameters ({_listed([ledger.names[line] for line in lines])})"
    return [Finding("warning" if ledger.total_parameters() else "info", "packed", "", text)]


def _modules(counted: Counter[str]) -> str:
    """The last parts of modules' names, the most frequent first."""
    named = [name for name, _ in counted.most_common(MOST_MODULES + 1)]
    return ", ".join(named[:MOST_MODULES]) + (", …" if len(named) > MOST_MODULES else "")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else "")


def _tensors(count: int) -> str:
    return "tensor" if count == 1 else "tensors"
