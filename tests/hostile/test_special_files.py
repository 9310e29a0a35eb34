"""Paths that lead to no ordinary file: answered in a sentence, with exit code 3, without blocking."""

from __future__ import annotations

import os
import sys

import pytest

import modelscope_cli
from modelscope_cli.errors import SourceError
from tests.builders.samples import SAMPLES

posix = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX thing")


def refusal(path) -> str:
    with pytest.raises(SourceError) as caught:
        modelscope_cli.read(str(path))
    return str(caught.value)


@posix
def test_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    assert "FIFO" in refusal(tmp_path / "model.pt")


@posix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_device_is_refused(device):
    assert "device" in refusal(device)


def test_missing_path_is_named(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.pt")


@posix
def test_dangling_link_is_said_to_be_one(tmp_path):
    (tmp_path / "model.pt").symlink_to("elsewhere")
    assert "symbolic link" in refusal(tmp_path / "model.pt")


@posix
def test_links_in_a_circle(tmp_path):
    (tmp_path / "a.pt").symlink_to("b.pt")
    (tmp_path / "b.pt").symlink_to("a.pt")
    assert "symbolic" in refusal(tmp_path / "a.pt")


@posix
def test_link_to_a_model_is_followed(tmp_path):
    (tmp_path / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "link.pt").symlink_to("model.pt")
    assert len(modelscope_cli.read(str(tmp_path / "link.pt")).tensors) == 5


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(SAMPLES["state_dict.pt"])
    path.chmod(0)
    assert "permission" in refusal(path)


def test_path_with_a_nul(tmp_path):
    assert "usable path" in refusal(f"{tmp_path}/a\0b.pt")


def test_path_that_is_too_long():
    assert refusal("/" + "x" * 5_000)


def test_folder_without_a_model(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "inner").mkdir()
    with pytest.raises(SourceError) as caught:
        modelscope_cli.read(str(tmp_path))
    assert "folder without a model" in str(caught.value)
    assert "inner" in (caught.value.hint or "")


def test_address_is_not_a_path():
    assert "remote" in refusal("https://example.com/model.safetensors")


def test_command_tells_in_a_sentence(inspect, tmp_path):
    done = inspect(tmp_path / "nothing.pt")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("mscope: ")
    assert "Traceback" not in done.stderr


def test_other_paths_are_still_shown(inspect, tmp_path):
    (tmp_path / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    done = inspect(tmp_path / "nothing.pt", tmp_path / "model.pt")
    assert done.returncode == 3
    assert "embed" in done.stdout
