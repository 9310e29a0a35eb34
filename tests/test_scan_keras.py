"""What a Keras configuration asks to be imported is judged by module and name, as Keras resolves them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, scanned

HDF5 = b"\x89HDF\r\n\x1a\n"


def function(module: str, name: str, registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


def layer(module: str | None, name: str, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": None, **more}


def archive(asked: Any) -> bytes:
    return zip_bytes([Entry("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [asked]}}).encode())])


def hdf5(asked: Any) -> bytes:
    return HDF5 + bytes((1 << 20) - 100) + json.dumps({"class_name": "Sequential", "config": {"layers": [asked]}}).encode() + bytes(500)


def damaged(asked: Any) -> bytes:
    """The same, so that it is no JSON."""
    return HDF5 + bytes(3_000) + json.dumps({"config": [asked]}).encode()[:-2] + bytes(500)


ASKED = {
    "CVE-2025-1550": (function("os", "system"), "dangerous"),
    "another library": (function("pip._internal", "main"), "dangerous"),
    "torch.hub": (function("torch.hub", "load"), "dangerous"),
    "CVE-2025-9906": (function("keras.config", "enable_unsafe_deserialization"), "dangerous"),
    "CVE-2025-8747": (function("keras.utils", "get_file"), "dangerous"),
    "with the dot elsewhere": (function("keras", "utils.get_file"), "dangerous"),
    "inside Keras": (function("keras.src.utils.file_utils", "get_file"), "dangerous"),
    "of tf_keras": (function("tf_keras.utils", "get_file"), "dangerous"),
    "code as bytes": (function("keras.src.utils.python_utils", "func_load"), "dangerous"),
    "a module inside Keras": (function("tf_keras.src.utils.generic_utils", "marshal.loads"), "dangerous"),
    "the registered name": (function("os", "no_such_name", "system"), "dangerous"),
    "a type": ({**layer("subprocess", "__typespec__"), "spec_name": "Popen"}, "dangerous"),
    "eval": (function("builtins", "eval"), "dangerous"),
    "CVE-2025-49655": (layer("keras.layers", "TorchModuleWrapper"), "dangerous"),
    "a Lambda layer by its path": (layer("keras", "layers.Lambda"), "dangerous"),
    "settings": (function("keras.config", "set_backend"), "suspicious"),
    "a class of nobody's": (layer("shop.layers", "Attention"), "unknown"),
    "a class of torch": (layer("torch.nn", "Linear"), "unknown"),
    "a function of Python that is none of Keras": (function("builtins", "abs", "abs"), "unknown"),
    "a callback": (layer("keras.callbacks", "ModelCheckpoint"), "unknown"),
    "a layer": (layer("keras.layers", "Dense"), "safe"),
    "a model": (layer("keras.src.models.functional", "Functional"), "safe"),
    "an operation": (layer("keras.src.ops.numpy", "Add"), "safe"),
    "a policy for types": (layer("keras", "DTypePolicy"), "safe"),
    "a schedule": (layer("keras.optimizers.schedules", "CosineDecay"), "safe"),
    "an activation": (function("builtins", "leaky_relu", "function"), "safe"),
    "a loss of the program": (function("builtins", "my_loss", "function"), "safe"),
    "a class of the program": (layer(None, "MyLayer", registered_name="shop>MyLayer"), "safe"),
    "of TensorFlow's": (layer("tensorflow.keras.layers", "Dense"), "safe"),
}


@pytest.mark.parametrize("pack", [archive, hdf5], ids=["archive", "hdf5"])
@pytest.mark.parametrize(("asked", "verdict"), ASKED.values(), ids=ASKED)
def test_what_is_asked_for(asked, verdict, pack):
    assert scanned(pack(asked), "m.keras").verdict == verdict


@pytest.mark.parametrize("asked", [asked for asked, verdict in ASKED.values() if verdict == "dangerous"])
def test_hdf5_that_cannot_be_taken_apart(asked):
    assert scanned(damaged(asked), "m.h5").verdict == "dangerous"


def test_each_level_has_its_code():
    found = {
        "keras-import": function("os", "system"),
        "keras-odd-import": function("keras.config", "set_backend"),
        "keras-unjudged": layer("shop.layers", "Attention"),
    }
    for code, asked in found.items():
        assert codes(scanned(archive(asked), "m.keras")) == {code}
    (one,) = scanned(archive(ASKED["CVE-2025-9906"][0]), "m.keras").found
    assert str(one.message).endswith("switches off what keeps Keras from running code in models (CVE-2025-9906)")


def test_vocabularies_from_elsewhere():
    for words, verdict in {"/etc/passwd": "suspicious", "http://a/b": "suspicious", "../a": "suspicious", "words.txt": "safe"}.items():
        assert scanned(archive(layer("keras.layers", "StringLookup", {"vocabulary": words})), "m.keras").verdict == verdict
    assert scanned(archive(layer("keras.layers", "StringLookup", {"vocabulary": ["/a"]})), "m.keras").verdict == "safe"
