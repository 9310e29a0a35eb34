"""What the README and the pages beside it say is true: commands, options, outputs, links."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.cli.app import COMMANDS
from tests.command import mscope, words

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OUTPUTS = sorted((ROOT / "examples" / "output").glob("*.txt"))
PAGES = [ROOT / "README.md", *(path for folder in ("docs", "examples", "benchmarks") for path in (ROOT / folder).glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"<!-- output: (?P<command>.+?) -->\n```text\n(?P<text>.*?)```\n<!-- /output -->", re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(README) if found == language]


def commands() -> list[list[str]]:
    """Every `mscope …` of the shell blocks, as arguments, without the program."""
    texts = [text.replace("\\\n", " ") for text in blocks("sh") + blocks("console")]
    lines = [line.strip().removeprefix("$ ") for text in texts for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("mscope ")]


def printed(command: str) -> list[str]:
    """What a command of the documentation prints, blanks at the ends of lines left out."""
    program, *arguments = shlex.split(command)
    assert program == "mscope"
    done = mscope(*arguments, columns=100)
    assert (done.code, done.err) == (0, "")
    return [line.rstrip() for line in done.out.rstrip("\n").split("\n")]


@pytest.mark.parametrize(
    "pattern",
    [r"^python3 -m venv .venv .* inspect examples/.*$", r"^python3 -m venv .venv .* -m pytest$"],
    ids=["first", "test"],
)
def test_the_commands_that_ci_runs_are_there_once(pattern):
    assert len(re.findall(pattern, README, re.MULTILINE)) == 1
    assert pattern.removesuffix(".*$") in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_file_of_the_first_command_is_in_the_repository():
    (path,) = re.findall(r"^python3 -m venv .* inspect (\S+)$", README, re.MULTILINE)
    assert (ROOT / path).is_file()


def test_every_option_is_in_the_help():
    helps = [mscope(*command, "--help").out for command in ((), *[(row.name,) for row in COMMANDS], ("baseline", "save"))]
    known = set(re.findall(r"(?<![\w-])--?\w[\w-]*", words(" ".join(helps))))
    used = {word.partition("=")[0] for command in commands() for word in command if word.startswith("-")}
    used |= set(re.findall(r"`(?:mscope )?(--\w[\w-]*)", README))
    assert used >= {"--by", "--sort", "-n", "-f", "-o", "--limit"}
    assert used <= known


def test_every_command_is_right_usage(tmp_path, monkeypatch):
    """The files of the examples are not there, and that is all that is wrong with them."""
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 8
    for command in commands():
        assert mscope(*command).code == (0 if command[0] == "formats" else 3), command


def test_the_keys_are_listed():
    from modelscope_cli.analysis.grouping import KEYS

    (said,) = re.findall(r"`--by` takes (.+?), or several", README.replace("\n", " "))
    assert tuple(re.split(r", | and ", said)) == KEYS


def test_the_python_example(monkeypatch, capsys):
    (code,) = blocks("python")
    monkeypatch.chdir(ROOT)
    exec(code.replace("weights.pth", "examples/decoder_small.pth"), {})
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "embedding.weight (5276, 24) float32 examples/decoder_small.pth"


def test_the_output_is_what_is_printed(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = [match.groupdict() for match in OUTPUT.finditer(README)]
    assert len(found) == README.count("<!-- output:") == 2
    for output in found:
        assert output["text"].splitlines() == printed(output["command"])


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.stem)
def test_a_saved_output_is_what_is_printed(monkeypatch, path):
    monkeypatch.chdir(ROOT)
    command, blank, *lines = path.read_text(encoding="utf-8").splitlines()
    assert command.startswith("$ mscope inspect ")
    assert blank == ""
    if not os.path.exists(shlex.split(command)[-1]):
        pytest.skip("the model is not there; the scripts in examples/ make it")
    assert lines == printed(command.removeprefix("$ "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            place = page.parent / path if path else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), target


def anchors(page: Path) -> set[str]:
    """The headings of a page as its links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_exit_codes_are_those_of_the_program():
    from modelscope_cli.cli import check, diff, problems, scan

    assert (problems.FINE, check.FAILED, scan.FAILED, diff.DIFFERENT, problems.USAGE, problems.UNREADABLE) == (0, 1, 1, 1, 2, 3)
    said = (
        "0 fine · 1 a rule of `check` failed, `scan` found something grave, or `diff --exit-code` differences · 2 wrong usage · "
        "3 something could not be read"
    )
    assert said in README.replace("\n", " ")


def test_the_version_is_in_the_changelog():
    assert modelscope_cli.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
