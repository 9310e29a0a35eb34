"""States that no pickler writes: attributes by which the file says what a method is, or which nobody sees.

    obj.__setstate__([…])                a list, or an object, where a dictionary of attributes belongs: torch.nn.Module takes both
    {"__class__": …}, {f(): …}           another class, attributes with computed names
    {"forward": f}                       a function under the name of a method, which torch calls on its own objects
    {"_modules": obj, "_parameters": …}  tables of a module that are objects, or hold what is no part of a module
    state[…] = …  after BUILD            attributes that come when nobody looks any more

A class that nobody has judged may write its states in any way, so most of this is odd only for classes known to be harmless.
Sources: Lib/pickle.py (load_build), torch/nn/modules/module.py (__setstate__, __getattr__), torch/_utils.py (_set_obj_state).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelscope_cli.containers.method_names import MODULE_METHODS, TENSOR_METHODS
from modelscope_cli.containers.odd_shapes import (
    FORGED_PICKLE,
    ODD_IF_HARMLESS,
    ODD_PICKLE,
    RANDOM,
    Budget,
    Shape,
    class_of,
    is_object,
    is_of_modules,
    is_plain_state,
    is_text,
    objects_in,
)
from modelscope_cli.containers.odd_states import VALUES
from modelscope_cli.containers.pickle_callers import OF_MODULES
from modelscope_cli.containers.pickle_nodes import BUILTINS, Call, Global, Mapping, PersistentId

LISTS = frozenset((module, name) for module in BUILTINS for name in ("list", "tuple", "dict"))
DICTIONARY_METHODS = frozenset(
    {"keys", "items", "values", "get", "update", "copy", "pop", "popitem", "setdefault", "clear", "move_to_end"}
)

CALLED = "_compiled_call_impl"  # what a module does instead of its forward; torch never saves it
HOOKS = frozenset(
    f"_{kind}_hooks"
    for kind in (
        "forward",
        "forward_pre",
        "backward",
        "backward_pre",
        "full_backward",
        "state_dict",
        "load_state_dict_pre",
        "load_state_dict_post",
    )
)

UNSEEN_STATE = "an object is given a state that another call returns, so nobody sees its attributes"
NO_ATTRIBUTES = "an object is given a state that is no dictionary of attributes"
NO_TABLE = "a module is given a table of its parts that is an object: reading from it runs what the object says"
NO_PART = "a module is given a part that is no module: torch calls it as one"
OF_STORAGE = "attributes are given to a storage, which has none: its methods then call what the file says"
OWN_DICT = "all attributes of an object are replaced, by the attribute __dict__"
OWN_CLASS = "an object is given another class, by the attribute __class__"
COMPUTED_NAME = "an object is given an attribute whose name is computed while the file is loaded"
INSTEAD = "an object is given a function, or an object, under the name of one of its methods"
LATER = "attributes are added to a state after it was given"


def of_state(target: Any, state: Any, budget: Budget) -> Iterator[Shape]:
    """What is odd about a state that BUILD gives to `target`."""
    cls = class_of(target) if type(target) is Call else None
    if type(target) is PersistentId:
        yield FORGED_PICKLE, OF_STORAGE, ()
    of_modules = cls is not None and is_of_modules(cls)
    parts = state if type(state) is tuple and len(state) <= 4 else ()
    if any([type(one) is Call and _is_made_list(one) for one in (state, *parts)]):
        yield FORGED_PICKLE, UNSEEN_STATE, ()
    if (
        cls is not None
        and type(state) is not Mapping
        and ((of_modules and not _in_a_row(cls, state)) or _is_odd(cls, state, budget))
    ):
        yield ODD_IF_HARMLESS, NO_ATTRIBUTES, (cls,)
    for part in (state, *parts):
        if type(part) is Mapping:
            yield from _of_attributes(target, cls, part, slots=bool(parts) and part is parts[-1])


def _in_a_row(cls: Global, state: Any) -> bool:
    """Whether it is a quantised layer, some of which write their attributes without names (torch.ao.nn.quantized.modules.conv)."""
    return ".quantized." in cls.module and type(state) is tuple and len(state) in (3, 15)


def of_tensor_state(function: Global, state: Any) -> Iterator[Shape]:
    """What is odd about the attributes that a function gives to the tensor that it rebuilds."""
    for part in state if type(state) is tuple else (state,):
        if type(part) is Mapping:
            for name, value in part.pairs:
                if type(name) is str and name in TENSOR_METHODS and _may_be_called(value):
                    yield ODD_IF_HARMLESS, INSTEAD, (function, *_named_by(value))


def of_later(target: Any) -> Iterator[Shape]:
    """What is odd about entries for a dictionary that an object was given as its state."""
    cls = class_of(target) if type(target) is Call else None
    yield ODD_IF_HARMLESS, LATER, (cls,) if cls is not None else ()


def tables_in(state: Mapping) -> list[Mapping]:
    """The tables of a module's parts among its attributes."""
    return [value for name, value in state.pairs if type(value) is Mapping and type(name) is str and name in OF_MODULES]


