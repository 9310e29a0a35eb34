"""What a scan of folders passes over is counted by what it is, and each file that cannot be read is one error of a document."""

from __future__ import annotations

import json
import os

import pytest

from tests.builders.samples import SAMPLES
from tests.command import mscope, words

GOOD = SAMPLES["state_dict.pt"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "sub" / "a.pt").write_bytes(GOOD)
    (tmp_path / "other").mkdir()
    return tmp_path


def verdict_line(*arguments: str) -> str:
    """The line of the verdict, which is also that of a step summary."""
    lines = mscope("scan", *arguments, columns=160).out.splitlines()
    return next(line for line in lines if line.startswith("Verdict "))


def test_what_was_looked_at_after_all_is_not_counted(here):
    (here / "set" / "b.pt").hardlink_to(here / "set" / "sub" / "a.pt")
    (here / "set" / "link.pt").symlink_to("sub/a.pt")
    (here / "set" / "link").symlink_to("sub")
    mscope("scan", "set", "-o", "set/scan.json")
    assert "looked at" not in verdict_line("set", "-o", "set/scan.json")
    (report,) = json.loads((here / "set" / "scan.json").read_text())["checkpoints"]
    reasons = {os.path.basename(row["path"]): row["why"] for row in report["not_looked_at"]}
    assert reasons["link"] == "a link to a folder in set, which was looked at"
    assert sorted(reasons) == ["a.pt", "link", "link.pt", "scan.json"]
    assert reasons["link.pt"] == "one file with set/b.pt, which was looked at"


@pytest.mark.parametrize(
    ("links", "repositories", "said"),
    [
        (["other"], 0, "; 1 link to a folder was not looked at"),
        (["other", "other"], 0, "; 2 links to folders were not looked at"),
        (["other"], 1, "; 1 folder and 1 link to a folder were not looked at"),
        (["set/.git"], 2, "; 2 folders and 1 link to a folder were not looked at"),
    ],
)
def test_what_is_left_out_is_counted_by_what_it_is(here, links, repositories, said):
    for folder in ("set", "set/sub")[:repositories]:
        (here / folder / ".git").mkdir()
    for number, path in enumerate(links):
        (here / "set" / f"l{number}").symlink_to(here / path)
    assert verdict_line("set").endswith(said)


def test_a_link_to_a_folder_that_is_named_too(here):
    (here / "set" / "link").symlink_to("../other")
    (here / "other" / "b.pt").write_bytes(GOOD)
    assert "looked at" not in verdict_line("set", "other")


def test_a_document_has_an_error_a_file(here):
    """A terminal has a line for all of them."""
    names = [f"broken{number}.pt" for number in range(6)]
    for name in names:
        (here / "set" / name).write_bytes(GOOD[:-30])
    (here / "set" / "gone.pt").symlink_to("nothing")
    done = mscope("scan", "set", "-f", "json")
    errors = json.loads(done.out)["errors"]
    assert sorted(error["path"] for error in errors) == sorted(f"set/{name}" for name in [*names, "gone.pt"])
    assert all(error["hint"] is None or "-f json" not in error["hint"] for error in errors)
    assert done.code == 3
    (line,) = done.err.splitlines()
    assert "7 files could not be read, or not to the end: broken0.pt, broken1.pt, broken2.pt …" in words(line)
