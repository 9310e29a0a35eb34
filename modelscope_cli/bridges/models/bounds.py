"""Bounds on what somebody's numbers may cost: a config.json can ask for a model that no machine can make."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_cli.core.memory import taken_now
from modelscope_cli.errors import DrawingError

EVERY = 0.25  # seconds between looks


@contextmanager
def bounded(what: str, seconds: float, nbytes: int) -> Iterator[None]:
    """Work that ends with DrawingError when it takes longer, or more memory on top of what is taken already.

    Looked at between instructions of Python. Where there are no signals (Windows, another thread) there is no bound.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    started = time.monotonic()
    at_first = taken_now()

    def look(*_: Any) -> None:
        if time.monotonic() - started > seconds:
            raise DrawingError(f"{what} is not done after {seconds:.0f} seconds")
        if taken_now() - at_first > nbytes:
            raise DrawingError(f"{what} takes more than {nbytes / (1 << 30):.1f} GiB of memory")

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
