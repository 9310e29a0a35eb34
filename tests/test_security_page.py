"""SECURITY.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PROMISES = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (REPOSITORY / "SECURITY.md").read_text())


def test_every_promise_is_held_by_a_test_that_is_there():
    assert len(PROMISES) > 20
    for path, name in PROMISES:
        text = (REPOSITORY / path).read_text()
        assert re.search(rf"^def {name or 'test_'}", text, re.MULTILINE), f"{path}::{name}"


def test_every_row_has_one():
    rows = re.findall(r"^\| (?!promise|---)(.*) \|$", (REPOSITORY / "SECURITY.md").read_text(), re.MULTILINE)
    assert all("`tests/" in row.rpartition(" | ")[2] for row in rows)
