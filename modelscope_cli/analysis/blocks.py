"""Rows of a module tree as the blocks of a diagram: lines, cards of lines, groups of blocks, and where arrows lead.

A module whose parts are all leaves is one card, others are groups; equal neighbours are one group drawn once (`fold`). A
convolution and the BatchNorm behind it are one line. Nothing but names, shapes and what the file records goes in.
"""

from __future__ import annotations

import re
from itertools import pairwise

from modelscope_cli.analysis.execution_order import either_order, order_known, ranks, run_order, runs_after, whole_block
from modelscope_cli.analysis.kinds import CONV, EMBEDDING, OTHER, belongs
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantisation_summary import unexplained
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.report.diagram import TIED, UNCOUNTED, Card, Group, Line, Tie
from modelscope_cli.report.document import Count, Ratio

TOGETHER = 3  # leaves in a row that share a card

Part = Line | Card | Group


class Draughtsman:
    """Turns rows into blocks, and keeps what the page has to say about them.

    `whole` is what shares are of: the parameters of all that is drawn.
    """

    def __init__(self, ledger: Ledger, whole: int):
        self.whole = whole
        self.shared = {ledger.parents[line]: (ledger.leaves[line], ledger.names[other]) for line, other in ledger.tied.items()}
        self.registered = ledger.checkpoint.ordered
        self.packed = bool(unexplained(ledger))
        self.ties: list[tuple[str, str]] = []  # path of a line, name of the tensor it shares
        self.paths: dict[str, str] = {}  # path of a module → path of the line that draws it
        self.inferred = self.recorded = self.uncounted = self.unknown_flows = self.by_name = 0

    def parts(self, rows: list[SizeRow], path: str, copies: int, levels: int | None, within: str) -> list[Part]:
        """Each row as a line, a card or a group, in the order they run.

        `copies` of all of them are in the model; `within` is the category of the module they are parts of.
        """
        names = [first_name(row.label) for row in rows]
        order = run_order(names, registered=self.registered)
        if len(names) > 1 and not self.registered and not either_order(names) and whole_block(names) is None:
            self.by_name += ranks(names).count(None)
        parts = [self.part(rows[position], path, copies, levels, within) for position in order]
        return paired(sorted(parts, key=lambda part: isinstance(part, Line) and part.mark == UNCOUNTED), self.registered)

    def part(self, row: SizeRow, path: str, copies: int, levels: int | None, within: str) -> Part:
        """A row with whatever is inside it, down to so many levels."""
        place = f"{path}.{row.label}" if path else row.label
        if not row.children or row.opaque or levels == 1:
            return self.line(row, place, copies, within)
        self.count_kind(row)
        inner = copies * row.fold
        parts = self.parts(
            row.children, place, inner, None if levels is None else levels - 1, belongs(row.kind.category, row.label, within)
        )
        only = parts[0] if len(parts) == 1 else None
        if isinstance(only, Line) and row.fold == 1:
            self.paths[place] = only.path
            return only._replace(label=f"{row.label}.{only.label}")
        count, share = Count(row.parameters // copies), self.share(row)
        lines = [part for part in parts if isinstance(part, Line)]
        if row.fold == 1 and len(lines) == len(parts):
            return Card(place, row.label, f"{row.kind.name} {row.kind.detail}".strip(), count, share, lines)
        blocks, flows = self.joined(parts, together=len(lines) == len(parts))
        return Group(
            place, row.label, row.kind.name, row.fold, inner, Count(row.parameters // inner), count, share, blocks, flows
        )

    def line(self, row: SizeRow, place: str, copies: int, within: str) -> Line:
        """A leaf, or a module whose parts are not drawn."""
        self.count_kind(row)
        self.paths[place] = place
        detail, category, mark, note = row.kind.detail, belongs(row.kind.category, row.label, within), "", ""
        if row.tied:
            mark, note = TIED, f"tied to {row.tied}"
            self.ties.append((place, row.tied))
        elif place in self.shared and row.parameters:  # a head with a bias of its own
            leaf, tensor = self.shared[place]
            note = f"{leaf} tied"
            self.ties.append((place, tensor))
        elif not row.parameters:
            mark, note, category = UNCOUNTED, "not counted", OTHER
            self.uncounted += row.elements
        elif row.children and not row.opaque:
            detail = f"{row.tensors // (copies * row.fold):,} tensors"
        count = Count(row.parameters // (copies * row.fold))
        return Line(place, row.kind.name or "module", row.label, detail, category, count, self.share(row), row.fold, mark, note)

    def joined(self, parts: list[Part], *, together: bool = False) -> tuple[list[Card | Group], list[bool]]:
        """Parts as blocks, lines put into cards, and whether each block leads to the next."""
        blocks: list[Card | Group] = []
        ends: list[tuple[str, str]] = []  # the first and the last name in each block: arrows depend on them
        for members in carded(parts, together=together):
            first, last = members[0], members[-1]
            if isinstance(first, Line):
                lines = [line for line in members if isinstance(line, Line)]
                blocks.append(Card("", "", "", Count(0), Ratio(sum(line.share for line in lines)), lines))
            else:
                blocks.append(first)
            ends.append((first_name(name_of(first)), first_name(name_of(last))))
        names = [first_name(name_of(part)) for part in parts]
        known = order_known(names) or (self.registered and not either_order(names))
        flows = [
            runs_after(after[0], before[1], known=known) and not uncounted(block) and not twins(block, earlier)
            for (before, after), (earlier, block) in zip(pairwise(ends), pairwise(blocks), strict=True)
        ]
        self.unknown_flows += len(flows) - sum(flows)
        return blocks, flows

    def share(self, row: SizeRow) -> Ratio:
        return Ratio(row.parameters / self.whole if self.whole else 0.0)

    def count_kind(self, row: SizeRow) -> None:
        if row.kind.name and row.kind.inferred:
            self.inferred += 1
        elif row.kind.name:
            self.recorded += 1

    def drawn_ties(self) -> list[Tie]:
        """Ties between lines that are both in the drawing."""
        found = []
        for path, tensor in self.ties:
            source = tensor
            while source and source not in self.paths:
                source = source.rpartition(".")[0]
            if source and self.paths[source] != path:
                found.append(Tie(self.paths[source], path))
        return found


def twins(block: Card | Group, earlier: Card | Group) -> bool:
    """Whether two modules of names that say nothing are equal in size: two towers more likely than two steps."""
    if not block.title or not earlier.title or block.parameters != earlier.parameters:
        return False
    return ranks([first_name(earlier.title), first_name(block.title)]) == [None, None]


def uncounted(block: Card | Group) -> bool:
    """Whether a block is a card of buffers and the like only: nothing flows through it."""
    return isinstance(block, Card) and all(line.mark == UNCOUNTED for line in block.lines)


def carded(parts: list[Part], *, together: bool) -> list[list[Part]]:
    """Neighbouring lines that share a card: all of them, or embeddings, or three and more of one category; the rest alone."""
    runs: list[list[Part]] = []
    for part in parts:
        before = runs[-1][-1] if runs else None
        alike = isinstance(part, Line) and isinstance(before, Line) and (together or part.category == before.category)
        if alike:
            runs[-1].append(part)
        else:
            runs.append([part])
    cards: list[list[Part]] = []
    for run in runs:
        first = run[0]
        if together or len(run) >= TOGETHER or (isinstance(first, Line) and first.category == EMBEDDING):
            cards.append(run)
        else:
            cards += [[part] for part in run]
    return cards


def paired(parts: list[Part], registered: bool) -> list[Part]:
    """Each convolution with the BatchNorm behind it, when it takes just the channels that the convolution gives.

    Where the order is not `registered`, norm1 may as well stand before conv1: then its channels must not be those that go in.
    """
    done: list[Part] = []
    for part in parts:
        before = done[-1] if done else None
        if isinstance(before, Line) and isinstance(part, Line) and is_norm_of(part, before, registered):
            done[-1] = before._replace(
                kind=f"{before.kind} + BN",
                label=f"{before.label}, {part.label}",
                parameters=Count(before.parameters + part.parameters),
                share=Ratio(before.share + part.share),
            )
        else:
            done.append(part)
    return done


def is_norm_of(norm: Line, conv: Line, registered: bool) -> bool:
    """Whether a line is the BatchNorm of a convolution: 3 → 64, 7×7 and 64."""
    channels = re.fullmatch(r"([\d,]+) → ([\d,]+), .*", conv.detail)
    numbers = [re.fullmatch(r"\D+(\d+)", label) for label in (conv.label, norm.label)]
    if all(numbers) and len({number[1] for number in numbers if number}) > 1:
        return False  # conv1 and norm2
    if not registered and norm.label.startswith("norm") and channels is not None and channels[1] == channels[2]:
        return False
    return (
        norm.kind.startswith("BatchNorm")
        and conv.category == CONV
        and "+" not in conv.kind
        and conv.fold == norm.fold == 1
        and not conv.mark
        and channels is not None
        and channels[2] == norm.detail
    )


def categories(block: Card | Group) -> list[str]:
    """The categories of the counted lines in a block."""
    found: dict[str, None] = {}
    waiting: list[Card | Group] = [block]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Group):
            waiting += inner.blocks
        else:
            found |= {line.category: None for line in inner.lines if line.mark != UNCOUNTED}
    return list(found)


def name_of(part: Part) -> str:
    return part.label if isinstance(part, Line) else part.title


def first_name(label: str) -> str:
    """The name of the first module in a label: layers of `layers.0–31`, 0 of `0–2,5`, conv1 of `conv1, bn1`."""
    return re.split(r"[.,–]", label, maxsplit=1)[0]
