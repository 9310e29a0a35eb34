"""Layers that differ by one argument alone are no equal layers, and what is computed is drawn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelscope_cli.analysis.dataflow import draw
from modelscope_cli.report.flow import CARD, MORE, Flow

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
LAYERS = 8
PATH = "layers.0."


def flow(module, shape=(2, 4, 8), **options) -> Flow:
    import torch

    from modelscope_cli.bridges.models.export import calls_of

    with torch.device("meta"):
        module = module.eval()
        return draw(calls_of(module, (torch.zeros(shape),), {}), "model", "made", **options)


def computing(forward: Callable, *, layers: int = 1):
    """A model of layers that have linears a, b and c, and run `forward(layer, x)`; each knows its number."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, number: int):
            super().__init__()
            self.number, self.a, self.b, self.c = number, nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.act = nn.LeakyReLU(0.5)
            self.register_buffer("table", torch.zeros(4, 4))

        def forward(self, x):
            return forward(self, x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(map(Layer, range(layers)))
            self.tables = nn.ModuleList(map(Layer, range(layers)))

        def forward(self, x):
            for layer, other in zip(self.layers, self.tables, strict=True):
                layer.__dict__["other"] = other.table
                x = layer(x)
            return x

    with torch.device("meta"):
        return Model()


def attention(layer, x, **given):
    from torch.nn.functional import scaled_dot_product_attention

    return x + scaled_dot_product_attention(layer.a(x), layer.b(x), layer.c(x), **given)


def band(width: int):
    import torch

    return torch.ones(4, 4).tril().triu(-width).bool()


def slope(layer, x):
    layer.act.negative_slope = 0.1 + layer.number * layer.differs
    return x + layer.b(layer.act(layer.a(x)))


BY_ARGUMENT = {  # what a layer does, given a number that is the same in all layers, or is not
    "keyword": lambda layer, x, n: attention(layer, x, scale=0.1 + n),
    "truth": lambda layer, x, n: attention(layer, x, is_causal=n % 2 == 1),
    "list": lambda layer, x, n: x + layer.b(layer.a(x).flip([n % 2])) + layer.c(x),
    "form": lambda layer, x, n: x + layer.b(layer.a(x)) + layer.c(x).narrow(1, n % 4, 1),
    "mask of constants": lambda layer, x, n: attention(layer, x, attn_mask=band(n)),
    "buffer": lambda layer, x, n: attention(layer, x, attn_mask=layer.table if n == 0 else layer.other),
}


@pytest.mark.parametrize("what", BY_ARGUMENT)
@pytest.mark.parametrize("differ", [False, True])
def test_layers_that_differ_by_an_argument_alone_are_not_identical(what, differ):
    drawn = flow(computing(lambda layer, x: BY_ARGUMENT[what](layer, x, layer.number if differ else 0), layers=LAYERS))
    more = [box.title for box in drawn.boxes if box.form == MORE]
    assert [title for title in more if "identical" in title] == ([] if differ else [f"+ {LAYERS - 1} more, identical"])


@pytest.mark.parametrize("differ", [False, True])
def test_an_argument_inside_a_module_counts_too(differ):
    def forward(layer, x):
        layer.differs = differ
        return slope(layer, x)

    assert sum(box.form == MORE for box in flow(computing(forward, layers=LAYERS)).boxes) == (not differ)


@pytest.mark.parametrize(
    ("turn", "folded"),
    [
        (2, ["+ 10 more, 5 times these 2"]),
        (6, ["+ 4 more, identical", "+ 6 more, like these 6"]),
        (4, ["+ 2 more, identical", "+ 8 more, 2 times these 4"]),
    ],
)
def test_layers_that_take_turns_are_drawn_for_one_turn(turn, folded):
    def forward(layer, x):
        return attention(layer, x, is_causal=layer.number % turn == turn - 1)

    drawn = flow(computing(forward, layers=12))
    assert [box.title for box in drawn.boxes if box.form == MORE] == folded
    counted = sum(step.parameters or 0 for box in drawn.boxes for step in box.steps)
    assert counted + sum(box.parameters or 0 for box in drawn.boxes if box.form == MORE) == 12 * 3 * (8 * 8 + 8)


def test_a_parameter_of_a_layer_makes_it_no_other_layer():
    def forward(layer, x):
        return x + layer.b(layer.a(x)) * layer.c.bias

    assert [box.title for box in flow(computing(forward, layers=LAYERS)).boxes if box.form == MORE] == ["+ 7 more, identical"]


def words(drawn: Flow) -> list[str]:
    """Every line and sign in a word, in the order they run."""
    found: list[str] = []
    for box in drawn.boxes:
        found += [step.label.removeprefix(PATH) or step.kind for step in box.steps] if box.form == CARD else [box.title]
    return found


def less(layer, x):
    import torch

    return torch.sub(layer.a(x), layer.b(x), alpha=2)


def blank(x, wide: int = 8):
    import torch

    return torch.zeros(2, 4, wide, device=x.device)


def filled(layer, x):
    y = blank(x)
    y[:] = layer.a(x)
    return y


def overwritten(layer, x):
    y = blank(x)
    y[:] = layer.a(x)
    y[:] = layer.b(x)
    return y


def copied(layer, x):
    first = layer.a(x)
    second = first.clone()
    second += 1
    return layer.b(first)


def halves(layer, x):
    y = blank(x, 16)
    y[..., :8] = layer.a(x)
    y[..., 8:] += layer.b(x)
    return layer.c(y[..., :8] + y[..., 8:])


def padded(x, by: int):
    from torch.nn.functional import pad

    return pad(x, (by, by))


COMPUTED = {
    "x + 1": (lambda layer, x: layer.b(layer.a(x) + 1), ["a", "+ 1", "b"]),
    "x * 1 + 0": (lambda layer, x: layer.b(layer.a(x) * 1 + 0), ["a", "b"]),
    "1 - x": (lambda layer, x: 1 - layer.a(x), ["a", "1 − x"]),
    "3 ** x": (lambda layer, x: 3 ** layer.a(x), ["a", "3 ^ x"]),
    "x ** 3": (lambda layer, x: layer.a(x) ** 3, ["a", "x ^ 3"]),
    "a - 2b": (less, ["a", "b", "× 2", "−"]),
    "a (b > 0)": (lambda layer, x: layer.a(x) * (layer.b(x) > 0).float(), ["a", "b", "> 0", "×"]),
    "pad": (lambda layer, x: padded(layer.a(x), 1), ["a", "pad"]),
    "pad by nothing": (lambda layer, x: layer.b(padded(layer.a(x), 0)), ["a", "b"]),
    "roll": (lambda layer, x: layer.a(x).roll(1, 1), ["a", "roll"]),
    "flip": (lambda layer, x: layer.a(x).flip(1), ["a", "flip"]),
    "repeat": (lambda layer, x: layer.a(x).repeat(2, 1, 1), ["a", "repeat"]),
    "filled": (filled, ["a"]),
    "copied": (copied, ["a", "b"]),
    "overwritten": (overwritten, ["b"]),
}


@pytest.mark.parametrize("what", COMPUTED)
def test_what_is_computed_is_drawn(what):
    forward, expected = COMPUTED[what]
    assert words(flow(computing(forward)))[1:-1] == expected


def test_both_halves_that_are_written_are_read():
    assert {"a", "b", "c"} <= set(words(flow(computing(halves))))


def test_a_constant_query_leaves_key_and_value_their_roles():
    from torch.nn.functional import scaled_dot_product_attention

    drawn = flow(computing(lambda layer, x: scaled_dot_product_attention(blank(x), layer.a(x), value=layer.b(x))))
    made_by = {box.name: box.steps[0].path for box in drawn.boxes if box.steps}
    assert {edge.role: made_by[edge.tail] for edge in drawn.edges if edge.role} == {"K": PATH + "a", "V": PATH + "b"}
