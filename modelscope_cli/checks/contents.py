"""Rules about what is in a file: dtypes, format, metadata, optimizer state, waste, the tie of the head."""

from __future__ import annotations

from typing import Any

from modelscope_cli.analysis.findings import flat_metadata
from modelscope_cli.analysis.grouping import UNUSED
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.output_heads import output_heads
from modelscope_cli.analysis.ownership import first_users
from modelscope_cli.analysis.roles import BUFFER, MASTER, OPTIMIZER
from modelscope_cli.checks.patterns import nearest_module
from modelscope_cli.checks.rule import Demand, Subject
from modelscope_cli.checks.sizes import matched_lines
from modelscope_cli.checks.vocabulary import UNPICKLED
from modelscope_cli.report.document import Bytes, Count, Phrase, Ratio, Verdict

MOST_NAMED = 4


def allowed_dtypes(subject: Subject, demand: Demand) -> Verdict:
    """Weights and biases, quantised ones too; counters, masks and optimizer state may have what dtype they like."""
    ledger = subject.ledger
    lines = matched_lines(subject, demand)
    if demand.pattern and not lines:
        return demand.nothing(f"no module matches {demand.target!r}", nearest_module(ledger, demand.target))
    found: dict[str, list[int]] = {}
    for line in lines:
        if ledger.parameters[line] or _packed(ledger, line):
            found.setdefault(ledger.dtypes[line].name, []).append(line)
    if not found:
        return demand.nothing("there are no parameters")
    actual = ", ".join(found)
    wrong = {name: lines for name, lines in found.items() if name not in demand.value}
    if not wrong:
        return demand.passed(actual, f"all parameters are {' or '.join(found)}")
    said = [f"{_tensors(len(lines))} of {name}: {_examples(ledger, lines)}" for name, lines in wrong.items()]
    return demand.failed(actual, f"{'; '.join(said)} – allowed {_is(len(demand.value))} {', '.join(demand.value)}")


def _packed(ledger: Ledger, line: int) -> bool:
    """Whether a buffer is a weight in another form: a matrix called so."""
    return ledger.roles[line] == BUFFER and "weight" in ledger.leaves[line] and len(ledger.shapes[line]) > 1


def require_format(subject: Subject, demand: Demand) -> Verdict:
    """The format of the content, whatever the suffix says; of a baseline that of what it describes."""
    actual = subject.checkpoint.format
    if actual in demand.value:
        return demand.passed(actual, f"it is {actual}")
    todo = "safetensors.torch.save_file(state_dict, path) writes it" if demand.value == ("safetensors",) else ""
    return demand.failed(actual, f"it is {actual}, not {' or '.join(demand.value)}", todo)


def forbid_pickle(subject: Subject, demand: Demand) -> Verdict:
    """Formats that torch.load unpickles."""
    actual = subject.checkpoint.format
    if actual in UNPICKLED and not subject.checkpoint.pickles:
        return demand.passed(actual, f"it is {actual}: nothing to unpickle")
    return demand.failed(actual, f"it is {actual}, which is unpickled when it is loaded", "save it as safetensors")


def require_metadata(subject: Subject, demand: Demand) -> Verdict:
    """Keys of the metadata as the tables show them, nested ones with dots; a dictionary counts as its key."""
    metadata = subject.checkpoint.metadata
    missing = [key for key in demand.value if not _holds(metadata, key)]
    if not missing:
        flat = dict(flat_metadata(metadata, 100_000))
        shown = ", ".join(f"{key} = {str(flat[key])[:60]}" if key in flat else key for key in demand.value[:MOST_NAMED])
        return demand.passed(", ".join(demand.value), f"{shown}{', …' if len(demand.value) > MOST_NAMED else ''}")
    there = [str(key)[:60] for key in list(metadata)[:8]]
    todo = f"it has {', '.join(there)}{', …' if len(metadata) > 8 else ''}" if there else "the file has no metadata"
    have = [key for key in demand.value if key not in missing]
    return demand.failed(", ".join(have) or None, f"missing: {', '.join(missing)}", todo)


