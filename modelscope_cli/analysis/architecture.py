"""Architecture facts that names and shapes show, each with its evidence.

Nothing is guessed: a head count needs config.json (or what a GGUF file says of itself), a recorded attribute, or a fused shape
that proves it; "gated MLP" is what three matrices of fitting shapes are called, whatever the activation. Facts from config.json
are marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from modelscope_cli.analysis.beneath import Beneath, above
from modelscope_cli.analysis.expert_facts import expert_facts
from modelscope_cli.analysis.kinds import EMBEDDING_NAME, FUSED_QKV, KEY, LONGEST_NAME, MANY_ROWS, QUERY
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.analysis.recurrent import described, recurrent_modules
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.tensor import Shape

GATES = ("gate_proj", "w1", "wi_0", "ffn_gate")
UPS = ("up_proj", "w3", "wi_1", "ffn_up")
FIRST_MLP = (
    "linear1",
    "fc1",
    "c_fc",
    "dense_h_to_4h",
    "fc_in",
    "up_proj",
    "w_1",
    "lin1",
    "intermediate.dense",
    "ff.layers.0",
    "mlp.0",
    "fc",
    "wi",
    "ffn_up",
)
LAST_MLP = (
    "linear2",
    "fc2",
    "c_proj",
    "dense_4h_to_h",
    "fc_out",
    "down_proj",
    "w_2",
    "lin2",
    "output.dense",
    "ff.layers.2",
    "mlp.2",
    "w2",
    "wo",
    "ffn_down",
)
FUSED_GATED = ("gate_up_proj",)
IN_PROJ = "in_proj_weight"  # of torch's MultiheadAttention: queries, keys and values in one
CROSSED = ("multihead_attn.", "encoder_attn.", "layer.1.EncDecAttention.")
# Embeddings of something else than tokens.
POSITIONS = re.compile(r"pos|type|per_layer|wpe|segment|time|patch|class", re.IGNORECASE)
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
MOST_MORE = 100  # lists of layers beside the one that is described
CONFIG_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
CONFIG_KV_HEADS = ("num_key_value_heads", "n_head_kv", "multi_query_group_num", "num_kv_heads")


class ArchitectureFact(NamedTuple):
    """`value` for machines, `text` for people; `evidence` says what shows it, `inferred` that names and shapes do."""

    key: str
    label: str
    value: Any
    text: str
    evidence: str
    inferred: bool = True


class OutputHead(NamedTuple):
    """The output head of a language model. `path` and `line` (of its weight) are None when the file holds none.

    `tied`: whether it is the token `embedding` again; None when nothing says.
    """

    path: str | None
    line: int | None
    embedding: str
    tied: bool | None
    evidence: str


class Architecture:
    """Collects facts from the weights of one ledger, one representative of every repeated block."""

    def __init__(self, ledger: Ledger, outline: Outline):
        self.ledger = ledger
        self.outline = outline
        self.stacks = outline.stacks
        self.config = _text_config(ledger.checkpoint.config)
        self.source = ledger.checkpoint.config_from
        self.facts: list[ArchitectureFact] = []
        self.weights: dict[str, Shape] = {}  # module path → shape of its weight
        self.lines: dict[str, int] = {}  # module path → line of its weight
        self.biases: set[str] = set()
        self.cubes: dict[str, Shape] = {}  # three-dimensional parameters: experts kept in one tensor
        for name, line in outline.lines:
            if ledger.roles[line] in (WEIGHT, BIAS):
                self._take(name, line)

    def _take(self, name: str, line: int) -> None:
        path, _, leaf = name.rpartition(".")
        shape, packed = self.ledger.shapes[line], self.ledger.packed.get(line)
        if packed is not None:
            if packed.shape is None:
                return
            path, leaf, shape = name.removesuffix(self.ledger.leaves[line]).rstrip("."), packed.into, packed.shape
            name = f"{path}.{leaf}" if path else leaf
        if leaf == "in_proj_weight":
            path = f"{path}.{IN_PROJ}"
        elif leaf == "bias":
            self.biases.add(path)
        if len(shape) == 3:
            self.cubes[name] = shape
        elif len(shape) <= 2 and leaf in ("weight", "kernel", "in_proj_weight"):
            self.weights[path] = shape
            self.lines[path] = line

    def lines_of(self, paths: Iterable[str]) -> dict[str, int]:
        """The lines of the weights of modules themselves: an equal module may stand for one in `lines`."""
        wanted = {f"{path}.{leaf}": path for path in paths for leaf in ("weight", "kernel")}
        found: dict[str, int] = {}
        for line, name in enumerate(self.ledger.names):
            if name in wanted:
                found.setdefault(wanted[name], line)
        return {path: found.get(path, self.lines[path]) for path in wanted.values()}

    @cached_property
    def beneath(self) -> Beneath:
        """The paths of the weights."""
        return Beneath(self.weights)

    @cached_property
    def embedding(self) -> tuple[str, tuple[int, int]] | None:
        """The token embedding."""
        return _embedding(self)

    def layer(self) -> tuple[str, dict[str, Shape]]:
        """The stack to describe: with attention, as wide as the token embedding, the longest. Its path and commonest layer."""
        best: tuple[tuple[bool, bool, int], str, dict[str, Shape]] | None = None
        for path, inside in self.matrices():
            rank = (*self.rank(inside), self.stacks[path].size)
            if best is None or rank > best[0]:
                best = rank, path, inside
        return (best[1], best[2]) if best else ("", {})

    def matrices(self) -> Iterator[tuple[str, dict[str, Shape]]]:
        """The stacks whose layers hold matrices: path, and weights of the commonest layer, by path within the layer."""
        for path, stack in self.stacks.items():
            inside = self.inside(path, max(stack.groups, key=len)[0])
            if any(len(shape) == 2 for shape in inside.values()):
                yield path, inside

    def inside(self, path: str, number: str) -> dict[str, Shape]:
        """The weights of a layer of a stack, by path within the layer."""
        layer = f"{path}.{number}" if path else number
        return {name[len(layer) + 1 :]: self.weights[name] for name in self.beneath(layer)}

    def rank(self, inside: dict[str, Shape]) -> tuple[bool, bool]:
        """Whether a layer attends, and whether it is as wide as the token embedding."""
        width = self.embedding[1][1] if self.embedding else None
        return attends(inside), any(len(shape) == 2 and width in shape for shape in inside.values())

    def layers(self, path: str) -> Iterator[dict[str, Shape]]:
        """The dense matrices of one layer of each kind in a stack, by path within the layer."""
        for group in self.stacks[path].groups:
            layer = f"{path}.{group[0]}" if path else group[0]
            yield {
                name[len(layer) + 1 :]: self.weights[name] for name in self.beneath(layer) if _dense(name, self.weights[name])
            }

    def add(self, key: str, label: str, value: Any, text: str, evidence: str, *, inferred: bool = True) -> None:
        self.facts.append(ArchitectureFact(key, label, value, text, evidence, inferred))


def attends(layer: dict[str, Shape]) -> bool:
    """Whether the weights of a layer are those of an attention."""
    return any(_last(name) in (*QUERY, *FUSED_QKV, IN_PROJ) for name in layer)


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
        _attention(found, path, layer)
        _feed_forward(found, path, layer)
    _experts(found)
    if embedding is not None:
        _head(found, embedding[0])
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


def _embedding(found: Architecture) -> tuple[str, tuple[int, int]] | None:
    """The token embedding: the tallest matrix under an embedding's name outside the layers."""
    best: tuple[str, tuple[int, int]] | None = None
    for name, shape in found.weights.items():
        outside = not any(part.isdecimal() for part in name.split("."))
        if (
            len(shape) == 2
            and outside
            and name not in found.biases
            and (best is None or shape[0] > best[1][0])
            and len(_last(name)) <= LONGEST_NAME
            and EMBEDDING_NAME.fullmatch(_last(name))
            and not POSITIONS.search(_last(name))
        ):
            best = (name, (shape[0], shape[1]))
    return best


