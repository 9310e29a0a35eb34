"""The limit on time: how many seconds of the processor it may take to read one file, and again to show what was read.

The processor's time, because a file on a slow disk or network is no worse for it. The kernel counts (ITIMER_PROF) and tells us by
a signal, so that no loop of a reader has to look at a clock. Systems without such a timer (Windows) look between the files of a set
and at the end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, ClassVar

A_YEAR = 365 * 24 * 3_600  # seconds; timers do not count to any number


class TimeUpError(BaseException):
    """Raised out of whatever is at work: no Exception, so that nothing on the way takes it for one of its own."""


class Clock:
    """Raises LimitError, when it is left, for work that took too long. 0 seconds: as long as it takes.

    Inside of another it has its own seconds, and the other waits.
    """

    running_now: ClassVar[list[Clock]] = []  # the innermost is the last

    def __init__(self, seconds: int, path: str):
        self.seconds = seconds
        self.path = path
        self.began = 0.0
        self.before: Any = None
        self.paused = (0.0, 0.0)  # what the timer of the other still had to count
        self.entered = 0.0
        self.running = False
        self.timed = False

    def __enter__(self) -> Clock:
        import signal

        if hasattr(signal, "setitimer"):
            with suppress(ValueError):  # in a thread that is not the main one, which hears no signals
                self.before = signal.signal(signal.SIGPROF, self.rings)
                self.paused = signal.setitimer(signal.ITIMER_PROF, 0)
                self.timed = True
        self.entered = time.process_time()
        self.running_now.append(self)
        self.running = True
        self.restart()
        return self

    def restart(self) -> None:
        """The next file of a set has all the time again."""
        if not self.timed and self.began and self.late():
            raise TimeUpError
        self.begin()

    def begin(self) -> None:
        """Count from now on, also where the time was up."""
        import signal

        if self.timed:
            every = 1.0  # second: and again, should something swallow the first
            signal.setitimer(signal.ITIMER_PROF, min(self.seconds, A_YEAR), every)
        self.began = time.process_time()

    def late(self) -> bool:
        """Whether it took too long."""
        return bool(self.seconds) and time.process_time() - self.began > self.seconds

    def rings(self, number: int, frame: FrameType | None) -> None:
        if self.running and self.late():  # not a ring meant for a clock inside, heard when that one was left
            raise TimeUpError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import signal

        from modelscope_cli.errors import LimitError

        self.running = False
        self.running_now.remove(self)
        for other in self.running_now:
            other.began += time.process_time() - self.entered
        if self.timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self.before)
            signal.setitimer(signal.ITIMER_PROF, *self.paused)
        if isinstance(error, TimeUpError) or (error is None and not self.timed and self.late()):
            raise LimitError("seconds", self.seconds, f"more than {self.seconds:,}", path=self.path) from None
