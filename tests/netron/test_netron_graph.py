"""A diagram in Netron's own JSON form: what is drawn, connected, named, and that hostile names stay text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.line_tensors import line_tensors
from modelscope_cli.render import netron
from modelscope_cli.render.plain import UNSAFE
from tests.drawn import diagram_of
from tests.families import FAMILIES, deepseek, gpt2, llama, mixtral, resnet
from tests.tables import checkpoint_of

Json = dict[str, Any]


def graph_of(model, **options) -> Json:
    """The outermost graph of a document, after looking at what Netron asks of the whole."""
    file = {key: options.pop(key) for key in ("ties",) if key in options}
    checkpoint = checkpoint_of(model, **file)
    diagram = diagram_of(checkpoint, **options)
    data = netron.render(diagram, checkpoint.format, line_tensors(checkpoint, diagram.body))
    assert data.startswith(b'{"signature":"netron:')
    (graph,) = json.loads(data)["graphs"]
    return graph


def kind(node: Json) -> str:
    return node["type"]["name"]


def inside(node: Json) -> Json | None:
    return next((each["value"] for each in node["attributes"] if each["type"] == "graph"), None)


def nodes(graph: Json) -> Iterator[Json]:
    for node in graph["nodes"]:
        yield node
        inner = inside(node)
        if inner:
            yield from nodes(inner)


def values(graph: Json, argument: Json) -> list[Json]:
    """Those of an argument: of the outermost graph by index, of others in place."""
    return [graph["values"][value] if isinstance(value, int) else value for value in argument["value"]]


def rows(graph: Json, node: Json) -> dict[str, list[int | str]]:
    """Name and dimensions of what stands in the box of a node."""
    return {
        argument["name"]: value["initializer"]["type"]["shape"]["dimensions"]
        for argument in node["inputs"]
        for value in values(graph, argument)
        if "initializer" in value
    }


def arrows(graph: Json) -> list[tuple[str, str]]:
    """From which node to which, by their kinds."""
    ends: dict[str, dict[str, str]] = {}
    for node in graph["nodes"]:
        for side in ("inputs", "outputs"):
            for argument in node[side]:
                for value in values(graph, argument):
                    if "initializer" not in value:
                        ends.setdefault(value["name"], {})[side] = kind(node)
    return [(end["outputs"], end["inputs"]) for end in ends.values()]


def attributes(node: Json) -> dict[str, str]:
    return {each["name"]: each["value"] for each in node["attributes"] if each["type"] == "string"}


def test_blocks_are_connected_and_folded():
    graph = graph_of(llama(4))
    assert arrows(graph) == [("Embedding", "4 × decoder layer"), ("4 × decoder layer", "RMSNorm"), ("RMSNorm", "Linear")]
    layer = inside(graph["nodes"][1])
    assert layer is not None
    assert layer["name"] == "one of 4"
    assert arrows(layer) == [("RMSNorm", "attention"), ("attention", "RMSNorm"), ("RMSNorm", "gated MLP")]
    assert graph["nodes"][1]["attributes"][-1]["name"] == "model.layers.0–3"


def test_tensors_have_their_names_shapes_and_dtypes():
    shapes = llama(2)
    graph = graph_of(shapes)
    assert rows(graph, graph["nodes"][0]) == {"model.embed_tokens.weight": list(shapes["model.embed_tokens.weight"])}
    layer = inside(graph["nodes"][1])
    attention = next(node for node in layer["nodes"] if kind(node) == "attention")
    assert list(rows(layer, attention)) == [f"self_attn.{part}_proj.weight" for part in "qkvo"]
    assert graph["values"][0]["initializer"]["type"]["dataType"] == "float32"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fold", [True, False])
def test_every_counted_tensor_is_drawn_once_for_each_fold(family, fold):
    """The first of folded modules stands for all, so sizes of rows times the folds around them are the whole model."""
    checkpoint = checkpoint_of(FAMILIES[family])
    graph = graph_of(FAMILIES[family], fold=fold)

    def numbered(node: Json) -> int:
        number, times, _ = kind(node).partition("×")
        return int(number.strip()) if times else 1

    def total(inner: Json) -> int:
        found = 0
        for node in inner["nodes"]:
            below = inside(node)
            each = total(below) if below else sum(math.prod(shape) for shape in rows({**graph, **inner}, node).values())
            found += numbered(node) * each
        return found

    ledger = Ledger(checkpoint)
    tied = sum(ledger.elements[line] for line in ledger.tied)
    buffers_and_ties = sum(ledger.elements) - ledger.total_parameters() + tied
    assert ledger.total_parameters() <= total(graph) <= ledger.total_parameters() + buffers_and_ties


def test_kinds_have_the_colours_of_netron():
    graph = graph_of(gpt2(2))
    found = {kind(node): node["type"].get("category") for node in nodes(graph)}
    assert (found["Embedding"], found["LayerNorm"], found["attention"]) == ("Transform", "Normalization", "Attention")


def test_parameters_are_written_on_every_counted_node():
    graph = graph_of(mixtral(2, 4))
    experts = next(node for node in nodes(graph) if kind(node) == "4 × gated MLP")
    assert list(attributes(experts)) == ["experts.0–3", "parameters"]
    assert attributes(experts)["experts.0–3"].startswith("each ")
    assert all("parameters" in attributes(node) for node in nodes(graph))


def test_blocks_side_by_side_are_not_connected():
    moe = next(node for node in nodes(graph_of(deepseek(4, 1))) if kind(node) == "mixture of experts")
    inner = inside(moe)
    assert len(inner["nodes"]) == 3
    assert len(arrows(inner)) == 1


def test_a_tied_tensor_says_so():
    shapes = {"tok.weight": (50, 8), "norm.weight": (8,), "norm.bias": (8,), "head.weight": (50, 8)}
    graph = graph_of(shapes, ties={"head.weight": "tok.weight"})
    assert any(name == "head.weight, tied to tok.weight" for node in graph["nodes"] for name in rows(graph, node))


def test_a_convolution_stands_with_its_norm():
    first = graph_of(resnet())["nodes"][0]
    assert kind(first) == "Conv2d + BN"
    assert attributes(first)["parameters"]


def test_levels_and_root_are_those_asked_for():
    shallow = graph_of(llama(4), levels=1)
    assert {name for node in shallow["nodes"] for name in rows(shallow, node)} >= {"lm_head.weight"}
    layer = graph_of(llama(4), root="model.layers.1")
    assert any("self_attn" in name for node in nodes(layer) for name in rows(layer, node))
    assert not any("lm_head" in name for node in nodes(layer) for name in rows(layer, node))
    assert not any("×" in kind(node) for node in nodes(graph_of(llama(3), fold=False)))


def test_arrows_in_different_graphs_have_different_names():
    """Netron draws a dashed line from a graph into another that knows the same name."""
    graph = graph_of(deepseek(4, 1))
    seen: list[str] = []
    waiting = [graph]
    while waiting:
        inner = waiting.pop()
        here = {
            value["name"]
            for node in inner["nodes"]
            for argument in node["outputs"]
            for value in values({**graph, **inner}, argument)
        }
        seen += here
        waiting += [below for node in inner["nodes"] if (below := inside(node))]
    assert len(seen) == len(set(seen)) > 5


def test_a_large_model_is_some_kilobytes():
    checkpoint = checkpoint_of(deepseek(30, 3))
    diagram = diagram_of(checkpoint)
    assert len(netron.render(diagram, "safetensors", line_tensors(checkpoint, diagram.body))) < 20_000


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=30).filter(lambda name: ":" not in name).map(lambda name: f"{name}.weight"),
        st.lists(st.integers(0, 9), max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_any_name_makes_a_document_with_harmless_words(shapes):
    for text in strings(graph_of({name: tuple(shape) for name, shape in shapes.items()})):
        assert not UNSAFE.search(text)


def test_a_long_name_is_cut_where_it_makes_boxes_wide_and_whole_elsewhere():
    graph = graph_of({f"{'x' * 10_000}.weight": (5, 5), "\ud800.weight": (3,)})
    names = [name for node in graph["nodes"] for name in rows(graph, node)]
    assert max(map(len, names)) == netron.LONGEST
    assert max(map(len, strings(graph))) <= netron.LONGEST_NAME


def test_a_full_stop_in_a_kind_is_not_taken_for_a_path():
    assert netron.undotted("lm.head") == "lm․head"


def test_a_number_makes_way_for_the_kind():
    assert netron.times(12, "transformer layer") == "12× transformer layer"
    assert netron.times(4, "decoder layer") == "4 × decoder layer"
    assert netron.times(1, "decoder layer") == "decoder layer"


def test_a_scalar_has_no_value_to_look_for():
    graph = graph_of({"logit_scale": (), "fc.weight": (2, 2)})
    assert ["scalar"] in [shape for node in graph["nodes"] for shape in rows(graph, node).values()]
