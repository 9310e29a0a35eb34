"""The classic U-Net, from an image of three channels to one mask: 31,037,633 parameters, unet.pth.

Four halvings of the image down to 1,024 channels, four doublings back, and a shortcut across at each size: what comes up
is set beside what went down, so the convolutions on the way up have twice the channels to read. Names and shapes:
unet/unet_model.py and unet_parts.py of milesial/Pytorch-UNet, n_channels=3, n_classes=1, bilinear=False, after
Ronneberger et al. 2015 (arXiv:1505.04597) with padding and batch normalisation. The weights are random.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

CHANNELS, CLASSES, WIDTHS = 3, 1, [64, 128, 256, 512, 1024]


class DoubleConv(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x, shortcut):
        return self.conv(torch.cat([shortcut, self.up(x)], dim=1))


class OutConv(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc = DoubleConv(CHANNELS, WIDTHS[0])
        self.down1 = Down(WIDTHS[0], WIDTHS[1])
        self.down2 = Down(WIDTHS[1], WIDTHS[2])
        self.down3 = Down(WIDTHS[2], WIDTHS[3])
        self.down4 = Down(WIDTHS[3], WIDTHS[4])
        self.up1 = Up(WIDTHS[4], WIDTHS[3])
        self.up2 = Up(WIDTHS[3], WIDTHS[2])
        self.up3 = Up(WIDTHS[2], WIDTHS[1])
        self.up4 = Up(WIDTHS[1], WIDTHS[0])
        self.outc = OutConv(WIDTHS[0], CLASSES)

    def forward(self, images):
        """Logits, (batch, 1, height, width), from images, (batch, 3, height, width); the sides are multiples of 16."""
        x1 = self.inc(images)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up1(self.down4(x4), x4)
        x = self.up2(x, x3)
        x = self.up3(x, x2)
        return self.outc(self.up4(x, x1))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = UNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 31_037_633
    path = folder / "unet.pth"
    torch.save(model.state_dict(), path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
