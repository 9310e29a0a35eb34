"""What attention a layer has: MHA, GQA, MQA or MLA, with the shapes that show it. A number of heads has to be said by somebody."""

from __future__ import annotations

from modelscope_cli.analysis.architecture_weights import IN_PROJ, Architecture, last_part
from modelscope_cli.analysis.kinds import FUSED_QKV, KEY, QUERY
from modelscope_cli.core.tensor import Shape

CROSSED = ("multihead_attn.", "encoder_attn.", "layer.1.EncDecAttention.")
CONFIG_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
CONFIG_KV_HEADS = ("num_key_value_heads", "n_head_kv", "multi_query_group_num", "num_kv_heads")


def attention_facts(found: Architecture, path: str, layer: dict[str, Shape]) -> None:
    heads, heads_from = config_number(found, CONFIG_HEADS), found.source
    for record_path, record in found.ledger.checkpoint.modules.items():
        if heads is None and isinstance(record.attributes.get("num_heads"), int) and record_path.startswith(path):
            heads, heads_from = record.attributes["num_heads"], "recorded num_heads"
    kv_heads, head = config_number(found, CONFIG_KV_HEADS), config_number(found, ("head_dim",)) or 0
    query = next((shape for name, shape in layer.items() if last_part(name) in QUERY), None)
    key = next((shape for name, shape in layer.items() if last_part(name) in KEY), None)
    matrices = {name: shape for name, shape in layer.items() if len(shape) == 2}
    latent = next((name for name in matrices if last_part(name) in ("kv_a_proj_with_mqa", "kv_a_proj", "attn_kv_a_mqa")), None)
    fused = next(((name, shape) for name, shape in matrices.items() if last_part(name) in (*FUSED_QKV, IN_PROJ)), None)
    given = f", {heads} heads ({heads_from})" if heads else ""
    if latent is not None:
        found.add(
            "attention",
            "Attention",
            "MLA",
            f"MLA (compressed keys and values){given}",
            f"{latent} compresses them to {_latent_width(layer, latent):,}",
        )
    elif query and key and len(query) == len(key) == 2:
        if query[0] == key[0]:
            found.add("attention", "Attention", "MHA", f"MHA{given}", f"keys as wide as queries ({key[0]:,})")
        elif key[0] and query[0] % key[0] == 0:
            ratio = query[0] // key[0]
            kv = f", {kv_heads} kv head{'' if kv_heads == 1 else 's'}" if kv_heads and heads else ""
            word = _sharing(kv_heads)
            shared = f"{ratio} query heads to a key head" if word != "MQA" else "one key head for all"
            found.add(
                "attention", "Attention", word, f"{word}, {shared}{given}{kv}", f"queries {query[0]:,} wide, keys {key[0]:,}"
            )
    elif fused:
        name, shape = fused
        out, into = (
            (shape[1], shape[0])
            if last_part(name) == "c_attn" and shape[1] % 3 == 0 and shape[1] == 3 * shape[0]
            else shape[:2]
        )
        output = next(
            (
                s
                for n, s in layer.items()
                if last_part(n) in ("dense", "out", "out_proj", "o_proj", "c_proj", "wo", "attn_output")
                and "mlp" not in n
                and "ff" not in n
            ),
            None,
        )
        said, kv_said = (heads or 0) * head, (kv_heads or 0) * head
        width = said if said and out == said + 2 * kv_said else output[1] if output and len(output) == 2 else into
        if out == 3 * width:
            found.add("attention", "Attention", "MHA", f"MHA{given}", f"{name} is 3 × {width:,} rows")
        elif out > width and (out - width) % 2 == 0:
            side = (out - width) // 2
            kv = f", {kv_heads} kv head{'' if kv_heads == 1 else 's'}" if kv_heads and heads else ""
            word = _sharing(kv_heads)
            found.add(
                "attention",
                "Attention",
                word,
                f"{word}{given}{kv}",
                f"{name} has {out:,} rows: queries {width:,}, keys and values {side:,} each",
            )
    named = (name for _, inside in found.matrices() for name in inside)
    crossed = next((name for name in named if "cross" in name or name.startswith(CROSSED)), None)
    if crossed is not None:
        found.add("cross_attention", "Cross-attention", True, "yes", crossed.rpartition(".")[0] or crossed)


def _sharing(kv_heads: int | None) -> str:
    """What keys narrower than queries are called; without a number of heads the two cannot be told apart."""
    return "GQA or MQA" if kv_heads is None else "MQA" if kv_heads == 1 else "GQA"


def _latent_width(layer: dict[str, Shape], latent: str) -> int:
    """The width of the compressed keys and values: that of their norm; the projection also holds the rotary key."""
    norm = next((shape for name, shape in layer.items() if last_part(name) in ("kv_a_layernorm", "attn_kv_a_norm")), None)
    return norm[0] if norm else layer[latent][0]


def config_number(found: Architecture, names: tuple[str, ...]) -> int | None:
    return next((value for name in names if type(value := found.config.get(name)) is int), None)
