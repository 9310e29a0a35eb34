"""Paths that lead to no ordinary file, and names that are no ordinary names: answered in a sentence, with exit code 3, without blocking."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import unicodedata

import pytest

import modelscope_cli
from modelscope_cli.errors import SourceError
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.command import process
from tests.unprivileged import options as unprivileged

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


@posix
def test_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("model.pt")
        assert "socket" in refusal(tmp_path / "model.pt")


@posix
def test_block_device_is_refused(tmp_path):
    try:
        os.mknod(tmp_path / "model.pt", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    except (PermissionError, AttributeError):
        pytest.skip("no device can be made here")
    assert "block device" in refusal(tmp_path / "model.pt")


COMMANDS = [
    ("inspect",), ("inspect", "-f", "json"), ("report",), ("check", "--max-size", "1GB"), ("visualize", "-f", "svg"), ("baseline", "save"),
    ("init",), ("scan",)]  # fmt: skip


@pytest.fixture
def kinds_of_file(tmp_path):
    """A folder with one file of every kind that there is, and a model."""
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    os.mkfifo(tmp_path / "fifo.pt")
    (tmp_path / "device.pt").symlink_to("/dev/zero")
    (tmp_path / "dangling.pt").symlink_to("elsewhere")
    (tmp_path / "round.pt").symlink_to("round.pt")
    (tmp_path / "folder.pt").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            listening.bind("socket.pt")
        finally:
            os.chdir(here)
    return tmp_path


@posix
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", ["fifo.pt", "device.pt", "dangling.pt", "round.pt", "socket.pt"])
def test_every_command_refuses_it_in_a_line(kinds_of_file, command, name):
    before = set(os.listdir(kinds_of_file))
    done = process(*command, name, cwd=kinds_of_file)
    assert done.returncode == 3
    assert done.stderr.startswith(f"mscope: {name}: ")
    assert done.stderr.count("\n") == 1
    assert set(os.listdir(kinds_of_file)) == before


@posix
def test_a_folder_of_all_kinds_shows_what_is_a_model(kinds_of_file):
    """Neither waiting for a FIFO nor reading a device that never ends."""
    done = process("inspect", ".", "-f", "json", cwd=kinds_of_file)
    found = json.loads(done.stdout)
    assert [os.path.basename(checkpoint["path"]) for checkpoint in found["checkpoints"]] == ["good.pt"]
    shown = process("inspect", ".", cwd=kinds_of_file).stdout
    for name in ("fifo.pt", "device.pt", "dangling.pt", "round.pt", "socket.pt"):
        assert name in shown
    assert "Traceback" not in done.stderr


@posix
@pytest.mark.parametrize("beside", ["config.json", "model.safetensors.index.json", "adapter_config.json", "params.json", "latest",
    "tokenizer.json", "mscope.toml"])  # fmt: skip
def test_a_fifo_beside_the_weights_keeps_nobody_waiting(tmp_path, beside):
    (tmp_path / "model.safetensors").write_bytes(SAMPLES["plain.safetensors"])
    os.mkfifo(tmp_path / beside)
    (tmp_path / ".git").mkdir()
    checked = ("check", "model.safetensors", "--max-size", "1GB")
    for command in (
        ("inspect", "model.safetensors"),
        ("inspect", "."),
        ("report", "model.safetensors"),
        checked,
        ("scan", "."),
    ):
        done = process(*command, cwd=tmp_path)
        assert done.returncode in (0, 2, 3)
        assert "Traceback" not in done.stderr


@posix
def test_unreadable_file(tmp_path):
    (tmp_path / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "model.pt").chmod(0)
    done = process("inspect", "model.pt", cwd=tmp_path, **unprivileged())
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "mscope: model.pt: no permission to read it\n")


@posix
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_unreadable_folder(tmp_path, mode):
    """Without the right to list it, or (0444) without that to open what is in it."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    folder.chmod(mode)
    try:
        for path in ("closed", "closed/model.pt"):
            done = process("inspect", path, cwd=tmp_path, **unprivileged())
            assert (done.returncode, done.stdout) == (3, "")
            assert done.stderr.startswith("mscope: closed")
            assert "no permission to read it" in done.stderr
    finally:
        folder.chmod(0o755)


