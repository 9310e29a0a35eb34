"""Stacked pickles and bare pickles: view metadata, recorded modules, and torch.save inside a pickle."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, UnsupportedFeatureError
from tests.builders.attacks import SYSTEM
from tests.builders.pickle_code import STOP, Code, call, get, name, persistent, pickled, proto, remembered, value
from tests.builders.torch_code import module, ordered, parameter, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.opened import codes, facts, opened
from tests.scanned import codes as codes_of_scan
from tests.scanned import scanned


def test_storages_follow_the_pickles():
    root = ordered({"a": tensor("x", (2, 3), view=None), "b": tensor("y", (2,), "HalfStorage", view=None)})
    data = legacy_bytes(root, {"x": (6, b"A" * 24), "y": (2, b"B" * 4)})
    checkpoint = opened(data)
    assert checkpoint.format == "torch-legacy"
    first, second = checkpoint.tensors
    assert data[first.start : first.stop] == b"A" * 24
    assert data[second.start : second.stop] == b"B" * 4
    assert checkpoint.sections() == {"pickle": first.start - 8, "header": 16, "data": 28}


def test_order_of_storages_is_that_of_the_key_list():
    root = {"a": tensor("x", (2,), view=None), "b": tensor("y", (3,), view=None)}
    data = legacy_bytes(root, {"y": (3, b"Y" * 12), "x": (2, b"X" * 8)})
    first, second = opened(data).tensors
    assert data[first.start : first.stop] == b"X" * 8
    assert data[second.start : second.stop] == b"Y" * 12


def test_view_metadata():
    root = {
        "whole": tensor("x", (6,), view=None),
        "part": tensor("x", (2, 1), numel=6, offset=1, view=("v", 3, 3)),
    }
    checkpoint = opened(legacy_bytes(root, {"x": (6, 24)}))
    assert facts(checkpoint) == {"whole": ((6,), "float32", "x", 0, None), "part": ((2, 1), "float32", "x", 16, None)}


@pytest.mark.parametrize("view", [("v", 5, 2), ("v", -1, 2), ("v", 0), ("v", "0", 2), 7])
def test_impossible_views_are_refused(view):
    with pytest.raises(CorruptFileError):
        opened(legacy_bytes({"w": tensor("x", (2,), numel=6, view=view)}, {"x": (6, 24)}))


def test_tensor_beyond_its_view_is_refused():
    with pytest.raises(CorruptFileError):
        opened(legacy_bytes({"w": tensor("x", (4,), numel=6, view=("v", 0, 3))}, {"x": (6, 24)}))


def test_big_endian():
    checkpoint = opened(legacy_bytes({"w": tensor("x", (6,), view=None)}, {"x": (6, 24)}, little_endian=False))
    assert codes(checkpoint) == {"big-endian": "info"}
    assert facts(checkpoint)["w"][0] == (6,)


def test_modules_saved_with_their_source():
    recorded = persistent(("module", name("shop.Net"), "/home/me/net.py", "class Net: pass"))
    plain = module("shop.Net", {"weight": parameter(tensor("x", (2,), view=None))})
    root = Code(plain.replace(name("shop.Net"), recorded, 1))
    checkpoint = opened(legacy_bytes(root, {"x": (2, 8)}))
    assert checkpoint.modules[""].class_name == "shop.Net"
    assert {t.name: t.role for t in checkpoint.tensors} == {"weight": "parameter"}


def test_pickles_are_traced():
    checkpoint = opened(legacy_bytes({"w": call("os.system", "true"), "x": name("shop.thing")}))
    uses = {f"{use.module}.{use.name}": use.calls for trace in checkpoint.pickles for use in trace.globals}
    assert uses == {"os.system": 1, "shop.thing": 0}


def test_pickle_longer_than_a_chunk():
    """The length of the pickles is not written down: they are read in pieces."""
    root = {f"layer.{number}.weight": tensor(str(number), (2,), view=None) for number in range(3_000)}
    root["text"] = "x" * 200_000
    data = legacy_bytes(root, {str(number): (2, 8) for number in range(3_000)})
    assert len(data) > 300_000
    assert len(opened(data).tensors) == 3_000


BROKEN = {
    "another count": legacy_bytes({"w": tensor("x", (2,), view=None)}, {"x": (3, 8)}),
    "storage cut": legacy_bytes({"w": tensor("x", (2,), view=None)}, {"x": (2, 8)})[:-1],
    "no count": legacy_bytes({"w": tensor("x", (2,), view=None)}, {"x": (2, 8)})[:-12],
    "key of nothing": legacy_bytes({"w": 1}, {"x": (2, 8)}),
    "key absent": legacy_bytes({"w": tensor("x", (2,), view=None)}, {"x": (2, 8)}, keys=[]),
    "keys are no list": legacy_bytes({"w": 1}, keys={}),
    "storage larger than the file": legacy_bytes({"w": tensor("x", (1 << 40,), view=None)}, {"x": (1 << 40, 8)}),
    "negative count": legacy_bytes({"w": tensor("x", (2,), view=None)}, {"x": (-2, 8)}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused(what):
    with pytest.raises(CorruptFileError):
        opened(BROKEN[what])


def test_other_versions_are_unsupported():
    with pytest.raises(UnsupportedFeatureError):
        opened(legacy_bytes({"w": 1}, version=1002))


def test_bare_pickle():
    checkpoint = opened(pickled({"lr": 0.1, "names": ["a", "b"]}), "x.pkl")
    assert checkpoint.format == "pickle"
    assert checkpoint.metadata == {"lr": 0.1, "names": ["a", "b"]}
    assert checkpoint.sections() == {"pickle": checkpoint.nbytes}


def test_bytes_behind_a_bare_pickle():
    checkpoint = opened(pickled({"lr": 0.1}) + b"more", "x.pkl")
    assert codes(checkpoint) == {"after-stop": "warning"}
    assert checkpoint.sections()["unmapped"] == 4


def nested(number: int, raw: bytes = b"") -> Code:
    inner = legacy_bytes(tensor("k", (2,), view=None), {"k": (2, raw or bytes([number]) * 8)})
    return call("torch.storage._load_from_bytes", inner)


def test_saves_inside_a_pickle():
    """Tensors in an ordinary pickle carry a whole torch.save each."""
    data = pickled({"a": nested(1), "b": nested(2)})
    checkpoint = opened(data, "x.pkl")
    first, second = checkpoint.tensors
    assert (first.name, first.shape, second.name) == ("a", (2,), "b")
    assert data[first.start : first.stop] == bytes([1]) * 8
    assert data[second.start : second.stop] == bytes([2]) * 8
    assert checkpoint.sections() == {"pickle": len(data) - 16, "data": 16}


def decoded(text: Any, codec: str) -> Code:
    return call("torch.storage._load_from_bytes", call("_codecs.encode", text, codec))


def test_the_same_text_makes_the_same_save_by_one_codec_alone():
    """Protocol 2 has no bytes: each of two names may make its own of one text."""
    inner = legacy_bytes(tensor("k", (2,), view=None), {"k": (2, bytes(8))}).decode("latin-1")
    first, second = opened(pickled([decoded(remembered(1, inner), "latin1"), decoded(get(1), "latin1")]), "x.pkl").tensors
    assert first.storage == second.storage
    with pytest.raises(ModelscopeError, match="without its bytes"):
        opened(pickled([decoded(remembered(1, inner), "latin1"), decoded(get(1), "utf-16")]), "x.pkl")
    said = codes_of_scan(scanned(pickled([decoded(remembered(1, inner), "latin1"), decoded(get(1), "utf-16")]), "x.pkl"))
    assert "computed-bytes" in said
    evil = (proto() + SYSTEM + STOP).decode("latin-1")
    both = [call("torch.storage._load_from_bytes", remembered(1, evil)), decoded(get(1), "latin1")]
    assert scanned(pickled(both), "x.pkl").verdict == "dangerous"


def test_save_inside_that_is_used_twice_is_tied():
    checkpoint = opened(pickled([remembered(1, nested(1)), Code(b"h\x01")]), "x.pkl")
    first, second = checkpoint.tensors
    assert (first.start, first.stop) == (second.start, second.stop)


def test_save_inside_a_save_inside_a_save():
    data = legacy_bytes({"w": tensor("k", (2,), view=None)}, {"k": (2, b"12345678")})
    for _ in range(3):
        data = legacy_bytes({"in": call("torch.storage._load_from_bytes", data)})
    checkpoint = opened(data)
    (found,) = checkpoint.tensors
    assert found.name == "in.in.in.w"
    assert data[found.start : found.stop] == b"12345678"
    assert checkpoint.sections()["data"] == 8


def test_save_inside_a_torch_zip():
    data = torch_zip_bytes({"w": nested(7)})
    (found,) = opened(data).tensors
    assert data[found.start : found.stop] == bytes([7]) * 8


def test_saves_inside_are_limited():
    with pytest.raises(LimitError) as caught:
        opened(pickled([nested(n) for n in range(1, 9)]), "x.pkl", limits=DEFAULT_LIMITS._replace(nested_files=3))
    assert caught.value.resource == "nested_files"


def test_broken_save_inside_is_refused():
    with pytest.raises(ModelscopeError):
        opened(pickled([call("torch.storage._load_from_bytes", b"\x80\x02garbage")]), "x.pkl")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_bare_pickles_of_every_protocol(protocol):
    import pickle

    data = pickle.dumps({"a": [1, 2.5, None], "b": {"c": "text"}}, protocol)
    assert opened(data, "x.pkl").metadata == {"a": [1, 2.5, None], "b": {"c": "text"}}


def test_python_2_keys_are_bytes():
    key = Code(b"U\x01x")
    made = call(
        "torch._utils._rebuild_tensor_v2", persistent(("storage", name("torch.FloatStorage"), key, "cpu", 2)), 0, (2,), (1,)
    )
    assert value(made)
    data = legacy_bytes({"w": made}, {"x": (2, 8)}, keys=[key])
    assert facts(opened(data))["w"][2] == "x"
