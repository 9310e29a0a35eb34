"""Values of YAML that are expressions of Python: what programs that read the file give to eval().

    activation: __import__('os').system('id')           a value behind a key, to the end of its line or further down
    - [-1, 1, "__import__('os').system('id')", [64]]    an entry of a list on one line
    names: >-                                           a text in lines, which are one (those behind | are a program)
      __import__('os').system('id')

YAML is searched, not parsed (scan_yaml says why). A value is what stands behind keys and marks on a line, with the lines below that are
further in. Told is what is an expression as a whole: neither commands (python -c "…"), nor programs of several lines, nor words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_cli.formats.evaluated_words import has_hint
from modelscope_cli.formats.scan_evaluated import (
    EVALUATED_OF_EXPORTS,
    INSTANTIATOR,
    LAYERS,
    OF_EXPORTS,
    TRUST,
    Looking,
    is_consent,
)
from modelscope_cli.formats.scan_yaml import BREAKS

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

# What may stand before a value: marks of lists and keys, tags, anchors, and a key.
MARKS = re.compile(r"(?:(?:---|[-?:])[ \t]++|!<[^>\n]*+>[ \t]++|[&!][^\s,\[\]{}\"']*+[ \t]++)++")
KEY = re.compile(  # of so many characters at most, says YAML
    r"""(?:"([^"\n]{0,1024})"|'([^'\n]{0,1024})'|([^\s"'\[\]{},#&*!|>%@`:](?:(?![ \t]\#)[^\n]){0,1023}?))[ \t]*:(?:[ \t]++|$)"""
)
BLOCK = re.compile(r"([|>])[-+0-9]*+[ \t]*+$")
# Of a list or a mapping on one line: a text, which may be a key, or what stands up to the next sign or a text behind a key.
ITEM = re.compile(
    r"""(?:"((?:[^"\\]|\\.)*+)"|'((?:[^']|'')*+)')([ \t]*+:)?|([^\s,\[\]{}"':](?:[^,\[\]{}"']|(?<!:)(?<!:[ ])["'])*+)"""
)
COLON = re.compile(r":[ \t]++")
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
COMMENT = re.compile(r"(?:^|[ \t])#")
GOES_ON = re.compile(r"(?<!\\)\\ ")  # the end of a line that goes on, in a text in quotes
MONAI = re.compile(r"\b(?:_target_|imports|_meta_|bundle_root|network_def|monai_version|_requires_)\b")
KEYS = (INSTANTIATOR, *LAYERS, TRUST, *sorted(EVALUATED_OF_EXPORTS))  # that are looked at without a word that tells


def texts_in_yaml(walk: Walk, where: str, text: str) -> None:
    """Look through a text in YAML."""
    expressions = "$" in text and MONAI.search(text) is not None
    if not (expressions or "\\" in text or any(key in text for key in KEYS) or has_hint(text)):
        return
    exported = os.path.basename(where or str(walk.found.path)) in OF_EXPORTS
    looking = Looking(walk, where, expressions=expressions, exported=exported)
    for key, value in values(text.replace("\r\n", "\n").translate(BREAKS).split("\n")):
        for name, inner in texts_of(key, value):
            looking.text(name, inner)
            looking.trusts = looking.trusts or (name == TRUST and is_consent(uncommented(inner)))
    looking.finish()


def values(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(the key, what stands behind it) of every value that may be a text."""
    at = 0
    above = asked = ""  # the key of a value that begins on the next line, and one that stands by itself behind a ?
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
        if inner[0] == "?":
            asked = value.strip("\"'")
        elif inner[0] == ":":
            key = key or asked
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
            yield key, " ".join([uncommented(each) for each in (value, *rest)])
        else:
            yield key, GOES_ON.sub("", " ".join([value, *rest])) if rest else value


def taken_apart(inner: str) -> tuple[str, str, int]:
    """The last key of a line, "" for none, what stands behind all keys and marks, and the column of the last of those."""
    key, at, column = "", 0, 0
    last = inner.rfind(":")
    while True:
        found = MARKS.match(inner, at)
        if found is None:
            found = KEY.match(inner, at) if at <= last else None
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
    for match in ITEM.finditer(COLON.sub(": ", value)):
        if match[4] is None:
            text = ESCAPE.sub(_unescaped, match[1]) if match[1] is not None else match[2].replace("''", "'")
            if match[3]:
                key = text
            else:
                yield key, text
        else:
            inner, text, _ = taken_apart(match[4])
            key = inner or key
            if text:
                yield key, text


def uncommented(line: str) -> str:
    """A line without its comment, if no quote stands in that."""
    comment = COMMENT.search(line, 1 + max(line.rfind('"'), line.rfind("'")))
    return line[: comment.start()] if comment is not None else line


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits is None:
        return {"n": "\n", "t": "\t", "r": "\r", "_": " "}.get(match[4], match[4])
    number = int(digits, 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