@posix
def test_unreadable_parts_leave_the_others(tmp_path):
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "shut.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "shut.pt").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    try:
        done = process("inspect", ".", cwd=tmp_path, **unprivileged())
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert done.returncode == 3
    assert "good.pt" in done.stdout
    assert "shut.pt: no permission to read it" in done.stderr
    assert "Traceback" not in done.stderr


@posix
@pytest.mark.parametrize("command", [("inspect", "../model.pt", "-o", "out.md"), ("report", "../model.pt", "-o", "out.html"),
    ("baseline", "save", "../model.pt"), ("visualize", "../model.pt", "-f", "svg"), ("init", "../model.pt")], ids=lambda each: each[0])  # fmt: skip
def test_a_folder_that_may_not_be_written_to(tmp_path, command):
    (tmp_path / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    done = process(*command, cwd=folder, **unprivileged())
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "cannot be written: permission denied" in done.stderr
    assert not list(folder.iterdir())


ONCE = [("inspect",), ("inspect", "-f", "tree"), ("inspect", "-f", "json"), ("inspect", "-f", "csv"), ("report",), ("report", "-f", "html"),
    ("check", "--max-size", "1GB"), ("check", "--max-size", "1GB", "-f", "junit"), ("scan",), ("visualize", "-f", "svg"), ("baseline", "save"),
    ("init", "--force")]  # fmt: skip
NAMES = {
    "a newline": b"a\nb.safetensors",
    "an escape": b"a\x1b[31mb\x07.safetensors",
    "bytes that are no UTF-8": b"\xff\xfe\x80\xe9.safetensors",
    "a long one": b"x" * 200 + b".safetensors",
    "right to left": "\u202etp.safetensors".encode(),
    "only dots and spaces": b" . . .safetensors",
    "a leading dash": b"-x.safetensors",
    "half an escape": b"\\x41.safetensors",
    "markup": b"[red]<b>&amp;|`*_.safetensors",
}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file systems that refuse such names")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_ordinary_names(tmp_path, name, encoding):
    """Shown harmless, whatever the stream can write; what is written is called after them; JSON can be read again."""
    folder = os.fsencode(tmp_path)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(safetensors_bytes({"w.weight": ("F32", (2, 3))}))
    (tmp_path / ".git").mkdir()
    path = "./" + os.fsdecode(name)
    for command in ONCE:
        documents = command[-1] in ("html", "json", "csv", "junit") or command[0] == "report"  # which are always UTF-8
        done = process(*command, path, cwd=tmp_path, encoding="utf-8" if documents else encoding)
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr
        unsafe = {
            sign for sign in done.stdout + done.stderr if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        } - {"\n"}
        assert not unsafe, command
        if command == ("inspect", "-f", "json"):
            assert json.loads(done.stdout)["checkpoints"][0]["parameters"] == 6
    gone = process("inspect", path + "x", cwd=tmp_path, encoding=encoding)
    assert gone.returncode == 3
    assert gone.stderr.count("\n") == 1
    if encoding == "ascii":
        assert gone.stderr.isascii()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file systems that refuse such names")
def test_a_locale_without_letters(tmp_path):
    """LANG=C, as in a cron job or a container."""
    (tmp_path / "模型 é.safetensors").write_bytes(safetensors_bytes({"层.weight": ("F32", (2, 3))}))
    for environment in (
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": ""},
    ):
        done = process("inspect", "模型 é.safetensors", "gone é.pt", cwd=tmp_path, env=environment)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
        assert "TOTAL" in done.stdout


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
