"""Paths as they are shown where there is little room. What lies in an archive is `backup.zip!/dir/model.pt`."""

from __future__ import annotations

import os

SEPARATOR = "!/"


def typed(path: str) -> str:
    """A path as it can be given to a shell, which takes ! for something else."""
    return f"'{path}'" if SEPARATOR[0] in path else path


def short_name(path: str) -> str:
    """The name of a file; of one in an archive that of the archive and the way from there."""
    at = path.find(SEPARATOR)
    return os.path.basename(path) if at < 0 else os.path.basename(path[:at]) + path[at:]
