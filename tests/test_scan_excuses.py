"""What excuses a name, and what does not: harmless functions that call what they are given, bytes that nobody sees, aliases.

None of these pickles is ever loaded.
"""

from __future__ import annotations

import pickle

import pytest

from modelscope_cli.analysis.policy_file import read_policy
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.containers.odd_states import MOST_PARTS, Dtypes
from modelscope_cli.containers.pickle_nodes import Call, Global, mapping
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_window
from tests.builders.attacks import SYSTEM
from tests.builders.package_file import package_bytes
from tests.builders.pickle_code import (
    BUILD,
    NEWOBJ,
    POP,
    REDUCE,
    SETITEM,
    STOP,
    Code,
    built,
    call,
    get,
    instance,
    name,
    pickled,
    proto,
    remembered,
    value,
)
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import legacy_bytes, torch_entries, torch_zip_bytes
from tests.builders.zip_archive import zip_bytes
from tests.scanned import codes, paths, scanned

INNER = legacy_bytes({"n": 1})
LOAD = "torch.storage._load_from_bytes"
REBUILD = "torch._tensor._rebuild_from_type_v2"
HONEST_GETATTR = call("builtins.getattr", name("shop.Colour"), "RED")
EMPTY = Code(b"}")
FILES = {"model.pkl": pickled, "model.pt": lambda thing: torch_zip_bytes(thing, {"0": 24}), "old.pt": legacy_bytes}


def encoded(data: bytes, codec: str) -> Code:
    """Bytes as protocol 2 writes them, with a codec of one's choice."""
    return call("_codecs.encode", data.decode(codec), codec)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("many", [1, 40])
@pytest.mark.parametrize(
    "hidden",
    [
        call(LOAD, encoded(INNER, "cp037")),
        call(LOAD, encoded(INNER, "utf-16-le") if len(INNER) % 2 == 0 else encoded(INNER + b"\0", "utf-16-le")),
        call(LOAD, call("builtins.bytearray", INNER)),
        call(LOAD, call("builtins.bytes", [1, 2, 3])),
        call(REBUILD, name(LOAD), name("torch.Tensor"), (INNER,), EMPTY),
        call(REBUILD, name(LOAD), name("torch.Tensor"), [INNER], EMPTY),
        call("numpy.random._pickle.__generator_ctor", INNER, name(LOAD)),
        call("torch.nn.utils.parametrize.ParametrizationList", [instance("torch.nn.modules.module.Module", {"right_inverse": name(LOAD)})], INNER),
    ],
    ids=["cp037", "utf-16", "bytearray", "list", "rebuild", "rebuild with a list", "generator", "right_inverse"],
)  # fmt: skip
def test_bytes_that_no_scanner_sees_are_dangerous(hidden, many, file):
    """Honest calls in front of it, more than a trace tells of, do not excuse it."""
    safety = scanned(FILES[file]([*(call(LOAD, INNER) for _ in range(many)), hidden]), file)
    assert safety.verdict == "dangerous", safety.why


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("many", [1, 40])
def test_a_file_inside_the_pickle_is_looked_at_wherever_it_stands(file, many):
    bad = legacy_bytes(call("posix.system", "true"))
    safety = scanned(FILES[file]([*(call(LOAD, INNER) for _ in range(many)), call(LOAD, bad)]), file)
    assert safety.verdict == "dangerous"
    assert "posix.system" in paths(safety)


@pytest.mark.parametrize("inner", [INNER, encoded(INNER, "latin-1"), encoded(INNER, "latin1")], ids=["bytes", "latin-1", "latin1"])
def test_bytes_that_stand_in_the_file_are_looked_at(inner):
    safety = scanned(pickled([call(LOAD, inner)]), "model.pkl")
    assert safety.verdict == "safe", safety.why
    assert len(safety.scanned.streams) > 1


