"""`mscope formats`, the catalogue behind it, and the part of the README that is made from it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys

import pytest

from modelscope_cli.analysis.overview_header import TITLES
from modelscope_cli.cli.formats import bare
from modelscope_cli.formats import registry
from modelscope_cli.formats.catalogue import FORMATS, NAMED, READ, UNPACKED, entries, title_by_head
from modelscope_cli.formats.composites import DCP, DCP_SAFETENSORS, DEEPSPEED, TENSOR_PARALLEL
from modelscope_cli.formats.known import KINDS
from tests.command import mscope, words
from tests.readme_formats import BLOCK, README, SHOWN, block

BY_NAME = {entry.name: entry for entry in FORMATS}


def test_every_format_that_is_read_is_in_the_catalogue():
    assert set(registry.READ_FORMATS) <= set(BY_NAME)
    assert {row.name for row in registry.FORMATS} <= set(BY_NAME)
    composites = {module.rpartition(".")[2].replace("_", "-") for module in (DCP, DCP_SAFETENSORS, DEEPSPEED, TENSOR_PARALLEL)}
    assert composites <= set(BY_NAME)
    assert len(BY_NAME) == len(FORMATS)


def test_titles_are_those_of_the_reports():
    assert {name: BY_NAME[name].title for name in registry.READ_FORMATS} == TITLES


@pytest.mark.parametrize("row", registry.FORMATS, ids=lambda row: row.name)
def test_suffixes_are_those_of_the_registry(row):
    entry = BY_NAME["pickle" if row.suffixes == (".pkl", ".pickle") else row.name]
    assert set(row.suffixes) <= set(entry.files.split())


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_an_entry_says_everything(entry):
    assert entry.title
    assert entry.files
    assert entry.rule
    assert entry.reads or entry.group == "no models" or entry.name == "notebook"
    assert entry.status in (READ, NAMED)
    for said in (entry.reads, entry.rule, entry.limits):
        assert said == said.strip().rstrip(".")


def test_nothing_is_missing_and_nothing_there_twice():
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names)) == len(FORMATS) + len(KINDS) - len(UNPACKED)


@pytest.mark.parametrize("columns", [60, 80, 100, 160, 200])
def test_the_table_holds_everything_and_keeps_its_width(columns):
    done = mscope("formats", columns=columns)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= columns
    assert "…" not in done.out.replace("RIFF … ", "").replace("…)", "")
    first = [line[:12] for line in done.out.splitlines()]
    for entry in entries():
        title = entry.title if entry.status == READ else bare(entry.title)
        assert any(line.startswith(title[:8]) for line in first), title


def test_json_has_every_entry():
    (report,) = json.loads(mscope("formats", "-f", "json").out)["checkpoints"]
    rows = {row["name"]: row for row in report["formats"]}
    assert list(rows) == [entry.name for entry in entries()]
    assert rows["gguf"]["status"] == "read"
    assert rows["gguf"]["files"] == ".gguf"
    assert rows["onnx"]["status"] == "named"
    assert rows["onnx"]["todo"].startswith("mscope visualize")
    assert rows["onnx"]["reads"] == ""


def test_csv_has_a_line_an_entry():
    rows = list(csv.DictReader(io.StringIO(mscope("formats", "-f", "csv").out)))
    assert [row["name"] for row in rows] == [entry.name for entry in entries()]


@pytest.mark.parametrize("format", ["markdown", "html"])
def test_pages_name_them_all(format):
    text = words(mscope("formats", "-f", format).out)
    for entry in FORMATS:
        assert re.split(r"[ .]", entry.title)[0] in text
    assert "TensorFlow Lite model" in text


def test_it_is_written_to_files(tmp_path):
    done = mscope("formats", "-o", tmp_path / "formats.md", "-o", tmp_path / "formats.json")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "| PyTorch (zip) |" in (tmp_path / "formats.md").read_text()
    assert json.loads((tmp_path / "formats.json").read_text())["schema"] == "mscope.formats/1"


def test_wrong_usage_and_unwritable_files(tmp_path):
    assert mscope("formats", "-f", "yaml").code == 2
    assert mscope("formats", "model.pt").code == 2
    assert mscope("formats", "-o", tmp_path / "none" / "formats.md").code == 3


@pytest.mark.parametrize("options", [("-f", "junit"), ("-f", "sarif"), ("-o", "x.xml"), ("-o", "x.sarif")])
def test_documents_of_findings_are_refused(tmp_path, options):
    done = mscope("formats", *(tmp_path / word if word.startswith("x.") else word for word in options))
    assert done.code == 2
    assert "junit and sarif are for what check and scan find" in words(done.err)


def test_patterns_break_where_their_parts_meet():
    text = mscope("formats", columns=100).out
    assert re.search(r"ROOT/.data/\s", text)
    assert re.search(r"shard-00001-model-[*.]*\s", text)
    assert re.search(r"(?<!\S)[*.]*safetensors\s", text)


def test_titles_by_first_bytes():
    import pickle

    magic = 0x1950A86A20F9469CFC6C
    for protocol in range(6):
        assert title_by_head("torch-legacy", pickle.dumps(magic, protocol)) == "PyTorch (legacy stacked pickles)"
        assert title_by_head("torch-legacy", pickle.dumps({"a": 1}, protocol)) == "bare pickle"
    assert title_by_head("torch-zip", b"PK") == "PyTorch (zip)"
    for row in registry.FORMATS:
        assert title_by_head(row.name, b"")


def test_inspect_does_not_import_the_words():
    code = """
import sys, modelscope_cli
modelscope_cli.read(sys.argv[1])
print([name for name in sys.modules if "known" in name or "catalogue" in name])
"""
    path = README.parent / "examples" / "decoder_small.pth"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_readme_is_made_from_the_catalogue():
    """If this fails: python -m tests.readme_formats"""
    (found,) = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert found == block()


def test_the_readme_names_kinds_that_there_are():
    assert set(SHOWN) <= {kind.name for kind in KINDS}
