"""forbid-unsafe, the safety section of a report, and that inspect and scan judge alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import modelscope_cli
from modelscope_cli.analysis.findings import executable
from modelscope_cli.analysis.policy import grave
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_window
from tests.builders.attacks import ATTACKS
from tests.builders.gguf_file import gguf_bytes
from tests.builders.pickle_code import call, instance, pickled
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


def torch_set(folder, second: bytes) -> None:
    """Two shards with an index."""
    names = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / names["a"]).write_bytes(torch_zip_bytes(ordered({"a": tensor()}), {"0": 24}))
    (folder / names["b"]).write_bytes(second)


@pytest.mark.parametrize("named", ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "."])
def test_every_shard_is_looked_at(here, monkeypatch, named):
    (here / "set").mkdir()
    monkeypatch.chdir(here / "set")
    shard = ordered({"b": tensor()})
    torch_set(here / "set", torch_zip_bytes(shard, {"0": 24}))
    assert mscope("check", named, "--forbid-unsafe").code == 0
    torch_set(here / "set", torch_zip_bytes(shard, {"0": 24}, records={"extra/x": ATTACKS["reduce"][0]}))
    done = mscope("check", named, "--forbid-unsafe", columns=200)
    assert (done.code, "pytorch_model-00002-of-00002.bin is dangerous" in words(done.out)) == (1, True)


def test_a_description_of_a_model_cannot_pass(here):
    """It is known by what it is, not by its name; what it tells of the model's imports is told."""
    (here / "evil.pt").write_bytes(torch_zip_bytes({"x": call("posix.system", "true"), "w": tensor()}, {"0": 24}))
    for model, told in (("good.pt", "a description of a model, not the model"), ("evil.pt", "posix.system")):
        assert mscope("baseline", "save", model, "-o", "old.json").code == 0
        done = mscope("check", "old.json", "--forbid-unsafe", columns=200)
        assert (done.code, "nothing was scanned" in words(done.out), told in words(done.out)) == (1, True, True)
        report = json.loads(mscope("report", "old.json", "-f", "json").out)["checkpoints"][0]
        assert "safety" not in report


def test_a_folder_is_judged_with_its_texts(here):
    """As a scan of the folder does: the tokenizer's template, code that config.json asks for, files of no model."""
    folder = here / "hf"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    (folder / "README.md").write_text("# A model")
    assert mscope("check", "hf", "--forbid-unsafe").code == mscope("scan", "hf").code == 0
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ ''.__class__ }}"}))
    done = mscope("check", "hf", "--forbid-unsafe", columns=200)
    assert (done.code, mscope("scan", "hf").code) == (1, 1)
    assert "tokenizer_config.json is dangerous: the chat template reaches for" in words(done.out)
    assert mscope("check", "hf/model.safetensors", "--forbid-unsafe").code == 0  # as a scan of the file alone
    (report,) = json.loads(mscope("report", "hf", "-f", "json").out)["checkpoints"]
    assert {row["path"]: row["verdict"] for row in report["safety"]}["hf/tokenizer_config.json"] == "dangerous"


def test_the_models_of_a_folder_speak_for_themselves(here):
    for name, data in (("a", SAMPLES["state_dict.pt"]), ("b", (here / "hidden.pt").read_bytes())):
        (here / "models" / name).mkdir(parents=True)
        (here / "models" / name / "weights.pt").write_bytes(data)
    done = mscope("check", "models", "--forbid-unsafe", "-f", "json")
    said = {report["path"]: report["checks"][0]["actual"] for report in json.loads(done.out)["checkpoints"]}
    assert (done.code, said) == (1, {"models/a/weights.pt": "safe", "models/b/weights.pt": "dangerous"})


def test_archives_are_judged_whole_unless_a_member_is_named(here):
    good, evil = SAMPLES["state_dict.pt"], ATTACKS["reduce"][0]
    (here / "good.zip").write_bytes(zip_bytes([Entry("m/a.pth", good)]))
    (here / "evil.zip").write_bytes(zip_bytes([Entry("m/a.pth", good), Entry("notes.dat", evil)]))
    for name, code in (("good.zip", 0), ("evil.zip", 1)):
        assert (mscope("check", name, "--forbid-unsafe").code, mscope("scan", name).code) == (code, code)
    (report,) = json.loads(mscope("report", "evil.zip", "-f", "json").out)["checkpoints"]
    assert [(row["path"], row["verdict"]) for row in report["safety"]] == [("evil.zip", "dangerous")]
    assert mscope("check", "evil.zip!/m/a.pth", "--forbid-unsafe").code == 0