@pytest.mark.parametrize("many", [1, 40])
def test_a_name_given_to_a_function_that_calls_it_has_no_excuse(many):
    """getattr of an enumeration is excused, but not where another function calls it as well."""
    honest = [HONEST_GETATTR, *(call(REBUILD, name("torch._utils._rebuild_tensor"), name("torch.Tensor"), (), EMPTY) for _ in range(many))]
    assert scanned(pickled(honest[:2]), "model.pkl").verdict == "unknown"
    reach = call(REBUILD, name("builtins.getattr"), name("torch.Tensor"), (name("shop.Colour"), "__globals__"), EMPTY)
    safety = scanned(pickled([*honest, reach]), "model.pkl")
    assert safety.verdict == "dangerous"


def test_what_is_deep_in_the_arguments_is_given_as_well():
    holder = instance("torch.nn.modules.module.Module", {"a": [{"b": (name("builtins.getattr"),)}]})
    listed = call("torch.nn.utils.parametrize.ParametrizationList", [holder], 1)
    assert scanned(pickled([HONEST_GETATTR, listed]), "model.pkl").verdict == "dangerous"


@pytest.mark.parametrize(
    "target",
    [
        call("builtins.type", instance("torch.nn.modules.linear.Linear")),
        call("torch.jit._pickle.restore_type_tag", name("torch.nn.modules.linear.Linear"), ""),
        call("torch.jit._pickle.build_tensorlist", call("builtins.type", 1)),
    ],
    ids=["type", "tag", "both"],
)
def test_setting_attributes_of_a_class_by_a_detour_is_a_patch(target):
    safety = scanned(pickled(built(target, (None, {"forward": 1}))), "model.pkl")
    assert "patch" in codes(safety)
    assert safety.verdict == "dangerous"


def test_the_state_of_an_object_is_no_patch():
    made = call("torch.jit._pickle.restore_type_tag", instance("torch.nn.modules.linear.Linear"), "")
    assert "patch" not in codes(scanned(pickled(Code(made + value({"a": 1}) + BUILD)), "model.pkl"))


@pytest.mark.parametrize("cls", ["numpy.ndarray", "numpy.matrix", "numpy.recarray", "numpy.ma.core.MaskedArray"])
def test_numpy_arrays_are_not_called(cls):
    """numpy.ndarray((1,), object, bytes) takes bytes of the file for the address of an object."""
    honest = call("numpy._core.multiarray._reconstruct", name(cls), (0,), b"b")
    assert scanned(pickled(honest), "model.pkl").verdict == "safe"
    assert scanned(pickled(call(cls, (1,), name("builtins.object"), b"AAAAAAAA")), "model.pkl").verdict == "suspicious"


def test_a_mesh_is_harmless_as_torch_saves_it_and_not_made_anew():
    mesh = "torch.distributed.device_mesh.DeviceMesh"
    assert scanned(pickled(instance(mesh, {"mesh": 1})), "model.pkl").verdict == "safe"
    assert scanned(pickled(call(mesh, "cpu", 1)), "model.pkl").verdict == "unknown"
    assert scanned(pickled(instance("shop.DeviceMesh", {"mesh": 1})), "model.pkl").verdict == "unknown"


def test_a_graph_under_another_name_is_told():
    """torch.ao.quantization.fx._equalize holds torch.fx.GraphModule: the target of a placeholder becomes source that is run."""
    place = "torch.ao.quantization.fx."
    graph = call(f"{place}_lower_to_native_backend.Graph")
    node = call(f"{place}_equalize.Node", graph, "x", "placeholder", "x=print(1)", (), EMPTY)
    safety = scanned(pickled([node, call(f"{place}_equalize.GraphModule", EMPTY, graph)]), "model.pkl")
    assert safety.verdict == "suspicious"
    suspicious = {item.path for item in safety.imports if item.judgement.level == "suspicious"}
    assert suspicious == {f"{place}_lower_to_native_backend.Graph", f"{place}_equalize.Node", f"{place}_equalize.GraphModule"}


def test_a_name_of_python_2_is_told_as_what_is_imported():
    """Python 3 writes subprocess as commands in protocol 2."""
    import subprocess

    data = pickle.dumps(subprocess.Popen, protocol=2)
    assert b"commands" in data
    safety = scanned(data, "model.pkl")
    assert paths(safety) == {"subprocess.Popen"}
    assert "subprocess.Popen (written commands.Popen)" in str(safety.found[0].message)
    called = scanned(pickled(call("commands.Popen", "true")), "model.pkl")
    assert str(called.why) == "calls subprocess.Popen('true')"
    assert called.calls[0].text == "subprocess.Popen('true')"


