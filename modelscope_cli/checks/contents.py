"""Rules about what is in a file: dtypes, format, metadata, optimizer state, waste, the tie of the head."""

from __future__ import annotations

from modelscope_cli.analysis.architecture import output_head
from modelscope_cli.analysis.findings import flat_metadata
from modelscope_cli.analysis.grouping import UNUSED
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import OPTIMIZER
from modelscope_cli.checks.patterns import nearest_module
from modelscope_cli.checks.rule import Demand, Subject
from modelscope_cli.checks.sizes import matched_lines
from modelscope_cli.core.dtype import DTYPES, SAFETENSORS_DTYPES
from modelscope_cli.report.document import Bytes, Count, Phrase, Ratio, Verdict

MOST_NAMED = 4
PICKLED = ("torch-zip", "torch-legacy", "torchscript", "pickle")  # formats that loading would unpickle
KNOWN_FORMATS = ("safetensors", *PICKLED)
GROUPS_OF_FORMATS = {"pytorch": ("torch-zip", "torch-legacy"), "torch": ("torch-zip", "torch-legacy")}
SHORT_DTYPES = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "half": "float16",
    "float": "float32",
    "fp64": "float64",
}
SHORT_DTYPES |= {short.lower(): dtype.name for short, dtype in SAFETENSORS_DTYPES.items()}


def allowed_dtypes(subject: Subject, demand: Demand) -> Verdict:
    """Weights and biases; buffers (counters, masks) and optimizer state may have what dtype they like."""
    ledger = subject.ledger
    allowed = {SHORT_DTYPES.get(word.lower(), word) for word in demand.value}
    lines = matched_lines(subject, demand)
    if demand.pattern and not lines:
        return demand.nothing(f"no module matches {demand.target!r}", nearest_module(ledger, demand.target))
    found: dict[str, list[int]] = {}
    for line in lines:
        if ledger.parameters[line]:
            found.setdefault(ledger.dtypes[line].name, []).append(line)
    if not found:
        return demand.nothing("there are no parameters")
    actual = ", ".join(found)
    wrong = {name: lines for name, lines in found.items() if name not in allowed}
    if not wrong:
        return demand.passed(actual, f"all parameters are {' or '.join(found)}")
    said = [f"{_tensors(len(lines))} of {name}: {_examples(ledger, lines)}" for name, lines in wrong.items()]
    unknown = [word for word in demand.value if SHORT_DTYPES.get(word.lower(), word) not in DTYPES]
    todo = f"{', '.join(unknown)}: no dtype of torch is called so" if unknown else ""
    return demand.failed(actual, f"{'; '.join(said)} – allowed {_is(len(allowed))} {', '.join(demand.value)}", todo)


def require_format(subject: Subject, demand: Demand) -> Verdict:
    """The format of the content, whatever the suffix says."""
    actual = subject.checkpoint.format
    wanted = {each for word in demand.value for each in GROUPS_OF_FORMATS.get(word.lower(), (word.lower(),))}
    if actual in wanted:
        return demand.passed(actual, f"it is {actual}")
    todo = "safetensors.torch.save_file(state_dict, path) writes it" if "safetensors" in wanted and actual in PICKLED else ""
    unknown = [word for word in demand.value if word.lower() not in KNOWN_FORMATS and word.lower() not in GROUPS_OF_FORMATS]
    if unknown:
        todo = f"{', '.join(unknown)}: no format read here is called so; they are {', '.join(KNOWN_FORMATS)}"
    return demand.failed(actual, f"it is {actual}, not {' or '.join(demand.value)}", todo)


def forbid_pickle(subject: Subject, demand: Demand) -> Verdict:
    """Formats that torch.load unpickles."""
    actual = subject.checkpoint.format
    if actual not in PICKLED and not subject.checkpoint.pickles:
        return demand.passed(actual, f"it is {actual}: nothing to unpickle")
    return demand.failed(actual, f"it is {actual}, which is unpickled when it is loaded", "save it as safetensors")


