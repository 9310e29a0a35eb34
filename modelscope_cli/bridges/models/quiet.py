"""Letting other people's code work without a word: what torch, transformers and a user's factory print is not our output."""

from __future__ import annotations

import gc
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Prints go to stderr, so that a picture on stdout stays one; warnings and logs go nowhere. Garbage is collected."""
    collecting, level = gc.isenabled(), logging.root.manager.disable
    gc.enable()  # the command line switches it off for its short life, but tracing leaves cycles of many MiB
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if not collecting:
            gc.disable()


@contextmanager
def silent() -> Iterator[None]:
    """Prints go nowhere either: torch writes out the whole program that it cannot follow."""
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
