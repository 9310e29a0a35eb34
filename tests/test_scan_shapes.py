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

from modelscope_cli.analysis.policy import Policy
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.containers.odd_shapes import GIVEN, NO_PAIRS, OBJECT_SCALAR
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_window
from tests.builders.attacks import HARMLESS_NAMES
from tests.builders.pickle_code import (
    APPEND,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FROZENSET,
    MARK,
    NEWOBJ,
    NEWOBJ_EX,
    POP,
    REDUCE,
    SETITEM,
    STOP,
    TUPLE,
    Code,
    built,
    call,
    get,
    instance,
    name,
    persistent,
    pickled,
    put,
    value,
)
from tests.scanned import codes, paths, scanned

NAMESPACE, PARTS, MODULES = (
    "argparse.Namespace",
    "torch.nn.modules.container.ParameterDict",
    "torch.nn.modules.container.ModuleDict",
)
PARAMETERS = instance(PARTS, {"_keys": {"__class__": None}})
STORAGE = persistent(("storage", name("torch.FloatStorage"), "0", "cpu", 4))
REBUILD, SPEC = "torch._tensor._rebuild_from_type_v2", "torch.distributed.tensor._dtensor_spec.DTensorSpec"
DTYPE = call("numpy.dtype", "O8", False, True)


def entry(target: Code, key: str, item: object) -> Code:
    return Code(target + value(key) + value(item) + SETITEM)


