"""Sets of files whose claims about each other are absurd: tensor-parallel slices, DeepSpeed's flat groups, distributed safetensors."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.builders.dcp_folder import write
from tests.builders.pickle_code import call, laughs
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.sets import LLAMA, ZERO_SHAPES, distributed_safetensors, llama_slices, state_file, zero_files
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes


@pytest.fixture
def measured(bounded, tmp_path):
    """Writes a folder, inspects it, and checks that the answer came in time, within memory and in words."""

    def run(files):
        write(tmp_path / "bomb", files)
        return bounded(b"", "bomb")

    return run


# Slices ------------------------------------------------------------------------------------------------------------------


def test_many_slices_of_many_tensors(measured):
    shapes = {f"layers.{number}.kernel.weight": (2, 8) for number in range(1_500)}
    assert measured(llama_slices(40, shapes={**shapes, "norm.weight": (8,)})).code == 0


def test_parameters_that_are_no_parameters(measured):
    for params in (b"[" * 100_000, b'{"dim": 1e999, "x": {"y": []}}', b'{"dim": ' + b"9" * 100_000 + b"}", b"\xff\xfe", b""):
        assert measured({**llama_slices(), "params.json": params}).code == 0


def test_large_parameters(measured):
    assert measured({**llama_slices(), "params.json": b'{"dim": 8, "x": "' + b"y" * (64 << 20) + b'"}'}).code == 0


def test_extents_without_elements(measured):
    """Nothing is stored, so any extent can be claimed."""
    shapes = {"a.weight": (1 << 61, 0), "b.weight": (0, 1 << 61), "c.weight": (0,) * 900, "norm.weight": (8,)}
    assert measured(llama_slices(3, shapes=shapes)).code == 0


def test_slices_that_have_nothing_in_common(measured):
    files = llama_slices(2)
    files["consolidated.01.pth"] = torch_zip_bytes({"norm.weight": tensor("0", (2, 2)), "wq.weight": 5}, {"0": 16})
    assert measured(files).code == 0


def test_numbers_far_apart(measured):
    data = state_file(LLAMA)
    found = measured({"consolidated.00.pth": data, "consolidated.99.pth": data})
    assert found.code == 3
    assert found.printed < 1 << 16


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs, and links need a privilege")
def test_slices_that_are_something_else(bounded, tmp_path):
    folder = write(tmp_path / "bomb", llama_slices(4))
    for number in (1, 2, 3):
        (folder / f"consolidated.0{number}.pth").unlink()
    os.mkfifo(folder / "consolidated.01.pth")
    (folder / "consolidated.02.pth").symlink_to("consolidated.02.pth")
    (folder / "consolidated.03.pth").mkdir()
    os.mkfifo(folder / "params.json")
    assert bounded(b"", "bomb").code == 3


def test_slice_that_would_run_a_command(measured, inspect, tmp_path):
    canary = tmp_path / "canary"
    files = {**llama_slices(), "consolidated.02.pth": torch_zip_bytes({"norm.weight": call("os.system", f"touch {canary}")})}
    measured(files)
    assert "os.system" in inspect(tmp_path / "bomb").stdout
    assert not canary.exists()


def test_names_with_escapes(measured, inspect, tmp_path):
    measured(llama_slices(shapes={"a.\x1b[31mwq.weight": (4, 8), "\u202ekernel": (5, 5), "norm.weight": (8,)}))
    for arguments in ((), ("-f", "json"), ("--by", "shard")):
        out = inspect(tmp_path / "bomb", *arguments).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out


# DeepSpeed ---------------------------------------------------------------------------------------------------------------


def test_far_too_many_ranks(measured):
    shapes = [{f"layers.{number}.weight": (3,) for number in range(20_000)}]
    state = {"zero_stage": 3, "partition_count": 9_999, "fp32_flat_groups": [tensor("0", (4,))]}
    files = zero_files(shapes, 1, stage=3)
    files["zero_pp_rank_0_mp_rank_00_optim_states.pt"] = torch_zip_bytes({"optimizer_state_dict": state}, {"0": 16})
    found = measured(files)
    assert found.code == 3
    assert "objects" in found.err


def test_astronomic_number_of_ranks(measured):
    state = {"zero_stage": 2, "partition_count": [1 << 60], "single_partition_of_fp32_groups": [tensor("0", (4,))]}
    files = zero_files(ZERO_SHAPES, 1)
    files["zero_pp_rank_0_mp_rank_00_optim_states.pt"] = torch_zip_bytes({"optimizer_state_dict": state}, {"0": 16})
    assert measured(files).code == 3


def test_astronomic_shapes(measured):
    listed = [{"a": call("torch.Size", (1 << 61,) * 50), "b": call("torch.Size", (0, 1 << 61)), "c": call("torch.Size", (-1,))}]
    assert measured(zero_files(ZERO_SHAPES, 2, about={"param_shapes": listed})).code == 3


def test_shapes_that_are_none(measured):
    for listed in (5, "text", [[1, 2]], {"a": {"b": {"c": 1}}}, laughs(40, 2, (0, 0)), [{"a": laughs(40, 2, (0, 0))}]):
        measured(zero_files(ZERO_SHAPES, 2, about={"param_shapes": listed}))


def test_many_tiny_parameters(measured):
    shapes = [{f"layers.{number}.scale": () for number in range(40_000)}]
    assert measured(zero_files(shapes, 8)).code == 0


def test_optimizer_that_would_run_a_command(measured, inspect, tmp_path):
    canary = tmp_path / "canary"
    files = zero_files(ZERO_SHAPES, 1, about={"param_shapes": call("os.system", f"touch {canary}")})
    measured(files)
    assert "os.system" in inspect(tmp_path / "bomb").stdout
    assert not canary.exists()


def test_latest_that_leads_elsewhere(bounded, tmp_path):
    write(tmp_path / "bomb" / "global_step1", zero_files(ZERO_SHAPES, 1))
    for text in (b"../../..", b"/etc", b"\0" * 5_000_000, b"\xff" * 300, b""):
        (tmp_path / "bomb" / "latest").write_bytes(text)
        assert bounded(b"", "bomb").code == 0


# Distributed safetensors -------------------------------------------------------------------------------------------------


def test_pieces_that_begin_beyond_everything(measured):
    assert measured(distributed_safetensors([{"a": ((1 << 61, 0), (2, 4))}, {"a": ((0, (1 << 62) - 1), (2, 4))}])).code == 3


def test_origins_that_are_none(measured):
    for text in (
        "[]",
        "{}",
        '{"a": {"saved_offsets": [0.5, "x"]}}',
        '{"a": 5}',
        "[" * 100_000,
        '{"a": {"saved_offsets": [1e999]}}',
    ):
        data = safetensors_bytes({"a": ("F32", (2, 2))}, {"DCP_SHARDING_INFO": text})
        assert measured({f"shard-0000{rank}-model-00001-of-00001.safetensors": data for rank in (1, 2)}).code == 3


def test_many_pieces_of_one_tensor(measured):
    pieces = [{"a": ((rank, 0), (1, 4)), "b": ((0, rank), (4, 1))} for rank in range(600)]
    assert measured(distributed_safetensors(pieces)).code == 0


def test_long_list_of_origins(measured):
    info = json.dumps({f"w{number}": {"saved_offsets": [number]} for number in range(400_000)})
    data = safetensors_bytes({"w0": ("F32", (1,))}, {"DCP_SHARDING_INFO": info})
    assert measured({"shard-00001-model-00001-of-00001.safetensors": data}).code == 0
