"""Our graph on fake tensors is the one that torchviz draws of the same model on real ones."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

import modelscope_cli
from modelscope_cli.bridges.models import autograd, making
from modelscope_cli.bridges.models.autograd import Asked, Graph, draw_autograd, first_output
from modelscope_cli.bridges.models.quiet import quiet
from modelscope_cli.bridges.models.recipe import Recipe
from modelscope_cli.errors import DrawingError
from tests.models.networks import EXAMPLES, FAMILIES, Decoder, FiveLayers, build, publish, saved

pytestmark = pytest.mark.usefixtures("unconnected", "forgotten")

STATEMENT = re.compile(r'^\s*(n?\d+)(?: -> (n?\d+))?((?: \[(?:"(?:\\.|[^"\\])*"|[^"\]])*\])?)\s*$', re.DOTALL | re.MULTILINE)


def shape_of(statements: Iterable[str]) -> tuple[Counter[str], Counter[tuple[str, str, str]]]:
    """(how often each label, how often each edge between labels) of a DOT text, without addresses and numbers of nodes."""
    statements = [re.sub("-{3,}", "---", each) for each in statements]  # dashes are as long as the longest line of a label
    labels: dict[str, str] = {}
    edges: list[tuple[str, str, str]] = []
    for statement in statements:
        for start, end, attributes in STATEMENT.findall(statement):
            if end:
                edges.append((start, end, attributes))
            else:
                labels[start] = attributes
    assert labels
    return Counter(labels.values()), Counter((labels[start], labels[end], how) for start, end, how in edges)


def plain(model: nn.Module, *inputs: torch.Tensor, attributes: bool = False, held: bool = False) -> Any:
    """What the tutorials do."""
    with quiet():
        from torchviz import make_dot

        names = ("input_ids", "attention_mask")
        called = model(**dict(zip(names, inputs, strict=True))) if hasattr(model, "config") else model(*inputs)
        output: Any = first_output(called)
        return make_dot(output.mean(), params=dict(model.named_parameters()), show_attrs=attributes, show_saved=held)


def drawn(path: object, recipe: Recipe | None = None, asked: Asked | None = None) -> Graph:
    graph = draw_autograd(modelscope_cli.read(str(path)), recipe, asked or Asked(), lambda text: None)
    assert graph.nodes == sum(shape_of(graph.lines)[0].values())
    return graph


def refused(path: object, recipe: Recipe | None = None, asked: Asked | None = None) -> str:
    with pytest.raises(DrawingError) as told:
        drawn(path, recipe, asked)
    said = f"{told.value.message} - {told.value.hint or ''}"
    assert "\n" not in said
    return said


class Nets:
    """Models that a file nets.py makes, for which a file of weights lies in the current folder."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    def make(self, code: str, *inputs: str, **settings: Any) -> tuple[nn.Module, object, Recipe]:
        """(the model on real tensors, the path of its weights, how it is made)."""
        (self.folder / "nets.py").write_text(f"import torch\nfrom torch import nn\n{code}")
        sys.modules.pop("nets", None)
        module = __import__("nets").Net(**settings)
        path = saved(module, self.folder / "weights")
        return module, path, Recipe("nets.py:Net", inputs, settings or None)


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Nets(tmp_path)


# The graphs of the tutorials -------------------------------------------------------------------------------------------

EVERY = pytest.mark.parametrize(("attributes", "held"), [(False, False), (True, False), (False, True), (True, True)])
MODELS: dict[str, tuple[str, Callable[[], nn.Module], list[str], list[torch.Tensor]]] = {
    "decoder": (
        "decoder:Decoder",
        lambda: Decoder(vocabulary=20, width=8, feedforward=16, heads=2, layers=2),
        ["int64[1,5]<20", "int64[1,5]<20"],
        [torch.zeros(1, 5, dtype=torch.int64), torch.ones(1, 5, dtype=torch.int64)],
    ),
    "plain": ("five_layers:FiveLayers", lambda: FiveLayers(False), ["float32[1,3]"], [torch.ones(1, 3)]),
    "shortcut": ("five_layers:FiveLayers", lambda: FiveLayers(True), ["float32[1,3]"], [torch.ones(1, 3)]),
}
SETTINGS = {
    "decoder": {"vocabulary": 20, "width": 8, "feedforward": 16, "heads": 2, "layers": 2},
    "plain": {"use_shortcut": False},
    "shortcut": {"use_shortcut": True},
}


