"""Distributed checkpoints against torch: from several ranks, and from one in every way of writing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import SerializationFormat
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from tests.oracle.compare import named_tensors
from tests.oracle.pieces import same_tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder of checkpoints that four processes have written."""
    if sys.platform == "win32":
        pytest.skip("gloo meets through a file")
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.oracle.ranks", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, timeout=300)
    return folder


def assert_as_merged(folder: Path, tmp_path: Path) -> None:
    """What torch makes of a checkpoint when it merges it into one file is what we read without merging."""
    merged = tmp_path / "merged.pt"
    dcp_to_torch_save(folder, merged)
    expected = named_tensors(torch.load(merged, weights_only=False))
    checkpoint = modelscope_cli.read(str(folder))
    assert not [note for note in checkpoint.notes if note.severity != "info"]
    assert sorted(info.name for info in checkpoint.tensors) == sorted(expected)
    for index, name in enumerate(checkpoint.tensors.names):
        assert same_tensor(checkpoint, index, expected[name][0]), name
    assert checkpoint.elements == sum(tensor.numel() for tensor, _ in expected.values())
    assert_accounted(checkpoint, folder)
    ours, theirs = Ledger(checkpoint), Ledger(modelscope_cli.read(str(merged)))
    assert ours.total_parameters() == theirs.total_parameters()
    books = [{name: (ledger.roles[i], ledger.owned[i]) for i, name in enumerate(ledger.names)} for ledger in (ours, theirs)]
    assert books[0] == books[1]
    assert checkpoint.metadata == {**theirs.checkpoint.metadata, ".metadata": checkpoint.metadata[".metadata"]}


def assert_accounted(checkpoint, folder: Path) -> None:
    """Every byte of every file carries one label, and none is left over."""
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {os.path.basename(file.path): file.nbytes for file in checkpoint.files} == files
    for file, byte_map in zip(checkpoint.files, checkpoint.byte_maps, strict=True):
        position = 0
        for region in byte_map.regions:
            assert region.start == position
            position = region.stop
        assert position == file.nbytes
        sums: dict[str, int] = {}
        for start, stop, label in byte_map.regions:
            sums[label] = sums.get(label, 0) + stop - start
        assert byte_map.totals() == sums
        assert "unmapped" not in sums


@pytest.mark.parametrize("name", ["plain", "grid", "threads", "single", "fsdp"])
def test_written_by_four_ranks(ranks, name, tmp_path):
    assert_as_merged(ranks / name, tmp_path)


def test_names_in_the_order_of_the_model(ranks):
    """The order of .metadata is that of the ranks; that of the model is kept by what its names were flattened from."""
    held = torch.load(ranks / "fsdp_rank_0.pt", weights_only=False)
    names = modelscope_cli.read(str(ranks / "fsdp")).tensors.names
    assert names[: len(held)] == [f"model.{name}" for name in held]


def test_written_as_safetensors_by_four_ranks(ranks):
    checkpoint = modelscope_cli.read(str(ranks / "huggingface"))
    assert checkpoint.notes == []
    whole = {"a.weight": torch.arange(101.0 * 16).reshape(101, 16), "b.weight": torch.arange(140.0).reshape(10, 14)}
    assert checkpoint.tensors.names == list(whole)
    for index, tensor in enumerate(whole.values()):
        assert same_tensor(checkpoint, index, tensor)
    assert_accounted(checkpoint, ranks / "huggingface")


def test_local_tensors_of_one_rank(ranks):
    """A state_dict of DTensors, saved by each rank with torch.save: the shape of the whole, and the bytes that are here."""
    path = ranks / "fsdp_rank_1.pt"
    held = torch.load(path, weights_only=False)
    checkpoint = modelscope_cli.read(str(path))
    ledger = Ledger(checkpoint)
    index = {name: number for number, name in enumerate(ledger.names)}
    for name, tensor in held.items():
        local = tensor.to_local() if isinstance(tensor, torch.distributed.tensor.DTensor) else tensor
        assert checkpoint.tensors.shapes[index[name]] == tuple(tensor.shape)
        assert ledger.owned[index[name]] == local.numel()
        assert ledger.nbytes[index[name]] == local.nbytes


def test_pieces_of_a_row_sharded_tensor(ranks):
    checkpoint = modelscope_cli.read(str(ranks / "plain"))
    rows = checkpoint.tensors["rows"]
    assert [(piece.origin, piece.shape) for piece in rows.pieces] == [
        ((0, 0), (26, 16)), ((26, 0), (26, 16)), ((52, 0), (26, 16)), ((78, 0), (23, 16)),
    ]  # fmt: skip
    assert [os.path.basename(piece.file) for piece in rows.pieces] == [f"__{rank}_0.distcp" for rank in range(4)]
    assert checkpoint.tensors["same"].pieces == ()


