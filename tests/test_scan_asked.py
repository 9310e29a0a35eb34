"""Python that a library imports because a configuration names it, each as the library resolves the name.

transformers 5.23, diffusers 0.42.1 and sentence-transformers 6.2 were made to run such files by trust_remote_code=True, PEFT 0.18.1
without.
"""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.policy import gravest
from tests.builders.archives import tarred, zipped
from tests.builders.samples import SAMPLES
from tests.scanned import codes, in_a_folder, scanned

PLAIN = b"import torch\n"
RISKY = b"import os\nos.system('id')\n"
WEIGHTS = SAMPLES["plain.safetensors"]
Files = dict[str, bytes]

PICTURES = b"""import base64, requests, urllib.request
from base64 import b64decode
class EndpointHandler:
    def __call__(self, data):
        return base64.b64decode(data["image"]), requests.get(data["url"])
"""


def text(document: object) -> bytes:
    return json.dumps(document).encode()


def modules(kind: str, path: str = "") -> bytes:
    return text([{"idx": 0, "name": "0", "path": path, "type": kind}])


def mlmodel(function: str) -> bytes:
    lines = "".join(f"    {line}\n" for line in function.splitlines())
    return f"artifact_path: model\nflavors:\n  python_function:\n{lines}    env:\n      conda: conda.yaml\nmlflow_version: 2.14.0\n".encode()


def adapter(library: str, **others: object) -> bytes:
    mapping = {"base_model_class": "Net", "parent_library": library}
    return text({"peft_type": "LORA", "auto_mapping": mapping, "task_type": None, "megatron_core": "megatron.core", **others})


