"""What torch itself writes of weight norm, spectral norm, pruning, orthogonal weights and recurrent modules."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm  # noqa: E402

import modelscope_cli  # noqa: E402
from modelscope_cli.analysis.overview import inspect  # noqa: E402


def pruned(module, name="weight"):
    return prune.l1_unstructured(module, name, 0.5)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


def own(module):
    parametrize.register_parametrization(module, "weight", Twice())
    return module


MODULES = {
    "conv": lambda: nn.Conv1d(4, 8, 3),
    "up": lambda: nn.ConvTranspose2d(8, 4, 5),
    "fc": lambda: nn.Linear(6, 5),
    "emb": lambda: nn.Embedding(30, 4),
}
PLAIN = {
    "conv": ("Conv1d", "4 → 8, 3"),
    "up": ("ConvTranspose2d", "8 → 4, 5×5"),
    "fc": ("Linear", "6 → 5"),
    "emb": ("Embedding", "30 × 4"),
}
WAYS = {
    "weight_norm": (weight_norm, "weight-normed"), "spectral_norm": (spectral_norm, "spectral-normed"), "prune": (pruned, "pruned"),
    "parametrizations.weight_norm": (parametrizations.weight_norm, "weight-normed"),
    "parametrizations.spectral_norm": (parametrizations.spectral_norm, "spectral-normed"),
    "parametrizations.orthogonal": (parametrizations.orthogonal, "orthogonal"), "parametrize": (own, "parametrized"),
}  # fmt: skip


def overview(saved, tmp_path):
    torch.save(saved, tmp_path / "model.pth")
    return inspect(modelscope_cli.read(str(tmp_path / "model.pth")))


@pytest.mark.parametrize("whole", [False, True], ids=["state_dict", "module"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", MODULES)
def test_weights_that_torch_writes_in_parts(module, way, whole, tmp_path):
    change, word = WAYS[way]
    model = nn.Sequential()
    model.add_module(module, change(MODULES[module]()))
    if whole and way.startswith("param"):
        pytest.skip("torch cannot pickle a parametrized module")
    found = overview(model if whole else model.state_dict(), tmp_path)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.ledger.by_role().get("buffer", (0, 0, 0))[1] == sum(buffer.numel() for buffer in model.buffers())
    (row,) = [row for row in found.rows if not row.section]
    assert (row.label, row.kind.name, row.kind.detail) == (module, f"{word} {PLAIN[module][0]}", PLAIN[module][1])


RECURRENT = {
    "LSTM": (lambda: nn.LSTM(7, 5, 2), "7 → 5, 2 layers"),
    "GRU": (lambda: nn.GRU(7, 5, bidirectional=True), "7 → 5, bidirectional"),
    "RNN": (lambda: nn.RNN(7, 5, 3, bias=False), "7 → 5, 3 layers"),
    "LSTMCell": (lambda: nn.LSTMCell(7, 5), "7 → 5"),
    "GRUCell": (lambda: nn.GRUCell(7, 5), "7 → 5"),
    "RNNCell": (lambda: nn.RNNCell(7, 5), "7 → 5"),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_modules(name, tmp_path):
    make, detail = RECURRENT[name]
    model = nn.ModuleDict({"it": make()})
    found = overview(model.state_dict(), tmp_path)
    (row,) = [row for row in found.rows if not row.section]
    assert (row.kind.name, row.kind.detail) == (name, detail)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("change", [weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("proj", [0, 3])
def test_recurrent_modules_with_a_weight_norm(change, proj, tmp_path):
    model = nn.ModuleDict({"it": change(nn.LSTM(7, 5, 2, bidirectional=True, proj_size=proj), "weight_hh_l0")})
    found = overview(model.state_dict(), tmp_path)
    (row,) = [row for row in found.rows if not row.section]
    assert row.kind.name == "weight-normed LSTM"
    assert row.kind.detail == f"7 → 5{' projected to 3' if proj else ''}, 2 layers, bidirectional"
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_what_parallel_and_compiled_models_write(tmp_path):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(8, 8) for _ in range(3))

    def kinds(model):
        found = overview(model.state_dict(), tmp_path)
        (layers,) = [row for row in found.rows if not row.section]
        return layers.fold, layers.kind.name, [(row.label, row.kind) for row in layers.children]

    plain = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"attn": Layer()}) for _ in range(3)])})
    expected = kinds(plain)
    assert kinds(nn.DataParallel(plain)) == expected
    assert kinds(torch.compile(plain)) == expected
