"""What the onnx package writes is walked as it walks it, and what it refuses to load from elsewhere is found."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")
numpy = pytest.importorskip("numpy")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from onnx import external_data_helper, helper, numpy_helper  # noqa: E402

from tests.builders.attacks import GRAPHS  # noqa: E402
from tests.builders.graph_file import onnx_function, onnx_model, onnx_node, onnx_tensor  # noqa: E402
from tests.scanned import codes, scanned  # noqa: E402

EXAMPLES = settings(max_examples=60, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None)
FLOAT = onnx.TensorProto.FLOAT
DOMAINS = ("", "ai.onnx.ml", "com.microsoft", "com.example", "größe")


def value(name: str):
    return helper.make_tensor_value_info(name, FLOAT, [1])


@st.composite
def graphs(draw, depth: int = 2):
    """A graph of nodes of any domain, graphs in their attributes."""
    nodes = []
    for number in range(draw(st.integers(1, 5))):
        attributes = {"axis": draw(st.integers(-3, 3)), "words": ["a", "b"], "scale": 0.5}
        if depth and draw(st.booleans()):
            attributes["body"] = draw(graphs(depth=depth - 1))
        if draw(st.booleans()):
            attributes["value"] = numpy_helper.from_array(numpy.zeros(draw(st.integers(0, 40)), "float32"), "t")
        kind = draw(st.sampled_from(["Relu", "If", "Loop", "Größe", "x" * 200]))
        domain = draw(st.sampled_from(DOMAINS))
        nodes.append(helper.make_node(kind, ["x"], ["y"], f"n{number}", domain=domain, doc_string=draw(st.text(max_size=9)), **attributes))
    weights = [numpy_helper.from_array(numpy.zeros(draw(st.sampled_from([0, 3, 40_000])), "float32"), "w")]
    return helper.make_graph(nodes, "g", [value("x")], [value("y")], weights)


def operators(graph) -> dict[tuple[str, str], int]:
    """How many nodes of each operator there are, as onnx sees them."""
    found: dict[tuple[str, str], int] = {}
    for node in graph.node:
        key = (node.domain or "ai.onnx", node.op_type)
        found[key] = found.get(key, 0) + 1
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                for name, count in operators(inner).items():
                    found[name] = found.get(name, 0) + count
    return found


@EXAMPLES
@given(graph=graphs())
def test_every_operator_is_seen(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])
    scan = scanned(model.SerializeToString(), "model.onnx").scanned
    assert {(one.library, one.name): one.nodes for one in scan.operators} == operators(graph)
    assert not scan.unseen


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "/etc/hostname", "../w.bin", "sub/../../w.bin", "a/../w.bin"])
def test_what_onnx_will_not_load_is_found(tmp_path, location):
    """onnx loads what lies beside the model or below; of what is not there it says something else."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "w.bin", folder / "sub" / "w.bin", tmp_path / "w.bin"):
        path.write_bytes(bytes(4))
    (folder / "model.onnx").write_bytes(onnx_model(tensors=(onnx_tensor("w", {"location": location, "offset": "0", "length": "4"}),)))
    try:
        onnx.load(str(folder / "model.onnx"))
        refused = False
    except (onnx.checker.ValidationError, ValueError):
        refused = True
    found = codes(scanned((folder / "model.onnx").read_bytes(), "model.onnx"))
    assert refused <= bool(found)
    assert found == ({"external-path"} if refused or ".." in location else set())


def test_what_onnx_keeps_beside_a_model_is_safe(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", [value("x")], [value("y")], [numpy_helper.from_array(numpy.ones(300, "float32"), "w")]
    )
    path = tmp_path / "model.onnx"
    onnx.save_model(helper.make_model(graph), str(path), save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    assert external_data_helper.uses_external_data(onnx.load(str(path), load_external_data=False).graph.initializer[0])
    safety = scanned(path.read_bytes(), "model.onnx")
    assert (safety.verdict, safety.found) == ("safe", [])


@pytest.mark.parametrize("attack", [attack for attack, (name, *_) in GRAPHS.items() if name.endswith(".onnx")])
def test_the_attacks_are_models_to_onnx(attack):
    model = onnx.load_from_string(GRAPHS[attack][1])
    assert model.graph.node


def test_builders_write_what_onnx_reads():
    model = onnx.load_from_string(onnx_model(onnx_node("F", "pkg"), functions=onnx_function("pkg", "F", onnx_node("Relu")), tensors=(onnx_tensor(),)))
    assert [(node.op_type, node.domain) for node in model.graph.node] == [("F", "pkg")]
    assert [(function.domain, function.name, function.node[0].op_type) for function in model.functions] == [("pkg", "F", "Relu")]
    assert model.graph.initializer[0].name == "w"