GENERATE = {"config.json": b'{"model_type": "llama"}', "custom_generate/generate.py": RISKY, "model.safetensors": WEIGHTS}
PIPELINE = {
    "model_index.json": text({"_class_name": ["my_pipeline", "MyPipeline"], "unet": ["my_unet", "Net"], "vae": ["diffusers", "AutoencoderKL"]}),
    "my_pipeline.py": PLAIN,
    "unet/my_unet.py": RISKY,
    "unet/model.safetensors": WEIGHTS,
}
COMPONENT = {"model_index.json": text({"_class_name": "FluxPipeline", "unet": ["diffusers", "UNet"]}), "unet/model.safetensors": WEIGHTS}
ROUTER = text({"types": {"q": "modeling_x.X"}, "structure": {"query": ["q"]}})
DENSE = "sentence_transformers.models.Dense"
# By name: the files, the findings on those that have any, where the file itself is scanned.
ASKING: dict[str, tuple[Files, dict[str, set[str]]]] = {
    "a model's own generate": (GENERATE, {"custom_generate/generate.py": {"risky-source"}}),
    "a model's own generate, plain": (
        {**GENERATE, "custom_generate/generate.py": PLAIN, "custom_generate/helper.py": RISKY},
        {"custom_generate/generate.py": {"loaded-source"}, "custom_generate/helper.py": {"loaded-source"}},
    ),
    "a pipeline of diffusers": (
        PIPELINE,
        {"model_index.json": {"custom-code"}, "my_pipeline.py": {"loaded-source"}, "unet/my_unet.py": {"risky-source"}},
    ),
    "a component with the name of a library": (
        {**COMPONENT, "unet/diffusers.py": RISKY},
        {"model_index.json": {"custom-code"}, "unet/diffusers.py": {"risky-source"}},
    ),
    "the pipeline of nobody": ({**COMPONENT, "None.py": RISKY}, {"model_index.json": {"custom-code"}, "None.py": {"risky-source"}}),
    "a component of a package": (
        {"model_index.json": text({"_class_name": "P", "unet": ["shop.nets", "Net"]})},
        {"model_index.json": {"custom-code"}},
    ),
    "a part of a modular pipeline": (
        {"modular_model_index.json": text({"unet": [None, None, {"type_hint": ["my_unet", "Net"]}]}), "unet/my_unet.py": RISKY},
        {"modular_model_index.json": {"custom-code"}, "unet/my_unet.py": {"risky-source"}},
    ),
    "a module of sentence-transformers": (
        {"modules.json": modules("modeling_x.X"), "modeling_x.py": RISKY},
        {"modules.json": {"custom-code"}, "modeling_x.py": {"risky-source"}},
    ),
    "a router": ({"router_config.json": ROUTER, "modeling_x.py": RISKY}, {"router_config.json": {"custom-code"}, "modeling_x.py": {"risky-source"}}),
    "a router below": (
        {"modules.json": modules("sentence_transformers.models.Router", "1_Router"), "1_Router/router_config.json": ROUTER, "modeling_x.py": RISKY},
        {"1_Router/router_config.json": {"custom-code"}, "modeling_x.py": {"risky-source"}},
    ),
    "a router of before": (
        {"modules.json": modules("sentence_transformers.models.Asym", "1_Asym"), "1_Asym/config.json": ROUTER, "modeling_x.py": PLAIN},
        {"1_Asym/config.json": {"custom-code"}, "modeling_x.py": {"loaded-source"}},
    ),
    "an activation function": (
        {"modules.json": modules(DENSE, "2_Dense"), "2_Dense/config.json": text({"activation_function": "webbrowser.get"})},
        {"2_Dense/config.json": {"dangerous-target"}},
    ),
    "an activation function of torch that loads": (
        {"config.json": text({"sbert_ce_default_activation_function": "torch.hub.load"})},
        {"config.json": {"dangerous-target"}},
    ),
    "an activation function of the model": (
        {"config.json": text({"sentence_transformers": {"activation_fn": "acts.Swish"}}), "acts.py": RISKY},
        {"config.json": {"custom-code"}, "acts.py": {"risky-source"}},
    ),
    "a tokenizer": ({"wordembedding_config.json": text({"tokenizer_class": "tok.T"})}, {"wordembedding_config.json": {"custom-code"}}),
    "a function of sentence-transformers": ({"modules.json": modules("sentence_transformers.base.model.torch")}, {"modules.json": {"custom-code"}}),
    "a module of mlflow": (
        {"MLmodel": mlmodel("loader_module: my_loader\ncode: code"), "code/my_loader.py": RISKY, "code/shop/nets.py": PLAIN},
        {"MLmodel": {"custom-code"}, "code/my_loader.py": {"risky-source"}, "code/shop/nets.py": {"loaded-source"}},
    ),
    "code of mlflow": (
        {"MLmodel": mlmodel("loader_module: mlflow.sklearn\ncode: code"), "code/shop/nets.py": RISKY},
        {"MLmodel": {"custom-code"}, "code/shop/nets.py": {"loaded-source"}},
    ),
    "code of mlflow in one line": (
        {"MLmodel": b'{"flavors": {"python_function":{"loader_module":"mlflow.sklearn","co\\u0064e":"my code"}}}', "a/x.py": PLAIN},
        {"MLmodel": {"custom-code"}, "a/x.py": {"loaded-source"}},
    ),
    "a source of mlflow": (
        {"MLmodel": mlmodel("loader_module: mlflow.pyfunc.model\nmodel_code_path: /home/me/agent.py"), "agent.py": RISKY},
        {"MLmodel": {"custom-code"}, "agent.py": {"risky-source"}},
    ),
    "a tokenizer as a list": (
        {"tokenizer_config.json": text({"auto_map": ["tok_x.Tok", None]}), "tok_x.py": RISKY},
        {"tokenizer_config.json": {"custom-code"}, "tok_x.py": {"risky-source"}},
    ),
    "a tokenizer as a text": (
        {"tokenizer_config.json": text({"auto_map": "tok_x.Tok"}), "tok_x.py": PLAIN},
        {"tokenizer_config.json": {"custom-code"}, "tok_x.py": {"loaded-source"}},
    ),
    "a configuration for a version": (
        {
            "config.json": text({"model_type": "llama", "configuration_files": ["config.4.0.0.json", 1, "../config.5.json"]}),
            "config.4.0.0.json": text({"auto_map": {"AutoConfig": "configuration_x.C"}}),
            "configuration_x.py": RISKY,
        },
        {"config.4.0.0.json": {"custom-code"}, "configuration_x.py": {"risky-source"}},
    ),
    "a library of PEFT": (
        {"adapter_config.json": adapter("shop_nets"), "shop_nets.py": RISKY},
        {"adapter_config.json": {"custom-code"}, "shop_nets.py": {"risky-source"}},
    ),
    "a package of PEFT": (
        {"adapter_config.json": adapter("shop.nets"), "shop/__init__.py": PLAIN, "shop/nets.py": RISKY},
        {"adapter_config.json": {"custom-code"}, "shop/__init__.py": {"loaded-source"}, "shop/nets.py": {"risky-source"}},
    ),
    "a megatron of another name": (
        {"adapter_config.json": adapter("transformers.models.llama", megatron_core="shop_core", megatron_config={"a": 1}), "shop_core.py": RISKY},
        {"adapter_config.json": {"custom-code"}, "shop_core.py": {"risky-source"}},
    ),
    "a megatron beside it": (
        {"adapter_config.json": adapter("transformers", megatron_core="megatron.core", megatron_config={"a": 1}), "megatron/core.py": RISKY},
        {"megatron/core.py": {"risky-source"}},
    ),
    "a library of PEFT that is not installed": (
        {"adapter_config.json": adapter("lerobot.nets"), "lerobot/nets.py": RISKY},
        {"lerobot/nets.py": {"risky-source"}},
    ),
    "a library of sentence-transformers that is not installed": (
        {"modules.json": modules("pylate.nets.Net"), "pylate/nets.py": RISKY},
        {"pylate/nets.py": {"risky-source"}},
    ),
    "a library of diffusers that is not installed": (
        {"model_index.json": text({"_class_name": "P", "unet": ["optimum.nets", "Net"]}), "optimum/nets.py": RISKY},
        {"model_index.json": {"custom-code"}, "optimum/nets.py": {"risky-source"}},
    ),
    "a package for diffusers": (
        {"model_index.json": text({"_class_name": "P", "unet": ["shop", "Net"]}), "shop/__init__.py": RISKY},
        {"model_index.json": {"custom-code"}, "shop/__init__.py": {"risky-source"}},
    ),
    "a file for mlx-lm": (
        {"config.json": text({"model_type": "x", "model_file": "arch.py"}), "arch.py": RISKY, "helper.py": PLAIN},
        {"config.json": {"custom-code"}, "arch.py": {"risky-source"}, "helper.py": {"loaded-source"}},
    ),
    "what SageMaker imports": (
        {"model.safetensors": WEIGHTS, "code/inference.py": RISKY, "code/helper.py": PLAIN},
        {"code/inference.py": {"risky-source"}, "code/helper.py": {"loaded-source"}},
    ),
    "a handler of an endpoint": (
        {"model.safetensors": WEIGHTS, "handler.py": b"class EndpointHandler:\n    pass\n"},
        {"handler.py": {"loaded-source"}},
    ),
    "a handler of pictures": (
        {"handler.py": PICTURES, "code/inference.py": PICTURES, "1/model.py": PICTURES + b"eval(data)\n"},
        {"handler.py": {"loaded-source"}, "code/inference.py": {"loaded-source"}, "1/model.py": {"risky-source"}},
    ),
    "a pipeline of an endpoint": ({"pipeline.py": RISKY + b"class PreTrainedPipeline():\n    pass\n"}, {"pipeline.py": {"risky-source"}}),
    "a handler beside a configuration": (
        {"config.json": text({"model_type": "bert"}), "handler.py": RISKY, "train.py": PLAIN},
        {"handler.py": {"risky-source"}, "train.py": {"loaded-source"}},
    ),
    "a model of Triton": ({"config.pbtxt": b'backend: "python"\n', "12/model.py": RISKY}, {"12/model.py": {"risky-source"}}),
    "a workflow of TorchServe": (
        {"WAR-INF/MANIFEST.json": text({"workflow": {"handler": "steps.py"}}), "steps.py": RISKY},
        {"steps.py": {"risky-source"}},
    ),
    "a model and a workflow of TorchServe": (
        {
            "MAR-INF/MANIFEST.json": text({"model": {"handler": "steps.py"}}),
            "WAR-INF/MANIFEST.json": text({"workflow": {"specFile": "w.yaml"}}),
            "steps.py": RISKY,
        },
        {"steps.py": {"risky-source"}},
    ),
    "a handler in a folder with a manifest of its own": (
        {
            "MAR-INF/MANIFEST.json": text({"model": {"handler": "sub.handler"}}),
            "sub/MAR-INF/MANIFEST.json": text({"model": {"handler": "base_handler"}}),
            "sub/handler.py": RISKY,
        },
        {"sub/handler.py": {"risky-source"}},
    ),
    "an unpickler of mlflow": ({"data/pickle_module_info.txt": b"my_pickle\n"}, {"data/pickle_module_info.txt": {"custom-code"}}),
}
HONEST: dict[str, Files] = {
    "activation functions": {
        f"{number}/config.json": text({"in_features": 8, "activation_function": name})
        for number, name in enumerate(
            ("torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity", "torch.nn.Identity", "torch.nn.GELU", "gelu_new")
        )
    },
    "a cross encoder": {
        "config.json": text({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}),
        "config_sentence_transformers.json": text({"activation_fn": "torch.nn.modules.linear.Identity"}),
        "train.py": RISKY,
    },
    "modules": {
        "modules.json": modules("sentence_transformers.sentence_transformer.modules.Pooling", "1_Pooling"),
        "router_config.json": text({"types": {"q": "sentence_transformers.models.Transformer"}}),
        "wordembedding_config.json": text({"tokenizer_class": "sentence_transformers.models.tokenizer.WhitespaceTokenizer.WhitespaceTokenizer"}),
        "1_Pooling/config.json": text({"word_embedding_dimension": 384}),
        "train.py": RISKY,
    },
    "a pipeline": {
        "model_index.json": text(
            {
                "_class_name": "StableDiffusionPipeline",
                "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
                "feature_extractor": [None, None],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "requires_safety_checker": True,
            }
        ),
        "unet/config.json": text({"_class_name": "UNet2DConditionModel"}),
        "unet/convert.py": RISKY,
        "train.py": RISKY,
    },
    "adapters": {
        **{f"{number}/adapter_config.json": adapter(name) for number, name in enumerate(("transformers.models.llama.modeling_llama", "__main__"))},
        "adapter_config.json": text({"peft_type": "LORA", "auto_mapping": None, "megatron_core": "megatron.core", "megatron_config": None}),
        "train.py": RISKY,
    },
    "files of the same names": {
        "config.json": text({"model_file": "model.gguf"}),
        "handler.py": RISKY,
        "model.py": RISKY,
        "inference.py": RISKY,
        "a/generate.py": RISKY,
    },
    "other configurations": {
        "config.json": text({"configuration_files": ["config.4.0.0.json"], "auto_map": {}}),
        "tokenizer_config.json": text({"auto_map": [None, None]}),
        "train.py": RISKY,
    },
    "mlflow": {
        "MLmodel": mlmodel("loader_module: mlflow.pytorch\ncode: null\ndata: data\nsignature: '[{\"name\": \"code\", \"type\": \"string\"}]'"),
        "data/pickle_module_info.txt": b"mlflow.pytorch.pickle_module",
        "train.py": RISKY,
    },
}


