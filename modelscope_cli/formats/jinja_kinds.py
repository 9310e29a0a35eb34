"""The kinds of values in a chat template, and what Jinja's own names do with them.

Facts: jinja2/filters.py, defaults.py, utils.py (Cycler, Joiner, Namespace), runtime.py (LoopContext).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.formats.jinja_expressions import Node

TEXT = 1  # a text that stands in the template
DATA = 2  # what the program that renders hands in, and what is taken out of it
MADE = 4  # a text that the template puts together or changes
OWN = 8  # what the template makes that has attributes: a dictionary, a namespace
SEQUENCE = 16  # a list, tuple or dictionary of the template
LOOSE = 32  # may itself be a text
OPAQUE = 64  # a variable that is none of the usual ones: publishers can name special tokens as they like
ENGINE = 128  # an object of Jinja's
CALLED = 256  # what is there to be called, and nothing else: a macro, a joiner
LOOP = 512  # the `loop` of a loop
SPACE = 1024  # a namespace
COUNT = 2048  # a number, a truth or None
TEXTS = TEXT | MADE | OPAQUE

INPUTS = frozenset(
    ("messages", "tools", "documents", "functions", "message", "tool", "tool_calls", "custom_tools", "builtin_tools")
)
ENGINES = frozenset(
    ("cycler", "joiner", "lipsum", "range", "dict", "namespace", "self", "caller", "super", "raise_exception", "strftime_now")
)
OF_LOOP = frozenset(
    ("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem", "cycle", "changed")
)  # fmt: skip
NUMBERS = frozenset(
    ("length", "count", "int", "float", "abs", "round", "wordcount", "index", "find", "rfind", "rindex", "startswith", "endswith",
     "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower", "isnumeric", "isdecimal", "bit_length")
)  # fmt: skip
ELEMENTS = frozenset(("first", "last", "random", "min", "max"))
SELECTING = frozenset(
    ("list", "sort", "unique", "select", "reject", "selectattr", "rejectattr", "batch", "slice", "items", "dictsort")
)
VIEWS = frozenset(("keys", "values", "items", "copy"))
CUTTING = frozenset(
    ("split", "rsplit", "splitlines", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix")
)  # add nothing
PUTTING = frozenset(("append", "extend", "insert", "add", "update", "setdefault"))
KEEPING = CUTTING | frozenset(  # no more letters than there were, in the same order: filters, methods, and what reads JSON
    (
        "trim",
        "lower",
        "upper",
        "casefold",
        "capitalize",
        "title",
        "swapcase",
        "string",
        "safe",
        "escape",
        "e",
        "fromjson",
        "from_json",
    )
)
OF_DICTS = frozenset(
    ("clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values")
)  # what Python's dictionaries have is found before what is put into them
METHODS = OF_DICTS | KEEPING | NUMBERS | PUTTING | frozenset(  # of texts, lists, dictionaries and numbers
    ("as_integer_ratio", "center", "conjugate", "encode", "expandtabs", "format", "format_map", "from_bytes", "fromhex", "hex", "isascii",
     "isidentifier", "isprintable", "istitle", "is_integer", "bit_count", "join", "ljust", "maketrans", "partition", "remove", "replace",
     "reverse", "rjust", "rpartition", "sort", "to_bytes", "translate", "zfill")
)  # fmt: skip
FIELDS_TOO = frozenset(  # methods whose names are those of fields of messages and schemas as well
    ("count", "copy", "e", "format", "index", "items", "keys", "length", "title", "values")
)
TAKING = frozenset(("get", "pop", "popitem"))
AT_FIRST = frozenset(("selectattr", "rejectattr", "groupby", "sum"))  # filters whose first argument is an attribute
AT_LAST = frozenset(("sort", "unique", "min", "max", "join"))  # and those to which one may follow the first argument
SPECIAL = re.compile(r"__\w+__|_undefined_\w+|_fail_with_undefined_error")  # of Python's objects; of Jinja's Undefined
MOST_WORDS = 16
MOST_ROUNDS = 10
ANY = "*"


class Given(NamedTuple):
    """The arguments of a call: as they are written, and what they may be."""

    nodes: tuple[Node, ...]
    values: list[int]
    named_nodes: dict[str, Node]
    named: dict[str, int]

    @property
    def whole(self) -> int:
        """All kinds together."""
        kinds = 0
        for value in (*self.values, *self.named.values()):
            kinds |= value
        return kinds

    @property
    def names(self) -> int:
        """Those by which arguments are given, as texts: what takes them in can hand them on."""
        kinds = 0
        for name in self.named:
            if name not in ("*", "**"):
                kinds |= TEXT | (MADE if SPECIAL.fullmatch(name) else 0)
        return kinds
