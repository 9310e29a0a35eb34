"""A checkpoint as a graph of named nodes: one a leaf module or loose tensor, scopes for the modules around them.

    model.layers.0.self_attn.q_proj.weight  →  model/layers/0/self_attn/q_proj   Linear

Names keep to the syntax of TensorFlow's graphs and are unique; edges follow the inferred order of execution, within modules
and from one to the next, and are left out where it is not known. Figures are for all `copies` that a node stands for, so
that they add up to those of the file.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.analysis.execution_order import known_rank, run_order, whole_block
from modelscope_cli.analysis.folding import fold_label
from modelscope_cli.analysis.kinds import Kind
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.node_names import node_names
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.analysis.sibling_flow import ALTERNATIVES, AROUND, Flow, flow
from modelscope_cli.analysis.signatures import Signature
from modelscope_cli.core.tensor import Shape

MOST_NODES = 10_000  # the page loads them in 2.5 seconds, 45,000 in 5
MOST_PARTS = 500  # of one module, opened in 1 to 3 seconds; at 2,000 in a row the page's own program fails
MOST_MEETINGS = 1_000  # edges between two neighbours, when many ends meet many beginnings
NONE, ALTERNATIVE, ALL = range(3)  # which equal siblings are drawn once: none, experts, all


class Node(NamedTuple):
    """A leaf module, or a tensor that stands in a module beside others. `inputs` are names of nodes.

    `tensors` are (name in the module, shape, dtype) of one copy, the largest first; `path` is the name in the file.
    """

    name: str
    path: str
    kind: Kind
    inputs: list[str]
    tensors: list[tuple[str, Shape, str]]
    parameters: int
    nbytes: int
    copies: int = 1
    tied: str | None = None


class Graph(NamedTuple):
    """`warnings` say what was drawn once or cut off."""

    nodes: list[Node]
    warnings: list[str]


class Rest(NamedTuple):
    """Parts of a module that are too many to be drawn."""

    parts: list[Part]


class Part(NamedTuple):
    """A child of a module: its name, equal siblings it stands for, and what it is: a module, the line of a tensor, the rest."""

    name: str
    names: list[str]
    inside: Signature | int | Rest


def read_graph(ledger: Ledger, lines: list[int], most: int = MOST_NODES) -> Graph:
    """The graph over some lines of a ledger, in at most so many nodes: of more, equal modules are drawn once."""
    tree = ModuleTree(ledger, lines)
    plotter = Plotter(tree, most)
    plotter.fit()
    plotter.module(tree.shape, "", "", 1, plotter.levels, False)
    return Graph(plotter.nodes, plotter.warnings)


class Plotter:
    """Walks the module tree and writes down nodes. `fold` and `levels` (None: all) keep them few enough."""

    def __init__(self, tree: ModuleTree, most: int):
        self.tree = tree
        self.ledger = tree.ledger
        self.most = most
        self.fold = NONE
        self.levels: int | None = None
        self.nodes: list[Node] = []
        self.warnings: list[str] = []

    # Choosing what fits ------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Draw equal experts once, then all equal neighbours, then upper levels only, until there is room."""
        whole = self.count(self.tree.shape, "")
        if whole <= self.most:
            return
        self.fold, how = ALTERNATIVE, "equal experts are drawn once"
        if self.count(self.tree.shape, "") > self.most:
            self.fold, how = ALL, "equal modules are drawn once"
        if self.count(self.tree.shape, "") > self.most:
            self.levels, how = 1, "equal modules are drawn once, and the upper levels only"
            while self.count(self.tree.shape, "", self.levels + 1) <= self.most:
                self.levels += 1
        drawn = self.count(self.tree.shape, "", self.levels)
        self.warnings.append(
            f"the graph has {drawn:,} of {whole:,} nodes: {how}, because TensorBoard's page is slow with more than {self.most:,}"
        )

    def count(self, shape: Signature, name: str, levels: int | None = None) -> int:
        """Nodes that a module takes with what is in it."""
        known: dict[tuple[int, bool, int | None], int] = {}

        def counted(shape: Signature, name: str, levels: int | None) -> int:
            key = (id(shape), bool(ALTERNATIVES.fullmatch(name)), levels)
            if key not in known:
                below = None if levels is None else levels - 1
                known[key] = sum(
                    1
                    if not isinstance(part.inside, Signature) or self.is_leaf(part.name, part.inside, below)
                    else counted(part.inside, part.name, below)
                    for part in self.parts(shape, name)
                )  # fmt: skip
            return known[key]

        return counted(shape, name, levels)

    # The tree ----------------------------------------------------------------------------------------------------------

    def parts(self, shape: Signature, name: str) -> list[Part]:
        """The tensors and modules directly in a module, equal ones together where they are drawn once."""
        scattered = bool(ALTERNATIVES.fullmatch(name))
        parts = self.listed(shape, fold=self.fold == ALL or (self.fold == ALTERNATIVE and scattered), scattered=scattered)
        if len(parts) > MOST_PARTS:
            parts = self.listed(shape, fold=True, scattered=scattered)
        if len(parts) > MOST_PARTS:
            rest = parts[MOST_PARTS - 1 :]
            parts = [*parts[: MOST_PARTS - 1], Part(f"and_{len(rest)}_more", [], Rest(rest))]
        return parts

    def listed(self, shape: Signature, *, fold: bool, scattered: bool) -> list[Part]:
        """All of them; `fold` puts equal numbered neighbours into one part, `scattered` also those further apart."""
        parts = [Part(self.ledger.leaves[line], [], line) for line in shape.lines]
        groups: dict[int, Part] = {}
        for child, inside in shape.children:
            if not inside.tensors:
                continue
            equal = groups.get(id(inside)) if fold and child.isdecimal() else None
            if equal is not None and (scattered or equal is parts[-1]):
                equal.names.append(child)
                continue
            parts.append(Part(child, [child], inside))
            if child.isdecimal():
                groups[id(inside)] = parts[-1]
        return parts

    def is_leaf(self, name: str, shape: Signature, levels: int | None) -> bool:
        """Whether a module is one node: it holds no modules, or is known as a whole, or what is in it is not drawn."""
        return not shape.children or levels == 0 or self.tree.kind(name, shape, False).whole

    # Nodes and edges ---------------------------------------------------------------------------------------------------

    def module(
        self, shape: Signature, path: str, scope: str, copies: int, levels: int | None, numbered: bool
    ) -> tuple[list[Node], list[Node]]:
        """Write down what is in a module. Returns the nodes that take what the module takes, and those that give its output."""
        name = path.rpartition(".")[2]
        parts = self.parts(shape, name)
        parts = [parts[position] for position in self.order([part.name for part in parts])]
        below = None if levels is None else levels - 1
        ends: list[tuple[list[Node], list[Node]]] = []
        for part, label in zip(parts, node_names([label_of(part) for part in parts], scope), strict=True):
            ends.append(self.part(part, path, label, copies, below, numbered))
        flowing = [position for position, part in enumerate(parts) if self.flows(part, parts)]
        names = [parts[position].name for position in flowing]
        found = flow(name, names, [self.size(parts[position]) for position in flowing], registered=self.registered)
        for taken, position in zip(found.takes, flowing, strict=True):
            givers = [node for giver in taken if giver != AROUND for node in ends[flowing[giver]][1]]
            connect(givers, ends[position][0])
        return self.outside(found, [ends[position] for position in flowing])

    def part(
        self, part: Part, path: str, label: str, copies: int, levels: int | None, numbered: bool
    ) -> tuple[list[Node], list[Node]]:
        """The same for one part of a module."""
        place = f"{path}.{part.name}" if path else part.name
        if isinstance(part.inside, int):
            node = self.tensor(part.inside, label, copies)
            return [node], [node]
        if isinstance(part.inside, Rest):
            return self.remainder(part.inside.parts, path, label, copies)
        numbered = numbered or part.name.isdecimal()
        copies *= len(part.names)
        if self.is_leaf(part.name, part.inside, levels):
            node = self.leaf(part.inside, place, label, copies, numbered)
            return [node], [node]
        return self.module(part.inside, place, label, copies, levels, numbered)

    def leaf(self, shape: Signature, path: str, name: str, copies: int, numbered: bool) -> Node:
        """A module without modules, or drawn as one."""
        ledger, lines = self.ledger, shape.lines
        own = self.tree.lines.get(path, [])
        lines = own if len(own) == len(lines) else lines
        kind = self.tree.kind(path.rpartition(".")[2], shape, not numbered)
        if not kind.name:
            kind = self.tensor_kind(lines[0]) if len(lines) == 1 and not shape.children else kind._replace(name="Module")
        tied = [ledger.names[ledger.tied[line]] for line in lines if line in ledger.tied] if copies == 1 else []
        node = Node(
            name, path, kind, [], self.described(lines), shape.parameters * copies, shape.nbytes * copies,
            copies, tied[0] if tied else None,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def tensor(self, line: int, name: str, copies: int) -> Node:
        """A tensor beside modules."""
        ledger = self.ledger
        tied = ledger.names[ledger.tied[line]] if line in ledger.tied and copies == 1 else None
        node = Node(
            name, ledger.names[line], self.tensor_kind(line), [], self.described([line]), ledger.parameters[line] * copies,
            ledger.nbytes[line] * copies, copies, tied,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def remainder(self, parts: list[Part], path: str, name: str, copies: int) -> tuple[list[Node], list[Node]]:
        """One node for the parts of a module that are too many."""
        ledger, parameters, nbytes = self.ledger, 0, 0
        for part in parts:
            if isinstance(part.inside, int):
                parameters += ledger.parameters[part.inside]
                nbytes += ledger.nbytes[part.inside]
            elif isinstance(part.inside, Signature):
                parameters += part.inside.parameters * len(part.names)
                nbytes += part.inside.nbytes * len(part.names)
        self.nodes.append(Node(name, path, Kind("More", "", "other"), [], [], parameters * copies, nbytes * copies))
        where = path or "the model"
        self.warnings.append(f"{where} has more parts than TensorBoard's page can lay out: {len(parts):,} are one node")
        return [], []

    def described(self, lines: list[int]) -> list[tuple[str, Shape, str]]:
        """Tensors, the largest first, so that a weight stands before its scales."""
        ledger = self.ledger
        largest = sorted(lines, key=lambda line: -ledger.elements[line])
        return [(ledger.leaves[line], ledger.shapes[line], ledger.dtypes[line].name) for line in largest]

    def tensor_kind(self, line: int) -> Kind:
        """What stands for the kind of a tensor that is a node of its own."""
        role = self.ledger.roles[line]
        word = "quantised " if line in self.ledger.packed else ""
        return Kind(f"{word}Parameter" if role in (WEIGHT, BIAS) else role, "", "other")

    # What flows --------------------------------------------------------------------------------------------------------

    @property
    def registered(self) -> bool:
        return self.ledger.checkpoint.ordered

    def order(self, names: list[str]) -> list[int]:
        return run_order(names, registered=self.registered)

    def flows(self, part: Part, parts: list[Part]) -> bool:
        """Whether something runs through a part: not through buffers, nor through a tensor of whose place nothing is known."""
        if isinstance(part.inside, int):
            counts = self.ledger.parameters[part.inside] > 0
            return counts and (known_rank(part.name) is not None or whole_block([other.name for other in parts]) is not None)
        if isinstance(part.inside, Rest):
            return False
        return part.inside.parameters > 0 or any(line in self.ledger.tied for line in part.inside.lines)

    def size(self, part: Part) -> int | None:
        return part.inside.parameters if isinstance(part.inside, Signature) and part.inside.children else None

    def outside(self, found: Flow, ends: list[tuple[list[Node], list[Node]]]) -> tuple[list[Node], list[Node]]:
        """The nodes that take what the module takes, and those that give its output."""
        takers = [node for taken, (first, _) in zip(found.takes, ends, strict=True) if AROUND in taken for node in first]
        return takers, [node for position in found.gives for node in ends[position][1]]


def connect(givers: list[Node], takers: list[Node]) -> None:
    """Edges from all to all; none where that would be a carpet."""
    if len(givers) * len(takers) <= MOST_MEETINGS:
        for taker in takers:
            taker.inputs.extend(giver.name for giver in givers)


def label_of(part: Part) -> str:
    return fold_label(part.names) if part.names else part.name
