"""What a Keras configuration would run: Lambda layers, and objects that it asks to be imported.

In a `.keras` archive the configuration is a JSON file; in HDF5 it is a text somewhere in the file (the attribute `model_config`), which
is searched for, because HDF5 itself is not read here. Facts: keras/src/saving/serialization_lib.py; CVE-2024-3660 (Lambda layers),
CVE-2025-1550 (a module and a name of any library, called with what the configuration says). TFOpLambda, ordinary in Keras 2, names a
function of TensorFlow and has no code: keras/layers/core/tf_op_layer.py. HDF5 that PyTables wrote (pandas.to_hdf) can hold pickles.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.window import Window

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LAMBDAS = ("Lambda", "__lambda__")
TF_OPERATION = "TFOpLambda"
HDF5_TIMES = 128  # so many times searched_bytes are searched for a configuration
PIECE, OVERLAP = 1 << 20, 512
LAMBDA = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
MODULE = re.compile(rb'"module"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
# Functions of TensorFlow that touch files, load libraries or call Python.
TOUCHING = (
    r"(?:io\.|raw_ops\.(?:Read|Write|Save|Restore|Eager)|load_|py_func|numpy_function|sysconfig|data\.|saved_model\.)[\w.]*"
)
TOUCHES = re.compile(TOUCHING)
OPERATION = re.compile(rb'"TFOpLambda".{0,300}?"function"\s*:\s*"(' + TOUCHING.encode() + rb')"', re.DOTALL)
PYTABLES = b"PYTABLES_FORMAT_VERSION"
# Letters of ASCII written as escapes: json.dumps never does, and who searches for words misses them.
ESCAPED = re.compile(rb'"[ -!#-\[\]-~]{0,64}\\u00[2-7][0-9A-Fa-f][^"]{0,64}"')


def scan_layers(walk: Walk, where: str, document: Any) -> None:
    """The layers of a configuration, wherever they are in a JSON document."""
    waiting, seen = [document], 0
    layers: set[str] = set()
    modules: set[str] = set()
    operations: set[str] = set()
    most = 2 * walk.limits.objects
    while waiting and seen < most:
        node = waiting.pop()
        seen += 1
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            name, module = node.get("class_name"), node.get("module")
            if isinstance(name, str) and "config" in node:
                if name in LAMBDAS:
                    layers.add(name)
                called = node["config"].get("function") if name == TF_OPERATION and isinstance(node["config"], dict) else None
                if isinstance(called, str) and TOUCHES.match(called):
                    operations.add(called)
                if isinstance(module, str) and is_standard(module):
                    modules.add(
                        f"{module}.{node['config'] if name == 'function' and isinstance(node['config'], str) else name}"
                    )
            waiting += node.values()
    if layers:
        marshalled = "__lambda__" in layers
        what = "whose code, marshalled Python, stands in the file: loading without safe_mode runs it" if marshalled else ""
        walk.sign(
            "keras-lambda", where, f"a Lambda layer{' ' + what if what else ': it is made of Python code that loading runs'}"
        )
    if modules:
        _imports(walk, where, modules)
    if operations:
        _operations(walk, where, operations)
    if waiting:
        walk.unseen(where, f"what follows the first {most:,} values of a JSON document (--limit objects=N)")


def is_standard(module: str) -> bool:
    """Whether a module is one of Python's own: Keras keeps none of its layers there."""
    return module.partition(".")[0] in sys.stdlib_module_names


def _imports(walk: Walk, where: str, names: set[str]) -> None:
    shown = ", ".join(sorted(names)[:4])
    walk.sign(
        "keras-import", where, f"its configuration asks for {shown}, of Python's standard library: Keras before 3.9 calls it"
    )


def _operations(walk: Walk, where: str, names: set[str]) -> None:
    shown = ", ".join(sorted(names)[:4])
    walk.sign("keras-operation", where, f"its configuration calls TensorFlow's {shown}, which touches files or runs other code")


def scan_hdf5(walk: Walk, window: Window, where: str) -> None:
    """The same in HDF5, searched for as text."""
    walk.found.looked = walk.found.looked or not where
    previous = b""
    length = min(window.size, HDF5_TIMES * walk.limits.searched_bytes)
    modules: set[str] = set()
    operations: set[str] = set()
    lambdas = escaped = tables = False
    for start in range(0, length, PIECE):
        piece = previous + window.read(start, min(PIECE, length - start))
        if b'"class_name"' in piece or b'"module"' in piece:
            lambdas = lambdas or LAMBDA.search(piece) is not None
            found = {match[1].decode() for match in MODULE.finditer(piece)}
            modules |= {module for module in found if is_standard(module)}
            operations |= {match[1].decode() for match in OPERATION.finditer(piece)}
        escaped = escaped or (b"\\u00" in piece and ESCAPED.search(piece) is not None)
        tables = tables or PYTABLES in piece
        previous = piece[-OVERLAP:]
    if lambdas:
        walk.sign("keras-lambda", where, "a Lambda layer: it is made of Python code, marshalled in the file, that loading runs")
    if modules:
        _imports(walk, where, modules)
    if escaped:
        walk.sign("escaped-text", where, "JSON in it writes plain letters as \\u00.. escapes, which hides words from a search")
    if operations:
        _operations(walk, where, operations)
    if tables:
        walk.unseen(where, "tables as PyTables and pandas write them: objects in them are pickles, which are not looked for")
    if window.size > length:
        said = f"what follows the first {length:,} bytes, where a Keras configuration could be"
        walk.unseen(where, f"{said} (--limit searched_bytes=N)")
