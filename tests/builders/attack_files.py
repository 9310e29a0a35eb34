"""Files, alone and in folders, that would run something by what stands beside the pickle, or in place of one. None is ever loaded.

Each is {path: bytes}, the path that a scan is asked about, and what it must tell. What they would do is create the file CANARY.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.builders.archives import gzipped, tarred, zipped
from tests.builders.attacks import CANARY, COMMAND, SYSTEM
from tests.builders.dcp_folder import Place, Thing, blob, dcp_files, dcp_parts, metadata_code, whole
from tests.builders.package_file import package_bytes
from tests.builders.pickle_code import Code, instance, pickled
from tests.builders.samples import SAMPLES
from tests.builders.script_file import class_text, script_bytes, script_module
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes

PART = "__0_0.distcp"
RISKY = f"import os\nos.system({COMMAND!r})\nclass Namespace:\n    pass\n".encode()
NAMESPACE = instance("argparse.Namespace", {})


# Python in which a search that takes steps back takes them again at every place.
WORN = (
    b"from os import (" + b"a," * 1900,
    b"'''a\\" * 200_000,
    b"'\\" * 400_000,
    b"from os import " * 60_000,
    b"= " * 400_000,
    b"ops" + b" )" * 400_000,
    b" getattr ( " * 80_000,
    b"import builtins as b" + b" os as a1\n" * 60_000,
    b'"""' + b"\\a" * 300_000,
    "\ufdfa".encode() * 200_000,
)


class Attack(NamedTuple):
    """`path` is the file to be scanned; `verdict` the least that it deserves, for the finding `code`."""

    files: dict[str, bytes]
    path: str
    verdict: str
    code: str


def scripted(call: str) -> bytes:
    """TorchScript that makes a call while it is loaded."""
    code = class_text("Net", [], []) + f"  def __setstate__(self, x):\n    y = {call}\n"
    return script_bytes(script_module("nn.Net", {}), {}, {"nn": code})


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """An archive whose members are called otherwise; both names have one length."""
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


def evil() -> bytes:
    """A torch file that starts a program."""
    return blob(Code(SYSTEM))


