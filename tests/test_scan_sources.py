"""Python that comes along with a model: what loading would run is never quiet."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_file
from tests.builders.archives import tarred, zipped
from tests.builders.samples import SAMPLES
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
