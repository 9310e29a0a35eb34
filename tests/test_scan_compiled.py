"""Python that was compiled before it came along, and what TorchServe takes for the handler of an archive.

Which files a handler means is read from torchserve 0.12 (ts/model_loader.py), which was made to import a compiled one.
"""

from __future__ import annotations

import json

import pytest

from modelscope_cli.formats.compiled_python import source_of, telling_names
from tests.builders.archives import gzipped, tarred, zipped
from tests.builders.bytecode import pyc_bytes
from tests.builders.samples import SAMPLES
from tests.scanned import codes, in_a_folder, scanned

PLAIN = b"import torch\nx = re.compile('a').search\nmodel.eval()\nnames.remove('a')\n"
RISKY = b"import os\nos.system('id')\ndef handle(data, context): return data\n"
RISKY_PYC, PLAIN_PYC = pyc_bytes(RISKY), pyc_bytes(PLAIN)
LIBRARY = b"\x7fELF\2\1\1" + bytes(200)
MANIFEST = "MAR-INF/MANIFEST.json"
Files = dict[str, bytes]


def mar(handler: str, files: Files, **others: str) -> Files:
    model = {"modelName": "m", "serializedFile": "m.pt", "handler": handler, **others}
    return {MANIFEST: json.dumps({"runtime": "python", "model": model}).encode(), "m.pt": SAMPLES["state_dict.pt"], **files}


# By name: the files, and the findings on those that have any.
SERVED: dict[str, tuple[Files, dict[str, set[str]]]] = {
    "compiled": (mar("evil", {"evil.pyc": RISKY_PYC}), {"evil.pyc": {"risky-source"}}),
    "compiled and plain": (mar("evil.py", {"evil.pyc": PLAIN_PYC}), {"evil.pyc": {"loaded-source"}}),
    "a model's file, compiled": (mar("image_classifier", {"net.pyc": RISKY_PYC}, modelFile="net.py"), {"net.pyc": {"risky-source"}}),
    "in the place of one of TorchServe's own": (mar("image_classifier", {"image_classifier.pyc": RISKY_PYC}), {"image_classifier.pyc": {"risky-source"}}),
    "kept beside its source": (
        mar("evil", {"evil.py": PLAIN, "__pycache__/evil.cpython-311.pyc": pyc_bytes(RISKY, 1)}),
        {"evil.py": {"loaded-source"}, "__pycache__/evil.cpython-311.pyc": {"risky-source"}},
    ),
    "beside a handler": (mar("evil", {"evil.py": PLAIN, "helper.pyc": RISKY_PYC}), {"evil.py": {"loaded-source"}, "helper.pyc": {"loaded-source"}}),
    "in a package": (
        mar("pkg.evil:handle", {"pkg/evil.py": RISKY, "pkg/__init__.py": PLAIN}),
        {"pkg/evil.py": {"risky-source"}, "pkg/__init__.py": {"loaded-source"}},
    ),
    "a package": (mar("evil", {"evil/__init__.py": RISKY}), {"evil/__init__.py": {"risky-source"}}),
    "a package that a longer name imports": (mar("evil.pyc", {"evil/__init__.pyc": RISKY_PYC}), {"evil/__init__.pyc": {"risky-source"}}),
    "a library": (mar("evil", {"evil.cpython-311-x86_64-linux-gnu.so": LIBRARY}), {"evil.cpython-311-x86_64-linux-gnu.so": {"native-code-inside"}}),
    "no file": (mar("os:system", {}), {MANIFEST: {"custom-code", "dangerous-target"}}),
    "no file of a module": (mar("shop.handlers", {}), {MANIFEST: {"custom-code"}}),
    "no file of a function": (mar("shop.handlers:handle", {}), {MANIFEST: {"custom-code", "unjudged-target"}}),
}
HONEST: dict[str, Files] = {
    "TorchServe's own": mar("image_classifier", {}),
    "TorchServe's own in full": mar("ts.torch_handler.vision_handler", {}),
    "TorchServe's own in its folder": mar("distributed.base_pippy_handler", {}),
    "bytecode of nobody": {"m.pt": SAMPLES["state_dict.pt"], "__pycache__/train.cpython-311.pyc": RISKY_PYC},
    "no bytecode": {**mar("image_classifier", {}), "notes.pyc": b"these are notes\n"},
}


@pytest.mark.parametrize(("files", "told"), SERVED.values(), ids=SERVED)
def test_handlers_of_an_unpacked_archive(tmp_path, files, told):
    found = {name: codes(safety) for name, safety in in_a_folder(tmp_path, files).items()}
    assert {name: each for name, each in found.items() if each} == told


@pytest.mark.parametrize(("files", "told"), SERVED.values(), ids=SERVED)
@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: gzipped(tarred(files)), lambda files: zipped({"m.mar": zipped(files)})])
def test_handlers_of_an_archive(files, told, pack):
    safety = scanned(pack(files), "m.mar")
    found: dict[str, set[str]] = {}
    for one in safety.found:
        found.setdefault(one.where.removeprefix("unpacked/").removeprefix("m.mar/"), set()).add(one.code)
    assert found == told


@pytest.mark.parametrize("files", HONEST.values(), ids=HONEST)
def test_honest_handlers_and_bytecode_that_nothing_runs(tmp_path, files):
    assert [codes(safety) for safety in in_a_folder(tmp_path, files).values()] == [set()] * len(files)
    safety = scanned(zipped(files), "m.mar")
    assert (safety.verdict, codes(safety)) == ("safe", set())


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        ({"hubconf.py": PLAIN}, "net.pyc"),
        ({"hubconf.py": PLAIN}, "__pycache__/net.cpython-311.pyc"),
        ({"MLmodel": b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    code: code\n"}, "code/net.pyc"),
        ({"MLmodel": b"flavors:\n  python_function:\n    loader_module: shop.net\n    code: code\n"}, "code/shop/net.pyc"),
        ({"adapter_config.json": b'{"auto_mapping": {"parent_library": "net"}}'}, "net.pyc"),
    ],
)
def test_bytecode_counts_where_its_source_would(tmp_path, beside, name):
    files = {**beside, name: RISKY_PYC}
    alone = codes(in_a_folder(tmp_path, files)[name])
    packed = {found.code for found in scanned(zipped(files), "m.zip").found if found.where == name}
    assert alone == packed
    assert len(alone) == 1
    assert alone <= {"loaded-source", "risky-source"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.py", "a.py"),
        ("b/a.pyc", "b/a.py"),
        ("b/__pycache__/a.cpython-311.opt-1.pyc", "b/a.py"),
        ("__pycache__/a.cpython-311.pyc", "a.py"),
        ("b/a.abi3.so", "b/a.py"),
        ("a.pyd", "a.py"),
        ("a.so.1", "a.so.1"),
    ],
)
def test_the_source_that_a_compiled_file_stands_for(path, source):
    assert source_of(path) == source


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (RISKY, ["system"]),
        (PLAIN, []),
        (b"from posix import execv\n", ["execv", "posix"]),
        (b"import subprocess as s\ns.run(1)\n", ["subprocess"]),
        (b"x = platform.system()\n", []),
        (b"exec(b)\n__import__('a')\n", ["__import__", "exec"]),
    ],
)
def test_names_in_bytecode_that_tell(source, names):
    assert telling_names(pyc_bytes(source)) == names