def test_what_only_a_policy_makes_safe_is_said(tmp_path):
    (tmp_path / "ours.toml").write_text('[[allow]]\nnames = ["posix.system", "shop.Net"]\nreason = "tried"\n')
    policy = read_policy(str(tmp_path / "ours.toml"))

    def why(*things):
        scan = scan_window(MemoryWindow(pickled(list(things)), "model.pkl"), DEFAULT_LIMITS, read_window)
        safety = Safety(scan, policy)
        assert safety.verdict == "safe"
        return str(safety.why)

    one = "1 name imported: posix.system allowed by ours.toml (dangerous without it)"
    assert why(Code(SYSTEM)) == one
    assert why(name("shop.Net"), name("builtins.set")) == (
        "2 names imported: shop.Net allowed by ours.toml (unknown without it), the others known to be harmless"
    )
    assert "allowed" not in why(name("builtins.set"))


def reaching(owner: str, attribute: str) -> Code:
    return call("builtins.getattr", name(owner), attribute)


def handed_on(function: Code, *args) -> Code:
    """A call that torch makes, of a function that it is given."""
    return call(REBUILD, function, name("builtins.str"), args, EMPTY)


OPERATORS = "torch._C._VariableFunctionsClass"
HARMLESS_VALUES = {
    "numpy function": name("numpy.mean"),
    "builtin": name("builtins.max"),
    "activation": name("torch.nn.functional.hardtanh_"),
    "operator": reaching(OPERATORS, "cosine_similarity"),
    "method": reaching("builtins.str", "lower"),
    "zone": Code(value(reaching("zoneinfo.ZoneInfo", "_unpickle")) + value(("UTC", 1)) + REDUCE),
    "logger": call("logging.getLogger", "train"),
    "pattern": call("re._compile", "a+", 32),
    "memory format": Code(b"ctorch._utils\ntorch.channels_last\n"),
    "chain": instance("collections.ChainMap", {"maps": [{}]}),
    "error": call("builtins.ValueError", "x"),
    "times": call("time.struct_time", (2026, 11, 21, 0, 0, 0, 5, 325, 0), {"tm_zone": "GMT"}),
    "frame": call("pandas.core.indexes.base._new_Index", name("pandas.RangeIndex"), {"start": 0, "stop": 1}),
    "data set": instance("torch.utils.data.dataset.TensorDataset", {"tensors": ()}),
}


@pytest.mark.parametrize("thing", HARMLESS_VALUES.values(), ids=HARMLESS_VALUES)
def test_values_that_training_code_keeps_are_unknown_at_worst(thing):
    assert scanned(pickled({"config": thing}), "model.pkl").verdict in ("safe", "unknown")
    kept = instance("shop.Config", {"keeps": thing})
    assert scanned(pickled(kept), "model.pkl").verdict == "unknown"


@pytest.mark.parametrize(
    ("thing", "verdict"),
    [
        (call("operator.itemgetter", "a"), "unknown"),
        (call("operator.itemgetter", 1, ("a", 2)), "unknown"),
        (call("operator.itemgetter", name("os.system")), "dangerous"),
        (name("operator.itemgetter"), "dangerous"),
        (call("builtins.getattr", instance("shop.Net", {}), "forward"), "unknown"),
        (call("builtins.getattr", instance("shop.Net", {}), "__class__"), "dangerous"),
        (call("builtins.getattr", instance("shop.Net", {}), "a.b"), "dangerous"),
        (call("builtins.getattr", instance("os._Environ", {}), "get"), "dangerous"),
        (Code(value(call("builtins.getattr", instance("shop.Net", {}), "forward")) + value((1,)) + REDUCE), "suspicious"),
    ],
    ids=["key", "keys", "key that is a function", "itemgetter itself", "method", "class", "path", "method of os", "method called"],
)
def test_keys_and_methods_are_excused_where_they_stand_in_the_file(thing, verdict):
    assert scanned(pickled({"config": thing}), "model.pkl").verdict == verdict


