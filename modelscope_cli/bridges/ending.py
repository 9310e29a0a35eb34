"""Being asked to end (SIGTERM, SIGHUP) while something is at work that would outlive this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
CODE = 128  # plus the number of the signal: what shells report


class Ending:
    """A signal raises SystemExit where it is allowed to; else it waits."""

    def __init__(self) -> None:
        self.allowed = False
        self.asked = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or number
        self.leave_if_asked()

    def allow(self) -> None:
        self.allowed = True
        self.leave_if_asked()

    def defer(self) -> None:
        self.allowed = False

    def leave_if_asked(self) -> None:
        if self.asked and self.allowed:
            self.allowed = False  # once: what cleans up afterwards must not be stopped by a second signal
            raise SystemExit(CODE + self.asked)


@contextmanager
def deferred_end() -> Iterator[Ending]:
    """Signals wait until `allow()`, and again after `defer()`. One that still waits at the end has its way then.

    Whoever ignores a signal (nohup) or handles it goes on doing so. Threads other than the main one get none.
    """
    ending = Ending()
    before = []
    if threading.current_thread() is threading.main_thread():
        before = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in before:
        signal.signal(number, ending.handle)
    try:
        yield ending
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
    ending.allow()
