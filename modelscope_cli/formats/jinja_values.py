"""What the expressions of a chat template may stand for, as far as it decides which attribute is taken and what is called.

A value is a set of kinds, as bits, and none of them as long as nothing is known of it. Every flow is gone through until nothing changes; then
what is taken by a name that nobody can see, or taken of Jinja's own objects, is told. Plainly written names are not: they stand in the text.

    {% set ns = namespace(k='class'.center(9, '_')) %}{{ messages[ns.k] }}      k: MADE, so the template takes who knows what
    {% for key in spec.keys() %}{{ spec[key] }}{% endfor %}                     key: DATA, as what is said to the model is

Facts: jinja2/filters.py, defaults.py, utils.py (Cycler, Joiner, Namespace), runtime.py; transformers/utils/chat_template_utils.py.
"""

from __future__ import annotations

from modelscope_cli.formats.jinja_expressions import NUMBER, Node
from modelscope_cli.formats.jinja_kinds import (
    ANY,
    AT_FIRST,
    AT_LAST,
    CALLED,
    COUNT,
    CUTTING,
    DATA,
    ELEMENTS,
    ENGINE,
    ENGINES,
    FIELDS_TOO,
    INPUTS,
    KEEPING,
    LOOP,
    LOOSE,
    MADE,
    METHODS,
    MOST_ROUNDS,
    MOST_WORDS,
    NUMBERS,
    OF_DICTS,
    OF_LOOP,
    OPAQUE,
    OWN,
    PUTTING,
    SELECTING,
    SEQUENCE,
    SPACE,
    SPECIAL,
    TAKING,
    TEXT,
    TEXTS,
    VIEWS,
    Given,
)
from modelscope_cli.formats.jinja_tree import Flow, Macro, Place, Tree

BY_A_NAME = "takes an attribute by a name that it puts together"
INTO_JINJA = "reaches into Jinja's own objects"
PUT_AND_CALLED = "calls what it put under a name"


