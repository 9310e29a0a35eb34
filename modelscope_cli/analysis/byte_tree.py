"""Where the bytes are: the whole of a checkpoint as one tree of modules, tensors and the bytes outside them.

The module tree already knows which modules are equal, so it is walked signature by signature, not tensor by tensor. What
it does not hold goes in by name: the state of optimizers, and all of a checkpoint whose names are deeper than it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelscope_cli.analysis.diagram_page import title
from modelscope_cli.analysis.execution_order import natural
from modelscope_cli.analysis.grouping import section_rows
from modelscope_cli.analysis.kinds import BLOCK, EMBEDDING, EMBEDDING_NAME, OTHER, Kind, belongs
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.levels import levels_of
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.overview import Overview
from modelscope_cli.analysis.overview_header import format_title
from modelscope_cli.analysis.roles import BIAS, EMA, HELPER, MASTER, WEIGHT
from modelscope_cli.analysis.roles import BUFFER as BUFFER_ROLE
from modelscope_cli.analysis.roles import OPTIMIZER as OPTIMIZER_ROLE
from modelscope_cli.analysis.signatures import Signature
from modelscope_cli.analysis.size_row import NO_KIND
from modelscope_cli.core.span import SECTIONS
from modelscope_cli.report.treemap import BUFFER, COPY, OPTIMIZER, OUTSIDE, Node, Treemap

ROLE_CATEGORIES = {
    BUFFER_ROLE: BUFFER,
    HELPER: BUFFER,
    OPTIMIZER_ROLE: OPTIMIZER,
    EMA: COPY,
    MASTER: COPY,
}  # whatever module they are in
MOST_NODES = 150_000  # of what is not folded; a page of so many is 3 MB
FEW_LEVELS = 3  # where there are more
UNREACHED = "storage that no tensor reaches"


def byte_tree(overview: Overview) -> Treemap:
    """The tree. Its root has the parameters of the model and the size of the files, exactly."""
    ledger = overview.ledger
    growth = _Growth(ledger, overview.tree)
    nodes, top = growth.nodes, growth.top()
    for row in section_rows(overview.grouping.remainders):
        meaning = SECTIONS.get(row.label.strip("[]"), UNREACHED)
        top.append((row.label, nodes.put(Node(OUTSIDE, meaning, nbytes=row.nbytes))))
    root = overview.tree.kind("", overview.tree.shape, True)
    nodes.put_last(nodes.module(BLOCK, root if root.name else NO_KIND, top))
    names = ledger.names
    ties = {names[line]: names[other] for line, other in ledger.tied.items()}
    return Treemap(title(ledger.checkpoint), _facts(overview), nodes.all, ties)


def _holders(ledger: Ledger) -> int:
    """Files with tensors in them."""
    return sum(1 for file in ledger.checkpoint.files if len(file.tensors))


def _facts(overview: Overview) -> list[str]:
    checkpoint = overview.checkpoint
    dtypes = sorted(overview.ledger.by_dtype().items(), key=lambda pair: -pair[1])
    words = [format_title(checkpoint)]
    if (shards := _holders(overview.ledger)) > 1:
        words.append(f"{shards} shards")
    if dtypes:
        words.append(", ".join(name for name, _ in dtypes[:3]) + (" …" if len(dtypes) > 3 else ""))
    return words


class _Nodes:
    """Distinct nodes, numbered as they come: children before those that hold them."""

    def __init__(self) -> None:
        self.all: list[Node] = []
        self.numbers: dict[Node, int] = {}

    def put(self, node: Node) -> int:
        number = self.numbers.setdefault(node, len(self.all))
        if number == len(self.all):
            self.all.append(node)
        return number

    def put_last(self, node: Node) -> None:
        """Add the root, which is no other node even when it is equal to one."""
        self.all.append(node)

    def module(self, category: str, kind: Kind, held: list[tuple[str, int]]) -> Node:
        """A module around nodes, with their sums."""
        inside = [self.all[number] for _, number in held]
        return Node(
            category,
            kind.name,
            kind.detail,
            bool(kind.name) and kind.inferred,
            sum([node.parameters for node in inside]),
            sum([node.nbytes for node in inside]),
            sum([node.tensors for node in inside]),
            tuple([name for name, _ in held]),
            tuple([number for _, number in held]),
        )

    def joined(self, first: int, second: int) -> int:
        """One module for two of the same path, one of weights and one of optimizer state. Depth is bounded by the trees."""
        one, other = self.all[first], self.all[second]
        held = dict(enumerate(zip(one.names, one.children, strict=True)))
        places = {name: place for place, (name, number) in held.items() if self.all[number].shape is None}
        for name, number in zip(other.names, other.children, strict=True):
            if name in places and self.all[number].shape is None:
                held[places[name]] = (name, self.joined(held[places[name]][1], number))
            else:
                held[len(held)] = (name, number)
        return self.put(self.module(one.category, Kind(one.kind, one.detail, one.category, one.inferred), list(held.values())))


class _Branch:
    """Names that begin alike: `inside` by the next part, and the lines that end here."""

    __slots__ = ("inside", "lines")

    def __init__(self) -> None:
        self.inside: dict[str, _Branch] = {}
        self.lines: list[tuple[str, int]] = []


class _Growth:
    """Makes nodes of a ledger and its module tree. Recursion is no deeper than the module tree, which has DEEPEST levels."""

    def __init__(self, ledger: Ledger, tree: ModuleTree):
        self.ledger = ledger
        self.tree = tree
        self.nodes = _Nodes()
        self.made: dict[tuple[int, str, bool, str], int] = {}
        self.optimizers = {fact.path: fact.name for fact in ledger.roles_result.optimizers}

    def top(self) -> list[tuple[str, int]]:
        """What stands at the top level, without the bytes outside the tensors."""
        roles = self.ledger.roles
        lines: Sequence[int]
        kinds: dict[int, tuple[str, Kind]]
        if self._exact():
            top = self._inside(self.tree.shape, True, BLOCK)
            lines = [line for line, role in enumerate(roles) if role == OPTIMIZER_ROLE] if OPTIMIZER_ROLE in roles else []
            kinds = {}
        else:
            top, lines, kinds = [], range(len(roles)), self.tree.labels()
        if not lines:
            return top
        nodes = self.nodes
        one = nodes.put(nodes.module(OTHER, NO_KIND, top))
        other = nodes.put(nodes.module(OTHER, NO_KIND, self._held("", self._sorted(lines), kinds)))
        both = nodes.all[nodes.joined(one, other)]
        return list(zip(both.names, both.children, strict=True))

    def _exact(self) -> bool:
        """Whether the module tree tells every name and adds up.

        It does not when names are cut short or begin with a dot, nor when equal tensors are compressed to unequal sizes.
        """
        ledger, tree = self.ledger, self.tree
        if any([name.startswith(".") for name in ledger.names]) or any(
            ledger.roles[line] != OPTIMIZER_ROLE for line in self._cut(set(ledger.parents) - tree.lines.keys())
        ):
            return False
        outside = sum([size for size, role in zip(ledger.nbytes, ledger.roles, strict=True) if role == OPTIMIZER_ROLE])
        return tree.shape.nbytes + outside == sum(ledger.nbytes) and tree.shape.parameters == ledger.total_parameters()

    def _cut(self, paths: set[str]) -> list[int]:
        return [line for line, path in enumerate(self.ledger.parents) if path in paths] if paths else []

    # From the module tree ---------------------------------------------------------------------------------------------

    def _module(self, name: str, shape: Signature, top: bool, around: str) -> int:
        """The node of a module in one of category `around`; `top` says that nothing numbered encloses it."""
        key = (id(shape), "0" if name.isdecimal() else name, top, around)
        known = self.made.get(key)
        if known is None:
            kind = self.tree.kind(name, shape, top)
            category = belongs(kind.category, name, around)
            if shape.copy_of:
                category = COPY
            held = self._inside(shape, top, category)
            known = self.made[key] = self.nodes.put(self.nodes.module(category, kind, held))
        return known

    def _inside(self, shape: Signature, top: bool, category: str) -> list[tuple[str, int]]:
        leaves = self.ledger.leaves
        held = [(leaves[line], self._tensor(line, category)) for line in shape.lines]
        if len(held) > 1 and all([name.isdecimal() for name, _ in held]):
            held.sort(key=lambda pair: int(pair[0][:18]))
        for name, inside in shape.children:
            if inside.tensors:
                held.append((name, self._module(name, inside, top and not name.isdecimal(), category)))
        return held

    def _tensor(self, line: int, around: str) -> int:
        """The node of a tensor that stands directly in a module of category `around`."""
        ledger = self.ledger
        role, dtype = ledger.roles[line], ledger.dtypes[line]
        leaf = ledger.leaves[line]
        category = ROLE_CATEGORIES.get(role) or (around if role in (WEIGHT, BIAS) else OTHER)
        if category in (BLOCK, OTHER):
            category = EMBEDDING if EMBEDDING_NAME.fullmatch(leaf) else belongs(OTHER, leaf, around)
        return self.nodes.put(
            Node(
                category,
                parameters=ledger.parameters[line],
                nbytes=ledger.nbytes[line],
                tensors=1,
                shape=ledger.shapes[line],
                dtype=dtype.name,
                bits=dtype.width,
                role=role,
            )
        )

    # By name ----------------------------------------------------------------------------------------------------------

    def _sorted(self, lines: Iterable[int]) -> _Branch:
        """The lines as a tree of the parts of their names. What is deeper than can be shown stays one part."""
        names = self.ledger.names
        lines = list(lines)
        modules = {self.ledger.parents[line] for line in lines}
        deepest = levels_of(modules)
        if len(modules) + len(lines) > MOST_NODES:
            deepest = min(deepest, FEW_LEVELS)
        root = _Branch()
        for line in lines:
            *path, leaf = names[line].split(".", deepest)
            branch = root
            for part in path:
                below = branch.inside.get(part)
                if below is None:
                    below = branch.inside[part] = _Branch()
                branch = below
            branch.lines.append((leaf, line))
        return root

    def _held(self, path: str, branch: _Branch, kinds: dict[int, tuple[str, Kind]]) -> list[tuple[str, int]]:
        """What a branch holds; lines in `kinds` are coloured by the module they were found in."""
        held = [(leaf, self._tensor(line, kinds[line][1].category if line in kinds else OTHER)) for leaf, line in branch.lines]
        below = list(branch.inside)
        if all([name.isdecimal() for name in below]) or not self.ledger.checkpoint.ordered:
            below.sort(key=natural)
        for name in below:
            here = f"{path}.{name}" if path else name
            inside = self._held(here, branch.inside[name], kinds)
            categories = {self.nodes.all[number].category for _, number in inside}
            category = OPTIMIZER if categories == {OPTIMIZER} else OTHER
            title = self.optimizers.get(here)
            kind = Kind(title, "state", category) if title else NO_KIND
            held.append((name, self.nodes.put(self.nodes.module(category, kind, inside))))
        return held
