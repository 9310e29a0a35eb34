"""ChatGLM3-6B as a torch module, for pictures of what it does: no release of transformers has this architecture.

    python examples/chatglm3_6b.py models/
    mscope visualize models/chatglm3-6b --engine dataflow --model examples/chatglm3_module.py:ChatGLM --input 'int64[1,8]<65024'

Its 199 parameters have the names and shapes of the published files, 6,243,584,000 elements. Query heads: 32; heads of keys and
values: 2, each shared by 16 of queries. Half of every head is turned by the position (RoPE on pairs), the other half is not.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

PARAMETERS = 6_243_584_000


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, groups: int):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.query_key_value = nn.Linear(width, (heads + 2 * groups) * self.size)
        self.dense = nn.Linear(width, width, bias=False)

    def forward(self, x, rotation):
        batch, length, width = x.shape
        query, key, value = self.query_key_value(x).split([self.heads * self.size] + 2 * [self.groups * self.size], dim=-1)
        query = rotate(query.view(batch, length, self.heads, self.size).transpose(1, 2), rotation)
        key = rotate(key.view(batch, length, self.groups, self.size).transpose(1, 2), rotation)
        value = value.view(batch, length, self.groups, self.size).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return self.dense(attended.transpose(1, 2).reshape(batch, length, width))


def rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """The first half of every head turned pair by pair. `x`: (batch, heads, length, size); `rotation`: (length, size / 4, 2)."""
    turned, kept = x.chunk(2, dim=-1)
    even, odd = turned.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = rotation.unbind(-1)
    return torch.cat([torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1).flatten(-2), kept], -1)


class MLP(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(width, 2 * inner, bias=False)
        self.dense_4h_to_h = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        gate, up = self.dense_h_to_4h(x).chunk(2, dim=-1)
        return self.dense_4h_to_h(functional.silu(gate) * up)


class GLMBlock(nn.Module):
    def __init__(self, width: int, inner: int, heads: int, groups: int):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(width)
        self.self_attention = Attention(width, heads, groups)
        self.post_attention_layernorm = nn.RMSNorm(width)
        self.mlp = MLP(width, inner)

    def forward(self, x, rotation):
        x = x + self.self_attention(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))


class Encoder(nn.Module):
    def __init__(self, layers: int, width: int, inner: int, heads: int, groups: int):
        super().__init__()
        self.layers = nn.ModuleList(GLMBlock(width, inner, heads, groups) for _ in range(layers))
        self.final_layernorm = nn.RMSNorm(width)

    def forward(self, x, rotation):
        for layer in self.layers:
            x = layer(x, rotation)
        return self.final_layernorm(x)


class Rotary(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("inv_freq", 1 / 10_000 ** (torch.arange(0, size, 2) / size))

    def forward(self, length: int):
        angles = torch.outer(torch.arange(length, device=self.inv_freq.device), self.inv_freq)
        return torch.stack([angles.cos(), angles.sin()], -1)


class Transformer(nn.Module):
    def __init__(self, vocabulary: int, layers: int, width: int, inner: int, heads: int, groups: int):
        super().__init__()
        self.embedding = nn.ModuleDict({"word_embeddings": nn.Embedding(vocabulary, width)})
        self.rotary_pos_emb = Rotary(width // heads // 2)
        self.encoder = Encoder(layers, width, inner, heads, groups)
        self.output_layer = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.embedding["word_embeddings"](tokens)
        return self.output_layer(self.encoder(x, self.rotary_pos_emb(tokens.shape[1])))


class ChatGLM(nn.Module):
    def __init__(self, vocabulary=65_024, layers=28, width=4_096, inner=13_696, heads=32, groups=2):
        super().__init__()
        self.transformer = Transformer(vocabulary, layers, width, inner, heads, groups)

    def forward(self, tokens):
        """Logits, (batch, length, vocabulary), from token ids, (batch, length)."""
        return self.transformer(tokens)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with torch.device("meta"):
        model = ChatGLM()
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS
    print(f"{count:,} parameters")
