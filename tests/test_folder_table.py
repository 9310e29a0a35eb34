"""The table of a folder: names in a line, steps that a person can read, and sums that hold in every format."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from pathlib import Path

import pytest

from modelscope_cli.analysis.folder_table import shown
from tests.builders.folders import FOLDERS, pickled, repository, safe, trainer, write
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


MEANT = {  # the model, and its parameters: no other of the folder has as many, or the path tells
    "repository": ("model.safetensors", 68),
    "trainer": ("checkpoint-1000/model.safetensors", 42),
    "epochs": ("best.pth", 42),
    "cache": (f"snapshots/{'0' * 40}/model.safetensors", 42),
    "adapter": ("adapter_model.safetensors", 16),
}


def lay_out(kind, tmp_path, monkeypatch) -> tuple[str, int]:
    """A folder in which the model that is meant has a size of its own; its path and its parameters."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "folder", FOLDERS[kind]())
    name, parameters = MEANT[kind]
    if parameters == 42:
        (tmp_path / "folder" / name).resolve().write_bytes(pickled(6) if name.endswith(".pth") else safe(6))
    return os.path.join("folder", *name.split("/")), parameters


@pytest.mark.parametrize("kind", MEANT)
def test_check_and_report_take_the_model_that_is_meant(kind, tmp_path, monkeypatch):
    meant = lay_out(kind, tmp_path, monkeypatch)
    for arguments in (("check", "--max-size", "1 GB"), ("report",)):
        done = mscope(*arguments, "folder", "-f", "json")
        assert done.code == 0, done.err
        found = [(each["path"], each["parameters"]) for each in json.loads(done.out)["checkpoints"]]
        assert found == [meant]


@pytest.mark.parametrize("kind", MEANT)
def test_a_baseline_describes_the_model_that_is_meant(kind, tmp_path, monkeypatch):
    _, parameters = lay_out(kind, tmp_path, monkeypatch)
    done = mscope("baseline", "save", "folder", "-o", "x.json")
    assert done.code == 0, done.err
    shapes = [shape for file in json.loads(Path("x.json").read_text())["files"] for shape in file.get("tensors", {}).values()]
    sizes = [[int(size) for size in re.findall(r"\d+", shape.partition("[")[2])] for shape in shapes]
    assert sum(map(math.prod, sizes)) == parameters


@pytest.mark.parametrize("kind", MEANT)
def test_a_picture_is_of_the_model_that_is_meant(kind, tmp_path, monkeypatch):
    _, parameters = lay_out(kind, tmp_path, monkeypatch)
    done = mscope("visualize", "folder", "-o", "x.svg")
    assert done.code == 0, done.err
    assert f">{parameters} parameters · " in Path("x.svg").read_text(encoding="utf-8")


def test_a_diff_of_two_runs_is_of_their_last_steps(tmp_path):
    write(tmp_path / "old", {**trainer((500, 1000)), "checkpoint-500/model.safetensors": safe(3)})
    write(tmp_path / "new", {**trainer((500, 1000)), "checkpoint-1500/model.safetensors": safe(6)})
    done = mscope("diff", tmp_path / "old", tmp_path / "new")
    assert done.code == 0, done.err
    assert re.search(r"layer\.weight +4 × 4 → 6 × 6 ", done.out)


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
        (("\0.pkl", "2.pkl", "3.pkl"), "\0.pkl, *.pkl ×2"),
        ((), ""),
    ],
)  # fmt: skip
def test_names_that_differ_by_a_number_are_one(names, line):
    assert shown(names) == line
