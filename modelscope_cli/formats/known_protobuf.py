"""Which protocol buffer a file is: fields have numbers, no names, so a message is told by its numbers, wire types and contents.

    field    key (number × 8 + wire type, a varint), then   0 varint   1 eight bytes   2 length (a varint) and bytes   5 four bytes

    ONNX ModelProto     1 ir_version   2 producer   3 its version   7 graph   8 opset_import …              onnx.proto3
    ONNX TensorProto    1 dims   2 data_type   8 name   9 raw_data …                                       onnx.proto3
    SavedModel          1 schema version   2 MetaGraphDef (1 meta_info_def: 5 version, 2 graph_def)        saved_model.proto
    MetaGraphDef        1 meta_info_def   2 graph_def   3 saver_def   4 collection_def …                   meta_graph.proto
    SavedMetadata       1 node (2 id, 3 path, 4 identifier, 5 metadata as JSON, 6 version)                 saved_metadata.proto
    GraphDef            1 node (1 name, 2 op, 3 input, 5 attr)   2 library   4 versions                    graph.proto
    Core ML Model       1 version   2 description   10 updatable   200 and up: the model, by its kind      Model.proto
    SentencePiece       1 piece (1 text, 2 score, 3 type)   2 trainer   3 normalizer                       sentencepiece_model.proto
    NetParameter        1 name   100 layer (1 name, 2 type …)   2 layers of before 2014 (4 name, 5 type)   caffe.proto
    ProgramDesc         1 block (1 index, 2 parent, 3 variables, 4 operations)   4 version                 framework.proto

Only keys and lengths are read; what a field holds is skipped.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.core.window import MemoryWindow, Window

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
LONGEST_KEY = 20  # bytes of a key and a length, ten each at most
MOST_FIELDS = 400  # of a message that are looked at: what tells is among the first, or few
LONGEST_TEXT = 80  # characters of a name or version that are shown

COREML_KINDS = {
    200: "pipeline classifier", 201: "pipeline regressor", 202: "pipeline", 303: "neural network regressor",
    403: "neural network classifier", 500: "neural network", 502: "ML program", 900: "identity",
}  # fmt: skip
ONNX_MODEL = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES, 25: BYTES, 26: BYTES}  # fmt: skip
ONNX_GRAPH = (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)
ONNX_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
META_GRAPH = (1, 2, 3, 4, 5, 6, 7)
DESCRIPTION = (1, 10, 11, 12, 13, 20, 21, 50, 100)
NODE = (1, 2, 3, 4, 5, 6, 7)


class Field(NamedTuple):
    """A field: its bytes are start..stop, its number in `value` where it is a varint."""

    number: int
    wire: int
    start: int
    stop: int
    value: int = 0


class Message(NamedTuple):
    """Fields as far as they go. `whole`: to the end; `cut`: the last one should be longer than the file."""

    fields: list[Field]
    whole: bool
    cut: bool = False

    def all(self, number: int, wire: int = BYTES) -> list[Field]:
        return [field for field in self.fields if field.number == number and field.wire == wire]

    def numbers(self) -> set[int]:
        return {field.number for field in self.fields}


class Found(NamedTuple):
    """A kind of known_kinds, and what else is known about the file."""

    kind: str
    facts: tuple[str, ...] = ()


def look(window: Window, head: bytes) -> Found | None:
    """Which of these messages the file is, or None. Never raises."""
    if not head or head[0] & 7 not in (VARINT, BYTES) or head[0] >> 3 == 0:
        return None
    top = walk(window, 0, window.size)
    if not top.fields or not (top.whole or top.cut or len(top.fields) == MOST_FIELDS):
        return None
    tests = (onnx, saved_model, coreml, onnx_tensor, sentencepiece, keras_metadata, meta_graph, graph, caffe, paddle)
    return next((found for test in tests if (found := test(window, top))), None)


def walk(window: Window, start: int, stop: int) -> Message:
    """The fields of the message in start..stop, which may be a claim."""
    fields: list[Field] = []
    end = min(stop, window.size)
    position = start
    while position < end:
        if len(fields) == MOST_FIELDS:
            return Message(fields, False)
        head = window.read(position, min(LONGEST_KEY, end - position))
        key, at = varint(head, 0)
        number, wire = key >> 3, key & 7
        if at == 0 or not 0 < number < 1 << 29 or wire not in (VARINT, EIGHT, BYTES, FOUR):
            return Message(fields, False)
        value, after = varint(head, at) if wire in (VARINT, BYTES) else (0, at)
        if after == 0:
            return Message(fields, False)
        length = {VARINT: 0, EIGHT: 8, FOUR: 4}.get(wire, value)
        field = Field(number, wire, position + after, position + after + length, value)
        if field.stop > stop != window.size:
            return Message(fields, False)
        fields.append(field)
        if field.stop > window.size:
            return Message(fields, False, cut=True)
        position = field.stop
    return Message(fields, position == stop)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends), or (0, 0) where there is none."""
    value = 0
    for place in range(at, min(at + 10, len(data))):
        value |= (data[place] & 0x7F) << 7 * (place - at)
        if data[place] < 0x80:
            return value, place + 1
    return 0, 0


