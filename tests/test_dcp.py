"""Distributed checkpoints: tensors from their chunks, objects as metadata, and every way in which files and index disagree."""

from __future__ import annotations

import os

import pytest

import modelscope_cli
from modelscope_cli.analysis.diff import compare
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.errors import CorruptFileError, LimitError, MissingShardError
from modelscope_cli.formats.baseline import describe
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read_target
from tests.builders.dcp_folder import (
    PATHS,
    RANKS,
    TRAINING,
    Cut,
    Piece,
    Place,
    Thing,
    dcp_files,
    dcp_parts,
    tensor_blob,
    whole,
    write,
)
from tests.builders.pickle_code import pickled
from tests.builders.torch_code import tensor
from tests.property.reading import check_analyses, check_byte_maps


@pytest.fixture
def saved(tmp_path):
    """Writes a checkpoint and reads it."""

    def make(entries, places=None, paths=None, without=(), extra=None, **attributes):
        files = {**dcp_files(entries, places, paths, **attributes), **(extra or {})}
        folder = write(tmp_path / "step", {name: data for name, data in files.items() if name not in without})
        checkpoint = modelscope_cli.read(str(folder))
        check_byte_maps(checkpoint, sum(path.stat().st_size for path in folder.iterdir() if path.name not in (extra or ())))
        check_analyses(checkpoint)
        return checkpoint

    return make


def codes(checkpoint):
    return {note.code: note.message for note in checkpoint.notes if note.severity != "info"}


def test_the_whole_of_a_training_state(saved):
    checkpoint = saved(TRAINING, paths=PATHS)
    assert codes(checkpoint) == {}
    assert [(info.name, info.shape) for info in checkpoint.tensors] == [
        ("model.norm.weight", (4,)),
        ("model.embed.weight", (10, 4)),
        ("model.layers.0.weight", (4, 4)),
        ("model.layers.1.weight", (4, 4)),
        ("optim.state.norm.weight.exp_avg", (4,)),
    ]
    assert checkpoint.ordered
    assert checkpoint.metadata == {
        "optim": {"param_groups": {"0": {"lr": 0.25}}},
        "epoch": 7,
        ".metadata": {"version": "1.0.0", "checkpoint_id": "runs/7", "save_id": "an id"},
    }
    assert checkpoint.groups == [(0, "model"), (4, "optim.state.norm.weight")]
    ledger = Ledger(checkpoint)
    assert ledger.total_parameters() == 4 + 40 + 16 + 16
    assert ledger.roles[-1] == "optimizer"
    assert set(checkpoint.sections()) == {"data", "header", "pickle", "record", "padding", "directory", "index"}
    assert checkpoint.sections()["data"] == 4 * 4 + 40 * 4 + 32 * 2 + 4 * 4


def test_pieces_tell_where_they_are(saved):
    checkpoint = saved(TRAINING, paths=PATHS)
    embed = checkpoint.tensors["model.embed.weight"]
    assert [(piece.origin, piece.shape, os.path.basename(piece.file)) for piece in embed.pieces] == [
        ((0, 0), (5, 4), RANKS[0]),
        ((5, 0), (5, 4), RANKS[1]),
    ]
    for number, piece in enumerate(embed.pieces):
        with open(piece.file, "rb") as file:
            assert file.read()[piece.start : piece.stop] == bytes([number]) * 80


def test_each_file_counts_what_lies_in_it(saved):
    ledger = Ledger(saved(TRAINING, paths=PATHS))
    files = [os.path.basename(file.path) for file in ledger.checkpoint.files]
    assert files == [*RANKS, ".metadata"]
    assert [ledger.inside(number) for number in range(3)] == [
        (20 + 8 + 8, 80 + 32),
        (20 + 8 + 8 + 4, 80 + 32 + 16 + 16),
        (0, 0),
    ]


def test_without_a_planner_the_names_are_all_there_is(saved):
    checkpoint = saved({"a.b.weight": whole((2, 3)), "lr": Thing(RANKS[0], 0.5)})
    assert not checkpoint.ordered
    assert checkpoint.groups == [(0, "")]
    assert checkpoint.metadata["lr"] == 0.5


