"""Models that are named and not read, or that cannot be read: check judges what can run in them, and a report shows it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.builders.attacks import ATTACKS
from tests.builders.foreign import npy
from tests.builders.graph_file import onnx_model, onnx_tensor
from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words

OUTSIDE = {"location": "/etc/passwd", "offset": "0", "length": "4"}
RULES = ["--forbid-unsafe", "--max-size", "1 MB", "--max-share", "embedding=40%"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "evil.onnx").write_bytes(onnx_model(tensors=(onnx_tensor("w", OUTSIDE),)))
    (tmp_path / "good.npy").write_bytes(npy())
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "cut.pt").write_bytes(SAMPLES["state_dict.pt"][:-30])
    return tmp_path


def checked(*arguments: str) -> tuple[int, list[dict]]:
    done = mscope("check", *arguments, "-f", "json")
    return done.code, json.loads(done.out)["checkpoints"]


def test_a_rule_that_fails_comes_before_what_is_not_read():
    done = mscope("check", "evil.onnx", *RULES, columns=200)
    assert done.code == 1
    lines = [line.strip() for line in done.out.splitlines()]
    assert "Model  its tensors are not read: this is an ONNX model (made by pytorch, IR version 8, opset 17)" in lines
    assert any(line.startswith("✗ forbid-unsafe") and "evil.onnx is suspicious: the data of the tensor 'w'" in line for line in lines)
    assert "! max-size             cannot be judged: the model is not read" in lines
    assert lines[-1] == "1 of 3 rules failed, 2 met nothing to judge"
    code, (report,) = checked("evil.onnx", *RULES)
    assert (code, report["passed"], report["format"]) == (1, False, None)
    assert [(rule["status"], rule["rule"]) for rule in report["checks"]] == [
        ("failed", "forbid-unsafe"), ("warning", "max-size"), ("warning", "max-share"),
    ]  # fmt: skip


def test_nothing_grave_in_what_is_not_read():
    """3, because the other rules cannot be judged; strict makes no failure of it."""
    for more in ([], ["--strict"]):
        code, (report,) = checked("good.npy", *RULES, *more)
        assert (code, report["passed"]) == (3, None)
        assert [rule["status"] for rule in report["checks"]] == ["warning", "warning", "passed"]
    code, (report,) = checked("good.npy", "--forbid-unsafe")
    assert (code, report["passed"], report["checks"][0]["actual"]) == (3, True, "safe")
    assert mscope("check", "good.npy", "--max-size", "1 MB", "-f", "json").out.count('"checks"') == 0


def test_what_cannot_be_read_does_not_pass():
    code, (report,) = checked("cut.pt", "--forbid-unsafe")
    assert (code, report["checks"][0]["status"], report["checks"][0]["actual"]) == (3, "failed", "unknown")
    assert checked("none.pt", "--forbid-unsafe") == (3, [])


def test_a_set_without_its_files(here):
    """The index is there, and no file goes by the name of the set."""
    (here / "m.safetensors.index.json").write_text("{")
    done = mscope("check", "m.safetensors.index.json", "--forbid-unsafe", "-f", "json")
    assert (done.code, len(done.err.splitlines())) == (3, 1)
    (rule,) = json.loads(done.out)["checkpoints"][0]["checks"]
    assert (rule["status"], rule["actual"]) == ("failed", "not judged")


def test_the_rule_of_a_settings_file(here):
    (here / "mscope.toml").write_text('max-size = "1 MB"\n[models."*.onnx"]\nforbid-unsafe = true\n')
    assert mscope("check", "evil.onnx").code == 1
    assert mscope("check", "good.npy").code == 3
    (here / "mscope.toml").write_text('[models."*.onnx"]\nforbid-unsafe = true\n[scan]\nfail-on = "never"\n')
    assert mscope("check", "evil.onnx", "-c", "mscope.toml").code == 3
    assert mscope("check", "evil.onnx").code == 1


@pytest.mark.parametrize("models", [[], ["good.pt"], ["cut.pt"], ["cut.pt", "good.pt"]])
def test_a_folder(here, models):
    """Whatever can be read in it: each of its files is judged, and once."""
    (here / "set").mkdir()
    (here / "set" / "evil.onnx").write_bytes((here / "evil.onnx").read_bytes())
    (here / "set" / "odd.yaml").write_bytes(b"net:\n  _target_: os.system\n")
    for name in models:
        (here / "set" / name).write_bytes((here / name).read_bytes())
    code, reports = checked("set", "--forbid-unsafe")
    said = [rule["message"] for report in reports for rule in report["checks"]]
    assert (code, len([text for text in said if "odd.yaml is dangerous" in text and "evil.onnx is suspicious" in text])) == (1, 1)
    document = json.loads(mscope("report", "set", "-f", "json").out)
    rows = [row["path"] for report in document["checkpoints"] for row in report["safety"]]
    assert sorted(rows) == sorted(f"set/{name}" for name in ["evil.onnx", "odd.yaml", *models])


def test_junit_has_one_suite_a_file():
    done = mscope("check", "evil.onnx", "good.pt", *RULES, "-f", "junit")
    suites = ElementTree.fromstring(done.out)
    assert [suite.get("name") for suite in suites] == ["good.pt", "evil.onnx"]
    assert {key: suites[1].get(key) for key in ("failures", "errors", "skipped")} == {"failures": "1", "errors": "1", "skipped": "2"}


def test_the_report():
    done = mscope("report", "evil.onnx")
    assert done.code == 3
    top = done.out.split("<details>")[0]
    assert "**SUSPICIOUS: the data of the tensor 'w' should lie in `'/etc/passwd'`, an absolute path · its tensors are not read: this is" in top
    assert "| suspicious | `evil.onnx` |" in top
    for kind in ("html", "csv", "sarif", "junit"):
        assert "/etc/passwd" in mscope("report", "evil.onnx", "-f", kind).out, kind


def test_a_text_is_no_report(here):
    (here / "notes.txt").write_text("a text\n")
    assert json.loads(mscope("report", "notes.txt", "-f", "json").out)["checkpoints"] == []
    code, (report,) = checked("notes.txt", "--forbid-unsafe")
    assert (code, report["checks"][0]["actual"]) == (3, "not judged")
    assert words(str(report["checks"][0]["message"])).startswith("notes.txt is not judged: this is a text file")


def test_an_archive_without_a_model(here):
    (here / "all.zip").write_bytes(zip_bytes([Entry("a/notes.dat", ATTACKS["reduce"][0]), Entry("b/m.npy", npy())]))
    for path, code in (("all.zip", 1), ("all.zip!/a/notes.dat", 1), ("all.zip!/a", 1), ("all.zip!/b/m.npy", 3)):
        assert checked(path, "--forbid-unsafe")[0] == code, path
        assert (mscope("scan", path).code == 1) == (code == 1), path


def test_an_output_is_not_written_over_what_was_judged():
    for command in (["check", "--forbid-unsafe"], ["report"]):
        before = mscope(*command, "evil.onnx", "-o", "evil.onnx")
        assert before.code == 2
