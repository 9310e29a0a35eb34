"""Limits: one value, changed in one way by every command that reads, and explained where it is changed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelscope_cli.cli.clock import LEAST_SECONDS, TO_THE_END, Clock
from modelscope_cli.cli.reading import in_time
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits, explained
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.locate import locate
from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope, words
from tests.limits_page import page

ROOT = Path(__file__).parents[1]
READING = [
    ("inspect",), ("report",), ("check", "--max-size", "1GB"), ("visualize", "-f", "svg"), ("baseline", "save"), ("init", "-o", "-"),
    ("diff", "model.safetensors")]  # fmt: skip
timed = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that counts processor time")


@pytest.fixture(autouse=True)
def nothing_used():
    """As when a command begins."""
    Clock.command(DEFAULT_LIMITS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({f"l.{n}.weight": ("F32", (2, 3)) for n in range(5)}))
    return tmp_path


# What they are, and where that is said


def test_each_is_explained():
    rows = explained()
    assert tuple(name for name, _, _ in rows) == Limits._fields
    assert all(meaning for _, _, meaning in rows)
    assert {name: default for name, default, _ in rows} == DEFAULT_LIMITS._asdict()


def test_the_page_is_made_from_the_source():
    assert (ROOT / "docs" / "limits.md").read_text(encoding="utf-8") == page(), "python -m tests.limits_page > docs/limits.md"


@pytest.mark.parametrize("command", ["inspect", "report", "check", "scan", "visualize", "diff", "init"])
def test_every_command_that_reads_explains_them(command):
    assert "--limit help lists them" in words(mscope(command, "--help").out)
    listed = mscope(command, "--limit", "help")
    assert listed.code == 0
    for name, default, meaning in explained():
        assert any(line.split()[:2] == [name, f"{default:,}"] and line.endswith(meaning) for line in listed.out.splitlines())


def test_a_group_of_commands_does_too():
    assert "--limit help lists them" in words(mscope("baseline", "save", "--help").out)
    assert mscope("baseline", "save", "--limit", "help").code == 0


# What changing one does


@pytest.mark.parametrize("command", READING, ids=lambda each: each[0])
def test_every_command_keeps_them(here, command):
    done = mscope(*command, "model.safetensors", "--limit", "tensors=4")
    assert done.code == 3
    assert "tensors: 5 found, the limit is 4" in done.err
    assert "--limit tensors=VALUE" in done.err
    assert mscope(*command, "model.safetensors", "--limit", "tensors=5").code == 0


@pytest.mark.parametrize(("change", "said"), [("tensor=4", "no limit is called 'tensor'"), ("tensors", "needs a whole number"),
    ("tensors=many", "needs a whole number"), ("tensors=-1", "needs a whole number"), ("tensors=", "needs a whole number")])  # fmt: skip
def test_a_change_that_is_none(here, change, said):
    done = mscope("inspect", "model.safetensors", "--limit", change)
    assert done.code == 2
    assert said in words(done.err)


def test_of_two_changes_the_last_counts():
    changed = DEFAULT_LIMITS.replace(["tensors=1", "shards=2", "tensors=1_000"])
    assert (changed.tensors, changed.shards) == (1_000, 2)
    assert changed._replace(tensors=DEFAULT_LIMITS.tensors, shards=DEFAULT_LIMITS.shards) == DEFAULT_LIMITS


# Seconds


def spin(seconds: float) -> None:
    """Use the processor for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@timed
def test_the_clock_stops_what_takes_too_long():
    began = time.process_time()
    with pytest.raises(LimitError) as caught, Clock(1, "slow.pt"):
        spin(20)
    assert time.process_time() - began < 5
    assert str(caught.value) == "slow.pt: seconds: more than the limit of 1"
    assert "--limit seconds=VALUE" in (caught.value.hint or "")


def trying(seconds: float) -> None:
    """As readers do that try one thing after another."""
    with contextlib.suppress(Exception):
        spin(seconds)


@timed
def test_nothing_on_the_way_takes_it_for_one_of_its_own():
    with pytest.raises(LimitError), Clock(1, "slow.pt"):
        trying(20)


@timed
def test_waiting_costs_nothing():
    with Clock(1, "far.pt"):
        time.sleep(1.3)


@timed
def test_each_file_of_a_set_has_all_the_time():
    with Clock(1, "set") as clock:
        for _ in range(3):
            spin(0.6)
            clock.restart()


@timed
def test_finding_reading_and_showing_a_file_share_its_seconds():
    for make in (Clock.reading, Clock.reading):
        with make(DEFAULT_LIMITS._replace(seconds=2), "a.pt"):
            spin(0.7)
    with (
        pytest.raises(LimitError, match=r"^a.pt: seconds: more than the limit of 2$"),
        Clock.showing(DEFAULT_LIMITS._replace(seconds=2), "a.pt"),
    ):
        spin(0.7)
    with Clock.reading(DEFAULT_LIMITS._replace(seconds=2), "b.pt"):
        spin(0.7)