def require_metadata(subject: Subject, demand: Demand) -> Verdict:
    """Keys of the metadata as the tables show them, nested ones with dots; a key above others counts too."""
    flat = dict(flat_metadata(subject.checkpoint.metadata, 100_000))
    have = set(flat) | {key[:at] for key in flat for at, sign in enumerate(key) if sign == "."}
    missing = [key for key in demand.value if key not in have]
    if not missing:
        shown = ", ".join(f"{key} = {str(flat[key])[:60]}" if key in flat else key for key in demand.value[:MOST_NAMED])
        return demand.passed(", ".join(demand.value), f"{shown}{', …' if len(demand.value) > MOST_NAMED else ''}")
    there = sorted({key.partition(".")[0] for key in flat})
    todo = f"it has {', '.join(there[:8])}{', …' if len(there) > 8 else ''}" if there else "the file has no metadata"
    return demand.failed(", ".join(sorted(have & set(demand.value))) or None, f"missing: {', '.join(missing)}", todo)


def forbid_optimizer_state(subject: Subject, demand: Demand) -> Verdict:
    """Tensors whose role is the optimizer's."""
    tensors, _, nbytes = subject.overview.roles.get(OPTIMIZER, (0, 0, 0))
    if not tensors:
        return demand.passed(Bytes(0), "there is none")
    facts = subject.ledger.roles_result.optimizers
    named = "; ".join(
        f"{fact.path or 'the file'} holds {fact.name or 'optimizer'} state ({', '.join(fact.slots)})" for fact in facts[:3]
    )
    share = Ratio(nbytes / subject.checkpoint.nbytes if subject.checkpoint.nbytes else 0.0)
    said = (f"{named or 'optimizer state'}: ", Bytes(nbytes), " in ", Count(tensors), " tensors, ", share, " of the file")
    return demand.failed(Bytes(nbytes), Phrase(said), "save model.state_dict() by itself")


def forbid_waste(subject: Subject, demand: Demand) -> Verdict:
    """Storage that no tensor reaches."""
    unused = sum(remainder.nbytes for remainder in subject.overview.grouping.remainders if remainder.label == UNUSED)
    if not unused:
        return demand.passed(Bytes(0), "every byte of every storage is used")
    ledger = subject.ledger
    worst = sorted(ledger.ownership.waste, key=lambda pair: -pair[1])[:MOST_NAMED]
    first: dict[int, str] = {}
    for line, storage in enumerate(ledger.checkpoint.tensors.storages):
        first.setdefault(storage, ledger.names[line])
    named = [first.get(storage, f"storage {ledger.checkpoint.tensors.storage.keys[storage]}") for storage, _ in worst]
    where = f", behind {', '.join(named)}{' …' if len(ledger.ownership.waste) > len(named) else ''}" if named else ""
    share = Ratio(unused / subject.checkpoint.nbytes)
    said = (Bytes(unused), f" of storage belong to no tensor{where} (", share, " of the file)")
    return demand.failed(Bytes(unused), Phrase(said), "save tensor.clone() instead of a view")


def forbid_untied_head(subject: Subject, demand: Demand) -> Verdict:
    """Whether the output head shares the storage of the token embedding."""
    head, ledger = output_head(subject.ledger, subject.overview.tree.outline()), subject.ledger
    if head is None or head.tied is None:
        return demand.nothing("no token embedding with an output head was found")
    if head.tied or head.line is None:
        return demand.passed("tied", head.evidence)
    cost = (Count(ledger.parameters[head.line]), " parameters, ", Bytes(ledger.nbytes[head.line]), " more than tied")
    todo = f"tie it again before saving: {head.path}.weight = {head.embedding}.weight"
    return demand.failed("not tied", Phrase((head.evidence, ": ", *cost)), todo)


def _examples(ledger: Ledger, lines: list[int]) -> str:
    named = [ledger.names[line] for line in lines[:MOST_NAMED]]
    return ", ".join(named) + (", …" if len(lines) > MOST_NAMED else "")


def _tensors(count: int) -> str:
    return f"{count:,} {'tensor' if count == 1 else 'tensors'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