def _word_encoder(found: Architecture) -> tuple[str, tuple[int, int]] | None:
    """The embedding of a language model on an LSTM that calls it its encoder."""
    tall = [(shape[0], name, shape[1]) for name, shape in found.weights.items() if _last(name) == "encoder" and len(shape) == 2]
    rows, name, width = max(tall, default=(0, "", 1))
    return (name, (rows, width)) if name not in found.biases and rows >= MANY_ROWS * width else None


def _attention(found: Architecture, path: str, layer: dict[str, Shape]) -> None:
    heads, heads_from = _config_number(found, CONFIG_HEADS), found.source
    for record_path, record in found.ledger.checkpoint.modules.items():
        if heads is None and isinstance(record.attributes.get("num_heads"), int) and record_path.startswith(path):
            heads, heads_from = record.attributes["num_heads"], "recorded num_heads"
    kv_heads, head = _config_number(found, CONFIG_KV_HEADS), _config_number(found, ("head_dim",)) or 0
    query = next((shape for name, shape in layer.items() if _last(name) in QUERY), None)
    key = next((shape for name, shape in layer.items() if _last(name) in KEY), None)
    matrices = {name: shape for name, shape in layer.items() if len(shape) == 2}
    latent = next((name for name in matrices if _last(name) in ("kv_a_proj_with_mqa", "kv_a_proj", "attn_kv_a_mqa")), None)
    fused = next(((name, shape) for name, shape in matrices.items() if _last(name) in (*FUSED_QKV, IN_PROJ)), None)
    given = f", {heads} heads ({heads_from})" if heads else ""
    if latent is not None:
        found.add(
            "attention",
            "Attention",
            "MLA",
            f"MLA (compressed keys and values){given}",
            f"{latent} compresses them to {_latent_width(layer, latent):,}",
        )
    elif query and key and len(query) == len(key) == 2:
        if query[0] == key[0]:
            found.add("attention", "Attention", "MHA", f"MHA{given}", f"keys as wide as queries ({key[0]:,})")
        elif key[0] and query[0] % key[0] == 0:
            ratio = query[0] // key[0]
            kv = f", {kv_heads} kv head{'' if kv_heads == 1 else 's'}" if kv_heads and heads else ""
            word = _sharing(kv_heads)
            shared = f"{ratio} query heads to a key head" if word != "MQA" else "one key head for all"
            found.add(
                "attention", "Attention", word, f"{word}, {shared}{given}{kv}", f"queries {query[0]:,} wide, keys {key[0]:,}"
            )
    elif fused:
        name, shape = fused
        out, into = (
            (shape[1], shape[0]) if _last(name) == "c_attn" and shape[1] % 3 == 0 and shape[1] == 3 * shape[0] else shape[:2]
        )
        output = next(
            (
                s
                for n, s in layer.items()
                if _last(n) in ("dense", "out", "out_proj", "o_proj", "c_proj", "wo", "attn_output")
                and "mlp" not in n
                and "ff" not in n
            ),
            None,
        )
        said, kv_said = (heads or 0) * head, (kv_heads or 0) * head
        width = said if said and out == said + 2 * kv_said else output[1] if output and len(output) == 2 else into
        if out == 3 * width:
            found.add("attention", "Attention", "MHA", f"MHA{given}", f"{name} is 3 × {width:,} rows")
        elif out > width and (out - width) % 2 == 0:
            side = (out - width) // 2
            kv = f", {kv_heads} kv head{'' if kv_heads == 1 else 's'}" if kv_heads and heads else ""
            word = _sharing(kv_heads)
            found.add(
                "attention",
                "Attention",
                word,
                f"{word}{given}{kv}",
                f"{name} has {out:,} rows: queries {width:,}, keys and values {side:,} each",
            )
    named = (name for _, inside in found.matrices() for name in inside)
    crossed = next((name for name in named if "cross" in name or name.startswith(CROSSED)), None)
    if crossed is not None:
        found.add("cross_attention", "Cross-attention", True, "yes", crossed.rpartition(".")[0] or crossed)


