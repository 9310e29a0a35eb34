"""Which models are taken: of networks that are trained together, of runs, of precisions, of folders of logs."""

from __future__ import annotations

import pytest

from modelscope_cli.core.folder import OTHER, RUN, SAME, STEP
from modelscope_cli.formats.folder import MOST_MODELS
from modelscope_cli.formats.locate import locate
from tests.builders.archives import tarred
from tests.builders.folders import diffusers, pickled, quantisations, safe, trainer, write
from tests.builders.samples import SAMPLES
from tests.command import mscope
from tests.test_folder import told, used


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["best_discriminator.pth", "best_generator.pth"], ["best_discriminator.pth", "best_generator.pth"]),
        (["final_text_encoder.pth", "final_unet.pth", "final_vae.pth"], ["final_text_encoder.pth", "final_unet.pth", "final_vae.pth"]),
        (["best_fold0.pth", "best_fold1.pth"], ["best_fold0.pth", "best_fold1.pth"]),
        (
            [f"{step}_net_{net}.pth" for step in (5, 10, "latest") for net in ("D_A", "G_A", "G_B")],
            ["latest_net_D_A.pth", "latest_net_G_A.pth", "latest_net_G_B.pth"],
        ),
        (["5_net_G.pth", "10_net_G.pth"], ["10_net_G.pth"]),
        (["epoch=8-val_loss=0.31.ckpt", "epoch=10-val_loss=0.35.ckpt", "last.ckpt"], ["last.ckpt"]),
        (["best_bbox_mAP_epoch_11.pth", "epoch_1.pth", "epoch_12.pth"], ["best_bbox_mAP_epoch_11.pth"]),
    ],
)  # fmt: skip
def test_networks_that_are_trained_together_all_come(names, taken, tmp_path):
    assert used(write(tmp_path, {name: pickled() for name in names})) == taken


@pytest.mark.parametrize(
    ("names", "taken", "why"),
    [
        (("checkpoint-100", "checkpoint-best", "checkpoint-last"), "checkpoint-best", "the one called the best of 3 steps"),
        (("checkpoint-100", "checkpoint-200", "final"), "final", "the one called the last of 3 steps"),
        (("1", "2", "10"), "10", "the last of 3 steps"),
    ],
)
def test_steps_in_folders(names, taken, why, tmp_path):
    write(tmp_path, {f"{name}/model.safetensors": safe() for name in names})
    said = told(tmp_path)
    assert used(tmp_path) == [f"{taken}/model.safetensors"]
    assert said.pop(f"{taken}/model.safetensors") == ("weights", why)
    assert said == {f"{name}/": (STEP, "of the same training") for name in names if name != taken}


def test_the_best_of_the_trainer_state_comes_before_a_folder_called_the_last(tmp_path):
    write(tmp_path, {**trainer((500, 1000), "out/checkpoint-500"), "checkpoint-last/model.safetensors": safe()})
    assert used(tmp_path) == ["checkpoint-500/model.safetensors"]


@pytest.mark.parametrize(
    "names",
    [
        ("exp1", "exp2"),
        ("version_0", "version_1"),
        ("exp", "exp2", "exp10"),
        ("2024-05-01", "2024-11-30"),
        ("run-20240101_120000-ab12", "run-20240301_120000-cd34"),
    ],
)
def test_runs_are_called_runs(names, tmp_path):
    write(tmp_path, {f"{name}/model.pt": pickled() for name in names})
    assert used(tmp_path) == [f"{names[-1]}/model.pt"]
    assert {name: what for name, (what, _) in told(tmp_path).items()} == {
        f"{names[-1]}/model.pt": "weights",
        **{f"{name}/": RUN for name in names[:-1]},
    }
    out = mscope("inspect", tmp_path).out
    assert f"the last of {len(names)} runs" in out
    assert "another step" not in out


def test_many_runs_are_one_row_for_people(tmp_path):
    write(tmp_path, {f"exp{number}/model.pt": pickled() for number in range(1, 12)})
    assert "(5 more runs)" in mscope("inspect", tmp_path).out


@pytest.mark.parametrize(
    "path",
    [
        "runs/detect/train/weights",
        "wandb/run-20240101_120000-ab12/files",
        "mlruns/0/0a1b2c3d/artifacts/model/data",
        "logs",
        "outputs/2024-05-01/12-00-00",
        "lightning_logs/version_0/checkpoints",
    ],
)
def test_folders_of_logs_are_searched_where_nothing_else_holds_a_model(path, tmp_path):
    write(tmp_path, {f"{path}/best.pt": pickled(), f"{path}/last.pt": pickled(5), "train.py": b"pass\n"})
    assert used(tmp_path) == [f"{path}/best.pt"]


