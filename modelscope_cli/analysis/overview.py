"""`inspect`: everything about one checkpoint on a page, put together from the other analyses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.findings import find, flat_metadata
from modelscope_cli.analysis.grouping import Grouping, file_of, sort, trim
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree, kind_totals
from modelscope_cli.analysis.roles import BIAS, BUFFER, EMA, MASTER, OPTIMIZER, OTHER, WEIGHT
from modelscope_cli.analysis.size_row import SizeRow, count, depth, total
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord
from modelscope_cli.report.document import (
    BOTH,
    MACHINES,
    PEOPLE,
    Bytes,
    Column,
    Count,
    Fact,
    Facts,
    Findings,
    Ratio,
    Report,
    Row,
    Table,
    Tree,
    TreeNode,
)

SCHEMA = "mscope.inspect/1"
READABLE_ROWS = 48  # rows of the module table up to which it is shown in full
DEFAULT_TOP = 20  # rows beside each other under the other keys
MOST_SHARDS = 12  # shards listed to people; of more the first eight and the last four
LONGEST_METADATA = 24  # metadata rows shown to people
WIDE = 112  # terminal width from which kinds and shapes have columns of their own
ROLE_TITLES = {WEIGHT: "weights", BIAS: "biases", BUFFER: "buffers", OPTIMIZER: "optimizer state", EMA: "EMA copy", MASTER: "master copy", OTHER: "other tensors"}  # fmt: skip
TITLES = {"torch-zip": "PyTorch (zip)", "torch-legacy": "PyTorch (legacy stacked pickles)", "torchscript": "TorchScript (zip)", "pickle": "bare pickle", "safetensors": "safetensors"}  # fmt: skip
KEY_TITLES = {"module": "Module", "kind": "Kind", "dtype": "Dtype", "role": "Role", "layer": "Layer", "shard": "Shard", "storage": "Storage", "tensor": "Tensor", "section": "Section"}  # fmt: skip


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
    complete: bool = False  # with every tensor, for machine formats


class Overview:
    """The analyses of one checkpoint, ready to be reported."""

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.checkpoint = checkpoint
        self.options = options
        self.ledger = Ledger(checkpoint)
        self.grouping = Grouping(self.ledger, include=options.include, exclude=options.exclude, fold=options.fold)
        self.parameters = self.ledger.total_parameters()
        self.roles = self.ledger.by_role()
        self.tree = ModuleTree(self.ledger)
        self.rows = self._rows()

    def _rows(self) -> list[SizeRow]:
        by = list(self.options.by)
        plain = self.options.include is None and self.options.exclude is None and self.options.fold
        if by == ["module"] and plain:
            from modelscope_cli.analysis.grouping import section_rows

            rows = self.tree.rows + section_rows(self.grouping.remainders)
        else:
            rows = self.grouping.rows(by)
        return sort(rows, self.options.order or ("order" if by[0] in ("module", "layer", "shard", "tensor", "storage") else "bytes"), reverse=self.options.reverse)


def inspect(checkpoint: Checkpoint, options: Options | None = None) -> Overview:
    """Analyse a checkpoint."""
    return Overview(checkpoint, options or Options())


def to_report(overview: Overview) -> Report:
    """The document: header, the main table, kinds, roles, shards, architecture, metadata, findings, and all tensors for machines."""
    default = overview.options.by == ("module",)
    sections: list[Any] = [header(overview), main_table(overview)]
    if default:
        sections += [kind_table(overview), role_table(overview)]
        sections += [table for table in (shard_table(overview), optimizer_table(overview)) if table]
        sections += [facts for facts in (architecture(overview), metadata(overview)) if facts]
    found = find(overview.ledger, overview.grouping)
    sections.append(Findings("findings", "Findings", found))
    if overview.options.complete:
        sections += [metadata_tree(overview), files_table(overview), modules_table(overview), tensor_table(overview)]
    failed = any(finding.severity == "error" for finding in found)
    return Report(SCHEMA, overview.checkpoint.path, sections, failed)


def to_tree_report(overview: Overview) -> Report:
    """The module tree alone, as torch prints a model."""
    checkpoint = overview.checkpoint
    rows = ModuleTree(overview.ledger, overview.grouping.lines, fold=overview.options.fold, empty=True).rows
    root = checkpoint.modules.get("")
    name = root.class_name.rpartition(".")[2] if root and root.class_name else os.path.basename(os.path.normpath(checkpoint.path))
    failed = any(note.severity == "error" for note in checkpoint.notes)
    return Report(SCHEMA, checkpoint.path, [Tree("tree", f"{name}  # {overview.parameters:,} parameters", [tree_node(row) for row in rows])], failed)


def tree_node(row: SizeRow) -> TreeNode:
    """A row and what is inside it."""
    kind = ("~" if row.kind.inferred and row.kind.name else "") + row.kind.name
    detail = f"tied to {row.tied}" if row.tied else row.kind.detail
    return TreeNode(row.label, kind, detail, row.parameters // row.copies, row.fold, [tree_node(child) for child in row.children])


def header(overview: Overview) -> Facts:
    """File or set, format, size, tensors, parameters, buffers, dtypes."""
    checkpoint, ledger = overview.checkpoint, overview.ledger
    size = checkpoint.nbytes
    shards = [file for file in checkpoint.files if len(file.tensors) or not file.path.endswith(".json")]
    title = TITLES.get(checkpoint.format, checkpoint.format)
    where = f"{title}, {len(shards)} shards" if len(shards) > 1 else title
    dtypes = dtype_bytes(ledger)
    owned = sum(dtypes.values())
    written = ", ".join(name if len(dtypes) == 1 else f"{name} {_percent(nbytes, owned)}" for name, nbytes in sorted(dtypes.items(), key=lambda pair: -pair[1])[:6])
    if len(dtypes) > 6:
        written += f", {len(dtypes) - 6} more"
    buffers = overview.roles.get(BUFFER, (0, 0, 0))
    weights = sum(overview.roles.get(role, (0, 0, 0))[0] for role in (WEIGHT, BIAS))
    facts = [
        Fact("path", "File" if len(shards) == 1 else "Set", checkpoint.path, f"{os.path.basename(os.path.normpath(checkpoint.path))}  ·  {where}"),
        Fact("format", "Format", checkpoint.format, audience=MACHINES),
        Fact("shards", "Shards", Count(len(shards)), audience=MACHINES),
        Fact("bytes", "Size", Bytes(size), f"{size:,} bytes  ·  {size / 1e6:,.1f} MB  ·  {size / (1 << 20):,.1f} MiB"),
        Fact("parameters", "Parameters", Count(overview.parameters), f"{overview.parameters:,}  in {weights:,} {'tensor' if weights == 1 else 'tensors'}"),
        Fact("tensors", "Tensors", Count(len(checkpoint.tensors)), f"{len(checkpoint.tensors):,}" if len(checkpoint.tensors) != weights else None, MACHINES if len(checkpoint.tensors) == weights else BOTH),
        Fact("elements", "Elements", Count(checkpoint.elements), audience=MACHINES),
        Fact("tensor_bytes", "Tensor data", Bytes(sum(ledger.nbytes)), audience=MACHINES),
        Fact("buffers", "Buffers", Count(buffers[1]), f"{buffers[1]:,} elements  in {buffers[0]:,} {'tensor' if buffers[0] == 1 else 'tensors'}, not counted as parameters", BOTH if buffers[0] else MACHINES),
        Fact("dtypes", "Dtypes", {name: Bytes(nbytes) for name, nbytes in dtypes.items()}, written or "none"),
    ]
    return Facts("", "", facts)


def dtype_bytes(ledger: Ledger) -> dict[str, int]:
    """Bytes of the files under each dtype."""
    sums: dict[str, int] = {}
    for dtype, nbytes in zip(ledger.dtypes, ledger.nbytes, strict=True):
        name = dtype.name
        sums[name] = sums.get(name, 0) + nbytes
    return sums


def main_table(overview: Overview) -> Table:
    """The table that was asked for: rows under `--by`, shares, the sections outside the tensors, TOTAL."""
    options = overview.options
    key = options.by[0]
    rows, caption = readable(overview.rows, options)
    if any(row.kind.inferred and row.kind.name for row in walk(overview.rows)) and key in ("module", "kind"):
        caption = "; ".join(filter(None, ["~ kind inferred from names and shapes", caption]))
    summed = total(overview.rows)
    if summed.nbytes != overview.checkpoint.nbytes:
        raise AssertionError(f"the rows account for {summed.nbytes:,} of {overview.checkpoint.nbytes:,} bytes")
    shown = list(size_rows(rows, overview, opaque=options.complete))
    shown.append(size_line(summed, overview, 0, "total"))
    titles = " › ".join(KEY_TITLES[part] for part in options.by)
    return Table("modules" if options.by == ("module",) else "groups", "", size_columns(titles), shown, tree=True, caption=caption)


def readable(rows: list[SizeRow], options: Options) -> tuple[list[SizeRow], str]:
    """Rows cut to what was asked for, or else to what a person reads; and a caption that says what was left out."""
    deepest = depth(rows, opaque=True)
    top = options.top if options.top is not None else (0 if options.by == ("module",) and len(rows) <= READABLE_ROWS else DEFAULT_TOP)
    if options.levels is not None:
        levels = options.levels or deepest
        if levels > depth(rows):
            for row in walk(rows):
                row.opaque = False
    else:
        levels = max((n for n in range(1, depth(rows) + 1) if count(trimmed_counts(rows, top), n) <= READABLE_ROWS), default=1)
    if options.complete:
        return rows, ""
    hidden = depth(rows) - levels
    caption = f"{levels} of {depth(rows)} levels shown; -d 0 shows all" if hidden > 0 and options.levels is None else ""
    return trim(rows, levels, top), caption


def trimmed_counts(rows: list[SizeRow], top: int) -> list[SizeRow]:
    """Rows as they will stand beside each other; used to decide how deep a table may go."""
    return rows[: top + 1] if top else rows


def walk(rows: list[SizeRow]) -> Iterator[SizeRow]:
    """All rows of a tree, each before its children."""
    for row in rows:
        yield row
        yield from walk(row.children)


def size_columns(first: str) -> list[Column]:
    """The columns of every table of sizes."""
    return [
        Column("label", first),
        Column("kind", "Kind", show_from=WIDE),
        Column("detail", "Shape", show_from=WIDE),
        Column("what", "Kind", show_from=74, show_until=WIDE - 1, audience=PEOPLE),
        Column("parameters", "Params"),
        Column("parameter_share", "%"),
        Column("bytes", "Bytes"),
        Column("file_share", "% file"),
        Column("bar", "", show_from=90, audience=PEOPLE),
        Column("tensors", audience=MACHINES),
        Column("elements", audience=MACHINES),
        Column("fold", audience=MACHINES),
        Column("copies", audience=MACHINES),
        Column("parameters_each", audience=MACHINES),
        Column("inferred", audience=MACHINES),
        Column("tied_to", audience=MACHINES),
    ]


def size_rows(rows: list[SizeRow], overview: Overview, level: int = 0, *, opaque: bool = False) -> Iterator[Row]:
    """Rows of a tree as rows of a table."""
    for row in rows:
        mark = "section" if row.section else "more" if row.label.startswith("(") and not row.kind.name else row.kind.category
        yield size_line(row, overview, level, mark)
        if opaque or not row.opaque:
            yield from size_rows(row.children, overview, level + 1, opaque=opaque)


def size_line(row: SizeRow, overview: Overview, level: int, mark: str) -> Row:
    """One row: figures for all copies; the figure of one copy is named as such."""
    whole, files = overview.parameters, overview.checkpoint.nbytes
    kind = ("~" if row.kind.inferred and row.kind.name else "") + row.kind.name
    each = row.parameters // row.copies if row.copies > 1 else None
    detail = row.kind.detail
    if row.fold > 1 and each is not None:
        per_copy = f"{_short(each)} params each" if row.parameters else f"{_short(row.nbytes // row.copies)}B each"
        detail = f"{detail}, {per_copy}" if detail else per_copy
    if row.tied:
        detail = f"tied to {row.tied}"
    what = " ".join(filter(None, (kind if not (row.fold > 1 and row.children and kind) else kind + ",", detail)))
    label = f"{row.label} ×{row.fold}" if row.fold > 1 else row.label
    counts = row.parameters > 0 or row.tied is not None
    return Row(
        (
            label,
            kind or None,
            detail or None,
            what or None,
            Count(row.parameters) if counts or mark == "total" else None,
            Ratio(row.parameters / whole) if whole and row.parameters else None,
            Bytes(row.nbytes),
            Ratio(row.nbytes / files) if files else None,
            Ratio(row.nbytes / files) if files and mark != "total" else None,
            Count(row.tensors),
            Count(row.elements),
            Count(row.fold),
            Count(row.copies),
            Count(each) if each is not None else None,
            bool(row.kind.inferred and row.kind.name),
            row.tied,
        ),
        level,
        mark,
    )


SUMMARY_COLUMNS = (
    Column("parameters", "Params"),
    Column("parameter_share", "%"),
    Column("bytes", "Bytes"),
    Column("file_share", "% file"),
)


def summary_row(overview: Overview, row: SizeRow, *before: Any) -> Row:
    """A row of one of the small tables."""
    whole, files = overview.parameters, overview.checkpoint.nbytes
    return Row(
        (
            *before,
            Count(row.parameters) if row.parameters else None,
            Ratio(row.parameters / whole) if whole and row.parameters else None,
            Bytes(row.nbytes),
            Ratio(row.nbytes / files) if files else None,
        ),
        mark=row.kind.category,
    )


def kind_table(overview: Overview) -> Table:
    """Sums by kind of module."""
    kinds = sorted(kind_totals(overview.tree.rows).values(), key=lambda row: -row.nbytes)
    rows = [summary_row(overview, row, ("~" if row.kind.inferred and row.label != "other" else "") + row.label, Count(row.tensors)) for row in kinds]
    return Table("kinds", "By kind", (Column("kind", "Kind"), Column("tensors", "Tensors"), *SUMMARY_COLUMNS), rows)


def role_table(overview: Overview) -> Table:
    """Weights, biases, buffers, optimizer state, copies, other tensors, and metadata: what no tensor owns."""
    rows = []
    for role in (WEIGHT, BIAS, BUFFER, OPTIMIZER, EMA, MASTER, OTHER):
        if role in overview.roles:
            tensors, elements, nbytes = overview.roles[role]
            row = SizeRow(ROLE_TITLES[role], parameters=elements if role in (WEIGHT, BIAS) else 0, nbytes=nbytes)
            rows.append(summary_row(overview, row, ROLE_TITLES[role], Count(tensors), Count(elements)))
    outside = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label != "unused data")
    unused = sum(remainder.nbytes for remainder in overview.grouping.remainders if remainder.label == "unused data")
    if unused:
        rows.append(summary_row(overview, SizeRow("unused data", nbytes=unused), "unused data", None, None))
    rows.append(summary_row(overview, SizeRow("metadata and container", nbytes=outside), "metadata and container", None, None))
    columns = (Column("role", "Role"), Column("tensors", "Tensors"), Column("elements", "Elements", show_from=74), *SUMMARY_COLUMNS)
    return Table("roles", "By role", columns, rows)


def shard_table(overview: Overview) -> Table | None:
    """A line a shard: what it holds."""
    files = [file for file in overview.checkpoint.files if len(file.tensors) or not file.path.endswith(".json")]
    if len(files) < 2:
        return None
    caption = "no merge is needed: loaders read all shards through the index"
    if len(files) > MOST_SHARDS and not overview.options.complete:
        rows = [shard_row(overview, file) for file in files[: MOST_SHARDS - 4]]
        rows.append(Row((f"({len(files) - MOST_SHARDS:,} more)", None, None, None, None, None), mark="more"))
        rows += [shard_row(overview, file) for file in files[-4:]]
        caption += "; --by shard -n 0 lists all"
    else:
        rows = [shard_row(overview, file) for file in files]
    columns = (Column("file", "Shard"), Column("holds", "Holds", show_from=96), Column("tensors", "Tensors"), Column("parameters", "Params"), Column("bytes", "Bytes"), Column("file_share", "% file"))
    return Table("shard_files", "Shards", columns, rows, caption=caption)


def shard_row(overview: Overview, file: FileRecord) -> Row:
    """What one shard holds."""
    span = file.tensors
    parameters = sum(overview.ledger.parameters[span.start : span.stop])
    holds = contents(overview.ledger.names[span.start : span.stop])
    return Row((os.path.basename(file.path), holds, Count(len(span)), Count(parameters), Bytes(file.nbytes), Ratio(file.nbytes / overview.checkpoint.nbytes)))


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
    return f"{first}–{last}" if last - first == len(numbers) - 1 else ", ".join(map(str, numbers[:4])) + ("…" if len(numbers) > 4 else "")


def optimizer_table(overview: Overview) -> Table | None:
    """The optimizers whose state is in the file."""
    facts = overview.ledger.roles_result.optimizers
    if not facts:
        return None
    rows = [Row((fact.path or "(top level)", fact.name, ", ".join(fact.slots) or "no state")) for fact in facts]
    return Table("optimizers", "Optimizer", (Column("path", "Where"), Column("optimizer", "Optimizer"), Column("state", "Keeps per parameter")), rows)


def architecture(overview: Overview) -> Table | None:
    """Facts with their evidence."""
    facts = read_architecture(overview.ledger, overview.tree.outline())
    if not facts:
        return None
    rows = [Row((fact.key, fact.label, fact.value, ("~" if fact.inferred else "") + fact.text, fact.evidence, fact.inferred)) for fact in facts]
    columns = (
        Column("fact", audience=MACHINES),
        Column("label", "Architecture", audience=PEOPLE),
        Column("value", audience=MACHINES),
        Column("text", "", audience=PEOPLE),
        Column("evidence", "Evidence", show_from=74),
        Column("inferred", audience=MACHINES),
    )
    return Table("architecture", "", columns, rows)


def metadata(overview: Overview) -> Table | None:
    """Plain values of the file, for people: dotted keys, as many as can be read."""
    flat = [(key, value) for key, value in flat_metadata(overview.checkpoint.metadata) if not re.search(r"param_groups\.\d+\.params$", key)]
    if not flat:
        return None
    rows = [Row((key, _shown(value))) for key, value in flat[:LONGEST_METADATA]]
    if len(flat) > LONGEST_METADATA:
        rows.append(Row((f"({len(flat) - LONGEST_METADATA:,} more)", "-f json has them all"), mark="more"))
    return Table("metadata_rows", "", (Column("key", "Metadata"), Column("value", "")), rows, audience=PEOPLE)


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value[:12])) + (" …" if len(value) > 12 else "") if isinstance(value, list) else str(value)
    if isinstance(value, list):
        text = f"[{text}]"
    return text if len(text) <= 160 else f"{text[:150]}… ({len(text):,} characters)"


def metadata_tree(overview: Overview) -> Facts:
    """The metadata as it is nested, for machines."""
    return Facts("", "", [Fact("metadata", "", overview.checkpoint.metadata)], audience=MACHINES)


def files_table(overview: Overview) -> Table:
    """Every file with the bytes under each label of its byte map."""
    rows = [
        Row((file.path, Bytes(file.nbytes), Count(len(file.tensors)), {label: Bytes(nbytes) for label, nbytes in byte_map.totals().items()}))
        for file, byte_map in zip(overview.checkpoint.files, overview.checkpoint.byte_maps, strict=True)
    ]
    return Table("files", "", (Column("path"), Column("bytes"), Column("tensors"), Column("sections")), rows, audience=MACHINES)


def modules_table(overview: Overview) -> Table:
    """Modules the file records: classes of pickled modules, module paths of a state_dict."""
    rows = [Row((path, record.class_name, record.attributes)) for path, record in overview.checkpoint.modules.items()]
    return Table("recorded_modules", "", (Column("path"), Column("class"), Column("attributes")), rows, audience=MACHINES)


def tensor_table(overview: Overview) -> Table:
    """Every tensor with name, shape, dtype, role, file, byte range, storage, and what it owns."""
    ledger, checkpoint = overview.ledger, overview.checkpoint
    tensors, where = checkpoint.tensors, checkpoint.tensors.storage
    recorded = ledger.roles_result.recorded
    paths = [file.path for file in checkpoint.files]
    rows = []
    for line in range(len(ledger)):
        number = file_of(ledger, line)
        storage = tensors.storages[line] if line < len(tensors) else -1
        start = where.starts[storage] if storage >= 0 else None
        real = line < len(tensors)
        rows.append(
            Row(
                (
                    ledger.names[line],
                    list(ledger.shapes[line]),
                    ledger.dtypes[line].name,
                    ledger.roles[line],
                    "recorded" if line in recorded else "inferred",
                    Count(ledger.elements[line]),
                    Count(ledger.parameters[line]),
                    Bytes(ledger.nbytes[line]),
                    paths[number] if number >= 0 else None,
                    [start, start + where.stored[storage]] if start is not None else None,
                    where.keys[storage] if storage >= 0 else None,
                    tensors.offsets[line] if real else None,
                    list(tensors.strides[line] or ()) if real and tensors.strides[line] is not None else None,
                    ledger.names[ledger.tied[line]] if line in ledger.tied else None,
                )
            )
        )
    keys = ("name", "shape", "dtype", "role", "role_source", "elements", "parameters", "bytes", "file", "byte_range", "storage", "storage_offset", "strides", "tied_to")
    return Table("tensors", "", tuple(Column(key) for key in keys), rows, audience=MACHINES)


def _percent(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return f"{share * 100:.1f} %" if share >= 0.0005 else "<0.1 %"


def _short(number: int) -> str:
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number}"
