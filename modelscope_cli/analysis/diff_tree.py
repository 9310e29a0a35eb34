"""Where in the model something changed: ± parameters and ± bytes of every module that holds a change, as a folded tree.

Only modules with changes get a row. A module that is new or gone as a whole is one row; one with a single row inside is one with
it (`decoder.layers.6`); numbered siblings to which the same happened fold, neighbours or not, and their figures are for all of
them. State of an optimizer stands under its entries (exp_avg …), not under parameter numbers. A renamed tensor stands under its
new name. What was only renamed has no row: renames are a table of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from modelscope_cli.analysis import diff_words as words
from modelscope_cli.analysis.beneath import Owners
from modelscope_cli.analysis.diff import Change, Diff
from modelscope_cli.analysis.diff_layout import layout_of
from modelscope_cli.analysis.diff_quantised import by_row, helps
from modelscope_cli.analysis.diff_row import ChangeRow, merged
from modelscope_cli.analysis.diff_words import ADDED, LAYOUT, REMOVED, tally
from modelscope_cli.analysis.execution_order import natural
from modelscope_cli.analysis.folding import fold_label
from modelscope_cli.analysis.kinds import Kind, kind_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.levels import cut, levels_of
from modelscope_cli.analysis.quantised_kinds import quantised_kind
from modelscope_cli.analysis.roles import HELPER, OPTIMIZER
from modelscope_cli.analysis.signatures import COPIES
from modelscope_cli.report.document import BytesChange, Phrase

MOST_CHILDREN = 32  # modules inside a new one that are looked at to tell what kind it is
ORDERS = ("change", "order", "name")


class Node:
    """A module that holds changes, or the state of an optimizer. `leaves` are its own tensors, by the last part of the name.

    `figures` are totals, with what did not change: tensors, parameters, bytes, each old and new.
    """

    __slots__ = ("children", "figures", "leaves", "name", "path", "signature")

    def __init__(self, path: str, name: str):
        self.path = path
        self.name = name
        self.children: list[Node] = _NONE
        self.leaves: dict[str, list[Change]] = _NOTHING
        self.figures = [0] * 6
        self.signature = 0

    @property
    def status(self) -> str:
        old, new = self.figures[:2]
        return "changed" if old and new else ADDED if new else REMOVED


_NONE: list[Node] = []  # shared by the many nodes that have none
_NOTHING: dict[str, list[Change]] = {}


class ChangeTree:
    """The rows of a diff. `order` of rows beside each other: change (largest first), order (of the files), or name."""

    def __init__(self, diff: Diff, order: str = "change", *, under: str = ""):
        if order not in ORDERS:
            raise ValueError(f"rows are sorted by {', '.join(ORDERS)}, not by {order!r}")
        self.diff = diff
        self.order = order
        self.root = Node("", "")
        self._places: dict[str, Node] = {"": self.root}
        self._signatures: dict[object, int] = {}
        self._fates: dict[object, int] = {}
        self._texts: dict[int, str] = {}
        self._tallies = {status: Counter([status]) for status in (ADDED, REMOVED)}
        self._deepest = self._depth()
        self._owners = [Owners(fact.path for fact in side.roles_result.optimizers) for side in (diff.old, diff.new)]
        self._helped = any([side.packed or HELPER in side.by_role() for side in (diff.old, diff.new)])
        self.within: list[Change] = []  # changes in modules that are new or gone as a whole
        self.rows: list[ChangeRow] = []
        held = self._by_path()
        for path, changes in held.items():
            if not under or path == under or path.startswith(under + "."):
                self._hang(self._node(path), changes)
        if self.root.children or self.root.leaves:
            self._sum_up(held)
            self._places.clear()
            self._sign(self.root)
            self.rows = self._sorted(self._inside([self.root], False))

    # Building ---------------------------------------------------------------------------------------------------------

    def _depth(self) -> int:
        """Levels of modules: fewer where names are so many, long and deep that not all can be told apart."""
        old, new = self.diff.old.parents, self.diff.new.parents
        return levels_of([old[change.old or 0] if change.new is None else new[change.new] for change in self.diff.changes])

    def _by_path(self) -> dict[str, list[Change]]:
        """The changes by the paths of their modules."""
        held: dict[str, list[Change]] = {}
        for change in self.diff.changes:
            path = self._path(*self._side(change))
            known = held.get(path)
            if known is None:
                held[path] = [change]
            else:
                known.append(change)
        return held

    def _side(self, change: Change) -> tuple[Ledger, int]:
        """The side under whose name a tensor stands, and its line there."""
        if change.new is not None:
            return self.diff.new, change.new
        assert change.old is not None
        return self.diff.old, change.old

    def _path(self, ledger: Ledger, line: int) -> str:
        if ledger.roles[line] == OPTIMIZER:
            name = ledger.names[line]
            owner = self._owners[ledger is self.diff.new].of(name)
            return name.partition(".")[0] if owner is None else owner
        return cut(ledger.parents[line], self._deepest)

    def _node(self, path: str) -> Node:
        """The node of a path, made with those above it where it is not there yet."""
        node = self._places.get(path)
        missing: list[str] = []
        while node is None:
            missing.append(path)
            path = path.rpartition(".")[0]
            node = self._places.get(path)
        for place in reversed(missing):
            child = self._places[place] = Node(place, place.rpartition(".")[2])
            if node.children is _NONE:
                node.children = [child]
            else:
                node.children.append(child)
            node = child
        return node

    def _hang(self, node: Node, changes: list[Change]) -> None:
        """Give a module its own changes, by the names of their rows in it."""
        if self._helped:
            node.leaves = by_row(self.diff, changes)
            return
        leaves = node.leaves = {}
        for change in changes:
            ledger, line = self._side(change)
            known = leaves.get(ledger.leaves[line])
            if known is None:
                leaves[ledger.leaves[line]] = [change]
            else:
                known.append(change)

    def _sum_up(self, held: dict[str, list[Change]]) -> None:
        """Totals of every module that has a node, with the tensors in it that did not change."""
        sums = {path: [0] * 6 for path in held}
        for path, changes in held.items():
            figures = sums[path]
            for _, _, old, new, parameters, nbytes in changes:
                if old is None:
                    figures[1] += 1
                    figures[3] += parameters
                    figures[5] += nbytes
                elif new is None:
                    figures[0] += 1
                    figures[2] -= parameters
                    figures[4] -= nbytes
        first, second = self.diff.books
        for line, other in enumerate(self.diff.origin):
            if other >= 0:
                figures = sums.setdefault(self._path(self.diff.new, line), [0] * 6)
                figures[0] += 1
                figures[1] += 1
                figures[2] += first.parameters[other]
                figures[3] += second.parameters[line]
                figures[4] += first.nbytes[other]
                figures[5] += second.nbytes[line]
        for path, figures in sums.items():
            while path not in self._places:
                path = path.rpartition(".")[0]
            _add(self._places[path].figures, figures)
        self._roll_up(self.root)

    def _roll_up(self, node: Node) -> None:
        for child in node.children:
            if child.children:
                self._roll_up(child)
            _add(node.figures, child.figures)

    def _sign(self, node: Node) -> int:
        """A number that nodes have in common to which the same happened."""
        if len(node.children) > 1:
            node.children.sort(key=lambda child: natural(child.name))
        if len(node.leaves) > 1:
            node.leaves = dict(sorted(node.leaves.items()))
        key: list[object] = [node.status]
        for leaf, changes in node.leaves.items():
            key += (leaf, self._fate(changes[0]) if len(changes) == 1 else tuple(map(self._fate, changes)))
        key.append(None)
        for child in node.children:
            key += (child.name, self._sign(child))
        node.signature = self._signatures.setdefault(tuple(key), len(self._signatures))
        return node.signature

    def _fate(self, change: Change) -> int:
        """A number for all that a row says of a change, and its figures."""
        status, aspects, old, new, parameters, nbytes = change
        what: list[object] = [status, aspects, parameters, nbytes]
        for ledger, books, line in ((self.diff.old, self.diff.books[0], old), (self.diff.new, self.diff.books[1], new)):
            if line is not None:
                tie = books.tied.get(line) if books.tied else None
                what += (ledger.shapes[line], ledger.dtypes[line].name, ledger.roles[line])
                what.append(None if tie is None else ledger.names[tie])
                if LAYOUT in aspects:
                    what.append(layout_of(ledger, line))
        return self._fates.setdefault(tuple(what), len(self._fates))

    # Rows -------------------------------------------------------------------------------------------------------------

    def _inside(self, nodes: list[Node], numbered: bool) -> list[ChangeRow]:
        """Rows of what is inside nodes to all of which the same happened."""
        leaves = [list(node.leaves.values()) for node in nodes]
        rows = [
            self._leaf_row(leaf, [change for held in leaves for change in held[position]], len(nodes))
            for position, leaf in enumerate(nodes[0].leaves)
        ]
        children = [node.children for node in nodes]
        for positions in _folded(children[0]):
            members = [held[position] for held in children for position in positions]
            names = [children[0][position].name for position in positions]
            rows.append(self._row(names, members, numbered or names[0].isdecimal()))
        return rows

    def _row(self, names: list[str], nodes: list[Node], numbered: bool) -> ChangeRow:
        """The row of equal modules beside each other, in all the places where they are."""
        first = nodes[0]
        row = ChangeRow(fold_label(names), first.status)
        row.fold, row.copies = len(names), len(nodes)
        for node in nodes:
            _, _, *figures = node.figures
            row.parameters[0] += figures[0]
            row.parameters[1] += figures[1]
            row.nbytes[0] += figures[2]
            row.nbytes[1] += figures[3]
        if row.status in (ADDED, REMOVED):
            row.kind = self._kind_of_whole(first, not numbered)
            if row.kind.name or len(first.leaves) + len(_folded(first.children)) > 1:
                return self._whole_row(row, nodes)
        inside = self._inside(nodes, numbered)
        for child in inside:
            row.gather(child)
        row.position = min([child.position for child in inside])
        if len(inside) == 1 and (row.fold == 1 or inside[0].fold == 1):
            return merged(row, inside[0])
        row.children = self._sorted(inside)
        row.text = tally(row.statuses)
        return row

    def _whole_row(self, row: ChangeRow, nodes: list[Node]) -> ChangeRow:
        """All that is in a module that is new or gone, as one row."""
        row.whole = True
        changes = _changes(nodes)
        self.within += changes
        row.parameters_change = row.parameters[1] - row.parameters[0]
        row.nbytes_change = row.nbytes[1] - row.nbytes[0]
        row.tensors = row.statuses[row.status] = len(changes)
        row.position = min([self._position(change) for change in changes])
        row.text = words.module(self.diff, row.status, row.kind, changes)
        return row

    def _leaf_row(self, leaf: str, changes: list[Change], copies: int) -> ChangeRow:
        """The row of a tensor in all its copies, or of all tensors of one entry of an optimizer."""
        if len(changes) == 1 and changes[0].status in self._tallies:
            return self._single_row(leaf, changes[0])
        statuses = {change.status for change in changes}
        row = ChangeRow(leaf or "(the object itself)", statuses.pop() if statuses in ({ADDED}, {REMOVED}) else "changed")
        for change in changes:
            for which, (books, line) in enumerate(zip(self.diff.books, change[2:4], strict=True)):
                if line is not None:
                    row.parameters[which] += books.parameters[line]
                    row.nbytes[which] += books.nbytes[line]
            row.parameters_change += change.parameters
            row.nbytes_change += change.nbytes
            row.statuses.update(change.aspects or (change.status,))
        row.tensors = len(changes)
        row.position = min([self._position(change) for change in changes])
        helpers = [change for change in changes if helps(self.diff, change)] if self._helped else []
        if helpers and len(changes) - len(helpers) == copies:
            nbytes = BytesChange(sum([change.nbytes for change in helpers]))
            row.text = Phrase((words.tensor(self.diff, changes[0]), ", helpers ", nbytes))
        else:
            row.text = words.tensor(self.diff, changes[0]) if len(changes) == copies else tally(row.statuses)
        return row

    def _single_row(self, leaf: str, change: Change) -> ChangeRow:
        """The row of a tensor that only one side has."""
        status, _, _, _, parameters, nbytes = change
        row = ChangeRow(leaf or "(the object itself)", status)
        side = 1 if status == ADDED else 0
        row.parameters[side], row.nbytes[side] = abs(parameters), abs(nbytes)
        row.parameters_change, row.nbytes_change = parameters, nbytes
        row.statuses = self._tallies[status]  # nothing is added to that of a tensor
        row.tensors = 1
        row.position = self._position(change)
        fate = self._fate(change)
        text = self._texts.get(fate)
        if text is None:
            text = self._texts[fate] = words.tensor(self.diff, change)
        row.text = text
        return row

    def _position(self, change: Change) -> int:
        """Where it stands in the new file; what is gone follows."""
        return change.new if change.new is not None else len(self.diff.new) + (change.old or 0)

    def _kind_of_whole(self, node: Node, top: bool) -> Kind:
        """The kind of a module that is new or gone as a whole."""
        ledger = self.diff.new if node.status == ADDED else self.diff.old
        roles = {ledger.roles[self._side(change)[1]] for change in _changes([node])}
        role = roles.pop() if len(roles) == 1 else ""
        if role == OPTIMIZER or role in COPIES:
            return Kind(COPIES.get(role, "optimizer state"), "", "other", inferred=False)
        return self._kind(node, ledger, top)

    def _kind(self, node: Node, ledger: Ledger, top: bool) -> Kind:
        lines = [self._side(changes[0])[1] for changes in node.leaves.values()]
        some = node.children[:MOST_CHILDREN]
        kinds = {child.name: self._kind(child, ledger, False) for child in some}
        record = ledger.checkpoint.modules.get(node.path)
        kind = kind_of(node.name, ledger.model_tensors(lines), kinds, record.class_name if record else None, top=top)
        return quantised_kind(kind, node.name, ledger, lines, top=top) if ledger.packed else kind

    def _sorted(self, rows: list[ChangeRow]) -> list[ChangeRow]:
        return sorted(rows, key=_KEYS[self.order])


def _add(figures: list[int], others: list[int]) -> None:
    for at, number in enumerate(others):
        figures[at] += number


def _changes(nodes: list[Node]) -> list[Change]:
    """All changes in some modules."""
    found: list[Change] = []
    waiting = nodes[:]
    while waiting:
        node = waiting.pop()
        for changes in node.leaves.values():
            found += changes
        waiting += node.children
    return found


def _folded(nodes: list[Node]) -> list[list[int]]:
    """Positions of modules beside each other, those together that are numbered and to which the same happened."""
    groups: dict[object, list[int]] = {}
    for position, node in enumerate(nodes):
        groups.setdefault(node.signature if node.name.isdecimal() else node.path, []).append(position)
    return list(groups.values())


_KEYS: dict[str, Callable[[ChangeRow], Any]] = {
    "change": lambda row: (-abs(row.nbytes_change), -abs(row.parameters_change), -row.tensors, natural(row.label)),
    "order": lambda row: row.position,
    "name": lambda row: natural(row.label),
}
