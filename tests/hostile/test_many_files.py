"""Ten thousand files, one of them broken: named one by one the others are shown, in bounded time and memory a file.

The folder that they lie in, named by itself, is told in one line.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope

COUNT = 10_000
BROKEN = "m04321.safetensors"
SECONDS_A_FILE = 0.01  # of the processor; the machines of CI servers are slow
BYTES_A_FILE = 20_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """Ten thousand small models, one of which is cut short."""
    folder = tmp_path_factory.mktemp("crowd")
    data = safetensors_bytes({"layer.weight": ("F32", (4, 8)), "layer.bias": ("F32", (4,))})
    for number in range(COUNT):
        (folder / f"m{number:05}.safetensors").write_bytes(data)
    (folder / BROKEN).write_bytes(data[:-1])
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module")
@pytest.mark.parametrize("command", [("inspect",), ("inspect", "-f", "json"), ("check", "--max-size", "1GB")], ids=" ".join)
def test_time_and_memory(crowd, command):
    measure = os.path.join(os.path.dirname(__file__), "measure.py")
    arguments = [sys.executable, measure, *command, *sorted(os.listdir(crowd))]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=crowd, env=settings)
    found = json.loads(done.stdout)
    assert found["code"] == 3
    assert BROKEN in found["err"]
    assert found["err"].count("\n") == 1, found["err"]
    assert found["cpu"] < 5 + COUNT * SECONDS_A_FILE
    assert found["peak"] < 100_000_000 + COUNT * BYTES_A_FILE


def test_the_others_are_shown(crowd):
    done = mscope("inspect", *sorted(crowd.iterdir()), "-f", "csv")
    assert done.code == 3
    assert done.err.count("\n") == 1
    shown = {os.path.basename(row["path"]) for row in csv.DictReader(io.StringIO(done.out))}
    assert len(shown) == COUNT - 1
    assert BROKEN not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module")
def test_their_folder_is_told_in_a_line(crowd):
    measure = os.path.join(os.path.dirname(__file__), "measure.py")
    done = subprocess.run([sys.executable, measure, "inspect", str(crowd)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["code"] == 3
    assert f"a folder of {COUNT:,} models" in found["err"]
    assert found["err"].count("\n") == 1
    assert found["cpu"] < 10
    assert found["peak"] < 100_000_000
