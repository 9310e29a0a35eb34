"""Nothing in a file is executed, and nothing that could execute it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import modelscope_cli
from tests.builders.pickle_code import BUILD, Code, call, instance, name, pickled, text, value
from tests.builders.samples import SAMPLES
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes


def canaries(path) -> dict[str, Code]:
    """Pickles that would create `path`, each by another instruction."""
    shell = f"touch {path}"
    return {
        "REDUCE": call("os.system", shell),
        "INST": Code(b"(" + text(shell) + b"ios\nsystem\n"),
        "OBJ": Code(b"(" + name("os.system") + text(shell) + b"o"),
        "NEWOBJ": instance("os.system", None, shell),
        "STACK_GLOBAL": Code(text("os") + text("system") + b"\x93" + value((shell,)) + b"R"),
        "BUILD": Code(call("types.SimpleNamespace") + value({"__setstate__": name("os.system")}) + BUILD + text(shell) + BUILD),
        "eval": call("builtins.eval", f"open({str(path)!r}, 'w')"),
        "getattr": Code(call("builtins.getattr", name("os.path"), "os") + value({}) + BUILD),
        "nested": call("torch.storage._load_from_bytes", legacy_bytes(call("os.system", shell))),
    }


@pytest.mark.parametrize("which", list(canaries("")))
@pytest.mark.parametrize("wrap", [torch_zip_bytes, legacy_bytes, pickled])
def test_canary_survives(tmp_path, which, wrap):
    canary = tmp_path / "canary"
    path = tmp_path / "model.pt"
    path.write_bytes(wrap({"w": canaries(canary)[which]}))
    checkpoint = modelscope_cli.read(str(path))
    assert not canary.exists()
    named = {f"{use.module}.{use.name}" for trace in checkpoint.pickles for use in trace.globals}
    assert named & {"os.system", "builtins.eval", "builtins.getattr"}


def test_what_a_pickle_would_call_is_said(inspect, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(torch_zip_bytes({"w": call("os.system", "true")}))
    done = inspect(path)
    assert "os.system" in done.stdout
    report = json.loads(inspect(path, "-f", "json").stdout)
    assert "os.system" in json.dumps(report)


GUARD = """
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy", "safetensors"):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Guard())
sys.argv = ["mscope", "inspect", *sys.argv[1:]]
from modelscope_cli.cli.app import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "safetensors"} & {name.partition(".")[0] for name in sys.modules}
    assert not heavy, heavy
"""


@pytest.mark.parametrize("format", ["table", "json", "tree"])
def test_no_framework_is_imported(tmp_path, format):
    paths = []
    for sample, data in SAMPLES.items():
        paths.append(tmp_path / sample)
        paths[-1].write_bytes(data)
    command = [sys.executable, "-c", GUARD, "-f", format, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "imported" not in done.stderr
