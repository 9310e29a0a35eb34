"""Names and shapes of well-known architectures in small, in the order in which torch registers them."""

from __future__ import annotations

from tests.tables import linear, transformer

Shapes = dict[str, tuple[int, ...]]


def norm(path: str, width: int, *, bias: bool = True) -> Shapes:
    return {f"{path}.weight": (width,), **({f"{path}.bias": (width,)} if bias else {})}


def convolution(path: str, out: int, into: int, side: int = 3) -> Shapes:
    return {f"{path}.weight": (out, into, side, side)}


def batch_norm(path: str, width: int) -> Shapes:
    running = {f"{path}.running_mean": (width,), f"{path}.running_var": (width,), f"{path}.num_batches_tracked:int64": ()}
    return norm(path, width) | running


def llama(layers: int = 4) -> Shapes:
    """As Hugging Face registers it: the norms of a layer behind attention and MLP."""
    shapes = transformer(layers)

    def place(name: str) -> tuple[int, bool]:
        number = name.split(".")[2]
        return (int(number) if number.isdecimal() else layers if "norm" in name else -1, "layernorm" in name)

    body = sorted((name for name in shapes if name.startswith("model.")), key=place)
    return {name: shapes[name] for name in [*body, "lm_head.weight"]}


def gpt2(layers: int = 3) -> Shapes:
    shapes: Shapes = {"wte.weight": (60, 8), "wpe.weight": (16, 8)}
    for number in range(layers):
        path = f"h.{number}"
        shapes |= norm(f"{path}.ln_1", 8)
        for name, into, out in (("attn.c_attn", 8, 24), ("attn.c_proj", 8, 8)):
            shapes |= {f"{path}.{name}.weight": (into, out), f"{path}.{name}.bias": (out,)}
        shapes |= norm(f"{path}.ln_2", 8)
        for name, into, out in (("mlp.c_fc", 8, 32), ("mlp.c_proj", 32, 8)):
            shapes |= {f"{path}.{name}.weight": (into, out), f"{path}.{name}.bias": (out,)}
    return shapes | norm("ln_f", 8)


def mixtral(layers: int = 2, experts: int = 4) -> Shapes:
    shapes: Shapes = {"model.embed_tokens.weight": (40, 16)}
    for number in range(layers):
        layer = f"model.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= linear(f"{layer}.self_attn.{name}", 16, 16, bias=False)
        shapes |= linear(f"{layer}.block_sparse_moe.gate", experts, 16, bias=False)
        for expert in range(experts):
            for name, out, into in (("w1", 24, 16), ("w2", 16, 24), ("w3", 24, 16)):
                shapes |= linear(f"{layer}.block_sparse_moe.experts.{expert}.{name}", out, into, bias=False)
        shapes |= norm(f"{layer}.input_layernorm", 16, bias=False) | norm(f"{layer}.post_attention_layernorm", 16, bias=False)
    return {**shapes, "model.norm.weight": (16,), "lm_head.weight": (40, 16)}


def deepseek(layers: int = 4, dense: int = 1) -> Shapes:
    """Latent attention; the first layer has a dense MLP, the others have experts and one that is shared."""
    shapes: Shapes = {"model.embed_tokens.weight": (40, 16)}
    for number in range(layers):
        layer, attention = f"model.layers.{number}", f"model.layers.{number}.self_attn"
        shapes |= linear(f"{attention}.q_a_proj", 6, 16, bias=False) | norm(f"{attention}.q_a_layernorm", 6, bias=False)
        shapes |= linear(f"{attention}.q_b_proj", 24, 6, bias=False)
        shapes |= linear(f"{attention}.kv_a_proj_with_mqa", 5, 16, bias=False) | norm(
            f"{attention}.kv_a_layernorm", 4, bias=False
        )
        shapes |= linear(f"{attention}.kv_b_proj", 32, 4, bias=False) | linear(f"{attention}.o_proj", 16, 16, bias=False)
        mlps = {"mlp": 24} if number < dense else {**{f"mlp.experts.{n}": 12 for n in range(3)}, "mlp.shared_experts": 12}
        if number >= dense:
            shapes |= {f"{layer}.mlp.gate.weight": (3, 16), f"{layer}.mlp.gate.e_score_correction_bias": (3,)}
        for mlp, inner in mlps.items():
            for name, out, into in (("gate_proj", inner, 16), ("up_proj", inner, 16), ("down_proj", 16, inner)):
                shapes |= linear(f"{layer}.{mlp}.{name}", out, into, bias=False)
        shapes |= norm(f"{layer}.input_layernorm", 16, bias=False) | norm(f"{layer}.post_attention_layernorm", 16, bias=False)
    return {**shapes, "model.norm.weight": (16,), "lm_head.weight": (40, 16)}


