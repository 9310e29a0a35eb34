"""The table of a folder: names in a line, steps that a person can read, and sums that hold in every format."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from modelscope_cli.analysis.folder_table import shown
from tests.builders.folders import FOLDERS, repository, trainer, write
from tests.builders.samples import SAMPLES
from tests.command import mscope
from tests.test_folder import disk_usage


def rows_of(folder, *options) -> list[dict]:
    done = mscope("inspect", folder, "-f", "json", *options)
    assert done.code == 0, done.err
    (rows,) = [each["in_folder"] for each in json.loads(done.out)["checkpoints"] if "in_folder" in each]
    return rows


@pytest.mark.parametrize("kind", FOLDERS)
def test_rows_add_up_to_the_folder_and_it_is_told_once(kind, tmp_path):
    rows = rows_of(write(tmp_path, FOLDERS[kind]()))
    assert rows[-1]["what"] == "TOTAL"
    assert rows[-1]["bytes"] == sum(row["bytes"] for row in rows[:-1]) == disk_usage(tmp_path)
    assert rows[-1]["files"] == sum(row["files"] or 0 for row in rows[:-1])
    assert any(row["used"] and row["what"] in ("weights", "adapter") for row in rows)


@pytest.mark.parametrize("columns", [60, 100, 160])
def test_the_printed_rows_add_up(columns, tmp_path):
    write(tmp_path, trainer(range(100, 3000, 100)))
    out = mscope("inspect", tmp_path, "--unit", "bytes", columns=columns).out
    table = out[out.index("In this folder") :].split("\n\n")[0].splitlines()[1:]
    figures = [[int(part.replace(",", "")) for part in re.findall(r"(?<= )[\d,]+(?= |$)", line)[:2]] for line in table]
    *parts, (files, nbytes) = [(row[0], row[-1]) for row in figures if row]
    assert nbytes == sum(part[1] for part in parts) == disk_usage(tmp_path)
    assert files == sum(part[0] for part in parts)
    assert max(map(len, table)) <= columns


def test_many_steps_are_one_row_for_people_and_all_for_programs(tmp_path):
    write(tmp_path, trainer(range(100, 3000, 100)))
    assert "(23 more steps)" in mscope("inspect", tmp_path).out
    assert sum(row["what"] == "another step" for row in rows_of(tmp_path)) == 28


def test_no_table_of_a_file_or_under_another_division(tmp_path):
    write(tmp_path, repository())
    assert "In this folder" not in mscope("inspect", tmp_path / "model.fp16.safetensors").out
    assert "In this folder" not in mscope("inspect", tmp_path, "--by", "kind").out


@pytest.mark.parametrize("format", ["markdown", "html", "csv", "junit"])
@pytest.mark.parametrize("command", ["inspect", "report"])
def test_other_formats(command, format, tmp_path):
    done = mscope(command, write(tmp_path, repository()), "-f", format)
    assert done.code == 0, done.err
    if format in ("markdown", "html"):
        assert "In this folder" in done.out
        assert "exported to ONNX" in done.out
    if format == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(done.out))}) == 1


@pytest.mark.parametrize(
    "arguments",
    [("check", "--max-size", "1 GB"), ("report",), ("visualize", "-o", "x.svg"), ("baseline", "save", "-o", "x.json")],
)
@pytest.mark.parametrize("kind", ["repository", "trainer", "epochs", "cache", "adapter"])
def test_other_commands_take_the_model_that_is_meant(arguments, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "folder", FOLDERS[kind]())
    done = mscope(*arguments, "folder")
    assert done.code == 0, done.err


def test_a_diff_of_two_runs(tmp_path):
    for name, steps in (("old", (500,)), ("new", (500, 1000))):
        write(tmp_path / name, trainer(steps))
    done = mscope("diff", tmp_path / "old", tmp_path / "new")
    assert done.code == 0, done.err


def test_several_folders_each_have_their_table(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, FOLDERS["diffusers"]())
    (tmp_path / "plain.pt").write_bytes(SAMPLES["state_dict.pt"])
    done = mscope("inspect", tmp_path / "one", tmp_path / "plain.pt", tmp_path / "two", "-f", "json")
    assert ["in_folder" in each for each in json.loads(done.out)["checkpoints"]] == [
        False,
        False,
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("a.json",), "a.json"),
        (("m-1-of-2.bin", "m-2-of-2.bin", "m.json"), "m-*-of-2.bin ×2, m.json"),
        (("a1b2", "a1b3", "a2b2"), "a*b* ×3"),
        (tuple("abcdefgh"), "a, b, c, d, e, f, … 2 more"),
        ((f"snapshots/{'0123abc' * 6:.40}/x",), "snapshots/0123abc…/x"),
        ((), ""),
    ],
)  # fmt: skip
def test_names_in_a_line(names, line):
    assert shown(names) == line
