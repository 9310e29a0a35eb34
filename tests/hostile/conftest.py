"""Fixtures that run the command on a file, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

MEASURE = Path(__file__).with_name("measure.py")
MOST_BYTES = 512 << 20
MOST_SECONDS = 10


@pytest.fixture
def inspect(tmp_path):
    """Runs `mscope inspect` with arguments; the result has returncode, stdout and stderr (text)."""

    def run(*arguments, **options):
        environment = {**os.environ, "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-m", "modelscope_cli", "inspect", *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=environment,
            **options,
        )

    return run


@pytest.fixture
def bounded(tmp_path):
    """Writes bytes to a file, runs a command on it, and checks that the answer came in time, within memory and in words."""
    if sys.platform == "win32":
        pytest.skip("peak memory is measured with the resource module")

    def run(data: bytes, name: str = "bomb.pt"):
        path = tmp_path / name
        if data:
            path.write_bytes(data)
        command = [sys.executable, str(MEASURE), *os.environ.get("MEASURED", "inspect").split(), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = SimpleNamespace(**json.loads(done.stdout))
        assert found.cpu < MOST_SECONDS, found
        assert found.peak < MOST_BYTES, found
        judged = os.environ.get("MEASURED", "inspect").startswith(("scan", "check"))
        assert found.code in ((0, 1, 3) if judged else (0, 3)), found
        assert "Traceback" not in found.err, found
        return found

    return run
