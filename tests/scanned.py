"""Scan bytes in memory or a folder of files, as `mscope scan` does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from modelscope_cli.analysis.policy import grave
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.analysis.safety_report import to_report
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_file, scan_window
from modelscope_cli.render.json import render as render_json
from modelscope_cli.render.registry import Look
from modelscope_cli.render.sarif import render as render_sarif
from modelscope_cli.report.document import EVERYTHING, READABLE, Document

MOST_REPORTED = 2_000_000


def scanned(data: bytes, name: str = "model.pt", limits: Limits = DEFAULT_LIMITS) -> Safety:
    """The verdict on bytes under a name."""
    return Safety(scan_window(MemoryWindow(data, name), limits, read_window))


def in_a_folder(folder: Path, files: Mapping[str, bytes]) -> dict[str, Safety]:
    """The verdict on each file of a folder that is made of them."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {name: Safety(scan_file(str(folder / name), DEFAULT_LIMITS, read_window)) for name in files}


def codes(safety: Safety) -> set[str]:
    return {found.code for found in safety.found}


def paths(safety: Safety) -> set[str]:
    """The names it would import."""
    return {item.path for item in safety.imports}


def check_scan(data: bytes, name: str = "model.pt", limits: Limits = DEFAULT_LIMITS, reported: set[int] | None = None) -> None:
    """There is a verdict, none milder than what was found deserves, and every report of it can be made.

    Of two that differ in numbers only one report is made where `reported` keeps which there were.
    """
    safety = scanned(data, name, limits)
    levels = {*[found.level for found in safety.found], *[item.judgement.level for item in safety.imports]}
    if safety.verdict is None:
        assert not levels, levels
    else:
        assert all(grave(level) <= grave(safety.verdict) for level in levels), (safety.verdict, levels)
    assert safety.why
    if reported is not None:
        said = (safety.verdict, safety.why, safety.found, safety.imports, safety.calls, safety.scanned.unseen, safety.scanned.problem)
        likeness = hash(re.sub(r"\d+", "0", repr(said)))
        if likeness in reported:
            return
        if len(reported) < MOST_REPORTED:
            reported.add(likeness)
    to_report([safety], READABLE, name)
    document = Document("mscope.scan/1", [to_report([safety, safety], EVERYTHING, name)])
    assert render_json(document, Look())
    assert render_sarif(document, Look())
