"""What a file in an archive is: by its first bytes, where its name speaks for a model, and by the names beside it."""

from __future__ import annotations

import contextlib
import os

from modelscope_cli.core.folder import OTHER
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive import Archive
from modelscope_cli.formats.archive_paths import may_be_archive
from modelscope_cli.formats.composites import (
    DCP_INDEX,
    DCP_PART,
    DCP_SHARD,
    OPTIMIZER_FILE,
    SLICE,
    SLICE_FILES,
    SLICE_FOLDER,
    ZERO_FILE,
)
from modelscope_cli.formats.folder_names import Said, by_name, may_hold_a_model
from modelscope_cli.formats.known import Recognised, recognise
from modelscope_cli.formats.registry import by_suffix, read_file, sniff
from modelscope_cli.formats.target import Target

TELLING = ("safetensors", "gguf", "torch-zip")  # formats that are known by content without a name
LARGEST_PICKLE = 4 << 20  # bytes of one that is read to see whether it holds tensors
MOST_PICKLES = 20
WITHOUT_TENSORS = "a pickle without tensors"


def single(archive: Archive, name: str) -> Target:
    """A file by itself."""
    path = archive.at(name)
    return Target(path, path.rpartition("/")[0], None, None, archive=archive)


def name_in(target: Target) -> str:
    """The name of the file of a target in its archive."""
    return target.path[len(target.archive.at("")) :].replace(os.sep, "/") if target.archive is not None else target.path


def largest(archive: Archive, targets: list[Target], most: int) -> list[str]:
    """The paths of the largest targets, `most` of them; sets are not opened here and come first."""
    if len(targets) <= most:
        return [target.path for target in targets]

    def size(target: Target) -> int:
        file = archive.files.get(name_in(target))
        return -file.nbytes if file is not None else -(1 << 63)

    return [target.path for target in sorted(targets, key=size)[:most]]


def like_model(target: Target) -> bool:
    """Whether a file that is called like a model begins like one. What is encrypted may be one."""
    archive, name = target.archive, name_in(target)
    if archive is None or target.shards is not None or target.index_path is not None:
        return True
    head = archive.head(name)
    if not head:
        return archive.files[name].encrypted or archive.files[name].nbytes != 0
    return sniff(head, name) is not None or (by_suffix(name) is not None and foreign(archive, name) is None)


def without_tensors(targets: list[Target], limits: Limits) -> dict[str, str]:
    """Small plain pickles with no tensor in them, by path: a vocabulary, a scaler. Their names in the archive."""
    found: dict[str, str] = {}
    plain = [target for target in targets if target.path.lower().endswith((".pkl", ".pickle"))]
    for target in plain[:MOST_PICKLES]:
        name = name_in(target)
        if target.archive is not None and target.archive.files[name].nbytes <= LARGEST_PICKLE:
            with contextlib.suppress(ModelscopeError, RecursionError):
                if not len(read_file(target.path, limits).tensors):
                    found[target.path] = name
    return found


def best_name(archive: Archive, name: str) -> bool:
    """Whether a file of several names is to be counted under this one: its own, if that says more than those of its links."""

    def tells_more(path: str) -> bool:
        own = path.rpartition("/")[2]
        return may_hold_a_model(own) or by_name(own) is not None

    own = archive.links.get(name, name)
    return name == own if tells_more(own) else tells_more(name)


def odd(archive: Archive, name: str) -> Said:
    """What to say of a file that is called like a model and is none."""
    if not archive.files[name].nbytes:
        return Said(OTHER, "empty")
    found = foreign(archive, name)
    return Said(OTHER, found.kind.title.partition(":")[0] if found is not None else "no model by its content")


def foreign(archive: Archive, name: str) -> Recognised | None:
    """What a file is that is no model of a kind that is read, as far as its first bytes tell."""
    return recognise(MemoryWindow(archive.head(name), archive.at(name)), neighbours=False)


def tells(archive: Archive, name: str) -> bool:
    """Whether a file is a model by its content, whatever its name."""
    head = archive.head(name)
    row = sniff(head, "")
    return row is not None and row.name in TELLING and not may_be_archive(head)


def parts_of_sets(names: list[str]) -> list[str]:
    """Those files that are parts of sets which have readers of their own."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    found: list[str] = []
    ranks: dict[str, list[str]] = {}
    for folder, members in folders.items():
        base = {name: name.rpartition("/")[2] for name in members}
        distributed = [name for name in members if DCP_PART.fullmatch(base[name]) or DCP_SHARD.fullmatch(base[name])]
        zero = [name for name in members if ZERO_FILE.fullmatch(base[name])]
        slices = [name for name in members if SLICE.fullmatch(base[name])]
        if distributed:
            found += distributed + [name for name in members if DCP_INDEX.fullmatch(base[name])]
        elif any(OPTIMIZER_FILE.fullmatch(base[name]) for name in zero):
            found += zero
        elif len(slices) > 1:
            found += slices
        above, _, own = folder.rpartition("/")
        if SLICE_FOLDER.fullmatch(own):
            ranks.setdefault(above, []).extend(name for name in members if base[name] in SLICE_FILES)
    for several in ranks.values():
        found += several if len(several) > 1 else []
    return found
