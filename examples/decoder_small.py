"""The tutorials' decoder in a size to carry around: the file decoder_small.pth beside this script.

The same six layers and eight heads with width 24, feed-forward width 96 and a vocabulary of 5,276: 316,556 parameters,
1.3 MB, with 40.0 % of the parameters in the embedding, as in the 126-million-parameter original. The seed is fixed.
"""

import argparse
from pathlib import Path

import torch
from decoder import Decoder, count


def small_decoder() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(vocabulary=5_276, width=24, feedforward=96, heads=8, layers=6)
    assert count(model) == 316_556
    assert round(count(model.embedding) / count(model), 3) == 0.400
    return model


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "decoder_small.pth"
    torch.save(small_decoder().state_dict(), path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    main(parser.parse_args().folder)
