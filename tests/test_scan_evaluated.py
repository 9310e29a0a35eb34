"""Texts in files that the programs which read them evaluate as Python: told wherever they stand, and no honest text with them."""

from __future__ import annotations

import base64
import itertools
import json
import re
import sys
import unicodedata
from time import process_time

import pytest

from modelscope_cli.formats.evaluated_hints import COMPATIBLE, may_be_evaluated
from modelscope_cli.formats.evaluated_words import COMPATIBLE_LETTER, calls_in
from tests.builders.foreign import part
from tests.builders.graph_file import onnx_model
from tests.builders.pickle_code import pickled
from tests.builders.script_file import script_bytes, script_module
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, in_a_folder, scanned

RUNS = "__import__('os').system('id')"
EXPRESSIONS = [
    RUNS,
    f"{RUNS} or {{0: 'person'}}",
    "[(512,10,5)] + [(512,3,2)] * eval('4')",
    "list(map(exec, ['import os']))",
    "[eval][0]('x y')",
    "lambda x: os.system('a b')",
    "torch.serialization.os.popen('id')",
    "getattr(__import__('o' + 's'), 'sys' + 'tem')('id')",
    "().__class__.__base__.__subclasses__()[84]()",
    "torch.hub.load('a/b', 'c', trust_repo=True)",
    "globals()['a'](1)",
    "\uff45val('id')",
    "\N{MATHEMATICAL BOLD SMALL E}xec ('id')",
    "f'{ __import__ ('os') . system ('touch x') }'",
    "(__import__('os')  # a comment\n.system('id'))",
    "subprocess.Popen(['touch', 'x'])",
    "importlib.import_module('a.b')",
    f"{RUNS} if int else''",
    f"lambda x={RUNS}: x",
    "__import__('os')\\\r\n.system('id')",
    f"gA if 0 else {RUNS}",
    "eval(" + "0 or " * 60 + "'1')",
    "print.__self__.eval('1 + 1')",
    "vars((__builtins__))['eval']('1')",
    "getattr(0 or __builtins__, 'ev' + 'al')('1')",
    "eval(*['1'])",
    "eval(-0 or '1')",
]
HONEST = [
    "eval(", "exec(", "__import__", "__import__('", "eval(source)", "open(path)", "nn.SiLU()", "torch.nn.LeakyReLU(0.1)", "model.eval()",
    "Use os.system('id') to list users.", "Never call eval('x')!", "python -c \"import os; os.system('id')\"", "re.compile('a.*b')",
    "{0: 'person', 1: 'eval(x)'}", "os.path.join('a', 'b')", "torch.device('cuda')", "(train, eval)", "[640, 640]", "platform.system()",
    "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", "{% if m.eval('x') %}", "`exec('x')`", "${eval:'1 + 2'}", "What does open('x') do?",
]  # fmt: skip


def config(value: object, key: str = "activation") -> bytes:
    return json.dumps({"hidden": 4, "inner": [{key: value}]}).encode()


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_that_reaches_for_something_is_suspicious_in_every_kind_of_file(text):
    files = {
        "config.json": config(text),
        "model.onnx": onnx_model() + part(14, part(1, b"author") + part(2, text.encode())),
        "model.pt": torch_zip_bytes({"meta": {"note": text}}),
        "old.pt": legacy_bytes({"meta": {"note": text}}),
        "model.ts": script_bytes(
            script_module("M", {}), code={"": "class M(Module):\n  pass\n"}, records={"extra/config.txt": config(text)}
        ),
        "model.yaml": f"a:\n- b: {json.dumps(text, ensure_ascii=False)}\n".encode(),
    }
    for name, data in files.items():
        safety = scanned(data, name)
        assert (name, safety.verdict, "evaluated-text" in codes(safety)) == (name, "suspicious", True)


@pytest.mark.parametrize("text", HONEST)
def test_words_tokens_literals_and_plain_calls_are_no_such_text(text):
    assert not calls_in(text)
    assert "evaluated-text" not in codes(scanned(config(text), "config.json"))
    assert scanned(torch_zip_bytes({"meta": {"note": text, "prompt": f"{text}\n{text}"}})).verdict == "safe"
    assert not codes(scanned(f"a: {json.dumps(text)}\nb: [{json.dumps(text)}]\n".encode(), "model.yaml"))


