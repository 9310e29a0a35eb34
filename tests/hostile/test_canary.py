"""No file makes a command execute, import, write or connect to anything: every attack, in every container, under an audit hook.

What may be imported is what the same command imports for honest files in the same containers.
"""

from __future__ import annotations

import bz2
import json
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.archives import gzipped, tarred, zipped
from tests.builders.attack_files import FILES
from tests.builders.attacks import ATTACKS, CANARY, COMMAND, GRAPHS, HARMLESS_NAMES, LET_THROUGH
from tests.builders.gguf_file import gguf_bytes
from tests.builders.graph_file import (
    DENSE,
    keras_metadata,
    onnx_model,
    tf_graph,
    tf_meta_graph,
    tf_node,
    tf_saved_model,
    tflite,
)
from tests.builders.package_file import package_bytes
from tests.builders.pickle_code import STOP, call, proto
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes

WATCHED = Path(__file__).with_name("canary.py")
COMMANDS = {"scan": ["scan"], "inspect": ["inspect"], "report": ["report"], "check": ["check", "--forbid-unsafe", "--max-size", "1 GB"]}
NEVER = {
    "webbrowser", "antigravity", "ctypes", "_ctypes", "socket", "_socket", "ssl", "subprocess", "_posixsubprocess", "multiprocessing",
    "asyncio", "runpy", "pickle", "_pickle", "pty", "code", "codeop", "marshal", "shelve", "pdb", "cProfile", "timeit", "sqlite3", "pip",
}  # fmt: skip


def contained(data: bytes) -> dict[str, bytes]:
    """A pickle in every container."""
    torch = zip_bytes([Entry("a/data.pkl", data, align=64), Entry("a/version", b"3\n", align=64)])
    return {
        "bare.pkl": data,
        "bare.bin": data,
        "text.py": data,
        "text.json": data,
        "torch.pt": torch,
        "torch_hidden.pt": torch_zip_bytes(ordered({"w": tensor()}), {"0": 24}, records={"extra/x": data}),
        "torch_storage.pt": torch_zip_bytes(ordered({"w": tensor()}), {"0": data}),
        "legacy.pth": data.join([legacy_bytes({}), b""]),
        "package.pt": zip_bytes([Entry("p/.data/extern_modules", b"torch\n"), Entry("p/model/model.pkl", data), Entry("p/m.py", data)]),
        "array.npy": b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n" + data,
        "stored.zip": zipped({"m/model.pt": torch, "m/x.pkl": data}, deflate=False),
        "packed.zip": zipped({"m/model.pt": torch, "m/x.pkl": data}),
        "nested.zip": zipped({"inner.zip": zipped({"m/model.pt": torch})}),
        "files.tar": tarred({"m/model.pt": torch, "m/x.pkl": data}),
        "files.tar.gz": gzipped(tarred({"m/model.pt": torch})),
        "one.pkl.gz": gzipped(data),
        "one.pkl.bz2": bz2.compress(data),
        "one.pkl.xz": lzma.compress(data),
    }


def written(folder: Path, things: dict[str, bytes]) -> list[str]:
    """Files of these contents, each in a folder of its own so that no two make a set."""
    paths = []
    for number, (name, data) in enumerate(things.items()):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / name.partition("/")[2]).write_bytes(data)
        paths.append(os.path.join(folder.name, str(number), name.partition("/")[2]))
    return paths


def sets(folder: Path) -> list[str]:
    """Attacks of several files, each in a folder of its own."""
    paths = []
    for number, attack in enumerate(FILES.values()):
        for path, data in attack.files.items():
            place = folder / str(number) / "m" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            paths.append(os.path.join(folder.name, str(number), "m", path))
    return paths


