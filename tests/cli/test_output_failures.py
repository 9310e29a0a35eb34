"""Outputs that cannot be written: the model is never written over, nothing is half-written, the verdict and the other files are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer

from modelscope_cli.cli.options import Color, Unit, written
from modelscope_cli.cli.output import Output, Publisher
from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.documents import BOTH, BROKEN, CHECK, FULL, REPORT, files, is_a, needs_full, not_root
from tests.command import mscope, process, words


@pytest.fixture(autouse=True)
def fenced(here, monkeypatch):
    """No mscope.toml above the folder counts, and this is no workflow of GitHub."""
    (here / ".git").mkdir()
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


# The model is never written over


@BOTH
@pytest.mark.parametrize("spelt", ["decoder.pth", "./decoder.pth", "set/../decoder.pth", "link.json", "set/model-00002-of-00002.safetensors",
    "set/model.safetensors.index.json", "cut.json"])  # fmt: skip
def test_no_model_is_written_over(here, command, spelt):
    (here / "link.json").symlink_to("decoder.pth")
    (here / "cut.json").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    before = files(here)
    done = mscope(*command, "cut.json", "decoder.pth", "set", "-o", "ok.md", "-f", "json", "-o", spelt)
    assert done.code == 2
    assert "is the model itself" in words(done.err)
    assert files(here) == before


@BOTH
def test_not_even_one_that_a_limit_kept_from_being_read(here, command):
    before = files(here)
    done = mscope(*command, "decoder.pth", "--limit", "tensors=3", "-f", "json", "-o", "decoder.pth")
    assert done.code == 2
    assert files(here) == before


@BOTH
def test_nor_the_baseline(here, command):
    (here / "old.json").write_bytes((here / "plain.safetensors").read_bytes())
    before = files(here)
    assert mscope(*command, "plain.safetensors", "-b", "old.json", "-o", "old.json").code == 2
    assert files(here) == before


@pytest.mark.parametrize("read", ["mscope.toml", "decoder.pth"])
@pytest.mark.parametrize("name", ["hard.link", "symbolic.link", "set/../itself"])
def test_nor_any_file_that_a_command_says_it_reads(here, read, name):
    """What else is read (a configuration) is refused like the model, under whatever name."""
    (here / "mscope.toml").write_text("max-parameters = 1")
    os.link(read, "hard.link")
    (here / "symbolic.link").symlink_to(read)
    name = name.replace("itself", read)
    publisher = Publisher([Output("json", name), Output("json", None)], "mscope.check/1", Color.never, Unit.auto)
    publisher.refuse(["set/model-00001-of-00002.safetensors", "gone.toml"])
    with pytest.raises(typer.BadParameter, match="is the model itself or another file that this command reads"):
        publisher.refuse([read])


@pytest.mark.parametrize(
    "command", [REPORT, CHECK, ("baseline", "save"), ("visualize", "-f", "svg"), ("init", "--force")], ids=lambda each: each[0]
)
def test_nor_a_hard_link_to_one(here, command):
    os.link("decoder.pth", "hard.link")
    before = files(here)
    chosen = ("-f", "json") if command in (REPORT, CHECK) else ()
    done = mscope(*command, "decoder.pth", *chosen, "-o", "hard.link")
    assert done.code == 2
    assert "is the model itself or another file that this command reads" in words(done.err)
    assert files(here) == before


# What is there already


@BOTH
@pytest.mark.parametrize("there", [True, False], ids=["", "dangling"])
def test_a_link_stays_one_and_what_it_names_is_written(here, command, there):
    (here / "set" / "link.json").symlink_to("../target.txt")
    (here / "out.json").symlink_to("set/link.json")
    if there:
        (here / "target.txt").write_text("old")
    assert mscope(*command, "decoder.pth", "-o", "out.json").code == 0
    assert (here / "out.json").is_symlink()
    assert (here / "set" / "link.json").is_symlink()
    assert is_a(".json", (here / "target.txt").read_text())


def test_a_link_that_leads_nowhere(here):
    (here / "lost.json").symlink_to("gone/target.json")
    (here / "round.json").symlink_to("round.json")
    done = mscope("report", "decoder.pth", "-o", "lost.json", "-o", "round.json")
    assert done.code == 3
    first, second = done.err.splitlines()
    assert (
        first
        == f"mscope: lost.json: cannot be written: there is no folder {str(here / 'gone')!r} - make it first, or name another"
    )
    assert second.startswith("mscope: round.json: cannot be written: ")
    assert (here / "round.json").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_mode(here, mode):
    (here / "out.json").write_text("old")
    (here / "out.json").chmod(mode)
    assert mscope("report", "decoder.pth", "-o", "out.json").code == 0
    assert is_a(".json", (here / "out.json").read_text())
    assert (here / "out.json").stat().st_mode & 0o777 == mode


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no such device")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_a_log_that_is_appended_to_keeps_its_lines(here, name):
    (here / "log").write_text("what others wrote\n")
    with open(here / "log", "a") as log:
        done = process(*CHECK, "decoder.pth", "-f", "markdown", "-o", name, stdout=log)
    assert (done.returncode, done.stderr) == (0, "")
    text = (here / "log").read_text()
    assert text.startswith("what others wrote\n")
    assert is_a(".md", text)
    assert text.count("1 rule passed") == 2, "the verdict for the log and the document"


# What cannot be written


@BOTH
@pytest.mark.parametrize("file", ["gone/out.json", "decoder.pth/out.json", "folder.json", "x" * 300 + ".json"])
def test_a_file_that_cannot_be_written_keeps_the_others(here, command, file):
    (here / "folder.json").mkdir()
    before = set(files(here))
    done = mscope(*command, "decoder.pth", "-o", "a.json", "-o", file, "-o", "b.json")
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert f"mscope: {file}: cannot be written: " in done.err
    assert {os.path.basename(path) for path in set(files(here)) - before} == {"a.json", "b.json"}


@BOTH
@not_root
def test_a_folder_that_is_not_ours(here, command):
    (here / "set").chmod(0o555)
    before = files(here)
    done = mscope(*command, "decoder.pth", "-o", "set/out.json")
    (here / "set").chmod(0o755)
    assert done.code == 3
    assert "set/out.json: cannot be written: permission denied" in done.err
    assert files(here) == before


@BOTH
@not_root
def test_a_read_only_file_is_replaced_whole_or_kept_whole(here, command):
    (here / "out.json").write_text("precious")
    (here / "out.json").chmod(0o444)
    done = mscope(*command, "decoder.pth", "-o", "out.json")
    text = (here / "out.json").read_text()
    assert is_a(".json", text) if done.code == 0 else (done.code, text) == (3, "precious")
    assert not list(here.glob(".mscope-*"))


@BOTH
def test_nothing_is_half_written(here, monkeypatch, command):
    (here / "out.json").write_text("precious")
    before = files(here)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    done = mscope(*command, "decoder.pth", "-o", "out.json")
    assert done.code == 3
    assert "out.json: cannot be written: no space left on device" in done.err
    assert files(here) == before, "the old file is there, and nothing beside it"


@pytest.mark.parametrize("ends", [KeyboardInterrupt, MemoryError])
def test_nothing_is_left_behind_by_what_ends_the_command(here, monkeypatch, ends):
    (here / "out.json").write_text("precious")
    before = files(here)

    def end(*_: object) -> None:
        raise ends

    for function in ("chmod", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, end)
            with pytest.raises(ends):
                written("out.json", b"new")
        assert files(here) == before


def test_the_name_of_a_file_is_no_escape_code(here):
    (here / "\x1b[31mred\n.json").mkdir()
    done = mscope("report", "decoder.pth", "-o", "\x1b[31mred\n.json")
    assert done.code == 3
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1


@BOTH
@needs_full
def test_a_full_disk(here, command):
    done = process(*command, "decoder.pth", "-o", FULL, "-f", "json", "-o", "b.json")
    assert done.returncode == 3
    assert done.stderr == f"mscope: {FULL}: cannot be written: no space left on device\n"
    assert is_a(".json", (here / "b.json").read_text())


@needs_full
@pytest.mark.parametrize("command", [REPORT, CHECK, BROKEN], ids=["report", "check", "broken check"])
@pytest.mark.parametrize("format", ["markdown", "json", "html", None])
def test_stdout_on_a_full_disk_loses_no_file(here, command, format):
    (here / "large.safetensors").write_bytes(safetensors_bytes({f"m{n}.weight": ("F32", (n % 7 + 1,)) for n in range(900)}))
    chosen = ("-f", format) if format else ()
    with open(FULL, "w") as full:
        done = process(*command, "large.safetensors", *chosen, "-o", "-", "-o", "b.json", stdout=full)
    assert done.returncode == (1 if command is BROKEN else 3)  # a rule that failed weighs more
    assert done.stderr == "mscope: the output cannot be written: no space left on device\n"
    assert is_a(".json", (here / "b.json").read_text())


# A reader that has had enough


def closed_early(*arguments: str, unbuffered: str = "") -> tuple[int, bytes]:
    """Exit code and stderr of a command of whose output one byte is read."""
    command = [sys.executable, "-m", "modelscope_cli", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        return running.wait(60), running.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="a shell with head")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("format", [("-f", "json"), ("-f", "html"), ()], ids=["json", "html", "usual"])
def test_a_closed_pipe_changes_neither_verdict_nor_files(here, format, unbuffered):
    names = {f"m{n}.weight": ("F32", (n % 7 + 1,)) for n in range(900)}
    for number in range(40):
        (here / f"large{number}.safetensors").write_bytes(safetensors_bytes(names if number == 0 else {"w": ("F32", (9999,))}))
    paths = [f"large{number}.safetensors" for number in range(40)]
    assert closed_early(*REPORT, *paths, *format, unbuffered=unbuffered) == (0, b"")
    assert closed_early(*CHECK, *paths, *format, unbuffered=unbuffered) == (0, b"")
    assert closed_early(*BROKEN, *paths, *format, unbuffered=unbuffered) == (1, b"")
    assert closed_early(*BROKEN, *paths, *format, "-o", "-", "-o", "b.json", unbuffered=unbuffered) == (1, b"")
    assert len(json.loads((here / "b.json").read_text())["checkpoints"]) == 40
