"""The decoder of the "how big is my transformer" tutorials, once for each of their two vocabularies.

An embedding, six nn.TransformerDecoderLayer of width 512 and a linear layer back to the vocabulary, in float32:

    vocabulary   parameters    tensor bytes   file
        98,631  126,320,967     505,283,868   decoder_98631.pth    the "505M" file
       168,283  197,714,267     790,857,068   decoder_168283.pth   754.2 MiB

formula.md sets the tutorials' formula for these counts beside what the module holds.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

PARAMETERS = {98_631: 126_320_967, 168_283: 197_714_267}  # by vocabulary


class Decoder(nn.Module):
    def __init__(self, vocabulary: int, width: int = 512, feedforward: int = 2048, heads: int = 8, layers: int = 6):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerDecoderLayer(width, heads, dim_feedforward=feedforward, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, layers)
        self.fc = nn.Linear(width, vocabulary)

    def forward(self, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Logits, (batch, length, vocabulary), for the token after each in `target`. Arguments: token ids, (batch, length)."""
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.fc(self.decoder(self.embedding(target), self.embedding(source), tgt_mask=mask, tgt_is_causal=True))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def main(folder: Path, vocabularies: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for vocabulary in vocabularies:
        torch.manual_seed(0)
        model = Decoder(vocabulary)
        assert count(model) == PARAMETERS.get(vocabulary, count(model))
        path = folder / f"decoder_{vocabulary}.pth"
        torch.save(model.state_dict(), path)
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=list(PARAMETERS), help="both of the tutorials' by default")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.vocabulary)
