"""What no pickler writes: shapes in a pickle by which attributes are reached, or functions called, without a name that says so.

    f(*g(…))                      arguments, or a state, that another call returned: nobody sees what they are
    list(obj), dict(obj)          goes through an object of the file: torch.nn.ParameterDict answers with any of its attributes
    obj[key] = …, obj.append(…)   on an object that pickle fills by its state alone: runs methods of a class that is harmless else
    Layer(…)                      runs __init__ of a class whose objects pickle makes without it
    f(obj), Class(obj)            whatever is given an object of the file calls methods of it, which the file may have set

The last three are odd only where the class, and the function, are known to be harmless: one that nobody has judged may be pickled in
any way. Sources: Lib/pickle.py (save_reduce, save_list, save_dict), copyreg.__reduce_ex__, torch/nn/modules/container.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelscope_cli.containers.pickle_nodes import DICT_CLASSES, Call, Global, Mapping, PersistentId, SetOf

FORGED_PICKLE, ODD_PICKLE = "forged-pickle", "odd-pickle"
ODD_IF_HARMLESS = "odd-if-harmless"  # an odd pickle where the policy calls all the names harmless that stand behind the reason
SHAPES = frozenset({FORGED_PICKLE, ODD_PICKLE, ODD_IF_HARMLESS})
Shape = tuple[str, str, tuple[Global, ...]]  # kind, what is odd, names that decide

REDUCE, OBJ, INST = 0x52, 0x6F, 0x69
RUNNING_INIT = (REDUCE, OBJ, INST)
CALLING = (*RUNNING_INIT, 0x81, 0x92)  # NEWOBJ and NEWOBJ_EX run a __new__, which is given the arguments
WITHOUT_INIT = frozenset(  # functions that make an object of the class that they are given first
    (module, name) for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
)
BUILTINS = ("builtins", "__builtin__")
GOING_THROUGH = frozenset(
    {
        (module, name)
        for module in BUILTINS
        for name in ["list", "tuple", "dict", "set", "frozenset", "bytes", "bytearray", "str", "repr", "iter"]
    }
    | {("collections", name) for name in ("OrderedDict", "Counter", "deque", "ChainMap", "UserDict", "UserList")}
)
DEFAULTS = ("collections", "defaultdict")  # whose first argument is not gone through
TEXT = frozenset({("_codecs", "encode"), ("codecs", "encode")})  # bytes, as protocols 0 to 2 write them
LISTS = frozenset((module, name) for module in BUILTINS for name in ("list", "tuple", "dict"))
TABLES = frozenset({"_modules", "_parameters", "_buffers"})  # of a torch.nn.Module
MOST_ATTRIBUTES = 10_000  # of a state that are looked at; objects have some ten, and what is longer is a dictionary
MODULES = ("torch.nn.", "torch.ao.", "torch.quantization.")
NO_MODULES = ("torch.nn.parameter", "torch.nn.backends.thnn", "torch.nn.backends")
SCALARS = frozenset((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core"))

UNSEEN_ARGUMENTS = "a function is called with arguments that another call returns, so nobody sees them"
UNSEEN_STATE = "an object is given a state that another call returns, so nobody sees its attributes"
NO_TABLE = "a module is given a table of its parts that is an object: reading from it runs what the object says"
OWN_DICT = "all attributes of an object are replaced, by the attribute __dict__"
NO_PAIRS = "a dictionary is made of what are no pairs, so nobody sees its entries"
OWN_CLASS = "an object is given another class, by the attribute __class__"
FILLED = "entries or items are put into an object that pickle fills by its state alone"
BY_INIT = "an object is made by a call, which runs its __init__; pickle makes it without one"
GIVEN = "a function is called with an object of the file, and calls methods of it"
OBJECT_SCALAR = "a NumPy scalar that is an object: it gives back what it is given"


def may_be_odd(key: tuple[str, str]) -> bool:
    """Whether a reader, which calls little else, looks at the calls of a name."""
    return key in GOING_THROUGH or (key[0].startswith(MODULES) and key[0] not in NO_MODULES)


def of_call(function: Any, args: Any, opcode: int) -> Iterator[Shape]:
    """What is odd about function(*args) where the instruction is `opcode`."""
    if type(args) is Call or type(args) is PersistentId:
        yield FORGED_PICKLE, UNSEEN_ARGUMENTS, ()
        return
    if type(function) is not Global or type(args) is not tuple:
        return
    key = (function.module, function.name)
    objects = [arg for arg in args if type(arg) is Call]
    if key in GOING_THROUGH or key == DEFAULTS:
        through = [arg for arg in objects if not _is_text(arg) and (key != DEFAULTS or arg is not args[0])]
        if through:
            yield FORGED_PICKLE, f"{function.name}() goes through an object, and so reads attributes that nobody names", ()
    if key in DICT_CLASSES and args and not _is_table(args[-1]):
        yield FORGED_PICKLE, NO_PAIRS, ()
    if opcode in RUNNING_INIT and function.module.startswith(MODULES) and function.module not in NO_MODULES:
        yield ODD_IF_HARMLESS, BY_INIT, (function,)
    if opcode in CALLING and key not in WITHOUT_INIT:
        for arg in objects:
            cls = class_of(arg)
            if cls is not None and is_object(arg):
                yield ODD_IF_HARMLESS, GIVEN, (function, cls)
    if key in SCALARS and len(args) > 1 and type(args[-1]) in (Global, Call) and _may_be_objects(args[0]):
        yield ODD_PICKLE, OBJECT_SCALAR, ()


def _is_table(node: Any) -> bool:
    """Whether it is what a dictionary is made of; single arguments of other kinds are a factory, or counted."""
    if type(node) in (list, tuple):
        return all([type(pair) in (list, tuple) and len(pair) == 2 for pair in node])
    return type(node) not in (SetOf, str, bytes, bytearray)


def of_state(target: Any, state: Any) -> Iterator[Shape]:
    """What is odd about a state that BUILD gives to `target`."""
    parts = state if type(state) is tuple and len(state) <= 4 else ()
    if any([type(one) is Call and _is_made_list(one) for one in (state, *parts)]):
        yield FORGED_PICKLE, UNSEEN_STATE, ()
    for part in (state, *parts):
        if type(part) is not Mapping or len(part.pairs) > MOST_ATTRIBUTES:
            continue
        for name, value in part.pairs:
            if name == "__class__" and type(value) in (Global, Call):
                yield FORGED_PICKLE, OWN_CLASS, ()
            elif name == "__dict__":  # which some classes write into a state of their own
                cls = class_of(target) if type(target) is Call else None
                slots = parts and part is parts[-1]
                yield (FORGED_PICKLE, OWN_DICT, ()) if slots or cls is None else (ODD_IF_HARMLESS, OWN_DICT, (cls,))
            elif type(name) is str and name in TABLES and type(value) is Call:
                yield ODD_PICKLE, NO_TABLE, ()


def of_filling(target: Call) -> Iterator[Shape]:
    """What is odd about entries or items for an object."""
    cls = class_of(target)
    if cls is not None:
        yield ODD_IF_HARMLESS, FILLED, (cls,)


def class_of(node: Call) -> Global | None:
    """The class, or the function, that an object is made by."""
    if type(node.function) is not Global:
        return None
    if (node.function.module, node.function.name) in WITHOUT_INIT and type(node.args) is tuple and node.args:
        return node.args[0] if type(node.args[0]) is Global else None
    return node.function


def is_object(node: Call) -> bool:
    """Whether it is an object of a class, with whatever attributes the file gives it; not data that a function rebuilds."""
    if type(node.function) is not Global:
        return False
    name = node.function.name
    return node.made or (node.function.module, name) in WITHOUT_INIT or (type(node.state) is Mapping and name[:1].isupper())


def _may_be_objects(dtype: Any) -> bool:
    """Whether an element type is that of objects, or is not said in a text."""
    made = dtype.args if type(dtype) is Call and type(dtype.args) is tuple else ()
    kind = made[0] if made else dtype
    if type(kind) is Global:
        return kind.name in ("object", "object_", "dtype")
    return type(kind) is not str or "O" in kind


def _is_text(node: Call) -> bool:
    return type(node.function) is Global and (node.function.module, node.function.name) in TEXT


def _is_made_list(node: Call) -> bool:
    return type(node.function) is Global and (node.function.module, node.function.name) in LISTS
