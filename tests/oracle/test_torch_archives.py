"""What torch.jit, torch.export and torch.package write is read as torch reads it; old tars that torch reads are read alike."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import modelscope_cli  # noqa: E402
from modelscope_cli.analysis.ledger import Ledger  # noqa: E402
from tests.builders.export_file import export_entries, graph, payload  # noqa: E402
from tests.builders.pickle_code import persistent  # noqa: E402
from tests.builders.script_file import class_text, script_bytes, script_module  # noqa: E402
from tests.builders.tar_file import OldTensor, tar_bytes, torch_tar_entries  # noqa: E402
from tests.builders.torch_code import ordered, tensor  # noqa: E402
from tests.builders.zip_archive import zip_bytes  # noqa: E402
from tests.oracle.compare import strides_of  # noqa: E402


class Net(nn.Module):
    """A submodule used twice, tied weights, buffers of both sorts, a view, a constant of the code."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.again = self.inner
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.body[0].weight
        self.shift = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
        self.register_buffer("turned", torch.arange(12.0).reshape(3, 4).t()[1:])
        self.register_buffer("passing", torch.ones(4), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.tied(self.body(self.again(self.inner(x))))
        return made * self.passing + self.shift + self.turned.sum() + torch.tensor([2.0, 3.0, 4.0, 5.0])


def held_against(path: Path, expected: dict[str, torch.Tensor], *, exactly: bool = True) -> modelscope_cli.Checkpoint:
    """Every tensor of `expected` is listed with its shape, dtype, strides and bytes."""
    checkpoint = modelscope_cli.read(str(path))
    raw = path.read_bytes()
    found = {info.name: info for info in checkpoint.tensors}
    assert (found.keys() == expected.keys()) if exactly else (expected.keys() <= found.keys())
    for name, tensor_ in expected.items():
        info = found[name]
        assert info.shape == tuple(tensor_.shape), name
        assert f"torch.{info.dtype.name}" == str(tensor_.dtype), name
        assert info.strides == strides_of(tensor_), name
        assert info.offset == tensor_.storage_offset() * tensor_.element_size(), name
        assert raw[info.start : info.stop] == bytes(tensor_.untyped_storage().tolist()), name
    assert sum(checkpoint.sections().values()) == len(raw)
    assert "unmapped" not in checkpoint.sections()
    return checkpoint


def roles_against(checkpoint: modelscope_cli.Checkpoint, parameters: set[str]) -> None:
    for info in checkpoint.tensors:
        assert info.role == ("parameter" if info.name in parameters else "buffer"), info.name


# TorchScript


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(tmp_path, how):
    model = Net().eval()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(2, 4))
    path = tmp_path / "net.pt"
    made.save(path)
    loaded = torch.jit.load(path)
    buffers = dict(loaded.named_buffers(remove_duplicate=False))
    checkpoint = held_against(path, {**dict(loaded.named_parameters(remove_duplicate=False)), **buffers}, exactly=False)
    roles_against(checkpoint, set(dict(loaded.named_parameters(remove_duplicate=False))))
    assert Ledger(checkpoint).total_parameters() == sum(p.numel() for p in model.parameters())
    assert checkpoint.modules["body.1"].class_name == "torch.nn.modules.batchnorm.BatchNorm1d"
    assert checkpoint.modules[""].class_name.endswith("Net")


