"""Of repeated layers the first are kept (`--layers N`); everything else stays as it is, and the model still runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelscope_cli.bridges.models.repeated import keep_first
from tests.models.networks import FiveLayers


def block(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.GELU())


class Residual(nn.Module):
    """Blocks in a list that its forward goes through."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layers = nn.ModuleList(blocks)

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = x + layer(x)
        return x


@pytest.mark.parametrize(("first", "kept"), [(1, 1), (2, 2), (6, 6), (100, 6)])
def test_the_first_of_a_list_are_kept(first, kept):
    model = Residual(*(block() for _ in range(6)))
    before = list(model.layers)
    assert keep_first(model, first) == ([f"{kept} of 6 in layers"] if kept < 6 else [])
    assert list(model.layers) == before[:kept]
    assert model(torch.ones(2, 4)).shape == (2, 4)


def test_the_first_of_a_sequence_are_kept():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(*(block() for _ in range(5))), nn.Linear(4, 2))
    assert keep_first(model, 2) == ["2 of 5 in 1"]
    assert [len(part) if isinstance(part, nn.Sequential) else 0 for part in model] == [0, 2, 0]
    assert model(torch.ones(3, 4)).shape == (3, 2)


def test_only_equal_neighbours_are_repeated():
    model = Residual(block(), block(), nn.TransformerEncoderLayer(4, 2, 8), block(), block(), block())
    kinds = [type(layer) for layer in model.layers]
    assert keep_first(model, 1) == ["3 of 6 in layers"]
    assert [type(layer) for layer in model.layers] == [kinds[0], kinds[2], kinds[3]]


def test_layers_of_other_sizes_are_not_equal():
    model = nn.Sequential(nn.Sequential(*(block(width) for width in (3, 3, 4, 4, 3))))
    assert keep_first(model, 1) == ["3 of 5 in 0"]
    assert [layer[0].in_features for layer in model[0]] == [3, 4, 3]


def test_leaves_are_not_left_out():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 4))
    before = list(model)
    assert keep_first(nn.ModuleDict({"model": model}), 1) == []
    assert list(model) == before


@pytest.mark.parametrize("use_shortcut", [False, True])
def test_the_five_layers(use_shortcut):
    model = FiveLayers(use_shortcut)
    assert keep_first(model, 1) == ["2 of 5 in layers"]
    assert [layer[0].out_features for layer in model.layers] == [3, 1]
    assert model(torch.ones(2, 3)).shape == (2, 1)


def test_a_transformer_decoder():
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerDecoder(layer, 6)
    assert keep_first(model, 1) == ["1 of 6 in layers"]
    assert len(model.layers) == 1
    assert model(torch.ones(1, 3, 8), torch.ones(1, 3, 8)).shape == (1, 3, 8)


def test_lists_inside_of_what_is_kept_are_shortened_too():
    model = Residual(*(nn.Sequential(*(block() for _ in range(4))) for _ in range(3)))
    assert sorted(keep_first(model, 2)) == ["2 of 3 in layers", "2 of 4 in layers.0", "2 of 4 in layers.1"]
    assert [len(layer) for layer in model.layers] == [2, 2]
    assert model(torch.ones(1, 4)).shape == (1, 4)


def test_names_of_what_is_kept_stay():
    model = Residual(*(block() for _ in range(3)))
    names = {name for name, _ in model.named_parameters() if not name.startswith(("layers.1", "layers.2"))}
    keep_first(model, 1)
    assert {name for name, _ in model.named_parameters()} == names
    assert names >= {"first.weight", "layers.0.0.bias"}


def test_named_layers_of_a_sequence_can_still_be_reached():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = {f"block{number}": block() for number in range(4)}
            self.body = nn.Sequential()
            for name, layer in layers.items():
                self.body.add_module(name, layer)

        def forward(self, x):
            return self.body.block0(x)

    model = Named()
    assert keep_first(model, 2) == ["2 of 4 in body"]
    assert [name for name, _ in model.body.named_children()] == ["block0", "block1"]
    assert model(torch.ones(1, 4)).shape == (1, 4)


def test_nothing_to_keep_and_nothing_there():
    assert keep_first(nn.Linear(2, 2), 1) == []
    assert keep_first(nn.Sequential(nn.ModuleList(), nn.Sequential()), 1) == []


def test_a_module_in_itself_ends():
    model = nn.Sequential(block(), block())
    inner = nn.Linear(2, 2)
    inner.around = [model]
    model.append(inner)
    assert keep_first(nn.ModuleDict({"model": model}), 1) == ["2 of 3 in model"]
