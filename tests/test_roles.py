"""Weights, biases, buffers, optimizer state, copies: as recorded, else by name, dtype and place."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.beneath import Owners
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.roles import OPTIMIZERS, optimizer_name, role_of_leaf, section_of
from tests.builders.torch_code import module, ordered, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import opened
from tests.tables import checkpoint_of


def roles(shapes, **rest) -> dict[str, str]:
    ledger = Ledger(checkpoint_of(shapes, **rest))
    return dict(zip(ledger.names, ledger.roles, strict=True))


@pytest.mark.parametrize(
    ("leaf", "role"),
    [
        ("weight", "weight"), ("bias", "bias"), ("beta", "bias"), ("bias_ih_l0", "bias"), ("in_proj_bias", "bias"), ("gamma", "weight"),
        ("running_mean", "buffer"), ("running_var", "buffer"), ("num_batches_tracked", "buffer"), ("inv_freq", "buffer"),
        ("position_ids", "buffer"), ("relative_position_index", "buffer"), ("weight_mask", "buffer"), ("q_proj_weight", "weight"),
        ("weight.quant_state.bitsandbytes__nf4", "helper"), ("gate_up_proj_scale_inv", "helper"), ("weight_fake_quant", "buffer"),
        ("weight_scale", "helper"), ("scales", "helper"),
    ],
)  # fmt: skip
def test_last_part_of_a_name(leaf, role):
    assert role_of_leaf(leaf) == role


def test_batch_norm():
    shapes = {
        "bn.weight": (4,),
        "bn.bias": (4,),
        "bn.running_mean": (4,),
        "bn.running_var": (4,),
        "bn.num_batches_tracked:int64": (),
    }
    assert list(roles(shapes).values()) == ["weight", "bias", "buffer", "buffer", "buffer"]
    assert Ledger(checkpoint_of(shapes)).total_parameters() == 8


def test_causal_mask_that_is_called_bias():
    assert roles({"attn.bias": (1, 1, 16, 16), "attn.c_attn.bias": (48,)}) == {
        "attn.bias": "buffer",
        "attn.c_attn.bias": "bias",
    }


def test_integers_are_no_parameters_unless_they_are_packed():
    found = roles({"index:int64": (4,), "q.qweight:int32": (4, 4), "q.scales": (4,), "q.qzeros:int32": (4,), "scales": (3,)})
    assert found == {"index": "buffer", "q.qweight": "weight", "q.scales": "helper", "q.qzeros": "helper", "scales": "weight"}


def test_what_the_file_records_counts():
    """A module pickled whole says what is a parameter, whatever it is called."""
    norm = module(
        "a.Norm", {"running_mean": parameter(tensor("0", (2,)))}, {"weight": tensor("1", (2,)), "bias": tensor("2", (2,))}
    )
    ledger = Ledger(opened(torch_zip_bytes(module("a.M", norm=norm), {"0": 8, "1": 8, "2": 8})))
    assert dict(zip(ledger.names, ledger.roles, strict=True)) == {
        "norm.running_mean": "weight",
        "norm.weight": "buffer",
        "norm.bias": "buffer",
    }
    assert ledger.roles_result.recorded == {0, 1, 2}


def training(**root):
    storages = {str(number): 24 for number in range(9)}
    ledger = Ledger(opened(torch_zip_bytes(root, storages)))
    return ledger, dict(zip(ledger.names, ledger.roles, strict=True))


WEIGHTS = ordered({"fc.weight": tensor("0", (2, 3))})
ADAM = {
    "state": {0: {"step": 1, "exp_avg": tensor("1", (2, 3)), "exp_avg_sq": tensor("2", (2, 3))}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}


@pytest.mark.parametrize("key", ["optimizer", "optim", "optimizer_state_dict", "whatever"])
def test_optimizer_is_known_by_its_groups(key):
    ledger, found = training(model=WEIGHTS, **{key: ADAM})
    assert found == {
        "model.fc.weight": "weight",
        f"{key}.state.0.exp_avg": "optimizer",
        f"{key}.state.0.exp_avg_sq": "optimizer",
    }
    (fact,) = ledger.roles_result.optimizers
    assert (fact.path, fact.name, fact.slots) == (key, "Adam or AdamW", ("exp_avg", "exp_avg_sq"))
    assert ledger.total_parameters() == 6


def test_lightning_keeps_a_list_of_optimizers():
    _, found = training(state_dict=WEIGHTS, optimizer_states=[ADAM], callbacks={"EarlyStopping": {"best": tensor("3", (2, 3))}})
    assert found == {
        "state_dict.fc.weight": "weight",
        "optimizer_states.0.state.0.exp_avg": "optimizer",
        "optimizer_states.0.state.0.exp_avg_sq": "optimizer",
        "callbacks.EarlyStopping.best": "other",
    }


def test_average_beside_the_weights():
    ledger, found = training(model=WEIGHTS, model_ema=ordered({"fc.weight": tensor("1", (2, 3))}))
    assert found == {"model.fc.weight": "weight", "model_ema.fc.weight": "ema"}
    assert ledger.total_parameters() == 6


def test_average_alone_counts_as_the_weights():
    ledger, found = training(ema={"shadow": ordered({"fc.weight": tensor("1", (2, 3))})})
    assert found == {"ema.shadow.fc.weight": "weight"}
    assert ledger.roles_result.promoted == "ema.shadow"
    assert ledger.total_parameters() == 6


def test_average_inside_a_flat_state_dict():
    assert roles({"model.fc.weight": (2,), "model_ema.fcweight": (2,)}) == {
        "model.fc.weight": "weight",
        "model_ema.fcweight": "ema",
    }
    assert roles({"ema.fc.weight": (2,)}) == {"ema.fc.weight": "weight"}


def test_random_states_are_no_weights():
    _, found = training(
        model=WEIGHTS, rng_state=tensor("3", (24,), "ByteStorage"), torch_rng={"cpu": tensor("4", (24,), "ByteStorage")}
    )
    assert found["rng_state"] == found["torch_rng.cpu"] == "other"


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ("", "weight"), ("model", "weight"), ("state_dict", "weight"), ("net.encoder", "weight"), ("optimizer.state.0", "optimizer"),
        ("optim_g", "optimizer"), ("ema", "ema"), ("model_ema", "ema"), ("lr_schedulers.0", "other"), ("scaler", "other"),
        ("fp32_groups", "master"), ("optimizer.fp32_from_fp16_groups", "master"), ("rng_state", "other"), ("loss", "other"),
    ],
)  # fmt: skip
def test_sections_by_path(path, section):
    assert section_of(path, Owners(())) == section


@pytest.mark.parametrize(("entries", "name"), OPTIMIZERS)
def test_every_optimizer_is_told_by_what_it_keeps(entries, name):
    assert optimizer_name(set(entries), {}) == (
        name.replace("Adam", "Adam or AdamW", 1) if name[:5] in ("Adam", "Adam ") else name
    )


def test_adamw_is_told_by_an_option():
    slots = {"step", "exp_avg", "exp_avg_sq"}
    assert optimizer_name(slots, {"decoupled_weight_decay": True, "amsgrad": False}) == "AdamW"
    assert optimizer_name(slots, {"decoupled_weight_decay": False, "amsgrad": False}) == "Adam"
    assert optimizer_name(slots, {"decoupled_weight_decay": False}) == "RAdam"
    assert optimizer_name(set(), {"nesterov": False}) == "SGD"
    assert optimizer_name({"unheard_of"}, {}) is None
