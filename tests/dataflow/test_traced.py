"""Real models, traced on meta tensors: the examples, and models that cannot be traced."""

from __future__ import annotations

import gc
import runpy
import sys
from functools import cache
from pathlib import Path

import pytest

from modelscope_cli.analysis.dataflow import draw
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.flow import CARD, MORE, Flow

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = {  # script, class, arguments, shapes of the inputs, their dtype
    "five layers": ("five_layers", "FiveLayers", (False,), [(1, 3)], "float32"),
    "five layers, shortcuts": ("five_layers", "FiveLayers", (True,), [(1, 3)], "float32"),
    "gpt2": ("gpt2", "GPT2", (), [(2, 4)], "int64"),
    "decoder": ("decoder", "Decoder", (5_276, 24, 96), [(1, 50), (1, 50)], "int64"),
    "resnet50": ("resnet50", "ResNet50", (), [(1, 3, 64, 64)], "float32"),
    "unet": ("unet", "UNet", (), [(1, 3, 64, 64)], "float32"),
    "lstm": ("lstm", "LanguageModel", (True,), [(35, 1)], "int64"),
}


def made(name: str):
    import torch

    script, cls, arguments, shapes, dtype = MODELS[name]
    with torch.device("meta"):
        model = runpy.run_path(str(EXAMPLES / f"{script}.py"))[cls](*arguments).eval()
        return model, tuple(torch.zeros(shape, dtype=getattr(torch, dtype)) for shape in shapes)


@cache
def traced(name: str) -> tuple[Flow, int]:
    from modelscope_cli.bridges.models.export import calls_of

    model, inputs = made(name)
    return draw(calls_of(model, inputs, {}), name, "made"), sum(each.numel() for each in model.parameters())


def signs(flow: Flow) -> list[str]:
    return [box.title for box in flow.boxes if box.form == "sign"]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_of_the_model_each_counted_once(name):
    flow, parameters = traced(name)
    counted = sum(step.parameters or 0 for box in flow.boxes for step in box.steps)
    counted += sum(box.parameters or 0 for box in flow.boxes if box.form == MORE)
    assert counted == parameters
    assert f"{parameters:,} parameters" in str(flow.facts[1][0])


def test_gpt2_attends_and_adds_and_ends_in_its_vocabulary():
    flow, _ = traced("gpt2")
    assert signs(flow) == ["+", "@", "@", "+", "+"]
    assert flow.edges[-1].shape == (2, 4, 50_257)
    assert [step.kind for box in flow.boxes for step in box.steps if step.kind in ("scale", "mask", "softmax")] == [
        "scale", "mask", "softmax",
    ]  # fmt: skip
    assert [frame.fold for frame in flow.frames if frame.fold > 1] == [12]


def test_the_five_layers_differ_by_their_shortcuts():
    plain, short = traced("five layers")[0], traced("five layers, shortcuts")[0]
    assert (signs(plain), signs(short)) == ([], ["+"] * 4)
    assert sum(edge.shortcut for edge in short.edges) == 4
    assert sum(box.form == CARD for box in plain.boxes) == sum(box.form == CARD for box in short.boxes) == 5


def test_the_tutorial_decoder_is_six_layers_with_cross_attention():
    flow, _ = traced("decoder")
    assert [frame.fold for frame in flow.frames] == [6]
    more = next(box for box in flow.boxes if box.form == MORE)
    assert sum(edge.head == more.name for edge in flow.edges) == 2  # the layer before, and the source


def test_images_go_past_what_halves_them():
    assert sum(edge.shortcut for edge in traced("unet")[0].edges) == 4
    flow, _ = traced("resnet50")
    assert [frame.fold for frame in flow.frames] == [1, 2, 1, 3, 1, 5, 1, 2]
    assert signs(flow) == ["+"] * 8


def test_a_tied_decoder_counts_its_bias_alone():
    flow, _ = traced("lstm")
    assert [step.parameters for box in flow.boxes for step in box.steps if step.kind == "Linear"] == [33_278]
    shapes = {edge.shape for edge in flow.edges}
    assert {(35, 1, 650), (2, 1, 650)} <= shapes  # what it says of each word, and its state


def test_a_model_that_cannot_be_traced_names_the_module_and_says_nothing_else(capfd):
    import torch
    from torch import nn

    from modelscope_cli.bridges.models.export import calls_of

    class Choosing(nn.Module):
        def forward(self, x):
            print("noise")
            print("noise", file=sys.stderr)
            return x if x.sum() > 0 else -x

    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Choosing()))
        inputs = (torch.zeros(2, 3),)
    with pytest.raises(DrawingError, match=r"failed in module 1\.1 ") as failure:
        calls_of(model, inputs, {})
    assert "--engine torchviz" in failure.value.hint
    assert capfd.readouterr() == ("", "")
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def test_tracing_leaves_the_process_as_it_was():
    import torch

    from modelscope_cli.bridges.models.export import calls_of

    model, inputs = made("five layers")
    collecting, fast = gc.isenabled(), torch.backends.mha.get_fastpath_enabled()
    gc.disable()
    try:
        calls_of(model, inputs, {})
        assert not gc.isenabled()
    finally:
        if collecting:
            gc.enable()
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not model.training


def test_a_single_layer_is_a_model_too():
    import torch
    from torch import nn

    from modelscope_cli.bridges.models.export import calls_of

    with torch.device("meta"):
        calls = calls_of(nn.Linear(3, 5).eval(), (torch.zeros(2, 3),), {})
    flow = draw(calls, "one", "made")
    assert [box.title or box.steps[0].kind for box in flow.boxes] == ["input", "Linear", "output"]
    assert flow.boxes[1].steps[0].parameters == 20


def test_one_layer_that_runs_again_and_again_has_its_parameters_once():
    import torch
    from torch import nn

    from modelscope_cli.bridges.models.export import calls_of

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return x + self.outer(self.inner(x).relu())

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Layer()])
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            for _ in range(12):
                x = self.layers[0](x)
            return self.head(x)

    with torch.device("meta"):
        flow = draw(calls_of(Shared().eval(), (torch.zeros(1, 8),), {}), "shared", "made")
    more = [box for box in flow.boxes if box.form == MORE]
    assert [(box.title, box.parameters) for box in more] == [("11 times more, same weights", None)]
    counted = sum(step.parameters or 0 for box in flow.boxes for step in box.steps) + sum(box.parameters or 0 for box in more)
    assert counted == 2 * (8 * 8 + 8) + 8 * 2 + 2


def test_a_program_of_torchscript_is_not_followed():
    import torch

    from modelscope_cli.bridges.models.export import calls_of

    program = torch.jit.script(torch.nn.Linear(2, 2))
    with pytest.raises(DrawingError, match="TorchScript program"):
        calls_of(program, (torch.zeros(1, 2),), {})