@EVERY
@pytest.mark.parametrize("which", MODELS)
def test_the_networks_of_the_examples(tmp_path, monkeypatch, which, attributes, held):
    factory, example, inputs, tensors = MODELS[which]
    monkeypatch.syspath_prepend(str(EXAMPLES))
    model = example()
    graph = drawn(saved(model, tmp_path), Recipe(factory, tuple(inputs), SETTINGS[which]), Asked(attributes, held))
    assert shape_of(graph.lines) == shape_of(plain(model, *tensors, attributes=attributes, held=held).body)
    assert graph.warnings == ()
    assert graph.said == f"{type(model).__name__}, made by {factory}"


def test_a_shortcut_is_seen():
    graphs = [shape_of(plain(FiveLayers(use), torch.ones(1, 3)).body)[0] for use in (False, True)]
    assert graphs[1] - graphs[0] == Counter({" [label=AddBackward0]": 4})  # none around the last, 3 → 1


@EVERY
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_models_of_transformers(tmp_path, family, attributes, held):
    heads = {"num_key_value_heads": 2} if family == "llama" else {}  # of fewer, transformers makes copies where it has a mask
    model = build(family, **heads)
    model.config.use_cache = False
    mask = torch.ones(1, 1, 8, 8).tril().bool()  # which it hands over on fake tensors; on real ones it finds out it needs none
    oracle = plain(model, torch.zeros(1, 8, dtype=torch.int64), mask, attributes=attributes, held=held)
    graph = drawn(publish(family, tmp_path, **heads), None, Asked(attributes, held))
    assert graph.said.endswith(", on tensors without values")  # where a view of a copy has another name
    assert shape_of(graph.lines) == shape_of(line.replace("ReshapeAliasBackward0", "ViewBackward0") for line in oracle.body)
    for name, tensor in model.named_parameters():
        assert f'"{name}\n ({", ".join(map(str, tensor.shape))})"' in graph.dot("")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_drawn_with_the_names_of_its_parameters(tmp_path, family):
    graph = drawn(publish(family, tmp_path))
    found = {label.partition('"')[2].partition("\n")[0] for label in shape_of(graph.lines)[0] if "fillcolor=lightblue" in label}
    assert found == {name for name, tensor in build(family).named_parameters() if tensor.requires_grad}


NETS = {
    "twice": ("s.fc(x) * s.fc(x) + s.fc(x)", "nn.Linear(3, 3)", "float32[2,3]"),
    "squared": ("(lambda h: h * h + h + h)(s.fc(x))", "nn.Linear(3, 3)", "float32[2,3]"),
    "convolution": ("s.fc(x)", "nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))", "float32[1,3,8,8]"),
    "recurrent": ("s.fc(x)[0]", "nn.LSTM(3, 4, num_layers=2, batch_first=True)", "float32[1,5,3]"),
    "attention": ("s.fc(x, x, x)", "nn.MultiheadAttention(4, 2)", "float32[3,1,4]"),
    "encoder": ("s.fc(x)", "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2).eval()", "float32[3,1,4]"),
    "complex": ("torch.fft.fft(s.fc(x))", "nn.Linear(3, 3)", "float32[2,3]"),
    "half": ("s.fc(x)", "nn.Linear(3, 3).half()", "half[2,3]"),
    "in place": ("s.fc(x).add_(1)", "nn.Linear(3, 3)", "float32[2,3]"),
    "a dictionary": ("{'none': None, 'ids': torch.ones(2), 'loss': (s.fc(x), 1)}", "nn.Linear(3, 3)", "float32[2,3]"),
    "a constant": ("s.fc(x) + torch.arange(3)", "nn.Linear(3, 3)", "float32[2,3]"),
}  # fmt: skip
NET = "class Net(nn.Module):\n    def __init__(s):\n        super().__init__()\n        s.fc = {module}\n    def forward(s, x):\n        return {call}\n"


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("which", NETS)
def test_other_networks(nets, which, held):
    from torch.backends import mha

    call, module, spec = NETS[which]
    model, path, recipe = nets.make(NET.format(module=module, call=call), spec)
    sizes = [int(number) for number in re.findall(r"\d+", spec.partition("[")[2])]
    mha.set_fastpath_enabled(False)
    try:
        oracle = plain(model, torch.ones(sizes, dtype=torch.float16 if which == "half" else torch.float32), held=held)
    finally:
        mha.set_fastpath_enabled(True)
    found, expected = shape_of(drawn(path, recipe, Asked(saved=held)).lines), shape_of(oracle.body)
    if (which, held) == ("recurrent", True):  # scratch memory of oneDNN has no size on fake tensors
        assert [sum(part.values()) for part in found] == [sum(part.values()) for part in expected]
    else:
        assert found == expected


