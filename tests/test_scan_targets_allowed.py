"""Names in configurations and the user's policy: what only it allows follows from it and is said, as with imports of pickles."""

from __future__ import annotations

import json

import pytest

from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words

SYSTEM = b"net:\n  _target_: os.system\n"
OURS = b"net:\n  _target_: shop.Net\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Configurations, and a policy that allows the names in them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "system.yaml").write_bytes(SYSTEM)
    (tmp_path / "ours.yaml").write_bytes(OURS)
    (tmp_path / "tag.yaml").write_bytes(b"x: !!python/object/apply:os.system [id]\n")
    (tmp_path / "both.zip").write_bytes(zip_bytes([Entry("a.yaml", SYSTEM), Entry("b.yaml", OURS)]))
    (tmp_path / "p.toml").write_text('[[allow]]\nnames = ["os.system", "shop.*"]\nreason = "ours"\n')
    (tmp_path / "mscope.toml").write_text('[scan]\npolicy = "p.toml"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("name", "before", "said"),
    [
        ("system.yaml", 1, "1 name called: os.system allowed by p.toml (dangerous without it)"),
        ("ours.yaml", 0, "1 name called: shop.Net allowed by p.toml (unknown without it)"),
        ("both.zip", 1, "2 names called: os.system allowed by p.toml (dangerous without it), shop.Net allowed by p.toml"),
    ],
)
def test_what_a_policy_allows_is_a_verdict_and_is_said(name, before, said):
    assert mscope("scan", name, "--no-config").code == before
    done = mscope("scan", name, "--policy", "p.toml", columns=200)
    assert (done.code, "Verdict safe" in words(done.out), said in words(done.out)) == (0, True, True), done.out
    check = mscope("check", name, "--forbid-unsafe", "--policy", "p.toml", columns=200)
    assert "allowed by p.toml" in words(check.out)
    assert "✓ forbid-unsafe" in check.out
    (report,) = json.loads(mscope("report", name, "--policy", "p.toml", "-f", "json").out)["checkpoints"]
    assert [row["verdict"] for row in report["safety"]] == ["safe"]


def test_settings_that_make_it_milder_are_told():
    named = mscope("scan", "system.yaml", "--config", "mscope.toml")
    assert (named.code, "makes milder os.system (dangerous without it)" in words(named.err)) == (0, True)
    found = mscope("scan", "system.yaml")
    assert (found.code, "does not make milder os.system (dangerous)" in words(found.err)) == (1, True)


def test_a_tag_that_a_policy_makes_milder_is_told():
    done = mscope("scan", "tag.yaml", "--policy", "p.toml")
    assert (done.code, mscope("scan", "tag.yaml", "--no-config").code) == (0, 1)
    assert "makes milder !!python/object/apply:os.system (dangerous without it)" in words(done.err)
