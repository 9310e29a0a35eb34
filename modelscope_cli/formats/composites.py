"""Sets of files that are one checkpoint only together, known by their names in a folder.

    .metadata or __0.metadata, and *.distcp              torch.distributed.checkpoint (formats/dcp.py)
    shard-00001-model-00001-of-00001.safetensors …       the same with HuggingFaceStorageWriter (formats/dcp_safetensors.py)
    *_model_states.pt and *_optim_states.pt              DeepSpeed ZeRO (formats/deepspeed.py)
    consolidated.00.pth, consolidated.01.pth …           tensor-parallel slices (formats/tensor_parallel.py)
    mp_rank_00/model_optim_rng.pt …, mp_rank_00_model_states.pt …

Each is one Target, read by a module with `read_set(target, limits, open_part, step) -> Checkpoint`, which is handed a function
to open parts with: `open_part(path)`, or `open_part(window)` for what lies inside a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.target import Target

DCP = "modelscope_cli.formats.dcp"
DCP_SAFETENSORS = "modelscope_cli.formats.dcp_safetensors"
DEEPSPEED = "modelscope_cli.formats.deepspeed"
TENSOR_PARALLEL = "modelscope_cli.formats.tensor_parallel"

DCP_INDEX = re.compile(r"(__\d+)?\.metadata")
DCP_PART = re.compile(r".+\.distcp")
DCP_SHARD = re.compile(r"shard-\d{5}-(?P<stem>model-\d{5}-of-\d{5})\.safetensors")
ZERO_FILE = re.compile(r"(\w*zero_pp_rank_\d+_)?mp_rank_\d\d(_\d+)?_(model|optim)_states\.pt")
OPTIMIZER_FILE = re.compile(r".*_optim_states\.pt")
SLICE = re.compile(
    r"(?P<stem>consolidated|mp_rank)[._](?P<number>\d\d)(?P<rest>|_model_states)\.(?P<suffix>pth|pt|safetensors)"
)
SLICE_FOLDER = re.compile(r"mp_rank_(?P<number>\d\d)(?P<stage>_\d{3})?")
SLICE_FILES = ("model_optim_rng.pt", "model_rng.pt")
LATEST = "latest"  # where DeepSpeed writes the name of the last folder
MOST_FOLDERS = 10_000  # looked into for checkpoints of several steps
MOST_SLICES = 1_000
_NUMBER = re.compile(r"\d+")


class Composite(NamedTuple):
    """A set, and the names of the folder that belong to it."""

    target: Target
    names: frozenset[str]


def composites(folder: str) -> list[Composite]:
    """The sets that lie in a folder. One that cannot be listed has none."""
    try:
        names = sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return []
    return [
        *distributed(folder, names),
        *distributed_safetensors(folder, names),
        *(zero(folder, names) or slices(folder, names)),
        *slice_folders(folder, names),
    ]


def composite_of(path: str, *, only: bool) -> Target | None:
    """The set that a file belongs to, or None. `only` narrows it down to that file, where its index is needed to read it."""
    folder, name = os.path.split(path)
    above, inside = os.path.split(folder)
    if name in SLICE_FILES and SLICE_FOLDER.fullmatch(inside) and not only:
        return next((one.target for one in composites(above) if inside in one.names), None)
    if not any(pattern.fullmatch(name) for pattern in (DCP_INDEX, DCP_PART, DCP_SHARD, ZERO_FILE, SLICE)):
        return None
    for target, names in composites(folder):
        if name in names:
            if only and target.reader == DCP and DCP_PART.fullmatch(name):
                return target._replace(path=path, shards=(path,))
            return target if not only or DCP_INDEX.fullmatch(name) else None
    return None


def distributed(folder: str, names: list[str]) -> Iterator[Composite]:
    """Distributed checkpoints: one, or one of each rank where the ranks saved by themselves."""
    indexes = [name for name in names if DCP_INDEX.fullmatch(name) and is_index(os.path.join(folder, name))]
    parts = frozenset(name for name in names if DCP_PART.fullmatch(name))
    for index in indexes:
        path = folder if index == ".metadata" else os.path.join(folder, index)
        yield Composite(Target(path, folder, None, os.path.join(folder, index), (), DCP), parts | {index})


def is_index(path: str) -> bool:
    """Whether a `.metadata` is torch's: a pickle whose first names are those of its classes."""
    try:
        with open_window(path) as window:
            head = window.head(4_096)
    except ModelscopeError:
        return False
    return head[:1] == b"\x80" and b"torch.distributed" in head and b"checkpoint" in head


