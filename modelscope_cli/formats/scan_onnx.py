"""ONNX: its operators by domain, and where the data of its tensors lie if not in the file.

    ModelProto     7 graph   14 metadata_props (1 key, 2 value)   20 training_info (1, 2 graphs)   25 functions (1 name, 7 nodes, 10 domain)
    GraphProto     1 nodes   5 initializers   15 sparse initializers (1 values, 2 indices)
    NodeProto      3 name   4 op_type   5 attributes (5, 10 tensors   6, 11 graphs   22, 23 sparse tensors)   7 domain
    TensorProto    1 dims   2 data_type   8 name   13 external_data (1 key, 2 value)                onnx.proto3

External data are a path, an offset and a length that loaders believed: CVE-2022-25882 and CVE-2024-27318 read files outside of the
model's folder, CVE-2025-51480 wrote them. ONNX Runtime and OpenVINO keep a location for what lies in memory, whose offset is an address
(onnxruntime/core/framework/tensorprotoutils.h; openvino, frontends/onnx, tensor_external_data.hpp). Metadata are texts, some of which
YOLOv5 and ultralytics up to 8.3 evaluate (scan_evaluated).
"""

from __future__ import annotations

import math
from typing import Any

from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_evaluated import value_of_key
from modelscope_cli.formats.scan_graphs import Collected, leads_out, text_of, texts_of
from modelscope_cli.formats.wire import TOO_MANY, Kept, Shape, walk

STANDARD = "ai.onnx"  # the domain that is written as nothing
IN_MEMORY = "_ORT_MEM_ADDR_"
FARTHEST = 1 << 50  # bytes: no file is so long
MOST_TYPES = 31  # TensorProto.DataType goes to 26 (ONNX 1.20)
MOST_PLACES = 1_000  # of external data that are remembered, of each kind
LONGEST = 120  # characters of a name or path that are shown
# The attributes that say what an operator runs.
TELLING = {
    "PyOp": ("module", "class_name"), "PythonOp": ("func_name", "name"), "PythonOpGrad": ("func_name", "name"), "ATen": ("operator",),
    "EPContext": ("ep_cache_context",),
}  # fmt: skip

_ENTRY = Shape("entry", texts=(1, 2), joined=True)
_TENSOR = Shape("tensor", texts=(8,), numbers=(1, 2), inside={13: _ENTRY})
_SPARSE = Shape("sparse tensor", inside={1: _TENSOR, 2: _TENSOR})
_GRAPH = Shape("graph")
_ATTRIBUTE = Shape("attribute", inside={5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE})
_NODE = Shape("node", texts=(3, 4, 7), inside={5: _ATTRIBUTE})
_GRAPH.also(1, _NODE)
_GRAPH.also(5, _TENSOR)
_GRAPH.also(15, _SPARSE)
_FUNCTION = Shape("function", texts=(1, 10), inside={7: _NODE, 11: _ATTRIBUTE})
_PROPERTY = Shape("property", texts=(1,), ranges=(2,))
_MODEL = Shape("model", inside={7: _GRAPH, 14: _PROPERTY, 20: Shape("training", inside={1: _GRAPH, 2: _GRAPH}), 25: _FUNCTION})
_DETAILS = Shape("node", inside={5: Shape("attribute", texts=(1, 4), numbers=(3,), joined=True)})


class _Place:
    """Where some tensors lie: how many, the first of them, and its entries."""

    def __init__(self, tensor: str, offset: int):
        self.tensor = tensor
        self.offset = offset
        self.count = 0


