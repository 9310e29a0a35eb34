"""Graphs that would keep a scanner busy for ever: each ends in words, in time and within memory, and is not called safe."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.registry import read_window
from modelscope_cli.formats.scanning import scan_file
from tests.builders.foreign import number, part, varint
from tests.builders.graph_file import (
    LAMBDA,
    keras_metadata,
    onnx_attribute,
    onnx_node,
    onnx_tensor,
    tf_node,
    tf_strings,
    tf_text,
    tflite,
)

NODE = part(1, onnx_node("MatMul", "com.acme", attributes=onnx_attribute("axis", text="1")))
OPSET = part(8, number(2, 17))
PRINT = part(1, tf_node("PrintV2", name="dense/Print", output_stream=tf_text("file:///x")))
CHILD = part(1, onnx_node("Relu"))


def model(graph: bytes) -> bytes:
    return number(1, 8) + part(7, graph + part(2, b"main")) + OPSET


def nested(depth: int) -> bytes:
    """Graphs in attributes of nodes in graphs, written from the innermost outwards."""
    pieces, length = [CHILD], len(CHILD)
    for _ in range(depth):
        for field in (6, 5, 1):
            pieces.append(varint(field << 3 | 2) + varint(length))
            length += len(pieces[-1])
    return model(b"".join(reversed(pieces)))


def groups(depth: int) -> bytes:
    return model(CHILD + b"\xab\x03" * depth + b"\xac\x03" * depth)


BOMBS = {
    "nodes.onnx": lambda: model(NODE * 1_000_000),
    "kinds.onnx": lambda: model(b"".join(part(1, part(1, b"x") + part(4, b"Op%d" % n) + part(7, b"a.b")) for n in range(400_000))),
    "nested.onnx": lambda: nested(100_000),
    "groups.onnx": lambda: groups(100_000),
    "again.onnx": lambda: model(part(1, part(1, b"x") + part(4, b"Relu") * 2_000_000)),
    "places.onnx": lambda: model(CHILD + b"".join(part(5, onnx_tensor("w", {"location": f"../{n}", "offset": "-1"})) for n in range(200_000))),
    "prints.pb": lambda: PRINT * 600_000,
    "strings.pb": lambda: part(1, tf_node("DatasetFromGraph")) + part(1, tf_node("Const", value=tf_strings(*[b"word"] * 1_000_000))),
    "fields.pb": lambda: part(1, tf_node("Relu")) + number(3, 1) * 30_000_000,
    "keras_metadata.pb": lambda: keras_metadata(*[LAMBDA] * 50_000),
    "names.tflite": lambda: tflite(*[f"Op{n}" for n in range(20_000)]),
    "flex.tflite": lambda: tflite(
        *["FlexPrintV2", "FlexImmutableConst"] * 9_000, options=tf_node("PrintV2", output_stream=tf_text("stderr")) * 1_000_000
    ),
    "graph.pbtxt": lambda: b'node { op: "Relu" attr { key: "output_stream" value { s: "stderr" } } }\n' * 1_700_000,
    "codes.tflite": lambda: tflite("Op")[:28] + (1 << 31).to_bytes(4, "little") + bytes(1 << 20),
}

# What is said of each, and the exit code: what was not all looked at ends with 3. None is safe.
VERDICTS = {
    "nodes.onnx": ("unknown", 0), "kinds.onnx": ("suspicious", 1), "nested.onnx": ("unknown", 3), "groups.onnx": ("unknown", 3),
    "again.onnx": ("unknown", 3), "places.onnx": ("suspicious", 1), "prints.pb": ("dangerous", 1), "strings.pb": ("suspicious", 1),
    "fields.pb": ("unknown", 3), "keras_metadata.pb": ("dangerous", 1), "names.tflite": ("unknown", 0), "codes.tflite": ("suspicious", 1),
    "flex.tflite": ("dangerous", 1), "graph.pbtxt": ("unknown", 3),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb(bounded, monkeypatch, tmp_path, bomb):
    monkeypatch.setenv("MEASURED", "scan")
    found = bounded(BOMBS[bomb](), bomb)
    safety = Safety(scan_file(str(tmp_path / bomb), DEFAULT_LIMITS, read_window))
    assert (safety.verdict, found.code) == VERDICTS[bomb], (safety.why, found)


def test_a_tensor_of_gigabytes_is_not_read(bounded, tmp_path, monkeypatch):
    """What a file holds is not what is looked at: three GiB of noughts, of which a hole is kept on the disk."""
    monkeypatch.setenv("MEASURED", "scan")
    size = 3 << 30
    tensor = number(1, size // 4) + number(2, 1) + part(8, b"w") + varint(9 << 3 | 2) + varint(size)
    graph = varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor
    before = number(1, 8) + varint(7 << 3 | 2) + varint(len(graph) + size + len(CHILD)) + graph
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(before)
        file.seek(size, 1)
        file.write(CHILD + OPSET)
    from modelscope_cli.core.window import open_window
    from modelscope_cli.formats.scanning import scan_window

    with open_window(str(path)) as window:
        safety = Safety(scan_window(window, DEFAULT_LIMITS, read_window))
        assert window.bytes_read < 2 << 20
    assert (safety.verdict, safety.unseen) == ("safe", [])
