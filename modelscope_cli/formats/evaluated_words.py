"""Texts that are Python and reach for something: what a program that evaluates a text in a file would run.

    __import__('os').system('id')                     names of classes, sizes and expressions that programs give to eval()
    a = 1\nfrom os import system\nsystem('id')        a whole program, as configurations of OpenMMLab are
    Use os.system('id') to list users.                words: two names stand side by side, which Python never has

A text is never parsed. Without its comments and its texts, no two names of Python stand side by side, and some signs stand nowhere;
what is left is read for calls with an argument that is more than a name. So neither a token such as `eval(` nor a signature such as
`eval(source)` counts. Facts: Python's language reference, 2.3 (names are taken in their NFKC form), 2.5, 6 and 7.
"""

from __future__ import annotations

import keyword
import re

from modelscope_cli.formats.evaluated_hints import ATTRIBUTES, HINTS, MODULES, SPECIAL, UNPICKLERS
from modelscope_cli.formats.source_words import ALIAS, FROM, OF_MODULES, PIECE, as_ascii, bare

FORMATTED = frozenset(("f", "fr", "rf", "t", "tr", "rt"))  # prefixes of texts with expressions in them
LONGEST_TOLD = 60
RUN = "eval|exec|execfile|compile|__import__"  # functions of Python itself
OF_BUILTINS = "eval|exec|compile|open|__import__|[gs]etattr|breakpoint"
OF_OS = r"exec\w*|spawn\w*|remove\w*|unlink|rename\w*|replace|fork\w*|kill\w*|chmod|rmdir|symlink|link|truncate|putenv"
COMPATIBLE_LETTER = re.compile(
    "[\uff21-\uff3f\uff41-\uff5a\ufb00-\ufb06\ufe33\ufe34\ufe4d-\ufe4f\U0001d400-\U0001d7ff\xaa\xba\u017f\u02b0-\u02b8\u02e0-\u02e3"
    "\u1d2c-\u1d6f\u1d9b-\u1dbf\u2071\u207f\u2090-\u209c\u2100-\u217f\u2c7c\u2c7d\ua7f2-\ua7f4]"
)
HINT = re.compile(HINTS)  # without one of these nothing is told
_ARGUMENT = r' ?\( ?(?=[^()"\[{]*+["(\[{])'  # more than a name
CALLS = re.compile(
    rf"(?<![\w.])(?:{RUN}|open|breakpoint){_ARGUMENT}"
    r"|(?<![\w.])(?:getattr|setattr|delattr|vars) ?\( ?(?:os|sys|builtins|posix|nt|subprocess|__\w{1,30}__)\b"
    r"|(?<![\w.])(?:globals|locals|vars) ?\([^()]{0,80}\) ?[\[.]"
    rf"|\. ?(?:{ATTRIBUTES}|hub ?\. ?load\w*){_ARGUMENT}"
    rf"|(?<![\w.])os ?\. ?(?:{OF_OS}){_ARGUMENT}"
    rf"|(?<![\w.])(?:{MODULES}) ?\. ?\w{{1,40}}(?: ?\. ?\w{{1,40}}){{0,3}}{_ARGUMENT}"
    rf"|(?<![\w.])builtins ?\. ?(?:{OF_BUILTINS})\b|(?<![\w.])(?:{UNPICKLERS}) ?\. ?(?:loads?|Unpickler){_ARGUMENT}"
    rf"|\b__(?:{SPECIAL})__ ?[.\[(]|\b__(?:builtins|self)__\b|\bsys ?\. ?modules ?[.\[]"
)
HANDED = re.compile(rf"[(\[,=] ?(?:{RUN}) ?(?=[,)\]]|$)")  # a function of Python's as a value, to be called by another name
LATER = re.compile(
    rf"\bfrom (?:{MODULES}|builtins) import\b|\bimport (?:subprocess|ctypes|pty|runpy|posix|nt|marshal|builtins)\b"
)
BRACKETS = re.compile(r"[()\[\]{}]")
CALLED = re.compile(r"[\w)\]\"] ?\(")
SOFT = ("_", "case", "lazy", "match", "type")  # keywords in some places, to one Python or another
_WORD = rf"(?!(?:{'|'.join((*keyword.kwlist, *SOFT))})\b)[^\W\d]\w*+"
PROSE = re.compile(rf"(?<![\w.]){_WORD}[ \t]++{_WORD}|[`?$\\]|!(?!=)|\{{%")  # what stands nowhere in Python
BEGINS_PROGRAM = re.compile(
    r"\s*+(?:(?:import|from|def|class|with|for|if|while|try|return|raise|async|assert|del)\b|@|[\w.]++ ?=(?!=))"
)
SHAPE = re.compile(
    r"[()\[\]{}\n;]|[=!<>:]=|[=:]"
    r"|\b(?:lambda|for|import|def|class|return|raise|del|assert|with|while|try|pass|global|nonlocal)\b"
)