def resnet(blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 4) -> Shapes:
    """torchvision's, with bottlenecks."""
    shapes = convolution("conv1", width, 3, 7) | batch_norm("bn1", width)
    into = width
    for stage, count in enumerate(blocks, start=1):
        inner = width * 2 ** (stage - 1)
        for number in range(count):
            path = f"layer{stage}.{number}"
            for step, out, taken, side in ((1, inner, into, 1), (2, inner, inner, 3), (3, inner * 4, inner, 1)):
                shapes |= convolution(f"{path}.conv{step}", out, taken, side) | batch_norm(f"{path}.bn{step}", out)
            if number == 0:
                shapes |= convolution(f"{path}.downsample.0", inner * 4, into, 1) | batch_norm(
                    f"{path}.downsample.1", inner * 4
                )
            into = inner * 4
    return shapes | linear("fc", 10, into)


def unet(width: int = 4, levels: int = 3) -> Shapes:
    """inc, down1 …, up1 …, outc: double convolutions, and transposed ones on the way up."""

    def double(path: str, out: int, into: int) -> Shapes:
        first = convolution(f"{path}.double_conv.0", out, into) | batch_norm(f"{path}.double_conv.1", out)
        return first | convolution(f"{path}.double_conv.3", out, out) | batch_norm(f"{path}.double_conv.4", out)

    shapes = double("inc", width, 3)
    for number in range(1, levels + 1):
        shapes |= double(f"down{number}.maxpool_conv.1", width * 2**number, width * 2 ** (number - 1))
    for number in range(1, levels + 1):
        into, out = width * 2 ** (levels - number + 1), width * 2 ** (levels - number)
        shapes |= {f"up{number}.up.weight": (into, out, 2, 2), f"up{number}.up.bias": (out,)}
        shapes |= double(f"up{number}.conv", out, into)
    return {**shapes, "outc.conv.weight": (2, width, 1, 1), "outc.conv.bias": (2,)}


def torch_layers(cross: bool, layers: int = 3, width: int = 8) -> Shapes:
    """nn.TransformerDecoder (`cross`) or nn.TransformerEncoder between an embedding and a head."""
    stack = "decoder" if cross else "encoder"
    shapes: Shapes = {"embedding.weight": (50, width)}
    for number in range(layers):
        path = f"{stack}.layers.{number}"
        for name in ("self_attn", "multihead_attn") if cross else ("self_attn",):
            shapes |= {f"{path}.{name}.in_proj_weight": (3 * width, width), f"{path}.{name}.in_proj_bias": (3 * width,)}
            shapes |= linear(f"{path}.{name}.out_proj", width, width)
        shapes |= linear(f"{path}.linear1", 4 * width, width) | linear(f"{path}.linear2", width, 4 * width)
        for name in ("norm1", "norm2", "norm3") if cross else ("norm1", "norm2"):
            shapes |= norm(f"{path}.{name}", width)
    return shapes | linear("fc", 50, width)


def by_hand(layers: int = 3, width: int = 8) -> Shapes:
    """GPT-2 written by hand, as books and courses name it."""
    shapes: Shapes = {"tok_emb.weight": (60, width), "pos_emb.weight": (16, width)}
    for number in range(layers):
        path = f"trf_blocks.{number}"
        shapes |= {f"{path}.att.mask": (16, 16)}
        for name in ("W_query", "W_key", "W_value"):
            shapes |= linear(f"{path}.att.{name}", width, width, bias=False)
        shapes |= linear(f"{path}.att.out_proj", width, width)
        shapes |= linear(f"{path}.ff.layers.0", 4 * width, width) | linear(f"{path}.ff.layers.2", width, 4 * width)
        for name in ("norm1", "norm2"):
            shapes |= {f"{path}.{name}.scale": (width,), f"{path}.{name}.shift": (width,)}
    return {**shapes, "final_norm.scale": (width,), "final_norm.shift": (width,), "out_head.weight": (60, width)}


FAMILIES = {
    "llama": llama(),
    "gpt2": gpt2(),
    "mixtral": mixtral(),
    "deepseek": deepseek(),
    "resnet": resnet(),
    "unet": unet(),
    "torch decoder": torch_layers(cross=True),
    "torch encoder": torch_layers(cross=False),
    "by hand": by_hand(),
}
