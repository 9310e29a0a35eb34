"""Makes the models of this pipeline with real PyTorch: one that keeps the rules, three that break them, and one more.

    python make_models.py                  # writes to models/ beside this script
    python make_models.py some/folder

`model.safetensors` is a small language model whose output head is its embedding: 2,000 tokens, width 64, four layers. The others
are what goes wrong in practice:

    grown.safetensors     one layer more than was agreed
    with_optimizer.pt     the file to resume training from, instead of the weights
    untied.safetensors    the head became a matrix of its own
    wrapped.safetensors   saved from inside a wrapper: every name under `module.`

The seed is fixed, and all models have the parameters that their modules count.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import Tensor, nn

VOCABULARY, WIDTH, FEEDFORWARD, HEADS, LAYERS = 2_000, 64, 256, 4, 4


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, FEEDFORWARD)
        self.fc2 = nn.Linear(FEEDFORWARD, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class LanguageModel(nn.Module):
    """Tokens to logits. With `tied`, the output head is the token embedding: one matrix, counted once."""

    def __init__(self, layers: int = LAYERS, *, tied: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(layers))
        self.norm = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.lm_head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def count(module: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def models() -> dict[str, nn.Module]:
    """The models by the names of their files. The wrapper is the one of torch.nn.DataParallel, which does no more to the names."""
    torch.manual_seed(0)
    return {
        "model": LanguageModel(),
        "grown": LanguageModel(LAYERS + 1),
        "untied": LanguageModel(tied=False),
        "wrapped": nn.DataParallel(LanguageModel()),
    }


def trained(model: nn.Module) -> dict[str, object]:
    """What a training loop saves after a step: the weights, and the two moments that AdamW keeps of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(VOCABULARY, (4, 32))
    loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    return {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = models()
    for name, model in made.items():
        save_model(model, str(folder / f"{name}.safetensors"))  # keeps one name of a tied matrix and writes down the other
    torch.save(trained(made["model"]), folder / "with_optimizer.pt")
    for path in sorted(folder.iterdir()):
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent / "models")
    main(parser.parse_args().folder)
