"""Distributed checkpoints (torch.distributed.checkpoint): a folder, an index, and files that each rank wrote.

    .metadata          a pickle: the names, the shape of every tensor, its chunks, and where each chunk lies (dcp_metadata.py)
    __0_0.distcp       what rank 0 wrote: blobs one behind another (dcp_blobs.py)
    __1_0.distcp       …   __RANK_NUMBER, several of a rank where it wrote with several threads

A tensor is shown whole, with its chunks as pieces of it. Objects that are no tensors (a learning rate, a list) are pickled into
a blob each; what is plain in them becomes metadata. With `SerializationFormat.SAFETENSORS` the tensors of a file stand in one
safetensors file behind its objects; the index then gives the length of each and for all of them the place where that file
begins. `__0.metadata` belongs to rank 0 alone, where ranks saved without talking to each other. Facts:
torch/distributed/checkpoint/filesystem.py and default_planner.py, 1.13 to 2.13.
"""

from __future__ import annotations

import os
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import NOWHERE, TensorTable, View
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.dcp_blobs import BlobReader, Held, ReadWindow
from modelscope_cli.formats.dcp_files import Files, Step
from modelscope_cli.formats.dcp_metadata import Index, Saved, read_index
from modelscope_cli.formats.locate import Target
from modelscope_cli.formats.pieces import Fit, Fitting, tensors_by_file
from modelscope_cli.formats.plain_values import pruned

ABOUT = ".metadata"  # key of what the index says of itself, among the metadata
PART_SUFFIX = ".distcp"


def read_set(target: Target, limits: Limits, read_window: ReadWindow, step: Step | None = None) -> Checkpoint:
    """One checkpoint out of the files of all ranks. What is missing or damaged becomes a note of severity error."""
    path = target.index_path or os.path.join(target.folder, ".metadata")
    with open_window(path) as window:
        index, size = read_index(window, limits), window.size
    files = Files(target.folder, path, limits)
    if target.shards is not None:
        index = only_in({os.path.relpath(shard, target.folder or ".") for shard in target.shards}, index)
        said = "only what is in this file is shown; shapes are those of the whole tensors, the counts are of what is here"
        files.remarks.add("dcp-only", target.path, said, "info")
    files.read(index, BlobReader(read_window, limits), step)
    joining = Joining(index, files, limits, whole=target.shards is None)
    for entry in index.saved:
        joining.add(entry)
    table = files.table
    held = tensors_by_file(table)
    records = [FileRecord(*row) for row in zip(table.filenames, files.sizes, held, strict=True)]
    table.filenames.append(path)
    return Checkpoint(
        target.path,
        "dcp",
        [*records, FileRecord(path, size, range(0))],
        table,
        [*files.maps, ByteMap([Region(0, size, "index")], size)],
        metadata={**pruned(joining.metadata), **({ABOUT: index.about} if index.about else {})},
        groups=joining.groups or None,
        pickles=[index.trace, *files.pickles],
        notes=[*files.remarks.notes, *joining.notes(), *(unlisted_files(target, index) if target.shards is None else ())],
        ordered=index.ordered,
    )


def only_in(names: set[str], index: Index) -> Index:
    """The part of an index that is about some of its files."""
    blobs = {key: blob for key, blob in index.blobs.items() if blob.file in names}
    saved = []
    for entry in index.saved:
        chunks = tuple([chunk for chunk in entry.chunks if (entry.name, chunk.origin) in blobs])
        if chunks or (entry.name, None) in blobs:
            saved.append(entry._replace(chunks=chunks))
    return index._replace(saved=saved, blobs=blobs)


