"""Modules in the order they run, whatever the order of the file; and arrows only where one is known to take what another gives."""

from __future__ import annotations

import random

import pytest

from modelscope_cli.analysis.execution_order import known_rank, order_known, run_order, runs_after
from tests.drawn import diagram_of, groups, paths, titles
from tests.families import FAMILIES, Shapes
from tests.tables import linear

# family and module → its parts in the order of its forward(); they are handed in as they are registered
ORDERS = {
    "Llama": ("embed_tokens layers norm", "embed_tokens layers norm"),
    "Llama, whole": ("model lm_head", "model lm_head"),
    "Llama layer": (
        "self_attn mlp input_layernorm post_attention_layernorm",
        "input_layernorm self_attn post_attention_layernorm mlp",
    ),
    "Llama attention": ("q_proj k_proj v_proj o_proj", "q_proj k_proj v_proj o_proj"),
    "Llama MLP": ("gate_proj up_proj down_proj", "gate_proj up_proj down_proj"),
    "Gemma layer": (
        "self_attn mlp input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm",
        "input_layernorm self_attn post_attention_layernorm pre_feedforward_layernorm mlp post_feedforward_layernorm",
    ),
    "GPT-2": ("wte wpe h ln_f", "wte wpe h ln_f"),
    "GPT-2 layer": ("ln_1 attn ln_2 mlp", "ln_1 attn ln_2 mlp"),
    "GPT-2 attention": ("c_attn c_proj", "c_attn c_proj"),
    "GPT-2 MLP": ("c_fc c_proj", "c_fc c_proj"),
    "GPT-2 by hand": ("tok_emb pos_emb trf_blocks final_norm out_head", "tok_emb pos_emb trf_blocks final_norm out_head"),
    "Mixtral layer": (
        "self_attn block_sparse_moe input_layernorm post_attention_layernorm",
        "input_layernorm self_attn post_attention_layernorm block_sparse_moe",
    ),
    "Mixtral experts": ("gate experts", "gate experts"),
    "Mixtral expert": ("w1 w2 w3", "w1 w3 w2"),
    "DeepSeek attention": (
        "q_a_proj q_a_layernorm q_b_proj kv_a_proj_with_mqa kv_a_layernorm kv_b_proj o_proj",
        "q_a_proj q_a_layernorm q_b_proj kv_a_proj_with_mqa kv_a_layernorm kv_b_proj o_proj",
    ),
    "DeepSeek experts": ("experts gate shared_experts", "gate experts shared_experts"),
    "ResNet": ("conv1 bn1 layer1 layer2 layer3 layer4 fc", "conv1 bn1 layer1 layer2 layer3 layer4 fc"),
    "ResNet block": ("conv1 bn1 conv2 bn2 conv3 bn3 downsample", "conv1 bn1 conv2 bn2 conv3 bn3 downsample"),
    "U-Net": (
        "inc down1 down2 down3 down4 up1 up2 up3 up4 outc",
        "inc down1 down2 down3 down4 up1 up2 up3 up4 outc",
    ),
    "U-Net of diffusers": (
        "conv_in time_embedding down_blocks up_blocks mid_block conv_norm_out conv_out",
        "down_blocks mid_block up_blocks conv_norm_out conv_out",
    ),
    "TransformerDecoderLayer": (
        "self_attn multihead_attn linear1 linear2 norm1 norm2 norm3",
        "self_attn norm1 multihead_attn norm2 linear1 linear2 norm3",
    ),
    "TransformerEncoderLayer": (
        "self_attn linear1 linear2 norm1 norm2",
        "self_attn norm1 linear1 linear2 norm2",
    ),
}  # fmt: skip


def ordered(names: list[str], *, registered: bool) -> list[str]:
    return [names[position] for position in run_order(names, registered=registered)]


@pytest.mark.parametrize(("registration", "execution"), ORDERS.values(), ids=ORDERS)
def test_parts_in_the_order_they_run(registration, execution):
    """Parts that run side by side or first (time_embedding, conv_in) may stand either way; they are left out on the right."""
    wanted = execution.split()
    found = [name for name in ordered(registration.split(), registered=True) if name in wanted]
    assert found == wanted


