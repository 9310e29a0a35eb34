"""What a pickle is made of once it has been read as data: names, calls that were not made, dictionaries, sets.

Lists, tuples, text and numbers are Python's own. Dictionaries are lists of pairs, so that no key is ever hashed.
"""

from __future__ import annotations

from array import array
from typing import Any

# Instructions that call, and the one that gives an object its state (Lib/pickle.py).
REDUCE, OBJ, INST, NEWOBJ, NEWOBJ_EX, BUILD = 0x52, 0x6F, 0x69, 0x81, 0x92, 0x62
COMPUTED = "(computed)"  # stands for the module of a name that is put together while the pickle is loaded
BUILTINS = ("builtins", "__builtin__")  # the module as Python 3 calls it, and as Python 2 did


class Global:
    """A name to import: `module` and `name`, the byte `offset` of its first mention, and the positions where it is called.

    `indirect` of the calls are made by something else than an instruction. `pushed` counts how often it was put on the stack,
    `watched` says whether that was counted, and `plain` that calling it needs no more than to be noted.
    """

    __slots__ = ("_path", "indirect", "module", "name", "offset", "plain", "pushed", "sites", "watched")

    def __init__(self, module: str, name: str, offset: int = 0):
        self.module = module
        self.name = name
        self.offset = offset
        self.sites: array[int] | None = None  # none before the first call: most names of a hostile file have none
        self._path: str | None = None
        self.indirect = 0
        self.pushed = 0
        self.watched = False
        self.plain = True

    def called_at(self, offset: int) -> int:
        """Keep where it is called; how often that was."""
        if self.sites is None:
            self.sites = array("Q")
        self.sites.append(offset)
        return len(self.sites)

    @property
    def calls(self) -> int:
        return len(self.sites) if self.sites is not None else 0

    @property
    def path(self) -> str:
        if self._path is None:  # made once: a million objects may be of one class
            self._path = f"{self.module}.{self.name}"
        return self._path

    def __repr__(self) -> str:
        return f"<{self.module}.{self.name}>"


class Call:
    """The result of calling `function` with `args`, had it been called. `state` is from BUILD, the rest from later opcodes.

    `made` says that it is an object that an instruction made of a class without running its __init__.
    """

    __slots__ = ("args", "entries", "function", "items", "made", "state")

    def __init__(self, function: Any, args: Any):
        self.function = function
        self.args = args
        self.state: Any = None
        self.entries: list[tuple[Any, Any]] | None = None
        self.items: list[Any] | None = None
        self.made = False


class Mapping:
    """A dict, OrderedDict, defaultdict or Counter: `pairs` in order, later pairs win. `state` is its own attributes.

    `owner` is the object that was given it as its state, or as a part of that.
    """

    __slots__ = ("owner", "pairs", "state")

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.state: Any = None
        self.owner: Any = None

    def get(self, key: str, default: Any = None) -> Any:
        """The last value under a string key."""
        for name, value in reversed(self.pairs):
            if type(name) is str and name == key:
                return value
        return default


class SetOf:
    """A set, or a frozenset, which can be a key."""

    __slots__ = ("frozen", "items")

    def __init__(self, items: list[Any], frozen: bool = False):
        self.items = items
        self.frozen = frozen


class PersistentId:
    """What a persistent id stands for."""

    __slots__ = ("pid",)

    def __init__(self, pid: Any):
        self.pid = pid


class Mark:
    """The MARK object of the stack."""


MARK = Mark()
LONGEST_NAME = 200  # characters of a module or a name; of longer ones the ends are kept

DICT_CLASSES = {
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "Counter"),
    ("builtins", "dict"), ("__builtin__", "dict"),
}  # fmt: skip

SET_CLASSES = {(module, name) for module in BUILTINS for name in ("set", "frozenset")}


def mapping(pairs: list[tuple[Any, Any]]) -> Mapping:
    """A Mapping that no pickle made."""
    made = Mapping()
    made.pairs = pairs
    return made


def kind_of(value: Any) -> str:
    """What a value is, in a word or two, without showing it."""
    if isinstance(value, Global):
        return "a class or function"
    if isinstance(value, Call):
        return "an object"
    return {Mapping: "a dictionary", SetOf: "a set", Mark: "a mark"}.get(type(value), f"a {type(value).__name__}")


def shortened(name: str) -> str:
    """A name that no code has: its ends, and how long it is. No other name looks like that."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME // 2]}...{name[-LONGEST_NAME // 3 :]} ({len(name):,} characters)"


def is_shortened(name: str) -> bool:
    """Whether a name was longer than any that code has."""
    return name.endswith(" characters)") and len(name) > LONGEST_NAME // 2
