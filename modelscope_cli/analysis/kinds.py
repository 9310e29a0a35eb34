"""What kind of module a group of tensors is, from its class where the file records it, else from names and shapes.

A state_dict records no classes: `Linear` is then an inference from a two-dimensional weight, and is marked as one. Kinds
carry a category, which gives tables and pictures their colours.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.core.tensor import Shape

EMBEDDING, ATTENTION, MLP, NORM, CONV, HEAD, LINEAR, RECURRENT, BLOCK, OTHER = (
    "embedding",
    "attention",
    "mlp",
    "norm",
    "conv",
    "head",
    "linear",
    "recurrent",
    "block",
    "other",
)


class Kind(NamedTuple):
    """`name` (Linear …), `detail` (in → out and the like), `category`, and whether it is inferred.

    `whole`: what is in the module makes up one thing and is shown as one, as the two matrices of a LoRA are.
    """

    name: str
    detail: str
    category: str
    inferred: bool = True
    whole: bool = False


LONGEST_NAME = 200  # characters of the name of a module that say what it is
# A name may be a megabyte long, so each pattern tries every place of a name once: what can be of any length stands behind a beginning
# that is found once, or takes whatever follows. WORDS goes to the letters, digits and underscores that a name ends in.
WORDS = r"(?>(?:.*\W)?)"
BEHIND = rf"{WORDS}(?:\w*?_|(?<![^.]))"  # to a word among these that a name, a dot or an underscore comes before
EMBEDDING_NAME = re.compile(
    r"(.*[._])?(w[tp]e|embs?|embd|shared|relative_attention_bias|token_types)(_table)?|.*embed(ding|dings|der)?s?(_table)?|"
    rf"{BEHIND}embed_\w+",
    re.IGNORECASE | re.DOTALL,
)
NORM_NAME = re.compile(r".*norm.*|(.*[._])?((ln|rms).*|(bn|gn)\d*)", re.IGNORECASE | re.DOTALL)
GROUP_NORM_NAME = re.compile(r"(gn\d*|group_?norm\d*)$", re.IGNORECASE)
HEAD_NAME = re.compile(
    r"(.*_)?head|lm_head|output|out_head|output_layer|classifier|fc|embed_out|score|logits|generator|proj_out|decoder_out|vocab_proj",
    re.IGNORECASE,
)
ATTENTION_NAME = re.compile(r".*(attn|attention).*|att|sa|ca", re.IGNORECASE | re.DOTALL)
MLP_NAME = re.compile(r"(.*_)?(mlp|ff|feed_?forward|intermediate|densereludense|expert|moe).*", re.IGNORECASE | re.DOTALL)
MANY_ROWS = (
    4  # times as many rows as columns make an "encoder" an embedding and a "decoder" a head, as in language models on LSTMs
)
FEED_FORWARD_NAME = re.compile(
    r"(linear|fc|lin|w_|intermediate)\d*(\.\w+)?|ffn\w*|c_fc|output(\.dense)?|dense_(h_to_4h|4h_to_h)"
)  # in a layer
TOKEN_NAME = re.compile(  # learned vectors
    rf"(.*[._])?(class_embedding|(cls|reg|mask|dist)_tokens?)|{BEHIND}pos(ition)?_?emb\w*", re.DOTALL
)
CONV1D_NAMES = ("c_attn", "c_proj", "c_fc", "q_attn")
MULTIHEAD = "MultiheadAttention"  # shown as one
RECURRENT_GATES = {4: "LSTM", 3: "GRU", 1: "RNN"}
QUERY = (
    "q_proj", "query", "q", "q_lin", "to_q", "wq", "W_query", "q_a_proj", "w_q", "query_proj", "linear_q", "attn_q", "attn_q_a",
)  # fmt: skip
KEY = (
    "k_proj", "key", "k", "k_lin", "to_k", "wk", "W_key", "kv_a_proj_with_mqa", "w_k", "key_proj", "linear_k", "attn_k",
    "attn_kv_a_mqa",
)  # fmt: skip
FUSED_QKV = ("qkv", "c_attn", "query_key_value", "qkv_proj", "Wqkv", "wqkv", "to_qkv", "W_pack", "attn_qkv")
GATE = ("gate_proj", "w1", "gate", "wi_0", "linear_1_gate")
UP = ("up_proj", "w3", "up", "wi_1")
DOWN = ("down_proj", "w2", "down", "wo")
FUSED_GATE = ("gate_up_proj",)
# llama.cpp puts the parts of attention and MLP side by side into a layer, and the experts of an MLP into one tensor.
LAYER_ATTENTION = re.compile(r"(cross_|self_|vis_)?attn_(q|k|v|o|qkv|out|output|gate|sinks|[qk]v?_(a|b|a_mqa)|v_b)")
LAYER_MLP = re.compile(r"ffn_(up|down|gate)(_\w+)?")
LAYER_GATES = ("ffn_gate", "ffn_gate_inp", "ffn_gate_exps", "ffn_gate_up_exps")
LAYER_EXPERTS = re.compile(r"ffn_\w+_(ch)?exps")
ROPE_FACTORS = frozenset(("rope_freqs", "rope_factors_long", "rope_factors_short"))

CLASS_CATEGORIES = (
    (r"Embedding", EMBEDDING), (r"Norm", NORM), (r"Conv", CONV), (r"LSTM|GRU|RNN", RECURRENT), (r"Attention", ATTENTION),
    (r"(MLP|FeedForward|Mlp)\Z", MLP), (r"Linear", LINEAR),
)  # fmt: skip


def kind_of(name: str, tensors: dict[str, Shape], children: dict[str, Kind], class_name: str | None, *, top: bool) -> Kind:
    """The kind of the module called `name` with these direct tensors (leaf name → shape) and child modules.

    `top` says that nothing numbered encloses it, so that it can be the head of the network.
    """
    if len(name) > LONGEST_NAME:
        name = ""
    inferred = infer(name, tensors, children, top=top)
    if class_name is None:
        return inferred
    short = class_name.rpartition(".")[2]
    category = next((category for pattern, category in CLASS_CATEGORIES if re.search(pattern, short)), inferred.category)
    if category == LINEAR and inferred.category == HEAD:
        category = HEAD
    return inferred._replace(name=short, category=category, inferred=False, whole=short == MULTIHEAD)


def infer(name: str, tensors: dict[str, Shape], children: dict[str, Kind], *, top: bool) -> Kind:
    """The structural kind; a Kind without a name says that nothing can be told."""
    if "in_proj_weight" in tensors and len(tensors["in_proj_weight"]) == 2:
        return Kind(MULTIHEAD, f"{tensors['in_proj_weight'][1]:,}", ATTENTION, whole=True)
    if len(tensors.get("q_proj_weight", ())) == 2 and "k_proj_weight" in tensors:
        return Kind(MULTIHEAD, f"{tensors['q_proj_weight'][0]:,}", ATTENTION, whole=True)
    if children:
        return _container(name, tensors, children)
    if "running_mean" in tensors:
        return Kind("BatchNorm", f"{_first(tensors['running_mean']):,}", NORM)
    recurrent = _recurrent(tensors)
    if recurrent:
        return recurrent
    if "qweight" in tensors:
        return Kind(
            "quantised Linear", _quantised(tensors), HEAD if top and HEAD_NAME.fullmatch(name.rpartition(".")[2]) else LINEAR
        )
    for leaf in ("weight", "weight_orig", "weight_packed", "kernel"):
        if leaf in tensors:
            return _weighted(name, tensors[leaf], tensors.get("bias"), top)
    if (
        set(tensors) <= {"gamma", "beta", "scale", "shift", "g", "b"}
        and ("gamma" in tensors or "scale" in tensors)
        and NORM_NAME.fullmatch(name)
    ):
        scale = tensors.get("gamma", tensors.get("scale", ()))
        return Kind("LayerNorm" if len(tensors) > 1 else "RMSNorm", f"{_first(scale):,}", NORM)
    if "inv_freq" in tensors:
        return Kind("RotaryEmbedding", "", OTHER)
    return Kind("", "", OTHER)


def _quantised(tensors: dict[str, Shape]) -> str:
    """in → out of packed weights: GPTQ lists the group of each input in g_idx, AWQ packs the outputs; scales are groups × out."""
    packed, scales, groups = tensors["qweight"], tensors.get("scales", ()), tensors.get("g_idx", ())
    if len(packed) != 2 or len(scales) != 2:
        return ""
    return f"{groups[0] if len(groups) == 1 else packed[0]:,} → {scales[1]:,}"


def _weighted(name: str, weight: Shape, bias: Shape | None, top: bool) -> Kind:
    """A module whose main tensor is `weight`, by the number of its dimensions."""
    last = name.rpartition(".")[2]
    if last in ROPE_FACTORS:
        return Kind("RotaryEmbedding", _times(weight), OTHER)
    if len(weight) == 3 and (LAYER_EXPERTS.fullmatch(last) or LAYER_ATTENTION.fullmatch(last)):
        experts = last.endswith("exps")
        return Kind(
            "experts" if experts else "Linear", f"{weight[0]:,} × {weight[2]:,} → {weight[1]:,}", MLP if experts else LINEAR
        )
    if len(weight) == 2 and last == "ssm_conv1d":
        return Kind("Conv1d", f"{weight[0]:,}, {weight[1]}", CONV)
    if len(weight) == 0 or (len(weight) == 1 and not NORM_NAME.fullmatch(last)):
        return Kind(
            "LayerNorm" if bias is not None and len(weight) == 1 else "scale" if weight else "scalar",
            _times(weight),
            NORM if bias is not None else OTHER,
        )
    if len(weight) == 1:
        if bias is None:
            return Kind("RMSNorm", _times(weight), NORM)
        return Kind("GroupNorm" if GROUP_NORM_NAME.search(last) else "LayerNorm", _times(weight), NORM)
    if len(weight) == 2:
        out, into = weight
        if top and last == "encoder" and bias is None and out >= MANY_ROWS * into:
            return Kind("Embedding", f"{out:,} × {into:,}", EMBEDDING)
        if bias is None and EMBEDDING_NAME.fullmatch(last) and not HEAD_NAME.fullmatch(last):
            return Kind("Embedding", f"{out:,} × {into:,}", EMBEDDING)
        if last in CONV1D_NAMES and bias is not None and bias == (into,):
            return Kind("Conv1D", f"{out:,} → {into:,}", LINEAR)  # GPT-2's: a Linear with its weight transposed
        head = top and (HEAD_NAME.fullmatch(last) or (last == "decoder" and out >= MANY_ROWS * into))
        return Kind("Linear", f"{into:,} → {out:,}", HEAD if head else LINEAR)
    dims = len(weight) - 2
    if dims > 3:
        return Kind("", _times(weight), OTHER)
    kernel = "×".join(str(extent) for extent in weight[2:])
    transposed = bias is not None and len(bias) == 1 and bias[0] == weight[1] != weight[0]
    out, into = (weight[1], weight[0]) if transposed else (weight[0], weight[1])
    return Kind(f"Conv{'Transpose' if transposed else ''}{dims}d", f"{into:,} → {out:,}, {kernel}", CONV)


def _recurrent(tensors: dict[str, Shape]) -> Kind | None:
    """An LSTM, GRU or RNN by the rows of weight_hh: 4, 3 or 1 for each of the hidden state; with projections that is wider than weight_hh."""
    into, state = tensors.get("weight_ih_l0", tensors.get("weight_ih")), tensors.get("weight_hh_l0", tensors.get("weight_hh"))
    if not into or not state or len(into) != 2 or len(state) != 2 or not state[1]:
        return None
    projected = tensors.get("weight_hr_l0", ())
    hidden = projected[1] if len(projected) == 2 and projected[1] else state[1]
    gates, rest = divmod(state[0], hidden)
    name = RECURRENT_GATES.get(gates, "") if not rest else ""
    layers = sum(leaf.startswith("weight_ih_l") and not leaf.endswith("_reverse") for leaf in tensors)
    extra = f" projected to {projected[0]:,}" if projected else ""
    extra += f", {layers} layers" if layers > 1 else ""
    extra += ", bidirectional" if "weight_ih_l0_reverse" in tensors else ""
    cell = "Cell" if "weight_ih" in tensors and name else ""
    return Kind((name or "recurrent layer") + cell, f"{into[1]:,} → {hidden:,}{extra}", RECURRENT)


def _container(name: str, tensors: dict[str, Shape], children: dict[str, Kind]) -> Kind:
    """A module of modules: said structurally, in small letters, because its class is not in the file."""
    names = set(children)
    last = name.rpartition(".")[2]
    layer = _flat_layer(names)
    if layer:
        return Kind(layer, "", BLOCK)
    if "A_log" in tensors:
        return Kind("state-space mixer", "", RECURRENT)
    if (names & set(QUERY) and (names & set(KEY) or ATTENTION_NAME.fullmatch(last))) or (
        names & set(FUSED_QKV) and ATTENTION_NAME.fullmatch(last)
    ):
        return Kind("attention", "", ATTENTION)
    if (names & set(GATE) and names & set(UP) and names & set(DOWN)) or (names & set(FUSED_GATE) and names & set(DOWN)):
        return Kind("gated MLP", "", MLP)
    if "experts" in names:
        return Kind("mixture of experts", "", MLP)
    categories = [kind.category for kind in children.values()]
    attentions = categories.count(ATTENTION)
    if (
        attentions
        and not name.rpartition(".")[2].isdecimal()
        and categories.count(ATTENTION) == 1
        and ATTENTION_NAME.fullmatch(last)
    ):
        return Kind("attention", "", ATTENTION)
    if attentions and (MLP in categories or LINEAR in categories or NORM in categories):
        crossed = attentions > 1 or any(
            "cross" in child or child == "multihead_attn" or child == "encoder_attn" for child in names
        )
        return Kind("decoder layer" if crossed or _gated(children) else "transformer layer", "", BLOCK)
    convolves = any(kind.category == CONV and kind.name.startswith("Conv") for kind in children.values())
    if ((last.isdecimal() and CONV in categories) or convolves) and set(categories) <= {CONV, NORM, LINEAR, OTHER}:
        return Kind("conv block", "", CONV)
    if MLP_NAME.fullmatch(last) and set(categories) <= {LINEAR, MLP, NORM, OTHER, HEAD} and LINEAR in categories:
        return Kind("MLP", "", MLP)
    return Kind("", "", OTHER)


def _flat_layer(names: set[str]) -> str:
    """What a layer is whose attention and MLP stand side by side in it; "" where it is no such layer."""
    if "ssm_out" in names:
        return "state-space layer"
    if "time_mix_output" in names:
        return "RWKV layer"
    if not any(LAYER_ATTENTION.fullmatch(child) for child in names) or not any(LAYER_MLP.fullmatch(child) for child in names):
        return ""
    decodes = not names.isdisjoint(LAYER_GATES) or "cross_attn_q" in names
    return "decoder layer" if decodes else "transformer layer"


def belongs(category: str, name: str, around: str) -> str:
    """The category of a module, or of a tensor, in a module of category `around`: a Linear in an attention is part of it."""
    if category not in (LINEAR, OTHER):
        return category
    if TOKEN_NAME.fullmatch(name):
        return EMBEDDING
    if around in (ATTENTION, MLP, RECURRENT):
        return around
    if around == BLOCK and LAYER_ATTENTION.fullmatch(name):
        return ATTENTION
    return MLP if around == BLOCK and FEED_FORWARD_NAME.fullmatch(name) else category


def _gated(children: dict[str, Kind]) -> bool:
    return any(kind.name in ("gated MLP", "mixture of experts") for kind in children.values())


def _first(shape: Shape) -> int:
    return shape[0] if shape else 1


def _times(shape: Shape) -> str:
    return " × ".join(f"{extent:,}" for extent in shape) or "1"
