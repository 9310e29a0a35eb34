"""Models that are graphs of operators, written field by field: ONNX, TensorFlow, TensorFlow Lite, Core ML."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.builders.foreign import number, part


def onnx_node(operator: str, domain: str = "", *, name: str = "n", attributes: bytes = b"") -> bytes:
    """A NodeProto."""
    found = part(1, b"x") + part(2, b"y") + part(3, name.encode()) + part(4, operator.encode()) + attributes
    return found + (part(7, domain.encode()) if domain else b"")


def onnx_attribute(name: str, *, text: str | None = None, graph: bytes | None = None, tensor: bytes | None = None) -> bytes:
    """An attribute of a node, as the field of one."""
    found = part(1, name.encode())
    found += part(4, text.encode()) + number(20, 3) if text is not None else b""
    found += part(5, tensor) + number(20, 4) if tensor is not None else b""
    return part(5, found + (part(6, graph) + number(20, 5) if graph is not None else b""))


def onnx_tensor(name: str = "w", external: dict[str, str] | None = None) -> bytes:
    """A TensorProto of one float; `external` says where its data lie."""
    found = number(1, 1) + number(2, 1) + part(8, name.encode())
    if external is None:
        return found + part(9, bytes(4))
    return (
        found
        + b"".join(part(13, part(1, key.encode()) + part(2, value.encode())) for key, value in external.items())
        + number(14, 1)
    )


def onnx_graph(*nodes: bytes, tensors: tuple[bytes, ...] = (), sparse: tuple[bytes, ...] = ()) -> bytes:
    """A GraphProto."""
    found = b"".join(part(1, node) for node in nodes) + part(2, b"main") + b"".join(part(5, tensor) for tensor in tensors)
    return found + b"".join(part(15, part(1, tensor)) for tensor in sparse) + part(11, part(1, b"x")) + part(12, part(1, b"y"))


def onnx_model(
    *nodes: bytes, graph: bytes | None = None, functions: bytes = b"", training: bytes = b"", **tensors: Any
) -> bytes:
    """A ModelProto of a graph of these nodes and tensors."""
    inside = graph if graph is not None else onnx_graph(*(nodes or (onnx_node("Relu"),)), **tensors)
    after = part(8, number(2, 17)) + (part(20, part(1, training)) if training else b"") + functions
    return number(1, 8) + part(2, b"pytorch") + part(7, inside) + after


def onnx_function(domain: str, name: str, *nodes: bytes) -> bytes:
    """A FunctionProto, as the field of a model."""
    return part(25, part(1, name.encode()) + b"".join(part(7, node) for node in nodes) + part(10, domain.encode()))


def tf_node(operator: str, *, name: str = "n", **attributes: bytes) -> bytes:
    """A NodeDef; attributes are the bytes of their values."""
    kept = b"".join(part(5, part(1, key.encode()) + part(2, value)) for key, value in attributes.items())
    return part(1, name.encode()) + part(2, operator.encode()) + kept


def tf_text(text: str) -> bytes:
    return part(2, text.encode())


def tf_texts(*texts: str) -> bytes:
    return part(1, b"".join(part(2, text.encode()) for text in texts))


def tf_strings(*strings: bytes) -> bytes:
    """The value of a Const that holds strings."""
    return part(8, number(1, 7) + part(2, b"") + b"".join(part(8, string) for string in strings))


def tf_graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    """A GraphDef. `functions` are bodies: nodes of one function each."""
    found = b"".join(part(1, node) for node in nodes)
    library = b"".join(part(1, part(1, part(1, b"f")) + part(3, node)) for node in functions)
    return found + (part(2, library) if library else b"") + part(4, number(1, 1087))


def tf_meta_graph(graph: bytes, *, assets: tuple[str, ...] = (), objects: tuple[dict[str, Any], ...] = ()) -> bytes:
    """A MetaGraphDef; `objects` are the JSON of Keras layers among its objects."""
    about = part(4, b"serve") + part(5, b"2.15.0")
    named = b"".join(part(6, part(1, part(1, b"a:0")) + part(2, asset.encode())) for asset in assets)
    layers = b"".join(part(1, part(4, part(1, b"_tf_keras_layer") + part(3, json.dumps(layer).encode()))) for layer in objects)
    return part(1, about) + part(2, graph) + named + (part(7, layers) if layers else b"")


def tf_saved_model(*nodes: bytes, functions: tuple[bytes, ...] = (), **more: Any) -> bytes:
    """A SavedModel."""
    return number(1, 1) + part(2, tf_meta_graph(tf_graph(*(nodes or (tf_node("NoOp"),)), functions=functions), **more))


def keras_metadata(*layers: dict[str, Any]) -> bytes:
    """keras_metadata.pb of these configurations."""
    texts = [json.dumps(layer).encode() for layer in layers]
    return b"".join(
        part(1, number(2, at) + part(3, b"root") + part(4, b"_tf_keras_layer") + part(5, text)) for at, text in enumerate(texts)
    )


LAMBDA = {
    "class_name": "Lambda",
    "name": "l",
    "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": "4w=="}}},
}
DENSE = {"class_name": "Dense", "name": "d", "config": {"name": "d", "units": 4, "activation": "relu"}}


def tflite(*names: str | int, magic: bytes = b"TFL3", options: bytes = b"") -> bytes:
    """A model with these operators: numbers of the format, or names. `options` stand behind them."""
    codes = []
    for name in names:
        text = name.encode() if isinstance(name, str) else b""
        code = 32 if isinstance(name, str) else name
        # a vtable of four fields, the table (number, name, version, number), the name
        table = struct.pack("<6H", 12, 20, 4, 8, 12, 16) + struct.pack("<iiIii", 12, code & 0x7F, 12, 1, code)
        codes.append(table + struct.pack("<I", len(text)) + text + bytes(-(len(text)) % 4 + 4))
    start = 8 + 8 + 12
    vector = struct.pack("<I", len(codes))
    at = start + 4 + 4 * len(codes)
    for place, code in enumerate(codes):
        vector += struct.pack("<I", at + 12 - (start + 4 + 4 * place))
        at += len(code)
    model = struct.pack("<4H", 8, 12, 4, 8) + struct.pack("<iII", 8, 3, 4)
    return struct.pack("<I", 16) + magic + model + vector + b"".join(codes) + options


def coreml_model(*layers: bytes) -> bytes:
    """A neural network of these layers."""
    described = part(1, part(1, b"image"))
    return number(1, 7) + part(2, described) + part(500, b"".join(part(1, part(1, b"l") + layer) for layer in layers))


def coreml_custom(name: str) -> bytes:
    return part(500, part(10, name.encode()))


def as_text(*nodes: str) -> bytes:
    """A SavedModel of TensorFlow, as text."""
    inside = "".join(f"    node {{ name: 'n' {node} }}\n" for node in nodes)
    return f"saved_model_schema_version: 1\nmeta_graphs {{\n  graph_def {{\n{inside}  }}\n}}\n".encode()
