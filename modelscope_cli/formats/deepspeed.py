"""DeepSpeed ZeRO: weights in one file or in pieces, and an optimizer cut up among the ranks.

    mp_rank_00_model_states.pt                            stages 1 and 2: {"module": 16-bit weights, "param_shapes": …}
    zero_pp_rank_R_mp_rank_00_model_states.pt             stage 3: the same without the weights, one for each rank
    [bf16_]zero_pp_rank_R_mp_rank_00_optim_states.pt      {"optimizer_state_dict": {"zero_stage", "partition_count",
                                                           "single_partition_of_fp32_groups" or "fp32_flat_groups", …}}

The weights in float32 and the state of the optimizer are flat groups: `param_shapes` tells which parameter lies where in them
(formats/zero_plan.py), and so each is shown as a tensor in pieces. Where the files hold 16-bit weights too, those are the
parameters and the float32 ones a master copy; in stage 3 the groups are all there is. What pads a group is labelled padding.
Several `mp_rank` are slices for tensor parallelism, kept apart here. Facts: deepspeed/utils/zero_to_fp32.py, DeepSpeed 0.16.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape, View
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.parts import OpenPart, Parts, Step, relabelled
from modelscope_cli.formats.plain_values import pruned
from modelscope_cli.formats.samples import Samples
from modelscope_cli.formats.target import Target
from modelscope_cli.formats.zero_plan import Plan, group_shapes, one_group, partitions, stage_2, stage_3, zero_stage

FILE = re.compile(r"(?:\w*zero_pp_rank_(?P<rank>\d+)_)?mp_rank_(?P<slice>\d\d)(?:_\d+)?_(?P<kind>model|optim)_states\.pt")
STATE = "optimizer_state_dict"
FP32_GROUPS = ("single_partition_of_fp32_groups", "fp32_flat_groups")
GROUP = re.compile(r"(?P<path>.+?)\.(?P<group>\d{1,6})(?:\.(?P<slot>[^.]+))?")
ABOUT_SHAPES = ("param_shapes", "frozen_param_shapes", "buffer_names", "shared_params", "param_slice_mappings")
MASTER = "fp32_groups"  # what the master copy is called here
FEW = 16  # elements of a tensor that may be the same for all ranks, as the step is
MORE_METADATA = 40  # times as much as of other files: the shapes are in it


def read_set(target: Target, limits: Limits, open_part: OpenPart, step: Step | None = None) -> Checkpoint:
    """One checkpoint out of all files. What is missing or does not fit together is a note of severity error."""
    roomy = limits._replace(metadata_items=MORE_METADATA * limits.metadata_items)
    parts = Parts(target.path, target.shards or (), lambda path: open_part(path, roomy), limits, step)
    slices: dict[str, dict[tuple[str, int], int]] = {}
    for number, path in enumerate(parts.paths):
        match = FILE.fullmatch(os.path.basename(path))
        if match:
            slices.setdefault(match["slice"], {})[match["kind"], int(match["rank"] or 0)] = number
    padding: dict[int, list[tuple[int, int]]] = {}
    aliases: dict[str, str] = {}
    for called, files in slices.items():
        unfolding = Unfolding(parts, files, f"slice_{int(called)}." if len(slices) > 1 else "")
        unfolding.run()
        aliases |= unfolding.aliases()
        for file, spans in unfolding.padding.items():
            padding.setdefault(file, []).extend(spans)
    if len(slices) > 1:
        said = f"{len(slices)} slices for tensor parallelism, listed one after another: they are not joined"
        parts.note("slices-apart", "warning", target.path, said)
    maps = parts.merged.byte_maps
    parts.merged.byte_maps = [relabelled(one, padding.get(number, []), "padding") for number, one in enumerate(maps)]
    for key in ABOUT_SHAPES:
        parts.merged.metadata.pop(key, None)
    parts.merged.metadata = pruned(parts.merged.metadata)
    parts.merged.aliases.update(aliases)
    return parts.finish("deepspeed")


class Unfolding:
    """Puts the parameters of one slice together from the groups of its ranks."""

    def __init__(self, parts: Parts, files: dict[tuple[str, int], int], prefix: str):
        self.parts = parts
        self.files = files
        self.prefix = prefix
        self.tensors = parts.merged.tensors
        self.padding: dict[int, list[tuple[int, int]]] = {}  # file → bytes that pad a group
        self.where = os.path.basename(parts.merged.path)
        model = next(
            (number for (kind, _), number in sorted(files.items()) if kind == "model" and parts.metadata[number]), None
        )
        self.about: Mapping[str, Any] = parts.metadata[model] if model is not None else {}
        self.taken: set[int] = set()  # rows that are in a tensor

    def run(self) -> None:
        """Add the tensors of all files of the slice."""
        optimizers = {rank: number for (kind, rank), number in self.files.items() if kind == "optim"}
        state = next((found for number in optimizers.values() if (found := self._state(number))), {})
        stage, count = zero_stage(state), partitions(state)
        ranks = max(count, max(optimizers, default=-1) + 1)
        missing = [rank for rank in range(min(ranks, self.parts.limits.shards)) if not self._rows(optimizers.get(rank))]
        if missing and optimizers:
            shown = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
            said = f"the optimizer was cut for {ranks:,} ranks; the parts of {len(missing):,} are not here (rank {shown})"
            self.parts.note("zero-rank-missing", "error", self.where, said)
        families = self._families(optimizers)
        main = next((families[path] for path in families if path.rpartition(".")[2] in FP32_GROUPS), None)
        shapes = group_shapes(self.about.get("param_shapes"))
        self._weights(stage)
        if main is None or not shapes or ranks > self.parts.limits.shards:
            if optimizers:
                self.parts.note(
                    "zero-unmapped", "warning", self.where, "no param_shapes and flat groups that go together: listed flat"
                )
        else:
            self._unfold(families, main, shapes, stage, ranks)
        self._rest()

    def _state(self, number: int) -> Mapping[str, Any]:
        found = self.parts.metadata[number].get(STATE)
        return found if isinstance(found, dict) else {}

    def _rows(self, number: int | None) -> range:
        return self.parts.spans[number] if number is not None else range(0)

    def _families(self, optimizers: dict[int, int]) -> dict[str, dict[tuple[int, int], int]]:
        """Flat tensors by the path that is theirs in every file: path → (rank, group) → row."""
        families: dict[str, dict[tuple[int, int], int]] = {}
        for rank, number in optimizers.items():
            for row in self.parts.spans[number]:
                match = GROUP.fullmatch(self.tensors.names[row])
                if (
                    match
                    and len(self.tensors.shapes[row]) == 1
                    and row not in self.tensors.parts
                    and self.tensors.strides[row] is None
                ):
                    path = f"{match['path']}.*.{match['slot']}" if match["slot"] else match["path"]
                    families.setdefault(path, {})[rank, int(match["group"])] = row
        return families

    def _weights(self, stage: int) -> None:
        """The weights and buffers of the module; in the files of several ranks they are the same, but for parts of frozen ones."""
        models = [number for (kind, _), number in sorted(self.files.items()) if kind == "model"]
        rows: dict[str, list[int]] = {}
        for number in models:
            for row in self.parts.spans[number]:
                rows.setdefault(self.tensors.names[row], []).append(row)
        frozen = one_group(self.about.get("frozen_param_shapes"))
        hollow = {name for shapes in group_shapes(self.about.get("param_shapes")) for name in shapes} | frozen.keys()
        for name, held in rows.items():
            first, _, inner = name.partition(".")
            if first == "module":
                self.taken.update(held)
                if inner in hollow and self.tensors[held[0]].numel == 0:
                    continue  # stage 3 leaves an empty tensor in its place
                self._same_in_all(name, held)
            elif first == "frozen_param_fragments" and inner in frozen:
                self.taken.update(held)
                self._frozen(inner, frozen[inner], held, stage)

    def _same_in_all(self, name: str, held: list[int]) -> None:
        shape, group = self.tensors.shapes[held[0]], self.prefix + self.parts.group_of(held[0])
        if len(held) == 1:
            self.parts.copy(held[0], self.prefix + name, group)
        else:
            members = [(row, (0,) * len(shape) if row == held[0] else None) for row in held]
            self.parts.join(self.prefix + name, shape, members, group)

    def _frozen(self, name: str, shape: Shape, held: list[int], stage: int) -> None:
        """A parameter that is not trained: whole where the weights are, so a copy of them; in stage 3 cut for the ranks."""
        if stage < 3:
            self.parts.copy(held[0], f"{self.prefix}{MASTER}.{name}", self.prefix + MASTER)
            return
        plan = stage_3({name: shape}, [[self.tensors[row].numel] for row in held])
        self._put(
            f"{self.prefix}module.{name}", self.prefix + "module", plan, name, {(rank, 0): row for rank, row in enumerate(held)}
        )

    def _unfold(
        self, families: dict[str, dict[tuple[int, int], int]], main: dict[tuple[int, int], int], shapes: list[dict[str, Shape]],
        stage: int, ranks: int,
    ) -> None:  # fmt: skip
        groups = 1 + max(group for _, group in main)
        usual = [
            max([self.tensors[row].numel for (_, at), row in main.items() if at == group], default=0) for group in range(groups)
        ]
        sizes = [
            [self.tensors[main[rank, group]].numel if (rank, group) in main else usual[group] for group in range(groups)]
            for rank in range(ranks)
        ]
        names = sum(map(len, shapes))
        pieces = (names * ranks if stage >= 3 else names + ranks) * len(families)
        if pieces > self.parts.limits.objects:
            raise LimitError("objects", self.parts.limits.objects, pieces, path=self.parts.merged.path)
        together = {name: shape for inside in shapes for name, shape in inside.items()}
        plan = stage_3(together, sizes) if stage >= 3 else stage_2(shapes, sizes)
        if plan.short:
            said = f"the flat groups have {plan.short:,} elements less than the shapes of the parameters need"
            self.parts.note("zero-short", "error", self.where, said)
        spare = sum(map(sum, sizes)) - sum(stop - start for spans in plan.spans.values() for start, stop in spans)
        if stage < 3 and spare > 2 * ranks * groups:
            said = f"the flat groups have {spare:,} elements more than their parameters: more than padding explains"
            self.parts.note("zero-spare", "warning", self.where, said)
        held = set(self.parts.table.names)
        for path, rows in families.items():
            if any(self.tensors[row].numel != sizes[rank][group] for (rank, group), row in rows.items() if group < groups):
                continue  # of another length than the groups: not laid out like them
            if rows.keys() - {(rank, group) for rank in range(ranks) for group in range(groups)}:
                continue
            above, _, slot = path.partition(".*.")
            for name in together:
                called, group = f"{above}.{name}.{slot}", f"{above}.{name}"
                if rows is main:
                    weights = f"{self.prefix}module.{name}" not in held
                    group = "module" if weights else MASTER
                    called = f"{group}.{name}"
                self._put(self.prefix + called, self.prefix + group, plan, name, rows)
            self.taken.update(rows.values())
            self._label(rows, plan)
        cut = f"ZeRO stage {stage}, cut for {ranks:,} {'rank' if ranks == 1 else 'ranks'}"
        said = f"{cut}: {len(together):,} parameters found in the flat groups through param_shapes"
        self.parts.note("zero", "info", self.where, said)

    def _put(self, called: str, group: str, plan: Plan, name: str, rows: dict[tuple[int, int], int]) -> None:
        """A tensor from its runs, as far as the ranks are there."""
        tensors = self.tensors
        views = []
        for rank, number, start, count, origin in plan.runs[name]:
            row = rows.get((rank, number))
            if row is not None:
                dtype = tensors.dtypes[row]
                offset = tensors.offsets[row] + (dtype.nbytes(start) or 0)
                views.append(View(tensors.storages[row], offset, (count,), dtype, None, (origin,)))
        dtype = tensors.dtypes[next(iter(rows.values()))]
        self.parts.put(called, plan.shapes[name], dtype, views, group)

    def _label(self, rows: dict[tuple[int, int], int], plan: Plan) -> None:
        """The bytes of a group that no parameter has are padding."""
        tensors = self.tensors
        where = tensors.storage
        for key, row in rows.items():
            storage, dtype = tensors.storages[row], tensors.dtypes[row]
            if storage < 0 or where.starts[storage] < 0 or where.stored[storage] != where.nbytes[storage]:
                continue
            begin = where.starts[storage] + tensors.offsets[row]
            position, numel = 0, tensors[row].numel
            for start, stop in [*plan.spans.get(key, ()), (numel, numel)]:
                if start > position:
                    first, last = dtype.nbytes(position) or 0, dtype.nbytes(start) or 0
                    self.padding.setdefault(where.files[storage], []).append((begin + first, begin + last))
                position = stop

    def _rest(self) -> None:
        """Everything else as it stands. What several ranks have under one name is a copy if it is equal, else it carries the rank."""
        held: dict[str, list[tuple[int, int]]] = {}
        for (_, rank), number in sorted(self.files.items()):
            for row in self.parts.spans[number]:
                if row not in self.taken:
                    held.setdefault(self.tensors.names[row], []).append((rank, row))
        samples = Samples(self.tensors)
        for name, found in held.items():
            rows = [row for _, row in found]
            alike = len({self.tensors.shapes[row] for row in rows}) == 1
            if len(rows) > 1 and alike and self.tensors[rows[0]].numel <= FEW and samples.equal(rows):
                self._same_in_all(name, rows)
                continue
            for place, (rank, row) in enumerate(found):
                before = f"rank_{rank}." if place else ""
                self.parts.copy(
                    row, f"{self.prefix}{before}{name}", f"{self.prefix}{before}{self.parts.group_of(row)}".rstrip(".")
                )

    def aliases(self) -> dict[str, str]:
        """Parameters that are others under a second name, so they are in no group: second name → first."""
        shared = self.about.get("shared_params")
        names = set(self.parts.table.names)
        found: dict[str, str] = {}
        for second, first in shared.items() if isinstance(shared, dict) else ():
            one, other = f"{self.prefix}module.{second}", f"{self.prefix}module.{first}"
            if type(first) is str and one not in names and other in names:
                found[one] = other
        return found
