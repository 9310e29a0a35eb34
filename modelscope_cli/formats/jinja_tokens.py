"""Jinja templates taken apart into tokens, block by block, as its own lexer does; nothing is rendered or compiled.

    {{ expression }}   {% statement %}   {# comment #}   {% raw %} … {% endraw %}

Facts: jinja2/lexer.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_NESTED = 40  # brackets in one another
RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
END_OF_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
OPENING = re.compile(r"\{\{|\{%|\{#")
TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)"""
    r"""|(?P<sign>\*\*|//|==|!=|<=|>=|.)""",
    re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|N\{([^{}]*)\}|(.))", re.DOTALL)


class Token(NamedTuple):
    """`text` of a string is what it means."""

    kind: str
    text: str


NOTHING = Token("", "")
SHOWN, SAID = Token("block", "{{"), Token("block", "{%")  # what the first token of a block is: an expression, or a statement


def blocks_of(text: str) -> list[list[Token]]:
    """The tokens of every expression and statement, behind what it is. Raises ValueError, in words, for what Jinja does not take."""
    blocks = []
    position = 0
    while opening := OPENING.search(text, position):
        if opening[0] == "{#":
            end = text.find("#}", opening.end())
            if end < 0:
                raise ValueError("has a comment without an end")
            position = end + 2
            continue
        raw = RAW.match(text, opening.start())
        if raw:
            last = END_OF_RAW.search(text, raw.end())
            position = last.end() if last else len(text)
            continue
        tokens, position = tokens_of(text, opening.end(), "}}" if opening[0] == "{{" else "%}")
        blocks.append([SHOWN if opening[0] == "{{" else SAID, *tokens])
    return blocks


def tokens_of(text: str, position: int, end: str) -> tuple[list[Token], int]:
    """The tokens up to the end of a block, and the position behind it."""
    tokens: list[Token] = []
    depth = 0
    if text[position : position + 1] in ("-", "+"):
        position += 1
    while True:
        if not depth:
            if text.startswith(end, position):
                return tokens, position + 2
            if text.startswith(end, position + 1) and text[position] in "-+":
                return tokens, position + 3
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError("has a block without an end")
        position = match.end()
        kind = match.lastgroup or "sign"
        if kind == "blank":
            continue
        if kind == "sign":
            if match[0] in "'\"":
                raise ValueError("has a string without an end")
            depth += (match[0] in "([{") - (match[0] in ")]}")
            if not 0 <= depth <= MOST_NESTED:
                raise ValueError("has brackets that do not belong together")
        tokens.append(Token(kind, meaning(match[0]) if kind == "string" else match[0]))


def meaning(written: str) -> str:
    """What a string stands for, escapes and all."""
    return ESCAPE.sub(unescaped, written[1:-1]) if "\\" in written else written[1:-1]


def unescaped(match: re.Match[str]) -> str:
    """The letter of an escape, as Python writes them."""
    digits = match[1] or match[2] or match[3]
    if digits or match[4]:
        return chr(min(int(digits, 16) if digits else int(match[4], 8), 0x10FFFF))
    if match[5] is not None:
        from unicodedata import lookup

        try:
            return lookup(match[5])
        except KeyError:
            return match[0]
    return {"\n": "", "n": "\n", "t": "\t", "r": "\r"}.get(match[6], match[6])
