"""The module tree of a checkpoint, with repeated blocks folded.

Every module gets a signature: the names, shapes, dtypes, roles and figures of its tensors and the signatures of its
children. Equal signatures are computed once, so a tree of 60,000 modules shrinks to the few hundred that differ. Equal
numbered siblings fold into one row (`layers.0–31 ×32`), inside folded blocks again (`experts.0–7 ×8`); a module with a
single child is merged with it. The state of an optimizer is shown by entry (exp_avg …), not by parameter number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelscope_cli.analysis.adapter_parts import BASE
from modelscope_cli.analysis.assembled import MOST_PARTS as MOST_ASSEMBLED
from modelscope_cli.analysis.assembled import assembled, may_be_assembled
from modelscope_cli.analysis.conventions import WRAPPERS, unwrapped
from modelscope_cli.analysis.execution_order import run_order
from modelscope_cli.analysis.kinds import OTHER, Kind, kind_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.levels import DEEPEST, LEVELS, MOST_MODULES, MOST_PARTS, PATH_CHARACTERS, cut
from modelscope_cli.analysis.quantised_kinds import WORD, quantised_kind
from modelscope_cli.analysis.roles import BIAS, EMA, MASTER, OPTIMIZER, WEIGHT
from modelscope_cli.analysis.roles import OTHER as OTHER_ROLE
from modelscope_cli.analysis.rows_aside import optimizer_rows, uneven_rows, uneven_state
from modelscope_cli.analysis.size_row import NO_KIND, SizeRow
from modelscope_cli.core.tensor import Shape

LONGEST_LABEL = 200  # characters of a tensor's name below the modules that are told apart
FIRST_NUMBER = 4  # parts of a path within which a layer is numbered
MOST_PREFIXES = 8
MANY_GROUPS = 6  # runs of equal siblings above which equal ones are folded although others stand between
MOST_RANGES = 4  # ranges written out in the label of a fold
SEEN_THROUGH = frozenset((*WRAPPERS, *BASE))  # modules that are what the one around them is called
COPIES = {EMA: "EMA copy", MASTER: "master copy"}  # shown as one row; the model itself is above


class LayerSplitter:
    """Cuts a module path behind its first number, if that is among the first parts: model.layers.3 and mlp.gate_proj.

    Remembers what stood before the numbers so far, because tens of thousands of paths begin with the same few words.
    """

    def __init__(self) -> None:
        self.prefixes: list[str] = []

    def __call__(self, path: str) -> tuple[str | None, str]:
        for prefix in self.prefixes:
            if path.startswith(prefix):
                number, _, rest = path[len(prefix) :].partition(".")
                if number.isdecimal():
                    return prefix + number, rest
        parts = path.split(".", FIRST_NUMBER)
        for position, part in enumerate(parts[:FIRST_NUMBER]):
            if part.isdecimal():
                layer = ".".join(parts[: position + 1])
                if len(self.prefixes) < MOST_PREFIXES:
                    self.prefixes.append(layer[: -len(part)])
                return layer, ".".join(parts[position + 1 :])
        return None, path


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


class Signature:
    """What modules of one signature have in common."""

    __slots__ = ("children", "class_name", "copy_of", "elements", "kinds", "lines", "nbytes", "parameters", "tensors")

    def __init__(self, lines: list[int], children: list[tuple[str, Signature]], class_name: str | None):
        self.lines = lines
        self.children = children
        self.class_name = class_name
        self.tensors = self.parameters = self.elements = self.nbytes = 0
        self.copy_of: str | None = None  # the role of everything in it, when that is a copy of the weights
        self.kinds: dict[tuple[str, bool], Kind] = {}


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
        self.lines: dict[str, list[int]] = {}  # path of a module → lines directly in it
        self.inside: dict[str, list[str]] = {}  # path of a module → paths of the modules in it
        self._registered: set[str] = set()
        self.classes: dict[str, str] = {}  # path → recorded class
        self._shapes: dict[object, Signature] = {}  # by signature
        self._keys = copy_keys(ledger)
        self._in_order = ledger.checkpoint.ordered
        self._same_as: dict[str, str] = {}  # a layer → the first layer that is equal to it
        self.cut: int | None = None  # levels below which modules are not told apart, where there are too many
        self.classes = {
            path: record.class_name for path, record in ledger.checkpoint.modules.items() if record.class_name is not None
        }
        recorded = ledger.checkpoint.modules if self.classes or empty else {}
        chosen = range(len(ledger)) if lines is None else list(lines)
        uneven: list[int] = []
        if aside := uneven_state(ledger):
            uneven = [line for line in chosen if line in aside]
            chosen = [line for line in chosen if line not in aside]
        too_many = 0
        whole = lines is None and not empty
        for deepest in LEVELS if ledger.levels is None or not whole else (ledger.levels,):
            if too_many and deepest and self._as_many(deepest, too_many):
                continue  # as many as before, or more than there may be even if all above them were the same
            optimizer = self._gather(chosen, deepest)
            if self._registers(recorded, deepest) or not deepest:
                break
            too_many = len(self.lines)
        if whole:
            ledger.levels = deepest
        self.shape = self._shape_of("")
        self.rows = self._rows_inside(self.shape, 1, False) + uneven_rows(ledger, uneven) + optimizer_rows(ledger, optimizer)

    # Building ---------------------------------------------------------------------------------------------------------

    def _registers(self, recorded: Iterable[str], deepest: int) -> bool:
        """Register all modules, those that the file records in the order of the model. False where there are too many to tell apart."""
        self.inside.clear()
        self._registered.clear()
        self._same_as.clear()
        self.cut = deepest if deepest < DEEPEST else None
        if deepest == DEEPEST:
            joined = ".".join(self.lines)
            parts = joined.count(".") + 1
            if parts > MOST_PARTS or len(joined) * parts > PATH_CHARACTERS * max(1, len(self.lines)):
                return False  # names so long and deep that the paths of all modules would not fit
        for path in recorded:
            if path.count(".") < deepest:
                self._register(path)
        for path in list(self.lines) if recorded else self._distinct():
            self._register(path)
            if len(self._registered) > MOST_MODULES:
                return False
        return True

    def _as_many(self, deepest: int, too_many: int) -> bool:
        """Whether fewer levels leave too many of the modules that were gathered last, or all of them."""
        count = len({cut(path, deepest) for path in self.lines})
        return count == too_many or count > MOST_MODULES

    def _gather(self, lines: Iterable[int], deepest: int) -> list[int]:
        parents, roles, places = self.ledger.parents, self.ledger.roles, self.lines
        places.clear()
        optimizer: list[int] = []
        for line in lines:
            if roles[line] == OPTIMIZER:
                optimizer.append(line)
                continue
            path = parents[line]
            if len(path) > deepest:
                path = cut(path, deepest)
            place = places.get(path)
            if place is None:
                places[path] = [line]
            else:
                place.append(line)
        return optimizer

    def _register(self, path: str) -> None:
        """List a module in the one above it, and that one in turn, each once."""
        inside, registered = self.inside, self._registered
        while path and path not in registered:
            registered.add(path)
            container = path.rpartition(".")[0]
            listed = inside.get(container)
            if listed is None:
                inside[container] = [path]
            else:
                listed.append(path)
            path = container

    def _distinct(self) -> list[str]:
        """The modules to take apart: all of them, but of equal numbered layers (model.layers.0, .1, …) those of the first.

        Two layers are equal when they hold equal tensors under the same names, in the same order where the file keeps one.
        """
        own = self._own
        numbers: dict[object, int] = {}  # what the tensors of a module must equal → a number for it
        layers: dict[str, list[tuple[str, int]]] = {}
        order: list[str] = []  # paths and, where they begin, layers
        paths: dict[str, list[str]] = {}
        split = LayerSplitter()
        for path, lines in self.lines.items():
            layer, rest = split(path)
            if layer is None:
                order.append(path)
                continue
            held = layers.get(layer)
            if held is None:
                held = layers[layer] = []
                paths[layer] = []
                order.append(layer)
            held.append((rest, numbers.setdefault(own(lines), len(numbers))))
            paths[layer].append(path)
        gather = tuple if self.ledger.checkpoint.ordered else frozenset
        first: dict[object, str] = {}
        kept: list[str] = []
        for path in order:
            if path in layers:
                known = first.setdefault((path.rpartition(".")[0], gather(layers[path])), path)
                if known is path:
                    kept += paths[path]
                else:
                    self._same_as[path] = known
                    kept.append(path)
            else:
                kept.append(path)
        return kept

    # Signatures -------------------------------------------------------------------------------------------------------

    def _own(self, lines: list[int]) -> tuple[int, ...]:
        """What the tensors directly in a module must equal. Shards may hold them in another order than the model."""
        keys = self._keys
        own = [keys[line] for line in lines]
        if len(own) > 1 and not self._in_order:
            own.sort()
        return tuple(own)

    def _shape_of(self, path: str) -> Signature:
        """The signature of a module and all below it."""
        below = self.inside.get(path, _NOTHING)
        if len(below) > 1:
            below = self._ordered(below)
        done: dict[str, Signature] = {}
        shapes: list[Signature] = []
        for place in below:
            first = self._same_as.get(place, place)
            shape = done.get(first)
            if shape is None:
                shape = done[first] = self._shape_of(first)
            shapes.append(shape)
        names = [place.rpartition(".")[2] for place in below]
        lines, class_name = self.lines.get(path, _NONE), self.classes.get(path)
        key = (class_name, self._own(lines), tuple(names), tuple(map(id, shapes)))
        known = self._shapes.get(key)
        if known is None:
            known = self._shapes[key] = self._new_shape(lines, list(zip(names, shapes, strict=True)), class_name)
        return known

    def _new_shape(self, lines: list[int], children: list[tuple[str, Signature]], class_name: str | None) -> Signature:
        """A signature with its figures summed."""
        ledger = self.ledger
        shape = Signature(lines, children, class_name)
        shape.tensors = len(lines)
        shape.parameters = sum([ledger.parameters[line] for line in lines])
        shape.elements = sum([ledger.owned[line] for line in lines])
        shape.nbytes = sum([ledger.nbytes[line] for line in lines])
        for _, inside in children:
            shape.tensors += inside.tensors
            shape.parameters += inside.parameters
            shape.elements += inside.elements
            shape.nbytes += inside.nbytes
        roles = {ledger.roles[line] for line in lines} | {inside.copy_of for _, inside in children if inside.tensors}
        shape.copy_of = roles.pop() if len(roles) == 1 and roles <= COPIES.keys() else None
        return shape

    def _ordered(self, paths: list[str]) -> list[str]:
        """Numbered modules by number; others as in the file, or in the order of execution where the file has lost it."""
        names = {path: path.rpartition(".")[2] for path in paths}
        if all([name.isdecimal() for name in names.values()]):
            return sorted(paths, key=lambda path: int(names[path][:18]))
        if self.ledger.checkpoint.ordered:
            return paths
        return [paths[position] for position in run_order(list(names.values()), registered=False)]

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
            return _merged(row)
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
        """Neighbouring numbered children of one signature together; in long irregular lists also those further apart."""
        groups: list[tuple[list[str], Signature]] = []
        for name, shape in children:
            if self.fold and groups and groups[-1][1] is shape and name.isdecimal() and groups[-1][0][0].isdecimal():
                groups[-1][0].append(name)
            else:
                groups.append(([name], shape))
        numbered = [group for group in groups if group[0][0].isdecimal()]
        if self.fold and len(numbered) > MANY_GROUPS:
            distinct = {id(shape) for _, shape in numbered}
            if len(distinct) * 2 <= len(numbered):
                return _gathered(groups)
        return groups

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
        for line in self.lines.get(path, _NONE):
            found[line] = (written, self._tensor_kind(line) if apart else kind)
        labels: dict[str, str] = {}
        for names, _ in self._folded(shape.children):
            labels.update(dict.fromkeys(names, fold_label(names)))
        places = self.inside.get(like, _NOTHING)
        for place, (child, inside) in zip(self._ordered(places), shape.children, strict=True):
            below = f"{written}.{labels[child]}" if written else labels[child]
            here = path + place[len(like) :]
            first = self._same_as.get(place, place)
            called = child if child not in SEEN_THROUGH else name
            self._label(here, first, called, inside, below, found, numbered or child.isdecimal(), whole)


_NOTHING: list[str] = []
_NONE: list[int] = []


def copy_keys(ledger: Ledger) -> list[int]:
    """A number for each line, the same for two tensors that may be copies of each other."""
    dtypes = [dtype.name for dtype in ledger.dtypes]
    rows: Iterable[tuple[object, ...]]
    plain = ledger.owned is ledger.elements and not ledger.tied  # all alone on their storages
    if plain and ledger.nbytes == ledger.checkpoint.tensors.storage.nbytes:  # and not compressed: shape and dtype tell the rest
        rows = zip(ledger.leaves, ledger.shapes, dtypes, ledger.roles, strict=True)
    else:
        tied = [_tie_from(ledger, line) if line in ledger.tied else None for line in range(len(ledger))]
        rows = zip(ledger.leaves, ledger.shapes, dtypes, ledger.roles, ledger.owned, ledger.nbytes, tied, strict=True)
    if ledger.packed:  # what the model makes of it may depend on more than the tensor itself
        rows = zip(rows, map(ledger.packed.get, range(len(ledger))), strict=True)
    numbers: dict[object, int] = {}
    return [numbers.setdefault(row, len(numbers)) for row in rows]


def _tie_from(ledger: Ledger, line: int) -> tuple[int, str]:
    """What a tensor is tied to, as seen from it: how many parts of its name up, and the way from there. Equal layers say the same."""
    own, other = ledger.names[line].split("."), ledger.names[ledger.tied[line]].split(".")
    shared = next(
        (at for at, (mine, theirs) in enumerate(zip(own, other, strict=False)) if mine != theirs), min(len(own), len(other))
    )
    return len(own) - shared, ".".join(other[shared:])


def _some_children(children: list[tuple[str, Signature]]) -> list[tuple[str, Signature]]:
    """Enough children to tell the kind of a container: of a long numbered list the first stands for all."""
    return children if len(children) <= 32 else children[:32]


def _gathered(groups: list[tuple[list[str], Signature]]) -> list[tuple[list[str], Signature]]:
    gathered: dict[int, tuple[list[str], Signature]] = {}
    rows: list[tuple[list[str], Signature]] = []
    for names, shape in groups:
        known = gathered.get(id(shape)) if names[0].isdecimal() else None
        if known is not None:
            known[0].extend(names)
        else:
            rows.append((list(names), shape))
            if names[0].isdecimal():
                gathered[id(shape)] = rows[-1]
    return rows


def _merged(row: SizeRow) -> SizeRow:
    """A row with a single child and the child, as one: `layers` + `0–31` = `layers.0–31`."""
    child = row.children[0]
    child.label = f"{row.label}.{child.label}"
    child.fold *= row.fold
    if row.kind.name and not child.kind.name:
        child.kind = row.kind
    return child


def fold_label(names: list[str]) -> str:
    """The numbers of a fold as ranges: 0–31, or 0, 2, 4, … when they are scattered."""
    if len(names) == 1:
        return names[0] or "(unnamed)"
    ranges: list[tuple[str, str]] = []
    for name in names:
        if ranges and int(name[:18]) == int(ranges[-1][1][:18]) + 1:
            ranges[-1] = (ranges[-1][0], name)
        else:
            ranges.append((name, name))
    written = [first if first == last else f"{first}–{last}" for first, last in ranges]
    if len(written) > MOST_RANGES:
        written = [*written[: MOST_RANGES - 1], "…", written[-1]]
    return ",".join(written)


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
