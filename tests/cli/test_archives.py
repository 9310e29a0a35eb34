"""Commands on a model in an archive: they all take it, and nothing is written over it or left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from modelscope_cli.cli.progress import LateProgress
from tests.builders.archives import KINDS, MODEL, OTHER, PACKERS, gzipped, zipped
from tests.command import mscope, process, words
from tests.hostile.test_packed_bombs import gzipped_zeros


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """The current folder: an archive of every kind, and the model by itself."""
    for name, data in KINDS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "alone.safetensors").write_bytes(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", KINDS)
def test_inspect(packed, name):
    done = mscope("inspect", name)
    assert done.code == 0
    assert f"File        {name}!/" in done.out
    assert "TOTAL" in done.out
    assert "sizes and offsets are those of" in words(done.out)


def test_report_is_that_of_the_model(packed):
    def report(path: str) -> dict[str, object]:
        found = json.loads(mscope("inspect", path, "-f", "json").out)["checkpoints"][0]
        return {
            key: value
            for key, value in found.items()
            if key in ("format", "bytes", "parameters", "modules", "sections", "roles")
        }

    assert len(report("alone.safetensors")) >= 5
    for name in KINDS:
        if not name.startswith(("stored", "deflated", "bzip2", "plain", "packed", "nested")):  # these have a config.json
            assert report(name) == report("alone.safetensors")


def test_contents_of_the_archive(packed):
    done = mscope("inspect", "deflated.zip")
    assert "In this archive" in done.out
    assert "README.md" in done.out


def test_path_into_an_archive(packed):
    assert mscope("inspect", "deflated.zip!/repo/model.safetensors").code == 0
    done = mscope("inspect", "deflated.zip!/repo/nothing.safetensors")
    assert done.code == 3
    assert "it holds 'deflated.zip!/repo/model.safetensors'" in done.err


def test_json(packed):
    done = mscope("inspect", "deflated.zip", "-f", "json")
    checkpoint = json.loads(done.out)["checkpoints"][0]
    assert checkpoint["path"] == "deflated.zip!/repo/model.safetensors"
    assert checkpoint["bytes"] == len(MODEL)


def test_check(packed):
    assert mscope("check", "packed.tgz", "--max-size", "1 MB").code == 0
    assert mscope("check", "packed.tgz", "--max-size", "100 B").code == 1


def test_rule_for_the_archive(packed):
    (packed / "mscope.toml").write_text('[models."*.tgz"]\nmax-size = "100 B"\n')
    assert mscope("check", "packed.tgz").code == 1


def test_diff(packed):
    assert mscope("diff", "packed.tgz", "alone.safetensors", "--exit-code").code == 0
    (packed / "other.zip").write_bytes(zipped({"model.safetensors": OTHER}))
    assert mscope("diff", "packed.tgz", "other.zip", "--exit-code").code == 1


def test_baseline(packed):
    assert mscope("baseline", "save", "nested.zip").code == 0
    assert mscope("diff", "nested.baseline.json", "deflated.zip", "--exit-code").code == 0


def test_report(packed):
    assert mscope("report", "model.safetensors.gz", "-o", "report.html").code == 0
    assert b"model.safetensors.gz!/model.safetensors" in (packed / "report.html").read_bytes()


def test_visualize(packed):
    assert mscope("visualize", "deflated.zip", "-o", "picture.svg").code == 0
    assert (packed / "picture.svg").read_bytes().startswith(b"<?xml")


def test_several_models(packed):
    (packed / "two.zip").write_bytes(zipped({"a.safetensors": MODEL, "b.safetensors": OTHER}))
    assert mscope("inspect", "two.zip").out.count("TOTAL") >= 2
    done = mscope("visualize", "two.zip")
    assert done.code == 3
    assert "name it: 'two.zip!/a.safetensors', 'two.zip!/b.safetensors'" in done.err


@pytest.mark.parametrize("command", [["inspect"], ["check", "--max-size", "1 MB"], ["report"], ["baseline", "save"]])
def test_archive_is_not_written_over(packed, command):
    before = (packed / "deflated.zip").read_bytes()
    done = mscope(*command, "deflated.zip", "-o", "deflated.zip")
    assert done.code == 2
    assert (packed / "deflated.zip").read_bytes() == before


def test_limit_is_an_option(packed):
    (packed / "large.gz").write_bytes(gzipped(MODEL + bytes(2 << 20)))
    done = mscope("inspect", "large.gz", "--limit", "unpacked_bytes=1000000")
    assert done.code == 3
    assert "raise it with --limit unpacked_bytes=VALUE" in done.err
    assert "unpacked bytes" not in mscope("inspect", "large.gz").err


def test_progress_tells_bytes(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = LateProgress("x.tar.gz")
    progress.unpacking(1, 10)
    assert progress.bar is None  # not before a second
    progress.started -= 2
    with progress:
        progress.unpacking(1_200_000_000, 3_400_000_000)
        assert progress.bar.tasks[0].description == "unpacking 1.2 GB of 3.4 GB"
        assert (progress.bar.tasks[0].completed, progress.bar.tasks[0].total) == (1_200_000_000, 3_400_000_000)
        progress.step(3, 8)
        assert (progress.bar.tasks[0].completed, progress.bar.tasks[0].total) == (3, 8)


def test_no_progress_where_there_is_no_terminal(packed):
    done = process("inspect", "packed.tar.xz", cwd=packed)
    assert done.stderr == ""


def unpacks_into(pid: int, folder: str) -> bool:
    """Whether a process has a file open there, by whatever name it has or had."""
    with contextlib.suppress(OSError):
        return any(os.readlink(f"/proc/{pid}/fd/{name}").startswith(folder) for name in os.listdir(f"/proc/{pid}/fd"))
    return False


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no list of open files")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_stopped(tmp_path, number):
    (tmp_path / "m.safetensors.gz").write_bytes(gzipped(MODEL[:300]) + gzipped_zeros(900 << 20))
    folder = tmp_path / "unpacked"
    folder.mkdir()
    command = [sys.executable, "-m", "modelscope_cli", "inspect", str(tmp_path / "m.safetensors.gz")]
    running = subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 10
    while time.monotonic() < until and not unpacks_into(running.pid, str(folder)):
        time.sleep(0.01)
    assert running.poll() is None
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert os.listdir(folder) == []
    assert b"Traceback" not in err


@pytest.mark.parametrize("suffix", PACKERS)
def test_rest_of_a_cut_download_is_said(tmp_path, suffix):
    (tmp_path / "m").write_bytes(PACKERS[suffix](MODEL)[:-3])
    done = mscope("inspect", tmp_path / "m")
    assert done.code == 3
    assert "ends early: is the file cut short?" in done.err
