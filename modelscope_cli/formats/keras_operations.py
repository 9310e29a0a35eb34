"""Layers of Keras 2 that call a function, a method or an operator of TensorFlow which their configuration names.

    TFOpLambda, SlicingOpLambda          {"function": "compat.v1.io.write_file"}     a name that TensorFlow publishes
    ClassMethod                          {"cls_symbol": "RaggedTensor", "method_name": "from_row_splits"}
    InstanceMethod, InstanceProperty     {"attr_name": "to_tensor"}                  of whatever the layer is given
    TensorFlowOpLayer                    {"node_def": {"name": "w", "op": "WriteFile", "attr": {...}}}, or a NodeDef's bytes as a text

A layer needs no tensor: its arguments can be constants of the file (`_CONSTANT_VALUE`), and Keras calls it while it builds the model,
in HDF5 whatever safe_mode says. Functions are kept as names below `tensorflow.` and judged as such; those that are an operator, and
those of tf.raw_ops, as the operator.

Facts: keras/layers/core/tf_op_layer.py; keras/engine/base_layer.py (TensorFlowOpLayer); keras/engine/functional.py (process_node);
tensorflow/python/util/tf_export.py.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import KERAS, UNTOLD
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.scan_graphs import Collected
from modelscope_cli.formats.scan_names import add_name
from modelscope_cli.formats.scan_tensorflow import LIBRARY, TELLING, scan_tensorflow

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
ATTRIBUTES = ("InstanceMethod", "InstanceProperty")
METHODS = "ClassMethod"
OPERATOR = "TensorFlowOpLayer"
LAYERS = frozenset((*FUNCTIONS, *ATTRIBUTES, METHODS, OPERATOR))
VERSION = re.compile(r"(?:compat\.v[12]\.)+")
RAW = "raw_ops."
# Functions that are one operator, by the last part of their names.
AS_OPERATORS = {
    "read_file": "ReadFile", "write_file": "WriteFile", "matching_files": "MatchingFiles", "print": "PrintV2", "decode_proto": "DecodeProtoV2",
    "encode_proto": "EncodeProto", "fixed_unigram_candidate_sampler": "FixedUnigramCandidateSampler", "d_tensor_restore_v2": "DTensorRestoreV2",
    "xla_custom_call": "XlaCustomCall", "xla_custom_call_v2": "XlaCustomCallV2", "xla_call_module": "XlaCallModule",
}  # fmt: skip


Given = Callable[[str], Iterable[str]]


def given_in(nodes: list[dict[str, Any]]) -> Given:
    """What objects have under a key: the texts, and UNTOLD for anything else."""
    found: dict[str, list[str]] = {}

    def given(key: str) -> list[str]:
        if key not in found:
            values = [node[key] for node in nodes if node.get(key) is not None]
            found[key] = list(dict.fromkeys(value if isinstance(value, str) else UNTOLD for value in values))
        return found[key]

    return given


class Operations:
    """What the layers of one file call."""

    def __init__(self, walk: Walk, where: str):
        self.walk = walk
        self.where = where
        self.found = Collected(walk, where)

    def look(self, name: str, config: Any, given: Given) -> None:
        """Keep what a layer of this class calls. `given` says what the objects of its document have under a key, arguments among them."""
        if not isinstance(config, dict):
            return
        if name in FUNCTIONS:
            self.function(config.get("function"), given)
        elif name in ATTRIBUTES:
            self._name(config.get("attr_name"), "Tensor.")
        elif name == METHODS:
            owner, method = config.get("cls_symbol"), config.get("method_name")
            if isinstance(owner, str) and isinstance(method, str):
                self._name(f"{owner}.{method}")
            if owner != "RaggedTensor":
                self._name(owner)
        elif name == OPERATOR:
            self._operator(config.get("node_def"))

    def function(self, name: Any, given: Given = lambda key: (UNTOLD,)) -> None:
        """Keep a function that TensorFlow publishes under a name."""
        if not isinstance(name, str):
            return
        name = VERSION.sub("", name, count=1)
        operator = name[len(RAW) :] if name.startswith(RAW) else AS_OPERATORS.get(name.rpartition(".")[2], "")
        if not operator:
            self._name(name)
            return
        detail = given(TELLING[operator]) if operator in TELLING else ()
        self.found.add(LIBRARY, operator, 0, node=f"tf.{name}", detail=self.found.detail(detail))

    def tell(self) -> None:
        """Give the operators to the scan."""
        self.found.hand_on()

    def _name(self, name: Any, below: str = "") -> None:
        if isinstance(name, str) and name:
            add_name(self.walk, self.where, f"tensorflow.{below}{VERSION.sub('', name, count=1)}", KERAS)

    def _operator(self, node: Any) -> None:
        if isinstance(node, str):
            data = node.encode("utf-8", "surrogatepass")
            inside = b"\x0a" + _varint(len(data)) + data  # a graph of this node
            scan_tensorflow(Collected(self.walk, self.where), MemoryWindow(inside, "node_def"), "graphdef")
        elif isinstance(node, dict) and isinstance(node.get("op"), str):
            name, operator = node.get("name"), node["op"]
            values = node.get("attr")
            value = values.get(TELLING[operator]) if isinstance(values, dict) and operator in TELLING else None
            detail = self.found.detail(_texts(value)) if value is not None else ()
            self.found.add(LIBRARY, operator, 0, node=name if isinstance(name, str) else "", detail=detail)


def _texts(value: Any) -> Iterable[str]:
    """The texts of an attribute, which JSON has as base64."""
    if not isinstance(value, dict):
        yield UNTOLD
        return
    inner = value.get("list")
    several = inner.get("s") if isinstance(inner, dict) else None
    for text in [value.get("s"), *(several if isinstance(several, list) else [several])]:
        if text is not None:
            try:
                yield base64.b64decode(text, altchars=b"-_", validate=False).decode("utf-8", "replace")
            except (TypeError, ValueError, binascii.Error):
                yield UNTOLD


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return found + bytes((value,))
