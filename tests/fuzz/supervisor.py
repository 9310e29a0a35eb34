"""Runs one target until so many seconds brought no new edge, and adds what was done to its record.

libFuzzer itself stops after a time or a number of runs only; when the last new edge was found is read from the lines it prints,
such as `#8192 NEW cov: 1615 ft: 4021 corp: 183/91Kb`. Seconds are those in which the processor worked on it, so that a busy machine
makes a run longer, not shorter.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpora import unpack
from tests.fuzz.record import Record, load, save

EXECUTED = re.compile(rb"^stat::number_of_executed_units: (\d+)", re.MULTILINE)
STATUS = re.compile(rb"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)")
SECONDS_AN_INPUT = 60  # six times those of `--limit seconds`: watched code is that much slower
TICKS = os.sysconf("SC_CLK_TCK")
OPTIONS = (f"-timeout={SECONDS_AN_INPUT}", "-rss_limit_mb=2048", "-report_slow_units=5", "-print_final_stats=1")


def worked(process: int) -> float:
    """Seconds of processor time of a process that has not been waited for (user and system time in `/proc/PID/stat`, proc(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fuzz_until_quiet(name: str, kept: Path, quiet: float, most: float, longest: int) -> bool:
    """False if an input broke something; the log is kept beside the corpus.

    Quiet time of earlier runs counts when this run begins with no fewer edges than they ended with and finds none.
    """
    kept.mkdir(parents=True, exist_ok=True)
    unpack(name, kept)
    before = load(kept, name)
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(kept), f"-max_len={longest}", *OPTIONS]
    executions, edges, corpus, ended, newest = 0, before.edges, before.corpus, 0.0, None
    finished = False
    with (
        (kept / f"{name}.log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as worker,
        selectors.DefaultSelector() as ready,
    ):
        assert worker.stderr is not None
        ready.register(worker.stderr, selectors.EVENT_READ)
        pending = b""
        while True:
            ended = worked(worker.pid)
            silent = ended - newest if newest is not None else before.quiet + ended
            if silent >= quiet or ended >= most:
                finished = True
                break
            if not ready.select(timeout=1):
                continue
            read = worker.stderr.read1(65_536)  # type: ignore[attr-defined]
            if not read:
                break
            log.write(read)
            log.flush()
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                if status := STATUS.match(line):
                    executions, now_edges, corpus = (int(figure) for figure in status.groups())
                    if now_edges > edges:
                        edges, newest = now_edges, ended
        worker.terminate()
        rest = worker.stderr.read()
        log.write(rest)
    if executed := EXECUTED.search(rest):
        executions = int(executed[1])
    silent = ended - newest if newest is not None else before.quiet + ended
    save(kept, name, Record(before.executions + executions, before.seconds + ended, silent, edges, corpus))
    return finished
