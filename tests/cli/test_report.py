"""`mscope report`: everything about a model, with the verdicts of the rules and what changed, and it never fails a build."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from modelscope_cli.render.registry import NAMES as FORMATS
from tests.command import mscope, process, words
from tests.judged import weights
from tests.snapshots.checkpoints import CHECKPOINTS


@pytest.fixture(autouse=True)
def fenced(here, monkeypatch):
    """No mscope.toml above the folder counts. broken.pth ends early, old.safetensors is smaller than new.safetensors."""
    (here / ".git").mkdir()
    (here / "broken.pth").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    (here / "old.safetensors").write_bytes(weights({"a.weight": (100,)}))
    (here / "new.safetensors").write_bytes(weights({"a.weight": (100,), "b.weight": (10,)}))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def report(*arguments: object, code: int = 0):
    done = mscope("report", *arguments)
    assert done.code == code, done
    return done


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ("decoder.pth",)), (0, ("decoder.pth", "set")), (0, ("new.safetensors", "-b", "old.safetensors")), (2, ()), (2, ("decoder.pth", "-f", "pdf")),
        (2, ("decoder.pth", "-o", "a.txt")), (2, ("decoder.pth", "--max-size", "5")), (2, ("decoder.pth", "set", "-b", "old.safetensors")),
        (2, (".", "-b", "old.safetensors")), (2, ("decoder.pth", "--unit", "miles")), (2, ("decoder.pth", "-o", "decoder.pth", "-f", "json")),
        (3, ("gone.pth",)), (3, ("broken.pth",)), (3, ("broken.pth", "decoder.pth")), (3, ("decoder.pth", "-b", "gone.json")),
        (3, ("decoder.pth", "-c", "gone.toml")), (3, ("decoder.pth", "-b", "broken.pth")), (2, ("gone.pth", "-f", "pdf")), (3, (".",)),
    ],
)  # fmt: skip
def test_exit_codes(code, arguments):
    done = report(*arguments, code=code)
    assert bool(done.err or not arguments) is (code in (2, 3))


def test_a_rule_that_is_broken_is_in_it_and_fails_no_build(here):
    (here / "mscope.toml").write_text('max-size = "1 kB"\n[modules."nothing"]\nmax-share = "1 %"')
    done = report("decoder.pth")
    assert "1 of 2 rules failed" in done.out
    assert "36.5 kB above 1.0 kB" in done.out
    assert done.err == ""
    suites = ElementTree.fromstring(report("decoder.pth", "-f", "junit").out)
    assert (suites.get("failures"), suites.get("skipped")) == ("1", "1")
    assert ElementTree.fromstring(report("decoder.pth", "--strict", "-f", "junit").out).get("failures") == "2"
    (one,) = json.loads(report("decoder.pth", "-f", "json").out)["checkpoints"]
    assert [found["status"] for found in one["checks"]] == ["failed", "warning"]


def test_without_rules_there_are_no_verdicts():
    assert "checks" not in json.loads(report("decoder.pth", "-f", "json").out)["checkpoints"][0]
    assert "rule" not in report("decoder.pth").out.splitlines()[2]


def test_a_wrong_configuration_is_told(here):
    (here / "mscope.toml").write_text("max-siz = 1")
    assert "did you mean 'max-size'?" in words(report("decoder.pth", code=2).err)


def test_what_changed_since_the_baseline_is_in_it():
    plain = report("new.safetensors").out
    done = report("new.safetensors", "-b", "old.safetensors")
    assert len(done.out) > len(plain)
    assert "+10 parameters" in done.out
    assert "+10 parameters" not in plain
    assert mscope("baseline", "save", "old.safetensors").code == 0
    assert "+10 parameters" in report("new.safetensors", "-b", "old.baseline.json").out


def test_a_baseline_that_cannot_be_read_does_not_lose_the_report():
    done = report("decoder.pth", "-b", "gone.json", code=3)
    assert "### `decoder.pth`" in done.out
    assert done.err == "mscope: gone.json: no such file or folder - mscope baseline save PATH -o gone.json makes one\n"
    document = json.loads(report("decoder.pth", "-b", "gone.json", "-f", "json", code=3).out)
    assert len(document["checkpoints"]) == 1
    assert [error["path"] for error in document["errors"]] == ["gone.json"]


def test_one_bad_file_does_not_lose_the_others(here):
    (here / "set" / "other.pt").write_bytes(b"")
    document = json.loads(report("set", "broken.pth", "decoder.pth", "-f", "json", code=3).out)
    assert [one["path"] for one in document["checkpoints"]] == ["set/model.safetensors", "decoder.pth", "broken.pth"]
    assert [row["verdict"] for row in document["checkpoints"][2]["safety"]] == ["unknown"]
    assert [error["path"] for error in document["errors"]] == ["set/other.pt", "broken.pth"]


def test_a_damaged_set_is_reported_and_told(here):
    shard = here / "set" / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    done = report("set", code=3)
    assert "model-00002-of-00002.safetensors" in done.out
    assert "layers" in done.out


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_format_agrees_on_the_figures(tmp_path, name):
    """The bytes and parameters of the JSON stand in every other format."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / CHECKPOINTS[name](folder)
    (one,) = json.loads(report(path, "-f", "json").out)["checkpoints"]
    assert one["bytes"] == sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    shown = {format: report(path, "-f", format, "--unit", "bytes").out for format in FORMATS}
    assert f"{one['bytes']:,}" in shown["markdown"]
    assert f"{one['parameters']:,}" in shown["markdown"].replace("\\", "")
    assert f"{one['parameters']:,} parameters" in shown["junit"]
    assert f"{one['parameters']:,}" in shown["html"]
    rows = list(csv.DictReader(io.StringIO(shown["csv"].removeprefix("\ufeff"))))
    assert rows == list(csv.DictReader(io.StringIO(shown["tsv"].removeprefix("\ufeff")), delimiter="\t"))
    inside = [row for row in rows if row["depth"] == "0" and row["section"] == "false"]
    assert sum(int(row["parameters"] or 0) for row in inside) == one["parameters"]
    (total,) = (row for row in rows if row["label"] == "TOTAL")
    assert (int(total["parameters"]), int(total["bytes"])) == (one["parameters"], one["bytes"])


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_file_gives_the_same_bytes(format):
    assert process("report", "decoder.pth", "-f", format).stdout == process("report", "decoder.pth", "-f", format).stdout


