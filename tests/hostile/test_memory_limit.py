"""The net below all limits: what takes more memory is ended, and that is told like any other limit."""

from __future__ import annotations

import json
import signal

import pytest

from tests.builders.pickle_code import APPENDS, EMPTY_DICT, EMPTY_LIST, MARK, POP, STOP, call, proto
from tests.builders.safetensors_file import safetensors_bytes
from tests.command import process

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that counts processor time")
LITTLE = 64_000_000
TOLD = f"memory bytes: more than the limit of {LITTLE:,} - if you trust the file, raise it with --limit memory_bytes=VALUE"
SMALL = safetensors_bytes({"a.weight": ("F32", (2, 3))})
LARGE = safetensors_bytes({f"layers.{number}.{number % 7}.weight": ("U8", (1 + number % 5,)) for number in range(120_000)})
COMMANDS = [
    ("inspect",),
    ("inspect", "-f", "json"),
    ("report", "-o", "out.html"),
    ("check", "--max-size", "1GB"),
    ("baseline", "save", "-o", "out.json"),
    ("init", "-o", "-"),
    ("visualize", "-o", "out.svg", "--engine", "treemap"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.safetensors").write_bytes(LARGE)
    (tmp_path / "small.safetensors").write_bytes(SMALL)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:3]))
def test_a_file_that_takes_more_is_told(here, command):
    done = process(*command, "large.safetensors", "--limit", f"memory_bytes={LITTLE}")
    assert (done.returncode, done.stderr) == (3, f"mscope: large.safetensors: {TOLD}\n")
    assert not list(here.glob("out.*")) or command[0] == "report"


def test_both_sides_of_a_diff_have_to_fit(here):
    done = process("diff", "large.safetensors", "small.safetensors", "--limit", f"memory_bytes={LITTLE}")
    assert (done.returncode, TOLD in done.stderr) == (3, True)


def test_without_a_limit_and_with_a_higher_one_it_is_read(here):
    for value in (0, 1 << 30):
        assert process("inspect", "large.safetensors", "--limit", f"memory_bytes={value}").returncode == 0


def test_a_large_file_does_not_lose_the_others(here):
    done = process("inspect", "large.safetensors", "small.safetensors", "--limit", f"memory_bytes={LITTLE}")
    assert (done.returncode, TOLD in done.stderr, "small.safetensors" in done.stdout) == (3, True, True)


def test_a_large_file_does_not_lose_the_others_of_a_folder(here):
    """Scans of them, and the commands that scan while they read; what was found in it before is told too."""
    names = b"".join(b"cm%d\nn%d\n0" % (number, number) for number in range(19_000))
    (here / "large.safetensors").unlink()
    (here / "hog.pkl").write_bytes(proto() + call("posix.system", "id") + POP + EMPTY_LIST + MARK + EMPTY_DICT * 900_000 + APPENDS + STOP)
    (here / "evil.pkl").write_bytes(proto() + call("posix.system", "id") + names + STOP)
    for command in (("scan",), ("check", "--forbid-unsafe"), ("report",)):
        done = process(*command, ".", "-f", "json", "--limit", "memory_bytes=80000000")
        found = json.dumps(json.loads(done.stdout))
        assert done.returncode == (3 if command == ("report",) else 1), done.stderr
        assert "more than the limit of 80,000,000" in found
        assert "hog.pkl" in found
        assert "posix.system" in found or command == ("check", "--forbid-unsafe")
