"""`inspect`: everything about one checkpoint on a page, put together from the other analyses."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from modelscope_cli.analysis.adapter_section import adapter_facts
from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.complete_tables import files_table, metadata_tree, modules_table, tensor_table
from modelscope_cli.analysis.findings import find, flat_metadata, shards
from modelscope_cli.analysis.folder_table import folder_table, shortened
from modelscope_cli.analysis.grouping import Grouping, section_rows, sort
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree, kind_totals
from modelscope_cli.analysis.quantisation_report import quantisation_facts, quantisation_table, stored_words
from modelscope_cli.analysis.roles import BIAS, BUFFER, EMA, HELPER, MASTER, OPTIMIZER, OTHER, WEIGHT
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.analysis.size_table import SUMMARY_COLUMNS, kind_cell, main_table, summary_row
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord
from modelscope_cli.core.place import SEPARATOR, short_name
from modelscope_cli.report.document import (
    BOTH,
    EVERYTHING,
    MACHINES,
    PEOPLE,
    READABLE,
    Bytes,
    Column,
    Count,
    Fact,
    Facts,
    Findings,
    Inferred,
    Made,
    Phrase,
    Ratio,
    Report,
    Row,
    Table,
    Tree,
    TreeNode,
)

SCHEMA = "mscope.inspect/1"
MOST_SHARDS = 12  # shards listed to people; of more the first eight and the last four
LONGEST_METADATA = 24  # metadata rows shown to people
MOST_METADATA = 500  # and in a page
ROOT = "(root)"  # a pickle that is one object and no dictionary
ROLE_TITLES = {
    WEIGHT: "weights",
    BIAS: "biases",
    BUFFER: "buffers",
    HELPER: "quantisation helpers",
    OPTIMIZER: "optimizer state",
    EMA: "EMA copy",
    MASTER: "master copy",
    OTHER: "other tensors",
}
TITLES = {
    "torch-zip": "PyTorch (zip)",
    "torch-legacy": "PyTorch (legacy stacked pickles)",
    "torchscript": "TorchScript (zip)",
    "torch-export": "exported program (.pt2)",
    "torch-aotinductor": "AOTInductor package (.pt2)",
    "torch-package": "torch.package",
    "torch-tar": "PyTorch (tar, before 0.1.10)",
    "pickle": "bare pickle",
    "safetensors": "safetensors",
    "dcp": "distributed checkpoint (DCP)",
    "dcp-safetensors": "distributed checkpoint (safetensors)",
    "deepspeed": "DeepSpeed ZeRO",
    "dcp-part": "one file of a distributed checkpoint",
    "gguf": "GGUF",
}


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

    def names(self) -> list[str]:
        """The tensor names of one of each equal modules: enough to see by which conventions a file is named."""
        return [self.ledger.names[line] for _, line in self.tree.outline().lines]

    @cached_property
    def tree(self) -> ModuleTree:
        """The modules. A check may do without."""
        return ModuleTree(self.ledger)

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
        adapter = adapter_facts(overview.ledger, overview.names())
        sections += [kind_table(overview), role_table(overview), *([adapter] if adapter is not None else [])]
        sections += [table for table in (shard_table(overview, detail), optimizer_table(overview)) if table]
        sections += [
            facts
            for facts in (quantisation_table(overview.ledger), architecture(overview), metadata(overview, detail))
            if facts
        ]
        sections += [section for section in (folder_table(overview.checkpoint, detail), overview.together) if section]
    found = find(overview.ledger, overview.grouping, overview.names()) + (shards(overview.checkpoint) if default else [])
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
    dtypes = dtype_bytes(overview.ledger)
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


def header(overview: Overview) -> Facts:
    """File or set, format, size, tensors, parameters, buffers, dtypes."""
    checkpoint, ledger = overview.checkpoint, overview.ledger
    size = checkpoint.nbytes
    shards = checkpoint.shards
    title = format_title(checkpoint)
    lost = sum(note.code == "shard-unreadable" for note in checkpoint.notes)
    several = len(shards) + lost > 1
    where = f"{title}, {f'{len(shards)} of ' if lost else ''}{len(shards) + lost} shards" if several else title
    base = os.path.normpath(checkpoint.path)
    name = (
        short_name(base)
        if SEPARATOR in base
        else os.path.join(os.path.basename(os.path.dirname(base)), os.path.basename(base))
        if len(shards) > 1
        else shortened(os.path.relpath(base, checkpoint.in_folder.path))  # which of several in a folder
        if checkpoint.in_folder
        else os.path.basename(base)
    )
    dtypes = dtype_bytes(ledger)
    owned = sum(dtypes.values())
    written = ", ".join(
        name if len(dtypes) == 1 else f"{name} {_percent(nbytes, owned)}"
        for name, nbytes in sorted(dtypes.items(), key=lambda pair: -pair[1])[:6]
    )
    if len(dtypes) > 6:
        written += f", {len(dtypes) - 6} more"
    buffers = overview.roles.get(BUFFER, (0, 0, 0))
    stored = ledger.roles[: len(checkpoint.tensors)]  # not those of names that a writer dropped
    weights = stored.count(WEIGHT) + stored.count(BIAS)
    facts = [
        Fact("path", "Set" if several else "File", checkpoint.path, f"{name}  ·  {where}"),
        Fact("format", "Format", checkpoint.format, audience=MACHINES),
        Fact("shards", "Shards", Count(len(shards)), audience=MACHINES),
        Fact("bytes", "Size", Bytes(size), sizes(size)),
        Fact(
            "parameters",
            "Parameters",
            Count(overview.parameters),
            f"{overview.parameters:,}  in {weights:,} {'tensor' if weights == 1 else 'tensors'}{stored_words(ledger)}",
        ),
        Fact(
            "tensor_count",
            "Tensors",
            Count(len(checkpoint.tensors)),
            f"{len(checkpoint.tensors):,}" if len(checkpoint.tensors) != weights else None,
            MACHINES if len(checkpoint.tensors) == weights else BOTH,
        ),
        Fact("elements", "Elements", Count(checkpoint.elements), audience=MACHINES),
        Fact("tensor_bytes", "Tensor data", Bytes(sum(ledger.nbytes)), audience=MACHINES),
        Fact(
            "buffers",
            "Buffers",
            Count(buffers[1]),
            f"{buffers[1]:,} elements  in {buffers[0]:,} {'tensor' if buffers[0] == 1 else 'tensors'}, not counted as parameters",
            BOTH if buffers[0] else MACHINES,
        ),
        Fact("dtypes", "Dtypes", {name: Bytes(nbytes) for name, nbytes in dtypes.items()}, written or "none"),
    ]
    return Facts("", "", facts + (quantisation_facts(ledger) or packing(ledger)))


def packing(ledger: Ledger) -> list[Fact]:
    """Bits per weight over all tensors, where some are packed in blocks; and the mix of types that the file is named after."""
    elements = sum(ledger.owned)
    if not elements or all([dtype.block == 1 for dtype in ledger.dtypes]):
        return []
    bits = 8 * sum(ledger.nbytes) / elements
    packed = ledger.checkpoint.config.get("quantization_config")
    named = packed.get("file_type") if isinstance(packed, dict) else None
    text = f"{bits:.2f} on average" + (f"  ·  file type {named}" if isinstance(named, str) else "")
    return [Fact("bits_per_weight", "Bits/weight", round(bits, 4), text)]


def format_title(checkpoint: Checkpoint) -> str:
    """The format as people call it, and whether it is only described."""
    title = TITLES.get(checkpoint.format, checkpoint.format)
    return f"baseline of {title}" if any(note.code == "baseline" for note in checkpoint.notes) else title


def sizes(nbytes: int) -> str:
    """A size in bytes, in units of 1000 and in units of 1024, because files are spoken of in both."""
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if nbytes >= 1000**power * (10 if power > 2 else 1):
            return (
                f"{nbytes:,} bytes  ·  {nbytes / 1000**power:,.1f} {letter}B  ·  {nbytes / 1024**power:,.1f} {letter.upper()}iB"
            )
    return f"{nbytes:,} bytes"


def dtype_bytes(ledger: Ledger) -> dict[str, int]:
    """Bytes of the files under each dtype."""
    dtypes = dict(zip(map(id, ledger.dtypes), ledger.dtypes, strict=True))
    sums = dict.fromkeys(dtypes, 0)
    for key, nbytes in zip(map(id, ledger.dtypes), ledger.nbytes, strict=True):
        sums[key] += nbytes
    parts = ledger.checkpoint.tensors.parts
    for line in ledger.packed if parts else ():
        if line in parts and ledger.dtypes[line] != parts[line][0].dtype:  # a subclass of float outside, integers inside
            inside = parts[line][0].dtype
            dtypes.setdefault(id(inside), inside)
            sums[id(inside)] = sums.get(id(inside), 0) + ledger.nbytes[line]
            sums[id(ledger.dtypes[line])] -= ledger.nbytes[line]
    named: dict[str, int] = {}
    for key, nbytes in sums.items():
        named[dtypes[key].name] = named.get(dtypes[key].name, 0) + nbytes
    return named


def kind_table(overview: Overview) -> Table:
    """Sums by kind of module."""
    kinds = sorted(kind_totals(overview.tree.rows).values(), key=lambda row: -row.nbytes)
    rows = [summary_row(overview, row, kind_cell(row.kind), row.kind.inferred, Count(row.tensors)) for row in kinds]
    columns = (Column("kind", "Kind"), Column("inferred", audience=MACHINES), Column("tensors", "Tensors"), *SUMMARY_COLUMNS)
    return Table("kinds", "By kind", columns, rows)


def role_table(overview: Overview) -> Table:
    """Weights, biases, buffers, optimizer state, copies, other tensors, and metadata: what no tensor owns."""
    rows = []
    counted = parameters_by_role(overview.ledger)
    for role in (WEIGHT, BIAS, HELPER, BUFFER, OPTIMIZER, EMA, MASTER, OTHER):
        if role in overview.roles:
            tensors, elements, nbytes = overview.roles[role]
            row = SizeRow(ROLE_TITLES[role], parameters=counted.get(role, 0), nbytes=nbytes)
            rows.append(summary_row(overview, row, ROLE_TITLES[role], Count(tensors), Count(elements)))
    outside = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label != "unused data")
    unused = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label == "unused data")
    if unused:
        rows.append(summary_row(overview, SizeRow("unused data", nbytes=unused), "unused data", None, None))
    rows.append(summary_row(overview, SizeRow("metadata and container", nbytes=outside), "metadata and container", None, None))
    columns = (
        Column("role", "Role"),
        Column("tensors", "Tensors"),
        Column("elements", "Elements", show_from=74),
        *SUMMARY_COLUMNS,
    )
    return Table("roles", "By role", columns, rows)


def parameters_by_role(ledger: Ledger) -> dict[str, int]:
    """Parameters of the roles that have some."""
    if not ledger.packed:
        return {role: elements for role, (_, elements, _) in ledger.by_role().items() if role in (WEIGHT, BIAS)}
    found = {WEIGHT: 0, BIAS: 0}
    for role, parameters in zip(ledger.roles, ledger.parameters, strict=True):
        if parameters:
            found[role] += parameters
    return found


def shard_table(overview: Overview, detail: str) -> Table | None:
    """A line a shard: what it holds."""
    checkpoint = overview.checkpoint
    files = checkpoint.shards
    if len(files) < 2:
        return None
    unlisted = checkpoint.format == "gguf" or any(note.code == "no-index" for note in checkpoint.notes)
    by = "by their names" if unlisted else "through the index"
    caption = f"no merge is needed: loaders read all shards {by}"
    if overview.ledger.ownership.spread:
        caption = "a tensor that lies in several shards is counted in each, its parameters and bytes where they are"
    numbers = {id(file): number for number, file in enumerate(checkpoint.files)}
    if len(files) > MOST_SHARDS and detail == READABLE:
        rows = [shard_row(overview, file, numbers[id(file)]) for file in files[: MOST_SHARDS - 4]]
        rows.append(Row((f"({len(files) - MOST_SHARDS:,} more)", None, None, None, None, None), mark="more"))
        rows += [shard_row(overview, file, numbers[id(file)]) for file in files[-4:]]
        caption += "; --by shard -n 0 lists all"
    else:
        rows = [shard_row(overview, file, numbers[id(file)]) for file in files]
    columns = (
        Column("file", "Shard", yields=0.4),
        Column("holds", "Holds", show_from=74, yields=0.8),
        Column("tensors", "Tensors"),
        Column("parameters", "Params"),
        Column("bytes", "Bytes"),
        Column("file_share", "% file"),
    )
    return Table("shard_files", "Shards", columns, rows, caption=caption)


def shard_row(overview: Overview, file: FileRecord, number: int) -> Row:
    """What one shard, a file of that number, holds."""
    ledger = overview.ledger
    return Row(
        (
            os.path.basename(file.path),
            contents([ledger.names[line] for line in file.tensors]),
            Count(len(file.tensors)),
            Count(ledger.inside(number)[0]),
            Bytes(file.nbytes),
            Ratio(file.nbytes / overview.nbytes),
        )
    )


def contents(names: list[str]) -> str:
    """What a shard holds, in a line: numbered layers as ranges, the rest by module."""
    layers: dict[str, set[int]] = {}
    others: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for position, part in enumerate(parts):
            if part.isdecimal():
                layers.setdefault(".".join(parts[:position]), set()).add(int(part[:9]))
                break
        else:
            others[parts[-2] if len(parts) > 1 else name] = None
    written = [f"{path.rpartition('.')[2]} {_ranges(sorted(numbers))}" for path, numbers in layers.items()]
    named = list(others)[:4] + (["…"] if len(others) > 4 else [])
    return ", ".join(written[:3] + named)


def _ranges(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return str(first)
    return (
        f"{first}–{last}"
        if last - first == len(numbers) - 1
        else ", ".join(map(str, numbers[:4])) + ("…" if len(numbers) > 4 else "")
    )


def optimizer_table(overview: Overview) -> Table | None:
    """The optimizers whose state is in the file."""
    facts = overview.ledger.roles_result.optimizers
    if not facts:
        return None
    rows = [Row((fact.path or "(top level)", fact.name, ", ".join(fact.slots) or "no state")) for fact in facts]
    return Table(
        "optimizers",
        "Optimizer",
        (Column("path", "Where"), Column("optimizer", "Optimizer"), Column("state", "Keeps per parameter")),
        rows,
    )


def architecture(overview: Overview) -> Table | None:
    """Facts with their evidence."""
    facts = read_architecture(overview.ledger, overview.tree.outline())
    if not facts:
        return None
    rows = [
        Row(
            (
                fact.key,
                fact.label,
                fact.value,
                Inferred(fact.text) if fact.inferred else fact.text,
                fact.evidence,
                fact.inferred,
            )
        )
        for fact in facts
    ]
    columns = (
        Column("fact", audience=MACHINES),
        Column("label", "Architecture", audience=PEOPLE),
        Column("value", audience=MACHINES),
        Column("text", "", audience=PEOPLE, yields=0.7, wrapped=True),
        Column("evidence", "Evidence", show_from=74, wrapped=True),
        Column("inferred", audience=MACHINES),
    )
    return Table("architecture", "", columns, rows)


def metadata(overview: Overview, detail: str) -> Table | None:
    """Plain values of the file, for people: dotted keys, as many as can be read."""
    most = LONGEST_METADATA if detail == READABLE else MOST_METADATA
    flat = [
        (key, value)
        for key, value in flat_metadata(overview.checkpoint.metadata, most)
        if not re.search(r"param_groups\.\d+\.params$", key)
    ]
    if not flat:
        return None
    flat.sort(
        key=lambda pair: "param_groups" in pair[0] or "scheduler" in pair[0].partition(".")[0]
    )  # what a person looks for first
    rows = [Row((key or ROOT, _shown(value))) for key, value in flat[:most]]
    if len(flat) > most:
        rows.append(Row((f"({len(flat) - most:,} more)", "-f json has them all"), mark="more"))
    return Table("metadata_rows", "", (Column("key", "Metadata"), Column("value", "")), rows, audience=PEOPLE)


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value[:12])) + (" …" if len(value) > 12 else "") if isinstance(value, list) else str(value)
    if isinstance(value, list):
        text = f"[{text}]"
    return text if len(text) <= 160 else f"{text[:150]}… ({len(text):,} characters)"


def _percent(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return f"{share * 100:.1f} %" if share >= 0.0005 else "<0.1 %"
