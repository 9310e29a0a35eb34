"""Scans of models that are graphs: what their operators reach for, where their data lie, and that honest ones are safe."""

from __future__ import annotations

import re

import pytest

from modelscope_cli.analysis.policy import Policy, standard_policy
from modelscope_cli.analysis.policy_operators import OPERATOR_ROWS, judge_operator
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.scanned import Operator
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scan_graphs import leads_out
from modelscope_cli.formats.scanning import scan_window
from modelscope_cli.render.cells import words
from tests.builders.attacks import GRAPHS
from tests.builders.foreign import flax, number, part, tensor_bundle
from tests.builders.graph_file import (
    DENSE,
    LAMBDA,
    as_text,
    coreml_custom,
    coreml_model,
    keras_metadata,
    onnx_attribute,
    onnx_function,
    onnx_graph,
    onnx_model,
    onnx_node,
    onnx_tensor,
    tf_graph,
    tf_meta_graph,
    tf_node,
    tf_saved_model,
    tf_strings,
    tf_text,
    tf_texts,
    tflite,
)
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, scanned

HONEST = {
    "model.onnx": onnx_model(onnx_node("Gelu", "com.microsoft"), onnx_node("TreeEnsemble", "ai.onnx.ml"), onnx_node("MatMul", "ai.onnx")),
    "weights_beside.onnx": onnx_model(tensors=(onnx_tensor("w", {"location": "sub/model.onnx.data", "offset": "4096", "length": "4"}),)),
    "functions.onnx": onnx_model(onnx_node("Attention", "pkg.lib"), functions=onnx_function("pkg.lib", "Attention", onnx_node("MatMul"))),
    "saved_model.pb": tf_saved_model(
        tf_node("RestoreV2"), tf_node("SaveV2"), tf_node("PrintV2", output_stream=tf_text("stderr")), tf_node("InitializeTableFromTextFileV2"),
        functions=(tf_node("MatMul"),), assets=("vocab.txt", "sub/words..txt"), objects=(DENSE,),
    ),
    "frozen.pb": tf_graph(tf_node("Const", value=tf_strings(tf_graph(tf_node("WriteFile")))), tf_node("Relu")),
    "model.meta": tf_meta_graph(tf_graph(tf_node("VariableV2"))),
    "keras_metadata.pb": keras_metadata(DENSE),
    "model.tflite": tflite(3, 9, "TFLite_Detection_PostProcess"),
    "model.circle": tflite(3, magic=b"CIR0"),
    "model.mlmodel": coreml_model(part(100, b"")),
    "variables.index": tensor_bundle(),
}  # fmt: skip


def messages(safety: Safety) -> str:
    return "\n".join(words(found.message, "auto", exact=True) for found in safety.found)


@pytest.mark.parametrize("name", HONEST)
def test_honest_graphs_are_safe(name):
    safety = scanned(HONEST[name], name)
    assert (safety.verdict, safety.found, safety.problem) == ("safe", [], None)
    assert scanned(zip_bytes([Entry(f"m/{name}", HONEST[name], deflate=True)]), "m.zip").verdict == "safe"


def test_a_file_that_is_not_gone_through_is_not_judged():
    assert scanned(flax(), "flax_model.msgpack").verdict is None


@pytest.mark.parametrize(("field", "said"), [(number(2, 99), "99"), (number(1, 1 << 40) * 2, "elements")], ids=["type", "size"])
def test_a_tensor_that_nobody_can_read_is_not_safe(field, said):
    data = part(7, part(1, part(4, b"Relu")) + part(5, field + part(8, b"w"))) + number(1, 8)
    safety = scanned(number(1, 8) + data + part(8, number(2, 17)), "model.onnx")
    assert safety.verdict == "unknown"
    assert any(said in one.why for one in safety.unseen)


def test_what_is_said_of_a_graph_is_true():
    assert words(scanned(HONEST["model.onnx"], "a.onnx").why, "auto") == "a graph of 3 kinds of operators: all of them known to be harmless"