def test_what_was_overwritten_cannot_be_shown_and_that_is_told(nets):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3)", call="s.fc(x).relu_().add_(1)"), "float32[2,3]")
    assert " [label=ReluBackward0]" in shape_of(drawn(path, recipe).lines)[0]
    for asked in (Asked(saved=True), Asked(attributes=True)):
        assert "modified by an inplace operation" in refused(path, recipe, asked)


# What cannot run on fake tensors ---------------------------------------------------------------------------------------

DEPENDENT = {
    "a branch": "s.fc(x) if x.abs().sum() >= 0 else x",
    "numpy": "s.fc(x) + torch.from_numpy(x.detach().numpy() * 2)",
    "where": "s.fc(x)[x.abs().sum(1).nonzero()[:, 0]]",
}


@pytest.mark.parametrize("which", DEPENDENT)
def test_what_depends_on_values_is_called_on_real_tensors(nets, which):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3)", call=DEPENDENT[which]), "float32[2,3]")
    graph = drawn(path, recipe)
    assert any("fc.weight" in label for label in shape_of(graph.lines)[0])


def test_a_model_that_reads_values_while_it_is_made(nets):
    module = "nn.Linear(3, int(torch.linspace(0, 4, 3)[2].item()))"
    _, path, recipe = nets.make(NET.format(module=module, call="s.fc(x)"), "float32[2,3]")
    assert any("fc.weight\n (4, 3)" in label for label in shape_of(drawn(path, recipe).lines)[0])


def test_large_models_are_not_called_on_real_tensors(nets, monkeypatch):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3)", call=DEPENDENT["numpy"]), "float32[2,3]")
    monkeypatch.setattr(making, "SMALL", 11)
    assert "calling Net with --input 'float32[2,3]' failed" in refused(path, recipe)


# Failures --------------------------------------------------------------------------------------------------------------


def test_the_failing_layer_is_named(nets, capsys):
    body = "nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 2)))"
    _, path, recipe = nets.make(NET.format(module=body, call="s.fc(x)"), "float32[2,3]")
    said = refused(path, recipe)
    assert "calling Net with --input 'float32[2,3]' failed in fc.1.1 (Linear) with " in said
    assert "does --input say what it is called with?" in said
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("torch.ones(3)", "Tensor"),
        ("s.fc(x).argmax()", "Tensor"),
        ("s.fc(x).detach()", "Tensor"),
        ("None", "NoneType"),
        ("[{'a': 'text'}, 5]", "list"),
    ],
)
def test_what_leaves_no_graph(nets, call, kind):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3)", call=call), "float32[2,3]")
    assert f"Net returns {kind}, with no tensor that depends on parameters" in refused(path, recipe)