class _Reading:
    """What is found while a model is walked."""

    def __init__(self, found: Collected, window: Window):
        self.found = found
        self.window = window
        self.functions: set[tuple[str, str]] = set()
        self.places: dict[tuple[str, str], _Place] = {}
        self.remembered: dict[str, int] = {}  # how many of them, by code
        self.characters = found.limits.searched_bytes  # of metadata that may still be read

    def tell(self, shape: str, kept: Kept, start: int, stop: int) -> None:
        if shape == "node":
            self.node(kept, start, stop)
        elif shape == "tensor":
            self.extent(kept)
            if 13 in kept:
                self.tensor(kept, start)
        elif shape == "property":
            self.property(kept)
        elif shape == "function":
            self.functions |= {
                (domain or STANDARD, name) for name in texts_of(kept, 1) for domain in texts_of(kept, 10) or [""]
            }
        if TOO_MANY in kept:
            self.found.unseen("a field that is given more often than is kept")

    def node(self, kept: Kept, start: int, stop: int) -> None:
        """Every name that is given as its operator, of every domain that is given: a parser takes the last of them."""
        names = kept.get(4, (b"",))
        domains = kept.get(7, (b"",))
        for name in names:
            for domain in domains:
                operator = name.decode("utf-8", "replace")
                detail = self.details(operator, start, stop) if operator in TELLING and self.found.looks_closer() else ()
                node = kept[3][-1].decode("utf-8", "replace") if 3 in kept else ""
                self.found.add(domain.decode("utf-8", "replace") or STANDARD, operator, start, node=node, detail=detail)

    def details(self, operator: str, start: int, stop: int) -> tuple[str, ...]:
        """The attributes of a node that say what it runs."""
        attributes: dict[str, Any] = {}

        def tell(shape: str, kept: Kept, start: int, stop: int) -> None:
            for attribute in kept.get(5, ()):
                numbers = attribute.get(3)
                attributes[text_of(attribute, 1)] = text_of(attribute, 4) or (numbers[-1] if numbers else "")

        walk(self.window, _DETAILS, tell, 100_000, start, stop)
        if operator == "EPContext" and attributes.get("embed_mode", 1) != 0:
            return ()
        said = ".".join(str(attributes[name]) for name in TELLING[operator] if attributes.get(name))
        if operator == "EPContext" and (wrong := leads_out(said)):
            self.found.sign("external-path", f"a compiled part of the model should lie in {said[:LONGEST]!r}, {wrong}", start)
        return self.found.detail([said])

    def property(self, kept: Kept) -> None:
        """A text of the metadata, under every key that is given for it."""
        for begin, after in kept.get(2, ()):
            length = min(after - begin, max(0, self.characters))
            self.characters -= length
            if length < after - begin:
                self.found.unseen("texts of the metadata beyond a limit (--limit searched_bytes=N)")
            text = self.window.read(begin, length).decode("utf-8", "replace")
            for key in texts_of(kept, 1) or [""]:
                value_of_key(self.found.scan, self.found.where, key, text)

    def extent(self, kept: Kept) -> None:
        """A tensor that no file can hold, or of no type that ONNX has: whoever reads it goes by something else than we do."""
        name = text_of(kept, 8)[:LONGEST]
        if any([kind > MOST_TYPES for kind in kept.get(2, ())]):
            self.found.unseen(f"the tensor {name!r} has element type {max(kept[2])}, which ONNX does not have")
        if math.prod(kept.get(1, ())) > FARTHEST:
            self.found.unseen(f"the tensor {name!r} has more elements than any file holds")

    def tensor(self, kept: Kept, start: int) -> None:
        """The external data of a tensor, whether or not it says that it has them."""
        entries = [(key, value) for entry in kept[13] for key in texts_of(entry, 1) for value in texts_of(entry, 2)]
        for key, value in entries:
            if key == "location" and IN_MEMORY in value:
                self.place(
                    "external-address",
                    f"{value[:LONGEST]!r}, which is no file: its offset would be an address in memory",
                    kept,
                    start,
                )
            elif key == "location" and (wrong := leads_out(value)):
                self.place("external-path", f"{value[:LONGEST]!r}, {wrong}", kept, start)
            elif key in ("offset", "length") and not (
                value.isascii() and value.isdigit() and len(value) < 20 and int(value) < FARTHEST
            ):
                self.place("external-range", f"a file from a place on that is none: {key} {value[:LONGEST]!r}", kept, start)

    def place(self, code: str, said: str, kept: Kept, start: int) -> None:
        known = self.places.get((code, said))
        if known is None and self.remembered.get(code, 0) < MOST_PLACES:
            self.remembered[code] = self.remembered.get(code, 0) + 1
            known = self.places[code, said] = _Place(text_of(kept, 8), start)
        if known is not None:
            known.count += 1

    def finish(self) -> None:
        for (code, said), place in self.places.items():
            others = f" and {place.count - 1:,} more" if place.count > 1 else ""
            self.found.sign(
                code, f"the data of the tensor {place.tensor[:LONGEST]!r}{others} should lie in {said}", place.offset
            )
        self.found.hand_on(frozenset(self.functions))


def scan_onnx(found: Collected, window: Window, *, tensor: bool = False) -> None:
    """Walk a model, or a tensor by itself."""
    reading = _Reading(found, window)
    try:
        found.follow(window, _TENSOR if tensor else _MODEL, reading.tell)
    finally:  # the time may be up: what was found until then counts
        reading.finish()
