"""SECURITY.md names tests that pytest runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def collected(folder: Path, files: list[str]) -> tuple[set[str], str]:
    """(names of the tests that pytest finds in files, what it says): `path` and `path::function` of each."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-o", "addopts=", "-q", "-rs", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=folder, timeout=300)
    nodes = re.findall(r"^(\S+?\.py)::(\w+)", done.stdout, re.MULTILINE)
    return {path for path, _ in nodes} | {f"{path}::{name}" for path, name in nodes}, done.stdout + done.stderr


def lacking(folder: Path, promises: list[tuple[str, str]]) -> list[str]:
    """The promises of which pytest collects no test. A file that is skipped where a framework is missing counts as there."""
    found, said = collected(folder, sorted({path for path, _ in promises}))
    skipped = set(re.findall(r"^SKIPPED \[\d+\] (\S+?\.py):", said, re.MULTILINE))
    named = [(path, f"{path}::{name}" if name else path) for path, name in promises]
    return [whole for path, whole in named if whole not in found and path not in skipped]


def test_every_promise_is_held_by_a_test_that_runs():
    assert len(PROMISES) > 20
    assert lacking(REPOSITORY, PROMISES) == []


def test_every_row_has_one():
    rows = re.findall(r"^\| (?!promise|---)(.*) \|$", PAGE, re.MULTILINE)
    assert rows
    assert all("`tests/" in row.rpartition(" | ")[2] for row in rows)


def test_a_name_alone_is_not_enough(tmp_path):
    texts = {
        "other": "def test_other(): pass\n",
        "method": "class Helper:\n    def test_it(self): pass\n",
        "never": "if False:\n    def test_it(): pass\n",
        "quoted": 'TEXT = """\ndef test_it(): pass\n"""\n',
        "deleted": "def test_it(): pass\n\n\ndel test_it\n",
        "broken": "raise ImportError\n\n\ndef test_it(): pass\n",
        "good": "def test_it(): pass\n",
        "several": "class TestIt:\n    def test_it(self): pass\n",
    }
    (tmp_path / "tests").mkdir()
    for name, text in texts.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)
    wrong = [f"tests/test_{name}.py::test_it" for name in texts if name != "good"]
    assert lacking(tmp_path, [(f"tests/test_{name}.py", "test_it") for name in texts]) == wrong
    assert lacking(tmp_path, [("tests/test_several.py", ""), ("tests/test_deleted.py", "")]) == ["tests/test_deleted.py"]
