"""What an architecture diagram says: blocks, folds, counts and shares, ties and buffers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.report.diagram import TIED, UNCOUNTED, Card, Diagram, Group, Line
from tests.drawn import blocks, check_sums, diagram_of, groups, lines, titles
from tests.families import FAMILIES, by_hand, convolution, deepseek, gpt2, llama, mixtral, norm, resnet, torch_layers
from tests.families import batch_norm as bn
from tests.opened import opened
from tests.snapshots.checkpoints import CHECKPOINTS
from tests.tables import checkpoint_of, linear


def line(diagram: Diagram, path: str) -> Line:
    (found,) = [each for each, _ in lines(diagram) if each.path == path]
    return found


def group(diagram: Diagram, path: str) -> Group:
    (found,) = [each for each in groups(diagram) if each.path == path]
    return found


# Sums ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"fold": False}, {"levels": 1}, {"levels": 2}, {"levels": 3}, {"ordered": False}], ids=str
)
@pytest.mark.parametrize("family", FAMILIES)
def test_lines_add_up_to_the_model(family, options):
    parameters = sum(Ledger(checkpoint_of(FAMILIES[family])).parameters)
    check_sums(diagram_of(FAMILIES[family], **options), parameters)


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name not in ("sharded", "llama")])
def test_lines_of_files_add_up(name, tmp_path):
    path = tmp_path / CHECKPOINTS[name](tmp_path)
    checkpoint = opened(path.read_bytes(), path.name)
    ledger = Ledger(checkpoint)
    drawn = [line for line, role in enumerate(ledger.roles) if role in ("weight", "bias")]
    check_sums(diagram_of(checkpoint), sum(ledger.parameters[line] for line in drawn))


PARTS = st.sampled_from(
    ["0", "1", "2", "10", "a", "conv1", "bn1", "norm", "self_attn", "q_proj", "mlp", "experts", "layers", "fc", "长", ""]
)
LEAVES = st.sampled_from(["weight", "bias", "running_mean", "steps:int64", "scale", "lora_A", "weight_ih_l0", "weight_hh_l0"])
NAMES = st.builds(lambda parts, leaf: ".".join([*parts, leaf]), st.lists(PARTS, max_size=5), LEAVES)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 1000, 10**6]), max_size=4).map(tuple)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, SHAPES, min_size=1, max_size=40), st.booleans(), st.booleans(), st.sampled_from([None, 1, 2, 3]))
def test_lines_of_any_module_tree_add_up(shapes, ordered, fold, levels):
    checkpoint = checkpoint_of(shapes, ordered=ordered)
    check_sums(diagram_of(checkpoint, fold=fold, levels=levels), sum(Ledger(checkpoint).parameters))


@pytest.mark.parametrize(
    "leaf", ["in_proj_weight", "qkv.weight", "c_attn.weight", "q_proj.weight", "experts.weight", "kv_a_proj.weight"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 0), (2, 0, 3)])
def test_weights_of_odd_shapes_are_drawn(leaf, shape):
    diagram = diagram_of({f"layers.0.attn.{leaf}": shape, "layers.0.mlp.weight": (2, 2)})
    check_sums(diagram, math.prod(shape) + 4)


# Folds -----------------------------------------------------------------------------------------------------------------


def test_equal_layers_are_drawn_once():
    diagram = diagram_of(llama(32))
    layers = group(diagram, "model.layers.0–31")
    assert (layers.fold, layers.copies, layers.title, layers.kind) == (32, 32, "layers.0–31", "decoder layer")
    one = 4 * 64 + 3 * 256 + 16
    assert (layers.each, layers.parameters) == (one, 32 * one)
    assert line(diagram, "model.layers.0–31.self_attn.q_proj").parameters == 64
    assert line(diagram, "model.layers.0–31.self_attn.q_proj").share == pytest.approx(32 * 64 / (32 * one + 2 * 400 + 8))


def test_copies_multiply_in_folds_within_folds():
    diagram = diagram_of(mixtral(layers=32, experts=8))
    experts = group(diagram, "model.layers.0–31.block_sparse_moe.experts.0–7")
    assert (experts.fold, experts.copies, experts.each, experts.parameters) == (8, 256, 3 * 24 * 16, 8 * 3 * 24 * 16)
    moe = group(diagram, "model.layers.0–31.block_sparse_moe")
    assert (moe.fold, moe.copies) == (1, 32)
    assert moe.each == experts.parameters + 8 * 16
    assert line(diagram, f"{experts.path}.w1").parameters == 24 * 16


def test_folded_leaves_are_one_line():
    shapes = {**{f"heads.{number}.weight": (4, 8) for number in range(5)}, "heads.norm.weight": (8,), **linear("fc", 2, 2)}
    (heads,) = [found for found, _ in lines(diagram_of(shapes)) if found.fold > 1]
    assert (heads.fold, heads.parameters, heads.label, heads.kind) == (5, 32, "0–4", "Linear")


def test_layers_that_differ_are_apart():
    diagram = diagram_of(deepseek(layers=6, dense=2))
    layers = group(diagram, "model.layers")
    assert [(block.title, block.fold) for block in layers.blocks] == [("0–1", 2), ("2–5", 4)]


def test_no_fold_draws_every_layer():
    diagram = diagram_of(llama(4), fold=False)
    assert [block.title for block in group(diagram, "model.layers").blocks] == ["0", "1", "2", "3"]
    assert {found.fold for found, _ in lines(diagram)} == {1}
    assert len(lines(diagram)) == 4 * 9 + 3


# Cards, groups, kinds --------------------------------------------------------------------------------------------------


def test_a_module_of_leaves_is_a_card_and_a_module_of_modules_a_group():
    diagram = diagram_of(llama())
    layer = group(diagram, "model.layers.0–3")
    assert [type(block) for block in layer.blocks] == [Card, Card, Card, Card]
    attention = layer.blocks[1]
    assert (attention.title, attention.kind) == ("self_attn", "attention")
    assert [found.label for found in attention.lines] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert attention.parameters == 4 * 64


def test_embeddings_share_a_card_and_other_leaves_have_their_own():
    assert titles(diagram_of(gpt2())) == ["wte + wpe", "h.0–2", "ln_f"]


def test_parts_of_attention_and_feed_forward_have_their_colour():
    for family, feed_forward in (("llama", "gate_proj"), ("gpt2", "c_fc"), ("by hand", "0"), ("torch decoder", "linear1")):
        found = {each.label: each.category for each, _ in lines(diagram_of(FAMILIES[family]))}
        assert found[feed_forward] == "mlp", family
        assert "attention" in found.values(), family


def test_the_feed_forward_of_gpt2_is_no_convolution():
    (mlp,) = [block for block, _ in blocks(diagram_of(gpt2()).body) if block.path.endswith("mlp")]
    assert mlp.kind == "MLP"


def test_a_single_part_is_named_with_its_module():
    assert titles(diagram_of({**linear("only.one.inside", 3, 2), **linear("fc", 2, 3)})) == ["only.one.inside", "fc"]


def test_recorded_classes_are_shown_and_said(tmp_path):
    path = tmp_path / CHECKPOINTS["whole_module"](tmp_path)
    diagram = diagram_of(opened(path.read_bytes(), path.name))
    assert {found.kind for found, _ in lines(diagram)} == {"Conv2d + BN", "Linear"}
    assert not re.search("from names and shapes", diagram.captions[0])
    assert "recorded" in diagram.captions[0]


# Convolution and BatchNorm ---------------------------------------------------------------------------------------------


def test_a_convolution_and_its_norm_are_one_line():
    found = line(diagram_of(convolution("conv1", 64, 3, 7) | bn("bn1", 64) | linear("fc", 2, 64)), "conv1")
    assert (found.kind, found.label, found.detail) == ("Conv2d + BN", "conv1, bn1", "3 → 64, 7×7")
    assert found.parameters == 64 * 3 * 49 + 128


@pytest.mark.parametrize(
    "shapes",
    [
        {**convolution("conv1", 64, 3), **bn("bn1", 32)},  # the norm of something else
        {**bn("bn1", 64), **convolution("conv1", 64, 64), **linear("x", 2, 2)},  # a norm in front, unknown name keeps the order
        {**convolution("conv1", 64, 3), **norm("norm1", 64)},  # no BatchNorm
        {**linear("fc1", 64, 3), **bn("bn1", 64)},  # no convolution
    ],
)
def test_a_norm_is_not_paired_with_what_does_not_fit(shapes):
    assert not any("+" in found.kind for found, _ in lines(diagram_of(shapes)))


def test_a_convolution_has_one_norm():
    found = diagram_of({**convolution("conv1", 8, 3), **bn("bn1", 8), **bn("bn2", 8), **linear("fc", 2, 2)})
    assert [each.label for each, _ in lines(found)] == ["conv1, bn1", "bn2", "fc"]


# Ties and buffers ------------------------------------------------------------------------------------------------------


def test_a_tied_head_is_counted_where_it_is_stored():
    diagram = diagram_of(by_hand(), ties={"out_head.weight": "tok_emb.weight"})
    head = line(diagram, "out_head")
    assert (head.mark, head.note, head.parameters, head.share) == (TIED, "tied to tok_emb.weight", 0, 0)
    assert line(diagram, "tok_emb").parameters == 480
    assert [tuple(tie) for tie in diagram.ties] == [("tok_emb", "out_head")]
    assert any("counted once" in caption for caption in diagram.captions)


def test_a_tied_head_with_a_bias_of_its_own_counts_the_bias():
    shapes = {"emb.weight": (50, 8), **linear("body", 8, 8), **linear("head", 50, 8)}
    diagram = diagram_of(shapes, ties={"head.weight": "emb.weight"})
    head = line(diagram, "head")
    assert (head.mark, head.note, head.parameters) == ("", "weight tied", 50)
    assert [tuple(tie) for tie in diagram.ties] == [("emb", "head")]
    check_sums(diagram, 50 * 8 + 72 + 50)


def test_a_tie_to_what_is_not_drawn_is_told_but_has_no_end():
    diagram = diagram_of({"a.emb.weight": (50, 8), "b.head.weight": (50, 8)}, ties={"b.head.weight": "a.emb.weight"}, root="b")
    (head,) = [found for found, _ in lines(diagram)]
    assert (head.mark, head.note) == (TIED, "tied to a.emb.weight")
    assert list(diagram.ties) == []


def test_buffers_are_last_and_not_counted():
    diagram = diagram_of(by_hand())
    card = next(block for block, _ in blocks(diagram.body) if block.title == "att")
    mask = card.lines[-1]
    assert (mask.label, mask.mark, mask.note, mask.parameters, mask.share) == ("mask", UNCOUNTED, "not counted", 0, 0)
    assert any("768 elements that are not parameters" in caption for caption in diagram.captions)
    assert "other" not in diagram.categories  # the legend says nothing of what is grey


def test_running_statistics_are_not_counted():
    check_sums(diagram_of(resnet((1, 1, 1, 1))), sum(Ledger(checkpoint_of(resnet((1, 1, 1, 1)))).parameters))
    assert not any(found.mark == UNCOUNTED for found, _ in lines(diagram_of(resnet((1, 1, 1, 1)))))


def test_torch_layers_are_one_card_in_a_fold():
    diagram = diagram_of(torch_layers(cross=True, layers=6, width=24))
    layers = group(diagram, "decoder.layers.0–5")
    assert (layers.fold, layers.each, layers.parameters) == (6, 9_672, 58_032)
    (card,) = layers.blocks
    assert [found.parameters for found in card.lines] == [2_400, 48, 2_400, 48, 2_400, 2_328, 48]
