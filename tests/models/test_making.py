"""The model behind a file is made from its config.json, without memory, network or code of the file, and held against it."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import suppress

import pytest
import torch
from torch import nn

import modelscope_cli
from modelscope_cli.bridges.models.from_config import COUNTS
from modelscope_cli.bridges.models.making import FAKE, META, REAL, Made, make
from modelscope_cli.bridges.models.recipe import Recipe
from modelscope_cli.bridges.models.running import call
from modelscope_cli.errors import DrawingError, SettingsError
from tests.builders.safetensors_file import safetensors_bytes
from tests.models.networks import FAMILIES, publish, saved

pytestmark = pytest.mark.usefixtures("unconnected", "forgotten")


def made(path, *, on: str = FAKE, **options) -> Made:
    recipe = Recipe(**{key: options.pop(key) for key in ("factory", "inputs", "settings", "trusted") if key in options})
    return make(modelscope_cli.read(str(path)), recipe, on=on, **options)


def refused(path, **options) -> str:
    with pytest.raises(DrawingError) as told:
        made(path, **options)
    said = f"{told.value.message} - {told.value.hint or ''}"
    assert "\n" not in said
    return said


def logits(output) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.logits


# Made from config.json -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model of every family under its name."""
    folder = tmp_path_factory.mktemp("published")
    return {family: publish(family, folder / family) for family in FAMILIES}


@pytest.mark.parametrize("on", [FAKE, META, REAL])
@pytest.mark.parametrize("family", FAMILIES)
def test_published_weights_fit_and_the_model_can_be_called(published, family, on):
    if family == "vit" and on == FAKE:
        pytest.skip("transformers reads a value while it makes one, which fake tensors do not have")
    found = made(published[family], on=on)
    assert found.warnings == ()
    assert type(found.module).__name__ == FAMILIES[family][0]
    assert found.said.startswith(f"{FAMILIES[family][0]}, made by transformers ")
    assert [str(spec) for spec in found.specs] == FAMILIES[family][2]
    assert not found.module.training
    if on != META:  # transformers reads the values of masks, which meta tensors do not have
        output = logits(call(found))
        assert output.grad_fn is not None
        assert output.shape[0] == 1


@pytest.mark.parametrize("family", ["llama", "mixtral", "t5"])
@pytest.mark.parametrize("on", [FAKE, META])
def test_nothing_has_memory(published, family, on):
    found = made(published[family], on=on)
    for tensor in [*found.module.parameters(), *found.args, *found.kwargs.values()]:
        assert (
            tensor.device.type == "meta" or type(tensor).__name__ == "FakeTensor" or type(tensor.data).__name__ == "FakeTensor"
        )


def test_a_file_in_the_current_folder(published, monkeypatch):
    monkeypatch.chdir(published["llama"].parent)
    assert made("model.safetensors").warnings == ()
    assert made(".").warnings == ()


def test_a_model_far_larger_than_memory_is_made_at_once(tmp_path):
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 65_536, "intermediate_size": 262_144,
              "vocab_size": 1_000_000, "num_hidden_layers": 4, "num_attention_heads": 64}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({f"other.{n}.weight": ("F32", (1,)) for n in range(4)}))
    started = time.monotonic()
    found = made(tmp_path / "model.safetensors", force=True)
    assert sum(parameter.numel() for parameter in found.module.parameters()) > 3e11
    assert logits(call(found)).shape == (1, 8, 1_000_000)
    assert time.monotonic() - started < 30


def test_the_usual_inputs_give_way_to_those_asked_for(published):
    found = made(published["llama"], inputs=("input_ids=int64[2,3]<64",))
    assert logits(call(found)).shape == (2, 3, 64)
    assert logits(call(made(published["llama"], inputs=("int64[1,5]",)))).shape == (1, 5, 64)


def test_settings_change_what_config_json_says(published):
    said = refused(published["llama"], settings={"vocab_size": 1_000, "hidden_size": 32})
    assert "model.embed_tokens.weight is 64 × 16 in the file and 1,000 × 32 in the model" in said
    found = made(published["llama"], settings={"intermediate_size": 48}, force=True)
    assert found.module.config.intermediate_size == 48
    assert any("is 32 × 16 in the file and 48 × 16 in the model" in warning for warning in found.warnings)


def test_of_repeated_layers_the_first_are_kept(published):
    found = made(published["mixtral"], first=1)
    assert len(found.module.model.layers) == 1
    assert found.said.endswith(", 1 of 2 in model.layers")
    assert found.warnings == ()  # all weights were held against the whole model
    assert logits(call(found)).shape == (1, 8, 64)
    assert ", " not in made(published["llama"], first=2).said.partition(" from config.json")[2]