@pytest.mark.parametrize("attack", GRAPHS)
def test_graphs_that_reach_out(attack):
    name, data, told, _ = GRAPHS[attack]
    safety = scanned(data, name)
    assert safety.verdict in ("suspicious", "dangerous")
    assert told in messages(safety)
    inside = scanned(zip_bytes([Entry(f"m/{name}", data, deflate=True)]), "m.zip")
    assert (inside.verdict, inside.found[0].where) == (safety.verdict, f"m/{name}")


@pytest.mark.parametrize(
    ("node", "verdict"),
    [
        (tf_node("PrintV2"), "safe"),
        (tf_node("PrintV2", output_stream=tf_text("log(info)")), "safe"),
        (tf_node("PrintV2", output_stream=tf_text("stderr") + tf_text("file:///x")), "dangerous"),
        (tf_node("PrintV2", output_stream=tf_texts(*["stderr"] * 100) + tf_text("file:///x")), "dangerous"),
        (tf_node("PrintV2", a=tf_text("x"), output_stream=b"".join(map(tf_text, "x" * 99)) + tf_text("stderr")), "dangerous"),
        (tf_node("DebugIdentityV2", debug_urls=tf_texts("file:///" + "x" * 200, "grpc://a:1")), "dangerous"),
        (tf_node("DebugIdentityV2"), "safe"),
        (tf_node("DebugIdentityV2", debug_urls=tf_texts("file:///tmp/x")), "suspicious"),
        (tf_node("DebugIdentityV2", debug_urls=tf_texts("file:///tmp/x", "grpc://a:1")), "dangerous"),
        (tf_node("DecodeProtoV2", descriptor_source=tf_text("local://")), "safe"),
        (tf_node("DecodeProtoV2", descriptor_source=tf_text("/etc/x.desc")), "suspicious"),
        (tf_node("DecodeProtoV2", descriptor_source=tf_text("local://") + tf_text("/etc/x.desc")), "suspicious"),
        (tf_node("ExperimentalMatchingFilesDataset"), "suspicious"),
        (tf_node("EncodeProto", descriptor_source=tf_text("/etc/x.desc")), "suspicious"),
        (tf_node("EncodeProto", descriptor_source=tf_text("local://")), "safe"),
        (tf_node("DumpTensor", log_dir_path=tf_text("/a"), file_name=tf_text("b")), "dangerous"),
        (tf_node("CalibrationStatisticsSaver", output_file_path=tf_text("/a")), "suspicious"),
        (tf_node("RecordInput", file_pattern=tf_text("/a*")), "suspicious"),
        (tf_node("SnapshotChunkDataset"), "suspicious"),
        (tf_node("DTensorRestoreV2"), "safe"),
        (tf_node("XlaCustomCallV2"), "unknown"),
        (tf_node("Save"), "unknown"),
        (tf_node("Addons>Gelu"), "unknown"),
        (tf_node("WriteFileX"), "safe"),
    ],
)
def test_attributes_decide(node, verdict):
    assert scanned(tf_saved_model(node), "saved_model.pb").verdict == verdict


def test_a_field_that_is_given_twice_counts_twice():
    """A parser takes the last, and whatever comes first or last must not hide it."""
    evil = part(2, b"WriteFile")
    for node in (tf_node("Relu") + evil, tf_node("WriteFile") + part(2, b"Relu"), tf_node("Relu") + part(2, b"x") * 100 + evil):
        assert scanned(tf_graph(node), "a.pb").verdict == "dangerous"
    twice = onnx_tensor("w", {"location": "w.bin"})[:-2] + part(13, part(1, b"location") + part(2, b"w.bin") + part(2, b"/etc/passwd"))
    assert "external-path" in codes(scanned(onnx_model(tensors=(twice,)), "a.onnx"))