def test_grid_of_chunks(saved):
    pieces = tuple(
        Piece(f"__{row * 2 + column}_0.distcp", (row * 3, column * 2), (3 - row, 2)) for row in (0, 1) for column in (0, 1)
    )
    checkpoint = saved({"w": Cut((5, 4), pieces)})
    assert codes(checkpoint) == {}
    assert Ledger(checkpoint).owned == [20]


def test_equal_blobs_are_read_once_and_found_at_their_own_places(saved):
    """Layers that differ in nothing but data: the bytes around the data are compared, not parsed again."""
    entries = {f"layers.{number}.weight": whole((64, 32), RANKS[number % 2]) for number in range(12)}
    checkpoint = saved(entries)
    assert codes(checkpoint) == {}
    places = [(info.file, info.start, info.stop) for info in checkpoint.tensors]
    assert len(set(places)) == 12
    for number, (file, start, stop) in enumerate(places):
        with open(file, "rb") as opened:
            assert opened.read()[start:stop] == bytes([number]) * 8192


def test_object_with_a_tensor_in_it(saved):
    held = {"state": {"exp_avg": tensor("0", (3,)), "step": 4}}
    checkpoint = saved({"weight": whole((2, 2)), "optimizer": Thing(RANKS[0], held, {"0": 12})})
    assert codes(checkpoint) == {}
    assert [(info.name, info.shape) for info in checkpoint.tensors] == [("weight", (2, 2)), ("optimizer.state.exp_avg", (3,))]
    assert checkpoint.metadata["optimizer"] == {"state": {"step": 4}}
    assert Ledger(checkpoint).roles == ["weight", "optimizer"]


def test_holes_and_overlaps_are_named(saved):
    hole = saved({"w": Cut((6, 2), (Piece(RANKS[0], (0, 0), (2, 2)), Piece(RANKS[1], (3, 0), (3, 2))))})
    assert codes(hole) == {"dcp-hole": "2 of its elements are in no chunk"}
    assert Ledger(hole).owned == [10]


def test_elements_in_two_chunks(saved):
    twice = saved({"w": Cut((4, 2), (Piece(RANKS[0], (0, 0), (3, 2)), Piece(RANKS[1], (2, 0), (2, 2))))})
    assert codes(twice) == {"dcp-twice": "2 of its elements are in more than one chunk"}
    assert Ledger(twice).owned == [8]


def test_chunk_outside_its_tensor(saved):
    beyond = saved({"w": Cut((4, 2), (Piece(RANKS[0], (0, 0), (4, 2)), Piece(RANKS[1], (4, 0), (1, 2))))})
    assert "dcp-outside" in codes(beyond)


def test_missing_file_is_named_with_what_it_held(saved):
    checkpoint = saved(TRAINING, paths=PATHS, without=[RANKS[1]])
    (problem,) = [note for note in checkpoint.notes if note.severity == "error"]
    assert problem.where == RANKS[1]
    assert "missing" in problem.message
    assert "model.norm.weight" in problem.message
    assert len(checkpoint.tensors) == 5
    assert Ledger(checkpoint).total_parameters() == 20 + 8 + 8


def test_all_files_missing(saved):
    with pytest.raises(MissingShardError):
        saved(TRAINING, without=RANKS)


def test_chunk_of_which_no_place_is_known(saved):
    _, places = dcp_parts(TRAINING)
    checkpoint = saved(TRAINING, places[1:])
    assert "does not say where its chunk at [0, 0] lies" in codes(checkpoint)["dcp-absent"]


def test_file_that_the_index_does_not_name(saved):
    checkpoint = saved({"w": whole((2,))}, extra={"__7_0.distcp": tensor_blob((2,))})
    assert "__7_0.distcp" in codes(checkpoint)["shard-unlisted"]


