"""The weights that facts of an architecture are read from: those of one of each equal modules, by path and shape.

The stack of layers to describe, what is in one of them, the token embedding; attention_facts, feed_forward_facts, expert_facts and
output_heads read from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from modelscope_cli.analysis.beneath import Beneath
from modelscope_cli.analysis.kinds import EMBEDDING_NAME, FUSED_QKV, LONGEST_NAME, QUERY
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import Outline
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.tensor import Shape

IN_PROJ = "in_proj_weight"  # of torch's MultiheadAttention: queries, keys and values in one
# Embeddings of something else than tokens.
POSITIONS = re.compile(r"pos|type|per_layer|wpe|segment|time|patch|class", re.IGNORECASE)


class ArchitectureFact(NamedTuple):
    """`value` for machines, `text` for people; `evidence` says what shows it, `inferred` that names and shapes do."""

    key: str
    label: str
    value: Any
    text: str
    evidence: str
    inferred: bool = True


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
                name[len(layer) + 1 :]: self.weights[name] for name in self.beneath(layer) if is_dense(name, self.weights[name])
            }

    def add(self, key: str, label: str, value: Any, text: str, evidence: str, *, inferred: bool = True) -> None:
        self.facts.append(ArchitectureFact(key, label, value, text, evidence, inferred))


def attends(layer: dict[str, Shape]) -> bool:
    """Whether the weights of a layer are those of an attention."""
    return any(last_part(name) in (*QUERY, *FUSED_QKV, IN_PROJ) for name in layer)


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
            and len(last_part(name)) <= LONGEST_NAME
            and EMBEDDING_NAME.fullmatch(last_part(name))
            and not POSITIONS.search(last_part(name))
        ):
            best = (name, (shape[0], shape[1]))
    return best


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Multimodal configurations keep the language model's part one level down."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def is_dense(name: str, shape: Shape) -> bool:
    """Whether a weight of a layer is a matrix outside the experts."""
    return len(shape) == 2 and ".experts." not in f".{name}" and "shared_expert" not in name


def last_part(name: str) -> str:
    return name.rpartition(".")[2]
