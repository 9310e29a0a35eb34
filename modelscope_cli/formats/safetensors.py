"""safetensors: a JSON header that says everything, then the data.

    [ 8 bytes: N, little-endian ][ N bytes: JSON, padded with spaces ][ data ]
    {"__metadata__": {str: str}, NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}

Offsets are relative to the data. The ranges must cover it without hole or overlap, which makes trailing bytes and
polyglots impossible; we refuse what the reference refuses (safetensors/src/tensor.rs, `Metadata::validate`), and under
`lenient` show what can be shown with a note of severity "error". An unknown dtype is listed with the bytes its offsets give.
`save_model` writes into `__metadata__` which names it dropped because they shared memory: {dropped: kept}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Annotated, Any, TypeVar

import msgspec

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note
from modelscope_cli.core.dtype import SAFETENSORS_DTYPES, DType, unknown
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError
from modelscope_cli.formats.problems import Problems

Decoded = TypeVar("Decoded")

LENGTH_SIZE = 8
METADATA = "__metadata__"
MOST_UNKNOWN = 20  # dtypes that are named
MOST_DTYPES = 1_000  # that may be unknown: a file has a handful of dtypes
LONG_TEXT = 1_000  # characters, from which on looking it up takes as long as reading it
FORMAT_MAXIMUM = 100_000_000  # bytes of header the reference accepts


Natural = Annotated[int, msgspec.Meta(ge=0)]


class Entry(msgspec.Struct, gc=False):
    """One tensor of the header. All fields are optional only so that `__metadata__` passes through the same decoder."""

    dtype: str | None = None
    shape: tuple[Natural, ...] | None = None
    data_offsets: tuple[Natural, Natural] | None = None


class MetadataOnly(msgspec.Struct):
    """The header again, everything but its metadata skipped."""

    metadata: dict[str, str] = msgspec.field(name=METADATA, default_factory=dict)


_decode_entries = msgspec.json.Decoder(dict[str, Entry]).decode
_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_metadata = msgspec.json.Decoder(MetadataOnly).decode


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in a safetensors file. Raises CorruptFileError or LimitError; `lenient` turns damage into notes."""
    problems = Problems(window.name, lenient)
    header, data_start = read_header(window, limits)
    metadata = header_metadata(header, window.name)
    entries = decode_header(header, metadata, window.name, problems)
    aliases = tied_names(metadata, entries)
    if len(entries) + len(aliases) > limits.tensors:
        raise LimitError("tensors", limits.tensors, len(entries) + len(aliases), path=window.name)

    most = max([len(entry.shape) for entry in entries.values() if entry.shape is not None], default=0)
    if most > limits.dimensions:
        name = next(name for name, entry in entries.items() if entry.shape is not None and len(entry.shape) == most)
        raise LimitError("dimensions", limits.dimensions, most).of(window.name, f"tensor {name!r}")

    table = TensorTable()
    table.filenames.append(window.name)
    available = window.size - data_start
    if fill_at_once(table, entries, data_start, available):
        reach = available
    else:
        cut = cut_short(entries, available)
        if cut is not None:
            message = f"cut short: {window.size:,} of {data_start + cut[1]:,} bytes are there, up to tensor {cut[0]!r}"
            problems.report(message, window.size, "the download or the save did not finish: get it again")
        reach = fill_one_by_one(table, entries, data_start, available, problems)
        if not any(note.code == "damaged" for note in problems.notes):
            check_cover(table, data_start, window.size, problems)
    add_storages(table)
    if problems.notes:  # damaged entries are not in the table
        listed = set(table.names)
        aliases = {dropped: kept for dropped, kept in aliases.items() if kept in listed}
    return Checkpoint(
        window.name,
        "safetensors",
        [FileRecord(window.name, window.size, range(len(table)))],
        table,
        [byte_map(header, data_start, data_start + reach, window.size)],
        metadata=some_metadata(metadata, aliases, limits.metadata_items, problems),
        notes=problems.notes,
        aliases=aliases,
        ordered=False,
    )


def tied_names(metadata: dict[str, str], entries: dict[str, Entry]) -> dict[str, str]:
    """{dropped: kept}, as `save_model` writes it. A text that is longer than every name is none, and is not compared with them."""
    longest = max(map(len, metadata.values()), default=0)
    if longest > LONG_TEXT:
        longest = max(map(len, entries), default=0)
    return {
        dropped: kept
        for dropped, kept in metadata.items()
        if len(kept) <= longest and kept in entries and dropped not in entries
    }


def some_metadata(metadata: dict[str, str], aliases: dict[str, str], most: int, problems: Problems) -> dict[str, str]:
    """What is no alias, as much of it as is kept for display."""
    kept = dict(islice(((name, value) for name, value in metadata.items() if name not in aliases), most))
    if left_out := len(metadata) - len(aliases) - len(kept):
        message = f"{left_out:,} more metadata values are not listed (--limit metadata_items=N)"
        problems.notes.append(Note("metadata-cut", "info", problems.path, message))
    return kept


