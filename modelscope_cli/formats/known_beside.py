"""Files of bare numbers that another file beside them describes. Their own bytes tell nothing; their names do.

variables.data-00000-of-00001   beside variables.index                     TensorFlow
group1-shard1of1.bin            listed in "paths" of a JSON file           TensorFlow.js
model.bin                       beside model.xml                           OpenVINO
model.onnx.data                 beside model.onnx                          ONNX, external data
yolov3.weights, net.bin         a flag at the beginning, and the suffix    Darknet, ncnn
net.mnn                         a flatbuffer, and the suffix               MNN
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Callable

from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.known_protobuf import Found

BUNDLE_DATA = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
SHARD = re.compile(r".*(?:\.bin|[-_]shard\d+(?:of\d+)?(?:\.bin)?)", re.IGNORECASE)
ONNX_DATA = re.compile(r"(.+?)(?:\.onnx)?[._]data", re.IGNORECASE)
NCNN_FLAGS = (0x01306B47, 0x000D4B38, 0x0002C056)  # float16; 8 bits; raw float32 behind a flag (ncnn, modelbin.cpp)
LARGEST_MANIFEST = 1 << 24
MOST_MANIFESTS = 20  # JSON files of a folder that are looked into
MOST_NAMES = 10_000
_LISTED: list[tuple[str, int, list[str]]] = []  # (folder, when it changed, JSON files of it)
_READ: list[tuple[str, list[tuple[str, int, int]], list[tuple[str, bytes]]]] = []  # (folder, files then, what is in them)


def look(window: Window, head: bytes) -> Found | None:
    """What a file is by what lies beside it, or by its suffix and a weak mark. Never raises."""
    tests: tuple[Callable[[Window, bytes], Found | None], ...] = (
        bundle_data, web_shard, openvino_data, onnx_data, darknet, ncnn, mnn,
    )  # fmt: skip
    return next((found for test in tests if (found := test(window, head))), None)


def kind_of(path: str) -> Found | None:
    """What the file at a path is, where there is one."""
    from modelscope_cli.formats.known import recognise

    try:
        with open_window(path) as window:
            found = recognise(window, neighbours=False)
    except ModelscopeError:
        return None
    return Found(found.kind.name) if found else None


def bundle_data(window: Window, head: bytes) -> Found | None:
    match = BUNDLE_DATA.fullmatch(window.name)
    if match is None:
        return None
    index = kind_of(match[1] + ".index")
    there = index is not None and index.kind == "tf-checkpoint"
    return Found("tf-checkpoint-data", () if there else ("by its name; the .index that names its tensors is not beside it",))


def web_shard(window: Window, head: bytes) -> Found | None:
    folder, name = os.path.split(window.name)
    if not SHARD.fullmatch(name):
        return None
    listed = re.compile(rb'"paths"\s*:\s*\[[^\]]{0,100000}?"(?:\./)?' + re.escape(os.fsencode(name)) + rb'"')
    for manifest, text in manifests(folder):
        if listed.search(text, max(0, text.find(b'"weightsManifest"'))):
            return Found("tfjs-data", (f"{manifest} lists it",))
    return None


def manifests(folder: str) -> list[tuple[str, bytes]]:
    """The JSON files of a folder that list weight files, and what stands in them. Those of the last folder are remembered."""
    here = []
    for name in json_files(folder):
        with contextlib.suppress(OSError):
            known = os.stat(os.path.join(folder, name))
            here.append((name, known.st_mtime_ns, known.st_size))
    if _READ and _READ[0][:2] == (folder, here):
        return _READ[0][2]
    found = []
    for name, _, _ in here:
        with contextlib.suppress(ModelscopeError), open_window(os.path.join(folder, name)) as beside:
            text = beside.head(LARGEST_MANIFEST)
            if b'"paths"' in text:
                found.append((name, text))
    _READ[:] = [(folder, here, found)] if sum(len(text) for _, text in found) <= LARGEST_MANIFEST else []
    return found


def json_files(folder: str) -> list[str]:
    """Names of a few JSON files of a folder, those first that are called like manifests. Those of the last folder are remembered."""
    try:
        changed = os.stat(folder or ".").st_mtime_ns
        if not _LISTED or _LISTED[0][:2] != (folder, changed):
            names = [entry for entry in os.listdir(folder or ".")[:MOST_NAMES] if entry.endswith(".json")]
            names.sort(key=lambda entry: (entry != "model.json" and "manifest" not in entry, entry))
            _LISTED[:] = [(folder, changed, names[:MOST_MANIFESTS])]
        return _LISTED[0][2]
    except OSError:
        return []


def openvino_data(window: Window, head: bytes) -> Found | None:
    stem, suffix = os.path.splitext(window.name)
    if suffix.lower() != ".bin":
        return None
    beside = kind_of(stem + ".xml")
    return Found("openvino-data") if beside is not None and beside.kind == "openvino" else None


def onnx_data(window: Window, head: bytes) -> Found | None:
    match = ONNX_DATA.fullmatch(window.name)
    beside = kind_of(match[1] + ".onnx") if match else None
    return Found("onnx-data") if beside is not None and beside.kind == "onnx" else None


def darknet(window: Window, head: bytes) -> Found | None:
    """Three numbers of a version, 0.1.0 to 0.2.5; how many pictures were seen, in 4 bytes or from 0.2 on in 8; float32."""
    if not window.name.lower().endswith(".weights") or len(head) < 24:
        return None
    major, minor, revision = struct.unpack_from("<3I", head)
    known = major == 0 and minor in (1, 2) and revision < 10
    start = 20 if minor == 2 else 16
    return Found("darknet", (f"version {major}.{minor}.{revision}",)) if known and (window.size - start) % 4 == 0 else None


def ncnn(window: Window, head: bytes) -> Found | None:
    if not window.name.lower().endswith((".bin", ".ncnn")) or len(head) < 8:
        return None
    return Found("ncnn-data") if int.from_bytes(head[:4], "little") in NCNN_FLAGS else None


def mnn(window: Window, head: bytes) -> Found | None:
    """A flatbuffer without an identifier: where its root is, and the table of the root's fields before it."""
    if not window.name.lower().endswith(".mnn") or len(head) < 12:
        return None
    (root,) = struct.unpack_from("<I", head)
    if not 4 <= root <= window.size - 4 or root % 4:
        return None
    table = root - struct.unpack("<i", window.read(root, 4))[0]
    if not 4 <= table <= window.size - 4:
        return None
    size, fields = struct.unpack("<2H", window.read(table, 4))
    return Found("mnn") if 4 <= size <= 64 and size % 2 == 0 and 4 <= fields <= 256 else None
