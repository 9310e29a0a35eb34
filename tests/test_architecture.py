"""Facts about the architecture, only where names and shapes or config.json show them."""

from __future__ import annotations

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from tests.tables import checkpoint_of, linear, transformer


def facts(shapes, **rest):
    ledger = Ledger(checkpoint_of(shapes, **rest))
    return {fact.key: fact for fact in read_architecture(ledger, ModuleTree(ledger).outline())}


def test_layers_width_and_vocabulary():
    found = facts(transformer(4, 8, hidden=32, vocabulary=50))
    assert found["layers"].value == 4
    assert found["layers"].evidence == "model.layers.0–3"
    assert found["vocabulary"].value == 50
    assert found["hidden_size"].value == 8
    assert found["feed_forward"].value == 32
    assert "gated MLP" in found["feed_forward"].text
    assert all(fact.evidence for fact in found.values())


def test_attention_by_the_widths_of_queries_and_keys():
    assert facts(transformer(2, 8))["attention"].value == "MHA"
    grouped = facts(transformer(2, 8, kv=2))["attention"]
    assert grouped.value == "GQA or MQA"  # widths alone cannot tell
    assert "4 query heads to a key head" in grouped.text


def test_compressed_keys_are_as_wide_as_their_norm():
    """The projection to them also makes the rotary key, which is not compressed."""
    shapes = {"embed_tokens.weight": (50, 8)}
    for layer in range(2):
        at = f"layers.{layer}.self_attn"
        shapes |= {
            f"{at}.q_a_proj.weight": (6, 8),
            f"{at}.kv_a_proj_with_mqa.weight": (5, 8),
            f"{at}.kv_a_layernorm.weight": (4,),
        }
    found = facts(shapes)["attention"]
    assert found.value == "MLA"
    assert found.evidence.endswith("compresses them to 4")


def test_heads_need_a_config():
    assert "heads" not in facts(transformer(2, 8))["attention"].text
    config = {"num_attention_heads": 4, "num_key_value_heads": 1, "model_type": "llama"}
    found = facts(transformer(2, 8, kv=2), config=config)
    assert found["attention"].value == "MQA"
    assert "4 heads (config.json)" in found["attention"].text
    assert (found["model_type"].value, found["model_type"].inferred) == ("llama", False)


def test_fused_queries_keys_and_values():
    shapes = {"wte.weight": (50, 8)}
    for number in range(2):
        shapes |= {f"h.{number}.attn.c_attn.weight": (8, 24), f"h.{number}.attn.c_attn.bias": (24,)}
        shapes |= {f"h.{number}.attn.c_proj.weight": (8, 8), f"h.{number}.attn.c_proj.bias": (8,)}
        shapes |= {f"h.{number}.mlp.c_fc.weight": (8, 32), f"h.{number}.mlp.c_fc.bias": (32,)}
        shapes |= {f"h.{number}.mlp.c_proj.weight": (32, 8), f"h.{number}.mlp.c_proj.bias": (8,)}
    found = facts(shapes)
    assert found["attention"].value == "MHA"
    assert found["layers"].value == 2


def test_experts():
    shapes = transformer(2, 8)
    for layer in range(2):
        shapes |= linear(f"model.layers.{layer}.block_sparse_moe.gate", 4, 8, bias=False)
        for expert in range(4):
            for name, out, into in (("w1", 16, 8), ("w2", 8, 16), ("w3", 16, 8)):
                shapes |= linear(f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{name}", out, into, bias=False)
    found = facts(shapes, config={"num_experts_per_tok": 2})
    assert found["experts"].value == 4
    assert "2 active" in found["experts"].text


def test_tied_head():
    tied = facts(transformer(2), ties={"lm_head.weight": "model.embed_tokens.weight"})["tied_head"]
    assert (tied.value, tied.inferred) == (True, False)
    assert facts(transformer(2))["tied_head"].value is False


def test_tied_head_by_config_where_the_file_has_none():
    shapes = {name: shape for name, shape in transformer(2).items() if name != "lm_head.weight"}
    assert facts(shapes)["tied_head"].value is None
    assert facts(shapes, config={"tie_word_embeddings": True})["tied_head"].value is True


def test_convolutions_have_no_such_facts():
    assert (
        facts({"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 3, 3), "fc.weight": (10, 64), "fc.bias": (10,)})
        == {}
    )


def test_config_of_any_kind_does_no_harm():
    for config in (
        {"num_attention_heads": "many"},
        {"text_config": {"num_attention_heads": 4}},
        {"text_config": 3},
        {"model_type": ["x"]},
    ):
        assert "layers" in facts(transformer(2), config=config)


def test_language_model_on_an_lstm():
    shapes = {"encoder.weight": (100, 6), "rnn.weight_ih_l0": (24, 6), "rnn.weight_hh_l0": (24, 6), "rnn.bias_ih_l0": (24,)}
    shapes |= linear("decoder", 100, 6)
    found = facts(shapes, ties={"decoder.weight": "encoder.weight"})
    assert (found["recurrent"].value, found["recurrent"].text) == ("LSTM", "LSTM 6 → 6")
    assert found["recurrent"].evidence == "rnn.weight_hh_l0 has 24 rows = 4 × 6"
    assert (found["vocabulary"].value, found["embedding_size"].value) == (100, 6)
    assert (found["tied_head"].value, found["tied_head"].text) == (True, "tied to encoder")


def test_recurrent_modules_without_words():
    shapes = {f"stack.{n}.weight_{way}_l0": (18, 6) for n in (0, 1) for way in ("ih", "hh")}
    assert facts(shapes)["recurrent"].text == "GRU 6 → 6"
    assert "vocabulary" not in facts(shapes | {"encoder.weight": (6, 6)})
