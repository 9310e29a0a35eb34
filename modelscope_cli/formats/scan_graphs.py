"""Models that are graphs of operators, in protocol buffers and flatbuffers: which operators they have, and what leads out of the file.

    ONNX            ModelProto, TensorProto                       scan_onnx
    TensorFlow      SavedModel, MetaGraphDef, GraphDef, keras_metadata.pb     scan_tensorflow; as text scan_pbtxt
    TensorFlow Lite, Circle                                       scan_tflite
    Core ML         custom layers and models                      here

Such a file is no program of the machine: what it can do is what its operators do. They are handed on by name and judged later
(analysis/policy_operators). What a file is its content decides; a TensorFlow loader takes it by its name, so under a name that one
opens it is walked as what that loader would see, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelscope_cli.core.scanned import UNTOLD, Operator
from modelscope_cli.core.window import Window
from modelscope_cli.formats.wire import TOO_MANY, Kept, Shape, Told, walk

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

FIELDS = 5  # times opcodes: fields of all messages of one file together
MOST_DETAILS = 10_000  # nodes of operators whose attributes decide that are looked at closer
MOST_VALUES, LONGEST_VALUE = 64, 120  # of an attribute, and characters of each: what decides stands at the beginning
FLATBUFFERS = (b"TFL3", b"CIR0")
ONNX_KINDS = ("onnx", "onnx-tensor")
TENSORFLOW_KINDS = ("savedmodel", "metagraph", "graphdef", "keras-metadata")
PLAIN = ("tf-checkpoint",)  # places of tensors, by content, and nothing else
BY_NAME = {"saved_model.pb": "savedmodel", "keras_metadata.pb": "keras-metadata"}
BY_SUFFIX = {".onnx": "onnx", ".meta": "metagraph", ".pb": "graphdef"}

_PARAMETERS = Shape("custom layer", texts=(10,))
_LAYER = Shape("layer", inside={500: _PARAMETERS})
_NETWORK = Shape("network", inside={1: _LAYER})
_LAYER.also(605, Shape("branch", inside={1: _NETWORK, 2: _NETWORK}))
_LAYER.also(615, Shape("loop", inside={3: _NETWORK, 4: _NETWORK}))
_COREML = Shape("core ml", inside={303: _NETWORK, 403: _NETWORK, 500: _NETWORK, 555: Shape("custom model", texts=(1,))})
_PIPELINE = Shape("pipeline", inside={1: _COREML})
_COREML.also(202, _PIPELINE)
_COREML.also(200, Shape("classifier", inside={1: _PIPELINE}))
_COREML.also(201, Shape("regressor", inside={1: _PIPELINE}))


class Kind:
    """A kind of operator while it is counted."""

    __slots__ = ("node", "nodes", "offset")

    def __init__(self, offset: int, node: str, nodes: int):
        self.nodes = nodes
        self.offset = offset
        self.node = node


class Collected:
    """The operators of one file, each kind once. `guess`: it was walked as something that it may not be."""

    def __init__(self, scan: Walk, where: str, *, guess: bool = False):
        self.scan = scan
        self.where = where
        self.guess = guess
        self.limits = scan.limits
        self.fields = FIELDS * self.limits.opcodes
        self.closer = MOST_DETAILS
        self.crowded = False
        self.found: dict[tuple[str, str, tuple[str, ...]], Kind] = {}

    def add(
        self, library: str, name: str, offset: int, *, node: str = "", detail: tuple[str, ...] = (), nodes: int = 1
    ) -> None:
        """Note an operator where it stands, or where the first of several does."""
        known = self.found.get((library, name, detail))
        if known is not None:
            known.nodes += nodes
        elif len(self.found) < self.limits.imports:
            self.found[library, name, detail] = Kind(offset, node, nodes)
        else:
            self.too_many()

    def too_many(self) -> None:
        """Say that there are more kinds of operators than are judged."""
        if not self.guess and not self.crowded:
            self.crowded = True
            self.sign("too-many-names", f"more than {self.limits.imports:,} kinds of operators: those beyond are not judged", 0)

    def looks_closer(self) -> bool:
        """Whether the attributes of one more node may be looked at."""
        if not self.closer:
            self.unseen(f"attributes of nodes beyond the first {MOST_DETAILS:,} whose attributes matter")
            return False
        self.closer -= 1
        return True

    def detail(self, values: Iterable[str], *, all_told: bool = True) -> tuple[str, ...]:
        """The values of an attribute as they are kept: each shortened, so many of them, and whether these are all."""
        told = dict.fromkeys(value[:LONGEST_VALUE] for value in values if value)
        whole = all_told and len(told) <= MOST_VALUES
        return (*list(told)[:MOST_VALUES], *(() if whole else (UNTOLD,)))

    def unseen(self, why: str, *, quiet: bool = False) -> None:
        if not self.guess:
            self.scan.unseen(self.where, why, quiet=quiet)

    def sign(self, code: str, message: str, offset: int) -> None:
        self.scan.sign(code, self.where, message, offset)

    def follow(self, window: Window, shape: Shape, tell: Told) -> None:
        """Walk a file; what kept it from being walked to its end is said."""
        seen, trouble = walk(window, shape, tell, self.fields, deepest=self.limits.nesting)
        self.fields -= min(seen, self.fields)
        if trouble is not None:
            raised = f" (--limit {trouble.limit}=N)" if trouble.limit else ""
            self.unseen(f"what follows byte {trouble.offset:,}: {trouble.message}{raised}")

    def hand_on(self, defined: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Give what was found to the scan. `defined` are operators that the model brings as graphs of its own."""
        for (library, name, detail), kind in self.found.items():
            own = (library, name) in defined
            operator = Operator(self.where, library, name, kind.offset, kind.nodes, kind.node, detail, own, self.guess)
            self.scan.found.operators.append(operator)


