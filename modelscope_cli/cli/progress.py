"""Long work, shown while it lasts: on stderr, only where that is a terminal, and only after a second."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

PATIENCE = 1.0  # seconds


class LateProgress:
    """A bar for a read of many files, or of a large archive."""

    def __init__(self, path: str):
        self.path = path
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def step(self, done: int, whole: int) -> None:
        """Say that `done` of `whole` files have been read."""
        if self.shown():
            from modelscope_cli.render.plain import visible

            self.bar.update(self.task, description=visible(os.path.basename(self.path)), completed=done, total=whole)

    def unpacking(self, done: int, whole: int) -> None:
        """Say that `done` of `whole` bytes of an archive have been unpacked."""
        if self.shown():
            from modelscope_cli.render.units import size

            said = f"unpacking {size(done, 'si')} of {size(whole, 'si')}"
            self.bar.update(self.task, description=said, completed=done, total=whole)

    def shown(self) -> bool:
        """Whether there is a bar, by now."""
        if self.bar is None and time.monotonic() - self.started >= PATIENCE and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=None)
            self.bar.start()
        return self.bar is not None

    def __enter__(self) -> LateProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()


class LateStatus:
    """A line that says what is being done, for work in steps of unknown length."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.status: Any = None
        self.timer: Any = None
        self.text = ""

    def step(self, text: str) -> None:
        """Say what is being done from now on."""
        from modelscope_cli.render.plain import visible

        self.text = visible(text)
        if self.status is not None:
            self.status.update(f"{self.text} …")
        elif self.timer is None and sys.stderr.isatty():
            import threading

            self.timer = threading.Timer(max(0.0, PATIENCE - (time.monotonic() - self.started)), self.show)
            self.timer.daemon = True
            self.timer.start()

    def show(self) -> None:
        from rich.console import Console

        self.status = Console(stderr=True, highlight=False).status(f"{self.text} …")
        self.status.start()

    def stop(self) -> None:
        """Take the line away."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer.join()
        if self.status is not None:
            self.status.stop()

    def __enter__(self) -> LateStatus:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