def inner(window: Window, field: Field) -> Message:
    return walk(window, field.start, field.stop)


def text(window: Window, fields: list[Field]) -> str:
    """The first of some fields as text, shortened; empty where it is none."""
    if not fields or fields[0].stop > window.size:
        return ""
    raw = window.read(fields[0].start, min(fields[0].stop - fields[0].start, 4 * LONGEST_TEXT))
    try:
        found = raw.decode()
    except UnicodeDecodeError:
        return ""
    return found[:LONGEST_TEXT] if found.isprintable() else ""


def consists(message: Message, numbers: tuple[int, ...]) -> bool:
    """Whether there is something in it, and nothing but submessages and texts of these numbers."""
    return bool(message.fields) and all(field.number in numbers and field.wire == BYTES for field in message.fields)


def onnx(window: Window, top: Message) -> Found | None:
    if any(ONNX_MODEL.get(field.number) != field.wire for field in top.fields):
        return None
    graphs, versions = top.all(7), top.all(1, VARINT)
    opsets = [inner(window, field) for field in top.all(8)]
    if len(graphs) != 1 or not (opsets or versions) or any(not opset.numbers() <= {1, 2} for opset in opsets):
        return None
    if any(not 0 < version.value < 256 for version in versions) or not consists(inner(window, graphs[0]), ONNX_GRAPH):
        return None
    made = " ".join(filter(None, (text(window, top.all(2)), text(window, top.all(3)))))
    opset = [field.value for message in opsets for field in message.all(2, VARINT) if not text(window, message.all(1))]
    facts = [f"made by {made}" if made else "", f"IR version {versions[0].value}" if versions else ""]
    facts += [f"opset {opset[0]}" if opset else "", cut_short(window, top)]
    return Found("onnx", tuple(filter(None, facts)))


def cut_short(window: Window, top: Message) -> str:
    """What is missing, if anything. What is in memory may be the beginning of a file in an archive."""
    if not top.cut or isinstance(window, MemoryWindow):
        return ""
    return f"cut short: {top.fields[-1].stop - window.size:,} bytes and more are missing"


def onnx_tensor(window: Window, top: Message) -> Found | None:
    kinds, raw = top.all(2, VARINT), top.all(9)
    if not top.whole or len(kinds) != 1 or len(raw) != 1 or not top.numbers() <= {1, 2, 8, 9, 12}:
        return None
    numel = 1
    for field in top.all(1, VARINT):
        numel *= field.value
    bits = ONNX_BITS.get(kinds[0].value)
    if top.all(1) or bits is None or numel * bits != 8 * (raw[0].stop - raw[0].start):
        return None
    shape = " × ".join(str(field.value) for field in top.all(1, VARINT))
    return Found("onnx-tensor", (shape,) if shape else ())


def saved_model(window: Window, top: Message) -> Found | None:
    graphs, versions = top.all(2), top.all(1, VARINT)
    if len(versions) != 1 or versions[0].value != 1 or not graphs or len(graphs) + 1 != len(top.fields):
        return None
    about = inner(window, graphs[0])
    if not consists(about, META_GRAPH) or not about.all(2) or 200 in top.numbers():
        return None
    version = text(window, inner(window, about.all(1)[0]).all(5)) if about.all(1) else ""
    return Found("savedmodel", tuple(filter(None, (f"TensorFlow {version}" if version else "", cut_short(window, top)))))


