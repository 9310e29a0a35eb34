"""Pickles where no member is: found, run, named and judged, wherever in the file they stand; and honest bytes that are none."""

from __future__ import annotations

import gzip
import os

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.attacks import SYSTEM, four, short, stacked
from tests.builders.pickle_code import REDUCE, STOP, TUPLE1, call, data, name, pickled, proto
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_entries
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, paths, scanned

GOOD = torch_entries(ordered({"w": tensor()}), {"0": 24})
MEMBERS = zip_bytes(GOOD)
HIDDEN = {
    "protocol 2": proto() + SYSTEM + STOP,
    "protocol 4": four(stacked("posix", "system") + short("x") + TUPLE1 + REDUCE),
    "without its protocol": bytes(stacked("posix", "system") + short("x") + TUPLE1 + REDUCE + STOP),
    "text": b"cposix\nsystem\n(S'x'\ntR.",
    "instance": b"(S'x'\niposix\nsystem\n.",
    "never called": proto() + name("posix.system") + STOP,
    "inside torch.save": proto() + call("torch.storage._load_from_bytes", data(proto() + SYSTEM + STOP)) + STOP,
}
BEFORE = {"at once": b"", "a byte": b"\n", "zeros": bytes(99), "more zeros": bytes(90_000), "numbers": bytes(range(1, 60)) * 3}


def between(raw: bytes) -> bytes:
    """An archive with bytes before the first member, which are no part of it."""
    return zip_bytes(GOOD, prefix=raw)


def gap(raw: bytes) -> bytes:
    """Bytes between two members: a member that the directory does not list, without its header."""
    first, second = GOOD[:1], GOOD[1:]
    marker = Entry("gap", b"\xee" * max(40, len(raw)))
    whole = zip_bytes([*first, marker, *second])
    at = whole.index(b"PK\x03\x04", 4)
    stop = whole.index(b"\xee" * len(marker.data)) + len(marker.data)
    listed = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"gap"))
    size = 46 + len("gap")
    out = bytearray(whole[:at] + raw.ljust(stop - at, b"\0") + whole[stop:listed] + whole[listed + size :])
    end = out.rindex(b"PK\x05\x06")
    for place in (8, 10):
        out[end + place : end + place + 2] = (len(GOOD)).to_bytes(2, "little")
    held = int.from_bytes(out[end + 12 : end + 16], "little") - size
    out[end + 12 : end + 16] = held.to_bytes(4, "little")
    return bytes(out)


def commented(raw: bytes) -> bytes:
    """The comment of the last member."""
    out = bytearray(MEMBERS)
    last, end = out.rindex(b"PK\x01\x02"), out.rindex(b"PK\x05\x06")
    out[last + 32 : last + 34] = len(raw).to_bytes(2, "little")
    out[end:end] = raw
    end += len(raw)
    held = int.from_bytes(out[end + 12 : end + 16], "little") + len(raw)
    out[end + 12 : end + 16] = held.to_bytes(4, "little")
    return bytes(out)


PLACES = {
    "before": between,
    "between": gap,
    "behind": lambda raw: zip_bytes(GOOD, trailing=raw),
    "comment": lambda raw: zip_bytes(GOOD, comment=raw),
    "directory": commented,
}


@pytest.mark.parametrize("before", [each for each in BEFORE if each != "more zeros"])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_in_a_zip_is_judged_wherever_it_stands(place, hidden, before):
    made = PLACES[place](BEFORE[before] + HIDDEN[hidden])
    safety = scanned(made)
    assert safety.verdict == "dangerous"
    assert "posix.system" in paths(safety)
    assert codes(safety) & {"hidden-pickle", "polyglot"}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_told_says_where_it_stands(place):
    safety = scanned(PLACES[place](bytes(50) + HIDDEN["protocol 2"]), "m.pt")
    (found,) = [found for found in safety.found if found.code == "hidden-pickle"]
    assert found.level == "suspicious"
    assert found.where.startswith("[")
    assert place == "directory" or found.offset == 50
    item = next(item for item in safety.imports if item.path == "posix.system")
    assert (item.where, item.offset) == (found.where, found.offset + 2)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_pickle_behind_another_is_judged_after_a_gap(hidden, before):
    raw = pickled({"a": 1}) + BEFORE[before] + HIDDEN[hidden]
    for safety in (scanned(raw, "a.pkl"), scanned(zip_bytes([Entry("a/data.pkl", raw), *GOOD[1:]])), scanned(gzip.compress(raw), "a.gz")):
        assert safety.verdict == "dangerous"
        assert "posix.system" in paths(safety)
    item = next(item for item in scanned(raw, "a.pkl").imports if item.path == "posix.system")
    assert item.where or b"posix" in raw[max(0, item.offset - 20) : item.offset + 8]


def test_a_pickle_behind_a_hidden_member():
    """What follows the content of a member that the directory does not list, before the next."""
    hidden = zip_bytes([Entry("archive/x.txt", b"some text")])
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    safety = scanned(zip_bytes(GOOD, prefix=hidden + bytes(9) + HIDDEN["protocol 2"]))
    assert "posix.system" in paths(safety)


HONEST = {
    "a sentence": b"made by the export script, in the cloud\nsee the manual\nfor it\n",
    "lines of words": b"config\nclass\nname\nimport\nitems\nos\nsystem\n" * 40,
    "source": b"import os\nfrom posix import system\nclass it:\n    pass\n" * 20,
    "numbers": bytes(range(256)) * 8,
    "types": b"int\nfloat\nprint\nvalue\nacre\nsystem\ntacos\nsystem\n" * 9,
    "zeros": bytes(5_000),
    "json": b'{"class": "io.open", "calls": ["os", "system"]}\n' * 9,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("honest", HONEST)
def test_what_is_no_pickle_is_called_none(place, honest):
    safety = scanned(PLACES[place](HONEST[honest]))
    assert "hidden-pickle" not in codes(safety)
    assert paths(safety) == paths(scanned(MEMBERS))


def test_a_comment_by_itself_is_nothing():
    assert scanned(zip_bytes(GOOD, comment=b"made with love")).verdict == "safe"
    for seed in range(40):
        raw = os.urandom(1_000)
        assert scanned(zip_bytes(GOOD, comment=raw)).verdict == "safe", (seed, raw)


def test_what_was_not_searched_is_said():
    few = DEFAULT_LIMITS._replace(searched_bytes=100)
    safety = scanned(between(bytes(90) + b"x" * 90 + HIDDEN["protocol 2"]), limits=few)
    assert "not-looked-at" in codes(safety)
    assert "(--limit searched_bytes=N)" in safety.problem.message
