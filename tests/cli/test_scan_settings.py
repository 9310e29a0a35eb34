"""Settings and `mscope scan`: what a file that nobody named may decide, and what was left out or could not be gone through."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.builders.attacks import ATTACKS
from tests.builders.pickle_code import instance, pickled
from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words

EVIL = ATTACKS["reduce"][0]
ALLOW = '[[allow]]\nnames = ["posix.*", "shop.*"]\nreason = "trust me"\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder that was downloaded, with settings of its own, and the user in it."""
    folder = tmp_path / "download"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (folder / "evil.pkl").write_bytes(EVIL)
    (folder / "sub" / "evil.pkl").write_bytes(EVIL)
    (folder / "shop.pkl").write_bytes(pickled(instance("shop.Model")))
    (folder / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (folder / "p.toml").write_text(ALLOW)
    (folder / "mscope.toml").write_text('[scan]\npolicy = "p.toml"\nfail-on = "never"\n')
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("settings", ["mscope.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    ("inside", "paths"),
    [(".", ["evil.pkl"]), (".", ["."]), (".", ["sub"]), (".", ["good.pt", "evil.pkl"]), ("sub", ["."]), ("sub", ["evil.pkl"]), ("sub", [".."])],
)  # fmt: skip
def test_a_download_does_not_decide_its_own_verdict(here, monkeypatch, settings, inside, paths):
    if settings == "pyproject.toml":
        (here / "mscope.toml").unlink()
        (here / settings).write_text('[tool.modelscope-cli.scan]\npolicy = "p.toml"\nfail-on = "never"\n')
    monkeypatch.chdir(here / inside)
    done = mscope("scan", *paths)
    assert (done.code, "dangerous" in done.out) == (1, True)
    said = words(done.err)
    origin = os.path.relpath(here / settings)
    assert f'{origin}: [scan] fail-on = "never" does not count: {origin} was found, not named' in said
    assert f"does not make milder posix.system (dangerous): {origin} was found, not named" in said
    assert f"if it is yours, say --config {origin}" in said
    named = mscope("scan", *paths, "--config", origin)
    assert (named.code, "makes milder posix.system (dangerous without it)" in named.err) == (0, True)


def test_a_file_that_was_found_may_ask_for_more(here):
    (here / "p.toml").write_text('[[deny]]\nnames = ["shop.*"]\nreason = "no"\n[[suspect]]\nnames = ["posix.*"]\nreason = "hm"\n')
    assert json.loads(mscope("scan", "shop.pkl", "-f", "json").out)["checkpoints"][0]["verdict"] == "dangerous"
    assert json.loads(mscope("scan", "evil.pkl", "-f", "json").out)["checkpoints"][0]["verdict"] == "dangerous"
    (here / "mscope.toml").write_text('[scan]\nfail-on = "unknown"\n')
    done = mscope("scan", "shop.pkl")
    assert (done.code, done.err) == (1, "")
    assert mscope("scan", "shop.pkl", "--no-config").code == 0


def test_an_operator_is_not_made_milder_either():
    from modelscope_cli.analysis.policy import Policy, standard_policy
    from modelscope_cli.analysis.policy_file import rows
    from modelscope_cli.analysis.policy_operators import judge_operator
    from modelscope_cli.analysis.policy_stricter import StricterPolicy
    from modelscope_cli.core.scanned import Operator

    operator = Operator("", "tensorflow", "WriteFile", 0, 1)
    assert judge_operator(standard_policy(), operator).level == "dangerous"
    for table, level in (("allow", "safe"), ("suspect", "suspicious")):
        own = rows({table: [{"names": ["tensorflow.WriteFile"], "reason": "ours"}]}, "p.toml")
        assert judge_operator(Policy(own, "p.toml"), operator).level == level
        found = StricterPolicy(own, "p.toml")
        assert judge_operator(found, operator).level == "dangerous"
        assert found.overruled == {"tensorflow.WriteFile": "dangerous"}


def test_a_policy_on_the_command_line_counts_and_is_named(here):
    done = mscope("scan", "evil.pkl", "--policy", "p.toml")
    assert (done.code, "posix.system allowed by p.toml (dangerous without it)" in words(done.out)) == (0, True)
    assert "safe: loading it executes what weights need, and what your policy allows" in words(done.out)
    (here / "both.zip").write_bytes(zip_bytes([Entry("a.pkl", EVIL), Entry("b.pkl", pickled(instance("other.Thing")))]))
    done = mscope("scan", "both.zip", "--policy", "p.toml", columns=200)
    assert (done.code, "unknown" in done.out) == (0, True)  # the verdict's line speaks of other.Thing
    assert "p.toml: makes milder posix.system (dangerous without it)" in done.err


@pytest.mark.parametrize("broken", ["[scan", "[scan]\nfail-on = 'sometimes'\n", "[scan]\npolicy = 'none.toml'\n", "nonsense = 1\n"])
def test_broken_settings_can_be_stepped_over(here, broken):
    (here / "mscope.toml").write_text(broken)
    assert mscope("scan", "good.pt").code == 2
    assert mscope("scan", "good.pt", "--no-config").code == 0
    assert mscope("scan", "evil.pkl", "--no-config").code == 1
    (here / "ours.toml").write_text("")
    assert mscope("scan", "good.pt", "--config", "ours.toml").code == 0
    assert mscope("scan", "good.pt", "--config", "mscope.toml").code == 2
    assert mscope("scan", "good.pt", "--config", "ours.toml", "--no-config").code == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_policy_that_was_found_keeps_nobody_waiting(here):
    (here / "p.toml").unlink()
    os.mkfifo(here / "p.toml")
    done = mscope("scan", "good.pt")
    assert (done.code, "the policy is no file" in words(done.err)) == (2, True)


def test_a_row_for_a_module_comes_before_our_rows_for_its_names(here):
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.policy_file import rows

    own = Policy(rows({"deny": [{"names": ["torch.*"], "reason": "no"}], "allow": [{"names": ["posix.*"], "reason": "ours"}]}, "p.toml"), "p.toml")
    for module, name, level in (("torch._utils", "_rebuild_tensor_v2", "dangerous"), ("posix", "system", "safe"), ("os", "system", "dangerous")):
        assert own.judge(module, name).level == level


def test_the_file_of_a_folder_is_named(here):
    done = mscope("scan", "sub")
    assert "sub/evil.pkl" in done.out
    assert "sub/evil.pkl" in mscope("scan", "sub", "-f", "markdown").out


def test_several_files_have_a_next_step(here):
    assert "mscope scan FILE" in mscope("scan", ".").out


def test_a_folder_with_too_much_in_it_names_the_limit(here):
    done = mscope("scan", ".", "--limit", "folder_entries=2", "--no-config", columns=200)
    assert "raise it with --limit folder_entries=" in done.err
    assert "could not be read" not in done.err
    many = mscope("scan", ".", "--limit", "folder_entries=1", "--no-config")
    assert many.code == 3


def test_an_address_is_answered_like_inspect_does(here):
    for command in ("scan", "inspect"):
        done = mscope(command, "https://example.org/model.pt")
        assert done.code == 3
        assert "https://example.org/model.pt: remote files: not yet - download it first and give the local path" in done.err


def test_what_lies_in_an_archive_is_scanned_by_its_path(here):
    inner = zip_bytes([Entry("x/evil.pkl", EVIL)])
    (here / "all.zip").write_bytes(zip_bytes([Entry("m/inner.zip", inner), Entry("m/good.pt", SAMPLES["state_dict.pt"]), Entry("n/x.pkl", EVIL)]))
    for path, code, found in (
        ("all.zip!/m/good.pt", 0, {"all.zip!/m/good.pt": "safe"}),
        ("all.zip!/m/inner.zip", 1, {"all.zip!/m/inner.zip": "dangerous"}),
        ("all.zip!/m/inner.zip!/x/evil.pkl", 1, {"all.zip!/m/inner.zip!/x/evil.pkl": "dangerous"}),
        ("all.zip!/m", 1, {"all.zip!/m/good.pt": "safe", "all.zip!/m/inner.zip": "dangerous"}),
        ("all.zip!/m/inner.zip!/", 1, {"all.zip!/m/inner.zip!/x/evil.pkl": "dangerous"}),
    ):
        done = mscope("scan", path, "-f", "json", "--no-config")
        (report,) = json.loads(done.out)["checkpoints"]
        assert (done.code, {row["path"]: row["verdict"] for row in report["files"]}) == (code, found), path
    done = mscope("scan", "all.zip!/none.pt", "--no-config")
    assert (done.code, "the archive holds no such file" in done.err) == (3, True)
    assert mscope("scan", "evil.pkl!/none.pt", "--no-config").code == 3


def test_other_names_of_a_file_are_said(here):
    os.link("evil.pkl", "hard.pkl")
    (here / "soft.pkl").symlink_to("evil.pkl")
    done = mscope("scan", "evil.pkl", "hard.pkl", "soft.pkl", "evil.pkl", "--no-config", columns=160)
    assert done.code == 1
    for name in ("hard.pkl", "soft.pkl"):
        assert re.search(rf"{name}: one file with evil.pkl, which was looked at", done.out)
    assert done.out.count("one file with") == 2
    (report,) = json.loads(mscope("scan", ".", "-f", "json", "--no-config").out)["checkpoints"]
    assert {row["path"] for row in report["not_looked_at"]} >= {"./hard.pkl", "./soft.pkl"}
