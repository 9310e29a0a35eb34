"""The LSTM language model of PyTorch's word_language_model example, for the vocabulary of WikiText-2.

    lstm.pth        50,065,078 parameters: the decoder has a matrix of its own
    lstm_tied.pth   28,434,378 parameters: the decoder's matrix is the encoder's

33,278 words, width 650, two layers: --emsize 650 --nhid 650, without and with --tied. Names and shapes: RNNModel in
word_language_model/model.py of pytorch/examples. The weights are random.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

VOCABULARY, WIDTH, LAYERS = 33_278, 650, 2


class LanguageModel(nn.Module):
    def __init__(self, tied: bool):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.encoder = nn.Embedding(VOCABULARY, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=0.5)
        self.decoder = nn.Linear(WIDTH, VOCABULARY)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, words, state=None):
        """Logits, (length, batch, vocabulary), for the word after each in `words`, (length, batch), and the LSTM's state."""
        x, state = self.rnn(self.drop(self.encoder(words)), state)
        return self.decoder(self.drop(x)), state


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, tied, parameters in (("lstm", False, 50_065_078), ("lstm_tied", True, 28_434_378)):
        torch.manual_seed(0)
        model = LanguageModel(tied)
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters  # counts a shared parameter once
        path = folder / f"{name}.pth"
        torch.save(model.state_dict(), path)
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