def test_what_could_not_be_looked_at_does_not_pass(here):
    (here / "many.pkl").write_bytes(pickled(1) * 3_000)
    for command in (["scan"], ["check", "--forbid-unsafe"], ["report"]):
        done = mscope(*command, "many.pkl")
        assert (done.code, "not all of it could be looked at" in words(done.err)) == (3, True), command
    assert "✗ forbid-unsafe" in mscope("check", "many.pkl", "--forbid-unsafe").out


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_seconds_count_for_scanning_too(here, monkeypatch):
    """The time is up in the scan, not in the reader: what was read is shown, and the exit code says that it was not looked at."""

    def slowly(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("modelscope_cli.formats.scanning.Walk.content", slowly)
    for command in (["scan"], ["check", "--forbid-unsafe", "--max-size", "1 MB"], ["report", "-f", "json"]):
        done = mscope(*command, "good.pt", "--limit", "seconds=1")
        assert (done.code, "seconds" in words(done.err)) == (3, True), command
    assert json.loads(done.out)["checkpoints"][0]["bytes"] == len(SAMPLES["state_dict.pt"])


def test_limits_count_for_scanning_too(here):
    record = {"extra/x": b"\x80\x02" + b"]0" * 40_000 + b"N."}
    (here / "long.pt").write_bytes(torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}, records=record))
    for limit, level in (("opcodes=4000000", "safe"), ("opcodes=20000", "unknown")):
        found = [
            json.loads(mscope(*command, "long.pt", "--limit", limit, "-f", "json").out)["checkpoints"][0]
            for command in (["scan"], ["check", "--forbid-unsafe"], ["report"])
        ]
        assert (found[0]["verdict"], found[1]["checks"][0]["actual"], found[2]["safety"][0]["verdict"]) == (level,) * 3


@pytest.mark.parametrize("command", [["check", "--forbid-unsafe"], ["report"], ["report", "-c", "rule.toml"]])
def test_each_file_is_scanned_once(here, monkeypatch, command):
    (here / "rule.toml").write_text("forbid-unsafe = true\n")
    (here / "set").mkdir()
    torch_set(here / "set", SAMPLES["state_dict.pt"])
    (here / "set" / "tokenizer.json").write_text("{}")
    seen: list[str] = []
    opened: list[str] = []

    def counted(window, limits, read, found=None):
        seen.append(window.name)
        return scan_window(window, limits, read, found)

    def reading(window, limits, **options):
        opened.append(window.name)
        return read_window(window, limits, **options)

    monkeypatch.setattr("modelscope_cli.formats.scanning.scan_window", counted)
    monkeypatch.setattr("modelscope_cli.formats.registry.read_window", reading)
    mscope(*command, "set", "good.pt", *(["-o", "a.html", "-o", "a.json", "-o", "a.md"] if command[0] == "report" else []))
    assert sorted(map(os.path.basename, seen)) == [
        "good.pt", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json", "tokenizer.json",
    ]  # fmt: skip
    assert sorted(map(os.path.basename, opened))[:3] == ["good.pt", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    assert len(opened) == 3


def test_what_is_scanned_is_what_was_read(here, monkeypatch):
    """A file that another takes the place of while it is read is judged by what its tables show."""

    def replaced(window, limits, **options):
        checkpoint = read_window(window, limits, **options)
        os.replace("evil.pkl", "good.pt")
        return checkpoint

    monkeypatch.setattr("modelscope_cli.formats.registry.read_window", replaced)
    done = mscope("check", "good.pt", "--forbid-unsafe", "--max-size", f"{len(SAMPLES['state_dict.pt'])} B")
    assert (done.code, "it is safe" in words(done.out)) == (0, True)


def test_a_policy_and_the_level_to_fail_on(here):
    (here / "ours.toml").write_text('[[deny]]\nnames = ["shop.*"]\nreason = "no"\n')
    assert mscope("check", "module.pth", "--forbid-unsafe").code == 0
    for command in ("check", "report"):
        assert "--policy" in mscope(command, "--help").out
        assert mscope(command, "module.pth", "--policy", "none.toml", "--config", "rule.toml").code in (2, 3)
    assert mscope("check", "module.pth", "--forbid-unsafe", "--policy", "ours.toml").code == 1
    (report,) = json.loads(mscope("report", "module.pth", "--policy", "ours.toml", "-f", "json").out)["checkpoints"]
    assert report["safety"][0]["verdict"] == "dangerous"
    assert mscope("check", "module.pth", "--forbid-unsafe", "--policy", "ours.toml", "-o", "ours.toml").code == 2
    (here / "sub").mkdir()
    (here / "sub" / "mscope.toml").write_text('forbid-unsafe = true\n[scan]\npolicy = "../ours.toml"\n')
    assert mscope("check", "module.pth", "-c", "sub/mscope.toml").code == 1  # the path is relative to the file it stands in
    for level, code in (("unknown", 1), ("suspicious", 0), ("never", 0)):
        (here / "mscope.toml").write_text(f'forbid-unsafe = true\n[scan]\nfail-on = "{level}"\n')
        assert mscope("check", "module.pth").code == code, level
    for level, code in (("dangerous", 1), ("never", 0)):
        (here / "mscope.toml").write_text(f'forbid-unsafe = true\n[scan]\nfail-on = "{level}"\n')
        assert mscope("check", "evil.pkl", "-c", "mscope.toml").code == code, level
        assert mscope("check", "evil.pkl").code == 1, level  # found, not named: it lets nothing pass


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[scan]\npolice = 'x'\n", "there are policy and fail-on"),
        ("[scan]\npolicy = 1\n", "is not the name of a file"),
        ("[scan]\nfail-on = 'sometimes'\n", "is none of unknown, suspicious, dangerous, never"),
        ("scan = 1\n", "write [scan]"),
        ('[models."x"]\nscan = 1\n', "there is no rule"),
        ("forbid-unsafe = true\n[scan]\npolicy = 'none.toml'\n", "the policy cannot be read"),
    ],
)
def test_a_wrong_table_scan(here, written, said):
    (here / "mscope.toml").write_text(written)
    done = mscope("check", "good.pt", columns=200)
    assert (done.code, said in words(done.err)) == (2, True), done.err


