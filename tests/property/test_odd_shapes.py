"""Names that our tables know, with shapes that no such module has: every analysis and drawing takes them as they are."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis import execution_order, feed_forward_facts, kinds, output_heads
from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect, to_report
from modelscope_cli.render.diagram import lay_out
from modelscope_cli.render.dot import render
from modelscope_cli.render.palette import LIGHT
from tests.drawn import checkpoint_of, diagram_of

MODULES = sorted(
    set(
        itertools.chain(
            kinds.QUERY, kinds.KEY, kinds.FUSED_QKV, kinds.GATE, kinds.UP, kinds.DOWN, kinds.FUSED_GATE,
            feed_forward_facts.FIRST_MLP, feed_forward_facts.LAST_MLP, output_heads.HEADS,
            *(order for _, order in execution_order.WHOLE_BLOCKS),
            ("0", "1", "2", "layers", "experts", "gate", "router", "mlp", "wte", "lora_A", "lora_B", "lora_down",
             "lm_head", "module", "parametrizations", "base_layer", "default", "conv1", "bn1"),
        )
    )
)  # fmt: skip
LEAVES = (
    "weight", "bias", "in_proj_weight", "qweight", "scales", "g_idx", "A_log", "weight_g", "weight_v", "running_mean", "gamma",
    "weight_ih_l0", "weight_hh_l0", "inv_freq", "kernel", "q_proj_weight", "k_proj_weight", "beta",
    "weight_orig", "weight_mask", "weight_u", "original0", "original1", "original", "_u", "hada_w1_a", "lokr_w1", "ia3_l", "alpha",
    "lora_magnitude_vector", "gate_up_proj", "weight_hr_l0", "prompt_embeddings", "vera_A",
)  # fmt: skip
EXTENTS = st.sampled_from((0, 1, 2, 3, 4, 6, 8, 16, 64))
PATHS = st.lists(st.sampled_from(MODULES), max_size=4)
NAMES = st.builds(lambda path, leaf: ".".join([*path, leaf]), PATHS, st.sampled_from(LEAVES))
SHAPES = st.dictionaries(NAMES, st.lists(EXTENTS, max_size=5).map(tuple), min_size=1, max_size=20)


@settings(max_examples=300, deadline=None)
@given(SHAPES)
def test_known_names_with_any_shapes(shapes):
    checkpoint = checkpoint_of(shapes)
    overview = inspect(checkpoint)
    to_report(overview)
    assert byte_tree(overview).root.nbytes == checkpoint.nbytes
    assert render(lay_out(diagram_of(checkpoint), LIGHT)).endswith("}\n")


@settings(max_examples=100, deadline=None)
@given(st.lists(EXTENTS, max_size=4).map(tuple), st.lists(EXTENTS, max_size=4).map(tuple))
def test_experts_and_their_router_with_any_shapes(router, expert):
    shapes = {"layers.0.mlp.gate.weight": router}
    shapes |= {f"layers.0.mlp.experts.{number}.{name}.weight": expert for number in range(3) for name in ("w1", "w2", "w3")}
    to_report(inspect(checkpoint_of(shapes)))