@pytest.mark.parametrize(("files", "told"), ASKING.values(), ids=ASKING)
def test_code_that_a_configuration_names(tmp_path, files, told):
    found = {name: codes(safety) for name, safety in in_a_folder(tmp_path, files).items()}
    assert {name: each for name, each in found.items() if each} == told


@pytest.mark.parametrize(("files", "told"), ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("folder", ["", "m/"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_the_same_in_an_archive(files, told, folder, pack):
    safety = scanned(pack({f"{folder}{name}": data for name, data in files.items()}), "m.bin")
    found: dict[str, set[str]] = {}
    for one in safety.found:
        found.setdefault(one.where.removeprefix(folder), set()).add(one.code)
    told = {name: each for name, each in told.items() if name.endswith(".py") or name in found}  # files that are there tell of themselves
    assert found == told
    assert safety.verdict in ("unknown", "suspicious", "dangerous")


@pytest.mark.parametrize("files", HONEST.values(), ids=HONEST)
def test_what_libraries_bring_themselves_is_no_code_of_the_model(tmp_path, files):
    assert gravest(safety.verdict or "safe" for safety in in_a_folder(tmp_path, files).values()) == "safe"
    packed = scanned(zipped({**{f"m/{name}": data for name, data in files.items()}, "m/a.safetensors": WEIGHTS}), "m.zip")
    assert (packed.verdict, codes(packed)) == ("safe", set())


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        (GENERATE, "custom_generate/generate.py", "trust_remote_code=True"),
        (PIPELINE, "model_index.json", "trust_remote_code=True"),
        (PIPELINE, "unet/my_unet.py", "trust_remote_code=True"),
        (ASKING["a router"][0], "router_config.json", "trust_remote_code=True"),
        (ASKING["an activation function"][0], "2_Dense/config.json", "trust_remote_code=True"),
        (ASKING["a module of mlflow"][0], "MLmodel", "without asking"),
        (ASKING["a module of mlflow"][0], "code/my_loader.py", "without asking"),
    ],
)
def test_the_evidence_says_what_permission_is_asked_for(tmp_path, files, name, said):
    (found,) = in_a_folder(tmp_path, files)[name].found
    assert said in str(found.message)


def test_a_configuration_with_very_many_names_is_suspicious():
    many = text([{"type": f"a{number}.X"} for number in range(1_001)])
    assert codes(scanned(many, "modules.json")) == {"custom-code", "too-many-names"}
    pipeline = text({f"a{number}": ["transformers", "X"] for number in range(1_001)})
    assert codes(scanned(pipeline, "model_index.json")) == {"too-many-names"}


def test_paths_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "evil.py").write_bytes(RISKY)
    (tmp_path / "m").mkdir()
    index = text({"_class_name": "P", "a/../..": ["evil", "X"], "..": ["evil", "X"], "vae": [str(tmp_path / "evil"), "X"]})
    assert codes(in_a_folder(tmp_path / "m", {"model_index.json": index})["model_index.json"]) == set()