def test_odd_ways_to_write_the_same():
    """Keys and lengths in more bytes than they need, groups and fields of no known number: parsers take them."""
    node = b"\x0a\x01n" + b"\x92\x00" + b"\x89\x00" + b"WriteFile"  # the key 18 and the length 9 in two bytes each
    unknown = number(900, 5) + part(901, b"junk") + b"\x9d\x03\0\0\0\0" + b"\x99\x03" + bytes(8)
    group = b"\xab\x03" + number(5, 1) + part(6, b"x") + b"\xac\x03"
    for before in (b"", unknown, group, unknown + group):
        data = number(1, 1) + part(2, part(1, part(4, b"serve")) + part(2, before + part(1, before + node)))
        assert scanned(data, "saved_model.pb").verdict == "dangerous", before


def test_a_name_that_a_loader_takes_counts():
    """A SavedModel that begins like no known kind is found by its name, and so is a graph behind what looks like ONNX."""
    hidden = number(15, 1) + tf_saved_model(tf_node("WriteFile"))
    assert scanned(hidden, "saved_model.pb").verdict == "dangerous"
    assert scanned(number(15, 1) + tf_saved_model(), "saved_model.pb").verdict is None
    evil = tf_meta_graph(tf_graph(tf_node("WriteFile")))
    both = number(1, 1) + part(2, evil) + part(7, onnx_graph(onnx_node("Relu"))) + part(8, number(2, 17))
    assert scanned(both, "saved_model.pb").verdict == "dangerous"
    assert scanned(both, "model.onnx").verdict == "safe"


@pytest.mark.parametrize("where", ["initializer", "sparse", "constant", "subgraph", "function", "training", "tensor", "undeclared"])
def test_external_data_anywhere(where):
    outside = onnx_tensor("w", {"location": "..\\x"})
    constant = onnx_node("Constant", attributes=onnx_attribute("value", tensor=outside))
    data = {
        "initializer": onnx_model(tensors=(outside,)),
        "sparse": onnx_model(sparse=(outside,)),
        "constant": onnx_model(constant),
        "subgraph": onnx_model(onnx_node("If", attributes=onnx_attribute("else_branch", graph=onnx_graph(constant)))),
        "function": onnx_model(functions=onnx_function("a", "F", constant)),
        "training": onnx_model(training=onnx_graph(tensors=(outside,))),
        "tensor": onnx_model(tensors=(onnx_tensor(), outside)),
        "undeclared": onnx_model(tensors=(outside.removesuffix(number(14, 1)),)),
    }[where]
    safety = scanned(data, "model.onnx")
    assert (safety.verdict, codes(safety)) == ("suspicious", {"external-path"})
    assert "'..\\\\x', which goes up by '..'" in messages(safety)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("model.data", False), ("a/b.bin", False), ("./a", False), ("a..b/c", False), ("größe.bin", False), ("", False),
        ("/etc/passwd", True), ("\\\\host\\share", True), ("C:\\x", True), ("c:x", True), ("../x", True), ("a/../../x", True), ("a\\..\\x", True),
        ("a/.. /x", True), ("https://host/x", True), ("file:///x", True), ("a\0b", True), ("a\x1b[2J", True), ("a\u202eb", True),
    ],
)  # fmt: skip
def test_paths(path, wrong):
    assert bool(leads_out(path)) is wrong


@pytest.mark.parametrize(("key", "value", "odd"), [
    ("offset", "0", False), ("length", "123456789012", False), ("offset", "-1", True), ("length", "0x10", True),
    ("offset", "1e9", True), ("length", "9" * 30, True), ("offset", str(1 << 62), True), ("offset", "", True), ("length", "٣", True),
])  # fmt: skip
def test_places_in_files(key, value, odd):
    safety = scanned(onnx_model(tensors=(onnx_tensor("w", {"location": "w.bin", key: value}),)), "a.onnx")
    assert codes(safety) == ({"external-range"} if odd else set())


def test_many_tensors_of_one_place_are_one_finding():
    tensors = tuple(onnx_tensor(f"w{n}", {"location": "/data/all.bin", "offset": str(n)}) for n in range(500))
    safety = scanned(onnx_model(tensors=tensors), "a.onnx")
    assert len(safety.found) == 1
    assert "the tensor 'w0' and 499 more" in messages(safety)


