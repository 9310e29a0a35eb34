"""Every limit binds: lowered, each of them changes what `inspect` or `scan` says of some file, and what is said names it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.formats import safetensors
from tests.builders.archives import PACKERS, tarred, zipped
from tests.builders.attacks import SYSTEM
from tests.builders.dcp_folder import cut, dcp_files
from tests.builders.gguf_file import gguf_bytes
from tests.builders.pickle_code import STOP, name, pickled, proto, remembered
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope

Files = Mapping[str, bytes]

SAFE = safetensors_bytes({"a.weight": ("F32", (2, 3)), "b.weight": ("F32", (4,))})
NOTED = safetensors_bytes({"a.weight": ("F32", (2, 3))}, metadata={"one": "1", "two": "2", "three": "3"})
MANY = torch_zip_bytes(ordered({f"layers.{n}.weight": tensor(str(n)) for n in range(300)}), {str(n): 24 for n in range(300)})
DEEP: Any = 1
for _ in range(60):
    DEEP = [DEEP]
NESTED = torch_zip_bytes({"deep": DEEP, "w": tensor()}, {"0": 24})
GGUF = gguf_bytes({"w": ("F32", (4, 4))}, {"general.architecture": "llama", "tokens": [f"token{n}" for n in range(9_000)]})
NAMED = pickled([name(f"torch.{each}") for each in ("Size", "device", "float16", "float32")])
MEMO = pickled([remembered(n, [n]) for n in range(2_000)])
EVIL = proto() + SYSTEM + STOP
SET = {
    "model-00001-of-00002.safetensors": safetensors_bytes({"a": ("F32", (2,))}),
    "model-00002-of-00002.safetensors": safetensors_bytes({"b": ("F32", (2,))}),
    "model.safetensors.index.json": json.dumps({
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    }).encode(),
}  # fmt: skip
DCP = dcp_files({"w": cut((4, 2), {"__0_0.distcp": (0, 2), "__1_0.distcp": (2, 4)})})
TWO = {"a/m.safetensors": SAFE, "b/m.safetensors": SAFE}
BELOW = {"a/b/c/m.safetensors": SAFE}
IN_ZIP = {"m.zip": zipped({"in.zip": zipped({"m.safetensors": SAFE})})}

# Limit → (a lower value, files: the only one is named, or else their folder).
INSPECT: dict[str, tuple[int, Files]] = {
    "header_bytes": (10, {"m.safetensors": SAFE}),
    "index_bytes": (10, SET),
    "directory_bytes": (10, {"m.pt": MANY}),
    "members": (2, {"m.pt": MANY}),
    "pickle_bytes": (10, {"m.pt": MANY}),
    "opcodes": (10, {"m.pt": MANY}),
    "objects": (10, {"m.pt": MANY}),
    "memo": (10, {"m.pkl": MEMO}),
    "imports": (1, {"m.pt": MANY}),
    "nesting": (10, {"m.pt": NESTED}),
    "nested_files": (0, {"m.pkl": SAMPLES["bare.pkl"]}),
    "tensors": (1, {"m.safetensors": SAFE}),
    "name_characters": (10, {"m.pt": MANY}),
    "dimensions": (1, {"m.safetensors": SAFE}),
    "parts": (1, {"m.bin": SAMPLES["sparse.bin"]}),
    "shards": (1, SET),
    "metadata_items": (1, {"m.safetensors": NOTED}),
    "keys": (1, {"m.gguf": GGUF}),
    "array_bytes": (1_000, {"m.gguf": GGUF}),
    "folder_entries": (1, TWO),
    "folder_depth": (1, BELOW),
    "unpacked_bytes": (10, {"m.tar.gz": PACKERS[".gz"](tarred({"m.safetensors": SAFE}))}),
    "unpacked_slowly": (10, {"m.tar.xz": PACKERS[".xz"](tarred({"m.safetensors": SAFE}))}),
    "archives": (0, IN_ZIP),
    "archive_depth": (0, IN_ZIP),
    "seconds": (1, {"m.safetensors": SAFE}),
}
SCAN: dict[str, tuple[int, Files]] = {
    **{limit: case for limit, case in INSPECT.items() if limit not in ("index_bytes", "metadata_items", "archives", "archive_depth")},
    "opcodes": (10, {"m.pkl": pickled(list(range(9_000)))}),
    "imports": (1, {"m.pkl": NAMED}),
    "scanned_bytes": (10, {"m.zip": zipped({"a.pkl": EVIL})}),
    "scanned_depth": (0, {"m.zip": zipped({"a.pkl": EVIL})}),
    "scanned_parts": (1, {"m.zip": zipped({"a.pkl": EVIL})}),
    "scanned_pickles": (2, {"m.pkl": pickled({}) * 5}),
    "scanned_names": (2, {"a.yaml": b"a: {_target_: a.B}\nb: {_target_: a.C}\nc: {_target_: a.D}\n"}),
    "searched_bytes": (10, {"m.zip": zip_bytes([Entry("a.bin", b"\1")], prefix=bytes(100) + EVIL)}),
    "template_characters": (10, {"m.jinja": b"{{ messages[0] }}"}),
}
CASES = [("inspect", limit) for limit in INSPECT] + [("scan", limit) for limit in SCAN]


def slowly(real: Any) -> Any:
    def take(*arguments: Any) -> Any:
        end = time.process_time() + 1.5
        while time.process_time() < end:
            pass
        return real(*arguments)

    return take


@pytest.mark.parametrize(("command", "limit"), CASES, ids=[f"{command}-{limit}" for command, limit in CASES])
def test_a_lower_limit_changes_what_is_said_and_is_named(command, limit, tmp_path, monkeypatch):
    if limit == "seconds":
        if not hasattr(signal, "setitimer"):
            pytest.skip("no timer that counts processor time")
        monkeypatch.setattr(safetensors, "add_storages", slowly(safetensors.add_storages))
    value, files = (INSPECT if command == "inspect" else SCAN)[limit]
    assert value < getattr(DEFAULT_LIMITS, limit)
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    named = tmp_path / next(iter(files)) if len(files) == 1 and files is not BELOW else tmp_path
    usual = mscope(command, named, "-f", "json")
    lowered = mscope(command, named, "-f", "json", "--limit", f"{limit}={value}")
    assert f"--limit {limit}=" not in usual.out + usual.err
    assert (lowered.code, lowered.out) != (usual.code, usual.out)
    assert f"--limit {limit}=" in lowered.out + lowered.err


def test_no_limit_is_left_out():
    assert set(INSPECT) | set(SCAN) | {"memory_bytes"} == set(Limits._fields)  # which tests/hostile/test_memory_limit.py has


def test_a_limit_that_is_met_in_a_set_names_the_file(tmp_path):
    for path, content in DCP.items():
        (tmp_path / path).write_bytes(content)
    done = mscope("inspect", tmp_path, "--limit", "parts=1")
    assert done.code == 3
    assert f"{Path(tmp_path.name) / '.metadata'}: tensor 'w': parts: 2 found, the limit is 1" in done.err
    assert mscope("inspect", tmp_path).code == 0


@pytest.mark.parametrize(("file", "tensors"), [("m.safetensors", SAFE), ("m.pt", torch_zip_bytes({"a.weight": tensor()}, {"0": 24}))])
def test_dimensions_bind_at_their_value(file, tensors, tmp_path):
    (tmp_path / file).write_bytes(tensors)
    assert mscope("inspect", tmp_path / file, "--limit", "dimensions=2").code == 0
    refused = mscope("inspect", tmp_path / file, "--limit", "dimensions=1")
    assert refused.code == 3
    assert "tensor 'a.weight': dimensions: 2 found, the limit is 1" in refused.err


def test_more_dimensions_than_usual_can_be_asked_for(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"a": ("F32", (1,) * 2_000)}))
    assert mscope("inspect", tmp_path / "m.safetensors").code == 3
    assert mscope("inspect", tmp_path / "m.safetensors", "--limit", "dimensions=2000").code == 0


def test_a_scan_goes_deeper_when_it_is_told_to(tmp_path):
    data = EVIL
    for _ in range(12):
        data = zipped({"in.zip": data})
    (tmp_path / "m.zip").write_bytes(data)
    usual = mscope("scan", tmp_path / "m.zip")
    assert usual.code == 3
    assert "more than 8 containers in one another (--limit scanned_depth=N)" in usual.err
    deeper = mscope("scan", tmp_path / "m.zip", "--limit", "scanned_depth=20")
    assert deeper.code == 1
    assert "posix.system" in deeper.out
