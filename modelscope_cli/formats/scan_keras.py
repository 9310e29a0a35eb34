"""What a Keras configuration would run: Lambda layers, and objects that it asks to be imported.

    {"module": "keras.layers", "class_name": "Dense", "config": {...}, "registered_name": null}
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}      a function, by its name

In a `.keras` archive the configuration is a JSON file; in HDF5 it is a text somewhere in the file (the attribute `model_config`), which
is searched for (keras_texts), because HDF5 itself is not read here. The names are judged later, as those of other configurations are:
a module and a name of any library (CVE-2025-1550), or functions of Keras itself (CVE-2025-8747, CVE-2025-9906). Keras before 3.9 takes
the registered name if the module has no other, and joins module and name, so that either can hold the dots.

Facts: keras/src/saving/serialization_lib.py (_retrieve_class_or_fn, __typespec__); CVE-2024-3660 (Lambda layers), CVE-2025-12058
(vocabularies by path or address). Layers that name a function of TensorFlow: keras_operations. HDF5 that PyTables wrote (pandas.to_hdf)
can hold pickles, and data of any HDF5 can lie in other files: hdf5_outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import KERAS
from modelscope_cli.core.window import Window
from modelscope_cli.formats.keras_operations import LAYERS, Operations, given_in
from modelscope_cli.formats.keras_texts import OVERLAP, PIECE, Texts
from modelscope_cli.formats.scan_names import add_name, objects_in

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LAMBDAS = ("Lambda", "__lambda__")
OWN = re.compile(r"(?:keras|tf_keras|tensorflow)(?:\.|\Z)")
LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")
WORDS_OF_COLUMNS = "vocabulary_file"
OUTSIDE = re.compile(r"[/\\~]|[A-Za-z][\w+.-]*:|.*\.\.")
MOST_TOLD = 1_000  # lists of words
HDF5_TIMES = 128  # so many times searched_bytes are searched for a configuration
PYTABLES = b"PYTABLES_FORMAT_VERSION"


def scan_layers(walk: Walk, where: str, document: Any) -> None:
    """All that a configuration asks for, wherever its objects are in a JSON document."""
    layers = Layers(walk, where)
    layers.look(document)
    layers.tell()


class Layers:
    """What the configurations of one file ask for."""

    def __init__(self, walk: Walk, where: str):
        self.walk = walk
        self.where = where
        self.lambdas: set[str] = set()
        self.outside: set[str] = set()
        self.operations = Operations(walk, where)

    def look(self, document: Any) -> None:
        """Judge every object of a document."""
        nodes = objects_in(self.walk, self.where, document)
        given = given_in(nodes)
        for node in nodes:
            name, config = node.get("class_name"), node.get("config")
            if not isinstance(name, str) or "config" not in node:
                continue
            if name in LAMBDAS:
                self.lambdas.add(name)
            for kind in sorted(_last_names(node) & LAYERS):
                self.operations.look(kind, config, given)
                self._words(kind, (*given("vocabulary"), *given(WORDS_OF_COLUMNS)))  # arguments of a call
            if isinstance(config, dict):
                self._words(name, (config.get("vocabulary") if name in LOOKUPS else None, config.get(WORDS_OF_COLUMNS)))
            for asked in _imports(node, name, config):
                add_name(self.walk, self.where, asked, KERAS)

    def has_lambda(self) -> None:
        """Take note of a Lambda layer that was found as text."""
        self.lambdas.add(LAMBDAS[0])

    def calls(self, function: str) -> None:
        """Take note of a function that was found as text beside a layer that calls one."""
        self.operations.function(function)

    def tell(self) -> None:
        """Say what was found."""
        if self.lambdas:
            what = " whose code, marshalled Python, stands in the file: loading without safe_mode runs it"
            said = f"a Lambda layer{what if '__lambda__' in self.lambdas else ': it is made of Python code that loading runs'}"
            self.walk.sign("keras-lambda", self.where, said)
        if self.outside:
            said = f"its configuration has words read from {', '.join(sorted(self.outside)[:4])}"
            self.walk.sign("keras-operation", self.where, said)
        self.operations.tell()

    def _words(self, name: str, lists: Iterable[Any]) -> None:
        """Lists of words by the path of a file: of lookup layers, and of columns of features."""
        for words in lists:
            if isinstance(words, str) and OUTSIDE.match(words) and len(self.outside) < MOST_TOLD:
                self.outside.add(f"{words[:80]} ({name[:80]})")


def _last_names(node: dict[str, Any]) -> set[str]:
    """The class of an object by each of the names that Keras takes, without the modules before it."""
    names = (node.get("class_name"), node.get("registered_name"), node.get("spec_name"))
    return {name.rpartition(".")[2].rpartition(">")[2] for name in names if isinstance(name, str)}


def _imports(node: dict[str, Any], name: str, config: Any) -> Iterator[str]:
    """The names that Keras would look up for an object."""
    module = node.get("module")
    if not isinstance(module, str) or not module or (name in LAMBDAS and OWN.match(module)):
        return
    names = [config if name == "function" else name, node.get("registered_name"), node.get("spec_name")]
    for each in dict.fromkeys(each for each in names if isinstance(each, str)):
        if each and ">" not in each and (each != "function" or name != "function"):
            yield f"{module}.{each}"


def scan_hdf5(walk: Walk, window: Window, where: str) -> None:
    """The same in HDF5, searched for as text; and what of its data lies in other files."""
    from modelscope_cli.formats.hdf5_outside import Outside

    walk.found.looked = walk.found.looked or not where
    layers = Layers(walk, where)
    texts = Texts(walk, window, where, layers)
    outside = Outside(walk, window, where)
    previous = b""
    length = min(window.size, HDF5_TIMES * walk.limits.searched_bytes)
    tables = False
    try:
        for start in range(0, length, PIECE):
            piece = previous + window.read(start, min(PIECE, length - start))
            base = start - len(previous)
            texts.look(piece, base)
            outside.look(piece, base)
            tables = tables or PYTABLES in piece
            previous = piece[-OVERLAP:]
    finally:  # the time may be up: what was found until then counts
        texts.tell()
        layers.tell()
        outside.tell()
    if tables:
        walk.unseen(where, "tables as PyTables and pandas write them: objects in them are pickles, which are not looked for")
    if window.size > length:
        said = f"what follows the first {length:,} bytes, where a Keras configuration could be"
        walk.unseen(where, f"{said} (--limit searched_bytes=N)")
