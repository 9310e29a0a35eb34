"""Each code that a scan can give has its row, each row is given somewhere, and the page shows them as they are."""

from __future__ import annotations

import ast
from pathlib import Path

from modelscope_cli.core.scan_codes import LEVELS, SCAN_CODES
from tests.scan_page import page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modelscope_cli"
GIVING = [
    *sorted((PACKAGE / "formats").rglob("scan*.py")),
    PACKAGE / "formats" / "export_specs.py",
    *[PACKAGE / "containers" / f"{name}_directory.py" for name in ("zip", "tar")],
    *[PACKAGE / "analysis" / f"{name}.py" for name in ("safety", "operators", "targets")],
    *[PACKAGE / "containers" / f"{name}.py" for name in ("odd_states", "odd_shapes", "tolerant_machine", "judging_machine", "pickle_frames")],
]
BY_LEVEL = {f"{level}-import" for level in ("dangerous", "suspicious")}  # put together from the level


def given() -> set[str]:
    """The codes in the calls of `sign`, `Sign`, `Note` and `Found`."""
    found = set()
    for path in GIVING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in ("sign", "Sign", "Note", "Found"):
                    at = 1 if called == "Found" else 0
                    found |= {one.value for one in ast.walk(node.args[at]) if isinstance(one, ast.Constant) and str(one.value)[1:].count("-")}
                    found |= {node.args[at].value} if isinstance(node.args[at], ast.Constant) else set()
    return found


def test_every_code_has_its_row_and_every_row_is_given():
    missing = given() - SCAN_CODES.keys()
    assert not missing
    source = "\n".join(path.read_text(encoding="utf-8") for path in GIVING)
    assert not {code for code in SCAN_CODES.keys() - BY_LEVEL if f'"{code}"' not in source}


def test_rows_are_whole_sentences():
    for code, row in SCAN_CODES.items():
        assert row.level in LEVELS, code
        assert all(sentence.endswith(".") for sentence in (row.meaning, row.advice)), code
        assert not row.title.endswith("."), code


def test_the_page_shows_the_rows():
    assert (ROOT / "docs" / "scan.md").read_text(encoding="utf-8") == page(), "python -m tests.scan_page > docs/scan.md"
