"""How many levels of modules are told apart: all that a model can have, fewer where the names of a file are absurd.

A module costs a kilobyte and ten microseconds in every table and tree. A file of 300,000 tensors can name a million of them.
"""

from __future__ import annotations

from collections.abc import Iterable

DEEPEST = 64  # levels of modules; longer names keep the rest as one part
LEVELS = (DEEPEST, 3, 2, 1, 0)  # tried one after another
MOST_MODULES = 150_000  # a model of 200,000 tensors has half as many, and most of them in equal layers
MOST_PARTS = 600_000  # of the paths of all modules together
PATH_CHARACTERS = 100_000_000  # and their characters


def cut(path: str, levels: int) -> str:
    """The upper levels of a path."""
    return ".".join(path.split(".", levels)[:levels]) if len(path) > levels and path.count(".") >= levels else path


def levels_of(paths: Iterable[str]) -> int:
    """The most levels at which the modules of these paths, with those around them, are few enough to be told apart."""
    distinct = set(paths)
    parts = sum([path.count(".") for path in distinct]) + len(distinct)
    if parts <= MOST_MODULES and sum(map(len, distinct)) * DEEPEST <= PATH_CHARACTERS:
        return DEEPEST
    deepest = max([path.count(".") for path in distinct]) + 1  # more levels than that cut nothing off, and are all the same
    tried = [levels for levels in LEVELS if levels == DEEPEST or levels < deepest]
    if deepest <= DEEPEST and len(distinct) > MOST_MODULES + 1:
        tried.remove(DEEPEST)
    return next((levels for levels in tried if _few(distinct, levels)), 0)


def _few(paths: set[str], levels: int) -> bool:
    modules: set[str] = set()
    characters = 0
    for each in paths:
        path = cut(each, levels)
        while path and path not in modules:
            modules.add(path)
            characters += len(path)
            path = path.rpartition(".")[0]
        if len(modules) > MOST_MODULES or characters > PATH_CHARACTERS:
            return False
    return True