ARRAY_AT = instance("argparse.Namespace", {"__array_interface__": {"data": (4096, False), "typestr": "|O", "shape": (1,), "version": 3}})


@pytest.mark.parametrize(
    "thing",
    [
        call("numpy.mean", 1),
        handed_on(name("numpy.mean"), 1),
        built(instance("argparse.Namespace", {"__setstate__": name("numpy.mean")}), {"a": 1}),
        call("builtins.max", 1, 2),
        Code(value(reaching(OPERATORS, "relu")) + value((1,)) + REDUCE),
        handed_on(reaching("builtins.dict", "get"), {"a": 1}, "a"),
        handed_on(reaching("builtins.str", "lower"), "OS"),
        reaching("builtins.str", "format"),
        reaching("zoneinfo.ZoneInfo", "from_file"),
        call("numpy.object_", ARRAY_AT),
        call("numpy.float64", ARRAY_AT),
        name("builtins.iter"),
        name("numpy.set_printoptions"),
    ],
    ids=["called", "handed on", "stored", "max", "operator", "dict.get", "str.lower", "format", "zone", "object_", "float64", "iter",
         "function of numpy"],
)  # fmt: skip
def test_what_is_called_is_not_excused_as_a_value(thing):
    assert scanned(pickled([thing]), "model.pkl").verdict in ("suspicious", "dangerous")


@pytest.mark.parametrize(
    "thing",
    [
        reaching(OPERATORS, "from_file"),
        reaching(OPERATORS, "__subclasses__"),
        reaching("builtins.str", "__class__"),
        built(call("logging.getLogger", "root"), {"handle": name("builtins.len")}),
        call("builtins.getattr", call("logging.getLogger", "x"), "manager"),
        call("builtins.getattr", name("builtins.ValueError"), "__subclasses__"),
        Code(b"ctorch._utils\ntorch.load\n"),
        Code(b"c__main__\n__builtins__.eval\n"),
    ],
    ids=["from_file", "operator", "str", "logger", "manager", "error", "torch.load", "main"],
)
def test_what_leads_further_is_dangerous(thing):
    assert scanned(pickled([thing]), "model.pkl").verdict == "dangerous"


@pytest.mark.parametrize(
    "other",
    [
        name("builtins.getattr"),
        instance("shop.Config", {"keeps": name("builtins.getattr")}),
        call("collections.defaultdict", name("builtins.getattr")),
        call("shop.apply", name("builtins.getattr"), name("shop.Net"), "x"),
        handed_on(name("builtins.getattr"), name("torch.nn.init.zeros_"), "__globals__"),
    ],
    ids=["value", "kept", "factory", "argument", "handed on"],
)
def test_a_harmless_call_excuses_a_name_only_where_it_is_all_that_is_done_with_it(other):
    """The function is remembered, so that it is imported once: whatever else uses it counts."""
    assert scanned(pickled([HONEST_GETATTR]), "model.pkl").verdict == "unknown"
    assert scanned(pickled([HONEST_GETATTR, other]), "model.pkl").verdict == "dangerous"
    assert scanned(pickled([call(LOAD, INNER), call("shop.apply", name(LOAD), INNER)]), "model.pkl").verdict == "dangerous"


@pytest.mark.parametrize(
    ("imported", "verdict"),
    [("shop.Net", "unknown"), ("shop.models.Net", "unknown"), ("deep.Net", "unknown"), ("collections.OrderedDict", "safe"),
     ("other.Net", "unknown")],
)  # fmt: skip
def test_a_module_that_the_package_brings_is_source_that_loading_runs(imported, verdict):
    """Every torch.package does that: named, not accused. None has a reason to bring a module of Python's own."""
    files = {"shop.py": b"from os import path", "deep/__init__.py": b""}
    safety = scanned(package_bytes({"m/m.pkl": name(imported)}, files=files), "model.pt")
    assert {item.judgement.level for item in safety.imports} == {verdict}
    brought = imported.partition(".")[0] in ("shop", "deep")
    assert {"stands in the file as Python source" in item.judgement.reason for item in safety.imports} == {brought}
    hidden = {"collections.py": b"", "shop.py": b""}
    assert scanned(package_bytes({"m/m.pkl": name("collections.OrderedDict")}, files=hidden), "model.pt").verdict == "suspicious"