def _of_attributes(target: Any, cls: Global | None, part: Mapping, *, slots: bool) -> Iterator[Shape]:
    of_modules = cls is not None and is_of_modules(cls)
    methods = MODULE_METHODS if of_modules else DICTIONARY_METHODS if type(target) is Mapping else ()
    known = (cls,) if cls is not None else ()
    for name, value in part.pairs:
        if type(name) is not str:
            if type(name) in (Call, Global, PersistentId):
                yield (ODD_IF_HARMLESS, COMPUTED_NAME, known) if known else (ODD_PICKLE, COMPUTED_NAME, ())
            continue
        if of_modules and name == CALLED and value is not None:
            yield FORGED_PICKLE, INSTEAD, ()
        elif of_modules and name in HOOKS and type(value) is Mapping:
            yield from [
                (ODD_IF_HARMLESS, INSTEAD, (*known, *_named_by(hook))) for _, hook in value.pairs if _may_be_called(hook)
            ]
        elif of_modules and name in HOOKS and type(value) in (Call, PersistentId):
            yield ODD_PICKLE, NO_TABLE, ()
        elif name == "__class__" and type(value) in (Global, Call):
            yield FORGED_PICKLE, OWN_CLASS, ()
        elif name == "__dict__":  # which some classes write into a state of their own
            yield (FORGED_PICKLE, OWN_DICT, ()) if slots or cls is None else (ODD_IF_HARMLESS, OWN_DICT, (cls,))
        elif name in OF_MODULES:
            if type(value) in (Call, PersistentId):
                yield ODD_PICKLE, NO_TABLE, ()
            elif type(value) is Mapping and of_modules and name == "_modules":
                yield from _of_modules(known, value)
        elif name in methods and _may_be_called(value):
            yield ODD_IF_HARMLESS, INSTEAD, (*known, *_named_by(value))


def _of_modules(known: tuple[Global, ...], table: Mapping) -> Iterator[Shape]:
    for _, value in table.pairs:
        if type(value) is Global:
            yield ODD_IF_HARMLESS, NO_PART, (*known, value)
        elif type(value) is Call:
            cls = class_of(value)
            if cls is not None and not is_of_modules(cls):
                yield ODD_IF_HARMLESS, NO_PART, (*known, cls)


def _may_be_called(value: Any) -> bool:
    """Whether a value is a function, or an object of a class that has a method for being called, as far as that can be told."""
    if type(value) is not Call:
        return type(value) is Global
    cls = class_of(value)
    return cls is None or is_of_modules(cls) or not (is_object(value) or cls.name.startswith("_rebuild_"))


def _named_by(value: Any) -> tuple[Global, ...]:
    """The name that decides what a value is."""
    named = value if type(value) is Global else class_of(value)
    return (named,) if named is not None else ()


def _is_odd(cls: Global, state: Any, budget: Budget) -> bool:
    """Whether a state that is no dictionary is an object, or holds some where the class does not keep what it is given."""
    if is_plain_state(state) or (cls.module, cls.name) in VALUES or cls.module == "itertools":
        return False
    if type(state) in (Call, Global, PersistentId):
        return not (type(state) is Call and is_text(state))
    found = objects_in((state,), budget)
    if cls.module.startswith(RANDOM):  # a generator of bits and what it was seeded by
        made = [class_of(one) if type(one) is Call else None for one in found]
        return not all([cls is not None and cls.module.startswith(RANDOM) for cls in made])
    return any(True for _ in found)


def _is_made_list(node: Call) -> bool:
    return type(node.function) is Global and (node.function.module, node.function.name) in LISTS
