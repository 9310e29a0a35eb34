"""Run a command of mscope and print its exit code, seconds (of the clock, and of the processor) and peak memory as JSON.

A program of its own, because the peak of a child is never less than that of the process it was started from.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

LONGEST = 120  # seconds of the clock, on a machine that has other things to do
CEILING = 3 << 30  # bytes of address space: what fails should fail alone


def main(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "modelscope_cli", *arguments]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST, preexec_fn=_confine, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, out, err = None, b"", b"timed out"
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    result = {
        "code": code,
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": peak,
        "printed": len(out) + len(err),
        "err": err[-2000:].decode("utf-8", "replace"),
    }
    print(json.dumps(result))


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))


if __name__ == "__main__":
    main(sys.argv[1:])
