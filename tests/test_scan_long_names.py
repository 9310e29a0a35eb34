"""Names of members that are longer than any that is written: cut, and what could be missed by that keeps a file from being safe."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.formats.scan_long_names import ENDS, FOLDER, LONGEST, short
from tests.builders.attacks import SYSTEM
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, scanned

EVIL = proto() + SYSTEM + STOP
LONG = "a/" * 700


def zipped(members: dict[str, bytes]) -> bytes:
    return zip_bytes([Entry(name, data) for name, data in members.items()])


def tarred(members: dict[str, bytes]) -> bytes:
    return tar_bytes([TarEntry("x", data, pax={"path": name}) for name, data in members.items()])


def test_a_name_is_cut_to_its_ends():
    assert short("a" * LONGEST) == "a" * LONGEST
    assert short(f"{LONG}x.pkl").endswith("/x.pkl")
    for name in (f"{LONG}x.pkl", "x" * 60_000, f"{'b' * 40_000}/{'c' * 20_000}"):
        assert len(short(name)) < FOLDER + 2 * ENDS + 100
        assert short(short(name)) == short(name)


def test_names_are_cut_to_the_same_only_where_they_are_the_same():
    names = [f"{'b' * 2_000}{n}{'b' * 2_000}/{'c' * 2_000}{m}{'c' * 2_000}" for n in range(3) for m in range(3)]
    assert len({short(name) for name in names}) == 9
    assert len({short(name).rpartition("/")[0] for name in names}) == 3


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_has_a_long_name_is_looked_at_and_never_safe(pack):
    assert scanned(pack({f"{LONG}x.pkl": EVIL})).verdict == "dangerous"
    harmless = scanned(pack({f"{LONG}x.pkl": pickled({"a": 1})}))
    assert harmless.verdict == "unknown"
    assert any("names of more than 1,000 characters" in each.why for each in harmless.unseen)
    assert scanned(pack({"a/b/x.pkl": pickled({"a": 1})})).verdict == "safe"


@pytest.mark.parametrize(("pack", "code"), [(zipped, "zip-name"), (tarred, "tar-name")])
def test_a_long_name_that_leads_out_is_told(pack, code):
    assert code in codes(scanned(pack({f"{LONG}../../x.pkl": pickled(1)})))
    assert code not in codes(scanned(pack({f"{LONG}x.pkl": pickled(1)})))


def test_a_source_beside_the_configuration_that_asks_for_it():
    asked = json.dumps({"auto_map": {"AutoModel": "m.M"}}).encode()
    assert "loaded-source" in codes(scanned(zipped({f"{LONG}config.json": asked, f"{LONG}m.py": b"import os"})))


def test_two_of_one_long_name():
    assert "zip-duplicate" in codes(scanned(zip_bytes([Entry(f"{LONG}x.pkl", pickled(n)) for n in range(2)])))
    assert "zip-duplicate" not in codes(scanned(zip_bytes([Entry(f"{LONG}{n}/x.pkl", pickled(n)) for n in range(2)])))
