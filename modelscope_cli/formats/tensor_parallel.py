"""Models cut for several devices: every file holds a slice of each matrix (tensor parallelism).

    consolidated.00.pth, consolidated.01.pth …    Llama as Meta publishes it, with params.json
    mp_rank_00/model_optim_rng.pt …               Megatron-LM; mp_rank_00_003 is slice 0 of the fourth stage of a pipeline
    mp_rank_00_model_states.pt …                  DeepSpeed without ZeRO

The slices are joined as formats/slices.py infers it, and how is said in a note. What nothing tells how to join is listed slice
by slice. The stages of a pipeline hold different layers, which each stage may count from 0: their names are kept apart.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.parts import Member, OpenPart, Parts, Step
from modelscope_cli.formats.samples import Samples
from modelscope_cli.formats.slices import COPY, EMBEDDING, Joint, hidden_size, joint
from modelscope_cli.formats.target import Target

PARAMS = "params.json"
LARGEST_PARAMS = 1 << 20
MOST_NAMED = 6
STAGE = re.compile(r"mp_rank_\d+_(\d+)")
WORDS = {0: "by rows", 1: "by columns", COPY: "the same in every file, counted once"}


def read_set(target: Target, limits: Limits, open_part: OpenPart, step: Step | None = None) -> Checkpoint:
    """One checkpoint out of the slices. A file that is missing or unreadable is a note of severity error."""
    parts = Parts(target.path, target.shards or (), open_part, limits, step)
    stages: dict[int, list[int]] = {}
    for number, path in enumerate(parts.paths):
        stages.setdefault(stage_of(path), []).append(number)
    params = read_params(target.folder)
    arguments = parts.merged.metadata.get("args")
    joining = Joining(parts, params, arguments if isinstance(arguments, dict) else {})
    for stage, members in stages.items():
        joining.join(members, f"stage_{stage}." if len(stages) > 1 else "")
    joining.tell(len(stages))
    checkpoint = parts.finish("")
    if params:
        checkpoint.metadata = {PARAMS: params, **checkpoint.metadata}
    return checkpoint


class Joining:
    """Joins the slices of one stage after another, and keeps what was joined how."""

    def __init__(self, parts: Parts, params: dict[str, Any], arguments: dict[str, Any]):
        self.parts = parts
        tensors = parts.merged.tensors
        self.samples = Samples(tensors)
        self.hidden = hidden_size(params, arguments, list(zip(tensors.names, tensors.shapes, strict=True)))
        self.joined: dict[Joint, list[str]] = {}
        self.apart: list[str] = []

    def join(self, members: list[int], prefix: str) -> None:
        """Join what the files with these numbers hold."""
        rows: dict[str, dict[int, int]] = {}
        names = self.parts.merged.tensors.names
        for place, number in enumerate(members):
            for row in self.parts.spans[number]:
                rows.setdefault(names[row], {})[place] = row
        for name, held in rows.items():
            self._join(name, held, len(members), prefix)

    def _join(self, name: str, held: dict[int, int], files: int, prefix: str) -> None:
        parts, tensors = self.parts, self.parts.merged.tensors
        slices = list(held.values())
        group = prefix + parts.group_of(slices[0])
        if len(slices) == 1:
            parts.copy(slices[0], prefix + name, group)
            return
        shapes = [tensors.shapes[row] for row in slices]
        found = joint(name, shapes, files, self.hidden, lambda: self.samples.same(slices))
        if len({tensors.dtypes[row] for row in slices}) > 1:
            found = None
        if found is None:
            self.apart.append(prefix + name)
            for place, row in held.items():
                parts.copy(row, f"{prefix}slice_{place}.{name}", f"{prefix}slice_{place}.{parts.group_of(row)}".rstrip("."))
            return
        self.joined.setdefault(found, []).append(name)
        if found.axis == COPY:
            whole: Shape = shapes[0]
            members: list[Member] = [(row, (0,) * len(whole) if row == slices[0] else None) for row in slices]
            parts.join(prefix + name, whole, members, group)
            return
        whole, origins = places(found.axis, dict(zip(held, shapes, strict=True)), files)
        parts.join(prefix + name, whole, list(zip(slices, origins, strict=True)), group)
        if EMBEDDING.fullmatch(name) and found.axis == 1 and self.hidden and whole[1] != self.hidden.size:
            said = f"{name} has {whole[1]:,} columns in all, {self.hidden.source} says {self.hidden.size:,}: slices are missing"
            parts.note("slices-missing", "error", os.path.basename(parts.merged.path), said)

    def tell(self, stages: int) -> None:
        """How the slices were joined, and by what evidence."""
        where = os.path.basename(self.parts.merged.path)
        sums: dict[int, list[Joint]] = {}
        for found in self.joined:
            sums.setdefault(found.axis, []).append(found)
        told = []
        for axis, ways in sorted(sums.items(), key=lambda pair: pair[0] % 99):
            count = sum(len(self.joined[way]) for way in ways)
            evidence = ", ".join(dict.fromkeys(way.evidence for way in ways))
            told.append(
                f"{count:,} {WORDS.get(axis, f'along axis {axis}')} ({leaves([n for w in ways for n in self.joined[w]])}; by {evidence})"
            )
        width = (
            f"; hidden size by {self.hidden.source}"
            if self.hidden and any("shapes" in way.evidence for way in self.joined)
            else ""
        )
        if told:
            of = f"each of {stages} pipeline stages is" if stages > 1 else "they are"
            self.parts.note(
                "slices",
                "info",
                where,
                f"{len(self.parts.paths)} files; {of} slices of one model, joined: {'; '.join(told)}{width}",
            )
        if self.apart:
            shown = leaves(self.apart)
            said = f"nothing tells how the slices of {len(self.apart):,} tensors belong together ({shown}): listed one by one"
            self.parts.note("slices-apart", "warning", where, said)


def places(axis: int, shapes: dict[int, Shape], files: int) -> tuple[Shape, list[Shape]]:
    """The shape of the whole, and where each slice begins; a slice that is not there is taken to be like its neighbours."""
    usual = next(iter(shapes.values()))
    origins: list[Shape] = []
    position = 0
    for number in range(files):
        shape = shapes.get(number)
        if shape is not None:
            origins.append(tuple([position if at == axis else 0 for at in range(len(usual))]))
        position += (shape or usual)[axis]
    return tuple([position if at == axis else extent for at, extent in enumerate(usual)]), origins


def read_params(folder: str) -> dict[str, Any]:
    """params.json beside the slices; anything but a JSON object counts as absent."""
    path = os.path.join(folder, PARAMS)
    if not os.path.isfile(path):
        return {}
    try:
        with open_window(path) as window:
            found = json.loads(window.head(LARGEST_PARAMS))
    except (ModelscopeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def stage_of(path: str) -> int:
    """The stage of a pipeline that a file belongs to, by the name of its folder."""
    match = STAGE.fullmatch(os.path.basename(os.path.dirname(path)))
    return int(match[1]) if match else 0


def leaves(names: list[str]) -> str:
    """What the tensors are called, without where they are: wq, wk, wv …"""
    kinds = dict.fromkeys([kind_of(name) for name in names])
    return ", ".join(list(kinds)[:MOST_NAMED]) + (", …" if len(kinds) > MOST_NAMED else "")


def kind_of(name: str) -> str:
    head, _, leaf = name.rpartition(".")
    return (head.rpartition(".")[2] or leaf) if leaf == "weight" else ".".join(name.rsplit(".", 2)[-2:])