def test_every_letter_that_python_takes_for_one_of_ascii_leads_on_to_a_look():
    words = set("abcdefghiklmnoprstuvxy_CDLP")
    for number in range(128, sys.maxunicode):
        letter = chr(number)
        plain = "" if 0xD800 <= number < 0xE000 else unicodedata.normalize("NFKC", letter)
        if plain.isascii() and plain and set(plain) <= words and letter.isidentifier():
            assert COMPATIBLE_LETTER.search(letter), hex(number)
            assert re.search(COMPATIBLE, letter.encode()), hex(number)


@pytest.mark.parametrize(
    "text",
    [
        f"a = {RUNS}\nmodel = dict(type='X')\n",
        "from os import system\nmodel = system('id')\n",
        f"type X = int\n{RUNS}",
        "import subprocess as s\nmodel = s.run(['a'])\n",
        "import os\nmodel = dict(a=os.popen('id b'))",
    ],
)
def test_a_program_in_a_checkpoint_that_reaches_for_something_is_suspicious(text):
    for meta in (
        {"meta": {"cfg": text}},
        {"message_hub": {"runtime_info": {"cfg": text}}},
        {"meta": {"config": text.encode()}},
    ):
        assert codes(scanned(torch_zip_bytes(meta))) == {"evaluated-text"}


def test_the_configuration_in_a_checkpoint_of_openmmlab_is_safe():
    text = (
        "default_scope = 'mmdet'\ncustom_imports = dict(imports=['mmdet.models'], allow_failed_imports=False)\n"
        "model = dict(type='YOLO', backbone=dict(init_cfg=dict(checkpoint='open-mmlab://resnet50', type='Pretrained')))\n"
        "lang_model_name = 'bert'\nlr = 0.1 * (1 + 2)\nevaluation = dict(interval=1, metric=['bbox', 'eval'])\nwork_dir = './out'\n"
    )
    assert scanned(torch_zip_bytes({"meta": {"cfg": text, "seed": 1}})).verdict == "safe"


def test_python_that_torchscript_shows_where_it_fails_is_not_run():
    source = pickled((("    return importlib.import_module('torch.a').b()",),))
    data = script_bytes(
        script_module("M", {}), code={"": "class M(Module):\n  pass\n"}, records={"code/__torch__/m.py.debug_pkl": source}
    )
    assert scanned(data).verdict == "safe"


def test_letters_behind_escapes_of_the_oldest_pickles_are_read():
    assert may_be_evaluated(b"(dp0\nVcfg\np1\nV\\u005f_import__\\u0028'os').system\\u0028'id')\np2\ns.")
    assert (
        codes(
            scanned(
                b"(dp0\nVcfg\np1\nV\\u005f_import__\\u0028'os').system\\u0028'id')\np2\nsg0\n0" + b"\x80\x02." + b"", "m.pkl"
            )
        )
        is not None
    )
    assert "evaluated-text" in codes(
        scanned(b"\x80\x02(dp0\nVcfg\np1\nV\\u005f_import__\\u0028'os').system\\u0028'id')\np2\ns.", "m.pkl")
    )


@pytest.mark.parametrize("value", ["pydoc.pipepager", "os.system", "subprocess.Popen"])
def test_an_instantiator_that_is_not_lightnings_own_is_judged_as_a_name_that_is_called(value):
    hyper = {"state_dict": {}, "hyper_parameters": {"touch x": 1, "_instantiator": value}}
    assert codes(scanned(torch_zip_bytes(hyper))) == {"dangerous-target"}
    own = {"hyper_parameters": {"lr": 1, "_instantiator": "lightning.pytorch.cli.instantiate_module"}}
    assert scanned(torch_zip_bytes(own)).verdict == "safe"


