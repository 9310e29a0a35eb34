"""The module tree as torch prints a model: nested, one module a line, `(0-31): 32 x` for repeated ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.render.plain import begun, visible
from modelscope_cli.report.document import Report, Tree, TreeNode

INDENT = "  "


def render(report: Report) -> Iterator[str]:
    """The lines of all trees of a report."""
    return (line for section in report.sections if isinstance(section, Tree) for line in lines(section))


def lines(tree: Tree) -> Iterator[str]:
    """The lines of one tree."""
    name, separator, comment = visible(tree.title).partition("  # ")
    yield begun(f"{name}({separator}{comment}")
    yield from inside(tree.children, 1)
    yield ")"


def inside(nodes: Sequence[TreeNode], level: int) -> Iterator[str]:
    """The lines of nodes and what is in them. Figures are those of one copy."""
    for node in nodes:
        times = f"{node.fold} x " if node.fold > 1 else ""
        name = visible(node.name).replace("–", "-")
        detail = visible(node.detail)
        start = f"{INDENT * level}({name}): {times}{visible(node.kind)}"
        figure = f"  # {node.parameters:,}" if node.parameters else ""
        if node.children:
            yield f"{start}({figure}"
            yield from inside(node.children, level + 1)
            yield f"{INDENT * level})"
        else:
            yield f"{start}({detail if node.tensors or detail else 'no parameters'}){figure}"