def test_a_base_model_lacks_its_head(tmp_path, published):
    model = made(published["gpt2"], on=REAL).module
    path = saved(model.transformer, tmp_path, {**json.loads((published["gpt2"].parent / "config.json").read_text())})
    assert made(path).warnings == ()  # its head is its embedding


def test_a_quantised_file_is_drawn_with_a_warning(tmp_path, published):
    config = json.loads((published["llama"].parent / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "_load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    packed = dict.fromkeys(modelscope_cli.read(str(published["llama"])).tensors.names, ("U8", (8,)))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(packed))
    found = made(tmp_path / "model.safetensors")
    (warning,) = found.warnings
    assert re.fullmatch(r"the file is quantised, so \d+ of its tensors have other names or shapes than those of the model", warning)
    assert logits(call(found)).shape == (1, 8, 64)


def test_a_file_that_says_it_is_quantised_but_fits_is_as_others(tmp_path):
    path = publish(
        "llama", tmp_path, lambda config: config.update(quantization_config={"quant_method": "fp8"}, dtype="bfloat16")
    )
    found = made(path)
    assert found.warnings == ()
    assert {str(parameter.dtype) for parameter in found.module.parameters()} == {"torch.float32"}


# Another model, or none ------------------------------------------------------------------------------------------------


def test_the_config_of_another_model_is_refused_with_what_does_not_fit(tmp_path, published):
    (tmp_path / "config.json").write_bytes((published["llama"].parent / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(published["bert"].read_bytes())
    said = refused(tmp_path / "model.safetensors")
    assert "the weights are not those of this model" in said
    assert "in the model and not in the file: model.embed_tokens.weight" in said
    assert "in the file and not in the model: bert." in said
    assert "--force" in said
    assert "--model" in said
    found = made(tmp_path / "model.safetensors", force=True)
    assert type(found.module).__name__ == "LlamaForCausalLM"
    assert all(warning.startswith("the weights do not all fit the model: ") for warning in found.warnings)


def test_a_few_tensors_that_do_not_fit_are_a_warning(tmp_path, published):
    config = json.loads((published["llama"].parent / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    (tmp_path / "model.safetensors").write_bytes(published["llama"].read_bytes())
    (warning,) = made(tmp_path / "model.safetensors").warnings
    assert "9 tensors are in the model and not in the file: model.layers.2." in warning


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "no_such_model"}, "knows no model_type 'no_such_model'"),
        ({"model_type": "no_such_model", "architectures": ["LlamaForCausalLM"]}, "knows no model_type"),
        ({"model_type": "x" * 10_000}, "knows no model_type"),
        ({"model_type": "<script>\x1b[31m"}, "knows no model_type"),
        ({"architectures": ["LlamaForCausalLM"]}, "names no model_type"),
        ({"model_type": 7}, "names no model_type"),
        ({"model_type": None}, "names no model_type"),
        ({"model_type": "llama", "hidden_size": "many"}, "transformers cannot use the config.json"),
        ({"model_type": "llama", "num_attention_heads": 0}, "transformers cannot"),
        ({"model_type": "llama", "hidden_size": -5}, "transformers cannot"),
        ({"model_type": "llama", "vocab_size": 1 << 80, "num_hidden_layers": 1}, "transformers cannot"),
        ({"model_type": "llama", "rope_scaling": [1, 2]}, "transformers cannot"),
        ({"model_type": "llama", "architectures": ["BertModel"]}, "transformers cannot make BertModel"),
        ({"model_type": "llama", "id2label": 5}, "transformers cannot use the config.json"),
        ({"model_type": "encoder-decoder"}, "transformers cannot"),
    ],
)
def test_a_config_that_makes_no_model(tmp_path, config, said):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({f"{n}.weight": ("F32", (2, 2)) for n in range(40)}))
    found = refused(tmp_path / "model.safetensors")
    assert said in found
    assert "--model package.module:factory" in found
    assert len(found) < 1_000


@pytest.mark.parametrize("architectures", [7, "LlamaForCausalLM", [7, None], {"a": 1}, ["os"], ["PreTrainedModel"], [[]]])
def test_odd_architectures_are_told(tmp_path, architectures):
    config = {"model_type": "llama", "num_hidden_layers": 1, "architectures": architectures}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({f"{n}.weight": ("F32", (2, 2)) for n in range(40)}))
    assert re.match("transformers cannot|the weights are not those of this model", refused(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("part", ["", "text_config", "vision_config"])
def test_more_layers_than_tensors_are_refused_before_anything_is_made(tmp_path, key, part):
    inner = {"model_type": "llama", key: 10**9}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **({part: inner} if part else inner)}))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"a.weight": ("F32", (2, 2))}))
    assert f"1,000,000,000 layers ({key}), but the file holds 1 tensors" in refused(tmp_path / "model.safetensors")


