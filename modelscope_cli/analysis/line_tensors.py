"""The tensors behind each line of a diagram: their names, dtypes and shapes.

A line of a folded group stands for several modules, `layers.0–31.norm`; the tensors are those of the first of them.
"""

from __future__ import annotations

from bisect import bisect_left

from modelscope_cli.analysis.blocks import first_name
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import BIAS, WEIGHT
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.report.diagram import Card, Group, Line

MOST = 12  # tensors of one line; more are a module whose parts are not drawn

Tensor = tuple[str, str, tuple[int, ...]]  # name, dtype, shape


def line_tensors(checkpoint: Checkpoint, body: Group) -> dict[str, list[Tensor]]:
    """By the path of the line; none for a line that stands for a module with many. Buffers only where there is nothing else."""
    ledger = Ledger(checkpoint)
    paths = [f"{parent}.{leaf}" if parent else leaf for parent, leaf in zip(ledger.parents, ledger.leaves, strict=True)]
    order = sorted(range(len(ledger)), key=paths.__getitem__)
    names = [paths[index] for index in order]

    def inside(module: str) -> list[int]:
        if not module:
            return []
        start, stop = bisect_left(names, module + "."), bisect_left(names, module + "/")  # the character after the dot
        own = bisect_left(names, module)
        single = order[own : own + 1] if names[own : own + 1] == [module] else []  # a tensor that is a line of its own
        return single + order[start : min(stop, start + MOST + 1)]

    found: dict[str, list[Tensor]] = {}
    waiting: list[Card | Group] = [body]
    while waiting:
        block = waiting.pop()
        if isinstance(block, Group):
            waiting += block.blocks
            continue
        for line in block.lines:
            indices = sorted({index for module in members(line) for index in inside(module) or inside(first_of(module))})
            if len(indices) > MOST:
                continue
            counted = [index for index in indices if ledger.roles[index] in (WEIGHT, BIAS)]
            found[line.path] = [
                (ledger.names[index], ledger.dtypes[index].name, tuple(ledger.shapes[index])) for index in counted or indices
            ]
    return found


def members(line: Line) -> list[str]:
    """The modules that a line is about: the one at its path, and of `conv1, bn1` the one beside it."""
    beside = line.path.rpartition(".")[0]
    return [line.path, *(f"{beside}.{other}" if beside else other for other in line.label.split(", ")[1:])]


def first_of(path: str) -> str:
    """The first of the modules that a path with folded numbers stands for: `layers.0.norm` of `layers.0–31.norm`."""
    return ".".join([first_name(part) for part in path.split(".")])
