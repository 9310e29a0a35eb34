"""Jinja's statements as flows: what names come to stand for, and in which frame they are bound; nothing is rendered.

    {% for key in spec.keys() %}{{ spec[key] }}{% endfor %}
        Flow("each", (Place(1, "key"),), path(name spec, .keys, ()), frames (0,))
        Flow("use", (), path(name spec, [name key]), frames (0, 1))

Facts: jinja2/parser.py, idtracking.py (which blocks have names of their own).
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.formats.jinja_expressions import NUMBER, Expressions, Node
from modelscope_cli.formats.jinja_tokens import SAID, Token

FOREIGN = frozenset(("include", "import", "from", "extends"))
FRAMES = frozenset(("for", "macro", "call", "with", "block", "filter", "set", "autoescape"))  # with names of their own
BARE = frozenset(("else", "break", "continue", "generation"))
MOST_OPEN = 60  # blocks in one another, with names of their own
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
    """All flows of a template, its macros by name, and the loops that call themselves. Raises ValueError, in words."""

    def __init__(self, blocks: list[list[Token]]):
        self.flows: list[Flow] = []
        self.macros: dict[str, list[Macro]] = {}
        self.loops: dict[int, tuple[Place, ...]] = {}
        self.foreign = ""
        self._open: list[tuple[str, int]] = [("", 0)]
        self._count = 0
        for block in blocks:
            if block[0] == SAID:
                self._statement(block[1:])
            else:
                self._use(Expressions(block[1:]).whole())

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(frame for _, frame in self._open)

    def _flow(self, how: str, places: tuple[Place, ...], value: Node, frames: tuple[int, ...]) -> None:
        self.flows.append(Flow(how, places, value, frames))

    def _use(self, value: Node) -> None:
        self._flow("use", (), value, self.frames)

    def _enter(self, kind: str) -> int:
        if len(self._open) > MOST_OPEN:
            raise ValueError("has too many blocks in one another")
        self._count += 1
        self._open.append((kind, self._count))
        return self._count

    def _leave(self, kind: str) -> None:
        while len(self._open) > 1:
            if self._open.pop()[0] == kind:
                return

    def _statement(self, tokens: list[Token]) -> None:
        word = tokens[0].text if tokens and tokens[0].kind == "name" else ""
        read = Expressions(tokens[1:])
        if word in FOREIGN:
            self.foreign = self.foreign or word
        elif word.startswith("end"):
            if word[3:] in FRAMES:
                self._leave(word[3:])
        elif word in ("if", "elif", "do", "print"):
            self._use(read.whole())
        elif word == "for":
            self._for(read)
        elif word == "set":
            self._set(read)
        elif word == "macro":
            name = read.name()
            frame = self._enter(word)
            parameters = self._parameters(read, frame, "call")
            alike = self.macros.setdefault(name, [])
            alike.append(Macro(frame, parameters))
            if len(alike) > MOST_ALIKE:
                raise ValueError("has too many macros of one name")
        elif word == "call":
            before, frame = self.frames, self._enter(word)
            if read.at("("):
                self._parameters(read, frame, "called")
            self._flow("use", (), read.whole(), before)
        elif word == "filter":
            self._use(Node("path", (Node("text", ("",)), tuple(read.steps(read.filter())))))
            self._enter(word)
        elif word == "with":
            self._with(read)
        elif word == "block":
            self._enter(word)
        elif word == "autoescape":
            self._use(read.whole())
            self._enter(word)
        elif word not in BARE:
            raise ValueError(
                f"has a statement that is not known here ({word[:40]})" if word else "has a statement without a name"
            )

    def _for(self, read: Expressions) -> None:
        before, frame = self.frames, self._enter("for")
        places = tuple(Place(frame, name) for name in read.targets())
        read.want("in")
        value = read.several(condition=False)
        self._flow("each", places, value, before)
        if read.take("if"):
            self._use(read.either())
        if read.take("recursive"):
            self._flow("again", places, NUMBER, before)
        self.loops[frame] = places
        read.ended()

    def _set(self, read: Expressions) -> None:
        frame = self._open[-1][1]
        places: list[Place] = []
        while True:
            bracket = read.take("(")
            name = read.name()
            places.append(Place(frame, name, read.name() if read.take(".") else ""))
            if bracket and not read.at(","):
                read.want(")")
            if not read.take(",") or read.at("="):
                break
        if read.take(")") or read.take("="):
            read.take("=")
            value = read.several()
            read.ended()
            self._flow("each" if len(places) > 1 else "bind", tuple(places), value, self.frames)
            return
        self._flow("made", tuple(places), NUMBER, self.frames)
        if read.at("|"):
            self._use(Node("path", (Node("text", ("",)), tuple(read.steps([])))))
        self._enter("set")

    def _with(self, read: Expressions) -> None:
        before, frame = self.frames, self._enter("with")
        while not read.end:
            names = read.targets()
            read.want("=")
            how = "each" if len(names) > 1 else "bind"
            self._flow(how, tuple(Place(frame, name) for name in names), read.either(), before)
            if not read.take(","):
                break
        read.ended()

    def _parameters(self, read: Expressions, frame: int, how: str) -> tuple[str, ...]:
        read.want("(")
        names: list[str] = []
        while not read.take(")"):
            names.append(read.name())
            if read.take("="):
                self._flow("bind", (Place(frame, names[-1]),), read.either(), self.frames)
            if not read.at(")"):
                read.want(",")
        if how == "call":
            names += ["varargs", "kwargs"]
        self._flow(how, tuple(Place(frame, name) for name in names), NUMBER, self.frames)
        return tuple(names)
