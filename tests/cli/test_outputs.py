"""Where the documents of `mscope report` and `mscope check` go: several files from one read, stdout, the step summary."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest

from tests.cli.documents import BOTH, BROKEN, CHECK, REPORT, is_a
from tests.command import mscope, process, words

SUFFIXES = (".md", ".markdown", ".html", ".htm", ".json", ".xml", ".csv", ".tsv", ".tab")


@pytest.fixture(autouse=True)
def fenced(here, monkeypatch):
    """No mscope.toml above the folder counts, and this is no workflow of GitHub."""
    (here / ".git").mkdir()
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@BOTH
def test_all_files_come_from_one_read(here, monkeypatch, command):
    opened: Counter[str] = Counter()
    real = os.open

    def counting(path, *arguments, **options):
        opened[os.path.basename(os.fspath(path))] += 1
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", counting)
    outputs = [part for number, suffix in enumerate(SUFFIXES) for part in ("-o", f"out{number}{suffix}")]
    done = mscope(*command, "decoder.pth", *outputs)
    assert (done.code, done.err) == (0, "")
    assert opened["decoder.pth"] == 2  # its first bytes, for archives; and the read, with the scan of a report
    for number, suffix in enumerate(SUFFIXES):
        assert is_a(suffix, (here / f"out{number}{suffix}").read_text(encoding="utf-8")), suffix


@BOTH
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_holds_what_stdout_would_get(here, command, suffix):
    formats = {
        ".md": "markdown",
        ".markdown": "md",
        ".html": "html",
        ".htm": "html",
        ".json": "json",
        ".xml": "xml",
        ".csv": "csv",
    }
    mscope(*command, "decoder.pth", "-o", f"out{suffix}")
    shown = mscope(*command, "decoder.pth", "-f", formats.get(suffix, "tsv"))
    assert (here / f"out{suffix}").read_bytes() == shown.out.encode()
    assert is_a(suffix, shown.out)
    assert mscope(*command, "decoder.pth", "-f", formats.get(suffix, "tsv"), "-o", "-").out == shown.out


def test_capital_suffixes_and_formats(here):
    assert mscope("report", "decoder.pth", "-o", "OUT.JSON", "-o", "Out.Html").code == 0
    assert is_a(".json", (here / "OUT.JSON").read_text())
    assert is_a(".json", mscope("report", "decoder.pth", "-f", "JSON").out)


def test_a_suffix_that_says_nothing_needs_a_format(here):
    for file in ("out.txt", "out", "json", ".json/x", "out.json.gz"):
        done = mscope("report", "decoder.pth", "-o", file)
        assert (done.code, done.out) == (2, "")
        assert "say which format with -f" in words(done.err)
        assert not (here / file).exists()
    assert mscope("report", "decoder.pth", "-o", "out.txt", "-f", "json").code == 0
    assert is_a(".json", (here / "out.txt").read_text())


@pytest.mark.parametrize("format", ["json", "csv"])
def test_the_suffix_of_a_file_decides_and_a_format_is_for_the_others(here, format):
    done = mscope("report", "decoder.pth", "-o", "a.md", "-o", "b.json", "-o", "c.txt", "-o", "-", "-f", format)
    assert done.code == 0
    assert is_a(".md", (here / "a.md").read_text())
    assert is_a(".json", (here / "b.json").read_text())
    assert is_a(f".{format}", (here / "c.txt").read_text())
    assert is_a(f".{format}", done.out)


@pytest.mark.parametrize("command", [REPORT, CHECK, ("inspect",)], ids=lambda command: command[0])
@pytest.mark.parametrize("names", [("a.json",), ("a.json", "b.md")], ids=len)
def test_a_format_that_no_output_takes_is_wrong_usage(here, command, names):
    before = sorted(here.iterdir())
    done = mscope(*command, "decoder.pth", "-f", "csv", *[part for name in names for part in ("-o", name)])
    assert (done.code, done.out) == (2, "")
    assert f"'csv' contradicts {', '.join(map(repr, names))}: the suffix of a file decides" in words(done.err)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(("command", "format"), [("check", "table"), ("inspect", "table"), ("inspect", "tree")])
def test_nor_does_a_table_get_into_a_markdown_file(here, command, format):
    done = mscope(command, "decoder.pth", "-f", format, "-o", "a.md")
    assert (done.code, (here / "a.md").exists()) == (2, False)
    assert f"'{format}' contradicts 'a.md'" in words(done.err)


@BOTH
def test_a_format_may_be_said_again(here, command):
    assert mscope(*command, "decoder.pth", "-f", "md", "-o", "a.markdown").code == 0
    assert is_a(".md", (here / "a.markdown").read_text())


def test_a_check_without_a_known_suffix_is_its_table(here):
    done = mscope(*CHECK, "decoder.pth", "-o", "checks.txt")
    assert (here / "checks.txt").read_text() == done.out == mscope(*CHECK, "decoder.pth").out


@pytest.mark.parametrize("format", ["pdf", "markdwn", "", "table"])
def test_an_unknown_format(format):
    done = mscope("report", "decoder.pth", "-f", format)
    assert (done.code, done.out) == (2, "")
    assert "is not one of markdown, html, json, junit, sarif, csv, tsv" in words(done.err)
    assert ("did you mean 'markdown'?" in words(done.err)) is (format == "markdwn")


@BOTH
def test_stdout_takes_one_document(command):
    done = mscope(*command, "decoder.pth", "-o", "-", "-o", "-")
    assert (done.code, done.out) == (2, "")
    assert "stdout takes one document" in words(done.err)


@BOTH
@pytest.mark.parametrize("format", ["markdown", "html", "json", "junit", "csv", "tsv"])
def test_stdout_is_the_document_and_stderr_the_talk(command, format):
    done = process(*command, "decoder.pth", "gone.pt", "-f", format)
    assert done.returncode == 3
    assert done.stderr == "mscope: gone.pt: no such file or folder\n"
    assert "mscope: " not in done.stdout
    assert "\x1b" not in done.stdout
    if format == "json":
        assert [error["path"] for error in json.loads(done.stdout)["errors"]] == ["gone.pt"]
    if format == "junit":
        assert ElementTree.fromstring(done.stdout).get("errors") == "1"


def test_a_report_with_files_only_says_nothing():
    assert mscope("report", "decoder.pth", "-o", "a.md") == (0, "", "")


def test_a_check_says_its_verdict_whatever_goes_into_files():
    assert mscope(*CHECK, "decoder.pth", "-o", "a.md").out.endswith("1 rule passed\n")
    assert mscope(*CHECK, "decoder.pth", "-o", "a.md", "-f", "json", "-o", "-").out.startswith("{")


# GitHub


@BOTH
def test_github_appends_to_the_step_summary(here, command):
    (here / "summary.md").write_text("what others wrote\n")
    for count in (1, 2):
        done = mscope(*command, "decoder.pth", "--github", GITHUB_STEP_SUMMARY=str(here / "summary.md"))
        assert (done.code, done.err) == (0, "")
        text = (here / "summary.md").read_text()
        assert text.startswith("what others wrote\n")
        assert text.count("### `decoder.pth`") == count


@BOTH
def test_github_without_a_step_summary_says_so(command):
    done = mscope(*command, "decoder.pth", "--github")
    assert done.code == 0
    assert done.err == "mscope: GITHUB_STEP_SUMMARY is not set, so there is no step summary to append to\n"


def test_without_the_option_no_summary_is_written(here):
    mscope("report", "decoder.pth", GITHUB_STEP_SUMMARY=str(here / "summary.md"))
    assert not (here / "summary.md").exists()


@BOTH
def test_a_step_summary_that_cannot_be_written(here, command):
    done = mscope(*command, "decoder.pth", "--github", "-o", "a.json", GITHUB_STEP_SUMMARY=str(here / "set"))
    assert done.code == 3
    assert "the step summary cannot be written: is a directory" in done.err
    assert is_a(".json", (here / "a.json").read_text())


def test_annotations_follow_the_table(here):
    done = mscope(*BROKEN, "decoder.pth", "gone.pth", "--github", GITHUB_STEP_SUMMARY=str(here / "summary.md"))
    table, _, annotations = done.out.partition("::")
    assert table.endswith("1 of 1 rule failed\n")
    first, second = f"::{annotations}".splitlines()
    assert first == "::error title=SourceError,file=gone.pth::no such file or folder"
    assert second.startswith("::error title=max-size,file=decoder.pth::37.5 kB, 36.5 kB above 1.0 kB")


@pytest.mark.parametrize("command", [REPORT, BROKEN], ids=["report", "check"])
def test_annotations_do_not_get_into_a_document(here, command):
    (here / "mscope.toml").write_text('max-size = "1 kB"')
    done = mscope(*command, "decoder.pth", "--github", "-f", "json", GITHUB_STEP_SUMMARY=str(here / "summary.md"))
    assert is_a(".json", done.out)
    assert "::error title=max-size,file=decoder.pth::" in done.err


def test_a_report_for_github_needs_no_stdout(here):
    done = mscope("report", "decoder.pth", "--github", "-o", "a.md", GITHUB_STEP_SUMMARY=str(here / "summary.md"))
    assert done == (0, "", "")
    assert mscope("report", "decoder.pth", "--github", GITHUB_STEP_SUMMARY=str(here / "summary.md")).out == ""
    assert (here / "summary.md").read_text().count("### `decoder.pth`") == 2
