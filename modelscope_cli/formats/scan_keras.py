"""What a Keras configuration would run: Lambda layers, and objects that it asks to be imported.

    {"module": "keras.layers", "class_name": "Dense", "config": {...}, "registered_name": null}
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}      a function, by its name

In a `.keras` archive the configuration is a JSON file; in HDF5 it is a text somewhere in the file (the attribute `model_config`), which
is searched for, because HDF5 itself is not read here. The names are judged later, as those of other configurations are: a module and
a name of any library (CVE-2025-1550), or functions of Keras itself (CVE-2025-8747, CVE-2025-9906). Keras before 3.9 takes the
registered name if the module has no other, and joins module and name, so that either can hold the dots.

Facts: keras/src/saving/serialization_lib.py (_retrieve_class_or_fn, __typespec__); CVE-2024-3660 (Lambda layers), CVE-2025-12058
(vocabularies by path or address). TFOpLambda, ordinary in Keras 2, names a function of TensorFlow and has no code:
keras/layers/core/tf_op_layer.py. HDF5 that PyTables wrote (pandas.to_hdf) can hold pickles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import KERAS
from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_names import add_name, objects_in

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LAMBDAS = ("Lambda", "__lambda__")
OWN = re.compile(r"(?:keras|tf_keras|tensorflow)(?:\.|\Z)")
TF_OPERATION = "TFOpLambda"
LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")
OUTSIDE = re.compile(r"[/\\~]|[A-Za-z][\w+.-]*:|.*\.\.")
HDF5_TIMES = 128  # so many times searched_bytes are searched for a configuration
PIECE, OVERLAP = 1 << 20, 1 << 11
LAMBDA = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
MODULE = re.compile(rb'"module"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
NAMED = re.compile(rb'"(?:class_name|config|registered_name|spec_name)"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
NEAR = 600  # bytes before and behind a module in which its name is looked for, where the JSON cannot be taken apart
BEGIN = re.compile(rb'\{\s*"(?:module|class_name|config|registered_name|build_config|name)"\s*:')
MOST_TRIED = 200  # places of an HDF5 file where a configuration may begin
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
    layers: set[str] = set()
    operations: set[str] = set()
    for name, config in _look_up(walk, where, document):
        if name in LAMBDAS:
            layers.add(name)
        called = config.get("function") if name == TF_OPERATION and isinstance(config, dict) else None
        if isinstance(called, str) and TOUCHES.match(called):
            operations.add(called)
    if layers:
        what = " whose code, marshalled Python, stands in the file: loading without safe_mode runs it"
        said = f"a Lambda layer{what if '__lambda__' in layers else ': it is made of Python code that loading runs'}"
        walk.sign("keras-lambda", where, said)
    _operations(walk, where, operations)


def _look_up(walk: Walk, where: str, document: Any) -> list[tuple[str, Any]]:
    """Keep the names that Keras looks up for a document. Returns the class and the configuration of each object in it."""
    found: list[tuple[str, Any]] = []
    outside: set[str] = set()
    for node in objects_in(walk, where, document):
        name, config = node.get("class_name"), node.get("config")
        if not isinstance(name, str) or "config" not in node:
            continue
        found.append((name, config))
        words = config.get("vocabulary") if name in LOOKUPS and isinstance(config, dict) else None
        if isinstance(words, str) and OUTSIDE.match(words):
            outside.add(f"{words[:80]} ({name})")
        for asked in _imports(node, name, config):
            add_name(walk, where, asked, KERAS)
    if outside:
        walk.sign("keras-operation", where, f"its configuration has words read from {', '.join(sorted(outside)[:4])}")
    return found


def _imports(node: dict[str, Any], name: str, config: Any) -> Iterator[str]:
    """The names that Keras would look up for an object."""
    module = node.get("module")
    if not isinstance(module, str) or not module or (name in LAMBDAS and OWN.match(module)):
        return
    names = [config if name == "function" else name, node.get("registered_name"), node.get("spec_name")]
    for each in dict.fromkeys(each for each in names if isinstance(each, str)):
        if each and ">" not in each and (each != "function" or name != "function"):
            yield f"{module}.{each}"


def _operations(walk: Walk, where: str, names: set[str]) -> None:
    if names:
        shown = ", ".join(sorted(names)[:4])
        walk.sign(
            "keras-operation", where, f"its configuration calls TensorFlow's {shown}, which touches files or runs other code"
        )


def scan_hdf5(walk: Walk, window: Window, where: str) -> None:
    """The same in HDF5, searched for as text."""
    walk.found.looked = walk.found.looked or not where
    texts = _Texts(walk, window, where)
    previous = b""
    length = min(window.size, HDF5_TIMES * walk.limits.searched_bytes)
    operations: set[str] = set()
    lambdas = escaped = tables = False
    for start in range(0, length, PIECE):
        piece = previous + window.read(start, min(PIECE, length - start))
        if b'"class_name"' in piece or b'"module"' in piece:
            lambdas = lambdas or LAMBDA.search(piece) is not None
            operations |= {match[1].decode() for match in OPERATION.finditer(piece)}
            texts.look(piece, start - len(previous))
        escaped = escaped or (b"\\u00" in piece and ESCAPED.search(piece) is not None)
        tables = tables or PYTABLES in piece
        previous = piece[-OVERLAP:]
    if lambdas:
        walk.sign("keras-lambda", where, "a Lambda layer: it is made of Python code, marshalled in the file, that loading runs")
    if escaped:
        walk.sign("escaped-text", where, "JSON in it writes plain letters as \\u00.. escapes, which hides words from a search")
    _operations(walk, where, operations)
    if tables:
        walk.unseen(where, "tables as PyTables and pandas write them: objects in them are pickles, which are not looked for")
    if window.size > length:
        said = f"what follows the first {length:,} bytes, where a Keras configuration could be"
        walk.unseen(where, f"{said} (--limit searched_bytes=N)")


class _Texts:
    """Configurations between other bytes. What is JSON is taken apart as in an archive, of the rest all that could be a name counts."""

    def __init__(self, walk: Walk, window: Window, where: str):
        self.walk = walk
        self.window = window
        self.where = where
        self.end = 0  # of the last one that was taken apart
        self.tried = 0  # where the last one was tried
        self.tries = MOST_TRIED
        self.budget = 4 * walk.limits.searched_bytes

    def look(self, piece: bytes, base: int) -> None:
        """Look at a piece of the file that begins at `base`, which overlaps the one before."""
        for match in BEGIN.finditer(piece):
            at = base + match.start()
            if at >= max(self.end, self.tried) and self.tries > 0 and self.budget > 0:
                self._take(at)
        for match in MODULE.finditer(piece):
            if base + match.start() >= self.end:
                near = piece[max(0, match.start() - NEAR) : match.end() + NEAR]
                for name in {named[1].decode() for named in NAMED.finditer(near)}:
                    add_name(self.walk, self.where, f"{match[1].decode()}.{name}", KERAS)

    def _take(self, at: int) -> None:
        """Take a configuration apart that begins there, if it is JSON to its end."""
        self.tries -= 1
        self.tried = at + 1
        size = min(self.window.size - at, self.walk.limits.searched_bytes, self.budget)
        text = self.window.read(at, size).decode("latin-1")  # a character a byte, so that places are those of the file
        try:
            document, end = json.JSONDecoder(strict=False).raw_decode(text)
        except json.JSONDecodeError as problem:
            self.budget -= problem.pos
            return
        except RecursionError:
            self.budget -= size
            return
        self.budget -= end
        self.end = at + end
        _look_up(self.walk, self.where, document)
