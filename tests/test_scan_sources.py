"""Python that comes along with a model: what loading would run is never quiet."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_file
from tests.builders.archives import tarred, zipped
from tests.builders.attacks import MOBILE, SCRIPTS, SOURCES
from tests.builders.samples import SAMPLES
from tests.builders.script_file import class_text, script_bytes, script_module
from tests.scanned import codes, scanned

PLAIN = b"import re\nimport torch\nX = re.compile('a')\nmodel = torch.compile(model.eval())\n"
RISKY = b"import os\nos.system('id')\n"
CONFIG = {"auto_map": {"AutoModel": "modeling_x.Model", "AutoTokenizer": ["owner/name--tok_x.T", None]}}


def lone(folder, name, files):
    """The verdict on one file of a folder."""
    for other, data in files.items():
        (folder / other).write_bytes(data)
    return Safety(scan_file(str(folder / name), DEFAULT_LIMITS, read_window))


@pytest.mark.parametrize(
    ("name", "source", "beside", "verdict", "code"),
    [
        ("modeling_x.py", PLAIN, {"config.json": CONFIG}, "unknown", "loaded-source"),
        ("modeling_x.py", RISKY, {"config.json": CONFIG}, "suspicious", "risky-source"),
        ("tok_x.py", RISKY, {"tokenizer_config.json": CONFIG}, "suspicious", "risky-source"),
        ("helper.py", RISKY, {"config.json": CONFIG}, "unknown", "loaded-source"),
        ("modeling_x.py", RISKY, {"config.json": {"text_config": CONFIG}}, "suspicious", "risky-source"),
        ("hubconf.py", PLAIN, {}, "unknown", "loaded-source"),
        ("hubconf.py", RISKY, {}, "suspicious", "risky-source"),
        ("train.py", RISKY, {"hubconf.py": PLAIN}, "unknown", "loaded-source"),
        ("train.py", RISKY, {"config.json": {"model_type": "bert"}}, None, None),
    ],
)
def test_python_beside_a_model(tmp_path, name, source, beside, verdict, code):
    files = {name: source, **{key: value if isinstance(value, bytes) else json.dumps(value).encode() for key, value in beside.items()}}
    safety = lone(tmp_path, name, files)
    assert (safety.verdict, codes(safety)) == (verdict, {code} if code else set())
    if beside:
        for pack in (zipped, tarred):
            packed = scanned(pack({f"m/{key}": data for key, data in files.items()}), "m.bin")
            there = {found.code for found in packed.found if found.where == f"m/{name}"}
            assert there == ({code} if code else set())


def test_python_that_nothing_loads_is_listed():
    safety = scanned(zipped({"m/a.pt": SAMPLES["state_dict.pt"], "m/train.py": RISKY}), "m.zip")
    assert safety.verdict == "safe"
    assert [(one.why, one.minor) for one in safety.unseen] == [("a Python file, which nothing beside asks to be loaded: m/train.py", True)]


def test_modules_of_sentence_transformers():
    honest = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    assert scanned(json.dumps(honest).encode(), "modules.json").verdict is None
    honest[0]["type"] = "custom_st.Transformer"
    safety = scanned(json.dumps(honest).encode(), "modules.json")
    assert (safety.verdict, codes(safety)) == ("unknown", {"custom-code"})


@pytest.mark.parametrize("source", SOURCES)
def test_risky_words_under_other_names(tmp_path, source):
    files = {"config.json": json.dumps(CONFIG).encode(), "modeling_x.py": source.encode()}
    assert codes(lone(tmp_path, "modeling_x.py", files)) == {"risky-source"}
    packaged = zipped({"p/x.py": source.encode(), "p/.data/extern_modules": b"", "p/.data/version": b"6"})
    assert "risky-source" in codes(scanned(packaged, "m.pt"))


@pytest.mark.parametrize(
    "source",
    [
        "from os import path\nimport os as o\nprint(o.path.join('a', 'b'))\n",
        "import platform\nplatform.system()\nmodel.eval()\n",
        "from torch import compile\nx = model.eval\nre.compile('a')\n",
        "# -*- coding: utf-8 -*-\nnames.remove('a')\n",
        'def f(x):\n    """Give f of x."""\n    return x.load_state_dict(y)\n',
    ],
)
def test_ordinary_python_is_not_risky(tmp_path, source):
    files = {"config.json": json.dumps(CONFIG).encode(), "modeling_x.py": source.encode()}
    assert codes(lone(tmp_path, "modeling_x.py", files)) == {"loaded-source"}


@pytest.mark.parametrize("call", SCRIPTS)
@pytest.mark.parametrize("padding", [0, 5 << 20])
def test_operators_of_torchscript_that_touch_files(call, padding):
    code = class_text("Net", [], []) + f"  def __setstate__(self, x):\n    y = {call}\n" + "#" * padding + "\n"
    safety = scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code}))
    assert (safety.verdict, "script-files" in codes(safety)) == ("dangerous", True)


def test_torchscript_of_other_libraries_and_other_names():
    for call in ("(ops).evil.run(x)", "ops . evil\\\n.run(x)", "torch", "(ops.aten)"):
        code = class_text("Net", [], []) + f"  def forward(self, x):\n    y = {call}\n    return x\n"
        safety = scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code}))
        assert (safety.verdict, "script-operators" in codes(safety)) == ("unknown", True), call
    code = class_text("Net", [], []) + "  def forward(self, x):\n    y = torch.add(x, 1)\n    return ops.prim.NumToTensor(y)\n"
    assert scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code})).verdict == "safe"


def mobile(operator, types=(), constants=()):
    """A module for mobile: one method that calls an operator; its source is harmless."""
    table = (
        ("instructions", (("OP", 0, 0), ("RET", 0, 0))),
        ("operators", ((operator, ""), ("aten::mul", "Tensor", 2))),
        ("constants", constants),
        ("types", types),
        ("register_size", 1),
    )
    method = ("__torch__.nn.Net.__setstate__", table, (("arguments", ()), ("returns", ())))
    return script_bytes(script_module("nn.Net", {}), {}, {"nn": class_text("Net", [], [])}, bytecode=(8, method))


@pytest.mark.parametrize(("operator", "verdict", "code"), MOBILE)
def test_operators_in_the_bytecode_of_mobile_modules(operator, verdict, code):
    safety = scanned(mobile(operator), "model.ptl")
    assert safety.verdict == verdict
    assert codes(safety) - {"torchscript"} == ({code} if code else set())
    packed = scanned(zipped({"m/model.ptl": mobile(operator)}), "m.zip")
    assert packed.verdict == verdict


def test_texts_in_bytecode_that_only_look_like_operators_are_none():
    texts = ("call aten::save first", "aten::save first", "see aten::from_file", "aten::", "::from_file")
    assert scanned(mobile("aten::add", constants=texts), "model.ptl").verdict == "safe"


def test_operators_side_by_side_in_bytecode():
    """No instruction stands between two texts."""
    from modelscope_cli.core.scanned import Scanned
    from modelscope_cli.core.window import MemoryWindow
    from modelscope_cli.formats.scan_bytecode import scan_bytecode
    from modelscope_cli.formats.scanning import Walk

    found = Scanned("bytecode.pkl")
    for name in ("aten::add", "aten::from_file", "X" * 88 + "::a", "evil::run"):
        data = b"".join(b"X" + len(text).to_bytes(4, "little") + text.encode() for text in ("aten::add", name, "aten::mul"))
        scan_bytecode(Walk(found, DEFAULT_LIMITS), MemoryWindow(data, "bytecode.pkl"), name)
    assert [(sign.where, sign.code) for sign in found.signs] == [
        ("aten::from_file", "script-files"),
        ("X" * 88 + "::a", "script-operators"),
        ("evil::run", "script-operators"),
    ]


@pytest.mark.parametrize(("cls", "verdict"), [("_nnapi.Compilation", "unknown"), ("evil.Class", "unknown"), ("quantized.Conv2dPackedParamsBase", "safe")])
def test_classes_of_other_libraries_in_torchscript(cls, verdict):
    code = class_text("Net", [], [], f"a : __torch__.torch.classes.{cls}")
    for data in (
        script_bytes(script_module("nn.Net", {}), {}, {"nn": code}),
        mobile("aten::add", types=(f"__torch__.torch.classes.{cls}",)),
    ):
        safety = scanned(data, "model.ptl")
        assert (safety.verdict, "script-operators" in codes(safety)) == (verdict, verdict == "unknown")


def test_a_source_too_long_to_be_searched_is_not_safe():
    code = class_text("Net", [], []) + "#" * (9 << 20)
    safety = scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code}))
    assert (safety.verdict, [one.minor for one in safety.unseen]) == ("unknown", [False])


@pytest.mark.parametrize("name", ["a.py", "a.jinja", "chat_template.jinja", "a.json", "a.txt", "a.md", "README", "a.yaml", "a.cfg"])
def test_a_pickle_under_the_name_of_a_text(name):
    text = b"cposix\nsystem\n(S'id'\ntR."
    assert scanned(text, name).verdict == "dangerous"
    assert scanned(zipped({f"m/{name}": text}), "m.zip").verdict == "dangerous"


def test_nothing_is_said_of_what_nobody_judged():
    strangers = {"m/a.bin": b"\xfc\xfd" * 300}
    for files in (strangers, {"m/a.py": RISKY}, {**strangers, "m/a.py": RISKY, "m/LICENSE": b"text"}):
        for pack in (zipped, tarred):
            safety = scanned(pack(files), "m.bin")
            assert safety.verdict != "safe"
            assert "executed by loading" not in str(safety.why)
    assert "executed by loading" not in str(scanned(RISKY, "a.py").why)
    assert str(scanned(SAMPLES["plain.safetensors"], "a.safetensors").why) == "nothing in it is executed by loading it"