def test_an_address_behind_many_paths_is_told():
    paths = [onnx_tensor("w", {"location": f"../{n}"}) for n in range(3_000)]
    safety = scanned(onnx_model(tensors=(*paths, onnx_tensor("x", {"location": "*/_ORT_MEM_ADDR_/*"}))), "a.onnx")
    assert (safety.verdict, codes(safety)) == ("dangerous", {"external-address", "external-path"})


def test_operators_behind_too_many_others():
    many = [tf_node(f"Op{n}") for n in range(300)]
    limits = DEFAULT_LIMITS._replace(imports=200)
    assert codes(scanned(tf_saved_model(*many), "saved_model.pb", limits)) == {"too-many-names"}
    assert codes(scanned(tf_saved_model(*many), "saved_model.pb")) == set()


def test_operators_of_others_are_named_and_not_accused():
    safety = scanned(onnx_model(onnx_node("Pool", "com.example"), onnx_node("Sort", "com.example")), "a.onnx")
    assert (safety.verdict, safety.found[0].code) == ("unknown", "foreign-operators")
    assert "com.example.Pool, com.example.Sort" in messages(safety)
    for name, data in {"a.tflite": tflite("Mine"), "a.mlmodel": coreml_model(coreml_custom("Mine"))}.items():
        assert (scanned(data, name).verdict, "Mine" in messages(scanned(data, name))) == ("unknown", True)


def test_a_function_of_the_model_excuses_no_operator_that_runs_python():
    model = onnx_model(onnx_node("PyOp", "pyop"), functions=onnx_function("pyop", "PyOp", onnx_node("Relu")))
    assert scanned(model, "a.onnx").verdict == "dangerous"


@pytest.mark.parametrize(
    ("place", "embedded", "verdict"),
    [("part.bin", 0, "unknown"), ("../part.bin", 0, "suspicious"), ("/etc/passwd", 0, "suspicious"), ("/etc/passwd", 1, "unknown"),
     ("/etc/passwd", None, "unknown")],
)  # fmt: skip
def test_a_compiled_part_in_another_file(place, embedded, verdict):
    """Where it is embedded, as it is unless said otherwise, the same attribute holds its bytes."""
    said = b"" if embedded is None else part(5, part(1, b"embed_mode") + number(3, embedded) + number(20, 2))
    model = onnx_model(onnx_node("EPContext", "com.microsoft", attributes=onnx_attribute("ep_cache_context", text=place) + said))
    safety = scanned(model, "a.onnx")
    assert safety.verdict == verdict
    assert ("external-path" in codes(safety)) == (verdict == "suspicious")


def test_a_program_of_xla_is_told_as_not_looked_at():
    safety = scanned(tf_saved_model(tf_node("XlaCallModule")), "saved_model.pb")
    assert [unseen.why for unseen in safety.scanned.unseen if "XLA" in unseen.why]
    assert not scanned(tf_saved_model(tf_node("Relu")), "saved_model.pb").scanned.unseen


def test_a_policy_speaks_of_operators_too():
    policy = Policy([("tensorflow", "ReadFile", "safe", "our images"), ("com.example.*", "*", "dangerous", "ours no more")], "ours.toml")

    def judged(data: bytes, name: str) -> Safety:
        return Safety(scan_window(MemoryWindow(data, name), DEFAULT_LIMITS, read_window), policy)

    def verdict(data: bytes, name: str) -> str | None:
        return judged(data, name).verdict

    safety = judged(tf_saved_model(tf_node("ReadFile"), tf_node("Relu")), "saved_model.pb")
    assert safety.verdict == "safe"
    said = "tensorflow.ReadFile allowed by ours.toml (suspicious without it), the others known to be harmless"
    assert words(safety.why, "auto") == f"a graph of 2 kinds of operators: {said}"
    assert verdict(tf_saved_model(tf_node("WriteFile")), "saved_model.pb") == "dangerous"
    assert verdict(onnx_model(onnx_node("Pool", "com.example")), "a.onnx") == "dangerous"


