"""What no pickler writes: shapes in a pickle by which attributes are reached, or functions called, without a name that says so.

    f(*g(…))                      arguments, or a state, that another call returned: nobody sees what they are
    list(obj), dict(obj)          goes through an object of the file: torch.nn.ParameterDict answers with any of its attributes
    f(obj), f([obj]), {obj: …}    whoever is given an object of the file calls methods of it, which the file may have set
    obj[key] = …, obj.append(…)   on an object that pickle fills by its state alone: runs methods of a class that is harmless else
    Layer(…)                      runs __init__ of a class whose objects pickle makes without it

All but the first two are odd only where the class, and the function, are known to be harmless: one that nobody has judged may be
pickled in any way. States have a file of their own (odd_attributes.py). Sources: Lib/pickle.py (save_reduce, save_list, save_dict),
copyreg.__reduce_ex__, torch/nn/modules/container.py, torch/_tensor.py (Tensor.__reduce_ex__).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from modelscope_cli.containers.odd_states import DTYPE, VALUES
from modelscope_cli.containers.pickle_callers import ECHOES, REBUILDING_TYPES, STATES
from modelscope_cli.containers.pickle_nodes import (
    BUILTINS,
    DICT_CLASSES,
    INST,
    OBJ,
    REDUCE,
    SET_CLASSES,
    Call,
    Global,
    Mapping,
    PersistentId,
    SetOf,
)

FORGED_PICKLE, ODD_PICKLE = "forged-pickle", "odd-pickle"
ODD_IF_HARMLESS = "odd-if-harmless"  # an odd pickle where the policy calls all the names harmless that stand behind the reason
SHAPES = frozenset({FORGED_PICKLE, ODD_PICKLE, ODD_IF_HARMLESS})
Shape = tuple[str, str, tuple[Global, ...]]  # kind, what is odd, names that decide

RUNNING_INIT = (REDUCE, OBJ, INST)
MAKING = frozenset(  # functions that make an object of the class that they are given first, and do not run its __init__
    (module, name) for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
)
GOING_THROUGH = frozenset(
    {
        (module, name)
        for module in BUILTINS
        for name in ["list", "tuple", "dict", "set", "frozenset", "bytes", "bytearray", "str", "repr", "iter"]
    }
    | {("collections", name) for name in ("OrderedDict", "Counter", "deque", "ChainMap", "UserDict", "UserList")}
)
NAMESPACE = ("types", "SimpleNamespace")  # whose argument is a dictionary of attributes, since Python 3.13
DEFAULTS = ("collections", "defaultdict")  # whose first argument is not gone through
SHOWING = frozenset((module, name) for module in BUILTINS for name in ("str", "repr", "bytes", "bytearray"))
TEXT = frozenset({("_codecs", "encode"), ("codecs", "encode")})  # bytes, as protocols 0 to 2 write them
LATIN = ("latin1", "latin-1")
PARTIALS = frozenset({("functools", "partial"), ("_functools", "partial")})
RECONSTRUCTORS = frozenset((module, "_reconstructor") for module in ("copyreg", "copy_reg"))
WITH_KEYWORDS = frozenset((module, "__newobj_ex__") for module in ("copyreg", "copy_reg"))
COUNTER = ("collections", "Counter")
ROOM = frozenset((module, name) for module in BUILTINS for name in ("bytes", "bytearray"))
NUMBERS = frozenset((module, name) for module in BUILTINS for name in ("int", "long", "float"))
FRACTION = ("fractions", "Fraction")
MOST_ROOM = 1 << 31  # bytes
# What keeps what it is given, and calls none of it: containers, exceptions, and what makes objects of classes.
KEEPING = (
    MAKING
    | DICT_CLASSES
    | SET_CLASSES  # whose items are looked at by themselves
    | {(module, name) for module in BUILTINS for name in ("list", "tuple", "slice", "iter")}
    | {("collections", "deque"), ("itertools", "repeat")}
    | PARTIALS
    | ECHOES
)
FAULTS = ("Error", "Exception", "Warning", "StopIteration")  # how the names of exceptions end
READING_FAULTS = ("OSError", "IOError", "EnvironmentError", "UnicodeDecodeError", "UnicodeEncodeError", "UnicodeTranslateError")
MODULES = ("torch.nn.", "torch.ao.", "torch.quantization.")
NO_MODULES = ("torch.nn.parameter", "torch.nn.backends.thnn", "torch.nn.backends")
SCALARS = frozenset((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core"))
RANDOM = "numpy.random."
STATED = VALUES | {DTYPE}  # functions of numpy whose results are given a state
MOST_LOOKED_AT = 4_000_000  # nodes inside of arguments; no honest file has as many

UNSEEN_ARGUMENTS = "a function is called with arguments that another call returns, so nobody sees them"
NO_TUPLE = "a function is called with arguments that are no tuple"
NO_PAIRS = "a dictionary is made of what are no pairs, so nobody sees its entries"
SHOWN = "text is made of what holds an object, which says by a method of its own how it is shown"
TURNED = "a text is turned into another one by a codec that no pickler uses"
REBUILT = "a tensor is rebuilt in a way that torch does not, which calls and sets what the file says"
OVERWRITTEN = "entries are set on a list, or items put into what is no list: what it holds then, nobody sees"
FILLED = "entries or items are put into an object that pickle fills by its state alone"
BY_INIT = "an object is made by a call, which runs its __init__; pickle makes it without one"
GIVEN = "a function is called with an object of the file, and calls methods of it"
KEY = "an object of the file is a key or an item of a set: methods of it are called to compare it"
OBJECT_SCALAR = "a NumPy scalar that is an object: it gives back what it is given"
OLD_NAME = (
    "a pickle of protocol 3 or later has a name of Python 2, so that a module of that name is imported from wherever one lies"
)
ODD_STORAGE = "a storage is named by an object of the file, methods of which torch calls"
KEYWORDS = "an object is made with arguments by name, which no harmless class is pickled with"
BASE = "an object is made by the __init__ of a class that is no plain container"
FACTORY = "a dictionary makes what is missing by an object of the file"
HUGE = "a number or a text that takes all memory, or all time, to be made"
MANY = "a function is called with more arguments than any code has for one"
TOO_MUCH = "more arguments than are looked at"


class Budget:
    """What may still be looked at inside of arguments and states, all calls of a pickle together."""

    def __init__(self) -> None:
        self.left = MOST_LOOKED_AT
        self.told = False  # whether it was said that there is more


def may_be_odd(key: tuple[str, str]) -> bool:
    """Whether a reader, which calls little else, looks at the calls of a name."""
    return key in GOING_THROUGH or (key[0].startswith(MODULES) and key[0] not in NO_MODULES)


def of_call(function: Any, args: Any, opcode: int, budget: Budget) -> Iterator[Shape]:
    """What is odd about function(*args) where the instruction is `opcode`; 0 where a function calls another one."""
    if type(args) is Call or type(args) is PersistentId:
        yield FORGED_PICKLE, UNSEEN_ARGUMENTS, ()
        return
    if type(function) is not Global:
        return
    if type(args) is not tuple:
        yield ODD_PICKLE, NO_TUPLE, ()
        args = tuple(args) if type(args) is list else tuple(args.items) if type(args) is SetOf else (args,)
    key = (function.module, function.name)
    if key in REBUILDING_TYPES:
        yield from _of_rebuilding(args)
    if key in GOING_THROUGH or key == DEFAULTS:
        through = [arg for arg in args if _is_gone_through(arg) and (key != DEFAULTS or arg is not args[0])]
        if through:
            yield FORGED_PICKLE, f"{function.name}() goes through an object, and so reads attributes that nobody names", ()
    if key == NAMESPACE and args and not (type(args[0]) is Mapping and args[0].state is None):
        yield FORGED_PICKLE, NO_PAIRS, ()
    if key in DICT_CLASSES and args and not _is_table(args[-1]):
        yield FORGED_PICKLE, NO_PAIRS, ()
    if opcode in RUNNING_INIT and is_of_modules(function):
        yield ODD_IF_HARMLESS, BY_INIT, (function,)
    if key in TEXT and not ([type(arg) for arg in args] == [str, str] and args[1] in LATIN):
        yield ODD_PICKLE, TURNED, ()
    if (
        key in RECONSTRUCTORS
        and len(args) == 3
        and type(args[1]) is Global
        and args[1].module not in (*BUILTINS, "collections")
    ):
        yield ODD_IF_HARMLESS, BASE, tuple([arg for arg in args[:2] if type(arg) is Global])
    if key in WITH_KEYWORDS:
        yield from of_keywords(args[0] if args else None, args[2] if len(args) > 2 else None)
    if _is_huge(key, args):
        yield ODD_PICKLE, HUGE, ()
    if key in SCALARS and len(args) > 1 and type(args[-1]) in (Global, Call) and _may_be_objects(args[0]):
        yield ODD_PICKLE, OBJECT_SCALAR, ()
    if not _holds(args):
        return
    if key in SHOWING and any([type(arg) in (list, tuple, Mapping, SetOf) for arg in args]):
        yield from [(FORGED_PICKLE, SHOWN, ()) for _ in objects_in(args, budget)]
    elif key in SET_CLASSES:
        yield from of_keys(args[0] if type(args[0]) in (list, tuple) else (), budget)
    elif key in DICT_CLASSES:
        pairs = args[-1] if type(args[-1]) in (list, tuple) else ()
        yield from of_keys(
            pairs if key == COUNTER else [pair[0] for pair in pairs if type(pair) in (list, tuple) and pair], budget
        )
        made = class_of(args[0]) if key == DEFAULTS and type(args[0]) is Call else None
        if made is not None and (made.module, made.name) not in PARTIALS:
            yield ODD_IF_HARMLESS, FACTORY, (made,)
    elif key not in KEEPING and not is_exception(key):
        seen = args[: STATES[key]] if key in STATES else args
        found = list(objects_in(seen, budget))
        if any([type(one) is Mapping for one in found]):
            yield ODD_IF_HARMLESS, GIVEN, (function,)
        for cls in classes_of(found):
            if not (
                function.module.startswith(RANDOM) and cls.module.startswith(RANDOM)
            ):  # numpy's own: a generator of bits for one of numbers
                yield ODD_IF_HARMLESS, GIVEN, (function, cls)


def _of_rebuilding(args: tuple[Any, ...]) -> Iterator[Shape]:
    """Tensor.__reduce_ex__ gives a function that rebuilds a tensor, the class that it is to have, arguments, and attributes."""
    if len(args) != 4 or type(args[2]) is not tuple or type(args[0]) is not Global or type(args[1]) is not Global:
        yield FORGED_PICKLE, REBUILT, ()
        return
    function, cls = args[:2]
    rebuilds = function.name.startswith("_rebuild_") and (function.module, function.name) not in REBUILDING_TYPES
    if not function.module.startswith("torch.") or not rebuilds or not is_plain_state(args[3]):
        yield ODD_IF_HARMLESS, REBUILT, (function, cls)


def of_keys(keys: Any, budget: Budget) -> Iterator[Shape]:
    """What is odd about the keys of a dictionary, or the items of a set: they are compared, and some classes do that by methods."""
    data: set[int] = set()
    for key in keys:
        for found in objects_in((key,), budget) if type(key) in (Call, tuple, SetOf) else ():
            cls = class_of(found) if type(found) is Call else None
            if type(found) is Call and cls is not None and not is_of_modules(cls) and not _is_data(found, data, budget):
                yield ODD_IF_HARMLESS, KEY, (cls,)


def of_keywords(cls: Any, keywords: Any) -> Iterator[Shape]:
    """What is odd about arguments by name for a class: torch takes addresses so (torch.Tensor(cdata=…))."""
    if type(cls) is Global and not (keywords is None or (type(keywords) is Mapping and not keywords.pairs)):
        known = cls.module.partition(".")[0] == "torch"
        yield (FORGED_PICKLE, KEYWORDS, ()) if known else (ODD_IF_HARMLESS, KEYWORDS, (cls,))


def _is_huge(key: tuple[str, str], args: tuple[Any, ...]) -> bool:
    """Whether a call of few bytes makes something without measure."""
    if not args:
        return False
    if key in ROOM:
        return type(args[0]) is int and args[0] > MOST_ROOM
    if key == FRACTION:
        return type(args[0]) is str and "e" in args[0].lower()
    return key in NUMBERS and type(args[0]) is Call and not is_text(args[0])


def of_filling(target: Call) -> Iterator[Shape]:
    """What is odd about entries or items for an object."""
    cls = class_of(target)
    if cls is not None:
        yield ODD_IF_HARMLESS, FILLED, (cls,)


def objects_in(nodes: tuple[Any, ...], budget: Budget) -> Iterator[Call | Mapping]:
    """The objects of the file among these, and dictionaries with attributes of their own; also in what they hold, each once.

    Lists, tuples, dictionaries and sets hold things, and so do calls of what keeps its arguments.
    """
    waiting: list[Any] = [nodes]
    seen: set[int] = set()
    while waiting and budget.left >= 0:
        inside = waiting.pop()
        budget.left -= len(inside)
        for node in inside:
            kind = type(node)
            if kind is Call and is_object(node):
                yield node
            elif kind in (list, tuple, SetOf, Mapping, Call) and id(node) not in seen:
                seen.add(id(node))
                if kind is Mapping:
                    waiting += node.pairs
                    if node.state is not None:
                        yield node
                elif kind is not Call:
                    waiting.append(node.items if kind is SetOf else node)
                elif type(node.function) is Global and type(node.args) is tuple:
                    key = (node.function.module, node.function.name)
                    if key in KEEPING or is_exception(key):
                        waiting.append(node.args)


def classes_of(objects: Iterable[Call | Mapping]) -> list[Global]:
    """The classes of objects, each once."""
    found = {id(cls): cls for cls in [class_of(node) for node in objects if type(node) is Call] if cls is not None}
    return list(found.values())


def class_of(node: Call) -> Global | None:
    """The class, or the function, that an object is made by."""
    if type(node.function) is not Global:
        return None
    if (node.function.module, node.function.name) in MAKING and type(node.args) is tuple and node.args:
        return node.args[0] if type(node.args[0]) is Global else None
    return node.function


def is_object(node: Call) -> bool:
    """Whether it is an object of a class, with whatever attributes the file gives it; not data that a function rebuilds."""
    if type(node.function) is not Global:
        return False
    key = (node.function.module, node.function.name)
    if node.made or key in MAKING:
        return True
    return not (node.state is None and node.entries is None and node.items is None) and key not in STATED


def is_of_modules(cls: Global) -> bool:
    """Whether it is a class of torch's layers, or one that lies where they do."""
    return cls.module.startswith(MODULES) and cls.module not in NO_MODULES


