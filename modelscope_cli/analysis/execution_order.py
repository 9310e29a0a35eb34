"""The order in which modules run, by their names.

safetensors sorts names, so the order of the model is lost; a pickle keeps the order of registration, in which Hugging Face
lists the norms of a layer last. Known names are put back in the order of execution; what is not known stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from modelscope_cli.analysis.kinds import BEHIND, WORDS

EXECUTION_ORDER = (
    r"(.*[._])?(shared|wte|token_embd|embed_tokens|embed_in|word_embeddings|embeddings?|embed|stem)|"
    rf"{BEHIND}(tok_emb|patch_embed)\w*",
    rf"wpe|{WORDS}(\w*?_|^)position\w*|pos_\w+|token_type\w*|rotary\w*|cls_token|inc|conv_in|in_conv|time_embed\w*|token_embd_norm|rope_(freqs|factors_\w+)",
    r"features|enc|encoder\d*|encoders|downs?|down\d+|down_blocks|conv1|input_layernorm|ln_1|norm1|attention_norm|layer_norm1",
    r"bn1|self_attn\w*|att|attn|attention|self_attention|down_proj_in",
    r"q_a_proj|q_proj|q_lin|W_query|to_q|query|to_qkv|qkv\w*|query_\w+|c_attn|wq",
    r"q_a_layernorm",
    r"q_b_proj",
    r"k_proj|k_lin|W_key|to_k|to_kv|key|wk|kv_a_proj\w*|mid|middle|mid_block|bottleneck|layer1",
    r"kv_a_layernorm",
    r"kv_b_proj|v_proj|v_lin|W_value|to_v|value|wv|layer2",
    r"[qk]_norm|[qk]_layernorm",
    r"o_proj|c_proj|wo|out_proj|out_lin|to_out|dense|layer3",
    r"post_attention_layernorm|ln_2|norm2|ffn_norm|layer_norm2|layer4|multihead_attn|encoder_attn|pre_feedforward_layernorm",
    r"layers?|h|blocks?|blk|transformer|model|backbone|lstm|gru|rnn",
    r"dec|decoder\d*|decoders|ups?|up\d+|up_blocks",
    r"gate|router",
    r"experts",
    r"mlp|ffn?|feed_forward|block_sparse_moe|linear1|fc1|gate_proj|w1|shared_experts?",
    r"up_proj|w3|linear2|fc2",
    r"down_proj|w2",
    r"post_feedforward_layernorm|norm|output_norm|final_layer_?norm|ln_f|ln_post|norm3|final_norm|norm_f|pooler|avgpool|conv_norm_out",
    r"lm_head|head|output|output_layer|classifier|score|fc|out_head|cls|embed_out|generator|final_projection|outc|conv_out|out_conv|final_conv",
)
LONGEST_KNOWN = 64  # characters of a name that says where its module comes
MIDDLE = next(
    rank for rank, pattern in enumerate(EXECUTION_ORDER) if pattern.startswith("layers?|")
)  # unknown names stand here

# The parts of a layer as llama.cpp names them, of all architectures: what a layer has of them runs in this order.
FLAT_LAYER = (
    "attn_norm attn_norm_2 ln1 ssm_in ssm_conv1d ssm_x ssm_ba ssm_alpha ssm_beta ssm_dt_norm ssm_dt ssm_a ssm_b_norm ssm_c_norm ssm_d ssm_norm "
    "ssm_out attn_qkv attn_q_a attn_q_a_norm attn_q attn_q_b attn_kv_a_mqa attn_kv_a_norm attn_kv_b attn_k attn_k_b attn_v attn_v_b attn_q_norm "
    "attn_k_norm attn_rot_embd attn_rel_b attn_sinks attn_gate attn_sub_norm attn_output attn_out attn_o attn_out_norm attn_output_norm "
    "attn_post_norm post_attention_norm ls1 cross_attn_norm cross_attn_q cross_attn_k cross_attn_v cross_attn_rel_b cross_attn_o "
    "ffn_norm ln2 ffn_norm_exps ffn_gate_inp exp_probs_b ffn_gate ffn_gate_exps ffn_gate_up_exps ffn_up ffn_up_exps ffn_sub_norm ffn_down "
    "ffn_down_exps ffn_gate_inp_shexp ffn_gate_shexp ffn_up_shexp ffn_down_shexp ffn_post_norm post_ffw_norm ls2 layer_output_norm "
    "layer_output_scale"
)

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
        ("norm1 conv1 norm2 conv2", "norm1 relu1 conv1 time_emb_proj norm2 relu2 conv2 conv_shortcut"),  # DenseNet, diffusers
        # U-Nets and autoencoders of diffusers
        (
            "conv_in conv_out",
            "conv_in time_embedding class_embedding add_embedding down_blocks mid_block up_blocks conv_norm_out conv_out",
        ),
        ("resnets attentions", "resnets attentions downsamplers upsamplers"),
        ("resnets", "resnets downsamplers upsamplers"),
        ("proj_in transformer_blocks", "norm proj_in transformer_blocks proj_out"),
        ("norm1 attn1 norm2", "norm1 attn1 norm2 attn2 norm3 ff"),
        ("encoder quant_conv", "encoder quant_conv post_quant_conv decoder"),
        # BERT and its relatives in transformers
        ("word_embeddings", "word_embeddings position_embeddings token_type_embeddings LayerNorm position_ids token_type_ids"),
        ("embeddings encoder", "embeddings pre_layrnorm encoder post_layernorm layernorm pooler"),
        ("attention intermediate output", "attention crossattention intermediate output"),
        ("self output", "self output"),
        ("transform decoder", "transform decoder bias"),
        ("bert cls", "bert cls"),
        ("attention sa_layer_norm ffn", "attention sa_layer_norm ffn output_layer_norm"),
        ("layernorm_before attention", "layernorm_before attention layernorm_after intermediate output"),
        # GPT-NeoX, Falcon, BLOOM
        ("dense_h_to_4h dense_4h_to_h", "dense_h_to_4h dense_4h_to_h"),
        ("word_embeddings h", "word_embeddings word_embeddings_layernorm h ln_f"),
        # gpt-oss
        (
            "gate_up_proj_blocks",
            "gate_up_proj_blocks gate_up_proj_scales gate_up_proj_bias down_proj_blocks down_proj_scales down_proj_bias",
        ),
        # T5
        ("wi wo", "wi wo"),
        ("wi_0 wi_1 wo", "wi_0 wi_1 wo"),
        ("layer_norm SelfAttention", "layer_norm SelfAttention"),
        ("layer_norm EncDecAttention", "layer_norm EncDecAttention"),
        ("layer_norm DenseReluDense", "layer_norm DenseReluDense"),
        ("q k v o", "q k v o relative_attention_bias"),
        # Whisper, BART
        ("conv1 conv2 embed_positions layers", "conv1 conv2 embed_positions layers layer_norm"),
        ("embed_positions layernorm_embedding layers", "embed_tokens embed_positions layernorm_embedding layers"),
        ("embed_tokens embed_positions layers", "embed_tokens embed_positions layernorm_embedding layers layer_norm"),
        # vision transformers of timm, CLIP, LLaVA
        ("patch_embed blocks", "patch_embed cls_token reg_token pos_embed norm_pre blocks norm fc_norm head"),
        ("norm1 attn norm2 mlp", "norm1 attn ls1 norm2 mlp ls2"),
        ("vision_tower language_model", "vision_tower multi_modal_projector language_model lm_head"),
        ("feature_extractor encoder", "feature_extractor feature_projection masked_spec_embed encoder adapter"),  # wav2vec 2
        ("lora_A lora_B", "base_layer lora_A lora_B"),
        # Mamba
        ("in_proj x_proj dt_proj", "in_proj conv1d x_proj dt_proj A_log D out_proj"),
        ("norm mixer", "norm mixer"),
        # llama.cpp
        *((sign, FLAT_LAYER) for sign in ("attn_output", "attn_out ffn_down", "attn_o ffn_down", "ssm_out")),
        ("embeddings layers norm_f", "embeddings layers norm_f"),
    )
)
# Names of these can be in either order, and nothing in the module itself tells: Whisper and OPT norm first, BART last.
EITHER_ORDER = (
    frozenset(("self_attn", "self_attn_layer_norm", "fc1", "fc2")),
    ("self_attn_layer_norm", "self_attn", "encoder_attn_layer_norm", "encoder_attn", "final_layer_norm", "fc1", "fc2"),
)
# conv1, bn1, conv2, bn2 …; denseblock1, transition1 …
NUMBERED_STEPS = re.compile(r"(?P<step>conv|bn|norm|gn|act|relu|denseblock|transition)(?P<number>\d)")
STEPS = ("conv", "denseblock", "transition", "bn", "norm", "gn", "act", "relu")
NUMBERED = re.compile(
    r"(?P<stem>_?(fc|linear|lin|layer|block|dense|conv|stage|down|up|enc|dec|encoder|decoder|hidden|l))_?(?P<number>\d+)"
)
BYPASS = re.compile(r"downsample|shortcut|skip\w*|se|drop\w*")  # what stands beside them or behind
FEWEST_STEPS = 2  # names of such steps that show the others to be read so

# What runs side by side: an arrow from one to the other would be wrong. Names of one row exclude one another.
SIDE_BY_SIDE = tuple(
    re.compile(pattern)
    for pattern in (
        r"q|k|v|[qkv]_proj|query|key|value|W_(query|key|value)|w[qkv]|to_[qkv]|[qkv]_lin|q_a_proj|kv_a_proj\w*",
        r"q_b_proj|kv_a_proj\w*",
        r"(cross_)?attn_(q|k|v|q_a|q_b|kv_a_mqa)",
        r"ffn_(gate|up)(_exps)?",
        r"ffn_down_exps|ffn_(gate_inp|gate|up)_shexp",
        r"gate_proj|up_proj|w1|w3|wi_[01]",
        r"experts|shared_experts?|shared_expert_gate",
        r"wte|wpe|\w*_?emb|\w*embeddings?|embed\w*|\w*_embed",
        r"generator|discriminator|net[GD]|[GDgd]|[Gg]_ema",
        r"\w+_tower|\w+_model",
        r"actor|critic|policy|value_net|q_net\w*|target\w*",
        r"student|teacher|online\w*|momentum\w*",
        r"text_encoder\w*|image_encoder|vision_model|text_model|visual|vision_tower|cond_stage_model|first_stage_model|vae|unet",
    )
)


@cache
def known_rank(name: str) -> int | None:
    """Where a module of this name comes among its siblings; None where the name says nothing."""
    if len(name) > LONGEST_KNOWN:
        return None
    return next((rank for rank, pattern in enumerate(EXECUTION_ORDER) if re.fullmatch(pattern, name)), None)


@cache
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts conv2 before conv10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name))


def whole_block(names: Sequence[str]) -> tuple[str, ...] | None:
    """The order of a block whose names are all known together."""
    present = set(names)
    return next((order for signs, order in WHOLE_BLOCKS if signs <= present and present <= set(order)), None)


def either_order(names: Sequence[str]) -> bool:
    """Whether the names are those of a block that models run in different orders."""
    present = set(names)
    return EITHER_ORDER[0] <= present and present <= set(EITHER_ORDER[1])


def ranks(names: Sequence[str]) -> list[tuple[int, int] | None]:
    """For each of some siblings its rank and its number among those of one stem (fc1, fc2, fc3); None where it tells neither."""
    stems: dict[str, list[int]] = {}
    matches = [NUMBERED.fullmatch(name) for name in names]
    for position, match in enumerate(matches):
        if match:
            stems.setdefault(match["stem"], []).append(position)
    found: list[tuple[int, int] | None] = []
    for name, match in zip(names, matches, strict=True):
        rank = known_rank(name)
        alike = stems[match["stem"]] if match else []
        if match and len(alike) > 1:
            known = [rank for position in alike if (rank := known_rank(names[position])) is not None]
            found.append((min(known, default=MIDDLE), int(match["number"][:9])))
        elif rank is None and not name.isdecimal():
            found.append(None)
        else:
            found.append((MIDDLE if rank is None else rank, int(name[:9]) if name.isdecimal() else 0))
    return found


def order_known(names: Sequence[str]) -> bool:
    """Whether the names of siblings tell all of their order."""
    if either_order(names):
        return False
    return whole_block(names) is not None or None not in ranks(names)


def run_order(names: Sequence[str], *, registered: bool) -> list[int]:
    """Positions of siblings in the order they run. `registered`: they come in the order of registration, which is the second
    best thing to know, so it is left only where every name is known."""
    positions = range(len(names))
    block = EITHER_ORDER[1] if either_order(names) else whole_block(names)
    if block:
        return sorted(positions, key=lambda position: block.index(names[position]))
    if not registered and sum(bool(NUMBERED_STEPS.fullmatch(name)) for name in names) >= FEWEST_STEPS:
        keys = [step_key(name) for name in names]
        if all(keys):
            return sorted(positions, key=lambda position: keys[position] or (0, 0))
    places = ranks(names)
    if registered and None in places:
        return list(positions)
    return sorted(
        positions,
        key=lambda position: (
            places[position] or (MIDDLE, 0), position if registered else 0, natural(names[position]),
        ),
    )  # fmt: skip


def step_key(name: str) -> tuple[int, int] | None:
    """The place of conv1, bn1 … and what goes with them; None for other names."""
    step = NUMBERED_STEPS.fullmatch(name)
    if step:
        return int(step["number"]), STEPS.index(step["step"])
    return (10, 0) if BYPASS.fullmatch(name) else None


def runs_after(name: str, before: str, *, known: bool) -> bool:
    """Whether `name` takes what `before` gives, where the order of all siblings is `known`: not when they run side by side."""
    if any(pattern.fullmatch(name) and pattern.fullmatch(before) for pattern in SIDE_BY_SIDE):
        return False
    return known or (name.isdecimal() and before.isdecimal())
