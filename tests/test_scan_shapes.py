"""Pickles that no program writes: harmless names, put together so that they lead to others."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import functools
import pathlib
import pickle
import random
import types
import uuid

import pytest

from modelscope_cli.containers.odd_shapes import GIVEN, NO_PAIRS, OBJECT_SCALAR
from tests.builders.attacks import HARMLESS_NAMES
from tests.builders.pickle_code import (
    APPEND,
    BUILD,
    MARK,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SETITEM,
    Code,
    built,
    call,
    instance,
    name,
    pickled,
    value,
)
from tests.scanned import codes, paths, scanned

NAMESPACE, PARTS, MODULES = "argparse.Namespace", "torch.nn.modules.container.ParameterDict", "torch.nn.modules.container.ModuleDict"
PARAMETERS = instance(PARTS, {"_keys": {"__class__": None}})
DTYPE = call("numpy.dtype", "O8", False, True)


def entry(target: Code, key: str, item: object) -> Code:
    return Code(target + value(key) + value(item) + SETITEM)


def reduced(function: Code, arguments: Code) -> Code:
    return Code(function + arguments + REDUCE)


FORGED = {
    "goes through a layer": call("builtins.list", PARAMETERS),
    "a dictionary of an object's entries": call("builtins.dict", PARAMETERS),
    "an ordered one": call("collections.OrderedDict", PARAMETERS),
    "a queue": call("collections.deque", PARAMETERS, 3),
    "a default dictionary": call("collections.defaultdict", name("builtins.list"), PARAMETERS),
    "text of an object": call("builtins.str", PARAMETERS),
    "arguments out of a call": reduced(name("torch._utils._rebuild_tensor"), call("builtins.tuple", [1])),
    "arguments out of a persistent id": reduced(name("torch._utils._rebuild_tensor"), Code(value("x") + b"Q")),
    "arguments of a class": Code(name(NAMESPACE) + call("builtins.tuple", [1]) + NEWOBJ),
    "named arguments": Code(name(NAMESPACE) + value(()) + call("builtins.tuple", [1]) + NEWOBJ_EX),
    "arguments that another function passes on": call("torch._tensor._rebuild_from_type_v2", name("a.f"), name("a.C"), call("a.g"), None),
    "a state out of a call": Code(instance(NAMESPACE) + call("builtins.list", [1]) + BUILD),
    "a state of a dictionary out of pairs that are none": built(instance(NAMESPACE), call("builtins.dict", [call("builtins.list", ["ab"])])),
    "pairs of two letters": built(instance(NAMESPACE), call("builtins.dict", ["ab"])),
    "another class": built(instance(NAMESPACE), {"__class__": name(PARTS)}),
    "another class, by slots": built(instance(NAMESPACE), (None, {"__class__": name(PARTS)})),
    "other attributes, by slots": built(instance(NAMESPACE), (None, {"__dict__": {}})),
}
ODD = {
    "entries of a layer": entry(PARAMETERS, "__class__", name(PARTS)),
    "entries of a layer, by the oldest protocols": entry(call("copyreg._reconstructor", name(MODULES), name("builtins.object"), None), "a", 1),
    "items of a layer": Code(instance("torch.nn.modules.container.ModuleList") + value(1) + APPEND),
    "other attributes": built(instance(NAMESPACE), {"__dict__": {}}),
    "a layer that is called": call("torch.nn.modules.linear.Linear", 4, 4),
    "a layer that an old instruction calls": Code(MARK + name("torch.nn.modules.linear.Linear") + value(4) + b"o"),
    "a function that computes": call("torch.nn.functional.softmax", instance(NAMESPACE)),
    "a function that fills": call("torch.nn.init.constant_", instance(NAMESPACE), 1),
    "a function of torch itself": call("torch.relu", instance(NAMESPACE)),
    "a tuple of torch that goes through an object": call("torch.Size", PARAMETERS),
    "the same by its __new__": Code(name("torch.Size") + value((PARAMETERS,)) + NEWOBJ),
    "a function of NumPy that is given an object": call("numpy.ma.core._mareconstruct", instance(NAMESPACE, {"a": 1}), name("a.C"), (0,), b"b"),
    "a table of parts that is an object": built(instance("torch.nn.modules.container.Sequential"), {"_modules": PARAMETERS}),
    "a scalar that is a class": call("numpy.core.multiarray.scalar", DTYPE, name(NAMESPACE)),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("file", ["model.pkl", "model.bin"])
def test_what_leads_to_names_that_nobody_names_is_dangerous(case, file):
    safety = scanned(pickled(FORGED[case]), file)
    assert safety.verdict == "dangerous"
    assert "forged-pickle" in codes(safety)


@pytest.mark.parametrize("step", HARMLESS_NAMES)
def test_steps_of_a_pickle_that_runs_code_by_harmless_names(step):
    data, named, _ = HARMLESS_NAMES[step]
    safety = scanned(data, "model.pkl")
    assert (safety.verdict, named in paths(safety)) == ("dangerous", True)


@pytest.mark.parametrize("case", ODD)
def test_harmless_names_that_are_used_as_no_pickler_does_are_suspicious(case):
    assert scanned(pickled(ODD[case]), "model.pkl").verdict in ("suspicious", "dangerous")


@pytest.mark.parametrize("attribute", ["__array_interface__", "__torch_function__"])
@pytest.mark.parametrize("way", ["entry", "third of a state", "state"])
def test_an_address_by_any_way_to_set_an_attribute(attribute, way):
    held = {
        "entry": entry(PARAMETERS, attribute, {}),
        "third of a state": built(instance("_io.BytesIO"), (b"", 0, {attribute: {}})),
        "state": built(instance(NAMESPACE), {attribute: {}}),
    }
    assert "array-address" in codes(scanned(pickled(held[way]), "model.pkl"))


def test_the_first_calls_do_not_hide_a_later_one():
    """A trace keeps the first 32 calls of a function."""
    many = [call("collections.deque", [number]) for number in range(100)]
    assert "forged-pickle" in codes(scanned(pickled([*many, call("collections.deque", PARAMETERS)]), "model.pkl"))
    wrapped = [call("functools.partial", name("torch.nn.functional.gelu")) for _ in range(100)]
    last = call("torch.nn.functional.gelu", instance(NAMESPACE))
    assert scanned(pickled([*wrapped, last]), "model.pkl").verdict == "suspicious"


def test_an_unknown_class_may_be_pickled_in_any_way():
    filled = [entry(instance("shop.Box"), "a", 1), Code(instance("shop.Basket") + value(1) + APPEND), call("shop.make", instance("shop.Box"))]
    safety = scanned(pickled(filled), "model.pkl")
    assert safety.verdict == "unknown"


def test_a_function_that_is_wrapped_for_later_is_not_called():
    assert scanned(pickled(call("functools.partial", name("torch.nn.functional.gelu"))), "model.pkl").verdict in ("safe", "unknown")


def test_a_torch_archive_with_more_than_a_state_dict_is_looked_at_again(tmp_path):
    from tests.builders.torch_code import ordered, tensor
    from tests.builders.torch_file import torch_zip_bytes

    data = torch_zip_bytes(ordered({"w": tensor(), "x": FORGED["goes through a layer"]}), {"0": 24})
    assert scanned(data, "model.pt").verdict == "dangerous"


class Slotted:
    __slots__ = ("a", "b")


class Listed(list):
    pass


def honest() -> list[object]:
    slotted, listed = Slotted(), Listed([1, 2])
    slotted.a, slotted.b = 1, "x"
    listed.name = "x"
    zone = datetime.timezone(datetime.timedelta(hours=2), "X")
    return [
        slotted, listed, argparse.Namespace(a=[1], b={"c": (1, 2)}), types.SimpleNamespace(a=1), collections.OrderedDict(a=1),
        collections.defaultdict(list, {"a": [1]}), collections.Counter("hello"), collections.deque([1, [2]], maxlen=4),
        datetime.datetime(2026, 1, 2, tzinfo=zone), datetime.date(2026, 1, 2), decimal.Decimal("1.5"), fractions.Fraction(1, 3),
        pathlib.PurePosixPath("a/b"), uuid.UUID(int=3), random.Random(3), functools.partial(int, "3", base=4), ValueError("x"),
        {1, 2}, frozenset({3}), b"bytes", bytearray(b"abc"), range(3), slice(1, 2), complex(1, 2), 3.5, 1 << 70, iter([1, 2]), Ellipsis,
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_python_itself_writes_nothing_of_the_kind(protocol):
    for one in honest():
        if protocol < 2 and isinstance(one, Slotted):
            continue  # which they cannot write
        safety = scanned(pickle.dumps([one, one], protocol), "model.pkl")
        assert not codes(safety) & {"forged-pickle", "odd-pickle"}, one


def test_torch_itself_writes_nothing_of_the_kind(tmp_path):
    torch = pytest.importorskip("torch")
    layers = torch.nn
    module = layers.Sequential(
        layers.ParameterDict({"a": layers.Parameter(torch.ones(2))}), layers.ModuleDict({"b": layers.Linear(2, 2)}),
        layers.ModuleList([layers.LSTM(2, 2), layers.TransformerEncoderLayer(4, 2)]), layers.ParameterList([layers.Parameter(torch.ones(1))]),
        layers.MultiheadAttention(4, 2),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(module.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    saved = {"model": module, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "rng": torch.get_rng_state()}
    for number, content in enumerate((saved, module.state_dict(), torch.sparse_coo_tensor([[0]], [1.0], check_invariants=True), layers.LazyLinear(3))):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        assert not codes(scanned(path.read_bytes(), "model.pt")) & {"forged-pickle", "odd-pickle"}, number


def test_words_that_are_told():
    found = scanned(pickled(ODD["a function of NumPy that is given an object"]), "model.pkl").found
    assert any(GIVEN in str(one.message) and "argparse.Namespace" in str(one.message) for one in found)
    assert any(str(one.message) == OBJECT_SCALAR for one in scanned(pickled(ODD["a scalar that is a class"]), "m.pkl").found)
    assert any(str(one.message) == NO_PAIRS for one in scanned(pickled(FORGED["pairs of two letters"]), "m.pkl").found)
