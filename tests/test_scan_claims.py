"""Which members of an archive are storages: none that a program could unpickle, whatever a pickle says of it."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from random import Random

import pytest

from modelscope_cli.formats.scan_claims import begins_as_file, root_of
from tests.builders.archives import gzipped, tarred, zipped
from tests.builders.attacks import SYSTEM
from tests.builders.export_file import export_entries, pickled_payload
from tests.builders.package_file import package_bytes
from tests.builders.pickle_code import STOP, pickled, proto
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_entries, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, paths, scanned

EVIL = proto() + SYSTEM + STOP
HONEST = torch_entries(ordered({"w": tensor()}), {"0": 24})


def claim(key: str, nbytes: int) -> bytes:
    """A pickle that names a storage of so many bytes."""
    return pickled(ordered({"w": tensor(key, (nbytes,), "ByteStorage")}))


def around(data: bytes, name: str = "m.pt") -> list[bytes]:
    """An archive by itself, and in others."""
    return [data, zipped({name: data}), tarred({f"a/{name}": data}), gzipped(tarred({name: data})), zipped({"a.zip": zipped({name: data})})]


def claimed(key: str, said: int | None = None, root: str = "archive/", data: bytes = EVIL) -> dict[str, bytes]:
    """An archive whose data.pkl names a pickle as its storage."""
    return {f"{root}data.pkl": claim(key, len(data) if said is None else said), f"{root}data/{key}": data}


def packed(files: dict[str, bytes]) -> bytes:
    return zip_bytes([Entry(name, data) for name, data in files.items()])


def program(name: str) -> bytes:
    """A program of torch.export under some name, with a constant that it unpickles and a pickle that names it as its storage."""
    entries = export_entries({}, {"constants/opaque_obj_0": EVIL}, constants={"x": pickled_payload("opaque_obj_0")})
    entries = [entry._replace(name=entry.name.replace("models/model.json", f"models/{name}")) for entry in entries]
    return zip_bytes([*entries, Entry("net/data/constants.pkl", claim("opaque_obj_0", len(EVIL))), Entry("net/aux/data.pkl", pickled({}))])


ARCHIVES = {
    "a key that is no number": packed(claimed("model.joblib")),
    "a project": packed({**claimed("model.joblib", root="proj/"), "proj/README.txt": b"hello\n"}),
    "a project with numbers": packed({**claimed("0", root="proj/"), "proj/README.txt": b"hello\n"}),
    "a longer one": packed(claimed("0", said=len(EVIL) + 100)),
    "two roots": packed({**claimed("0", root="a/"), "b/version": b"3\n"}),
    "a letter in another case": packed({"archive/DATA.pkl": claim("0", len(EVIL)), "archive/data/0": EVIL}),
    "a program in a folder": program("sub/m.json"),
    "a program of another name": program("modelXjson"),
    "a program in capitals": program("model.JSOM"),
    "a package": package_bytes({"model/data.pkl": ordered({"w": tensor("0", (6,))})}, {"0": 24}, files={"model/data/0": EVIL}),
    "a package without numbers": package_bytes({"model/data.pkl": ordered({"w": tensor("0", (0,))})}, {"0": 0}, files={"model/data/0": EVIL}),
}  # fmt: skip


@pytest.mark.parametrize("data", ARCHIVES.values(), ids=ARCHIVES)
def test_what_a_pickle_names_is_no_storage(data):
    for archive in around(data):
        assert scanned(archive).verdict == "dangerous"


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("held", [gzip.compress(EVIL), zlib.compress(EVIL), tar_bytes([TarEntry("a", EVIL)]), zipped({"a.pkl": EVIL})])
def test_a_storage_that_begins_as_a_file(held, deflate):
    entries = torch_entries(ordered({"w": tensor("0", (len(held),), "ByteStorage")}), {"0": held}, deflate=deflate)
    for data in around(zip_bytes(entries)):
        safety = scanned(data)
        assert (safety.verdict, paths(safety) & {"posix.system"}) == ("dangerous", {"posix.system"})


def test_numbers_are_data_whatever_they_begin_with():
    rows = [head + Random(at).randbytes(700) for head in (b"", b"\x80\x02", b"\x80\x04\x95", b"x\x9c", b"c", b"(", b"BZh") for at in range(200)]
    root = ordered({f"w{at}": tensor(str(at), (len(row),), "ByteStorage") for at, row in enumerate(rows)})
    for data in around(torch_zip_bytes(root, {str(at): row for at, row in enumerate(rows)})):
        safety = scanned(data)
        assert (safety.verdict, safety.unseen) == ("safe", [])


@pytest.mark.parametrize("held", [EVIL, pickle.dumps({"scale": [1.0, 2.0]}, 2)])
def test_a_pickle_in_a_storage_is_data(held):
    """Nothing unpickles it but the layer that has put it there."""
    for data in around(torch_zip_bytes(ordered({"w": tensor("0", (len(held),), "ByteStorage")}), {"0": held})):
        assert scanned(data).verdict == "safe"


def test_a_package_in_an_archive_that_is_damaged_is_not_safe():
    """Its reader refuses it, and so it does inside of others."""
    broken = package_bytes({"m.pkl": ordered({"w": tensor("7", (2, 3))})}, {"0": 24})
    honest = package_bytes({"m.pkl": ordered({"w": tensor("0", (2, 3))})}, {"0": 24})
    for data in around(broken):
        assert scanned(data).verdict == "unknown"
    for data in around(honest):
        assert scanned(data).verdict == "safe"


def test_what_archives_of_torch_hold():
    names = [entry.name for entry in HONEST]
    assert root_of(names) == "archive/"
    assert root_of([*names, "archive/code/__torch__/a.py", "archive/code/__torch__/a.py.debug_pkl", "archive/extra/labels.txt"]) == "archive/"
    for other in ("archive/data/x", "archive/README", "version", "archive/.data/extern_modules", "archive/archive_format", "a.joblib"):
        assert root_of([*names, other]) is None
    assert [begins_as_file(head) for head in (b"\x1f\x8b\x08\xff" + b"\xff" * 99, gzip.compress(b"x"), b"", b"x\x9c" + b"\xff" * 50)] == [
        False, True, False, False,
    ]  # fmt: skip
    assert "polyglot" in codes(scanned(json.dumps([]).encode() + zip_bytes(HONEST), "a.json"))