def _is_data(node: Call, data: set[int], budget: Budget) -> bool:
    """Whether the attributes of an object are numbers, text and what functions rebuild, so that its methods have nothing to call.

    An object among them, itself too, has methods, so it is none of these. Containers are gone into once, since one may hold itself:
    `data` are those, by identity, of which the answer is known, and gets those of this object if it is yes.
    """
    waiting: list[Any] = [node.args, node.state, node.entries, node.items]
    seen: set[int] = set()
    while waiting and budget.left >= 0:
        budget.left -= 1
        inside = waiting.pop()
        kind = type(inside)
        if kind is Global or kind is PersistentId:
            return False
        if kind is Call and (inside is node or is_object(inside) or type(inside.function) is not Global):
            return False
        if kind not in (Call, tuple, list, SetOf, Mapping) or id(inside) in seen or id(inside) in data:
            continue
        seen.add(id(inside))
        if kind is Call:
            waiting += [inside.args, inside.state, inside.entries, inside.items]
        elif kind is Mapping:
            waiting += [part for pair in inside.pairs for part in pair]
            waiting.append(inside.state)
        else:
            waiting += inside.items if kind is SetOf else inside
    data |= seen
    return budget.left >= 0


def is_exception(key: tuple[str, str]) -> bool:
    """Whether it is an exception of Python's own that keeps what it is given, whatever that is."""
    return key[0] in (*BUILTINS, "exceptions") and key[1].endswith(FAULTS) and key[1] not in READING_FAULTS


