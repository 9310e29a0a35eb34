"""forbid-unsafe, the safety section of a report, and that inspect and scan judge alike."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.findings import executable
from modelscope_cli.analysis.policy import grave
from tests.builders.attacks import ATTACKS
from tests.builders.pickle_code import instance
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words
from tests.opened import opened
from tests.scanned import scanned


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "module.pth").write_bytes(SAMPLES["module.pth"])
    (tmp_path / "evil.pkl").write_bytes(ATTACKS["reduce"][0])
    hidden = torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}, records={"extra/x": ATTACKS["reduce"][0]})
    (tmp_path / "hidden.pt").write_bytes(hidden)
    return tmp_path


def test_the_rule(here):
    assert mscope("check", "good.pt", "--forbid-unsafe").code == 0
    unknown = mscope("check", "module.pth", "--forbid-unsafe")
    assert (unknown.code, "it is unknown: shop.Model not judged" in words(unknown.out)) == (0, True)
    for name in ("evil.pkl", "hidden.pt"):
        done = mscope("check", name, "--forbid-unsafe", columns=200)
        assert done.code == 1
        assert f"{name} is dangerous: calls posix.system('touch MODELSCOPE_CANARY_FIRED')" in words(done.out)
    assert not (here / "MODELSCOPE_CANARY_FIRED").exists()


def test_the_rule_as_a_key_of_the_configuration(here):
    (here / "mscope.toml").write_text("forbid-unsafe = true\n")
    assert mscope("check", "good.pt").code == 0
    assert mscope("check", "hidden.pt").code == 1


def test_every_shard_is_looked_at(here):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (here / "model.safetensors.index.json").write_text(json.dumps(index))
    (here / "model-00001-of-00002.safetensors").write_bytes(safetensors_bytes({"a": ("F32", (2,))}))
    (here / "model-00002-of-00002.safetensors").write_bytes(safetensors_bytes({"b": ("F32", (2,))}))
    done = mscope("check", "model.safetensors.index.json", "--forbid-unsafe")
    assert (done.code, done.err) == (0, "")


def test_a_description_of_a_model_cannot_pass(here):
    assert mscope("describe" if False else "baseline", "good.pt", "-o", "good.baseline.json").code in (0, 2)
    if (here / "good.baseline.json").exists():
        done = mscope("check", "good.baseline.json", "--forbid-unsafe")
        assert (done.code, "cannot be scanned" in words(done.out)) == (1, True)


def test_the_report_has_a_safety_section(here):
    done = mscope("report", "hidden.pt", "-f", "json")
    (report,) = json.loads(done.out)["checkpoints"]
    (row,) = report["safety"]
    assert (row["verdict"], row["path"]) == ("dangerous", "hidden.pt")
    assert any("posix.system" in finding["message"] for finding in report["safety_findings"])
    assert "dangerous" in mscope("report", "hidden.pt").out
    assert "safety_findings" not in mscope("report", "good.pt", "-f", "json").out


@pytest.mark.parametrize(
    "thing", [instance("shop.Model"), instance("os.PathLike"), ordered({"w": tensor()}), instance("typing.NamedTuple")]
)
def test_inspect_and_scan_judge_alike(thing):
    data = torch_zip_bytes({"x": thing, "t": tensor("0")}, {"0": 24})
    safety = scanned(data)
    (finding,) = executable(opened(data)) or (None,)
    strange = [item for item in safety.imports if item.judgement.level != "safe"]
    assert bool(strange) == (finding is not None)
    for item in strange:
        assert item.path in finding.message
        if grave(item.judgement.level) > grave("unknown"):
            assert f"{item.judgement.level}: {item.path} {item.judgement.reason}" in finding.message


def test_a_zip_that_is_no_model_is_still_judged():
    assert scanned(zip_bytes([Entry("readme.txt", b"hello")]), "a.zip").verdict in (None, "safe")
