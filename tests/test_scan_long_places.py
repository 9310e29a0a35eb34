"""Members of archives whose paths are longer than any that is written: they are judged by their true names, wherever these are shown cut."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from modelscope_cli.core.place import ENDS, LONGEST, folders_above, short_place
from tests.builders.attacks import SYSTEM
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.script_file import class_text, script_bytes, script_module
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope
from tests.scanned import codes, scanned

EVIL = proto() + SYSTEM + STOP
LONG = "a/" * 700


def zipped(members: dict[str, bytes]) -> bytes:
    return zip_bytes([Entry(name, data) for name, data in members.items()])


def tarred(members: dict[str, bytes]) -> bytes:
    return tar_bytes([TarEntry("x", data, pax={"path": name}) for name, data in members.items()])


def test_a_place_is_cut_to_its_ends_and_to_the_same_only_where_it_is_the_same():
    assert short_place("a" * LONGEST) == "a" * LONGEST
    places = [f"{'b' * 2_000}{n}{'b' * 2_000}" for n in range(3)]
    cut = [short_place(place) for place in places]
    assert len({*cut, *map(short_place, cut)}) == 6  # nor is one that looks like it
    assert all(len(each) < 2 * ENDS + 30 for each in cut)


def test_folders_above():
    assert list(folders_above("a/b/c.py")) == ["a/b/", "a/", ""]
    assert list(folders_above("c.py")) == [""]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_has_a_long_name_is_looked_at(pack):
    assert scanned(pack({f"{LONG}x.pkl": EVIL})).verdict == "dangerous"
    assert scanned(pack({f"{LONG}x.pkl": pickled({"a": 1})})).verdict == "safe"
    inner = pack({f"{LONG}x.pkl": EVIL, "y.pkl": pickled({"a": 1})})
    assert scanned(pack({f"{LONG}in.zip": inner})).verdict == "dangerous"


@pytest.mark.parametrize(("pack", "code"), [(zipped, "zip-name"), (tarred, "tar-name")])
def test_a_long_name_that_leads_out_is_told(pack, code):
    assert code in codes(scanned(pack({f"{LONG}../../x.pkl": pickled(1)})))
    assert code not in codes(scanned(pack({f"{LONG}x.pkl": pickled(1)})))


@pytest.mark.parametrize("root", ["net", "r" * 985, "r" * 1_100, "r/" * 3_000])
def test_torchscript_below_a_long_root(root):
    code = class_text("Net", [], []) + "  def forward(self):\n    torch.save(self.x, '/etc/x')\n"
    with zipfile.ZipFile(io.BytesIO(script_bytes(script_module("nn.Net", {}), {}, {"nn": code}))) as made:
        members = {f"{root}/{name.partition('/')[2]}": made.read(name) for name in made.namelist()}
    assert "script-files" in codes(scanned(zipped(members)))


def test_a_source_beside_the_configuration_that_asks_for_it():
    asked = json.dumps({"auto_map": {"AutoModel": "m.M"}}).encode()
    for above, code in ((LONG, "loaded-source"), ("a/" * 3_000, "too-many-names")):
        assert code in codes(scanned(zipped({f"{above}config.json": asked, f"{above}m.py": b"import os"})))


def test_a_long_place_is_written_in_a_few_hundred_characters(tmp_path):
    (tmp_path / "m.zip").write_bytes(zipped({f"{'a' * 60_000}/x.pkl": EVIL}))
    done = mscope("scan", tmp_path / "m.zip", "-f", "sarif")
    assert (done.code, "…" in done.out) == (1, True)
    assert len(done.out) < 20_000
