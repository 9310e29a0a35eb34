"""Attacks by what stands beside a pickle, or in place of one: each is told, and its honest neighbours are not."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from modelscope_cli.analysis.policy import grave
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.cli.scan import judged
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.source_words import bare, file_operators, odd_getattr
from tests.builders.archives import gzipped, tarred, zipped
from tests.builders.attack_files import FILES, MODEL, WORN, Attack
from tests.builders.dcp_folder import TRAINING, blob, dcp_files
from tests.builders.samples import SAMPLES
from tests.builders.script_file import class_text, script_bytes, script_module
from tests.builders.torch_code import tensor
from tests.scanned import codes, scanned

PLAIN = b"import torch\n\n\nclass Handler:\n    pass\n"
MANIFEST = "MAR-INF/MANIFEST.json"
WEIGHTS = {"m.pt": SAMPLES["state_dict.pt"]}
OWN = json.dumps(MODEL).encode()
BUILT_IN = b'{"model": {"handler": "image_classifier"}}'


def verdict(folder: Path, files: dict[str, bytes], path: str) -> Safety:
    """The verdict on one of the files, which are written into a folder."""
    for name, data in files.items():
        place = folder / "m" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return judged(str(folder / "m" / path), DEFAULT_LIMITS, None)


@pytest.mark.parametrize("attack", FILES.values(), ids=FILES)
def test_what_stands_beside(tmp_path: Path, attack: Attack):
    safety = verdict(tmp_path, attack.files, attack.path)
    assert attack.code in codes(safety)
    assert safety.verdict is not None
    assert grave(safety.verdict) >= grave(attack.verdict)


@pytest.mark.parametrize(
    ("path", "files", "expected"),
    [
        ("m.py", {"m.py": PLAIN, "data/extern_modules": b"os\n"}, None),
        (MANIFEST, {MANIFEST: OWN, "handler.py": PLAIN}, None),
        ("m.mar", {"m.mar": zipped({MANIFEST: BUILT_IN, **WEIGHTS})}, "safe"),
        ("m.mar", {"m.mar": zipped({MANIFEST: OWN, "handler.py": PLAIN, **WEIGHTS})}, "unknown"),
        ("a.yaml", {"a.yaml": b"model:\n  _target_: shop.models.Net\n"}, "unknown"),
        ("a.yaml", {"a.yaml": b"model:\n  _target_: ${model.cls}\n"}, "unknown"),
        ("a.yaml", {"a.yaml": b"model:\n  _target_: ???\n  lr: 0.1\n"}, None),
        ("a.yaml", {"a.yaml": b"# _target_: os.system\nlr: 0.1\nx: !!python/tuple [1, 2]\ny: '\\x5ftarget'\n"}, None),
        ("a.yaml", {"a.yaml": b"x: !!python/name:shop.act\n"}, "unknown"),
        ("a.yaml", {"a.yaml": b"x: !!python/object:shop.Config {}\n"}, "suspicious"),
        ("m.nemo", {"m.nemo": tarred({"./model_config.yaml": b"target: shop.Model\n", **WEIGHTS})}, "safe"),
        ("notes.txt", {"notes.txt": b"write _target_: os.system or !!python/object/apply:os.system\n"}, None),
    ],
)
def test_honest_neighbours(tmp_path, path, files, expected):
    assert verdict(tmp_path, files, path).verdict == expected


def test_names_of_configurations_are_told_in_one_finding(tmp_path):
    safety = verdict(tmp_path, {"a.yaml": b"a: {_target_: shop.Net}\nb: {_target_: shop.Loss}\n"}, "a.yaml")
    assert [str(found.message) for found in safety.found] == ["a configuration names what nobody has judged: shop.Net, shop.Loss"]


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "__1_0.distcp"])
def test_distributed_checkpoints_are_safe(tmp_path, name):
    files = dcp_files(TRAINING)
    assert verdict(tmp_path / "all", files, name).verdict == "safe"
    del files[".metadata"]
    if name in files:
        assert verdict(tmp_path / "alone", files, name).verdict == "safe"


PACKERS = {
    "zip": lambda files: zipped(files, deflate=False), "deflated": zipped, "tar": tarred, "tar.gz": lambda files: gzipped(tarred(files)),
    "zip in zip": lambda files: zipped({"a.zip": zipped(files)}),
}  # fmt: skip


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("folder", ["", "run/dcp/"])
def test_distributed_checkpoints_in_archives(pack, folder):
    """An index is followed there as in a folder, and a part without one is searched."""

    def packed(files):
        return scanned(pack({f"{folder}{name}": data for name, data in files.items()}), "m.bin")

    honest = packed(dcp_files(TRAINING))
    assert (honest.verdict, codes(honest), honest.unseen) == ("safe", set(), [])
    assert {item.where for item in honest.imports if "byte 0" in item.where}
    alone = packed({name: data for name, data in dcp_files(TRAINING).items() if name != ".metadata"})
    assert (alone.verdict, codes(alone)) == ("safe", set())
    for name in ("a place among numbers", "a place among numbers that are loaded", "a place in another file"):
        safety = packed(FILES[name].files)
        assert (safety.verdict, "dcp-place" in codes(safety)) == ("dangerous", True), name
    safety = packed({name: data for name, data in FILES["the part with such numbers"].files.items() if name != ".metadata"})
    assert (safety.verdict, "dcp-hidden" in codes(safety)) == ("dangerous", True)


def test_an_index_whose_parts_are_not_in_the_archive():
    files = dcp_files(TRAINING)
    safety = scanned(zipped({".metadata": files[".metadata"], "a/__0_0.distcp": files["__0_0.distcp"]}))
    assert (safety.verdict, {one.minor for one in safety.unseen}) == ("safe", {True})


def test_numbers_are_not_accused(tmp_path):
    numbers = Random(7).randbytes(8 << 20)
    assert verdict(tmp_path, {"__0_0.distcp": blob(tensor("0", (2 << 20,)), {"0": numbers})}, "__0_0.distcp").verdict == "safe"


def test_attributes_that_are_no_identifiers_are_torchs_own():
    lines = r"""  def forward(self, x):
    layers = getattr(self, "0")
    y = (getattr(getattr(layers, "1").net, "a b")).forward(x, )
    return (getattr(self.of(x, "name"), "\303\251")).forward(y)  # getattr(torch, name)
