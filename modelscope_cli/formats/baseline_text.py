"""JSON laid out for `git diff`: one thing a line, and nothing in it that a terminal would obey."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from modelscope_cli.core.condensed import well_formed

# What is never written as itself: the rule of the other outputs, which the formats know nothing of.
UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffc\ufffe\uffff\U000e0000-\U000e007f]"
)


class Line(NamedTuple):
    """A value that is written on one line."""

    value: Any


def encoded(document: dict[str, Any]) -> bytes:
    """The document as UTF-8 with a newline at the end."""
    return UNSAFE.sub(_escaped, well_formed(written(document))).encode() + b"\n"


def written(value: Any, indent: str = "") -> str:
    """JSON with two spaces a level, and what is a Line on one line."""
    if isinstance(value, Line):
        return json.dumps(value.value, ensure_ascii=False)
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{json.dumps(key, ensure_ascii=False)}: {written(inner, deeper)}" for key, inner in value.items()]
        return "{\n" + ",\n".join([deeper + entry for entry in entries]) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join([deeper + written(inner, deeper) for inner in value]) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _escaped(match: re.Match[str]) -> str:
    """A character as JSON escapes it, in two halves beyond the first plane."""
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
