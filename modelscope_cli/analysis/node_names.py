"""Names of modules as names of nodes in a graph of TensorFlow, as TensorBoard reads it.

    model.layers.0.self_attn  →  model/layers/0/self_attn

Allowed are ASCII letters, digits, `_`, `.`, `-` and, between scopes, `/`; the first sign is a letter, a digit or a dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_PART = 80  # characters of a part of a name
NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.\-]")
NOT_FIRST = re.compile(r"[^A-Za-z0-9.]")
# What objects of JavaScript have, and what makes them lists: the page would take such a node for its own.
TAKEN = re.compile(
    "constructor|length|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|to(Locale)?String|valueOf|"
    "__proto__|__(define|lookup)[GS]etter__"
)


def node_names(labels: list[str], scope: str) -> Iterator[str]:
    """The full names of siblings: letters that TensorFlow allows, nothing twice, nothing that a page takes for its own."""
    given: set[str] = set()
    for label in labels:
        name = NOT_ALLOWED.sub("_", label.replace("–", "-"))[:LONGEST_PART] or "unnamed"
        if not scope and NOT_FIRST.match(name):
            name = f"m{name}"
        if not scope and TAKEN.fullmatch(name):
            name = f"{name}_"
        unique, number = name, 1
        while unique in given:
            number += 1
            unique = f"{name}.{number}"
        given.add(unique)
        yield f"{scope}/{unique}" if scope else unique
