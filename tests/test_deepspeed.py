"""DeepSpeed ZeRO: parameters found in flat groups, padding labelled, and what does not fit together named."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelscope_cli
from modelscope_cli.analysis.diff import compare
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.baseline import describe
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.zero_plan import group_shapes, partitions, stage_2, stage_3, zero_stage
from tests.builders.dcp_folder import write
from tests.builders.pickle_code import call
from tests.builders.sets import ZERO_SHAPES, zero_files
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.property.reading import check_analyses

NUMEL = sum(math.prod(shape) for group in ZERO_SHAPES for shape in group.values())


def codes(checkpoint):
    return {note.code: note.message for note in checkpoint.notes if note.severity != "info"}


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_every_parameter_once(tmp_path, stage, ranks):
    files = zero_files(ZERO_SHAPES, ranks, stage=stage)
    checkpoint = modelscope_cli.read(str(write(tmp_path / "global_step1", files)))
    assert codes(checkpoint) == {}
    check_analyses(checkpoint)
    ledger = Ledger(checkpoint)
    assert ledger.total_parameters() == NUMEL
    roles = ledger.by_role()
    assert roles["optimizer"][1] == NUMEL
    assert ("master" in roles) == (stage < 3)
    assert checkpoint.sections()["data"] == sum(ledger.nbytes)


def test_pieces_follow_the_partition(tmp_path):
    checkpoint = modelscope_cli.read(str(write(tmp_path, zero_files(ZERO_SHAPES, 2))))
    pieces = {info.name: [(piece.origin, piece.shape) for piece in info.pieces] for info in checkpoint.tensors}
    assert pieces["fp32_groups.embed.weight"] == [((0,), (15,))]
    assert pieces["fp32_groups.layers.0.weight"] == [((0,), (3,)), ((3,), (6,))]


def test_parameters_under_a_second_name(tmp_path):
    files = zero_files(ZERO_SHAPES, 2, about={"shared_params": {"head.weight": "embed.weight", "gone": "nowhere"}})
    assert modelscope_cli.read(str(write(tmp_path, files))).aliases == {"module.head.weight": "module.embed.weight"}


def test_a_rank_that_is_not_there(tmp_path):
    files = zero_files(ZERO_SHAPES, 3)
    del files["zero_pp_rank_1_mp_rank_00_optim_states.pt"]
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "cut for 3 ranks; the parts of 1 are not here (rank 1)" in codes(checkpoint)["zero-rank-missing"]
    check_analyses(checkpoint)
    assert Ledger(checkpoint).total_parameters() == NUMEL


def test_shapes_that_need_more_than_there_is(tmp_path):
    files = zero_files(ZERO_SHAPES, 2)
    more = zero_files([{**ZERO_SHAPES[0], "head.weight": (50, 3)}, ZERO_SHAPES[1]], 2)
    files["mp_rank_00_model_states.pt"] = more["mp_rank_00_model_states.pt"]
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "elements less than the shapes" in codes(checkpoint)["zero-short"]
    check_analyses(checkpoint)


def test_groups_that_hold_more_than_padding_explains(tmp_path):
    files = zero_files(ZERO_SHAPES, 2)
    less = zero_files([{"embed.weight": (5, 3)}, ZERO_SHAPES[1]], 2)
    files["mp_rank_00_model_states.pt"] = less["mp_rank_00_model_states.pt"]
    assert "more than padding explains" in codes(modelscope_cli.read(str(write(tmp_path, files))))["zero-spare"]


def test_without_shapes_the_groups_stay_flat(tmp_path):
    files = zero_files(ZERO_SHAPES, 2, about={"param_shapes": None})
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "zero-unmapped" in codes(checkpoint)
    assert "optimizer_state_dict.single_partition_of_fp32_groups.0" in checkpoint.tensors.names
    check_analyses(checkpoint)


def test_model_states_lost(tmp_path):
    files = zero_files(ZERO_SHAPES, 2)
    del files["mp_rank_00_model_states.pt"]
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "zero-unmapped" in codes(checkpoint)
    check_analyses(checkpoint)


def test_slices_for_tensor_parallelism_are_kept_apart(tmp_path):
    files = zero_files(ZERO_SHAPES, 1)
    files |= {name.replace("mp_rank_00", "mp_rank_01"): data for name, data in files.items()}
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "slices-apart" in codes(checkpoint)
    assert {"slice_0.module.embed.weight", "slice_1.module.embed.weight"} <= set(checkpoint.tensors.names)
    check_analyses(checkpoint)


def test_far_more_ranks_than_files(tmp_path):
    """The number of ranks is a claim."""
    files = zero_files(ZERO_SHAPES, 1, stage=3)
    state = {"zero_stage": 3, "partition_count": 9_000, "fp32_flat_groups": [tensor("0", (4,))]}
    files["zero_pp_rank_0_mp_rank_00_optim_states.pt"] = torch_zip_bytes({"optimizer_state_dict": state}, {"0": 16})
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    assert "8,999 are not here" in codes(checkpoint)["zero-rank-missing"]
    with pytest.raises(LimitError, match="objects"):
        modelscope_cli.read(str(tmp_path), limits=modelscope_cli.Limits(objects=1_000))


# What a path leads to ----------------------------------------------------------------------------------------------------


def test_the_folder_that_latest_names(tmp_path):
    for step in (5, 40, 30):
        write(tmp_path / f"global_step{step}", zero_files(ZERO_SHAPES, 1))
    assert locate([str(tmp_path)]).found[0].folder.endswith("global_step40")
    (tmp_path / "latest").write_text("global_step30\n")
    (target,) = locate([str(tmp_path)]).found
    assert target.folder.endswith("global_step30")
    assert "the file latest names" in target.notes[0].message


def test_any_file_leads_to_the_set(tmp_path):
    write(tmp_path, zero_files(ZERO_SHAPES, 2))
    path = str(tmp_path / "zero_pp_rank_1_mp_rank_00_optim_states.pt")
    assert len(modelscope_cli.read(path).files) == 3
    (alone,) = locate([path], only=True).found
    assert alone.reader is None


@pytest.mark.parametrize("stage", [2, 3])
def test_baseline_of_flat_groups(tmp_path, stage):
    """Many tensors on one storage, and each on several of several files."""
    old = modelscope_cli.read(str(write(tmp_path / "step", zero_files(ZERO_SHAPES, 3, stage=stage))))
    path = tmp_path / "saved.baseline.json"
    path.write_bytes(describe(old))
    new = modelscope_cli.read(str(path))
    check_analyses(new)
    assert not compare(old, new).changes
    books = [Ledger(checkpoint) for checkpoint in (old, new)]
    assert [[ledger.inside(number) for number in range(len(old.files))] for ledger in books[:1]] == [
        [ledger.inside(number) for number in range(len(old.files))] for ledger in books[1:]
    ]


# The plan ----------------------------------------------------------------------------------------------------------------

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=5)


def numbered(shapes):
    return {f"p{number}": shape for number, shape in enumerate(shapes)}


def gathered(plan, vectors):
    """Every parameter from its runs, out of vectors[rank][group]."""
    found = {}
    for name, shape in plan.shapes.items():
        whole = [None] * math.prod(shape)
        for rank, group, start, length, origin in plan.runs[name]:
            whole[origin : origin + length] = vectors[rank][group][start : start + length]
        found[name] = whole
    return found


@given(st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 3))
@settings(deadline=None, derandomize=True, database=None, max_examples=200)
def test_stage_2_against_laying_it_out(groups, ranks, spare):
    shapes = [{f"g{group}.{name}": shape for name, shape in numbered(listed).items()} for group, listed in enumerate(groups)]
    vectors = [[] for _ in range(ranks)]
    expected = {}
    for inside in shapes:
        flat = []
        for name, shape in inside.items():
            expected[name] = [(name, at) for at in range(math.prod(shape))]
            flat += expected[name]
        flat += ["pad"] * (-len(flat) % ranks + spare * ranks)
        for rank in range(ranks):
            vectors[rank].append(flat[rank * len(flat) // ranks : (rank + 1) * len(flat) // ranks])
    plan = stage_2(shapes, [[len(group) for group in rank] for rank in vectors])
    assert plan.short == 0
    assert gathered(plan, vectors) == expected
    for (rank, group), spans in plan.spans.items():
        held = {at for start, stop in spans for at in range(start, stop)}
        assert held == {at for at, value in enumerate(vectors[rank][group]) if value != "pad"}


@given(SHAPES, st.integers(1, 5), st.integers(1, 9))
@settings(deadline=None, derandomize=True, database=None, max_examples=200)
def test_stage_3_against_laying_it_out(listed, ranks, largest):
    shapes = numbered(listed)
    lines = [[] for _ in range(ranks)]
    expected = {}
    for name, shape in shapes.items():
        whole = [(name, at) for at in range(math.prod(shape))]
        expected[name] = whole
        part = -(-len(whole) // ranks)
        for rank, line in enumerate(lines):
            mine = whole[rank * part : (rank + 1) * part]
            line += mine + ["pad"] * (part - len(mine))
    vectors = [[line[at : at + largest] for at in range(0, len(line), largest)] for line in lines]
    plan = stage_3(shapes, [[len(group) for group in rank] for rank in vectors])
    assert plan.short == 0
    assert gathered(plan, vectors) == expected
    for (rank, group), spans in plan.spans.items():
        held = {at for start, stop in spans for at in range(start, stop)}
        assert held == {at for at, value in enumerate(vectors[rank][group]) if value != "pad"}


def test_claims_of_the_state():
    assert zero_stage({"zero_stage": 2}) == 2
    assert zero_stage({"zero_stage": "deepspeed.runtime.zero.config.ZeroStageEnum(3)"}) == 3
    assert zero_stage({}) == 0
    assert partitions({"partition_count": [4, 2]}) == 4
    assert partitions({"partition_count": True}) == 0
    assert group_shapes({"a": [2, 3]}) == [{"a": (2, 3)}]
    assert group_shapes({"0": {"a": [2]}, "1": {"b": [-1], "c": "x"}}) == [{"a": (2,)}, {}]
    assert group_shapes("text") == []


def test_stage_as_an_enum(tmp_path):
    files = zero_files(ZERO_SHAPES, 1, about={"stage": call("deepspeed.runtime.zero.config.ZeroStageEnum", 2)})
    assert codes(modelscope_cli.read(str(write(tmp_path, files)))) == {}
