"""Whether weights fit a model: names and shapes of both held against each other, what differs told in words."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modelscope_cli.analysis.fit import Fit, fit
from modelscope_cli.analysis.ledger import Ledger
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import opened
from tests.tables import checkpoint_of, linear, transformer

MODEL = {"embed.weight": (50, 4), **linear("layers.0", 8, 4), **linear("layers.1", 4, 8), "norm.weight": (4,)}
ELEMENTS = 50 * 4 + (8 * 4 + 8) + (4 * 8 + 4) + 4


def fitted(file: Mapping, model: Mapping = MODEL, tied: Mapping[str, str] | None = None, renamed=None, **rest) -> Fit:
    """How a file with these tensors fits; every element of its weights is accounted for."""
    found = fit(Ledger(checkpoint_of(file, **rest)), model, tied or {}, renamed)
    assert 0 <= found.fitting <= found.whole
    assert found.perfect == (found.words() == [])
    if found.perfect:
        assert found.fitting == found.whole
    return found


def prefixed(prefix: str, shapes: Mapping = MODEL) -> dict:
    return {prefix + name: shape for name, shape in shapes.items()}


# What fits -------------------------------------------------------------------------------------------------------------


def test_the_same_names_and_shapes():
    assert fitted(MODEL) == Fit([], [], [], [], ELEMENTS, ELEMENTS)


def test_the_order_does_not_matter():
    assert fitted(dict(reversed(MODEL.items()))).perfect


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "base_model.model.", "transformer."])
def test_a_prefix_on_either_side_is_no_difference(prefix):
    assert fitted(prefixed(prefix)) == Fit([], [], [], [], ELEMENTS, ELEMENTS)
    assert fitted(MODEL, prefixed(prefix)) == Fit([], [], [], [], ELEMENTS, ELEMENTS)


def test_a_prefix_on_both_sides():
    assert fitted(prefixed("module."), prefixed("model.")).perfect


def test_a_base_model_lacks_the_head_alone():
    model = transformer(2)
    base = {name.removeprefix("model."): shape for name, shape in model.items() if name != "lm_head.weight"}
    assert fitted(base, model).lacking == ["lm_head.weight"]
    assert fitted(model, base).extra == ["lm_head.weight"]


def test_a_training_checkpoint_fits_by_its_model():
    root = {
        "model": ordered({"fc.weight": tensor("0", (2, 3)), "fc.bias": tensor("1", (2,))}),
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": tensor("2", (2, 3)), "exp_avg_sq": tensor("3", (2, 3))}},
            "param_groups": [{"lr": 0.1, "params": [0, 1]}],
        },
        "epoch": 7,
    }
    read = opened(torch_zip_bytes(root, {"0": 24, "1": 8, "2": 24, "3": 24}))
    assert fit(Ledger(read), {"fc.weight": (2, 3), "fc.bias": (2,)}, {}) == Fit([], [], [], [], 8, 8)


def test_a_safetensors_file_fits():
    read = opened(safetensors_bytes({name: ("BF16", shape) for name, shape in MODEL.items()}), "model.safetensors")
    assert fit(Ledger(read), MODEL, {}) == Fit([], [], [], [], ELEMENTS, ELEMENTS)


def test_of_tied_names_one_is_enough():
    model = {**MODEL, "head.weight": (50, 4)}
    tied = {"head.weight": "embed.weight"}
    only_head = {("head.weight" if name == "embed.weight" else name): shape for name, shape in MODEL.items()}
    assert fitted(MODEL, model, tied).perfect
    assert fitted(only_head, model, tied).perfect
    assert fitted(MODEL, model).lacking == ["head.weight"]
    assert fitted(model, model, tied, ties={"head.weight": "embed.weight"}).perfect
    neither = {name: shape for name, shape in MODEL.items() if name != "embed.weight"}
    assert fitted(neither, model, tied).lacking == ["embed.weight", "head.weight"]


def test_one_tensor_of_the_file_that_is_two_in_the_model():
    model = {**MODEL, "head.weight": (50, 4)}
    found = fitted(model, model, ties={"head.weight": "embed.weight"})
    assert found.untied == [("head.weight", "embed.weight")]
    assert found.words() == ["head.weight and embed.weight are one tensor in the file and two in the model"]
    assert (found.lacking, found.extra, found.differing, found.hopeless) == ([], [], [], False)


def test_a_tie_of_three_names():
    model = {"a.weight": (3, 3), "b.weight": (3, 3), "c.weight": (3, 3)}
    for kept in model:
        assert fitted({kept: (3, 3)}, model, {"b.weight": "a.weight", "c.weight": "a.weight"}).perfect


def test_ties_are_found_behind_a_prefix():
    model = prefixed("model.", {**MODEL, "head.weight": (50, 4)})
    assert fitted(prefixed("module."), model, {"model.head.weight": "model.embed.weight"}).perfect


def test_buffers_of_the_file_are_no_difference():
    buffers = {"norm.running_mean": (4,), "norm.num_batches_tracked:int64": (), "rotary.inv_freq": (2,), "mask:bool": (9, 9)}
    found = fitted({**MODEL, **buffers})
    assert found.perfect
    assert found.whole == ELEMENTS


def test_buffers_of_the_model_have_their_place():
    model = {**MODEL, "norm.running_mean": (4,)}
    assert fitted({**MODEL, "norm.running_mean": (4,)}, model).perfect
    assert fitted(MODEL, model).lacking == ["norm.running_mean"]


# What does not ---------------------------------------------------------------------------------------------------------


def test_what_is_missing_and_what_is_too_much():
    found = fitted({name: shape for name, shape in MODEL.items() if name != "norm.weight"} | {"head.weight": (5, 4)})
    assert found == Fit(["norm.weight"], ["head.weight"], [], [], ELEMENTS - 4, ELEMENTS - 4 + 20)
    assert found.words() == [
        "1 tensor is in the model and not in the file: norm.weight",
        "1 tensor is in the file and not in the model: head.weight",
    ]


def test_another_shape():
    found = fitted({**MODEL, "embed.weight": (1_200, 4), "norm.weight": ()})
    assert found.differing == [("embed.weight", (1_200, 4), (50, 4)), ("norm.weight", (), (4,))]
    assert found.words() == [
        "embed.weight is 1,200 × 4 in the file and 50 × 4 in the model",
        "norm.weight is a single number in the file and 4 in the model",
    ]
    assert (found.fitting, found.whole) == (ELEMENTS - 204, ELEMENTS - 204 + 4_801)


def test_as_many_elements_in_another_shape_differ():
    assert fitted({**MODEL, "embed.weight": (4, 50)}).differing == [("embed.weight", (4, 50), (50, 4))]


def test_many_are_counted_and_a_few_are_named():
    many = {f"layers.{number}.weight": (2, 2) for number in range(1_500)}
    found = fitted(many, dict.fromkeys(many, (3, 3)))
    assert len(found.words()) == 4
    assert found.words()[-1] == "1,497 more tensors have other shapes in the model"
    found = fitted({**MODEL, **prefixed("other.", many)})
    (said,) = found.words()
    assert said.startswith("1,500 tensors are in the file and not in the model: other.layers.0.weight, ")
    assert said.endswith(", …")
    assert said.count("weight") == 3


@pytest.mark.parametrize(("width", "hopeless"), [(50, False), (49, True), (51, False)])
def test_with_less_than_half_it_is_another_model(width, hopeless):
    found = fitted({"first.weight": (width, 2), "second.kernel": (50, 2)}, {"first.weight": (width, 2)})
    assert (found.fitting, found.whole) == (2 * width, 2 * width + 100)
    assert found.hopeless == hopeless


def test_the_name_of_another_module_is_no_prefix():
    found = fitted({"a.weight": (6, 2), "b.weight": (5, 2)}, {"a.weight": (6, 2)})
    assert found == Fit([], ["b.weight"], [], [], 12, 22)
    classifier = {**MODEL, "score.weight": (2, 4)}
    assert fitted({**MODEL, "lm_head.weight": (50, 4)}, classifier) == Fit(
        ["score.weight"], ["lm_head.weight"], [], [], ELEMENTS, ELEMENTS + 200
    )


def test_another_model_altogether():
    found = fitted(transformer(2), {"conv1.weight": (64, 3, 7, 7), "fc.weight": (10, 64), "fc.bias": (10,)})
    assert found.hopeless
    assert found.fitting == 0
    assert len(found.lacking) == 3
    assert sorted(found.extra) == sorted(transformer(2))


def test_a_file_without_weights_is_not_another_model():
    found = fitted({"steps:int64": ()})
    assert (found.fitting, found.whole, found.hopeless) == (0, 0, False)
    assert found.lacking == list(MODEL)


# Renamed and merged ----------------------------------------------------------------------------------------------------


def merged(name: str) -> str:
    """Experts of a file become one tensor of the model, as transformers does while it loads."""
    if ".experts." not in name:
        return name.replace("block_sparse_moe", "mlp")
    path, _, rest = name.partition(".experts.")
    kind = rest.split(".")[1]
    return f"{path.replace('block_sparse_moe', 'mlp')}.experts.{'down_proj' if kind == 'w2' else 'gate_up_proj'}"


EXPERTS = {
    f"layers.0.block_sparse_moe.experts.{number}.{kind}.weight": (8, 4) if kind != "w2" else (4, 8)
    for number in range(3)
    for kind in ("w1", "w2", "w3")
}
MERGED = {
    "layers.0.mlp.gate.weight": (3, 4),
    "layers.0.mlp.experts.gate_up_proj": (3, 16, 4),
    "layers.0.mlp.experts.down_proj": (3, 4, 8),
}
FILE = {"layers.0.block_sparse_moe.gate.weight": (3, 4), **EXPERTS}


@pytest.mark.parametrize("prefix", ["", "model."])
def test_merged_tensors_fit_by_their_elements(prefix):
    found = fitted(FILE, prefixed(prefix, MERGED), renamed=merged)
    assert found == Fit([], [], [], [], 12 + 288, 12 + 288)


def test_without_knowing_how_they_are_merged_they_do_not_fit():
    found = fitted(FILE, MERGED)
    assert found.lacking == list(MERGED)
    assert found.extra == list(FILE)


def test_a_merged_tensor_of_which_a_part_is_missing():
    less = {name: shape for name, shape in FILE.items() if ".experts.2.w2" not in name}
    found = fitted(less, MERGED, renamed=merged)
    assert found.differing == [("layers.0.block_sparse_moe.experts.0.w2.weight with 1 more", (64,), (3, 4, 8))]
    assert (found.fitting, found.whole) == (12 + 192, 12 + 256)


def test_names_that_are_those_of_the_model_are_not_renamed():
    shapes = {"fc.weight": (2, 3), "head.weight": (5, 2)}
    assert fitted(shapes, shapes, renamed=lambda name: f"renamed.{name}").perfect
    assert fitted(shapes, prefixed("renamed.", shapes), renamed=lambda name: f"renamed.{name}").perfect


@pytest.mark.parametrize("name", ["<script>", "", ".", "..", "a..b", "层.weight", "a\0b", "x" * 10_000])
def test_odd_names_are_names_like_others(name):
    found = fitted({**MODEL, name: (2, 2)})
    assert found.extra in ([name], [])  # [] where such a tensor is none of the weights
    assert fitted({**MODEL, name: (2, 2)}, {**MODEL, name: (2, 2)}).perfect