def read_header(window: Window, limits: Limits) -> tuple[bytes, int]:
    """The JSON bytes and the offset of the data behind them."""
    length = int.from_bytes(window.read(0, LENGTH_SIZE, "header length"), "little")
    if length > window.size - LENGTH_SIZE:
        raise CorruptFileError(
            f"the header claims {length:,} bytes, {window.size - LENGTH_SIZE:,} follow",
            path=window.name,
            offset=0,
            hint="cut short, or not a safetensors file: compare its size with the source and get it again",
        )
    if length > FORMAT_MAXIMUM:
        raise CorruptFileError(
            f"a header of {length:,} bytes; the format allows {FORMAT_MAXIMUM:,}", path=window.name, offset=0
        )
    if length > limits.header_bytes:
        raise LimitError("header_bytes", limits.header_bytes, length, path=window.name, offset=0)
    header = window.read(LENGTH_SIZE, length, "header")
    if header[:1] != b"{":
        raise CorruptFileError("the header is not a JSON object", path=window.name, offset=LENGTH_SIZE)
    return header, LENGTH_SIZE + length


def decode_header(header: bytes, metadata: dict[str, str], path: str, problems: Problems) -> dict[str, Entry]:
    """The entries, in the order of the header, without the metadata. A duplicate key anywhere is damage."""
    try:
        entries = _decode_entries(header)
    except (ValueError, RecursionError):  # damage, or metadata that uses the name of a field: looked at entry by entry
        raw = guarded(_decode_raw, header, path)
        entries = {
            name: Entry() if name == METADATA else guarded(_decode_entry, bytes(value), path) for name, value in raw.items()
        }
    described = METADATA in entries
    entries.pop(METADATA, None)
    if not surely_unique(header, len(entries), len(metadata) if described else None):
        _refuse_duplicates(header, path, problems)
    return entries


def surely_unique(header: bytes, tensors: int, metadata: int | None) -> bool:
    """Whether counting alone shows that no key stands twice (decoders keep the last of two and say nothing).

    Every entry has ten quotes, every pair of metadata four; with escapes about, the field names themselves are counted.
    """
    if b"\\" not in header:
        return header.count(b'"') == 10 * tensors + (0 if metadata is None else 2 + 4 * metadata)
    fields = {header.count(b'"dtype"'), header.count(b'"shape"'), header.count(b'"data_offsets"')}
    return fields == {tensors} and b"\\u" not in header and header.count(b'"__metadata__"') <= 1


def _refuse_duplicates(header: bytes, path: str, problems: Problems) -> None:
    """The slow, exact search for a key that stands twice."""
    import json

    def checked(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                problems.report(f"the key {key!r} stands twice in the header", LENGTH_SIZE)
            seen.add(key)

    try:
        json.loads(header, object_pairs_hook=checked)
    except RecursionError:
        raise CorruptFileError("the header is nested too deeply", path=path, offset=LENGTH_SIZE) from None
    except ValueError as error:
        raise CorruptFileError(f"the header is not JSON: {error}", path=path, offset=LENGTH_SIZE) from None


def header_metadata(header: bytes, path: str) -> dict[str, str]:
    """The `__metadata__` of the header; writers put it first, so mostly a glance at the beginning is enough."""
    if METADATA.encode() not in header:
        return {}
    return guarded(_decode_metadata, header, path).metadata


def guarded(decode: Callable[[bytes], Decoded], header: bytes, path: str) -> Decoded:
    """Decode, with the decoder's complaints in our words."""
    try:
        return decode(header)
    except msgspec.ValidationError as error:
        raise CorruptFileError(f"the header breaks the format: {error}", path=path, offset=LENGTH_SIZE) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"the header is not JSON: {error}", path=path, offset=LENGTH_SIZE) from None
    except RecursionError:
        raise CorruptFileError("the header is nested too deeply", path=path, offset=LENGTH_SIZE) from None


def fill_at_once(table: TensorTable, entries: dict[str, Entry], data_start: int, available: int) -> bool:
    """Fill the table in whole columns, if every entry is in order; False, with nothing done, if anything is not."""
    rows = entries.values()
    try:
        dtypes = [SAFETENSORS_DTYPES[row.dtype] for row in rows]  # type: ignore[index]
        shapes = [row.shape for row in rows]
        sizes = [math.prod(shape) * dtype.bits for shape, dtype in zip(shapes, dtypes, strict=True)]  # type: ignore[arg-type, operator]
        starts = [row.data_offsets[0] for row in rows]  # type: ignore[index]
        stops = [row.data_offsets[1] for row in rows]  # type: ignore[index]
    except (KeyError, TypeError):
        return False
    nbytes = [stop - start for start, stop in zip(starts, stops, strict=True)]
    if starts[:1] not in ([0], []) or starts[1:] != stops[:-1] or (stops[-1] if stops else 0) != available:
        return False
    if sizes != [size * 8 for size in nbytes] or (nbytes and min(nbytes) < 0):
        return False
    table.names += entries
    table.shapes += shapes  # type: ignore[arg-type]
    table.dtypes += dtypes
    table.storage.starts += [data_start + start for start in starts]
    table.storage.nbytes += nbytes
    return True