def texts(template: str, module: str) -> dict[str, bytes]:
    """What holds programs without a pickle."""
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "function", "config": module}, "module": module}}
    return {
        "t/model.gguf": gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": template}),
        "t/tokenizer_config.json": json.dumps({"chat_template": template}).encode(),
        "t/chat_template.jinja": template.encode(),
        "t/config.json": json.dumps({"auto_map": {"AutoModel": "modeling.Net"}, "config": {"layers": [layer]}}).encode(),
        "t/modeling.py": f"import {module}\n{module}.system({COMMAND!r})\n".encode(),
        "t/package.pt": package_bytes({"model/model.pkl": {"w": 1}}, files={"m.py": f"import {module}\n".encode()}),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(the folder, paths of honest files, paths of hostile ones)."""
    folder = tmp_path_factory.mktemp("canary")
    (folder / ".git").mkdir()
    (folder / "aside").mkdir()
    good = {f"good/{name}": data for name, data in SAMPLES.items()}
    good |= {f"good/{name}": data for name, data in contained(SAMPLES["bare.pkl"]).items()}
    good |= {f"good/cut_{name}": data[: len(data) // 2] for name, data in SAMPLES.items()}
    good |= {"good/empty.pt": b"", "good/notes.txt": b"a model\n"}
    good |= texts("{{ messages }}", "numpy")
    honest = {"a.onnx": onnx_model(), "saved_model.pb": tf_saved_model(objects=(DENSE,)), "a.meta": tf_meta_graph(tf_graph(tf_node("Relu")))}
    good |= {f"good/{name}": data for name, data in (honest | {"keras_metadata.pb": keras_metadata(DENSE), "a.tflite": tflite(3)}).items()}
    attacks = [data for data, _, _ in ATTACKS.values()]
    attacks += [data for data, _, _ in HARMLESS_NAMES.values()]
    attacks += [proto() + call(f"{module}.{name}", COMMAND) + STOP for module, name, _ in LET_THROUGH]
    attacks += [proto() + call(f"{name}.open", COMMAND) + STOP for name in ("webbrowser", "antigravity")]
    bad: dict[str, bytes] = {}
    for number, data in enumerate(attacks):
        held = contained(data) if number < len(ATTACKS) else {"bare.pkl": data, "torch.pt": contained(data)["torch.pt"]}
        bad |= {f"{number}/{name}": inside for name, inside in held.items()}
    bad |= {f"graph{number}/{name}": data for number, (name, data, _, _) in enumerate(GRAPHS.values())}
    bad |= texts("{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.popen('x') }}", "antigravity")
    return folder, written(folder / "good", good), written(folder / "bad", bad) + sets(folder / "sets")


def watched(folder: Path, mode: str, *arguments: str):
    """canary.py with arguments, in the folder."""
    command = [sys.executable, "-B", str(WATCHED), mode, str(folder / "list.json"), *arguments]
    path = os.pathsep.join([str(WATCHED.parent.parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(folder / "aside"), "PYTHONPATH": path}
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300, cwd=folder, env=environment
    )


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_canary_survives_every_command(files, command):
    folder, good, bad = files
    before = sorted(folder.rglob("*"))
    recorded = watched(folder, "record", *COMMANDS[command], *good)
    assert "Traceback" not in recorded.stderr, recorded.stderr[-2000:]
    allowed = json.loads((folder / "list.json").read_text())
    assert not {re.split(r"[./]", name)[0] for name in allowed} & NEVER
    done = watched(folder, "hold", *COMMANDS[command], *bad)
    assert "HELD: " not in done.stderr, done.stderr[done.stderr.find("HELD: ") :][:2000]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode in (1, 3)
    assert "posix.system" in done.stdout
    assert [path for path in folder.rglob("*") if path not in before and path.name != "list.json"] == []
    assert not list(folder.rglob(CANARY))
    (folder / "list.json").unlink()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import webbrowser", "imported webbrowser"),
        ("import antigravity", "imported antigravity"),
        ("import ctypes", "imported ctypes"),
        ("import socket", "imported"),
        ("import subprocess", "imported"),
        ("import multiprocessing", "imported multiprocessing"),
        ("import importlib; importlib.import_module('antigravity')", "imported antigravity.py"),
        ("import _socket as s; s.socket()", "imported _socket"),
        ("import posix; posix.system('true')", "os.system"),
        ("import posix; posix.fork()", "os.fork"),
        ("import posix; posix.posix_spawn('/bin/true', ['true'], {})", "os.posix_spawn"),
        ("import posix; posix.execv('/bin/true', ['true'])", "os.exec"),
        ("import posix; posix.open('x', 65)", "opened 'x'"),
        ("import posix; posix.open('x', 2)", "opened 'x'"),
        ("open('x', 'w')", "opened 'x'"),
        ("open('canary', 'a')", "opened 'canary'"),
        ("import posix; posix.mkdir('x')", "os.mkdir"),
        ("import posix; posix.rename('a', 'b')", "os.rename"),
        ("import posix; posix.unlink('a')", "os.remove"),
        ("eval('1')", "compiled"),
        ("exec('x = 1')", "compiled"),
        ("compile('1', 'model.pt', 'eval')", "compiled"),
        ("exec((lambda: 0).__code__.replace(co_filename='model.pt'))", "code.__new__"),
        ("import _pickle; _pickle.loads(b'cposix\\nsystem\\n.')", "imported _pickle"),
    ],
)
def test_the_canary_would_sing(tmp_path, code, said):
    """Each act is held, so that a silent run says something."""
    (tmp_path / "aside").mkdir()
    (tmp_path / "list.json").write_text(json.dumps(["posix", "importlib"]))
    done = watched(tmp_path, "try", code)
    assert (done.returncode, said in done.stderr) == (99, True), done.stderr
    assert not (tmp_path / "x").exists()


def test_the_canary_is_silent_of_what_is_honest(tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "list.json").write_text(json.dumps(["errno"]))
    code = "import modelscope_cli.errors, errno; open('list.json').read()"
    done = watched(tmp_path, "try", code)
    assert (done.returncode, done.stderr) == (0, "")