@timed
def test_writing_has_the_seconds_that_the_files_left():
    for path in ("a.pt", "b.pt"):
        with Clock(10, path):
            spin(0.1)
    assert 19 < Clock.writing("a.md").seconds < 19.9
    with Clock.writing("a.md"):
        spin(1.0)
    assert 18 < Clock.writing("b.md").seconds < 18.9
    Clock.used["a.pt"] = Clock.used["b.pt"] = 11.0
    Clock.written = 0.0
    assert Clock.writing("a.md").seconds == LEAST_SECONDS / TO_THE_END
    with pytest.raises(LimitError, match=r"^a.md: seconds: more than the limit of 10$"), Clock.writing("a.md"):
        spin(5.0)
    assert Clock.writing("b.md").seconds < 0.1
    Clock.command(DEFAULT_LIMITS._replace(seconds=0))
    assert Clock.writing("a.md").seconds == 0


@timed
def test_memory_is_looked_at_and_what_took_it_is_let_go():
    held: list[bytes] = []

    def take() -> None:
        while True:
            held.append(bytes(1 << 20) + b".")

    bounds = DEFAULT_LIMITS._replace(memory_bytes=200 << 20)
    with (
        pytest.raises(LimitError, match=r"^a.pt: memory bytes: more than the limit of 209,715,200$") as caught,
        Clock.reading(bounds, "a.pt"),
    ):
        take()
    assert 100 < len(held) < 400
    trace = caught.value.__context__.__traceback__
    assert trace is None or trace.tb_frame.f_code.co_name != "take"
    held.clear()


@timed
@pytest.mark.parametrize("seconds", [0, 10**30])
def test_no_limit(seconds):
    with Clock(seconds, "slow.pt"):
        spin(1.2)


@timed
def test_it_is_quiet_afterwards():
    before = signal.getsignal(signal.SIGPROF)
    with Clock(1, "fast.pt"):
        pass
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) == before
    spin(1.2)


@timed
def test_a_clock_inside_of_another_has_its_own_seconds():
    with Clock(1, "outer"):
        spin(0.6)
        with Clock(1, "inner"):
            spin(0.8)
        spin(0.2)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


@timed
def test_the_outer_clock_goes_on_where_it_was():
    inner = Clock(1, "inner")
    with contextlib.suppress(LimitError), Clock(1, "outer"):
        with pytest.raises(LimitError, match="inner"), inner:
            spin(20)
        spin(20)
        pytest.fail("the outer one does not ring")


@timed
def test_showing_what_was_read_has_seconds_too(capsys):
    problems = []
    bounds = DEFAULT_LIMITS._replace(seconds=1)
    assert in_time(lambda: spin(20), "a.pt", bounds, problems) is None
    assert in_time(lambda: "shown", "b.pt", bounds, problems) == "shown"
    assert [str(problem) for problem in problems] == ["a.pt: seconds: more than the limit of 1"]
    assert "a.pt: seconds: more than the limit of 1" in capsys.readouterr().err


@timed
def test_a_path_whose_time_is_up_loses_no_other(tmp_path):
    """Each path has seconds of its own, and finding the model behind it is within them."""
    (tmp_path / "b.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))

    @contextlib.contextmanager
    def slowly(path):
        with Clock(1, path):
            spin(20 if path == "slow" else 0)
            yield

    found = locate(["slow", str(tmp_path / "b.safetensors")], timed=slowly)
    assert [str(problem) for problem in found.problems] == ["slow: seconds: more than the limit of 1"]
    assert [target.path for target in found.found] == [str(tmp_path / "b.safetensors")]


def test_an_error_of_the_reader_stays_what_it_is():
    with pytest.raises(ModelscopeError, match="broken"), Clock(1, "a.pt"):
        raise ModelscopeError("broken")


def looking(seconds: float, steps: int) -> object:
    """What becomes of work in steps where no timer rings: in a thread that is not the main one, as on Windows."""
    outcome: list[object] = []
    Clock.used.clear()

    def work() -> None:
        try:
            with Clock(1, "set") as clock:
                for _ in range(steps):
                    spin(seconds / steps)
                    clock.restart()
                spin(seconds / steps)
        except LimitError as problem:
            outcome.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return outcome


def test_without_a_timer_it_looks_between_the_files():
    assert looking(1.3, 1)
    assert not looking(1.3, 4)


SLOW = """
import time
from modelscope_cli.formats import safetensors
real = safetensors.add_storages
def add(table):
    end = time.process_time() + 30 * (len(table) > 5)
    while time.process_time() < end:
        pass
    real(table)
safetensors.add_storages = add
from modelscope_cli.cli.app import main
main()
"""


@timed
def test_a_command_that_takes_too_long_shows_the_others(here):
    (here / "slow.safetensors").write_bytes(safetensors_bytes({f"{n}.w": ("U8", (1,)) for n in range(6)}))
    command = [sys.executable, "-c", SLOW, "inspect", "slow.safetensors", "model.safetensors", "--limit", "seconds=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("mscope: slow.safetensors: seconds: more than the limit of 1 - if you trust the file")
    assert done.stderr.count("\n") == 1
    assert "model.safetensors" in done.stdout
