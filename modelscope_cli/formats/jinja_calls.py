"""What is called in a chat template: macros, Jinja's own functions, methods; and what comes of it.

Facts: jinja2/defaults.py, utils.py (Cycler, Joiner, Namespace), runtime.py; transformers/utils/chat_template_utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelscope_cli.formats.jinja_expressions import NUMBER
from modelscope_cli.formats.jinja_kinds import (
    ANY,
    CALLED,
    COUNT,
    CUTTING,
    DATA,
    ENGINES,
    LOOP,
    LOOSE,
    MADE,
    METHODS,
    NUMBERS,
    OF_DICTS,
    OPAQUE,
    OWN,
    PUTTING,
    SEQUENCE,
    SPACE,
    TAKING,
    TEXT,
    VIEWS,
    Given,
)
from modelscope_cli.formats.jinja_scopes import Key
from modelscope_cli.formats.jinja_store import Store
from modelscope_cli.formats.jinja_tree import Flow, Macro, Tree

PUT_AND_CALLED = "calls what it put under a name"


class Calls:
    """Calls, and what is handed over by them."""

    def __init__(self, store: Store, tree: Tree):
        self._store = store
        self._tree = tree
        self.to_caller = 0  # what is handed to the parts of {% call %}
        self.to_loop = 0  # to loops that call themselves
        self._to_any = 0  # to macros in variables
        self._handed_on: set[int] = set()  # macros that stand for themselves somewhere

    def macro(self, name: str) -> int:
        """A macro as a value: who knows what it is called with."""
        for macro in self._tree.macros.get(name, ()):
            if macro.frame not in self._handed_on:
                self._handed_on.add(macro.frame)
                self._store.changed = True
        return CALLED

    def begin(self, flow: Flow) -> None:
        """A macro begins: if it stands for itself somewhere, what is handed to any such one is handed to it."""
        frame = flow.places[0].frame
        if self._to_any and frame in self._handed_on:
            self._hand_all(frame, tuple(place.name for place in flow.places), self._to_any)

    def function(self, name: str, given: Given) -> int:
        """Call a name: one that only macros have, or that nothing in the template binds."""
        store, whole = self._store, given.whole
        if name in self._tree.macros:
            if name in ENGINES:
                store.reach(f"has a macro under the name of Jinja's own {name}")
            for macro in self._tree.macros[name]:
                self._hand(macro, given)
            return MADE | LOOSE
        if name == "range":
            return COUNT
        if name in ("namespace", "dict"):
            for key, value in given.named.items():
                store.field(ANY if key in ("*", "**") else key, value, space=name == "namespace")
            if given.values or "**" in given.named:
                store.field(ANY, store.inside(whole), space=name == "namespace")
            return OWN | SPACE if name == "namespace" else (whole | given.names) & ~LOOSE | OWN | SEQUENCE
        if name in ("cycler", "joiner"):
            store.handed_out = store.more(store.handed_out, whole)
            return CALLED
        if name == "caller":
            self._named_fields(given)
            self.to_caller = store.more(self.to_caller, whole | given.names)
        elif name == "loop":
            self.to_loop = store.more(self.to_loop, store.inside(whole))
        return MADE | LOOSE

    def _hand(self, macro: Macro, given: Given) -> None:
        """Bind the parameters of a macro."""
        store = self._store
        own = macro.parameters[:-2]
        for index, value in enumerate(given.values):
            known = own[index] if index < len(own) else "varargs"
            store.add((macro.frame, known), value | (SEQUENCE if known == "varargs" else 0))
        for name, value in given.named.items():
            if name in own:
                store.add((macro.frame, name), value)
            else:
                store.field(name, value)
                store.add((macro.frame, "kwargs"), value | given.names | OWN | SEQUENCE)
        if "*" in given.named or "**" in given.named:
            self._named_fields(given)
            self._hand_all(macro.frame, macro.parameters, given.whole | store.inside(given.whole))

    def _named_fields(self, given: Given) -> None:
        """What is given by name are the fields of a macro's `kwargs`."""
        for name, value in given.named.items():
            if name == "**":
                self._store.field(ANY, self._store.inside(value))
            elif name != "*":
                self._store.field(name, value)

    def _hand_all(self, frame: int, names: tuple[str, ...], value: int) -> None:
        for name in names:
            self._store.add((frame, name), value | {"varargs": SEQUENCE, "kwargs": OWN | SEQUENCE}.get(name, 0))

    def call(self, value: int, given: Given) -> int:
        """Call what has no name of its own, or is bound to one."""
        store = self._store
        if not value & CALLED or value & ~(CALLED | SEQUENCE):
            store.reach("calls what it took by an index, or put under a name")
        self._named_fields(given)
        self._to_any = store.more(self._to_any, given.whole | store.inside(given.whole) | given.names)
        return MADE | LOOSE | store.inside(value)

    def method(self, keys: Sequence[Key], value: int, name: str, given: Given) -> int:
        """Call an attribute of a value, which the names `keys` stand for."""
        store, whole = self._store, given.whole
        store.plain(value, name)
        if value & LOOP:
            return whole if name == "cycle" else COUNT
        put = self._called_field(value, name)
        if put & CALLED:
            return self.call(put, given)
        if name == "sort" and ("key" in given.named or "**" in given.named):
            store.reach("has a list call what it gives it")
        if name in NUMBERS:
            return COUNT
        if name in VIEWS:
            return value & ~LOOSE | SEQUENCE
        if name in PUTTING:
            self._put_into(keys, value, given)
            return store.inside(value) | whole
        if name in TAKING:
            key = given.nodes[0] if given.nodes else NUMBER
            named = key.kind == "text" and value & (OWN | DATA)
            taken = store.attribute(value, key.parts[0]) if named else store.inside(value)
            return taken | whole if len(given.values) > 1 else taken
        if name in ("format", "format_map") and value & (MADE | OPAQUE):
            store.doubt("formats by a text that it puts together")
        if value & CALLED and name in ("next", "reset"):
            return store.inside(value)
        return store.changed_text(name, value, whole & ~TEXT if name in CUTTING else whole)

    def _called_field(self, value: int, name: str) -> int:
        """What a template's own macro is put under this name, if it is called by it; tell of anything else that is."""
        store = self._store
        known = name in store.spaces if value & SPACE else name in store.fields and name not in OF_DICTS
        if value & (OWN | DATA) and known and (value & OWN or name not in METHODS):
            put = store.fields.get(name, 0) | store.fields.get(ANY, 0)
            if put & CALLED and not put & ~(CALLED | SEQUENCE):
                return put
            if value & LOOSE and name in METHODS:
                store.doubt(PUT_AND_CALLED)  # or it is a text's method
            else:
                store.reach(PUT_AND_CALLED)
        elif value & OWN and ANY in store.fields and name not in METHODS:
            store.reach(PUT_AND_CALLED)
        return 0

    def _put_into(self, keys: Sequence[Key], value: int, given: Given) -> None:
        store = self._store
        for name, each in given.named.items():
            store.field(name if name != "**" else ANY, each)
        whole = given.whole | store.inside(given.whole) | given.names
        for key in keys:
            store.add(key, whole & ~LOOSE)
        if value & OWN:
            store.field(ANY, whole, space=True)
        for index, kind in ((0, SEQUENCE), (1, DATA)):
            if value & kind or not value & (SEQUENCE | DATA):
                store.put[index] = store.more(store.put[index], whole)
