"""Keys of configurations behind which stands what a program imports and calls: those of the table, each as its program writes them."""

from __future__ import annotations

import json
from time import process_time

import pytest

from modelscope_cli.analysis.policy import is_standard
from modelscope_cli.analysis.policy_dangers import DANGEROUS_ROWS
from modelscope_cli.core.calling_keys import CALLING_KEYS
from modelscope_cli.core.standard_names import may_be_called
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, in_a_folder, scanned

POPEN = "subprocess.Popen"
PYREF = {"type": "pyref", "module": "subprocess", "name": "Popen"}
SCHEMA = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}
CALLING = {
    "hydra": {"a": {"_target_": POPEN}},
    "torchtune": {"a": {"_component_": POPEN, "args": ["x"]}},
    "LeRobot": {"name": "p", "steps": [{"class": POPEN, "config": {"args": ["x"]}}]},
    "GluonTS": {"__kind__": "instance", "class": POPEN, "args": ["x"]},
    "GluonTS, a function of Python itself": {"__kind__": "instance", "class": "__import__", "args": ["x"]},
    "fiddle": {"objects": {"a": {"type": PYREF, "items": []}}},
    "DeepPavlov": {"chainer": {"pipe": [{"class_name": "subprocess:Popen", "args": ["x"]}]}},
    "skops": {"content": {"a": SCHEMA}},
    "OpenMMLab": {"model": {"type": POPEN, "args": ["x"]}},
    "OpenMMLab, what runs a folder": {"model": {"type": "torch.hub.load", "repo_or_dir": ".", "source": "local"}},
}
UNJUDGED = {
    "torchtune": {"_component_": "torchtune.models.llama3.llama3_8b"},
    "LeRobot": {"steps": [{"class": "shop.Step"}, {"registry_name": "to_batch"}]},
    "GluonTS": {"__kind__": "instance", "class": "gluonts.torch.model.predictor.PyTorchPredictor", "kwargs": {}},
    "fiddle": {"type": "pyref", "module": "nemo.collections.llm", "name": "GPTModel"},
    "DeepPavlov": {"class_name": "shop.models:Net"},
}
NOTHING = {
    "a type": {"model": {"type": "mmdet.FasterRCNN"}, "dtype": {"type": "torch.float32"}, "when": {"type": "datetime.date"}},
    "a type of a metric": {"type": "signal.amplitude", "other": {"type": "test.accuracy"}},
    "steps": {"steps": [{"class": "positive"}, {"class": 3}], "class": POPEN},
    "a class": {"class": POPEN, "name": "Popen", "module": "subprocess", "class_name": POPEN},
    "data of Python": {"type": "pyref", "module": "builtins", "name": "list"},
    "what names its own function": {"__kind__": "instance", "class": "functools.partial", "args": []},
    "a model of scikit-learn": {
        "__class__": "Pipeline",
        "__module__": "sklearn.pipeline",
        "__loader__": "ObjectNode",
        "content": [
            {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode"},
            {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode"},
        ],
    },
    "no modules": {"custom_imports": {"imports": [], "allow_failed_imports": False}},
}


@pytest.mark.parametrize("document", CALLING.values(), ids=CALLING)
def test_names_that_a_program_calls_are_judged(document):
    for blanks in (0, 9 << 20):
        safety = scanned(json.dumps(document).encode() + b" " * blanks, "config.json")
        assert (safety.verdict, codes(safety)) == ("dangerous", {"dangerous-target"})
    assert scanned(zip_bytes([Entry("a/schema.json", json.dumps(document).encode())]), "m.zip").verdict == "dangerous"


@pytest.mark.parametrize("text", [f"a:\n  {key}: {POPEN}\n" for key in ("_component_", "type")] + [f"? type\n: {POPEN}\n"])
def test_the_same_in_yaml(text):
    assert codes(scanned(text.encode(), "config.yaml")) == {"dangerous-target"}


@pytest.mark.parametrize("document", UNJUDGED.values(), ids=UNJUDGED)
def test_names_that_nobody_has_judged_are_told(document):
    assert codes(scanned(json.dumps(document).encode(), "config.json")) == {"unjudged-target"}


@pytest.mark.parametrize("document", NOTHING.values(), ids=NOTHING)
def test_other_things_behind_such_keys_are_nothing(document):
    assert scanned(json.dumps(document).encode(), "config.json").verdict is None
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items() if key in ("type", "model"))
    assert scanned(text.encode(), "config.yaml").verdict is None


def test_a_component_can_be_put_together_from_other_values():
    text = "cls: os.system\na:\n  _component_: ${cls}\n"
    assert codes(scanned(text.encode(), "config.yaml")) == {"dangerous-target", "computed-target"}
    assert "escaped-text" in codes(scanned(b'"_compo\\x6eent_": os.system\n', "config.yaml"))


def test_modules_that_are_imported_by_themselves_are_code(tmp_path):
    document = json.dumps({"custom_imports": {"imports": ["shop_ops"], "allow_failed_imports": False}}).encode()
    assert codes(scanned(document, "config.json")) == {"custom-code"}
    assert codes(scanned(b"custom_imports:\n  imports: [shop_ops]\n", "a.yaml")) == {"custom-code"}
    for text, named in (
        ("a:\n  custom_imports: null\n" + "b: 1\n" * 1_000 + "custom_imports: {imports: [evil-ops]}\nmodel: Net\n", "evil-ops in"),
        ("custom_imports:\n  imports:\n  - a.b\n  - evil_ops\nmodel: Net\n", "a.b, evil_ops in"),
        ("? custom_imports\n: {imports: [evil_ops]}\nmodel: Net\n", "evil_ops in"),
        ('{"custom_imports": {"imports": ["evil_ops"], "allow_failed_imports": false}, "model": "Net"}\n', "evil_ops in"),
    ):
        signs = scanned(text.encode(), "a.yaml").scanned.signs
        assert {(sign.code, f"names {named}" in sign.message) for sign in signs} == {("custom-code", True)}
    assert not codes(scanned(b"a:\n  custom_imports: null\nmodel: Net\n", "a.yaml"))
    dashed = {"custom_imports": {"imports": ["evil-ops"]}, "steps": [{"class": "evil-ops.Step"}]}
    assert codes(scanned(json.dumps(dashed).encode(), "config.json")) == {"custom-code", "unjudged-target"}
    source = b"import os\nos.system('id')\n"
    told = in_a_folder(tmp_path, {"config.json": document, "shop_ops.py": source, "other.py": b"x = 1\n"})
    assert codes(told["shop_ops.py"]) == {"risky-source"}
    packed = zip_bytes([Entry("m/cfg.json", document), Entry("m/shop_ops.py", source)])
    assert codes(scanned(packed, "m.zip")) >= {"custom-code", "risky-source"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: !applyref:os.system\n  - id\n", "dangerous-target"),
        ("%TAG !e! !applyr\n---\na: !e!ef:os.system [id]\n", "dangerous-target"),
        ("a: !include:params.txt\n", "computed-target"),
        ("a: !include:../params.yaml\n", "computed-target"),
        ("a: !include:/tmp/params.yaml\n", "computed-target"),
        ("%TAG !e! !incl\n---\na: !e!ude:params.txt\n", "computed-target"),
        ("a: !include:params.yaml\n", None),
    ],
)
def test_tags_of_hyperpyyaml_that_take_in_or_apply(text, code):
    assert codes(scanned(text.encode(), "hyperparams.yaml")) == ({code} if code else set())


