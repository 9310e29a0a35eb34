"""Files that each hold a part of every tensor: read one by one, then their tables made into one of whole tensors.

Sharded sets need none of this: there a tensor lies in one file. Here the rows of the parts are put behind one another, and a
reader says which rows are pieces of one tensor, and where in it each begins; a row that is the same in every file is kept as a
copy, which takes bytes and counts no elements.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note
from modelscope_cli.core.dtype import DType
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import NOWHERE, Shape, TensorTable, View
from modelscope_cli.errors import LimitError, MissingShardError, ModelscopeError
from modelscope_cli.formats.pieces import tensors_by_file
from modelscope_cli.formats.sharded import add_part

OpenPart = Callable[..., Checkpoint]  # of a path, and limits where they are to be others than usual
Step = Callable[[int, int], None]
Member = tuple[int, Shape | None]  # a row of the parts, and where it begins in the tensor; None for a copy


class Parts:
    """The parts, read. `merged` has all their rows; `spans[i]` are those of part i, empty where it could not be read."""

    def __init__(self, path: str, paths: Sequence[str], open_part: OpenPart, limits: Limits, step: Step | None):
        if len(paths) > limits.shards:
            raise LimitError("shards", limits.shards, len(paths), path=path)
        self.paths = list(paths)
        self.limits = limits
        self.merged = Checkpoint(path, "", [], TensorTable(), [], groups=[])
        self.spans: list[range] = []
        self.metadata: list[dict[str, object]] = []
        self.table = TensorTable()
        self.groups: list[tuple[int, str]] = []
        problems: list[ModelscopeError] = []
        for done, part in enumerate(paths):
            if step is not None:
                step(done, len(paths))
            first = len(self.merged.tensors)
            try:
                checkpoint = open_part(part)
                add_part(self.merged, checkpoint, limits)
                self.metadata.append(checkpoint.metadata)
            except ModelscopeError as error:
                missing = MissingShardError("this part of the set is missing", path=part, hint="get it into the same folder")
                problem = error if os.path.exists(part) else missing
                problems.append(problem)
                self.metadata.append({})
                told = f"{problem.message} - {problem.hint}" if problem.hint else problem.message
                self.note("shard-unreadable", "error", os.path.basename(part), told)
            self.spans.append(range(first, len(self.merged.tensors)))
        if len(problems) == len(paths):
            raise problems[0]
        self.table.storage, self.table.filenames = self.merged.tensors.storage, self.merged.tensors.filenames
        self._starts = [start for start, _ in self.merged.groups]

    def note(self, code: str, severity: str, where: str, message: str) -> None:
        self.merged.notes.append(Note(code, severity, where, message))

    def group_of(self, row: int) -> str:
        """The path of the dictionary that held a row."""
        at = bisect_right(self._starts, row) - 1
        return self.merged.groups[at][1] if at >= 0 else ""

    def copy(self, row: int, name: str, group: str) -> int:
        """A row as it is, under a name of its own."""
        old, table = self.merged.tensors, self.table
        self._grouped(group)
        index = table.add(name, old.shapes[row], old.dtypes[row], old.storages[row], old.offsets[row], old.strides[row])
        if row in old.parts:
            table.parts[index] = old.parts[row]
        if row in old.recorded:
            table.recorded[index] = old.recorded[row]
        return index

    def join(self, name: str, shape: Shape, members: Sequence[Member], group: str) -> int:
        """A tensor out of several rows, a piece first."""
        old = self.merged.tensors
        views: list[View] = []
        for row, origin in members:
            main, *others = old.views(row)
            views.append(main._replace(origin=origin))
            views += [view._replace(origin=None) for view in others]
        index = self.put(name, shape, old.dtypes[members[0][0]], views, group)
        if members[0][0] in old.recorded:
            self.table.recorded[index] = old.recorded[members[0][0]]
        return index

    def put(self, name: str, shape: Shape, dtype: DType, views: Sequence[View], group: str) -> int:
        """A tensor out of views."""
        self._grouped(group)
        main = next((view for view in views if view.storage >= 0), None) or View(NOWHERE, 0, shape, dtype, None)
        index = self.table.add(name, shape, dtype, main.storage, main.offset, main.strides)
        if views:
            self.table.parts[index] = tuple(views)
        return index

    def _grouped(self, path: str) -> None:
        if not self.groups or self.groups[-1][1] != path:
            self.groups.append((len(self.table), path))

    def finish(self, kind: str) -> Checkpoint:
        """The checkpoint of the whole tensors."""
        merged = self.merged
        held = tensors_by_file(self.table)
        names = set(self.table.names)
        files = [FileRecord(file.path, file.nbytes, rows) for file, rows in zip(merged.files, held, strict=True)]
        return Checkpoint(
            merged.path,
            kind or merged.format,
            files,
            self.table,
            merged.byte_maps,
            metadata=merged.metadata,
            modules=merged.modules,
            pickles=merged.pickles,
            notes=merged.notes,
            aliases={dropped: kept for dropped, kept in merged.aliases.items() if kept in names and dropped not in names},
            ordered=merged.ordered,
            groups=self.groups or None,
        )


def relabelled(byte_map: ByteMap, spans: list[tuple[int, int]], label: str) -> ByteMap:
    """A byte map in which some spans of its data are called something else."""
    if not spans:
        return byte_map
    spans = sorted(spans)
    regions: list[Region] = []
    at = 0
    for region in byte_map.regions:
        start = region.start
        while at < len(spans) and region.label == "data" and spans[at][0] < region.stop:
            first, last = max(spans[at][0], start), min(spans[at][1], region.stop)
            if first > start:
                regions.append(Region(start, first, region.label))
            if last > first:
                regions.append(Region(first, last, label))
            start = max(start, last)
            at += 1
        if start < region.stop:
            regions.append(region._replace(start=start))
    return ByteMap(regions, byte_map.size)