def coreml(window: Window, top: Message) -> Found | None:
    versions, descriptions = top.all(1, VARINT), top.all(2)
    models = [field for field in top.fields if 200 <= field.number <= 3_100 and field.wire == BYTES]
    if len(versions) != 1 or not 0 < versions[0].value < 100 or len(descriptions) != 1 or len(models) != 1:
        return None
    if not top.numbers() <= {1, 2, 10, models[0].number} or not consists(inner(window, descriptions[0]), DESCRIPTION):
        return None
    kind = COREML_KINDS.get(models[0].number, "")
    return Found("coreml", tuple(filter(None, (kind, f"specification {versions[0].value}", cut_short(window, top)))))


def sentencepiece(window: Window, top: Message) -> Found | None:
    pieces = top.all(1)
    if not pieces or top.fields[0].number != 1 or any(field.number > 5 or field.wire != BYTES for field in top.fields):
        return None
    looked_at = [inner(window, piece) for piece in pieces[:8]]
    good = all(piece.whole and piece.all(1) and piece.all(2, FOUR) and piece.numbers() <= {1, 2, 3} for piece in looked_at)
    return Found("sentencepiece") if good else None


def keras_metadata(window: Window, top: Message) -> Found | None:
    """What Keras 2 keeps beside a SavedModel: the first object is the model, its JSON a map."""
    if not consists(top, (1,)):
        return None
    looked_at = [inner(window, field) for field in top.all(1)[:8] if field.stop <= window.size]
    good = all(one.numbers() <= {2, 3, 4, 5, 6} and text(window, one.all(4)).startswith("_tf_keras") for one in looked_at)
    return Found("keras-metadata") if looked_at and good else None


def meta_graph(window: Window, top: Message) -> Found | None:
    graphs = top.all(2)
    if len(graphs) != 1 or not consists(top, META_GRAPH) or graph(window, inner(window, graphs[0])) is None:
        return None
    version = text(window, inner(window, top.all(1)[0]).all(5)) if top.all(1) else ""
    return Found("metagraph", tuple(filter(None, (f"TensorFlow {version}" if version else "", cut_short(window, top)))))


def graph(window: Window, top: Message) -> Found | None:
    if not all((field.number, field.wire) in ((1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES)) for field in top.fields):
        return None
    nodes = [inner(window, field) for field in top.all(1)[:8] if field.stop <= window.size]
    for node in nodes:
        if not node.whole or not consists(node, NODE) or not text(window, node.all(1)):
            return None
        if not text(window, node.all(2)).isidentifier():
            return None
    return Found("graphdef") if nodes else None


def caffe(window: Window, top: Message) -> Found | None:
    if not top.numbers() <= {1, 2, 3, 4, 5, 6, 7, 8, 100}:
        return None
    layers = [inner(window, field) for field in top.all(100)[:8] if field.stop <= window.size]
    old = [inner(window, field) for field in top.all(2)[:8] if field.stop <= window.size]
    named = all(text(window, layer.all(1)) and text(window, layer.all(2)).isidentifier() for layer in layers)
    numbered = all(text(window, layer.all(4)) and layer.all(5, VARINT) for layer in old)
    name = text(window, top.all(1))
    return Found("caffe", (name,) if name else ()) if (layers or old) and named and numbered else None


def paddle(window: Window, top: Message) -> Found | None:
    blocks = [inner(window, field) for field in top.all(1)[:8] if field.stop <= window.size]
    if not blocks or not top.numbers() <= {1, 4, 5} or any(field.wire != BYTES for field in top.fields):
        return None
    numbered = all(block.all(1, VARINT) and block.all(2, VARINT) for block in blocks)
    filled = any(block.all(3) and block.all(4) for block in blocks)
    return Found("paddle") if numbered and filled and blocks[0].all(1, VARINT)[0].value == 0 else None