def _holds(metadata: Any, key: str) -> bool:
    """Whether a dictionary has a key, or one inside another. Keys may have dots in them."""
    if not isinstance(metadata, dict):
        return False
    if key in metadata:
        return True
    cuts = [at for at, sign in enumerate(key) if sign == "."]
    return any(_holds(metadata.get(key[:at]), key[at + 1 :]) for at in cuts[:64])


def forbid_optimizer_state(subject: Subject, demand: Demand) -> Verdict:
    """Tensors whose role is the optimizer's, and the master copies of weights that it keeps."""
    held = [subject.overview.roles.get(role, (0, 0, 0)) for role in (OPTIMIZER, MASTER)]
    tensors, nbytes = sum(role[0] for role in held), sum(role[2] for role in held)
    if not tensors:
        return demand.passed(Bytes(0), "there is none")
    facts = subject.ledger.roles_result.optimizers
    named = "; ".join(
        f"{fact.path or 'the file'} holds {fact.name or 'optimizer'} state"
        + (f" ({', '.join(fact.slots)})" if fact.slots else "")
        for fact in facts[:3]
    )
    if not named:
        roles, names = subject.ledger.roles, subject.ledger.names
        first = next(name for name, role in zip(names, roles, strict=True) if role in (OPTIMIZER, MASTER))
        named = f"{'optimizer state' if held[0][0] else 'a master copy of the weights'}, as {first}"
    share = Ratio(nbytes / subject.checkpoint.nbytes if subject.checkpoint.nbytes else 0.0)
    said = (f"{named}: ", Bytes(nbytes), " in ", Count(tensors), " tensors, ", share, " of the file")
    return demand.failed(Bytes(nbytes), Phrase(said), "save model.state_dict() by itself")


def forbid_waste(subject: Subject, demand: Demand) -> Verdict:
    """Storage that no tensor reaches."""
    unused = sum(remainder.nbytes for remainder in subject.overview.grouping.remainders if remainder.label == UNUSED)
    if not unused:
        return demand.passed(Bytes(0), "every byte of every storage is used")
    ledger = subject.ledger
    worst = sorted(ledger.ownership.waste, key=lambda pair: -pair[1])[:MOST_NAMED]
    first = first_users(ledger.checkpoint.tensors, {storage for storage, _ in worst})
    named = [first.get(storage, f"storage {ledger.checkpoint.tensors.storage.keys[storage]}") for storage, _ in worst]
    where = f", behind {', '.join(named)}{' …' if len(ledger.ownership.waste) > len(named) else ''}" if named else ""
    share = Ratio(unused / subject.checkpoint.nbytes)
    said = (Bytes(unused), f" of storage belong to no tensor{where} (", share, " of the file)")
    return demand.failed(
        Bytes(unused), Phrase(said), "a tensor that is a view drags its whole storage along: save tensor.clone()"
    )


def forbid_untied_head(subject: Subject, demand: Demand) -> Verdict:
    """Whether the output head shares the storage of the token embedding."""
    heads, ledger = output_heads(subject.ledger, subject.overview.tree.outline()), subject.ledger
    known = [head for head in heads if head.tied is not None]
    if not known:
        return demand.nothing("no token embedding with an output head was found")
    untied = [(head, head.line) for head in known if not head.tied and head.line is not None]
    if not untied:
        return demand.passed("tied", "; ".join(head.evidence for head in known[:MOST_NAMED]))
    said: list[Any] = []
    for head, line in untied[:MOST_NAMED]:
        cost = (Count(ledger.parameters[line]), " parameters, ", Bytes(ledger.nbytes[line]), " more than tied")
        said += ["; " if said else "", head.evidence, ": ", *cost]
    head, _ = untied[0]
    near = (head.path or "").partition(".")[0] == head.embedding.partition(".")[0] or "." not in (head.path or "")
    todo = f"tie it again before saving: {head.path}.weight = {f'{head.embedding}.weight' if near else 'that of its embedding'}"
    return demand.failed("not tied", Phrase(said), todo)


def _examples(ledger: Ledger, lines: list[int]) -> str:
    named = [ledger.names[line] for line in lines[:MOST_NAMED]]
    return ", ".join(named) + (", …" if len(lines) > MOST_NAMED else "")


def _tensors(count: int) -> str:
    return f"{count:,} {'tensor' if count == 1 else 'tensors'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