@pytest.mark.parametrize("key", ["conv_feature_layers", "conv_aggregator_layers"])
def test_layers_that_are_more_than_numbers_are_suspicious(key):
    assert codes(scanned(torch_zip_bytes({"cfg": {key: "[(512,10,5)] * a.b('x')"}}))) == {"evaluated-text"}
    assert codes(scanned(f"{key}: \"[(512,10,5)] * a.b('x')\"\n".encode(), "w.yaml")) == {"evaluated-text"}
    honest = {"cfg": {"conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"}}
    assert scanned(torch_zip_bytes(honest)).verdict == "safe"


@pytest.mark.parametrize("key", ["names", "imgsz", "kpt_shape"])
def test_any_call_under_a_key_that_is_given_to_eval_is_suspicious(key):
    for value, told in (
        ("torch.a.b('x')", True),
        ("{0: 'a (b)', 1: 'f(x)'}", False),
        ("[640, 640]", False),
        ("people (adults)", False),
    ):
        data = onnx_model() + part(14, part(1, key.encode()) + part(2, value.encode()))
        assert ("evaluated-text" in codes(scanned(data, "model.onnx"))) is told
        assert ("evaluated-text" in codes(scanned(config(value, key), "metadata.json"))) is told
        assert not codes(scanned(json.dumps({key: ["Dr.Who(1963)"]}).encode(), "metadata.json"))
        assert not codes(scanned(f"{key}: [Dr.Who(1963)]\nb:\n- Dr.Who(1963)\n".encode(), "metadata.yaml"))
        assert ("evaluated-text" in codes(scanned(f"{key}: {json.dumps(value)}\n".encode(), "metadata.yaml"))) is told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"activation: {RUNS}\n", True),
        (f"activation: {RUNS} or Resize\ninterp: 2\n", True),
        (f"Preprocess:\n- type: {RUNS} or Resize\n  interp: 2\n", True),
        (f'backbone:\n  [[-1, 1, Conv, [64, "{RUNS}"]],\n   [-1, 1, Conv, [3]]]\n', True),
        (f"{{activation: {RUNS}}}\n", True),
        ("names: >-\n  __import__('os')\n  .system('id')\nnc: 1\n", True),
        ("names:\n  __import__('os')\n  .system('id')\nnc: 1\n", True),
        ("a: !!str &k __import__('os').system('id')\n", True),
        ("a: \"\\x5f_import__('os').system('id')\"\n", True),
        (f'{{"stride": 32, "names": "{RUNS}"}}\n', True),
        ('--- {stride: 32, names:  "os.popen(1, 2)"}\n', True),
        (f"? names\n: {RUNS}\n", True),
        ("? names\n: a.b('x')\n", True),
        (f"x:y: {RUNS}\na: 1\n", True),
        (f"a#b: {RUNS}\n", True),
        (f"a (b): {RUNS}\n", True),
        (f"{'k' * 900}: {RUNS}\n", True),
        (f'names: !<tag:yaml.org,2002:str> "{RUNS}"\n', True),
        (f"names: {RUNS} # a: b\n", True),
        ("a: b # call: eval('x')\n", False),
        ("jobs:\n  a:\n    run: |\n      import os\n      os.system('id')\n    shell: python\n", False),
        ('test: ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen(\'http://a\')"]\n', False),
        ("prompt: >-\n  Never call eval('x')\n  or os.system('id') in it.\n", False),
        ("names: [person (adult), car]\nactivation: nn.SiLU()\n", False),
    ],
)
def test_values_of_yaml_that_are_expressions_are_suspicious_and_commands_are_not(text, told):
    assert ("evaluated-text" in codes(scanned(text.encode(), "model.yaml"))) is told


def test_expressions_of_monai_are_told_and_what_imports_programs_is_suspicious():
    document = {"imports": ["$import os"], "device": "$torch.device('cuda')", "network_def": {"a": 1}}
    assert codes(scanned(json.dumps(document).encode(), "inference.json")) == {"computed-target"}
    yaml = "imports:\n- $import os\ndevice: $torch.device('cuda')\n"
    assert codes(scanned(yaml.encode(), "inference.yaml")) == {"computed-target"}
    for evil in ("$os.system('id')", "$from subprocess import Popen", f"${RUNS}", f"$@x#y and {RUNS}", ["$from os import system"]):
        assert "evaluated-text" in codes(scanned(json.dumps(document | {"device": evil}).encode(), "inference.json"))
    prices = {"a": "$5 (five dollars)", "b": "$f('x')"}
    assert not codes(scanned(json.dumps(prices).encode(), "prices.json"))


