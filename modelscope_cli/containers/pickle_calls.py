"""What the calls of a pickle become, and who else calls what it is given: the notes that a pickle machine takes.

    REDUCE, NEWOBJ, OBJ, INST    a Call; dictionaries and sets are made at once, functions with a reader are read
    a function that calls        the calls that it makes of its arguments are noted too (pickle_callers.CALLERS)
    a stored attribute           what a BUILD stores under a name that unpickling calls counts as called

The first calls of each function are kept with their arguments, and of all of them where they stand.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from modelscope_cli.containers.odd_attributes import of_state, of_tensor_state, tables_in
from modelscope_cli.containers.odd_shapes import ODD_PICKLE, TOO_MUCH, Budget, Shape, may_be_odd, of_call
from modelscope_cli.containers.odd_states import ADDRESS, DETOUR, FORGED, PROTOCOLS, Dtypes, is_dtype, may_become_odd, odd_state
from modelscope_cli.containers.pickle_callers import BY_BUILD, BY_NAME, CALLERS, OF_CONTAINERS, STATES, attributes_in, is_import
from modelscope_cli.containers.pickle_nodes import DICT_CLASSES, SET_CLASSES, Call, Global, Mapping, SetOf, kind_of
from modelscope_cli.core.limits import Limits
from modelscope_cli.errors import LimitError

MOST_CALLS = 32  # calls of one function that a trace tells of with their arguments
MOST_STRANGE_CALLS = 1_000  # the same of functions that are themselves results of calls, all together
MOST_STORED = 10_000  # attributes that unpickling would call, of which is remembered whose they are
MOST_SHAPES = 20_000  # odd calls of different names
DEEPEST_CALL = 20  # functions that call functions that call …

Readers = dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]]  # functions whose result the caller knows how to read


class PickleCalls:
    """The calls of one pickle stream, as its machine comes to them."""

    looks_through = False  # whether readers are asked also where a function is called by another one

    def __init__(self, data: bytes | bytearray, where: str, limits: Limits, readers: Readers | None = None):
        self.data = data
        self.where = where
        self.limits = limits
        self.readers = readers or {}
        self.calls: list[tuple[int, Any, Any, str]] = []  # (position, function, arguments, through): the first of each function
        self.stored: dict[int, tuple[Any, dict[str, Any]]] = {}  # by identity: attributes that unpickling would call
        self.searched = 0  # entries of states
        self.asked: dict[str, int] = {}  # how often an attribute was given that asks for memory
        self.copied = 0  # entries copied by calls such as OrderedDict(other)
        self.built: dict[int, int] = {}  # by identity of a class: how many of its objects were given a state
        self.strange_calls = 0
        self.dtypes = Dtypes()
        self.budget = Budget()
        self.shapes: set[tuple[str, ...]] = set()  # what is odd, and with which names: each is told once

    def _note(self, target: Any, shapes: Iterable[Shape], offset: int) -> None:
        """Keep what is odd about a call or a state of `target`."""
        for kind, why, names in shapes:
            known = (why, *[name.path for name in names])
            if known in self.shapes:
                continue
            if len(self.shapes) >= MOST_SHAPES:
                kind, why, names = ODD_PICKLE, "more odd calls than are looked at", ()
            self.shapes.add(known)
            if len(self.shapes) <= MOST_SHAPES + 1:
                self.calls.append((offset, target, (why, *names), kind))
        if self.budget.left < 0 and not self.budget.told:
            self.budget.told = True
            self._note(target, [(ODD_PICKLE, TOO_MUCH, ())], offset)

    def _reduce(self, function: Any, args: Any, offset: int) -> Any:
        """The node for function(*args), called at `offset`. Dictionary classes become a Mapping at once."""
        if type(args) is not tuple:
            args = self._arguments(args)
        if type(function) is Global:
            sites = function.sites
            if sites is None:
                sites = function.sites = array("Q")
            sites.append(offset)
            if len(sites) <= MOST_CALLS:
                self.calls.append((offset, function, args, ""))
            return Call(function, args) if function.plain else self._special(function, args, offset)
        if self.strange_calls < MOST_STRANGE_CALLS:
            self.strange_calls += 1
            self.calls.append((offset, function, args, ""))
        return Call(function, args)

    def _arguments(self, args: Any) -> tuple[Any, ...]:
        """The arguments of a call that are given as something else than a tuple."""
        raise TypeError(f"arguments of a call are {kind_of(args)}, not a tuple")

    def _special(self, function: Global, args: tuple[Any, ...], offset: int) -> Any:
        """The node for a call of a function that is known to make a container, to have a reader, or to call what it is given."""
        key = (function.module, function.name)
        if may_be_odd(key):
            self._note(function, of_call(function, args, self.data[offset], self.budget), offset)
        if key in self.readers:
            return self.readers[key](args)
        if key in DICT_CLASSES:
            made = Mapping()
            if args and type(args[-1]) in (Mapping, list, tuple):
                self._count_copy(args[-1].pairs if type(args[-1]) is Mapping else args[-1])
            if args and type(args[-1]) is Mapping:
                made.pairs += args[-1].pairs
            elif args and type(args[-1]) in (list, tuple):  # protocol 0 and 1: OrderedDict([[key, value], …])
                made.pairs += [(pair[0], pair[1]) for pair in args[-1] if type(pair) in (list, tuple) and len(pair) == 2]
            return made
        if key in SET_CLASSES:
            items = args[0] if args and type(args[0]) in (list, tuple) else []
            self._count_copy(items)
            return SetOf(list(items), function.name == "frozenset")
        self._calls_on(function, args, offset)
        result = Call(function, args)
        place = STATES.get(key, -1)
        if 0 <= place < len(args):
            if place and any([is_dtype(arg) for arg in args[:place]]):
                self.calls.append((offset, result, (DETOUR,), FORGED))  # no other way to give it a state is honest
            self._note(function, of_tensor_state(function, args[place]), offset)
            self._store_attributes(result, args[place], offset)
        return result

    def _note_build(self, target: Any, state: Any, offset: int) -> None:
        """A state that is given to the object of a call, or to a class itself."""
        self._note(target, of_state(target, state, self.budget), offset)
        for part in state if type(state) is tuple else (state,):
            if type(part) is Mapping:
                part.owner = target
                for table in tables_in(part):
                    table.owner = target
        if self.stored:
            self._use_stored(target, BY_BUILD, (state,), offset)
        owner = target.function if isinstance(target, Call) else target
        if isinstance(owner, Global):
            times = self.built[id(owner)] = self.built.get(id(owner), 0) + 1
            odd = odd_state(target, state, self.dtypes)
            if odd is not None:
                self.calls.append((offset, target, (odd[1],), odd[0]))
            elif times <= MOST_CALLS or may_become_odd(target, state) or is_import(target):
                self.calls.append((offset, target, (state,), ""))

    # What is called by something else than an instruction --------------------------------------------------------------

    def _calls_on(self, function: Global, args: tuple[Any, ...], offset: int, depth: int = 0) -> None:
        """Note the calls that a function makes of what it is given."""
        given = CALLERS.get((function.module, function.name))
        if given is None:
            return
        if depth > DEEPEST_CALL:
            self._too_deep(offset)
            return
        for callee, passed in given(args, self.data[offset]):
            self._called_by(function.path, callee, passed, offset, depth)

    def _too_deep(self, offset: int) -> None:
        raise LimitError("nesting", DEEPEST_CALL, f"more than {DEEPEST_CALL}", path=self.where, offset=offset)

    def _called_by(self, through: str, callee: Any, args: Any, offset: int, depth: int = 0, *, stored: bool = False) -> None:
        """Note a call that something else makes. What is neither a name nor the result of a call cannot be called.

        What is `stored` is called later, with what nobody knows yet.
        """
        passed = args if type(args) is tuple else (args,)
        if type(callee) is Global:
            callee.indirect += 1
            if callee.called_at(offset) <= MOST_CALLS:
                self.calls.append((offset, callee, passed, through))
            if self.looks_through and not stored and (callee.module, callee.name) in self.readers:
                self.readers[callee.module, callee.name](passed)
            self._calls_on(callee, passed, offset, depth + 1)
        elif type(callee) is Call and self.strange_calls < MOST_STRANGE_CALLS:
            self.strange_calls += 1
            self.calls.append((offset, callee, passed, through))

    def _store_attributes(self, target: Any, state: Any, offset: int) -> None:
        """Note what a state makes attributes of `target` that unpickling, or whoever uses it, calls by their names."""
        for pairs in attributes_in(state):
            self.searched += len(pairs)
            if self.searched > self.limits.opcodes:  # as no stream gives that gives each of its objects a state of its own
                most = f"more than {self.limits.opcodes:,} entries of states"
                raise LimitError("opcodes", self.limits.opcodes, most, path=self.where, offset=offset)
            for key, value in pairs:
                if type(value) in (Global, Call) and (key in BY_NAME if type(key) is str else type(key) in (Call, Global)):
                    self._store(target, key if type(key) is str else "", value, offset)
                if type(key) is str and key in PROTOCOLS:
                    self._ask_for_memory(target, key, offset)

    def _ask_for_memory(self, target: Any, key: str, offset: int) -> None:
        """Note an attribute by which numpy or torch asks an object for memory: the same is said of each."""
        self.asked[key] = self.asked.get(key, 0) + 1
        if self.asked[key] <= MOST_CALLS:
            self.calls.append((offset, target, (key,), ADDRESS))

    def _store(self, target: Any, name: str, value: Any, offset: int) -> None:
        """Storing it counts as a call: of what comes of it later not all is seen. An object that can be added to is ordinary."""
        before = len(self.calls)
        if type(value) is Global or name not in OF_CONTAINERS:
            self._called_by(name or "a computed attribute", value, (), offset, stored=True)
        noted = before if len(self.calls) > before else -1
        if len(self.stored) < MOST_STORED:
            self.stored.setdefault(id(target), (target, {}))[1][name] = (value, noted)

    def _use_stored(self, target: Any, names: tuple[str, ...], args: tuple[Any, ...], offset: int) -> None:
        """An instruction calls what was stored under one of these names, if something was."""
        attributes: dict[str, Any] = self.stored.get(id(target), (None, {}))[1]
        for name in names:
            value, noted = attributes.get(name, (None, -1))
            if value is not None:
                self._called_by(name, value, args, offset)
            if noted >= 0 and len(self.calls) > noted + 1 and self.calls[-1][1] is value:
                self.calls[noted] = self.calls.pop()  # the call that storing it stood for, now with its arguments
                attributes[name] = (value, -1)

    def _count_copy(self, entries: Sequence[Any]) -> None:
        """A call that copies what it is given counts as that many objects."""
        self.copied += len(entries)
        if self.copied > self.limits.objects:
            raise LimitError("objects", self.limits.objects, f"more than {self.limits.objects:,}", path=self.where)

    def _store_entries(self, target: Any, items: list[Any], offset: int) -> None:
        """The entries of what may be an object's own attributes."""
        for key, value in zip(items[::2], items[1::2], strict=False):
            if type(key) is not str:
                continue
            if type(value) in (Global, Call) and key in BY_NAME:
                self._store(target, key, value, offset)
            if key in PROTOCOLS:
                self._ask_for_memory(target, key, offset)
