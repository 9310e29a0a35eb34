"""The architecture diagram of a checkpoint: its module tree as blocks in the order they run.

Weights are drawn, with their buffers; optimizer state, EMA copies and the rest of the file are one strip of bytes. A drawing
with more lines than can be read is refused, with what to ask for instead.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.analysis.blocks import Draughtsman, categories
from modelscope_cli.analysis.diagram_page import captions, facts, strip, title
from modelscope_cli.analysis.kinds import OTHER
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.roles import BIAS, BUFFER, HELPER, OPTIMIZER, WEIGHT
from modelscope_cli.analysis.root import find_root
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.diagram import Diagram, Group
from modelscope_cli.report.document import Count, Ratio

MOST_LINES = 1_000  # more cannot be read, on whatever paper
FEWEST_LINES = 3  # fewer are no picture to advise
MODEL_ROLES = (WEIGHT, BIAS, BUFFER, HELPER)


class DiagramOptions(NamedTuple):
    """`levels` of modules to draw (None: all), `root` the module to draw, `fold` equal neighbours."""

    levels: int | None = None
    root: str | None = None
    fold: bool = True


def draw(checkpoint: Checkpoint, options: DiagramOptions, known: ModuleTree | None = None) -> Diagram:
    """The diagram. Raises DrawingError when there is nothing to draw or more than can be read.

    `known` is the tree of all lines of the checkpoint, where somebody has it already.
    """
    ledger = Ledger(checkpoint) if known is None else known.ledger
    if options.root:  # which is the first row itself
        options = options._replace(root=find_root(ledger, options.root), levels=options.levels and options.levels + 1)
    lines = model_lines(ledger, options.root)
    same = known is not None and options.fold and len(lines) == len(ledger)
    tree = known if known is not None and same else ModuleTree(ledger, lines, fold=options.fold)
    refuse_too_large(tree, lines, options)
    draughtsman = Draughtsman(ledger, sum([ledger.parameters[line] for line in lines]))
    blocks, flows = draughtsman.joined(draughtsman.parts(tree.rows, "", 1, options.levels, OTHER))
    count = Count(draughtsman.whole)
    body = Group("", "", "", 1, 1, count, count, Ratio(1.0), blocks, flows)
    return Diagram(
        title(checkpoint, options.root),
        facts(ledger, lines, None if options.root else tree.outline()),
        categories(body),
        body,
        draughtsman.drawn_ties(),
        strip(ledger),
        captions(draughtsman, checkpoint),
    )


def model_lines(ledger: Ledger, root: str | None) -> list[int]:
    """Lines to draw: the model without what training keeps beside it; with a root, what is inside that module."""
    path = ledger.checkpoint.path
    lines = [line for line, role in enumerate(ledger.roles) if role in MODEL_ROLES]
    if not any([ledger.parameters[line] for line in lines]):
        lines = [line for line, role in enumerate(ledger.roles) if role != OPTIMIZER]
    if not lines:
        what = "optimizer state only" if len(ledger) else "no tensors"
        raise DrawingError(f"holds {what}, so there is nothing to draw", path=path, hint="mscope inspect shows what is in it")
    if not root:
        return lines
    inside, parents = root + ".", ledger.parents
    chosen = [line for line in lines if parents[line] == root or parents[line].startswith(inside)]
    if not chosen:
        raise DrawingError(f"{root} holds no weights, so there is nothing to draw", path=path)
    return chosen


def refuse_too_large(tree: ModuleTree, lines: list[int], options: DiagramOptions) -> None:
    """Raise DrawingError when more lines would be drawn than can be read, saying what to ask for instead."""
    rows, drawn = tree.rows, count_lines(tree.rows, options.levels)
    if drawn <= MOST_LINES:
        return
    advice: list[tuple[str, int]] = []  # an option, and the lines it draws
    if not options.fold:
        folded = count_lines(ModuleTree(tree.ledger, lines).rows, options.levels)
        if folded <= MOST_LINES:
            advice.append(("leaving out --no-fold", folded))
    levels = 0
    while count_lines(rows, levels + 1) <= MOST_LINES:
        levels += 1
    if levels > bool(options.root):  # with a root, that is the first row
        advice.append((f"--depth {levels - bool(options.root)}", count_lines(rows, levels)))
    module = largest_readable(rows, options)
    if module:
        advice.append((f"--root {module[0]}", module[1]))
    telling = [f"{option} draws {count:,}" for option, count in advice if count >= FEWEST_LINES]
    said = telling or [f"{option} draws {count:,}" for option, count in advice]
    raise DrawingError(
        f"{drawn:,} lines would be drawn, more than can be read (the most is {MOST_LINES:,})",
        path=tree.ledger.checkpoint.path,
        hint=", ".join([*said, "-f html shows them all as a treemap"]),
    )


def count_lines(rows: list[SizeRow], levels: int | None) -> int:
    """Lines and headings that rows take when so many levels are drawn."""
    total, waiting = 0, [(row, levels) for row in rows]
    while waiting:
        row, left = waiting.pop()
        total += 1
        if row.children and not row.opaque and left != 1:
            waiting += [(child, None if left is None else left - 1) for child in row.children]
    return total


def largest_readable(rows: list[SizeRow], options: DiagramOptions) -> tuple[str, int] | None:
    """The module with the most parameters among the outermost that can be drawn whole, and its lines."""
    best: tuple[int, str, int] | None = None
    leaf: tuple[str, int] | None = None
    waiting = [(row, "") for row in rows]
    while waiting:
        row, path = waiting.pop()
        place = f"{path}.{row.label}" if path else row.label
        if not row.children or row.opaque:
            leaf = leaf or (place, 1)
            continue
        lines = count_lines([row], options.levels)
        if lines > MOST_LINES:
            waiting += [(child, place) for child in row.children]
        elif not re.search(r"[–,…]", place) and (best is None or row.parameters > best[0]):
            best = (row.parameters, place, lines)
    return leaf if best is None else (best[1], best[2])