def test_numbers_that_are_written_as_text_are_no_python():
    noise = bytes(range(256)) * 40_000 + b"os.system('x')"
    assert scanned(torch_zip_bytes({"a": noise.decode("latin-1"), "b": noise, "c": "eval('x')\0"})).verdict == "safe"


def test_a_text_beside_torchscript_and_the_end_of_a_long_one_in_onnx_are_read():
    module = script_module("M", {})
    code = {"": "class M(Module):\n  pass\n"}
    assert codes(scanned(script_bytes(module, code=code, records={"extra/names": RUNS.encode()}))) == {
        "evaluated-text",
        "torchscript",
    }
    assert codes(scanned(script_bytes(module, code=code, records={"extra/notes": b"Use eval('x')."}))) == {"torchscript"}
    names = str({number: f"class {number}" for number in range(5_000)})
    for value, told in ((names, False), (f"{names} or {RUNS}", True)):
        data = onnx_model() + part(14, part(1, b"names") + part(2, value.encode()))
        assert ("evaluated-text" in codes(scanned(data, "model.onnx"))) is told


def test_a_model_type_that_breaks_out_of_a_name_is_suspicious():
    for value in ("\uff4clama;getattr(a, 'b')('c')#", "a\nimport b"):
        assert codes(scanned(config(value, "model_type"), "config.json")) == {"evaluated-text"}
    for value in ("llama", "gpt-neo_x.5", "T5 base", "UNet (2D)", "\u5206\u7c7b", ""):
        assert not codes(scanned(config(value, "model_type"), "config.json"))


def test_consent_to_code_is_told_at_any_depth():
    document = {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}
    assert codes(scanned(json.dumps(document).encode(), "open_clip_config.json")) == {"custom-code"}
    assert not codes(scanned(json.dumps(document).replace("true", "false").encode(), "open_clip_config.json"))
    for value, told in ((1, True), ("True", True), ("whether to", False), ({"type": "boolean"}, False), (0, False), (None, False)):
        assert ("custom-code" in codes(scanned(config(value, "trust_remote_code"), "a.json"))) is told
    assert codes(scanned(b"model:\n  trust_remote_code: true  # or not\n", "train.yaml")) == {"custom-code"}
    assert not codes(scanned(b"model:\n  trust_remote_code: false\n# trust_remote_code: true\n", "train.yaml"))


def test_a_text_is_judged_by_each_key_that_it_stands_under():
    assert "evaluated-text" in codes(scanned(json.dumps({"names": "torch.a.b('x')", "zz": "torch.a.b('x')"}).encode(), "a.json"))


def test_the_arguments_of_an_export_are_given_to_eval_and_those_of_others_are_not():
    value = "torch.a.b('x')"
    files = {
        "metadata.yaml": (f"args: {json.dumps(value)}\n".encode(), True),
        "config.txt": (config(value, "args"), True),
        "model.onnx": (onnx_model() + part(14, part(1, b"args") + part(2, value.encode())), True),
        "config.json": (config(value, "args"), False),
        "train.yaml": (f"args: {json.dumps(value)}\n".encode(), False),
    }
    for name, (data, told) in files.items():
        assert (name, "evaluated-text" in codes(scanned(data, name))) == (name, told)


def in_base64(data: bytes, key: str = ":serialized:", junk: str = "") -> bytes:
    text = base64.b64encode(data).decode()
    return json.dumps({"policy_class": {":type:": "x", key: text[:3] + junk + text[3:]}}).encode()


DANGEROUS = b"\x80\x04cposix\nsystem\n(X\x02\x00\x00\x00idtR."


@pytest.mark.parametrize("junk", ["", "!", "\n"])
def test_a_pickle_that_stands_in_json_as_base64_is_judged_as_one(junk):
    data = zip_bytes([Entry("data", in_base64(DANGEROUS, junk=junk)), Entry("policy.pth", torch_zip_bytes({"a": 1}))])
    safety = scanned(data, "ppo.zip")
    assert (safety.verdict, codes(safety)) == ("dangerous", {"dangerous-import"})


