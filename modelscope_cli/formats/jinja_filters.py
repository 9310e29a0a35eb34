"""What the filters of a chat template make of a value.

Facts: jinja2/filters.py (make_attrgetter: a text with dots is a path of attributes).
"""

from __future__ import annotations

from modelscope_cli.formats.jinja_kinds import (
    AT_FIRST,
    AT_LAST,
    COUNT,
    ELEMENTS,
    LOOSE,
    MADE,
    NUMBERS,
    SELECTING,
    SEQUENCE,
    SPECIAL,
    TEXT,
    TEXTS,
    Given,
)
from modelscope_cli.formats.jinja_store import Store


class Filters:
    """Filters, by name."""

    def __init__(self, store: Store):
        self._store = store

    def filtered(self, value: int, name: str, given: Given) -> int:
        """What a filter makes of a value."""
        inside = self._store.inside
        if name == "attr":
            self._store.word("|attr(")
        if name == "map":
            return self._map(value, given)
        if name in AT_FIRST or name in AT_LAST:
            self._by_attribute(name, given)
        if name in NUMBERS:
            return COUNT | (given.whole if name in ("int", "float") else 0)  # or what is said for no number
        if name == "sum":
            return value & ~LOOSE | given.whole if len(given.values) > 1 or "start" in given.named else COUNT
        if name in ELEMENTS:
            return inside(value)
        if name in ("batch", "slice"):
            return (inside(value) | given.whole) & ~LOOSE | SEQUENCE  # filled up with it
        if name in SELECTING:
            return (value if name in ("items", "dictsort") else inside(value)) & ~LOOSE | SEQUENCE
        if name == "groupby":
            instead = Given(given.nodes[1:], given.values[1:], given.named_nodes, given.named).whole
            return (inside(value) | value | instead) & ~LOOSE | SEQUENCE
        if name in ("default", "d"):
            return value | given.whole
        if name == "reverse":
            return value | MADE if value & LOOSE and value & TEXTS else value
        if name == "join":
            return MADE | LOOSE
        return self._store.changed_text(name, value, given.whole)

    def _map(self, value: int, given: Given) -> int:
        each = self._store.inside(value)
        if "attribute" in given.named:
            self._by_attribute("map", given)
            attribute = given.named_nodes["attribute"]
            if attribute.kind == "text":
                for name in attribute.parts[0].split("."):
                    each = self._store.attribute(each, name)
            return (each | given.named.get("default", 0)) & ~LOOSE | SEQUENCE
        if not given.nodes or given.nodes[0].kind != "text":
            self._store.doubt("gives the filter map a name that it puts together")
            return MADE | SEQUENCE
        rest = given._replace(nodes=given.nodes[1:], values=given.values[1:])
        return self.filtered(each, given.nodes[0].parts[0], rest) & ~LOOSE | SEQUENCE

    def _by_attribute(self, name: str, given: Given) -> None:
        """Tell of a filter that takes attributes by a name that nobody can see, or by a special one."""
        asked = list(zip(given.nodes, given.values, strict=True))
        asked = asked[:1] if name in AT_FIRST else asked[1:] if name in AT_LAST else []
        asked += [(given.named_nodes[key], given.named[key]) for key in ("attribute", "**") if key in given.named]
        for node, value in asked:
            if node.kind == "text":
                for part in node.parts[0].split("."):
                    if SPECIAL.fullmatch(part.strip()):
                        self._store.word(part)
            elif value & ~(LOOSE | TEXT | COUNT):
                self._store.doubt(f"gives the filter {name} a name that it puts together")
