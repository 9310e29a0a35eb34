"""Quantised weights as torch and transformers make them: the parameters are those of the model before it was quantised."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from torch import nn  # noqa: E402

import modelscope_cli  # noqa: E402
from modelscope_cli.analysis.architecture import read_architecture  # noqa: E402
from modelscope_cli.analysis.findings import find  # noqa: E402
from modelscope_cli.analysis.fit import fit  # noqa: E402
from modelscope_cli.analysis.ledger import Ledger  # noqa: E402
from modelscope_cli.analysis.overview import Overview, inspect, to_report  # noqa: E402
from modelscope_cli.analysis.quantisation_summary import summary  # noqa: E402
from tests.builders.quantised import CONFIG, PARAMETERS, QUANTISED  # noqa: E402


def model():
    sizes = {key: value for key, value in CONFIG.items() if key not in ("architectures", "model_type")}
    with torch.device("meta"):
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))


def empty(tensors) -> dict:
    return {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in tensors.items()}


def fits(ledger: Ledger) -> bool:
    return fit(ledger, {name: tuple(tensor.shape) for name, tensor in model().state_dict().items()}, {}).perfect


def same_facts(overview: Overview, tmp_path) -> None:
    safetensors.save_file(empty(model().state_dict()), tmp_path / "plain.safetensors")
    plain = inspect(modelscope_cli.read(str(tmp_path / "plain.safetensors")))
    told = [
        {fact.key: fact.value for fact in read_architecture(view.ledger, view.tree.outline())} for view in (plain, overview)
    ]
    assert told[0] == told[1]


def bitnet(into, out):
    from transformers.integrations.bitnet import BitLinear

    return BitLinear(into, out, bias=False, device="meta", dtype=torch.bfloat16)


def eetq(into, out):
    from transformers.integrations.eetq import EetqLinear

    return EetqLinear(into, out, torch.int8, bias=False)


def metal(into, out):
    from transformers.integrations.metal_quantization import MetalLinear

    return MetalLinear(into, out, bias=False, dtype=torch.uint32, bits=4, group_size=64)


def higgs(into, out):
    from transformers.integrations.higgs import HiggsLinear

    return HiggsLinear(into, out, num_bits=4, bias=False, dtype=torch.bfloat16, group_size=64)


MODULES = {
    "BitNet": (bitnet, {"quant_method": "bitnet"}),
    "EETQ": (eetq, {"quant_method": "eetq"}),
    "MLX": (metal, {"quant_method": "metal", "bits": 4, "group_size": 64}),
    "HIGGS": (higgs, {"quant_method": "higgs", "bits": 4, "group_size": 64}),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_modules_of_transformers(name, tmp_path):
    make, said = MODULES[name]
    tensors = empty(model().state_dict())
    for path, module in model().named_modules():
        if isinstance(module, nn.Linear) and path != "lm_head":
            try:
                packed = make(module.in_features, module.out_features)
            except (ImportError, TypeError) as problem:  # another transformers
                pytest.skip(str(problem))
            del tensors[f"{path}.weight"]
            tensors |= {f"{path}.{leaf}": tensor for leaf, tensor in empty(packed.state_dict()).items()}
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = modelscope_cli.read(str(tmp_path / "model.safetensors"))
    checkpoint.config = {"quantization_config": said}
    overview = inspect(checkpoint)
    ledger = overview.ledger
    assert ledger.total_parameters() == PARAMETERS
    assert [(share.scheme, share.elements) for share in summary(ledger).shares] == [(name, QUANTISED)]
    assert fits(ledger)
    same_facts(overview, tmp_path)


def test_torch_s_dynamic_quantisation(tmp_path):
    """Each Linear becomes (scale, zero_point, packed weight and bias); the weight is a qint8 tensor."""
    plain = nn.Sequential(nn.Linear(48, 64), nn.LayerNorm(64), nn.Linear(64, 16, bias=False))
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
    torch.save(quantised.state_dict(), tmp_path / "model.pt")
    overview = inspect(modelscope_cli.read(str(tmp_path / "model.pt")))
    ledger = overview.ledger
    assert ledger.total_parameters() == sum(parameter.numel() for parameter in plain.parameters())
    assert {row.label: (row.kind.name, row.kind.detail) for row in overview.tree.rows} == {
        "0": ("quantised Linear", "48 → 64"),
        "1": ("LayerNorm", "64"),
        "2": ("quantised Linear", "64 → 16"),
    }
    assert ledger.by_role()["helper"][0] == 4
    to_report(overview)


class Nibbles(torch.Tensor):
    """A tensor subclass as torchao has them: the shape of the model's tensor outside, two elements a byte inside."""

    @staticmethod
    def __new__(cls, data, scale, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scale.dtype)

    def __init__(self, data, scale, shape):
        self.data_, self.scale = data, scale

    def __tensor_flatten__(self):
        return ["data_", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError


def test_a_pickled_tensor_subclass(tmp_path):
    weight = Nibbles(torch.zeros(64, 24, dtype=torch.uint8), torch.ones(64, 1, dtype=torch.bfloat16), (64, 48))
    torch.save({"fc.weight": weight, "fc.bias": torch.zeros(64)}, tmp_path / "model.pt")
    overview = inspect(modelscope_cli.read(str(tmp_path / "model.pt")))
    ledger = overview.ledger
    assert ledger.total_parameters() == 64 * 48 + 64
    assert ledger.packed[0].bits == 4
    assert overview.tree.rows[0].kind[:2] == ("quantised Linear", "48 → 64")
    assert "partial" not in {finding.code for finding in find(ledger, overview.grouping)}
