"""Scan bytes in memory, as `mscope scan` does a file."""

from __future__ import annotations

from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_window


def scanned(data: bytes, name: str = "model.pt", limits: Limits = DEFAULT_LIMITS) -> Safety:
    """The verdict on bytes under a name."""
    return Safety(scan_window(MemoryWindow(data, name), limits, read_window))


def codes(safety: Safety) -> set[str]:
    return {found.code for found in safety.found}


def paths(safety: Safety) -> set[str]:
    """The names it would import."""
    return {item.path for item in safety.imports}
