"""`mscope scan FOLDER -o FILE`: nothing that is scanned is written over, and what the output is called leaves no file out."""

from __future__ import annotations

import json
import os

import pytest

from tests.builders.attacks import ATTACKS
from tests.builders.samples import SAMPLES
from tests.cli.documents import files
from tests.command import mscope, process, words

EVIL = ATTACKS["reduce"][0]
FULL = "/dev/full"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "set" / "evil.pt").write_bytes(EVIL)
    return tmp_path


@pytest.mark.parametrize("folder", ["set", "./set/../set", "way", "."])
@pytest.mark.parametrize("name", ["set/evil.pt", "set/evil.json", "way/evil.json", "set/note.md", "set/.git/config"])
def test_no_file_of_a_scanned_folder_is_written_over(here, folder, name):
    (here / "way").symlink_to("set", target_is_directory=True)
    (here / "set" / ".git").mkdir()
    for other in ("evil.json", "note.md", ".git/config"):
        (here / "set" / other).write_bytes(EVIL)
    before = files(here)
    done = mscope("scan", folder, "-f", "json", "-o", name) if name.endswith(("pt", "config")) else mscope("scan", folder, "-o", name)
    assert (done.code, done.out) == (2, "")
    why = "leads through a link" if (folder, name) == (".", "way/evil.json") else "is no JSON, SARIF or JUnit of mscope"
    assert why in words(done.err)
    assert files(here) == before


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["set/scan.json", "set/inner/scan.json"])
def test_no_link_of_a_scanned_folder_is_followed(here, monkeypatch, there, name):
    (here / "outside").mkdir()
    if there:
        (here / "outside" / "scan.json").write_text("precious")
    (here / "set" / "scan.json").symlink_to("../outside/scan.json")
    (here / "set" / "inner").symlink_to("../outside", target_is_directory=True)
    before = files(here)
    assert mscope("scan", "set", "-o", name).code == 2
    monkeypatch.chdir(here / "set")
    done = mscope("scan", ".", "-o", name.removeprefix("set/"))
    assert (done.code, "leads through a link" in words(done.err)) == (2, True)
    assert files(here) == before


def test_an_output_elsewhere_that_a_link_in_the_folder_leads_to(here):
    (here / "blob").write_bytes(EVIL)
    (here / "set" / "linked.pt").symlink_to("../blob")
    done = mscope("scan", "set", "-f", "json", "-o", "blob")
    assert (done.code, "'blob' is 'set/linked.pt', which is scanned" in words(done.err)) == (2, True)
    assert (here / "blob").read_bytes() == EVIL


def test_a_new_name_is_fine_and_leaves_nothing_out(here):
    done = mscope("scan", "set", "-o", "set/new.json")
    assert done.code == 1
    (report,) = json.loads((here / "set" / "new.json").read_text())["checkpoints"]
    assert {os.path.basename(row["path"]): row["verdict"] for row in report["files"]} == {"good.pt": "safe", "evil.pt": "dangerous"}


def test_documents_of_an_earlier_run_are_replaced_and_that_is_said(here):
    names = ["set/a.json", "set/a.sarif"]
    outputs = [part for name in names for part in ("-o", name)]
    assert mscope("scan", "set", *outputs).code == 1
    os.link("set/a.json", "set/also.json")  # another name of the same bytes is no output
    done = mscope("scan", "set", *outputs, columns=200)
    assert done.code == 1
    for name in names:
        assert f"{name}: a document of an earlier run, which this one writes over" in words(done.out)
    (report,) = json.loads((here / "set" / "a.json").read_text())["checkpoints"]
    assert {os.path.basename(row["path"]) for row in report["files"]} == {"good.pt", "evil.pt", "also.json"}
    assert [row["path"] for row in report["not_looked_at"] if "earlier run" in row["why"]] == ["set/a.json", "set/a.sarif"]
    assert mscope("scan", "set", "-o", "set/a.md").code == 1
    assert mscope("scan", "set", "-o", "set/a.md").code == 2  # Markdown has no mark that says whose it is


def test_a_baseline_is_no_document_to_replace(here):
    assert mscope("baseline", "save", "set/good.pt", "-o", "set/old.json").code == 0
    before = files(here)
    assert mscope("scan", "set", "-o", "set/old.json").code == 2
    assert files(here) == before


def test_an_archive_that_is_scanned_inside_is_not_written_over(here):
    from tests.builders.zip_archive import Entry, zip_bytes

    (here / "all.zip").write_bytes(zip_bytes([Entry("m/evil.pkl", EVIL)]))
    before = files(here)
    assert mscope("scan", "all.zip!/m/evil.pkl", "-f", "json", "-o", "all.zip").code == 2
    assert files(here) == before


def test_formats_that_there_are(here):
    wrong = mscope("scan", "set", "-f", "bogus", columns=200)
    assert (wrong.code, "junit" in wrong.err) == (2, False)
    for arguments, option in ((["-f", "junit"], "--format"), (["-o", "x.xml"], "--output")):
        done = mscope("scan", "set", *arguments, columns=200)
        assert (done.code, f"'{option}'" in done.err) == (2, True)
    assert ".xml" not in mscope("scan", "--help").out
    assert ".xml" in mscope("check", "--help").out
    done = mscope("scan", "set", "-o", "name.bogus", columns=200)
    assert (done.code, "say which format with -f" in words(done.err), (here / "name.bogus").exists()) == (2, True, False)
    for name in ("plain", "log.txt"):
        assert mscope("scan", "set", "-o", name).code == 1
        assert "dangerous" in (here / name).read_text()


@pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
@pytest.mark.parametrize("command", [("scan",), ("check", "--forbid-unsafe")], ids=["scan", "check"])
@pytest.mark.parametrize("format", ["table", "json"])
def test_a_verdict_weighs_more_than_a_full_disk(here, command, format):
    for name, code in (("set/evil.pt", 1), ("set/good.pt", 3)):
        with open(FULL, "w") as full:
            done = process(*command, name, "-f", format, stdout=full)
        assert (done.returncode, done.stderr) == (code, "mscope: the output cannot be written: no space left on device\n")


def test_the_help_breaks_no_word_at_eighty_columns():
    text = mscope("scan", "--help", columns=80).out
    assert "--fail-on" in text
    assert "LEVEL" in text
    lines = text.splitlines()
    examples = lines[next(number for number, line in enumerate(lines) if "Examples:" in line) + 1 :]
    shown = examples[: next(number for number, line in enumerate(examples) if not line.strip())]
    assert len(shown) >= 6
    assert all(line.strip().startswith("mscope scan ") for line in shown)