def test_base64_of_a_pickle_under_any_key_and_without_a_protocol_under_its_own_is_judged():
    assert scanned(in_base64(DANGEROUS, "note"), "a.json").verdict == "dangerous"
    assert scanned(in_base64(DANGEROUS[2:]), "a.json").verdict == "dangerous"
    assert scanned(in_base64(b"no pickle at all"), "a.json").verdict == "unknown"
    assert not codes(scanned(json.dumps({"a": "gAJ", "b": "gARlic"}).encode(), "a.json"))
    plain = in_base64(pickled({"a": [1, 2]}))
    assert scanned(plain, "a.json").verdict == "safe"


@pytest.mark.parametrize("inside", ["_", "-", "="])
def test_letters_that_python_leaves_out_of_base64_hide_no_pickle(inside):
    text = base64.b64encode(DANGEROUS).decode()
    for at, count in itertools.product((4, 5, 8, 9), (1, 4)):
        data = json.dumps({":serialized:": text[:at] + inside * count + text[at:]}).encode()
        if base64.b64decode(text[:at] + inside * count + text[at:]) == DANGEROUS:
            assert scanned(data, "a.json").verdict == "dangerous"
    honest = pickled({"a": b"x" * 40})
    hidden = honest[:10] + DANGEROUS[2:]
    letters = base64.b64encode(hidden).decode()
    assert scanned(json.dumps({":serialized:": letters[:8] + "-" * 4 + letters[8:]}).encode(), "a.json").verdict != "safe"


def test_tokenizers_templates_and_notebooks_are_not_accused(tmp_path):
    tokens = ["eval(", "exec(", "__import__", "__import__('", "os.system('", "eval('", "(self", 'open("']
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = {
        "added_tokens": [{"content": token} for token in tokens],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [f"{token} x" for token in tokens]},
    }
    unigram = {"model": {"type": "Unigram", "vocab": [[token, -1.0] for token in tokens]}}
    notebook = {"cells": [{"source": ["import os\n", "os.system('id')"]}, {"source": "eval('x')"}], "nbformat": 4}
    chat = {
        "chat_template": "{{ bos }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "system_prompt": "Do not use eval('x').",
    }
    files = {"tokenizer.json": tokenizer, "unigram.json": unigram, "a.ipynb": notebook, "tokenizer_config.json": chat}
    for name, safety in in_a_folder(tmp_path, {name: json.dumps(each).encode() for name, each in files.items()}).items():
        assert (name, codes(safety)) == (name, set())


LONG = b"x" * 100_000 + b" eval('1')"
SHARED = b"\x80\x04](X" + len(LONG).to_bytes(4, "little") + LONG + b"q\x00" + b"h\x00" * 200_000 + b"e."  # one text, many times


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("many.json", json.dumps([f"open('x') and y z{number}" for number in range(150_000)]).encode()),
        ("quotes.json", json.dumps({"a": "eval(" + "''" * 3_000_000 + "  x y"}).encode()),
        ("deep.yaml", b"- " * 1_500_000 + b"eval('x y')"),
        ("lines.yaml", b"open('x y')\n" * 200_000),
        ("keys.yaml", b"a: " * 1_000_000 + b"eval('x y')"),
        ("many.pkl", pickled([f"eval('x') and y z{number}" for number in range(50_000)])),
        ("shared.pkl", SHARED),
        ("comment.yaml", b"a: eval('" + b" #" * 150_000 + b" \"\n"),
        ("long_keys.json", json.dumps({"chat_template" + "x" * 100_000: {str(n): "a" for n in range(20_000)}, "b": "trust_remote_code"}).encode()),
        ("keys_of_pickles.json", json.dumps({"k" * 100_000: ["gASVMAAA" + str(n) for n in range(5_000)]}).encode()),
    ],
)
def test_many_such_texts_take_seconds_at_most(name, data):
    begun = process_time()
    scanned(data, name)
    assert process_time() - begun < 10