def test_frozen(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    path = tmp_path / "net.pt"
    torch.jit.freeze(torch.jit.script(model)).save(path)
    assert Ledger(modelscope_cli.read(str(path))).total_parameters() == sum(p.numel() for p in model.parameters())


def test_mobile(tmp_path):
    model = Net().eval()
    plain, frozen = tmp_path / "net.ptl", tmp_path / "frozen.ptl"
    scripted = torch.jit.script(model)
    scripted._save_for_lite_interpreter(str(plain))
    torch.jit.freeze(torch.jit.script(nn.Linear(3, 4).eval()))._save_for_lite_interpreter(str(frozen))
    checkpoint = held_against(plain, dict(scripted.state_dict()), exactly=False)
    assert checkpoint.metadata["mobile"]["bytecode_version"] >= 4
    checkpoint = modelscope_cli.read(str(frozen))
    assert Ledger(checkpoint).total_parameters() == 16
    assert len(checkpoint.tensors) == 4  # once in the constants of the code, once in those of the bytecode


def test_a_flatbuffer_is_named(tmp_path):
    path = tmp_path / "net.ptl"
    torch.jit.script(nn.Linear(3, 4))._save_for_lite_interpreter(str(path), _use_flatbuffer=True)
    with pytest.raises(modelscope_cli.ModelscopeError, match="mobile TorchScript module in a flatbuffer"):
        modelscope_cli.read(str(path))


def quantised() -> dict[str, tuple[nn.Module, int]]:
    """Modules whose weights are packed, and how many elements their weights and biases have."""
    from torch.ao import quantization
    from torch.ao.nn import quantized

    plain = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    recurrent = nn.Sequential(nn.LSTM(4, 5))
    return {
        "dynamic": (quantization.quantize_dynamic(plain, {nn.Linear}, torch.qint8), 8 * 6 + 6 + 6 * 4 + 4),
        "float16": (quantization.quantize_dynamic(plain, {nn.Linear}, torch.float16), 8 * 6 + 6 + 6 * 4 + 4),
        "lstm": (quantization.quantize_dynamic(recurrent, {nn.LSTM}, torch.qint8)[0], 20 * 4 + 20 * 5 + 40),
        "linear": (quantized.Linear(3, 5), 20),
        "conv1d": (quantized.Conv1d(3, 5, 3), 50),
        "conv2d": (quantized.Conv2d(3, 5, 3), 140),
        "transposed": (quantized.ConvTranspose2d(3, 5, 3), 140),
        "embedding": (quantized.EmbeddingBag(10, 12, mode="sum"), 120),
    }


@pytest.mark.parametrize("name", ["dynamic", "float16", "lstm", "linear", "conv1d", "conv2d", "transposed", "embedding"])
def test_packed_weights(tmp_path, name):
    model, elements = quantised()[name]
    path = tmp_path / "net.pt"
    torch.jit.script(model).save(path)
    checkpoint = modelscope_cli.read(str(path))
    ledger = Ledger(checkpoint)
    assert ledger.total_parameters() == elements
    assert sum(ledger.nbytes) == checkpoint.sections()["data"]


# torch.export


def exported(model: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(model.eval(), (torch.ones(2, 4),))


def test_export(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(exported(Net()), path, extra_files={"note.txt": "hello"})
    loaded = torch.export.load(path)
    checkpoint = held_against(path, {**loaded.state_dict, **loaded.constants})
    roles_against(checkpoint, {name for name, value in loaded.state_dict.items() if isinstance(value, nn.Parameter)})
    assert Ledger(checkpoint).total_parameters() == sum(p.numel() for p in Net().parameters())
    assert checkpoint.modules["body.1"].class_name == "torch.nn.modules.batchnorm.BatchNorm1d"
    assert checkpoint.metadata["torch_version"] == torch.__version__


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_export_of_torch_2_6(tmp_path, compression):
    from torch._export.serde.schema import SCHEMA_VERSION
    from torch._export.serde.serialize import serialize

    program = exported(Net())
    expected = {**program.state_dict, **program.constants}
    parts = serialize(program)
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("serialized_exported_program.json", parts.exported_program)
        archive.writestr("serialized_state_dict.pt", parts.state_dict)
        archive.writestr("serialized_constants.pt", parts.constants)
        archive.writestr("serialized_example_inputs.pt", parts.example_inputs)
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
    checkpoint = modelscope_cli.read(str(path))
    assert {info.name: info.shape for info in checkpoint.tensors} == {name: tuple(t.shape) for name, t in expected.items()}
    assert Ledger(checkpoint).total_parameters() == sum(p.numel() for p in Net().parameters())
    if compression == zipfile.ZIP_STORED:
        held_against(path, {**torch.load(io.BytesIO(parts.state_dict)), **torch.load(io.BytesIO(parts.constants))})


def test_export_of_torch_2_7(tmp_path):
    from torch._export.serde.serialize import serialize
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    parts = serialize(exported(Net()))
    path = tmp_path / "net.pt2"
    with PT2ArchiveWriter(str(path)) as archive:
        archive.write_bytes("models/model.json", parts.exported_program)
        archive.write_bytes("data/weights/model.pt", parts.state_dict)
        archive.write_bytes("data/constants/model.pt", parts.constants)
        archive.write_bytes("data/sample_inputs/model.pt", parts.example_inputs)
    loaded = torch.export.load(path)
    checkpoint = held_against(path, {**torch.load(io.BytesIO(parts.state_dict)), **torch.load(io.BytesIO(parts.constants))})
    assert {info.name for info in checkpoint.tensors} == {*loaded.state_dict, *loaded.constants}


def test_builders_write_what_torch_export_calls_a_package(tmp_path):
    from torch.export.pt2_archive._package import is_pt2_package

    data = zip_bytes(export_entries({"w": payload("weight_0", (2,), (1,))}, {"weights/weight_0": bytes(8)}, text=graph()))
    path = tmp_path / "net.pt2"
    path.write_bytes(data)
    assert is_pt2_package(str(path))


# torch.package


def test_package(tmp_path):
    from torch.package import PackageExporter, PackageImporter

    path = tmp_path / "net.pt"
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with PackageExporter(str(path)) as archive:
        archive.extern("torch.**")
        archive.save_pickle("model", "model.pkl", model)
        archive.save_text("notes", "a.txt", "hello")
        archive.save_source_string("shop", "import torch\n")
    loaded = PackageImporter(str(path)).load_pickle("model", "model.pkl")
    checkpoint = held_against(path, loaded.state_dict())
    roles_against(checkpoint, set(dict(loaded.named_parameters())))
    assert checkpoint.metadata["package"]["intern"] == ["shop"]
    assert checkpoint.metadata["package"]["files"] == ["notes/a.txt"]


def test_package_with_torchscript(tmp_path, monkeypatch):
    from torch.package import PackageExporter, PackageImporter, package_exporter

    monkeypatch.setattr(package_exporter, "_gate_torchscript_serialization", False)
    path = tmp_path / "net.pt"
    with PackageExporter(str(path)) as archive:
        archive.extern("torch.**")
        archive.save_pickle("model", "one.pkl", torch.jit.script(Net().eval()))
        archive.save_pickle("model", "two.pkl", {"net": torch.jit.script(nn.Linear(3, 4)), "t": torch.ones(2)})
    loaded = PackageImporter(str(path))
    first, second = loaded.load_pickle("model", "one.pkl"), loaded.load_pickle("model", "two.pkl")
    expected = {f"model.one.{name}": value for name, value in first.state_dict().items()}
    expected |= {f"model.two.net.{name}": value for name, value in second["net"].state_dict().items()}
    checkpoint = held_against(path, {**expected, "model.two.t": second["t"]}, exactly=False)
    assert checkpoint.modules["model.one.inner"].class_name == "torch.nn.modules.linear.Linear"


def test_package_with_a_graph_module(tmp_path):
    from torch.package import PackageExporter, PackageImporter

    path = tmp_path / "net.pt"
    with PackageExporter(str(path)) as archive:
        archive.extern("**")
        archive.save_pickle("model", "fx.pkl", torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU())))
    loaded = PackageImporter(str(path)).load_pickle("model", "fx.pkl")
    roles_against(held_against(path, loaded.state_dict()), set(dict(loaded.named_parameters())))


# The builders, and what they write that torch still reads


def test_builders_write_what_torch_jit_reads(tmp_path):
    root = script_module("Net", {"weight": tensor("0", (2, 3)), "scale": tensor("1", (2,), "LongStorage")})
    code = {"": class_text("Net", ["weight"], ["scale"], "weight : Tensor", "scale : Tensor", "training : bool")}
    path = tmp_path / "net.pt"
    path.write_bytes(script_bytes(root, {"0": bytes(range(24)), "1": bytes(16)}, code))
    loaded = torch.jit.load(path)
    roles_against(held_against(path, loaded.state_dict()), {name for name, _ in loaded.named_parameters()})


def test_old_tars(tmp_path):
    storages = {1: ("FloatStorage", 6, bytes(range(24))), 4: ("LongStorage", 2, bytes(range(16)))}
    tensors = {
        11: OldTensor(1, (2, 3), (3, 1)),
        12: OldTensor(1, (2,), (3,), 1),
        13: OldTensor(2, (2,), (1,)),
        14: OldTensor(4, (2,), (1,), cls="torch.LongTensor"),
    }
    root = ordered({"a": persistent("11"), "b": {"c": [persistent("12")]}, "tail": persistent("13"), "n": persistent("14")})
    path = tmp_path / "net.pth.tar"
    path.write_bytes(tar_bytes(torch_tar_entries(root, storages, tensors, [(2, 1, 4, 2)])))
    loaded = torch.load(path, weights_only=False)
    checkpoint = modelscope_cli.read(str(path))
    found = {info.name: info for info in checkpoint.tensors}
    expected = {"a": loaded["a"], "b.c.0": loaded["b"]["c"][0], "tail": loaded["tail"], "n": loaded["n"]}
    raw = path.read_bytes()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        info = found[name]
        assert (info.shape, f"torch.{info.dtype.name}", info.strides) == (
            tuple(value.shape),
            str(value.dtype),
            strides_of(value),
        )
        first = raw[info.start + info.offset :][: value.element_size()]
        assert first == bytes(value.flatten()[0].reshape(1).view(torch.uint8).tolist()), name