def test_path_that_leads_outside(saved):
    for file in ("../other.distcp", "/etc/passwd", "a/../../b", "C:\\x.distcp", "", "nul\0"):
        with pytest.raises(CorruptFileError, match="outside its folder"):
            saved({"w": whole((2,))}, [Place("w", (0,), file, 0, 10)])


def test_place_beyond_the_end_of_its_file(saved):
    _, places = dcp_parts(TRAINING)
    places[0] = places[0]._replace(length=1 << 40)
    assert "expected 1,099,511,627,776 bytes" in codes(saved(TRAINING, places))["dcp-unreadable"]


def test_blobs_that_overlap(saved):
    _, places = dcp_parts({"a": whole((2, 2)), "b": whole((2, 2))})
    places[1] = places[1]._replace(offset=places[1].offset - 64)
    checkpoint = saved({"a": whole((2, 2)), "b": whole((2, 2))}, places)
    assert "inside what lies before it" in codes(checkpoint)["dcp-overlap"]
    assert "unmapped" in checkpoint.sections()


def test_two_names_for_one_blob(saved):
    entries = {"a": whole((2, 2)), "b": whole((2, 2))}
    _, (place, _) = dcp_parts(entries)
    checkpoint = saved(entries, [place, place._replace(name="b")])
    ledger = Ledger(checkpoint)
    assert ledger.tied == {1: 0}
    assert ledger.owned == [4, 0]


def test_blob_that_is_another_tensor(saved):
    entries = {"a": whole((2, 2)), "b": whole((3,))}
    _, (first, second) = dcp_parts(entries)
    checkpoint = saved(entries, [second._replace(name="a", origin=(0, 0)), first._replace(name="b", origin=(0,))])
    assert [note.message for note in checkpoint.notes] == [
        "a chunk is float32 [3], the index says float32 [2, 2]",
        "a chunk is float32 [2, 2], the index says float32 [3]",
    ]
    assert Ledger(checkpoint).owned == [0, 0]


def test_transformed_blobs_are_bytes(saved):
    _, (place,) = dcp_parts({"w": whole((2, 2))})
    checkpoint = saved({"w": whole((2, 2))}, [place._replace(transforms=("zstd",))])
    assert codes(checkpoint) == {}
    assert Ledger(checkpoint).total_parameters() == 4
    assert checkpoint.sections()["data"] == place.length


def test_other_objects_are_no_index(tmp_path):
    (tmp_path / "__0_0.distcp").write_bytes(tensor_blob((2,)))
    (tmp_path / ".metadata").write_bytes(pickled({"torch.distributed.checkpoint": 1}))
    with pytest.raises(CorruptFileError, match="not the metadata"):
        modelscope_cli.read(str(tmp_path))


@pytest.mark.parametrize("attribute", ["state_dict_metadata", "storage_data"])
def test_index_that_lacks_its_half(saved, attribute):
    with pytest.raises(CorruptFileError):
        saved({"w": whole((2,))}, **{attribute: None})


def test_too_many_full_reads_are_refused(tmp_path):
    entries = {f"step {number}": Thing(RANKS[0], f"value {number}") for number in range(30)}
    folder = write(tmp_path / "step", dcp_files({"w": whole((2,)), **entries}))
    limits = modelscope_cli.Limits(nested_files=10)
    with pytest.raises(LimitError, match="nested files"):
        modelscope_cli.read(str(folder), limits=limits)


# What a path leads to ----------------------------------------------------------------------------------------------------


def test_any_file_of_it_leads_to_the_whole(tmp_path):
    folder = write(tmp_path / "step", dcp_files(TRAINING))
    for name in (RANKS[0], RANKS[1], ".metadata"):
        assert len(modelscope_cli.read(str(folder / name)).tensors) == 5


def test_only_one_file_of_it(tmp_path):
    folder = write(tmp_path / "step", dcp_files(TRAINING))
    targets = locate([str(folder / RANKS[0])], only=True)
    checkpoint = read_target(targets.found[0])
    assert [info.name for info in checkpoint.tensors] == [
        "model.embed.weight", "model.layers.0.weight", "model.layers.1.weight",
    ]  # fmt: skip
    assert checkpoint.tensors["model.embed.weight"].shape == (10, 4)
    assert Ledger(checkpoint).total_parameters() == 20 + 8 + 8
    assert codes(checkpoint) == {}


