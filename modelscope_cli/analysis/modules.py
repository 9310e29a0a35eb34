"""The module tree of a checkpoint, with repeated blocks folded.

Equal numbered siblings fold into one row (`layers.0–31 ×32`), inside folded blocks again (`experts.0–7 ×8`); a module with a
single child is merged with it. The state of an optimizer is shown by entry (exp_avg …), not by parameter number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.adapter_parts import BASE
from modelscope_cli.analysis.assembled import MOST_PARTS as MOST_ASSEMBLED
from modelscope_cli.analysis.assembled import assembled, may_be_assembled
from modelscope_cli.analysis.conventions import WRAPPERS, unwrapped
from modelscope_cli.analysis.folding import fold_label, groups_of, merged
from modelscope_cli.analysis.kinds import OTHER, Kind, kind_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantised_kinds import WORD, quantised_kind
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.analysis.roles import OTHER as OTHER_ROLE
from modelscope_cli.analysis.rows_aside import optimizer_rows, uneven_rows, uneven_state
from modelscope_cli.analysis.signatures import COPIES, Signature, Signatures
from modelscope_cli.analysis.size_row import NO_KIND, SizeRow
from modelscope_cli.core.tensor import Shape

LONGEST_LABEL = 200  # characters of a tensor's name below the modules that are told apart
SEEN_THROUGH = frozenset((*WRAPPERS, *BASE))  # modules that are what the one around them is called


class Stack(NamedTuple):
    """A numbered list of modules: the numbers of each group of equal ones, and how often the whole list occurs."""

    groups: list[list[str]]
    copies: int

    @property
    def size(self) -> int:
        return sum(map(len, self.groups))


class Outline(NamedTuple):
    """(path, line) of the tensors of representatives, the numbered lists by path, and how many tensors each line stands for.

    Paths are without the parts of wrappers, but for those that a name begins with.
    """

    lines: list[tuple[str, int]]
    stacks: dict[str, Stack]
    copies: list[int]


class ModuleTree:
    """The tree over some lines of a ledger. `rows` are its top-level rows."""

    def __init__(
        self,
        ledger: Ledger,
        lines: Iterable[int] | None = None,
        *,
        fold: bool = True,
        empty: bool = False,
        labels: dict[int, tuple[str, Kind]] | None = None,
    ):
        self.ledger = ledger
        self.fold = fold
        self.whole = labels  # kinds in the tree of all lines, where this one has some only
        self.empty = empty  # with rows for modules without parameters (Dropout), where the file records them
        chosen: Sequence[int] = range(len(ledger)) if lines is None else list(lines)
        uneven: list[int] = []
        if aside := uneven_state(ledger):
            uneven = [line for line in chosen if line in aside]
            chosen = [line for line in chosen if line not in aside]
        self.modules = Signatures(ledger, chosen, whole=lines is None and not empty, empty=empty)
        self.lines = self.modules.lines
        self.cut = self.modules.cut
        self.shape = self.modules.shape
        self.rows = self._rows_inside(self.shape, 1, False)
        self.rows += uneven_rows(ledger, uneven) + optimizer_rows(ledger, self.modules.optimizer)

    # Rows -------------------------------------------------------------------------------------------------------------

    def kind(self, name: str, shape: Signature, top: bool) -> Kind:
        """The kind of a module, worked out once for a name and signature."""
        key = (name if not name.isdecimal() else "0", top)
        found = shape.kinds.get(key)
        if found is None and self.cut is not None and self._holds_deeper(shape):
            found = shape.kinds[key] = NO_KIND
        if found is None and self.whole and shape.lines and not shape.children:
            found = self.whole[shape.lines[0]][1] if shape.lines[0] in self.whole else None
        if found is None:
            children = shape.children
            if len(children) == 1 and not shape.lines and children[0][0] in WRAPPERS:
                found = shape.kinds[key] = self.kind(name, children[0][1], top)
                return found
            tensors = self.ledger.model_tensors(shape.lines)
            if shape.tensors <= MOST_ASSEMBLED and may_be_assembled(name, [*tensors, *[child for child, _ in children]]):
                found = assembled(name, self._parts(shape), shape.class_name, top=top)
                if found is not None:
                    shape.kinds[key] = found
                    return found
            if len(children) == 1 and not shape.lines and not children[0][1].lines and children[0][1].children:
                children = children[0][1].children  # a wrapper around a list (ff.layers.0, .2): what counts is in the list
            inner = {
                child: self.kind(name if child in BASE else child, inside, False) for child, inside in _some_children(children)
            }
            found = kind_of(name, tensors, inner, shape.class_name, top=top)
            if self.ledger.packed:
                found = quantised_kind(found, name, self.ledger, shape.lines, top=top)
            shape.kinds[key] = found
        return found

    def _holds_deeper(self, shape: Signature) -> bool:
        """Whether the tensors of a module are really those of modules in it, which are not told apart."""
        parents, cut_at = self.ledger.parents, self.cut or 0
        return any([parents[line].count(".") >= cut_at and parents[line] != "" for line in shape.lines])

    def _parts(self, shape: Signature, path: str = "") -> dict[str, Shape]:
        """Relative name → shape of all tensors in a module."""
        parts = {path + leaf: extents for leaf, extents in self.ledger.model_tensors(shape.lines).items()}
        for child, inside in shape.children:
            parts |= self._parts(inside, f"{path}{child}.")
        return parts

    def _rows_inside(self, shape: Signature, copies: int, numbered: bool, name: str = "") -> list[SizeRow]:
        """Rows of the direct tensors and the (folded) children of a module called `name`."""
        rows = [self._tensor_row(i, copies) for i in shape.lines]
        for names, inside in self._folded(shape.children):
            if inside.tensors or self.empty:
                called = names[0] if names[0] not in SEEN_THROUGH else name
                rows.append(self._row(names, inside, copies * len(names), numbered or names[0].isdecimal(), called))
        return rows

    def _row(self, names: list[str], shape: Signature, copies: int, numbered: bool, name: str) -> SizeRow:
        """The row of equal modules, which are of the kind that modules called `name` are."""
        label = fold_label(names)
        kind = self.kind(name, shape, not numbered)
        times = copies
        row = SizeRow(
            label,
            kind,
            tensors=shape.tensors * times,
            parameters=shape.parameters * times,
            elements=shape.elements * times,
            nbytes=shape.nbytes * times,
            copies=copies,
            fold=len(names),
        )
        if not shape.children and not kind.name and len(shape.lines) == 1:
            row.kind = self._tensor_kind(shape.lines[0])
        if not shape.children and (kind.name or len(shape.lines) == 1):
            row.tied = self._tie(shape, copies)
            return row
        row.children = self._rows_inside(shape, copies, numbered, name)
        row.opaque = kind.whole
        if shape.copy_of:
            row.kind, row.opaque = Kind(COPIES[shape.copy_of], "", OTHER), True
            return row
        if len(row.children) == 1 and shape.children and not kind.whole and (row.fold == 1 or shape.children[0][0] in WRAPPERS):
            return merged(row)
        return row

    def _tie(self, shape: Signature, copies: int) -> str | None:
        """What a module shares all its parameters with."""
        tied = self.ledger.tied
        if copies > 1 or not shape.lines or not all(i in tied for i in shape.lines):
            return None
        first = next((i for i in shape.lines if i in tied), None)
        return None if first is None else self.ledger.names[tied[first]]

    def _tensor_kind(self, index: int) -> Kind:
        """What stands for the kind of a tensor that has a row of its own."""
        ledger = self.ledger
        role = ledger.roles[index]
        word = {WEIGHT: "Parameter", BIAS: "Parameter", OTHER_ROLE: "other tensor"}.get(role, role)
        packed = ledger.packed.get(index)
        word = word if packed is None else f"{WORD} {word}"
        extents = packed.shape if packed is not None and packed.shape is not None else ledger.shapes[index]
        shape = " × ".join(f"{extent:,}" for extent in extents) or "scalar"
        return Kind(word, shape, OTHER, inferred=index not in ledger.roles_result.recorded)

    def _tensor_row(self, index: int, copies: int) -> SizeRow:
        """The row of a tensor that stands directly in a module with children."""
        ledger = self.ledger
        label = ledger.leaves[index]
        if self.cut is not None:
            below = ledger.names[index].split(".", self.cut)[-1]
            label = below if len(below) <= LONGEST_LABEL else label
        return SizeRow(
            label or "(the object itself)",
            self._tensor_kind(index),
            tensors=copies,
            parameters=ledger.parameters[index] * copies,
            elements=ledger.owned[index] * copies,
            nbytes=ledger.nbytes[index] * copies,
            copies=copies,
            tied=ledger.names[ledger.tied[index]] if index in ledger.tied and copies == 1 else None,
        )

    def _folded(self, children: list[tuple[str, Signature]]) -> list[tuple[list[str], Signature]]:
        return groups_of(children) if self.fold else [([name], shape) for name, shape in children]

    def outline(self) -> Outline:
        """The tree with one representative of every fold: enough to read an architecture from."""
        outline = Outline([], {}, [])
        self._outline("", self.shape, 1, outline)
        return outline

    def _outline(self, path: str, shape: Signature, copies: int, outline: Outline) -> None:
        outline.copies.extend([copies] * len(shape.lines))
        outline.lines.extend(
            (f"{path}.{self.ledger.leaves[index]}" if path else self.ledger.leaves[index], index) for index in shape.lines
        )
        groups = self._folded(shape.children)
        numbered = [names for names, _ in groups if names[0].isdecimal()]
        if numbered:
            outline.stacks[path] = Stack(numbered, copies)
        for names, inside in groups:
            below = f"{path}.{names[0]}" if path else names[0]
            if names[0] in WRAPPERS and unwrapped(path):
                below = path  # seen through, but where a name begins with it
            self._outline(below, inside, copies * len(names), outline)

    def labels(self) -> dict[int, tuple[str, Kind]]:
        """For each line the path of its module with folds written in (`model.layers.0–31.self_attn.q_proj`), and its kind."""
        found: dict[int, tuple[str, Kind]] = {}
        self._label("", "", "", self.shape, "", found, False)
        return found

    def _label(
        self,
        path: str,
        like: str,
        name: str,
        shape: Signature,
        written: str,
        found: dict[int, tuple[str, Kind]],
        numbered: bool,
        whole: Kind | None = None,
    ) -> None:
        """Label the lines of the module at `path`, whose modules are listed at `like`: itself or the layer it is equal to.

        `whole` is the kind of an enclosing module that is shown as one.
        """
        kind = whole or self.kind(name, shape, not numbered)
        if shape.copy_of:
            kind = whole = Kind(COPIES[shape.copy_of], "", OTHER)
        elif kind.whole:
            whole = kind
        several = bool(shape.children) or not path or not kind.name
        apart = whole is None and several  # tensors beside modules have rows of their own
        for line in self.lines.get(path, []):
            found[line] = (written, self._tensor_kind(line) if apart else kind)
        labels: dict[str, str] = {}
        for names, _ in self._folded(shape.children):
            labels.update(dict.fromkeys(names, fold_label(names)))
        places = self.modules.inside.get(like, [])
        for place, (child, inside) in zip(self.modules.ordered(places), shape.children, strict=True):
            below = f"{written}.{labels[child]}" if written else labels[child]
            here = path + place[len(like) :]
            first = self.modules.same_as.get(place, place)
            called = child if child not in SEEN_THROUGH else name
            self._label(here, first, called, inside, below, found, numbered or child.isdecimal(), whole)


def _some_children(children: list[tuple[str, Signature]]) -> list[tuple[str, Signature]]:
    """Enough children to tell the kind of a container: of a long numbered list the first stands for all."""
    return children if len(children) <= 32 else children[:32]


def kind_totals(rows: list[SizeRow]) -> dict[str, SizeRow]:
    """Sums by kind of module over the leaves of a tree of rows."""
    totals: dict[str, SizeRow] = {}

    def visit(row: SizeRow) -> None:
        if row.children and not row.opaque:
            for child in row.children:
                visit(child)
            return
        name = row.kind.name or "other"
        summed = totals.get(name)
        if summed is None:
            summed = totals[name] = SizeRow(name, Kind(name, "", row.kind.category, bool(row.kind.name) and row.kind.inferred))
        summed.add(row)

    for row in rows:
        visit(row)
    return totals
