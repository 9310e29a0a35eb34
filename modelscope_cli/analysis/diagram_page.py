"""What a picture of a checkpoint says around the drawing: title, facts, the strip of bytes, captions."""

from __future__ import annotations

import os
import re

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.blocks import Draughtsman
from modelscope_cli.analysis.ledger import Ledger, unused_bytes
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.analysis.roles import BIAS, BUFFER, EMA, HELPER, MASTER, OPTIMIZER, WEIGHT
from modelscope_cli.analysis.roles import OTHER as OTHER_ROLE
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.report.diagram import Segment
from modelscope_cli.report.document import Bytes, Phrase, Ratio

STRIP = (  # label, category that lends its colour, roles
    ("weights", "linear", (WEIGHT, BIAS)),
    ("buffers", "buffer", (BUFFER, HELPER)),
    ("optimizer state", "optimizer", (OPTIMIZER,)),
    ("EMA copy", "copy", (EMA,)),
    ("master copy", "copy", (MASTER,)),
    ("other tensors", "other", (OTHER_ROLE,)),
)
BESIDE = (OPTIMIZER, EMA, MASTER, OTHER_ROLE)  # roles that make a file more than a model
ARCHITECTURE = (  # facts worth a subtitle
    ("layers", "{:,} layer(s)"),
    ("hidden_size", "hidden size {:,}"),
    ("attention", "{}"),
    ("feed_forward", "feed-forward {:,}"),
    ("experts", "{:,} experts"),
    ("vocabulary", "vocabulary {:,}"),
)
COMMON_NAME = re.compile(
    r"(diffusion_)?(pytorch_|adapter_)?(model|consolidated|checkpoint|weights)([-._].*)?"
)  # its folder says more


def title(checkpoint: Checkpoint, root: str | None = None) -> str:
    """The name of the file; with its folder where all models have that name; of a set of such a name the folder alone."""
    folder, name = os.path.split(os.path.normpath(checkpoint.path))
    above = os.path.basename(folder)
    if above not in ("", "..") and COMMON_NAME.fullmatch(name):
        several = sum(1 for file in checkpoint.files if len(file.tensors)) > 1
        name = above if several else f"{above}/{name}"
    return f"{root}  in {name}" if root else name


def facts(ledger: Ledger, lines: list[int], outline: Outline | None) -> list[Phrase]:
    """Subtitles: parameters, tensors, size and dtypes of the lines; with the outline of a whole model its architecture."""
    parameters, whole = sum([ledger.parameters[line] for line in lines]), ledger.total_parameters()
    sizes: dict[str, int] = {}
    for line in lines:
        name = ledger.dtypes[line].name
        sizes[name] = sizes.get(name, 0) + ledger.nbytes[line]
    nbytes = sum(sizes.values())
    dtypes = sorted((name for name in sizes if sizes[name] * 1000 >= nbytes), key=lambda name: -sizes[name])
    counted = f"{parameters:,} parameters" if parameters == whole else f"{parameters:,} of {whole:,} parameters"
    tensors = counted_words("{:,} tensor(s)", len(lines))
    said = [Phrase((f"{counted} · {tensors} · ", Bytes(nbytes), " · " + ", ".join(dtypes[:4])))]
    if outline:
        values = {fact.key: fact.value for fact in read_architecture(ledger, outline)}
        known = [counted_words(words, values[key]) for key, words in ARCHITECTURE if values.get(key)]
        said += [Phrase((" · ".join(known),))] if known else []
    return said


def counted_words(words: str, value: object) -> str:
    """ "{:,} layer(s)" with a number."""
    return words.format(value).replace("(s)", "" if value == 1 else "s")


def strip(ledger: Ledger) -> list[Segment]:
    """The bytes of the files, divided, where they hold more than a model; else nothing."""
    roles = ledger.by_role()
    if not any(roles.get(role, (0, 0, 0))[2] for role in BESIDE):
        return []
    whole = ledger.checkpoint.nbytes
    parts = [(label, colour, sum(roles.get(role, (0, 0, 0))[2] for role in wanted)) for label, colour, wanted in STRIP]
    unused = sum(unused_bytes(ledger))
    parts.append(("unused data", "outside", unused))
    parts.append(("metadata and container", "outside", whole - sum(nbytes for _, _, nbytes in parts)))
    return [Segment(label, colour, Bytes(nbytes), Ratio(nbytes / whole)) for label, colour, nbytes in parts if nbytes > 0]


def captions(draughtsman: Draughtsman, checkpoint: Checkpoint) -> list[str]:
    """What is inferred, what is not counted, what is missing."""
    order = "the order of registration and known names" if draughtsman.registered else "known names"
    if draughtsman.recorded and not draughtsman.inferred:
        said = [f"Classes are recorded in the file. Inferred: the order, from {order}."]
    elif draughtsman.recorded:
        said = [f"Inferred: kinds that the file does not record, from names and shapes; the order, from {order}."]
    else:
        said = [f"Inferred: kinds, from names and shapes; the order, from {order}. The file records neither."]
    if draughtsman.by_name:
        names = counted_words("{:,} module(s)", draughtsman.by_name)
        said.append(f"{names} with names that tell no order {'stands' if draughtsman.by_name == 1 else 'stand'} by name.")
    if draughtsman.unknown_flows:
        said.append("Where no arrow is drawn, modules run side by side or their order is not known.")
    if draughtsman.ties:
        said.append("Tied weights are counted once, where they are stored.")
    if draughtsman.uncounted:
        said.append(f"Grey: {draughtsman.uncounted:,} elements that are not parameters, such as buffers; not counted.")
    if draughtsman.packed:
        said.append("Quantised: integers whose bits nothing tells are counted as stored, not unpacked.")
    said += [
        f"Incomplete: {note.where + ': ' if note.where else ''}{note.message}"
        for note in checkpoint.notes
        if note.severity == "error"
    ][:3]
    return said