LOADS = "would allow every name in it"
STATE = ordered({"w": tensor()})


def archive(pickle_bytes: bytes, **others: bytes) -> bytes:
    """A torch archive with a data.pkl of one's own."""
    entries = [
        type(entry)(entry.name, pickle_bytes if entry.name.endswith("data.pkl") else entry.data)
        for entry in torch_entries(STATE, {"0": 24})
    ]
    return zip_bytes([*entries, *(type(entries[0])(path, data) for path, data in others.items())])


def state(extra: bytes = b"") -> bytes:
    return proto() + extra + value(STATE) + STOP


@pytest.mark.parametrize(
    ("data", "file", "said"),
    [
        (archive(state()), "model.pt", LOADS),
        (archive(state() + proto() + SYSTEM + STOP), "model.pt", LOADS),
        (archive(proto() + SYSTEM + STOP), "model.pt", "refuses posix.system at byte 2 of archive/data.pkl"),
        (archive(state(name("shop.Net") + POP)), "model.pt", "refuses shop.Net at byte 2 of archive/data.pkl"),
        (archive(state(name("__builtin__.eval") + POP)), "model.pt", "refuses builtins.eval at byte 2 of archive/data.pkl"),
        (archive(pickled({"s": name("__builtin__.set")})), "model.pt", LOADS),
        (archive(state(b"I1\n0")), "model.pt", "refuses the instruction INT at byte 2 of archive/data.pkl"),
        (archive(pickled({"s": name("torch.distributed.tensor.DTensor")})), "model.pt",
         f"{LOADS}, once torch.distributed.tensor is imported"),
        (archive(state(), **{"other/data.pkl": proto() + SYSTEM + STOP}), "model.pt", None),
        (archive(state(), **{"archive/deep/data.pkl": proto() + SYSTEM + STOP}), "model.pt", LOADS),
        (archive(state()[:-20]), "model.pt", None),
        (SAMPLES["legacy.pth"], "legacy.pth", LOADS),
        (pickled({"a": 1}), "model.pkl", "refuses a pickle that torch.save did not write (invalid magic number)"),
        (pickled(call("posix.system", "true")), "model.pkl", "refuses posix.system at byte 2"),
        (SAMPLES["old.tar"], "old.tar", "refuses the legacy .tar format"),
        (SAMPLES["package.pt"], "package.pt", None),
        (SAMPLES["scripted.ptl"], "scripted.ptl", "refuses TorchScript archives"),
        (SAMPLES["plain.safetensors"], "plain.safetensors", None),
        (zip_bytes([type(torch_entries(STATE)[0])("a/b/data.pkl", state())]), "any.zip", None),
    ],
    ids=["honest", "second pickle", "refused", "unknown name", "python 2", "python 2 allowed", "instruction", "on import",
         "two folders", "deeper", "cut", "legacy", "bare", "bare bad", "tar", "package", "torchscript", "safetensors", "zip"],
)  # fmt: skip
def test_what_torch_would_say(data, file, said):
    assert scanned(data, file).weights_only == said


def dtype(code: str, state: tuple | None) -> Code:
    """An element type as numpy pickles it."""
    made = call("numpy.dtype", code, False, True)
    return made if state is None else built(made, state)


