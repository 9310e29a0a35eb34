"""Which modules of a checkpoint are equal: a signature each, worked out once however often it occurs.

A module's signature is the names, shapes, dtypes, roles and figures of its tensors, and the signatures of the modules in it. A tree
of 60,000 modules shrinks to the few hundred that differ. Where there are more modules than can be told apart, those below a level are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelscope_cli.analysis.execution_order import run_order
from modelscope_cli.analysis.kinds import Kind
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.levels import DEEPEST, LEVELS, MOST_MODULES, MOST_PARTS, PATH_CHARACTERS, cut
from modelscope_cli.analysis.roles import EMA, MASTER, OPTIMIZER

FIRST_NUMBER = 4  # parts of a path within which a layer is numbered
MOST_PREFIXES = 8
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


class Signatures:
    """The modules of some lines of a ledger, those in each, and what each is equal to. `shape` is the signature of all of them.

    Lines of an optimizer belong to no module: they are in `optimizer`.
    """

    def __init__(self, ledger: Ledger, lines: Sequence[int], *, whole: bool, empty: bool):
        self.ledger = ledger
        self.lines: dict[str, list[int]] = {}  # path of a module → lines directly in it
        self.inside: dict[str, list[str]] = {}  # path of a module → paths of the modules in it
        self.same_as: dict[str, str] = {}  # a layer → the first layer that is equal to it
        self.cut: int | None = None  # levels below which modules are not told apart, where there are too many
        self._registered: set[str] = set()
        self._shapes: dict[object, Signature] = {}  # by signature
        self._keys = copy_keys(ledger)
        self._in_order = ledger.checkpoint.ordered
        self._classes = {
            path: record.class_name for path, record in ledger.checkpoint.modules.items() if record.class_name is not None
        }
        recorded = ledger.checkpoint.modules if self._classes or empty else {}
        too_many = 0
        for deepest in LEVELS if ledger.levels is None or not whole else (ledger.levels,):
            if too_many and deepest and self._as_many(deepest, too_many):
                continue  # as many as before, or more than there may be even if all above them were the same
            self.optimizer = self._gather(lines, deepest)
            if self._registers(recorded, deepest) or not deepest:
                break
            too_many = len(self.lines)
        if whole:
            ledger.levels = deepest
        self.shape = self._shape_of("")

    def _registers(self, recorded: Iterable[str], deepest: int) -> bool:
        """Register all modules, those that the file records in the order of the model. False where there are too many to tell apart."""
        self.inside.clear()
        self._registered.clear()
        self.same_as.clear()
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
                    self.same_as[path] = known
                    kept.append(path)
            else:
                kept.append(path)
        return kept

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
            below = self.ordered(below)
        done: dict[str, Signature] = {}
        shapes: list[Signature] = []
        for place in below:
            first = self.same_as.get(place, place)
            shape = done.get(first)
            if shape is None:
                shape = done[first] = self._shape_of(first)
            shapes.append(shape)
        names = [place.rpartition(".")[2] for place in below]
        lines, class_name = self.lines.get(path, _NONE), self._classes.get(path)
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

    def ordered(self, paths: list[str]) -> list[str]:
        """Numbered modules by number; others as in the file, or in the order of execution where the file has lost it."""
        names = {path: path.rpartition(".")[2] for path in paths}
        if all([name.isdecimal() for name in names.values()]):
            return sorted(paths, key=lambda path: int(names[path][:18]))
        if self.ledger.checkpoint.ordered:
            return paths
        return [paths[position] for position in run_order(list(names.values()), registered=False)]


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
