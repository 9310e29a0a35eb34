"""Writes what `mscope inspect` says of the example models into examples/output/, and into the README.

    python examples/make_all.py           # makes the models
    python examples/save_outputs.py       # examples/models/ → examples/output/*.txt

Each file begins with the command that made it. The width is 100 columns, what a pipe gets.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# name of the output → the model, as a path in the models folder (or in examples/ for the committed one)
OUTPUTS = {
    "decoder_small": "examples/decoder_small.pth",
    "decoder_98631": "examples/models/decoder_98631.pth",
    "decoder_168283": "examples/models/decoder_168283.pth",
    "gpt2_untied": "examples/models/gpt2_untied.pth",
    "gpt2_tied": "examples/models/gpt2_tied.pth",
    "llama-2-7b-bin": "examples/models/llama-2-7b-bin/pytorch_model.bin",
    "llama-2-7b-safetensors": "examples/models/llama-2-7b-safetensors/model.safetensors",
    "chatglm3-6b": "examples/models/chatglm3-6b",
    "training_checkpoint": "examples/models/training_checkpoint.pt",
    "mixtral-8x7b": "examples/models/mixtral-8x7b",
    "deepseek-v3": "examples/models/deepseek-v3",
    "llama-2-7b-gptq": "examples/models/llama-2-7b-gptq",
    "llama-2-7b-lora": "examples/models/llama-2-7b-lora",
    "resnet50": "examples/models/resnet50.pth",
    "unet": "examples/models/unet.pth",
    "lstm": "examples/models/lstm.pth",
    "lstm_tied": "examples/models/lstm_tied.pth",
    "five_layers_plain": "examples/models/five_layers_plain.pth",
    "five_layers_shortcut": "examples/models/five_layers_shortcut.pth",
    "five_layers_shortcut_module": "examples/models/five_layers_shortcut_module.pth",
}


def inspected(path: str) -> str:
    """What the command prints for a model, run from the root of the repository."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "modelscope_cli", "inspect", path]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, encoding="utf-8").stdout


def main() -> None:
    folder = HERE / "output"
    folder.mkdir(exist_ok=True)
    for name, path in OUTPUTS.items():
        if not (ROOT / path).exists():
            print(f"not there, left as it is: {path}")
            continue
        lines = [line.rstrip() for line in inspected(path).splitlines()]
        (folder / f"{name}.txt").write_text("\n".join([f"$ mscope inspect {path}", "", *lines, ""]), encoding="utf-8")
        print(f"examples/output/{name}.txt")
    readme = ROOT / "README.md"
    shown = "\n".join(line.rstrip() for line in inspected(OUTPUTS["decoder_small"]).splitlines())
    marked = re.compile(
        r"(<!-- output: mscope inspect examples/decoder_small.pth -->\n```text\n).*?(```\n<!-- /output -->)", re.DOTALL
    )
    readme.write_text(
        marked.sub(lambda match: match[1] + shown + "\n" + match[2], readme.read_text(encoding="utf-8")), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
