"""Steps of one training by their names: files and folders that differ by a number, or are called the best or the last.

    epoch_1.pth, model_0004999.pth, checkpoint-500/            a number after a word for steps
    5_net_G.pth                                                a number before the network it is of (CycleGAN, pix2pix)
    best.pth, checkpoint_best.pt, best_bbox_mAP_epoch_3.pth    the best
    last.ckpt, model_final.pth, latest_net_G.pth               the last

What stands before and after the mark tells of which model they are steps: best_generator.pth and best_discriminator.pth are two
networks, best_fold0.pth and best_fold1.pth are two trainings. The number of a step, and the figures that it was kept for
(val_loss=0.31, mAP), are no part of that. Where it is doubtful, two models are shown rather than one of them hidden.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.formats.folder_names import MODEL_SUFFIXES

STEP_NAME = re.compile(
    r"(?P<of>.*?)[-_.]?((?<![a-z])(epochs?|ep|steps?|iter|iteration|global[-_]?step|ckpt|checkpoint|snapshot)[-_=]?|(?<=model)_(?=\d{4}))"
    r"(?P<rest>\d.*)",
    re.IGNORECASE,
)
STEP_OF_NET = re.compile(r"(?P<of>)(?P<rest>\d+[-_]net[-_].+)", re.IGNORECASE)
BEST = re.compile(r"(?P<of>.*?)(?<![a-z])best(?![a-z])(?P<rest>.*)", re.IGNORECASE)
LAST = re.compile(r"(?P<of>.*?)(?<![a-z])(last|latest|final)(?![a-z])(?P<rest>.*)", re.IGNORECASE)
IS_BEST, IS_LAST, IS_NUMBERED = 2, 1, 0
MARKS = ((IS_BEST, BEST), (IS_LAST, LAST), (IS_NUMBERED, STEP_NAME), (IS_NUMBERED, STEP_OF_NET))

ANY_MODEL = {
    "model", "models", "checkpoint", "checkpoints", "ckpt", "weights", "weight", "net", "network", "state", "dict", "pytorch",
}  # fmt: skip
STEP_WORDS = {
    "epoch", "epochs", "ep", "e", "step", "steps", "iter", "iters", "iteration", "global", "snapshot", "v", "best", "last", "latest",
    "final",
}  # fmt: skip
FIGURES = {
    "loss", "acc", "accuracy", "val", "valid", "validation", "eval", "test", "map", "map50", "miou", "iou", "dice", "f1", "auc",
    "auroc", "ap", "ar", "psnr", "ssim", "lpips", "fid", "bleu", "rouge", "wer", "cer", "ppl", "perplexity", "mse", "mae", "rmse",
    "score", "metric", "metrics", "bbox", "segm", "coco", "top", "top1", "top5", "reward", "recall", "precision", "nds", "pck",
    "error", "err", "by", "at",
}  # fmt: skip
UNTOLD = ANY_MODEL | STEP_WORDS | FIGURES  # words that do not tell one model from another
FIGURE = re.compile(r"[a-z][\w/]*=-?\d+(\.\d+)?(e[-+]?\d+)?|(?<![\d.])0?\.\d+|\d+\.\d{2,}", re.IGNORECASE)
PARTS = re.compile(r"[-_.\s=/]+")
NUMBERED = re.compile(r"([a-z]+)(\d+)")


class Step(NamedTuple):
    """How a name marks a step (IS_BEST, IS_LAST or IS_NUMBERED), and the words that tell of which model it is."""

    rank: int
    model: str


def step_of(name: str) -> Step | None:
    """What the name of a file or folder says about being a step; None for one that says nothing."""
    stem = without_suffixes(name)
    for rank, pattern in MARKS:
        match = pattern.fullmatch(stem)
        if match is not None:
            before = [word for word in PARTS.split(match["of"].lower()) if word and word not in ANY_MODEL]
            return Step(rank, " ".join([*before, *telling(match["rest"])]))
    return None


def without_suffixes(name: str) -> str:
    """model_best.pth.tar is called model_best."""
    while name.lower().endswith(MODEL_SUFFIXES):
        name = name[: name.rindex(".")]
    return name


def telling(rest: str) -> list[str]:
    """The words after a mark that tell one model from another: a number counts only where it belongs to such a word."""
    kept: list[str] = []
    tells = False
    for word in filter(None, PARTS.split(FIGURE.sub(" ", rest).lower())):
        numbered = NUMBERED.fullmatch(word)
        if word.isdecimal():
            known = not tells
        else:
            known = word in UNTOLD or (numbered is not None and numbered[1] in UNTOLD)
            tells = not known
        kept += [] if known else [word]
    return kept