@pytest.mark.parametrize(("unit", "text"), [("iec", "36.6 KiB"), ("si", "37.5 kB"), ("bytes", "37,519")])
def test_units(unit, text):
    table = report("decoder.pth", "--unit", unit).out.partition("TOTAL")[2].splitlines()[0]
    assert text in table.replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_has_the_diagram_and_the_map():
    page = report("decoder.pth", "-f", "html").out
    assert "<svg" in page
    assert "Where the bytes are" in page
    assert not re.search(r'(?:src|href)="?https?:', page.replace('href="https://github.com', ""))


def test_csv_for_a_shell():
    """As the help shows: columns that sort by their number."""
    rows = list(csv.reader(io.StringIO(report("decoder.pth", "-f", "csv").out.removeprefix("\ufeff"))))
    assert len({len(row) for row in rows}) == 1
    assert any(row[rows[0].index("parameters")] == "3528" for row in rows[1:])


def test_help_has_every_format_and_exit_codes():
    text = words(report("--help").out)
    for format in FORMATS:
        assert format in text
    for option in (
        "--format",
        "--output",
        "--github",
        "--unit",
        "--config",
        "--baseline",
        "--strict",
        "--only",
        "--lenient",
        "--limit",
    ):
        assert option in text
    assert "Exit codes: 0 fine, 2 wrong usage, 3 something could not be read or written." in text


def test_lenient_shows_what_can_be_shown(here):
    (here / "cut.safetensors").write_bytes((here / "new.safetensors").read_bytes()[:-8])
    assert report("cut.safetensors", code=3).out.count("a") < report("cut.safetensors", "--lenient", code=3).out.count("a")
    assert "b.weight" in report("cut.safetensors", "--lenient", "-f", "json", code=3).out


def test_no_traceback_for_a_file_cut_anywhere(here):
    for name in ("state_dict.pt", "training.ckpt", "legacy.pth", "plain.safetensors"):
        data = (here / name).read_bytes()
        for length in range(0, len(data), max(1, len(data) // 12)):
            (here / "cut.bin").write_bytes(data[:length])
            done = mscope("report", "cut.bin", "-f", "json")
            assert done.code in (0, 3), done
            assert isinstance(json.loads(done.out), dict)
