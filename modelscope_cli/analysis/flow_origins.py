"""Where a constant comes from: two are the same when the same calls made them of the same tensors, whatever their values are."""

from __future__ import annotations

from typing import Any, NamedTuple

from modelscope_cli.core.calls import Call, Kept

FLOWS = -1  # origin of what depends on an input or a parameter


class Origin(NamedTuple):
    """`made`: a number for how it was made. `tensors`: paths of the buffers that it was made of."""

    made: int
    tensors: tuple[str, ...] = ()

    def seen_from(self, path: str) -> tuple[int, tuple[str, ...]]:
        """The same for what belongs to the module at `path` as for another module that has one like it."""
        return self.made, tuple(each.removeprefix(path + ".") for each in self.tensors)


class Fact(NamedTuple):
    """A call that something flows through, without its names."""

    operator: str
    plain: tuple[tuple[str, str], ...]
    slots: tuple[str, ...]
    origins: tuple[Origin, ...]

    def seen_from(self, path: str) -> tuple[Any, ...]:
        return self.operator, self.plain, self.slots, tuple(origin.seen_from(path) for origin in self.origins)


class Origins:
    """Knows the origin of every constant there is so far."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], int] = {}  # how something is made → its number
        self.of: dict[str, Origin] = {}

    def keep(self, tensor: Kept) -> None:
        own = () if tensor.content is not None else (tensor.path,)
        self.of[tensor.name] = Origin(self.number(("tensor", tensor.shape, tensor.content)), own)

    def made(self, call: Call, base: str, flowing: set[str]) -> None:
        """Note a call that nothing flows through; where it works in place, on what it changes, a part of `base`."""
        origins = self.read(call, flowing)
        numbers = tuple(origin.made for origin in origins)
        made = self.number((call.operator, call.plain, tuple(call.slots), numbers, call.shape, call.dtype))
        tensors = tuple(dict.fromkeys(path for origin in origins for path in origin.tensors))
        self.of[call.name] = Origin(made, tensors)
        if call.operator.endswith("_") and call.arguments and not call.operator.endswith("__"):
            before = self.of.get(base, Origin(FLOWS))
            self.of[call.arguments[0]] = self.of[call.name]
            self.of[base] = Origin(self.number(("written", before.made, made)), tuple(dict.fromkeys(before.tensors + tensors)))

    def fact(self, call: Call, flowing: set[str]) -> Fact:
        return Fact(call.operator, call.plain, tuple(call.slots), tuple(self.read(call, flowing)))

    def read(self, call: Call, flowing: set[str]) -> list[Origin]:
        return [Origin(FLOWS) if name in flowing else self.of.get(name, Origin(FLOWS)) for name in call.arguments]

    def number(self, made: tuple[Any, ...]) -> int:
        return self.known.setdefault(made, len(self.known))
