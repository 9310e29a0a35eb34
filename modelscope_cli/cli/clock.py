"""The limits on time and memory: how many seconds of the processor it may take to read one file and to show what was read, and how
much memory.

The processor's time, because a file on a slow disk or network is no worse for it. The kernel counts (ITIMER_PROF) and tells us by
a signal, so that no loop of a reader has to look at a clock. Systems without such a timer (Windows) look between the files of a set
and at the end.

Memory is what the other limits keep small. This is the net below them: each ring of the timer looks at what is taken, and what a
single call of C takes is seen when it is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_cli.core.memory import taken_now

if TYPE_CHECKING:
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import LimitError

EVERY = 0.01  # seconds of the processor between looks
AGAIN = 1.0  # second: until it is raised once more, should something swallow the first
ITSELF = (
    64 << 20
)  # bytes that the command takes at most before it has read anything; where there is more, another program runs it
FOR_SCAN = 0.75  # of the seconds of a file, that scanning it may use up: the rest is for judging and showing what was found
TO_THE_END = 15 / 16  # of the limits, when work is ended, so that saying so is within them too
LEAST_BYTES = 16 << 20  # that a file may take whatever the limit is
LEAST_SECONDS = 0.25  # for all outputs together, whatever is left


class SpentError(BaseException):
    """Raised out of whatever is at work: no Exception, so that nothing on the way takes it for one of its own."""

    def __init__(self, limit: str, most: float):
        super().__init__(limit, most)
        self.limit = limit
        self.most = most

    def problem(self, path: str | None) -> LimitError:
        from modelscope_cli.errors import LimitError

        most = round(self.most)
        return LimitError(self.limit, most, f"more than {most:,}", path=path)


class Clock:
    """Raises LimitError, when it is left, for work that took too long or too much memory. 0 seconds or bytes: as much as it takes.

    What is done with one path one after the other shares its seconds, and inside of another clock it has its own, while the other
    waits. Memory is what the whole command takes: the limit for its first file, and on top of what is left of one for the next.
    """

    watching: ClassVar[bool] = False  # whether this process does nothing but one command, and ends with it
    running_now: ClassVar[list[Clock]] = []  # the innermost is the last
    used: ClassVar[dict[str, float]] = {}  # seconds by path
    written: ClassVar[float] = 0.0  # seconds of the outputs
    asked: ClassVar[bool] = False  # whether what is at work asks for itself, and is not to be stopped
    bounds: ClassVar[Limits | None] = None  # of the command
    whole: ClassVar[Clock | None] = None  # that of the command, while all its files are within the memory
    bare: ClassVar[int | None] = None  # bytes that were taken when the first file was begun
    allowed: ClassVar[int] = 0  # bytes

    def __init__(self, seconds: float, path: str, nbytes: int = 0, *, begins: bool = False):
        self.seconds = self.limit = seconds
        self.path = path
        self.nbytes = nbytes
        self.begins = begins
        self.writes = False
        self.answers = False  # what is at work asks it
        self.questions = 0
        self.share = 1.0  # of the seconds, that may be used for now
        self.began = 0.0
        self.raised = 0.0
        self.before: Any = None
        self.paused = (0.0, 0.0)  # what the timer of the other still had to count
        self.entered = 0.0
        self.running = False
        self.timed = False

    @classmethod
    def reading(cls, bounds: Limits, path: str) -> Clock:
        """For a file that is begun, or found: it may take the memory of the limits on top of what those before it left."""
        return cls(bounds.seconds, path, bounds.memory_bytes, begins=True)

    @classmethod
    def showing(cls, bounds: Limits, path: str) -> Clock:
        """For what is done with a file that was read."""
        return cls(bounds.seconds, path, bounds.memory_bytes)

    @classmethod
    def writing(cls, name: str) -> Clock:
        """For an output, about all files: in the seconds that they and the outputs before it left."""
        if cls.bounds is None:
            return cls(0, name)
        limit = cls.bounds.seconds
        most = limit * TO_THE_END
        left = max(sum(most - min(used, most) for used in cls.used.values()), LEAST_SECONDS) - cls.written
        clock = cls(limit and max(left, EVERY) / TO_THE_END, name, cls.bounds.memory_bytes)
        clock.limit = limit
        clock.writes = True
        return clock

    @classmethod
    def command(cls, bounds: Limits) -> None:
        """A command begins: nothing was used so far. Until its process ends, memory is looked at also where no other clock runs."""
        cls.bounds = bounds
        cls.used.clear()
        cls.bare, cls.allowed, cls.written = None, 0, 0.0
        if cls.watching and not cls.running_now:
            cls.whole = cls(0, "", bounds.memory_bytes, begins=True).__enter__()

    @classmethod
    def without_memory(cls) -> None:
        """From now on memory is looked at only where a file is read: what is at work has another measure."""
        if cls.whole is not None:
            cls.whole.nbytes = 0

    @classmethod
    def stop(cls) -> None:
        """Before the process ends, whatever is still running."""
        import signal

        if cls.running_now and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
            cls.running_now.clear()

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
        if self.nbytes and (self.begins or not Clock.allowed):
            taken = taken_now()
            if Clock.bare is None:
                Clock.bare = min(taken, ITSELF)
            Clock.allowed = max(Clock.allowed, taken + max(LEAST_BYTES, round(self.nbytes * TO_THE_END) - Clock.bare))
        self.begin()
        if self.path:
            start_up = self.entered if self.watching and not self.used else 0.0
            self.began -= self.used.get(self.path, start_up)
        return self

    def restart(self) -> None:
        """The next file of a set has all the time again."""
        if not self.timed and self.late():
            raise SpentError("seconds", self.limit)
        self.begin()

    def begin(self) -> None:
        """Count from now on, also where the time was up."""
        import signal

        if self.timed:
            signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        self.began = time.process_time()
        self.raised = 0.0

    def keep_for_the_end(self) -> None:
        """From what is left of the seconds now, keep some for what is done last."""
        used = time.process_time() - self.began
        self.share = 1 - (1 - FOR_SCAN) * max(0.0, 1 - used / (self.seconds * TO_THE_END)) if self.seconds else 1.0

    def last(self) -> None:
        """What is done last has all the seconds that are left; without a timer what was to be kept, which nobody kept."""
        self.share = 1.0
        self.raised = 0.0
        if not self.timed:
            self.began = max(self.began, time.process_time() - self.seconds * FOR_SCAN * TO_THE_END)

    @contextmanager
    def asking(self) -> Iterator[Callable[[], LimitError | None]]:
        """For work that asks for itself whether a limit is reached, and is not torn away from what it holds."""
        self.answers = True
        before, Clock.asked = Clock.asked, True
        try:
            yield self.ends
        finally:
            Clock.asked = before

    def ends(self) -> LimitError | None:
        """What is wrong where a limit is reached, for work that asks for itself. Not often about the memory, as that takes time."""
        self.questions += 1
        if self.late():
            return SpentError("seconds", self.limit).problem(self.path)
        if self.nbytes and self.questions % 64 == 0 and taken_now() > Clock.allowed:
            return SpentError("memory_bytes", self.nbytes).problem(self.path)
        return None

    def late(self) -> bool:
        """Whether it took too long."""
        return bool(self.seconds) and time.process_time() - self.began > self.seconds * self.share * TO_THE_END

    def rings(self, number: int, frame: FrameType | None) -> None:
        if not self.running or not self.running_now:  # a ring meant for a clock inside, heard when that one was left
            return
        if self.asked or (frame is not None and frame.f_code is Clock.__exit__.__code__):  # what was at work is done
            return
        if self.late():
            self.spent("seconds", self.limit)
        all_within = self.whole is None or self.whole.nbytes
        if self.nbytes and (self.begins or all_within) and taken_now() > Clock.allowed:
            self.spent("memory_bytes", self.nbytes)

    def spent(self, limit: str, most: float) -> None:
        """Raise it, but not again and again while what was at work is being left."""
        now = time.process_time()
        if not self.raised or now - self.raised > AGAIN:
            self.raised = now
            raise SpentError(limit, most)

    def note(self) -> None:
        """Keep what was used of the path's seconds."""
        if self.path:
            self.used[self.path] = time.process_time() - self.began

    def let_go(self, error: SpentError) -> None:
        """After a limit: hold on to nothing. After the memory was used up, what is done next starts from what is left."""
        import gc

        error.__context__ = None  # it, and the traceback, hold on to all that was being read
        error.with_traceback(None)
        if error.limit != "memory_bytes":
            return
        self.without_memory()  # what was found is to be judged and shown
        before, Clock.allowed = Clock.allowed, sys.maxsize
        if not self.seconds or time.process_time() - self.began < self.seconds / 2:  # else it would take too long
            gc.collect()
        Clock.allowed = max(before, taken_now() + round(self.nbytes * (1 - TO_THE_END) / 2))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import signal

        self.running = False
        self.running_now.remove(self)
        if isinstance(error, SpentError):
            self.let_go(error)  # which takes time too
        now = time.process_time()
        if self.writes:
            Clock.written += now - self.began
        else:
            self.note()
        for other in self.running_now:
            other.began += now - self.entered
        if error is None and not (self.timed or self.writes or self.answers) and self.late():
            error = SpentError("seconds", self.limit)
        if self.timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self.before)
            signal.setitimer(signal.ITIMER_PROF, *self.paused)
        if isinstance(error, SpentError):
            raise error.problem(self.path or None) from None