@pytest.mark.parametrize(("registration", "execution"), ORDERS.values(), ids=ORDERS)
def test_parts_in_the_order_they_run_when_the_file_has_lost_it(registration, execution):
    names, wanted = registration.split(), execution.split()
    for seed in range(20):
        random.Random(seed).shuffle(names)
        assert [name for name in ordered(names, registered=False) if name in wanted] == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shuffled_file_gives_the_same_drawing(family):
    shapes = FAMILIES[family]
    wanted = diagram_of(shapes)
    for names in (sorted(shapes), random.Random(1).sample(list(shapes), len(shapes))):
        found = diagram_of({name: shapes[name] for name in names}, ordered=False)
        assert titles(found) == titles(wanted)
        assert paths(found) == paths(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_order_of_a_lost_order_does_not_depend_on_the_file(family):
    shapes = FAMILIES[family]
    found = {
        tuple(
            paths(
                diagram_of(
                    {name: shapes[name] for name in random.Random(seed).sample(list(shapes), len(shapes))}, ordered=False
                )
            )
        )
        for seed in range(5)
    }
    assert len(found) == 1


def test_unknown_names_keep_the_order_of_registration():
    names = ["zeta", "alpha", "mu", "beta"]
    assert ordered(names, registered=True) == names
    assert ordered(names, registered=False) == sorted(names)


def test_one_unknown_name_keeps_all_in_the_order_of_registration():
    names = ["mlp", "surprise", "self_attn", "input_layernorm"]
    assert ordered(names, registered=True) == names


def test_unknown_names_stand_where_layers_do():
    assert known_rank("surprise") is None
    assert ordered(["lm_head", "surprise", "embed_tokens"], registered=False) == ["embed_tokens", "surprise", "lm_head"]


def test_numbers_count():
    names = [f"block{number}" for number in (10, 9, 2, 1)]
    assert ordered(names, registered=False) == ["block1", "block2", "block9", "block10"]
    deep = [f"stage{number}.conv" for number in (11, 2)]
    assert ordered(deep, registered=False) == ["stage2.conv", "stage11.conv"]


@pytest.mark.parametrize("name", ["", ".", "0", "9" * 5000, "a" * 5000, "层", "conv" + "1" * 40, "\x00", "(" * 200, "٣"])
def test_any_name_has_a_place(name):
    assert sorted(run_order([name, "layers", name], registered=False)) == [0, 1, 2]
    assert runs_after(name, name, known=False) in (True, False)


# Arrows ----------------------------------------------------------------------------------------------------------------

SIDE_BY_SIDE = [
    ("q_proj", "k_proj"), ("k_proj", "v_proj"), ("query", "key"), ("key", "value"), ("wq", "wk"), ("wk", "wv"),
    ("W_query", "W_key"), ("to_q", "to_k"), ("q_lin", "k_lin"), ("gate_proj", "up_proj"), ("w1", "w3"), ("wi_0", "wi_1"),
    ("experts", "shared_experts"), ("shared_experts", "shared_expert_gate"), ("wte", "wpe"), ("tok_emb", "pos_emb"),
    ("word_embeddings", "position_embeddings"), ("generator", "discriminator"), ("netG", "netD"), ("actor", "critic"),
    ("student", "teacher"), ("text_model", "vision_model"), ("vae", "unet"),
    ("q_b_proj", "kv_a_proj_with_mqa"),  # of latent attention, where q has two steps: both begin at the input
]  # fmt: skip
FLOWS = [
    ("embed_tokens", "layers"), ("layers", "norm"), ("norm", "lm_head"), ("model", "lm_head"), ("v_proj", "o_proj"),
    ("up_proj", "down_proj"), ("input_layernorm", "self_attn"), ("self_attn", "post_attention_layernorm"), ("gate", "experts"),
    ("q_a_proj", "q_a_layernorm"), ("kv_a_layernorm", "kv_b_proj"), ("layer1", "layer2"), ("layer4", "fc"), ("0", "1"), ("9", "10"),
    ("down4", "up1"), ("linear1", "linear2"),
]  # fmt: skip


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("before", "name"), SIDE_BY_SIDE)
def test_no_arrow_between_what_runs_side_by_side(before, name, known):
    assert not runs_after(name, before, known=known)