def pointing(*, keep: bool) -> dict[str, bytes]:
    """A distributed checkpoint whose tensor has a torch file among its numbers, to which the index points."""
    inside = bytes(64) + evil() + bytes(64)
    inside += bytes(-len(inside) % 4)
    shape = (len(inside) // 4,)
    data = blob(tensor("0", shape), {"0": inside})
    at = data.index(evil())
    place = Place("x", None, PART, at, len(evil()))
    entries = {"x": Thing(PART, 1)} | ({"w": whole(shape)} if keep else {})
    places = [place] + ([Place("w", (0,), PART, 0, len(data))] if keep else [])
    return {PART: data, ".metadata": pickled(metadata_code(entries, places))}


def elsewhere(file: str) -> dict[str, bytes]:
    """A distributed checkpoint with an object in a file of another kind, or of another folder."""
    entries = {"x": Thing(PART, 1), "w": whole((2, 2))}
    _, places = dcp_parts(entries)
    places = [place._replace(file=file, offset=8, length=len(evil())) if place.name == "x" else place for place in places]
    files = dcp_files(entries, places)
    return files if ".." in file else {**files, file: bytes(8) + evil()}


def served(manifest: object, name: str = "MAR-INF/MANIFEST.json") -> dict[str, bytes]:
    return {name: json.dumps(manifest).encode(), "handler.py": RISKY, "model.pt": SAMPLES["state_dict.pt"]}


MODEL = {"runtime": "python", "model": {"modelName": "m", "serializedFile": "model.pt", "handler": "handler.py"}}
PACKAGE = package_bytes({"res/o.pkl": NAMESPACE}, files={"argparse.py": RISKY}, extern="os\n")
UNPACKED = {".data/extern_modules": b"os\n", "argparse.py": RISKY, "res/o.pkl": pickled(NAMESPACE), "version": b"6\n"}
YAML = f"model:\n  _target_: os.system\n  command: {COMMAND}\n".encode()
FROM_FILE = f"('{CANARY}', True, 4)"
SHADOW = {"__torch__.py": RISKY, "m.pkl": pickled(instance("__torch__.M", {}))}


def alone(name: str, data: bytes, verdict: str, code: str) -> Attack:
    return Attack({name: data}, name, verdict, code)


FILES: dict[str, Attack] = {
    "an operator by getattr": alone("m.pt", scripted(f'getattr(torch, "from_file"){FROM_FILE}'), "dangerous", "script-files"),
    "an operator of a library by getattr": alone("m.pt", scripted(f'getattr(ops.aten, "from_file"){FROM_FILE}'), "dangerous", "script-files"),
    "a library by getattr": alone("m.pt", scripted(f'getattr(getattr(ops, "aten"), "from_file"){FROM_FILE}'), "dangerous", "script-files"),
    "a name in pieces": alone("m.pt", scripted(f'getattr(torch, "from_" \'file\'){FROM_FILE}'), "dangerous", "script-files"),
    "a name in octal": alone("m.pt", scripted(f'getattr(torch, "\\146rom_file"){FROM_FILE}'), "dangerous", "script-files"),
    "torch by another name": alone("m.pt", scripted(f"torch\n    z = y.from_file{FROM_FILE}"), "dangerous", "script-files"),
    "any getattr": alone("m.pt", scripted('getattr(torch, "some" "thing")(1)'), "suspicious", "script-getattr"),
    "DATA.PKL": alone("m.pt", renamed(scripted(f"torch.from_file{FROM_FILE}"), b"/data.pkl", b"/DATA.PKL"), "dangerous", "script-files"),
    "CODE": alone("m.pt", renamed(scripted(f"torch.from_file{FROM_FILE}"), b"/code/", b"/Code/"), "dangerous", "script-files"),
    "Extern_Modules": alone("p.pt", renamed(PACKAGE, b"/extern_modules", b"/Extern_Modules"), "suspicious", "suspicious-import"),
    ".DATA": alone("p.pt", renamed(PACKAGE, b"/.data/", b"/.DATA/"), "suspicious", "risky-source"),
    "a package in a folder": Attack(UNPACKED, "res/o.pkl", "suspicious", "suspicious-import"),
    "the sources of a package in a folder": Attack(UNPACKED, "argparse.py", "suspicious", "risky-source"),
    "a package in a folder, in other letters": Attack(
        {path.replace(".data/extern", ".Data/Extern"): data for path, data in UNPACKED.items()}, "argparse.py", "suspicious", "risky-source"
    ),
    "a package in a folder, packed": alone(
        "p.tar.gz", gzipped(tarred({f"p/{path}": data for path, data in UNPACKED.items()})), "suspicious", "suspicious-import"
    ),
    "a pickle behind sources that wear a search out": alone(
        "p.pt",
        package_bytes({"z/o.pkl": Code(SYSTEM)}, files={f"a/m{number}.py": text for number, text in enumerate(WORN)}),
        "dangerous",
        "dangerous-import",
    ),
    "a place among numbers": Attack(pointing(keep=False), ".metadata", "dangerous", "dcp-place"),
    "a place among numbers that are loaded": Attack(pointing(keep=True), ".metadata", "dangerous", "dcp-place"),
    "the part with such numbers": Attack(pointing(keep=True), PART, "dangerous", "dcp-place"),
    "a part without its index": alone(PART, pointing(keep=True)[PART], "dangerous", "dcp-hidden"),
    "a pickle in a part without its index": alone(
        PART, blob(tensor("0", (64,)), {"0": bytes(64) + b"\x80\x02" + SYSTEM + b"." + bytes(189 - len(SYSTEM))}), "dangerous", "dcp-hidden"
    ),
    "a place in another file": Attack(elsewhere("notes.txt"), ".metadata", "dangerous", "dcp-place"),
    "a place in another folder": Attack(elsewhere("../notes.txt"), ".metadata", "suspicious", "dcp-place"),
    "a handler": alone("m.mar", zipped(served(MODEL)), "suspicious", "risky-source"),
    "a handler by its module and function": alone(
        "m.mar", zipped(served({"model": {"handler": "handler:handle"}})), "suspicious", "risky-source"
    ),
    "a handler in a tar": alone("m.mar", gzipped(tarred(served(MODEL))), "suspicious", "risky-source"),
    "a handler in a folder": Attack(served(MODEL), "handler.py", "suspicious", "risky-source"),
    "a target": alone("m.nemo", tarred({"./model_config.yaml": YAML, "./model_weights.ckpt": SAMPLES["state_dict.pt"]}), "dangerous", "dangerous-target"),
    "a target in JSON": alone("config.json", json.dumps({"a": [{"_target_": "os.system"}]}).encode(), "dangerous", "dangerous-target"),
    "a target by an alias": alone("a.yaml", b"x: &x os.system\ny:\n  _target_: *x\n", "dangerous", "dangerous-target"),
    "a target on the next line": alone("a.yaml", b"y: {'_target_': !!str &y\n   'os.system'}\n", "dangerous", "dangerous-target"),
    "a target in a block": alone("a.yml", b"_target_: >-\n  os.system\n", "dangerous", "dangerous-target"),
    "a target by escapes": alone("a.yaml", b'"\\x5ftarget_": os.system\n', "dangerous", "escaped-text"),
    "a target of the standard library": alone("a.yaml", b"_target_: textwrap.dedent\n", "suspicious", "suspicious-target"),
    "a tag": alone("a.yaml", f"a: !!python/object/apply:os.system ['{COMMAND}']\n".encode(), "dangerous", "dangerous-target"),
    "a tag in full": alone("a.yaml", b"a: !<tag:yaml.org,2002:python/object/apply:os.system> [x]\n", "dangerous", "dangerous-target"),
    "a tag by a handle": alone("a.yaml", b"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system [x]\n", "dangerous", "dangerous-target"),
    "a tag with a letter in percents": alone("a.yaml", b"a: !!pyth%6fn/object/apply:os.system [x]\n", "dangerous", "dangerous-target"),
    "a class of TorchScript without any": Attack(SHADOW, "m.pkl", "suspicious", "suspicious-import"),
    "a class of TorchScript in a state dict": alone(
        "m.pt", torch_zip_bytes(instance("__torch__.M", {})), "suspicious", "suspicious-import"
    ),
}