BLANKS = b" " * (2 << 20)
LAMBDA = b'{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {}}}}'


@pytest.mark.parametrize(
    ("name", "document", "code"),
    [
        ("config.json", LAMBDA.replace(b'"class_name":', b'"class_name"' + BLANKS + b":"), "keras-lambda"),
        ("config.json", LAMBDA.replace(b'"class_name":', b'"class_name":' + BLANKS), "keras-lambda"),
        ("config.json", b'{"auto_map"' + BLANKS + b':{"AutoModel": "modeling_x.X"}}', "custom-code"),
        ("modules.json", modules("modeling_x.X"), "custom-code"),
        ("router_config.json", ROUTER, "custom-code"),
        ("model_index.json", PIPELINE["model_index.json"], "custom-code"),
        ("config.json", text({"activation_function": "webbrowser.get"}), "dangerous-target"),
    ],
)
def test_blanks_in_json_hide_nothing(name, document, code):
    assert codes(scanned(document + BLANKS * 5, name)) == {code}


def test_large_manifests_are_read():
    files = {"MAR-INF/MANIFEST.json": text({"model": {"handler": "h.py"}}) + BLANKS * 5, "h.py": RISKY}
    assert codes(scanned(zipped(files), "m.mar")) == {"risky-source"}


def test_large_json_of_very_many_values_is_not_taken_apart():
    safety = scanned(b'["auto_map",' + b"[]," * 3_000_000 + b"0]", "x.json")
    assert safety.verdict == "unknown"
    assert "--limit objects=N" in str(safety.why)
