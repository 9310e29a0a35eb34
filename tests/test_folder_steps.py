"""What names say about steps of one training, and what tells two models apart."""

from __future__ import annotations

import pytest

from modelscope_cli.formats.folder_steps import IS_BEST, IS_LAST, IS_NUMBERED, step_of

OF_ONE_MODEL = [
    ("epoch_1.pth", "epoch_12.pth", "best.pth", "last.pth", "latest.pt", "checkpoint-500", "iter_0000100", "global_step20"),
    ("checkpoint1.pt", "checkpoint_best.pt", "checkpoint_last.pt", "checkpoint_1_500.pt", "model_final.pth", "model_0004999.pth"),
    ("epoch=8-val_loss=0.31.ckpt", "epoch=10-step=1000.ckpt", "epoch=1-step=10-v1.ckpt", "last-v1.ckpt", "epoch=1_val_acc=0.91.ckpt"),
    ("best_bbox_mAP_epoch_11.pth", "best_model_epoch12_dice0.89.pth", "best_val_loss_0.123.pth", "model_best.pth.tar"),
    ("5_net_G_A.pth", "10_net_G_A.pth", "latest_net_G_A.pth", "net_epoch_5_G_A.pth"),
    ("encoder_best.pth", "encoder_last.pth", "encoder_epoch_3.pth", "best_encoder.pth", "best-encoder-epoch=3.ckpt"),
    ("best_resnet_18.pth", "resnet_18_epoch_3.pth", "last_resnet_18.pth"),
]  # fmt: skip
OF_SEVERAL = [
    ("best_generator.pth", "best_discriminator.pth", "best.pth"),
    ("final_unet.safetensors", "final_vae.safetensors", "final_text_encoder.safetensors"),
    ("best_fold0.pth", "best_fold1.pth", "best_fold2.pth"),
    ("best_fold_0.pth", "best_fold_1.pth"),
    ("latest_net_G_A.pth", "latest_net_G_B.pth", "latest_net_D_A.pth", "5_net_D_B.pth"),
    ("best_resnet_18.pth", "best_resnet_50.pth", "resnet_101_epoch_3.pth"),
    ("checkpoint_last-rank-0.pt", "checkpoint_last-rank-1.pt", "checkpoint_last-shard0.pt"),
    ("gen_epoch_1.pth", "disc_epoch_1.pth"),
    ("best_ema.pth", "best.pth"),
]


@pytest.mark.parametrize("names", OF_ONE_MODEL, ids=lambda names: names[0])
def test_steps_of_one_model(names):
    assert len({step_of(name).model for name in names}) == 1


@pytest.mark.parametrize("names", OF_SEVERAL, ids=lambda names: names[0])
def test_models_that_are_called_alike(names):
    assert len({step_of(name).model for name in names}) == len(names)


@pytest.mark.parametrize(
    "name", ["resnet18.pth", "sleep5.pth", "model_1.pth", "bestiary.pth", "checkpoint.pth", "outlast.pt", "G_1000.pth", ""]
)
def test_names_that_say_nothing(name):
    assert step_of(name) is None


@pytest.mark.parametrize(
    ("name", "rank"),
    [("best_epoch_3.pth", IS_BEST), ("last_epoch_3.pth", IS_LAST), ("epoch_3.pth", IS_NUMBERED), ("best-of-last.pt", IS_BEST)],
)
def test_how_a_step_is_marked(name, rank):
    assert step_of(name).rank == rank
