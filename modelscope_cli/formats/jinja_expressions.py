"""Jinja's expressions as trees, from their tokens; nothing is rendered or compiled.

An expression is a Node: what it is, and its parts. Chains of operators and of steps are one node, however long, so that a tree is
as deep as its brackets and no deeper. Facts: jinja2/parser.py, nodes.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from modelscope_cli.formats.jinja_tokens import NOTHING, Token

COMPARED = frozenset(("==", "!=", "<", ">", "<=", ">="))
CONSTANTS = frozenset(("true", "false", "none", "True", "False", "None"))
NO_ARGUMENT = frozenset(("else", "or", "and", "if", "in", "is", "not", "recursive"))  # what follows a test and is none of its


class Node(NamedTuple):
    """`parts` by kind:

    text (string)   number ()   name (string)   list (nodes)   dict (keys, values)   any (nodes; one of them is the value)
    use (nodes; no more than a number or a truth comes of it)   asked (nodes; nothing comes of it)   sum, concat, product (nodes; signs)
    path (node, steps): . (name)   [ (node)   [: (nodes)   ( (nodes, {name: node})   | (name, nodes, {name: node})   is (nodes)
    """

    kind: str
    parts: tuple[Any, ...] = ()


NUMBER = Node("number")


class Expressions:
    """The expressions of one block, from left to right."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.position = 0

    @property
    def end(self) -> bool:
        return self.position >= len(self.tokens)

    def peek(self) -> Token:
        return self.tokens[self.position] if self.position < len(self.tokens) else NOTHING

    def at(self, text: str) -> bool:
        token = self.peek()
        return token.text == text and token.kind != "string" and bool(token.kind)

    def take(self, text: str) -> bool:
        found = self.at(text)
        self.position += found
        return found

    def want(self, text: str) -> None:
        if not self.take(text):
            raise ValueError(f"has a block in which {text} is missing")

    def ended(self) -> None:
        if not self.end:
            raise ValueError("has a block that goes on where it should end")

    def name(self) -> str:
        token = self.peek()
        if token.kind != "name":
            raise ValueError("has a block in which a name is missing")
        self.position += 1
        return token.text

    def whole(self) -> Node:
        """All that is left."""
        value = self.several()
        self.ended()
        return value

    def targets(self) -> list[str]:
        """Names that a loop binds, in brackets or not."""
        names = []
        while not self.end and not self.at("in") and not self.at("="):
            if not self.take(",") and not self.take("(") and not self.take(")"):
                names.append(self.name())
        return names

    def several(self, *, condition: bool = True) -> Node:
        """One value, or a tuple without brackets."""
        values: list[Node] = []
        while not self.end and not self.at(")") and not (values and (self.at("=") or self.at("recursive"))):
            values.append(self.either() if condition else self.logic())
            if not self.take(","):
                return values[0] if len(values) == 1 else Node("list", tuple(values))
        return Node("list", tuple(values))

    def either(self) -> Node:
        """`a if b else c`, and what binds closer."""
        values = [self.logic()]
        asked: list[Node] = []
        while self.take("if"):
            asked.append(self.logic())
            if not self.take("else"):
                break
            values.append(self.logic())
        return Node("any", (*values, Node("asked", tuple(asked)))) if asked else values[0]

    def logic(self) -> Node:
        """`and`, `or`, `not`, comparisons."""
        values: list[Node] = []
        while True:
            turned = False
            while self.take("not"):
                turned = True
            compared = [self.plus()]
            while self._comparison():
                compared.append(self.plus())
            values.append(Node("use", tuple(compared)) if turned or len(compared) > 1 else compared[0])
            if not self.take("and") and not self.take("or"):
                return Node("any", tuple(values)) if len(values) > 1 else values[0]

    def _comparison(self) -> bool:
        token = self.peek()
        if token.kind == "sign" and token.text in COMPARED:
            self.position += 1
            return True
        if self.at("not") and self.tokens[self.position + 1 : self.position + 2] == [Token("name", "in")]:
            self.position += 2
            return True
        return self.take("in")

    def plus(self) -> Node:
        """`+` and `-`."""
        values, signs = [self.tilde()], []
        while self.at("+") or self.at("-"):
            signs.append(self.peek().text)
            self.position += 1
            values.append(self.tilde())
        return Node("sum", (tuple(values), tuple(signs))) if signs else values[0]

    def tilde(self) -> Node:
        """`~`."""
        values = [self.times()]
        while self.take("~"):
            values.append(self.times())
        return Node("concat", tuple(values)) if len(values) > 1 else values[0]

    def times(self) -> Node:
        """`*`, `/`, `//`, `%`, `**`."""
        values, signs = [self.path()], []
        while self.peek().kind == "sign" and self.peek().text in ("*", "/", "//", "%", "**"):
            signs.append(self.peek().text)
            self.position += 1
            values.append(self.path())
        return Node("product", (tuple(values), tuple(signs))) if signs else values[0]

    def path(self) -> Node:
        """A value with what is taken out of it, called, or put through filters and tests. A sign is for what stands before these."""
        signed = False
        while self.take("-") or self.take("+"):
            signed = True
        value = self.value()
        steps: list[Node] = []
        if signed:
            while self._taken_out(steps):
                pass
            value = Node("use", (Node("path", (value, tuple(steps))) if steps else value,))
            steps = []
        self.steps(steps)
        return Node("path", (value, tuple(steps))) if steps else value

    def value(self) -> Node:
        """A constant, a name, or what stands in brackets."""
        token = self.peek()
        self.position += 1
        if token.kind == "string":
            text = token.text
            while self.peek().kind == "string":
                text += self.peek().text
                self.position += 1
            return Node("text", (text,))
        if token.kind == "number":
            names = [name for name in token.text.split(".") if name and not name[0].isdigit()]  # 1.real
            return Node("path", (NUMBER, tuple(Node(".", (name,)) for name in names))) if names else NUMBER
        if token.kind == "name":
            return NUMBER if token.text in CONSTANTS else Node("name", (token.text,))
        if token == Token("sign", "("):
            value = self.several()
            self.want(")")
            return Node("any", (value,))
        if token == Token("sign", "["):
            listed = self._listed("]")
            return Node("list", tuple(listed))
        if token == Token("sign", "{"):
            return self._dict()
        raise ValueError("has a block in which a value is missing")

    def _listed(self, close: str) -> list[Node]:
        values: list[Node] = []
        while not self.take(close):
            values.append(self.either())
            if not self.at(close):
                self.want(",")
        return values

    def _dict(self) -> Node:
        keys, values = [], []
        while not self.take("}"):
            keys.append(self.either())
            self.want(":")
            values.append(self.either())
            if not self.at("}"):
                self.want(",")
        return Node("dict", (tuple(keys), tuple(values)))

    def steps(self, steps: list[Node]) -> list[Node]:
        """Everything that follows a value."""
        while True:
            if self.at("|"):
                self.filter(steps)
            elif self.take("is"):
                steps.append(self._test())
            elif not self._taken_out(steps):
                return steps

    def _taken_out(self, steps: list[Node]) -> bool:
        """An attribute, a subscript or a call, if there is one."""
        if self.take("."):
            token = self.peek()
            if token.kind == "number":  # x.0.y, where 0.y is taken for a number
                self.position += 1
                names = [name for name in token.text.split(".") if name]
                steps += [Node("[", (NUMBER,)) if name[0].isdigit() else Node(".", (name,)) for name in names]
            else:
                steps.append(Node(".", (self.name(),)))
        elif self.take("["):
            steps.append(self._subscript())
        elif self.take("("):
            steps.append(Node("(", self._arguments()))
        else:
            return False
        return True

    def filter(self, steps: list[Node] | None = None) -> list[Node]:
        """A filter, behind its sign or, in a statement, without."""
        steps = [] if steps is None else steps
        self.take("|")
        name = self.name()
        while self.take("."):
            name += "." + self.name()
        steps.append(Node("|", (name, *(self._arguments() if self.take("(") else ((), {})))))
        return steps

    def _subscript(self) -> Node:
        parts: list[Node] = []
        sliced = False
        while not self.take("]"):
            if self.take(":"):
                sliced = True
            elif self.take(","):
                parts.append(NUMBER)
            else:
                parts.append(self.either())
        if sliced or not parts:
            return Node("[:", tuple(parts))
        return Node("[", (parts[0] if len(parts) == 1 else Node("list", tuple(parts)),))

    def _arguments(self) -> tuple[tuple[Node, ...], dict[str, Node]]:
        values: list[Node] = []
        named: dict[str, Node] = {}
        while not self.take(")"):
            if self.take("**"):
                named["**"] = self.either()
            elif self.take("*"):
                values.append(Node("path", (self.either(), (Node("[", (NUMBER,)),))))
                named["*"] = NUMBER  # that there is one
            elif self.peek().kind == "name" and self.tokens[self.position + 1 : self.position + 2] == [Token("sign", "=")]:
                name = self.name()
                self.want("=")
                named[name] = self.either()
            else:
                values.append(self.either())
            if not self.at(")"):
                self.want(",")
        return tuple(values), named

    def _test(self) -> Node:
        self.take("not")
        self.name()
        while self.take("."):
            self.name()
        if self.take("("):
            values, named = self._arguments()
            return Node("is", (*values, *named.values()))
        token = self.peek()
        if (
            token.kind in ("string", "number")
            or self.at("[")
            or self.at("{")
            or (token.kind == "name" and token.text not in NO_ARGUMENT)
        ):
            value = self.value()
            steps: list[Node] = []
            while self._taken_out(steps):  # no filters: they are of what was tested
                pass
            return Node("is", (Node("path", (value, tuple(steps))) if steps else value,))
        return Node("is")
