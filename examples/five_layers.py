"""The five-layer network of the vanishing-gradient tutorial, with and without shortcut connections.

    five_layers_plain.pth, five_layers_shortcut.pth                 state_dicts: 10 tensors, 52 parameters
    five_layers_plain_module.pth, five_layers_shortcut_module.pth   whole modules, torch.save(model)

A shortcut adds a layer's input to its output. It has no parameters, so the two state_dicts have the same names and shapes
(and, from the same seed, the same values): nothing in them tells the networks apart. The whole modules do: they record each
module's class and attributes, `use_shortcut` among them. To load one, torch needs the class FiveLayers from this script.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

SIZES = [3, 3, 3, 3, 3, 1]


class FiveLayers(nn.Module):
    def __init__(self, use_shortcut: bool):
        super().__init__()
        self.use_shortcut = use_shortcut
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(inputs, outputs), nn.GELU()) for inputs, outputs in pairwise(SIZES))

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)
            x = x + y if self.use_shortcut and x.shape == y.shape else y
        return x


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, use_shortcut in (("plain", False), ("shortcut", True)):
        torch.manual_seed(123)
        model = FiveLayers(use_shortcut)
        assert sum(parameter.numel() for parameter in model.parameters()) == 52
        for path, content in (
            (folder / f"five_layers_{name}.pth", model.state_dict()),
            (folder / f"five_layers_{name}_module.pth", model),
        ):
            torch.save(content, path)
            print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
