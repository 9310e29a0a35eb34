"""What is called while unpickling besides the functions of the instructions that call.

    functions that call what they are given     torch._tensor._rebuild_from_type_v2(func, type, args, state) calls func(*args)
    attributes that the unpickler itself calls  BUILD calls `__setstate__`, APPEND `append`, APPENDS `extend`, ADDITEMS `add` of
                                                an object, and they may be anything that a BUILD before stored under that name

Sources: torch/_tensor.py and _utils.py, numpy/random/_pickle.py, Lib/copyreg.py, Lib/functools.py, Lib/pickle.py (load_build,
load_appends, load_newobj), torch/nn/utils/parametrize.py, torch/ao/quantization/fake_quantize.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelscope_cli.containers.pickle_nodes import BUILTINS, NEWOBJ, NEWOBJ_EX, Call, Global, Mapping

Key = tuple[str, str]
Given = list[tuple[Any, Any]]  # functions, each with the arguments that it is called with

# Every mention of a name is counted, but for what a state dict is made of: it has some five of these a tensor.
UNCOUNTED = frozenset({"torch", "collections"})  # packages
REBUILDING_TYPES = frozenset(
    (module, name) for module in ("torch._tensor", "torch.tensor") for name in ("_rebuild_from_type", "_rebuild_from_type_v2")
)
COUNTED_ALL_THE_SAME = REBUILDING_TYPES | frozenset(
    {("torch.storage", "_load_from_bytes"), ("torch.distributed.device_mesh", "DeviceMesh")}
    | {("torch.distributed._tensor.device_mesh", "DeviceMesh")}
)

ECHOES = frozenset(  # functions that give back what they are given
    {("torch.jit._pickle", f"build_{kind}list") for kind in ("int", "tensor", "double", "bool")}
    | {("torch.jit._pickle", "restore_type_tag")}
)
DEEPEST_ECHO = 8  # of one in another

BY_BUILD, BY_APPEND, BY_ADD, BY_NEW = ("__setstate__",), ("extend", "append"), ("add",), ("__new__",)
OF_CONTAINERS = frozenset({"append", "extend", "add"})  # which honest objects have as well, seldom as functions
BY_NAME = OF_CONTAINERS | {
    "__setstate__", "__new__", "__init__", "__reduce__", "__reduce_ex__", "__getstate__", "__call__", "__del__", "__copy__",
    "__deepcopy__", "__getattr__", "__getattribute__", "__setattr__", "__setitem__", "__getitem__", "__iter__", "as_subclass",
}  # fmt: skip
LONGEST_STATE = 8  # items of a state that is a tuple; io.BytesIO has its attributes in the third, io.StringIO in the fourth
OF_MODULES = frozenset({"_modules", "_parameters", "_buffers"})  # where torch.nn.Module looks for its attributes
STATES: dict[Key, int] = {  # functions that set the attributes of what they return: which argument has them
    **dict.fromkeys(REBUILDING_TYPES, 3),
    ("torch._utils", "_rebuild_parameter_with_state"): 3,
    ("types", "SimpleNamespace"): 0,  # since Python 3.13
}


# dill._dill._create_array(function, arguments, state, attributes): gives function(*arguments) the state, and attributes if there are any.
DILL_ARRAY = ("dill._dill", "_create_array")


def _from_type(args: tuple[Any, ...], opcode: int) -> Given:
    return [(args[0], args[2])] if len(args) > 2 else []


def _generator(args: tuple[Any, ...], opcode: int) -> Given:
    return [(args[1], args[:1])] if len(args) > 1 else []


def _first(args: tuple[Any, ...], opcode: int) -> Given:
    return [(args[0], args[1:])] if args else []


def _first_alone(args: tuple[Any, ...], opcode: int) -> Given:
    return [(args[0], ())] if args else []


def _first_with_tuple(args: tuple[Any, ...], opcode: int) -> Given:
    return [(args[0], args[1])] if len(args) > 1 else []


def _reconstructor(args: tuple[Any, ...], opcode: int) -> Given:
    """A class, a base that makes and initialises it unless that is `object`, and a state."""
    if len(args) != 3:
        return []
    base = args[1]
    is_object = type(base) is Global and base.name == "object"
    return [(args[0], ()), *([] if is_object else [(base, (args[0], args[2]))])]


def _by_init(args: tuple[Any, ...], opcode: int) -> Given:
    return [] if opcode in (NEWOBJ, NEWOBJ_EX) else _first_alone(args, opcode)


CALLERS: dict[Key, Callable[[tuple[Any, ...], int], Given]] = {
    **dict.fromkeys(REBUILDING_TYPES, _from_type),
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random._pickle", "__randomstate_ctor"): _generator,
    ("numpy.random._pickle", "__bit_generator_ctor"): _first_alone,
    ("copyreg", "__newobj__"): _first,
    ("copy_reg", "__newobj__"): _first,
    DILL_ARRAY: _first_with_tuple,
    ("copyreg", "__newobj_ex__"): _first_with_tuple,
    ("copy_reg", "__newobj_ex__"): _first_with_tuple,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("functools", "partial"): _first,
    ("_functools", "partial"): _first,
    ("torch.nn.utils.parametrize", "ParametrizationList"): _by_init,
    **{
        (f"torch.{root}quantization.fake_quantize", name): _by_init
        for root in ("ao.", "")
        for name in ("FakeQuantize", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize")
    },
}


def is_counted(key: Key) -> bool:
    """Whether each mention of a name is counted."""
    return key[0].partition(".")[0] not in UNCOUNTED or key in COUNTED_ALL_THE_SAME


def attributes_in(state: Any) -> list[list[tuple[Any, Any]]]:
    """The lists of pairs that BUILD makes attributes of, those of a torch.nn.Module's tables among them."""
    parts = state if type(state) is tuple and len(state) <= LONGEST_STATE else (state,)
    found = [part.pairs for part in parts if type(part) is Mapping]
    for pairs in list(found):
        found += [value.pairs for key, value in pairs if type(value) is Mapping and type(key) is str and key in OF_MODULES]
    return found


def is_import(node: Any, depth: int = 0) -> bool:
    """Whether a node is an imported name itself, or the class of a value: what it is given, all users of it see."""
    if type(node) is Global:
        return True
    if type(node) is not Call or type(node.args) is not tuple or not node.args or depth > DEEPEST_ECHO:
        return False
    if type(node.function) is not Global:
        return False
    name = (node.function.module, node.function.name)
    if name in ECHOES:
        return is_import(node.args[0], depth + 1)
    if name == ("logging", "getLogger"):  # the logger of the whole program
        return True
    return name[1] == "type" and name[0] in BUILTINS and len(node.args) == 1


class CountingMemo(dict[int, Any]):
    """The memo of a machine that has met a name whose mentions are counted: those that it gives back are."""

    def __getitem__(self, index: int) -> Any:
        value = dict.__getitem__(self, index)
        if type(value) is Global:
            value.pushed += 1
        return value
