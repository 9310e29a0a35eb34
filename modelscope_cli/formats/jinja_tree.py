"""Jinja's statements as flows: what names come to stand for, and in which frame they are bound; nothing is rendered.

    {% for key in spec.keys() %}{{ spec[key] }}{% endfor %}
        Flow("each", (Place(1, "key"),), path(name spec, .keys, ()), frames (0,))
        Flow("use", (), path(name spec, [name key]), frames (0, 1))

Facts: jinja2/parser.py, idtracking.py (which blocks have names of their own), compiler.py (macro_body: what every macro has).
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.formats.jinja_expressions import NUMBER, Expressions, Node
from modelscope_cli.formats.jinja_scopes import Key, Scopes
from modelscope_cli.formats.jinja_tokens import SAID, Token

FOREIGN = frozenset(("include", "import", "from", "extends"))
FRAMES = frozenset(("for", "macro", "call", "with", "block", "filter", "set", "autoescape"))  # with names of their own
BRANCHES = frozenset(("if", "generation"))  # without; the tag of transformers has some, other programs do not know it
BARE = frozenset(("break", "continue"))
IMPLIED = ("varargs", "kwargs")  # names that every macro has, and every part of a {% call %}
MOST_ALIKE = 16  # macros of one name


class Place(NamedTuple):
    """A name in a frame, or an attribute of an object that a name stands for."""

    frame: int
    name: str
    attribute: str = ""


class Flow(NamedTuple):
    """`how`: bind (the value), each (what the value is made of), made (a text that is put together), called (what `caller` is given),
    call (the flow is a macro's: its parameters), use (nothing is bound). `frames` are those that are seen where the value stands."""

    how: str
    places: tuple[Place, ...]
    value: Node
    frames: tuple[int, ...]


class Macro(NamedTuple):
    """Its parameters are bound in its frame."""

    frame: int
    parameters: tuple[str, ...]


class Tree:
    """All flows of a template, its macros by name, and where their names are bound. Raises ValueError, in words."""

    def __init__(self, blocks: list[list[Token]]):
        self.flows: list[Flow] = []
        self.scopes = Scopes()
        self.macros: dict[str, list[Macro]] = {}
        self.named: set[Key] = set()
        self.foreign = ""
        for block in blocks:
            if block[0] == SAID:
                self._statement(block[1:])
            else:
                self._use(Expressions(block[1:]).whole())

    def _flow(self, how: str, places: tuple[Place, ...], value: Node, frames: tuple[int, ...]) -> None:
        self.flows.append(Flow(how, places, value, frames))
        self.scopes.at = len(self.flows)

    def _use(self, value: Node) -> None:
        self._flow("use", (), value, self.scopes.frames)

    def _statement(self, tokens: list[Token]) -> None:
        word = tokens[0].text if tokens and tokens[0].kind == "name" else ""
        read = Expressions(tokens[1:])
        if word in FOREIGN:
            self.foreign = self.foreign or word
        elif word.startswith("end"):
            if word[3:] in FRAMES or word[3:] in BRANCHES:
                self.scopes.leave(word[3:])
        elif word == "if":
            self._use(read.whole())
            self.scopes.branch(word)
        elif word == "elif":
            self.scopes.other(last=False)
            self._use(read.whole())
        elif word == "else":
            self._else()
        elif word in ("do", "print"):
            self._use(read.whole())
        elif word == "for":
            self._for(read)
        elif word == "set":
            self._set(read)
        elif word == "macro":
            self._macro(read)
        elif word == "call":
            before, frame = self.scopes.frames, self.scopes.enter(word)
            self._parameters(read, frame, "called")
            self._flow("use", (), read.whole(), before)
        elif word == "filter":
            self._use(Node("path", (Node("text", ("",)), tuple(read.steps(read.filter())))))
            self.scopes.enter(word)
        elif word == "with":
            self._with(read)
        elif word == "block":
            self.scopes.enter(word)
        elif word == "autoescape":
            self._use(read.whole())
            self.scopes.enter(word)
        elif word == "generation":
            self.scopes.branch(word)
        elif word not in BARE:
            raise ValueError(
                f"has a statement that is not known here ({word[:40]})" if word else "has a statement without a name"
            )

    def _else(self) -> None:
        """Of a condition, or of a loop: there the names that the loop binds are not seen."""
        if self.scopes.innermost == "for":
            self.scopes.leave("for")
            self.scopes.enter("for")
        else:
            self.scopes.other(last=True)

    def _macro(self, read: Expressions) -> None:
        name = read.name()
        key = (self.scopes.frame, name)
        self.named.add(key)
        self.scopes.bind(key, sure=True)
        frame = self.scopes.enter("macro")
        parameters = self._parameters(read, frame, "call")
        alike = self.macros.setdefault(name, [])
        alike.append(Macro(frame, parameters))
        if len(alike) > MOST_ALIKE:
            raise ValueError("has too many macros of one name")

    def _for(self, read: Expressions) -> None:
        before, frame = self.scopes.frames, self.scopes.enter("for")
        places = self._fixed(frame, read.targets())
        read.want("in")
        value = read.several(condition=False)
        self._flow("each", places, value, before)
        if read.take("if"):
            self._use(read.either())
        if read.take("recursive"):
            self._flow("again", places, NUMBER, before)
        read.ended()

    def _fixed(self, frame: int, names: list[str]) -> tuple[Place, ...]:
        """Places of names that hide those outside, from the beginning of their block on."""
        for name in names:
            self.scopes.bind((frame, name), fixed=True)
        return tuple(Place(frame, name) for name in names)

    def _set(self, read: Expressions) -> None:
        frame = self.scopes.frame
        places: list[Place] = []
        while True:
            bracket = read.take("(")
            name = read.name()
            places.append(Place(frame, name, read.name() if read.take(".") else ""))
            if bracket and not read.at(","):
                read.want(")")
            if not read.take(",") or read.at("="):
                break
        keys = tuple((place.frame, place.name) for place in places if not place.attribute)
        if read.take(")") or read.take("="):
            read.take("=")
            value = read.several()
            read.ended()
            self._flow("each" if len(places) > 1 else "bind", tuple(places), value, self.scopes.frames)
            for key in keys:
                self.scopes.bind(key, sure=True)
            return
        for key in keys:
            self.scopes.bind(key)
        self._flow("made", tuple(places), NUMBER, self.scopes.frames)
        if read.at("|"):
            self._use(Node("path", (Node("text", ("",)), tuple(read.steps([])))))
        self.scopes.enter("set", keys)

    def _with(self, read: Expressions) -> None:
        before, frame = self.scopes.frames, self.scopes.enter("with")
        while not read.end:
            names = read.targets()
            read.want("=")
            how = "each" if len(names) > 1 else "bind"
            self._flow(how, self._fixed(frame, names), read.either(), before)
            if not read.take(","):
                break
        read.ended()

    def _parameters(self, read: Expressions, frame: int, how: str) -> tuple[str, ...]:
        """Those of a macro, or of the part of a {% call %}, where brackets may be missing; and what both have without saying so."""
        names: list[str] = []
        if how == "call" or read.at("("):
            read.want("(")
            while not read.take(")"):
                names.append(read.name())
                self.scopes.bind((frame, names[-1]), fixed=True)
                if read.take("="):
                    self._flow("bind", (Place(frame, names[-1]),), read.either(), self.scopes.frames)
                if not read.at(")"):
                    read.want(",")
        for name in IMPLIED:
            self.scopes.bind((frame, name), implied=True)
        names += IMPLIED
        self._flow(how, tuple(Place(frame, name) for name in names), NUMBER, self.scopes.frames)
        return tuple(names)
