"""The order in which modules run, by their names.

safetensors sorts names, so the order of the model is lost; known names are put back in the order of execution.
"""

from __future__ import annotations

import re
from functools import cache

# Where the file does not keep the order of the model (safetensors sorts names), known names are put in the order of execution.
EXECUTION_ORDER = (
    r"(.*[._])?(shared|wte|embed_tokens|word_embeddings|tok_emb\w*|embeddings?|patch_embed\w*|embed|stem)",
    r"wpe|(.*_)?position\w*|pos_\w+|token_type\w*|rotary\w*|cls_token",
    r"encoder|encoders|down_blocks|conv1|input_layernorm|ln_1|norm1|attention_norm|layer_norm1",
    r"bn1|self_attn\w*|attn|attention|self_attention|q_a_proj|q_proj|query\w*|qkv\w*|c_attn|wq|down_proj_in",
    r"q_a_layernorm|q_b_proj|k_proj|key|wk|kv_a_\w+|mid_block|layer1",
    r"kv_b_proj|v_proj|value|wv|layer2",
    r"o_proj|c_proj|wo|out_proj|dense|layer3",
    r"post_attention_layernorm|ln_2|norm2|ffn_norm|layer_norm2|layer4|multihead_attn|encoder_attn|pre_feedforward_layernorm",
    r"layers?|h|blocks?|decoder|up_blocks|transformer|model|backbone|gate|router|experts",
    r"mlp|ffn|feed_forward|block_sparse_moe|linear1|fc1|gate_proj|w1|shared_experts?",
    r"up_proj|w3|linear2|fc2",
    r"down_proj|w2",
    r"post_feedforward_layernorm|norm|final_layer_?norm|ln_f|ln_post|norm3|pooler|avgpool",
    r"lm_head|head|output|output_layer|classifier|score|fc|out_head|cls",
)
MIDDLE = 8  # where layers stand, and everything unknown


@cache
def execution_rank(name: str) -> int:
    """Where a module of this name comes among its siblings; unknown names stand where layers do."""
    return next((rank for rank, pattern in enumerate(EXECUTION_ORDER) if re.fullmatch(pattern, name)), MIDDLE)


@cache
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts conv2 before conv10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name))
