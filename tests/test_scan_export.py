"""Programs of torch.export: texts that loading evaluates, names that it looks up, pickles among its weights, and compiled code."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.formats.scan_export import not_plain
from tests.builders.archives import tarred
from tests.builders.attacks import EXPRESSIONS, SYSTEM
from tests.builders.export_file import compiled_bytes, export_entries, graph, old_export_bytes, payload, pickled_payload
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, scanned

EVIL = proto() + SYSTEM + STOP
PLAIN = (
    "Symbol('s77', positive=True, integer=True)",
    "Mul(Integer(2), Symbol('s0', integer=True))",
    "Add(Mul(Integer(-1), FloorDiv(Symbol('s0'), Integer(2))), Integer(1))",
    "StrictGreaterThan(Symbol('s77', positive=True, integer=True), Integer(4))",
    "Float('0.5', precision=53)",
    "2*s0//3 + (s1 - 1)**2 % 4",
    "Max(1, s0) - 1.5e3",
    "Ne(s0, 1) & (s1 <= 3)",
    "OpaqueUnaryFn_sqrt(s0)",
    "int_oo",
)
LIBRARIES = {
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(57),
    "Mach-O": b"\xcf\xfa\xed\xfe" + bytes(60),
    "Mach-O of several machines": b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(60),
    "PE": b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(20),
    "WebAssembly": b"\0asm\1\0\0\0" + bytes(20),
}


def program(expression=None, *, target="torch.ops.aten.add.Tensor", spec="[1, {}]"):
    """A graph with one shape, one operator, and what describes its inputs."""
    document = json.loads(graph())
    document["graph_module"]["graph"]["nodes"] = [{"target": target, "inputs": []}]
    document["graph_module"]["module_call_graph"] = [{"fqn": "", "signature": {"in_spec": spec}}]
    sizes = [{"as_expr": {"expr_str": expression, "hint": {"as_int": 4}}}] if expression is not None else []
    document["graph_module"]["graph"]["tensor_values"] = {"x": {"sizes": sizes}}
    return json.dumps(document).encode()


def packed(text, **more):
    return zip_bytes(export_entries({}, {}, text=text, **more))


@pytest.mark.parametrize("text", PLAIN)
def test_expressions_of_shapes_are_safe(text):
    assert not_plain(text) is None
    assert scanned(packed(program(text)), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_that_is_code(text):
    for data in (packed(program(text)), old_export_bytes(b"", text=program(text)), program(text), packed(b" " * 99 + program(text))):
        safety = scanned(data, "m.pt2")
        assert (safety.verdict, "export-code" in codes(safety)) == ("dangerous", True)


def test_an_expression_behind_escapes_or_in_a_list():
    hidden = program(EXPRESSIONS[0]).replace(b"expr_str", b"expr\\u005fstr")
    listed = program([EXPRESSIONS[0]])
    for text in (hidden, listed, program(EXPRESSIONS[0]).decode().encode("utf-16")):
        assert scanned(packed(text), "m.pt2").verdict == "dangerous"


def test_an_expression_in_a_long_program():
    text = program(EXPRESSIONS[0])[:-1] + b', "extra": "' + b"x" * (9 << 20) + b'"}'
    assert scanned(packed(text), "m.pt2").verdict == "dangerous"


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("torch.ops.higher_order.cond", "safe"),
        ("_operator.ge", "safe"),
        ("torch.sym_max", "safe"),
        ("math.trunc", "safe"),
        ("torch.serialization.os.system", "suspicious"),
        ("torch.ops.load_library", "suspicious"),
        ("_operator.methodcaller", "suspicious"),
        ("math.__loader__.exec_module", "suspicious"),
    ],
)
def test_what_a_graph_calls(target, verdict):
    safety = scanned(packed(program(target=target)), "m.pt2")
    assert (safety.verdict, "export-target" in codes(safety)) == (verdict, verdict != "safe")


def test_modules_that_inputs_name():
    context = {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": []}
    member = {"__enum__": True, "fqn": "antigravity:Fly", "name": "X"}
    for inner in (json.dumps([context]), json.dumps(json.dumps([member]))):
        assert codes(scanned(packed(program(spec=inner)), "m.pt2")) == {"export-import"}
    context["default_factory_module"] = "collections"
    assert scanned(packed(program(spec=json.dumps([context]))), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("name", ["weights/weight_0", "constants/opaque_obj_0", "constants/custom_obj_0"])
def test_pickles_among_the_weights(name):
    folder, _, leaf = name.partition("/")
    inner = zip_bytes([Entry("archive/data.pkl", EVIL)])
    for data in (EVIL, inner, b"cos\nsystem\n(S'x'\ntR."):
        told = {"w": pickled_payload(leaf)}
        entries = export_entries(told if folder == "weights" else {}, {name: data}, constants=told if folder != "weights" else None)
        assert scanned(zip_bytes(entries), "m.pt2").verdict == "dangerous"


def test_a_weight_that_is_a_tensor_and_a_pickle():
    data = EVIL.ljust(64, b"\0")
    weights = {"a": payload("weight_0", (16,), (1,)), "b": pickled_payload("weight_0")}
    assert scanned(zip_bytes(export_entries(weights, {"weights/weight_0": data})), "m.pt2").verdict == "dangerous"
    numbers = zip_bytes(export_entries({"a": payload("weight_0", (16,), (1,))}, {"weights/weight_0": b"\xfc\xfd" * 32}))
    assert (scanned(numbers, "m.pt2").verdict, scanned(numbers, "m.pt2").unseen) == ("safe", [])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_compiled_code_in_archives(library):
    compiled = compiled_bytes({"x.wrapper.so": library, "x.wrapper_metadata.json": b"{}"})
    elsewhere = packed(program(), records={"extra/notes": library})
    for data in (compiled, elsewhere, tarred({"m.pt2": compiled})):
        safety = scanned(data, "m.pt2")
        assert (safety.verdict, "native-code" in codes(safety)) == ("dangerous", True)
    beside = [Entry("archive/lib.bin", library), Entry("archive/data.pkl", pickled({}))]
    for data in (zip_bytes(beside), tarred({"m.pt": torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}), "run": library})):
        safety = scanned(data, "m.bin")
        assert (safety.verdict, "native-code-inside" in codes(safety)) == ("suspicious", True)


def test_sources_that_loading_compiles():
    assert scanned(compiled_bytes({"x.wrapper.cpp": b"int main() {}\n"}), "m.pt2").verdict == "dangerous"
    assert scanned(compiled_bytes({"x.json": b"{}"}), "m.pt2").verdict == "safe"


def test_letters_that_a_library_begins_with_are_none():
    for data in (b"MZ is a town\n", b"MZ" + bytes(200), b"\xca\xfe\xba\xbe\0\0\0\x37" + b"\xff" * 40):
        inside = zip_bytes([Entry("archive/x", data), Entry("archive/data.pkl", pickled({}))])
        assert scanned(inside, "m.pt").verdict == "safe"
