"""Finding a browser, and what becomes of one that crashes, hangs or lies. The browsers here are shell scripts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import pytest

from modelscope_cli.bridges import chromium
from modelscope_cli.bridges.ending import SIGNALS
from modelscope_cli.bridges.netron.export import export
from modelscope_cli.bridges.netron.page import Model
from modelscope_cli.errors import DrawingError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where profiles are made: empty before, and it has to be afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """Makes a script the browser to take."""

    def made(script: str) -> str:
        program = tmp_path / "browser"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv(chromium.VARIABLE, str(program))
        return str(program)

    return made


def draw(format: str = "svg"):
    return export(Model("net.onnx", "net", b"model"), format, None, lambda text: None)


def executable(folder, name):
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_the_variable_comes_first(browser, tmp_path, monkeypatch):
    executable(tmp_path / "bin", "chromium")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert chromium.find_browser() == str(tmp_path / "bin" / "chromium")
    program = browser("")
    assert chromium.find_browser() == program


@pytest.mark.parametrize("value", ["browser", "./browser", "/nowhere/chrome", "{folder}", "{folder}/text"])
def test_a_variable_that_names_no_program_is_said(tmp_path, monkeypatch, value):
    (tmp_path / "text").write_text("no program")
    monkeypatch.chdir(tmp_path)
    executable(tmp_path, "browser")
    monkeypatch.setenv(chromium.VARIABLE, value.format(folder=tmp_path))
    with pytest.raises(DrawingError, match="CHROME_PATH names no program"):
        chromium.find_browser()


@pytest.mark.parametrize("name", chromium.NAMES)
def test_every_name_is_found_on_the_path(tmp_path, monkeypatch, name):
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    program = executable(tmp_path / "bin", name)
    monkeypatch.setenv("PATH", f"relative{os.pathsep}{tmp_path / 'bin'}")
    assert chromium.find_browser() == program


def test_the_working_folder_is_not_searched(tmp_path, monkeypatch):
    executable(tmp_path / "model", "chromium")
    monkeypatch.chdir(tmp_path / "model")
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}/nowhere")
    with pytest.raises(DrawingError, match="none was found: looked for chromium, chromium-browser, google-chrome") as raised:
        chromium.find_browser()
    assert "CHROME_PATH" in raised.value.hint
    assert "-f browser" in raised.value.hint


def test_applications_of_a_mac_are_found(tmp_path, monkeypatch):
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    program = tmp_path / "Applications" / chromium.MAC[0]
    program.parent.mkdir(parents=True)
    program.write_text("")
    assert chromium.find_browser() == str(program)


def test_one_that_ends_early_is_said_with_its_last_words(wheel, temporary, browser):
    browser("echo '[1:1:FATAL:zygote] No usable sandbox!' >&2; echo bye >&2; exit 1")
    with pytest.raises(DrawingError, match=r"ended before there was a picture: .*No usable sandbox!"):
        draw()


def test_one_that_cannot_be_started_is_said(wheel, temporary, browser, tmp_path):
    program = browser("")
    with open(program, "w") as file:
        file.write("#!/nowhere/interpreter\n")
    with pytest.raises(DrawingError, match="cannot be started: no such file"):
        draw()


def test_one_that_hangs_is_ended_with_all_it_started(wheel, temporary, browser, tmp_path, monkeypatch):
    monkeypatch.setattr(chromium, "PATIENCE", 0.5)
    browser(f"trap '' TERM INT HUP; sleep 600 & echo $! > {tmp_path}/child; wait; sleep 600")
    with pytest.raises(DrawingError, match="was not done after 0 seconds"):
        draw()
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.02)
    assert not alive(child)


def alive(number: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about does not."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


POST = """
import re, sys, urllib.request
page = urllib.request.urlopen(sys.argv[-1]).read().decode()
address = re.search(r"url=(http://127[^?]*)", page)[1]
body = {body!r}
urllib.request.urlopen(urllib.request.Request(address + "result/{what}", data=body, method="POST"))
import time; time.sleep(60)
"""


def posting(tmp_path, what: str, body: bytes) -> str:
    (tmp_path / "post.py").write_text(POST.format(what=what, body=body))
    return f'exec {sys.executable} {tmp_path}/post.py "$@"'


def test_words_of_netron_come_back(wheel, temporary, browser, tmp_path):
    browser(posting(tmp_path, "problem", b"Unsupported \x1b[31mfile content"))
    with pytest.raises(DrawingError, match=r"^net.onnx: Netron cannot draw it: Unsupported \\x1b\[31mfile content$"):
        draw()


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\xff\xfe", b"<svg"])
@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_what_is_no_picture_is_refused(wheel, temporary, browser, tmp_path, body, format):
    browser(posting(tmp_path, "picture", body))
    with pytest.raises(DrawingError):
        draw(format)


def test_a_picture_ends_the_browser_at_once(wheel, temporary, browser, tmp_path):
    program = browser(posting(tmp_path, "picture", b'<svg width="10" height="10"></svg>'))
    started = time.monotonic()
    painting = draw()
    assert time.monotonic() - started < 30
    assert painting.data.startswith(b"<svg")
    assert program in painting.painter


def test_a_browser_that_prints_nothing_is_said(temporary, browser):
    with pytest.raises(DrawingError, match="printed nothing: no printer"):
        chromium.print_pdf(browser("echo no printer >&2"), b"<p>")


def test_only_root_goes_without_the_sandbox(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert chromium.unboxed() == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert chromium.unboxed() == ["--no-sandbox"]


def test_no_name_is_resolved_and_no_proxy_asked(wheel, temporary, browser, tmp_path):
    browser(f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 1')
    with pytest.raises(DrawingError):
        draw()
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1" in arguments
    assert "--no-proxy-server" in arguments
    assert any(argument.startswith(f"--user-data-dir={temporary}") for argument in arguments)


def test_everybody_sees_the_arguments_so_the_address_is_in_a_file_of_the_user_alone(wheel, temporary, browser, tmp_path):
    browser(f"""printf "%s\\n" "$@" > {tmp_path}/arguments
for page in "$@"; do :; done
page="${{page#file://}}"; cp "$page" {tmp_path}/page; ls -ld "$(dirname "$page")" > {tmp_path}/mode; exit 1""")
    with pytest.raises(DrawingError):
        draw()
    assert "127.0.0.1:" not in (tmp_path / "arguments").read_text()
    assert "url=http://127.0.0.1:" in (tmp_path / "page").read_text()
    assert (tmp_path / "mode").read_text().startswith("drwx------")


VISIT = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it: nohup
from modelscope_cli.bridges import chromium
{call}
print("not reached")
"""
CALLS = {
    "a visit": 'chromium.visit(sys.argv[1], "http://127.0.0.1:1/", lambda: False)',
    "a print": 'chromium.print_pdf(sys.argv[1], b"<p>")',
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("call", CALLS)
def test_a_command_that_is_ended_leaves_nothing(temporary, browser, tmp_path, number, call):
    program = browser(f"trap '' TERM INT HUP; sleep 600 & echo $! > {tmp_path}/child; wait; sleep 600")
    command = [sys.executable, "-c", VISIT.format(call=CALLS[call]), program]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip())
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("", None)
    assert process.returncode == 128 + number
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(child))


def wait_for(reached) -> None:
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.02)