def entry_of(target: Code, key: Code, item: object) -> Code:
    return Code(target + key + value(item) + SETITEM)


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
    "arguments that another function passes on": call(
        "torch._tensor._rebuild_from_type_v2", name("a.f"), name("a.C"), call("a.g"), None
    ),
    "a state out of a call": Code(instance(NAMESPACE) + call("builtins.list", [1]) + BUILD),
    "a state of a dictionary out of pairs that are none": built(
        instance(NAMESPACE), call("builtins.dict", [call("builtins.list", ["ab"])])
    ),
    "pairs of two letters": built(instance(NAMESPACE), call("builtins.dict", ["ab"])),
    "another class": built(instance(NAMESPACE), {"__class__": name(PARTS)}),
    "another class, by slots": built(instance(NAMESPACE), (None, {"__class__": name(PARTS)})),
    "other attributes, by slots": built(instance(NAMESPACE), (None, {"__dict__": {}})),
    "another class, behind more attributes than anybody has": built(
        instance(NAMESPACE), (None, {**{f"a{number}": 0 for number in range(10_001)}, "__class__": name(PARTS)})
    ),
    "text of what holds an object": call("builtins.str", [PARAMETERS]),
    "a dictionary with attributes of its own": call(
        "builtins.dict", built(call("collections.OrderedDict"), {"keys": name("torch.Size")})
    ),
    "a tensor that is rebuilt by what another call returns": call(REBUILD, PARAMETERS, name("torch.Tensor"), (1,), {}),
    "a tensor that is rebuilt with arguments in a list": call(
        REBUILD, name("torch._utils._rebuild_tensor_v2"), name("torch.Tensor"), [1], {}
    ),
    "arguments by name for a tensor": Code(name("torch.Tensor") + value(()) + value({"cdata": 1}) + NEWOBJ_EX),
    "arguments by name for a storage, by a function": call("copyreg.__newobj_ex__", name("torch.UntypedStorage"), (8,), {"allocator": 1}),
    "what a module does instead of its forward": instance("torch.nn.modules.module.Module", {"_compiled_call_impl": name("torch.Size")}),
    "text of what a queue holds": call("builtins.str", [call("collections.deque", [instance(NAMESPACE)])]),
    "text of what an exception holds": call("builtins.str", [call("builtins.ValueError", instance(NAMESPACE))]),
    "entries of a list": entry_of(value([]), call("builtins.slice", 0, 0), [("__class__", name(PARTS))]),
    "an item of a list that is exchanged": entry_of(value([["__class__", None]]), value(0), ["__class__", name(PARTS)]),
    "items of bytes": Code(b"\x96" + (1).to_bytes(8, "little") + b"a" + value(1) + APPEND),
    "items of a storage": Code(STORAGE + value(1) + APPEND),
    "attributes of a storage": built(STORAGE, {"_getitem": name("torch.Size")}),
    "a storage that is gone through": call("builtins.list", STORAGE),
    "a namespace of an object's entries": call("types.SimpleNamespace", PARAMETERS),
    "an array of dill's out of arguments that nobody sees": call(
        "dill._dill._create_array", name("torch._utils._rebuild_tensor"), call("builtins.tuple", [1]), (), None
    ),
    "a tensor that is rebuilt as what is no class": call(REBUILD, name("torch._utils._rebuild_tensor_v2"), "x", (1,), {}),
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
    "attributes of a layer in a list": built(instance("torch.nn.modules.module.Module"), [("forward", name("torch.nn.functional.relu"))]),
    "attributes of a layer in a tuple": built(instance("torch.nn.modules.module.Module"), (("a", 1), ("b", 2), ("c", 3))),
    "attributes of a layer by slots": built(instance("torch.nn.modules.module.Module"), (None, {"a": 1})),
    "attributes of a layer that are an object": built(instance("torch.nn.modules.module.Module"), PARAMETERS),
    "attributes that are an object": built(instance(NAMESPACE), PARAMETERS),
    "a function for a method of a layer": instance("torch.nn.modules.module.Module", {"extra_repr": name("torch.nn.functional.relu")}),
    "an object for a method of a layer": instance("torch.nn.modules.module.Module", {"forward": PARAMETERS}),
    "a function for a part of a layer": instance("torch.nn.modules.container.Sequential", {"_modules": {"0": name("torch.nn.functional.relu")}}),
    "what is no layer for a part of one": instance("torch.nn.modules.container.Sequential", {"_modules": {"0": instance(NAMESPACE)}}),
    "a function for a method of a tensor": call(
        REBUILD, name("torch._utils._rebuild_tensor_v2"), name("torch.nn.parameter.Parameter"), (1,), {"detach": name("torch.nn.functional.relu")}
    ),
    "a tensor that is rebuilt by a function that calls": call(REBUILD, name("torch.nn.functional.relu"), name("torch.Tensor"), (1,), {}),
    "a tensor with attributes in a list": call(REBUILD, name("torch._utils._rebuild_tensor_v2"), name("torch.Tensor"), (1,), [("a", 1)]),
    "an object in a list": call("torch.Size", [instance(NAMESPACE)]),
    "an object deep in arguments": call("torch.Size", {"a": ([instance(NAMESPACE)],)}),
    "an object in a set, whose methods compare it": Code(b"(" + instance(SPEC, {"_hash_impl": name("torch.Size")}) + b"\x91"),
    "such an object as a key": entry_of(value({}), instance(SPEC, {"_hash_impl": name("torch.Size")}), 1),
    "a dictionary with attributes for a tensor": call("torch.nn.parameter.Buffer", built(call("collections.OrderedDict"), {"detach": 1})),
    "an object of a class in small letters": call("torch.Size", built(call("torch._dynamo.decorators._DimRange", 1, 2), {"a": 1})),
    "arguments by name": Code(name(NAMESPACE) + value(()) + value({"a": 1}) + NEWOBJ_EX),
    "a factory that is an object": call("collections.defaultdict", instance(NAMESPACE)),
    "keys of a dictionary that is made by a call": call("builtins.dict", [(instance(SPEC, {"_hash_impl": name("torch.Size")}), 1)]),
    "keys of an ordered one": call("collections.OrderedDict", [[instance(SPEC, {"_hash_impl": name("torch.Size")}), 1]]),
    "what is counted": call("collections.Counter", [(instance(SPEC, {"_hash_impl": name("torch.Size")}), 1)]),
    "an object in a queue": call("torch.Size", call("collections.deque", [instance(NAMESPACE)])),
    "an object that its class initialises": call("copyreg._reconstructor", name(PARTS), name(PARTS), {"a": 1}),
    "a hook of harmless names": instance("torch.nn.modules.module.Module", {"_forward_hooks": {"0": name("torch.nn.functional.relu")}}),
    "a table of hooks that is an object": instance("torch.nn.modules.module.Module", {"_forward_pre_hooks": PARAMETERS}),
    "bytes without measure": call("builtins.bytearray", 1 << 40),
    "a number without measure": call("builtins.int", call("decimal.Decimal", "1e2000000000")),
    "a fraction without measure": call("fractions.Fraction", "1e3000000000"),
    "a name of an attribute that is computed": Code(instance(NAMESPACE) + b"}" + call("_codecs.encode", "a", "latin1") + value(1) + SETITEM + BUILD),
    "a text by another codec": call("_codecs.encode", "n", "rot13"),
    "attributes that come later": Code(instance(NAMESPACE) + b"}q\x07b0h\x07" + value("a") + value(1) + SETITEM),
    "parts that come later": Code(
        instance("torch.nn.modules.module.Module") + value({"_parameters": Code(b"}q\x07")}) + b"b0h\x07" + value("a") + value(1) + SETITEM
    ),
    "a storage that an object names": persistent(("storage", name("torch.FloatStorage"), "0", instance(NAMESPACE), 4)),
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


