"""What a Keras configuration asks to be imported is judged by module and name, as Keras resolves them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders.graph_file import tf_node, tf_text
from tests.builders.hdf5_file import Hdf5
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


def model(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "m", "layers": list(layers)}, **more}


def calls(function: str, **arguments: Any) -> dict[str, Any]:
    """A layer of Keras 2 that calls a function with constants of the file."""
    called = {"class_name": "TFOpLambda", "config": {"name": "tf.op", "function": function}, "name": "tf.op"}
    return {**called, "inbound_nodes": [["_CONSTANT_VALUE", -1, "/a", arguments]]}


def operator(**node: Any) -> dict[str, Any]:
    return {"class_name": "TensorFlowOpLayer", "config": {"name": "w", "node_def": {"name": "w", **node}, "constants": {"0": "/a"}}}


BLANKS = " " * (2 << 20)


@pytest.mark.parametrize("spread", [
    ('"class_name": "', f'"class_name":{BLANKS}"'), ('"class_name":', f'"class_name"{BLANKS}:'), ('{"class_name"', f'{{{BLANKS}"class_name"'),
    ('{"class_name"', '{"a": "' + BLANKS + '", "class_name"'), ('{"class_name"', f'{{"{BLANKS}": 1, "class_name"'),
    (", ", f",{BLANKS[:9_000]}"), ('{"class_name"', '{"a!": 0, "class_name"'),
])  # fmt: skip
def test_blanks_hide_nothing(spread):
    for layer_, verdict in (({"class_name": "Lambda", "config": {"function": ["4wEA"]}}, "dangerous"), (calls("load_library"), "dangerous")):
        text = json.dumps(model(layer_)).replace(*spread)
        assert json.loads(text)
        assert scanned(HDF5 + bytes(99) + text.encode() + bytes(99), "m.h5").verdict == verdict


def test_other_beginnings_hide_nothing():
    """What cannot be taken apart because of what stands before it is said not to be looked at."""
    text = json.dumps(model(calls("io.gfile.remove"))).replace('"class_name": ', f'"class_name":{BLANKS}').encode()
    for before, verdict in ((b"", "dangerous"), (b'{"a":[1,' * 100, "dangerous"), (b'{"a":1}' * 900, "dangerous"), (b'{"a":[1,' * 900, "unknown")):
        assert scanned(HDF5 + bytes(99) + before + b"\0" + text, "m.h5").verdict == verdict, before[:9]
    for before in (b'{"x":"', b'{"x":', b'{"', b"{" + b" " * 500):
        assert scanned(HDF5 + bytes(99) + before + b"\0" + text, "m.h5").verdict == "dangerous"


def test_configurations_that_are_written_in_any_order():
    """Python 2 wrote the keys of an object in no order; HDF5 keeps what was replaced."""
    layers_ = [{"config": {"units": 3, "name": f"d{at}"}, "class_name": "Dense"} for at in range(400)]
    for document in ({"keras_version": "1.2", "config": layers_, "class_name": "Sequential"}, [{"loss": "mse"}, {"class_name": "Adam", "config": {}}]):
        text = json.dumps(document).encode()
        safety = scanned(HDF5 + bytes(99) + text + bytes(9) + text, "m.h5")
        assert (safety.verdict, safety.found) == ("safe", [])


FUNCTIONS = {
    "math.add": "safe", "compat.v1.nn.conv2d": "safe", "compat.v2.math.abs": "safe", "__operators__.getitem": "safe", "concat": "safe",
    "strings.regex_replace": "safe", "image.resize": "safe", "keras.backend.dot": "safe", "keras.activations.relu": "safe", "where_v2": "safe",
    "keras.losses.mean_squared_error": "safe", "debugging.assert_equal": "safe", "io.decode_raw": "safe", "print": "safe", "Print": "safe",
    "raw_ops.MatMul": "safe", "experimental.numpy.dot": "safe", "sparse.to_dense": "safe", "ragged.range": "safe", "random.normal": "safe",
    "while_loop": "unknown", "Variable": "unknown", "math.no_such_thing_": "safe", "math.Some": "unknown", "shop.price": "unknown",
    "keras.activations.get": "unknown", "compat.v1.get_variable": "unknown", "xla_custom_call": "unknown", "raw_ops.Save": "unknown",
    "read_file": "suspicious", "io.read_file": "suspicious", "io.matching_files": "suspicious", "py_function": "suspicious",
    "compat.v1.train.init_from_checkpoint": "suspicious", "data.experimental.save": "suspicious", "summary.create_file_writer": "dangerous",
    "debugging.experimental.enable_dump_debug_info": "suspicious", "config.set_visible_devices": "suspicious", "summary.text": "suspicious",
    "raw_ops.ReadFile": "suspicious", "raw_ops.TFRecordDataset": "suspicious", "feature_column.categorical_column_with_vocabulary_file": "suspicious",
    "load_library": "dangerous", "compat.v1.load_library": "dangerous", "compat.v1.compat.v1.load_op_library": "dangerous",
    "compat.v1.gfile.Copy": "dangerous", "io.gfile.copy": "dangerous", "raw_ops.WriteFile": "dangerous", "compat.v1.io.write_file": "dangerous",
    "keras.models.load_model": "dangerous", "keras.utils.get_file": "dangerous", "saved_model.load": "dangerous", "profiler.experimental.start":
    "dangerous", "compat.v1.import_graph_def": "dangerous", "compat.v1.train.import_meta_graph": "dangerous", "lite.experimental.load_delegate":
    "dangerous", "experimental.register_filesystem_plugin": "dangerous", "test.main": "dangerous", "mlir.experimental.write_bytecode":
    "dangerous", "distribute.Server": "dangerous", "rpc_client": "dangerous", "__internal__.saved_model.load_partial": "dangerous",
}  # fmt: skip


@pytest.mark.parametrize("pack", [archive, hdf5], ids=["archive", "hdf5"])
@pytest.mark.parametrize(("function", "verdict"), FUNCTIONS.items())
def test_functions_of_tensorflow(function, verdict, pack):
    assert scanned(pack(calls(function)), "m.keras").verdict == verdict
    assert scanned(pack({**calls(function), "class_name": "SlicingOpLambda"}), "m.keras").verdict == verdict
    by_path = layer("keras.src.layers.core", "tf_op_layer.TFOpLambda", {"function": function})
    assert scanned(pack(by_path), "m.keras").verdict in (verdict, "unknown" if verdict == "safe" else verdict)


@pytest.mark.parametrize(("function", "arguments", "verdict"), [
    ("print", {"output_stream": "file:///tmp/x"}, "dangerous"), ("print", {"output_stream": "log(info)"}, "safe"), ("print", {"summarize": 3}, "safe"),
    ("raw_ops.PrintV2", {"output_stream": "file:///tmp/x"}, "dangerous"), ("io.decode_proto", {"descriptor_source": "/x.desc"}, "suspicious"),
    ("io.encode_proto", {"descriptor_source": "local://"}, "safe"), ("nn.fixed_unigram_candidate_sampler", {"vocab_file": "/x"}, "unknown"),
    ("keras.layers.StringLookup", {"vocabulary": "/etc/passwd"}, "suspicious"), ("keras.layers.StringLookup", {"vocabulary": ["/a"]}, "safe"),
])  # fmt: skip
def test_arguments_of_functions(function, arguments, verdict):
    assert scanned(archive(calls(function, **arguments)), "m.keras").verdict == verdict
    assert scanned(hdf5(model({"class_name": "InputLayer", "config": {}}, calls(function, **arguments))), "m.h5").verdict == verdict


OTHERS = {
    "a way to make ragged tensors": (layer(None, "ClassMethod", {"cls_symbol": "RaggedTensor", "method_name": "from_row_splits"}), "safe"),
    "a file": (layer(None, "ClassMethod", {"cls_symbol": "compat.v1.gfile.GFile", "method_name": "__init__"}), "dangerous"),
    "a function by its __call__": (layer(None, "ClassMethod", {"cls_symbol": "io.write_file", "method_name": "__call__"}), "dangerous"),
    "a model": (layer(None, "ClassMethod", {"cls_symbol": "keras.Model", "method_name": "load_weights"}), "dangerous"),
    "another class": (layer(None, "ClassMethod", {"cls_symbol": "TensorShape", "method_name": "as_list"}), "unknown"),
    "values of a ragged tensor": (layer(None, "InstanceProperty", {"attr_name": "flat_values"}), "safe"),
    "a ragged tensor made dense": (layer(None, "InstanceMethod", {"attr_name": "to_tensor"}), "safe"),
    "a method of whatever it is": (layer(None, "InstanceMethod", {"attr_name": "as_list"}), "unknown"),
    "one that writes": (layer(None, "InstanceMethod", {"attr_name": "tofile"}), "suspicious"),
    "a way out of an object": (layer(None, "InstanceProperty", {"attr_name": "__class__"}), "dangerous"),
    "an operator": (operator(op="AddV2", attr={"T": {"type": "DT_FLOAT"}}), "safe"),
    "an operator that writes": (operator(op="WriteFile", input=["f", "c"]), "dangerous"),
    "an operator that prints": (operator(op="PrintV2", attr={"output_stream": {"s": "c3RkZXJy"}}), "safe"),
    "one that prints to a file": (operator(op="PrintV2", attr={"output_stream": {"s": "ZmlsZTovLy94"}}), "dangerous"),
    "one whose attribute is odd": (operator(op="PrintV2", attr={"output_stream": ["x"]}), "dangerous"),
    "an operator as bytes": (layer(None, "TensorFlowOpLayer", {"node_def": tf_node("WriteFile").decode()}), "dangerous"),
    "an attribute in bytes": (layer(None, "TensorFlowOpLayer", {"node_def": tf_node("PrintV2", output_stream=tf_text("stderr")).decode()}), "safe"),
    "words of a column": (layer(None, "DenseFeatures", {"feature_columns": [{"class_name": "V", "config": {"vocabulary_file": "/a"}}]}), "suspicious"),
}  # fmt: skip


@pytest.mark.parametrize("pack", [archive, hdf5], ids=["archive", "hdf5"])
@pytest.mark.parametrize(("asked", "verdict"), OTHERS.values(), ids=OTHERS)
def test_other_layers_that_call(asked, verdict, pack):
    if asked.get("module", "") is None:
        del asked["module"]
    assert scanned(pack(asked), "m.keras").verdict == verdict


def test_a_layer_that_calls_is_found_where_nothing_can_be_taken_apart():
    assert scanned(damaged(calls("io.gfile.rmtree")), "m.h5").verdict == "dangerous"
    for function, verdict in (("math.add", "unknown"), ("io.gfile.rmtree", "dangerous"), ("raw_ops.PrintV2", "dangerous")):
        cut = json.dumps(calls(function)).encode()[:-9]
        assert scanned(HDF5 + cut + bytes(99), "m.h5").verdict == verdict


@pytest.mark.parametrize("before", [0, 512, 2048])
@pytest.mark.parametrize("wide", [4, 8])
def test_data_of_hdf5_in_other_files(before, wide):
    def verdict(way: str, *names: str, **more: Any) -> tuple[str | None, set[str]]:
        file = Hdf5(before=before, wide=wide)
        getattr(file, way)(*names, **more)
        safety = scanned(file.data + bytes(99), "m.h5")
        return safety.verdict, codes(safety)

    outside, unseen, none = ("suspicious", {"external-path"}), ("unknown", {"not-looked-at"}), ("safe", set[str]())
    assert verdict("external", "/etc/passwd") == outside
    assert verdict("external", "a.raw", "../b") == ("suspicious", {"external-path", "not-looked-at"})
    assert verdict("external", "a.raw") == unseen
    for header in (b"\x07\x30\0\0", b"\x07\x30\0\x04\x01\0"):
        assert verdict("external", "C:\\x", header=header) == outside
    for flags in range(8, 12):
        for more in (0, 4, 16, 20):
            assert verdict("link", "/etc/a.h5", flags=flags | more) == outside
            assert verdict("link", "a.h5", flags=flags | more) == none
    assert verdict("virtual", ".", "a.h5", "/b.h5") == outside
    assert verdict("virtual", "a.h5", ".") == none
