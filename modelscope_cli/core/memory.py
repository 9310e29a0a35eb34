"""How much memory this process has taken: what the net below all limits (cli/clock.py) and the making of models (bridges) look at."""

from __future__ import annotations

import os
import sys

RESIDENT = 1  # the field of statm; in pages
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def taken_now() -> int:
    """Bytes of memory that are resident. Where the system does not say (macOS), the most that ever were; 0 where it says nothing (Windows)."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[RESIDENT]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        try:
            import resource
        except ImportError:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
