"""Descriptions of what a program of torch.export takes and gives: trees that pytree writes as JSON, in a text of the document.

    [1, {"type": "builtins.tuple", "context": "null", "children_spec": [
        {"type": "builtins.tuple", …},                                                             args
        {"type": "builtins.dict", "context": "[\\"mask\\"]", "children_spec": […]}]}]               kwargs
    "context": "[{\\"__enum__\\": true, \\"fqn\\": \\"shop:Colour\\", …"         imports shop, for a key that is an enum
    "context": {"default_factory_module": "collections", …                      imports collections, for a defaultdict

A context is JSON in that text again. Facts: torch/utils/_pytree.py (treespec_loads, enum_object_hook, _defaultdict_deserialize).
"""

from __future__ import annotations

import re
from typing import Any

DEEPEST_TEXT = 8  # JSON in a text in JSON …: pytree goes two deep
USUAL_MODULES = re.compile(r"(?:enum|torch|transformers)(?:\.(?!__)\w+)*:.*|(?:builtins|collections):.*", re.DOTALL)
FACTORIES = frozenset(
    ("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set", "str", "tuple")
)  # of builtins


def imports_of(text: str) -> tuple[set[str], bool]:
    """What pytree imports to read a description, as module:thing, and whether all texts in it could be taken apart."""
    found: set[str] = set()
    waiting: list[tuple[int, Any]] = [(0, text)]
    whole = True
    while waiting:
        depth, node = waiting.pop()
        if isinstance(node, dict):
            if "__enum__" in node:
                found.add(str(node.get("fqn")))
            if "default_factory_module" in node:
                found.add(f"{node['default_factory_module']}:{node.get('default_factory_name')}")
            waiting += [(depth, each) for each in node.values() if isinstance(each, (str, list, dict))]
        elif isinstance(node, list):
            waiting += [(depth, each) for each in node if isinstance(each, (str, list, dict))]
        elif isinstance(node, str) and node.lstrip()[:1] in ("[", "{", '"'):
            if depth >= DEEPEST_TEXT:
                whole = False
            else:
                waiting.append((depth + 1, json_of(node)))
    return found, whole


def keywords_of(text: Any) -> Any:
    """The keys of kwargs that a description of inputs has: parameters of forward. None for none."""
    try:
        keywords = json_of(text)[1]["children_spec"][1]
        return json_of(keywords["context"]) if keywords["type"] == "builtins.dict" else None
    except (LookupError, TypeError):
        return None


def is_usual(name: str) -> bool:
    """Whether a thing, as module:thing, is what honest programs name."""
    module, _, thing = name.partition(":")
    return USUAL_MODULES.fullmatch(name) is not None and (module != "builtins" or thing in FACTORIES)


def json_of(text: Any) -> Any:
    """What a text says as JSON; None for what is none, or goes too deep for Python's reader."""
    import json

    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
