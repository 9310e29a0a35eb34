"""Values of YAML that are expressions of Python: what programs that read the file give to eval().

    activation: __import__('os').system('id')           a value behind a key, to the end of its line or further down
    - [-1, 1, "__import__('os').system('id')", [64]]    an entry of a list on one line
    names: >-                                           a text in lines, which are one (those behind | are a program)
      __import__('os').system('id')

YAML is searched, not parsed (scan_yaml says why). A value is what stands behind keys and marks on a line, with the lines below that are
further in. Told is what is an expression as a whole: neither commands (python -c "…"), nor programs of several lines, nor words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_cli.formats.evaluated_words import has_hint
from modelscope_cli.formats.scan_evaluated import EVALUATED, INSTANTIATOR, LAYERS, Looking
from modelscope_cli.formats.scan_yaml import BREAKS

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

# What may stand before a value: marks of lists and keys, tags, anchors, and a key.
MARKS = re.compile(r"(?:[-?][ \t]++|[&!][^\s,\[\]{}\"']*+[ \t]++)++")
KEY = re.compile(r"""(?:"([^"\n]{0,200})"|'([^'\n]{0,200})'|([^\s"'\[\]{},#&*!|>%@`:(][^:\n#(]{0,200}))[ \t]*:(?:[ \t]++|$)""")
BLOCK = re.compile(r"([|>])[-+0-9]*+[ \t]*+$")
ITEM = re.compile(r""""((?:[^"\\]|\\.)*+)"|'((?:[^']|'')*+)'|([^\s,\[\]{}"'][^,\[\]{}]*+)""")
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
COMMENT = re.compile(r"""(?:^|[ \t])#[^"'\n]*+$""")
GOES_ON = re.compile(r"(?<!\\)\\ ")  # the end of a line that goes on, in a text in quotes
MONAI = re.compile(r"\b(?:_target_|imports|_meta_|bundle_root|network_def|monai_version|_requires_)\b")
KEYS = (INSTANTIATOR, LAYERS, *sorted(EVALUATED))  # that are looked at without a word that tells


def texts_in_yaml(walk: Walk, where: str, text: str) -> None:
    """Look through a text in YAML."""
    expressions = "$" in text and MONAI.search(text) is not None
    if not (expressions or "\\" in text or any(key in text for key in KEYS) or has_hint(text)):
        return
    looking = Looking(walk, where, expressions=expressions)
    for key, value in values(text.replace("\r\n", "\n").translate(BREAKS).split("\n")):
        for name, inner in texts_of(key, value):
            looking.text(name, inner)
    if looking.evaluated:
        times = f", {looking.evaluated:,} times" if looking.evaluated > 1 else ""
        walk.sign("computed-target", where, f"a text that begins with $ has something called: MONAI evaluates it{times}")


def values(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(the key, what stands behind it) of every value that may be a text."""
    at = 0
    above = ""  # the key of a value that begins on the next line
    while at < len(lines):
        line = lines[at]
        at += 1
        inner = line.lstrip(" \t")
        if not inner or inner[0] == "#":
            continue
        indent = len(line) - len(inner)
        key, value, column = taken_apart(inner)
        marked = value != inner.rstrip()
        indent += column
        key, above = key or ("" if inner[0] == "-" else above), ""
        if not value:
            above = key
            continue
        block = BLOCK.match(value)
        least = indent if marked else indent - 1  # lines that are further in go on
        stop = at
        while stop < len(lines) and (
            not (below := lines[stop].lstrip(" \t"))
            or (len(lines[stop]) - len(below) > least and (block or marked or taken_apart(below)[1] == below.rstrip()))
        ):
            stop += 1
        rest = [each.strip() for each in lines[at:stop]]
        at = stop
        if block is not None:
            yield key, (" " if block[1] == ">" else "\n").join(rest)
        elif rest and value[0] in "[{":
            yield from ((key, each) for each in (value, *rest))
            yield key, " ".join([COMMENT.sub("", each) for each in (value, *rest)])
        else:
            yield key, GOES_ON.sub("", " ".join([value, *rest])) if rest else value


def taken_apart(inner: str) -> tuple[str, str, int]:
    """The last key of a line, "" for none, what stands behind all keys and marks, and the column of the last of those."""
    key, at, column = "", 0, 0
    while True:
        found = MARKS.match(inner, at)
        if found is None:
            found = KEY.match(inner, at)
            if found is None:
                return key, inner[at:].rstrip(), column
            key = (found[1] or found[2] or found[3] or "").strip()
            column = at
        else:
            column = at + max(0, found[0].rstrip().rfind("-"), found[0].rstrip().rfind("?"))
        at = found.end()


def texts_of(key: str, value: str) -> Iterator[tuple[str, str]]:
    """The texts of a value: itself, without its quotes, or those of a list or a mapping."""
    value = value.strip()
    if value[:1] not in ("[", "{", '"', "'"):
        yield key, value
        return
    if value[0] in "[{" and key:
        key = f"{key}[]"  # an entry is not what stands under the key
    for match in ITEM.finditer(value):
        if match[1] is not None:
            yield key, ESCAPE.sub(_unescaped, match[1])
        elif match[2] is not None:
            yield key, match[2].replace("''", "'")
        else:
            inner, text, _ = taken_apart(match[3])
            key = inner or key
            if text:
                yield key, text


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits is None:
        return {"n": "\n", "t": "\t", "r": "\n", "_": " "}.get(match[4], match[4])
    number = int(digits, 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
