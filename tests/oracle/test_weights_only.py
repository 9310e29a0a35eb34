"""What we say of torch.load(weights_only=True) is what it does."""

from __future__ import annotations

import argparse
import collections
import io
import pathlib
import pickle

import pytest

from tests.scanned import scanned

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.oracle


def test_the_names_that_torch_allows():
    from torch import _weights_only_unpickler as unpickler

    from modelscope_cli.analysis.weights_only import ALLOWED

    theirs = set(unpickler._get_allowed_globals())
    assert theirs - ALLOWED == set()
    assert {name for name in ALLOWED - theirs if hasattr(torch, name.rpartition(".")[2])} == set()


THINGS = {
    "state_dict": lambda: torch.nn.Linear(2, 3).state_dict(),
    "parameter": lambda: {"w": torch.nn.Parameter(torch.ones(2))},
    "module": lambda: torch.nn.Linear(2, 3),
    "namespace": lambda: argparse.Namespace(a=1),
    "path": lambda: {"p": pathlib.PurePosixPath("/x")},
    "counter": lambda: collections.Counter("abc"),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "float8": lambda: torch.ones(2).to(torch.float8_e4m3fn),
    "numbers": lambda: [1, 2.5, "x", b"y", None, True, (1, 2), {3}],
    "optimizer": lambda: torch.optim.AdamW(torch.nn.Linear(2, 2).parameters()).state_dict(),
    "function": lambda: {"f": torch.nn.functional.relu},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("thing", THINGS)
def test_it_says_what_torch_does(thing, legacy):
    buffer = io.BytesIO()
    torch.save(THINGS[thing](), buffer, _use_new_zipfile_serialization=not legacy)
    said = scanned(buffer.getvalue()).weights_only
    try:
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        truth = "loads"
    except pickle.UnpicklingError as error:
        truth = str(error)
    except AttributeError:  # torch 2.13 cannot load the float8 tensors that it writes in the old format
        pytest.skip("torch does not load it either way")
    assert (said == "loads") == (truth == "loads"), (said, truth)
    if truth != "loads":
        refused = said.removeprefix("refuses ").split(" at byte")[0].rpartition(".")[2]
        assert refused in truth


@pytest.mark.parametrize("thing", THINGS)
def test_honest_things_are_at_worst_unknown(thing):
    buffer = io.BytesIO()
    torch.save(THINGS[thing](), buffer)
    assert scanned(buffer.getvalue()).verdict in ("safe", "unknown")