"""
    data = script_bytes(script_module("nn.Net", {}), {}, {"nn": class_text("Net", [], []) + lines})
    assert scanned(data).verdict == "safe"


@pytest.mark.parametrize(
    "call", ["getattr(torch, name)", '(getattr)(torch, "0")', 'getattr(torch, "a")', 'getattr(f(getattr(x, "0"), "0"), "a")']
)
def test_other_attributes_are_not(call):
    assert odd_getattr(call)


def test_texts_that_never_close_end_with_their_line():
    assert bare("a = 'b\nos . system\n") == 'a = ""\nos . system\n'
    assert bare("a = 'b\\\r\nc' + d # e\rf") == 'a = "" + d  \nf'
    assert file_operators("x = '''a\ntorch . from_file(") == ["torch.from_file"]


def test_every_source_is_searched_or_said_to_be_left(tmp_path):
    sources = {f"p/m{number}.py": b"#" * (8 << 20) for number in range(4)}
    files = {"m.pt": zipped({"p/.data/extern_modules": b"", **sources, "p/z.py": b"import os\nos.system(1)\n"})}
    safety = verdict(tmp_path, files, "m.pt")
    assert safety.verdict == "unknown"
    assert [one.where for one in safety.unseen if not one.minor] == ["p/z.py"]
    assert sum(map(len, WORN)) < 8 << 20  # those are searched to their end


def test_a_python_file_in_an_archive_is_not_said_to_be_harmless():
    safety = scanned(zipped({"m/a.pt": SAMPLES["state_dict.pt"], "m/train.py": PLAIN}), "m.zip")
    assert [(one.minor, one.source) for one in safety.unseen] == [(True, True)]