def test_each_row_says_who_calls_and_where_that_is_written():
    assert all(row.key and len(row.source) > 20 for row in CALLING_KEYS)
    assert len({(row.by, row.key) for row in CALLING_KEYS}) == len(CALLING_KEYS)


@pytest.mark.parametrize(
    "name",
    ["subprocess.run", "os.system", "os.path.join", "pydoc.pipepager", "email.mime.text.MIMEText", "_thread.x", "winreg.SetValue", "a.B"],
)
def test_names_of_python(name):
    assert may_be_called(name)


@pytest.mark.parametrize("name", ["signal.amplitude", "test.accuracy", "email.send", "random.forest", "time.seconds", "this.x", "os"])
def test_names_that_only_look_like_python(name):
    assert not may_be_called(name)


def test_what_the_policy_names_is_a_name_of_python():
    rows = [(module.removesuffix(".*"), name) for module, names, _, _ in DANGEROUS_ROWS for name in names.split()]
    exact = [f"{module}.{name}" for module, name in rows if is_standard(module.partition(".")[0]) and name.isidentifier()]
    assert [name for name in exact if not may_be_called(name)] == []


@pytest.mark.parametrize(
    "text",
    ["type: a.b\n" * 300_000, "type: !" * 300_000, "custom_imports: [a.b, c]\n" * 150_000, "x: !include:a.txt\n" * 200_000],
)
def test_long_texts_are_searched_in_time(text):
    start = process_time()
    scanned(text.encode(), "a.yaml")
    scanned(b"[" + b'{"type": "os.f"},' * 200_000 + b"1]", "a.json")
    assert process_time() - start < 8
