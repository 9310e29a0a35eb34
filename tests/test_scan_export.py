"""Programs of torch.export: texts that loading evaluates, names that it looks up, pickles among its weights, and compiled code."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.generated_source import not_guard, not_plain
from tests.builders.archives import tarred
from tests.builders.attacks import EXPRESSIONS, GUARDS, SYSTEM
from tests.builders.export_file import compiled_bytes, export_entries, graph, old_export_bytes, payload, pickled_payload
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.pickle_code import text as written
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import check_scan, codes, scanned

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
SIZES = (  # as torch's printers write them
    "L['x'].size()[0] > 2",
    "((4*L['y'].size()[0] + 4*L['x'].size()[0]) % (2*L['y'].size()[0] + 2*L['x'].size()[0])) == 0",
    "0 <= L['x'].size()[0] + ((-1)*L['n'])",
    "math.trunc(torch.sym_float(L['x'].size()[0]) ** 0.5) == 2",
    "L['flat_args'][0].size()[0] == L['flat_args'][1].size()[0]",
    "max(1, 4 + L['k'] + L['n']) == (4 + L['k'] + L['n'])",
    "L['d']['pixel-values'].stride()[1] == L['d']['a b'].storage_offset()",
    "L['d'][\"it's\"].size()[0] == 4",
    "L['d'].left.size()[0] != 1e-3 and not (L['x'].size()[1] < math.inf or True)",
    "(1 if L['x'].size()[0] <= 4 else 2) == (L['x'].size()[0] >> 1)",
)
CODE = "y=open('x','w').write('x')"
ENDS = 'p"+str(open(bytes([120]),chr(119)))+"'  # a text between double quotes, in which source stands
FILES = (  # what graphs may call, and reads or writes files: by its name, whatever library has it
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.from_file",
    "torch.ops.aten.save.default",
    "torch.ops.image.write_file.default",
    "torch.ops.image.read_file",
    "torch.ops.evil._save.out",
    "torch.ops.torchaudio.sox_io_save_audio_file.default",
    "torch.ops.debugprims.load_tensor.default",
    "torch._ops.ops.image.write_file.default",
    "torchvision.ops.image.write_file.default",  # torch looks at no more than the first letters
    "torch.from_file",
    "torch.serialization.load",
)
OWN = (
    "aten",
    "prims",
    "higher_order",
    "quantized",
    "_quantized",
    "quantized_decomposed",
    "rngprims",
    "inductor",
    "mkldnn",
    "torchvision",
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


def whole(**changes):
    """A program of one layer as torch 2.13 writes it; each of `changes` is put at its place."""
    value = {
        "name": "x",
        "graph": {},
        "kind": 1,
        "arg": {"as_tensor": {"name": "x"}},
        "constant": {"as_int": 3},
        "stack": "",
        **changes,
    }
    spec = changes.get("spec") or json.dumps(
        [1, tree("tuple", "null", tree("tuple", "null", LEAF), tree("dict", value.get("keys", "[]")))]
    )
    node = {
        "target": value.get("target", "torch.ops.aten.uniform.default"),
        "inputs": [
            {"name": "from", "arg": value["arg"], "kind": 1},
            {"name": value.get("keyword", ""), "arg": value["constant"]},
        ],
        "outputs": [{"as_tensor": {"name": value.get("output", "add")}}],
        "metadata": {
            "stack_trace": "x\ny",
            "nn_module_stack": f"L__self__,,shop.Net;L__self___l,{value['stack']},torch.nn.Linear",
        },
        "name": value.get("node"),
    }
    graph = {
        "inputs": [{"as_tensor": {"name": value["name"]}}, value.get("input", {"as_string": "it's so"})],
        "outputs": [{"as_sym_int": {"as_name": value.get("symbol", "s0")}}],
        "nodes": [node],
        "tensor_values": {value.get("tensor", "target"): {"sizes": [{"as_int": 4}]}, "inputs": {}, "name": {}},
        "sym_int_values": {value.get("size", "n"): {"as_expr": {"expr_str": "Symbol('s0')", "hint": {"as_int": 4}}}},
        "is_single_tensor_return": False,
    }
    inputs = [{"parameter": {"arg": {"name": "p"}, "parameter_name": value.get("parameter", "l.weight")}}]
    inputs += [{"constant_input": {"name": "", "value": {"as_int": 1}}}]
    mutated = {"user_input_mutation": {"arg": {"name": "add"}, "user_input_name": value.get("mutated", "x")}}
    calls = {"in_spec": spec, "out_spec": value.get("out", spec), "forward_arg_names": value.get("arguments", ["x", "a-b"])}
    module = {
        "graph": graph,
        "signature": {"input_specs": inputs, "output_specs": [mutated]},
        "module_call_graph": [{"fqn": value.get("module", ""), "signature": calls}],
        "treespec_namedtuple_fields": {"shop.Point": {"field_names": ["x"]}},
    }
    guards = value.get("guards", list(SIZES))
    return json.dumps(
        {"graph_module": module, "opset_version": {"aten": 10}, "range_constraints": {"s0": {}}, "guards_code": guards}
    ).encode()


LEAF = {"type": None, "context": None, "children_spec": []}


def tree(kind, context, *children):
    return {"type": f"builtins.{kind}", "context": context, "children_spec": list(children)}


def packed(text, **more):
    return zip_bytes(export_entries({}, {}, text=text, **more))


@pytest.mark.parametrize("text", PLAIN)
def test_expressions_of_shapes_are_safe(text):
    assert not_plain(text) is None
    assert scanned(packed(program(text)), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_that_is_code(text):
    for data in (
        packed(program(text)),
        old_export_bytes(b"", text=program(text)),
        program(text),
        packed(b" " * 99 + program(text)),
    ):
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
    context |= {"default_factory_module": "collections", "default_factory_name": "OrderedDict"}
    assert scanned(packed(program(spec=json.dumps([context]))), "m.pt2").verdict == "safe"


def member(fqn, item="RED"):
    """A description of outputs whose context is a member of an enum."""
    context = json.dumps({"__enum__": True, "fqn": fqn, "name": item})
    return json.dumps([1, {"type": "builtins.tuple", "context": context, "children_spec": []}])


def kept(how, path):
    """A description of outputs with an object of transformers, that is made of its parts."""
    context = json.dumps({"_t": how, "p": path, "v": ["true"], "s": {}})
    return json.dumps([1, {"type": "transformers.cache_utils:DynamicCache", "context": context, "children_spec": []}])


SPECS = [
    (member("torch:ctypes.cdll", "./model.bin"), "export-code"),  # an item of which is a library, which is loaded
    (member("ctypes:cdll", "model"), "export-code"),
    (member("torch:os.environ", "PATH"), "export-code"),
    (member("torch:Tensor", "a/b"), "export-code"),
    (member("shop:Colour", 0), "export-code"),
    (member("shop:X.__mro__", 0), "export-code"),
    (member("shop:Colour", {"red": 1}), "export-code"),
    (member("shop:Colour"), "export-import"),
    (member("torch.fx.experimental.symbolic_shapes:DimDynamic"), None),
    (kept("seq", "os:system"), "export-code"),
    (kept("map", "subprocess.Popen"), "export-code"),
    (kept("type", "torch.hub.load"), "export-code"),
    (kept("seq", "shop:Rows"), "export-import"),
    (kept("obj", "shop:Rows"), "export-import"),
    (kept("obj", "transformers.cache_utils:DynamicCache"), None),
    (kept("type", "transformers.cache_utils:DynamicLayer"), None),
    (kept("seq", "builtins:set"), None),
    (kept("seq", "torch.return_types:topk"), None),
]


@pytest.mark.parametrize(("spec", "code"), SPECS)
def test_what_a_description_of_outputs_reaches(spec, code):
    """Of an object that a description names an item is taken, whatever it is: only classes are usual, and names of members."""
    manifest = {"schema_version": 1, "components": {"model": {"file": "model.pt2", "metadata": {"in_spec": None, "out_spec": spec}}}}
    hidden = json.dumps(manifest).replace("_", "\\u005f").encode()
    for data in (json.dumps(manifest).encode(), hidden, json.dumps(manifest).encode("utf-16"), spec.encode()):
        for name in ("export.json", "notes.json"):
            assert codes(scanned(data, name)) == ({code} if code else set()), name
    assert codes(scanned(packed(program(spec=spec)), "m.pt2")) == ({code} if code else set())


def test_a_description_in_a_long_document():
    document = {"fill": "x" * (DEFAULT_LIMITS.searched_bytes + 9), "out_spec": member("torch:ctypes.cdll", "x")}
    assert codes(scanned(json.dumps(document).encode(), "m.json")) == {"export-code"}


def test_other_documents_with_such_words():
    for document in (
        {"colour": {"__enum__": "Colour.RED"}}, {"__enum__": True, "name": "../x"}, {"_t": "seq", "p": "os:system", "v": []},
        {"type": "x", "text": "children_spec __enum__"}, ["[" * 50_000 + '"__enum__"'],
    ):  # fmt: skip
        assert not codes(scanned(json.dumps(document).encode(), "a.json"))


def test_a_program_as_torch_writes_it():
    odd = {"parameter": "md.en->de (x).#.it's", "module": 'md._modules["it\'s"].class', "stack": "L['self'].l, md.a\"b"}
    mapped = {"as_string_to_argument": {"name": {"as_int": 1}, "a(": {"as_string": '"('}}}
    for text in (whole(), whole(**odd), whole(arg=mapped), whole(parameter='p.a"b')):
        assert scanned(packed(text), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("place", [
    "name", "output", "node", "keyword", "symbol", "tensor", "size", "mutated", "parameter", "module", "stack", "arguments", "keys",
    "input", "constant",
])  # fmt: skip
def test_a_name_that_is_code(place):
    shapes = {
        "arguments": ["x", CODE],
        "keys": json.dumps([CODE]),
        "input": {"as_string": f"' or {CODE} or '"},
        "constant": {"as_int": CODE},
    }
    text = whole(**{place: shapes.get(place, ENDS)})
    for data in (packed(text), old_export_bytes(b"", text=text), packed(text.replace(b"o", b"\\u006f"))):
        safety = scanned(data, "m.pt2")
        assert (safety.verdict, codes(safety) - {"not-read"}) == ("dangerous", {"export-code"})


def test_an_input_that_says_another_kind_than_it_is():
    for value in ({"as_int": "' or open(1) or '"}, {"as_bool": ["x"]}, {"as_string": 'a"+open(1)+"b'}, {"as_string": "\\x27"}):
        assert codes(scanned(packed(whole(input=value)), "m.pt2")) == {"export-code"}
    assert scanned(packed(whole(input={"as_string": 'it\'s "so"\n'})), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("text", SIZES)
def test_guards_of_sizes_are_safe(text):
    assert not_guard(text) is None


@pytest.mark.parametrize("text", GUARDS)
def test_a_guard_that_is_code(text):
    assert codes(scanned(packed(whole(guards=[text])), "m.pt2")) - {"evaluated-text"} == {"export-code"}


def test_guards_that_are_no_texts():
    for guards in (CODE, [[CODE]], {"x": CODE}):
        assert codes(scanned(packed(whole(guards=guards)), "m.pt2")) == {"export-code"}


def test_keys_of_the_inputs_that_it_was_exported_with():
    for name in ("data/sample_inputs/model.pt", "DATA/sample_inputs/x.pt"):
        for key, verdict in (('a"+open(1)+"b', "dangerous"), ("it's", "safe"), ("pixel-values (px)", "safe")):
            inputs = torch_zip_bytes(((written(key), {key: "x"}), {}))
            assert (
                scanned(packed(whole(input={"as_string": "mean"}, guards=[]), records={name: inputs}), "m.pt2").verdict
                == verdict
            )
    raw = torch_zip_bytes(({b'a"+open(1)+"b': 1}, {}))
    assert codes(scanned(packed(whole(), records={"data/sample_inputs/model.pt": raw}), "m.pt2")) == {"export-code"}
    signs = torch_zip_bytes(({"or open(1)) #": 1}, {}))
    beside = packed(whole(input={"as_string": 'a" or '}), records={"data/sample_inputs/model.pt": signs})
    assert codes(scanned(beside, "m.pt2")) == {"export-code"}
    keyed = torch_zip_bytes({"a": ({'b"+open(1)+"': [1]},)})
    assert "export-code" in codes(scanned(old_export_bytes(b"", inputs=keyed, text=whole()), "m.pt2"))


def test_a_program_by_another_name_and_longer_than_is_searched():
    entries = [Entry("net/models/model.text", whole(name=CODE) + b" " * (9 << 20)), Entry("net/archive_format", b"pt2")]
    assert scanned(zip_bytes(entries), "m.pt2").verdict == "dangerous"


def test_more_guards_than_are_judged():
    limits = DEFAULT_LIMITS._replace(searched_bytes=4_000)
    safety = scanned(packed(whole(guards=["1 + " * 400 + "1"])), "m.pt2", limits)
    assert (safety.verdict, any("expressions and guards" in left.why for left in safety.unseen)) == ("unknown", True)
    later = packed(whole(guards=["1 + " * 400 + "1", "open(1)"]))
    assert scanned(later, "m.pt2", limits).verdict == "dangerous"
    few = limits._replace(searched_bytes=100_000, objects=10)
    assert any("the first 20 values of a" in left.why for left in scanned(packed(whole()), "m.pt2", few).unseen)


@pytest.mark.parametrize("between", ["", " " * 80, "\n", "\t"])
def test_imports_however_they_are_written(between):
    member = f'[{{"__enum__": true, "fqn":{between}"antigravity:Fly", "name": "X"}}]'
    escaped = member.replace("fqn", "\\u0066qn")
    factory = f'{{"default_factory_module":{between}"antigravity", "default_factory_name": "fly", "dict_context": []}}'
    inner = [
        tree("dict", member),
        tree("dict", escaped),
        {"type": "collections.defaultdict", "context": json.loads(factory, strict=False)},
    ]
    for described in [json.dumps([1, each]) for each in inner] + [f'[1, {{"context": {factory}}}]']:
        for place in ("spec", "out"):
            assert codes(scanned(packed(whole(**{place: described})), "m.pt2")) == {"export-import"}
    deep = member
    for _ in range(12):
        deep = json.dumps([deep])
    assert scanned(packed(whole(spec=deep)), "m.pt2").verdict == "unknown"


def test_operators_that_lead_elsewhere():
    odd = ["torch.ops.import_module", "torch.ops.load_library"]
    for target in [*odd, "torch.ops.aten.add.Tensor.x.y", "torch.ops.aten.__class__.mro"]:
        assert codes(scanned(packed(whole(target=target)), "m.pt2")) == {"export-target"}
        assert codes(scanned(packed(whole(arg={"as_operator": target})), "m.pt2")) == {"export-target"}
    plain = ["torch._functorch.predispatch._add_batch_dim", "torch.ops._c10d_functional.all_reduce.default"]
    plain += ["torch.ops._c10d_functional_autograd.all_to_all_single.default", "torch.ops._dtensor.shard_dim_alltoall.default"]
    for target in [*plain, "torch.ops.aten.__and__.Tensor"]:
        assert scanned(packed(whole(target=target)), "m.pt2").verdict == "safe"


@pytest.mark.parametrize("target", FILES)
def test_operators_that_touch_files(target):
    for data in (
        packed(whole(target=target)),
        packed(whole(arg={"as_operator": target})),
        old_export_bytes(b"", text=whole(target=target)),
    ):
        safety = scanned(data, "m.pt2")
        assert (safety.verdict, codes(safety) - {"not-read"}) == ("dangerous", {"script-files"})


@pytest.mark.parametrize("library", ["image", "shop", "c10d", "symm_mem"])
def test_operators_of_other_libraries(library):
    for changes in (
        {"target": f"torch.ops.{library}.decode_jpeg.default"},
        {"arg": {"as_operator": f"torch.ops.{library}.run"}},
    ):
        safety = scanned(packed(whole(**changes)), "m.pt2")
        assert (safety.verdict, codes(safety)) == ("unknown", {"script-operators"})


@pytest.mark.parametrize("library", OWN)
def test_operators_of_torch_itself(library):
    assert scanned(packed(whole(target=f"torch.ops.{library}.run.default")), "m.pt2").verdict == "safe"


KEYS = ["graph_module", "guards_code", "name", "inputs", "in_spec", "fqn", "expr_str", "metadata", "nn_module_stack", "tensor_values",
        "as_int", "target", "forward_arg_names", "__enum__", "context", "children_spec", "as_string"]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["[1, {}]", '[1, {"children_spec": [1, {"context": "[[]]"}]}]', "[[[", "L['x']", "(", '"']),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=5))
def test_any_document_gives_a_verdict(document):
    check_scan(json.dumps({"graph_module": {}, **document}).encode(), "model.json")


@pytest.mark.parametrize(
    "data", [b'"expr_str"', b'["expr_str", "graph_module"]', b'{"graph_module": "expr_str", "x": [["expr_str"]]}']
)
def test_documents_that_are_no_programs(data):
    check_scan(data, "model.json")


@pytest.mark.parametrize("name", ["weights/weight_0", "constants/opaque_obj_0", "constants/custom_obj_0"])
def test_pickles_among_the_weights(name):
    folder, _, leaf = name.partition("/")
    inner = zip_bytes([Entry("archive/data.pkl", EVIL)])
    for data in (EVIL, inner, b"cos\nsystem\n(S'x'\ntR."):
        told = {"w": pickled_payload(leaf)}
        entries = export_entries(
            told if folder == "weights" else {}, {name: data}, constants=told if folder != "weights" else None
        )
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
