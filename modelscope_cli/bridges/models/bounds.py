"""Bounds on what somebody's numbers may cost: a config.json can ask for a model that no machine can make."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_cli.errors import DrawingError

EVERY = 0.25  # seconds between looks
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


@contextmanager
def bounded(what: str, seconds: float, nbytes: int) -> Iterator[None]:
    """Work that ends with DrawingError when it takes longer, or more memory on top of what is taken already.

    Looked at between instructions of Python. Where there are no signals (Windows, another thread) there is no bound.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    import resource

    started = time.monotonic()
    at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT

    def look(*_: Any) -> None:
        if time.monotonic() - started > seconds:
            raise DrawingError(f"{what} is not done after {seconds:.0f} seconds")
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT - at_first
        if taken > nbytes:
            raise DrawingError(f"{what} takes more than {nbytes / (1 << 30):.1f} GiB of memory")

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