def is_plain_state(state: Any) -> bool:
    """Whether it is a state as objects have it that say nothing about their own: attributes, perhaps with those of slots."""
    if type(state) is tuple and len(state) == 2:
        return all([part is None or type(part) is Mapping for part in state])
    return state is None or type(state) is Mapping


def _holds(args: tuple[Any, ...]) -> bool:
    """Whether there is more than names, numbers and text: the quick answer for most calls."""
    return any([type(arg) in (Call, list, tuple, Mapping, SetOf) for arg in args])


def _is_gone_through(arg: Any) -> bool:
    """Whether going through it runs what the file says: objects do, and dictionaries with attributes of their own."""
    kind = type(arg)
    return (kind is Call and not is_text(arg)) or kind is PersistentId or (kind is Mapping and arg.state is not None)


def _is_table(node: Any) -> bool:
    """Whether it is what a dictionary is made of; single arguments of other kinds are a factory, or counted."""
    if type(node) in (list, tuple):
        return all([type(pair) in (list, tuple) and len(pair) == 2 for pair in node])
    return type(node) not in (SetOf, str, bytes, bytearray)


def _may_be_objects(dtype: Any) -> bool:
    """Whether an element type is that of objects, or is not said in a text."""
    made = dtype.args if type(dtype) is Call and type(dtype.args) is tuple else ()
    kind = made[0] if made else dtype
    if type(kind) is Global:
        return kind.name in ("object", "object_", "dtype")
    return type(kind) is not str or "O" in kind


def is_text(node: Call) -> bool:
    return type(node.function) is Global and (node.function.module, node.function.name) in TEXT
