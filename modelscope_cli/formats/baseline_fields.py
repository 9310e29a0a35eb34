"""What a reader of baselines asks of JSON: values of the right kind, keys that stand once, names counted before they are made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from modelscope_cli.core.limits import Limits
from modelscope_cli.core.name_patterns import Pattern, parse
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError

LARGEST = 1 << 62
DEEPEST = 200  # levels of nesting in the metadata
SAVE_AGAIN = "save it again: mscope baseline save PATH -o FILE"
_REQUIRED = object()


class Fields:
    """The entries of a JSON object, taken one by one; what is not of the right kind is a CorruptFileError that says where."""

    def __init__(self, value: Any, where: str, path: str):
        self.where = where
        self.path = path
        if type(value) is not dict:
            raise self.wrong("is not a JSON object")
        self._left = dict(value)

    def wrong(self, what: str) -> CorruptFileError:
        """The error for something in this object."""
        return CorruptFileError(f"{self.where}: {what}", path=self.path)

    def inside(self, value: Any, where: str) -> Fields:
        """An object within this one."""
        return Fields(value, f"{self.where}, {where}" if self.where != "the baseline" else where, self.path)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value, whatever it is."""
        found = self._left.pop(key, default)
        if found is _REQUIRED:
            raise self.wrong(f"has no {key!r}")
        return found

    def text(self, key: str) -> str:
        found = self.take(key)
        if type(found) is not str:
            raise self.wrong(f"{key!r} is not text")
        return found

    def natural(self, key: str, default: Any = _REQUIRED) -> int:
        found = self.take(key, default)
        if not is_natural(found):
            raise self.wrong(f"{key!r} is not a whole number of a possible size")
        return int(found)

    def naturals(self, key: str, most: int) -> tuple[int, ...]:
        found = self.take(key)
        if type(found) is not list or not all([is_natural(value) for value in found]):
            raise self.wrong(f"{key!r} is not a list of whole numbers of a possible size")
        if len(found) > most:
            raise LimitError("dimensions", most, len(found), path=self.path)
        return tuple(found)

    def mapping(self, key: str, default: Any = _REQUIRED) -> dict[str, Any]:
        found = self.take(key, default)
        if type(found) is not dict:
            raise self.wrong(f"{key!r} is not a JSON object")
        return found

    def list(self, key: str, default: Any = _REQUIRED) -> list[Any]:
        found = self.take(key, default)
        if type(found) is not list:
            raise self.wrong(f"{key!r} is not a list")
        return found

    def metadata(self, key: str, limits: Limits) -> dict[str, Any]:
        """Free data, bounded in number and depth."""
        found = self.mapping(key, {})
        waiting: list[tuple[Any, int]] = [(found, 0)]
        items = 0
        while waiting:
            value, depth = waiting.pop()
            inner = list(value.values()) if type(value) is dict else value if type(value) is list else ()
            if inner and depth > DEEPEST:
                raise self.wrong(f"{key!r} is nested too deeply")
            items += len(inner)
            waiting += [(child, depth + 1) for child in inner if type(child) in (dict, list)]
        if items > 2 * limits.metadata_items:  # dictionaries are counted here, not only what they hold
            raise LimitError("metadata_items", limits.metadata_items, items, path=self.path)
        return found

    def finish(self) -> None:
        """Nothing may be left: what is not understood could be what matters."""
        if self._left:
            raise self.wrong(f"nothing called {next(iter(self._left))[:80]!r} is known")


def is_natural(value: Any) -> bool:
    """A whole number that a size can be: no bool, no float."""
    return type(value) is int and 0 <= value < LARGEST


class Names:
    """Patterns taken apart, and counted against the limits before anything is unfolded."""

    def __init__(self, limits: Limits, path: str):
        self.limits = limits
        self.path = path
        self._names: Counter[str] = Counter()
        self._characters: Counter[str] = Counter()

    def parsed(self, patterns: Iterable[Any], where: Fields, what: str) -> list[Pattern]:
        """Patterns of names of tensors, modules or whatever `what` says; each sort is counted by itself."""
        found = []
        for text in patterns:
            if type(text) is not str:
                raise where.wrong(f"{what!r} holds something that is no name")
            try:
                pattern = parse(text)
            except ValueError as error:
                raise where.wrong(str(error)) from None
            self.count(what, pattern.names, pattern.names * pattern.longest)
            found.append(pattern)
        return found

    def count(self, what: str, names: int, characters: int) -> None:
        """Add to what there is of a sort. Raises LimitError."""
        self._names[what] += names
        self._characters[what] += characters
        if self._names[what] > self.limits.tensors:
            raise LimitError("tensors", self.limits.tensors, self._names[what], path=self.path)
        if self._characters[what] > self.limits.name_characters:
            raise LimitError("name_characters", self.limits.name_characters, self._characters[what], path=self.path)


def decoded(window: Window, limits: Limits, schema: str) -> Fields:
    """The document, its schema checked. Raises CorruptFileError, LimitError, or UnsupportedFeatureError for another schema."""
    if window.size > limits.header_bytes:
        raise LimitError("header_bytes", limits.header_bytes, window.size, path=window.name)
    raw = window.read(0, window.size, "baseline")
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > limits.objects:  # each takes many times its length in memory
        raise LimitError("objects", limits.objects, values, path=window.name)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise CorruptFileError(f"the baseline has {twice[:200]!r} twice in one place", path=window.name)
        return found

    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no number")

    try:
        found = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=unique, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        told = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CorruptFileError(f"not a whole baseline: {told}", path=window.name, hint=SAVE_AGAIN) from None
    document = Fields(found, "the baseline", window.name)
    actual = document.text("schema")
    if actual != schema:
        raise UnsupportedFeatureError(
            f"a baseline of the schema {actual[:80]!r}; this version reads {schema!r}", path=window.name, hint=SAVE_AGAIN
        )
    return document
