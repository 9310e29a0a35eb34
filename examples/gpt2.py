"""GPT-2 "124M" written out by hand, with its own output head and with the head tied to the token embedding.

    gpt2_untied.pth   163,009,536 parameters (621.83 MiB): the head is a second 50,257 x 768 matrix
    gpt2_tied.pth     124,412,160 parameters (474.59 MiB): head and embedding are one matrix under two names

Both files also hold twelve causal masks: buffers of 1024 x 1024 float32, 12,582,912 elements or 48 MiB that nobody trains.
The query, key and value projections have no bias, unlike in OpenAI's released weights.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

VOCABULARY, CONTEXT, WIDTH, HEADS, BLOCKS = 50_257, 1024, 768, 12, 12


class LayerNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.shift = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        return nn.functional.layer_norm(x, (WIDTH,), self.scale, self.shift)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.W_query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.W_key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.W_value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out_proj = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", torch.ones(CONTEXT, CONTEXT).triu(diagonal=1))

    def forward(self, x):
        batch, length, _ = x.shape
        query, key, value = (
            project(x).view(batch, length, HEADS, -1).transpose(1, 2) for project in (self.W_query, self.W_key, self.W_value)
        )
        scores = query @ key.transpose(2, 3) / key.shape[-1] ** 0.5
        scores = scores.masked_fill(self.mask[:length, :length].bool(), float("-inf"))
        return self.out_proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, WIDTH))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(approximate="tanh"), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        return self.layers(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.att = Attention()
        self.ff = FeedForward()
        self.norm1 = LayerNorm()
        self.norm2 = LayerNorm()
        self.drop_shortcut = nn.Dropout(0.1)

    def forward(self, x):
        x = x + self.drop_shortcut(self.att(self.norm1(x)))
        return x + self.drop_shortcut(self.ff(self.norm2(x)))


class GPT2(nn.Module):
    def __init__(self, tied: bool = False):
        super().__init__()
        self.tok_emb = nn.Embedding(VOCABULARY, WIDTH)
        self.pos_emb = nn.Embedding(CONTEXT, WIDTH)
        self.drop_emb = nn.Dropout(0.1)
        self.trf_blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.final_norm = LayerNorm()
        self.out_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.out_head.weight = self.tok_emb.weight

    def forward(self, tokens):
        """Logits, (batch, length, vocabulary), from token ids, (batch, length)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.drop_emb(self.tok_emb(tokens) + self.pos_emb(positions))
        return self.out_head(self.final_norm(self.trf_blocks(x)))


def save(model: nn.Module, path: Path, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters  # counts a shared parameter once
    assert sum(buffer.numel() for buffer in model.buffers()) == 12_582_912
    torch.save(model.state_dict(), path)
    print(path)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = GPT2()
    save(model, folder / "gpt2_untied.pth", 163_009_536)
    model.out_head.weight = model.tok_emb.weight
    save(model, folder / "gpt2_tied.pth", 124_412_160)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
