"""What starts quickly stays quick: no framework, no array library, and nothing of ours that unpickles."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import modelscope_cli
from tests.builders.archives import MODEL, zipped

pytestmark = pytest.mark.usefixtures("here")

# `main` ends with os._exit, so what was imported has to be told from there.
TELL = """
import json, os, sys
end = os._exit
def tell(code):
    sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
    sys.stderr.flush()
    end(code)
os._exit = tell
sys.argv = ["mscope", *sys.argv[1:]]
from modelscope_cli.cli.app import main
main()
"""
HEAVY = {"torch", "numpy", "safetensors", "pydantic", "pandas", "zipfile", "mmap", "pickletools", "shelve", "asyncio"}
UNPICKLERS = {"pickle", "_pickle", "pickletools", "shelve", "marshal", "torch", "numpy", "zipfile", "mmap"}


def imported(*arguments: str) -> set[str]:
    """The modules in memory when `mscope` ends."""
    done = subprocess.run(
        [sys.executable, "-c", TELL, *arguments], capture_output=True, text=True, encoding="utf-8", check=True
    )
    code, modules = json.loads(done.stderr)
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("path", ["decoder.pth", "plain.safetensors", "legacy.pth", "sparse.bin", "set"])
@pytest.mark.parametrize("format", ["table", "json"])
def test_no_heavy_guest(path, format):
    assert not imported("inspect", path, "-f", format) & HEAVY


def test_a_reader_is_imported_when_its_format_is_met():
    readers = {f"modelscope_cli.formats.{name}" for name in ("torch_zip", "torch_legacy", "safetensors", "sharded")}
    assert imported("plain.safetensors") & readers == {"modelscope_cli.formats.safetensors"}
    assert not imported("decoder.pth") & {"modelscope_cli.formats.safetensors", "modelscope_cli.formats.sharded"}


def test_what_archives_need_is_imported_when_one_is_met(here):
    with_archives = {"modelscope_cli.formats.archive", "modelscope_cli.containers.unpacked"}
    for path in ("plain.safetensors", "decoder.pth", "legacy.pth"):
        assert not imported("inspect", path) & with_archives
    (here / "a.zip").write_bytes(zipped({"m.safetensors": MODEL}, deflate=False))
    assert with_archives <= imported("inspect", "a.zip")


def test_inspect_does_not_bring_the_machine_of_the_scan():
    scanning = {f"modelscope_cli.containers.{name}" for name in ("tolerant_machine", "judging_machine", "joblib_arrays", "pickle_frames")}
    assert not imported("inspect", "decoder.pth") & scanning
    assert scanning <= imported("scan", "decoder.pth")


def test_help_reads_nothing():
    assert not {
        name for name in imported("--version") if name.startswith(("modelscope_cli.formats", "modelscope_cli.analysis"))
    }


def test_no_module_of_ours_imports_an_unpickler():
    for path in Path(modelscope_cli.__file__).parent.rglob("*.py"):
        if "bridges" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            else:
                continue
            assert not names & UNPICKLERS, path


def test_the_library_imports_almost_nothing():
    code = "import sys, modelscope_cli; print(*[name for name in sys.modules if name.startswith('modelscope_cli')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["modelscope_cli"]
