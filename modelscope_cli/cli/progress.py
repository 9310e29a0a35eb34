"""Long work, shown while it lasts: on stderr, only where that is a terminal, and only after a second."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

PATIENCE = 1.0  # seconds


class LateProgress:
    """A bar for a read of many files."""

    def __init__(self, path: str):
        self.path = path
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def step(self, done: int, whole: int) -> None:
        """Say that `done` of `whole` files have been read."""
        if self.bar is None:
            if time.monotonic() - self.started < PATIENCE or not sys.stderr.isatty():
                return
            from rich.console import Console
            from rich.progress import Progress

            from modelscope_cli.render.plain import visible

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(visible(os.path.basename(self.path)), total=whole)
            self.bar.start()
        self.bar.update(self.task, completed=done)

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