@pytest.mark.parametrize("case", ODD)
def test_names_that_somebody_allows_do_not_excuse_how_they_are_put_together(case):
    theirs = Policy(
        [(module, "*", "safe", "ours") for module in ("torch.*", "numpy.*", "argparse", "copyreg", "builtins")], "ours.toml"
    )
    safety = Safety(scan_window(MemoryWindow(pickled(ODD[case]), "model.pkl"), DEFAULT_LIMITS, read_window), theirs)
    assert safety.verdict == scanned(pickled(ODD[case]), "model.pkl").verdict


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


def test_the_first_states_do_not_hide_that_a_class_is_patched():
    """A trace keeps the first 32 states that are given to what one function returns."""
    echo = "torch.jit._pickle.build_intlist"
    many = [built(call(echo, {}), {"a": 1}) for _ in range(40)]
    patched = built(call(echo, name(NAMESPACE)), (None, {"error": name("torch.Size")}))
    assert "patch" in codes(scanned(pickled([*many, patched]), "model.pkl"))


@pytest.mark.parametrize("path", ["__builtin__.list", "copy_reg._reconstructor", "itertools.izip"])
def test_names_of_python_2_in_a_later_protocol(path):
    """Python 3 maps them in the protocols 0 to 2 only; then it imports a module of that name, from wherever one lies."""
    assert "odd-pickle" in codes(scanned(pickled(name(path), version=4), "model.pkl"))
    assert "odd-pickle" not in codes(scanned(pickled(name(path), version=2), "model.pkl"))


def test_more_arguments_than_are_looked_at_hide_nothing():
    long = Code(MARK + value(1) * 60_000 + TUPLE + put(1) + POP)
    again = Code(EMPTY_DICT + put(2) + POP + (get(2) + get(1) + value(1) + SETITEM + POP) * 100)
    hidden = entry_of(value({}), instance(SPEC, {"_hash_impl": name("torch.Size")}), 1)
    safety = scanned(b"\x80\x02" + long + again + hidden + b".", "model.pkl")
    assert (safety.verdict, codes(safety)) == ("suspicious", {"odd-pickle"})


def test_a_list_in_itself_is_gone_into_once():
    """Going round used up what is looked at in the whole pickle, in two seconds; so did nodes of a graph in a set."""
    around = Code(EMPTY_LIST + put(1) + get(1) + APPEND)
    assert scanned(pickled(entry_of(value({}), instance(SPEC, {"a": around}), 1)), "model.pkl").verdict == "safe"
    hidden = Code(EMPTY_LIST + put(2) + get(2) + APPEND + name("torch.Size") + APPEND)
    assert codes(scanned(pickled(entry_of(value({}), instance(SPEC, {"a": hidden}), 1)), "model.pkl")) == {"odd-pickle"}


def test_an_object_that_calls_itself_or_another_one_is_odd_as_a_key_wherever_the_other_stands():
    itself = Code(instance(SPEC) + put(1) + value({"_hash_impl": get(1)}) + BUILD)
    assert codes(scanned(pickled(entry_of(value({}), itself, 1)), "model.pkl")) == {"odd-pickle"}
    other = Code(instance(SPEC, {"a": 1}) + put(2))
    holder = instance(SPEC, {"_hash_impl": get(2)})
    for before, keys in ((b"", other + holder), (other + POP, holder + get(2))):
        assert codes(scanned(b"\x80\x04" + before + MARK + keys + FROZENSET + STOP, "model.pkl")) == {"odd-pickle"}
    called = Code(name(SPEC) + value(()) + REDUCE + value({"a": 1}) + BUILD)
    assert codes(scanned(pickled(entry_of(value({}), instance(SPEC, {"_hash_impl": called}), 1)), "model.pkl")) == {"odd-pickle"}


def test_what_all_keys_share_is_looked_at_once():
    table = Code(value(list(range(2_000))) + put(1) + POP)
    keys = [Code(instance(SPEC) + value({"table": get(1)}) + BUILD) for _ in range(2_500)]
    assert scanned(b"\x80\x04" + table + MARK + b"".join(keys) + FROZENSET + b".", "model.pkl").verdict == "safe"


