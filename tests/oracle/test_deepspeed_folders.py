"""DeepSpeed ZeRO checkpoints against the parameters that went into them."""

from __future__ import annotations

import pytest
import torch

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from tests.oracle.pieces import same_tensor
from tests.oracle.zero_files import stage_2_files, stage_3_files


def model():
    """Two groups, with sizes that do not divide by anything."""
    torch.manual_seed(5)
    decayed = {
        "embed.weight": torch.randn(13, 7),
        "layers.0.weight": torch.randn(7, 7),
        "layers.1.weight": torch.randn(7, 7),
        "head.weight": torch.randn(13, 7),
    }
    plain = {"layers.0.bias": torch.randn(7), "layers.1.bias": torch.randn(7), "scale": torch.randn(())}
    return [decayed, plain], {"position_ids": torch.arange(5)}


def assert_as_saved(folder, groups, buffers, weights: str, optimizer: str) -> Ledger:
    checkpoint = modelscope_cli.read(str(folder))
    assert [note.code for note in checkpoint.notes if note.severity != "info"] == []
    assert checkpoint.format == "deepspeed"
    index = {name: number for number, name in enumerate(checkpoint.tensors.names)}
    together = {name: tensor for group in groups for name, tensor in group.items()}
    for name, tensor in together.items():
        assert same_tensor(checkpoint, index[f"{weights}.{name}"], tensor), name
        assert same_tensor(checkpoint, index[f"{optimizer}.{name}.exp_avg"], tensor + 1), name
        assert same_tensor(checkpoint, index[f"{optimizer}.{name}.exp_avg_sq"], tensor + 2), name
    ledger = Ledger(checkpoint)
    assert ledger.total_parameters() == sum(tensor.numel() for tensor in together.values())
    roles = dict(zip(ledger.names, ledger.roles, strict=True))
    assert {roles[f"{optimizer}.{name}.exp_avg"] for name in together} == {"optimizer"}
    for name in buffers:
        assert roles[f"module.{name}"] == "buffer"
    assert sum(checkpoint.sections().values()) == sum(path.stat().st_size for path in folder.iterdir())
    assert checkpoint.sections()["data"] == sum(ledger.nbytes)
    return ledger


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize(("stage", "prefix"), [(1, ""), (2, ""), (1, "bf16_")])
def test_stages_1_and_2(tmp_path, ranks, stage, prefix):
    groups, buffers = model()
    folder = tmp_path / "global_step12"
    stage_2_files(folder, groups, buffers, ranks, stage, prefix)
    ledger = assert_as_saved(folder, groups, buffers, "fp32_groups", "optimizer_state_dict.base_optimizer_state.state")
    roles = dict(zip(ledger.names, ledger.roles, strict=True))
    assert roles["fp32_groups.embed.weight"] == "master"
    assert roles["module.embed.weight"] == "weight"
    assert ledger.dtypes[ledger.names.index("module.embed.weight")].name == "float16"


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("largest", [10**9, 20, 7])
def test_stage_3(tmp_path, ranks, largest):
    groups, buffers = model()
    folder = tmp_path / "global_step12"
    stage_3_files(folder, groups, buffers, ranks, largest)
    assert_as_saved(folder, groups, buffers, "module", "optimizer_state_dict.optimizer_state_dict.state")


def test_frozen_parameters_of_stage_3(tmp_path):
    groups, buffers = model()
    frozen = {"lower.weight": torch.randn(5, 3), "lower.bias": torch.randn(5)}
    stage_3_files(tmp_path, groups, buffers, 4, frozen=frozen)
    checkpoint = modelscope_cli.read(str(tmp_path))
    for name, tensor in frozen.items():
        assert same_tensor(checkpoint, checkpoint.tensors.names.index(f"module.{name}"), tensor.half())
    expected = sum(tensor.numel() for group in [*groups, frozen] for tensor in group.values())
    assert Ledger(checkpoint).total_parameters() == expected


def test_a_lost_rank(tmp_path):
    groups, buffers = model()
    stage_2_files(tmp_path, groups, buffers, 4)
    (tmp_path / "zero_pp_rank_2_mp_rank_00_optim_states.pt").unlink()
    checkpoint = modelscope_cli.read(str(tmp_path))
    (problem,) = [note for note in checkpoint.notes if note.severity == "error"]
    assert "rank 2" in problem.message
    ledger = Ledger(checkpoint)
    assert ledger.total_parameters() == sum(tensor.numel() for group in groups for tensor in group.values())
    master = sum(owned for owned, role in zip(ledger.owned, ledger.roles, strict=True) if role == "master")
    assert 0 < master < ledger.total_parameters()
