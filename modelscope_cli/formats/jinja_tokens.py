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
NEWLINE = re.compile(r"\r\n?")
TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<number>\d[\w.]*)|(?P<name>[^\W\d](?:\w|[^\x00-\x7f\s])*)"""
    r"""|(?P<sign>\*\*|//|==|!=|<=|>=|.)""",
    re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|N\{([^{}]*)\}|(.))", re.DOTALL)
LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", '"': '"', "\\": "\\"}


class Token(NamedTuple):
    """`text` of a string is what it means."""

    kind: str
    text: str


NOTHING = Token("", "")
SHOWN, SAID = Token("block", "{{"), Token("block", "{%")  # what the first token of a block is: an expression, or a statement


def blocks_of(text: str) -> list[list[Token]]:
    """The tokens of every expression and statement, behind what it is. Raises ValueError, in words, for what Jinja does not take."""
    text = NEWLINE.sub("\n", text)  # Jinja does so before anything else, in strings too
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


def as_python_reads(token: Token) -> Token:
    """A name with its letters as Python's compiler has them, to which Jinja hands variables and the names of arguments (PEP 3131)."""
    if token.kind != "name" or token.text.isascii():
        return token
    from unicodedata import normalize

    return Token("name", normalize("NFKC", token.text))


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
        if kind == "name" and not match[0].isidentifier():
            raise ValueError("has a name with letters that names cannot have")
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
    """The letter of an escape, as Python writes them. Jinja writes other letters as escapes of Python's first, and keeps a backslash
    before them."""
    digits = match[1] or match[2] or match[3]
    if digits or match[4]:
        return chr(min(int(digits, 16) if digits else int(match[4], 8), 0x10FFFF))
    if match[6] == "\n":
        return ""
    if match[5] is not None:
        from unicodedata import lookup

        try:
            return lookup(match[5])
        except KeyError:
            return match[0]
    return LETTERS.get(match[6]) or "\\" * (match[6] < "\x80") + match[6].encode("ascii", "backslashreplace").decode()