def has_hint(text: str) -> bool:
    """Whether one of the words may be in a text that has brackets."""
    if "(" not in text and "[" not in text:
        return False
    return HINT.search(text) is not None or (not text.isascii() and COMPATIBLE_LETTER.search(text) is not None)


def effort(text: str) -> int:
    """What it takes to look at a text: its quotes count most."""
    return len(text) // 8 + text.count("'") + text.count('"') + text.count("#")


def calls_in(text: str, *, programs: bool = False) -> list[str]:
    """The calls of a text that is an expression of Python, or of one that is any Python, that reach for something; else nothing."""
    if not has_hint(text):
        return []
    text = as_ascii(text)
    code, formatted = without_texts(text)
    if formatted:
        if not programs and BEGINS_PROGRAM.match(code):
            return []
    elif PROSE.search(code) is not None or not (is_whole(code) if programs else is_expression(code)):
        return []
    line = " ".join(code.split())
    found = {match[0] for match in CALLS.finditer(line)}
    if formatted:
        found |= {match[0] for match in CALLS.finditer(" ".join(bare(text).split()))}
    if '""' in code and CALLED.search(code):
        found |= {match[0] for match in HANDED.finditer(line)}
    if programs:
        found |= imported(code)
    return sorted({name.strip(" (=,[.")[:LONGEST_TOLD] for name in found})


def without_texts(text: str) -> tuple[str, bool]:
    """What is left of Python without comments and what its texts say, a line a line; and whether there are expressions in a text."""
    formatted = False

    def left(match: re.Match[str]) -> str:
        nonlocal formatted
        if match[1] is None:
            return " "
        formatted = formatted or match[1].lower() in FORMATTED
        return '""'

    code = PIECE.sub(left, text.strip().replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"[^\S\n]++", " ", code), formatted


def is_expression(code: str) -> bool:
    """Whether something without texts has the form of an expression: eval() takes nothing else."""
    depth = functions = 0
    for match in SHAPE.finditer(code.strip()):
        sign = match[0]
        if sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth < 0:
                return False
        elif sign == "lambda":
            functions += 1
        elif sign == ":" and not depth:
            functions -= 1
            if functions < 0:
                return False
        elif sign in ("for", "\n", ":=") or (sign == "=" and not functions):  # lambda name=value: …
            if not depth:
                return False
        elif sign == ";" or sign.isalpha():
            return False
    return not depth


def is_whole(code: str) -> bool:
    """Whether each bracket of something without texts is closed."""
    depth = 0
    for match in BRACKETS.finditer(code):
        depth += 1 if match[0] in "([{" else -1
        if depth < 0:
            return False
    return not depth


def imported(code: str) -> set[str]:
    """What a program without its texts takes of modules that can do harm, or calls by another name."""
    found = {match[0] for match in LATER.finditer(code)}
    for match in FROM.finditer(code):
        names = re.findall(rf"\*|\b(?:{OF_MODULES[match[1]]})\b", match[2])
        found |= {f"from {match[1]} import {name}" for name in names}
    return found | {
        f"{module} as {alias}" for module, alias in ALIAS.findall(code)[:4] if module in ("posix", "nt", "builtins", "pty")
    }


def is_call(text: str) -> bool:
    """Whether a text that should be a literal is an expression that calls something, with more than a name or by more than a word."""
    if "(" not in text:
        return False
    code, formatted = without_texts(as_ascii(text))
    if formatted:
        return BEGINS_PROGRAM.match(code) is None
    if PROSE.search(code) is not None or not is_expression(code):
        return False
    return re.search(rf'\w{_ARGUMENT}|[.\]")] ?\w*+ ?\(', code) is not None