def test_a_downloaded_folder_does_not_bring_its_own_policy(here, monkeypatch):
    folder = here / "download"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "evil.pkl").write_bytes(ATTACKS["reduce"][0])
    (folder / "ours.toml").write_text('[[allow]]\nnames = ["posix.*"]\nreason = "trust me"\n')
    (folder / "mscope.toml").write_text('[scan]\npolicy = "ours.toml"\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "evil.pkl").write_bytes(ATTACKS["reduce"][0])
    for paths in (["."], ["evil.pkl"], ["sub"], ["../download/evil.pkl"]):
        done = mscope("check", *paths, "--forbid-unsafe")
        said = "ours.toml: does not make milder posix.system (dangerous): mscope.toml was found, not named - if it is yours, say --config mscope.toml"
        assert (done.code, said in words(done.err)) == (1, True), paths
        (report,) = json.loads(mscope("report", *paths, "-f", "json").out)["checkpoints"][:1]
        assert report["safety"][0]["verdict"] == "dangerous"
    named = mscope("check", ".", "--forbid-unsafe", "-c", "mscope.toml", columns=200)
    assert (named.code, "posix.system allowed by ours.toml (dangerous without it)" in words(named.out)) == (0, True)
    assert "ours.toml ([scan] policy of mscope.toml): makes milder posix.system (dangerous without it)" in named.err


def test_what_passes_says_by_whose_leave(here):
    (here / "ours.toml").write_text('[[allow]]\nnames = ["posix.*"]\nreason = "ours"\n')
    by_policy = mscope("check", "evil.pkl", "--forbid-unsafe", "--policy", "ours.toml", columns=200)
    assert (by_policy.code, by_policy.err) == (0, "")
    assert "it is safe: posix.system allowed by ours.toml (dangerous without it)" in words(by_policy.out)
    (here / "named.toml").write_text('forbid-unsafe = true\n[scan]\nfail-on = "never"\n')
    by_level = mscope("check", "evil.pkl", "-c", "named.toml", columns=200)
    assert (by_level.code, "not judged" in by_level.out) == (0, False)
    said = """it is dangerous: calls posix.system('touch MODELSCOPE_CANARY_FIRED'); fail-on = "never" in named.toml lets it pass"""
    assert said in words(by_level.out)
    assert 'named.toml: [scan] fail-on = "never": so what is dangerous here does not fail' in by_level.err


def test_no_settings(here):
    (here / "mscope.toml").write_text("forbid-unsafe = maybe\n")
    for command in (["check", "--forbid-unsafe"], ["report"]):
        assert mscope(*command, "good.pt").code == 2
        assert mscope(*command, "good.pt", "--no-config").code == 0
        both = mscope(*command, "good.pt", "--no-config", "-c", "mscope.toml")
        assert (both.code, "contradicts --config" in words(both.err)) == (2, True)


def test_a_file_of_a_folder_that_was_judged_is_not_written_over(here):
    (here / "hf").mkdir()
    (here / "hf" / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    template = json.dumps({"chat_template": "{{ messages }}"})
    (here / "hf" / "tokenizer_config.json").write_text(template)
    for command in (["check", "--forbid-unsafe"], ["report"]):
        assert mscope(*command, "hf", "-o", "hf/tokenizer_config.json").code == 2
        assert (here / "hf" / "tokenizer_config.json").read_text() == template
        for _ in range(2):  # what the command wrote before
            assert mscope(*command, "hf", "-o", "hf/said.json", "-o", "hf/said.md").code == 0


def test_a_graver_verdict_weighs_more_than_an_output_or_a_file(here):
    for command in (["scan"], ["check", "--forbid-unsafe"]):
        assert mscope(*command, "evil.pkl", "-o", "none/a.json").code == 1
        assert mscope(*command, "evil.pkl", "none.pkl").code == 1
        assert mscope(*command, "good.pt", "-o", "none/a.json").code == 3
        assert mscope(*command, "good.pt", "none.pkl").code == 3
        assert "whatever else could not be read or written" in words(mscope(*command[:1], "--help").out)


def test_the_python_call_judges_alike(here):
    assert modelscope_cli.check("good.pt", forbid_unsafe=True)
    assert not modelscope_cli.check("hidden.pt", forbid_unsafe=True)
    (here / "hf").mkdir()
    (here / "hf" / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    (here / "hf" / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ ''.__class__ }}"}))
    assert not modelscope_cli.check("hf", forbid_unsafe=True)
    (here / "ours.toml").write_text('[[deny]]\nnames = ["shop.*"]\nreason = "no"\n')
    (here / "rule.toml").write_text('forbid-unsafe = true\n[scan]\npolicy = "ours.toml"\n')
    assert modelscope_cli.check("module.pth", forbid_unsafe=True)
    assert not modelscope_cli.check("module.pth", config="rule.toml")


def test_the_report_has_a_safety_section(here):
    done = mscope("report", "hidden.pt", "-f", "json")
    (report,) = json.loads(done.out)["checkpoints"]
    (row,) = report["safety"]
    assert (row["verdict"], row["path"]) == ("dangerous", "hidden.pt")
    assert any("posix.system" in finding["message"] for finding in report["safety_findings"])
    assert "safety_findings" not in mscope("report", "good.pt", "-f", "json").out


def test_a_report_begins_with_what_is_dangerous(here):
    """In the line at its top and once among the findings, neither of them folded; a case of JUnit fails only by a rule."""
    (here / "evil.pt").write_bytes(torch_zip_bytes({"x": call("posix.system", "true"), "w": tensor()}, {"0": 24}))
    page = mscope("report", "evil.pt").out
    top, folded = page.split("<details>")[0], page.partition("<details>")[2]
    assert top.splitlines()[2].startswith("**DANGEROUS: calls `posix.system('true')`")
    assert (top.count("it calls `posix.system('true')"), folded.count("it calls")) == (1, 0)
    assert page.count("would import") == 0
    html = mscope("report", "evil.pt", "-f", "html").out
    assert html.index("DANGEROUS: calls posix.system(&#x27;true&#x27;)") < html.index('class="tiles"')
    assert html.count("it calls posix.system(") == 1
    suites = ElementTree.fromstring(mscope("report", "evil.pt", "-f", "junit").out)
    assert suites.get("failures") == "0"
    said = suites.findtext(".//system-out")
    assert said is not None
    assert said.startswith("DANGEROUS: calls posix.system('true')")
    assert said.count("it calls posix.system('true')") == 1
    (here / "mscope.toml").write_text("forbid-unsafe = true\n")
    suites = ElementTree.fromstring(mscope("report", "evil.pt", "-f", "junit").out)
    assert suites.get("failures") == "1"
    assert "DANGEROUS" not in mscope("report", "good.pt").out


def test_inspect_tells_of_a_template_that_breaks_out(here):
    data = gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": "{{ cycler.__init__.__globals__ }}"})
    (here / "evil.gguf").write_bytes(data)
    done = mscope("inspect", "evil.gguf", columns=200)
    assert (done.code, "tokenizer.chat_template: the chat template reaches for" in words(done.out)) == (0, True)
    page = mscope("report", "evil.gguf").out
    assert sum(line.startswith("- ") and "reaches for" in line for line in page.splitlines()) == 1
    assert page.splitlines()[2].startswith("**DANGEROUS: the chat template reaches for")
    (here / "good.gguf").write_bytes(gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": "{{ messages }}"}))
    assert "template" not in mscope("inspect", "good.gguf").out.partition("Findings")[2]


def test_inspect_does_not_scan(here):
    code = "import sys; from modelscope_cli.cli.app import app; app(['inspect', *sys.argv[1:]], standalone_mode=False); "
    code += "print([name for name in sys.modules if 'formats.scan' in name or name.endswith(('.looking', '.safety'))])"
    done = subprocess.run([sys.executable, "-c", code, "good.pt"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


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
