"""Weight norm, spectral norm, pruning and wrappers: seen through, and said."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.architecture import read_architecture
from modelscope_cli.analysis.convention_findings import convention_findings
from modelscope_cli.analysis.conventions import plain_of, unwrapped
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from tests.tables import checkpoint_of, transformer


def row(shapes, **rest):
    """The only row: its kind and detail, and parameters."""
    (found,) = ModuleTree(Ledger(checkpoint_of(shapes, **rest))).rows
    return found.kind.name, found.kind.detail, found.parameters


def findings(shapes, **rest) -> dict[str, str]:
    return {finding.code: finding.message for finding in convention_findings(Ledger(checkpoint_of(shapes, **rest)))}


def of(path, shapes):
    return {f"{path}.{name}": shape for name, shape in shapes.items()}


NEW = "parametrizations.weight"


@pytest.mark.parametrize(
    ("name", "tensors", "kind", "parameters"),
    [
        ("conv", {"weight_g": (8, 1, 1), "weight_v": (8, 4, 3), "bias": (8,)}, ("weight-normed Conv1d", "4 → 8, 3"), 112),
        (
            "up",
            {"weight_g": (8, 1, 1), "weight_v": (8, 4, 3), "bias": (4,)},
            ("weight-normed ConvTranspose1d", "8 → 4, 3"),
            108,
        ),
        ("fc", {"weight_g": (), "weight_v": (8, 4)}, ("weight-normed Linear", "4 → 8"), 33),
        (
            "conv",
            {f"{NEW}.original0": (8, 1, 1), f"{NEW}.original1": (8, 4, 3), "bias": (8,)},
            ("weight-normed Conv1d", "4 → 8, 3"),
            112,
        ),
        ("emb", {f"{NEW}.original0": (100, 1), f"{NEW}.original1": (100, 8)}, ("weight-normed Embedding", "100 × 8"), 900),
        (
            "conv",
            {"weight_orig": (8, 4, 3, 3), "weight_u": (8,), "weight_v": (36,), "bias": (8,)},
            ("spectral-normed Conv2d", "4 → 8, 3×3"),
            296,
        ),
        ("fc", {"weight_orig": (8, 4), "weight_u": (8,)}, ("spectral-normed Linear", "4 → 8"), 32),
        ("fc", {"weight_bar": (8, 4), "weight_u": (8,), "weight_v": (4,)}, ("spectral-normed Linear", "4 → 8"), 32),
        ("fc", {f"{NEW}.original": (8, 4), f"{NEW}.0._u": (8,), f"{NEW}.0._v": (4,)}, ("spectral-normed Linear", "4 → 8"), 32),
        ("fc", {f"{NEW}.original": (4, 4), f"{NEW}.0.base": (4, 4)}, ("orthogonal Linear", "4 → 4"), 16),
        ("fc", {f"{NEW}.original": (8, 4), "bias": (8,)}, ("parametrized Linear", "4 → 8"), 40),
        ("fc", {"weight_orig": (8, 4), "weight_mask": (8, 4), "bias": (8,)}, ("pruned Linear", "4 → 8"), 40),
        (
            "fc",
            {"weight_orig": (8, 4), "weight_mask": (8, 4), "bias_orig": (8,), "bias_mask": (8,)},
            ("pruned Linear", "4 → 8"),
            40,
        ),
        (
            "rnn",
            {"weight_ih_l0": (24, 5), "weight_hh_l0_g": (24, 1), "weight_hh_l0_v": (24, 6), "bias_ih_l0": (24,)},
            ("weight-normed LSTM", "5 → 6"),
            120 + 24 + 144 + 24,
        ),
        (
            "rnn",
            {
                "weight_ih_l0": (18, 5),
                "parametrizations.weight_hh_l0.original0": (18, 1),
                "parametrizations.weight_hh_l0.original1": (18, 6),
            },
            ("weight-normed GRU", "5 → 6"),
            90 + 18 + 108,
        ),
    ],
)
def test_one_module_of_its_real_kind(name, tensors, kind, parameters):
    assert row(of(name, tensors)) == (*kind, parameters)


@pytest.mark.parametrize(
    "parts",
    [
        {"weight": (4, 4)},
        {"weight_g": (4,)},
        {"weight_v": (4,)},
        {"weight_orig": (4, 4)},
        {"attn_mask": (4,)},
        {"parametrizations.w.0": (1,)},
    ],
)
def test_no_convention(parts):
    assert plain_of(parts) is None


def test_what_stands_beside_keeps_its_name():
    plain = plain_of({"weight_g": (4, 1), "weight_v": (4, 4), "scale_g": (2,), "bias": (4,)})
    assert plain.tensors == {"weight": (4, 4), "scale_g": (2,), "bias": (4,)}


def test_three_originals_are_something_else():
    parts = {f"{NEW}.original{n}": (4, 4) for n in range(3)}
    assert row(of("fc", parts))[0] == "parametrized Linear"


def test_masks_without_an_original_are_what_they_were():
    ledger = Ledger(checkpoint_of({"a.some_mask": (4,), "a.weight": (4, 4)}))
    assert ledger.roles == ["weight", "weight"]


def roles_of(shapes) -> dict[str, str]:
    ledger = Ledger(checkpoint_of(shapes))
    return {name.rpartition(".")[2]: role for name, role in zip(ledger.names, ledger.roles, strict=True)}


def test_queries_keys_values_and_u_are_no_spectral_norm():
    shapes = {f"attn.weight_{letter}": (8, 8) for letter in "qkvu"}
    assert set(roles_of(shapes).values()) == {"weight"}
    assert Ledger(checkpoint_of(shapes)).total_parameters() == 256


@pytest.mark.parametrize("weight", ["weight", "weight_orig", "weight_bar"])
def test_u_and_v_of_a_spectral_norm_are_buffers(weight):
    found = roles_of({f"fc.{weight}": (8, 4), "fc.weight_u": (8,), "fc.weight_v": (4,)})
    assert found == {weight: "weight", "weight_u": "buffer", "weight_v": "buffer"}


def test_a_codebook_of_running_averages_is_no_parameter():
    """As EnCodec keeps it: nothing of it is trained."""
    codebook = {"inited": (1,), "cluster_size": (64,), "embed": (64, 8), "embed_avg": (64, 8)}
    shapes = of("quantizer.layers.0.codebook", codebook) | {"fc.weight": (4, 8)}
    assert Ledger(checkpoint_of(shapes)).total_parameters() == 32
    assert set(roles_of(shapes).values()) == {"buffer", "weight"}


@pytest.mark.parametrize("missing", ["embed_avg", "cluster_size"])
def test_an_embedding_beside_one_of_the_averages_is_trained(missing):
    codebook = {"cluster_size": (64,), "embed": (64, 8), "embed_avg": (64, 8)}
    del codebook[missing]
    assert roles_of(of("a", codebook))["embed"] == "weight"
    assert roles_of(of("a", codebook) | {"b.embed_avg": (2,), "b.cluster_size": (2,)})["embed"] == "weight"


def test_the_class_that_is_recorded_keeps_its_name():
    shapes = of("conv", {"weight_g": (8, 1, 1), "weight_v": (8, 4, 3)})
    assert row(shapes, classes={"conv": "torch.nn.modules.conv.Conv1d"})[0] == "weight-normed Conv1d"
    new = of("conv", {f"{NEW}.original0": (8, 1, 1), f"{NEW}.original1": (8, 4, 3)})
    assert row(new, classes={"conv": "torch.nn.utils.parametrize.ParametrizedConv1d"})[0] == "weight-normed Conv1d"


def test_conventions_are_said():
    found = findings(
        of("a", {"weight_g": (4, 1), "weight_v": (4, 4)}) | of("b", {"weight_orig": (4, 4), "weight_mask": (4, 4)})
    )
    assert (
        found["weight-normed"]
        == "1 weight is weight-normed, kept as weight_g and weight_v: the weight is g · v / ‖v‖, both are parameters (a.weight)"
    )
    assert "weight_orig and weight_mask" in found["pruned"]
    assert "torch.nn.utils.parametrize" in findings(of("a", {f"{NEW}.original": (4, 4)}))["parametrized"]


# Wrappers ----------------------------------------------------------------------------------------------------------------


def wrapped(layers="", outer="", inner=""):
    shapes = {}
    for name, shape in transformer(3).items():
        parts = name.split(".")
        if layers and parts[1] == "layers":
            parts.insert(3, layers)
        if inner and parts[-2].endswith("_proj"):
            parts.insert(-1, inner)
        shapes[outer + ".".join(parts)] = shape
    return shapes


def described(shapes):
    """Kinds by plain path, and the facts of the architecture."""
    ledger = Ledger(checkpoint_of(shapes))
    tree = ModuleTree(ledger)
    kinds = {unwrapped(path): kind for path, kind in tree.labels().values()}
    facts = {fact.key: fact.value for fact in read_architecture(ledger, tree.outline())}
    return kinds, facts


@pytest.mark.parametrize("outer", ["", "module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."])
@pytest.mark.parametrize("layers", ["", "_checkpoint_wrapped_module", "_fsdp_wrapped_module._checkpoint_wrapped_module"])
@pytest.mark.parametrize("inner", ["", "_fsdp_wrapped_module"])
def test_kinds_folds_and_architecture_see_through_wrappers(outer, layers, inner):
    assert described(wrapped(layers, outer, inner)) == described(transformer(3))


def test_a_fold_keeps_its_count_in_a_wrapper():
    shapes = wrapped("_checkpoint_wrapped_module")
    model = ModuleTree(Ledger(checkpoint_of(shapes))).rows[0]
    layers = next(row for row in model.children if row.label.startswith("layers"))
    assert (layers.label, layers.fold, layers.kind.name) == ("layers.0–2._checkpoint_wrapped_module", 3, "decoder layer")


def test_a_prefix_is_said_in_one_line():
    found = findings(wrapped(outer="module."))
    assert list(found) == ["wrapped"]
    assert found["wrapped"].startswith("all 30 names begin with module., from DistributedDataParallel")
    assert "consume_prefix_in_state_dict_if_present(state_dict, 'module.')" in found["wrapped"]


def test_wrappers_inside_are_said_in_one_line():
    found = findings(wrapped("_fsdp_wrapped_module._checkpoint_wrapped_module", "_fsdp_wrapped_module."))
    assert list(found) == ["wrapped"]
    assert 're.sub(r"(_fsdp_wrapped_module|_checkpoint_wrapped_module)\\.", "", name)' in found["wrapped"]


def test_a_module_called_module_inside_is_no_wrapper():
    assert findings({"encoder.module.weight": (4, 4), "head.weight": (2, 4)}) == {}


def test_a_module_called_module_beside_others_is_no_wrapper():
    assert findings({"module.a.weight": (4, 4), "b.weight": (2, 4)}) == {}
    assert findings({"module.a.weight": (4, 4), "_orig_mod.b.weight": (2, 4)})["wrapped"].startswith(
        "1 of 2 names begin with _orig_mod."
    )


def test_an_averaged_model_counts_beside_the_wrapper():
    shapes = {"n_averaged:int64": (), "module.a.weight": (4, 4), "module.b.weight": (2, 4)}
    assert findings(shapes)["wrapped"].startswith("all 2 other names begin with module., from")


def test_lightning():
    shapes = {f"state_dict.model.{name}": shape for name, shape in transformer(1).items()}
    metadata = {"pytorch-lightning_version": "2.1", "loops": {}, "callbacks": {}}
    found = findings(shapes, metadata=metadata, groups=[(0, "state_dict")])
    assert "all names in state_dict begin with model." in found["lightning"]
    two = {"state_dict.a.weight": (2, 2), "state_dict.b.weight": (2, 2)}
    assert findings(two, metadata=metadata, groups=[(0, "state_dict")]) == {}
    assert findings(shapes, groups=[(0, "state_dict")]) == {}


def test_averages():
    shapes = {**transformer(1), **{f"model_ema.{name}": shape for name, shape in transformer(1).items()}}
    assert findings(shapes)["averaged"].startswith("12 tensors under model_ema. are a running average")
