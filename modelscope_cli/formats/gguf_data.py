"""Where the tensors of a GGUF file lie: held against their sizes, each other and the end of the file.

gguf.cpp expects each tensor where the one listed before it ends, padded to the alignment. Another order and holes can be seen
through, so they are notes; what overlaps, is not aligned or ends behind the file is damage.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.dtype import DType, unknown
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import Shape, TensorTable
from modelscope_cli.formats.gguf_types import REMOVED_TYPES, TENSOR_TYPES
from modelscope_cli.formats.problems import Problems

LONGEST_NAME = 63  # bytes: GGML_MAX_NAME without the NUL that ends it
LARGEST = 1 << 63  # dimensions and their product are signed in ggml
MOST_NAMED = 3  # tensors named of each kind of oddity
ODDITIES = {
    "gguf-order": ("info", "not in the order of the list; llama.cpp wants them in it"),
    "gguf-hole": ("warning", "behind a hole in the data; llama.cpp refuses that"),
    "gguf-empty": ("info", "without elements"),
    "gguf-removed": ("warning", "of a type that llama.cpp no longer loads"),
    "gguf-name": ("warning", f"named with more than {LONGEST_NAME} bytes; llama.cpp refuses that"),
}


class Entries(NamedTuple):
    """The list of tensors as columns; shapes in torch order, `offsets` from the start of the data."""

    names: list[str]
    shapes: list[Shape]
    types: list[int]
    offsets: list[int]


def place(
    entries: Entries,
    table: TensorTable,
    builder: ByteMapBuilder,
    start: int,
    size: int,
    alignment: int,
    problems: Problems,
) -> None:
    """Fill the table, in the order of the list, and claim the bytes. The data begins at `start` of a file of `size` bytes."""
    offsets, available = entries.offsets, max(0, size - start)
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    others: dict[int, DType] = {}
    odd: dict[str, list[str]] = {code: [] for code in ODDITIES}
    placed: dict[int, tuple[int, DType]] = {}  # tensor → bytes, dtype
    claimed = position = 0  # up to where the bytes are claimed, and where the latest tensor ends
    for rank, index in enumerate(order):
        kind, offset, name = entries.types[index], offsets[index], entries.names[index]
        dtype = TENSOR_TYPES.get(kind) or others.setdefault(kind, unknown(f"ggml type {kind}"))
        if dtype.bits is None:  # up to what comes next
            following = offsets[order[rank + 1]] if rank + 1 < len(order) else available
            nbytes = max(0, min(following, available) - offset)
        else:
            nbytes = dtype.nbytes(math.prod(entries.shapes[index])) or 0
        problem = wrong_shape(entries.shapes[index], dtype) or wrong_place(offset, nbytes, position, available, alignment)
        if problem:
            problems.report(f"tensor {name[:200]!r} {problem}", start + offset if offset < available else None)
            continue
        expected = -(-position // alignment) * alignment
        if offset != position:
            builder.claim("data", start + claimed, start + position)
            builder.claim("padding", start + position, start + min(expected, offset))
            claimed = offset
            if offset > expected:
                odd["gguf-hole"].append(name)
        position = offset + nbytes
        placed[index] = (nbytes, dtype)
        if kind in REMOVED_TYPES:
            odd["gguf-removed"].append(f"{name}: {dtype.name}")
    builder.claim("data", start + claimed, start + position)
    end = min(-(-position // alignment) * alignment, available)
    builder.claim("padding", start + position, start + end)
    if end < available and not problems.notes:
        problems.notes.append(Note("trailing", "warning", problems.path, f"{available - end:,} bytes follow the last tensor"))
    odd["gguf-order"] = [entries.names[index] for index, place in enumerate(order) if index != place]
    odd["gguf-empty"] = [entries.names[index] for index in placed if 0 in entries.shapes[index]]
    odd["gguf-name"] = [name for name in entries.names if len(name.encode("utf-8", "replace")) > LONGEST_NAME]
    problems.notes += oddities(odd, others, problems.path)
    fill(table, entries, placed, start)


def wrong_shape(shape: Shape, dtype: DType) -> str | None:
    """What is wrong with a shape, in words."""
    if math.prod(shape) >= LARGEST or max(shape, default=0) >= LARGEST:
        return f"has the shape {list(shape)}, more than there can be"
    row = shape[-1] if shape else 1
    if row % dtype.block:
        return f"has rows of {row:,} elements, and a block of {dtype.name} has {dtype.block}"
    return None


def wrong_place(offset: int, nbytes: int, position: int, available: int, alignment: int) -> str | None:
    """What is wrong with the place of a tensor behind one that ends at `position`, in words."""
    if offset % alignment:
        return f"lies at {offset:,} of the data, which is not a multiple of {alignment:,}"
    if offset < position:
        return f"lies at {offset:,} of the data, in the middle of another that ends at {position:,}"
    if offset + nbytes > available:
        return f"lies at {offset:,} to {offset + nbytes:,} of the data, which has {available:,} bytes: the file is cut short"
    return None


def oddities(odd: dict[str, list[str]], others: dict[int, DType], path: str) -> list[Note]:
    """A note for each kind of oddity, with some of the tensors by name."""
    notes = []
    for code, names in odd.items():
        if names:
            severity, message = ODDITIES[code]
            shown = ", ".join(name[:80] for name in names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
            count = f"{len(names):,} tensor{'' if len(names) == 1 else 's'}"
            notes.append(Note(code, severity, path, f"{count} ({shown}) {message}"))
    for dtype in others.values():
        message = f"{dtype.name} is not known: its bytes are counted up to the next tensor, its elements cannot be checked"
        notes.append(Note("unknown-dtype", "error", path, message))
    return notes


def fill(table: TensorTable, entries: Entries, placed: dict[int, tuple[int, DType]], start: int) -> None:
    """Each tensor alone on a storage of its own name."""
    rows = sorted(placed)
    table.names += [entries.names[index] for index in rows]
    table.shapes += [entries.shapes[index] for index in rows]
    table.dtypes += [placed[index][1] for index in rows]
    table.storages += range(len(rows))
    table.offsets += [0] * len(rows)
    table.strides += [None] * len(rows)
    storage = table.storage
    storage.keys += table.names
    storage.files += [0] * len(rows)
    storage.starts += [start + entries.offsets[index] for index in rows]
    storage.nbytes += [placed[index][0] for index in rows]
    storage.stored += storage.nbytes
