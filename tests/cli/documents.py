"""What documents are, for the tests of the commands that write them."""

from __future__ import annotations

import csv
import io
import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REPORT, CHECK, BROKEN = ("report",), ("check", "--max-size", "1 GB"), ("check", "--max-size", "1 kB")
BOTH = pytest.mark.parametrize("command", [REPORT, CHECK], ids=["report", "check"])
FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
not_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable for root")


def is_a(suffix: str, text: str) -> bool:
    """Whether a text is of the format that a suffix asks for."""
    if suffix == ".json":
        return bool(json.loads(text)["checkpoints"])
    if suffix == ".xml":
        return ElementTree.fromstring(text).tag == "testsuites"
    if suffix in (".html", ".htm"):
        return text.lower().startswith("<!doctype html")
    if suffix in (".csv", ".tsv", ".tab"):
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter="," if suffix == ".csv" else "\t"))
        return len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 2
    return "### `decoder.pth`" in text


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