@pytest.mark.parametrize(("before", "name"), FLOWS)
def test_an_arrow_where_both_names_are_known(before, name):
    assert runs_after(name, before, known=order_known([before, name]))


def test_an_arrow_between_unknown_names_only_by_registration():
    assert runs_after("beta", "alpha", known=True)
    assert not runs_after("beta", "alpha", known=order_known(["alpha", "beta"]))
    assert not runs_after("norm", "self_attn", known=order_known(["self_attn", "norm", "surprise"]))


@pytest.mark.parametrize(
    "names",
    [
        ["fc1", "fc2", "fc3"],
        ["conv1", "conv2", "fc1", "fc2", "fc3"],
        ["dense_h_to_4h", "dense_4h_to_h"],
        ["wi_0", "wi_1", "wo"],
        ["gpt_neox", "embed_out"],
        ["q_proj", "k_proj", "v_proj", "k_norm", "q_norm", "o_proj"],
        ["layernorm_before", "attention", "layernorm_after", "intermediate", "output"],
        ["q_lin", "k_lin", "v_lin", "out_lin"],
        ["attention", "sa_layer_norm", "ffn", "output_layer_norm"],
        ["word_embeddings", "word_embeddings_layernorm", "h", "ln_f"],
        ["embed_positions", "layernorm_embedding", "layers"],
        ["feature_extractor", "feature_projection", "masked_spec_embed", "encoder"],
        ["norm1", "attn1", "norm2", "attn2", "norm3", "ff"],
        ["norm", "proj_in", "transformer_blocks", "proj_out"],
        ["norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"],
        ["resnets", "attentions", "downsamplers"],
        ["conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out"],
        ["conv0", "norm0", "denseblock1", "transition1", "denseblock2", "norm5"],
        ["features", "classifier"],
    ],
)
def test_blocks_of_well_known_models_that_safetensors_has_sorted(names):
    assert ordered(sorted(names), registered=False) == names


def test_layers_that_norm_first_or_last_have_no_arrows():
    """Whisper and OPT norm first, BART last, under the same names."""
    names = ["self_attn", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"]
    assert not order_known(names)
    shapes: Shapes = {}
    for name in names:
        shapes |= linear(f"layers.0.{name}", 8, 8) if name.startswith("fc") else {f"layers.0.{name}.weight": (8,)}
    for ordered_file in (True, False):
        diagram = diagram_of(shapes, ordered=ordered_file)
        assert not any(any(group.flows) for group in groups(diagram))


def adapters(names: list[str], path: str = "layers.0.self_attn") -> Shapes:
    """Each with a LoRA pair, so that parts of an attention are blocks of their own."""
    shapes: Shapes = {}
    for name in names:
        shapes |= linear(f"{path}.{name}.base_layer", 8, 8, bias=False)
        shapes |= linear(f"{path}.{name}.lora_A.default", 2, 8, bias=False) | linear(
            f"{path}.{name}.lora_B.default", 8, 2, bias=False
        )
    return shapes


@pytest.mark.parametrize(
    ("names", "arrows"),
    [
        (["q_proj", "k_proj", "v_proj", "o_proj"], [False, False, True]),
        (["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"], [True, False, True, True]),
    ],
)
def test_arrows_of_a_drawing(names, arrows):
    (attention,) = [
        group for group in groups(diagram_of(adapters(names))) if group.kind == "attention" and len(group.blocks) > 1
    ]
    assert list(attention.flows) == arrows


def test_the_caption_says_when_arrows_are_missing():
    def said(shapes: Shapes, *, registered: bool) -> bool:
        return any("Where no arrow is drawn" in caption for caption in diagram_of(shapes, ordered=registered).captions)

    strange = {**linear("alpha.one", 4, 4), **linear("alpha.two", 4, 4), **linear("beta.one", 3, 4), **linear("beta.two", 4, 3)}
    assert not said(strange, registered=True)
    assert said(strange, registered=False)
    assert said(adapters(["q_proj", "k_proj"]), registered=True)


@pytest.mark.parametrize(
    ("registered", "words"), [(True, "the order of registration and known names"), (False, "from known names")]
)
def test_the_caption_says_where_the_order_is_from(registered, words):
    assert words in diagram_of(FAMILIES["llama"], ordered=registered).captions[0]