class Values:
    """The values of a template. `strange` says what cannot be told, `reaching` what no chat template does, `words` are gadgets."""

    def __init__(self, tree: Tree):
        self.strange = ""
        self.reaching = ""
        self.words: list[str] = []
        self._tree = tree
        self._names: dict[tuple[int, str], int] = {}
        self._fields: dict[str, int] = {}  # attributes of what the template makes
        self._spaces: set[str] = set()  # those of namespaces
        self._of_spaces = 0  # what stands in these
        self._to_caller = (
            0  # what is handed to the parts of {% call %}, to loops that call themselves, and to macros in variables
        )
        self._to_loop = 0
        self._to_any = 0
        self._handed_on: set[int] = set()  # macros that stand for themselves somewhere
        self._looped = 0  # what loops go over
        self._put = [0, 0]  # into lists of the template, and into what it was handed
        self._telling = False
        self._changed = True
        self._empty = False  # a text is put together of something of which nothing is known
        self._settled = False  # and nothing will be: it may be any
        for flow in tree.flows:
            for place in flow.places:
                if not place.attribute:
                    self._names.setdefault((place.frame, place.name), 0)
        self._frames: tuple[int, ...] = (0,)
        self._follow()

    def _follow(self) -> None:
        for _ in range(2 * MOST_ROUNDS):
            self._changed = self._empty = False
            for flow in self._tree.flows:
                self._take(flow)
            if not self._changed and self._empty and not self._settled:
                self._settled = True
            elif not self._changed:
                self._telling = True
                for flow in self._tree.flows:
                    self._take(flow)
                return
        self.strange = "makes names of names in too many steps"

    def _take(self, flow: Flow) -> None:
        self._frames = flow.frames
        value = self.of(flow.value) if flow.value is not NUMBER else 0
        if flow.how == "each":
            value = self._inside(value)
        elif flow.how == "made":
            value = MADE | LOOSE
        elif flow.how == "called":
            value = self._to_caller
        elif flow.how == "again":
            value = self._to_loop
        elif flow.how == "call" and self._to_any and flow.places[0].frame in self._handed_on:
            self._hand_all(flow.places[0].frame, tuple(place.name for place in flow.places), self._to_any)
        if flow.how not in ("use", "call"):
            for place in flow.places:
                self._bind(place, value)
        if flow.how in ("each", "again"):
            self._looped |= value

    def _bind(self, place: Place, value: int) -> None:
        if place.attribute:
            self._field(place.attribute, value, space=True)
        else:
            self._add((place.frame, place.name), value)

    def _add(self, key: tuple[int, str], value: int) -> None:
        before = self._names.get(key, 0)
        if before | value != before:
            self._names[key] = before | value
            self._changed = True

    def _field(self, name: str, value: int, *, space: bool = False) -> None:
        if space:
            self._spaces.add(name)
            self._of_spaces = self._more(self._of_spaces, value)
        before = self._fields.get(name, -1)
        if before < 0 or before | value != before:
            self._fields[name] = max(before, 0) | value
            self._changed = True

    def _doubt(self, why: str) -> None:
        if self._telling:
            self.strange = self.strange or why

    def _reach(self, why: str) -> None:
        if self._telling:
            self.reaching = self.reaching or why

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

    def _bound(self, name: str) -> tuple[int, str] | None:
        return next(((frame, name) for frame in reversed(self._frames) if (frame, name) in self._names), None)

    def _name(self, name: str) -> int:
        key = self._bound(name)
        token = OPAQUE if name.endswith("_token") else 0
        if key is not None:
            return self._names[key] | token | self._macro(name)
        if name in self._tree.macros:
            return self._macro(name)
        if name == "loop":
            return LOOP
        if name in ENGINES:
            return ENGINE
        return DATA | LOOSE | (OPAQUE if token or name not in INPUTS else 0) | self._put[1]

    def _macro(self, name: str) -> int:
        """A macro as a value: who knows what it is called with."""
        macros = self._tree.macros.get(name, ())
        for macro in macros:
            if macro.frame not in self._handed_on:
                self._handed_on.add(macro.frame)
                self._changed = True
        return CALLED if macros else 0

    def _dict(self, keys: tuple[Node, ...], values: tuple[Node, ...]) -> int:
        whole = 0
        for key, node in zip(keys, values, strict=True):
            value = self.of(node)
            whole |= value | self.of(key)
            self._field(key.parts[0] if key.kind == "text" else ANY, value)
        return whole & ~LOOSE | OWN | SEQUENCE

    def _sum(self, nodes: tuple[Node, ...], signs: tuple[str, ...]) -> int:
        """A number if any of it is one, a list if any of it surely is; else a text that is put together."""
        values = [self.of(node) for node in nodes]
        if "-" in signs or COUNT in values:
            return COUNT
        if not all(values):
            self._empty = True
            if not self._settled:
                return 0
            values = [value or LOOSE for value in values]
        whole = 0
        for value in values:
            whole |= value
        return whole | MADE | LOOSE if all(value & LOOSE for value in values) else whole & ~LOOSE

    def _product(self, nodes: tuple[Node, ...], signs: tuple[str, ...]) -> int:
        whole = self._union(nodes)
        if not {"*", "%"} & set(signs):
            return COUNT
        return whole | MADE | LOOSE if whole & TEXTS or (whole & DATA and whole & LOOSE) else whole

    def _inside(self, value: int) -> int:
        """What is taken out of it: by a loop, a number, or a name that cannot be seen."""
        taken = value & ~(SEQUENCE | LOOSE)
        if value & OPAQUE and not value & (SEQUENCE | CALLED):
            taken = taken & ~OPAQUE | DATA
        if value & SPACE:
            taken |= self._of_spaces
        if value & SEQUENCE:
            taken |= self._put[0] | (SEQUENCE if taken or self._put[0] else 0)
        if value & DATA:
            taken |= self._put[1]
        return taken | LOOSE if taken & (TEXTS | DATA) else taken

    def _path(self, first: Node, steps: tuple[Node, ...]) -> int:
        name = first.parts[0] if first.kind == "name" else ""
        free = bool(name) and self._bound(name) is None
        begin = 0
        if free and steps[0].kind == "(":
            value, begin = self._function(name, self._given_to(*steps[0].parts)), 1
        elif free and name == "self" and steps[0].kind == "." and not steps[0].parts[0].startswith("_"):
            value, begin = MADE | LOOSE | CALLED, 1  # a block, and what it shows
        else:
            value = self.of(first)
        at = begin
        while at < len(steps):
            kind, parts = steps[at].kind, steps[at].parts
            if kind == "." and at + 1 < len(steps) and steps[at + 1].kind == "(":
                at += 1
                value = self._method(name if at == 1 else "", value, parts[0], self._given_to(*steps[at].parts))
            elif kind == ".":
                value = self._attribute(value, parts[0])
            elif kind == "[":
                value = self._subscript(value, parts[0])
            elif kind == "[:":
                self._union(parts)
                if value & ENGINE:
                    self._reach(INTO_JINJA)
                value |= MADE if value & LOOSE and value & TEXTS else 0
            elif kind == "(":
                value = self._call(value, self._given_to(*parts))
            elif kind == "|":
                value = self._filter(value, parts[0], self._given_to(*parts[1:]))
            else:
                self._union(parts)
                value = COUNT
            at += 1
        return value

    def _given_to(self, nodes: tuple[Node, ...], named: dict[str, Node]) -> Given:
        return Given(nodes, [self.of(node) for node in nodes], named, {name: self.of(node) for name, node in named.items()})

    def _function(self, name: str, given: Given) -> int:
        whole = given.whole
        if name in self._tree.macros:
            for macro in self._tree.macros[name]:
                self._hand(macro, given)
            return MADE | LOOSE
        if name == "range":
            return COUNT
        if name in ("namespace", "dict"):
            for key, value in given.named.items():
                self._field(ANY if key in ("*", "**") else key, value, space=name == "namespace")
            if given.values or "**" in given.named:
                self._field(ANY, self._inside(whole), space=name == "namespace")
            return OWN | SPACE if name == "namespace" else whole & ~LOOSE | OWN | SEQUENCE
        if name in ("cycler", "joiner"):
            return whole | CALLED
        if name == "caller":
            self._to_caller = self._more(self._to_caller, whole)
        elif name == "loop":
            self._to_loop = self._more(self._to_loop, self._inside(whole))
        return MADE | LOOSE

    def _more(self, before: int, value: int) -> int:
        self._changed = self._changed or before | value != before
        return before | value

    def _hand(self, macro: Macro, given: Given) -> None:
        """Bind the parameters of a macro."""
        own = macro.parameters[:-2]
        for index, value in enumerate(given.values):
            known = own[index] if index < len(own) else "varargs"
            self._add((macro.frame, known), value | (SEQUENCE if known == "varargs" else 0))
        for name, value in given.named.items():
            if (macro.frame, name) in self._names:
                self._add((macro.frame, name), value)
            else:
                self._field(name, value)
                self._add((macro.frame, "kwargs"), value | OWN | SEQUENCE)
        if "*" in given.named or "**" in given.named:
            self._hand_all(macro.frame, macro.parameters, given.whole | self._inside(given.whole))

    def _hand_all(self, frame: int, names: tuple[str, ...], value: int) -> None:
        self._field(ANY, value)
        for name in names:
            self._add((frame, name), value | {"varargs": SEQUENCE, "kwargs": OWN | SEQUENCE}.get(name, 0))

    def _call(self, value: int, given: Given) -> int:
        """Call what has no name of its own, or is bound to one."""
        if not value & CALLED or value & (DATA | ENGINE):
            self._reach("calls what it took by an index, or put under a name")
        self._to_any = self._more(self._to_any, given.whole | self._inside(given.whole))
        return MADE | LOOSE | self._inside(value)

    def _attribute(self, value: int, name: str) -> int:
        self._plain(value, name)
        made = (
            MADE | LOOSE if name in METHODS and name not in FIELDS_TOO else 0
        )  # a method as a text has letters that are known
        if name == "grouper":  # of the filter groupby
            made = value & TEXTS
        if value & LOOP:
            return COUNT | (self._looped if name in ("previtem", "nextitem") else 0) | (DATA | LOOSE if value & DATA else 0)
        if value & OWN:
            taken = self._fields.get(name, 0) | self._fields.get(ANY, 0)
            return taken | made | (DATA | LOOSE | self._put[1] if value & DATA else 0)
        if value & CALLED:
            return self._inside(value)
        if value & (DATA | OPAQUE):
            return DATA | LOOSE | self._put[1] | made
        return self._inside(value) | made

    def _plain(self, value: int, name: str) -> None:
        """Tell of a name that is no part of a message."""
        if SPECIAL.fullmatch(name):
            self._word(name)
        elif (
            value & ENGINE
            or (value & LOOP and name not in OF_LOOP)
            or (value & CALLED and name not in ("next", "reset", "current", "name"))
        ):
            self._reach(INTO_JINJA)
        elif name.startswith("_") and not value & (DATA | OWN):
            self._reach(f"takes the attribute {name}")

    def _word(self, name: str) -> None:
        if self._telling and len(self.words) < MOST_WORDS and name not in self.words:
            self.words.append(name)

    def _subscript(self, value: int, key: Node) -> int:
        if key.kind == "text":
            return self._attribute(value, key.parts[0])
        by = self.of(key)
        if value & (ENGINE | LOOP) or (value & CALLED and not value & SEQUENCE):
            self._reach(INTO_JINJA)
        if by & (MADE | OPAQUE | ENGINE):
            self._doubt(BY_A_NAME)
        return self._inside(value)

    def _method(self, root: str, value: int, name: str, given: Given) -> int:
        self._plain(value, name)
        whole = given.whole
        if value & LOOP:
            return whole if name == "cycle" else COUNT
        put = self._called_field(value, name)
        if put & CALLED:
            return self._call(put, given)
        if name in NUMBERS:
            return COUNT
        if name in VIEWS:
            return value & ~LOOSE | SEQUENCE
        if name in PUTTING:
            self._put_into(root, value, given)
            return self._inside(value) | whole
        if name in TAKING:
            key = given.nodes[0] if given.nodes else NUMBER
            taken = self._attribute(value, key.parts[0]) if key.kind == "text" and value & (OWN | DATA) else self._inside(value)
            return taken | whole if len(given.values) > 1 else taken
        if name in ("format", "format_map") and value & (MADE | OPAQUE):
            self._doubt("formats by a text that it puts together")
        if value & CALLED and name in ("next", "reset"):
            return self._inside(value)
        return self._changed_text(name, value, whole & ~TEXT if name in CUTTING else whole)

    def _called_field(self, value: int, name: str) -> int:
        """What a template's own macro is put under this name, if it is called by it; tell of anything else that is."""
        known = name in self._spaces if value & SPACE else name in self._fields and name not in OF_DICTS
        if value & (OWN | DATA) and known and (value & OWN or name not in METHODS):
            put = self._fields.get(name, 0)
            if put & CALLED and not put & (DATA | ENGINE):
                return put
            if value & LOOSE and name in METHODS:
                self._doubt(PUT_AND_CALLED)  # or it is a text's method
            else:
                self._reach(PUT_AND_CALLED)
        elif value & OWN and ANY in self._fields and name not in METHODS:
            self._reach(PUT_AND_CALLED)
        return 0

    def _changed_text(self, name: str, value: int, given: int) -> int:
        """What comes of a text by a method or a filter: what others said stays that, as long as it is only cut, and no word gets in."""
        if not value:
            self._empty = True
            return MADE | LOOSE if self._settled else 0
        plain = name in KEEPING and value & DATA and not (value | given) & (TEXTS | ENGINE | CALLED | OWN | SEQUENCE)
        return DATA | LOOSE if plain else MADE | LOOSE | (value & DATA)

    def _put_into(self, root: str, value: int, given: Given) -> None:
        for name, each in given.named.items():
            self._field(name if name != "**" else ANY, each)
        whole = given.whole | self._inside(given.whole)
        key = self._bound(root) if root else None
        if key is not None:
            self._add(key, whole & ~LOOSE)
        if value & OWN:
            self._field(ANY, whole, space=True)
        for index, kind in ((0, SEQUENCE), (1, DATA)):
            if value & kind or not value & (SEQUENCE | DATA):
                self._put[index] = self._more(self._put[index], whole)

    def _filter(self, value: int, name: str, given: Given) -> int:
        if name == "attr":
            self._word("|attr(")
        if name == "map":
            return self._map(value, given)
        if name in AT_FIRST or name in AT_LAST:
            self._by_attribute(name, given)
        if name in NUMBERS:
            return COUNT | (given.whole if name in ("int", "float") else 0)  # or what is said for no number
        if name == "sum":
            return value & ~LOOSE | given.whole if len(given.values) > 1 or "start" in given.named else COUNT
        if name in ELEMENTS:
            return self._inside(value)
        if name in ("batch", "slice"):
            return (self._inside(value) | given.whole) & ~LOOSE | SEQUENCE  # filled up with it
        if name in SELECTING:
            return (value if name in ("items", "dictsort") else self._inside(value)) & ~LOOSE | SEQUENCE
        if name == "groupby":
            instead = Given(given.nodes[1:], given.values[1:], given.named_nodes, given.named).whole
            return (self._inside(value) | value | instead) & ~LOOSE | SEQUENCE
        if name in ("default", "d"):
            return value | given.whole
        if name == "reverse":
            return value | MADE if value & LOOSE and value & TEXTS else value
        if name == "join":
            return MADE | LOOSE
        return self._changed_text(name, value, given.whole)

    def _map(self, value: int, given: Given) -> int:
        each = self._inside(value)
        if "attribute" in given.named:
            self._by_attribute("map", given)
            attribute = given.named_nodes["attribute"]
            if attribute.kind == "text":
                for name in attribute.parts[0].split("."):
                    each = self._attribute(each, name)
            return (each | given.named.get("default", 0)) & ~LOOSE | SEQUENCE
        if not given.nodes or given.nodes[0].kind != "text":
            self._doubt("gives the filter map a name that it puts together")
            return MADE | SEQUENCE
        rest = given._replace(nodes=given.nodes[1:], values=given.values[1:])
        return self._filter(each, given.nodes[0].parts[0], rest) & ~LOOSE | SEQUENCE

    def _by_attribute(self, name: str, given: Given) -> None:
        """Tell of a filter that takes attributes by a name that nobody can see, or by a special one."""
        asked = list(zip(given.nodes, given.values, strict=True))
        asked = asked[:1] if name in AT_FIRST else asked[1:] if name in AT_LAST else []
        asked += [(given.named_nodes[key], given.named[key]) for key in ("attribute", "**") if key in given.named]
        for node, value in asked:
            if node.kind == "text":
                for part in node.parts[0].split("."):
                    if SPECIAL.fullmatch(part.strip()):
                        self._word(part)
            elif value & ~(LOOSE | TEXT | COUNT):
                self._doubt(f"gives the filter {name} a name that it puts together")