PLAIN = dtype("f8", (3, "<", None, None, None, -1, -1, 0))
OBJECT = dtype("O8", (3, "|", None, None, None, -1, -1, 63))
RECORD = (3, "|", None, ("a", "b"), {"a": (PLAIN, 0), "b": (OBJECT, 8)}, 16, 1, 27)
HIDING = (3, "|", None, ("a",), {"a": (OBJECT, 0)}, 8, 1, 0)
VOID = (3, "|", None, None, None, 8, 1, 0)
FIELDS = remembered(9, {"a": (PLAIN, 0)})
FRESH = call("numpy.dtype", "V8", False, True)
FORGERIES = {
    "hides a field": dtype("V8", HIDING),
    "hides an object": dtype("O8", (3, "|", None, None, None, -1, -1, 0)),
    "object by another code": dtype("object", (3, "|", None, None, None, -1, -1, 0)),
    "object by a class": built(call("numpy.dtype", name("builtins.object"), False, True), (3, "|", None, None, None, -1, -1, 0)),
    "claims objects": dtype("f8", (3, "<", None, None, None, -1, -1, 63)),
    "hides a base": dtype("V8", (3, "|", (OBJECT, (1,)), None, None, 8, 1, 0)),
    "hides deep": dtype("V8", (3, "|", None, ("a",), {"a": (dtype("V8", (3, "|", None, ("a",), {"a": (OBJECT, 0)}, 8, 1, 27)), 0)}, 8, 1, 0)),
    "field behind the end": dtype("V8", (3, "|", None, ("a",), {"a": (PLAIN, 4)}, 8, 1, 0)),
    "field before the beginning": dtype("V8", (3, "|", None, ("a",), {"a": (PLAIN, -8)}, 8, 1, 0)),
    "base larger than the element": dtype("V8", (3, "|", (PLAIN, (4,)), None, None, 8, 1, 0)),
    "a field without a state": dtype("V8", (3, "|", None, ("a",), {"a": (FRESH, 0)}, 8, 1, 0)),
    "state twice": built(dtype("V8", VOID), VOID),
    "state by a function": call(REBUILD, name("numpy.dtype"), name("numpy.dtype"), ("V8", False, True), HIDING),
    "made by a function": built(call("copyreg.__newobj__", name("numpy.dtype"), "V8", False, True), HIDING),
    "made by its class": built(call("numpy.dtypes.VoidDType", 8), HIDING),
    "of Python 2": Code(value(call("numpy.dtype", b"O8", 0, 1)) + value((3, "|", None, None, None, -1, -1, 0)) + BUILD),
}  # fmt: skip


@pytest.mark.parametrize("many", [0, 40])
@pytest.mark.parametrize("thing", FORGERIES.values(), ids=FORGERIES)
def test_element_types_that_make_pointers_of_bytes_are_dangerous(thing, many):
    """However many honest ones stand in front of it: more than a trace tells of."""
    before = [dtype("V16", RECORD), *(dtype("V8", VOID) for _ in range(many))]
    safety = scanned(pickled([*before, thing]), "model.pkl")
    assert safety.verdict == "dangerous", safety.why
    assert "forged-dtype" in codes(safety)


def test_an_element_type_whose_fields_are_changed_later_is_dangerous():
    made = built(FRESH, (3, "|", None, ("a",), FIELDS, 8, 1, 0))
    later = Code(get(9) + value("a") + value((OBJECT, 0)) + SETITEM)
    honest = [dtype("V8", VOID) for _ in range(40)]
    assert "forged-dtype" not in codes(scanned(pickled([*honest, made]), "model.pkl"))
    assert "forged-dtype" in codes(scanned(pickled([*honest, made, later]), "model.pkl"))


@pytest.mark.parametrize(
    "thing",
    [dtype("V16", RECORD), PLAIN, OBJECT, dtype("V24", (3, "|", (PLAIN, (3,)), None, None, 24, 8, 0)),
     dtype("M8", (4, "<", None, None, None, -1, -1, 0, (None, (b"ns", 1, 1, 1)))), dtype("U3", (3, "<", None, None, None, 12, 4, 8)),
     built(call("numpy.dtype", name("numpy.record"), False, True), (3, "|", None, ("x",), {"x": (PLAIN, 8)}, 16, 1, 16))],
    ids=["record", "number", "object", "base", "time", "text", "class"],
)  # fmt: skip
def test_element_types_as_numpy_writes_them_are_safe(thing):
    assert scanned(pickled([thing]), "model.pkl").verdict == "safe"