def test_flex_operators_are_judged_as_those_of_tensorflow():
    def said(stream: str) -> str | None:
        return scanned(tflite("FlexPrintV2", options=tf_node("PrintV2", output_stream=tf_text(stream))), "a.tflite").verdict

    assert (said("stderr"), said("file:///x")) == ("safe", "dangerous")
    assert scanned(tflite("FlexPrintV2"), "a.tflite").verdict == "dangerous"  # where it prints to is not told
    assert scanned(tflite("FlexAddV2"), "a.tflite").verdict == "safe"


@pytest.mark.parametrize("data", [b"\x1c\0\0\0TFL3" + bytes(20), b"\xff\xff\xff\x7fTFL3" + bytes(20), tflite(), tflite("Mine")[:-6]])
def test_damaged_flatbuffers_are_not_safe(data):
    assert scanned(data, "a.tflite").verdict == "unknown"


def test_damaged_graphs_are_not_safe():
    before = number(1, 8) + part(7, part(1, part(4, b"Relu") + b"\x0a\x7fx"))
    longer = before + part(8, number(2, 17))
    safety = scanned(longer, "a.onnx")
    assert (safety.verdict, safety.unseen[0].why) == ("unknown", f"what follows byte {len(before) - 3}: a field is longer than what it is in")
    assert scanned(onnx_model()[:-5], "a.onnx").verdict != "safe"


def test_lambda_layers_everywhere():
    nested = {"class_name": "Functional", "config": {"layers": [DENSE, {"class_name": "TimeDistributed", "config": {"layer": LAMBDA}}]}}
    for name, data in {"keras_metadata.pb": keras_metadata(nested), "saved_model.pb": tf_saved_model(objects=(nested,))}.items():
        assert codes(scanned(data, name)) == {"keras-lambda"}


def test_rows_are_reached_and_sorted():
    """Each row judges its own names, and none stands behind one that takes them all."""
    for row in OPERATOR_ROWS:
        for name in row.names.split():
            library = row.library if row.library != "*" else "any"
            detail = next((text for text in ("file://x", "grpc://x", "/x") if row.attribute and re.search(row.attribute, text)), "")
            found = judge_operator(standard_policy(), Operator("", library, name.replace("*", "V9"), 0, 1, detail=(detail,)))
            assert (found.level, found.reason) == (row.level, row.reason), (row, name)


STREAM = 'attr { key: "output_stream" value { s: "%s" } }'


