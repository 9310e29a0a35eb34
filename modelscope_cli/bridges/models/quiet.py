"""Letting other people's code work without a word: what torch, transformers and a user's factory print is not our output."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Prints go to stderr, those of programs it starts too, so that a picture on stdout stays one; warnings and logs go nowhere.

    Garbage is collected: the command line switches that off for its short life, but tracing leaves cycles of many MiB.
    """
    collecting, level = gc.isenabled(), logging.root.manager.disable
    gc.enable()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), stdout_to_stderr(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if not collecting:
            gc.disable()


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What is written to the descriptor of stdout comes out on that of stderr."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError, AttributeError):  # closed, or none
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def silent() -> Iterator[None]:
    """Prints go nowhere either: torch writes out the whole program that it cannot follow."""
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