def test_folders_of_logs_beside_a_model_are_logs(tmp_path):
    write(tmp_path, {"runs/train/best.pt": pickled(), "model/model.safetensors": safe()})
    assert used(tmp_path) == ["model/model.safetensors"]
    assert told(tmp_path)["runs/"] == ("training record", "logs of the training")


def test_of_precisions_the_full_one(tmp_path):
    write(tmp_path, {"fp16/model.safetensors": safe(dtype="F16"), "bf16/model.safetensors": safe(dtype="BF16"), "fp32/model.safetensors": safe()})  # fmt: skip
    assert used(tmp_path) == ["fp32/model.safetensors"]
    said = told(tmp_path)
    assert said["fp16/"] == said["bf16/"] == (SAME, "in another precision")


def test_only_gguf_files_are_quantised_as_their_folder_is_called(tmp_path):
    one = quantisations()["tiny-chat.Q8_0.gguf"]
    write(tmp_path, {"model.safetensors": safe(), "F16/x-F16.gguf": one, "fp16/model.safetensors": safe(dtype="F16")})
    assert told(tmp_path)["fp16/"] == (SAME, "in another precision")
    assert told(tmp_path)["F16/"] == (SAME, "quantised as F16")


def test_a_tar_is_looked_into_where_it_is_alone(tmp_path):
    write(tmp_path, {"asr.tar": tarred({"model_weights.ckpt": pickled(), "config.yaml": b"a: 1\n"})})
    (found,) = locate([str(tmp_path)]).found
    assert found.path.endswith("asr.tar!/model_weights.ckpt")


def test_a_tar_does_not_hide_the_models_beside_it(tmp_path):
    write(tmp_path, {"backup.tar": tarred({"a.ckpt": pickled()}), "bert/model.safetensors": safe()})
    assert used(tmp_path) == ["bert/model.safetensors"]
    assert told(tmp_path)["backup.tar"] == (OTHER, "archives")


def test_the_old_tar_of_torch_is_a_model(tmp_path):
    (name,) = [name for name in SAMPLES if name.endswith(".tar")]
    write(tmp_path, {"old.tar": SAMPLES[name]})
    assert used(tmp_path) == ["old.tar"]


def test_an_archive_below_is_looked_into(tmp_path):
    write(tmp_path, {"release/v1/w.tar": tarred({"m.safetensors": safe()}), "README.md": b"# x\n"})
    (found,) = locate([str(tmp_path)]).found
    assert found.path.endswith("w.tar!/m.safetensors")


@pytest.mark.parametrize(("kind", "name"), [("folders", "m{}/model.safetensors"), ("files", "m{}x.safetensors")])
def test_one_bound_for_models_in_folders_and_side_by_side(kind, name, tmp_path):
    write(tmp_path, {name.format(number): safe() for number in range(MOST_MODELS)})
    assert len(used(tmp_path)) == MOST_MODELS
    write(tmp_path, {name.format(MOST_MODELS): safe()})
    (problem,) = locate([str(tmp_path)]).problems
    assert problem.message == f"a folder of {MOST_MODELS + 1} models"
    assert problem.hint.startswith(f"name one of its {kind}: m0")


def test_the_models_of_a_pipeline_are_added_up_and_their_copies_told_once(tmp_path):
    out = mscope("inspect", write(tmp_path, diffusers())).out
    assert out.count("probably the same") == 1
    (line,) = [line for line in out.splitlines() if line.startswith("3 models  ")]
    parameters = sum(int(line.split()[1].replace(",", "")) for line in out.splitlines() if line.startswith("Parameters"))
    assert f"{parameters:,} parameters" in line


def test_one_model_is_not_added_up(tmp_path):
    assert "Together" not in mscope("inspect", write(tmp_path, {"a.pth": pickled()})).out


@pytest.mark.parametrize("columns", [60, 100])
def test_a_checksum_leaves_room_for_the_name(columns, tmp_path):
    write(tmp_path, {f"models--a--b/snapshots/{'0123456789' * 4}/model.safetensors": safe(), "models--a--b/refs/main": b"x"})
    first = mscope("inspect", tmp_path, columns=columns).out.splitlines()[0]
    assert "snapshots/0123456…/model." in first
