"""GGUF, the format of llama.cpp and everything around it: key/value pairs, a list of tensors, then the tensors.

    [ "GGUF" ][ version: uint32 ][ number of tensors ][ number of key/value pairs ]
    [ key/value pairs: see gguf_values.py ]
    [ tensors: name, number of dimensions: uint32, dimensions, type: uint32, offset: uint64 ]
    [ padding to the alignment ][ data of a tensor, padded to the alignment ] …

Lengths and counts are uint64, in version 1 uint32, dimensions with them. Version 3 allowed big-endian files: nothing says so
but the version, which reads as 3 << 24. Offsets count from the start of the data; `general.alignment` is 32 where it is not
given. Dimensions are listed with the fastest first, the reverse of torch's order. Quantised types are made of blocks
(q4_K: 256 elements in 144 bytes), and a row must hold whole blocks. A set of files (NAME-00001-of-00003.gguf) is
several such files with `split.*` keys, the first of which has the metadata of all: see gguf_split.py.

Facts: docs/gguf.md of ggml, gguf.cpp (`gguf_init_from_file`), gguf-py's gguf_reader.py. We refuse what gguf.cpp refuses,
but for what any reader can see through: tensors in another order or with holes between them (a note).
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError
from modelscope_cli.formats.gguf_config import SOURCE, config_of
from modelscope_cli.formats.gguf_data import Entries, place
from modelscope_cli.formats.gguf_split import alone
from modelscope_cli.formats.gguf_values import Cursor, Pairs, read_pairs
from modelscope_cli.formats.problems import Problems

MAGIC = b"GGUF"
NEWEST = 3
ALIGNMENT = 32
MOST_DIMENSIONS = 4  # GGML_MAX_DIMS


class Counts(NamedTuple):
    """The beginning of the file. `order` is the struct module's sign for the byte order."""

    version: int
    order: str
    tensors: int
    pairs: int
    size: int


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in a GGUF file. Raises CorruptFileError, UnsupportedFeatureError or LimitError; `lenient` turns damage
    behind the list of tensors into notes."""
    problems = Problems(window.name, lenient)
    counts = read_counts(window, limits)
    cursor = Cursor(window, limits, counts.order, counts.size, wide=counts.version > 1)
    pairs = read_pairs(cursor, counts.pairs, problems)
    listed = cursor.position
    entries = read_entries(cursor, counts, problems)
    alignment = alignment_of(pairs.values, problems)
    data_start = -(-cursor.position // alignment) * alignment

    builder = ByteMapBuilder()
    builder.claim("header", 0, counts.size)
    for start, stop, label in pairs.spans:
        builder.claim(label, start, stop)
    builder.claim("header", listed, cursor.position)
    builder.claim("padding", cursor.position, min(data_start, window.size))
    table = TensorTable()
    table.filenames.append(window.name)
    place(entries, table, builder, data_start, window.size, alignment, problems)

    version = {"GGUF.version": counts.version, **({"GGUF.byte_order": "big-endian"} if counts.order == ">" else {})}
    config = config_of(pairs.values)
    return Checkpoint(
        window.name,
        "gguf",
        [FileRecord(window.name, window.size, range(len(table)))],
        table,
        [builder.finish(window.size, window.name)],
        metadata={**version, **pairs.values},
        notes=[*problems.notes, *remarks(window.name, counts, pairs), *alone(window.name, pairs.values)],
        ordered=False,  # converters list them in the order of the names they had before
        config=config,
        config_from=SOURCE,
    )


def read_counts(window: Window, limits: Limits) -> Counts:
    """Magic, version and counts, held against the size of the file and the limits."""
    head = window.read(0, 8, "magic and version")
    if head[:4] != MAGIC:
        raise CorruptFileError("it does not begin with GGUF", path=window.name, offset=0)
    version = int.from_bytes(head[4:], "little")
    order = "<"
    if version & 0xFFFF == 0 and version:
        version, order = int.from_bytes(head[4:], "big"), ">"
    if not 1 <= version <= NEWEST:
        raise UnsupportedFeatureError(
            f"version {version:,} of GGUF; versions 1 to {NEWEST} are read here", path=window.name, offset=4
        )
    layout = Struct(order + ("QQ" if version > 1 else "II"))
    tensors, pairs = layout.unpack(window.read(8, layout.size, "number of tensors and of key/value pairs"))
    size = 8 + layout.size
    length = layout.size // 2  # of a name or key that is empty
    if tensors * (length + 16) + pairs * (length + 5) > window.size - size:
        raise CorruptFileError(
            f"it claims {tensors:,} tensors and {pairs:,} key/value pairs in {window.size:,} bytes",
            path=window.name,
            offset=8,
            hint="cut short, or not a GGUF file",
        )
    if tensors > limits.tensors:
        raise LimitError("tensors", limits.tensors, tensors, path=window.name, offset=8)
    return Counts(version, order, tensors, pairs, size)


def read_entries(cursor: Cursor, counts: Counts, problems: Problems) -> Entries:
    """The list of tensors. A name that stands twice is damage, and the second is left out."""
    extent = "Q" if counts.version > 1 else "I"
    layouts = [Struct(f"{cursor.order}{dims * extent}IQ") for dims in range(MOST_DIMENSIONS + 1)]
    found = Entries([], [], [], [])
    seen: set[str] = set()
    characters = 0
    for number in range(counts.tensors):
        start = cursor.position
        name = cursor.text(f"name of tensor {number + 1:,} of {counts.tensors:,}")
        characters += len(name)
        if characters > cursor.limits.name_characters:
            raise LimitError("name_characters", cursor.limits.name_characters, characters, path=cursor.window.name)
        (dims,) = cursor.unpack(cursor.number, "number of dimensions")
        if dims > MOST_DIMENSIONS:
            raise CorruptFileError(
                f"tensor {name[:200]!r} has {dims:,} dimensions; GGUF has at most {MOST_DIMENSIONS}",
                path=cursor.window.name,
                offset=cursor.position - 4,
            )
        *extents, kind, offset = cursor.unpack(layouts[dims], "dimensions, type and offset of a tensor")
        if name in seen:
            problems.report(f"the tensor {name[:200]!r} stands twice", start)
            continue
        seen.add(name)
        found.names.append(name)
        found.shapes.append(tuple(extents[::-1]))
        found.types.append(kind)
        found.offsets.append(offset)
    return found


def alignment_of(metadata: dict[str, Any], problems: Problems) -> int:
    """`general.alignment`, which has to be a power of two."""
    value = metadata.get("general.alignment", ALIGNMENT)
    if type(value) is int and value > 0 and value & (value - 1) == 0:
        return value
    problems.report(f"general.alignment is {value!r:.60}, not a power of two")
    return ALIGNMENT


def remarks(path: str, counts: Counts, pairs: Pairs) -> list[Note]:
    """What to know besides, where nothing is wrong."""
    notes = []
    if counts.version == 1:
        notes.append(Note("gguf-version", "info", path, "version 1 of GGUF, of August 2023: llama.cpp no longer reads it"))
    if counts.order == ">":
        notes.append(Note("byte-order", "info", path, "big-endian: written for machines such as s390x, and read only there"))
    if pairs.left_out:
        notes.append(
            Note(
                "metadata-cut",
                "info",
                path,
                f"{pairs.left_out:,} more metadata values are not listed (--limit metadata_items=N)",
            )
        )
    return notes