def test_a_lost_file_takes_its_pieces_with_it(ranks, tmp_path):
    for path in (ranks / "fsdp").iterdir():
        if path.name != "__2_0.distcp":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    whole, checkpoint = modelscope_cli.read(str(ranks / "fsdp")), modelscope_cli.read(str(tmp_path))
    (problem,) = [note for note in checkpoint.notes if note.severity == "error"]
    assert problem.where == "__2_0.distcp"
    assert "missing" in problem.message
    assert "model.0.weight" in problem.message
    assert checkpoint.tensors.names == whole.tensors.names
    assert checkpoint.tensors.shapes == whole.tensors.shapes
    held = torch.load(ranks / "fsdp_rank_2.pt", weights_only=False)
    here = sum(tensor.to_local().numel() for tensor in held.values() if isinstance(tensor, torch.distributed.tensor.DTensor))
    assert Ledger(checkpoint).total_parameters() == Ledger(whole).total_parameters() - here


def training_state():
    """A module and its optimizer after a step, and plain values of many kinds."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2))
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True)
    model(torch.ones(4, 7)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "half": torch.ones(3, 5, dtype=torch.float16).t(),
        "big": torch.arange(5000, dtype=torch.int64),
        "big too": torch.arange(5000, dtype=torch.int64) + 1,
        "part": torch.arange(100.0)[10:30],
        "epoch": 4,
        "lr": 0.25,
        "words": ["a", "b"],
        "nothing": None,
    }


WRITERS = {
    "as it is": {},
    "threads": {"thread_count": 3},
    "a file an item": {"single_file_per_rank": False},
}


@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS)
def test_written_by_one_process(options, tmp_path):
    folder = tmp_path / "saved"
    dcp.save(training_state(), storage_writer=dcp.FileSystemWriter(folder, **options), no_dist=True)
    assert_as_merged(folder, tmp_path)


def test_every_dtype(tmp_path):
    kinds = [getattr(torch, name) for name in (
        "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16", "int8", "uint8",
        "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
    )]  # fmt: skip
    state = {str(kind): torch.zeros(3, 2).to(kind) for kind in kinds}
    folder = tmp_path / "saved"
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    assert_as_merged(folder, tmp_path)


def test_names_that_were_not_flattened(tmp_path):
    """Objects that hold tensors are pickled whole; their tensors are found in the blob."""
    state = {"w": torch.ones(2, 3), "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 3), "step": 5}}, "lr": 0.5}}
    writer = dcp.FileSystemWriter(tmp_path)
    dcp.save(state, storage_writer=writer, planner=DefaultSavePlanner(flatten_state_dict=False), no_dist=True)
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert [(info.name, info.shape) for info in checkpoint.tensors] == [("w", (2, 3)), ("optimizer.state.0.exp_avg", (2, 3))]
    assert checkpoint.metadata["optimizer"] == {"state": {"0": {"step": 5}}, "lr": 0.5}
    assert_accounted(checkpoint, tmp_path)


def test_tensors_in_safetensors(tmp_path):
    """The other serialisation: the index gives lengths, and one place for all tensors of a file."""
    writer = dcp.FileSystemWriter(tmp_path, serialization_format=SerializationFormat.SAFETENSORS)
    state = {"model": {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}, "epoch": 4}
    dcp.save(state, storage_writer=writer, no_dist=True)
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert not [note for note in checkpoint.notes if note.severity != "info"]
    assert [info.name for info in checkpoint.tensors] == ["model.a", "model.b"]
    for index, tensor in enumerate(state["model"].values()):
        assert same_tensor(checkpoint, index, tensor)
    assert checkpoint.metadata["epoch"] == 4
    assert_accounted(checkpoint, tmp_path)


def test_a_file_without_its_index(tmp_path):
    """The blobs are found one behind another; only the names are lost."""
    state = training_state()
    dcp.save(state, checkpoint_id=tmp_path / "saved", no_dist=True)
    path = tmp_path / "__0_0.distcp"
    path.write_bytes((tmp_path / "saved" / "__0_0.distcp").read_bytes())
    found, whole = modelscope_cli.read(str(path)), modelscope_cli.read(str(tmp_path / "saved"))
    assert found.format == "dcp-part"
    assert sorted(found.tensors.shapes) == sorted(whole.tensors.shapes)
    assert found.byte_maps[0].totals() == whole.byte_maps[0].totals()
    assert found.byte_maps[0].regions == whole.byte_maps[0].regions
    assert 0.25 in found.metadata.values()
