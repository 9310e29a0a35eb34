"""A verdict that was reached counts, whatever limit ends the work that comes after it."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import subprocess
import sys
import time

import pytest

from modelscope_cli.analysis.safety import SURELY_JUDGED, Safety
from modelscope_cli.cli.clock import Clock
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_window
from tests.builders.attacks import ATTACKS
from tests.builders.pickle_code import call, instance, pickled
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes

timed = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that counts processor time")

SPENDING = """
import importlib, sys, time
def slow(*_, **__):
    end = time.process_time() + 30
    while time.process_time() < end: pass
def greedy(*_, **__):
    held = []
    end = time.process_time() + 30
    while time.process_time() < end: held.append(bytes(1 << 20) + b'.')
module, name, spending = sys.argv.pop(1).split(":")
setattr(importlib.import_module(module), name, globals()[spending])
from modelscope_cli.cli.app import main
main()
"""
WITHOUT_TIMER = """
import signal
del signal.setitimer
from modelscope_cli.formats import scanning
from time import process_time
real = scanning.scan_window
def late(*arguments):
    found = real(*arguments)
    end = process_time() + 2
    while process_time() < end: pass
    return found
scanning.scan_window = late
from modelscope_cli.cli.app import main
main()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "evil.pkl").write_bytes(ATTACKS["reduce"][0])
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    hidden = torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}, records={"extra/x": ATTACKS["reduce"][0]})
    (tmp_path / "hidden.pt").write_bytes(hidden)
    return tmp_path


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@timed
@pytest.mark.parametrize(("spending", "limit"), [("slow", "seconds=1"), ("greedy", "memory_bytes=120000000")])
def test_a_scan_without_time_or_memory_for_its_report(here, spending, limit):
    place = f"modelscope_cli.analysis.safety_report:to_report:{spending}"
    done = run(SPENDING, place, "scan", "evil.pkl", "good.pt", "-f", "json", "--limit", limit)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith(f"mscope: the report: {limit.partition('=')[0].replace('_', ' ')}: more than the limit of")
    assert second.startswith("mscope: evil.pkl: it is dangerous: calls ")
    document = json.loads(done.stdout)
    assert [problem["path"] for problem in document["errors"]] == ["the report"]


@timed
def test_a_scan_of_harmless_files_without_time_for_its_report(here):
    place = "modelscope_cli.analysis.safety_report:to_report:slow"
    assert run(SPENDING, place, "scan", "good.pt", "--limit", "seconds=1").returncode == 3


@timed
def test_a_scan_without_memory_before_its_report(here):
    place = "modelscope_cli.cli.policies:Criteria.tell:greedy"
    code = SPENDING.replace("setattr(importlib.import_module(module), name,", "setattr(Criteria, 'tell',")
    code = code.replace("import importlib,", "from modelscope_cli.cli.policies import Criteria\nimport importlib,")
    done = run(code, place, "scan", "evil.pkl", "--limit", "memory_bytes=120000000")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@timed
@pytest.mark.parametrize("command", ["check", "report"])
def test_a_model_that_is_dangerous_and_too_slow(here, command):
    asked = ("--forbid-unsafe", "--max-size", "1GB") if command == "check" else ()
    place = "modelscope_cli.analysis.overview:inspect:slow"
    done = run(SPENDING, place, command, "hidden.pt", *asked, "-o", "out.md", "--limit", "seconds=1")
    assert done.returncode == (1 if command == "check" else 3)
    assert done.stderr == (
        "mscope: hidden.pt: seconds: more than the limit of 1 - if you trust the file, raise it with --limit seconds=VALUE\n"
    )
    assert "dangerous" in (here / "out.md").read_text(encoding="utf-8").lower()


def test_what_took_too_long_is_judged_where_no_timer_stops_it(here):
    done = run(WITHOUT_TIMER, "scan", "evil.pkl", "--limit", "seconds=1")
    assert done.returncode == 1
    assert "dangerous" in done.stdout


def test_the_first_names_are_judged_when_all_is_spent():
    def judged(others: int) -> Safety:
        names = [instance(f"shop{number}.Cart", {}) for number in range(others)]
        window = MemoryWindow(pickled([*names, call("os.system", "id")]), "x.pkl")
        spent = LimitError("seconds", 10, "more than 10", path="x.pkl")
        return Safety(scan_window(window, DEFAULT_LIMITS, read_window), None, lambda: spent)

    assert judged(SURELY_JUDGED - 10).verdict == "dangerous"
    late = judged(2 * SURELY_JUDGED)
    assert late.verdict == "unknown"
    assert str(late.problem) == "x.pkl: seconds: more than the limit of 10"


@pytest.fixture
def no_collection():
    """As in a command: what is called while garbage is collected would swallow the error."""
    gc.disable()
    yield
    gc.enable()


@timed
@pytest.mark.usefixtures("no_collection")
def test_a_limit_that_is_reached_while_a_clock_is_left_is_an_error_like_any():
    def work() -> None:
        held = [[number] for number in range(300_000)]  # taken apart when this returns, while no signal is heard
        assert held

    began = time.process_time()
    work()
    whole = time.process_time() - began
    for part in range(30):
        Clock.command(DEFAULT_LIMITS)
        clock = Clock(whole * (0.5 + part / 50), "a.pt")
        with contextlib.suppress(LimitError), clock:
            work()
        assert clock not in Clock.running_now
