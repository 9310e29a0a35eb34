"""`mscope diff`: its exit code, whoever reads what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope, process

JSON_PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"
FORMATS = pytest.mark.parametrize("format", ["table", "json", "markdown"])


@pytest.fixture
def pair(here):
    """Two models with more differences than a pipe holds, and no mscope.toml above them."""
    (here / ".git").mkdir()
    for name, size in (("old", 2), ("new", 3)):
        tensors = {f"{name}{number}.weight": ("F32", (number % 7 + size,)) for number in range(900)}
        (here / f"{name}.safetensors").write_bytes(safetensors_bytes(tensors))
    return here


def unread(*arguments: str, unbuffered: str = "") -> tuple[int, bytes]:
    """Exit code and stderr of a command whose stdout nobody reads."""
    command = [sys.executable, "-m", "modelscope_cli", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command,
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@FORMATS
def test_the_exit_code_says_whether_there_are_differences(pair, format):
    assert mscope("diff", "old.safetensors", "new.safetensors", "-f", format).code == 0
    assert mscope("diff", "old.safetensors", "new.safetensors", "-f", format, "--exit-code").code == 1
    assert mscope("diff", "old.safetensors", "old.safetensors", "-f", format, "--exit-code").code == 0
    assert mscope("diff", "old.safetensors", "gone.safetensors", "-f", format, "--exit-code").code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@FORMATS
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_says_so_to_a_reader_that_has_gone_too(pair, format, unbuffered):
    files = ("old.safetensors", "new.safetensors", "-f", format)
    assert unread("diff", *files, "--exit-code", unbuffered=unbuffered) == (1, b"")
    assert unread("diff", *files, unbuffered=unbuffered) == (0, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_what_could_not_be_read_is_said_all_the_same(pair):
    code, said = unread("diff", "old.safetensors", "gone.safetensors", "-f", "json")
    assert (code, said) == (3, b"mscope: gone.safetensors: no such file or folder\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@FORMATS
def test_a_full_disk_is_no_difference(pair, format):
    with open("/dev/full", "w") as full:
        done = process("diff", "old.safetensors", "new.safetensors", "--exit-code", "-f", format, stdout=full)
    assert (done.returncode, done.stderr) == (3, "mscope: the output cannot be written: no space left on device\n")


def test_the_keys_of_its_json_are_written_down():
    """The tables that the code can write, against the page: `moved` was `moves` there once, and `imports` was left out."""
    from modelscope_cli.analysis import diff_tables

    names = set(re.findall(r'Table\("(\w+)"', Path(diff_tables.__file__).read_text(encoding="utf-8")))
    assert len(names) > 5
    section = JSON_PAGE.read_text(encoding="utf-8").partition("## `mscope diff`")[2]
    assert names <= set(re.findall(r"`(\w+)`", section))
    assert "moves" not in section