MANY = 10**9
PART = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 8}
ABSURD = {
    "encoder": {"model_type": "encoder-decoder", "encoder": {"model_type": "bert", **PART, "num_hidden_layers": MANY},
                "decoder": {"model_type": "bert", **PART, "num_hidden_layers": 1}},
    "audio_config": {"model_type": "qwen2_audio", "audio_config": {"model_type": "qwen2_audio_encoder", "encoder_layers": MANY}},
    "depths": {"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4], "depths": [MANY]},
    "float": {"model_type": "bert", **PART, "num_hidden_layers": 1e9},
    "bool and text": {"model_type": "bert", **PART, "num_hidden_layers": "1000000000"},
    "inner groups": {"model_type": "albert", **PART, "embedding_size": 4, "inner_group_num": MANY, "num_hidden_layers": 1},
    "experts": {"model_type": "deepseek_v3", **PART, "num_hidden_layers": 1, "n_routed_experts": MANY},
    "convolutions": {"model_type": "speech_to_text", "num_conv_layers": MANY, "encoder_layers": 1, "decoder_layers": 1},
    "labels": {"model_type": "bert", **PART, "num_hidden_layers": 1, "num_labels": MANY},
}  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm here")
@pytest.mark.parametrize("which", ABSURD)
def test_no_number_in_a_config_takes_forever(tmp_path, which):
    def late(*_: object) -> None:
        raise KeyboardInterrupt(f"{which} is still being made")

    (tmp_path / "config.json").write_text(json.dumps(ABSURD[which]))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"a.weight": ("F32", (2, 2))}))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(4)
    try:
        refused(tmp_path / "model.safetensors")
    except KeyboardInterrupt as told:
        pytest.fail(str(told))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_more_layers_in_settings_are_refused_too(published):
    assert "10,000,000 layers (num_hidden_layers)" in refused(published["llama"], settings={"num_hidden_layers": 10_000_000})


def test_weights_alone_are_refused_before_torch_is_asked(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"a.weight": ("F32", (2, 2))}))
    steps: list[str] = []
    with pytest.raises(DrawingError, match=r"no config\.json that says of what model is beside it") as told:
        made(tmp_path / "model.safetensors", step=steps.append)
    assert "--engine diagram needs neither" in told.value.hint
    assert steps == []
    (tmp_path / "config.json").write_text("[]")
    assert "weights alone" in refused(tmp_path / "model.safetensors")


# From a factory --------------------------------------------------------------------------------------------------------


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width=6):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(4, width)\n"
        "        self.norm = nn.BatchNorm1d(width)\n"
        "        self.drop = float(torch.linspace(0, 0.5, 3)[1].item())\n"
        "    def forward(self, x): return self.norm(self.fc(x))\n"
    )
    monkeypatch.chdir(tmp_path)
    shapes = {
        "fc.weight": (6, 4),
        "fc.bias": (6,),
        "norm.weight": (6,),
        "norm.bias": (6,),
        "norm.running_mean": (6,),
        "norm.running_var": (6,),
    }
    (tmp_path / "net.safetensors").write_bytes(safetensors_bytes({name: ("F32", shape) for name, shape in shapes.items()}))
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("on", [META, REAL])
def test_a_factory_of_the_user(nets, on):
    if on == META:
        (nets.parent / "nets.py").write_text((nets.parent / "nets.py").read_text().replace(".item()", ".numel()"))
    found = made(nets, factory="nets.py:Net", inputs=("float32[3,4]",), on=on)
    assert found.said == "Net, made by nets.py:Net"
    assert [warning for warning in found.warnings if "num_batches_tracked" not in warning] == []
    assert call(found).shape == (3, 6)


def test_a_factory_needs_inputs_and_is_held_against_the_file(nets):
    assert "--model needs --input" in refused(nets, factory="nets.py:Net")
    with pytest.raises(SettingsError, match="no description of an input"):
        made(nets, factory="nets.py:Net", inputs=("float32",))
    assert "fc.weight is 6 × 4 in the file and 9 × 4 in the model" in refused(
        nets, factory="nets.py:Net", settings={"width": 9}, inputs=("float32[3,4]",), on=REAL
    )