@pytest.mark.parametrize("call", ["exit(3)", "(_ for _ in ()).throw(RuntimeError('<b>\\n\x1b[31m'))", "s(x)"])
def test_whatever_a_model_raises_is_told(nets, call):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3)", call=call), "float32[2,3]")
    before = sys.getrecursionlimit()
    assert "calling Net with --input 'float32[2,3]' failed" in refused(path, recipe)
    assert sys.getrecursionlimit() == before


def test_a_model_without_gradients(nets):
    _, path, recipe = nets.make(NET.format(module="nn.Linear(3, 3).requires_grad_(False)", call="s.fc(x)"), "float32[2,3]")
    assert "no tensor that depends on parameters" in refused(path, recipe)


# Large graphs ----------------------------------------------------------------------------------------------------------

CHAIN = """
class Net(nn.Module):
    def __init__(s, times, blocks=0):
        super().__init__()
        s.fc = nn.Linear(2, 2)
        s.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.GELU()) for _ in range(blocks))
        s.times = times
    def forward(s, x):
        x = s.fc(x)
        for block in s.blocks:
            x = block(x)
        for _ in range(s.times):
            x = x.sin()
        return x
"""


def test_a_deep_model_does_not_meet_the_recursion_limit(nets):
    _, path, recipe = nets.make(CHAIN, "float32[1,2]", times=3_500)
    before = sys.getrecursionlimit()
    graph = drawn(path, recipe)
    assert shape_of(graph.lines)[0][" [label=SinBackward0]"] == 3_500
    assert sys.getrecursionlimit() == before


def test_a_graph_too_large_to_read_is_refused_with_what_helps(nets):
    _, path, recipe = nets.make(CHAIN, "float32[1,2]", times=0, blocks=900)
    said = refused(path, recipe)
    nodes = int(re.match(r"([\d,]+) nodes would be drawn", said)[1].replace(",", ""))
    for advice in ("the most is 4,000", "--layers 1 draws the first", "--engine dataflow", "--force draws it all"):
        assert advice in said
    assert "--show-saved" not in said
    assert abs(drawn(path, recipe, Asked(force=True)).nodes - nodes) <= 1
    graph = drawn(path, recipe, Asked(first=1))
    assert graph.nodes < 30
    assert graph.said == "Net, made by nets.py:Net, 1 of 900 in blocks"
    assert "--layers" not in refused(path, recipe._replace(settings={"times": 5_000}), Asked(first=1, force=False))


def test_saved_tensors_count(nets):
    _, path, recipe = nets.make(CHAIN, "float32[1,2]", times=2_500)
    assert drawn(path, recipe).nodes < 4_000
    assert "leaving out --show-saved draws no saved tensors" in refused(path, recipe, Asked(saved=True))
    assert drawn(path, recipe, Asked(saved=True, force=True)).nodes > 4_000


def test_counting_ends(nets, monkeypatch):
    _, path, recipe = nets.make(CHAIN, "float32[1,2]", times=6_000)
    monkeypatch.setattr(autograd, "COUNTED", 5_000)
    assert refused(path, recipe).startswith("more than 5,000 nodes would be drawn")


# The text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_the_text_is_the_same_every_time(tmp_path, held):
    path = publish("gpt2", tmp_path)
    texts = [drawn(path, None, Asked(True, held)).dot("title") for _ in range(2)]
    assert texts[0] == texts[1]


def test_neither_addresses_nor_sizes_of_pages_are_in_the_text(tmp_path):
    text = drawn(publish("llama", tmp_path), None, Asked(True, True)).dot("title")
    assert not re.search(r"(?<![.\d])\d{9,}", re.sub(f"{(1 << 63) - 1}|{(1 << 64) - 1}", "", text))
    assert "size=" not in text.replace("fontsize=", "")
    assert "monospace" not in text


def test_steps_are_told(tmp_path):
    steps: list[str] = []
    draw_autograd(modelscope_cli.read(str(publish("gpt2", tmp_path))), None, Asked(), steps.append)
    assert steps == [
        "importing torch",
        "importing transformers",
        "making the model of config.json",
        "calling it",
        "collecting the graph",
    ]
