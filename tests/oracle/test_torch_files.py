"""What torch.save writes is read as torch.load reads it."""

from __future__ import annotations

import collections

import pytest

torch = pytest.importorskip("torch")

from modelscope_cli.analysis.ledger import Ledger  # noqa: E402
from tests.builders.samples import SAMPLES  # noqa: E402
from tests.oracle.compare import assert_same, saved  # noqa: E402
from tests.oracle.networks import OPTIMIZERS, PLAIN_DTYPES, Tied, training_checkpoint, views, zeros  # noqa: E402

FORMATS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
PROTOCOLS = {f"protocol {number}": {"pickle_protocol": number} for number in (2, 3, 4, 5)}


@pytest.fixture(params=FORMATS)
def options(request):
    return FORMATS[request.param]


def test_state_dict(tmp_path, options):
    path = tmp_path / "model.pt"
    checkpoint = assert_same(path, saved(Tied().state_dict(), path, **options))
    assert "head" in checkpoint.modules
    assert "body.1" in checkpoint.modules


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols(tmp_path, options, protocol):
    path = tmp_path / "model.pt"
    assert_same(path, saved(training_checkpoint("AdamW"), path, **options, **PROTOCOLS[protocol]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_checkpoints(tmp_path, optimizer):
    path = tmp_path / "model.pt"
    checkpoint = assert_same(path, saved(training_checkpoint(optimizer), path))
    (fact,) = Ledger(checkpoint).roles_result.optimizers
    words = (fact.name or "none").split()
    assert optimizer.split()[0] in words or optimizer == "SGD", fact


def test_whole_module(tmp_path, options):
    path = tmp_path / "model.pt"
    checkpoint = assert_same(path, saved(Tied(), path, **options))
    assert checkpoint.modules["body.1"].class_name == "torch.nn.modules.dropout.Dropout"
    assert checkpoint.modules["lstm"].attributes["hidden_size"] == 6
    assert checkpoint.modules[""].class_name.endswith("Tied")


def test_views(tmp_path, options):
    path = tmp_path / "model.pt"
    assert_same(path, saved(views(), path, **options))


@pytest.mark.parametrize("dtype", PLAIN_DTYPES, ids=str)
def test_dtypes(tmp_path, options, dtype):
    path = tmp_path / "model.pt"
    thing = {"w": zeros((2, 3, 4), dtype)[1:], "scalar": zeros((), dtype), "none": zeros((0, 3), dtype)}
    assert_same(path, saved(thing, path, **options))


@pytest.mark.parametrize(
    "thing", [torch.arange(6.0), [torch.ones(2), (torch.zeros(3), {"a": torch.ones(1)})]], ids=["tensor", "list"]
)
def test_roots_that_are_no_dictionary(tmp_path, options, thing):
    path = tmp_path / "model.pt"
    assert_same(path, saved(thing, path, **options))


def test_parameters(tmp_path, options):
    path = tmp_path / "model.pt"
    weight = torch.nn.Parameter(torch.randn(3, 4))
    tagged = torch.nn.Parameter(torch.randn(2))
    tagged.tag = "note"
    assert_same(
        path,
        saved(collections.OrderedDict(weight=weight, half=weight[1:], tagged=tagged, buffer=torch.ones(2)), path, **options),
    )


def test_sparse(tmp_path, options):
    dense = torch.tensor([[0, 1.5, 0], [2, 0, 0]])
    thing = {
        "coo": dense.to_sparse(),
        "csr": dense.to_sparse_csr(),
        "csc": dense.to_sparse_csc(),
        "bsr": dense[:, :2].to_sparse_bsr((1, 1)),
    }
    path = tmp_path / "model.pt"
    checkpoint = assert_same(path, saved(thing, path, **options))
    ledger = Ledger(checkpoint)
    unused = sum(lost for _, lost in ledger.ownership.waste)  # torch keeps two index tensors on storages twice their size
    assert sum(ledger.nbytes) + unused == checkpoint.sections()["data"]


def test_quantised(tmp_path, options):
    tensor = torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 2, torch.qint8)
    channel = torch.quantize_per_channel(torch.randn(3, 4), torch.ones(3).double(), torch.zeros(3).long(), 0, torch.qint8)
    path = tmp_path / "model.pt"
    checkpoint = assert_same(path, saved({"tensor": tensor, "channel": channel}, path, **options))
    assert sum(Ledger(checkpoint).nbytes) == checkpoint.sections()["data"]


def test_meta_and_nested(tmp_path):
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    path = tmp_path / "model.pt"
    torch.save({"meta": torch.empty(3, 4, device="meta"), "nested": nested}, path)
    import modelscope_cli

    meta, buffer = modelscope_cli.read(str(path)).tensors
    assert (meta.shape, meta.file) == ((3, 4), None)
    assert buffer.numel == 18


def test_tensor_subclass(tmp_path, options):
    path = tmp_path / "model.pt"
    tensor = torch.randn(2, 3).as_subclass(Noted)
    tensor.note = "hello"
    assert_same(path, saved({"w": tensor}, path, **options))


class Noted(torch.Tensor):
    """A subclass with an attribute."""


def test_bare_storage(tmp_path):
    import modelscope_cli

    path = tmp_path / "model.pt"
    torch.save({"storage": torch.ones(3).untyped_storage()}, path)
    checkpoint = modelscope_cli.read(str(path))
    assert len(checkpoint.tensors) == 0
    assert checkpoint.sections()["data"] == 12


def test_checksums_off(tmp_path):
    path = tmp_path / "model.pt"
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        loaded = saved(Tied().state_dict(), path)
    finally:
        torch.serialization.set_crc32_options(before)
    assert_same(path, loaded)


@pytest.mark.parametrize("name", ["model.pt", "no_suffix", "a.b.c.pth.tar", "nested name.bin"])
def test_names_of_files(tmp_path, name):
    path = tmp_path / name
    assert_same(path, saved({"w": torch.ones(2)}, path))


def test_torchscript(tmp_path):
    import modelscope_cli

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.BatchNorm1d(4)).eval()
    path = tmp_path / "model.pt"
    torch.jit.trace(model, torch.ones(2, 3)).save(path)
    checkpoint = modelscope_cli.read(str(path))
    assert checkpoint.format == "torchscript"
    found = {t.name: t.shape for t in checkpoint.tensors}
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}.items() <= found.items()


def test_plain_pickle(tmp_path):
    import pickle

    path = tmp_path / "model.pkl"
    thing = {"w": torch.randn(2, 3), "b": [torch.ones(4)]}
    path.write_bytes(pickle.dumps(thing))
    assert_same(path, thing)


@pytest.mark.parametrize(
    "name", [name for name in SAMPLES if name in ("state_dict.pt", "training.ckpt", "sparse.bin", "legacy.pth")]
)
def test_builders_write_what_torch_reads(tmp_path, name):
    path = tmp_path / name
    data = SAMPLES[name]
    path.write_bytes(data)
    assert_same(path, torch.load(path, weights_only=False))
