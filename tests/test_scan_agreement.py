"""`scan`, `check --forbid-unsafe` and `report` say the same of every file, and `inspect` is silent about no import of a pickle."""

from __future__ import annotations

import json

import pytest

from tests.builders.archives import tarred, zipped
from tests.builders.attacks import ATTACKS
from tests.builders.gguf_file import gguf_bytes
from tests.builders.pickle_code import call, instance
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope

BAD = ("suspicious", "dangerous")
TEMPLATE = "{{ cycler.__init__.__globals__.os.popen('id') }}"
MADE = {
    "unknown.pt": torch_zip_bytes({"x": instance("shop.Model"), "w": tensor()}, {"0": 24}),
    "suspicious.pt": torch_zip_bytes({"x": call("copy.copy", 1), "w": tensor()}, {"0": 24}),
    "dangerous.pth": legacy_bytes({"x": call("posix.system", "true")}),
    "hidden.pt": torch_zip_bytes({"w": tensor()}, {"0": 24}, records={"extra/x": ATTACKS["reduce"][0]}),
    "template.gguf": gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": TEMPLATE}),
    "good.zip": zip_bytes([Entry("m/a.pth", SAMPLES["state_dict.pt"])]),
    "evil.zip": zip_bytes([Entry("m/a.pth", SAMPLES["state_dict.pt"]), Entry("notes.dat", ATTACKS["reduce"][0])]),
    "inside.zip": zip_bytes([Entry("m/a.pth", torch_zip_bytes({"x": call("posix.system", "true"), "w": tensor()}, {"0": 24}))]),
}
FILES = {**SAMPLES, **{f"attack{number}.pkl": data for number, (data, _, _) in enumerate(ATTACKS.values())}, **MADE}


@pytest.mark.parametrize("name", list(FILES))
def test_the_commands_agree(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / name).write_bytes(FILES[name])
    scan, check, report, inspect = (
        (done.code, json.loads(done.out)["checkpoints"])
        for done in (
            mscope("scan", name, "-f", "json"),
            mscope("check", name, "--forbid-unsafe", "--only", "-f", "json"),
            mscope("report", name, "--only", "-f", "json"),
            mscope("inspect", name, "--only", "-f", "json"),
        )
    )
    level = scan[1][0]["verdict"]
    if not check[1]:  # no model, or none that can be read: then none of the others says that it is safe
        assert (check[0], report[0], inspect[0], report[1]) == (3, 3, 3, [])
        return
    (rule,) = check[1][0]["checks"]
    assert rule["actual"] == level
    assert (rule["status"] == "failed") == (level in BAD or scan[0] == 3)
    assert [row["verdict"] for row in report[1][0]["safety"]] == [level]
    assert check[0] == scan[0] or (scan[0], check[0]) == (1, 3)
    told = {finding["code"] for finding in inspect[1][0]["findings"]}
    named = {found["code"] for found in scan[1][0]["findings"] if found["level"] in BAD}
    if named and name not in ("hidden.pt", "evil.zip"):  # beside the model, where no reader of models looks
        assert told & {"imports", "after-stop", *named}, name


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_scanned_as_a_whole(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    settings = json.dumps({"chat_template": TEMPLATE}).encode()
    files = {"m/model.safetensors": SAMPLES["plain.safetensors"], "m/tokenizer_config.json": settings}
    packed = zipped(files) if kind == "zip" else tarred(files)
    (tmp_path / "model.archive").write_bytes(packed)
    assert mscope("scan", "model.archive").code == mscope("check", "model.archive", "--forbid-unsafe").code == 1