class Joining:
    """Puts the tensors together, from what the index says and what the blobs hold."""

    def __init__(self, index: Index, files: Files, limits: Limits, *, whole: bool):
        self.index = index
        self.whole = whole  # whether all files are to be had, so that what no chunk holds is a hole
        self.files = files
        self.table: TensorTable = files.table
        self.limits = limits
        self.metadata: dict[str, Any] = {}
        self.groups: list[tuple[int, str]] = []
        self._fitting = Fitting()
        self._kept = self._left_out = 0
        self._characters = {"names": 0, "groups": 0}

    def notes(self) -> list[Note]:
        """What can only be said in the end."""
        if not self._left_out:
            return []
        return [
            Note(
                "metadata-cut",
                "info",
                ABOUT,
                f"{self._left_out:,} more metadata values are not listed (--limit metadata_items=N)",
            )
        ]

    def add(self, entry: Saved) -> None:
        """An entry of the state_dict: a row of the table, or metadata."""
        self._count("names", len(entry.name))
        if entry.dtype is None:
            self._add_object(entry)
        else:
            self._add_tensor(entry)

    def _add_tensor(self, entry: Saved) -> None:
        assert entry.dtype is not None
        fit = self._fitting.fit(entry.shape, entry.chunks) if self.whole else Fit(0, 0, 0)
        if fit.missing:
            self._say("dcp-hole", entry, f"{fit.missing:,} of its elements are in no chunk")
        if fit.twice:
            self._say("dcp-twice", entry, f"{fit.twice:,} of its elements are in more than one chunk")
        if fit.outside:
            self._say("dcp-outside", entry, f"{fit.outside:,} of its chunks reach outside its shape {list(entry.shape)}")
        views: list[View] = []
        for chunk in entry.chunks:
            held, first = self._held(entry, chunk.origin)
            if held is None:
                continue
            if held.shape != chunk.shape or held.dtype != entry.dtype:
                said = f"a chunk is {held.dtype.name} {list(held.shape)}, the index says {entry.dtype.name} {list(chunk.shape)}"
                self._say("dcp-disagrees", entry, said)
                continue
            origins = [chunk.origin] + [None] * len(held.views)
            views += [
                view._replace(storage=view.storage + first if view.storage >= 0 else NOWHERE, origin=origin)
                for view, origin in zip(held.views, origins, strict=False)
            ]
        if len(entry.chunks) == 1 and entry.chunks[0].shape == entry.shape:  # whole: nothing to be told about pieces
            views = [view._replace(origin=None) for view in views]
        self._row(entry.name, entry.path[:-1], Held(entry.name, entry.shape, entry.dtype, tuple(views)))

    def _held(self, entry: Saved, origin: Any) -> tuple[Held | None, int]:
        """The tensor in the blob of a chunk. None where the blob could not be read, which has been told."""
        blob = self.index.blobs.get((entry.name, origin))
        if blob is None:
            self._say("dcp-absent", entry, f"the index does not say where its chunk at {list(origin)} lies")
            return None, 0
        content, held, first = self.files.find(blob, entry.name)
        if content is not None and held is None:
            self._say("dcp-disagrees", entry, "what lies at the place of a chunk is not one tensor")
        return held, first

    def _count(self, what: str, characters: int) -> None:
        self._characters[what] += characters
        if self._characters[what] > self.limits.name_characters:
            raise LimitError("name_characters", self.limits.name_characters, self._characters[what], path=self.files.index_path)

    def _row(self, name: str, container: tuple[str, ...], held: Held) -> None:
        """A row of the table; several views, or one that is a piece, are its parts."""
        table, views = self.table, held.views
        if len(table) >= self.limits.tensors:
            raise LimitError("tensors", self.limits.tensors, f"more than {self.limits.tensors:,}", path=self.files.index_path)
        group = ".".join(container)
        if not self.groups or self.groups[-1][1] != group:
            self.groups.append((len(table), group))
            self._count("groups", len(group))
        main = views[0] if views else View(NOWHERE, 0, held.shape, held.dtype, None)
        index = table.add(name, held.shape, held.dtype, main.storage, main.offset, main.strides)
        if len(views) > 1 or (views and (main.origin is not None or main.shape != held.shape)):
            table.parts[index] = views

    def _add_object(self, entry: Saved) -> None:
        """An object: its plain values, and the tensors that are in it."""
        blob = self.index.blobs.get((entry.name, None))
        content, _, first = self.files.find(blob, entry.name) if blob else (None, None, 0)
        if blob is None:
            self._say("dcp-absent", entry, "the index does not say where it lies")
        if content is None:
            return
        for held in content.tensors:
            views = tuple([view._replace(storage=view.storage + first) if view.storage >= 0 else view for view in held.views])
            inner = held.name.split(".") if held.name else []
            self._count("names", len(entry.name) + len(held.name))
            self._row(".".join([entry.name, *inner]), (*entry.path, *inner)[:-1], held._replace(views=views))
        if content.metadata:
            self._keep(entry.path, content.value())

    def _keep(self, path: tuple[str, ...], value: Any) -> None:
        self._kept += len(value) if isinstance(value, list | dict) else 1
        if self._kept > self.limits.metadata_items:
            self._left_out += 1
            return
        inside = self.metadata
        for key in path[:-1]:
            deeper = inside.setdefault(key, {})
            if not isinstance(deeper, dict):
                return
            inside = deeper
        inside[path[-1]] = value

    def _say(self, code: str, entry: Saved, message: str) -> None:
        self.files.remarks.add(code, entry.name, message)


def unlisted_files(target: Target, index: Index) -> list[Note]:
    """Files of the folder that look like parts of the checkpoint and that the index does not name."""
    listed = {blob.file for blob in index.blobs.values()}
    extra = sorted(name for name in os.listdir(target.folder or ".") if name.endswith(PART_SUFFIX) and name not in listed)
    if not extra:
        return []
    shown = ", ".join(extra[:5]) + (", …" if len(extra) > 5 else "")
    said = f"{len(extra):,} files that the index does not name ({shown}): left over from another save, perhaps"
    return [Note("shard-unlisted", "warning", target.folder or ".", said)]
