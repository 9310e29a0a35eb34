"""How much is told apart and shown where a file names more than anybody can use: sums stay what they are, and it is said."""

from __future__ import annotations

import json

import msgspec
import pytest

from modelscope_cli.analysis import levels, signatures, size_table
from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.diff import compare
from modelscope_cli.analysis.diff_tree import ChangeTree
from modelscope_cli.analysis.levels import DEEPEST, cut, levels_of
from modelscope_cli.analysis.overview import Options, inspect, to_report
from modelscope_cli.analysis.size_row import total
from modelscope_cli.render import csv
from modelscope_cli.render import json as json_document
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import COMPLETE, EVERYTHING, Document, Made, Report
from tests.builders.safetensors_file import safetensors_bytes
from tests.opened import opened

PATHS = [f"a{n % 5}.b{n % 25}.c{n}" for n in range(100)]  # 5, 25 and 100 modules, level by level
MODEL = {f"{path}.part{n}.weight": ("F32", (n + 1, 2)) for n, path in enumerate(PATHS)}


@pytest.fixture
def few(monkeypatch):
    """Sets how many modules may be told apart."""

    def set_to(count: int) -> None:
        monkeypatch.setattr(levels, "MOST_MODULES", count)
        monkeypatch.setattr(signatures, "MOST_MODULES", count)

    return set_to


def model(change: int = 0):
    shapes = {name: (dtype, (rows + change, columns)) for name, (dtype, (rows, columns)) in MODEL.items()}
    return opened(safetensors_bytes(shapes), "m.safetensors")


@pytest.mark.parametrize(("path", "count", "kept"), [("a.b.c", 3, "a.b.c"), ("a.b.c", 2, "a.b"), ("a.b.c", 1, "a"), ("a.b.c", 0, ""), ("", 0, ""),
    ("abc", 1, "abc"), ("abc", 64, "abc"), ("...", 2, "."), (".".join("a" * 100), 64, ".".join("a" * 64))])  # fmt: skip
def test_the_upper_levels_of_a_path(path, count, kept):
    assert cut(path, count) == kept


@pytest.mark.parametrize(
    ("count", "found"), [(1_000, DEEPEST), (130, DEEPEST), (129, 2), (30, 2), (29, 1), (5, 1), (4, 0), (0, 0)]
)
def test_as_many_levels_as_there_is_room_for(few, count, found):
    few(count)
    assert levels_of(PATHS) == found


def test_the_levels_of_nothing():
    assert levels_of([]) == DEEPEST


def test_paths_whose_characters_would_not_fit():
    assert levels_of([f"{n}." + "a." * 4_000 for n in range(3_000)]) < DEEPEST


@pytest.mark.parametrize(("count", "tops"), [(1_000, 5), (240, 5), (100, 5), (8, 5), (4, 100)])
def test_sums_do_not_depend_on_it(few, count, tops):
    whole = inspect(model())
    few(count)
    overview = inspect(model())
    assert len(overview.tree.rows) == tops
    assert total(overview.rows).nbytes == whole.nbytes == overview.nbytes
    assert total(overview.rows).parameters == whole.parameters
    tree = byte_tree(overview)
    assert (tree.root.nbytes, tree.root.parameters, tree.root.tensors) == (whole.nbytes, whole.parameters, 100)


def test_what_is_not_told_apart_keeps_its_name(few):
    few(100)
    overview = inspect(model())
    assert overview.tree.cut == 2
    report = to_report(overview, EVERYTHING)
    labels = [row.cells[0] for row in report.sections[1].rows]
    assert sum(label.endswith(".weight") and label.startswith("c") and ".part" in label for label in labels) == 100
    assert "too many modules to tell them apart below level 2" in report.sections[1].caption
    few(0)
    assert to_report(inspect(model()), EVERYTHING).sections[1].caption.endswith("too many modules to tell them apart")


def test_a_diff_keeps_its_sums(few):
    old, new = model(), model(1)
    rows = ChangeTree(compare(old, new)).rows
    few(8)
    fewer = ChangeTree(compare(old, new)).rows
    assert sum(row.nbytes_change for row in rows) == sum(row.nbytes_change for row in fewer) == 100 * 8
    assert len(fewer) <= len(rows)


def test_people_are_shown_so_many_rows(monkeypatch):
    overview = inspect(model(), Options(by=("tensor",), top=0))
    complete = list(to_report(overview).sections[0 + 1].rows)
    monkeypatch.setattr(size_table, "MOST_LINES", 10)
    table = to_report(overview).sections[1]
    sections = [row for row in complete if row.mark == "section"]
    assert table.rows == complete[:10] + sections + complete[-1:]
    assert f"{len(complete) - len(table.rows)} rows are left out: -f csv and -f json have them all" in table.caption
    assert len(to_report(overview, COMPLETE).sections[1].rows) == len(complete)


def test_rows_can_be_walked_again_and_counted():
    rows = Made(lambda: iter("abc"), 3)
    assert list(rows) == list(rows) == ["a", "b", "c"]
    assert len(rows) == 3
    assert (rows[0], rows[-1], rows[1:]) == ("a", "c", ["b", "c"])


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_300])
def test_documents_written_piece_by_piece(count):
    shapes = {f"t{n}": ("F32", (n + 1,)) for n in range(count)}
    report = to_report(inspect(opened(safetensors_bytes(shapes), "m.safetensors")), EVERYTHING)
    document = Document("mscope.inspect/1", [report, report], ())
    written = b"".join(json_document.pieces(document, Look()))
    found = json.loads(written)
    assert [len(each["tensors"]) for each in found["checkpoints"]] == [count, count]
    assert [row["name"] for row in found["checkpoints"][1]["tensors"]] == list(shapes)
    laid_out = json_document.NUMBERS.sub(json_document._in_a_line, msgspec.json.format(written, indent=2))
    assert laid_out + b"\n" == written, "indented as if it had been written at once"
    assert b"".join(csv.pieces(document, Look())).count(b"\n") == 1 + 2 * len(report.sections[1].rows)


def test_a_document_about_nothing():
    empty = Document("mscope.inspect/1", [], ())
    assert json.loads(b"".join(json_document.pieces(empty, Look()))) == {
        "schema": "mscope.inspect/1",
        "checkpoints": [],
        "errors": [],
    }
    bare = Document("mscope.inspect/1", [Report("mscope.inspect/1", "a", [])], ())
    assert json.loads(b"".join(json_document.pieces(bare, Look())))["checkpoints"] == [{}]
