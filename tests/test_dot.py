"""The DOT document: names come out of real Graphviz as they are, and the document is the graph of the model."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.bridges.graphviz import paint, tidy
from modelscope_cli.render.curves import bezier
from modelscope_cli.render.dot import quoted, render
from modelscope_cli.render.plain import UNSAFE, visible
from modelscope_cli.report.scene import LEFT, MIDDLE, RIGHT, Arrow, Box, Frame, Scene, Words
from tests.drawn import diagram_of, items, scene_of, texts
from tests.families import FAMILIES, by_hand
from tests.painters import BOTH, painted, written
from tests.tables import linear

EXAMPLE = Path(__file__).parents[1] / "examples" / "decoder_small.pth"
NASTY = {
    "plain": "self_attn", "quote": 'a"b', "only a quote": '"', "backslash": "\\", "backslash at the end": "a\\",
    "two of them": "a\\\\", "backslash and quote": '\\"', "name of the node": "\\N", "name of the graph": "\\G",
    "edge, tail, head, label": "\\E \\T \\H \\L", "left": "\\l", "right": "end\\r", "new line escape": "\\n",
    "ampersand": "&", "entity": "&amp;", "less": "&lt;", "number": "&#45;&#x2d;", "no entity": "&copy &&;", "newline": "a\nb",
    "tag": "<b>x</b>", "script": "<script>alert(1)</script>", "html label": "<<B>x</B>>", "record": "{a|b}", "beyond 16 bits": "🦙𝕏",
    "right to left": "\u202egnp.exe", "terminal": "\x1b[31mred\x1b]0;owned\x07", "address": "javascript:alert(1)",
    "percent": "%s %d %n", "shell": "$(id) `id` ${HOME}", "spaces": "  a  b  ", "tab": "a\tb", "end of the node": '"]; x [label="y',
    "comments": "/* c */ // c # c", "comment of XML": "--> <!-- x --> ]]>", "Chinese": "层.注意力", "combining": "e\u0301\u0301",
    "no break": "a\u00a0b", "soft hyphen": "a\u00adb", "nothing": "\0", "surrogate": "w\ud800x", "delete": "\x7f", "ligature": "ﬁ",
    "not a character": "a\uffffb\ufffe", "private": "\ue000", "long": "x" * 3_000,
}  # fmt: skip


def sheet(text: str, anchor: str = LEFT) -> Scene:
    """A page with one text, which is its title and tooltip too."""
    box = Box(10, 10, 500, 40, "#ffffff", "#000000", tooltip=text, name="block1")
    frame = Frame(box._replace(y=100, name=""), [Words(300, 120, text, 11.5, "#000000", anchor=anchor)])
    return Scene(text, 600, 200, "#ffffff", [box, Words(300, 30, text, 11.5, "#000000", bold=True, anchor=anchor), frame])


# Quoting ---------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("anchor", [LEFT, MIDDLE, RIGHT])
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_names_come_out_as_they_are(program, nasty, anchor):
    shown = visible(nasty)
    svg = painted(program, render(sheet(shown, anchor)), "svg")
    assert written(svg) == [shown.replace("\u00a0", " ")] * 2


@BOTH
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_titles_and_tooltips_come_out_as_they_are_and_do_nothing(program, nasty):
    shown = visible(nasty)
    scene = sheet(shown)
    root = ElementTree.fromstring(tidy(painted(program, render(scene), "svg"), scene.title))
    assert root.findtext("{http://www.w3.org/2000/svg}title") == shown
    tooltips = {value for element in root.iter() for name, value in element.attrib.items() if name.endswith("}title")}
    assert {tip.replace("\u00a0", " ") for tip in tooltips} == {shown.replace("\u00a0", " ")}
    for element in root.iter():
        assert not element.tag.endswith(("}script", "}image", "}foreignObject")), element.tag
        assert not [name for name in element.attrib if name.endswith("href") or name.startswith("on")], element.attrib


@BOTH
@pytest.mark.parametrize("nasty", [*NASTY.values(), "x" * 20_000], ids=[*NASTY, "endless"])
def test_names_of_boxes_and_arrows_that_are_tied(program, nasty):
    """A tied module is a named node, and the name is its path."""
    path = nasty.replace(":", "").replace(".", "") or "x"
    shapes = {f"{path}.weight": (50, 8), **linear("mid.a", 8, 8), **linear("mid.b", 8, 8), "lm_head.weight": (50, 8)}
    scene = scene_of(diagram_of(shapes, ties={"lm_head.weight": f"{path}.weight"}))
    assert any(isinstance(item, Arrow) and item.dashed for item, _ in items(scene))
    text = render(scene)
    assert not UNSAFE.search(text.replace("\n", ""))
    assert written(painted(program, text, "svg")) == [each.replace("\u00a0", " ") for each in texts(scene)]


@pytest.mark.parametrize("name", ["block1", "block3", "n1", "n20", "cluster_1", "node", "graph", "-1", ""])
def test_a_module_may_be_called_like_a_node_of_the_drawing(name):
    shapes = {f"{name}.weight": (50, 8), **linear("mid.a", 8, 8), **linear("mid.b", 8, 8), "lm_head.weight": (50, 8)}
    text = render(scene_of(diagram_of(shapes, ties={"lm_head.weight": f"{name}.weight"})))
    nodes = re.findall(r'^ *(?:"([^"]*)"|(\w+)) \[pos=', text, re.MULTILINE)
    names = [first or second for first, second in nodes]
    assert len(names) == len(set(names))


def test_a_string_is_quoted_to_the_last_backslash():
    assert quoted('\\N "x" & \\') == '"\\\\N \\"x\\" &amp; \\\\"'


# The graph -------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("family", FAMILIES)
def test_real_graphviz_reads_the_document_and_keeps_every_place(program, family):
    scene = scene_of(diagram_of(FAMILIES[family]))
    text = render(scene)
    assert painted(program, text, "canon").startswith(b"digraph")
    graph = [shlex.split(row) for row in painted(program, text, "plain").decode().splitlines() if not row.startswith("node n")]
    size = next(row for row in graph if row[0] == "graph")
    assert float(size[2]) * 72 == pytest.approx(scene.width, abs=2)
    assert float(size[3]) * 72 == pytest.approx(scene.height, abs=2)
    places = {row[1]: tuple(float(value) * 72 for value in row[2:6]) for row in graph if row[0] == "node"}
    for item, _ in items(scene):
        if isinstance(item, Box) and item.name.startswith("block"):
            centre = (item.x + item.width / 2, scene.height - item.y - item.height / 2, item.width, item.height)
            assert places[item.name] == pytest.approx(centre, abs=1)


@BOTH
@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_has_a_node_for_each_card_and_an_edge_for_each_flow(program, family):
    scene = scene_of(diagram_of(FAMILIES[family]))
    rows = [shlex.split(row) for row in painted(program, render(scene), "plain").decode().splitlines()]
    cards = [item.name for item, _ in items(scene) if isinstance(item, Box) and item.name]
    assert {row[1] for row in rows if row[0] == "node" and not re.fullmatch(r"n\d+", row[1])} == set(cards)
    flows = [(item.tail_name, item.head_name) for item, _ in items(scene) if isinstance(item, Arrow)]
    assert sorted((row[1], row[2]) for row in rows if row[0] == "edge") == sorted(flows)
    assert flows


def test_frames_are_clusters_inside_each_other():
    text = render(scene_of(diagram_of(FAMILIES["mixtral"])))
    opened = [len(indent) // 2 for indent in re.findall(r"^( *)subgraph cluster_\d+ \{$", text, re.MULTILINE)]
    assert opened == [1, 2, 3, 4]
    assert text.count("{") == text.count("}")


def test_the_document_is_the_same_every_time():
    assert len({render(scene_of(diagram_of(by_hand()))) for _ in range(3)}) == 1


@pytest.mark.parametrize("corners", [2, 3, 6])
def test_a_way_with_round_corners_is_a_bezier_curve_from_end_to_end(corners):
    points = [(10.0 * (number // 2 + number % 2), 25.0 * (number // 2)) for number in range(corners)]
    curve = bezier(points)
    assert len(curve) % 3 == 1
    assert (curve[0], curve[-1]) == (points[0], points[-1])


# Figures, read back ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> Scene:
    return scene_of(diagram_of(modelscope_cli.read(str(EXAMPLE))))


@BOTH
def test_the_figures_of_the_example_are_in_the_picture(program, example):
    found = written(painted(program, render(example), "svg"))
    assert found[0] == "decoder_small.pth"
    assert found[1].startswith("316,556 parameters · 111 tensors")
    rows = " ".join(found)
    for row in (
        "Embedding embedding 5,276 × 24 126.6 k 40.0 %",
        "6 × decoder layer decoder.layers.0–5 9.7 k each 58.0 k 18.3 %",
        "one of 6 all 6",
        "MultiheadAttention self_attn 24 2.4 k 4.5 % LayerNorm norm1 24 48 0.1 %",
        "MultiheadAttention multihead_attn 24 2.4 k 4.5 % LayerNorm norm2 24 48 0.1 %",
        "Linear linear1 24 → 96 2.4 k 4.5 % Linear linear2 96 → 24 2.3 k 4.4 % LayerNorm norm3 24 48 0.1 %",
        "Linear fc 24 → 5,276 131.9 k 41.7 %",
    ):
        assert row in rows
    shares = [float(text.removesuffix(" %")) for text in found if text.endswith(" %")]
    assert shares[0] + shares[1] + shares[-1] == pytest.approx(100, abs=0.15)
    assert sum(shares[2:-1]) == pytest.approx(shares[1], abs=0.05 * 8)


@BOTH
@pytest.mark.parametrize("family", FAMILIES)
def test_both_programs_write_every_text_of_the_scene(program, family):
    scene = scene_of(diagram_of(FAMILIES[family]))
    assert written(painted(program, render(scene), "svg")) == texts(scene)


def test_the_svg_says_what_it_is_to_those_who_cannot_see_it(example):
    root = ElementTree.fromstring(paint(example, "svg").data)
    assert root.get("role") == "img"
    assert [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")] == ["decoder_small.pth"]
    assert root.get("width").endswith("pt")
    assert b"<!--" not in paint(example, "svg").data
