"""A torch.save file that is a member of an archive: read as a file of its own, and taken over into the archive.

A stored member is a window cut out of the archive's window, so what is found in it lies at a place in the outer file. A
compressed one is decompressed in memory, within limits; its bytes in the file are then shared out among its storages.
"""

from __future__ import annotations

from modelscope_cli.containers.zip_directory import STORED, Member
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.place import short_place
from modelscope_cli.core.window import MemoryWindow, Window
from modelscope_cli.errors import LimitError
from modelscope_cli.formats import torch_legacy, torch_zip
from modelscope_cli.formats.torch_archive import Archive


def read_inner(archive: Archive, name: str) -> Checkpoint:
    """The checkpoint in a member: a plain torch zip, stacked pickles, or a bare pickle."""
    window = open_inner(archive, name)
    if window.head(2) == b"PK":
        return torch_zip.read_plain(window, archive.limits)
    return torch_legacy.read(window, archive.limits)


def open_inner(archive: Archive, name: str) -> Window:
    """A window on the content of a member."""
    member = archive.members[name]
    inner = f"{archive.path}:{name}"
    archive.inner_files += 1
    if archive.inner_files > archive.limits.nested_files:
        raise LimitError("nested_files", archive.limits.nested_files, archive.inner_files, path=inner)
    if member.method == STORED:
        return archive.window.cut(member.start, member.stored, inner)
    archive.inner_read += member.size
    limit = archive.limits.pickle_bytes
    if archive.inner_read > limit:
        raise LimitError("pickle_bytes", limit, archive.inner_read, path=inner)
    return MemoryWindow(archive.read(name, limit, "pickle_bytes"), inner)


def adopt(archive: Archive, name: str, inner: Checkpoint, prefix: str = "", data: str = "data") -> range:
    """Take over the tensors (as `prefix.name`), labels, traces and notes of a file in a member; the rows that became theirs.

    With `data` other than "data" the tensors are no part of the model: only their bytes are labelled so.
    """
    member = archive.members[name]
    stored = member.method == STORED
    archive.labels[name] = "record" if stored else data  # stored ones are labelled region by region
    if stored:
        for start, stop, label in inner.byte_maps[0].regions:
            archive.inner.append((member.start + start, member.start + stop, data if label == "data" else label))
    archive.traces += inner.pickles
    archive.notes += inner.notes
    table, storage = archive.table, archive.table.storage
    first, first_storage = len(table), len(storage)
    if data != "data":
        return range(first, first)
    own = inner.tensors
    if prefix:
        archive.count_names(len(own), len(prefix) + 1)
        own.names = [f"{prefix}.{name}" if name else prefix for name in own.names]
    table.extend(own)
    archive.check_tensors()
    del table.filenames[1:]
    leaf = short_place(name.rpartition("/")[2])
    for index in range(first_storage, len(storage)):
        storage.files[index] = 0
        storage.keys[index] = f"{leaf}:{storage.keys[index]}"
        storage.starts[index] += member.start
    if not stored:
        _share_out(archive, member, first_storage)
    return range(first, len(table))


def _share_out(archive: Archive, member: Member, first: int) -> None:
    """Give each storage of a compressed file its share of the compressed bytes, in proportion to its size."""
    storage = archive.table.storage
    whole = sum(storage.nbytes[first:])
    if not whole:
        archive.labels[member.name] = "pickle"
        return
    done = 0
    for index in range(first, len(storage)):
        start, done = done * member.stored // whole, done + storage.nbytes[index]
        stop = done * member.stored // whole
        storage.starts[index], storage.stored[index] = member.start + start, stop - start
