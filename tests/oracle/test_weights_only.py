"""What we say of torch.load(weights_only=True) is what it does."""

from __future__ import annotations

import argparse
import collections
import io
import pathlib
import pickle
import zipfile

import pytest

from tests.builders.tar_file import TarEntry, tar_bytes
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


ALLOWS = "would allow every name in it"


def truth_of(data: bytes) -> str:
    """ "loads", or what torch says."""
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        return str(error)
    return "loads"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("thing", THINGS)
def test_it_says_what_torch_does(thing, legacy):
    buffer = io.BytesIO()
    torch.save(THINGS[thing](), buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    said = scanned(data).weights_only
    try:
        truth = truth_of(data)
    except AttributeError:  # torch 2.13 cannot load the float8 tensors that it writes in the old format
        pytest.skip("torch does not load it either way")
    assert (said == ALLOWS) == (truth == "loads"), (said, truth)
    if truth != "loads":
        refused, _, place = said.removeprefix("refuses ").partition(" at byte ")
        assert f"GLOBAL {refused.removeprefix('builtins.')} was" in truth
        offset, _, member = place.partition(" of ")
        if member:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                data = archive.read(member)
        module, _, name = refused.rpartition(".")
        at = int(offset.replace(",", ""))
        assert data[at:].startswith(f"c{module}\n{name}\n".encode())


class Runs:
    """Pickled, it calls print."""

    def __reduce__(self):
        return print, ("ran",)


def test_a_second_pickle_behind_the_one_that_torch_loads_does_not_count(capsys):
    saved, first, second = io.BytesIO(), io.BytesIO(), pickle.dumps(Runs(), protocol=2)
    torch.save({"a": 1}, saved)
    with zipfile.ZipFile(io.BytesIO(saved.getvalue())) as old, zipfile.ZipFile(first, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (second if name.endswith("/data.pkl") else b""))
    assert truth_of(first.getvalue()) == "loads"
    safety = scanned(first.getvalue())
    assert safety.weights_only == ALLOWS
    assert "builtins.print" in {item.path for item in safety.imports}
    assert capsys.readouterr().out == ""


BARE = {
    "values": {"a": [1, 2.5, "x"]},
    "a number": 5,
    "an allowed name": collections.OrderedDict(a=1),
    "an unknown name": [argparse.Namespace(a=1)],
    "a call": Runs(),
    "bytes": b"abc",
    "a frozen set": frozenset((1,)),
    "the magic number's neighbour": 0x1950A86A20F9469CFC6D,
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("thing", BARE)
def test_of_a_bare_pickle_it_says_what_torch_does(thing, protocol, tmp_path):
    data = pickle.dumps(BARE[thing], protocol=protocol)
    said, truth = scanned(data, "model.pkl").weights_only, truth_of(data)
    (tmp_path / "model.pkl").write_bytes(data)
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        torch.load(tmp_path / "model.pkl", weights_only=True)
    if said is None:  # what is no pickle by its looks
        assert scanned(data, "model.pkl").scanned.streams == []
    elif "invalid magic number" in said:
        assert "Invalid magic number" in truth
    elif "instruction" in said:
        at = int(said.rpartition(" ")[2].replace(",", ""))
        assert f"Unsupported operand {data[at]}" in truth
    else:
        refused = said.removeprefix("refuses ").partition(" at byte ")[0].removeprefix("builtins.").removeprefix("__builtin__.")
        assert f"{refused} was" in truth


def test_of_a_pickle_taken_out_of_its_archive(tmp_path):
    saved = io.BytesIO()
    torch.save({"w": torch.ones(2)}, saved)
    with zipfile.ZipFile(io.BytesIO(saved.getvalue())) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
    assert "persistent id" in truth_of(data)
    assert "persistent id" in scanned(data, "data.pkl").weights_only


@pytest.mark.parametrize("names", [("sys_info", "pickle", "storages", "tensors"), ("readme.txt",)])
def test_of_every_tar_it_says_that_it_is_refused(names, tmp_path):
    """torch opens the path of any tar as a file of its oldest format, and refuses that."""
    data = tar_bytes([TarEntry(name, pickle.dumps({}, protocol=2)) for name in names])
    path = tmp_path / "model.tar"
    path.write_bytes(data)
    with pytest.raises(RuntimeError, match=r"Cannot use ``weights_only=True`` with files saved in the legacy \.tar format"):
        torch.load(path, weights_only=True)
    assert scanned(data, "model.tar").weights_only == "refuses the legacy .tar format"


def test_torchscript_is_refused():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), buffer)
    assert "TorchScript" in truth_of(buffer.getvalue())
    assert scanned(buffer.getvalue()).weights_only == "refuses TorchScript archives"


@pytest.mark.parametrize("thing", THINGS)
def test_honest_things_are_at_worst_unknown(thing):
    buffer = io.BytesIO()
    torch.save(THINGS[thing](), buffer)
    assert scanned(buffer.getvalue()).verdict in ("safe", "unknown")