def test_a_state_dict_with_an_instruction_that_makes_objects_is_looked_at_again():
    """All its names are those of a state dict, so that a reader that sees no arguments by name would be believed."""
    from tests.builders.torch_code import ordered, tensor
    from tests.builders.torch_file import torch_zip_bytes

    hidden = Code(name("torch.UntypedStorage") + value((8,)) + value({"allocator": 1}) + NEWOBJ_EX)
    data = torch_zip_bytes(ordered({"w": tensor(), "x": hidden}), {"0": 24})
    assert scanned(data).verdict == "dangerous"


@pytest.mark.parametrize("path", [REBUILD, "copyreg._reconstructor"])
def test_functions_that_are_named_and_not_called(path):
    assert scanned(pickled(name(path)), "model.pkl").verdict == "suspicious"


def test_frozen_sets_may_be_keys():
    frozen = Code(MARK + value(1) + value(2) + FROZENSET)
    assert scanned(pickled(entry_of(value({}), frozen, 3), 4), "model.pkl").verdict == "safe"


def test_lists_of_torchscript_where_there_is_none():
    assert scanned(pickled(call("torch.jit._pickle.build_intlist", [1])), "model.pkl").verdict == "suspicious"


def test_an_unknown_class_may_be_pickled_in_any_way():
    filled = [
        entry(instance("shop.Box"), "a", 1),
        Code(instance("shop.Basket") + value(1) + APPEND),
        call("shop.make", instance("shop.Box")),
    ]
    safety = scanned(pickled(filled), "model.pkl")
    assert safety.verdict == "unknown"


def test_a_function_that_is_wrapped_for_later_is_not_called():
    assert scanned(pickled(call("functools.partial", name("torch.nn.functional.gelu"))), "model.pkl").verdict in (
        "safe",
        "unknown",
    )


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
    saved = {
        "model": module,
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": torch.get_rng_state(),
    }
    for number, content in enumerate(
        (saved, module.state_dict(), torch.sparse_coo_tensor([[0]], [1.0], check_invariants=True), layers.LazyLinear(3))
    ):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        assert not codes(scanned(path.read_bytes(), "model.pt")) & {"forged-pickle", "odd-pickle"}, number


def test_arrays_and_types_as_dill_writes_them_are_no_functions():
    array = call("numpy._core.multiarray._reconstruct", name("numpy.ndarray"), (0,), b"b").removesuffix(REDUCE)
    function, arguments = name("numpy._core.multiarray._reconstruct"), (name("numpy.ndarray"), (0,), b"b")
    state = (1, (4,), built(call("numpy.dtype", "f8", False, True), (3, "<", None, None, None, -1, -1, 0)), False, bytes(32))
    assert array.startswith(function)
    made = call("dill._dill._create_array", function, arguments, state, None)
    part = Code(call("dill._dill._load_type", "slice") + value((0, 1, 1)) + REDUCE)
    safety = scanned(pickled([made, part]), "model.pkl")
    assert (safety.verdict, "builtins.slice" in paths(safety)) == ("unknown", True)
    evil = call("dill._dill._create_array", name("os.system"), ("true",), state, None)
    assert scanned(pickled(evil), "model.pkl").verdict == "dangerous"
    forged = (1, (4,), built(call("numpy.dtype", "O8", False, True), (3, "|", None, None, None, -1, -1, 0)), False, bytes(32))
    assert scanned(pickled(call("dill._dill._create_array", function, arguments, forged, None)), "model.pkl").verdict == "dangerous"


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [({"a": 1}, "suspicious"), (["a"], "suspicious"), ("a", "suspicious"), (None, "suspicious"), (call("m.f"), "dangerous")],
)
def test_an_array_of_dill_made_of_what_is_no_tuple(arguments, verdict):
    """Python calls the function with what going through them gives; the result is shown where something else is called on it."""
    made = call("dill._dill._create_array", name("shop.make"), arguments, None, "shop.Array")
    safety = scanned(pickled(made)[:-1] + EMPTY_TUPLE + REDUCE + STOP, "model.pkl")
    assert safety.verdict == verdict
    assert any("shop.make(" in called.text for called in safety.calls)
    code = Code(call("dill._dill._load_type", "CodeType") + value((0, b"")) + REDUCE)
    assert scanned(pickled(code), "model.pkl").verdict == "dangerous"


def test_words_that_are_told():
    found = scanned(pickled(ODD["a function of NumPy that is given an object"]), "model.pkl").found
    assert any(GIVEN in str(one.message) and "argparse.Namespace" in str(one.message) for one in found)
    assert any(str(one.message) == OBJECT_SCALAR for one in scanned(pickled(ODD["a scalar that is a class"]), "m.pkl").found)
    assert any(str(one.message) == NO_PAIRS for one in scanned(pickled(FORGED["pairs of two letters"]), "m.pkl").found)
