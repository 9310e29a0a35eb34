"""What a model is called with, as people write it: `int64[1,50]<98631`, `float32[1,3,224,224]`, `mask=bool[1,1,8,8]`.

    [name=]dtype[size,size,…][<bound]     a tensor
    [name=]16000, 0.5, true, none         itself

With a name it is a keyword argument, without one the next positional argument. Integers are drawn below the bound (2 if
there is none, which every embedding has rows for), other numbers from a normal distribution; a bool is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.errors import SettingsError

INTEGERS = ("int8", "int16", "int32", "int64", "uint8")
DTYPES = (*INTEGERS, "float16", "bfloat16", "float32", "float64", "bool", "complex64")
SHORT = {"int": "int64", "long": "int64", "float": "float32", "half": "float16", "double": "float64"}
SPEC = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<dtype>\w+)\[(?P<shape>[\d,\s]*)\](?:<(?P<below>\d+))?", re.ASCII)
BOUNDS = {  # the highest bound, and how it is written
    "int8": (1 << 7, "2^7"),
    "int16": (1 << 15, "2^15"),
    "int32": (1 << 31, "2^31"),
    "int64": ((1 << 63) - 1, "2^63 - 1"),
    "uint8": (1 << 8, "2^8"),
}
PLAIN = "plain"
WORDS = {"true": True, "false": False, "none": None}
PLAIN_VALUE = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<value>true|false|none|[+-]?\d{1,18}|[+-]?\d{1,18}\.\d{0,18}(?:e[+-]?\d{1,3})?)",
    re.ASCII | re.IGNORECASE,
)
MOST_DIMENSIONS = 16
MOST_ELEMENTS = 1 << 30
EXAMPLE = "write it like 'int64[1,50]<98631' (token ids), 'float32[1,3,224,224]' (a picture) or 'mask=bool[1,8]'"


class InputSpec(NamedTuple):
    """One argument. `name` None: positional. Integers are drawn from 0 to `below` - 1. `dtype` PLAIN: no tensor but `value`."""

    name: str | None
    dtype: str
    shape: tuple[int, ...] = ()
    below: int | None = None
    value: int | float | bool | None = None

    def __str__(self) -> str:
        name = f"{self.name}=" if self.name else ""
        if self.dtype == PLAIN:
            return name + ("none" if self.value is None else repr(self.value).lower())
        below = f"<{self.below}" if self.below is not None else ""
        return f"{name}{self.dtype}[{','.join(map(str, self.shape))}]{below}"


def parse(text: str) -> InputSpec:
    """One argument. Raises SettingsError that says what is wrong with it."""
    plain = PLAIN_VALUE.fullmatch(text.strip())
    if plain is not None:
        return InputSpec(plain["name"], PLAIN, value=plain_value(plain["value"].lower()))
    match = SPEC.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text[:80]!r} is no description of an input", hint=EXAMPLE)
    dtype = SHORT.get(match["dtype"], match["dtype"])
    if dtype not in DTYPES:
        raise SettingsError(f"{match['dtype'][:40]!r} in {text[:80]!r} is no dtype; known are {', '.join(DTYPES)}")
    sizes = [size.strip() for size in match["shape"].split(",")] if match["shape"].strip() else []
    if not all(sizes):
        raise SettingsError(f"a size is missing in {text[:80]!r}", hint=EXAMPLE)
    if not all(size.isdecimal() for size in sizes):
        raise SettingsError(f"a comma is missing between the sizes of {text[:80]!r}", hint=EXAMPLE)
    if len(sizes) > MOST_DIMENSIONS or any(len(size) > 10 for size in sizes):
        raise SettingsError(f"{text[:80]!r} is larger than an input can be")
    shape = tuple(map(int, sizes))
    if 0 in shape or math.prod(shape) > MOST_ELEMENTS:
        raise SettingsError(f"{text[:80]!r} has {math.prod(shape):,} elements; from 1 to {MOST_ELEMENTS:,} can be drawn")
    below = None
    if match["below"] is not None:
        if dtype not in INTEGERS:
            raise SettingsError(f"a bound ('<') is for integers, not for {dtype}: {text[:80]!r}")
        below = int(match["below"][:19])
        most, written = BOUNDS[dtype]
        if not 0 < below <= most or len(match["below"]) > 19:
            raise SettingsError(f"the bound of {text[:80]!r} must be from 1 to {written}, the most that {dtype} holds")
    return InputSpec(match["name"], dtype, shape, below)


def plain_value(text: str) -> int | float | bool | None:
    """What a word or number stands for."""
    if text in WORDS:
        return WORDS[text]
    return float(text) if "." in text or "e" in text else int(text)


def parse_all(texts: Sequence[str]) -> list[InputSpec]:
    """All arguments of a call. Raises SettingsError, for a name that comes twice too."""
    specs = [parse(text) for text in texts]
    names = [spec.name for spec in specs if spec.name]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"the input {name!r} is given twice")
    return specs
