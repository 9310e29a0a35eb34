"""Configurations that name what a program calls: `_target_` in YAML and JSON, and YAML's tags for objects of Python.

    _target_: torch.optim.Adam                    hydra.utils.instantiate imports and calls it, with the keys beside it as arguments;
                                                  .nemo archives, Lightning and many training programs keep such files
    !!python/object/apply:os.system [id]          yaml.load calls it, unless told to be safe
    !<tag:yaml.org,2002:python/name:os.system>    the same tags as they are written in full, or by a handle of a %TAG line

YAML is searched, not parsed, and read as its double-quoted texts are (\\x5f is _). A value that is put together from others cannot
be told. Facts: hydra/_internal/instantiate/_instantiate2.py; yaml/constructor.py, scanner.py (scan_tag_uri takes %XX for a letter).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from modelscope_cli.core.scanned import Target

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

KEY = "_target_"
MOST_TARGETS = 2_000  # of a file
MOST_NODES = 2_000_000
LONGEST = 200  # characters of a name
COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\n[ \t]*)")
COLON = re.compile(r"[\"']?[ \t]*:(?=\s|[\"'\[{])\s*")
ANCHOR = re.compile(r"&([^\s,\[\]{}]+)[ \t]+([^\s,\[\]{}]+)")
PROPERTY = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+|[|>][-+0-9]*[ \t]*\n\s*)*")
VALUE = re.compile(r"""["']?([^\s"',\[\]{}#]*)["']?[ \t]*(?=[\n,\]}]|[ \t]#|\Z)""")
NOTHING = frozenset(("", "???", "null", "~", "None"))  # that call nothing
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+|[^\W\d]\w*")
TAG = re.compile(r"(?:!!|tag:yaml\.org,2002:)python/([\w/]+)(?::([^\s,\[\]{}>]*))?")
HANDLE = re.compile(r"^%TAG[ \t]+\S+[ \t]+(\S*(?:yaml\.org|%)\S*)", re.MULTILINE)
WRITTEN = re.compile(r"!\S{0,400}")
PLAIN = frozenset(
    ("none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict")
)  # data


def scan_yaml(walk: Walk, where: str, text: str) -> None:
    """Look at a text in YAML."""
    if KEY not in text and "python" not in text and "\\" not in text and "%" not in text:
        return
    text = COMMENT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    told = ESCAPE.sub(_unescaped, text) if "\\" in text else text
    if told.count(KEY) > text.count(KEY):
        walk.sign("escaped-text", where, f"YAML in it writes letters of the key {KEY} as escapes, which hides it from a search")
    _targets(walk, where, told)
    _tags(walk, where, WRITTEN.sub(lambda match: unquote(match[0]), told) if "%" in told else told)


def _unescaped(match: re.Match[str]) -> str:
    number = int(next((digits for digits in match.groups() if digits), "0"), 16)
    return chr(number) if 0 < number < 0x110000 else ""


def _targets(walk: Walk, where: str, text: str) -> None:
    """What stands behind each key."""
    anchors = dict(ANCHOR.findall(text)) if "*" in text else {}
    at = text.find(KEY)
    while at >= 0:
        begin = at + len(KEY)
        match = COLON.match(text, begin)
        value = None
        if match is not None:
            inside = PROPERTY.match(text, match.end())
            found = VALUE.match(text, inside.end() if inside else match.end())
            value = found[1] if found is not None else None
            if value and value.startswith("*"):
                value = str(anchors.get(value[1:], value)).strip("\"'")
        if match is not None or not text[begin : begin + 1].isalnum():
            told(walk, where, value)
        at = text.find(KEY, begin)


def told(walk: Walk, where: str, value: str | None) -> None:
    """Keep a name that is looked up, or say that it cannot be told."""
    if value in NOTHING:
        return
    if value is None or not NAME.fullmatch(value):
        walk.sign("computed-target", where, f"what its key {KEY} names is put together from other values, or no name")
    elif len(walk.found.targets) >= MOST_TARGETS:
        walk.unseen(where, f"more than {MOST_TARGETS:,} names behind keys {KEY}")
    elif (target := Target(where, value[:LONGEST])) not in walk.targets:
        walk.targets.add(target)
        walk.found.targets.append(target)


def _tags(walk: Walk, where: str, text: str) -> None:
    """Tags that make objects of Python."""
    for handle in HANDLE.finditer(text):
        target = Target(where, "", handle[0][:LONGEST])
        if target not in walk.targets and len(walk.found.targets) < MOST_TARGETS:
            walk.targets.add(target)
            walk.found.targets.append(target)
    for match in TAG.finditer(text):
        if match[1] in PLAIN:
            continue
        target = Target(where, (match[2] or "")[:LONGEST], f"!!python/{match[1][:40]}")
        if target not in walk.targets and len(walk.found.targets) < MOST_TARGETS:
            walk.targets.add(target)
            walk.found.targets.append(target)


def targets_in(walk: Walk, where: str, document: Any) -> None:
    """The same key in a document of JSON."""
    waiting = [document]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MOST_NODES:
            walk.unseen(where, f"what follows the first {MOST_NODES:,} values of a JSON document")
            return
        if isinstance(node, dict):
            if KEY in node:
                value = node[KEY]
                told(walk, where, "" if value is None else value if isinstance(value, str) else None)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
