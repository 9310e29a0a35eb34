"""ResNet-50 with torchvision's names and shapes: 25,557,032 parameters in 161 of the 320 tensors of resnet50.pth.

The other 159 are buffers, three for each of the 53 batch normalisations: the running mean and variance, 53,120 elements,
and the number of batches seen. Names and shapes: resnet50() in torchvision/models/resnet.py, the ResNet "v1.5" whose
blocks take their stride in the 3 x 3 convolution. The weights are random.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

WIDTHS, BLOCKS, EXPANSION, CLASSES = [64, 128, 256, 512], [3, 4, 6, 3], 4, 1000


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = None  # the shortcut, where it has another shape than the block's output
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride)
    return nn.Sequential(first, *(Bottleneck(EXPANSION * width, width, 1) for _ in range(blocks - 1)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = [WIDTHS[0], *(EXPANSION * width for width in WIDTHS)]
        self.layer1 = stage(inputs[0], WIDTHS[0], BLOCKS[0], stride=1)
        self.layer2 = stage(inputs[1], WIDTHS[1], BLOCKS[1], stride=2)
        self.layer3 = stage(inputs[2], WIDTHS[2], BLOCKS[2], stride=2)
        self.layer4 = stage(inputs[3], WIDTHS[3], BLOCKS[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs[4], CLASSES)

    def forward(self, images):
        """Logits, (batch, 1000), from images, (batch, 3, height, width)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = ResNet50()
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032
    assert sum(buffer.numel() for buffer in model.buffers()) == 53_120 + 53
    assert len(model.state_dict()) == 320
    path = folder / "resnet50.pth"
    torch.save(model.state_dict(), path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