def test_only_takes_each_file_it_is_given(tmp_path):
    folder = write(tmp_path / "step", dcp_files(TRAINING))
    paths = [str(folder / name) for name in RANKS]
    assert len(locate(paths, only=True).found) == 2
    assert len(locate(paths).found) == 1


def test_file_without_its_index(tmp_path):
    files = dcp_files(TRAINING)
    write(tmp_path, {RANKS[1]: files[RANKS[1]]})
    checkpoint = modelscope_cli.read(str(tmp_path / RANKS[1]))
    check_byte_maps(checkpoint, len(files[RANKS[1]]))
    assert checkpoint.format == "dcp-part"
    assert [info.shape for info in checkpoint.tensors] == [(5, 4), (2, 4), (2, 4), (4,), (4,)]
    assert checkpoint.metadata == {"blob 5": 7}
    assert "unmapped" not in checkpoint.sections()
    assert "the .metadata that belongs to it" in codes(checkpoint)["dcp-part"]


def test_ranks_that_saved_by_themselves(tmp_path):
    files = {}
    for rank in (0, 1):
        made = dcp_files({"w": whole((2, rank + 1), f"__{rank}_0.distcp")})
        files |= {f"__{rank}_0.distcp": made[f"__{rank}_0.distcp"], f"__{rank}.metadata": made[".metadata"]}
    folder = write(tmp_path / "step", files)
    found = locate([str(folder)]).found
    assert [os.path.basename(target.path) for target in found] == ["__0.metadata", "__1.metadata"]


def test_folder_of_steps_takes_the_last(tmp_path):
    for step in (9, 10, 2):
        write(tmp_path / f"step-{step}", dcp_files({"w": whole((step,))}))
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert checkpoint.tensors["w"].shape == (10,)
    (note,) = [note for note in checkpoint.notes if note.code == "steps"]
    assert "step-9, step-2" in note.message


def test_weights_and_optimizer_in_folders_of_their_own(tmp_path):
    write(tmp_path / "optimizer_0", dcp_files({"state.w.exp_avg": whole((2,))}))
    write(tmp_path / "pytorch_model_fsdp_0", dcp_files({"w": whole((2,))}))
    (target,) = locate([str(tmp_path)]).found
    assert target.path.endswith("pytorch_model_fsdp_0")
    assert [entry.names for entry in target.in_folder.entries if entry.what == "optimizer state"] == [("optimizer_0/",)]
    (alone,) = locate([str(tmp_path / "optimizer_0")]).found
    assert alone.path.endswith("optimizer_0")


def test_baseline_of_pieces(tmp_path):
    """A description says which pieces lie where, and reads back as the same checkpoint."""
    folder = write(tmp_path / "step", dcp_files(TRAINING, paths=PATHS))
    old = modelscope_cli.read(str(folder))
    path = tmp_path / "saved.baseline.json"
    path.write_bytes(describe(old))
    new = modelscope_cli.read(str(path))
    check_analyses(new)
    books = [Ledger(checkpoint) for checkpoint in (old, new)]
    assert books[0].total_parameters() == books[1].total_parameters()
    assert [books[0].inside(number) for number in range(3)] == [books[1].inside(number) for number in range(3)]
    assert not compare(books[0], books[1]).changes


def test_merged_is_not_changed(tmp_path):
    """The same model in one file differs in the container, not in its tensors."""
    folder = write(tmp_path / "step", dcp_files({"embed.weight": TRAINING["model.embed.weight"]}))
    one = write(tmp_path / "one", dcp_files({"embed.weight": whole((10, 4))}))
    pair = [Ledger(modelscope_cli.read(str(place))) for place in (folder, one)]
    assert not compare(*pair).changes
