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
from itertools import islice

from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.known_protobuf import Found

BUNDLE_DATA = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
SHARD = re.compile(r".*(?:\.bin|[-_]shard\d+(?:of\d+)?(?:\.bin)?)", re.IGNORECASE)
ONNX_DATA = re.compile(r"(.+?)(?:\.onnx)?[._]data", re.IGNORECASE)
NCNN_FLAGS = (0x01306B47, 0x000D4B38, 0x0002C056)  # float16; 8 bits; raw float32 behind a flag (ncnn, modelbin.cpp)
PATHS = re.compile(rb'"paths"\s*:\s*\[')
ITEM = re.compile(rb'"([^"]*)"|\]')
LARGEST_MANIFEST = 1 << 24
MOST_MANIFESTS = 20  # JSON files of a folder that are looked into
MOST_SEARCHED = 2 * LARGEST_MANIFEST  # bytes of them, all together
MOST_LISTED = 20_000  # lists of files in a manifest, and files in them
MOST_NAMES = 10_000
MOST_KINDS = 16  # files that describe others and are remembered
Changed = tuple[str, int, int]  # a file, when it changed, its size
_LISTED: list[tuple[str, int, list[str]]] = []  # (folder, when it changed, JSON files of it)
_READ: list[tuple[str, list[Changed], list[tuple[str, set[bytes]]]]] = []  # (folder, files then, what they list)
_KINDS: dict[Changed, Found | None] = {}  # of files that describe others, the last few


def look(window: Window, head: bytes) -> Found | None:
    """What a file is by what lies beside it, or by its suffix and a weak mark. Never raises."""
    tests: tuple[Callable[[Window, bytes], Found | None], ...] = (
        bundle_data, web_shard, openvino_data, onnx_data, darknet, ncnn, mnn,
    )  # fmt: skip
    return next((found for test in tests if (found := test(window, head))), None)


def kind_of(path: str) -> Found | None:
    """What the file at a path is, where there is one. The last few are remembered: one may describe thousands of others."""
    from modelscope_cli.formats.known import recognise

    known = changed(path)
    if known in _KINDS:
        return _KINDS[known]
    try:
        with open_window(path) as window:
            found = recognise(window, neighbours=False)
    except ModelscopeError:
        return None
    kind = Found(found.kind.name) if found else None
    if known is not None:
        while len(_KINDS) >= MOST_KINDS:
            _KINDS.pop(next(iter(_KINDS)))
        _KINDS[known] = kind
    return kind


def changed(path: str) -> Changed | None:
    """A path with what changes when the file does."""
    try:
        known = os.stat(path)
    except (OSError, ValueError):
        return None
    return path, known.st_mtime_ns, known.st_size


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
    for manifest, names in manifests(folder):
        if os.fsencode(name) in names:
            return Found("tfjs-data", (f"{manifest} lists it",))
    return None


def manifests(folder: str) -> list[tuple[str, set[bytes]]]:
    """The JSON files of a folder that list weight files, and what they list. Those of the last folder are remembered."""
    here = [known for name in json_files(folder) if (known := changed(os.path.join(folder, name))) is not None]
    if _READ and _READ[0][:2] == (folder, here):
        return _READ[0][2]
    found = []
    left = MOST_SEARCHED
    for path, _, _ in here:
        with contextlib.suppress(ModelscopeError), open_window(path) as beside:
            text = beside.head(min(LARGEST_MANIFEST, left))
            left -= len(text)
            if names := listed(text):
                found.append((os.path.basename(path), names))
    _READ[:] = [(folder, here, found)]
    return found


def listed(text: bytes) -> set[bytes]:
    """The names in the "paths" of a manifest, in one pass."""
    names: set[bytes] = set()
    at, left = max(0, text.find(b'"weightsManifest"')), MOST_LISTED
    while left > 0 and (paths := PATHS.search(text, at)):
        left -= 1
        for item in islice(ITEM.finditer(text, paths.end()), left):
            left -= 1
            at = item.end()
            if item[1] is None:
                break
            names.add(item[1].removeprefix(b"./"))
        else:
            break  # it is not closed
    return names


def json_files(folder: str) -> list[str]:
    """Names of a few JSON files of a folder, those first that are called like manifests. Those of the last folder are remembered."""
    try:
        changed = os.stat(folder or ".").st_mtime_ns
        if not _LISTED or _LISTED[0][:2] != (folder, changed):
            names = [entry for entry in os.listdir(folder or ".")[:MOST_NAMES] if entry.endswith(".json")]
            names.sort(key=lambda entry: (entry != "model.json" and "manifest" not in entry, entry))
            _LISTED[:] = [(folder, changed, names[:MOST_MANIFESTS])]
        return _LISTED[0][2]
    except (OSError, ValueError):  # a folder of an archive is none of the system, and its name may have a zero byte
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
