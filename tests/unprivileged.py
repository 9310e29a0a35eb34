"""Processes that permissions hold for: root without the right to read and write whatever it likes."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import pytest

DROP_FROM_BOUNDS = 24  # PR_CAPBSET_DROP: what a program started from here can never get again
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def options() -> dict[str, Any]:
    """Options of subprocess with which a child is bound by permissions. Skips the test where that cannot be had."""
    if sys.platform == "win32":
        pytest.skip("permission bits")
    if os.geteuid() != 0:
        return {}
    if sys.platform != "linux":
        pytest.skip("root may read and write everything")
    library = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        os._exit(int(any(library.prctl(DROP_FROM_BOUNDS, right, 0, 0, 0) for right in OVERRIDES)))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        pytest.skip("root may read and write everything, and cannot give that up here")

    def give_up() -> None:
        for right in OVERRIDES:
            library.prctl(DROP_FROM_BOUNDS, right, 0, 0, 0)

    return {"preexec_fn": give_up}
