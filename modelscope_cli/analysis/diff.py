"""`diff`: what became of every tensor of a checkpoint in another one, from their headers. Values are not compared.

Equal names pair, then renamed ones (renames.py). A pair is the same when shape, dtype, layout (the parts of quantised and sparse
tensors), role, ties and distinct elements are: strides, offsets, files and compression belong to the container. What no tensor
owns, metadata and the pickles are compared beside (diff_around.py). Nothing is lost on the way: the changes of all tensors, of
the bytes around them and of how equal tensors are stored add up to the difference of the file sizes, and that is asserted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.analysis.diff_around import (
    Aspect,
    ImportChange,
    MetadataChange,
    Moved,
    compare_container,
    compare_imports,
    compare_metadata,
    compare_places,
    outside,
)
from modelscope_cli.analysis.diff_layout import other_layouts, same_layouts
from modelscope_cli.analysis.diff_quantised import homes, other_shape, pair_packed, regrouped, repacked
from modelscope_cli.analysis.diff_ties import Books, settle
from modelscope_cli.analysis.diff_words import (
    ADDED,
    CHANGED,
    HELPERS_ADDED,
    HELPERS_REMOVED,
    LAYOUT,
    REMOVED,
    RENAMED,
    RESHAPED,
    RETIED,
    RETYPED,
    ROLE,
    SAME,
    SHARING,
    TIED,
    UNTIED,
)
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.renames import Rename, Side, find_renames
from modelscope_cli.analysis.roles import HELPER
from modelscope_cli.core.checkpoint import Checkpoint

if TYPE_CHECKING:
    from modelscope_cli.analysis.diff_tree import ChangeTree
    from modelscope_cli.report.document import Table


class Change(NamedTuple):
    """What happened to one tensor. `old` and `new` are lines of the ledgers, None for the side that does not have it.

    `aspects` of a pair: reshaped, retyped … ; `parameters` and `nbytes` are how many more there are.
    """

    status: str
    aspects: tuple[str, ...]
    old: int | None
    new: int | None
    parameters: int
    nbytes: int


class Total(NamedTuple):
    """A figure of both checkpoints."""

    old: int
    new: int

    @property
    def change(self) -> int:
        return self.new - self.old


class Diff:
    """Two checkpoints compared. `changes` are the tensors that differ in more than their names, `renames` those that do in these.

    `partner[i]` is the new line of old line i, `origin[j]` the old one of new line j, or -1. `books` are the figures of both
    sides with ties made comparable. `stored` is how many more bytes the files take for tensors that are the same. `kept` are
    tables that reports of different detail have in common.
    """

    def __init__(self, old: Ledger, new: Ledger):
        self.old = old
        self.new = new
        self.partner, self.origin = pair_names(old.names, new.names)
        pair_packed(old, new, self.partner, self.origin)
        self.renames = self._renamed()
        self.books: tuple[Books, Books] = settle(old, new, self.partner, self.origin)
        self.stored = 0
        self.kept: dict[str, Table] = {}
        self.changes: list[Change] = []
        if not self._equal():
            self.changes = self._changed()
            self.changes += self._single(homes(self.changes, new))
        self.outside: dict[str, Total] = {label: Total(*sizes) for label, sizes in outside(old, new).items()}
        self.metadata: list[MetadataChange] = compare_metadata(old.checkpoint, new.checkpoint)
        self.imports: list[ImportChange] = compare_imports(old.checkpoint, new.checkpoint)
        self.moved: list[Moved] = compare_places(old, new, self.partner)
        self.container: list[Aspect] = compare_container(self)
        self._check()

    # Figures ----------------------------------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> Total:
        return Total(self.old.total_parameters(), self.new.total_parameters())

    @cached_property
    def nbytes(self) -> Total:
        return Total(self.old.checkpoint.nbytes, self.new.checkpoint.nbytes)

    @cached_property
    def tensors(self) -> Total:
        return Total(len(self.old), len(self.new))

    @cached_property
    def counts(self) -> Counter[str]:
        """Tensors of each status; one that was renamed and changed besides counts as renamed."""
        counts = Counter([change.status for change in self.changes])
        counts[RENAMED] = sum([len(rename.couples) for rename in self.renames])
        counts[SAME] = len(self.old) - counts[REMOVED] - counts[RENAMED] - counts[CHANGED]
        return counts

    @cached_property
    def aspects(self) -> Counter[str]:
        """Tensors to which each thing happened; one can be reshaped and retyped."""
        return Counter([aspect for change in self.changes for aspect in change.aspects or (change.status,)])

    @cached_property
    def tree(self) -> ChangeTree:
        """Where in the model the changes are, the largest first; made once for all that ask."""
        from modelscope_cli.analysis.diff_tree import ChangeTree

        return ChangeTree(self)

    def differs(self, strict: bool = False) -> bool:
        """Whether the models differ; `strict`: or only their containers."""
        inside = any(not change.container for change in self.metadata) or any(not change.harmless for change in self.imports)
        return bool(self.changes or self.renames or inside or (strict and self.container))

    # Pairs ------------------------------------------------------------------------------------------------------------

    def _renamed(self) -> list[Rename]:
        """Pair what equal names have left over. The couples of the renames are lines of the ledgers."""
        olds = [line for line, other in enumerate(self.partner) if other < 0]
        news = [line for line, other in enumerate(self.origin) if other < 0]
        if not olds or not news:
            return []
        renames = []
        for rename in find_renames(side_of(self.old, olds), side_of(self.new, news)):
            couples = [(olds[first], news[second]) for first, second in rename.couples]
            renames.append(rename._replace(couples=couples))
            for first, second in couples:
                self.partner[first], self.origin[second] = second, first
        return renames

    def _equal(self) -> bool:
        """Whether line by line everything is the same, which takes a few comparisons of whole columns to see."""
        old, new = self.old, self.new
        return (
            old.names == new.names
            and old.shapes == new.shapes
            and old.dtypes == new.dtypes
            and old.roles == new.roles
            and self.books[0] == self.books[1]
            and same_layouts(old, new)
        )

    def _changed(self) -> list[Change]:
        """The pairs that differ, in the order of the new checkpoint."""
        news = [line for line, other in enumerate(self.origin) if other >= 0]
        olds = [self.origin[line] for line in news]
        aspects: dict[int, list[str]] = {}
        for aspect, column in ((RESHAPED, "shapes"), (RETYPED, "dtypes"), (ROLE, "roles")):
            for at in differing(getattr(self.old, column), getattr(self.new, column), olds, news):
                aspects.setdefault(at, []).append(aspect)
        for at in other_layouts(self.old, self.new, olds, news):
            aspects.setdefault(at, []).append(LAYOUT)
        if self.old.packed or self.new.packed:
            self._settle_packed(aspects, olds, news)
        first, second = self.books
        if first.tied or second.tied:
            for at, (old, new) in enumerate(zip(olds, news, strict=True)):
                tie = self._tie_aspect(old, new)
                if tie:
                    aspects.setdefault(at, []).append(tie)
        for column in ("owned", "parameters"):
            for at in differing(getattr(first, column), getattr(second, column), olds, news):
                aspects.setdefault(at, [SHARING])
        self._settle_stored(differing(first.nbytes, second.nbytes, olds, news), aspects, olds, news)
        first, second = self.books
        renamed = {couple[1] for rename in self.renames for couple in rename.couples}
        return [
            Change(
                RENAMED if new in renamed else CHANGED,
                tuple(aspects[at]),
                old,
                new,
                second.parameters[new] - first.parameters[old],
                second.nbytes[new] - first.nbytes[old],
            )
            for at in sorted(aspects)
            for old, new in [(olds[at], news[at])]
        ]

    def _settle_packed(self, aspects: dict[int, list[str]], olds: list[int], news: list[int]) -> None:
        """Of pairs that are packed otherwise it is told how, not what the shapes and dtypes of the packed tensors are. What a file
        without a configuration leaves open is no change."""
        first, second = self.books
        for at, (old, new) in enumerate(zip(olds, news, strict=True)):
            word = repacked(self.old, old, self.new, new)
            named = self.old.names[old] == self.new.names[new] and first.parameters[old] == second.parameters[new]
            if word is None or (
                named and at not in aspects and not regrouped(self.old.packed.get(old), self.new.packed.get(new))
            ):
                continue
            others = [aspect for aspect in aspects.get(at, ()) if aspect not in (RESHAPED, RETYPED, LAYOUT)]
            shape = [RESHAPED] if other_shape(self.old, old, self.new, new) else []
            aspects[at] = [word, *shape, *others]

    def _tie_aspect(self, old: int, new: int) -> str | None:
        before, after = self.books[0].tied.get(old), self.books[1].tied.get(new)
        if before is None:
            return None if after is None else TIED
        if after is None:
            return UNTIED
        return None if self.partner[before] == after else RETIED

    def _settle_stored(self, unequal: list[int], aspects: dict[int, list[str]], olds: list[int], news: list[int]) -> None:
        """Tensors that are the same but take other bytes (compressed, strided): both books get the old figure, `stored` the rest."""
        same = [at for at in unequal if at not in aspects]
        if same:
            first, second = self.books
            sizes = second.nbytes[:]
            for at in same:
                self.stored += sizes[news[at]] - first.nbytes[olds[at]]
                sizes[news[at]] = first.nbytes[olds[at]]
            self.books = first, second._replace(nbytes=sizes)

    def _single(self, helped: set[str]) -> list[Change]:
        """What only one side has. `helped`: the modules whose helpers come and go with a weight that both sides have."""
        first, second = self.books

        def aspects(ledger: Ledger, line: int, word: str) -> tuple[str, ...]:
            return (word,) if helped and ledger.roles[line] == HELPER and ledger.parents[line] in helped else ()

        added = [
            Change(ADDED, aspects(self.new, line, HELPERS_ADDED), None, line, second.parameters[line], second.nbytes[line])
            for line, other in enumerate(self.origin)
            if other < 0
        ]
        removed = [
            Change(REMOVED, aspects(self.old, line, HELPERS_REMOVED), line, None, -first.parameters[line], -first.nbytes[line])
            for line, other in enumerate(self.partner)
            if other < 0
        ]
        return added + removed

    def _check(self) -> None:
        """Raises AssertionError where the changes do not add up to the difference of the totals."""
        parameters = sum([change.parameters for change in self.changes])
        nbytes = sum([change.nbytes for change in self.changes]) + self.stored
        nbytes += sum([size.change for size in self.outside.values()])
        if (parameters, nbytes) != (self.parameters.change, self.nbytes.change):
            raise AssertionError(
                f"the changes add up to {parameters:+,} parameters and {nbytes:+,} bytes, "
                f"the checkpoints differ by {self.parameters.change:+,} and {self.nbytes.change:+,}"
            )

    def __repr__(self) -> str:
        said = ", ".join([f"{count:,} {status}" for status, count in self.counts.items() if count]) or "no tensors"
        return f"<Diff {self.old.checkpoint.path!r} {self.new.checkpoint.path!r}: {said}>"


def compare(old: Checkpoint | Ledger, new: Checkpoint | Ledger) -> Diff:
    """Compare two checkpoints; a Ledger that is there already is not made again."""
    return Diff(*[side if isinstance(side, Ledger) else Ledger(side) for side in (old, new)])


def pair_names(old: list[str], new: list[str]) -> tuple[list[int], list[int]]:
    """(new line of each old one, old line of each new one) for equal names, or -1. Of a name that occurs twice, first with first."""
    if old == new:
        return list(range(len(old))), list(range(len(new)))
    keys: Sequence[Any] = old
    others: Sequence[Any] = new
    if len(set(old)) < len(old) or len(set(new)) < len(new):
        keys, others = numbered(old), numbered(new)
    places = {key: line for line, key in enumerate(others)}
    partner = [places.get(key, -1) for key in keys]
    origin = [-1] * len(new)
    for line, other in enumerate(partner):
        if other >= 0:
            origin[other] = line
    return partner, origin


def numbered(names: list[str]) -> list[tuple[str, int]]:
    """Each name with how often it occurred before."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def side_of(ledger: Ledger, lines: list[int]) -> Side:
    """Some lines of a ledger, for renames."""
    return Side(
        [ledger.names[line] for line in lines], [ledger.shapes[line] for line in lines], [ledger.roles[line] for line in lines]
    )


def differing(first: Sequence[Any], second: Sequence[Any], olds: list[int], news: list[int]) -> list[int]:
    """The positions in two lists of lines at which a column differs."""
    before, after = [first[line] for line in olds], [second[line] for line in news]
    if before == after:
        return []
    return [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
