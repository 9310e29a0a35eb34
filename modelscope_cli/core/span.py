"""Byte maps: every byte of every file carries exactly one label.

A reader claims the ranges it understands; what nobody claimed is labelled `unmapped`, visibly. The labels are the
`[header] [pickle] [padding] [directory]` rows of the tables, and their sum is the size of the file, always.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from modelscope_cli.errors import CorruptFileError

# What each label means; tables show them in this order.
SECTIONS = {
    "data": "tensor data",
    "header": "lengths, JSON header, zip local headers",
    "pickle": "the pickled objects that name and describe the tensors",
    "code": "source text, TorchScript code and constants, exported graphs",
    "compiled": "compiled code (AOTInductor), perhaps with the weights built in",
    "examples": "example inputs kept beside an exported program",
    "files": "files packed beside the model",
    "record": "small records: version, byteorder, serialization id",
    "metadata": "key/value pairs of a GGUF file: hyperparameters and the like",
    "tokenizer": "key/value pairs of its tokenizer: vocabulary, merges, chat template",
    "padding": "alignment",
    "directory": "zip central directory and end records",
    "index": "the index of a sharded set, the .metadata of a distributed checkpoint",
    "unmapped": "bytes that nothing in the file accounts for",
}


class Region(NamedTuple):
    """Bytes start..stop (half-open) of one file and what they are."""

    start: int
    stop: int
    label: str


class Covering:
    """Regions of which each begins where the one before ends, kept in a tenth of the memory: an archive has half a million."""

    __slots__ = ("_labels", "_size", "_starts")

    def __init__(self, starts: array[int], labels: list[str], size: int):
        self._starts = starts
        self._labels = labels
        self._size = size

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        starts = self._starts
        return zip(starts, chain(islice(starts, 1, None), (self._size,)), self._labels, strict=True)


class ByteMap:
    """The regions of one file, in order, covering it exactly."""

    __slots__ = ("_regions", "_totals", "size")

    def __init__(self, regions: Iterable[tuple[int, int, str]], size: int):
        self._regions = regions
        self._totals: dict[str, int] | None = None
        self.size = size

    @property
    def regions(self) -> list[Region]:
        """The regions in order."""
        return [Region(*region) for region in self._regions]

    def totals(self) -> dict[str, int]:
        """Bytes under each label; they add up to `size`."""
        if self._totals is None:
            self._totals = {}
            for start, stop, label in self._regions:
                self._totals[label] = self._totals.get(label, 0) + stop - start
        return self._totals


class ByteMapBuilder:
    """Collects claims, then checks that no byte was claimed twice and labels what is left over."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: list[tuple[int, int, str]] = []  # start, stop, label

    def claim(self, label: str, start: int, stop: int) -> None:
        if stop > start:
            self._claims.append((start, stop, label))

    def claim_around(self, label: str, start: int, stop: int, inner: list[tuple[int, int, str]]) -> None:
        """Claim start..stop, except for the (start, stop, label) ranges inside it that are something else."""
        for inner_start, inner_stop, inner_label in sorted(inner) if inner else ():
            if start <= inner_start and inner_stop <= stop:
                self.claim(label, start, inner_start)
                self.claim(inner_label, inner_start, inner_stop)
                start = inner_stop
        self.claim(label, start, stop)

    def finish(self, size: int, path: str) -> ByteMap:
        """The map of a file of `size` bytes. Raises CorruptFileError where two claims overlap or one leaves the file."""
        self._claims.sort()
        starts: array[int] = array("Q")
        labels: list[str] = []
        position = 0
        for start, stop, label in self._claims:
            if start < position:
                raise CorruptFileError(
                    f"two parts of the file lie on the same bytes: {label} starts inside {labels[-1]}",
                    path=path,
                    offset=start,
                )
            if stop > size:
                raise CorruptFileError(f"{label} ends at byte {stop:,}, past the end of the file", path=path, offset=size)
            if start > position:
                starts.append(position)
                labels.append("unmapped")
            starts.append(start)
            labels.append(label)
            position = stop
        if position < size:
            starts.append(position)
            labels.append("unmapped")
        self._claims = []
        return ByteMap(Covering(starts, labels, size), size)
