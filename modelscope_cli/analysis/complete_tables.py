"""What only programs read: every tensor, every file, every recorded module, the metadata as it is nested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.analysis.grouping import file_of
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.report.document import MACHINES, Bytes, Column, Count, Fact, Facts, Made, Row, Table

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview


def metadata_tree(overview: Overview) -> Facts:
    """The metadata as it is nested, for machines."""
    return Facts("", "", [Fact("metadata", "", overview.checkpoint.metadata)], audience=MACHINES)


def files_table(overview: Overview) -> Table:
    """Every file with the bytes under each label of its byte map."""
    rows = [
        Row(
            (
                file.path,
                Bytes(file.nbytes),
                Count(len(file.tensors)),
                {label: Bytes(nbytes) for label, nbytes in byte_map.totals().items()},
            )
        )
        for file, byte_map in zip(overview.checkpoint.files, overview.checkpoint.byte_maps, strict=True)
    ]
    return Table("files", "", (Column("path"), Column("bytes"), Column("tensors"), Column("sections")), rows, audience=MACHINES)


def modules_table(overview: Overview) -> Table:
    """Modules the file records: classes of pickled modules, module paths of a state_dict."""
    rows = [Row((path, record.class_name, record.attributes)) for path, record in overview.checkpoint.modules.items()]
    return Table("recorded_modules", "", (Column("path"), Column("class"), Column("attributes")), rows, audience=MACHINES)


def tensor_table(overview: Overview) -> Table:
    """Every tensor with name, shape, dtype, role, file, byte range, storage, and what it owns."""
    ledger = overview.ledger
    pieces = pieces_of(overview.checkpoint)
    keys = (
        "name",
        "shape",
        "dtype",
        "role",
        "role_source",
        "elements",
        "parameters",
        "bytes",
        "file",
        "byte_range",
        "storage",
        "storage_offset",
        "strides",
        "tied_to",
        *(["pieces"] if pieces else ()),
        *(["quantised"] if ledger.packed else ()),
    )
    rows = Made(lambda: tensor_rows(ledger, pieces), len(ledger))
    return Table("tensors", "", tuple(Column(key) for key in keys), rows, audience=MACHINES)


def tensor_rows(ledger: Ledger, pieces: dict[int, list[dict[str, Any]]]) -> Iterator[Row]:
    """A row a line of the ledger, in its order."""
    checkpoint = ledger.checkpoint
    tensors, where = checkpoint.tensors, checkpoint.tensors.storage
    recorded = ledger.roles_result.recorded
    paths = [file.path for file in checkpoint.files]
    for line in range(len(ledger)):
        number = file_of(ledger, line)
        real = line < len(tensors)
        storage = tensors.storages[line] if real else -1
        start = where.starts[storage] if storage >= 0 else -1
        yield Row(
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
                [start, start + where.stored[storage]] if start >= 0 else None,
                where.keys[storage] if storage >= 0 else None,
                tensors.offsets[line] if real else None,
                list(tensors.strides[line] or ()) if real and tensors.strides[line] is not None else None,
                ledger.names[ledger.tied[line]] if line in ledger.tied else None,
                *([pieces.get(line)] if pieces else ()),
                *([in_the_model(ledger, line)] if ledger.packed else ()),
            )
        )


def in_the_model(ledger: Ledger, line: int) -> dict[str, Any] | None:
    """What a quantised weight is in the model; None for every other tensor."""
    packed = ledger.packed.get(line)
    if packed is None:
        return None
    name = f"{ledger.parents[line]}.{packed.into}" if ledger.parents[line] else packed.into
    shape = None if packed.shape is None else list(packed.shape)
    return {"scheme": packed.scheme, "name": name, "shape": shape, "bits": packed.bits}


def pieces_of(checkpoint: Checkpoint) -> dict[int, list[dict[str, Any]]]:
    """Where the pieces of the tensors lie that have several: tensor → origin, shape, file and bytes of each."""
    tensors = checkpoint.tensors
    return {
        index: [
            {"origin": list(origin), "shape": list(shape), "file": file, "byte_range": None if start is None else [start, stop]}
            for origin, shape, file, start, stop in tensors[index].pieces
        ]
        for index, views in tensors.parts.items()
        if views and views[0].origin is not None
    }
