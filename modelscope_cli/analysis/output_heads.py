"""Output heads of language models, and whether they are the token embedding again."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.architecture_weights import Architecture
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline

HEADS = (
    "lm_head",
    "output_layer",
    "out_head",
    "head",
    "embed_out",
    "fc",
    "output",
    "decoder.final_projection",
    "generator",
    "lm_head.decoder",
    "output_projection",
    "ff_out",
    "vocab_proj",
    "unembed",
    "unembedding",
    "proj_out",
    "cls.predictions.decoder",
    "predictions.decoder",
    "decoder",
)


class OutputHead(NamedTuple):
    """The output head of a language model. `path` and `line` (of its weight) are None when the file holds none.

    `tied`: whether it is the token `embedding` again; None when nothing says.
    """

    path: str | None
    line: int | None
    embedding: str
    tied: bool | None
    evidence: str


def output_heads(ledger: Ledger, outline: Outline) -> list[OutputHead]:
    """The output heads beside the token embedding, or one entry that says that there is none; empty without a token embedding."""
    found = Architecture(ledger, outline)
    return _output_heads(found, found.embedding[0]) if found.embedding is not None else []


def _output_heads(found: Architecture, embedding: str) -> list[OutputHead]:
    weights = found.weights
    named = [path for path in weights if path != embedding and _named_head(path)]
    named.sort(key=lambda path: any(part.isdecimal() for part in path.split(".")))  # the model's own before those in layers
    named = [path for path in named if weights[path][:1] == weights[embedding][:1]]
    if named:
        return _tied_heads(found, named, embedding)
    if found.config.get("tie_word_embeddings") is True:
        return [OutputHead(None, None, embedding, True, f"tie_word_embeddings in {found.source}, and no head in the file")]
    return [OutputHead(None, None, embedding, None, "no matrix of that many rows under a head's name")]


def _named_head(path: str) -> bool:
    return path.endswith("_head") or any(path == word or path.endswith("." + word) for word in HEADS)


def _tied_heads(found: Architecture, paths: list[str], embedding: str) -> list[OutputHead]:
    """Heads that are tied to the token embedding, to another tensor, as that of a decoder with an embedding of its own, or to none."""
    ledger, lines = found.ledger, found.lines_of([*paths, embedding])
    owners = {path: ledger.tied.get(lines[path], lines[path]) for path in paths}
    groups: dict[int, list[int]] = {owner: [] for owner in owners.values()}
    for other, first in ledger.tied.items():
        if first in groups and len(groups[first]) < 2:  # of two at least one is not the head itself
            groups[first].append(other)
    token = lines[embedding]
    heads = []
    for path, owner in owners.items():
        line = lines[path]
        partners = [other for other in (*groups[owner], owner) if other != line]
        if not partners:
            heads.append(OutputHead(path, line, embedding, False, f"{path} has a storage of its own"))
            continue
        tied = token != line and ledger.tied.get(token, token) == owner
        partner = embedding if tied else ledger.parents[partners[0]] or ledger.names[partners[0]]
        heads.append(OutputHead(path, line, partner, True, f"{path} and {partner} lie on the same storage"))
    return heads


def head_fact(found: Architecture, embedding: str) -> None:
    """Whether the output head is the token embedding again."""
    head = _output_heads(found, embedding)[0]
    text = f"tied to {head.embedding}" if head.tied else "not tied" if head.tied is not None else "none in the file"
    found.add("tied_head", "Output head", head.tied, text, head.evidence, inferred=False)