@pytest.mark.parametrize(
    ("nodes", "verdict"),
    [
        (('op: "Relu"', 'op: "MatMul"'), "safe"),
        (('op: "Relu"', 'op: "WriteFile"'), "dangerous"),
        (("op:'ReadFile'",), "suspicious"),
        (('op:\n"WriteFile"',), "dangerous"),
        (('op: "Relu"', 'op: "Write" "File"'), "unknown"),
        (('op: "Relu"', 'op: "\\127riteFile"'), "unknown"),
        (('op: "Relu"', 'op # or so\n: "WriteFile"'), "unknown"),
        (('op: "PrintV2"',), "safe"),
        (('op: "PrintV2" ' + STREAM % "stderr",), "safe"),
        (('op: "PrintV2" ' + STREAM % "file:///x",), "dangerous"),
        (('op: "PrintV2" ' + STREAM.replace("key", "key #") % "stderr",), "dangerous"),
        (('op: "PrintV2" ' + STREAM % 'stderr" s: "file:///x',), "dangerous"),
        (('op: "PrintV2" ' + STREAM % ('stderr"' + " " * 500 + 's: "file:///x'),), "dangerous"),
        (('op: "PrintV2" ' + STREAM % 'stderr" s: "file://}',), "dangerous"),
        (('op: "PrintV2" ' + STREAM % r"\146ile:///x",), "dangerous"),
        (('op: "PrintV2" ' + STREAM % "std\" 'err\" \"",), "dangerous"),
        (('op: "Relu"', r'metadata: "{\"class_name\": \"Lambda\", \"config\": {}}"'), "dangerous"),
        (('op: "Relu"', r'''metadata: '{\"class_name\":\n\t\"Lam' "bda\", \"config\": {}}"'''), "dangerous"),
        (('op: "Relu"', r'metadata: "{\"cl\141ss_name\": \"Lambd\x61\", \"config\": {}}"'), "dangerous"),
        (('op: "Relu"', r'metadata: "{\"class_name\": \"Dense\", \"config\": }"'), "unknown"),
        (('op: "Relu"', r'metadata: "{\"class_name\": \"\q\"}"'), "unknown"),  # an escape that Python does not know
        (('op: "Relu"', 'metadata: "" # or so\n "{}"'), "unknown"),
        (('op: "Relu"', 'metadata: "{"\u00a0"}"'), "unknown"),
        (('op: "Relu"', 'metadata: "some words"'), "safe"),
        (('op: "Relu"', r'metadata #' + "\n" + r': "{\"class_name\": \"Lambda\", \"config\": {}}"'), "unknown"),
        (('op: "Relu" tensor_content: "\\000\\001"', r'metadata: "{\"class_name\": \"Dense\", \"config\": {}}"'), "safe"),
        (('op: "Relu"', r'metadata: "{\"class_name\": \"Dense\", \"config\": {}}"'), "safe"),
    ],
)
def test_graphs_as_text(nodes, verdict):
    assert scanned(as_text(*nodes), "saved_model.pbtxt").verdict == verdict
    for count in (60_000, 32_000, 31_990):  # more than a piece that is searched at a time, and about as much
        safety = scanned(as_text(*['op: "Relu"'] * count, *nodes), "saved_model.pbtxt")
        assert safety.verdict == verdict
        counted = sum(operator.nodes for operator in safety.scanned.operators if operator.name == "Relu")
        assert counted == count + sum('op: "Relu"' in node for node in nodes)


@pytest.mark.parametrize("blanks", [" " * 390, " " * 5_000, "\n" * (2 << 20), "\u00a0", "\u2003 ", "\x1c", "#" + "y" * (2 << 20) + "\n"])
def test_blanks_and_comments_hide_no_operator(blanks):
    plain = blanks.isspace() and blanks.isascii() and len(blanks) < 400 and blanks > "\x1f"
    for written in ('op{}: "WriteFile"', 'op:{}"WriteFile"', 'op : {} "WriteFile"'):
        verdict = scanned(as_text('op: "Relu"', written.format(blanks)), "a.pbtxt").verdict
        assert verdict == ("dangerous" if plain else "unknown"), written
    verdict = scanned(as_text('op: "Relu"', f'op: "Write"{blanks}"File"'), "a.pbtxt").verdict
    assert verdict == "unknown"


def test_an_operator_needs_no_blank_before_it():
    for before in ('name: "x"', "name: 'x'", "}", ";", ","):
        assert scanned(as_text('op: "Relu"').replace(b" op:", f" {before}op:".encode()).replace(b"Relu", b"WriteFile"), "a.pbtxt").verdict == "dangerous"
    assert scanned(as_text('op: "Relu" name: "op"', 'op: "Relu" name: "a/op" attr { key: "key" value { s: "key" } }'), "a.pbtxt").verdict == "safe"


def test_where_a_text_is_cut_makes_no_difference():
    node = "op: 'PrintV2' " + STREAM % "stderr"
    start = len(as_text("op: 'Relu'")) + len("    node { name: 'n' op: 'Relu' }\n")
    for gap in range((1 << 20) - start - 120, (1 << 20) - start + 20, 3):
        data = as_text("op: 'Relu' doc: '" + "x" * gap + "'", node)
        safety = scanned(data, "a.pbtxt")
        assert (safety.verdict, [one.nodes for one in safety.scanned.operators]) == ("safe", [1, 1]), gap
