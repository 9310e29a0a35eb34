"""`scan`, `check --forbid-unsafe` and `report` say the same of every file, and `inspect` is silent about no import of a pickle.

Of a file that is not read, only named (ONNX, Keras, arrays), or that cannot be read, they say the same too: what is in it was looked at.
"""

from __future__ import annotations

import json

import pytest

from modelscope_cli.core.scan_codes import LEVELS
from tests.builders import attack_files
from tests.builders.archives import tarred, zipped
from tests.builders.attacks import ATTACKS, GRAPHS, HARMLESS_NAMES
from tests.builders.folders import write
from tests.builders.foreign import FOREIGN, npy
from tests.builders.gguf_file import gguf_bytes
from tests.builders.graph_file import onnx_model, onnx_tensor
from tests.builders.pickle_code import call, instance, pickled
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope

BAD = ("suspicious", "dangerous")
TEMPLATE = "{{ cycler.__init__.__globals__.os.popen('id') }}"
OUTSIDE = {"location": "/etc/passwd", "offset": "0", "length": "4"}
LAMBDA = json.dumps({"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}).encode()
KERAS = [Entry("metadata.json", b"{}"), Entry("config.json", LAMBDA), Entry("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99))]
EVIL = ATTACKS["reduce"][0]
MADE = {
    "unknown.pt": torch_zip_bytes({"x": instance("shop.Model"), "w": tensor()}, {"0": 24}),
    "suspicious.pt": torch_zip_bytes({"x": call("copy.copy", 1), "w": tensor()}, {"0": 24}),
    "dangerous.pth": legacy_bytes({"x": call("posix.system", "true")}),
    "hidden.pt": torch_zip_bytes({"w": tensor()}, {"0": 24}, records={"extra/x": EVIL}),
    "cut.pt": torch_zip_bytes({"x": call("posix.system", "true"), "w": tensor()}, {"0": 24})[:-30],
    "cut_good.pt": SAMPLES["state_dict.pt"][:-30],
    "template.gguf": gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": TEMPLATE}),
    "good.zip": zip_bytes([Entry("m/a.pth", SAMPLES["state_dict.pt"])]),
    "evil.zip": zip_bytes([Entry("m/a.pth", SAMPLES["state_dict.pt"]), Entry("notes.dat", EVIL)]),
    "inside.zip": zip_bytes([Entry("m/a.pth", torch_zip_bytes({"x": call("posix.system", "true"), "w": tensor()}, {"0": 24}))]),
    "no_model.zip": zip_bytes([Entry("notes.dat", EVIL)]),
    "outside.onnx": onnx_model(tensors=(onnx_tensor(external=OUTSIDE),)),
    "lambda.keras": zip_bytes(KERAS),
    "twice.keras": zip_bytes([*KERAS[:2], Entry("model.weights.h5", EVIL), KERAS[2]]),
    "objects.npy": npy().replace(b"'<f4'", b"'|O' ")[:128] + EVIL,
    "arrays.npz": zip_bytes([Entry("a.npy", npy()), Entry("b.npy", npy().replace(b"'<f4'", b"'|O' ")[:128] + EVIL)]),
    "model.joblib": pickled(call("posix.system", "true")),
    "target.yaml": b"net:\n  _target_: os.system\n",
    "honest.yaml": b"net:\n  _target_: my.Thing\n",
    "notes.txt": b"a text\n",
}
FILES = {
    **SAMPLES,
    **{f"attack{number}.pkl": data for number, (data, _, _) in enumerate(ATTACKS.values())},
    **{f"harmless{number}.pkl": data for number, (data, _, _) in enumerate(HARMLESS_NAMES.values())},
    **{f"graph{number}/{name}": data for number, (name, data, _, _) in enumerate(GRAPHS.values())},
    **{f"foreign{number}/{name}": data for number, (_, data, name, _) in enumerate(FOREIGN)},
    **MADE,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder without settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    return tmp_path


def asked(*arguments: str) -> tuple[int, list[dict], list[dict]]:
    """(exit code, checkpoints, errors) of a command."""
    done = mscope(*arguments, "-f", "json")
    document = json.loads(done.out)
    return done.code, document["checkpoints"], document["errors"]


@pytest.mark.parametrize("name", list(FILES))
def test_the_commands_agree(here, name):
    write(here, {name: FILES[name]})
    scan, scans, left = asked("scan", name)
    level = scans[0]["verdict"]
    inspect, read, _ = asked("inspect", name, "--only")
    check, checks, _ = asked("check", name, "--forbid-unsafe", "--only")
    (rule,) = checks[0]["checks"]
    assert scan == (1 if level in BAD else 3 if left else 0)
    assert rule["actual"] == level or (rule["actual"], level) == ("not judged", None)
    assert (rule["status"] == "failed") == (scan != 0)
    assert check == (1 if level in BAD else 3 if left or not read else 0)
    assert checks[0]["passed"] == (scan == 0)
    report, reports, _ = asked("report", name, "--only")
    assert [row["verdict"] for each in reports for row in each["safety"]] == ([level] if level else [])
    assert report == (3 if left or not read else 0)
    if not read:
        assert inspect == 3
        return
    told = {finding["code"] for finding in read[0]["findings"]}
    named = {found["code"] for found in scans[0]["findings"] if found["level"] in BAD}
    if named and name not in ("hidden.pt", "evil.zip"):  # beside the model, where no reader of models looks
        assert told & {"imports", "after-stop", *named}, name


@pytest.mark.parametrize("attack", list(attack_files.FILES.values()), ids=list(attack_files.FILES))
def test_they_agree_on_folders(here, attack):
    """Of a folder, of a model or not, the gravest verdict of check is that of the scan, and so is that of the report."""
    write(here, {f"it/{path}": data for path, data in attack.files.items()})
    scan, scans, _ = asked("scan", "it")
    check, checks, _ = asked("check", "it", "--forbid-unsafe")
    _, reports, _ = asked("report", "it")
    level = scans[0]["verdict"]
    assert gravest([rule["actual"] for each in checks for rule in each["checks"]]) == level
    assert gravest([row["verdict"] for each in reports for row in each["safety"]]) == level
    assert (scan == 1, check == 1) == (level in BAD, level in BAD)


def gravest(levels: list[str]) -> str:
    return max([level for level in levels if level in LEVELS], key=LEVELS.index)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_scanned_as_a_whole(here, kind):
    settings = json.dumps({"chat_template": TEMPLATE}).encode()
    files = {"m/model.safetensors": SAMPLES["plain.safetensors"], "m/tokenizer_config.json": settings}
    packed = zipped(files) if kind == "zip" else tarred(files)
    (here / "model.archive").write_bytes(packed)
    assert mscope("scan", "model.archive").code == mscope("check", "model.archive", "--forbid-unsafe").code == 1