@pytest.mark.parametrize("spec", ["int8[2]<1000", "uint8[2]<300", "int32[2]<9999999999"])
def test_a_bound_beyond_its_dtype_is_no_crash(nets, spec):
    with pytest.raises((DrawingError, SettingsError)):
        made(nets, factory="nets.py:Net", inputs=(spec,), on=REAL)


def test_a_failing_call_names_the_module_and_the_inputs(nets):
    found = made(nets, factory="nets.py:Net", inputs=("x=float32[3,5]",), on=REAL)
    with pytest.raises(
        DrawingError, match=r"calling Net with --input 'x=float32\[3,5\]' failed in fc \(Linear\) with RuntimeError"
    ):
        call(found)
    found = made(nets, factory="nets.py:Net", inputs=("y=float32[3,4]",), on=REAL)
    with pytest.raises(DrawingError, match=r"failed with TypeError: .*unexpected keyword argument 'y'"):
        call(found)


# Code beside the weights -----------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
Path({canary!r}).write_text("ran")
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

class OwnConfig(PretrainedConfig):
    model_type = "own_model"
    def __init__(self, width=4, **rest):
        self.width = width
        super().__init__(**rest)

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(16, config.width)
        self.fc = nn.Linear(config.width, 2)
        self.post_init()
    def _init_weights(self, module): pass
    def forward(self, input_ids): return self.fc(self.embed(input_ids))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """(weights, canary): a model whose code lies beside it and writes the canary when it runs."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder, canary = tmp_path / "own", tmp_path / "canary"
    config = {
        "model_type": "own_model", "architectures": ["OwnModel"], "width": 4, "vocab_size": 16,
        "auto_map": {"AutoConfig": "own_code.OwnConfig", "AutoModel": "own_code.OwnModel"},
    }  # fmt: skip
    path = saved(nn.ModuleDict({"embed": nn.Embedding(16, 4), "fc": nn.Linear(4, 2)}), folder, config)
    (folder / "own_code.py").write_text(CODE.format(canary=str(canary)))
    return path, canary


def test_code_beside_the_weights_does_not_run(own):
    path, canary = own
    said = refused(path)
    assert "knows no model_type 'own_model'" in said
    assert "runs only with --trust-code" in said
    assert not canary.exists()


def test_code_beside_the_weights_of_a_known_model_does_not_run(own, published):
    path, canary = own
    config = json.loads((published["llama"].parent / "config.json").read_text())
    auto_map = {f"Auto{kind}": "own_code.OwnModel" for kind in ("Model", "ModelForCausalLM", "Tokenizer")}
    for architectures in (["LlamaForCausalLM"], ["OwnForCausalLM"], None):
        changed = config | {"architectures": architectures, "auto_map": auto_map | {"AutoConfig": "own_code.OwnConfig"}}
        (path.parent / "config.json").write_text(json.dumps(changed))
        path.write_bytes(published["llama"].read_bytes())
        assert type(made(path).module).__name__ == ("LlamaModel" if architectures is None else "LlamaForCausalLM")
        assert not canary.exists()


@pytest.mark.parametrize("where", ["{folder}/model.safetensors", "{folder}", "model.safetensors", "."])
def test_code_beside_the_weights_runs_where_it_is_trusted(own, monkeypatch, where):
    path, canary = own
    monkeypatch.chdir(path.parent)
    found = made(where.format(folder=path.parent), trusted=True)
    assert canary.exists()
    assert type(found.module).__name__ == "OwnModel"
    assert found.warnings == ()
    assert call(found).shape == (1, 8, 2)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "detr", "use_timm_backbone": True, "use_pretrained_backbone": True, "backbone": "resnet50"},
        {"model_type": "detr", "use_timm_backbone": False, "use_pretrained_backbone": True, "backbone": "microsoft/resnet-50", "backbone_config": None},
        {"model_type": "llama", "attn_implementation": "kernels-community/flash-attn", "num_hidden_layers": 1},
        {"model_type": "llama", "_attn_implementation": "kernels-community/flash-attn", "num_hidden_layers": 1},
        {"model_type": "llama", "_name_or_path": "https://example.org/model", "num_hidden_layers": 1},
        {"model_type": "own", "auto_map": {"AutoConfig": "someone/else--code.Config"}},
    ],
)  # fmt: skip
def test_nothing_is_fetched(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({f"{n}.weight": ("F32", (2, 2)) for n in range(40)}))
    with suppress(DrawingError):  # the fixture fails the test when anything was tried
        made(tmp_path / "model.safetensors", force=True)
