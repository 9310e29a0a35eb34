"""Small files that say something long once and refer to it a million times: no command copies it as often as it is referred to."""

from __future__ import annotations

import json

import pytest

from tests.builders.export_file import export_entries, graph, payload
from tests.builders.package_file import package_bytes
from tests.builders.pickle_code import (
    APPEND,
    APPENDS,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FALSE,
    LIST,
    MARK,
    NONE,
    POP,
    REDUCE,
    SETITEM,
    SETITEMS,
    STOP,
    TUPLE,
    TUPLE1,
    TUPLE2,
    Code,
    call,
    get,
    name,
    number,
    pickled,
    proto,
    put,
    text,
)
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_file import legacy_bytes
from tests.builders.zip_archive import Entry, zip_bytes

WIDE = "\U0001f600"  # four bytes of memory each
LONG = "a" * 60_000  # the longest name of a member, nearly


def torch_zip(program: bytes, *more: Entry) -> bytes:
    return zip_bytes([Entry("archive/data.pkl", program, deflate=True), Entry("archive/version", b"3\n"), *more])


def objects(state: bytes, count: int) -> bytes:
    """So many objects of one class, all with the same state."""
    each = get(0) + EMPTY_TUPLE + REDUCE + get(1) + BUILD
    return torch_zip(
        proto() + name("shop.M") + put(0) + POP + state + put(1) + POP + EMPTY_LIST + MARK + each * count + APPENDS + STOP
    )


def deep_paths() -> bytes:
    inside = text("l" * 4_000) + EMPTY_LIST + MARK + EMPTY_DICT * 1_000_000 + APPENDS + SETITEM
    return torch_zip(proto() + EMPTY_DICT + text("k" * 4_096) + EMPTY_DICT + inside + SETITEM + STOP)


def tuple_keys() -> bytes:
    pairs = b"".join(number(n) + get(1) + TUPLE2 + EMPTY_DICT for n in range(250_000))
    return torch_zip(proto() + text(WIDE * 4_090) + put(1) + POP + EMPTY_DICT + MARK + pairs + SETITEMS + STOP)


def asking_states() -> bytes:
    entries = text("__array__") + put(5) + NONE + (get(5) + NONE) * 999
    return objects(EMPTY_DICT + MARK + entries + SETITEMS, 7_900)


def one_name_of_a_class() -> bytes:
    body = EMPTY_DICT + MARK + text("_graphmodule_cls_name") + text("c" * 1_000_000)
    body += text("_modules") + EMPTY_DICT + text("_parameters") + EMPTY_DICT + SETITEMS
    made = name("torch.fx.graph_module.reduce_package_graph_module") + Code(MARK + body + TUPLE)
    pid = MARK + text("reduce_package") + made + TUPLE + put(4)
    return package_bytes({"m/x.pkl": Code(EMPTY_LIST + MARK + pid + b"Q" + (get(4) + b"Q") * 5_000 + APPENDS)})


def one_size() -> bytes:
    sizes = EMPTY_LIST + MARK + number(1) * 1_000 + APPENDS + put(0) + POP
    sizes += name("torch._utils._rebuild_meta_tensor_no_storage") + put(1) + POP
    sizes += name("torch.float32") + put(2) + POP + MARK + get(2) + get(0) + get(0) + FALSE + TUPLE + put(3) + POP
    return torch_zip(proto() + sizes + EMPTY_LIST + MARK + (get(1) + get(3) + REDUCE) * 290_000 + APPENDS + STOP)


def one_prefix() -> bytes:
    weights = {f"w{n}": payload("weight_0", (1,), (1,)) for n in range(60_000)}
    entries = export_entries(weights, {"weights/weight_0": bytes(4)}, model=LONG)
    entries += [Entry("net/models/b.json", graph()), Entry("net/data/weights/b_weights_config.json", b'{"config":{}}')]
    return zip_bytes([each._replace(deflate=len(each.data) > 1_000) for each in entries])


def one_module() -> bytes:
    inner = {"name": "q" * 8_000_000, "parameters": [{"name": "", "tensorId": "0"}] * 100_000}
    tensor = {"dims": ["1"], "strides": ["1"], "offset": "0", "dataType": "FLOAT", "data": {"key": "tensors/0"}}
    document = {"protoVersion": "6", "mainModule": {"name": "n", "submodules": [inner]}, "tensors": [tensor]}
    data = json.dumps(document).encode()
    return zip_bytes([Entry("n/model.json", data, deflate=True), Entry("n/code/n.py", b"x"), Entry("n/tensors/0", bytes(4))])


def one_file_in_it() -> bytes:
    """Of 2 MB, 3,000 times; after it the name of what starts programs."""
    inner = (legacy_bytes({"n": 1}) + b"x" * 2_000_000).decode("latin-1")
    ready = call("_codecs.encode", inner, "latin1") + put(0) + POP + name("torch.storage._load_from_bytes") + put(1) + POP
    return (
        proto() + ready + EMPTY_LIST + MARK + (get(1) + get(0) + TUPLE1 + REDUCE) * 3_000 + name("os.system") + APPENDS + STOP
    )


def one_list_of_arguments() -> bytes:
    made = name("a.b") + put(0) + POP + EMPTY_LIST + MARK + FALSE * 10_000 + APPENDS + put(1) + POP
    return proto() + name("os.system") + POP + made + MARK + (get(0) + get(1) + REDUCE) * 40_000 + LIST + STOP


