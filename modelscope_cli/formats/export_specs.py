"""Descriptions of what a program takes and gives: trees that pytree writes as JSON, in a text of a document.

    [1, {"type": "builtins.tuple", "context": "null", "children_spec": [
        {"type": "builtins.tuple", …},                                                             args
        {"type": "builtins.dict", "context": "[\\"mask\\"]", "children_spec": […]}]}]               kwargs
    "context": "[{\\"__enum__\\": true, \\"fqn\\": \\"shop:Colour\\", \\"name\\": \\"RED\\"}]"    imports shop, takes Colour["RED"]
    "context": {"default_factory_module": "collections", …                      imports collections, for a defaultdict
    "context": "{\\"_t\\": \\"seq\\", \\"p\\": \\"shop.Row\\", \\"v\\": […]}"   imports shop, calls Row with what stands there

A context is JSON in that text again. torch.export has such texts in its programs (in_spec, out_spec), transformers in the manifest
of an export (export.json), and any document may: each is looked through. An item is taken of whatever object the name leads to
(ctypes.cdll["x"] loads a library), so only names of classes are usual, and only items that could be members of an enum.
Facts: torch/utils/_pytree.py (treespec_loads, enum_object_hook, _defaultdict_deserialize), transformers/exporters/metadata.py
(load_treespec), exporter_dynamo.py (_unflatten_from_context).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

WORDS = rb"children_spec|__enum__|default_factory_module"
SAYS_SPECS = re.compile(WORDS + rb"|\\u00(?:[2-6][0-9A-Fa-f]|7[0-9A-Ea-e])")  # or says them behind an escape
DEEPEST_TEXT = 8  # JSON in a text in JSON …: pytree goes two deep
LONGEST_SHOWN = 80
ITEM, FACTORY, MADE, CALLED = "item", "factory", "made", "called"  # what is done with a thing that is named
CLASS = re.compile(r"_*[A-Z]\w*(?:\._*[A-Z]\w*)*")  # or classes in one another
USUAL = re.compile(r"(?:enum|torch|transformers)(?:\.(?!__)\w+)*")
PLAIN = ("builtins", "collections")
CONTAINERS = frozenset(("dict", "frozenset", "list", "set", "tuple", "OrderedDict", "defaultdict", "Counter", "deque"))
FACTORIES = CONTAINERS | {"bool", "bytes", "complex", "float", "int", "object", "str"}
OF_OUTPUTS = re.compile(
    r"_*[A-Z]\w*(?:Output\w*|Cache\w*|Layer\w*|Feature|Encoding|Size)"
)  # classes that are called with their parts
MEMBER = re.compile(r"[\w -]*")  # of an enum
LOADERS = frozenset(
    ("ctypes", "cdll", "oledll", "pydll", "windll", "LibraryLoader")
)  # an item of which is a library that is loaded


class Named(NamedTuple):
    """A thing that a description names, as module:thing, and what is done with it; `item` is the one that is taken of it, if any."""

    how: str
    module: str
    thing: str
    item: Any = None

    def __str__(self) -> str:
        item = f"[{self.item!r}]" if self.how == ITEM else ""
        return f"{self.module}:{self.thing}{item}"[:LONGEST_SHOWN]


def named_in(document: Any, most: int) -> tuple[list[Named], str]:
    """What is imported to read the descriptions in a document, and what of it could not be taken apart, in words."""
    found: list[Named] = []
    waiting: list[tuple[int, bool, Any]] = [(0, False, document)]  # how deep in texts, and whether it is a context
    seen = 0
    left = ""
    while waiting:
        depth, inside, node = waiting.pop()
        seen += 1
        if seen > most:
            return found, f"what follows the first {most:,} values of a description of inputs (--limit objects=N)"
        if isinstance(node, dict):
            found += _of(node, inside)
            spec = "children_spec" in node or "type" in node
            waiting += [(depth, inside or (spec and key == "context"), each) for key, each in node.items() if _may_say(each)]
        elif isinstance(node, list):
            waiting += [(depth, inside, each) for each in node if _may_say(each)]
        elif isinstance(node, str):
            if depth >= DEEPEST_TEXT:
                left = "texts in its description of inputs that are JSON in JSON, too deep"
            else:
                waiting.append((depth + 1, inside, json_of(node)))
    return found, left


def _may_say(node: Any) -> bool:
    """Whether a value can hold a description: a list, a dictionary, or a text that begins as JSON does."""
    return isinstance(node, (list, dict)) or (isinstance(node, str) and node.lstrip()[:1] in ("[", "{", '"'))


def _of(node: dict[Any, Any], inside: bool) -> Iterable[Named]:
    """What one dictionary names; `inside` says that it stands in a context."""
    if "__enum__" in node and "fqn" in node:
        module, _, thing = str(node["fqn"]).partition(":")
        yield Named(ITEM, module, thing, node.get("name", ""))
    if "default_factory_module" in node and "default_factory_name" in node:
        yield Named(FACTORY, str(node["default_factory_module"]), str(node["default_factory_name"]))
    if inside and isinstance(node.get("p"), str) and node.get("_t") in ("map", "obj", "seq", "type"):
        path = node["p"]
        module, _, thing = path.partition(":") if ":" in path else path.rpartition(".")
        made = node["_t"] == "obj" or (node["_t"] == "type" and USUAL.fullmatch(module) is not None)
        yield Named(MADE if made else CALLED, module, thing)


def is_usual(one: Named) -> bool:
    """Whether it is what honest programs name, and does no more than that."""
    if one.how == ITEM and not _is_member(one.item):
        return False
    if one.module in PLAIN:
        return one.how != ITEM and one.thing in (CONTAINERS if one.how == CALLED else FACTORIES)
    if USUAL.fullmatch(one.module) is None:
        return False
    if one.how == CALLED:
        return one.module == "torch.return_types" or OF_OUTPUTS.fullmatch(one.thing) is not None
    return CLASS.fullmatch(one.thing) is not None


def is_forged(one: Named) -> bool:
    """Whether no honest program names it: an item that is no member of an enum, a loader of libraries, what is called and no class."""
    if not LOADERS.isdisjoint(re.split(r"[.:]", f"{one.module}.{one.thing}")):
        return True
    if one.how == ITEM and not _is_member(one.item):
        return True
    if one.module in PLAIN:
        return not is_usual(one) and CLASS.fullmatch(one.thing) is None
    if USUAL.fullmatch(one.module) is not None:  # whose honest things are known to be classes
        return CLASS.fullmatch(one.thing) is None and not is_usual(one)
    return one.how == CALLED and (CLASS.fullmatch(one.thing) is None or one.module.partition(".")[0] in sys.stdlib_module_names)


def _is_member(item: Any) -> bool:
    return isinstance(item, str) and MEMBER.fullmatch(item) is not None


def keywords_of(text: Any) -> Any:
    """The keys of kwargs that a description of inputs has: parameters of forward. None for none."""
    try:
        keywords = json_of(text)[1]["children_spec"][1]
        return json_of(keywords["context"]) if keywords["type"] == "builtins.dict" else None
    except (LookupError, TypeError):
        return None


def json_of(text: Any) -> Any:
    """What a text says as JSON; None for what is none, or goes too deep for Python's reader."""
    import json

    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