def distributed_safetensors(folder: str, names: list[str]) -> Iterator[Composite]:
    """The files of all ranks; of each rank there may be several, model-00001-of-00002 and so on."""
    found = [name for name in names if DCP_SHARD.fullmatch(name)]
    if found:
        paths = tuple(os.path.join(folder, name) for name in found)
        yield Composite(Target(folder, folder, paths, None, (), DCP_SAFETENSORS), frozenset(found))


def zero(folder: str, names: list[str]) -> list[Composite]:
    """A DeepSpeed checkpoint with partitioned optimizer state."""
    found = [name for name in names if ZERO_FILE.fullmatch(name)]
    if not any(OPTIMIZER_FILE.fullmatch(name) for name in found):
        return []
    found.sort(key=natural)
    paths = tuple(os.path.join(folder, name) for name in found)
    return [Composite(Target(folder, folder, paths, None, (), DEEPSPEED), frozenset(found))]


def slices(folder: str, names: list[str]) -> Iterator[Composite]:
    """Numbered files that each hold a slice of every tensor. One alone is a whole model."""
    sets: dict[tuple[str, str, str], dict[int, str]] = {}
    for name in names:
        match = SLICE.fullmatch(name)
        if match:
            sets.setdefault((match["stem"], match["rest"], match["suffix"]), {})[int(match["number"])] = name
    for (stem, rest, suffix), found in sets.items():
        if len(found) > 1 or set(found) != {0}:
            first = next(iter(found.values()))
            number = SLICE.fullmatch(first).start("number")  # type: ignore[union-attr]
            listed = [first[:number] + f"{place:02}" + first[number + 2 :] for place in range(max(found) + 1)]
            paths = tuple(os.path.join(folder, name) for name in listed)
            path = os.path.join(folder, f"{stem}{rest}.{suffix}")
            yield Composite(Target(path, folder, paths, None, (), TENSOR_PARALLEL), frozenset(found.values()))


def slice_folders(folder: str, names: list[str]) -> Iterator[Composite]:
    """Megatron-LM: a folder for each slice, or for each slice of each stage of a pipeline."""
    found = [name for name in names if SLICE_FOLDER.fullmatch(name)]
    for file in SLICE_FILES:
        paths = tuple(path for name in found[:MOST_SLICES] if os.path.isfile(path := os.path.join(folder, name, file)))
        if paths:
            yield Composite(Target(folder, folder, paths, None, (), TENSOR_PARALLEL), frozenset(found))
            return


def steps(folder: str, inside: list[str]) -> list[Target]:
    """Sets in the folders of a folder; of those that differ by a number, as steps of a training do, the last one.

    A file `latest` that names one of them decides instead.
    """
    latest = latest_of(folder)
    found: dict[str, list[tuple[bool, list[int], list[Target]]]] = {}
    for name in inside[:MOST_FOLDERS]:
        sets = composites(os.path.join(folder, name))
        if sets:
            numbers = [int(digits[:18]) for digits in _NUMBER.findall(name)]
            alike = found.setdefault(_NUMBER.sub("#", name), [])
            alike.append((name == latest, numbers, [one.target for one in sets]))
    targets: list[Target] = []
    for alike in found.values():
        alike.sort(key=lambda row: row[:2])
        chosen, _, last = alike[-1]
        if len(alike) > 1:
            others = [os.path.basename(sets[0].folder) for _, _, sets in alike[:-1]]
            shown = ", ".join(others[-5:][::-1]) + (", …" if len(others) > 5 else "")
            which = f"the one that the file {LATEST} names" if chosen else "the last"
            said = f"{os.path.basename(last[0].folder)}: {which} of {len(alike):,} steps; beside it are {shown}"
            last = [last[0]._replace(notes=(*last[0].notes, Note("steps", "info", folder, said))), *last[1:]]
        targets += last
    return targets


def latest_of(folder: str) -> str | None:
    """What a file `latest` names."""
    try:
        with open_window(os.path.join(folder, LATEST)) as window:
            return window.head(256).decode("utf-8", "replace").strip()
    except ModelscopeError:
        return None


def natural(name: str) -> tuple[list[int], str]:
    """Sorts rank 2 before rank 10."""
    return [int(digits[:18]) for digits in _NUMBER.findall(name)], name