def _sharing(kv_heads: int | None) -> str:
    """What keys narrower than queries are called; without a number of heads the two cannot be told apart."""
    return "GQA or MQA" if kv_heads is None else "MQA" if kv_heads == 1 else "GQA"


def _latent_width(layer: dict[str, Shape], latent: str) -> int:
    """The width of the compressed keys and values: that of their norm; the projection also holds the rotary key."""
    norm = next((shape for name, shape in layer.items() if _last(name) in ("kv_a_layernorm", "attn_kv_a_norm")), None)
    return norm[0] if norm else layer[latent][0]


def _feed_forward(found: Architecture, path: str, layer: dict[str, Shape]) -> None:
    dense = {name: shape for name, shape in layer.items() if _dense(name, shape)}
    if any(".experts." in f".{name}" or _last(name) == "ffn_gate_inp" for name in layer):
        dense = next((inside for inside in found.layers(path) if _named(inside, GATES) or _named(inside, FIRST_MLP)), {})
    gate = _named(dense, GATES)
    up = _named(dense, UPS)
    fused = _named(dense, FUSED_GATED)
    first, last = _named(dense, FIRST_MLP), _named(dense, LAST_MLP)
    if gate and up and gate[1] == up[1]:
        found.add(
            "feed_forward",
            "Feed-forward",
            gate[1][0],
            f"{gate[1][0]:,}, gated MLP",
            f"{gate[0]} and {_last(up[0])}: {gate[1][1]:,} → {gate[1][0]:,}",
        )
    elif fused:
        found.add(
            "feed_forward",
            "Feed-forward",
            fused[1][0] // 2,
            f"{fused[1][0] // 2:,}, gated MLP",
            f"{fused[0]} holds both halves",
        )
    elif first and last and first[1][0] == 2 * last[1][1]:
        found.add(
            "feed_forward",
            "Feed-forward",
            last[1][1],
            f"{last[1][1]:,}, gated MLP",
            f"{first[0]} gives {first[1][0]:,} = 2 × the {last[1][1]:,} that {_last(last[0])} takes",
        )
    elif first and last and (first[1][0] == last[1][1] or first[1][1] == last[1][0]):
        size = max(first[1])
        found.add("feed_forward", "Feed-forward", size, f"{size:,}", f"{first[0]} and {_last(last[0])}")


