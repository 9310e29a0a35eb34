"""A scan that a limit ends: what was found until then counts, and each limit that binds is told once, in a sentence."""

from __future__ import annotations

import json
import signal

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.scan_codes import SCAN_CODES
from modelscope_cli.errors import LimitError
from tests.builders.attacks import ATTACKS
from tests.builders.pickle_code import instance, pickled
from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words
from tests.scanned import scanned

YAML = b"net:\n  _target_: os.system\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    return tmp_path


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("name", ["a.zip", "a.yaml"])
def test_a_name_found_before_the_time_was_up_counts(here, monkeypatch, name):
    (here / name).write_bytes(zip_bytes([Entry("a.yaml", YAML)]) if name.endswith(".zip") else YAML)

    def slowly(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("modelscope_cli.formats.scanning.Walk.follow", slowly)
    scan = mscope("scan", name, "--limit", "seconds=1", columns=200)
    assert (scan.code, "_target_ names os.system" in scan.out, "more than the limit of 1 seconds" in scan.out) == (1, True, True)
    assert "seconds: more than the limit of 1" in scan.err
    check = mscope("check", name, "--forbid-unsafe", "--limit", "seconds=1", columns=200)
    assert (check.code, f"{name} is dangerous: a configuration names os.system" in words(check.out)) == (1, True)
    report = mscope("report", name, "--limit", "seconds=1", "-f", "json")
    assert [row["verdict"] for row in json.loads(report.out)["checkpoints"][0]["safety"]] == ["dangerous"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_a_file_that_takes_its_reader_too_long_is_begun_once(here, monkeypatch):
    (here / "slow.safetensors").write_bytes(SAMPLES["plain.safetensors"])
    begun: list[str] = []

    def slowly(window, *_: object, **__: object) -> None:
        begun.append(window.name)
        while True:
            pass

    monkeypatch.setattr("modelscope_cli.formats.safetensors.read", slowly)
    done = mscope("check", "slow.safetensors", "--forbid-unsafe", "--limit", "seconds=1", columns=200)
    assert (done.code, begun) == (3, ["slow.safetensors"])
    assert "✗ forbid-unsafe  slow.safetensors: not all of it could be looked at: seconds: more than the limit of 1" in done.out
    assert done.err.count("seconds: more than the limit") == 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"opcodes": 60}, "not looked at: more than the limit of 60 opcodes (--limit opcodes=N), and in 28 more places"),
        ({"pickle_bytes": 20}, "not looked at: a pickle longer than the limit of 20 bytes (--limit pickle_bytes=N), and in 29 more places"),
        ({"imports": 0}, "could not be followed to its end: more than the limit of 0 imports (--limit imports=N), and in 29 more places"),
    ],
)
def test_a_limit_that_binds_in_many_places_is_told_once(limits, said):
    things = [1, 2, 3] * 9 if "imports" not in limits else instance("shop.Model")
    data = zip_bytes([Entry(f"a/{number}.pkl", pickled(things)) for number in range(30)])
    safety = scanned(data, "a.zip", DEFAULT_LIMITS._replace(**limits))
    (name,) = limits
    (found,) = [found for found in safety.found if f"--limit {name}=N" in str(found.message)]
    assert said in str(found.message)
    assert len([one for one in safety.unseen if one.limit == name]) > 20  # for machines each place


def test_the_advice_about_a_limit_is_to_raise_it():
    safety = scanned(SAMPLES["plain.safetensors"], "m.safetensors", DEFAULT_LIMITS._replace(header_bytes=10))
    (found,) = safety.found
    assert str(found.message).startswith("it could not be read to its end: ")
    assert str(found.message).endswith(" header bytes, beyond the limit of 10 (--limit header_bytes=N)")
    assert "--limit" in SCAN_CODES[found.code].advice
    assert "checksum" not in SCAN_CODES[found.code].advice


def test_limits_in_sentences():
    assert LimitError("opcodes", 10, "more than 10").told == "more than the limit of 10 opcodes (--limit opcodes=N)"
    assert LimitError("nesting", 2000, 3000).told == "3,000 levels of nesting, beyond the limit of 2,000 (--limit nesting=N)"
    named = LimitError("dimensions", 1, 2).of("m.pt", "tensor 'w'")
    assert named.told == "tensor 'w': 2 dimensions, beyond the limit of 1 (--limit dimensions=N)"


def test_a_pickle_behind_as_many_names_as_are_followed_is_not_passed_over():
    """The names of a file are counted together: a pickle for which none are left is said not to be followed."""
    before = [Entry(f"a/{number}.pkl", pickled(instance(f"shop.M{number}"))) for number in range(5)]
    for last in (ATTACKS["reduce"][0], b"cposix\nsystem\n(S'true'\ntR."):
        safety = scanned(zip_bytes([*before, Entry("z.pkl", last)]), "a.zip", DEFAULT_LIMITS._replace(imports=1))
        assert [one.where for one in safety.unseen if not one.minor] == ["z.pkl"]
        assert safety.problem is not None
