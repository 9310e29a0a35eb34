"""TensorFlow: the operators of SavedModels and graphs, the configuration of Keras layers, and files that a SavedModel names.

    SavedModel        2 MetaGraphDef
    MetaGraphDef      2 GraphDef   4 collections   6 AssetFileDef (2 filename)   7 SavedObjectGraph (1 SavedObject, its 4 SavedUserObject)
    GraphDef          1 NodeDef   2 FunctionDefLibrary (1 FunctionDef, its 3 NodeDef)
    NodeDef           1 name   2 op   5 attr (1 key, 2 AttrValue: 1 list, 2 text, 8 tensor)
    SavedMetadata     1 SavedObject (4 identifier, 5 metadata, JSON of Keras)            keras_metadata.pb, TensorFlow 2.5 to 2.15
                                    tensorflow/core/protobuf, tensorflow/core/framework; keras/protobuf/saved_metadata.proto

Functions are walked like the graph that calls them. DatasetFromGraph runs a graph that stands in a string, where scanners of operators
do not look (huggingface.co/MediumIQ/tfhunt-savedmodel-nested-writefile): where there is one, strings are walked as graphs, too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from modelscope_cli.core.scanned import UNTOLD
from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_graphs import Collected, leads_out, texts_of
from modelscope_cli.formats.wire import TOO_MANY, Kept, Shape, walk

LIBRARY = "tensorflow"
LONGEST = 120
NESTING = "DatasetFromGraph"
PROGRAM = "XlaCallModule"
# The attribute that decides what an operator reaches for.
TELLING = {
    "PrintV2": "output_stream", "ImmutableConst": "memory_region_name", "PyFunc": "token", "PyFuncStateless": "token",
    "EagerPyFunc": "token", "DecodeProtoV2": "descriptor_source", "EncodeProto": "descriptor_source", "DebugIdentity": "debug_urls",
    "DebugIdentityV2": "debug_urls", "DebugIdentityV3": "debug_urls", "DebugNanCount": "debug_urls", "DebugNumericSummary": "debug_urls",
    "FixedUnigramCandidateSampler": "vocab_file",
}  # fmt: skip

_NODE = Shape("node", texts=(1, 2))
_FUNCTIONS = Shape("functions", inside={1: Shape("function", inside={3: _NODE})})
_GRAPH = Shape("graph", inside={1: _NODE, 2: _FUNCTIONS})
_ASSET = Shape("asset", texts=(2,))
_COLLECTION = Shape(
    "collection", inside={2: Shape("values", inside={5: Shape("any", inside={1: Shape("one", inside={2: _ASSET})})})}
)
_OBJECTS = Shape("objects", inside={1: Shape("object", inside={4: Shape("layer", ranges=(3,))})})
_META_GRAPH = Shape("meta graph", inside={2: _GRAPH, 4: _COLLECTION, 6: _ASSET, 7: _OBJECTS})
_ASSET.loose = True  # a collection may hold anything
ROOTS = {
    "graphdef": _GRAPH,
    "metagraph": _META_GRAPH,
    "savedmodel": Shape("saved model", inside={2: _META_GRAPH}),
    "keras-metadata": Shape("keras metadata", inside={1: Shape("layer", ranges=(5,))}),
}
_LIST = Shape("list", texts=(2,), joined=True)
_VALUE = Shape("value", texts=(2,), inside={1: _LIST}, joined=True)
_DETAILS = Shape("node", inside={5: Shape("attribute", texts=(1,), inside={2: _VALUE}, joined=True)})


def _strings_as_graphs() -> dict[str, Shape]:
    """Shapes that look for graphs in the strings of tensors, and in the strings of those."""
    inner = Shape("inner graph", loose=True)
    tensor = Shape("tensor", inside={8: inner})
    value = Shape("value", inside={8: tensor, 1: Shape("list", inside={8: tensor})})
    attribute = Shape("attribute", inside={2: value})
    node = Shape("inner node", texts=(1, 2), inside={5: attribute})
    inner.also(1, node)
    inner.also(2, Shape("functions", inside={1: Shape("function", inside={3: node})}))
    outer = Shape("outer node", inside={5: attribute})
    graph = Shape("graph", inside={1: outer, 2: Shape("functions", inside={1: Shape("function", inside={3: outer})})})
    meta = Shape("meta graph", inside={2: graph})
    return {"graphdef": graph, "metagraph": meta, "savedmodel": Shape("saved model", inside={2: meta})}


class _Reading:
    """What is found while a file is walked."""

    def __init__(self, found: Collected, window: Window):
        self.found = found
        self.window = window
        self.documents: list[Any] = []
        self.held = 0  # bytes of JSON in them
        self.nests = False
        self.program = False

    def tell(self, shape: str, kept: Kept, start: int, stop: int) -> None:
        if shape == "node":
            self.node(kept, start, stop)
        elif shape == "inner node":
            self.inner(kept, start, stop)
        elif shape == "layer":
            for number in (3, 5):
                for place in kept.get(number, ()):
                    self.layer(*place)
        elif shape == "asset":
            for name in texts_of(kept, 2):
                if wrong := leads_out(name):
                    self.found.sign("external-path", f"a file of the model should lie in {name[:LONGEST]!r}, {wrong}", start)
        if TOO_MANY in kept:
            self.found.unseen("a field that is given more often than is kept")

    def node(self, kept: Kept, start: int, stop: int) -> None:
        """Every name that is given as its operator: a parser takes the last."""
        for name in kept.get(2, (b"",)):
            operator = name.decode("utf-8", "replace")
            self.nests = self.nests or operator == NESTING
            self.program = self.program or operator == PROGRAM
            detail = self.details(operator, start, stop)
            node = kept[1][-1].decode("utf-8", "replace") if 1 in kept else ""
            self.found.add(LIBRARY, operator, start, node=node, detail=detail)

    def inner(self, kept: Kept, start: int, stop: int) -> None:
        """The same in what may be a graph and may be any text."""
        for operator in texts_of(kept, 2):
            if operator.isidentifier():
                detail = self.details(operator, start, stop)
                self.found.add(
                    LIBRARY,
                    operator,
                    start,
                    node=f"{texts_of(kept, 1)[-1] if 1 in kept else operator}, of a graph in a string",
                    detail=detail,
                )

    def details(self, operator: str, start: int, stop: int) -> tuple[str, ...]:
        """The texts of the attribute of a node that decides what it reaches for, however often it is given."""
        if operator not in TELLING:
            return ()
        if not self.found.looks_closer():
            return (UNTOLD,)
        said: list[str] = []
        cut = False

        def tell(shape: str, kept: Kept, start: int, stop: int) -> None:
            nonlocal cut
            cut = TOO_MANY in kept
            for attribute in kept.get(5, ()):
                if TELLING[operator] in texts_of(attribute, 1):
                    for value in attribute.get(2, ()):
                        lists = value.get(1, ())
                        said.extend(text for message in (value, *lists) for text in texts_of(message, 2))
                        cut = cut or any(TOO_MANY in message for message in (attribute, value, *lists))

        _, trouble = walk(self.window, _DETAILS, tell, 100_000, start, stop)
        return self.found.detail(said, all_told=trouble is None and not cut)

    def layer(self, start: int, stop: int) -> None:
        """The configuration of a Keras layer."""
        most = self.found.limits.searched_bytes
        if stop - start > most:
            self.found.unseen(f"a configuration of {stop - start:,} bytes, at byte {start:,} (--limit searched_bytes=N)")
            return
        data = self.window.read(start, stop - start)
        if b'"class_name"' not in data and b'"module"' not in data and b"\\u" not in data:
            return
        from modelscope_cli.formats.scan_text import TOO_DEEP, document_of

        document = document_of(data)
        if document is TOO_DEEP:
            self.found.unseen(f"JSON that is nested too deeply, at byte {start:,}")
        elif document is msgspec.UNSET:
            self.found.unseen(f"a configuration that is no JSON, at byte {start:,}", quiet=True)
        else:
            self.held += len(data)
            self.documents.append(document)
            if self.held > most:
                self.layers()

    def layers(self) -> None:
        from modelscope_cli.formats.scan_keras import scan_layers

        scan_layers(self.found.scan, self.found.where, self.documents)
        self.documents, self.held = [], 0


def scan_tensorflow(found: Collected, window: Window, kind: str) -> None:
    """Walk a file of a kind of ROOTS."""
    reading = _Reading(found, window)
    try:
        found.follow(window, ROOTS[kind], reading.tell)
        if reading.nests:
            walk(window, _strings_as_graphs()[kind], reading.tell, found.fields, deepest=found.limits.nesting)
        if reading.documents:
            reading.layers()
    finally:  # the time may be up: what was found until then counts
        found.hand_on()
    if reading.program:
        found.unseen("a program of XLA in it, which TensorFlow compiles: calls in it were not looked at", quiet=True)