def test_shared_fields_of_element_types_are_looked_at_once():
    """Twelve levels of forty fields, each level the same one: 480 fields, and not forty to the power of twelve."""
    node, size = Call(Global("numpy", "dtype"), ("f8", False, True)), 8
    node.state = (3, "<", None, None, None, -1, -1, 0)
    for _ in range(12):
        fields = mapping([(f"f{at}", (node, at * size)) for at in range(40)])
        size *= 40
        node = Call(Global("numpy", "dtype"), ("V8", False, True))
        node.state = (3, "|", None, (), fields, size, 1, 16)
    dtypes = Dtypes()
    assert dtypes.wrong(node.args, node.state) == ""
    assert dtypes.left >= MOST_PARTS - 12 * 41
    dtypes.left = 100
    assert "more fields" in dtypes.wrong(node.args, node.state)


ADDRESS = {"data": (4096, False), "typestr": "<f8", "shape": (), "version": 3}
MASKED = call("numpy.ma.core._mareconstruct", name("numpy.ma.core.MaskedArray"), name("numpy.ndarray"), (0,), b"b")


def masked(fill: object) -> Code:
    return built(MASKED, (1, (1,), PLAIN, False, bytes(8), b"\0", fill))


@pytest.mark.parametrize(
    "thing",
    [
        instance("types.SimpleNamespace", {"__array_interface__": ADDRESS}),
        call("types.SimpleNamespace", {"__array_interface__": ADDRESS}),
        instance("argparse.Namespace", {"__array_struct__": 1}),
        built(call("collections.OrderedDict"), {"__array_interface__": ADDRESS}),
        instance("argparse.Namespace", (None, {"__cuda_array_interface__": ADDRESS})),
        call(REBUILD, name("builtins.dict"), name("builtins.dict"), (), {"__torch_function__": 1}),
        masked(call("shop.Value")),
        masked([1]),
    ],
    ids=["state", "argument", "struct", "dictionary", "slots", "tensor", "fill value", "list"],
)
def test_objects_that_tell_numpy_an_address_are_suspicious(thing):
    honest = [built(call("types.SimpleNamespace"), {"a": 1}) for _ in range(40)]
    safety = scanned(pickled([*honest, thing]), "model.pkl")
    assert safety.verdict == "suspicious", safety.why
    assert "array-address" in codes(safety)


@pytest.mark.parametrize("fill", [None, 1.5, "x", call("numpy._core.multiarray.scalar", PLAIN, bytes(8))], ids=str)
def test_fill_values_of_masked_arrays_are_safe(fill):
    assert scanned(pickled(masked(fill)), "model.pkl").verdict == "safe"


def native(cls: str) -> Code:
    return built(Code(name("torch.ScriptObject") + value(()) + NEWOBJ), ((), cls))


PACKED = "__torch__.torch.classes.quantized.LinearPackedParamsBase"


@pytest.mark.parametrize("many", [1, 40])
def test_packed_weights_are_unknown_and_other_native_objects_worse(many):
    layers = [native(PACKED) for _ in range(many)]
    assert scanned(pickled(layers), "model.pkl").verdict == "unknown"
    assert "native-state" in codes(scanned(pickled([*layers, native("__torch__.torch.classes.dist_c10d.Store")]), "model.pkl"))
    detour = built(call("copyreg.__newobj__", name("torch.ScriptObject")), ((), PACKED))
    assert "native-state" in codes(scanned(pickled([*layers, detour]), "model.pkl"))
    for other in (call("torch.ScriptObject", 1), name("torch.ScriptObject"), native("posix.system")):
        assert scanned(pickled([other]), "model.pkl").verdict in ("suspicious", "dangerous")


@pytest.mark.parametrize("module", ["functools", "_functools"])
def test_a_wrapped_operator_is_unknown_until_something_calls_it(module):
    wrapped = call(f"{module}.partial", reaching(OPERATORS, "relu"))
    assert scanned(pickled([wrapped]), "model.pkl").verdict == "unknown"
    assert scanned(pickled([Code(wrapped + value((1,)) + REDUCE)]), "model.pkl").verdict == "suspicious"
    assert scanned(pickled([call(f"{module}.partial", reaching(OPERATORS, "from_file"))]), "model.pkl").verdict == "dangerous"
    assert scanned(pickled([call(f"{module}.partial", reaching("shop.Net", "__init__"))]), "model.pkl").verdict == "dangerous"