def _dense(name: str, shape: Shape) -> bool:
    """Whether a weight of a layer is a matrix outside the experts."""
    return len(shape) == 2 and ".experts." not in f".{name}" and "shared_expert" not in name


def _experts(found: Architecture) -> None:
    """Routed experts: how many a layer has, how many a token uses and how many parameters, where config.json tells."""
    gates = Beneath([name for name in found.cubes if "ffn_gate_exps" in name])
    expert_facts(
        found.ledger, found.outline, found.weights, lambda path, first: _expert_width(found, gates, path, first), found.add
    )


def _expert_width(found: Architecture, gates: Beneath, path: str, expert: str) -> str:
    """The feed-forward size of one expert; `expert` names it where they are modules of their own, `gates` the cubes that are gates."""
    weights, first = found.weights, f"{path}.{expert}" if expert else path
    inside = {name[len(first) + 1 :]: weights[name] for name in found.beneath(first) if len(weights[name]) == 2}
    gate = _named(inside, GATES)
    cube = next((found.cubes[name] for name in gates(first)), None)
    width = gate[1][0] if gate else cube[1] if cube else None
    return f", each a gated MLP of {width:,}" if width else ""


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


def _head(found: Architecture, embedding: str) -> None:
    """Whether the output head is the token embedding again."""
    head = _output_heads(found, embedding)[0]
    text = f"tied to {head.embedding}" if head.tied else "not tied" if head.tied is not None else "none in the file"
    found.add("tied_head", "Output head", head.tied, text, head.evidence, inferred=False)


def _config_number(found: Architecture, names: tuple[str, ...]) -> int | None:
    return next((value for name in names if type(value := found.config.get(name)) is int), None)


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Multimodal configurations keep the language model's part one level down."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def _named(layer: Mapping[str, Shape], names: tuple[str, ...]) -> tuple[str, Shape] | None:
    """The first weight whose path ends in one of the names, in the order of the names."""
    for wanted in names:
        for name, shape in layer.items():
            if name == wanted or name.endswith("." + wanted):
                return name, shape
    return None


def _last(name: str) -> str:
    return name.rpartition(".")[2]
