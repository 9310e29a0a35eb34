"""Files that change while they are read, and disks that fail: a sentence and exit code 3, never half of one file and half of another."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.core import window
from modelscope_cli.errors import ModelscopeError, SourceError
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder

LONG_AGO = 1_600_000_000
READS = range(1, 80)  # of which one after another is interrupted
MANY = safetensors_bytes({f"layers.{number}.weight": ("U8", (1 + number % 13,)) for number in range(60_000)})


def placed(folder: Path, name: str, data: bytes) -> Path:
    """A file that was last written long ago."""
    path = folder / name
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def trim(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


def another_over(path: Path) -> None:
    other = path.with_name("another")
    other.write_bytes(b"something else altogether")
    other.replace(path)


def gone(path: Path) -> None:
    path.unlink()


class Interrupted:
    """os.pread, before whose n-th call something happens to the file."""

    def __init__(self, number: int, event, path: Path):
        self.left = number
        self.event = event
        self.path = path

    def __call__(self, descriptor: int, length: int, offset: int) -> bytes:
        self.left -= 1
        if self.left == 0:
            self.event(self.path)
        return os.pread(descriptor, length, offset)

    @property
    def happened(self) -> bool:
        return self.left <= 0


def outcome_of(path: Path) -> list[str] | ModelscopeError:
    """The names of the tensors, or the error."""
    try:
        return modelscope_cli.read(str(path)).tensors.names
    except ModelscopeError as problem:
        return problem


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be changed there")
@pytest.mark.parametrize("event", [shorten, empty, lengthen, overwrite])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_changes_is_not_believed(tmp_path, monkeypatch, name, event):
    told = 0
    for number in READS:
        path = placed(tmp_path, name, SAMPLES[name])
        reading = Interrupted(number, event, path)
        monkeypatch.setattr(window, "_pread", reading)
        outcome = outcome_of(path)
        if not reading.happened:
            break
        monkeypatch.setattr(window, "_pread", os.pread)
        if isinstance(outcome, SourceError) and "while it was read" in outcome.message:
            assert outcome.path == str(path)
            assert "try again" in (outcome.hint or "")
            told += 1
        else:  # it happened before the file was opened a last time
            assert str(outcome) == str(outcome_of(path))
    assert told


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be changed there")
@pytest.mark.parametrize("event", [another_over, gone])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path, monkeypatch, name, event):
    """The descriptor keeps the old file, whole."""
    path = placed(tmp_path, name, SAMPLES[name])
    before = modelscope_cli.read(str(path)).tensors.names
    for number in READS:
        placed(tmp_path, name, SAMPLES[name])
        reading = Interrupted(number, event, path)
        monkeypatch.setattr(window, "_pread", reading)
        outcome = outcome_of(path)
        if outcome != before:  # it happened before the file was opened a last time
            monkeypatch.setattr(window, "_pread", os.pread)
            assert str(outcome) == str(outcome_of(path))
            assert event is another_over or "no such file" in str(outcome)


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be changed there")
def test_a_shard_that_changes_leaves_the_others(tmp_path, monkeypatch):
    sharded_folder(tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    for shard in shards:
        os.utime(shard, (LONG_AGO, LONG_AGO))
    whole = modelscope_cli.read(str(tmp_path)).tensors.names

    def open_changing(path: str):
        opened = real(path)
        if path == str(shards[-1]):
            lengthen(shards[-1])
        return opened

    real = window.open_window
    for module in [module for name, module in sys.modules.items() if name.startswith("modelscope_cli.")]:
        if getattr(module, "open_window", None) is real:
            monkeypatch.setattr(module, "open_window", open_changing)
    found = modelscope_cli.read(str(tmp_path))
    assert set(found.tensors.names) < set(whole)
    assert found.tensors.names
    assert [note.message for note in found.notes if note.severity == "error" and "grew while it was read" in note.message]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("most", [1, 7, 4096])
def test_short_reads_are_read_on(tmp_path, monkeypatch, name, most):
    """The system may give fewer bytes than it was asked for: network file systems, signals, two gigabytes at once."""
    path = placed(tmp_path, name, SAMPLES[name])
    before = modelscope_cli.read(str(path))
    monkeypatch.setattr(window, "_pread", lambda descriptor, length, offset: os.pread(descriptor, min(length, most), offset))
    after = modelscope_cli.read(str(path))
    assert list(after.tensors) == list(before.tensors)
    assert after.byte_maps[0].totals() == before.byte_maps[0].totals()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("short", [False, True])
def test_a_read_that_fails_is_told_with_its_place(tmp_path, monkeypatch, code, short):
    path = placed(tmp_path, "model.safetensors", SAMPLES["plain.safetensors"])
    calls = []

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        calls.append(offset)
        if len(calls) > 2:
            raise OSError(code, os.strerror(code))
        return os.pread(descriptor, min(length, 3) if short else length, offset)

    monkeypatch.setattr(window, "_pread", failing)
    with pytest.raises(SourceError) as caught:
        modelscope_cli.read(str(path))
    assert caught.value.message == f"cannot be read: {os.strerror(code).lower()}"
    assert caught.value.offset == calls[-1]


FAILING = """
import errno, os, sys
real, asked, good = os.pread, [], int(sys.argv[1])
def pread(*where):
    asked.append(where)
    if len(asked) > good:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return real(*where)
os.pread = pread
from modelscope_cli.cli.app import main
sys.argv = ["mscope", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize("command", [("inspect",), ("report", "-o", "out.md"), ("check", "--max-size", "1GB"), ("baseline", "save"),
    ("visualize", "-f", "svg")], ids=lambda each: each[0])  # fmt: skip
@pytest.mark.skipif(not hasattr(os, "pread"), reason="no os.pread")
@pytest.mark.parametrize("good", [0, 1])
def test_a_disk_that_fails_ends_with_a_sentence(tmp_path, command, good):
    placed(tmp_path, "model.safetensors", SAMPLES["plain.safetensors"])
    arguments = [sys.executable, "-c", FAILING, str(good), *command, "model.safetensors"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("mscope: model.safetensors: cannot be read: input/output error (byte ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be changed there")
@pytest.mark.parametrize(("event", "said"), [(lengthen, "grew"), (trim, "became shorter")], ids=["grows", "shrinks"])
def test_a_process_beside_us_that_writes(tmp_path, inspect, event, said):
    """For real: somebody else writes all the while, as a download does."""
    path = placed(tmp_path, "model.safetensors", MANY)
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.002):
            event(path)

    tries = []
    for _ in range(20):
        placed(tmp_path, "model.safetensors", MANY)
        stop.clear()
        writer = threading.Thread(target=write)
        writer.start()
        try:
            done = inspect("model.safetensors")
        finally:
            stop.set()
            writer.join()
        assert done.returncode == 3, done.stdout
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
        tries.append(done.stderr)
        if f"{said} while it was read" in done.stderr:
            return
    pytest.fail(f"it never happened in the middle of a read: {tries}")


def test_an_error_in_a_file_that_stays_is_told_as_it_is(tmp_path):
    path = placed(tmp_path, "model.safetensors", SAMPLES["plain.safetensors"][:-1])
    with pytest.raises(ModelscopeError) as caught:
        modelscope_cli.read(str(path))
    assert "while it was read" not in caught.value.message
