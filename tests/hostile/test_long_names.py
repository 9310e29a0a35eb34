"""Names of hundreds of thousands of characters: to try every way to read one would take minutes, each takes a moment."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import kinds
from modelscope_cli.analysis.assembled import HOLDER
from modelscope_cli.analysis.execution_order import EXECUTION_ORDER
from modelscope_cli.analysis.experts import FLAT, SLICED
from modelscope_cli.analysis.flow_cards import ACTIVATION_CLASS, NORM_CLASS
from modelscope_cli.analysis.kinds import kind_of
from modelscope_cli.analysis.roles import MODEL_NAME, SECTION_NAMES, fits
from modelscope_cli.formats import slices

LENGTH = 100_000
WORDS = (
    "a_", "_", "norm", "ln_", "embed_", "_embed_", "attn", "_ff_", "_moe", "position_", "tok_emb_", "_posemb", "ffn_", "lora_",
    "rng_", "state_dict", "dataloader", "model_", "ReLU", "BatchNorm", "Norm", "RNN", "mlp.", ".rope", "norm_", "Embedding", "1", "a.",
)  # fmt: skip
ENDS = ("", "-", "\n", ".-")


@pytest.mark.parametrize("word", WORDS)
def test_every_place_of_a_name_is_tried_once(word):
    for end in ENDS:
        name = word * (LENGTH // len(word)) + end
        for pattern in (
            kinds.EMBEDDING_NAME, kinds.NORM_NAME, kinds.HEAD_NAME, kinds.ATTENTION_NAME, kinds.MLP_NAME, kinds.TOKEN_NAME,
            ACTIVATION_CLASS, NORM_CLASS, HOLDER, SLICED,
        ):  # fmt: skip
            pattern.fullmatch(name)
        for pattern in (FLAT, slices.COPIES, slices.NORM):
            pattern.search(name)
        for said in (*EXECUTION_ORDER, MODEL_NAME, *[said for _, said in SECTION_NAMES]):
            fits(said, name)


@pytest.mark.parametrize("name", [word * (LENGTH // len(word)) + "-" for word in WORDS[:8]])
def test_a_module_of_such_a_name_is_told_by_its_shapes(name):
    assert kind_of(name, {"weight": (4, 8)}, {}, None, top=True).name == "Linear"
    assert kind_of("layer", {"weight": (4, 8)}, {}, f"a.{name}", top=True).name == name.rpartition(".")[2]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        (kinds.EMBEDDING_NAME, "text.embed_tokens", True),
        (kinds.EMBEDDING_NAME, "x_embed_in", True),
        (kinds.EMBEDDING_NAME, "wordembeddings_table", True),
        (kinds.EMBEDDING_NAME, "xembed_tokens", False),
        (kinds.EMBEDDING_NAME, "a-embed_tokens", False),
        (kinds.EMBEDDING_NAME, "embed_tokens.x", False),
        (kinds.TOKEN_NAME, "x.pos_embed", True),
        (kinds.TOKEN_NAME, "abs_position_emb1", True),
        (kinds.TOKEN_NAME, "xpos_embed", False),
        (kinds.NORM_NAME, "h_ln_f", True),
        (kinds.NORM_NAME, "bn12", True),
        (kinds.NORM_NAME, "bnx", False),
    ],
)
def test_words_stand_behind_a_dot_or_an_underscore(pattern, name, fits):
    assert (pattern.fullmatch(name) is not None) is fits
