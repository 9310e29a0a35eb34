"""What the expressions of a chat template may stand for, as far as it decides which attribute is taken and what is called.

A value is a set of kinds, as bits, and none of them as long as nothing is known of it. Every flow is gone through until nothing changes; then
what is taken by a name that nobody can see, or taken of Jinja's own objects, is told. Plainly written names are not: they stand in the text.

    {% set ns = namespace(k='class'.center(9, '_')) %}{{ messages[ns.k] }}      k: MADE, so the template takes who knows what
    {% for key in spec.keys() %}{{ spec[key] }}{% endfor %}                     key: DATA, as what is said to the model is

Facts: jinja2/nodes.py, compiler.py, runtime.py.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.formats.jinja_calls import Calls
from modelscope_cli.formats.jinja_expressions import NUMBER, Node
from modelscope_cli.formats.jinja_filters import Filters
from modelscope_cli.formats.jinja_kinds import (
    ANY,
    CALLED,
    COUNT,
    DATA,
    ENGINE,
    ENGINES,
    INPUTS,
    LOOP,
    LOOSE,
    MADE,
    MOST_ROUNDS,
    OPAQUE,
    OWN,
    SEQUENCE,
    SPECIAL,
    TEXT,
    TEXTS,
    Given,
)
from modelscope_cli.formats.jinja_scopes import Key
from modelscope_cli.formats.jinja_store import BY_A_NAME, INTO_JINJA, Store
from modelscope_cli.formats.jinja_tree import Flow, Tree


class Values:
    """The values of a template. `strange` says what cannot be told, `reaching` what no chat template does, `words` are gadgets."""

    def __init__(self, tree: Tree):
        self._tree = tree
        self._store = Store(tree.scopes.bound)
        self._calls = Calls(self._store, tree)
        self._filters = Filters(self._store)
        self._frames: tuple[int, ...] = (0,)
        self._at = 0
        self._bound: dict[str, tuple[list[Key], bool]] = {}  # what names are in these frames
        self._worth: dict[str, int] = {}  # and what these may be, after so many changes
        self._changes = 0
        self._follow()
        self.strange, self.reaching, self.words = self._store.strange, self._store.reaching, self._store.words

    def _follow(self) -> None:
        store = self._store
        for _ in range(2 * MOST_ROUNDS):
            store.changed = store.empty = False
            self._take_all()
            if not store.changed and store.empty and not store.settled:
                store.settled = True
            elif not store.changed:
                store.telling = True
                self._take_all()
                return
        store.strange = "makes names of names in too many steps"

    def _take_all(self) -> None:
        for at, flow in enumerate(self._tree.flows):
            if not at or flow.frames is not self._frames or at in self._tree.scopes.changes:
                self._bound.clear()
                self._worth.clear()
            self._frames, self._at = flow.frames, at
            self._take(flow)

    def _take(self, flow: Flow) -> None:
        store = self._store
        value = self.of(flow.value) if flow.value is not NUMBER else 0
        if flow.how == "each":
            if value & LOOP:
                store.reach(INTO_JINJA)
            value = store.inside(value)
        elif flow.how == "made":
            value = MADE | LOOSE
        elif flow.how == "called":
            value = self._calls.to_caller
        elif flow.how == "again":
            value = self._calls.to_loop
        elif flow.how == "call":
            self._calls.begin(flow)
        if flow.how not in ("use", "call"):
            for place in flow.places:
                own = {"varargs": SEQUENCE, "kwargs": OWN | SEQUENCE}.get(place.name, 0) if flow.how == "called" else 0
                store.bind(place, value | own)
        if flow.how in ("each", "again"):
            store.looped = store.more(store.looped, value)

    def of(self, node: Node) -> int:
        """What a node may be."""
        kind, parts = node.kind, node.parts
        if kind == "number":
            return COUNT
        if kind == "text":
            return TEXT | LOOSE | (MADE if SPECIAL.fullmatch(parts[0]) else 0)
        if kind == "name":
            return self._name(parts[0])
        if kind == "any":
            return self._union(parts)
        if kind in ("use", "asked"):
            self._union(parts)
            return COUNT if kind == "use" else 0
        if kind == "list":
            return self._union(parts) & ~LOOSE | SEQUENCE
        if kind == "dict":
            return self._dict(*parts)
        if kind == "concat":
            self._union(parts)
            return MADE | LOOSE
        if kind == "sum":
            return self._sum(*parts)
        if kind == "product":
            return self._product(*parts)
        return self._path(*parts)

    def _union(self, nodes: tuple[Node, ...]) -> int:
        value = 0
        for node in nodes:
            value |= self.of(node)
        return value

    def _bindings(self, name: str) -> tuple[list[Key], bool]:
        known = self._bound.get(name)
        if known is None:
            known = self._bound[name] = self._tree.scopes.bindings(name, self._frames, self._at)
        return known

    def _name(self, name: str) -> int:
        if self._changes != self._store.changes:
            self._changes = self._store.changes
            self._worth.clear()
        value = self._worth.get(name)
        if value is None:
            keys, free = self._bindings(name)
            value = OPAQUE if name.endswith("_token") else 0
            for key in keys:
                value |= self._store.names[key] | (self._calls.macro(name) if key in self._tree.named else 0)
            value |= self._handed_in(name) if free else 0
            self._worth[name] = value
        return value

    def _handed_in(self, name: str) -> int:
        """A name that the template does not bind."""
        if name == "loop":
            return LOOP
        if name in ENGINES:
            return ENGINE
        return DATA | LOOSE | (OPAQUE if name not in INPUTS else 0) | self._store.put[1]

    def _dict(self, keys: tuple[Node, ...], values: tuple[Node, ...]) -> int:
        whole = 0
        for key, node in zip(keys, values, strict=True):
            value = self.of(node)
            whole |= value | self.of(key)
            self._store.field(key.parts[0] if key.kind == "text" else ANY, value)
        return whole & ~LOOSE | OWN | SEQUENCE

    def _sum(self, nodes: tuple[Node, ...], signs: tuple[str, ...]) -> int:
        """A number if any of it is one, a list if any of it surely is; else a text that is put together."""
        values = [self.of(node) for node in nodes]
        whole = 0
        for value in values:
            whole |= value
        if "-" in signs and whole & (SEQUENCE | OWN):
            return whole & ~LOOSE | SEQUENCE  # of what is in a dictionary, and in a list that is put before it
        if "-" in signs or COUNT in values:
            return COUNT
        if not all(values):
            self._store.empty = True
            if not self._store.settled:
                return 0
            values = [value or LOOSE for value in values]
            whole |= LOOSE
        return whole | MADE | LOOSE if all(value & LOOSE for value in values) else whole & ~LOOSE

    def _product(self, nodes: tuple[Node, ...], signs: tuple[str, ...]) -> int:
        whole = self._union(nodes)
        if not {"*", "%"} & set(signs):
            return COUNT
        return whole | MADE | LOOSE if whole & TEXTS or (whole & DATA and whole & LOOSE) else whole

    def _path(self, first: Node, steps: tuple[Node, ...]) -> int:
        name = first.parts[0] if first.kind == "name" else ""
        keys = self._bindings(name)[0] if name else []
        begin = 0
        if name and steps[0].kind == "(" and self._is_plain(keys):
            value, begin = self._calls.function(name, self._given_to(*steps[0].parts)), 1
        elif name == "self" and not keys and steps[0].kind == "." and not steps[0].parts[0].startswith("_"):
            value, begin = CALLED, 1  # a block
        else:
            value = self.of(first)
        at = begin
        while at < len(steps):
            kind, parts = steps[at].kind, steps[at].parts
            if kind == "." and at + 1 < len(steps) and steps[at + 1].kind == "(":
                at += 1
                value = self._calls.method(keys if at == 1 else (), value, parts[0], self._given_to(*steps[at].parts))
            else:
                value = self._step(value, kind, parts)
            at += 1
        return value

    def _is_plain(self, keys: list[Key]) -> bool:
        """Whether nothing is bound there, or macros alone."""
        return all(key in self._tree.named and not self._store.names[key] for key in keys)

    def _step(self, value: int, kind: str, parts: tuple[Any, ...]) -> int:
        """What a step other than the call of a method makes of it."""
        store = self._store
        if kind == ".":
            return store.attribute(value, parts[0])
        if kind == "[":
            return self._subscript(value, parts[0])
        if kind == "(":
            return self._calls.call(value, self._given_to(*parts))
        if kind == "|":
            return self._filters.filtered(value, parts[0], self._given_to(*parts[1:]))
        self._union(parts)
        if kind != "[:":
            return COUNT
        if value & ENGINE:
            store.reach(INTO_JINJA)
        return value | (MADE if value & LOOSE and value & TEXTS else 0)

    def _given_to(self, nodes: tuple[Node, ...], named: dict[str, Node]) -> Given:
        return Given(nodes, [self.of(node) for node in nodes], named, {name: self.of(node) for name, node in named.items()})

    def _subscript(self, value: int, key: Node) -> int:
        store = self._store
        if key.kind == "text":
            return store.attribute(value, key.parts[0])
        by = self.of(key)
        if value & (ENGINE | LOOP) or (value & CALLED and not value & SEQUENCE):
            store.reach(INTO_JINJA)
        if by & (MADE | OPAQUE | ENGINE):
            store.doubt(BY_A_NAME)
        return store.inside(value)
