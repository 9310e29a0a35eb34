"""Data goes to stdout, talk to stderr; a stream that ends, fills up or speaks another encoding is no drama."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.command import CODES, mscope, process

pytestmark = pytest.mark.usefixtures("here")
FULL = "/dev/full"
FORMATS = ("table", "tree", "json")
HUES = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])")  # colours; bold type is none


@pytest.fixture
def large(here):
    """A file whose reports are larger than the buffer of a pipe."""
    (here / "large.safetensors").write_bytes(safetensors_bytes({f"m{n}.weight": ("F32", (n % 7 + 1,)) for n in range(3000)}))
    return ("large.safetensors", "--by", "tensor", "-n", "0")


@pytest.mark.parametrize("format", FORMATS)
def test_data_and_talk_are_kept_apart(format):
    done = process("inspect", "decoder.pth", "gone.pt", "-f", format)
    assert done.returncode == 3
    assert done.stderr == "mscope: gone.pt: no such file or folder\n"
    assert "mscope: " not in done.stdout
    assert "decoder" in done.stdout


def test_success_is_silent_on_stderr():
    done = process("decoder.pth")
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_usage_says_nothing_on_stdout():
    done = process("inspect", "decoder.pth", "--by", "sky")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--by" in done.stderr


def test_not_a_terminal_no_escape_codes():
    for format in FORMATS:
        assert (
            "\x1b" not in process("inspect", "decoder.pth", "hostile.pt", "-f", format, env={"TERM": "xterm-256color"}).stdout
        )


def test_a_pipe_is_a_hundred_columns_wide():
    assert process("decoder.pth", columns=None).stdout == process("decoder.pth", columns=100).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell with head")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_reader_that_has_had_enough(large, format, buffered):
    command = [sys.executable, "-m", "modelscope_cli", "inspect", *large, "-f", format]
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors that are closed")
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&-"])
def test_streams_that_were_closed_before(closed):
    line = f'"$0" -m modelscope_cli inspect decoder.pth {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, encoding="utf-8", check=False)
    if closed == "1>&-":
        assert done.returncode == 3
        assert re.fullmatch(r"mscope: the output cannot be written: .+\n", done.stderr)
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert "TOTAL" in done.stdout


@pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_disk_that_is_full(large, format, size):
    arguments = large if size == "large" else ("decoder.pth",)
    with open(FULL, "w") as full:
        done = process("inspect", *arguments, "-f", format, stdout=full)
    assert done.returncode == 3
    assert done.stderr == "mscope: the output cannot be written: no space left on device\n"


@pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
def test_an_output_file_on_a_full_disk():
    done = process("inspect", "decoder.pth", "-o", FULL)
    assert done.returncode == 3
    assert done.stderr == f"mscope: {FULL}: cannot be written: no space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no such device")
def test_an_output_file_that_is_a_device():
    assert process("inspect", "decoder.pth", "-o", "/dev/stdout").stdout == process("inspect", "decoder.pth").stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_an_encoding_without_our_letters_gets_ascii(encoding):
    for format in ("table", "tree"):
        done = process("inspect", "decoder.pth", "-f", format, encoding=encoding)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()
    assert "decoder.layers.0-2 x3" in process("inspect", "decoder.pth", encoding=encoding).stdout


def test_ascii_for_names_in_other_letters(here):
    (here / "模型.safetensors").write_bytes(safetensors_bytes({"层.权重": ("F32", (2,))}))
    done = process("inspect", "模型.safetensors", "不在.pt", encoding="ascii")
    assert done.returncode == 3
    assert (done.stdout + done.stderr).isascii()
    assert "Traceback" not in done.stderr
    assert "\\u6a21\\u578b.safetensors" in done.stdout


def test_an_output_file_is_utf8_whatever_the_encoding(here):
    process("inspect", "decoder.pth", "-o", "report.txt", encoding="ascii")
    assert "decoder.layers.0–2 ×3" in (here / "report.txt").read_text(encoding="utf-8")


def test_json_is_utf8_whatever_the_encoding(here):
    (here / "named.safetensors").write_bytes(safetensors_bytes({"层.权重": ("F32", (2,))}))
    arguments = ("inspect", "named.safetensors", "-f", "json")
    command = [sys.executable, "-m", "modelscope_cli", *arguments]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert json.loads(done.stdout.decode("utf-8"))["checkpoints"][0]["tensors"][0]["name"] == "层.权重"


def test_json_sends_nothing_unsafe_to_a_terminal_and_loses_nothing(here):
    name = "a\x1b[31m\x7f\x9b31m\u202eb\u2028c\u200bd\ufeffe"
    (here / "named.safetensors").write_bytes(safetensors_bytes({f"{name}.weight": ("F32", (2,))}, {name: name}))
    out = mscope("inspect", "named.safetensors", "-f", "json").out
    unsafe = {character for character in out if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
    assert not unsafe
    (found,) = json.loads(out)["checkpoints"]
    assert found["tensors"][0]["name"] == f"{name}.weight"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_and_its_own_width(environment, coloured):
    import fcntl
    import pty
    import struct
    import termios

    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("4H", 40, 133, 0, 0))
    done = process("decoder.pth", columns=None, stdout=secondary, env={"TERM": "xterm-256color"} | environment)
    os.close(secondary)
    shown = b""
    while True:
        try:
            part = os.read(primary, 1 << 16)
        except OSError:  # the other end is closed and all is read
            break
        if not part:
            break
        shown += part
    os.close(primary)
    text = shown.decode().replace("\r\n", "\n")
    assert done.returncode == 0
    assert bool(HUES.search(text)) is coloured
    plain = [line.rstrip() for line in CODES.sub("", text).split("\n")]
    assert plain == [line.rstrip() for line in process("decoder.pth", columns=133).stdout.split("\n")]


@pytest.mark.parametrize(
    "name", ["state_dict.pt", "training.ckpt", "sparse.bin", "legacy.pth", "bare.pkl", "plain.safetensors"]
)
def test_no_traceback_for_a_file_cut_anywhere(here, name):
    data = (here / name).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 25)):
        (here / "cut.bin").write_bytes(data[:length])
        done = mscope("inspect", "cut.bin")
        assert done.code in (0, 3)
        assert done.code == 0 or done.err.count("\n") == 1 or "✗" in done.out
