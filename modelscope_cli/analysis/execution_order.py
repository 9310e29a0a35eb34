"""The order in which modules run, by their names.

safetensors sorts names, so the order of the model is lost; a pickle keeps the order of registration, in which Hugging Face
lists the norms of a layer last. Known names are put back in the order of execution; what is not known stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

EXECUTION_ORDER = (
    r"(.*[._])?(shared|wte|embed_tokens|word_embeddings|tok_emb\w*|embeddings?|patch_embed\w*|embed|stem)",
    r"wpe|(.*_)?position\w*|pos_\w+|token_type\w*|rotary\w*|cls_token|inc|conv_in|in_conv|time_embed\w*",
    r"encoder\d*|encoders|downs?|down\d+|down_blocks|conv1|input_layernorm|ln_1|norm1|attention_norm|layer_norm1",
    r"bn1|self_attn\w*|att|attn|attention|self_attention|down_proj_in",
    r"q_a_proj|q_proj|W_query|to_q|query|to_qkv|qkv\w*|query_\w+|c_attn|wq",
    r"q_a_layernorm",
    r"q_b_proj",
    r"k_proj|W_key|to_k|to_kv|key|wk|kv_a_proj\w*|mid|middle|mid_block|bottleneck|layer1",
    r"kv_a_layernorm",
    r"kv_b_proj|v_proj|W_value|to_v|value|wv|layer2",
    r"o_proj|c_proj|wo|out_proj|to_out|dense|layer3",
    r"post_attention_layernorm|ln_2|norm2|ffn_norm|layer_norm2|layer4|multihead_attn|encoder_attn|pre_feedforward_layernorm",
    r"layers?|h|blocks?|transformer|model|backbone|lstm|gru|rnn",
    r"decoder\d*|decoders|ups?|up\d+|up_blocks",
    r"gate|router",
    r"experts",
    r"mlp|ffn?|feed_forward|block_sparse_moe|linear1|fc1|gate_proj|w1|shared_experts?",
    r"up_proj|w3|linear2|fc2",
    r"down_proj|w2",
    r"post_feedforward_layernorm|norm|final_layer_?norm|ln_f|ln_post|norm3|final_norm|norm_f|pooler|avgpool|conv_norm_out",
    r"lm_head|head|output|output_layer|classifier|score|fc|out_head|cls|outc|conv_out|out_conv|final_conv",
)
MIDDLE = next(
    rank for rank, pattern in enumerate(EXECUTION_ORDER) if pattern.startswith("layers?|")
)  # unknown names stand here

# Modules known by the names in them, in the order of their forward(): signs that must be there, and all that may be there.
WHOLE_BLOCKS = tuple(
    (frozenset(signs.split()), tuple(order.split()))
    for signs, order in (
        # torch.nn's Transformer layers, norm_first=False
        ("self_attn linear1 linear2 norm2", "self_attn norm1 linear1 linear2 norm2"),
        ("self_attn linear1 linear2", "self_attn norm1 multihead_attn norm2 linear1 linear2 norm3"),
        # GPT-2, U-Nets
        ("c_fc c_proj", "c_fc c_proj"),
        ("up conv", "up conv"),
        # BERT and its relatives in transformers
        ("word_embeddings", "word_embeddings position_embeddings token_type_embeddings LayerNorm position_ids token_type_ids"),
        ("embeddings encoder", "embeddings pre_layrnorm encoder post_layernorm layernorm pooler"),
        ("attention intermediate output", "attention crossattention intermediate output"),
        ("self output", "self output"),
        ("transform decoder", "transform decoder bias"),
        ("bert cls", "bert cls"),
        # T5
        ("layer_norm SelfAttention", "layer_norm SelfAttention"),
        ("layer_norm EncDecAttention", "layer_norm EncDecAttention"),
        ("layer_norm DenseReluDense", "layer_norm DenseReluDense"),
        ("q k v o", "q k v o relative_attention_bias"),
        # Whisper, BART
        ("conv1 conv2 embed_positions layers", "conv1 conv2 embed_positions layers layer_norm"),
        ("embed_tokens embed_positions layers", "embed_tokens embed_positions layernorm_embedding layers layer_norm"),
        # vision transformers of timm, CLIP, LLaVA
        ("patch_embed blocks", "patch_embed cls_token reg_token pos_embed norm_pre blocks norm fc_norm head"),
        ("norm1 attn norm2 mlp", "norm1 attn ls1 norm2 mlp ls2"),
        ("vision_tower language_model", "vision_tower multi_modal_projector language_model lm_head"),
        # Mamba
        ("in_proj x_proj dt_proj", "in_proj conv1d x_proj dt_proj A_log D out_proj"),
        ("norm mixer", "norm mixer"),
        ("embeddings layers norm_f", "embeddings layers norm_f"),
    )
)
NUMBERED_STEPS = re.compile(r"(?P<step>conv|bn|norm|gn|act|relu)(?P<number>\d)")  # conv1, bn1, conv2, bn2 …
STEPS = ("conv", "bn", "norm", "gn", "act", "relu")
BYPASS = re.compile(r"downsample|shortcut|skip\w*|se|drop\w*")  # what stands beside them or behind
FEWEST_STEPS = 2  # names of such steps that show the others to be read so

# What runs side by side: an arrow from one to the other would be wrong. Names of one row exclude one another.
SIDE_BY_SIDE = tuple(
    re.compile(pattern)
    for pattern in (
        r"q|k|v|[qkv]_proj|query|key|value|W_(query|key|value)|w[qkv]|to_[qkv]|[qkv]_lin|q_a_proj|kv_a_proj\w*",
        r"q_b_proj|kv_a_proj\w*",
        r"gate_proj|up_proj|w1|w3|wi_[01]",
        r"experts|shared_experts?|shared_expert_gate",
        r"wte|wpe|\w*_?emb|\w*embeddings?|embed\w*|\w*_embed",
        r"generator|discriminator|net[GD]|[GD]|G_ema",
        r"actor|critic|policy|value_net|q_net\w*|target\w*",
        r"student|teacher|online\w*|momentum\w*",
        r"text_encoder\w*|image_encoder|vision_model|text_model|visual|vision_tower|cond_stage_model|first_stage_model|vae|unet",
    )
)


@cache
def known_rank(name: str) -> int | None:
    """Where a module of this name comes among its siblings; None where the name says nothing."""
    return next((rank for rank, pattern in enumerate(EXECUTION_ORDER) if re.fullmatch(pattern, name)), None)


def execution_rank(name: str) -> int:
    """The same as a number for everything: unknown names stand where layers do."""
    rank = known_rank(name)
    return MIDDLE if rank is None else rank


@cache
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts conv2 before conv10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name))


def whole_block(names: Sequence[str]) -> tuple[str, ...] | None:
    """The order of a block whose names are all known together."""
    present = set(names)
    return next((order for signs, order in WHOLE_BLOCKS if signs <= present and present <= set(order)), None)


def run_order(names: Sequence[str], *, registered: bool) -> list[int]:
    """Positions of siblings in the order they run. `registered`: they come in the order of registration, which is the second
    best thing to know, so it is left only where every name is known."""
    block = whole_block(names)
    if block:
        return sorted(range(len(names)), key=lambda position: block.index(names[position]))
    if not registered and sum(bool(NUMBERED_STEPS.fullmatch(name)) for name in names) >= FEWEST_STEPS:
        keys = [step_key(name) for name in names]
        if all(keys):
            return sorted(range(len(names)), key=lambda position: keys[position] or (0, 0))
    if registered and any(known_rank(name) is None for name in names):
        return list(range(len(names)))
    return sorted(
        range(len(names)),
        key=lambda position: (execution_rank(names[position]), position if registered else 0, natural(names[position])),
    )


def step_key(name: str) -> tuple[int, int] | None:
    """The place of conv1, bn1 … and what goes with them; None for other names."""
    step = NUMBERED_STEPS.fullmatch(name)
    if step:
        return int(step["number"]), STEPS.index(step["step"])
    return (10, 0) if BYPASS.fullmatch(name) else None


def runs_after(name: str, before: str, *, registered: bool) -> bool:
    """Whether it is known, from names or from the order of registration, that `name` takes what `before` gives."""
    if any(pattern.fullmatch(name) and pattern.fullmatch(before) for pattern in SIDE_BY_SIDE):
        return False
    if name.isdecimal() and before.isdecimal():
        return True
    return registered or (known_rank(name) is not None and known_rank(before) is not None)
