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

from modelscope_cli.containers.pickle_nodes import Global, Mapping

Key = tuple[str, str]
Given = list[tuple[Any, Any]]  # functions, each with the arguments that it is called with
WITHOUT_INIT = (0x81, 0x92)  # NEWOBJ and NEWOBJ_EX make an object and do not run its __init__

# Every mention of a name is counted, but for what a state dict is made of: it has some five of these a tensor.
UNCOUNTED = frozenset({"torch", "collections"})  # packages
COUNTED_ALL_THE_SAME = frozenset(
    {("torch.storage", "_load_from_bytes"), ("torch.distributed.device_mesh", "DeviceMesh")}
    | {("torch.distributed._tensor.device_mesh", "DeviceMesh")}
)

BY_BUILD, BY_APPEND, BY_ADD, BY_NEW = ("__setstate__",), ("extend", "append"), ("add",), ("__new__",)
OF_CONTAINERS = frozenset({"append", "extend", "add"})  # which honest objects have as well, seldom as functions
BY_NAME = OF_CONTAINERS | {
    "__setstate__", "__new__", "__init__", "__reduce__", "__reduce_ex__", "__getstate__", "__call__", "__del__", "__copy__",
    "__deepcopy__", "__getattr__", "__getattribute__", "__setattr__", "__setitem__", "__getitem__", "__iter__", "as_subclass",
}  # fmt: skip
LONGEST_STATE = 8  # items of a state that is a tuple; io.BytesIO has its attributes in the third, io.StringIO in the fourth
OF_MODULES = frozenset({"_modules", "_parameters", "_buffers"})  # where torch.nn.Module looks for its attributes
STATES: dict[Key, int] = {  # functions that set the attributes of what they return: which argument has them
    ("torch._tensor", "_rebuild_from_type"): 3,
    ("torch._tensor", "_rebuild_from_type_v2"): 3,
    ("torch.tensor", "_rebuild_from_type"): 3,
    ("torch.tensor", "_rebuild_from_type_v2"): 3,
    ("torch._utils", "_rebuild_parameter_with_state"): 3,
    ("types", "SimpleNamespace"): 0,  # since Python 3.13
}


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
    return [] if opcode in WITHOUT_INIT else _first_alone(args, opcode)


CALLERS: dict[Key, Callable[[tuple[Any, ...], int], Given]] = {
    **{
        (module, name): _from_type
        for module in ("torch._tensor", "torch.tensor")
        for name in ("_rebuild_from_type", "_rebuild_from_type_v2")
    },
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random._pickle", "__randomstate_ctor"): _generator,
    ("numpy.random._pickle", "__bit_generator_ctor"): _first_alone,
    ("copyreg", "__newobj__"): _first,
    ("copy_reg", "__newobj__"): _first,
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
        if len(pairs) < 200:  # a module has some ten attributes
            found += [value.pairs for key, value in pairs if type(value) is Mapping and type(key) is str and key in OF_MODULES]
    return found


class CountingMemo(dict[int, Any]):
    """The memo of a machine that has met a name whose mentions are counted: those that it gives back are."""

    def __getitem__(self, index: int) -> Any:
        value = dict.__getitem__(self, index)
        if type(value) is Global:
            value.pushed += 1
        return value
