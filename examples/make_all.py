"""Runs every example script: 3.1 GB of model files in one folder, and 810 GB more that take next to no disk."""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = [
    *("five_layers", "decoder_small", "training_checkpoint", "decoder", "gpt2", "llama2_7b", "chatglm3_6b"),
    *("mixtral", "deepseek_v3", "quantised", "lora_adapter", "resnet50", "unet", "lstm"),
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "models")
    folder = parser.parse_args().folder
    for script in SCRIPTS:
        subprocess.run([sys.executable, HERE / f"{script}.py", folder], check=True)
