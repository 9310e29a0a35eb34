"""The words that readers look for: every short text that stands in their sources. A change by one of them meets what it is compared with."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import modelscope_cli
from tests.fuzz.guides import ROOMS, guides

LONGEST = 40
LISTING = re.compile(r"[\w.\s]{200,}")  # a text that is a list of words, not a sentence


@cache
def words_of(target: str) -> tuple[str, ...]:
    """The words in the sources of the modules that guide a target."""
    root = Path(modelscope_cli.__file__).parent
    paths = [path for room in ROOMS for path in sorted((root / room).glob("*.py")) if guides(target, f"{room}.{path.stem}")]
    return tuple(dict.fromkeys(word for path in paths for word in texts(path)))


def texts(path: Path) -> list[str]:
    """The texts of a source that are words or lists of words, in the order they stand there."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone]
    found = [value for value in constants if isinstance(value, str) and (" " not in value or LISTING.fullmatch(value))]
    return [word for value in found for word in value.split() if len(word) <= LONGEST]