def one_key() -> bytes:
    evaluated = EMPTY_LIST + text("__import__('os').system('id')") + APPEND + put(1) + POP
    pairs = (get(0) + get(1)) * 1_900_000
    return proto() + text(WIDE * 5_000) + put(0) + POP + evaluated + EMPTY_DICT + MARK + pairs + SETITEMS + STOP


def one_argument() -> bytes:
    def part(first: int) -> bytes:
        calls = b"".join(b"cos\nx%d\n" % (first + n) + get(0) + REDUCE for n in range(9_900))
        return proto() + text(WIDE * 2_000) + TUPLE1 + put(0) + POP + MARK + calls + LIST + STOP

    return b"".join(part(9_900 * n) for n in range(10))


def one_call_filled() -> bytes:
    return proto() + name("os.system") + POP + call("a.b") + (NONE + NONE + SETITEM) * 390_000 + STOP


def one_folder() -> bytes:
    asked = json.dumps({"auto_map": [f"f{n}.M" for n in range(40_000)]}).encode()
    return zip_bytes([Entry(f"{LONG}/config.json", asked, deflate=True)])


def one_archive() -> bytes:
    inner = zip_bytes([Entry(f"k{n}.pkl", proto() + EMPTY_DICT + STOP) for n in range(20_000)])
    return zip_bytes([Entry(f"{LONG}.zip", inner, deflate=True)])


def one_member() -> bytes:
    names = b"".join(b"cos\nx%d\n" % n for n in range(9_900))
    return zip_bytes([Entry(f"{LONG}/data.pkl", proto() + MARK + names + LIST + STOP, deflate=True)])


def served() -> bytes:
    manifest = b'{"model": {"handler": "h.py"}}'
    entries = [Entry(f"d{n}/MAR-INF/MANIFEST.json", manifest) for n in range(8_000)]
    return zip_bytes(entries + [Entry(f"d{n}/x.py", b"import os") for n in range(8_000)])


def slow_to_judge() -> bytes:
    """Thousands of places for each of sixty thousand names, after one that starts programs."""
    names = b"".join(b"ctorch.jit._pickle\nx%d\n0" % n for n in range(9_990))
    entries = [Entry(f"evil{n}.pkl", proto() + call("posix.system", "id") + POP + names + NONE * (n + 1) + STOP) for n in range(6)]
    for n in range(2_500):
        entries += [Entry(f"s{n}/code/a.py", b"pass"), Entry(f"s{n}/constants.pkl", pickled(()))]
    return zip_bytes([Entry("x/data.pkl", pickled(None)), *entries])


# A thing is said once in each; the commands that read it, and what they end with
READ = {
    "deep.pt": deep_paths, "keys.pt": tuple_keys, "states.pt": asking_states, "class.pt": one_name_of_a_class, "size.pt": one_size,
    "prefix.pt2": one_prefix, "module.pt": one_module, "inner.pkl": one_file_in_it,
}  # fmt: skip
SCANNED = {
    "states.pt": (asking_states, "suspicious"), "inner.pkl": (one_file_in_it, "dangerous"),
    "arguments.pkl": (one_list_of_arguments, "dangerous"), "key.pkl": (one_key, "suspicious"), "calls.pkl": (one_argument, "dangerous"),
    "filled.pkl": (one_call_filled, "dangerous"), "folder.zip": (one_folder, "suspicious"), "archive.zip": (one_archive, "safe"),
    "judged.zip": (slow_to_judge, "dangerous"),
    "member.pt": (one_member, "dangerous"), "served.mar": (served, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", READ)
def test_a_file_that_is_read(bounded, bomb):
    assert bounded(READ[bomb](), bomb).code in (0, 3)


@pytest.mark.parametrize("format", ["json", "sarif"])
@pytest.mark.parametrize("bomb", SCANNED)
def test_a_file_that_is_scanned(bounded, monkeypatch, tmp_path, bomb, format):
    """What stands beside it is found all the same."""
    make, verdict = SCANNED[bomb]
    out = tmp_path / f"verdict.{format}"
    monkeypatch.setenv("MEASURED", f"scan -o {out}")
    code = bounded(make(), bomb).code
    assert code == {"dangerous": 1, "suspicious": 1, "unknown": 0, "safe": 0}[verdict]
    if format == "json":
        assert json.loads(out.read_bytes())["checkpoints"][0]["verdict"] == verdict


def nested(depth: int) -> object:
    return {f"a{n}": nested(depth - 1) for n in range(25)} if depth else 1


def test_one_key_above_thousands_in_a_baseline(bounded, monkeypatch, tmp_path):
    def baseline(metadata: object) -> bytes:
        file = {"name": "a", "bytes": 1, "sections": {"data": 1}, "tensors": {"w": "uint8 [1]"}, "views": {}}
        return json.dumps(
            {"schema": "mscope.baseline/1", "format": "safetensors", "metadata": metadata, "files": [file]}
        ).encode()

    (tmp_path / "old.json").write_bytes(baseline({"K" * 1_000_000: nested(3)}))
    monkeypatch.setenv("MEASURED", f"diff {tmp_path / 'old.json'}")
    assert bounded(baseline({}), "new.json").code == 0


def test_an_index_of_nothing_but_empty_lists(bounded, monkeypatch, tmp_path):
    (tmp_path / "model-00001-of-00001.safetensors").write_bytes(safetensors_bytes({"w": ("U8", (1,))}))
    index = '{"metadata": {"a": [%s]}, "weight_map": {"w": "model-00001-of-00001.safetensors"}}'
    found = bounded((index % ",".join(["[]"] * 9_000_000)).encode(), "model.safetensors.index.json")
    assert (found.code, "--limit objects=" in found.err) == (3, True)