def cut_short(entries: dict[str, Entry], available: int) -> tuple[str, int] | None:
    """The first tensor that is not whole, and how much data there should be, where nothing is wrong but that there is less."""
    ranges = sorted((*entry.data_offsets, name) for name, entry in entries.items() if entry.data_offsets is not None)
    stops = [0, *[stop for _, stop, _ in ranges]]
    if len(ranges) < len(entries) or [start for start, _, _ in ranges] != stops[:-1] or stops[-1] <= available:
        return None
    return next(name for _, stop, name in ranges if stop > available), stops[-1]


def fill_one_by_one(table: TensorTable, entries: dict[str, Entry], data_start: int, available: int, problems: Problems) -> int:
    """Fill the table entry by entry, saying what is wrong with each. Returns how far the data reaches."""
    others: dict[str, DType] = {}
    reach = 0
    for name, entry in entries.items():
        shape, offsets, dtype_name = entry.shape, entry.data_offsets, entry.dtype
        if shape is None or offsets is None or dtype_name is None:
            problems.report(f"tensor {name!r} lacks dtype, shape or data_offsets", LENGTH_SIZE)
            continue
        start, stop = offsets
        if len(others) >= MOST_DTYPES and dtype_name not in SAFETENSORS_DTYPES and dtype_name not in others:
            problems.report(f"{MOST_DTYPES:,} dtypes are not known, and tensor {name!r} has yet another", LENGTH_SIZE)
            break
        dtype = SAFETENSORS_DTYPES.get(dtype_name) or others.setdefault(dtype_name, unknown(dtype_name))
        if not start <= stop <= available:
            problems.report(f"tensor {name!r} lies at {start:,} to {stop:,}, the data has {available:,} bytes", LENGTH_SIZE)
            continue
        wanted = math.prod(shape) * dtype.bits if dtype.bits is not None else (stop - start) * 8
        if wanted != (stop - start) * 8:
            problems.report(
                f"tensor {name!r}: shape {list(shape)} of {dtype_name} takes {_in_bytes(wanted)} bytes, its range has {stop - start:,}",
                LENGTH_SIZE,
            )
            continue
        table.names.append(name)
        table.shapes.append(shape)
        table.dtypes.append(dtype)
        table.storage.starts.append(data_start + start)
        table.storage.nbytes.append(stop - start)
        reach = max(reach, stop)
    more = f" ({len(others):,} such dtypes in all)" if len(others) > MOST_UNKNOWN else ""
    for name in islice(others, MOST_UNKNOWN):
        message = f"dtype {name!r} is not known: its bytes are counted, its elements cannot be checked{more}"
        problems.notes.append(Note("unknown-dtype", "error", problems.path, message))
    return reach


def _in_bytes(bits: int) -> str:
    return f"{bits // 8:,}" if bits % 8 == 0 else f"{bits:,}/8"


def add_storages(table: TensorTable) -> None:
    """Every tensor is alone on a storage of its own name."""
    count = len(table.names)
    table.storages += range(count)
    table.offsets += [0] * count
    table.strides += [None] * count
    table.storage.keys += table.names
    table.storage.files += [0] * count
    table.storage.stored += table.storage.nbytes


def check_cover(table: TensorTable, data_start: int, size: int, problems: Problems) -> None:
    """The ranges, sorted, must follow one another from the first byte of the data to the last of the file."""
    starts, nbytes = table.storage.starts, table.storage.nbytes
    position = data_start
    order: Any = range(len(starts))
    if any(later < earlier for earlier, later in pairwise(starts)):
        order = sorted(order, key=lambda i: (starts[i], nbytes[i]))
    for index in order:
        if starts[index] != position:
            what = "a hole before" if starts[index] > position else "an overlap with"
            problems.report(f"the data has {what} tensor {table.names[index]!r}", starts[index])
        position = starts[index] + nbytes[index]
    if position != size:
        problems.report(f"{size - position:,} bytes follow the last tensor", position)


def byte_map(header: bytes, data_start: int, data_stop: int, size: int) -> ByteMap:
    """Length and JSON, its padding, the data, and what a lenient read could not place."""
    padding = 0 if header.endswith(b"}") else len(header) - len(header.rstrip(b" "))
    regions = [
        Region(0, data_start - padding, "header"),
        Region(data_start - padding, data_start, "padding"),
        Region(data_start, data_stop, "data"),
        Region(data_stop, size, "unmapped"),
    ]
    return ByteMap([region for region in regions if region.stop > region.start], size)
