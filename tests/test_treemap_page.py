"""The page: complete data, nothing from outside, nothing that a name could do; and small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources

import pytest

import modelscope_cli
from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.render.plain import visible
from modelscope_cli.render.treemap_page import CATEGORIES, component, page, payload, runs, script, style
from modelscope_cli.report.treemap import Treemap
from tests.snapshots.checkpoints import CHECKPOINTS
from tests.tables import checkpoint_of, transformer

MOST_BYTES = 3_000_000
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "javascript:alert(1)",
    "back\\slash 'quoted'",
    "new\nline\r\ttab",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe\u2066",
    "\u2028\u2029",
    "w\ud800x",
    "__proto__",
    "constructor",
    "&amp;&#x3c;",
)


@pytest.fixture(params=CHECKPOINTS)
def treemap(request, tmp_path) -> Treemap:
    return byte_tree(inspect(modelscope_cli.read(str(tmp_path / CHECKPOINTS[request.param](tmp_path)))))


def hostile() -> Treemap:
    """Modules and tensors of these names in a file of such a name."""
    names = [f"{name}.weight" for name in HOSTILE] + list(HOSTILE)
    checkpoint = checkpoint_of({f"n{number}": (2, 2) for number in range(len(names))})
    checkpoint.tensors.names[:] = names
    return byte_tree(inspect(checkpoint))._replace(title=HOSTILE[1], facts=[HOSTILE[0]])


def data_of(text: str) -> dict:
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def unpacked(data: dict) -> list[tuple]:
    """(name, shape, dtype, role, parameters, bytes, category) of all tensors, read as the script in the page reads them."""
    words, nodes = data["words"], data["nodes"]

    def expanded(packed):
        return [first + step * n for first, step, count in zip(*[iter(packed)] * 3, strict=True) for n in range(count)]

    def walk(number, path):
        row = nodes[number]
        if row[0] < 0:
            category, role, dtype, bits, counted = data["types"][-1 - row[0]]
            elements = 1
            for extent in row[1:]:
                elements *= extent
            figures = data["figures"].get(str(number), [elements * counted, (elements * bits + 7) // 8])
            yield path[1:], tuple(row[1:]), words[dtype], words[role], *figures, data["categories"][category][0]
        elif len(row) > 1:
            names, children = data["names"][row[1]], expanded(row[2:])
            names = map(str, range(names)) if isinstance(names, int) else (words[at] for at in expanded(names))
            for name, child in zip(names, children, strict=True):
                yield from walk(child, f"{path}.{name}")

    return list(walk(len(nodes) - 1, ""))


def test_the_data_holds_every_tensor_exactly(treemap):
    told = [
        (visible(name), node.shape, node.dtype, node.role, node.parameters, node.nbytes, node.category)
        for name, node in treemap.tensors()
    ]
    assert unpacked(data_of(page(treemap).decode())) == told


def test_every_category_has_a_colour(treemap):
    assert {node.category for node in treemap.nodes} <= CATEGORIES.keys()


@pytest.mark.parametrize(
    "numbers", [[], [4], [1, 1, 1], [1, 2, 3, 3, 3, 9, 0, 1], [5, 4, 3], [0, 1, 1, 2, 2, 2], [7, 7, 8, 9, 9]]
)
def test_runs_give_the_numbers_back(numbers):
    packed = iter(runs(numbers))
    assert [
        first + step * n for first, step, count in zip(packed, packed, packed, strict=True) for n in range(count)
    ] == numbers


def test_the_vendored_layouts_are_what_the_table_says():
    web = resources.files("modelscope_cli.render") / "web"
    (row,) = [line for line in (web / "VENDORED.md").read_text().splitlines() if line.startswith("| `d3-hierarchy.min.js`")]
    assert hashlib.sha256((web / "d3-hierarchy.min.js").read_bytes()).hexdigest() in row
    assert "Permission to use, copy, modify" in script()


def test_nothing_is_loaded_from_anywhere():
    text = page(hostile()).decode()
    banner = "// https://d3js.org/d3-hierarchy/ v3.1.2 Copyright 2010-2021 Mike Bostock"
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(", text.replace(banner, ""))
    assert re.findall(r'\b(?:src|href)="([^"]*)"', text) == ["data:,"]


def test_the_policy_allows_this_script_and_this_style_alone():
    text = page(hostile()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for rule, tag, content in (("script-src", "script", script()), ("style-src", "style", style())):
        assert f"<{tag}>{content}</{tag}>" in text
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_hostile_names_stay_text():
    text = page(hostile()).decode()
    assert len(re.findall("<script", text)) == 2
    assert len(re.findall("</script", text)) == 2
    assert "<img" not in text
    assert "<!--" not in text
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert not re.search(r"[<>&\x00-\x1f\u202a-\u202e\u2028\u2029\u2066-\u2069]", data)
    names = {name for name, *_ in unpacked(data_of(text))}
    assert {visible(name) for name in HOSTILE} < names


def test_the_script_puts_names_in_as_text_only():
    ours = script().partition('"use strict";\n//')[2]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|cookie", ours
    )


def test_a_part_for_other_pages_brings_only_its_data():
    part = component(byte_tree(inspect(checkpoint_of(transformer(2)))), unit="si")
    assert re.fullmatch(r'<section class="mscope-treemap"><script type="application/json">.*</noscript></section>', part)
    assert data_of(part)["unit"] == "si"
    assert "data-linked" in component(byte_tree(inspect(checkpoint_of(transformer(2)))), linked=True)


def test_equal_layers_cost_nothing():
    few, many = (len(page(byte_tree(inspect(checkpoint_of(transformer(layers)))))) for layers in (4, 4000))
    assert many - few < 1_000


def test_ninety_thousand_unequal_tensors_fit():
    parts = ("gate_proj", "up_proj", "down_proj")
    shapes = {f"model.layers.{n // 900}.mlp.experts.{n % 900 // 3}.{parts[n % 3]}.weight": (n + 1, 7168) for n in range(90_000)}
    treemap = byte_tree(inspect(checkpoint_of(shapes)))
    assert treemap.root.tensors == 90_000
    assert len(page(treemap)) < MOST_BYTES


def test_numbers_beyond_what_json_holds_are_told_all_the_same():
    treemap = byte_tree(inspect(checkpoint_of({"w": (2, 2)})))
    huge = treemap.nodes[0]._replace(shape=(2**70, 3))
    assert data_of(page(treemap._replace(nodes=[huge, *treemap.nodes[1:]])).decode())["nodes"][0][1:] == [str(2**70), 3]


def test_the_payload_is_plain():
    json.dumps(payload(hostile()))
