"""Architecture facts that names and shapes show, each with its evidence.

Nothing is guessed: a head count needs config.json (or what a GGUF file says of itself), a recorded attribute, or a fused shape
that proves it; "gated MLP" is what three matrices of fitting shapes are called, whatever the activation. Facts from config.json
are marked as such.
"""

from __future__ import annotations

from modelscope_cli.analysis.architecture_weights import Architecture, ArchitectureFact, attends, last_part
from modelscope_cli.analysis.attention_facts import attention_facts
from modelscope_cli.analysis.beneath import above
from modelscope_cli.analysis.feed_forward_facts import experts, feed_forward_facts
from modelscope_cli.analysis.kinds import MANY_ROWS
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.analysis.output_heads import head_fact
from modelscope_cli.analysis.recurrent import described, recurrent_modules

MOST_MORE = 100  # lists of layers beside the one that is described


def read_architecture(ledger: Ledger, outline: Outline) -> list[ArchitectureFact]:
    """The facts that can be shown, in reading order; none when there is no stack of layers and no embedding."""
    found = Architecture(ledger, outline)
    path, layer = found.layer()
    embedding = found.embedding
    attended = attends(layer)
    recurrent = recurrent_modules(ledger, outline)
    if embedding is None and recurrent:
        embedding = _word_encoder(found)
    if not attended and embedding is None and not recurrent:
        return []
    if found.config.get("model_type"):
        found.add(
            "model_type",
            "Model type",
            found.config["model_type"],
            str(found.config["model_type"])[:60],
            found.source,
            inferred=False,
        )
    if path:
        _layers(found, path)
        attending = dict.fromkeys(other for other, inside in found.matrices() if attended and attends(inside))
        outside = [
            other
            for other in attending
            if other != path and not path.startswith(f"{other}.") and attending.keys().isdisjoint(above(other))
        ]
        for other in outside[:MOST_MORE]:
            _layers(found, other, "More layers")
    if embedding is not None:
        name, (rows, width) = embedding
        found.add("vocabulary", "Vocabulary", rows, f"{rows:,}", f"{name} has {rows:,} rows")
        key, label = ("hidden_size", "Hidden size") if attended or not recurrent else ("embedding_size", "Embedding size")
        found.add(key, label, width, f"{width:,}", f"{name} has {width:,} columns")
    if recurrent:
        text, evidence = described(recurrent)
        found.add("recurrent", "Recurrent", recurrent[0].kind.name, text, evidence)
    if attended:
        attention_facts(found, path, layer)
        feed_forward_facts(found, path, layer)
    experts(found)
    if embedding is not None:
        head_fact(found, embedding[0])
    return found.facts


def _layers(found: Architecture, path: str, label: str = "Layers") -> None:
    stack = found.stacks[path]
    runs = [len(group) for group in stack.groups]
    alike = ", all alike" if len(runs) == 1 else f": {' + '.join(map(str, runs))} alike" if len(runs) <= 4 else ""
    numbers = [int(number[:9]) for group in stack.groups for number in group]
    span = f"{path}.{min(numbers)}–{max(numbers)}" if stack.size > 1 else f"{path}.{numbers[0]}"
    found.add(
        "layers" if label == "Layers" else "more_layers",
        label,
        stack.size,
        f"{stack.size}{alike if stack.size > 1 else ''}",
        span,
    )


def _word_encoder(found: Architecture) -> tuple[str, tuple[int, int]] | None:
    """The embedding of a language model on an LSTM that calls it its encoder."""
    tall = [
        (shape[0], name, shape[1]) for name, shape in found.weights.items() if last_part(name) == "encoder" and len(shape) == 2
    ]
    rows, name, width = max(tall, default=(0, "", 1))
    return (name, (rows, width)) if name not in found.biases and rows >= MANY_ROWS * width else None