def text_of(kept: Kept, number: int) -> str:
    """What a parser takes of a text: the last that is given."""
    values = kept.get(number)
    return values[-1].decode("utf-8", "replace") if values else ""


def texts_of(kept: Kept, number: int) -> list[str]:
    """All that were given."""
    return [value.decode("utf-8", "replace") for value in kept.get(number, ())]


def scan_graph(scan: Walk, window: Window, where: str, head: bytes) -> bool:
    """Look at a model of this kind. Returns whether it is one."""
    if head[4:8] in FLATBUFFERS:
        from modelscope_cli.formats.scan_tflite import scan_tflite

        scan_tflite(Collected(scan, where), window)
        _looked(scan, where)
        return True
    kind = kind_of(window, head)
    leaf = os.path.basename(where or window.name).lower()
    named = BY_NAME.get(leaf) or BY_SUFFIX.get(os.path.splitext(leaf)[1], "")
    known = kind in PLAIN or _scan_kind(Collected(scan, where), window, kind)
    if named and named != kind and head[:1] and head[0] & 7 in (0, 1, 2, 3, 5) and head[0] >> 3:
        found = Collected(scan, where, guess=True)
        others = TENSORFLOW_KINDS[:3] if named == "graphdef" else (named,)
        for other in others:
            if other != kind:
                _scan_kind(found, window, other)
                found = Collected(scan, where, guess=True)
    if known:
        _looked(scan, where)
    return known


def scan_graph_text(scan: Walk, window: Window, where: str) -> bool:
    """Look at a graph of TensorFlow that is written as text. Returns whether it is one."""
    from modelscope_cli.formats.scan_pbtxt import scan_pbtxt

    known = scan_pbtxt(Collected(scan, where), window)
    if known:
        _looked(scan, where)
    return known


def kind_of(window: Window, head: bytes) -> str:
    """The kind of known_kinds that the content tells, of those that are looked at here or hold nothing but numbers; else ""."""
    from modelscope_cli.formats import known_binary, known_protobuf

    found = known_protobuf.look(window, head) or known_binary.tensor_bundle(window, head)
    return found.kind if found is not None else ""


def _scan_kind(found: Collected, window: Window, kind: str) -> bool:
    if kind in ONNX_KINDS:
        from modelscope_cli.formats.scan_onnx import scan_onnx

        scan_onnx(found, window, tensor=kind == "onnx-tensor")
    elif kind in TENSORFLOW_KINDS:
        from modelscope_cli.formats.scan_tensorflow import scan_tensorflow

        scan_tensorflow(found, window, kind)
    elif kind == "coreml":
        _scan_coreml(found, window)
    else:
        return False
    return True


def _scan_coreml(found: Collected, window: Window) -> None:
    """Layers and models of which Core ML makes a class of the program by its name; Model.proto, NeuralNetwork.proto of coremltools."""

    def tell(shape: str, kept: Kept, start: int, stop: int) -> None:
        if shape in ("custom layer", "custom model"):
            for name in texts_of(kept, 10 if shape == "custom layer" else 1) or [""]:
                found.add("coreml.custom", name, start)
        if TOO_MANY in kept:
            found.unseen("a class name that is given more often than is kept")

    found.follow(window, _COREML, tell)
    found.hand_on()


def _looked(scan: Walk, where: str) -> None:
    scan.found.looked = scan.found.looked or not where


def leads_out(path: str) -> str:
    """What is wrong with the name of a file that should lie beside the model or below; "" where nothing is."""
    if not path.isprintable():
        return "which holds control characters"
    if "://" in path:
        return "an address and no file beside the model"
    if path.startswith(("/", "\\")) or (path[:1].isascii() and path[:1].isalpha() and path[1:2] == ":"):
        return "an absolute path"
    if any(part.strip() == ".." for part in path.replace("\\", "/").split("/")):
        return "which goes up by '..'"
    return ""
