"""Chat templates: Jinja text that whoever talks to the model renders, in a sandbox at best. Nothing is rendered here.

    {{ expression }}   {% statement %}   {# comment #}   {% raw %} … {% endraw %}

Two looks. Words by which a template leaves its sandbox are searched for, also in strings put together from several. And an
expression is followed as far as it decides which attribute is taken: `x[…]`, `|attr(…)`, `|map(attribute=…)` by something that the
template itself puts together from strings cannot be judged by reading; few templates of models do it.

Facts: jinja2/lexer.py and parser.py (strings side by side are one string), jinja2/sandbox.py; CVE-2024-34359 in llama-cpp-python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelscope_cli.formats.jinja_tokens import NOTHING, Token, blocks_of

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

MOST_TEXTS = 64
KEPT = 1 << 16  # characters of a template that are handed on
MOST_ROUNDS = 8  # names made of names made of names

GADGETS = re.compile(
    r"__(?:class|mro|base|bases|subclasses|globals|builtins|import|init|getattribute|dict|code|reduce|loader|spec)__"
    r"|\|\s*attr\s*\(|\bfilter\s+attr\b|\bpopen\b|\bsubprocess\b|\bos\s*\.\s*(?:system|exec|spawn)|\b(?:eval|exec)\s*\(|\bimportlib\b"
    r"|\b(?:cycler|joiner|namespace|lipsum|self|config|request|url_for|get_flashed_messages)\s*\.\s*_{1,2}\w+"
    r"|\\x5f\\x5f|['\"]_{2}['\"]\s*[~+]"
)
BUILDING = frozenset("+*%")  # signs that make a string of strings, and numbers of numbers
BUILDERS = frozenset(("join", "replace", "format", "reverse", "urlencode"))  # filters and methods that do
AS_TEXT = frozenset(("string", "escape", "e", "pprint", "tojson", "lower", "upper", "trim", "safe"))  # filters that give text
BY_NAME = frozenset(
    ("attr", "map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max")
)  # take attributes
NUMBERS = frozenset(
    ("length", "count", "int", "index", "find", "rfind", "abs", "round")
)  # filters and methods that give numbers
BEFORE_A_LIST = frozenset(("in", "if", "else", "elif", "and", "or", "not", "is", "set", "for", "print", "return", "do"))
BRACKETS = frozenset("()[]{}")
FOREIGN = frozenset(("include", "import", "from", "extends"))


def template(walk: Walk, where: str, text: str) -> None:
    """Judge a template, and keep it to be shown."""
    most = walk.limits.template_characters
    followed = Followed(text[:most])
    found = sorted({match[0].strip() for part in (text, *followed.strings) for match in GADGETS.finditer(part)})
    if found:
        shown = ", ".join(found[:4])
        walk.sign("template-gadget", where, f"the chat template reaches for {shown}: a way out of a template engine")
    elif followed.strange:
        walk.sign("template-computed", where, f"the chat template {followed.strange}: what it reaches for cannot be told")
    if len(walk.found.texts) < MOST_TEXTS:
        walk.found.texts.append((where, text[:KEPT]))
    if len(text) > most:
        walk.unseen(where, f"what follows the first {most:,} characters of its chat template (--limit template_characters=N)")
    elif len(text) > KEPT:
        walk.unseen(where, f"the template has {len(text):,} characters, {KEPT:,} are shown", quiet=True)


class Followed:
    """What the expressions of a template take. `strange` says what cannot be told; `strings` are those put together of several."""

    def __init__(self, text: str):
        self.strange = ""
        self.strings: list[str] = []
        self.texts: set[str] = set()  # names that may stand for a text of the template
        self.made: set[str] = set()  # names that stand for what it puts together
        try:
            blocks = [joined(block, self.strings) for block in blocks_of(text)]
        except ValueError as problem:
            self.strange = str(problem)
            return
        self._follow_names(self._flows(blocks))
        for block in blocks:
            self._look(block)

    def _flows(self, blocks: list[list[Token]]) -> list[tuple[set[str], list[Token]]]:
        """(names, what they come to stand for): set, looped over, or handed to a macro."""
        macros = {block[1].text: names_in(block[2:]) for block in blocks if len(block) > 2 and block[0].text == "macro"}
        flows: list[tuple[set[str], list[Token]]] = []
        for block in blocks:
            first = block[0].text if block else ""
            signs = [token.text if token.kind != "string" else "" for token in block]
            mark = {"set": "=", "for": "in"}.get(first, "")
            if mark and mark in signs:
                at = signs.index(mark)
                flows.append(({block[at - 1].text} if "." in signs[:at] else names_in(block[1:at]), block[at + 1 :]))
            elif first == "set":  # what stands between {% set x %} and {% endset %}
                self.made |= names_in(block[1:])
            elif first in ("with", "macro") and "=" in signs:
                flows.append((names_in(block[1:]), block[1:]))
            for at, token in enumerate(block[:-1]):
                if first != "macro" and token.text in macros and token.kind == "name" and signs[at + 1] == "(":
                    flows.append((macros[token.text], block[at + 2 : closing(block, at + 1)]))
        return flows

    def _follow_names(self, flows: list[tuple[set[str], list[Token]]]) -> None:
        """Find the names that stand for texts, and those made of them."""
        for _ in range(MOST_ROUNDS):
            before = len(self.texts) + len(self.made)
            for names, value in flows:
                if is_number(value):
                    continue
                if self.is_text(value):
                    self.texts |= names
                if self.computed(value):
                    self.made |= names
            if len(self.texts) + len(self.made) == before:
                return
        self.strange = "makes names of names in too many steps"

    def is_text(self, tokens: list[Token]) -> bool:
        """Whether it may give a text that stands in the template, or one made by a filter."""
        return any(
            token.kind == "string" or (token.kind == "name" and (token.text in self.texts or (at and token.text in AS_TEXT)))
            for at, token in enumerate(tokens)
        )

    def computed(self, tokens: list[Token]) -> bool:
        """Whether it is made of texts that the template puts together, or of a name that stands for such."""
        for at, token in enumerate(tokens):
            before = tokens[at - 1] if at else NOTHING
            after = tokens[at + 1] if at + 1 < len(tokens) else NOTHING
            if token.kind == "string" and after == Token("sign", "["):
                return True
            if token.kind == "name":
                if after == Token("sign", "="):
                    continue
                if token.text in self.made or token.text.endswith("_token"):
                    return True
                if token.text in BUILDERS and before.text in (".", "|"):
                    return True
            elif token.kind == "sign" and (
                token.text == "~"
                or (token.text in BUILDING and (self._part(before) or self._part(after)) and self.is_text(tokens))
            ):
                return True
        return False

    def _part(self, token: Token) -> bool:
        """Whether what stands beside a plus may be a text."""
        return token.kind == "string" or (token.kind == "name" and token.text in self.texts) or token.text in BRACKETS

    def _look(self, block: list[Token]) -> None:
        """Go through one block for what takes attributes."""
        if block and block[0].kind == "name" and block[0].text in FOREIGN:
            self.strange = self.strange or f"takes in another file ({block[0].text})"
        for at, token in enumerate(block):
            if token.kind != "sign" or not at:
                continue
            before = block[at - 1]
            if token.text == "[" and is_value(block, at - 1):
                inside = block[at + 1 : closing(block, at)]
                if not is_slice(inside) and (self.computed(inside) or calls_in(inside)):
                    self.strange = self.strange or "takes an attribute by a name that it puts together"
            elif token.text == "(" and before.text in BY_NAME and at > 1 and block[at - 2].text == "|":
                inside = block[at + 1 : closing(block, at)]
                if before.text == "map" and inside and inside[0] == Token("string", "attr"):
                    self.strings.append("|attr(")
                elif self.computed(inside):
                    self.strange = self.strange or f"gives the filter {before.text} a name that it puts together"


def joined(block: list[Token], strings: list[str]) -> list[Token]:
    """The block with strings side by side as one; what comes of them, and of those added up, goes into `strings`."""
    result: list[Token] = []
    added = ""
    for token in block:
        if token.kind == "string" and result and result[-1].kind == "string":
            result[-1] = Token("string", result[-1].text + token.text)
            added += token.text
        elif token.kind == "string":
            added += token.text
            result.append(token)
        else:
            if token.text not in ("+", "~"):
                strings += [added] if added else []
                added = ""
            result.append(token)
    strings += [added] if added else []
    return result


def closing(block: list[Token], at: int) -> int:
    """Where the bracket that opens at `at` closes, or the end."""
    depth = 0
    for index in range(at, len(block)):
        if block[index].kind == "sign":
            depth += (block[index].text in "([{") - (block[index].text in ")]}")
            if not depth:
                return index
    return len(block)


def names_in(tokens: list[Token]) -> set[str]:
    """All names."""
    return {token.text for token in tokens if token.kind == "name"}


def is_number(tokens: list[Token]) -> bool:
    """Whether only numbers come of it: range(…), or a filter that counts at its end."""
    if len(tokens) > 2 and tokens[0].text == "range" and closing(tokens, 1) == len(tokens) - 1:
        return True
    return (
        len(tokens) > 2
        and tokens[-1].text in NUMBERS
        and tokens[-2].text == "|"
        and all(one.kind != "sign" or one.text in ".|" for one in tokens)
    )


def is_value(block: list[Token], at: int) -> bool:
    """Whether a bracket behind this token takes something out of it, and does not begin a list."""
    before = block[at]
    if before.kind == "name":
        return before.text not in BEFORE_A_LIST or (at > 0 and block[at - 1].text == ".")
    return before.kind == "string" or before.text in (")", "]", "}")


def is_slice(tokens: list[Token]) -> bool:
    """Whether a colon stands in it, outside of brackets."""
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            if token.text == ":" and not depth:
                return True
            depth += (token.text in "([{") - (token.text in ")]}")
    return False


def calls_in(tokens: list[Token]) -> bool:
    """Whether something is called in it, or put through a filter, of which more than a number comes."""
    for at, token in enumerate(tokens[:-1]):
        after = tokens[at + 1]
        if token.text == "|" and token.kind == "sign" and after.text not in NUMBERS:
            return True
        if token.kind == "name" and token.text not in (*NUMBERS, *BEFORE_A_LIST) and after == Token("sign", "("):
            return True
    return False
