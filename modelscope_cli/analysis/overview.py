"""`inspect`: everything about one checkpoint on a page, put together from the other analyses."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from modelscope_cli.analysis.adapter_section import adapter_facts
from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.architecture_weights import ArchitectureFact
from modelscope_cli.analysis.complete_tables import files_table, metadata_tree, modules_table, tensor_table
from modelscope_cli.analysis.findings import find, shards
from modelscope_cli.analysis.folder_table import folder_table
from modelscope_cli.analysis.grouping import Grouping, section_rows, sort
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.overview_header import format_title, header
from modelscope_cli.analysis.overview_tables import architecture, kind_table, metadata, optimizer_table, role_table
from modelscope_cli.analysis.quantisation_report import quantisation_table
from modelscope_cli.analysis.shard_table import shard_table
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.analysis.size_table import main_table
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.report.document import (
    EVERYTHING,
    READABLE,
    Bytes,
    Count,
    Facts,
    Finding,
    Findings,
    Made,
    Phrase,
    Report,
    Tree,
    TreeNode,
)

SCHEMA = "mscope.inspect/1"


class Options(NamedTuple):
    """How to divide and what to show. `levels` and `top` None mean: as much as can be read; 0 means all."""

    by: tuple[str, ...] = ("module",)
    levels: int | None = None
    top: int | None = None
    order: str | None = None
    reverse: bool = False
    include: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None
    fold: bool = True


class Overview:
    """The analyses of one checkpoint, ready to be reported."""

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.checkpoint = checkpoint
        self.options = options
        self.ledger = Ledger(checkpoint)
        self.grouping = Grouping(self.ledger, include=options.include, exclude=options.exclude, fold=options.fold)
        self.parameters = self.ledger.total_parameters()
        self.nbytes = checkpoint.nbytes
        self.roles = self.ledger.by_role()
        self.together: Facts | None = None  # with the other models of its folder
        self._findings: dict[bool, list[Finding]] = {}

    def names(self) -> list[str]:
        """The tensor names of one of each equal modules: enough to see by which conventions a file is named."""
        return [self.ledger.names[line] for _, line in self.tree.outline().lines]

    @cached_property
    def tree(self) -> ModuleTree:
        """The modules. A check may do without."""
        return ModuleTree(self.ledger)

    @cached_property
    def architecture(self) -> list[ArchitectureFact]:
        """What names and shapes show."""
        return read_architecture(self.ledger, self.tree.outline())

    @cached_property
    def adapter(self) -> Facts | None:
        """What is known of an adapter, where the file is one."""
        return adapter_facts(self.ledger, self.names())

    def findings(self, *, scanned: bool = False) -> list[Finding]:
        """What is to be said of the file; `scanned` leaves to a scan what loading executes. Worked out once."""
        if scanned not in self._findings:
            self._findings[scanned] = find(self.ledger, self.grouping, self.names(), scanned=scanned)
        return self._findings[scanned]

    @cached_property
    def rows(self) -> list[SizeRow]:
        """Those of the main table."""
        by = list(self.options.by)
        plain = self.options.include is None and self.options.exclude is None and self.options.fold
        if by == ["module"] and plain:
            rows = self.tree.rows + section_rows(self.grouping.remainders)
        else:
            rows = self.grouping.rows(by)
        return sort(
            rows,
            self.options.order or ("order" if by[0] in ("module", "layer", "shard", "tensor", "storage") else "bytes"),
            reverse=self.options.reverse,
        )


def inspect(checkpoint: Checkpoint, options: Options | None = None) -> Overview:
    """Analyse a checkpoint."""
    return Overview(checkpoint, options or Options())


def to_report(overview: Overview, detail: str = READABLE) -> Report:
    """The document: header, the main table, kinds, roles, shards, architecture, metadata, findings, and all tensors for machines."""
    default = overview.options.by == ("module",)
    sections: list[Any] = [header(overview), main_table(overview, detail)]
    if default:
        adapter = [overview.adapter] if overview.adapter is not None else []
        sections += [kind_table(overview), role_table(overview), *adapter]
        sections += [table for table in (shard_table(overview, detail), optimizer_table(overview)) if table]
        sections += [
            facts
            for facts in (quantisation_table(overview.ledger), architecture(overview), metadata(overview, detail))
            if facts
        ]
        sections += [section for section in (folder_table(overview.checkpoint, detail), overview.together) if section]
    found = overview.findings() + (shards(overview.checkpoint) if default else [])
    sections.append(Findings("findings", "Findings", found))
    if detail == EVERYTHING:
        sections += every_tensor(overview)
    failed = any(finding.severity == "error" for finding in found)
    return Report(SCHEMA, overview.checkpoint.path, sections, failed, headline(overview))


def every_tensor(overview: Overview) -> list[Any]:
    """The sections that only programs read."""
    return [metadata_tree(overview), files_table(overview), modules_table(overview), tensor_table(overview)]


def headline(overview: Overview) -> Phrase:
    """The file in a line."""
    dtypes = overview.ledger.by_dtype()
    parts: list[Any] = [Count(overview.parameters), " parameters · ", Bytes(overview.checkpoint.nbytes)]
    if dtypes:
        parts.append(f" · {', '.join(sorted(dtypes, key=lambda name: -dtypes[name])[:3])}{', …' if len(dtypes) > 3 else ''}")
    files = overview.checkpoint.shards
    parts.append(f" · {format_title(overview.checkpoint)}{f', {len(files):,} shards' if len(files) > 1 else ''}")
    return Phrase(parts)


def to_tree_report(overview: Overview) -> Report:
    """The module tree alone, as torch prints a model."""
    checkpoint = overview.checkpoint
    lines, fold = overview.grouping.lines, overview.options.fold
    same = lines is None and fold and not checkpoint.modules
    tree = overview.tree if same else ModuleTree(overview.ledger, lines, fold=fold, empty=lines is None)
    root = checkpoint.modules.get("")
    name = (
        root.class_name.rpartition(".")[2] if root and root.class_name else os.path.basename(os.path.normpath(checkpoint.path))
    )
    failed = any(note.severity == "error" for note in checkpoint.notes)
    return Report(
        SCHEMA,
        checkpoint.path,
        [Tree("tree", f"{name}  # {overview.parameters:,} parameters", tree_nodes(tree.rows))],
        failed,
    )


def tree_nodes(rows: list[SizeRow]) -> Sequence[TreeNode]:
    """Rows as nodes, which are made when somebody comes by."""
    return Made(lambda: map(tree_node, rows), len(rows))


def tree_node(row: SizeRow) -> TreeNode:
    """A row and what is inside it."""
    kind = ("~" if row.kind.inferred and row.kind.name else "") + row.kind.name
    detail = f"tied to {row.tied}" if row.tied else row.kind.detail
    return TreeNode(
        row.label,
        kind,
        detail,
        row.parameters // row.copies,
        row.tensors,
        row.fold,
        tree_nodes(row.children),
    )
