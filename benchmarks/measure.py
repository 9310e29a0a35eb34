"""Measure whole processes: wall time, processor time and peak memory of a child, from its exit to the reaping parent.

Times on a busy machine drift by tens of per cent within a minute, so nothing here is compared across minutes: every
baseline run has a run of the subject right before it, and what counts is the median of the ratios of these pairs.

The peak of a child starts at the peak of the process that spawned it (the kernel carries the number over exec), so this
module and everything that runs beside it in the parent import next to nothing; `floor()` tells how much that is.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere


class Sample(NamedTuple):
    """One run. `peak` in bytes, times in seconds; `cpu` is user and system time together."""

    wall: float
    cpu: float
    peak: int
    output: str


class RunError(Exception):
    """The command did not exit with 0; the message names the last line that says why."""


def once(command: Sequence[str], keep_output: bool = False, fine: Sequence[int] = (0,)) -> Sample:
    """Run a command to its end; other exit codes than `fine` raise RunError.

    Its output goes to a file or nowhere, so that no pipe has to be drained meanwhile.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as kept, open(os.devnull, "wb") as nowhere:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=kept if keep_output else nowhere, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output = ""
        if keep_output:
            kept.seek(0)
            output = kept.read().decode(errors="replace")
        if child.returncode not in fine:
            errors.seek(0)
            lines = (output + errors.read().decode(errors="replace")).strip().splitlines() or ["no message"]
            said = next((line for line in reversed(lines) if "Error" in line), lines[-1])
            raise RunError(f"exit {child.returncode}: {said.strip(' ,')}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT, output)


def floor() -> int:
    """Peak of this process in bytes: no child can be seen to have less."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The values a quarter in from either end."""
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
